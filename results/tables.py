"""Markdown tables from rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from results.curves import Curve, Point, accuracy_curves, value_curves
from results.headlines import shown_curves
from results.labels import (
    DATASET_LABELS,
    DEFENSE_LABELS,
    TARGET_LABELS,
    VOTING_METRICS,
    curve_label,
)
from results.row import Row, qualifier, qualifiers
from results.selection import require_rows, require_single


def markdown_table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A Markdown table with its first column left and the others right.

    Args:
        header: Names of the columns.
        body: Cells, as many per line as there are columns.

    Returns:
        The table, ending with a line break.

    Raises:
        ValueError: If a line has another number of cells.
    """
    lines = ["| " + " | ".join(header) + " |"]
    lines.append("| :-- |" + " --: |" * (len(header) - 1))
    for cells in body:
        if len(cells) != len(header):
            raise ValueError(
                f"Expected {len(header)} cells for the columns {list(header)}, received "
                f"{list(cells)}."
            )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def percent(point: Point | None) -> str:
    """An accuracy as a cell: value and half width of its interval in percent.

    Args:
        point: A point of an accuracy curve, or None.

    Returns:
        For example `"81.2 ± 2.4"`, with `*` if the point is flagged; `"–"` for None.
    """
    if point is None:
        return "–"
    star = "*" if point.warnings else ""
    if point.half_width == 0:
        return f"{100 * point.value:.1f}{star}"
    return f"{100 * point.value:.1f} ± {100 * point.half_width:.1f}{star}"


def number(point: Point | None) -> str:
    """A number as a cell: value and half width of its interval.

    Args:
        point: A point of a curve, or None.

    Returns:
        For example `"5.41 ± 0.042"`, with `*` if the point is flagged; `"–"` for None.
    """
    if point is None:
        return "–"
    star = "*" if point.warnings else ""
    if point.half_width == 0:
        return f"{point.value:.4g}{star}"
    return f"{point.value:.4g} ± {point.half_width:.2g}{star}"


def flag_note(curves: Iterable[Curve]) -> str:
    """What the stars of a table mean; empty if no point is flagged."""
    words = sorted({word for curve in curves for point in curve.points for word in point.warnings})
    return f"\n\\* flagged: {', '.join(words)}.\n" if words else ""


def places_of(curves: Iterable[Curve]) -> list[float]:
    """The columns of a table: every place that a curve has."""
    return sorted({x for curve in curves for x in curve.xs})


def accuracy_table(rows: Iterable[Row], main: str | None = None) -> str:
    """Accuracy in percent: a line per defense and decider, a column per epsilon.

    Args:
        rows: Accuracy rows of one data set, attack and threat model.
        main: As in `plots.accuracy_figure`.

    Returns:
        Markdown; "value ± half width of the 95 % Wilson interval".

    Raises:
        ValueError: If there are no rows, or they belong into several tables.
    """
    selected = require_rows((r for r in rows if r.metric == "accuracy"), "an accuracy table")
    require_single(selected, "dataset", "attack", "threat_model")
    curves = shown_curves(accuracy_curves(selected), main)
    places = places_of(curves)
    body = [
        [curve_label(curve, curves), *(percent(curve.at(x)) for x in places)] for curve in curves
    ]
    return markdown_table(["accuracy (%)", *epsilon_header(places)], body) + flag_note(curves)


def epsilon_header(places: Iterable[float]) -> list[str]:
    """The headings of columns of epsilons."""
    return [f"ε = {x:.3g}" for x in places]


def clean_table(rows: Iterable[Row]) -> str:
    """Accuracy on clean images in percent: a line per decider, a column per data set.

    Each of the targets A, B and C is listed alone, and then the mean that the figures show; the
    Wide-ResNet of chapter 5, which is never averaged with them, on lines of its own.

    Args:
        rows: Rows of any experiments; of those at epsilon 0, one experiment is taken per line and
            data set (the first by name), since all repeat the same measurement.

    Returns:
        Markdown.

    Raises:
        ValueError: If no row has epsilon 0.
    """
    clean = require_rows(
        (r for r in rows if r.metric == "accuracy" and r.epsilon == 0), "a clean accuracy table"
    )
    datasets = sorted({row.dataset for row in clean})
    cells: dict[str, dict[str, str]] = {}
    groups: dict[str, list[tuple[str, list[Curve]]]] = {}
    for family, dataset in sorted({(_family(row), row.dataset) for row in clean}):
        own = [row for row in clean if (row.dataset, _family(row)) == (dataset, family)]
        curves = accuracy_curves(_first_experiment(own))
        groups.setdefault(family, []).append((dataset, curves))
    for family, columns in groups.items():
        # A line has one name in all columns, so it is told apart from the curves of all.
        everything = [curve for _, curves in columns for curve in curves]
        suffix = f" ({TARGET_LABELS.get(family, family)})" if family else ""
        for dataset, curve in ((name, curve) for name, curves in columns for curve in curves):
            point = curve.at(0.0)
            if point is None:
                continue
            label = curve_label(curve, everything) + suffix
            members = {name: v for name, v in point.members.items() if name}
            if curve.role == "target" and len(members) > 1:
                for name, value in members.items():
                    cells.setdefault(f"{label} {name}", {})[dataset] = f"{100 * value:.1f}"
                label = f"{label}, mean"
            cells.setdefault(label, {})[dataset] = percent(point)
    header = ["clean accuracy (%)", *(DATASET_LABELS.get(name, name) for name in datasets)]
    body = [[label, *(line.get(name, "–") for name in datasets)] for label, line in cells.items()]
    return markdown_table(header, body)


