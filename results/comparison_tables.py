"""Markdown tables of chapters 4 and 5: measured beside printed, and features inside VQUNet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from results.comparison_plots import filtered_points, reconstruction_points
from results.curves import Curve, Point
from results.feature_plots import feature_curves, feature_label
from results.labels import DEFENSE_LABELS, FEATURE_METRICS
from results.paper import printed_filtered, printed_reconstruction
from results.row import Row
from results.tables import epsilon_header, flag_note, markdown_table, number, percent, places_of

_NOTHING = "–"


def reconstruction_table(rows: Iterable[Row]) -> str:
    """Table 4.1: L1 of clean reconstructions, measured and printed, with the ranks of both.

    Args:
        rows: Rows with metric `l1`, attack `none`, of one data set.

    Returns:
        Markdown; "mean ± standard error". Printed numbers are there for CIFAR-10 only.

    Raises:
        ValueError: If there are no such rows, or they belong to several data sets.
    """
    rows = list(rows)
    points = reconstruction_points(rows)
    printed = printed_reconstruction(next(row.dataset for row in rows))
    printed = {name: printed[name] for name in points if name in printed}
    measured_rank = _ranks({name: point.value for name, point in points.items()})
    printed_rank = _ranks(printed)
    body = [
        [
            DEFENSE_LABELS.get(name, name),
            number(point),
            f"{printed[name]:.1f}" if name in printed else _NOTHING,
            measured_rank[name],
            printed_rank.get(name, _NOTHING),
        ]
        for name, point in points.items()
    ]
    header = ["L1 on clean images", "measured", "printed", "rank", "printed rank"]
    return markdown_table(header, body) + flag_note(_curves(points))


def _ranks(values: Mapping[str, float]) -> dict[str, str]:
    return {
        name: str(1 + sum(v < value for v in values.values())) for name, value in values.items()
    }


def _curves(points: Mapping[str, Point]) -> list[Curve]:
    return [Curve(name, "none", {}, (point,)) for name, point in points.items()]


def filtered_table(rows: Iterable[Row]) -> str:
    """Table 5.1: clean accuracy behind each purifier, and what it loses to the bare classifier.

    Args:
        rows: Accuracy rows, attack `none`, of one data set.

    Returns:
        Markdown; "value ± half width of the 95 % Wilson interval", losses in percentage points.

    Raises:
        ValueError: If there are no such rows, or they belong to several data sets.
    """
    rows = list(rows)
    points = filtered_points(rows)
    printed = printed_filtered(next(row.dataset for row in rows))
    bare = points.get("none", (None, None))[1]
    body = []
    for name, (retrained, original) in points.items():
        if name == "none":
            cells = [percent(original), _NOTHING, _NOTHING, _NOTHING]
        else:
            cells = [percent(retrained), _loss(bare, retrained)]
            cells += [percent(original), _loss(bare, original)]
        known = name in printed
        cells.append(f"{printed[name]:.2f}" if known else _NOTHING)
        lost = known and name != "none"
        cells.append(f"{printed['none'] - printed[name]:.2f}" if lost else _NOTHING)
        body.append([DEFENSE_LABELS.get(name, name), *cells])
    header = [
        "clean accuracy (%)", "target retrained", "loss", "target as it was", "loss", "printed",
        "printed loss",
    ]  # fmt: skip
    shown = [p for pair in points.values() for p in pair if p is not None]
    return markdown_table(header, body) + flag_note([Curve("", "target", {}, tuple(shown))])


def _loss(bare: Point | None, point: Point | None) -> str:
    if bare is None or point is None:
        return _NOTHING
    return f"{100 * (bare.value - point.value):.1f}"


def feature_table(rows: Iterable[Row]) -> str:
    """Features or code indices before and after an attack: a line per curve of the figure.

    Args:
        rows: As in `feature_plots.feature_figure`.

    Returns:
        Markdown; a column per epsilon, `index_change` in percent.

    Raises:
        ValueError: If there are no such rows, or they belong into several tables.
    """
    by_metric = feature_curves(rows)
    everything = [curve for curves in by_metric.values() for curve in curves]
    places = places_of(everything)
    body = []
    for metric, curves in by_metric.items():
        percents = metric == "index_change"
        name = FEATURE_METRICS[metric] + (" (%)" if percents else "")
        cell = percent if percents else number
        body += [
            [f"{name}: {feature_label(curve, everything)}", *(cell(curve.at(x)) for x in places)]
            for curve in curves
        ]
    return markdown_table(["features", *epsilon_header(places)], body) + flag_note(everything)
