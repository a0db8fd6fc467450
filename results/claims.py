"""What papers claim, held against the rows of a profile.

A claim is judged by thresholds that its declaration states (see ``results.judges``), never by eye,
and the measured numbers stand beside every verdict.

Why not every profile judges every claim: a level, a gain in points or a place among other methods
moves by many points with the width of the networks and the length of their training, so a small
profile cannot tell what does not reproduce from what its size hides. An order within one network
does not depend on it. ``Claim.needs`` says which of the two a claim is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from results.exhibit import DATASET_LABELS, Line, Where, check_where
from results.judges import NOT_MEASURED, NOT_REPRODUCED, PARTLY, REPRODUCED, Evidence, Judge
from results.markdown import markdown_table
from results.row import DATASETS, Row
from validation import check_choice

NOT_TESTED = "not tested at this size"
#: What a claim needs.
ANY_SIZE, FULL_WIDTH = "any size", "full width"
#: What a profile can bear: no claims, those of any size, or all.
BEARS = ("nothing", ANY_SIZE, FULL_WIDTH)
_WORST_FIRST = (NOT_REPRODUCED, PARTLY, REPRODUCED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """What a paper says, and how rows judge it.

    Args:
        id: Short name.
        heading: Paper or chapter; claims under the same heading stand together.
        author: Who says it, the heading of a column.
        text: The claim in one sentence.
        says: The printed number or words with their section, of all data sets or by data set.
        where: The rows that it speaks of.
        judge: How they judge it, of all data sets or by data set.
        datasets: The data sets that it is made of.
        needs: ``"any size"`` or ``"full width"``.
        reason: Why, in one sentence.
        at_most: The best verdict that can be said.
        limit: Why no better one.
        same: Lines, each with another one; where they are equal at half of the places or more,
            this is said.

    Raises:
        ValueError: If it needs something unknown, or a reason is missing.
    """

    id: str
    heading: str
    author: str = "the paper"
    text: str
    says: str | Mapping[str, str]
    where: Where
    judge: Judge | Mapping[str, Judge]
    datasets: tuple[str, ...]
    needs: str
    reason: str
    at_most: str = REPRODUCED
    limit: str = ""
    same: Sequence[tuple[Line, Line]] = ()

    def __post_init__(self) -> None:
        if self.needs not in (ANY_SIZE, FULL_WIDTH) or not self.reason:
            raise ValueError(
                f"Expected the claim {self.id!r} to need {ANY_SIZE!r} or {FULL_WIDTH!r} and to say "
                f"why, received needs={self.needs!r}, reason={self.reason!r}. Give both."
            )
        if self.at_most not in _WORST_FIRST or (self.at_most == REPRODUCED) == bool(self.limit):
            raise ValueError(
                f"Expected the claim {self.id!r} to have at_most one of {_WORST_FIRST}, and a "
                f"limit if it is not the best, received at_most={self.at_most!r}, "
                f"limit={self.limit!r}. Give both or neither."
            )
        check_where(f"the claim {self.id!r}", self.where)
        for name in self.datasets:
            check_choice(f"a data set of the claim {self.id!r}", name, DATASETS)
            for given in (self.says, self.judge):
                if isinstance(given, Mapping):
                    check_choice(f"a data set of the claim {self.id!r}", name, given)


class Judgement(NamedTuple):
    """A claim on one data set, held against rows."""

    claim: Claim
    dataset: str
    measured: str
    verdict: str

    @property
    def id(self) -> str:
        """The claim's name with the data set."""
        return f"{self.claim.id}/{self.dataset}"


def judge_claims(claims: Iterable[Claim], rows: Iterable[Row], bears: str) -> list[Judgement]:
    """Holds claims against all rows of a profile that can bear some of them (one of ``BEARS``).

    Returns:
        A judgement for each claim and data set, in their order; none if the profile bears nothing.
        A claim without rows is ``"not measured"``; one that needs more than the profile bears is
        ``"not tested at this size"``, with its numbers.

    Raises:
        ValueError: If ``bears`` is unknown.
    """
    check_choice("bears", bears, BEARS)
    by_dataset: dict[str, list[Row]] = {}
    for row in rows:
        by_dataset.setdefault(row.dataset, []).append(row)
    return [
        _judged(claim, dataset, by_dataset.get(dataset, []), bears)
        for claim in (claims if bears != "nothing" else ())
        for dataset in claim.datasets
    ]


def _judged(claim: Claim, dataset: str, rows: Sequence[Row], bears: str) -> Judgement:
    verdict, measured = _of(dataset, claim.judge).judge(Evidence(rows, claim.where))
    if verdict == NOT_MEASURED:
        return Judgement(claim, dataset, measured, verdict)
    measured += _equalities(claim, rows)
    if claim.needs == FULL_WIDTH and bears == ANY_SIZE:
        return Judgement(claim, dataset, measured, NOT_TESTED)
    if _WORST_FIRST.index(verdict) > _WORST_FIRST.index(claim.at_most):
        verdict, measured = claim.at_most, f"{measured}; {claim.at_most} at most: {claim.limit}"
    return Judgement(claim, dataset, measured, verdict)


def _of(dataset: str, given: Any) -> Any:
    """What is given for all data sets, or for this one."""
    return given[dataset] if isinstance(given, Mapping) else given


def _equalities(claim: Claim, rows: Sequence[Row]) -> str:
    evidence = Evidence(rows, {"metric": "accuracy"})
    words = ""
    for line, other in claim.same:
        pairs = evidence.pairs(line, other).values()
        equal = sum(pair.value.members == pair.other.members for pair in pairs)
        if pairs and 2 * equal >= len(pairs):
            words += f"; {line.label} and {other.label} are equal at {equal} of {len(pairs)}"
    return words


def claims_table(judged: Iterable[Judgement]) -> str:
    """Judgements as Markdown, a table under each heading of which something was measured."""
    groups: dict[tuple[str, str], list[Judgement]] = {}
    for one in judged:
        groups.setdefault((one.claim.heading, one.claim.author), []).append(one)
    parts = []
    for (heading, author), own in groups.items():
        if any(one.verdict != NOT_MEASURED for one in own):
            header = ["claim", "data set", author, "measured", "verdict"]
            table = markdown_table(header, map(_cells, own), "left")
            parts.append(f"**{heading}**\n\n{table}")
    return "\n".join(parts)


def _cells(one: Judgement) -> list[str]:
    dataset = DATASET_LABELS.get(one.dataset, one.dataset)
    says = _of(one.dataset, one.claim.says)
    return [one.claim.text, dataset, says, one.measured, f"**{one.verdict}**"]


def needs_table(claims: Iterable[Claim]) -> str:
    """What each claim needs to be judged, and why, as Markdown."""
    body = [[claim.text, claim.needs, claim.reason] for claim in claims]
    return markdown_table(["claim", "needs", "why"], body, "left")
