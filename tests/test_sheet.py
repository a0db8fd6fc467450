"""Sheets: which rows make a point, what is averaged over what, and with which interval."""

from __future__ import annotations

import dataclasses

import pytest

from results.exhibit import ABSENT, PRESENT, Axis, Derived, Exhibit, Line, Look, matches
from results.sheet import fill, point, wilson_interval
from tests.made_rows import CLEAN, accuracy, clean, number, row

EPSILONS = Axis("epsilon", "ε = {:.3g}")


def exhibit(**changes: object) -> Exhibit:
    fields: dict[str, object] = {
        "id": "009.F1",
        "title": "made up",
        "datasets": ("cifar10",),
        "lines": (Line("vote", {"decider": "vote"}),),
        "columns": (EPSILONS,),
    }
    return Exhibit(**{**fields, **changes})  # type: ignore[arg-type]


# -- conditions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, True),
        ({"attack": "fgsm", "voters": 6}, True),
        ({"attack": ("none", "fgsm")}, True),
        ({"attack": ("none", "pgd")}, False),
        ({"retrained": ABSENT}, True),
        ({"voters": ABSENT}, False),
        ({"voters": PRESENT}, True),
        ({"retrained": PRESENT}, False),
        ({"retrained": (ABSENT, True)}, True),
        ({"voters": (ABSENT, 3)}, False),
        ([{"attack": "pgd"}, {"voters": 6}], True),
        ([{"attack": "pgd"}, {"voters": 3}], False),
        ([], False),
    ],
)
def test_a_row_meets_conditions(where, expected):
    assert matches(row(settings={"target": "A", "voters": 6}), where) is expected


# -- points ---------------------------------------------------------------------------------------


def test_points_are_means_over_targets_with_the_interval_of_distinct_images():
    accuracies = {"A": 0.60, "B": 0.70, "C": 0.83}
    found = point([accuracy(v, images=100, settings={"target": t}) for t, v in accuracies.items()])
    assert found.value == pytest.approx(0.71)
    assert found.members == pytest.approx(accuracies)
    assert (found.low, found.high) == pytest.approx(wilson_interval(71, 100))
    assert found.images == 100
    assert found.half_width == pytest.approx((found.high - found.low) / 2)


def test_eight_of_ten_has_the_known_interval():
    found = point([accuracy(0.8, images=10)])
    assert (found.low, found.high) == pytest.approx((0.490162, 0.943318), abs=1e-6)


def test_pooled_voters_and_draws_do_not_narrow_the_interval():
    pooled = accuracy(
        0.7,
        images=100,
        voters=6,
        decider="mean_voter",
        settings={"target": "A", "voters": 3, "draws": 2},
    )
    assert pooled.total == 600
    found = point([pooled])
    assert (found.low, found.high) == pytest.approx(wilson_interval(70, 100))


def test_the_fewest_images_make_the_interval():
    rows = [accuracy(0.5, images=n, settings={"target": t}) for t, n in (("A", 100), ("B", 1000))]
    found = point(rows)
    assert (found.low, found.high) == pytest.approx(wilson_interval(50, 100))


def test_seeds_are_averaged_within_their_target():
    rows = [
        accuracy(value, seed=seed, settings={"target": target})
        for target, seed, value in (("A", 0, 0.4), ("A", 1, 0.6), ("B", 0, 0.9))
    ]
    assert point(rows).value == pytest.approx((0.5 + 0.9) / 2)


def test_flags_of_any_row_are_those_of_the_point():
    rows = [
        row(settings={"target": "A"}, flags=("unreliable",)),
        row(settings={"target": "B"}, flags=("masked",)),
    ]
    assert point(rows).flags == ("masked", "unreliable")
    assert point([]) is None


def test_a_share_of_nothing_enters_no_mean():
    nothing = number(0.0, settings={"target": "A"}, flags=("undefined",))
    assert point([nothing]) is None
    assert point([nothing, number(0.8, settings={"target": "B"})]).value == 0.8


def test_a_mean_over_fewer_targets_than_its_neighbours_is_left_out():
    rows = [row(defense="none", settings={"target": name}) for name in "AB"]
    rows += [row(defense="sfl_vae", settings={"target": "A"})]
    lines = [Line("bare", {"defense": "none"}), Line("purified", {"defense": "sfl_vae"})]
    shown = Exhibit(id="009.T9", title="t", lines=lines, columns=[Line("accuracy")])
    (panel,) = fill(shown, rows[0].dataset, rows).panels
    assert [one.label for one in panel.lines] == ["bare"]
    alone = [Line("on A", {"target": "A", "defense": "sfl_vae"}), lines[0]]
    (panel,) = fill(dataclasses.replace(shown, lines=alone), rows[0].dataset, rows).panels
    assert [one.label for one in panel.lines] == ["on A", "bare"]


