"""The PuVAE paper's accuracies: what tables and figures show is what the rows say."""

from __future__ import annotations

import numpy as np
import pytest

from results import puvae_tables
from results.labels import NO_BUDGET, TARGET_LABELS, budget_label, threat_words
from results.puvae_cells import Cell, Entrant, defense_cells, knowledge_points, worst_adaptive
from results.puvae_paper import printed_cells, printed_search, time_limit
from results.puvae_plots import defense_table_figure, knowledge_figure
from results.statistics import wilson_interval
from tests.drawn import assert_words_apart, bars, cells, heights, lines_of, words
from tests.puvae_rows import (
    ADAPTIVE,
    OBLIVIOUS,
    TABLE_3,
    defense_rows,
    knowledge_rows,
    puvae_row,
    table_3,
)

# -- names ----------------------------------------------------------------------------------------


def test_the_whole_range_is_no_budget_and_letters_say_whose_they_are():
    assert budget_label("targeted_carlini_wagner", 1.0) == NO_BUDGET == "no budget"
    assert budget_label("targeted_fgsm", 0.06) == "ε = 0.06"
    assert budget_label("none", 0.0) == ""
    assert TARGET_LABELS["puvae_c"] == "C (PuVAE)"
    words_ = threat_words(["adaptive", "oblivious", "adaptive"])
    assert words_.startswith("oblivious: ") and "; adaptive: " in words_
    assert words_.count("adaptive") == 1 and threat_words(["made_up"]) == "made_up"


# -- tables 3 to 6 --------------------------------------------------------------------------------


def test_printed_cells_are_those_of_the_data_sets_own_table():
    printed = printed_cells("004.T5", "cifar10")
    wagner = "targeted_carlini_wagner"
    assert printed[Cell("puvae_c", wagner, Entrant("adversarial_training"))] == 0.5648
    assert printed[Cell("puvae_d", "none", Entrant("none"))] == pytest.approx(0.803)
    assert len(printed) == 2 * (3 * 5 + 1)
    assert printed_cells("004.T5", "digits") == printed_cells("004.T6", "fashion_mnist") == {}
    assert printed_cells("004.T4", "mnist") == {}
    assert printed_search() == (20, 200) and time_limit() == 1


def test_defense_table_sets_measured_beside_printed():
    table = puvae_tables.defense_table(table_3())
    assert cells(table)[0] == [
        "accuracy (%)", "no defense", "adversarial training",
        "adversarial training, attacked itself", "MagNet, reformer alone", "MagNet, whole",
        "Defense-GAN", "PuVAE",
    ]  # fmt: skip
    body = lines_of(table)
    assert list(body) == [
        f"{target} (PuVAE), {attack}"
        for target in "AB"
        for attack in ("no attack", "targeted FGSM, ε = 0.3", "targeted iFGSM, ε = 0.3",
                       "targeted Carlini–Wagner, no budget")
    ]  # fmt: skip
    assert body["A (PuVAE), targeted FGSM, ε = 0.3"] == [
        "12.0 ± 2.0 (12.46)", "79.0 ± 2.5 (78.57)", "70.0 ± 2.8", "27.0 ± 2.7 (26.90)",
        "60.0 ± 3.0", "85.0 ± 2.2 (85.29)", "81.0 ± 2.4 (81.33)",
    ]  # fmt: skip
    clean = body["B (PuVAE), no attack"]
    assert clean[0] == "95.0 ± 1.4 (99.29)" and clean[1:3] == ["95.0 ± 1.4", "–"]
    assert "In brackets: as printed." in table and "ε = 1" not in table


def test_defense_table_without_printed_numbers_has_no_brackets():
    black_box = defense_rows(
        dataset="fashion_mnist", experiment="004.T6", threat_model="transfer", clean=None
    )
    for rows in (table_3(dataset="digits"), black_box):
        assert "rackets" not in puvae_tables.defense_table(rows)
        assert "2.0 (" not in puvae_tables.defense_table(rows)


