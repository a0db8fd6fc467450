"""Figures 5.7 to 5.10: features, code indices and reconstructions under attack."""

from __future__ import annotations

import numpy as np
import pytest

from results import comparison_tables, feature_plots, plots
from tests.drawn import cells, lines, words
from tests.synthetic_rows import EPSILONS, distance_rows, feature_rows

CURVE = (0.8, 0.7, 0.6, 0.5, 0.4, 0.3)


def two_metrics(first, second) -> list:
    """Absolute and relative change of two kinds of features, ten times apart."""
    own, other = ([[s * e / d for e in EPSILONS] for d in (1, 2, 3)] for s in (1.0, 10.0))
    return [
        r
        for metric in ("feature_change", "feature_change_relative")
        for r in feature_rows({first: own, second: other}, metric=metric)
    ]


def test_feature_figure_has_a_panel_per_metric_and_a_line_per_depth():
    figure = feature_plots.feature_figure(
        two_metrics(("vqunet", "pre"), ("non_vqunet", "pre")), "t", "c"
    )
    assert [a.get_ylabel() for a in figure.axes] == [
        "change of features (log)", "change of features, relative to their size (log)",
    ]  # fmt: skip
    drawn = lines(figure.axes[1], "curve")
    assert list(drawn) == [f"{n}, depth {d}" for n in ("VQUNet", "non-VQUNet") for d in (1, 2, 3)]
    np.testing.assert_allclose(drawn["non-VQUNet, depth 2"].get_ydata(), [5 * e for e in EPSILONS])
    assert len({line.get_color() for line in drawn.values()}) == 3
    assert drawn["VQUNet, depth 1"].get_color() == drawn["non-VQUNet, depth 1"].get_color()
    assert drawn["VQUNet, depth 1"].get_marker() != drawn["non-VQUNet, depth 1"].get_marker()
    assert "no place for ε = 0" in words(figure, "caption")


def test_stages_are_named_where_they_differ_and_near_lines_share_a_linear_axis():
    rows = two_metrics(("vqunet", "pre"), ("vqunet", "post"))
    near = [r for r in rows if "depth=1" in r.flags and r.metric == "feature_change"]
    axes = feature_plots.feature_figure(near, "t", "c").axes[0]
    assert list(lines(axes, "curve")) == [
        "before quantisation, depth 1", "after quantisation, depth 1",
    ]  # fmt: skip
    assert axes.get_yscale() == "linear" and axes.get_ylim()[0] == 0


def test_index_changes_are_percentages():
    rows = feature_rows({("vqunet", ""): [CURVE, CURVE]}, metric="index_change")
    axes = feature_plots.feature_figure(rows, "t", "c").axes[0]
    drawn = lines(axes, "curve")
    assert list(drawn) == ["depth 1", "depth 2"] and axes.get_ylim()[1] == 102
    assert list(drawn["depth 1"].get_ydata()) == pytest.approx([100 * v for v in CURVE])
    body = cells(comparison_tables.feature_table(rows))
    assert body[0][1] == "ε = 0" and body[1][:2] == ["changed code indices (%): depth 1", "80.0"]


def test_the_crossing_of_chapter_3_is_not_drawn_in_chapter_5():
    rows = distance_rows({"vqunet": CURVE, "non_vqunet": CURVE}, metric="l1", experiment="003.F5.7")
    figure = plots.distance_figure(rows, "t", "c")
    (axes,) = figure.axes
    assert not [line for line in axes.get_lines() if line.get_gid() == "printed"]
    assert list(lines(axes, "curve")) == ["VQUNet", "non-VQUNet"]
