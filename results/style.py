"""How every figure looks, and how it is saved.

Figures are `matplotlib.figure.Figure` objects, never pyplot state, so drawing one leaves nothing
behind. The palette is Okabe and Ito's, which readers with any common colour vision can tell apart;
markers and line styles differ too, so that a grey print still reads.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from results.files import write_atomically

#: Okabe and Ito's palette without yellow, which is too light for a line on white.
PALETTE = {
    "black": "#000000",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "purple": "#CC79A7",
}
GREY = "#595959"
DPI = 150

_RC = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.7,
    "lines.markersize": 5.5,
    "pdf.fonttype": 42,
    "svg.hashsalt": "results",
}


class LineStyle(NamedTuple):
    """Colour, marker and dash pattern of one line."""

    color: str
    marker: str
    linestyle: str | tuple


#: The lines of chapter 3 look the same in every figure.
ROLE_STYLES = {
    "none": LineStyle(PALETTE["black"], "o", (0, (4, 2))),
    "target": LineStyle(PALETTE["orange"], "s", (0, (5, 1.5))),
    "mean_voter": LineStyle(PALETTE["sky"], "^", (0, (3, 1, 1, 1))),
    "vote": LineStyle(PALETTE["green"], "D", (0, (1, 1))),
    "vote_bayes": LineStyle(PALETTE["blue"], "P", "-"),
}
#: Further versions of a role in the same figure, such as tables counted on held-out images.
VARIANT_STYLES = (
    LineStyle(PALETTE["vermillion"], "v", (0, (2, 1))),
    LineStyle(PALETTE["purple"], "X", (0, (6, 1, 1, 1))),
    LineStyle(PALETTE["black"], "<", (0, (1, 2))),
)
#: Where a figure compares defenses, colour tells them apart; this is each one's main line.
DEFENSE_STYLES = {
    "none": ROLE_STYLES["none"],
    "sfl_vae": LineStyle(PALETTE["blue"], "P", "-"),
    "non_sfl_vae": LineStyle(PALETTE["vermillion"], "^", (0, (5, 1.5))),
    "defense_cyclegan": LineStyle(PALETTE["vermillion"], "X", "-"),
    "vqunet": LineStyle(PALETTE["green"], "h", "-"),
    "vqunet_literal": LineStyle(PALETTE["purple"], "D", (0, (1, 1))),
    "non_vqunet": LineStyle(PALETTE["sky"], "^", (0, (5, 1.5))),
    "defense_vae": LineStyle(PALETTE["orange"], "p", (0, (6, 1, 1, 1))),
    "defense_gan": LineStyle(PALETTE["purple"], "d", (0, (2, 1))),
}
#: Marker and dashes of the other lines of a defense in such a figure.
SECONDARY_STYLES = {
    "target": ("s", (0, (5, 1.5))),
    "mean_voter": ("^", (0, (3, 1, 1, 1))),
    "vote": ("D", (0, (1, 1))),
    "vote_bayes": ("v", (0, (2, 1))),
}
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
_DASHES = ("-", (0, (5, 1.5)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (6, 1, 1, 1, 1, 1)))


def cycle_style(index: int) -> LineStyle:
    """A style for the line at a place of a legend.

    Args:
        index: 0, 1, ...

    Returns:
        A style; colour, marker and dashes run through cycles of coprime lengths, so no two of the
        first seventy lines are equal.
    """
    colors = tuple(PALETTE.values())[1:] + (PALETTE["black"],)
    return LineStyle(
        colors[index % len(colors)],
        _MARKERS[index % len(_MARKERS)],
        _DASHES[index % len(_DASHES)],
    )


class Canvas(NamedTuple):
    """A figure with its panels placed and its words set."""

    figure: Figure
    panels: list[Axes]


def style_context():
    """The settings under which figures are made and saved, as a context manager."""
    return matplotlib.rc_context(_RC)


def new_canvas(
    title: str,
    subtitle: str,
    caption: str,
    *,
    num_panels: int = 1,
    panel_size: tuple[float, float] = (4.7, 3.3),
    legend_width: float = 2.75,
    left: float = 0.75,
) -> Canvas:
    """A figure with room for title, panels, a legend to their right, and a caption below.

    Args:
        title: First line, bold.
        subtitle: Second line: the threat model.
        caption: Text under the figure, broken into lines to fit.
        num_panels: Panels side by side.
        panel_size: Width and height of a panel in inches.
        legend_width: Inches kept free at the right.
        left: Inches kept free at the left, for the numbers and the name of the axis.

    Returns:
        The figure and its empty panels.
    """
    width_each, panel_height = panel_size
    gap, right = 0.75, 0.2
    width = left + num_panels * width_each + (num_panels - 1) * gap + right + legend_width
    lines = wrap(caption, width)
    subtitle_lines = wrap(subtitle, width, size=8.5)
    header = 0.5 + 0.17 * len(subtitle_lines)
    footer = 0.62 + 0.15 * len(lines)
    height = header + panel_height + footer
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    panels = []
    for index in range(num_panels):
        x = (left + index * (width_each + gap)) / width
        box = (x, footer / height, width_each / width, panel_height / height)
        panels.append(figure.add_axes(box))
    write_words(figure, title, subtitle_lines, lines)
    return Canvas(figure, panels)


def write_words(
    figure: Figure, title: str, subtitle_lines: Sequence[str], caption: Sequence[str]
) -> None:
    """Sets title, second line and caption.

    Args:
        figure: The figure.
        title: First line.
        subtitle_lines: Lines under the title.
        caption: Lines at the bottom.
    """
    width, height = figure.get_size_inches()
    x = 0.15 / width
    # A long title is set smaller: a bold letter is about 0.64 of its size wide.
    size = min(11.0, (width - 0.3) * 72 / (0.64 * max(len(title), 1)))
    figure.text(
        x, 1 - 0.1 / height, title, ha="left", va="top", fontsize=size, fontweight="bold",
        gid="title",
    )  # fmt: skip
    figure.text(
        x, 1 - 0.33 / height, "\n".join(subtitle_lines), ha="left", va="top", fontsize=8.5,
        color=PALETTE["vermillion"], gid="subtitle", linespacing=1.25,
    )  # fmt: skip
    figure.text(
        x, 0.08 / height, "\n".join(caption), ha="left", va="bottom", fontsize=7.5, color=GREY,
        linespacing=1.3, gid="caption",
    )  # fmt: skip


def wrap(text: str, width: float, size: float = 7.5) -> list[str]:
    """Breaks a text into lines that fit a figure.

    Args:
        text: The text; its own line breaks stay.
        width: Width of the figure in inches.
        size: Font size in points.

    Returns:
        The lines; none for an empty text.
    """
    columns = max(int((width - 0.3) / (size * 0.575 / 72)), 20)
    return [line for part in text.splitlines() for line in textwrap.wrap(part, columns)]


def legend_right(figure: Figure, axes: Axes) -> None:
    """Puts the legend to the right of a panel, long names broken to fit.

    Args:
        figure: The figure.
        axes: Its last panel.
    """
    legend = axes.legend(
        loc="upper left", bbox_to_anchor=(1.02, 1.02), borderaxespad=0, handlelength=3.4,
        labelspacing=0.65, alignment="left",
    )  # fmt: skip
    room = figure.get_size_inches()[0] * (1 - axes.get_position().x1) - 0.75
    columns = max(int(room / (8 * 0.575 / 72)), 12)
    for text in legend.get_texts():
        text.set_text(textwrap.fill(text.get_text(), columns))


def figure_bytes(figure: Figure, file_format: str) -> bytes:
    """A figure as a file's content, equal for equal figures.

    Args:
        figure: The figure.
        file_format: `"png"` or `"pdf"`.

    Returns:
        The bytes, without time stamp or program name.

    Raises:
        ValueError: For another format.
    """
    if file_format not in ("png", "pdf"):
        raise ValueError(f"Expected the format 'png' or 'pdf', received {file_format!r}.")
    metadata: dict[str, str | None] = (
        {"Software": None}
        if file_format == "png"
        else {"CreationDate": None, "Creator": None, "Producer": None}
    )
    buffer = io.BytesIO()
    with style_context():
        figure.savefig(buffer, format=file_format, dpi=DPI, metadata=metadata)
    if file_format == "png" and not any(axes.images for axes in figure.axes):
        return _with_palette(buffer)
    return buffer.getvalue()


def _with_palette(png: io.BytesIO) -> bytes:
    """The picture in 256 colours: lines and text look the same, in a third of the bytes."""
    buffer = io.BytesIO()
    picture = Image.open(png).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def save_figure(figure: Figure, stem: str | Path) -> tuple[Path, Path]:
    """Writes a figure as PNG (150 dpi) and PDF.

    Args:
        figure: The figure.
        stem: Path without ending, for example `results/figures/quick/003.F3.6_cifar10`.

    Returns:
        The paths of the PNG and of the PDF.
    """
    stem = Path(stem)
    # Identifiers hold dots, so the ending is added, not exchanged.
    paths = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.pdf")
    for path in paths:
        write_atomically(path, figure_bytes(figure, path.suffix[1:]))
    return paths
