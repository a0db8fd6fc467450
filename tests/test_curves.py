"""Statistics and curves: means, their intervals, and which rows make a point."""

from __future__ import annotations

import pytest

from results import plots
from results.curves import accuracy_curves, primary, value_curves
from results.labels import curve_label
from results.statistics import mean, wilson_interval
from tests.drawn import lines, words
from tests.synthetic_rows import EPSILONS, accuracy_row, chapter_rows, distance_rows, row

# -- statistics -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        (8, 10, 0.490162, 0.943318),
        (5, 10, 0.236593, 0.763407),
        (0, 20, 0.0, 0.161125),
        (20, 20, 0.838875, 1.0),
    ],
)
def test_wilson_interval_against_known_values(correct, total, low, high):
    assert wilson_interval(correct, total) == pytest.approx((low, high), abs=1e-6)


@pytest.mark.parametrize(("correct", "total"), [(910, 1000), (1, 7), (333.4, 500)])
def test_wilson_bounds_are_the_proportions_the_score_test_just_accepts(correct, total):
    observed, z = correct / total, 1.959963984540054
    for bound in wilson_interval(correct, total):
        distance = abs(observed - bound)
        assert distance == pytest.approx(z * (bound * (1 - bound) / total) ** 0.5)


def test_wilson_interval_contains_the_proportion_and_widens_with_confidence():
    narrow, wide = wilson_interval(3, 9, 0.8), wilson_interval(3, 9, 0.99)
    assert wide[0] < narrow[0] < 3 / 9 < narrow[1] < wide[1]
    # z = 1: (p + 1/2n -+ sqrt(p q / n + 1/4n^2)) / (1 + 1/n) with p = 1/2, n = 4
    confidence = 0.6826894921370859
    half = (0.25 / 4 + 1 / 64) ** 0.5 / 1.25
    assert wilson_interval(2, 4, confidence) == pytest.approx((0.5 - half, 0.5 + half))


@pytest.mark.parametrize("arguments", [(1, 0), (3, 2), (-1, 2), (1, 2, 1.0), (1, 2, 95)])
def test_wilson_interval_refuses_nonsense(arguments):
    with pytest.raises(ValueError, match="Expected"):
        wilson_interval(*arguments)


def test_mean_of_nothing_is_an_error():
    assert mean([0.1] * 10) == 0.1
    with pytest.raises(ValueError, match="at least one"):
        mean([])


# -- curves ---------------------------------------------------------------------------------------


def test_points_are_means_over_targets_with_the_interval_of_distinct_images():
    accuracies = {"A": 0.60, "B": 0.70, "C": 0.83}
    rows = [
        accuracy_row(value, images=100, classifier=target, flags=f"target={target}")
        for target, value in accuracies.items()
    ]
    (curve,) = accuracy_curves(rows)
    (point,) = curve.points
    assert (curve.defense, curve.role) == ("sfl_vae", "target")
    assert point.value == pytest.approx(0.71)
    assert point.members == pytest.approx(accuracies)
    assert (point.low, point.high) == pytest.approx(wilson_interval(71, 100))


def test_pooled_voters_and_draws_do_not_narrow_the_band():
    pooled = accuracy_row(
        0.7, images=100, voters=6, classifier="mean_voter", flags="target=A;voters=3;draws=2"
    )
    assert pooled.total == 600
    (curve,) = accuracy_curves([pooled])
    assert (curve.points[0].low, curve.points[0].high) == pytest.approx(wilson_interval(70, 100))


def test_seeds_are_averaged_within_their_target():
    rows = [
        accuracy_row(value, seed=seed, flags=f"target={target}")
        for target, seed, value in (("A", 0, 0.4), ("A", 1, 0.6), ("B", 0, 0.9))
    ]
    (curve,) = accuracy_curves(rows)
    assert curve.points[0].value == pytest.approx((0.5 + 0.9) / 2)


def test_a_point_without_all_targets_is_left_out_and_said_so():
    rows = chapter_rows({"vote": [0.5] * 6})
    rows = [r for r in rows if not (r.epsilon == 0.3 and r.flags.startswith("target=C"))]
    (curve,) = accuracy_curves(rows)
    assert curve.xs == list(EPSILONS[:-1])
    assert curve.incomplete == (0.3,)
    figure = plots.accuracy_figure(rows, "t", "c")
    assert "not every target measured: ε = 0.3" in words(figure, "caption")


def test_clean_rows_serve_every_attack_as_epsilon_zero():
    rows = [r for r in chapter_rows({"vote": [0.5] * 6}) if r.epsilon > 0]
    rows.append(accuracy_row(0.9, attack="none", epsilon=0.0, flags="voters=3"))
    (curve,) = accuracy_curves(rows)
    assert curve.at(0.0) is not None and curve.at(0.0).value == pytest.approx(0.9)
    assert curve.incomplete == ()


def test_two_configurations_at_one_point_are_refused():
    with pytest.raises(ValueError, match=r"one row per point.*old.*new"):
        accuracy_curves([row(config_hash="old"), row(config_hash="new")])


def test_variants_are_lines_of_their_own_and_the_published_one_speaks():
    rows = [
        accuracy_row(0.5, classifier="vote_bayes", flags="target=A;voters=3;drawn=3"),
        accuracy_row(
            0.6, classifier="vote_bayes", flags="target=A;voters=3;drawn=3;tables=heldout"
        ),
        accuracy_row(0.7, classifier="vote_bayes", flags="target=A;voters=12;drawn=7"),
    ]
    curves = accuracy_curves(rows)
    assert [curve_label(curve, curves) for curve in curves] == [
        "vote (3 of 3) + Bayes",
        "vote (7 of 12) + Bayes",
        "vote (3 of 3) + Bayes, held-out tables",
    ]
    assert primary(curves, "sfl_vae", "vote_bayes") is curves[1]
    assert primary(curves[::2], "sfl_vae", "vote_bayes") is curves[0]
    drawn = lines(plots.accuracy_figure(rows, "t", "c").axes[0], "curve").values()
    assert len({(line.get_color(), line.get_marker()) for line in drawn}) == 3
    assert primary(curves, "none", "vote_bayes") is None


def test_standard_errors_become_bands():
    rows = distance_rows({"sfl_vae": (3.0, 4.0)}, error=0.25, epsilons=(0.0, 0.1))
    (curve,) = value_curves(rows, "l2")
    assert [(p.value, p.low, p.high) for p in curve.points] == [
        (3.0, 2.75, 3.25),
        (4.0, 3.75, 4.25),
    ]


def test_a_missing_numeric_flag_is_named():
    with pytest.raises(ValueError, match="voters=NUMBER"):
        value_curves(
            [row(metric="recovery_rate", correct=None, total=None)], "recovery_rate", "voters"
        )
