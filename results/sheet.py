"""Rows and an exhibit become a sheet: points by panel, line and column.

One pivot serves every table, figure and claim. What is averaged over what, and with which interval,
is decided here alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import NormalDist, fmean
from typing import Any

from results.exhibit import Axis, Derived, Exhibit, Line, alternatives, matches
from results.row import Place, Row
from validation import check_integer, check_number


@dataclasses.dataclass(frozen=True)
class Point:
    """One number of a sheet.

    Args:
        value: Mean over targets of their means over seeds.
        low: Lower end of its interval, or ``value`` if there is none.
        high: Upper end.
        flags: Warnings of any row behind it.
        members: The value of each target, ``{target: value}``; the key is empty without targets.
        images: How many distinct images stand behind it, or None if its rows hold no counts.
    """

    value: float
    low: float
    high: float
    flags: tuple[str, ...] = ()
    members: Mapping[str, float] = dataclasses.field(default_factory=dict)
    images: int | None = None

    def __post_init__(self) -> None:
        low = check_number("the lower end of a point", self.low)
        value = check_number("the value of a point", self.value, at_least=low)
        check_number("the upper end of a point", self.high, at_least=value)

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2


@dataclasses.dataclass(frozen=True, eq=False)
class SheetLine:
    """A line of a panel.

    Args:
        line: What was declared, an ``Axis`` resolved into one line for each value.
        label: Its label, filled in from its rows.
        points: By column, None where nothing was measured; empty for a derived line.
        rows: The rows behind it.
    """

    line: Line | Derived
    label: str
    points: Mapping[Line, Point | None]
    rows: tuple[Row, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class SheetPanel:
    """A part of a sheet: its line of the exhibit's panels, and its own lines."""

    line: Line
    lines: tuple[SheetLine, ...]

    def find(self, label: str) -> SheetLine | None:
        """The line that was declared with a label, or that has it now."""
        return next((one for one in self.lines if label in (one.line.label, one.label)), None)


@dataclasses.dataclass(frozen=True, eq=False)
class Sheet:
    """An exhibit filled in for one data set.

    Args:
        exhibit: What was declared.
        dataset: Name of the data set.
        panels: Those with at least one line.
        columns: Resolved columns that have a point (or are derived).
        rows: Every row that the exhibit shows.
    """

    exhibit: Exhibit
    dataset: str
    panels: tuple[SheetPanel, ...]
    columns: tuple[Line | Derived, ...]
    rows: tuple[Row, ...]

    @property
    def printed(self) -> Mapping[tuple[str, str], float | str]:
        """Values as printed, by the declared labels of line and column."""
        return self.exhibit.printed(self.dataset)

    @property
    def measured_columns(self) -> list[Line]:
        """The columns that hold points."""
        return [column for column in self.columns if isinstance(column, Line)]

    def column(self, label: str) -> Line | None:
        """The column of points with a label."""
        return next((one for one in self.measured_columns if one.label == label), None)

    def point(self, line: str, column: str, panel: int = 0) -> Point | None:
        """The point at two labels, or None."""
        found = self.panels[panel].find(line) if self.panels else None
        at = self.column(column)
        return found.points.get(at) if found is not None and at is not None else None

    @property
    def points(self) -> list[Point]:
        """Every point."""
        lines = [line for panel in self.panels for line in panel.lines]
        return [point for line in lines for point in line.points.values() if point is not None]