def _family(row: Row) -> str:
    """Targets with one letter are averaged; any other stands alone, under its name."""
    target = qualifier(row, "target") or row.classifier
    return target if target in TARGET_LABELS else ""


def _first_experiment(rows: list[Row]) -> list[Row]:
    """Of rows that several experiments share, those of the first to have each of them."""
    chosen: dict[tuple, Row] = {}
    for row in sorted(rows, key=lambda r: (r.threat_model == "framework", r.key)):
        key = row.key._replace(experiment="", attack="", norm="", threat_model="", config_hash="")
        chosen.setdefault(key, row)
    return list(chosen.values())


def voting_table(rows: Iterable[Row]) -> str:
    """The voting analysis in percent: a line per metric and epsilon, a column per pool size.

    Args:
        rows: Rows with a voting metric and the flag `voters=V`, of one data set and attack.

    Returns:
        Markdown.

    Raises:
        ValueError: If there are no such rows, or they belong into several tables.
    """
    selected = require_rows((r for r in rows if r.metric in VOTING_METRICS), "a voting table")
    require_single(selected, "dataset", "attack", "threat_model", "defense")
    lines: list[tuple[str, Curve]] = []
    for metric, name in VOTING_METRICS.items():
        for epsilon in sorted({r.epsilon for r in selected if r.metric == metric}):
            behind = [r for r in selected if r.metric == metric and r.epsilon == epsilon]
            for curve in value_curves(behind, metric, "voters"):
                lines.append((f"{name}, ε = {epsilon:.3g}", curve))
    curves = [curve for _, curve in lines]
    places = places_of(curves)
    body = [
        [label, *(f"{100 * p.value:.1f}" if (p := curve.at(x)) else "–" for x in places)]
        for label, curve in lines
    ]
    header = ["voting (%)", *(f"V = {x:g}" for x in places)]
    return markdown_table(header, body) + flag_note(curves)


def distance_table(rows: Iterable[Row]) -> str:
    """Distances to the clean image: a line per norm and defense, a column per epsilon.

    Args:
        rows: Rows with metrics `l2`, `l1` and their standard errors, of one data set and attack.

    Returns:
        Markdown; "mean ± standard error".

    Raises:
        ValueError: If there are no such rows, or they belong into several tables.
    """
    rows = list(rows)
    metrics = [metric for metric in ("l2", "l1") if any(r.metric == metric for r in rows)]
    selected = require_rows(
        (r for r in rows if r.metric.removesuffix("_standard_error") in metrics),
        "a distance table",
    )
    require_single(selected, "dataset", "attack", "threat_model")
    lines = [(metric, curve) for metric in metrics for curve in value_curves(selected, metric)]
    curves = [curve for _, curve in lines]
    places = places_of(curves)
    body = [
        [
            f"{metric.upper()}, {DEFENSE_LABELS.get(curve.defense, curve.defense)}",
            *(number(curve.at(x)) for x in places),
        ]
        for metric, curve in lines
    ]
    return markdown_table(["distance", *epsilon_header(places)], body) + flag_note(curves)


def sweep_table(rows: Iterable[Row], weight: str = "kl_weight") -> str:
    """A sweep over a loss weight: a line per value, a column per metric and variant.

    Args:
        rows: Rows that carry the flag named by `weight`, of one data set.
        weight: Name of the flag.

    Returns:
        Markdown.

    Raises:
        ValueError: If no row carries the flag, or they belong to several data sets.
    """
    selected = require_rows((r for r in rows if weight in qualifiers(r)), f"a sweep of {weight}")
    require_single(selected, "dataset")
    metrics = sorted({r.metric for r in selected if not r.metric.endswith("_standard_error")})
    columns: list[tuple[str, Curve]] = []
    for metric in metrics:
        curves = value_curves(selected, metric, weight)
        columns += [(f"{metric.upper()}, {curve_label(curve, curves)}", curve) for curve in curves]
    body = [
        [f"{x:g}", *(number(curve.at(x)) for _, curve in columns)]
        for x in places_of(curve for _, curve in columns)
    ]
    return markdown_table([weight, *(name for name, _ in columns)], body)


def update_between_markers(text: str, name: str, table: str) -> str:
    """Replaces what stands between `<!-- table:NAME -->` and `<!-- /table:NAME -->`.

    Args:
        text: A Markdown document.
        name: Name of the table.
        table: The new content.

    Returns:
        The document with the new content; the same text if it was current.

    Raises:
        ValueError: If the markers are not there exactly once, in order.
    """
    start, end = f"<!-- table:{name} -->", f"<!-- /table:{name} -->"
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        known = re.findall(r"<!-- table:(\S+) -->", text)
        raise ValueError(
            f"Expected the markers {start!r} and {end!r} once each and in this order. "
            f"Tables marked in the text: {known}."
        )
    before, rest = text.split(start)
    after = rest.split(end)[1]
    return f"{before}{start}\n{table.strip()}\n{end}{after}"
