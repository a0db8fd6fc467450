"""Figures and tables of the PuVAE paper: what is drawn is what the rows say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from results import puvae_images, puvae_tables
from results.labels import NO_BUDGET, TARGET_LABELS, budget_label, threat_words
from results.puvae_cells import (
    Cell,
    Entrant,
    coefficient_points,
    defense_cells,
    knowledge_points,
    worst_adaptive,
)
from results.puvae_paper import printed_cells, printed_in_time, printed_search, time_limit
from results.puvae_plots import defense_table_figure, knowledge_figure
from results.puvae_time_plots import time_figure
from results.puvae_times import Setting, timed_settings, within_limit
from results.report import report_tables, write_report
from results.rows import RowStore
from results.sections import sections
from results.statistics import wilson_interval
from results.style import PALETTE, figure_bytes
from tests.drawn import cells, flat_pictures, words
from tests.puvae_rows import (
    ITSELF,
    TABLE_3,
    WHOLE,
    coefficient_rows,
    defense_rows,
    knowledge_rows,
    puvae_row,
    seconds_row,
    seconds_rows,
    time_rows,
)
from tests.synthetic_rows import chapter_rows, row

OBLIVIOUS = {"none": 0.95, "targeted_fgsm": 0.85, "pgd": 0.75}
ADAPTIVE = {
    "targeted_fgsm": {"argmin": 0.83, "softmin": 0.84, "worst": 0.81},
    "pgd": {"argmin": 0.5, "softmin": 0.4, "worst": 0.35},
}
SEARCHES = {
    25: (0.4, (0.3, 0.5, 0.6)), 50: (1.0, (0.5, 0.4, 0.7)), 100: (1.6, (0.8, 0.8, 0.8)),
}  # fmt: skip


def table_3(**changes) -> list:
    """All that Table 3 may hold."""
    return defense_rows(whole=WHOLE, itself=ITSELF, **changes)


def bars(axes) -> dict[str, object]:
    """The bars of a panel by `name:group`."""
    return {str(p.get_gid())[4:]: p for p in axes.patches if p.get_gid()}


def heights(axes) -> dict[str, float]:
    return {name: round(patch.get_height(), 6) for name, patch in bars(axes).items()}


def lines_of(table: str) -> dict[str, list[str]]:
    """The lines of a Markdown table by their first cell."""
    return {line[0]: line[1:] for line in cells(table)[1:]}


def assert_words_apart(figure) -> None:
    """No two words of a figure's panels overlap, and none leaves the figure."""
    FigureCanvasAgg(figure).draw()
    texts = list(figure.texts)
    for axes in figure.axes:
        low, high = axes.get_xlim()
        ticks = [t for t in axes.get_xticklabels() if low <= t.get_position()[0] <= high]
        legend = axes.get_legend()
        texts += [axes.xaxis.label, *axes.texts, *ticks, *(legend.get_texts() if legend else [])]
    boxes = [t.get_window_extent() for t in texts if t.get_text().strip()]
    for first, second in itertools.combinations(boxes, 2):
        assert not first.overlaps(second)
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)


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


# -- table 7 --------------------------------------------------------------------------------------


def test_seconds_table_gives_ratios_and_the_floor():
    table = puvae_tables.seconds_table(seconds_rows(0.02, 10.0, 0.4, 0.25, search=(2, 30)))
    assert cells(table) == [
        ["128 images", "MagNet", "Defense-GAN (30 steps from 2 starts)", "PuVAE"],
        ["seconds", "0.02", "10", "0.4"],
        ["seconds, printed", "0.01", "14.8", "0.11"],
        ["ratio to PuVAE", "0.05", "25", "1"],
        ["ratio to PuVAE, printed", "0.09", "134.55", "1"],
        ["one plain pass of its networks, seconds", "–", "–", "0.25"],
        ["ratio to that pass", "–", "–", "1.6"],
    ]


