"""Points as cells, and sheets as Markdown.

A cell is made of a point, or of None where nothing was measured; a star says that it is flagged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from results.exhibit import Derived, Line
from results.sheet import Point, Sheet, SheetLine, SheetPanel
from validation import check_choice

NOTHING = "–"


def percent(point: Point | None) -> str:
    """A fraction with the half width of its interval in percent: ``"81.2 ± 2.4"``."""
    return _cell(point, 100, ".1f", width=".1f")


def bare_percent(point: Point | None) -> str:
    """A fraction in percent without interval and star: ``"81.2"``."""
    return _cell(point, 100, ".1f", star="")


def number(point: Point | None) -> str:
    """A number with the half width of its interval: ``"5.41 ± 0.042"``."""
    return _cell(point, 1, ".4g", width=".2g")


def seconds(point: Point | None) -> str:
    """A time, three digits: ``"0.114"``."""
    return _cell(point, 1, ".3g")


def _cell(point: Point | None, scale: int, digits: str, *, width: str = "", star: str = "*") -> str:
    if point is None:
        return NOTHING
    interval = f" ± {scale * point.half_width:{width}}" if width and point.half_width else ""
    return f"{scale * point.value:{digits}}{interval}{star if point.flags else ''}"


def markdown_table(
    header: Sequence[str], body: Iterable[Sequence[str]], align: str = "right"
) -> str:
    """A Markdown table, its columns after the first to the ``"right"`` or ``"left"``.

    Raises:
        ValueError: If a line has another number of cells, or ``align`` is another word.
    """
    check_choice("align", align, ("left", "right"))
    rule = " --: |" if align == "right" else " :-- |"
    lines = ["| " + " | ".join(header) + " |", "| :-- |" + rule * (len(header) - 1)]
    for cells in body:
        if len(cells) != len(header):
            raise ValueError(
                f"Expected {len(header)} cells for the columns {list(header)}, received "
                f"{list(cells)}. Give each column its cell."
            )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def sheet_table(sheet: Sheet) -> str:
    """A sheet with at least one panel as a table, with its notes; it ends with a line break."""
    exhibit = sheet.exhibit
    body = [
        [
            exhibit.joined(panel.line.label, line.label),
            *(_text(sheet, panel, line, column) for column in sheet.columns),
        ]
        for panel in sheet.panels
        for line in panel.lines
    ]
    notes = ["In brackets: as printed."] if exhibit.bracketed and sheet.printed else []
    notes += [note(sheet) for note in exhibit.notes]
    flags = sorted({flag for point in sheet.points for flag in point.flags})
    notes += [f"\\* flagged: {', '.join(flags)}."] if flags else []
    table = markdown_table([exhibit.corner, *(column.label for column in sheet.columns)], body)
    return table + "".join(f"\n{note}\n" for note in notes if note)


def _text(sheet: Sheet, panel: SheetPanel, line: SheetLine, column: Line | Derived) -> str:
    """The cell of a line and a column."""
    if isinstance(line.line, Derived):
        return line.line.text(sheet, column)
    if isinstance(column, Derived):
        return column.text(sheet, line)
    cell = line.line.cell or column.cell or sheet.exhibit.cell or percent
    text = cell(line.points.get(column))
    place = sheet.exhibit.joined(panel.line.label, line.line.label)
    printed = sheet.printed.get((place, column.label)) if sheet.exhibit.bracketed else None
    return text if printed is None else f"{text} ({printed})"


def update_between_markers(text: str, name: str, table: str) -> str:
    """A document with a table between ``<!-- table:NAME -->`` and ``<!-- /table:NAME -->``.

    Raises:
        ValueError: If the markers are not there exactly once, in order.
    """
    start, end = f"<!-- table:{name} -->", f"<!-- /table:{name} -->"
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        known = re.findall(r"<!-- table:(\S+) -->", text)
        raise ValueError(
            f"Expected the markers {start!r} and {end!r} once each and in this order, received a "
            f"text with tables marked {known}. Write both markers where the table is to stand."
        )
    before, rest = text.split(start)
    after = rest.split(end)[1]
    return f"{before}{start}\n{table.strip()}\n{end}{after}"
