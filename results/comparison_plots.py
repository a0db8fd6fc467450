"""Measured beside printed: clean reconstructions (table 4.1), clean accuracy (table 5.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.curves import Curve, Point, accuracy_curves, value_curves
from results.drawing import full_caption
from results.labels import DEFENSE_LABELS
from results.paper import RECONSTRUCTION_COLUMNS, printed_filtered, printed_reconstruction
from results.row import Row
from results.selection import require_rows, require_single
from results.style import GREY, PALETTE, legend_right, new_canvas, style_context

_NO_ATTACK = "no attack: clean test images"
_L1 = ("l1", "l1_standard_error")


def reconstruction_points(rows: Iterable[Row]) -> dict[str, Point]:
    """Mean L1 of clean reconstructions, by purifier.

    Args:
        rows: Rows with metric `l1` (and `l1_standard_error`), attack `none`, of one data set.

    Returns:
        Points in the order of table 4.1, any other purifier behind.

    Raises:
        ValueError: If there are no such rows, or they belong to several data sets.
    """
    selected = require_rows(
        (r for r in rows if r.metric in _L1 and r.attack == "none"), "clean reconstructions"
    )
    require_single(selected, "dataset")
    found = {curve.defense: curve.points[0] for curve in value_curves(selected, "l1")}
    ordered = [name for name in RECONSTRUCTION_COLUMNS if name in found]
    return {name: found[name] for name in [*ordered, *(n for n in found if n not in ordered)]}


def reconstruction_figure(rows: Iterable[Row], title: str, caption: str) -> Figure:
    """L1 of clean reconstructions, a bar per purifier, the printed value beside it.

    **Reference**: Dissertation, sec. 4.4.4, table 4.1.

    **Differs from the paper**: a figure of the table, with one standard error at each bar.

    Args:
        rows: As in `reconstruction_points`.
        title: First line.
        caption: What the profile cuts.

    Returns:
        The figure; the printed values are drawn on CIFAR-10 only.

    Raises:
        ValueError: If there are no such rows, or they belong to several data sets.
    """
    rows = list(rows)
    points = reconstruction_points(rows)
    (dataset,) = {row.dataset for row in rows}
    printed = printed_reconstruction(dataset)
    caption = full_caption(caption, _as_curves(points), rows)
    with style_context():
        canvas = new_canvas(title, _NO_ATTACK, caption, panel_size=(5.4, 3.3), legend_width=2.0)
        axes = canvas.panels[0]
        for x, (name, point) in enumerate(points.items()):
            bar = axes.bar(
                x, point.value, width=0.55, yerr=point.half_width or None,
                color="white" if point.warnings else PALETTE["sky"], edgecolor=PALETTE["blue"],
                error_kw={"elinewidth": 1.2, "capsize": 3, "ecolor": "black"},
                label="measured" if x == 0 else "_nolegend_", zorder=2,
            )  # fmt: skip
            bar.patches[0].set_gid(f"bar:{name}")
            axes.annotate(
                f"{point.value:.1f}", (x, point.value + point.half_width), xytext=(0, 4),
                textcoords="offset points", ha="center", fontsize=7.5, zorder=6,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8},
            )  # fmt: skip
        _printed_marks(axes, points, printed)
        axes.set_xticks(range(len(points)))
        axes.set_xticklabels([_tick(name) for name in points])
        axes.grid(axis="x", visible=False)
        axes.set_ylabel("L1 distance to the clean image")
        highest = max([p.high for p in points.values()] + [printed.get(n, 0) for n in points])
        axes.set_ylim(0, 1.12 * highest)
        legend_right(canvas.figure, axes)
    return canvas.figure


def _printed_marks(axes: Axes, points: Mapping[str, Point], printed: Mapping[str, float]) -> None:
    places = [(x, printed[name]) for x, name in enumerate(points) if name in printed]
    if places:
        axes.plot(
            *zip(*places, strict=True), linestyle="none", marker="_", markersize=26,
            markeredgewidth=2.4, color=PALETTE["vermillion"], zorder=4, label="printed",
            gid="printed",
        )  # fmt: skip


def _as_curves(points: Mapping[str, Point]) -> list[Curve]:
    return [Curve(name, "none", {}, (point,)) for name, point in points.items()]


def _tick(name: str) -> str:
    label = DEFENSE_LABELS.get(name, name)
    return label.replace("Defense-", "Defense-\n") + (
        "\n(Cyc)" if name.endswith("cyclegan") else ""
    )


def filtered_points(rows: Iterable[Row]) -> dict[str, tuple[Point | None, Point | None]]:
    """Clean accuracy behind each purifier: of the retrained target, and of the original one.

    Args:
        rows: Accuracy rows, attack `none`, of one data set.

    Returns:
        `{defense: (retrained, original)}`, None for what was not measured; `"none"`, where
        nothing is filtered, first and under `original`.

    Raises:
        ValueError: If there are no such rows, or they belong to several data sets.
    """
    selected = require_rows(
        (r for r in rows if r.metric == "accuracy" and r.attack == "none"), "filtered accuracies"
    )
    require_single(selected, "dataset")
    curves = [curve for curve in accuracy_curves(selected) if curve.role == "target"]
    found: dict[str, tuple[Point | None, Point | None]] = {}
    for defense in dict.fromkeys(curve.defense for curve in curves):
        own = {c.qualifiers.get("retrained") == "True": c.at(0.0) for c in curves
               if c.defense == defense}  # fmt: skip
        found[defense] = own.get(True), own.get(False)
    printed = [name for name in printed_filtered("cifar10") if name in found]
    return {name: found[name] for name in [*printed, *(n for n in found if n not in printed)]}


def filtered_figure(rows: Iterable[Row], title: str, caption: str) -> Figure:
    """Clean accuracy behind each purifier, the undefended classifier's as a line.

    Why dots and no bars: the losses are of a few points, and a bar has to begin at zero.

    **Reference**: Dissertation, sec. 5.4.2, table 5.1.

    **Differs from the paper**: a figure of the table; the target that was not retrained on
    purified images stands beside the one that was; 95 % Wilson intervals.

    Args:
        rows: As in `filtered_points`.
        title: First line.
        caption: What the profile cuts.

    Returns:
        The figure; a line of dots per defense, x-axis in percent.

    Raises:
        ValueError: If there are no such rows, or they belong to several data sets.
    """
    rows = list(rows)
    points = filtered_points(rows)
    (dataset,) = {row.dataset for row in rows}
    printed = printed_filtered(dataset)
    measured = [(n, p) for n, pair in points.items() for p in pair if p is not None]
    caption = full_caption(caption, [Curve(n, "target", {}, (p,)) for n, p in measured], rows)
    height = 1.0 + 0.42 * len(points)
    with style_context():
        canvas = new_canvas(
            title, _NO_ATTACK, caption, panel_size=(4.7, height), legend_width=2.5, left=1.5
        )
        axes = canvas.panels[0]
        _dots(axes, points, 0, 0.0, "o", PALETTE["blue"], "target retrained on purified images")
        _dots(axes, points, 1, 0.17, "s", PALETTE["orange"], "target as it was")
        _stars(axes, [(printed[n], y - 0.17) for y, n in enumerate(points) if n in printed])
        bare = points.get("none", (None, None))[1]
        if bare is not None:
            axes.axvline(
                100 * bare.value, color="black", linestyle=(0, (4, 2)), linewidth=1.0, zorder=1.5,
                label="not filtered", gid="unfiltered",
            )  # fmt: skip
        axes.set_yticks(range(len(points)))
        axes.set_yticklabels([DEFENSE_LABELS.get(name, name) for name in points])
        axes.set_ylim(len(points) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("accuracy on clean images (%)")
        legend_right(canvas.figure, axes)
    return canvas.figure


def _stars(axes: Axes, places: Sequence[tuple[float, float]]) -> None:
    if places:
        axes.plot(
            *zip(*places, strict=True), linestyle="none", marker="*", markersize=9, color=GREY,
            markeredgecolor="white", markeredgewidth=0.5, label="printed", gid="printed", zorder=3,
        )  # fmt: skip


def _dots(
    axes: Axes, points: Mapping[str, tuple[Point | None, Point | None]], which: int,
    offset: float, marker: str, color: str, label: str,
) -> None:  # fmt: skip
    shown: Sequence[tuple[int, Point]] = [
        (y, point) for y, pair in enumerate(points.values()) if (point := pair[which]) is not None
    ]
    for y, point in shown:
        axes.errorbar(
            100 * point.value, y + offset,
            xerr=[[100 * (point.value - point.low)], [100 * (point.high - point.value)]],
            marker=marker, color=color, linestyle="none", capsize=2.5, elinewidth=1.1, zorder=4,
            markerfacecolor="white" if point.warnings else color,
            label=label if y == shown[0][0] else "_nolegend_",
        )[0].set_gid(f"dot:{list(points)[y]}:{which}")  # fmt: skip