def test_seconds_table_has_dashes_for_what_is_missing():
    body = lines_of(puvae_tables.seconds_table(seconds_rows(puvae=None, dataset="digits")))
    assert body["seconds"] == ["0.01", "14.8"]
    assert body["seconds, printed"] == body["ratio to PuVAE"] == ["–", "–"]
    without_floor = puvae_tables.seconds_table(seconds_rows(floor=None))
    assert "plain pass" not in without_floor


# -- figure 9 and table 8 -------------------------------------------------------------------------


def test_time_figure_draws_searches_as_lines_and_single_passes_as_levels():
    figure = time_figure(time_rows(SEARCHES), "004.F9  MNIST", "Cuts.")
    (axes,) = figure.axes
    lines = {str(x.get_gid()): x for x in axes.get_lines() if x.get_gid()}
    search = lines["line:defense_gan:targeted_fgsm"]
    assert list(search.get_xdata()) == [0.4, 1.0, 1.6]
    assert list(search.get_ydata()) == pytest.approx([100 * round(128 * v) / 128
                                                      for v in (0.3, 0.5, 0.8)])  # fmt: skip
    level = lines["line:puvae:targeted_bim"]
    assert level.get_xdata()[0] == 0.11 and level.get_xdata()[1] == axes.get_xlim()[1]
    assert level.get_ydata()[0] == level.get_ydata()[1]
    assert list(lines["limit"].get_xdata()) == [1.0, 1.0]
    assert axes.get_xscale() == "log"
    by_attack = {g.split(":")[2]: x.get_color() for g, x in lines.items() if g.startswith("line:")}
    assert len(set(by_attack.values())) == 3
    assert all(lines[f"line:{d}:targeted_bim"].get_color() == by_attack["targeted_bim"]
               for d in ("puvae", "magnet", "defense_gan"))  # fmt: skip
    dashes = {d: str(lines[f"line:{d}:targeted_bim"]._dash_pattern)
              for d in ("puvae", "magnet", "defense_gan")}  # fmt: skip
    assert len(set(dashes.values())) == 3
    assert not any("adversarial_training" in name for name in lines)
    caption = words(figure, "caption")
    assert "Not drawn, as it purifies nothing: adversarial training." in caption
    assert "from 20 random starts" in caption
    assert [t.get_text() for t in axes.texts] == ["L = 25", "L = 50", "L = 100"]
    assert_words_apart(figure)


def test_a_flagged_point_is_hollow_and_two_targets_have_two_panels():
    rows = time_rows(SEARCHES) + time_rows({}, target="puvae_b", hardened=None)
    rows = [
        puvae_row(0.5, "puvae", r.attack, target="puvae_b", experiment="004.F9",
                  warnings=["unreliable"])
        if (r.defense, r.flags, r.attack) == ("puvae", "target=puvae_b", "targeted_bim") else r
        for r in rows
    ]  # fmt: skip
    figure = time_figure(rows, "t", "c")
    assert ["B (PuVAE)" in axes.get_xlabel() for axes in figure.axes] == [False, True]
    points = {str(x.get_gid()): x for x in figure.axes[1].get_lines() if x.get_gid()}
    assert points["point:puvae:targeted_bim"].get_markerfacecolor() == "white"
    assert points["point:puvae:targeted_fgsm"].get_markerfacecolor() == PALETTE["blue"]


def test_within_the_limit_counts_the_best_that_is_in_time():
    settings = timed_settings(time_rows(SEARCHES))
    assert settings[Setting("puvae_a", "adversarial_training")].seconds is None
    best = within_limit(settings, 1.0)
    gan = best["puvae_a", "defense_gan"]
    assert gan["targeted_fgsm"].value == pytest.approx(0.5, abs=0.01)  # of 1.0 s, at the limit
    assert gan["targeted_bim"].value == pytest.approx(0.5, abs=0.01)  # of 0.4 s
    assert "targeted_fgsm" in best["puvae_a", "adversarial_training"]
    assert within_limit(settings, 0.3)["puvae_a", "defense_gan"] == {}