def fill(exhibit: Exhibit, dataset: str, rows: Iterable[Row]) -> Sheet:
    """Fills an exhibit in with the rows of one data set.

    The sheet has no panels if there is no row for it, or only rows of clean images, which many
    exhibits share, for one that asks for an attack. Points that lack a target which their line has
    elsewhere are left out, and so are lines that lack one which others of their panel have, and
    lines of clean images alone beside attacked ones.

    Raises:
        ValueError: If two rows claim the same point, or a label cannot be filled in.
    """
    everything = [row for row in rows if row.dataset == dataset]
    shown = [row for row in everything if matches(row, exhibit.where)]
    if not _attacked_as_asked(exhibit, shown):
        shown = []
    columns = expand(exhibit.columns, shown)
    errors = standard_errors(everything)

    def filled(line: Line | Derived, inside: Sequence[Row]) -> SheetLine:
        if isinstance(line, Derived):
            return SheetLine(line, line.label, {})
        own = [row for row in inside if matches(row, line.where)]
        measured = [column for column in columns if isinstance(column, Line)]
        behind = {one: [row for row in own if matches(row, one.where)] for one in measured}
        points = complete({column: point(rows, errors) for column, rows in behind.items()})
        label = _label(line, own) if any(points.values()) else ""
        return SheetLine(line, label, points, tuple(own))

    panels = []
    for panel in exhibit.panels:
        inside = [row for row in shown if matches(row, panel.where)]
        lines = [filled(line, inside) for line in expand(exhibit.lines, inside)]
        lines = _attacked_as_others(_of_all_targets(lines))
        if any(isinstance(one.line, Line) for one in lines):
            panels.append(SheetPanel(panel, tuple(lines)))
    present = [
        column
        for column in columns
        if isinstance(column, Derived)
        or any(one.points.get(column) for panel in panels for one in panel.lines)
    ]
    return Sheet(exhibit, dataset, tuple(panels), tuple(present), tuple(shown))


def _of_all_targets(lines: Sequence[SheetLine]) -> list[SheetLine]:
    """Lines with a point, without means over fewer targets than others are over."""

    def targets(one: SheetLine) -> set[str]:
        named = isinstance(one.line, Derived) or any(
            "target" in a for a in alternatives(one.line.where)
        )
        points = [] if named else [point for point in one.points.values() if point]
        return {name for point in points for name in point.members} - {""}

    every = set[str]().union(*map(targets, lines))
    return [
        one
        for one in lines
        if isinstance(one.line, Derived)
        or (any(one.points.values()) and targets(one) in (set(), every))
    ]


def _attacked_as_others(lines: Sequence[SheetLine]) -> list[SheetLine]:
    """Lines without those of clean images alone, where others of their panel are attacked.

    Not where the lines themselves are attacks, of which the clean images are one.
    """

    def clean(one: SheetLine) -> bool:
        named = isinstance(one.line, Derived) or any(
            "attack" in a for a in alternatives(one.line.where)
        )
        return not named and all(row.attack == "none" for row in one.rows)

    measured = [one for one in lines if isinstance(one.line, Line)]
    alone = [one for one in measured if clean(one)]
    return [one for one in lines if one not in alone] if len(alone) < len(measured) else [*lines]


def _attacked_as_asked(exhibit: Exhibit, rows: Sequence[Row]) -> bool:
    """Whether there is a row of an attack that the exhibit names, if it names any."""
    named = [one.get("attack", "none") for one in alternatives(exhibit.where)]
    attacks = {a for one in named for a in (one if isinstance(one, tuple) else (one,))} - {"none"}
    return not attacks or any(row.attack in attacks for row in rows)


def expand(parts: Sequence[Line | Axis | Derived], rows: Sequence[Row]) -> list[Line | Derived]:
    """Lines as declared, each ``Axis`` as one line for each value that the rows have."""
    found: list[Line | Derived] = []
    for part in parts:
        found += _lines_of(part, rows) if isinstance(part, Axis) else [part]
    return found


def _lines_of(axis: Axis, rows: Sequence[Row]) -> list[Line]:
    values = {tuple(map(row.get, axis.names)) for row in rows if matches(row, axis.where)}
    values = {one for one in values if None not in one and one[0] not in axis.without}
    lines = []
    order = axis.order or (lambda value: [(isinstance(one, str), one) for one in value])
    for index, value in enumerate(sorted(values, key=order)):
        given = dict(zip(axis.names, value, strict=True))
        where = [{**alternative, **given} for alternative in alternatives(axis.where)]
        look = axis.looks[index] if index < len(axis.looks) else None
        lines.append(Line(axis.words(value), where, look))
    return lines


def complete(points: Mapping[Any, Point | None]) -> dict[Any, Point | None]:
    """Points of one line by place, without those that lack a target which it has elsewhere.

    What is measured without naming a target holds for all of them.
    """
    targets = {name for one in points.values() if one for name in one.members} - {""}
    return {
        place: one if one is None or set(one.members) in ({""}, targets) else None
        for place, one in points.items()
    }


