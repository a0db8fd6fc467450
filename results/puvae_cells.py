"""Rows of the PuVAE paper as cells of its tables: which defense, target and attack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from results.curves import Point, accuracy_curves, value_curves
from results.labels import DEFENSE_LABELS, TARGET_LABELS
from results.row import Row, distinct_images, qualifier
from results.selection import require_rows, require_single

#: The three attacks of every table, and all in their order.
TARGETED = ("targeted_fgsm", "targeted_bim", "targeted_carlini_wagner")
ATTACKS = ("none", *TARGETED, "pgd")
#: MagNet with its detectors, and adversarial training attacked on what it trained.
WHOLE, ITSELF = "whole", "itself"
#: What PuVAE's attacker knows, beside nothing (`"oblivious"`): how he gets past the choice.
SURROGATES = ("argmin", "softmin", "worst")


class Entrant(NamedTuple):
    """A column of a table: a defense's registry key, and which version of it."""

    defense: str
    version: str = ""


#: In the paper's order, with what a reader sees.
ENTRANTS = {
    Entrant("none"): "no defense",
    Entrant("adversarial_training"): "adversarial training",
    Entrant("adversarial_training", ITSELF): "adversarial training, attacked itself",
    Entrant("magnet"): "MagNet, reformer alone",
    Entrant("magnet", WHOLE): "MagNet, whole",
    Entrant("defense_gan"): "Defense-GAN",
    Entrant("puvae"): "PuVAE",
}


class Cell(NamedTuple):
    """One place in Tables 3 to 6."""

    target: str
    attack: str
    entrant: Entrant


def target_label(target: str) -> str:
    """How a reader knows a target."""
    return TARGET_LABELS.get(target, target)


def entrant_of(row: Row) -> Entrant:
    """The column that a row belongs into.

    Args:
        row: The row.

    Returns:
        Defense and version.

    Raises:
        ValueError: If a defense other than adversarial training was attacked adaptively: such
            rows belong into Figure 8.
    """
    if row.threat_model == "adaptive":
        if row.defense != "adversarial_training":
            raise ValueError(
                f"Expected adaptive rows of adversarial_training only, received one of "
                f"{row.defense} in {row.experiment}. Draw those with puvae_plots.knowledge_figure."
            )
        return Entrant(row.defense, ITSELF)
    return Entrant(row.defense, WHOLE if qualifier(row, "detectors") == "True" else "")


def entrant_label(entrant: Entrant) -> str:
    """How a reader knows a column."""
    return ENTRANTS.get(entrant, DEFENSE_LABELS.get(entrant.defense, entrant.defense))


def defense_cells(rows: Iterable[Row]) -> dict[Cell, Point]:
    """The accuracies of Tables 3 to 6.

    Args:
        rows: Accuracy rows of one data set; adversarial training may be attacked adaptively too,
            all others under one threat model.

    Returns:
        Points with their 95 % Wilson intervals, means over seeds, in the paper's order.

    Raises:
        ValueError: If there are no such rows, or they belong into several tables.
    """
    selected = require_rows((r for r in rows if r.metric == "accuracy"), "a comparison of defenses")
    require_single(selected, "dataset")
    require_single([r for r in selected if entrant_of(r).version != ITSELF], "threat_model")
    grouped: dict[Cell, list[Row]] = {}
    for row in selected:
        cell = Cell(target_of(row), row.attack, entrant_of(row))
        grouped.setdefault(cell, []).append(row)
    return {cell: one_point(grouped[cell]) for cell in sorted(grouped, key=_cell_order)}


def _cell_order(cell: Cell) -> tuple:
    return cell.target, place_of(ATTACKS, cell.attack), place_of(ENTRANTS, cell.entrant)


def place_of(known: Iterable, name: object) -> tuple:
    """Where a name stands in an order; unknown ones come last, by their spelling."""
    ordered = list(known)
    return ordered.index(name) if name in ordered else len(ordered), str(name)


def target_of(row: Row) -> str:
    """The classifier under attack."""
    return qualifier(row, "target") or row.classifier


def one_point(rows: Sequence[Row], metric: str = "accuracy") -> Point:
    """The one measurement behind some rows, a mean over its seeds.

    Args:
        rows: At least one row of the metric.
        metric: Its name; only accuracies have an interval.

    Returns:
        The point.

    Raises:
        ValueError: If the rows are of several measurements.
    """
    curves = accuracy_curves(rows) if metric == "accuracy" else value_curves(rows, metric)
    points = [point for curve in curves for point in curve.points]
    if len(points) != 1:
        found = sorted({f"epsilon={row.epsilon:g};{row.flags}" for row in rows})
        raise ValueError(
            f"Expected rows of one measurement of {rows[0].defense} under {rows[0].attack} in "
            f"{rows[0].experiment}, received {found}. RowStore.discard removes outdated ones."
        )
    return points[0]


def attacks_of(cells: Iterable[Cell]) -> list[str]:
    """The attacks of some cells, no attack first."""
    return sorted({cell.attack for cell in cells}, key=lambda name: place_of(ATTACKS, name))


