"""What tests read back from figures."""

from __future__ import annotations

import itertools

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle


def lines(axes: Axes, kind: str) -> dict[str, Line2D]:
    """The lines of a panel whose ``gid`` is of a kind, by what stands behind it."""
    return {
        str(line.get_gid()).partition(":")[2]: line
        for line in axes.get_lines()
        if str(line.get_gid()).partition(":")[0] == kind
    }


def printed(axes: Axes) -> list[Line2D]:
    """The printed values of a panel."""
    return [line for line in axes.get_lines() if line.get_gid() == "printed"]


def bars(axes: Axes) -> dict[str, Rectangle]:
    """The bars of a panel by ``column:line``."""
    return {str(one.get_gid()).partition(":")[2]: one for one in axes.patches if one.get_gid()}


def bands(axes: Axes) -> set[str]:
    """The names of the lines that have a band."""
    return {str(one.get_gid()).partition(":")[2] for one in axes.collections if one.get_gid()}


def words(figure: Figure, gid: str) -> str:
    """The title, the subtitle or the caption of a figure."""
    texts = figure.findobj(lambda one: one.get_gid() == gid)
    return texts[0].get_text()


def legend_words(figure: Figure) -> list[str]:
    """The names in the legend, which stands beside the last panel."""
    return [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]


def assert_apart(figure: Figure) -> None:
    """Draws a figure: nothing leaves it, and no two words or panels overlap."""
    FigureCanvasAgg(figure).draw()
    parts: list[Artist] = figure.findobj(
        lambda one: one.get_gid() in ("title", "subtitle", "caption")
    )
    for axes in figure.axes:
        low, high = axes.get_xlim()
        ticks = [one for one in axes.get_xticklabels() if low <= one.get_position()[0] <= high]
        legend = axes.get_legend()
        parts += [axes.xaxis.label, axes.yaxis.label, *ticks, *([legend] if legend else [])]
        parts += [axes.patch] if axes.get_visible() else []
    boxes = [(one, one.get_window_extent()) for one in parts if _has_words(one)]
    for (first, box), (second, other) in itertools.combinations(boxes, 2):
        assert not box.padded(-0.5).overlaps(other), (first, second)
    for one, box in boxes:
        inside = figure.bbox.padded(0.5)
        assert inside.contains(box.x0, box.y0) and inside.contains(box.x1, box.y1), one


def _has_words(one: Artist) -> bool:
    return not hasattr(one, "get_text") or bool(one.get_text().strip())
