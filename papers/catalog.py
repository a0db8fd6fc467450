"""Every paper of this package, and every figure and table by id.

A module of this package is a paper, or a chapter of one, by declaring ``TITLE``, ``SUMMARY`` and
``EXHIBITS``, and ``CLAIMS`` if it makes any. It is found by being there: a new paper needs a new
file and no edit here. Papers come in the order of their numbers, then of their modules' names.

An id is what ``run_all.py --only`` selects: the paper's number, then F for a figure, T for a table
or S for a supplement; ``003.F3.6`` is Figure 3.6 of the dissertation.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from papers.lines import DATASETS
from results.claims import Claim
from results.exhibit import Exhibit, Grid, Probe
from results.markdown import NOTHING, markdown_table

#: Modules of this package that are no papers.
_OTHERS = ("catalog", "lines", "listed", "pages")


class Paper(NamedTuple):
    """A paper, or a chapter of one, as its module declares it.

    Args:
        module: Name of the module, and of its page under ``docs/papers/``.
        number: What its ids begin with.
        title: What it is called.
        summary: One sentence on what it claims.
        exhibits: Its figures and tables.
        claims: What it claims.
    """

    module: str
    number: str
    title: str
    summary: str
    exhibits: tuple[Exhibit, ...]
    claims: tuple[Claim, ...]


def _paper(module: str) -> Paper:
    declared = importlib.import_module(f"papers.{module}")
    for name in ("TITLE", "SUMMARY", "EXHIBITS"):
        if not getattr(declared, name, ""):
            raise ValueError(
                f"Expected papers/{module}.py to declare TITLE, SUMMARY and EXHIBITS, received no "
                f"{name}. Declare it, or name the module in papers/catalog.py as one that is no "
                "paper."
            )
    numbers = {one.id.split(".")[0] for one in declared.EXHIBITS}
    if len(numbers) != 1:
        raise ValueError(
            f"Expected the ids of papers/{module}.py to begin with one number, received "
            f"{sorted(numbers)}."
        )
    return Paper(
        module=module,
        number=min(numbers),
        title=declared.TITLE,
        summary=declared.SUMMARY,
        exhibits=tuple(declared.EXHIBITS),
        claims=tuple(getattr(declared, "CLAIMS", ())),
    )


def _exhibits(papers: Iterable[Paper]) -> tuple[Exhibit, ...]:
    """All exhibits, in order."""
    found: dict[str, str] = {}
    for paper in papers:
        for one in paper.exhibits:
            if one.id in found:
                raise ValueError(
                    f"Expected every id once, received {one.id!r} from papers/{found[one.id]}.py "
                    f"and papers/{paper.module}.py. Give one of the two another number."
                )
            found[one.id] = paper.module
    return tuple(one for paper in papers for one in paper.exhibits)


PAPERS: tuple[Paper, ...] = tuple(
    sorted(
        (
            _paper(module.name)
            for module in pkgutil.iter_modules([str(Path(__file__).parent)])
            if module.name not in _OTHERS
        ),
        key=lambda paper: (paper.number, paper.module),
    )
)
EXHIBITS: tuple[Exhibit, ...] = _exhibits(PAPERS)
CLAIMS: tuple[Claim, ...] = tuple(claim for paper in PAPERS for claim in paper.claims)


def exhibit(id: str) -> Exhibit:
    """The exhibit with an id.

    Raises:
        ValueError: If there is none; the message lists the known ids.
    """
    for one in EXHIBITS:
        if one.id == id:
            return one
    raise ValueError(_unknown(id))


def select(wanted: Iterable[str]) -> list[Exhibit]:
    """The exhibits whose ids are named, or begin with a named part (``003`` or ``003.F3``).

    Args:
        wanted: Ids or prefixes; none at all selects everything.

    Returns:
        In the order of their names, each once; a copy is followed by its originals.

    Raises:
        ValueError: If one matches nothing; the message lists the known ids.
    """
    if isinstance(wanted, str):
        raise ValueError(
            f"Expected several ids or beginnings, received the text {wanted!r}. Pass a list."
        )
    patterns = list(wanted)
    if not patterns:
        return list(EXHIBITS)
    chosen: list[Exhibit] = []
    for pattern in patterns:
        exact = [one for one in EXHIBITS if one.id == pattern]
        named = isinstance(pattern, str)
        found = exact or [
            one for one in EXHIBITS if named and one.id.startswith(_beginnings(pattern))
        ]
        if not found:
            raise ValueError(_unknown(pattern))
        for one in found:
            originals = [original for original in EXHIBITS if original.id in one.repeats]
            chosen += [new for new in (one, *originals) if new not in chosen]
    return chosen


def _beginnings(pattern: str) -> tuple[str, ...]:
    """``003.F`` means every figure, ``003.F3`` those of chapter 3 but not ``003.F31``."""
    return (f"{pattern.rstrip('.')}.", *([pattern] if pattern[-1:].isalpha() else []))


def _unknown(id: str) -> str:
    known = ", ".join(one.id for one in EXHIBITS)
    near = ", ".join(difflib.get_close_matches(str(id), [one.id for one in EXHIBITS]))
    return (
        f"Expected a figure or table, or the beginning of some (003, 003.F3), received {id!r}. "
        f"{f'Did you mean {near}? ' if near else ''}Choose among the known: {known}."
    )


def listing(exhibits: Iterable[Exhibit], profiles: Iterable[tuple[str, str, Sequence[str]]]) -> str:
    """The text of ``run_all.py --list``: every exhibit by paper, with what each profile does of it.

    Args:
        exhibits: What to list.
        profiles: Of each profile its name, what it cuts, and the names of its data sets.

    Returns:
        Lines of text.
    """
    known = list(profiles)
    of_exhibit = {one.id: paper for paper in PAPERS for one in paper.exhibits}
    lines = [f"{name}: {cuts}" for name, cuts, _ in known]
    paper = None
    for one in exhibits:
        if of_exhibit[one.id] != paper:
            paper = of_exhibit[one.id]
            lines += ["", f"{paper.number}  {paper.title}"]
        lines.append(f"  {one.id:16} {one.title}")
        if not one.implemented:
            lines.append(f"{'':19}-- {one.note}")
            continue
        for name, _, datasets in known:
            run = ", ".join(dataset for dataset in datasets if one.applies_to(dataset))
            lines.append(f"{'':19}{name}: {run or 'not run'}")
    return "\n".join(lines)


def docs_table(module: str) -> str:
    """A paper's exhibits as a Markdown table, for pages of the documentation.

    Args:
        module: Name of its module.

    Returns:
        A table of id, title, data sets and what is measured, or why nothing is.

    Raises:
        ValueError: If there is no such paper; the message lists the known ones.
    """
    for paper in PAPERS:
        if paper.module == module:
            body = [
                [f"`{one.id}`", one.title, _datasets(one), _measured(one)] for one in paper.exhibits
            ]
            return markdown_table(["id", "shows", "data sets", "measured"], body, align="left")
    raise ValueError(
        f"Expected a paper, one of {', '.join(paper.module for paper in PAPERS)}, received "
        f"{module!r}. Pass the name of its module."
    )


def _datasets(one: Exhibit) -> str:
    return ", ".join(DATASETS.get(name, name) for name in one.datasets) or NOTHING


def _measured(one: Exhibit) -> str:
    words = dict.fromkeys(_measure_words(part) for part in one.measures)
    return "; ".join(words) or one.note


def _measure_words(part: Grid | Probe) -> str:
    if isinstance(part, Probe):
        return part.name.replace("_", " ")
    return "accuracy, clean" if part.threat == "none" else f"accuracy, `{part.threat}`"