def test_time_table_has_every_search_and_table_8():
    first, second = puvae_tables.time_table(time_rows(SEARCHES)).split("**Within 1 second")
    body = lines_of(first)
    assert list(body) == [
        "adversarial training", "MagNet", "Defense-GAN, 25 steps from 20 starts",
        "Defense-GAN, 50 steps from 20 starts", "Defense-GAN, 100 steps from 20 starts", "PuVAE",
    ]  # fmt: skip
    assert body["adversarial training"][0] == "–" and body["PuVAE"][0] == "0.11"
    assert body["Defense-GAN, 100 steps from 20 starts"][1].startswith("79.7 ± ")
    limited = lines_of(second)
    assert limited["PuVAE"][0].endswith("(81.33)")
    assert limited["Defense-GAN"][0].startswith("50.0 ± ") and "(" not in limited["Defense-GAN"][0]
    assert "share one printed line" in second
    assert printed_in_time("digits") == {}
    late = puvae_tables.time_table(time_rows({100: (1.6, (0.8, 0.8, 0.8))}, dataset="digits"))
    assert lines_of(late.split("**Within")[1])["Defense-GAN"] == ["–", "–", "–"]
    assert "rackets" not in late


# -- figure 7 -------------------------------------------------------------------------------------

TRIPLES = {(0.01, 0.1, 10.0): 0.8, (1.0, 0.01, 10.0): 0.3, (0.01, 0.01, 10.0): 0.6}


def test_coefficient_table_is_ordered_by_the_share_of_the_divergence():
    assert cells(puvae_tables.coefficient_table(coefficient_rows(TRIPLES)))[1:] == [
        ["1", "0.01", "10", "1:0.01", "30.0 ± 2.8"],
        ["0.01", "0.01", "10", "1:1", "60.0 ± 3.0"],
        ["0.01", "0.1", "10", "1:10", "80.0 ± 2.5"],
    ]
    with pytest.raises(ValueError, match="a flag kl=NUMBER"):
        coefficient_points([puvae_row(0.5, "puvae", "pgd", flags={"reconstruction": 1})])


# -- pictures -------------------------------------------------------------------------------------


def projections() -> dict[str, np.ndarray]:
    clean, attacked = flat_pictures()
    candidates = np.stack([np.full((8, 8, 1), c / 10, np.float32) for c in range(3)])
    return {
        "clean": clean, "attacked": attacked, "candidates": np.stack([candidates] * 3),
        "distances": np.array([[0.1, 0.2, 0.3], [0.3, 0.1, 0.2], [0.2, 0.3, 0.1]]),
        "chosen": np.array([0, 1, 2]), "purified": candidates, "labels": np.array([0, 1, 1]),
        "target_predictions": np.array([1, 1, 0]), "decisions": np.array([0, 2, 1]),
    }  # fmt: skip


