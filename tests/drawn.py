"""What tests read back from figures and tables, and small images to draw."""

from __future__ import annotations

import itertools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D


def lines(axes: Axes, prefix: str) -> dict[str, Line2D]:
    """The lines of a panel whose role begins with a prefix, by their name."""
    return {
        str(line.get_gid()).split(":", 1)[1]: line
        for line in axes.get_lines()
        if str(line.get_gid()).startswith(f"{prefix}:")
    }


def words(figure: Figure, gid: str) -> str:
    """A text of a figure, its line breaks undone."""
    return next(t.get_text() for t in figure.texts if t.get_gid() == gid).replace("\n", " ")


def cells(table: str) -> list[list[str]]:
    """The cells of a Markdown table, without the ruler."""
    rows = [line for line in table.splitlines() if line.startswith("|")]
    return [[c.strip() for c in row.strip("|").split("|")] for row in [rows[0], *rows[2:]]]


def flat_pictures() -> tuple[np.ndarray, np.ndarray]:
    """Three grey images, and the same with one pixel 0.1 above, as it was, and 0.2 below."""
    clean = np.full((3, 8, 8, 1), 0.5, np.float32)
    attacked = clean.copy()
    attacked[:, 0, 0, 0] = (0.6, 0.5, 0.3)
    return clean, attacked


def bars(axes) -> dict[str, object]:
    """The bars of a panel by `name:group`."""
    return {str(p.get_gid())[4:]: p for p in axes.patches if p.get_gid()}


def heights(axes) -> dict[str, float]:
    return {name: round(patch.get_height(), 6) for name, patch in bars(axes).items()}


def lines_of(table: str) -> dict[str, list[str]]:
    """The lines of a Markdown table by their first cell."""
    return {line[0]: line[1:] for line in cells(table)[1:]}


def assert_words_apart(figure) -> None:
    """No two words of a figure's panels overlap, and none leaves the figure."""
    FigureCanvasAgg(figure).draw()
    texts = list(figure.texts)
    for axes in figure.axes:
        low, high = axes.get_xlim()
        ticks = [t for t in axes.get_xticklabels() if low <= t.get_position()[0] <= high]
        legend = axes.get_legend()
        texts += [axes.xaxis.label, *axes.texts, *ticks, *(legend.get_texts() if legend else [])]
    boxes = [t.get_window_extent() for t in texts if t.get_text().strip()]
    for first, second in itertools.combinations(boxes, 2):
        assert not first.overlaps(second)
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)


# -- pictures -------------------------------------------------------------------------------------


def projections() -> dict[str, np.ndarray]:
    clean, attacked = flat_pictures()
    candidates = np.stack([np.full((8, 8, 1), c / 10, np.float32) for c in range(3)])
    return {
        "clean": clean, "attacked": attacked, "candidates": np.stack([candidates] * 3),
        "distances": np.array([[0.1, 0.2, 0.3], [0.3, 0.1, 0.2], [0.2, 0.3, 0.1]]),
        "chosen": np.array([0, 1, 2]), "purified": candidates, "labels": np.array([0, 1, 1]),
        "target_predictions": np.array([1, 1, 0]), "decisions": np.array([0, 2, 1]),
    }  # fmt: skip
