"""Which rows one figure or table shows together, and which it cannot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from results.row import Row

#: Beginnings of the identifiers of two papers.
DISSERTATION, PUVAE_PAPER = "003.", "004."
#: The defense that a chapter is about, by the beginning of its figures' identifiers.
_MAIN_DEFENSES = {"003.F3.": "sfl_vae", "003.F4.": "defense_cyclegan", "003.F5.": "vqunet"}
#: Chapters 3 and 4 attack the same targets in the same way: one attack, one picture of both.
_SAME_ATTACK = (
    ("003.F3.6", "003.F4.2"),
    ("003.F3.7", "003.F4.5"),
    ("003.F3.8", "003.F4.3"),
    ("003.F3.9", "003.F4.4"),
)


def main_defense(experiment: str) -> str | None:
    """The defense whose every decider a figure shows, where it shows several defenses.

    Args:
        experiment: Identifier such as `"003.F4.2"`.

    Returns:
        Its registry key, or None if all are shown alike.
    """
    found = (key for start, key in _MAIN_DEFENSES.items() if experiment.startswith(start))
    return next(found, None)


def companions(experiment: str) -> tuple[str, ...]:
    """The experiments whose rows a figure shows.

    Args:
        experiment: Identifier such as `"003.F4.2"`.

    Returns:
        The identifier itself first, then any other that measured further curves of the figure.
    """
    for pair in _SAME_ATTACK:
        if experiment in pair:
            return experiment, *(name for name in pair if name != experiment)
    return (experiment,)


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