def test_projections_show_images_decisions_and_the_class_chosen(tmp_path):
    path = tmp_path / "004.F4_mnist.npz"
    puvae_images.save_projections(
        path, **projections(), class_names=["cat", "dog", "ship"], threat_model="oblivious"
    )
    figure = puvae_images.projection_grid(path, "t", "c")
    assert len(figure.axes) == 4 * 3
    images = [np.asarray(axes.get_images()[0].get_array()) for axes in figure.axes]
    np.testing.assert_array_equal(images[3], projections()["attacked"][0, ..., 0])
    assert images[6][0, 0] == pytest.approx(0.75) and images[7][0, 0] == pytest.approx(0.5)
    np.testing.assert_array_equal(images[11], projections()["purified"][2, ..., 0])
    above = [axes.get_title() for axes in figure.axes]
    assert above == ["cat", "dog", "dog", "dog ✗", "dog ✓", "cat ✗", "", "", "",
                     "cat ✓", "ship ✗", "dog ✓"]  # fmt: skip
    assert [axes.get_xlabel() for axes in figure.axes[9:]] == ["cat ✓", "dog ✓", "ship ✗"]
    assert {axes.get_xlabel() for axes in figure.axes[:9]} == {""}
    assert figure.axes[11].xaxis.label.get_color() == PALETTE["vermillion"]
    assert words(figure, "subtitle").startswith("threat model: oblivious")
    assert len(puvae_images.projection_grid(path, "t", "c", columns=2).axes) == 4 * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chosen": np.array([0, 1, 1])}, "class of the nearest candidate"),
        ({"chosen": np.array([0, 1, 7])}, "chosen in 0 to 2"),
        ({"purified": projections()["clean"]}, "one and the same draw"),
        ({"attacked": projections()["clean"] + 1}, r"attacked in \[0, 1\]"),
        ({"candidates": projections()["candidates"][:, :2]}, "candidates of shape"),
        ({"distances": np.array([0.1, 0.2, 0.3])}, "distances of shape"),
        ({"decisions": np.array([0, 1])}, r"decisions of shape \(3,\)"),
        ({"clean": np.zeros((3, 8, 8))}, "height, width"),
    ],
)
def test_projections_that_contradict_themselves_are_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        puvae_images.save_projections(tmp_path / "x.npz", **{**projections(), **change})
    assert not list(tmp_path.iterdir())


def coefficients() -> dict[str, np.ndarray]:
    """One grey image as three classes, by two triples of weights."""
    candidates = np.stack([np.full((3, 8, 8, 1), value, "float32") for value in (0.2, 0.7)])
    return {
        "clean": np.full((8, 8, 1), 0.4, "float32"),
        "attacked": np.full((8, 8, 1), 0.5, "float32"),
        "label": np.asarray(1),
        "candidates": candidates,
        "chosen": np.array([2, 1]),
        "weights": np.array([[0.1, 0.1, 10.0], [0.01, 0.1, 10.0]]),
        "accuracy": np.array([0.5, 0.75]),
    }