def _label(line: Line, rows: Sequence[Row]) -> str:
    if "{" not in line.label:
        return line.label
    first = next((row for row in rows if row.attack != "none"), rows[0])
    names = {**first.settings, "epsilon": first.epsilon, "attack": first.attack}
    try:
        return line.label.format(**names)
    except (KeyError, IndexError, AttributeError, ValueError) as error:
        raise ValueError(
            f"Expected rows that fill in the label {line.label!r}, received settings "
            f"{dict(first.settings)} ({error}). Change the label, or measure the setting."
        ) from error


def standard_errors(rows: Iterable[Row]) -> dict[Place, float]:
    """Values of the rows ``<metric>_standard_error`` by their place."""
    return {row.place: row.value for row in rows if row.metric.endswith("_standard_error")}


def measured_error(
    rows: Iterable[Row], errors: Mapping[Place, float], suffix: str = "_standard_error"
) -> float | None:
    """The mean of the errors that were measured beside some rows; None without any."""
    places = [row.place._replace(metric=f"{row.metric}{suffix}") for row in rows]
    found = [errors[place] for place in places if place in errors]
    return fmean(found) if found else None


def point(rows: Sequence[Row], errors: Mapping[Place, float] | None = None) -> Point | None:
    """The point that some rows make: the mean over the targets of their means over seeds.

    The 95 % Wilson interval of an accuracy is that of **n = the number of distinct images**, not of
    n times the number of targets (or seeds, or voters): all of them judge the same images, so
    pooling their counts would pretend to three times the evidence. Any other metric has one
    standard error to either side where it was measured; that of a mean is taken as the mean of
    theirs, for the same reason.

    **Reference**: Dissertation, sec. 3.4.3 (mean over targets A, B, C).

    Args:
        rows: At most one for each target and seed, all of one metric; none, and those of a share
            of nothing (``undefined``), make no point.
        errors: See ``standard_errors``.

    Raises:
        ValueError: If two rows are of the same target and seed.
    """
    rows = [row for row in rows if "undefined" not in row.flags]
    if not rows:
        return None
    by_target: dict[str, dict[int, Row]] = {}
    for row in rows:
        seeds = by_target.setdefault(str(row.settings.get("target", "")), {})
        if row.seed in seeds or row.metric != rows[0].metric:
            other = seeds.get(row.seed, rows[0])
            raise ValueError(
                f"Expected one row per point, received two: {tuple(other.place)} and "
                f"{tuple(row.place)}. Narrow the conditions of the line or of the column."
            )
        seeds[row.seed] = row
    members = {
        target: fmean(row.value for row in seeds.values())
        for target, seeds in sorted(by_target.items())
    }
    value = fmean(members.values())
    images = min((n for row in rows if (n := row.distinct_images) is not None), default=None)
    if rows[0].metric == "accuracy" and images:
        low, high = wilson_interval(value * images, images)
    else:
        error = measured_error(rows, errors or {}) or 0.0
        low, high = value - error, value + error
    flags = tuple(sorted({flag for row in rows for flag in row.flags}))
    return Point(value, low, high, flags, members, images)


def wilson_interval(correct: float, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion.

    Why not the textbook normal interval: at 0 % and 100 %, where accuracy curves under attack like
    to end, that one has width zero, and near them it leaves [0, 1].

    ``correct`` may be fractional. A mean accuracy over several classifiers that all face the same
    ``total`` images is ``correct = mean * total``. Each image then scores some number in [0, 1],
    and a variable in [0, 1] with mean p has variance at most p (1 - p), so the interval is never
    too narrow; pooling the classifiers (``total`` times their number) would be, as their errors on
    shared images are correlated.

    **Reference**: E. B. Wilson, Probable inference, the law of succession, and statistical
    inference, JASA 22 (1927). **Differs from the paper**: nothing.

    Returns:
        ``(low, high)``, both in [0, 1], with ``low <= correct / total <= high``.

    Raises:
        ValueError: Unless total >= 1, 0 <= correct <= total and confidence is in (0, 1).
    """
    total = check_integer("total", total, at_least=1)
    correct = check_number(
        "correct, a count and no percentage,", correct, at_least=0, at_most=total
    )
    confidence = check_number("confidence", confidence, above=0, below=1, such_as=0.95)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    proportion = correct / total
    scale = 1 + z * z / total
    centre = (proportion + z * z / (2 * total)) / scale
    spread = z * math.sqrt(proportion * (1 - proportion) / total + (z / (2 * total)) ** 2) / scale
    low = min(max(centre - spread, 0.0), proportion)
    return low, max(min(centre + spread, 1.0), proportion)
