"""Brings the generated parts of ``README.md`` and ``docs/papers/`` up to date.

    python -m papers.pages            writes them, and a page for a paper that has none
    python -m papers.pages --check    names those that are not up to date, and exits with 1

They are made from the declarations of this package and the committed rows, and stand between
``<!-- table:NAME -->`` and ``<!-- /table:NAME -->``; all other text of a page is written by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from papers import catalog
from papers.catalog import Paper
from results.claims import (
    ANY_SIZE,
    NOT_TESTED,
    Judgement,
    claims_table,
    judge_claims,
    needs_table,
)
from results.files import write_atomically
from results.judges import NOT_MEASURED, NOT_REPRODUCED, PARTLY, REPRODUCED
from results.markdown import update_between_markers
from results.row import Row
from results.store import RowStore

ROOT = Path(__file__).resolve().parents[1]
#: The profile whose rows are committed, and which claims it can judge.
PROFILE, BEARS = "quick", ANY_SIZE
VERDICTS = (REPRODUCED, PARTLY, NOT_REPRODUCED, NOT_TESTED, NOT_MEASURED)
NEW_PAGE = """# {title}

{summary}

`{number}` in the ids, declared in `papers/{module}.py`. What holds for all papers is in the
[index](README.md).

## Figures and tables

<!-- table:exhibits -->
<!-- /table:exhibits -->

## Claims

<!-- table:claims -->
<!-- /table:claims -->
"""


Verdicts = Mapping[str, Sequence[Judgement]]
"""Every claim held against the rows, by the module of its paper."""


def judge(rows: Iterable[Row]) -> Verdicts:
    """Holds the claims of every paper against rows of the profile."""
    rows = list(rows)
    return {paper.module: judge_claims(paper.claims, rows, BEARS) for paper in catalog.PAPERS}


def current_pages(root: Path, verdicts: Verdicts) -> dict[Path, str]:
    """Every page as it should be.

    Args:
        root: The repository.
        verdicts: See ``judge``.

    Returns:
        The text of each page by its path; those that are not there yet among them.

    Raises:
        ValueError: If a page marks a section that is not made here.
    """
    folder = root / "docs" / "papers"
    pages = {
        root / "README.md": {"papers": papers_list(verdicts, "docs/papers/")},
        folder / "README.md": {"pages": papers_list(verdicts, "")},
    }
    texts = {path: path.read_text(encoding="utf-8") for path in pages}
    for paper in catalog.PAPERS:
        path = folder / f"{paper.module}.md"
        pages[path] = {
            "exhibits": catalog.docs_table(paper.module),
            "claims": claims_section(paper, verdicts[paper.module]),
        }
        texts[path] = path.read_text(encoding="utf-8") if path.exists() else _new_page(paper)
    return {path: _updated(path, texts[path], made) for path, made in pages.items()}


def papers_list(verdicts: Verdicts, folder: str) -> str:
    """A line for each paper: what it says, and how many of its claims are judged how.

    Args:
        verdicts: See ``judge``.
        folder: Where the pages lie, seen from the page that shows the list.
    """
    lines = [
        f"* [{paper.title}]({folder}{paper.module}.md) (`{paper.number}`). {paper.summary} "
        f"{_words(paper, verdicts[paper.module])}"
        for paper in catalog.PAPERS
    ]
    return "\n".join(lines)


def claims_section(paper: Paper, judged: Sequence[Judgement]) -> str:
    """What the rows say of each claim of a paper, and what each needs to be judged."""
    words = _words(paper, judged)
    if not paper.claims:
        return words
    table = claims_table(judged) or "None of them has been measured yet.\n"
    return f"{words}\n\n{table}\n{needs_table(paper.claims)}"


def stale(root: Path, verdicts: Verdicts) -> Iterator[str]:
    """The generated sections that are not up to date, in words."""
    for path, text in current_pages(root, verdicts).items():
        name = path.relative_to(root).as_posix()
        if not path.exists():
            yield f"{name} is missing"
            continue
        before, after = _sections(path.read_text(encoding="utf-8")), _sections(text)
        yield from (f"{name}: {part}" for part in after if before[part] != after[part])


def _words(paper: Paper, judged: Sequence[Judgement]) -> str:
    """How many claims of a paper are judged how, or why none is."""
    if not paper.claims:
        repeated = [id for one in paper.exhibits for id in one.repeats]
        if repeated:
            return f"Measured as {', '.join(repeated)}."
        measured = any(one.implemented for one in paper.exhibits)
        return "No claim of it is judged." if measured else "Not implemented yet."
    counts = Counter(one.verdict for one in judged)
    words = ", ".join(f"{counts[name]} {name}" for name in VERDICTS if counts[name])
    return f"In `{PROFILE}`: {words}."


def _new_page(paper: Paper) -> str:
    return NEW_PAGE.format(**paper._asdict())


def _updated(path: Path, text: str, made: dict[str, str]) -> str:
    for name in _sections(text):
        if name not in made:
            raise ValueError(
                f"Expected {path.name} to mark sections among {', '.join(made)}, received "
                f"{name!r}. Remove its markers."
            )
        text = update_between_markers(text, name, made[name])
    return text


def _sections(text: str) -> dict[str, str]:
    """What stands between the markers of a page, by name."""
    found = re.findall(r"<!-- table:(\S+) -->(.*?)<!-- /table:\1 -->", text, re.DOTALL)
    return dict(found)


def main(arguments: list[str] | None = None) -> int:
    """Writes or checks the pages; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, name what is stale")
    options = parser.parse_args(arguments)
    verdicts = judge(RowStore(ROOT / "results", PROFILE).read(seed=0))
    if options.check:
        found = list(stale(ROOT, verdicts))
        for name in found:
            print(f"not up to date: {name}. Run: python -m papers.pages", file=sys.stderr)
        return 1 if found else 0
    for path, text in current_pages(ROOT, verdicts).items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_atomically(path, text.encode("utf-8"))
            print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
