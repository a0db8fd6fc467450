"""Comparisons that claims are judged by: pairs of curves, point by point."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterable, Sequence

from results.curves import Curve, accuracy_curves, primary, value_curves
from results.headlines import headline
from results.labels import DATASET_LABELS
from results.paper import DATASET_NAMES
from results.row import Row
from results.tables import markdown_table

REPRODUCED = "reproduced"
PARTLY = "partly"
NOT_REPRODUCED = "not reproduced"
NOT_MEASURED = "not measured"

#: Beginning of the identifiers of each chapter's accuracy figures. Chapter 4 attacks the targets
#: of chapter 3 in the same way, so it is judged by the rows of both.
CHAPTERS = {3: ("003.F3.",), 4: ("003.F3.", "003.F4."), 5: ("003.F5.",)}
#: Heading and author of the claims of other papers.
_AUTHORS = {"004": ("PuVAE", "the paper")}
#: The attacks of every chapter.
ATTACKS = ("fgsm", "bim", "pgd", "carlini_wagner")


@dataclasses.dataclass(frozen=True)
class Claim:
    """What the paper says and what came out.

    Args:
        id: Short name, ending in the data set.
        text: The claim in one sentence.
        paper_says: The printed number or words, with their section.
        measured: What the rows say.
        verdict: `"reproduced"`, `"partly"`, `"not reproduced"` or `"not measured"`.
        chapter: Where the claim stands: chapter, or section of a paper that has none.
        paper: Number of the publication.
    """

    id: str
    text: str
    paper_says: str
    measured: str
    verdict: str
    chapter: int = 3
    paper: str = "003"


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two curves' values at one attack and epsilon: `gain = value - reference`.

    Args:
        attack: Registry key of the attack.
        epsilon: Its budget.
        value: One value.
        reference: The other.
        error: Half width of the interval of the gain: 95 % for accuracies, two standard errors
            for distances. It takes the two values as independent, which is wider than the truth,
            unless their difference was measured image by image (metric `l2_gain_standard_error`).
    """

    attack: str
    epsilon: float
    value: float
    reference: float
    error: float = 0.0

    @property
    def gain(self) -> float:
        """How much higher the value is."""
        return self.value - self.reference

    @property
    def clear(self) -> bool:
        """Whether the gain is beyond its interval."""
        return abs(self.gain) > self.error


def dataset_label(dataset: str) -> str:
    """How a reader knows a data set.

    Args:
        dataset: Its name here.

    Returns:
        For example `"CIFAR-10"`.
    """
    return DATASET_LABELS.get(dataset, dataset)


def paper_name(dataset: str) -> str:
    """How the dissertation calls one of its two data sets.

    Args:
        dataset: Its name here.

    Returns:
        For example `"CIFAR-10"`.

    Raises:
        ValueError: If the chapter prints nothing for it.
    """
    if dataset not in DATASET_NAMES:
        raise ValueError(
            f"The dissertation prints numbers for {sorted(DATASET_NAMES)}, received {dataset!r}."
        )
    return DATASET_NAMES[dataset]


def points(fraction: float) -> float:
    """A fraction in percentage points, free of the rounding that would split equal numbers.

    Args:
        fraction: An accuracy or a difference of two.

    Returns:
        A hundred times it, to a millionth of a point.
    """
    return round(100 * fraction, 6)


def attacked_curves(
    rows: Iterable[Row], dataset: str, threat_model: str = "oblivious", chapter: int = 3
) -> dict[str, list[Curve]]:
    """Accuracy curves of a chapter under attack.

    Args:
        rows: Rows of a profile.
        dataset: Name of the data set.
        threat_model: What the attacker knows.
        chapter: Whose figures.

    Returns:
        Curves by attack; clean rows of `attack == "none"` are left out.
    """
    found: dict[str, list[Row]] = {}
    for row in rows:
        if (
            row.experiment.startswith(CHAPTERS[chapter])
            and row.metric == "accuracy"
            and row.dataset == dataset
            and row.threat_model == threat_model
            and row.attack != "none"
        ):
            found.setdefault(row.attack, []).append(row)
    return {attack: accuracy_curves(behind) for attack, behind in sorted(found.items())}


