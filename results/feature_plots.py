"""How far an attack moves the features inside VQUNet: a panel per metric, a line per depth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.curves import Curve, value_curves
from results.drawing import draw_curve, epsilon_axis, full_caption, threat_line
from results.labels import DEFENSE_LABELS, FEATURE_METRICS, STAGE_LABELS
from results.row import Row
from results.selection import require_rows, require_single
from results.style import PALETTE, LineStyle, legend_right, new_canvas, style_context

_DEPTH_COLORS = ("blue", "vermillion", "green", "purple", "orange", "sky")
_VARIANTS = (("o", "-"), ("^", (0, (4, 1.5))), ("s", (0, (1, 1))), ("D", (0, (6, 1, 1, 1))))
#: Lines that differ by more than this factor are drawn over a logarithmic axis.
_FAR_APART = 20
_LOGARITHMIC = "A logarithmic axis has no place for ε = 0, where nothing changes."


def feature_figure(rows: Iterable[Row], title: str, caption: str) -> Figure:
    """Features or code indices before and after an attack, against epsilon.

    Colour is the depth; marker and dashes tell networks, or the features before and after
    quantisation, apart.

    **Reference**: Dissertation, sec. 5.4.4, figs. 5.8-5.10.

    **Differs from the paper**: beside the absolute change stands the one relative to the size of
    the clean features, since two networks (and the two sides of the quantiser) scale theirs
    differently, and the one relative to their spread over the clean images.

    Args:
        rows: Rows with metrics `feature_change`, `feature_change_relative`,
            `feature_change_spread` or `index_change` and the flags `depth` and, for features,
            `stage`, of one data set and attack.
        title: First line.
        caption: What the profile cuts.

    Returns:
        The figure, one panel per metric that the rows hold; `index_change` in percent.

    Raises:
        ValueError: If there are no such rows, or they belong into several figures.
    """
    rows = list(rows)
    by_metric = feature_curves(rows)
    everything = [curve for curves in by_metric.values() for curve in curves]
    logarithmic = {metric for metric, curves in by_metric.items() if _far_apart(metric, curves)}
    note = " ".join(part for part in (caption, _LOGARITHMIC if logarithmic else "") if part)
    with style_context():
        canvas = new_canvas(
            title, threat_line(rows), full_caption(note, everything, rows),
            num_panels=len(by_metric), legend_width=2.5,
            panel_size=(4.7, 3.3) if len(by_metric) == 1 else (3.4, 3.1),
        )  # fmt: skip
        for axes, (metric, curves) in zip(canvas.panels, by_metric.items(), strict=True):
            scale = 100 if metric == "index_change" else 1
            for curve in curves:
                style = _feature_style(curve, everything)
                draw_curve(axes, curve, feature_label(curve, everything), style, scale=scale)
            epsilon_axis(axes, curves)
            _value_axis(axes, metric, metric in logarithmic)
        legend_right(canvas.figure, canvas.panels[-1])
    return canvas.figure


def _value_axis(axes: Axes, metric: str, logarithmic: bool) -> None:
    name = FEATURE_METRICS[metric]
    if metric == "index_change":
        axes.set_ylim(-2, 102)
        axes.set_ylabel(f"{name} (%)")
    elif logarithmic:
        axes.set_yscale("log", nonpositive="mask")
        axes.set_ylabel(f"{name} (log)")
    else:
        axes.set_ylim(bottom=0)
        axes.set_ylabel(name)


def _far_apart(metric: str, curves: Sequence[Curve]) -> bool:
    peaks = [peak for curve in curves if (peak := max(curve.values, default=0.0)) > 0]
    return metric != "index_change" and bool(peaks) and max(peaks) > _FAR_APART * min(peaks)


def feature_curves(rows: Iterable[Row]) -> dict[str, list[Curve]]:
    """The lines of a feature figure or table.

    Args:
        rows: As in `feature_figure`.

    Returns:
        `{metric: curves}`, networks and stages together, shallow depths first.

    Raises:
        ValueError: If there are no such rows, or they belong into several figures.
    """
    selected = require_rows(
        (r for r in rows if r.metric.removesuffix("_standard_error") in FEATURE_METRICS),
        "a figure of features",
    )
    require_single(selected, "dataset", "attack", "threat_model")
    present = {row.metric for row in selected}

    def order(curve: Curve) -> tuple:
        stages, networks = list(STAGE_LABELS), list(DEFENSE_LABELS)
        stage = curve.qualifiers.get("stage", "")
        return (
            networks.index(curve.defense) if curve.defense in networks else len(networks),
            stages.index(stage) if stage in stages else len(stages),
            curve.qualifiers.get("depth", ""),
        )

    return {
        metric: sorted(value_curves(selected, metric), key=order)
        for metric in FEATURE_METRICS
        if metric in present
    }


def feature_label(curve: Curve, curves: Sequence[Curve]) -> str:
    """The legend's name of a feature curve: what tells it from the others, and its depth.

    Args:
        curve: The curve.
        curves: All curves of the figure.

    Returns:
        For example `"non-VQUNet, depth 2"` or `"after quantisation, depth 2"`.
    """
    parts = []
    if len({other.defense for other in curves}) > 1:
        parts.append(DEFENSE_LABELS.get(curve.defense, curve.defense))
    stage = curve.qualifiers.get("stage")
    if stage and len({other.qualifiers.get("stage") for other in curves}) > 1:
        parts.append(STAGE_LABELS.get(stage, stage))
    parts.append(f"depth {curve.qualifiers.get('depth', '?')}")
    return ", ".join(parts)


def _feature_style(curve: Curve, curves: Sequence[Curve]) -> LineStyle:
    depths = sorted({other.qualifiers.get("depth", "") for other in curves})
    variants = list(dict.fromkeys((c.defense, c.qualifiers.get("stage")) for c in curves))
    place = variants.index((curve.defense, curve.qualifiers.get("stage")))
    marker, dashes = _VARIANTS[place % len(_VARIANTS)]
    color = _DEPTH_COLORS[depths.index(curve.qualifiers.get("depth", "")) % len(_DEPTH_COLORS)]
    return LineStyle(PALETTE[color], marker, dashes)