def test_clean_images_alone_make_no_figure_of_an_attack():
    unattacked = row(attack="none", norm="", epsilon=0.0, threat_model="none")
    shown = Exhibit(
        id="009.T9",
        title="t",
        where={"attack": ("none", "pgd")},
        lines=[Line("all")],
        columns=[Line("accuracy")],
    )
    assert not fill(shown, unattacked.dataset, [unattacked]).panels
    shown = dataclasses.replace(shown, where={})
    assert fill(shown, unattacked.dataset, [unattacked]).panels


@pytest.mark.parametrize(
    "other", [row(attack="pgd"), row(decider="vote_bayes"), number(3.0, seed=1)]
)
def test_two_rows_for_one_point_are_refused(other):
    with pytest.raises(ValueError, match=r"one row per point, received two.*Narrow the cond"):
        point([row(), other])


def test_a_standard_error_makes_the_interval_of_a_distance():
    rows = [
        number(value, metric=metric, epsilon=epsilon)
        for epsilon, distance in ((0.1, 3.0), (0.2, 4.0))
        for metric, value in (("l2", distance), ("l2_standard_error", 0.25))
    ]
    rows.append(number(9.0, epsilon=0.3))
    sheet = fill(exhibit(lines=(Line("L2", {"metric": "l2"}),)), "cifar10", rows)
    found = [sheet.point("L2", f"ε = {e}") for e in (0.1, 0.2, 0.3)]
    assert [(p.value, p.low, p.high) for p in found] == [
        (3.0, 2.75, 3.25),
        (4.0, 3.75, 4.25),
        (9.0, 9.0, 9.0),
    ]


# -- lines and columns ----------------------------------------------------------------------------


def test_other_data_sets_and_rows_outside_the_conditions_are_left_out():
    rows = [row(), row(dataset="mnist", epsilon=0.2), row(attack="pgd", epsilon=0.3)]
    sheet = fill(exhibit(where={"attack": "fgsm"}), "cifar10", rows)
    assert sheet.rows == (rows[0],)
    assert [column.label for column in sheet.columns] == ["ε = 0.1"]
    assert fill(exhibit(), "digits", rows).panels == ()


def test_lines_of_clean_images_alone_are_left_out_beside_attacked_ones():
    deciders = (Line("vote", {"decider": "vote"}), Line("target", {"decider": "target"}))
    rows = [clean(0.9), accuracy(0.5), clean(0.8, decider="target")]
    found = fill(exhibit(lines=deciders), "cifar10", rows)
    assert [line.label for line in found.panels[0].lines] == ["vote"]
    only_clean = fill(exhibit(lines=deciders), "cifar10", [rows[0], rows[2]])
    assert [line.label for line in only_clean.panels[0].lines] == ["vote", "target"]
    attacks = (Line("clean", {"attack": "none"}), Line("FGSM", {"attack": "fgsm"}))
    by_attack = fill(exhibit(lines=attacks, columns=(Line("vote"),)), "cifar10", rows[:2])
    assert [line.label for line in by_attack.panels[0].lines] == ["clean", "FGSM"]


def test_clean_rows_serve_as_epsilon_zero():
    rows = [clean(0.9), accuracy(0.5), accuracy(0.4, epsilon=0.2)]
    sheet = fill(exhibit(where={"attack": ("none", "fgsm")}), "cifar10", rows)
    (line,) = sheet.panels[0].lines
    assert [(c.label, line.points[c].value) for c in sheet.columns] == [
        ("ε = 0", 0.9),
        ("ε = 0.1", 0.5),
        ("ε = 0.2", 0.4),
    ]


def test_a_point_that_lacks_a_target_of_its_line_is_left_out():
    rows = [
        accuracy(0.5, epsilon=epsilon, settings={"target": target})
        for epsilon in (0.1, 0.2)
        for target in "ABC"
    ]
    sheet = fill(exhibit(), "cifar10", rows[:-1])
    assert [column.label for column in sheet.columns] == ["ε = 0.1"]
    # What is measured without naming a target holds for all of them.
    sheet = fill(
        exhibit(), "cifar10", [*rows[:3], number(1.0, metric="l1"), clean(0.9, settings={})]
    )
    assert sheet.point("vote", "ε = 0").value == 0.9
    assert set(sheet.point("vote", "ε = 0.1").members) == set("ABC")


def test_lines_without_points_and_panels_without_lines_are_left_out():
    lines = (Line("vote", {"decider": "vote"}), Line("update", {"decider": "vote_bayes"}))
    panels = (Line("FGSM", {"attack": "fgsm"}), Line("PGD", {"attack": "pgd"}))
    sheet = fill(exhibit(lines=lines, panels=panels), "cifar10", [row()])
    assert [panel.line.label for panel in sheet.panels] == ["FGSM"]
    assert [line.label for line in sheet.panels[0].lines] == ["vote"]
    assert sheet.point("update", "ε = 0.1") is None
    assert sheet.point("vote", "ε = 9") is None


