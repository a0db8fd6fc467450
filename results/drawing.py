"""Strokes that several figures share: a curve with its band, a printed value, the epsilon axis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from results.curves import Curve, primary
from results.headlines import headline
from results.labels import threat_words
from results.row import Row
from results.style import (
    DEFENSE_STYLES,
    GREY,
    PALETTE,
    ROLE_STYLES,
    SECONDARY_STYLES,
    VARIANT_STYLES,
    LineStyle,
    cycle_style,
)

_RESCALED = (
    "Carlini–Wagner has no epsilon: each image's perturbation is found once and rescaled to every "
    "epsilon, beyond its own size amplified."
)


def draw_curve(
    axes: Axes,
    curve: Curve,
    label: str,
    style: LineStyle,
    *,
    scale: float = 1.0,
    clip: bool = False,
    light: bool = False,
) -> None:
    """Draws a curve, its band, and flagged points hollow.

    Args:
        axes: The panel.
        curve: The curve; one without points is skipped.
        label: Its name in the legend.
        style: Its look.
        scale: Factor on the values, 100 for percent.
        clip: Whether the line may leave the panel; markers on its border are cut then.
        light: Draws it thin and without a band, where others are to stand out.
    """
    if not curve.points:
        return
    values = [scale * value for value in curve.values]
    size = 3.8 if light else None
    axes.plot(
        curve.xs, values, color=style.color, linestyle=style.linestyle, marker=style.marker,
        label=label, gid=f"curve:{label}", zorder=2.8 if light else 3, clip_on=clip,
        linewidth=1.0 if light else None, markersize=size,
    )  # fmt: skip
    low = [scale * point.low for point in curve.points]
    high = [scale * point.high for point in curve.points]
    if not light and any(point.half_width > 0 for point in curve.points):
        axes.fill_between(
            curve.xs, low, high, color=style.color, alpha=0.16, linewidth=0, zorder=1.5,
            gid=f"band:{label}",
        )  # fmt: skip
    hollow = [(point.x, scale * point.value) for point in curve.points if point.warnings]
    if hollow:
        axes.plot(
            *zip(*hollow, strict=True), color=style.color, linestyle="none", marker=style.marker,
            markerfacecolor="white", markeredgewidth=1.0 if light else 1.3, zorder=4,
            clip_on=clip, gid=f"hollow:{label}", label="_nolegend_",
            markersize=size,
        )  # fmt: skip


def draw_members(axes: Axes, curve: Curve, style: LineStyle, *, scale: float = 100.0) -> None:
    """Draws each target of a mean as a thin line with its letter at the end.

    Args:
        axes: The panel.
        curve: A mean over targets.
        style: The look of the mean.
        scale: Factor on the values.
    """
    names = sorted({name for point in curve.points for name in point.members if name})
    if len(names) < 2:
        return
    ends = []
    for name in names:
        known = [p for p in curve.points if name in p.members]
        line = [(point.x, scale * point.members[name]) for point in known]
        axes.plot(
            *zip(*line, strict=True), color=style.color, linewidth=0.8, alpha=0.75, zorder=2,
            gid=f"target:{name}", label="_nolegend_",
        )  # fmt: skip
        ends.append((line[-1][1], line[-1][0], name))
    ends.sort()
    heights: list[float] = []
    for value, _, _ in ends:  # letters of close lines are set apart, around their own middle
        heights.append(max(value, heights[-1] + 0.03 * scale) if heights else value)
    shift = sum(end[0] for end in ends) / len(ends) - sum(heights) / len(heights)
    for height, (_, x, name) in zip([h + shift for h in heights], ends, strict=True):
        axes.annotate(
            name, (x, height), xytext=(5, 0), textcoords="offset points", fontsize=6.5,
            va="center", color=style.color, annotation_clip=False,
        )  # fmt: skip


def draw_printed(axes: Axes, label: str, epsilon: float | None, value: float) -> None:
    """Marks a value that the paper prints: a star at an epsilon, or a level.

    Args:
        axes: The panel, in percent.
        label: Its name in the legend.
        epsilon: Where, or None for a level throughout.
        value: A fraction in [0, 1].
    """
    if epsilon is None:
        axes.axhline(
            100 * value, color=GREY, linestyle=(0, (6, 2)), linewidth=1.1, zorder=1.8,
            label=label, gid="printed",
        )  # fmt: skip
        return
    axes.plot(
        [epsilon], [100 * value], linestyle="none", marker="*", markersize=12, zorder=5,
        markerfacecolor=GREY, markeredgecolor="white", markeredgewidth=0.8,
        label=label, gid="printed", clip_on=False,
    )  # fmt: skip


def epsilon_axis(axes: Axes, curves: Iterable[Curve]) -> None:
    """Names the x-axis and puts a tick at every measured epsilon.

    Args:
        axes: The panel.
        curves: What is drawn on it.
    """
    places = sorted({x for curve in curves for x in curve.xs})
    axes.set_xlabel("ε, largest change of a pixel (images in [0, 1])")
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.3g}"))
    if len(places) > 1:
        margin = 0.03 * (places[-1] - places[0])
        axes.set_xlim(places[0] - margin, places[-1] + 1.6 * margin)


def accuracy_style(curve: Curve, curves: Sequence[Curve]) -> LineStyle:
    """The look of an accuracy curve: fixed by its role while there is one purifier in the figure.

    With several purifiers colour tells these apart, markers and dashes the deciders of each.

    Args:
        curve: The curve.
        curves: All curves of the figure.

    Returns:
        Its style, different from those of the others.
    """
    role = "none" if curve.defense == "none" else curve.role
    purifiers = {other.defense for other in curves if other.defense != "none"}
    if role in ROLE_STYLES and (len(purifiers) <= 1 or role == "none"):
        if curve is primary(curves, curve.defense, curve.role):
            return ROLE_STYLES[role]
        speaks = primary(curves, curve.defense, curve.role)
        variants = [
            other
            for other in curves
            if (other.defense, other.role) == (curve.defense, curve.role) and other is not speaks
        ]
        return VARIANT_STYLES[variants.index(curve) % len(VARIANT_STYLES)]
    if curve.role not in ROLE_STYLES and curve.role != "none":
        return cycle_style(list(curves).index(curve))
    return _comparison_style(curve, curves)


def _comparison_style(curve: Curve, curves: Sequence[Curve]) -> LineStyle:
    defenses = list(dict.fromkeys(other.defense for other in curves))
    taken = {DEFENSE_STYLES[name].color for name in defenses if name in DEFENSE_STYLES}
    free = [color for color in PALETTE.values() if color not in taken] or list(PALETTE.values())
    unknown = [name for name in defenses if name not in DEFENSE_STYLES]
    if curve.defense in DEFENSE_STYLES:
        style = DEFENSE_STYLES[curve.defense]
    else:
        place = unknown.index(curve.defense)
        style = cycle_style(place)._replace(color=free[place % len(free)])
    if is_headline(curve, curves):
        return style
    own = [c for c in curves if c.defense == curve.defense and c.role == curve.role]
    others = [c for c in own if not is_headline(c, curves)]
    marker, dashes = SECONDARY_STYLES.get(curve.role, ("o", (0, (1, 1))))
    place = others.index(curve)
    return style._replace(marker=marker if place == 0 else "<>*1234"[place - 1], linestyle=dashes)


def is_headline(curve: Curve, curves: Sequence[Curve]) -> bool:
    """Whether a curve is the one that stands for its defense.

    Args:
        curve: The curve.
        curves: All curves of the figure.

    Returns:
        True for it, and for the undefended classifier.
    """
    return curve.defense == "none" or curve is headline(curves, curve.defense)


def threat_line(rows: Sequence[Row]) -> str:
    """The second line of a figure: what the attacker knows.

    Args:
        rows: Rows; clean ones say nothing of an attacker.

    Returns:
        A sentence with the names of the threat models.
    """
    attacked = [row for row in rows if row.attack != "none"] or list(rows)
    return f"threat model: {threat_words(row.threat_model for row in attacked)}"


def full_caption(caption: str, curves: Sequence[Curve], rows: Sequence[Row]) -> str:
    """A caption with what the rows themselves ask a reader to know.

    Args:
        caption: What the profile cuts.
        curves: What is drawn.
        rows: Rows behind it.

    Returns:
        The caption, with notes on flags, rescaled attacks and points left out.
    """
    notes = [caption] if caption else []
    if any(row.attack.startswith("carlini_wagner") for row in rows):
        notes.append(_RESCALED)
    words = sorted({word for curve in curves for p in curve.points for word in p.warnings})
    if words:
        notes.append(f"Hollow markers: flagged {', '.join(words)}.")
    left_out = sorted({x for curve in curves for x in curve.incomplete})
    if left_out:
        places = ", ".join(f"{x:g}" for x in left_out)
        notes.append(f"Left out, not every target measured: ε = {places}.")
    return " ".join(notes)


def mark_crossing(axes: Axes, rows: Sequence[Row], epsilon: float) -> None:
    """Marks where the dissertation says that the spatial frequency loss stops helping (FGSM).

    Args:
        axes: The panel.
        rows: Rows behind it; drawn for FGSM and for the VAE with that loss only.
        epsilon: The printed place.
    """
    if any(row.attack == "fgsm" and row.defense == "sfl_vae" for row in rows):
        axes.axvline(
            epsilon, color=GREY, linestyle=(0, (1, 1.5)), linewidth=1.1, zorder=1.2, gid="printed",
            label=f"printed: SFL ahead below {epsilon:g}",
        )  # fmt: skip
