"""Accuracy against the seconds that purifying takes, of the PuVAE paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from results.curves import Point
from results.drawing import threat_line
from results.labels import ATTACK_LABELS, DEFENSE_LABELS, budget_label
from results.puvae_cells import ATTACKS, budgets_of, target_label
from results.puvae_paper import time_limit
from results.puvae_plots import caption_of
from results.puvae_times import INSTANT, Setting, Timed, timed_settings
from results.row import Row
from results.style import GREY, PALETTE, cycle_style, legend_right, new_canvas, style_context

_COLORS = {
    "targeted_fgsm": PALETTE["blue"],
    "targeted_bim": PALETTE["vermillion"],
    "targeted_carlini_wagner": PALETTE["green"],
}
#: The paper's dashes: solid PuVAE, dotted MagNet, dashed Defense-GAN.
_STYLES: dict[str, tuple[str, str | tuple]] = {
    "puvae": ("P", "-"),
    "magnet": ("s", (0, (1, 1.2))),
    "defense_gan": ("d", (0, (5, 2))),
}


def time_figure(rows: Iterable[Row], title: str, caption: str) -> Figure:
    """Accuracy on one batch against the seconds that purifying it takes.

    A defense of a single pass is a marker, and a level from there on; a search is a line over its
    numbers of steps, which stand at the foot.

    **Reference**: PuVAE, sec. V-D, Figure 9.

    **Differs from the paper**: a logarithmic axis, 95 % Wilson intervals, and times beyond the
    limit too.

    Args:
        rows: As in `puvae_times.timed_settings`.
        title: First line.
        caption: What the profile cuts.

    Returns:
        The figure, a panel per target; one colour per attack, one marker and dash per defense.

    Raises:
        ValueError: If there are no such rows, or they belong into several figures.
    """
    rows = list(rows)
    settings = timed_settings(rows)
    targets = list(dict.fromkeys(setting.target for setting in settings))
    drawn = {s: timed for s, timed in settings.items() if timed.seconds is not None}
    points = [point for timed in drawn.values() for point in timed.accuracy.values()]
    parts = [caption, _left_out(settings), _steps_note(drawn)]
    with style_context():
        canvas = new_canvas(
            title, threat_line(rows), caption_of(parts, points, rows), num_panels=len(targets),
            panel_size=(4.9, 3.5) if len(targets) == 1 else (3.6, 3.2), legend_width=2.35,
        )  # fmt: skip
        for axes, target in zip(canvas.panels, targets, strict=True):
            _panel(axes, {s: timed for s, timed in drawn.items() if s.target == target})
            if len(targets) > 1:
                axes.set_xlabel(f"{axes.get_xlabel()}, target {target_label(target)}")
        _legend(canvas.panels[-1], drawn, budgets_of(rows))
        legend_right(canvas.figure, canvas.panels[-1])
    return canvas.figure


def _left_out(settings: Iterable[Setting]) -> str:
    names = dict.fromkeys(DEFENSE_LABELS[s.defense] for s in settings if s.defense in INSTANT)
    return f"Not drawn, as it purifies nothing: {', '.join(names)}." if names else ""


def _steps_note(settings: Iterable[Setting]) -> str:
    searches = [setting for setting in settings if setting.steps]
    if not searches:
        return ""
    restarts = sorted({setting.restarts for setting in searches})
    starts = " or ".join(map(str, restarts))
    return f"L: steps of each search of Defense-GAN, from {starts} random starts."


def _panel(axes: Axes, settings: Mapping[Setting, Timed]) -> None:
    times = [timed.seconds.value for timed in settings.values() if timed.seconds is not None]
    limit = time_limit()
    low, high = min([*times, limit]) / 1.6, max([*times, limit]) * 1.6
    for defense in dict.fromkeys(setting.defense for setting in settings):
        own = {s: timed for s, timed in settings.items() if s.defense == defense}
        for attack in ATTACKS:
            path = [
                (timed.seconds.value, timed.accuracy[attack])
                for timed in own.values()
                if timed.seconds is not None and attack in timed.accuracy
            ]
            if path:
                _line(axes, f"{defense}:{attack}", sorted(path, key=lambda place: place[0]), high)
    for setting, timed in settings.items():
        if setting.steps and timed.seconds is not None:
            axes.annotate(
                f"L = {setting.steps}", (timed.seconds.value, 1.5), rotation=90, fontsize=6.5,
                ha="center", va="bottom", color=GREY, zorder=5,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85},
            )  # fmt: skip
    axes.axvline(
        limit, color="black", linewidth=1.0, linestyle=(0, (4, 2)), zorder=1.5, gid="limit"
    )
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.set_xlabel("seconds for the batch (log)")
    axes.set_ylabel("accuracy (%)")
    axes.set_ylim(0, 103)


def _line(axes: Axes, name: str, path: Sequence[tuple[float, Point]], end: float) -> None:
    """One defense under one attack; a single pass keeps its level to the end of the axis."""
    defense, attack = name.split(":")
    color, (marker, dashes) = _color(attack), _style(defense)
    xs = [x for x, _ in path]
    values = [100 * point.value for _, point in path]
    single = len(path) == 1
    axes.plot(
        [*xs, end] if single else xs, [*values, values[-1]] if single else values, color=color,
        linestyle=dashes, linewidth=1.5, zorder=2.5, gid=f"line:{name}",
    )  # fmt: skip
    for x, point in path:
        axes.errorbar(
            x, 100 * point.value, marker=marker, color=color, linestyle="none", zorder=3,
            yerr=[[100 * (point.value - point.low)], [100 * (point.high - point.value)]],
            elinewidth=0.7, capsize=1.8, markersize=6,
            markerfacecolor="white" if point.warnings else color,
        )[0].set_gid(f"point:{name}")  # fmt: skip


def _color(attack: str) -> str:
    return _COLORS.get(attack, PALETTE["orange"])


def _style(defense: str) -> tuple[str, str | tuple]:
    return _STYLES.get(defense, cycle_style(3)[1:])


def _legend(axes: Axes, settings: Mapping[Setting, Timed], budgets: Mapping[str, float]) -> None:
    """An entry per attack (colour), per defense (marker and dashes), and the limit."""
    for attack in ATTACKS:
        if any(attack in timed.accuracy for timed in settings.values()):
            words = (ATTACK_LABELS[attack], budget_label(attack, budgets[attack]))
            label = ", ".join(word for word in words if word)
            axes.plot([], [], color=_color(attack), linewidth=4, label=label)
    for defense in dict.fromkeys(setting.defense for setting in settings):
        marker, dashes = _style(defense)
        axes.plot(
            [], [], color=GREY, marker=marker, linestyle=dashes, markersize=6,
            label=DEFENSE_LABELS.get(defense, defense),
        )  # fmt: skip
    axes.plot([], [], color="black", linewidth=1.0, linestyle=(0, (4, 2)),
              label=f"the paper's limit, {time_limit():g} s")  # fmt: skip