def test_cells_are_means_over_seeds_with_the_interval_of_distinct_images():
    rows = [
        puvae_row(value, "puvae", "pgd", images=50, voters=2, seed=seed, flags={"draws": 2})
        for seed, value in ((0, 0.4), (1, 0.6))
    ]
    ((cell, point),) = defense_cells(rows).items()
    assert cell == Cell("puvae_a", "pgd", Entrant("puvae")) and point.value == 0.5
    assert (point.low, point.high) == pytest.approx(wilson_interval(25, 50))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([puvae_row(0.5, "puvae", "pgd", threat_model="adaptive")], "adversarial_training only"),
        (
            [puvae_row(0.5, "puvae", "pgd"), puvae_row(0.5, "magnet", "pgd", threat_model="mixed")],
            "one threat_model",
        ),
        (defense_rows() + defense_rows(dataset="digits"), "one dataset"),
        (
            [puvae_row(0.5, "puvae", "pgd"), puvae_row(0.5, "puvae", "pgd", flags={"x": 1})],
            "one measurement of puvae under pgd",
        ),
        (
            [puvae_row(0.5, "puvae", "pgd"), puvae_row(0.5, "puvae", "pgd", config_hash="f")],
            "one row per point",
        ),
    ],
)
def test_rows_of_several_tables_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        puvae_tables.defense_table(rows)


def test_defense_figure_has_a_panel_per_target_with_the_values_of_the_rows():
    figure = defense_table_figure(table_3(), "004.T3  MNIST", "Cuts.")
    panels = figure.axes
    assert [next(t.get_text() for t in axes.texts) for axes in panels] == [
        "target A (PuVAE)", "target B (PuVAE)",
    ]  # fmt: skip
    for axes in panels:
        shown = heights(axes)
        assert len(shown) == 6 * 4 + 3
        for name, values in TABLE_3.items():
            assert [shown[f"{name}::{g}"] for g in range(1, 4)] == [100 * v for v in values]
        assert [shown[f"magnet:whole:{g}"] for g in (1, 2, 3)] == [60, 80, 50]
        assert shown["puvae::0"] == 95 and "adversarial_training:itself:0" not in shown
        labels = [t.get_text().replace("\n", " ") for t in axes.get_xticklabels()]
        assert labels[0] == "no attack " and labels[1] == "targeted FGSM ε = 0.3"
        assert labels[3] == "targeted Carlini–Wagner no budget"
    hatched = {name.rpartition(":")[0] for name, bar in bars(panels[0]).items() if bar.get_hatch()}
    assert hatched == {"magnet:whole", "adversarial_training:itself"}
    legend = [t.get_text().replace("\n", " ") for t in panels[-1].get_legend().get_texts()]
    assert legend[0] == "printed" and "adversarial training, attacked itself" in legend
    assert len(legend) == 8
    assert "oblivious: the attacker ignores" in words(figure, "subtitle")
    assert "adaptive: the attacker knows" in words(figure, "subtitle")
    caption = words(figure, "caption")
    assert "refuse counts as handled" in caption and "within [0, 1]" in caption
    assert "substitute" not in caption
    assert_words_apart(figure)


def test_printed_values_stand_on_their_bars():
    axes = defense_table_figure(table_3(), "t", "c").axes[1]
    (printed,) = [line for line in axes.get_lines() if line.get_gid() == "printed"]
    found = dict(zip(np.round(printed.get_xdata(), 6), printed.get_ydata(), strict=True))
    expected = printed_cells("004.T3", "mnist")
    attacks = ("none", "targeted_fgsm", "targeted_bim", "targeted_carlini_wagner")
    assert len(found) == len(expected) / 2
    for (target, attack, entrant), value in expected.items():
        if target == "puvae_b":
            bar = bars(axes)[f"{entrant.defense}::{attacks.index(attack)}"]
            middle = round(bar.get_x() + bar.get_width() / 2, 6)
            assert found[middle] == pytest.approx(100 * value)
    digits = defense_table_figure(table_3(dataset="digits"), "t", "c").axes[1]
    assert not [line for line in digits.get_lines() if line.get_gid() == "printed"]


def test_intervals_and_flags_of_bars():
    rows = [
        puvae_row(0.8, "puvae", "pgd", images=10),
        puvae_row(0.5, "magnet", "pgd", warnings=["unreliable"]),
    ]
    figure = defense_table_figure(rows, "t", "c")
    (axes,) = figure.axes
    (segment,) = [
        path.vertices for collection in axes.collections for path in collection.get_paths()
        if path.vertices[0, 0] == pytest.approx(0.21)
    ]  # fmt: skip
    assert tuple(segment[:, 1] / 100) == pytest.approx(wilson_interval(8, 10))
    faces = {name: bar.get_facecolor() for name, bar in bars(axes).items()}
    assert faces["magnet::0"] == (1, 1, 1, 1) and faces["puvae::0"] != (1, 1, 1, 1)
    assert "flagged unreliable" in words(figure, "caption")
    assert "*" in puvae_tables.defense_table(rows)


