"""Markdown tables of the PuVAE paper: measured beside printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from results.curves import Curve, Point
from results.labels import ATTACK_LABELS, DEFENSE_LABELS, budget_label
from results.puvae_cells import (
    ATTACKS,
    Cell,
    attacks_of,
    budgets_of,
    coefficient_points,
    defense_cells,
    entrant_label,
    entrants_of,
    fewer_images,
    kl_share,
    knowledge_points,
    target_label,
    worst_adaptive,
)
from results.puvae_paper import (
    printed_cells,
    printed_in_time,
    printed_ratios,
    printed_seconds,
    time_limit,
)
from results.puvae_times import (
    Setting,
    Timed,
    search_of,
    second_points,
    timed_settings,
    within_limit,
)
from results.row import Row, qualifier
from results.tables import flag_note, markdown_table, percent

_NOTHING = "–"
_BRACKETS = "\nIn brackets: as printed.\n"
_KNOWLEDGE_COLUMNS = {
    "none": "no defense, oblivious",
    "oblivious": "PuVAE, oblivious",
    "argmin": "adaptive, through the choice",
    "softmin": "adaptive, through a mixture",
    "worst": "adaptive, the worse of the two",
}


def defense_table(rows: Iterable[Row]) -> str:
    """Tables 3 to 6: a line per target and attack, a column per defense.

    **Reference**: PuVAE, sec. V-B, Tables 3 to 6; the printed values of Table 6 are lost.

    Args:
        rows: As in `puvae_cells.defense_cells`.

    Returns:
        Markdown in percent; "value ± half width of the 95 % Wilson interval (printed)".

    Raises:
        ValueError: If there are no such rows, or they belong into several tables.
    """
    rows = [row for row in rows if row.metric == "accuracy"]
    cells = defense_cells(rows)
    printed = printed_cells(rows[0].experiment, rows[0].dataset)
    budgets, entrants = budgets_of(rows), entrants_of(cells)
    body = []
    for target in sorted({cell.target for cell in cells}):
        for attack in attacks_of(cell for cell in cells if cell.target == target):
            line = [Cell(target, attack, entrant) for entrant in entrants]
            body.append(
                [
                    f"{target_label(target)}, {_attack(attack, budgets)}",
                    *(_beside(cells.get(cell), printed.get(cell)) for cell in line),
                ]
            )
    header = ["accuracy (%)", *(entrant_label(entrant) for entrant in entrants)]
    return markdown_table(header, body) + (_BRACKETS if printed else "") + _stars(cells.values())


def _attack(attack: str, budgets: Mapping[str, float]) -> str:
    words = (ATTACK_LABELS.get(attack, attack), budget_label(attack, budgets[attack]))
    return ", ".join(word for word in words if word)


def _beside(point: Point | None, printed: float | None) -> str:
    return percent(point) + (f" ({100 * printed:.2f})" if printed is not None else "")


def _stars(points: Iterable[Point]) -> str:
    return flag_note([Curve("", "target", {}, tuple(points))])


def knowledge_table(rows: Iterable[Row]) -> str:
    """Figure 8: a line per attack, a column per thing that the attacker knows.

    **Reference**: PuVAE, sec. V-C, Figure 8, which prints no numbers.

    Args:
        rows: As in `puvae_cells.knowledge_points`.

    Returns:
        Markdown in percent; the last column is what knowing costs PuVAE, in percentage points, by
        the worst of the adaptive attacks.

    Raises:
        ValueError: If there are no such rows, or they belong into several tables.
    """
    rows = [row for row in rows if row.metric == "accuracy"]
    points = knowledge_points(rows)
    budgets = budgets_of(rows)
    names = [name for name in _KNOWLEDGE_COLUMNS if any(key[1] == name for key in points)]
    body = []
    for attack in dict.fromkeys(attack for attack, _ in points):
        cells = [percent(points.get((attack, name))) for name in names]
        body.append([_attack(attack, budgets), *cells, _cost(points, attack)])
    header = ["accuracy (%)", *(_KNOWLEDGE_COLUMNS[name] for name in names), "cost of knowledge"]
    note = f"\n{few}\n" if (few := fewer_images(rows)) else ""
    return markdown_table(header, body) + note + _stars(points.values())


def _cost(points: Mapping[tuple[str, str], Point], attack: str) -> str:
    worst, oblivious = worst_adaptive(points, attack), points.get((attack, "oblivious"))
    if worst is None or oblivious is None:
        return _NOTHING
    error = (worst.half_width**2 + oblivious.half_width**2) ** 0.5
    return f"{100 * (oblivious.value - worst.value):.1f} ± {100 * error:.1f}"


def seconds_table(rows: Iterable[Row]) -> str:
    """Table 7: seconds for a batch, their ratios to PuVAE's, and PuVAE's to its floor.

    The floor is one plain pass of as many images as PuVAE makes of the batch through the same
    networks: no implementation is faster on the machine.

    **Reference**: PuVAE, sec. V-D, Table 7.

    Args:
        rows: As in `puvae_times.second_points`.

    Returns:
        Markdown. The printed seconds are of another machine; ratios compare.

    Raises:
        ValueError: If there are no such rows, or they belong into several tables.
    """
    rows = list(rows)
    points = second_points(rows)
    printed = printed_seconds(rows[0].dataset)
    ratios = printed_ratios()
    names = [name for name in points if name != "floor"]
    search = search_of(rows)
    images = next((n for row in rows if (n := qualifier(row, "images"))), "128")
    header = [f"{images} images", *(_timed_name(name, search) for name in names)]
    puvae, floor = points.get("puvae"), points.get("floor")
    body = [
        ["seconds", *(_seconds(points[name]) for name in names)],
        ["seconds, printed", *(_printed(printed.get(name)) for name in names)],
        ["ratio to PuVAE", *(_ratio(points[name], puvae) for name in names)],
        ["ratio to PuVAE, printed", *(_printed(ratios.get(name)) for name in names)],
    ]
    if floor is not None:
        own = [name == "puvae" for name in names]
        body += [
            [
                "one plain pass of its networks, seconds",
                *(_seconds(floor) if it else _NOTHING for it in own),
            ],
            ["ratio to that pass", *(_ratio(puvae, floor) if it else _NOTHING for it in own)],
        ]
    return markdown_table(header, body) + _stars(points.values())


def _timed_name(name: str, search: tuple[int, int] | None) -> str:
    label = DEFENSE_LABELS.get(name, name)
    if name != "defense_gan" or search is None:
        return label
    return f"{label} ({search[1]} steps from {search[0]} starts)"


def _seconds(point: Point | None) -> str:
    if point is None:
        return _NOTHING
    return f"{point.value:.3g}{'*' if point.warnings else ''}"


def _printed(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:g}"


def _ratio(point: Point | None, other: Point | None) -> str:
    if point is None or other is None or other.value == 0:
        return _NOTHING
    return f"{point.value / other.value:.3g}"


def time_table(rows: Iterable[Row]) -> str:
    """Figure 9, a line per defense and search, and Table 8, the best of them within the limit.

    **Reference**: PuVAE, sec. V-D, Figure 9 and Table 8.

    Args:
        rows: As in `puvae_times.timed_settings`.

    Returns:
        Markdown, two tables in percent: "value ± half width of the 95 % Wilson interval
        (printed)".

    Raises:
        ValueError: If there are no such rows, or they belong into several tables.
    """
    rows = list(rows)
    settings = timed_settings(rows)
    budgets = budgets_of(rows)
    attacks = [a for a in ATTACKS if any(a in timed.accuracy for timed in settings.values())]
    several = len({setting.target for setting in settings}) > 1
    body = [
        [
            _setting_name(setting, several),
            _seconds(timed.seconds),
            *(percent(timed.accuracy.get(attack)) for attack in attacks),
        ]
        for setting, timed in settings.items()
    ]
    columns = [_attack(attack, budgets) for attack in attacks]
    first = markdown_table(["accuracy (%)", "seconds", *columns], body)
    points = [point for timed in settings.values() for point in timed.accuracy.values()]
    second = _limit_table(settings, attacks, columns, rows[0].dataset, several)
    return f"{first}\n**Within {time_limit():g} second (Table 8)**\n\n{second}{_stars(points)}"


def _setting_name(setting: Setting, several: bool) -> str:
    label = DEFENSE_LABELS.get(setting.defense, setting.defense)
    if setting.steps:
        label += f", {setting.steps} steps from {setting.restarts} starts"
    return f"{target_label(setting.target)}, {label}" if several else label


def _limit_table(
    settings: Mapping[Setting, Timed], attacks: list[str], columns: list[str], dataset: str,
    several: bool,
) -> str:  # fmt: skip
    printed = printed_in_time(dataset)
    body = [
        [
            _setting_name(Setting(target, defense), several),
            *(_beside(best.get(a), printed.get(defense, {}).get(a)) for a in attacks),
        ]
        for (target, defense), best in within_limit(settings, time_limit()).items()
    ]
    note = " MagNet and Defense-GAN share one printed line, which is left out."
    return markdown_table(["accuracy (%)", *columns], body) + (
        f"{_BRACKETS.rstrip()}{note}\n" if printed else ""
    )


def coefficient_table(rows: Iterable[Row]) -> str:
    """Figure 7: accuracy for each triple of loss weights.

    **Reference**: PuVAE, sec. V-A, Figure 7, which shows pictures alone.

    Args:
        rows: As in `puvae_cells.coefficient_points`.

    Returns:
        Markdown in percent, the smallest share of λ_KL first.

    Raises:
        ValueError: If there are no such rows, one lacks a weight, or they belong into several
            tables.
    """
    points = coefficient_points(rows)
    body = [
        [*(f"{weight:g}" for weight in weights), f"1:{kl_share(weights):g}", percent(point)]
        for weights, point in points.items()
    ]
    header = ["λ_RC", "λ_KL", "λ_CE", "λ_RC : λ_KL", "accuracy (%)"]
    return markdown_table(header, body) + _stars(points.values())
