"""The claims of the dissertation's chapters 3 to 5, each held against the rows.

A claim is judged by explicit thresholds, which stand beside each function of `claims_chapter3`,
`claims_chapter4` and `claims_chapter5`, and never by eye. Whatever the verdict, the measured
numbers are given with it. All accuracies are means over the targets as in the figures; "points"
are percentage points; a mean over attacks and epsilons gives every measured pair of the two the
same weight.
"""

from __future__ import annotations

from collections.abc import Iterable

from results import claims_chapter3, claims_chapter4, claims_chapter5
from results.comparisons import Claim
from results.paper import DATASET_NAMES
from results.row import Row


def evaluate(rows: Iterable[Row]) -> list[Claim]:
    """Every claim, for the paper's data sets and any other that has rows.

    Args:
        rows: All rows of a profile.

    Returns:
        Claims in the order of the chapters; those without rows say `"not measured"`.
    """
    rows = list(rows)
    measured = {row.dataset for row in rows if row.experiment.startswith("003.")}
    # A profile on other data (the demo) is not blamed for the paper's data sets.
    printed = [name for name in DATASET_NAMES if name in measured or not measured]
    everywhere = [*printed, *sorted(measured - set(DATASET_NAMES))]
    return [
        claim
        for chapter in (claims_chapter3, claims_chapter4, claims_chapter5)
        for claim in chapter.evaluate(rows, printed, everywhere)
    ]