def entrants_of(cells: Iterable[Cell]) -> list[Entrant]:
    """The columns of some cells, in the paper's order."""
    return sorted({cell.entrant for cell in cells}, key=lambda name: place_of(ENTRANTS, name))


def budgets_of(rows: Iterable[Row]) -> dict[str, float]:
    """The budget of each attack.

    Args:
        rows: Rows, one epsilon for each attack.

    Returns:
        `{attack: epsilon}`.
    """
    return {row.attack: row.epsilon for row in rows}


def knowledge_points(rows: Iterable[Row]) -> dict[tuple[str, str], Point]:
    """The accuracies of Figure 8.

    Args:
        rows: Accuracy rows of one data set and target: the bare classifier, and PuVAE with or
            without the flag `surrogate`.

    Returns:
        Points by attack and what they are of: `"none"`, `"oblivious"` or one of `SURROGATES`.

    Raises:
        ValueError: If there are no such rows, or they are of several data sets or targets, or an
            adaptive one does not name its surrogate.
    """
    selected = require_rows((r for r in rows if r.metric == "accuracy"), "a figure of knowledge")
    require_single(selected, "dataset")
    targets = sorted({target_of(row) for row in selected})
    if len(targets) > 1:
        raise ValueError(f"Expected one target in a figure, received {targets}. Draw one for each.")
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in selected:
        grouped.setdefault((row.attack, _knowledge(row)), []).append(row)
    order = ("none", "oblivious", *SURROGATES)
    return {
        key: one_point(grouped[key])
        for key in sorted(grouped, key=lambda k: (place_of(ATTACKS, k[0]), place_of(order, k[1])))
    }


def _knowledge(row: Row) -> str:
    if row.threat_model != "adaptive":
        return "none" if row.defense == "none" else "oblivious"
    surrogate = qualifier(row, "surrogate")
    if surrogate not in SURROGATES:
        raise ValueError(
            f"Expected adaptive rows with a flag surrogate= one of {list(SURROGATES)}, received "
            f"the flags {row.flags!r} in a row of {row.experiment}. Write the flag with "
            "results.rows.make_flags."
        )
    return surrogate


def worst_adaptive(points: Mapping[tuple[str, str], Point], attack: str) -> Point | None:
    """PuVAE's least accuracy under an attack that knows it.

    Args:
        points: As from `knowledge_points`.
        attack: Registry key.

    Returns:
        The point where an image counts only if it survives every surrogate, or the lowest of the
        surrogates measured; None without any.
    """
    found = [points[attack, name] for name in SURROGATES if (attack, name) in points]
    return min(found, key=lambda point: point.value, default=None)


def fewer_images(rows: Iterable[Row]) -> str:
    """Says so where the adaptive attacker had other images than the oblivious one.

    Args:
        rows: Accuracy rows.

    Returns:
        A sentence; empty if both had as many.
    """
    counts: dict[bool, set[int]] = {True: set(), False: set()}
    for row in rows:
        number = distinct_images(row)
        if row.attack != "none" and number is not None:
            counts[row.threat_model == "adaptive"].add(number)
    adaptive, others = (sorted(counts[known]) for known in (True, False))
    if not adaptive or not others or adaptive == others:
        return ""
    few, many = (" or ".join(f"{n:,}" for n in found) for found in (adaptive, others))
    return f"The adaptive attacker had {few} images, the oblivious one {many}."


def coefficient_points(rows: Iterable[Row]) -> dict[tuple[float, float, float], Point]:
    """The accuracies of Figure 7.

    Args:
        rows: Accuracy rows with the flags `reconstruction`, `kl` and `cross_entropy`, of one data
            set, attack and threat model.

    Returns:
        Points by λ_RC, λ_KL and λ_CE, the smallest share of λ_KL first.

    Raises:
        ValueError: If there are no such rows, one lacks a weight, or they belong into several
            figures.
    """
    selected = require_rows((r for r in rows if r.metric == "accuracy"), "a study of loss weights")
    require_single(selected, "dataset", "attack", "threat_model")
    grouped: dict[tuple[float, float, float], list[Row]] = {}
    for row in selected:
        weights = tuple(_weight(row, name) for name in ("reconstruction", "kl", "cross_entropy"))
        grouped.setdefault((weights[0], weights[1], weights[2]), []).append(row)
    found = {weights: one_point(behind) for weights, behind in grouped.items()}
    return dict(sorted(found.items(), key=lambda item: (kl_share(item[0]), item[0])))


def kl_share(weights: tuple[float, float, float]) -> float:
    """λ_KL as a multiple of λ_RC.

    Args:
        weights: λ_RC, λ_KL and λ_CE.

    Returns:
        The ratio, free of the rounding of its parts; infinite without a reconstruction loss.
    """
    reconstruction, kl, _ = weights
    return round(kl / reconstruction, 9) if reconstruction else float("inf")


def _weight(row: Row, name: str) -> float:
    try:
        return float(qualifier(row, name) or "")
    except ValueError:
        raise ValueError(
            f"Expected rows with a flag {name}=NUMBER, received the flags {row.flags!r} in a row "
            f"of {row.experiment}. Write the flag with results.rows.make_flags."
        ) from None
