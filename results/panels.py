"""One panel of a figure: curves, bars, dots or paths.

Every number comes from a sheet and every look from a declaration or a cycle; no function here knows
what is shown. Flagged points are hollow. Artists carry a ``gid``: ``curve:<line>``,
``band:<line>``, ``hollow:<line>``, ``bar:<column>:<line>``, ``dot:<line>:<column>``,
``path:<line>:<column>``, ``printed``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from results.exhibit import PALETTE, Bars, Curves, Dots, Line, Look, Mark, Scatter, alternatives
from results.sheet import Point, Sheet, SheetLine, SheetPanel
from results.style import GREY, cycle_look
from validation import check_number

_Style = dict[str, Any]
_PERCENT_LIMITS = (-2, 102)
#: A level that a reader compares others with.
_LEVEL: _Style = {"color": "black", "linewidth": 1.0, "linestyle": (0, (4, 2)), "zorder": 1.5}


def hollow_entry(sheet: Sheet) -> list[Artist]:
    """The entry of the legend that names the flags of hollow points; none without any."""
    flags = sorted({flag for point in sheet.points for flag in point.flags})
    label = f"hollow: {', '.join(flags)}".replace("_", " ")
    return [_entry(Look(GREY), label, linestyle="none", mfc="white")] if flags else []


def panel_size(sheet: Sheet) -> tuple[float, float]:
    """Inches of a panel, wide enough for what stands in it."""
    shown, alone = sheet.exhibit.draw, len(sheet.panels) == 1
    lines = max(len(panel.lines) for panel in sheet.panels)
    columns = len(sheet.measured_columns)
    if isinstance(shown, Bars):
        width = 0.8 + lines * max(0.9, (0.32 if shown.numbers else 0.14) * columns + 0.1)
        return max(width, 5.5 if alone else 3.5), 3.7
    if isinstance(shown, Dots):
        return 6.0, 0.9 + 0.14 * lines * max(3, columns + 1)
    if isinstance(shown, Scatter):
        return (5.6, 4.0) if alone else (4.3, 3.7)
    return (5.5, 3.9) if alone else (4.1, 3.5)


# -- what all have --------------------------------------------------------------------------------


class _Cell(NamedTuple):
    """A line and a column of a panel: where they stand among the lines, and what they show."""

    at: float
    column: Line
    line: SheetLine
    look: Look
    point: Point | None
    printed: float | None


def _cells(sheet: Sheet, panel: SheetPanel, step: float) -> list[_Cell]:
    """The cells of a panel column by column; those of one line stand a step apart."""
    columns = sheet.measured_columns
    looks = _looks(columns)
    found = []
    for index, column in enumerate(columns):
        offset = (index - (len(columns) - 1) / 2) * step
        for row, line in enumerate(_measured(panel)):
            place = sheet.exhibit.joined(panel.line.label, line.line.label)
            value = sheet.printed.get((place, column.label))
            printed = None if value is None else float(value)
            point = line.points.get(column)
            found.append(_Cell(row + offset, column, line, looks[column.label], point, printed))
    return found


def _measured(panel: SheetPanel) -> list[SheetLine]:
    return [one for one in panel.lines if isinstance(one.line, Line)]


def _looks(lines: Iterable[Any]) -> dict[str, Look]:
    """The look of each line by its declared label; those without one take a cycle."""
    looks: dict[str, Look] = {}
    free = 0
    for line in lines:
        if line.label not in looks:
            looks[line.label] = line.look or cycle_look(free)
            free += line.look is None
    return looks


def _line_looks(sheet: Sheet) -> dict[str, Look]:
    return _looks(one.line for panel in sheet.panels for one in _measured(panel))


def _entry(look: Look, label: str, **changes: Any) -> Artist:
    """An entry of the legend for a look."""
    given = {"color": look.color, "marker": look.marker, "linestyle": look.dashes}
    return Line2D([], [], label=label, **{**given, **changes})


def _arms(point: Point, scale: float) -> list[list[float]]:
    """The arms of an error bar."""
    return [[scale * (point.value - point.low)], [scale * (point.high - point.value)]]


def _symbols(axes: Axes, places: Iterable[tuple[float, float]], marker: str, **look: Any) -> Artist:
    """Printed values as symbols."""
    given = {"label": "printed", "markeredgecolor": "white", "markeredgewidth": 0.8, **look}
    xs, ys = zip(*places, strict=True)
    (symbols,) = axes.plot(
        xs, ys, linestyle="none", marker=marker, zorder=5, clip_on=False, gid="printed", **given
    )
    return symbols


# -- curves ---------------------------------------------------------------------------------------


def _curves(axes: Axes, sheet: Sheet, panel: SheetPanel, shown: Curves) -> list[Artist]:
    series = _series(sheet, panel, shown)
    handles = [_curve(axes, *one, 100.0 if shown.percent else 1.0) for one in series]
    marks = shown.marks(sheet.dataset)
    handles += [_mark(axes, mark) for mark in marks]
    points = [point for _, _, curve in series for point in curve.values()]
    places = sorted({x for _, _, curve in series for x in curve})
    if shown.logarithmic:
        axes.set_xscale("log")
    elif len(places) > 1:
        margin = 0.03 * (places[-1] - places[0])
        axes.set_xlim(places[0] - margin, places[-1] + 1.6 * margin)
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / shown.unit:.3g}"))
    axes.set_xlabel(shown.xlabel)
    name = f"{panel.line.label if len(sheet.panels) > 1 else ''} {shown.ylabel}".strip()
    peaks = [max(point.value for point in curve.values()) for _, _, curve in series]
    smallest = min((peak for peak in peaks if peak > 0), default=0.0)
    if shown.percent:
        axes.set_ylim(*_PERCENT_LIMITS)
    elif shown.spread and smallest and max(peaks) > shown.spread * smallest:
        axes.set_yscale("log", nonpositive="mask")
        name += " (log)"
    else:
        levels = [mark.y for mark in marks if mark.y is not None]
        axes.set_ylim(0, 1.1 * max([*levels, *(point.high for point in points)]))
    axes.set_ylabel(name)
    return handles


def _series(
    sheet: Sheet, panel: SheetPanel, shown: Curves
) -> list[tuple[str, Look, dict[float, Point]]]:
    """Label, look and points of every curve of a panel, points in the order of the x-axis."""
    lines, columns = _measured(panel), sheet.measured_columns
    looks = _looks(columns) if shown.transposed else _line_looks(sheet)
    curves: list[tuple[str, Look, Mapping[Any, Point | None]]]
    if shown.transposed:
        points = {one: {line.line: line.points.get(one) for line in lines} for one in columns}
        curves = [(one.label, looks[one.label], points[one]) for one in columns]
    else:
        curves = [(line.label, looks[line.line.label], line.points) for line in lines]
    series = []
    for label, look, at in curves:
        known = {_place(line, shown.axis): one for line, one in at.items() if one is not None}
        if known:
            series.append((label, look, {x: known[x] for x in sorted(known)}))
    return series


def _place(line: Line, axis: str) -> float:
    """Where a line or column of the sheet stands on the x-axis."""
    found = {where[axis] for where in alternatives(line.where) if axis in where}
    if len(found) != 1:
        raise ValueError(
            f"Expected {line.label!r} to ask for one value of {axis!r}, received {sorted(found)}. "
            "Declare the points of a curve as an Axis over it."
        )
    return float(found.pop())


def _curve(
    axes: Axes, label: str, look: Look, points: Mapping[float, Point], scale: float
) -> Artist:
    """A line with its band, or thin and without one; flagged points are hollow."""
    size, width, order = (3.8, 1.0, 2.8) if look.light else (5.5, 1.7, 3)
    stroke: _Style = {"color": look.color, "marker": look.marker, "markersize": size}
    stroke["clip_on"] = False
    line: _Style = {"linestyle": look.dashes, "linewidth": width, "zorder": order, "label": label}
    xs, ys = list(points), [scale * one.value for one in points.values()]
    (curve,) = axes.plot(xs, ys, gid=f"curve:{label}", **stroke, **line)
    if not look.light and any(one.half_width > 0 for one in points.values()):
        low = [scale * one.low for one in points.values()]
        high = [scale * one.high for one in points.values()]
        band: _Style = {"color": look.color, "alpha": 0.16, "linewidth": 0, "zorder": 1.5}
        axes.fill_between(xs, low, high, gid=f"band:{label}", **band)
    hollow = [(x, scale * one.value) for x, one in points.items() if one.flags]
    if hollow:
        stroke |= {"markerfacecolor": "white", "markeredgewidth": 0.8 * width, "linestyle": "none"}
        axes.plot(*zip(*hollow, strict=True), gid=f"hollow:{label}", zorder=4, **stroke)
    return curve


def _mark(axes: Axes, mark: Mark) -> Artist:
    """A printed value: a star, a dashed level, or a dotted place."""
    line: _Style = {"color": GREY, "linewidth": 1.1, "zorder": 1.8, "gid": "printed"}
    for place in (mark.x, mark.y):
        if place is not None:
            check_number(f"each place of the mark {mark.label!r}", place)
    if mark.x is not None and mark.y is not None:
        star = {"label": mark.label, "markersize": 12, "markerfacecolor": GREY}
        return _symbols(axes, [(mark.x, mark.y)], "*", **star)
    if mark.y is not None:
        return axes.axhline(mark.y, linestyle=(0, (6, 2)), label=mark.label, **line)
    if mark.x is not None:
        return axes.axvline(mark.x, linestyle=(0, (1, 1.5)), label=mark.label, **line)
    raise ValueError(
        f"Expected the mark {mark.label!r} to have an x or a y, received neither. Give one."
    )


# -- bars -----------------------------------------------------------------------------------------


def _bars(axes: Axes, sheet: Sheet, panel: SheetPanel, shown: Bars) -> list[Artist]:
    scale = 100.0 if shown.percent else 1.0
    lines, alone = _measured(panel), len(sheet.measured_columns) == 1
    width = 0.6 if alone else 0.84 / len(sheet.measured_columns)
    cells = _cells(sheet, panel, width)
    handles: list[Artist] = [
        Patch(fc=_face(one.look), ec=one.look.color, hatch=one.look.hatch, label=one.column.label)
        for one in cells[:: len(lines)]
    ]
    for cell in cells:
        if cell.point is not None:
            _bar(axes, cell, cell.point, 0.9 * width, scale, shown.numbers)
    printed = [(cell.at, cell.printed) for cell in cells if cell.printed is not None]
    if printed:
        tick = {"markersize": 26, "markeredgewidth": 2.4, "markeredgecolor": PALETTE["vermillion"]}
        diamond = {"markersize": 4, "markerfacecolor": "white", "markeredgecolor": "black"}
        handles.append(_symbols(axes, printed, "_" if alone else "D", **tick if alone else diamond))
    axes.set_xticks(range(len(lines)), [_tick(line.label) for line in lines])
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="x", visible=False)
    axes.set_title(panel.line.label, loc="left")
    axes.set(xlim=(-0.52, len(lines) - 0.48), ylabel=shown.ylabel)
    if shown.percent:
        axes.set(ylim=(0, 112), yticks=range(0, 101, 20))
    else:
        highest = [scale * point.high for point in sheet.points]
        axes.set_ylim(0, 1.1 * max([*highest, *(value for _, value in printed)]))
    return handles


def _face(look: Look, flags: Sequence[str] = ()) -> str:
    """The face of a bar: hatched and flagged ones are hollow."""
    return "white" if look.hatch or flags else look.color


def _bar(axes: Axes, cell: _Cell, point: Point, width: float, scale: float, numbered: bool) -> None:
    """A bar with its interval, and its number if asked for."""
    look: _Style = {"edgecolor": cell.look.color, "hatch": cell.look.hatch, "linewidth": 0.9}
    arms: _Style = {"elinewidth": 0.9, "capsize": 1.8, "ecolor": "black", "zorder": 3}
    (bar,) = axes.bar(
        cell.at,
        scale * point.value,
        width,
        color=_face(cell.look, point.flags),
        zorder=2,
        yerr=_arms(point, scale) if point.half_width else None,
        error_kw=arms,
        **look,
    )
    bar.set_gid(f"bar:{cell.column.label}:{cell.line.label}")
    if numbered:
        place: _Style = {"xytext": (0, 3), "textcoords": "offset points", "ha": "center"}
        at = (cell.at, scale * point.high)
        axes.annotate(f"{scale * point.value:.1f}", at, fontsize=7, zorder=6, **place)


def _tick(label: str) -> str:
    """A name under a group of bars, few words to a line."""
    parts = [textwrap.wrap(part, 12, break_long_words=False) for part in label.split(", ")]
    return "\n".join(line for part in parts for line in part)


# -- dots -----------------------------------------------------------------------------------------


def _dots(axes: Axes, sheet: Sheet, panel: SheetPanel, shown: Dots) -> list[Artist]:
    lines = _measured(panel)
    cells = _cells(sheet, panel, min(0.2, 0.6 / len(sheet.measured_columns)))
    handles = [_entry(one.look, one.column.label, linestyle="none") for one in cells[:: len(lines)]]
    for cell in cells:
        names = (cell.line.line.label, cell.column.label)
        look = cell.look._replace(color="black") if names == shown.level else cell.look
        if cell.point is not None:
            place = {"x": 100 * cell.point.value, "y": cell.at, "xerr": _arms(cell.point, 100)}
            _dot(axes, place, cell.point, look, f"dot:{cell.line.label}:{cell.column.label}")
    printed = [(cell.printed, cell.at) for cell in cells if cell.printed is not None]
    if printed:
        handles.append(_symbols(axes, printed, "*", markersize=9, markerfacecolor=GREY))
    level = sheet.point(*shown.level) if shown.level else None
    if shown.level and level is not None:
        label = shown.level[0]
        handles.append(axes.axvline(100 * level.value, label=label, gid="level", **_LEVEL))
    axes.set_yticks(range(len(lines)), [line.label for line in lines])
    axes.grid(axis="y", visible=False)
    axes.set_title(panel.line.label, loc="left")
    axes.set(ylim=(len(lines) - 0.5, -0.5), xlabel=shown.xlabel)
    return handles


def _dot(axes: Axes, place: _Style, point: Point, look: Look, gid: str) -> None:
    """A point with its interval, hollow if it is flagged."""
    face = "white" if point.flags else look.color
    line: _Style = {"color": look.color, "linestyle": "none", "elinewidth": 0.9, "capsize": 2}
    symbol: _Style = {"marker": look.marker, "markersize": 6, "markerfacecolor": face}
    axes.errorbar(**place, **line, **symbol, zorder=4)[0].set_gid(gid)


# -- paths ----------------------------------------------------------------------------------------


def _scatter(axes: Axes, sheet: Sheet, panel: SheetPanel, shown: Scatter) -> list[Artist]:
    at = sheet.column(shown.x)
    if at is None:
        raise ValueError(
            f"Expected {sheet.exhibit.id} to have a measured column {shown.x!r}, received "
            f"{[column.label for column in sheet.columns]}. Declare it, or measure it."
        )
    columns = [column for column in sheet.measured_columns if column is not at]
    looks, colors = _line_looks(sheet), _looks(columns)
    xs = {line: point.value for line in _measured(panel) if (point := line.points.get(at))}
    ends = [*xs.values(), *([shown.limit[1]] if shown.limit else [])]
    axes.set(xscale="log", xlim=(min(ends) / 1.6, max(ends) * 1.6))
    paths: dict[Look, list[SheetLine]] = {}
    for line in sorted(xs, key=xs.__getitem__):
        paths.setdefault(looks[line.line.label], []).append(line)
    handles = [_entry(colors[one.label], one.label, marker="", linewidth=4) for one in columns]
    for look, lines in paths.items():
        name = lines[0].label.split(", ")[0]
        handles.append(_entry(look._replace(color=GREY), name))
        for column in columns:
            points = {xs[line]: one for line in lines if (one := line.points.get(column))}
            if points:
                own = look._replace(color=colors[column.label].color)
                _path(axes, f"{name}:{column.label}", points, own)
        for line in lines if len(lines) > 1 else ():
            _name_point(axes, xs[line], shown.point.format(**line.rows[0].settings))
    if shown.limit:
        label, x = shown.limit
        handles.append(axes.axvline(x, label=label, gid="limit", **_LEVEL))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.set_title(panel.line.label, loc="left")
    axes.set(xlabel=shown.xlabel, ylabel=shown.ylabel, ylim=_PERCENT_LIMITS)
    return handles


def _path(axes: Axes, name: str, points: Mapping[float, Point], look: Look) -> None:
    """A line through points; a single point keeps its level to the end of the axis."""
    xs, ys = list(points), [100 * one.value for one in points.values()]
    if len(points) == 1:
        xs, ys = [*xs, axes.get_xlim()[1]], ys * 2
    stroke: _Style = {"color": look.color, "linestyle": look.dashes, "linewidth": 1.5}
    axes.plot(xs, ys, gid=f"path:{name}", zorder=2.5, **stroke)
    for x, one in points.items():
        place = {"x": x, "y": 100 * one.value, "yerr": _arms(one, 100)}
        _dot(axes, place, one, look, f"dot:{name}")


def _name_point(axes: Axes, x: float, text: str) -> None:
    """Writes at the foot of the axis what tells a point from the others of its path."""
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
    look: _Style = {"fontsize": 6.5, "rotation": 90, "color": GREY, "bbox": box, "zorder": 5}
    place: _Style = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "bottom"}
    axes.annotate(text, (x, 0.01), **place, **look)


#: What draws a panel of each kind and returns the entries of the legend.
KINDS: dict[type, Callable[..., list[Artist]]] = {
    Curves: _curves,
    Bars: _bars,
    Dots: _dots,
    Scatter: _scatter,
}
