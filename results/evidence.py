"""The rows of one data set as what a claim compares: points of a line, and pairs of two lines.

The interval of a difference takes its two sides as independent, which is wider than the truth,
unless the difference was measured image by image (metric ``<metric>_gain_standard_error``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from results.exhibit import ATTACK_LABELS, Axis, Line, Where, matches
from results.row import Row
from results.sheet import Point, complete, measured_error, point, standard_errors


def attack_words(attack: str, epsilon: float | None = None) -> str:
    """An attack and its budget."""
    name = ATTACK_LABELS.get(attack, attack)
    return name if attack == "none" or epsilon is None else f"{name} at ε = {epsilon:.3g}"


#: Every attack at every budget; clean images are one place.
EACH_PLACE = Axis(("attack", "epsilon"), attack_words)
#: Every attack.
EACH_ATTACK = Axis("attack", attack_words)


class Pair(NamedTuple):
    """A point beside another one, or beside a level.

    Args:
        value: The point.
        other: What it is compared with.
        error: Half width of the interval of the difference: 95 % for accuracies, two standard
            errors for anything else, 0 where none was measured.
    """

    value: Point
    other: Point
    error: float

    @classmethod
    def independent(cls, value: Point, other: Point) -> Pair:
        """Two points whose errors have nothing to do with each other."""
        return cls(value, other, (value.half_width**2 + other.half_width**2) ** 0.5)

    @property
    def gain(self) -> float:
        """How much higher the value is, times a hundred: points, if it is a fraction."""
        return points(self.value.value - self.other.value)

    @property
    def clear(self) -> bool:
        """Whether the difference is beyond its interval."""
        return abs(self.gain) > points(self.error)


def points(fraction: float) -> float:
    """A hundred times a fraction, free of the rounding that would split equal numbers."""
    return round(100 * fraction, 9)


def level_point(percent: float) -> Point:
    """A level in percent as a point without an interval."""
    return Point(percent / 100, percent / 100, percent / 100)


def _same_targets(one: Point, other: Point) -> bool:
    """Whether two means are over the same targets, or one holds for all of them."""
    return set(one.members) == set(other.members) or {""} in (set(one.members), set(other.members))


class Evidence:
    """The rows that a claim may be judged by.

    Args:
        rows: All rows of one data set.
        where: Those that the claim speaks of.
    """

    def __init__(self, rows: Iterable[Row], where: Where) -> None:
        self.everything = list(rows)
        self.rows = [row for row in self.everything if matches(row, where)]
        self.accuracies = all(row.metric == "accuracy" for row in self.rows)
        self._errors = standard_errors(self.everything)

    def series(self, line: Line, by: Axis = EACH_PLACE) -> dict[tuple, Point]:
        """The points of a line by place, as a curve of a figure has them."""
        behind = self._behind(line, by)
        found = {place: point(rows, self._errors) for place, rows in behind.items()}
        if "target" not in by.names:
            found = complete(found)
        return {place: one for place, one in found.items() if one is not None}

    def point(self, line: Line) -> Point | None:
        """The only point of a line; None without rows."""
        return point([row for row in self.rows if matches(row, line.where)], self._errors)

    def pairs(self, line: Line, other: Line | float, by: Axis = EACH_PLACE) -> dict[tuple, Pair]:
        """A line beside another, or beside a level in percent, wherever both were measured."""
        mine = self.series(line, by)
        if not isinstance(other, Line):
            return {place: Pair.independent(one, level_point(other)) for place, one in mine.items()}
        theirs, rows = self.series(other, by), self._behind(line, by)
        return {
            place: self._pair(one, theirs[place], rows[place])
            for place, one in mine.items()
            if place in theirs and _same_targets(one, theirs[place])
        }

    def _behind(self, line: Line, by: Axis) -> dict[tuple, list[Row]]:
        found: dict[tuple, list[Row]] = {}
        for row in self.rows:
            if matches(row, line.where):
                found.setdefault(tuple(map(row.get, by.names)), []).append(row)
        return {place: found[place] for place in sorted(found, key=by.order)}

    def _pair(self, one: Point, other: Point, rows: Iterable[Row]) -> Pair:
        pair = Pair.independent(one, other)
        if self.accuracies:
            return pair
        measured = measured_error(rows, self._errors, "_gain_standard_error")
        return pair._replace(error=2 * (pair.error if measured is None else measured))
