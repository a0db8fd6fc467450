"""The line figures, drawn from rows.

Every function takes rows and words and returns a `matplotlib.figure.Figure`; `style.save_figure`
writes it. Each figure names the threat model in its second line and carries a caption that says
what the profile cuts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from results.curves import Curve, accuracy_curves, value_curves
from results.drawing import (
    accuracy_style,
    draw_curve,
    draw_members,
    draw_printed,
    epsilon_axis,
    full_caption,
    is_headline,
    mark_crossing,
    threat_line,
)
from results.headlines import shown_curves
from results.labels import DEFENSE_LABELS, VOTING_METRICS, curve_label
from results.paper import Printed, table_value, text_value
from results.row import Row, qualifier, qualifiers
from results.selection import require_rows, require_single
from results.style import (
    DEFENSE_STYLES,
    GREY,
    ROLE_STYLES,
    cycle_style,
    legend_right,
    new_canvas,
    style_context,
)

_DISTANCE_STYLES = {
    "none": ROLE_STYLES["none"],
    "sfl_vae": ROLE_STYLES["vote_bayes"]._replace(marker="s"),
    "non_sfl_vae": DEFENSE_STYLES["non_sfl_vae"],
    "vqunet": DEFENSE_STYLES["vqunet"],
    "vqunet_literal": DEFENSE_STYLES["vqunet_literal"],
    "non_vqunet": DEFENSE_STYLES["non_vqunet"],
}


def accuracy_figure(
    rows: Iterable[Row],
    title: str,
    caption: str,
    printed: Sequence[Printed | tuple[str, float | None, float]] | None = None,
    main: str | None = None,
) -> Figure:
    """Accuracy against epsilon, one line per defense and decider.

    Why bands: at 1,000 images two curves three points apart may be one curve. The bands are 95 %
    Wilson intervals of the number of distinct images (`curves.accuracy_curves` says why not more).
    A purifier with the target is a mean over targets, each drawn thin beside its mean. Where
    defenses are compared, each has a colour and one heavy line with a band.

    **Reference**: Dissertation, figs. 3.6-3.13, 4.2-4.5, 5.3-5.6.

    **Differs from the paper**: the printed curves survive without numbers, so only the values of
    its text are marked; vote alone and vote + Bayes are drawn apart.

    Args:
        rows: Accuracy rows of one data set, attack and threat model; clean rows may be among them.
        title: First line.
        caption: What the profile cuts.
        printed: Values of the paper as (label, epsilon, fraction); epsilon None draws a level.
        main: The defense drawn whole (`headlines.shown_curves`); None draws everything.

    Returns:
        The figure; the y-axis is in percent.

    Raises:
        ValueError: If there are no rows, or they belong into several figures.
    """
    selected = require_rows((r for r in rows if r.metric == "accuracy"), "an accuracy figure")
    require_single(selected, "dataset", "attack", "threat_model")
    curves = shown_curves(accuracy_curves(selected), main)
    compared = len({curve.defense for curve in curves} - {"none"}) > 1
    with style_context():
        canvas = new_canvas(
            title, threat_line(selected), full_caption(caption, curves, selected),
            panel_size=(4.7, 3.9 if compared else 3.3), legend_width=3.4 if compared else 2.75,
        )  # fmt: skip
        axes = canvas.panels[0]
        _accuracy_lines(axes, curves, compared)
        for label, epsilon, value in printed or ():
            draw_printed(axes, label, epsilon, value)
        epsilon_axis(axes, curves)
        axes.set_ylim(-2, 102)
        axes.set_ylabel("accuracy (%)")
        legend_right(canvas.figure, axes)
    return canvas.figure


def _accuracy_lines(axes: Axes, curves: Sequence[Curve], compared: bool) -> None:
    for curve in curves:
        style = accuracy_style(curve, curves)
        light = compared and not is_headline(curve, curves)
        draw_curve(axes, curve, curve_label(curve, curves), style, scale=100, light=light)
        if curve.role == "target" and curve.defense != "none" and not compared:
            draw_members(axes, curve, style)


def distance_figure(rows: Iterable[Row], title: str, caption: str) -> Figure:
    """Distance of the purified attacked image to the clean original, against epsilon.

    **Reference**: Dissertation, figs. 3.2-3.5 and 5.7.

    **Differs from the paper**: in chapter 3 L1 is shown beside L2 where it was measured, and each
    line has a band of one standard error.

    Args:
        rows: Rows with metrics `l2` and `l1` (and `<metric>_standard_error`) of one data set,
            attack and threat model.
        title: First line.
        caption: What the profile cuts.

    Returns:
        The figure, one panel per norm.

    Raises:
        ValueError: If there are no such rows, or they belong into several figures.
    """
    rows = list(rows)
    metrics = [metric for metric in ("l2", "l1") if any(row.metric == metric for row in rows)]
    selected = require_rows(
        (r for r in rows if r.metric.removesuffix("_standard_error") in metrics),
        "a distance figure",
    )
    require_single(selected, "dataset", "attack", "threat_model")
    crossing = text_value("003", "3.4.2", "SFL advantage fails at FGSM eps")
    by_metric = {m: value_curves(selected, m) for m in metrics}
    with style_context():
        canvas = new_canvas(
            title,
            threat_line(selected),
            full_caption(caption, by_metric[metrics[0]], selected),
            num_panels=len(metrics),
            panel_size=(4.7, 3.3) if len(metrics) == 1 else (3.4, 3.1),
            legend_width=2.3,
        )
        for axes, metric in zip(canvas.panels, metrics, strict=True):
            _distance_panel(axes, by_metric[metric])
            mark_crossing(axes, selected, crossing)
            axes.set_ylabel(f"{metric.upper()} distance to the clean image")
        legend_right(canvas.figure, canvas.panels[-1])
    return canvas.figure


def _distance_panel(axes: Axes, curves: Sequence[Curve]) -> None:
    for index, curve in enumerate(curves):
        label = DEFENSE_LABELS.get(curve.defense, curve.defense)
        if curve.defense == "none":
            label = "attacked, not purified"
        style = _DISTANCE_STYLES.get(curve.defense, cycle_style(index + 3))
        draw_curve(axes, curve, label, style, clip=curve.defense == "none")
    epsilon_axis(axes, curves)
    # The attacked image is a reference: it may leave the panel, the purifiers may not.
    shown = [curve for curve in curves if curve.defense != "none"] or curves
    axes.set_ylim(0, 1.12 * max(point.high for curve in shown for point in curve.points))


def voting_figure(rows: Iterable[Row], title: str, caption: str) -> Figure:
    """Recovery and overlap of the voters' predictions against their number, a line per epsilon.

    **Reference**: Dissertation, sec. 3.4.5, figs. 3.14-3.16.

    **Differs from the paper**: nothing; the definitions are those of the voting analysis.

    Args:
        rows: Rows with metrics `recovery_rate`, `overlap_wrong`, `overlap_correct` and the flag
            `voters=V`.
        title: First line.
        caption: What the profile cuts.

    Returns:
        The figure, one panel per metric that the rows hold, y-axes in percent.

    Raises:
        ValueError: If there are no such rows, one lacks `voters`, or they need several figures.
    """
    selected = require_rows((r for r in rows if r.metric in VOTING_METRICS), "a voting figure")
    require_single(selected, "dataset", "attack", "threat_model", "defense")
    metrics = [metric for metric in VOTING_METRICS if any(r.metric == metric for r in selected)]
    epsilons = sorted({row.epsilon for row in selected})
    with style_context():
        canvas = new_canvas(
            title, threat_line(selected), caption, num_panels=len(metrics), legend_width=1.3,
            panel_size=(4.7, 3.3) if len(metrics) == 1 else (3.0, 2.9),
        )  # fmt: skip
        for axes, metric in zip(canvas.panels, metrics, strict=True):
            for index, epsilon in enumerate(epsilons):
                at_epsilon = [r for r in selected if r.metric == metric and r.epsilon == epsilon]
                for curve in value_curves(at_epsilon, metric, "voters") if at_epsilon else []:
                    label = f"ε = {epsilon:g}"
                    draw_curve(axes, curve, label, cycle_style(index), scale=100)
            axes.set_xlabel("number of voters V")
            axes.set_ylabel(f"{VOTING_METRICS[metric]} (%)")
            axes.set_xticks(sorted({int(qualifier(row, "voters") or 0) for row in selected}))
            axes.set_ylim(-2, 102)
        legend_right(canvas.figure, canvas.panels[-1])
    return canvas.figure


def sweep_figure(
    rows: Iterable[Row], title: str, caption: str, weight: str = "kl_weight"
) -> Figure:
    """L1 distance of clean reconstructions against a loss weight, with the printed value.

    Why: the dissertation does not print the weight of the KL term; the L1 that it prints for its
    VAE settles it.

    **Reference**: Dissertation, table 4.1 (VAE: 126.0, taken to be CIFAR-10).

    **Differs from the paper**: the sweep is not in the paper.

    Args:
        rows: Rows with metric `l1` and the flag named by `weight`.
        title: First line.
        caption: What the profile cuts.
        weight: Name of the flag.

    Returns:
        The figure, weight on a logarithmic axis.

    Raises:
        ValueError: If no row carries the flag, or they belong to several data sets.
    """
    names = ("l1", "l1_standard_error")
    selected = require_rows(
        (r for r in rows if r.metric in names and weight in qualifiers(r)), f"a sweep of {weight}"
    )
    require_single(selected, "dataset")
    curves = value_curves(selected, "l1", weight)
    with style_context():
        canvas = new_canvas(title, "no attack: clean test images", caption)
        axes = canvas.panels[0]
        for index, curve in enumerate(curves):
            draw_curve(axes, curve, curve_label(curve, curves), cycle_style(index))
        if selected[0].dataset == "cifar10":
            value = table_value("003.T4.1", "L1 Norm", "VAE")
            axes.axhline(value, color=GREY, linestyle=(0, (6, 2)), linewidth=1.1, gid="printed",
                         label=f"printed for the VAE: {value:.1f}")  # fmt: skip
        axes.set_xscale("log")
        axes.set_xticks(sorted({x for curve in curves for x in curve.xs}))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.set_xlabel(f"weight of the KL term ({weight})" if weight == "kl_weight" else weight)
        axes.set_ylabel("L1 distance to the clean image")
        axes.set_ylim(bottom=0)
        legend_right(canvas.figure, axes)
    return canvas.figure