def accuracy_pairs(
    rows: Iterable[Row],
    dataset: str,
    method: tuple[str, str | None],
    reference: tuple[str, str | None],
    *,
    threat_model: str = "oblivious",
    chapter: int = 3,
) -> list[Pair]:
    """Two curves at every attack and epsilon where both were measured.

    Args:
        rows: Rows of a profile.
        dataset: Name of the data set.
        method: Defense and role of the curve; role None takes the defense's headline.
        reference: Defense and role of the other.
        threat_model: What the attacker knows.
        chapter: Whose figures.

    Returns:
        One pair for each attack and epsilon.
    """
    pairs = []
    for attack, curves in attacked_curves(rows, dataset, threat_model, chapter).items():
        pairs += pair_up(attack, _chosen(curves, method), _chosen(curves, reference))
    return pairs


def _chosen(curves: list[Curve], wanted: tuple[str, str | None]) -> Curve | None:
    defense, role = wanted
    return headline(curves, defense) if role is None else primary(curves, defense, role)


def pair_up(attack: str, curve: Curve | None, reference: Curve | None) -> list[Pair]:
    """Two curves at every place that both have.

    Args:
        attack: Their attack.
        curve: The curve, or None.
        reference: The other, or None.

    Returns:
        One pair for each place; none if a curve is missing.
    """
    if curve is None or reference is None:
        return []
    return [
        Pair(attack, p.x, p.value, other.value, (p.half_width**2 + other.half_width**2) ** 0.5)
        for p in curve.points
        if (other := reference.at(p.x)) is not None
    ]


def share_verdict(
    num_true: int,
    num_all: int,
    attacks: Iterable[Hashable] = ATTACKS,
    expected: Iterable[Hashable] = ATTACKS,
) -> str:
    """Verdict on a claim that should hold at every point.

    Args:
        num_true: Points where it holds.
        num_all: Points measured.
        attacks: Attacks, or other settings, measured. What was held against fewer than expected
            can be reproduced in part only.
        expected: Those that the claim speaks of, by default all four attacks.

    Returns:
        `REPRODUCED` if it holds everywhere, `PARTLY` at half of them or more, else
        `NOT_REPRODUCED`; `NOT_MEASURED` without points.
    """
    if num_all == 0:
        return NOT_MEASURED
    if num_true == num_all:
        return REPRODUCED if set(expected) <= set(attacks) else PARTLY
    return PARTLY if 2 * num_true >= num_all else NOT_REPRODUCED


def distance_pairs(
    rows: Iterable[Row],
    dataset: str,
    method: str,
    reference: str,
    *,
    metric: str = "l2",
    chapter: int = 3,
) -> list[Pair]:
    """Distances of two purifiers at every attack and epsilon where both were measured.

    Args:
        rows: Rows of a profile.
        dataset: Name of the data set.
        method: Registry key of the purifier.
        reference: Registry key of the other.
        metric: `"l2"` or `"l1"`.
        chapter: Whose figures.

    Returns:
        One pair for each attack and epsilon; the attacker is oblivious.
    """
    selected: dict[str, list[Row]] = {}
    paired: dict[tuple[str, float], float] = {}
    for row in rows:
        inside = row.experiment.startswith(CHAPTERS[chapter]) and row.attack != "none"
        if not inside or (row.dataset, row.threat_model) != (dataset, "oblivious"):
            continue
        if row.metric in (metric, f"{metric}_standard_error"):
            selected.setdefault(row.attack, []).append(row)
        elif row.metric == f"{metric}_gain_standard_error" and row.defense == method:
            paired[row.attack, row.epsilon] = row.value
    pairs = []
    for attack, behind in sorted(selected.items()):
        by_defense = {curve.defense: curve for curve in value_curves(behind, metric)}
        for pair in pair_up(attack, by_defense.get(method), by_defense.get(reference)):
            error = paired.get((attack, pair.epsilon), pair.error)
            pairs.append(dataclasses.replace(pair, error=2 * error))
    return pairs


def claims_table(claims: Sequence[Claim]) -> str:
    """Claims as Markdown, one table for each chapter or paper that has been measured.

    Args:
        claims: The claims.

    Returns:
        A table of claim, printed, measured and verdict under the name of each.
    """
    parts = []
    for paper, chapter in sorted({(claim.paper, claim.chapter) for claim in claims}):
        own = [claim for claim in claims if (claim.paper, claim.chapter) == (paper, chapter)]
        if all(claim.verdict == NOT_MEASURED for claim in own):
            continue
        body = [[c.text, c.paper_says, c.measured, f"**{c.verdict}**"] for c in own]
        heading, author = _AUTHORS.get(paper, (f"Chapter {chapter}", "the dissertation"))
        table = markdown_table(["claim", author, "measured", "verdict"], body)
        table = table.replace("| :-- | --: | --: | --: |", "| :-- | :-- | :-- | :-- |")
        parts.append(f"**{heading}**\n\n{table}")
    return "\n".join(parts)