def test_coefficients_show_a_row_of_candidates_per_triple(tmp_path):
    path = tmp_path / "x.npz"
    puvae_images.save_coefficients(path, **coefficients(), threat_model="oblivious")
    figure = puvae_images.coefficient_grid(path, "t", "c")
    assert len(figure.axes) == 3 * 3
    assert [axes.get_title() for axes in figure.axes[:2]] == ["clean", "attacked"]
    assert [axes.get_title() for axes in figure.axes[3:6]] == ["0", "1", "2"]
    side = figure.axes[6].get_ylabel()
    assert "= 0.01\n" in side and "= 0.1\n" in side and "= 10\n" in side
    assert side.endswith("75.0 % correct")
    framed = [axes.spines["left"].get_linewidth() > 2 for axes in figure.axes[3:]]
    assert framed == [False, False, True, False, True, False]
    assert np.asarray(figure.axes[3].get_images()[0].get_array())[0, 0] == pytest.approx(0.2)
    for name, value, message in [
        ("weights", np.zeros((3, 3)), r"weights of shape \(2, 3\)"),
        ("accuracy", np.array([50.0, 60.0]), r"accuracy in \[0, 1\]"),
        ("weights", -coefficients()["weights"], "weights >= 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            puvae_images.coefficient_grid({**coefficients(), name: value}, "t", "c")


def test_files_of_pictures_are_checked_when_read_and_written(tmp_path):
    with pytest.raises(ValueError, match=r"ending in \.npz"):
        puvae_images.save_coefficients(tmp_path / "x.npy", **coefficients())
    broken = tmp_path / "x.npz"
    broken.write_bytes(b"nothing")
    for draw in (puvae_images.projection_grid, puvae_images.coefficient_grid):
        with pytest.raises(ValueError, match="unreadable file"):
            draw(broken, "t", "c")
    lacking = {name: value for name, value in projections().items() if name != "chosen"}
    with pytest.raises(ValueError, match=r"missing \['chosen'\].*save_projections"):
        puvae_images.projection_grid(lacking, "t", "c")


# -- which rows make which figure -----------------------------------------------------------------


def everything(dataset: str = "mnist") -> list:
    """Rows of every experiment of the paper."""
    rows = table_3(dataset=dataset)
    for number, further in (("4", {}), ("5", {}), ("6", {"threat_model": "transfer"})):
        rows += defense_rows(dataset=dataset, experiment=f"004.T{number}", **further)
    rows += knowledge_rows(OBLIVIOUS, ADAPTIVE, dataset=dataset)
    rows += seconds_rows(dataset=dataset) + time_rows(SEARCHES, dataset=dataset)
    return rows + coefficient_rows(TRIPLES, dataset=dataset)


def test_rows_of_the_paper_say_which_figures_they_make():
    found = sections(everything("digits") + chapter_rows())
    assert [(s.stem, s.kind) for s in found] == [
        ("003.F3.6_cifar10", "accuracy"), ("004.F7_digits", "coefficients"),
        ("004.F8_digits", "knowledge"), ("004.F9_digits", "time"), ("004.T3_digits", "defenses"),
        ("004.T4_digits", "defenses"), ("004.T5_digits", "defenses"),
        ("004.T6_digits", "defenses"), ("004.T7_digits", "seconds"),
    ]  # fmt: skip
    assert all(section.table().startswith("| ") for section in found)
    assert found[4].title == "Defenses compared, digits (004.T3)"
    assert len(found[4].rows) == len(table_3(dataset="digits"))
    assert sections([row(experiment="004.T7", metric="made_up", correct=None, total=None)]) == []


def test_a_run_that_was_cut_off_still_makes_tables():
    for part in everything():
        for section in sections([part]):
            assert section.table().startswith("| ")


def test_the_report_holds_the_paper_and_leaves_the_clean_table_to_the_dissertation(tmp_path):
    store = RowStore(tmp_path, "quick")
    store.add(everything() + chapter_rows())
    puvae_images.save_projections(store.folder / "004.F4_mnist.npz", **projections())
    figures = tmp_path / "figures" / "quick"
    figures.mkdir(parents=True)
    for stem in ("004.T3_mnist", "004.F4_mnist"):
        (figures / f"{stem}.png").write_bytes(b"")
    text = write_report(tmp_path, "quick", "").read_text(encoding="utf-8")
    assert "../figures/quick/004.T3_mnist.png" in text and "### Images (004.F4_mnist)" in text
    assert "Threat model oblivious: the attacker ignores the defense, so this is not robustness; " \
        "adaptive: the attacker knows" in text  # fmt: skip
    assert "**PuVAE**" in text and "PuVAE is above MagNet" in text and "**Chapter 3**" in text
    made = report_tables(store.read())
    assert "PuVAE" not in made["clean_accuracy"]
    assert "clean_accuracy" not in report_tables(everything())


@pytest.mark.parametrize(
    ("draw", "rows"),
    [
        (defense_table_figure, table_3()), (knowledge_figure, knowledge_rows(OBLIVIOUS, ADAPTIVE)),
        (time_figure, time_rows(SEARCHES)),
    ],
)  # fmt: skip
def test_equal_rows_give_equal_bytes_in_any_order(draw, rows):
    for file_format in ("png", "pdf"):
        first = figure_bytes(draw(rows, "t", "c"), file_format)
        assert first == figure_bytes(draw(rows[::-1], "t", "c"), file_format)


@pytest.mark.parametrize(
    "make",
    [
        defense_table_figure, knowledge_figure, time_figure,
        *(lambda rows, *_, table=table: table(rows) for table in (
            puvae_tables.defense_table, puvae_tables.knowledge_table, puvae_tables.seconds_table,
            puvae_tables.time_table, puvae_tables.coefficient_table)),
    ],
)  # fmt: skip
def test_no_rows_is_a_clear_error(make):
    with pytest.raises(ValueError, match=r"received none\. Run its experiment first"):
        make([seconds_row(1.0, "puvae", metric="something_else")], "t", "c")
