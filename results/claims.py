"""The claims of the dissertation's chapters 3 to 5 and of the PuVAE paper, held against the rows.

A claim is judged by explicit thresholds, which stand beside each function of `claims_chapter3`,
`claims_chapter4`, `claims_chapter5` and `claims_puvae`, and never by eye. Whatever the verdict,
the measured numbers are given with it. The dissertation's accuracies are means over the targets as
in the figures, those of the PuVAE paper stand for each target; "points" are percentage points; a
mean over attacks and epsilons gives every measured pair of the two the same weight.
"""

from __future__ import annotations

from collections.abc import Iterable

from results import claims_chapter3, claims_chapter4, claims_chapter5, claims_puvae
from results.comparisons import Claim
from results.paper import DATASET_NAMES
from results.puvae_paper import WHITE_BOX
from results.row import Row
from results.selection import DISSERTATION, PUVAE_PAPER


def evaluate(rows: Iterable[Row]) -> list[Claim]:
    """Every claim, for the paper's data sets and any other that has rows.

    Args:
        rows: All rows of a profile.

    Returns:
        Claims in the order of papers and chapters; those without rows say `"not measured"`, all
        of them where there are no rows at all.
    """
    rows = list(rows)
    chapters = (claims_chapter3, claims_chapter4, claims_chapter5)
    named = _datasets(rows, DISSERTATION, DATASET_NAMES)
    claims = [claim for chapter in chapters for claim in chapter.evaluate(rows, *named)]
    return claims + claims_puvae.evaluate(rows, *_datasets(rows, PUVAE_PAPER, WHITE_BOX))


def _datasets(rows: list[Row], paper: str, printed: Iterable[str]) -> tuple[list[str], list[str]]:
    """Data sets that a paper prints numbers for, and these with any other that has rows."""
    printed = list(printed)
    measured = {row.dataset for row in rows if row.experiment.startswith(paper)}
    # A profile on other data (the demo) is not blamed for the paper's data sets.
    judged = [name for name in printed if name in measured or not rows]
    return judged, [*judged, *sorted(measured - set(printed))]
