"""Rows of the PuVAE paper that say how long purifying takes, as the points of its figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from results.curves import Point
from results.puvae_cells import ATTACKS, ENTRANTS, Entrant, one_point, place_of, target_of
from results.row import Row, qualifier
from results.selection import require_rows, require_single

#: Defenses that purify nothing and so take no time of their own.
INSTANT = ("none", "adversarial_training")


class Setting(NamedTuple):
    """One way to purify in Figure 9; a search has restarts and steps, a single pass has none."""

    target: str
    defense: str
    restarts: int = 0
    steps: int = 0


class Timed(NamedTuple):
    """What a setting takes (None: not measured) and reaches under each attack."""

    seconds: Point | None
    accuracy: Mapping[str, Point]


def second_points(rows: Iterable[Row]) -> dict[str, Point]:
    """The times of Table 7.

    Args:
        rows: Rows with the metrics `seconds` and `seconds_floor`, of one data set.

    Returns:
        Points by defense; under `"floor"` one plain pass through PuVAE's networks.

    Raises:
        ValueError: If there are no such rows, or they belong into several tables.
    """
    selected = require_rows(
        (r for r in rows if r.metric in ("seconds", "seconds_floor")), "a table of seconds"
    )
    require_single(selected, "dataset")
    grouped: dict[str, list[Row]] = {}
    for row in selected:
        name = "floor" if row.metric == "seconds_floor" else row.defense
        grouped.setdefault(name, []).append(row)
    names = ("magnet", "defense_gan", "puvae", "floor")
    return {
        name: one_point(grouped[name], grouped[name][0].metric)
        for name in sorted(grouped, key=lambda name: place_of(names, name))
    }


def search_of(rows: Iterable[Row]) -> tuple[int, int] | None:
    """Restarts and steps of a timed search.

    Args:
        rows: Rows of one search.

    Returns:
        `(restarts, steps)`, or None if no row says them.
    """
    settings = {_setting(row) for row in rows if qualifier(row, "steps")}
    return next(((s.restarts, s.steps) for s in sorted(settings)), None)


def timed_settings(rows: Iterable[Row]) -> dict[Setting, Timed]:
    """The points of Figure 9.

    Args:
        rows: Rows with the metrics `seconds` and `accuracy`, of one data set; a search has the
            flags `restarts` and `steps`.

    Returns:
        What each setting takes and reaches, single passes before searches and these by steps.

    Raises:
        ValueError: If there are no such rows, or they belong into several figures.
    """
    selected = require_rows(
        (r for r in rows if r.metric in ("seconds", "accuracy")), "accuracy against time"
    )
    require_single(selected, "dataset", "threat_model")
    grouped: dict[Setting, dict[str, list[Row]]] = {}
    for row in selected:
        place = "seconds" if row.metric == "seconds" else row.attack
        grouped.setdefault(_setting(row), {}).setdefault(place, []).append(row)
    found = {}
    for setting in sorted(grouped, key=_setting_order):
        own = dict(grouped[setting])
        times = own.pop("seconds", None)
        seconds = one_point(times, "seconds") if times else None
        accuracy = {attack: one_point(own[attack]) for attack in ATTACKS if attack in own}
        found[setting] = Timed(seconds, accuracy)
    return found


def _setting(row: Row) -> Setting:
    restarts, steps = (int(qualifier(row, name, "0") or 0) for name in ("restarts", "steps"))
    return Setting(target_of(row), row.defense, restarts, steps)


def _setting_order(setting: Setting) -> tuple:
    return setting.target, place_of(ENTRANTS, Entrant(setting.defense)), setting[2:]


def within_limit(
    settings: Mapping[Setting, Timed], limit: float
) -> dict[tuple[str, str], dict[str, Point]]:
    """The best that each defense reaches in time.

    Args:
        settings: As from `timed_settings`.
        limit: Seconds for the batch.

    Returns:
        `{(target, defense): {attack: best point}}`; empty for a defense that is never in time.
        What purifies nothing always is.
    """
    best: dict[tuple[str, str], dict[str, Point]] = {}
    for setting, timed in settings.items():
        own = best.setdefault(setting[:2], {})
        seconds = 0.0 if setting.defense in INSTANT else None
        if timed.seconds is not None:
            seconds = timed.seconds.value
        if seconds is None or seconds > limit:
            continue
        for attack, point in timed.accuracy.items():
            if attack not in own or point.value > own[attack].value:
                own[attack] = point
    return best
