"""Comparisons that claims are judged by: pairs of curves, point by point."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from results.curves import Curve, accuracy_curves, primary, value_curves
from results.labels import DATASET_LABELS
from results.paper import DATASET_NAMES
from results.row import Row
from results.tables import markdown_table

REPRODUCED = "reproduced"
PARTLY = "partly"
NOT_REPRODUCED = "not reproduced"
NOT_MEASURED = "not measured"

#: Beginning of the identifiers of chapter 3's figures.
CHAPTER = "003.F3"
#: The chapter's attacks.
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
    """

    id: str
    text: str
    paper_says: str
    measured: str
    verdict: str


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two curves' values at one attack and epsilon: `gain = value - reference`."""

    attack: str
    epsilon: float
    value: float
    reference: float

    @property
    def gain(self) -> float:
        """How much higher the value is."""
        return self.value - self.reference


@dataclasses.dataclass(frozen=True)
class DistancePair(Pair):
    """As `Pair`, with the standard error of the gain.

    It is that of the difference image by image where it was measured (metric
    `l2_gain_standard_error`), else it takes the two as independent, which is wider.
    """

    standard_error: float


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


def figure_rows(
    rows: Iterable[Row], dataset: str, threat_model: str = "oblivious"
) -> dict[tuple[str, str], list[Row]]:
    """Accuracy rows of chapter 3 under attack.

    Args:
        rows: Rows of a profile.
        dataset: Name of the data set.
        threat_model: What the attacker knows.

    Returns:
        Rows by (attack, experiment), clean rows of `attack == "none"` left out.
    """
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if (
            row.experiment.startswith(CHAPTER)
            and row.metric == "accuracy"
            and row.dataset == dataset
            and row.threat_model == threat_model
            and row.attack != "none"
        ):
            found.setdefault((row.attack, row.experiment), []).append(row)
    return dict(sorted(found.items()))


def accuracy_pairs(
    rows: Iterable[Row], dataset: str, method: tuple[str, str], reference: tuple[str, str]
) -> list[Pair]:
    """Two curves at every attack and epsilon where both were measured, attacker oblivious.

    Args:
        rows: Rows of a profile.
        dataset: Name of the data set.
        method: Defense and role of the curve.
        reference: Defense and role of the other.

    Returns:
        One pair for each attack and epsilon.
    """
    pairs = []
    for (attack, _), behind in figure_rows(rows, dataset).items():
        curves = accuracy_curves(behind)
        pairs += pair_up(attack, primary(curves, *method), primary(curves, *reference))
    return pairs


def pair_up(attack: str, curve: Curve | None, reference: Curve | None) -> list[Pair]:
    """Two curves at every epsilon that both have.

    Args:
        attack: Their attack.
        curve: The curve, or None.
        reference: The other, or None.

    Returns:
        One pair for each epsilon; none if a curve is missing.
    """
    if curve is None or reference is None:
        return []
    return [
        Pair(attack, point.x, point.value, other.value)
        for point in curve.points
        if (other := reference.at(point.x)) is not None
    ]


def share_verdict(num_true: int, num_all: int, attacks: Iterable[str] = ATTACKS) -> str:
    """Verdict on a claim that should hold at every point.

    Args:
        num_true: Points where it holds.
        num_all: Points measured.
        attacks: Attacks measured. The chapter speaks of four; what was held against fewer of them
            can be reproduced in part only.

    Returns:
        `REPRODUCED` if it holds everywhere, `PARTLY` at half of them or more, else
        `NOT_REPRODUCED`; `NOT_MEASURED` without points.
    """
    if num_all == 0:
        return NOT_MEASURED
    if num_true == num_all:
        return REPRODUCED if set(ATTACKS) <= set(attacks) else PARTLY
    return PARTLY if 2 * num_true >= num_all else NOT_REPRODUCED


def distance_pairs(
    rows: Iterable[Row], dataset: str, method: str, reference: str
) -> list[DistancePair]:
    """L2 of two purifiers at every attack and epsilon where both were measured.

    Args:
        rows: Rows of a profile.
        dataset: Name of the data set.
        method: Registry key of the purifier.
        reference: Registry key of the other.

    Returns:
        One pair for each attack and epsilon.
    """
    selected: dict[str, list[Row]] = {}
    paired: dict[tuple[str, float], float] = {}
    for row in rows:
        place = (row.experiment[: len(CHAPTER)], row.dataset, row.threat_model)
        if place != (CHAPTER, dataset, "oblivious") or row.attack == "none":
            continue
        if row.metric in ("l2", "l2_standard_error"):
            selected.setdefault(row.attack, []).append(row)
        elif row.metric == "l2_gain_standard_error" and row.defense == method:
            paired[row.attack, row.epsilon] = row.value
    pairs = []
    for attack, behind in sorted(selected.items()):
        by_defense = {curve.defense: curve for curve in value_curves(behind, "l2")}
        if method not in by_defense or reference not in by_defense:
            continue
        for point in by_defense[method].points:
            other = by_defense[reference].at(point.x)
            if other is not None:
                independent = (point.half_width**2 + other.half_width**2) ** 0.5
                error = paired.get((attack, point.x), independent)
                pairs.append(DistancePair(attack, point.x, point.value, other.value, error))
    return pairs


def claims_table(claims: Sequence[Claim]) -> str:
    """Claims as Markdown.

    Args:
        claims: The claims.

    Returns:
        A table of claim, printed, measured and verdict.
    """
    body = [[c.text, c.paper_says, c.measured, f"**{c.verdict}**"] for c in claims]
    table = markdown_table(["claim", "the dissertation", "measured", "verdict"], body)
    return table.replace("| :-- | --: | --: | --: |", "| :-- | :-- | :-- | :-- |")
