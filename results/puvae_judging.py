"""What the claims of the PuVAE paper are judged by: its tables line by line."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from results.comparisons import Claim, Pair, points
from results.curves import Point
from results.puvae_cells import TARGETED, Cell, Entrant, defense_cells, entrant_label, target_label
from results.puvae_paper import WHITE_BOX, printed_cells
from results.row import Row

PUVAE, MAGNET, GAN = Entrant("puvae"), Entrant("magnet"), Entrant("defense_gan")
HARDENED = Entrant("adversarial_training")
#: What the paper compares PuVAE with.
RIVALS = (HARDENED, MAGNET, GAN)
_SHORT = {"targeted_fgsm": "FGSM", "targeted_bim": "iFGSM", "targeted_carlini_wagner": "CW"}

Place = tuple[str, str]
"""A line of a table: target and attack."""


class Ranking(NamedTuple):
    """Where PuVAE is the best of all (by line), the lines with every rival, and the numbers."""

    best: Mapping[Place, bool]
    complete: set[Place]
    words: str


def puvae_claim(id: str, text: str, paper_says: str, measured: str, verdict: str) -> Claim:
    """A claim of section V of the PuVAE paper; without numbers there were no rows."""
    return Claim(id, text, paper_says, measured or "no rows", verdict, 5, "004")


def measured_cells(rows: Iterable[Row], experiment: str, dataset: str) -> dict[Cell, Point]:
    """The cells of one table.

    Args:
        rows: All rows of a profile.
        experiment: Identifier such as `"004.T3"`.
        dataset: Name of the data set.

    Returns:
        Points; none without rows.
    """
    wanted = (experiment, dataset, "accuracy")
    own = [row for row in rows if (row.experiment, row.dataset, row.metric) == wanted]
    return defense_cells(own) if own else {}


def printed_points(experiment: str, dataset: str) -> dict[Cell, Point]:
    """The printed cells of one table, in the form of the measured ones.

    Args:
        experiment: Identifier such as `"004.T3"`.
        dataset: Name of the data set.

    Returns:
        Points without intervals.
    """
    cells = printed_cells(experiment, dataset)
    return {cell: Point(0.0, value, value, value, (), {}) for cell, value in cells.items()}


def gains_over(
    cells: Mapping[Cell, Point],
    other: Entrant,
    method: Entrant = PUVAE,
    attacks: Collection[str] = TARGETED,
) -> dict[Place, Pair]:
    """A defense beside another, line by line.

    Args:
        cells: Of one table.
        other: The defense compared with.
        method: The defense.
        attacks: Attacks that count.

    Returns:
        A pair for each line that has both.
    """
    found = {}
    for cell, point in cells.items():
        reference = cells.get(cell._replace(entrant=other))
        if cell.entrant == method and cell.attack in attacks and reference is not None:
            error = (point.half_width**2 + reference.half_width**2) ** 0.5
            pair = Pair(cell.attack, point.x, point.value, reference.value, error)
            found[cell.target, cell.attack] = pair
    return found


def expected_places(
    cells: Iterable[Cell], dataset: str, attacks: Iterable[str] = TARGETED
) -> set[Place]:
    """The lines that a claim speaks of.

    Args:
        cells: What was measured.
        dataset: Name of the data set.
        attacks: Attacks that the claim speaks of.

    Returns:
        Those of both printed targets; on other data, of the targets measured.
    """
    printed = {cell.target for cell in printed_cells(WHITE_BOX.get(dataset, ""), dataset)}
    targets = printed or {cell.target for cell in cells}
    return {(target, attack) for target in targets for attack in attacks}


def listed(numbers: Mapping[Place, str]) -> str:
    """Numbers by line in words.

    Args:
        numbers: A text for each line.

    Returns:
        For example `"A: FGSM +54.0, CW +72.0; B: FGSM +16.6"`.
    """
    parts = []
    for target in dict.fromkeys(target for target, _ in numbers):
        own = [f"{_SHORT.get(a, a)} {text}" for (t, a), text in numbers.items() if t == target]
        parts.append(f"{target_label(target).split(' ')[0]}: {', '.join(own)}")
    return "; ".join(parts)


def signed(gains: Mapping[Place, Pair]) -> str:
    """Gains in points, by line."""
    return listed({place: f"{points(pair.gain):+.1f}" for place, pair in gains.items()})


def levels(cells: Mapping[Cell, Point], entrant: Entrant) -> str:
    """Accuracies of one defense under attack in percent, by line."""
    own = {c: p for c, p in cells.items() if c.entrant == entrant and c.attack in TARGETED}
    return listed({(c.target, c.attack): f"{points(p.value):.1f}" for c, p in own.items()})


def ranking(cells: Mapping[Cell, Point], attacks: Sequence[str] = TARGETED) -> Ranking:
    """Whether PuVAE is the best of all that the paper compares.

    Args:
        cells: Of one table.
        attacks: Attacks that count.

    Returns:
        The ranking; its words give PuVAE's accuracy and the best of the others'.
    """
    best: dict[Place, bool] = {}
    complete, numbers = set(), {}
    for cell, point in cells.items():
        others = {e: p for e in RIVALS if (p := cells.get(cell._replace(entrant=e))) is not None}
        if cell.entrant != PUVAE or cell.attack not in attacks or not others:
            continue
        place = (cell.target, cell.attack)
        rival = max(others, key=lambda entrant: others[entrant].value)
        best[place] = point.value > others[rival].value
        if len(others) == len(RIVALS):
            complete.add(place)
        numbers[place] = (
            f"{points(point.value):.1f} ({entrant_label(rival)} {points(others[rival].value):.1f})"
        )
    return Ranking(best, complete, listed(numbers))
