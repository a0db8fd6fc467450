"""Exhibits that the catalog lists with the reason why nothing is measured for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from results.exhibit import Exhibit

DIAGRAM = "a diagram or notation, nothing to measure"
ARCHITECTURE = "an architecture, built in models/ and held by tests"
NOT_YET = "not implemented yet"


def unmeasured(paper: str, titles: Mapping[str, str], note: str = NOT_YET) -> list[Exhibit]:
    """Exhibits of which nothing is measured.

    Args:
        paper: Number of the paper.
        titles: Id without the paper -> title.
        note: The reason.
    """
    return [Exhibit(id=f"{paper}.{i}", title=title, note=note) for i, title in titles.items()]


def copies(paper: str, originals: Mapping[str, tuple[str, Sequence[str]]]) -> list[Exhibit]:
    """Exhibits of one paper that another one prints too.

    Args:
        paper: Number of the paper.
        originals: Id without the paper -> title and the ids of the originals.
    """
    return [
        Exhibit(
            id=f"{paper}.{i}",
            title=title,
            repeats=tuple(ids),
            note=f"the same as {', '.join(ids)}, which it selects",
        )
        for i, (title, ids) in originals.items()
    ]