def test_an_unknown_defense_and_a_missing_cell_are_no_trouble():
    rows = [*defense_rows({"puvae": (0.8, 0.7, 0.6)}), puvae_row(0.5, "jpeg", "targeted_fgsm")]
    axes = defense_table_figure(rows, "t", "c").axes
    assert "jpeg::1" in heights(axes[0]) and "jpeg::1" not in heights(axes[1])
    body = lines_of(puvae_tables.defense_table(rows))
    assert body["A (PuVAE), targeted FGSM, ε = 0.3"][1] == "50.0 ± 3.1"
    assert body["B (PuVAE), targeted FGSM, ε = 0.3"][1] == "–"


def test_the_black_box_figure_says_what_is_attacked():
    rows = defense_rows(experiment="004.T6", threat_model="transfer", dataset="digits", clean=None)
    figure = defense_table_figure(rows, "t", "c")
    assert "learnt from the labels" in words(figure, "caption")
    assert words(figure, "subtitle").startswith("threat model: transfer: ")


# -- figure 8 -------------------------------------------------------------------------------------


def test_knowledge_figure_and_table_show_every_attacker():
    rows = knowledge_rows(OBLIVIOUS, ADAPTIVE)
    figure = knowledge_figure(rows, "004.F8  MNIST", "Cuts.")
    (axes,) = figure.axes
    assert heights(axes) == {
        "none:0": 99, "oblivious:0": 95, "none:1": 10, "oblivious:1": 85, "argmin:1": 83,
        "softmin:1": 84, "worst:1": 81, "none:2": 10, "oblivious:2": 75, "argmin:2": 50,
        "softmin:2": 40, "worst:2": 35,
    }  # fmt: skip
    assert "81.0" in [t.get_text() for t in axes.texts]
    caption = words(figure, "caption")
    assert "target classifier is B (PuVAE) and the source classifier is A (PuVAE)" in caption
    assert "means over 4 draws" in caption
    assert_words_apart(figure)
    body = lines_of(puvae_tables.knowledge_table(rows))
    assert body["no attack"] == ["99.0 ± 0.6", "95.0 ± 1.4", "–", "–", "–", "–"]
    assert body["targeted FGSM, ε = 0.3"][4:] == ["81.0 ± 2.4", "4.0 ± 3.3"]
    assert body["PGD, ε = 0.3"][5].startswith("40.0 ± ")


def test_an_adaptive_attacker_with_fewer_images_is_said_so():
    rows = knowledge_rows(OBLIVIOUS, {}) + [
        r for r in knowledge_rows(OBLIVIOUS, ADAPTIVE, images=500) if r.threat_model == "adaptive"
    ]
    note = "The adaptive attacker had 500 images, the oblivious one 1,000."
    assert note in words(knowledge_figure(rows, "t", "c"), "caption")
    assert note in puvae_tables.knowledge_table(rows)
    assert "images" not in puvae_tables.knowledge_table(knowledge_rows(OBLIVIOUS, ADAPTIVE))


def test_the_worst_attacker_is_the_lowest_measured():
    rows = knowledge_rows({"pgd": 0.5}, {"pgd": {"argmin": 0.4, "softmin": 0.3}})
    assert worst_adaptive(knowledge_points(rows), "pgd").value == 0.3
    assert worst_adaptive(knowledge_points(rows), "targeted_fgsm") is None
    oblivious = puvae_tables.knowledge_table(knowledge_rows({"pgd": 0.5}, {}))
    assert lines_of(oblivious)["PGD, ε = 0.3"][-1] == "–"


def test_an_attacker_without_a_surrogate_and_two_targets_are_refused():
    rows = knowledge_rows(OBLIVIOUS, {"pgd": {"made_up": 0.5}})
    with pytest.raises(ValueError, match=r"\['argmin', 'softmin', 'worst'\]"):
        knowledge_figure(rows, "t", "c")
    two = [*knowledge_rows(OBLIVIOUS, ADAPTIVE), puvae_row(0.5, "puvae", "pgd")]
    with pytest.raises(ValueError, match="one target"):
        knowledge_figure(two, "t", "c")
