"""Rows grouped into the lines of a figure: what is averaged over what, and with which interval."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

from results.labels import DEFENSE_LABELS, SPOKEN_QUALIFIERS
from results.row import Row, distinct_images, qualifier, qualifiers, warnings
from results.selection import require_rows
from results.statistics import mean, wilson_interval

_ROLES = ("target", "mean_voter", "vote", "vote_bayes")
_NOT_A_LINE = {"target", "images", "draws"}


@dataclasses.dataclass(frozen=True)
class Point:
    """One point of a line.

    Args:
        x: Where it stands on the axis: epsilon, number of voters, weight.
        value: Mean over targets and seeds.
        low: Lower end of its interval, or `value` if there is none.
        high: Upper end.
        warnings: Warnings of any row behind it.
        members: The value of each target, `{target: value}`; the key is empty without targets.
        images: How many distinct images stand behind it, or None if its rows hold no counts.
        half_width: Half of `high - low`.
    """

    x: float
    value: float
    low: float
    high: float
    warnings: tuple[str, ...]
    members: Mapping[str, float]
    images: int | None = None

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2


@dataclasses.dataclass(frozen=True)
class Curve:
    """One line of a figure.

    Args:
        defense: Registry key, or `"none"`.
        role: `"target"` (a classifier under attack decides), `"mean_voter"`, `"vote"`,
            `"vote_bayes"`, or another name of the `classifier` column.
        qualifiers: What else tells the line from others.
        points: Sorted by `x`.
        incomplete: Places left out since not every target has been measured there.
    """

    defense: str
    role: str
    qualifiers: Mapping[str, str]
    points: tuple[Point, ...]
    incomplete: tuple[float, ...] = ()

    @property
    def xs(self) -> list[float]:
        """Places of the points."""
        return [point.x for point in self.points]

    @property
    def values(self) -> list[float]:
        """Values of the points."""
        return [point.value for point in self.points]

    def at(self, x: float) -> Point | None:
        """The point at a place, or None."""
        return next((point for point in self.points if point.x == x), None)


def role_of(row: Row) -> str:
    """Who decides, with the targets under one name.

    Args:
        row: The row.

    Returns:
        `"target"` if the deciding classifier is the one under attack (it is named by the flag
        `target`, or its name is a single letter), else the `classifier` column.
    """
    is_target = row.classifier == qualifier(row, "target") or len(row.classifier) == 1
    return "target" if is_target else row.classifier


def _line_identity(row: Row, axis: str) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    hidden = {*_NOT_A_LINE, axis}
    extra = tuple((k, v) for k, v in qualifiers(row).items() if k not in hidden)
    return row.defense, role_of(row), extra


def _line_order(identity: tuple[str, str, tuple[tuple[str, str], ...]]) -> tuple:
    defense, role, extra = identity
    known = list(DEFENSE_LABELS)
    return (
        known.index(defense) if defense in known else len(known),
        defense,
        _ROLES.index(role) if role in _ROLES else len(_ROLES),
        role,
        len(extra),
        extra,
    )


def _place(row: Row, axis: str) -> float:
    if axis == "epsilon":
        return row.epsilon
    text = qualifier(row, axis)
    try:
        return float(text or "")
    except ValueError:
        raise ValueError(
            f"Expected rows with a flag {axis}=NUMBER, received the flags {row.flags!r} in a row "
            f"of {row.experiment}. Write the flag with results.rows.make_flags."
        ) from None


def _one_per_measurement(rows: Iterable[Row], axis: str) -> dict:
    """`{x: {target: [row of each seed]}}`, with conflicts refused."""
    chosen: dict[tuple[float, str, int], Row] = {}
    for row in rows:
        place = (_place(row, axis), qualifier(row, "target") or "", row.seed)
        other = chosen.get(place)
        if other is not None and (other.attack == "none") == (row.attack == "none"):
            raise ValueError(
                f"Expected one row per point, received two for {row.defense}/{row.classifier} at "
                f"{place}: of {other.experiment} (configuration {other.config_hash!r}) and "
                f"{row.experiment} ({row.config_hash!r}). Pass the rows of one experiment and one "
                "configuration; RowStore.discard removes outdated ones."
            )
        if other is None or other.attack == "none":
            chosen[place] = row
    grouped: dict[float, dict[str, list[Row]]] = {}
    for (where, target, _), row in sorted(chosen.items(), key=lambda item: item[0]):
        grouped.setdefault(where, {}).setdefault(target, []).append(row)
    return grouped


def _fewest_images(rows: Iterable[Row]) -> int | None:
    return min((n for row in rows if (n := distinct_images(row)) is not None), default=None)


def accuracy_curves(rows: Iterable[Row]) -> list[Curve]:
    """Accuracy against epsilon, one curve per defense and decider.

    A point is the mean over the targets of their means over seeds. Its 95 % Wilson interval is
    that of **n = the number of distinct images**, not of n times the number of targets (or seeds,
    or voters): all of them judge the same images, so pooling their counts would pretend to three
    times the evidence. Clean rows (`attack == "none"`) serve as epsilon 0 of curves without one.

    **Reference**: Dissertation, sec. 3.4.3 (mean over targets A, B, C).

    Args:
        rows: Rows; those of other metrics are ignored.

    Returns:
        Curves in the order of a legend, values as fractions in [0, 1]. Points that lack a target
        which the curve has elsewhere are left out and listed in `Curve.incomplete`.

    Raises:
        ValueError: If there are no accuracy rows, or two rows claim the same point.
    """
    selected = require_rows((row for row in rows if row.metric == "accuracy"), "accuracy curves")

    def interval(behind: list[Row], value: float) -> tuple[float, float]:
        images = _fewest_images(behind)
        return (value, value) if images is None else wilson_interval(value * images, images)

    return _curves(selected, "epsilon", interval)


def value_curves(rows: Iterable[Row], metric: str, axis: str = "epsilon") -> list[Curve]:
    """Any other metric against anything, with one standard error where it is measured.

    The standard error of a mean over targets or seeds is taken as the mean of theirs: they share
    their images, so their errors do not average out.

    Args:
        rows: Rows; those of other metrics than `metric` and `<metric>_standard_error` are ignored.
        metric: For example `"l2"`.
        axis: `"epsilon"`, or the name of a numeric flag such as `"voters"`.

    Returns:
        Curves in the order of a legend; `low` and `high` are one standard error away.

    Raises:
        ValueError: If there is no row of the metric, one lacks the flag, or two rows claim the
            same point.
    """
    rows = list(rows)
    selected = require_rows((row for row in rows if row.metric == metric), f"metric {metric!r}")
    errors = {
        row.key._replace(metric=metric): row.value
        for row in rows
        if row.metric == f"{metric}_standard_error"
    }

    def interval(behind: list[Row], value: float) -> tuple[float, float]:
        found = [errors[row.key] for row in behind if row.key in errors]
        error = mean(found) if found else 0.0
        return value - error, value + error

    return _curves(selected, axis, interval)


def _curves(
    rows: list[Row],
    axis: str,
    interval: Callable[[list[Row], float], tuple[float, float]],
) -> list[Curve]:
    lines: dict[tuple, list[Row]] = {}
    for row in rows:
        lines.setdefault(_line_identity(row, axis), []).append(row)
    curves = []
    for identity in sorted(lines, key=_line_order):
        grouped = _one_per_measurement(lines[identity], axis)
        # What is measured without naming a target (a vote on clean images) holds for all of them.
        targets = {target for behind in grouped.values() for target in behind} - {""}
        points, incomplete = [], []
        for place, behind in sorted(grouped.items()):
            if set(behind) not in ({""}, targets):
                incomplete.append(place)
                continue
            members = {t: mean([row.value for row in behind[t]]) for t in sorted(behind)}
            value = mean(list(members.values()))
            everything = [row for t in sorted(behind) for row in behind[t]]
            low, high = interval(everything, value)
            words = sorted({word for row in everything for word in warnings(row)})
            images = _fewest_images(everything)
            points.append(Point(place, value, low, high, tuple(words), members, images))
        defense, role, extra = identity
        curves.append(Curve(defense, role, dict(extra), tuple(points), tuple(incomplete)))
    return curves


def primary(curves: Iterable[Curve], defense: str, role: str) -> Curve | None:
    """The curve that speaks for a method where variants of it were measured too.

    Args:
        curves: Curves.
        defense: Registry key.
        role: As in `Curve`.

    Returns:
        Of the curves of this defense and role the one with probability tables counted as published
        (`tables` absent or `training`), then a target retrained on purified images, then the
        largest pool, the fewest other qualifiers, the fewest drawn; None if there is none.
    """
    candidates = [c for c in curves if c.defense == defense and c.role == role]
    if not candidates:
        return None

    def rank(curve: Curve) -> tuple:
        given = curve.qualifiers
        others = [name for name in given if name not in SPOKEN_QUALIFIERS | {"tables"}]
        return (
            given.get("tables", "training") != "training",
            given.get("retrained") != "True",
            -int(given.get("voters", "0")),
            len(others),
            int(given.get("drawn", "0")),
        )

    return min(candidates, key=rank)
