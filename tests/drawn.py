"""What tests read back from figures and tables, and small images to draw."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
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
