"""Refusing rows that one figure or table cannot show together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from results.row import Row


def require_rows(rows: Iterable[Row], what: str) -> list[Row]:
    """The rows as a list, or a clear error if there are none.

    Args:
        rows: Rows.
        what: What they are needed for.

    Returns:
        The same rows.

    Raises:
        ValueError: If there are none.
    """
    found = list(rows)
    if not found:
        raise ValueError(
            f"Expected rows to draw {what}, received none. Run its experiment first, or pass rows "
            "of the right metric."
        )
    return found


def require_single(rows: Sequence[Row], *columns: str) -> None:
    """Refuses rows that differ where one figure may not.

    Args:
        rows: Rows for one figure; clean rows (`attack == "none"`) may join any attack's.
        *columns: Names of columns.

    Raises:
        ValueError: If a column holds more than one value.
    """
    for column in columns:
        relevant = rows if column == "dataset" else [row for row in rows if row.attack != "none"]
        values = sorted({str(getattr(row, column)) for row in relevant})
        if len(values) > 1:
            raise ValueError(
                f"Expected one {column} in a figure or table, received {values}. Draw one for each."
            )
