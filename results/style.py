"""How every figure looks, and how it is saved.

Figures are ``matplotlib.figure.Figure`` objects, never pyplot state, so drawing one leaves nothing
behind. Matplotlib's own layout engine places title, panels, legend and footer. The palette is Okabe
and Ito's, which readers with any common colour vision can tell apart; markers and line styles
differ too, so that a grey print still reads.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from results.exhibit import PALETTE, Look
from results.files import write_atomically
from validation import check_choice

GREY = "#595959"
DPI = 150

_TICKS = {"labelsize": 8, "color": GREY, "labelcolor": "black"}
_GROUPS: dict[str, dict[str, Any]] = {
    "font": {"family": "DejaVu Sans", "size": 9},
    "axes": {"titlesize": 9, "labelsize": 9, "edgecolor": GREY, "linewidth": 0.8},
    "axes.spines": {"top": False, "right": False},
    "grid": {"color": "#DDDDDD", "linewidth": 0.6},
    "xtick": _TICKS,
    "ytick": _TICKS,
    "legend": {"fontsize": 8, "frameon": False, "handlelength": 3.4, "labelspacing": 0.65},
    "lines": {"linewidth": 1.7, "markersize": 5.5},
    "figure": {"dpi": DPI, "facecolor": "white"},
    "figure.constrained_layout": {"h_pad": 0.07, "w_pad": 0.07},
    "hatch": {"linewidth": 0.8},
    "pdf": {"fonttype": 42},
    "svg": {"hashsalt": "results"},
}
_RC: dict[Any, Any] = {
    f"{group}.{name}": value for group, names in _GROUPS.items() for name, value in names.items()
} | {"axes.axisbelow": True, "axes.grid": True}
_COLORS = ("blue", "vermillion", "green", "orange", "sky", "purple", "black")
#: Of classes, which are more than the palette has: Matplotlib's ten.
_CLASS_COLORS = tuple(f"C{number}" for number in range(10))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_DASHES = ("-", (0, (5, 1.5)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (6, 1, 1, 1, 1, 1)))
#: Inches that title, threat model and footer take, and those free at the left and the right.
_WORDS, _MARGIN = 1.3, 0.12


def class_color(label: int) -> str:
    """The colour of a class; those of ten classes differ."""
    return _CLASS_COLORS[label % len(_CLASS_COLORS)]


def cycle_look(index: int) -> Look:
    """The look of the line number ``index`` of those that declare none.

    Colours, markers and dashes run through cycles of coprime lengths, so that no two of the first
    315 looks are equal.
    """
    color = PALETTE[_COLORS[index % len(_COLORS)]]
    return Look(color, _MARKERS[index % len(_MARKERS)], _DASHES[index % len(_DASHES)])


def style_context() -> AbstractContextManager[None]:
    """The settings under which figures are made and saved."""
    return matplotlib.rc_context(_RC)


def new_figure(
    title: str,
    threat: str,
    footer: str,
    *,
    shape: tuple[int, int] = (1, 1),
    panel_size: tuple[float, float] = (5.2, 3.7),
    layout: Literal["constrained", "compressed"] = "constrained",
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with its words and empty panels, which the layout engine places when it is drawn.

    Args:
        title: First line, bold.
        threat: Second line: what the attacker knows.
        footer: The line under the panels.
        shape: Rows and columns of panels.
        panel_size: Inches for a panel with its ticks and the names of its axes.
        layout: The layout engine; ``"compressed"`` for pictures of fixed shape.

    Returns:
        The figure, and its panels row by row.
    """
    rows, columns = shape
    size = (columns * panel_size[0] + 2 * _MARGIN, rows * panel_size[1] + _WORDS)
    figure = Figure(figsize=size, layout=layout)
    left: dict[str, Any] = {"x": 0.0, "ha": "left", "wrap": True}
    figure.suptitle(title, fontsize=10.5, fontweight="bold", gid="title", **left)
    figure.supxlabel(footer, fontsize=7.5, color=GREY, gid="caption", **left)
    # A part of its own has a second title, of another colour.
    body: Any = figure.subfigures()
    body.suptitle(threat, fontsize=8.5, color=PALETTE["vermillion"], gid="subtitle", **left)
    panels = body.subplots(rows, columns, squeeze=False).tolist()
    widen(figure, 0.0)
    return figure, panels


def set_layout(figure: Figure, **settings: Any) -> None:
    """Changes settings of a figure's layout engine."""
    engine: Any = figure.get_layout_engine()
    engine.set(**settings)


def widen(figure: Figure, inches: float) -> None:
    """Makes a figure wider and keeps the margins at its left and right."""
    figure.set_figwidth(figure.get_figwidth() + inches)
    margin = _MARGIN / figure.get_figwidth()
    set_layout(figure, rect=(margin, 0, 1 - 2 * margin, 1))
    for text in figure.texts:
        text.set_x(margin)


def add_legend(figure: Figure, axes: Axes, handles: Sequence[Artist]) -> None:
    """Puts a legend beside the last panel, each label once, and widens the figure by as much."""
    known: dict[str, Artist] = {}
    for handle in handles:
        known.setdefault(str(handle.get_label()), handle)
    legend = axes.legend(
        handles=list(known.values()), loc="upper left", bbox_to_anchor=(1.01, 1), alignment="left"
    )
    widen(figure, legend.get_window_extent().width / figure.dpi)


def figure_bytes(figure: Figure, file_format: str) -> bytes:
    """A figure as the bytes of a ``"png"`` or ``"pdf"``, equal for equal figures.

    Raises:
        ValueError: For another format.
    """
    check_choice("the format of a figure", file_format, ("png", "pdf"))
    # Neither time stamp nor program name.
    names = ("Software",) if file_format == "png" else ("CreationDate", "Creator", "Producer")
    buffer = io.BytesIO()
    with style_context():
        figure.savefig(buffer, format=file_format, metadata=dict.fromkeys(names))
    if file_format == "png" and not any(axes.images for axes in figure.axes):
        return _with_palette(buffer)
    return buffer.getvalue()


def _with_palette(png: io.BytesIO) -> bytes:
    """The picture in 256 colours: lines and text look the same, in a third of the bytes."""
    buffer = io.BytesIO()
    picture = Image.open(png).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def save_figure(figure: Figure, stem: str | Path, pdf: bool = False) -> list[Path]:
    """Writes a figure as a PNG, and as a PDF if asked, to a path without its ending.

    Returns:
        The paths of the files.
    """
    stem = Path(stem)
    # Identifiers hold dots, so the ending is added, not exchanged.
    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in ("png", "pdf")[: 1 + pdf]]
    for path in paths:
        write_atomically(path, figure_bytes(figure, path.suffix[1:]))
    return paths
