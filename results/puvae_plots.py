"""The PuVAE paper's accuracies as bars: defense beside defense, and what the attacker knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.curves import Curve, Point
from results.drawing import full_caption, threat_line
from results.labels import ATTACK_LABELS, NO_BUDGET, budget_label
from results.puvae_cells import (
    ITSELF,
    WHOLE,
    Cell,
    Entrant,
    attacks_of,
    budgets_of,
    defense_cells,
    entrant_label,
    entrants_of,
    fewer_images,
    knowledge_points,
    target_label,
)
from results.puvae_paper import printed_cells
from results.row import Row, qualifier
from results.style import PALETTE, legend_right, new_canvas, style_context

KNOWLEDGE_LABELS = {
    "none": "no defense, oblivious",
    "oblivious": "PuVAE, oblivious",
    "argmin": "PuVAE, adaptive: through the chosen candidate",
    "softmin": "PuVAE, adaptive: through a mixture of candidates",
    "worst": "PuVAE, adaptive: the worse of the two, image by image",
}
_LIGHT_GREY = "#9A9A9A"
_COLORS = {
    "none": _LIGHT_GREY,
    "adversarial_training": PALETTE["green"],
    "magnet": PALETTE["orange"],
    "defense_gan": PALETTE["purple"],
    "puvae": PALETTE["blue"],
}
_FREE_COLORS = tuple(PALETTE[name] for name in ("sky", "vermillion", "black"))
_HATCHES = {WHOLE: "/////", ITSELF: "xxxxx"}
_KNOWLEDGE_LOOKS = {
    "none": (_LIGHT_GREY, ""),
    "oblivious": (PALETTE["blue"], ""),
    "argmin": (PALETTE["orange"], "/////"),
    "softmin": (PALETTE["purple"], "....."),
    "worst": (PALETTE["vermillion"], ""),
}
_NOTES = {
    WHOLE: "MagNet, whole: an attacked image that its detectors refuse counts as handled, a clean "
    "one as an error.",
    ITSELF: "Attacked itself: images made on the adversarially trained classifier; all others "
    "are made on the undefended one.",
}
_BOUNDLESS = "No budget: a pixel may change at will within [0, 1]."
_SUBSTITUTE = "The attacked substitute learnt from the labels that the target gave."


class Bars(NamedTuple):
    """The bars of one legend entry: point by group, and their look."""

    name: str
    label: str
    points: Mapping[int, Point]
    color: str
    hatch: str = ""


def defense_table_figure(rows: Iterable[Row], title: str, caption: str) -> Figure:
    """Accuracy of every defense, a panel per target, a group of bars per attack.

    **Reference**: PuVAE, sec. V-B, Tables 3 to 6.

    **Differs from the paper**: a figure of the tables, with 95 % Wilson intervals; MagNet with its
    detectors and adversarial training attacked on what it trained stand hatched beside the
    versions that the paper measures.

    Args:
        rows: As in `puvae_cells.defense_cells`.
        title: First line.
        caption: What the profile cuts.

    Returns:
        The figure; printed values are diamonds on the bars.

    Raises:
        ValueError: If there are no such rows, or they belong into several figures.
    """
    rows = [row for row in rows if row.metric == "accuracy"]
    cells = defense_cells(rows)
    printed = printed_cells(rows[0].experiment, rows[0].dataset)
    targets = sorted({cell.target for cell in cells})
    attacks, entrants = attacks_of(cells), entrants_of(cells)
    notes = [_NOTES[e.version] for e in entrants if e.version in _NOTES]
    notes += [_SUBSTITUTE] if any(row.threat_model == "transfer" for row in rows) else []
    with style_context():
        canvas = new_canvas(
            title, threat_line(rows), caption_of([caption, *notes], cells.values(), rows),
            num_panels=len(targets), panel_size=(4.1, 3.2), legend_width=2.35,
        )  # fmt: skip
        for axes, target in zip(canvas.panels, targets, strict=True):
            bars = [_entrant_bars(cells, entrants, e, target, attacks) for e in entrants]
            _draw_bars(axes, bars)
            width = 0.84 / len(entrants)
            places = {
                (g + (i - (len(entrants) - 1) / 2) * width): printed[Cell(target, attack, entrant)]
                for g, attack in enumerate(attacks)
                for i, entrant in enumerate(entrants)
                if Cell(target, attack, entrant) in printed
            }
            _printed_diamonds(axes, places)
            _attack_axis(axes, attacks, rows)
            axes.text(
                0.01, 1.0, f"target {target_label(target)}", transform=axes.transAxes, va="top",
                gid="target",
            )  # fmt: skip
        legend_right(canvas.figure, canvas.panels[-1])
    return canvas.figure


def _entrant_bars(
    cells: Mapping[Cell, Point], entrants: Sequence[Entrant], entrant: Entrant, target: str,
    attacks: Sequence[str],
) -> Bars:  # fmt: skip
    unknown = [e.defense for e in entrants if e.defense not in _COLORS]
    color = _COLORS.get(entrant.defense) or _FREE_COLORS[unknown.index(entrant.defense) % 3]
    found = {
        group: cells[Cell(target, attack, entrant)]
        for group, attack in enumerate(attacks)
        if Cell(target, attack, entrant) in cells
    }
    name = f"{entrant.defense}:{entrant.version}"
    return Bars(name, entrant_label(entrant), found, color, _HATCHES.get(entrant.version, ""))


def _draw_bars(axes: Axes, bars: Sequence[Bars], *, numbers: bool = False) -> None:
    """Groups of bars in percent; flagged ones are hollow."""
    width = 0.84 / len(bars)
    for index, one in enumerate(bars):
        offset = (index - (len(bars) - 1) / 2) * width
        # The legend's: of no height, since a panel may lack all bars of an entry.
        axes.bar(
            0, 0, width=0.01, color="white" if one.hatch else one.color, edgecolor=one.color,
            linewidth=0.9, hatch=one.hatch, label=one.label,
        )  # fmt: skip
        for group, point in one.points.items():
            hollow = bool(one.hatch or point.warnings)
            bar = axes.bar(
                group + offset, 100 * point.value, width=0.9 * width,
                color="white" if hollow else one.color, edgecolor=one.color, hatch=one.hatch,
                linewidth=0.9, zorder=2, yerr=[[100 * (point.value - point.low)],
                                               [100 * (point.high - point.value)]],
                error_kw={"elinewidth": 0.9, "capsize": 1.8, "ecolor": "black", "zorder": 3},
            )  # fmt: skip
            bar.patches[0].set_gid(f"bar:{one.name}:{group}")
            if numbers:
                axes.annotate(
                    f"{100 * point.value:.1f}", (group + offset, 100 * point.high), xytext=(0, 3),
                    textcoords="offset points", ha="center", fontsize=7, zorder=6,
                )  # fmt: skip


def _printed_diamonds(axes: Axes, places: Mapping[float, float]) -> None:
    if places:
        axes.plot(
            list(places), [100 * value for value in places.values()], linestyle="none", marker="D",
            markersize=4, markerfacecolor="white", markeredgecolor="black", markeredgewidth=0.9,
            zorder=5, label="printed", gid="printed", clip_on=False,
        )  # fmt: skip


def _attack_axis(axes: Axes, attacks: Sequence[str], rows: Iterable[Row]) -> None:
    budgets = budgets_of(rows)
    names = [
        f"{ATTACK_LABELS.get(a, a)}\n{budget_label(a, budgets[a])}".replace(
            "targeted ", "targeted\n"
        )
        for a in attacks
    ]
    axes.set_xticks(range(len(attacks)), names)
    axes.set_xlim(-0.52, len(attacks) - 0.48)
    axes.grid(axis="x", visible=False)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("accuracy (%)")
    axes.set_ylim(0, 114)
    axes.set_yticks(range(0, 101, 20))


def caption_of(parts: Sequence[str], points: Iterable[Point], rows: Sequence[Row]) -> str:
    """A caption of several sentences, with what the rows ask a reader to know.

    Args:
        parts: What the profile cuts, and notes; empty ones are left out.
        points: What is drawn.
        rows: Rows behind it.

    Returns:
        The caption.
    """
    shown = Curve("", "target", {}, tuple(points))
    boundless = any(budget_label(row.attack, row.epsilon) == NO_BUDGET for row in rows)
    notes = [*parts, _BOUNDLESS if boundless else ""]
    return full_caption(" ".join(part for part in notes if part), [shown], rows)


def knowledge_figure(rows: Iterable[Row], title: str, caption: str) -> Figure:
    """PuVAE's accuracy when the attacker does not know it, and when he goes through it.

    **Reference**: PuVAE, sec. V-C, Figure 8.

    **Differs from the paper**: beside one attack through the chosen candidate, one through a
    mixture of candidates, in which the choice has a gradient, and the worse of the two for each
    image; PGD beside FGSM; the bare classifier; 95 % Wilson intervals.

    Args:
        rows: As in `puvae_cells.knowledge_points`.
        title: First line.
        caption: What the profile cuts.

    Returns:
        The figure, a group of bars per attack.

    Raises:
        ValueError: If there are no such rows, or they belong into several figures.
    """
    rows = [row for row in rows if row.metric == "accuracy"]
    points = knowledge_points(rows)
    attacks = list(dict.fromkeys(attack for attack, _ in points))
    present = [name for name in _KNOWLEDGE_LOOKS if any(key[1] == name for key in points)]
    bars = [
        Bars(
            name, KNOWLEDGE_LABELS[name],
            {g: points[a, name] for g, a in enumerate(attacks) if (a, name) in points},
            *_KNOWLEDGE_LOOKS[name],
        )
        for name in present
    ]  # fmt: skip
    parts = [caption, _roles(rows), _averaging(rows), fewer_images(rows)]
    with style_context():
        canvas = new_canvas(
            title, threat_line(rows), caption_of(parts, points.values(), rows),
            panel_size=(5.6, 3.3), legend_width=2.6,
        )  # fmt: skip
        axes = canvas.panels[0]
        _draw_bars(axes, bars, numbers=True)
        _attack_axis(axes, attacks, rows)
        legend_right(canvas.figure, axes)
    return canvas.figure


def _roles(rows: Sequence[Row]) -> str:
    """Who is attacked and whom PuVAE was trained with."""
    named = {name: sorted({q for row in rows if (q := qualifier(row, name))})
             for name in ("target", "source")}  # fmt: skip
    words = [f"{name} classifier is {', '.join(map(target_label, found))}"
             for name, found in named.items() if found]  # fmt: skip
    return f"The {' and the '.join(words)}." if words else ""


def _averaging(rows: Iterable[Row]) -> str:
    adaptive = [row for row in rows if row.threat_model == "adaptive"]
    counts = {qualifier(row, "eot") or qualifier(row, "draws") for row in adaptive} - {None, "1"}
    if len(counts) != 1:
        return ""
    return f"Adaptive gradients are means over {counts.pop()} draws of PuVAE's noise."
