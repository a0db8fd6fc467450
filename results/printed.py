"""What publications print, from ``paper_values.json``, as numbers and words.

Whatever is asked for and not there is a ``ValueError`` that lists what is.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from validation import check_integer

_MOST_DIGITS = 15
"""As many decimals as a float holds."""
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@functools.cache
def _tables() -> list[dict[str, Any]]:
    path = Path(__file__).with_name("paper_values.json")
    text = path.read_text(encoding="utf-8")
    try:
        return json.loads(text, parse_constant=_no_number)["tables"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: expected JSON with the printed tables under 'tables', received another file "
            f"({error}). Restore it from version control."
        ) from error


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no printed number")


def printed_table(table_id: str) -> dict[str, Any]:
    """The entry ``"004.T3"``, say, of ``paper_values.json``, with its ``columns`` and ``rows``."""
    for table in _tables():
        if table["id"] == table_id:
            return table
    known = sorted({table["id"] for table in _tables() if table["id"] != "text"})
    raise ValueError(
        f"Expected a printed table, received {table_id!r}. Choose among the known tables: {known}."
    )


def printed_rows(table_id: str) -> list[dict[str, Any]]:
    """The rows of a printed table, each by the headings of its columns."""
    table = printed_table(table_id)
    return [dict(zip(table["columns"], cells, strict=True)) for cells in table["rows"]]


def table_value(table_id: str, row: str, column: str) -> float:
    """The number as printed in a column of the row that begins with ``row``."""
    for cells in printed_rows(table_id):
        value = cells.get(column)
        if row == next(iter(cells.values())) and isinstance(value, int | float):
            return float(value)
    raise _no_cell(table_id, f"number in row {row!r}, column {column!r}")


def printed_values(
    table_id: str,
    lines: Mapping[str, str | tuple[str, ...]],
    columns: Mapping[str, str],
    digits: int | None = None,
) -> dict[tuple[str, str], float | str]:
    """A printed table as ``{(line, column): value}``, for ``Exhibit.printed``.

    Cells that are empty or lost in print are left out.

    Args:
        table_id: For example ``"004.T3"``.
        lines: Our label of a line -> the first cell of the printed row, or its first cells.
        columns: Our label of a column -> the printed heading.
        digits: Writes numbers with so many decimals, as JSON loses the zeros at their end; None
            leaves them numbers.
    """
    if digits is not None:
        check_integer("digits", digits, at_most=_MOST_DIGITS)
    found: dict[tuple[str, str], float | str] = {}
    for line, beginning in lines.items():
        first = (beginning,) if isinstance(beginning, str) else tuple(beginning)
        rows = [one for one in printed_rows(table_id) if tuple(one.values())[: len(first)] == first]
        if not rows or not set(columns.values()) <= set(rows[0]):
            raise _no_cell(table_id, f"row that begins with {first} and has {[*columns.values()]}")
        values = {column: rows[0][heading] for column, heading in columns.items()}
        for column, value in values.items():
            if value is not None:
                found[line, column] = value if digits is None else f"{value:.{digits}f}"
    return found


def _no_cell(table_id: str, what: str) -> ValueError:
    table = printed_table(table_id)
    return ValueError(
        f"Expected what the printed table {table_id!r} has, received a {what}. Choose among the "
        f"columns {table['columns']} and the rows {[tuple(c[:2]) for c in table['rows']]}."
    )


def text_words(paper: str, where: str, quantity: str) -> str:
    """What a publication (``"003"``) says of a quantity in the running text of a section.

    For example ``"97 Fashion-MNIST; 91 CIFAR-10"``; quantities are those of the file.
    """
    tables = [one for one in _tables() if one["id"] == "text" and one["seed"] == paper]
    known = {(row[0], row[1]): str(row[2]) for table in tables for row in table["rows"]}
    if (where, quantity) not in known:
        raise ValueError(
            f"Expected a printed number, received {where}: {quantity!r} of publication {paper!r}. "
            f"Choose among the known: {[': '.join(names) for names in known]}."
        )
    return known[where, quantity]


def text_value(paper: str, where: str, quantity: str) -> float:
    """The first number in ``text_words``: "above 93" gives 93.0; words alone are refused."""
    words = text_words(paper, where, quantity)
    match = _NUMBER.search(words)
    if match is None:
        raise ValueError(
            f"Expected a number for {where}: {quantity!r}, received {words!r}. Read it with "
            "text_words."
        )
    return float(match.group())