def test_an_axis_is_a_line_for_each_value():
    blue = Look("blue")
    axis = Axis(
        "defense",
        label=lambda key: f"{key} + target",
        where={"retrained": ABSENT},
        without=("none",),
        looks=(blue,),
    )
    rows = [
        row(defense=name, settings={"target": "A", **settings})
        for name, settings in (
            ("none", {}),
            ("magnet", {}),
            ("hgd", {}),
            ("ape_gan", {"retrained": True}),
        )
    ]
    (panel,) = fill(exhibit(lines=(axis,)), "cifar10", rows).panels
    assert [line.label for line in panel.lines] == ["hgd + target", "magnet + target"]
    assert [line.line.look for line in panel.lines] == [blue, None]
    assert [line.rows for line in panel.lines] == [(rows[2],), (rows[1],)]


def test_an_axis_over_several_settings_sorts_by_its_order():
    axis = Axis(("restarts", "steps"), "{steps} of {restarts} ({0})", order=lambda v: -v[1])
    rows = [row(settings={"restarts": r, "steps": s}) for r, s in ((20, 1), (20, 4), (10, 2))]
    rows.append(row(settings={"restarts": 5}))
    (panel,) = fill(exhibit(lines=(axis,)), "cifar10", rows).panels
    assert [line.label for line in panel.lines] == ["4 of 20 (20)", "2 of 10 (10)", "1 of 20 (20)"]


def test_alternatives_of_a_line_and_of_an_axis():
    either = [{"defense": "none"}, {"retrained": True}]
    rows = [
        row(defense="none", epsilon=0.1),
        row(epsilon=0.2, settings={"target": "A", "retrained": True}),
        row(epsilon=0.3),
    ]
    sheet = fill(exhibit(lines=(Line("one", either),)), "cifar10", rows)
    assert [column.label for column in sheet.columns] == ["ε = 0.1", "ε = 0.2"]
    (panel,) = fill(exhibit(lines=(Axis("defense", "{}", where=either),)), "cifar10", rows).panels
    assert [line.label for line in panel.lines] == ["none", "sfl_vae"]


def test_labels_are_filled_in_from_the_attacked_rows():
    label = "vote ({drawn} of {voters}), {attack} at {epsilon:g}"
    settings = {"target": "A", "drawn": 3, "voters": 6}
    rows = [clean(0.9, settings=settings), accuracy(0.5, settings=settings)]
    sheet = fill(exhibit(lines=(Line(label, {"decider": "vote"}),)), "cifar10", rows)
    (line,) = sheet.panels[0].lines
    assert line.label == "vote (3 of 6), fgsm at 0.1"
    assert sheet.point(label, "ε = 0.1") is sheet.point(line.label, "ε = 0.1") is not None


def test_a_label_that_rows_cannot_fill_in_is_an_error():
    with pytest.raises(ValueError, match=r"fill in the label 'of \{voters\}'.*\{'target': 'A'\}"):
        fill(exhibit(lines=(Line("of {voters}"),)), "cifar10", [row()])


def test_derived_lines_and_columns_stay_with_measured_ones():
    derived = Derived("rank", lambda sheet, line: "1")
    sheet = fill(exhibit(columns=(EPSILONS, derived)), "cifar10", [row()])
    assert [column.label for column in sheet.columns] == ["ε = 0.1", "rank"]
    assert [column.label for column in sheet.measured_columns] == ["ε = 0.1"]
    assert len(sheet.points) == 1
    # A table of derived lines alone shows nothing that was measured.
    assert fill(exhibit(lines=(derived,)), "cifar10", [row()]).panels == ()


def test_a_line_under_further_conditions_keeps_all_else():
    line = Line("A", {"target": "A", "attack": "none"}, Look("red"))
    found = line.under(attack="pgd", depth=1)
    assert found.where == {"target": "A", "attack": "pgd", "depth": 1}
    assert (found.label, found.look, line.where["attack"]) == ("A", Look("red"), "none")
    either = Line("A or none", [{"target": "A"}, {"defense": "none"}])
    assert either.under("clean", attack="none").where == [
        {"target": "A", "attack": "none"},
        {"defense": "none", "attack": "none"},
    ]
    assert either.under("clean").label == "clean"


def test_rows_of_the_wrong_metric_do_not_meet():
    rows = [row(), number(3.0, **CLEAN)]
    sheet = fill(exhibit(where={"metric": "accuracy"}), "cifar10", rows)
    assert len(sheet.points) == 1


# -- intervals ------------------------------------------------------------------------------------


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
