"""Figures: what is drawn is what the rows say."""

from __future__ import annotations

import io
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.lines import Line2D
from PIL import Image

from results import image_grids, plots
from results.paper import printed_accuracy, table_value, text_value
from results.statistics import wilson_interval
from results.style import PALETTE, cycle_style, figure_bytes, save_figure
from tests.drawn import flat_pictures, lines, words
from tests.synthetic_rows import (
    EPSILONS,
    accuracy_row,
    chapter_rows,
    distance_rows,
    row,
    sweep_rows,
    voting_rows,
)

CURVES = ["no defense", "SFL-VAE + target", "mean single voter", "vote (of 3)",
          "vote (of 3) + Bayes"]  # fmt: skip


# -- accuracy figure ------------------------------------------------------------------------------


def test_accuracy_figure_draws_each_curve_with_the_values_of_the_rows():
    rows = chapter_rows()
    figure = plots.accuracy_figure(rows, "FGSM on CIFAR-10", "Cuts: few images.")
    (axes,) = figure.axes
    drawn = lines(axes, "curve")
    assert list(drawn) == CURVES
    for name, classifiers in (("no defense", "ABC"), ("vote (of 3)", ["vote"])):
        defense = "none" if name == "no defense" else "sfl_vae"
        for x, y in zip(*drawn[name].get_data(), strict=True):
            values = [
                r.value for r in rows
                if r.defense == defense and r.classifier in classifiers and r.epsilon == x
            ]  # fmt: skip
            assert len(values) == 3
            assert y == pytest.approx(100 * np.mean(values))
    assert list(drawn["vote (of 3)"].get_xdata()) == list(EPSILONS)
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == CURVES
    assert words(figure, "title") == "FGSM on CIFAR-10"
    assert words(figure, "caption") == "Cuts: few images."


def test_accuracy_figure_shows_each_target_thin_beside_the_mean():
    figure = plots.accuracy_figure(chapter_rows(), "t", "c")
    thin = lines(figure.axes[0], "target")
    assert sorted(thin) == ["A", "B", "C"]
    assert list(thin["A"].get_ydata()) == pytest.approx([74, 59, 44, 35, 29, 19])
    assert thin["A"].get_linewidth() < lines(figure.axes[0], "curve")["vote (of 3)"].get_linewidth()


def test_lines_differ_in_colour_marker_and_dashes():
    figure = plots.accuracy_figure(chapter_rows(), "t", "c")
    drawn = lines(figure.axes[0], "curve").values()
    for trait in (Line2D.get_color, Line2D.get_marker, lambda line: str(line._dash_pattern)):
        assert len({trait(line) for line in drawn}) == len(CURVES)
    assert {line.get_color() for line in drawn} <= set(PALETTE.values())
    assert len({cycle_style(index) for index in range(70)}) == 70


def test_band_is_the_wilson_interval():
    figure = plots.accuracy_figure(chapter_rows(images=200), "t", "c")
    band = next(c for c in figure.axes[0].collections if c.get_gid() == "band:vote (of 3)")
    at = band.get_paths()[0].vertices
    low, high = wilson_interval(0.63 * 200, 200)
    ys = at[np.isclose(at[:, 0], 0.1)][:, 1]
    assert (ys.min(), ys.max()) == pytest.approx((100 * low, 100 * high))


def test_flagged_points_are_hollow_and_named():
    figure = plots.accuracy_figure(chapter_rows(warning="unreliable"), "t", "c")
    hollow = lines(figure.axes[0], "hollow")
    assert sorted(hollow) == sorted(CURVES)
    assert list(hollow["vote (of 3)"].get_xdata()) == [0.3]
    assert hollow["vote (of 3)"].get_markerfacecolor() == "white"
    assert "flagged unreliable" in words(figure, "caption")
    assert not lines(plots.accuracy_figure(chapter_rows(), "t", "c").axes[0], "hollow")


def test_printed_values_are_drawn_where_they_belong():
    rows = chapter_rows(dataset="fashion_mnist")
    printed = printed_accuracy("fashion_mnist")
    assert [(p.epsilon, p.value) for p in printed] == [(0.0, 0.99), (None, 0.93)]
    figure = plots.accuracy_figure(rows, "t", "c", printed)
    drawn = [line for line in figure.axes[0].get_lines() if line.get_gid() == "printed"]
    assert list(drawn[0].get_xdata()) == [0.0] and list(drawn[0].get_ydata()) == [99.0]
    assert list(drawn[1].get_ydata()) == [93.0, 93.0]
    assert [(p.epsilon, p.value) for p in printed_accuracy("cifar10")] == [(0.0, 0.91)]
    assert printed_accuracy("digits") == printed_accuracy("cifar10", "framework") == []


def test_paper_values_are_found_or_the_known_ones_listed():
    assert text_value("003", "3.4.3", "average improvement, CIFAR-10") == 25
    assert table_value("003.T4.1", "L1 Norm", "VAE") == 126.0
    with pytest.raises(ValueError, match=r"3\.4\.2: SFL advantage"):
        text_value("003", "3.4.2", "no such")
    with pytest.raises(ValueError, match=r"003\.T4\.1"):
        table_value("003.T9.9", "L1 Norm", "VAE")


def test_the_threat_model_stands_in_the_title_of_every_figure():
    for make, rows in (
        (plots.accuracy_figure, chapter_rows()),
        (plots.distance_figure, distance_rows({"sfl_vae": [1.0] * 6})),
        (plots.voting_figure, voting_rows()),
    ):
        assert "oblivious: the attacker ignores the defense" in words(
            make(rows, "t", ""), "subtitle"
        )
    framework = plots.accuracy_figure(chapter_rows(threat_model="framework"), "t", "")
    assert words(framework, "subtitle").startswith("threat model: framework")


def test_rescaled_carlini_wagner_is_said():
    figure = plots.accuracy_figure(chapter_rows(attack="carlini_wagner"), "t", "")
    assert "rescaled" in words(figure, "caption")


def test_several_purifiers_are_named_and_told_apart():
    rows = chapter_rows() + [
        accuracy_row(0.5, defense="defense_vae", classifier=t, flags=f"target={t}") for t in "ABC"
    ]
    drawn = lines(plots.accuracy_figure(rows, "t", "c").axes[0], "curve")
    assert {"SFL-VAE, vote (of 3)", "Defense-VAE + target", "no defense"} <= set(drawn)
    looks = {(line.get_color(), line.get_marker()) for line in drawn.values()}
    assert len(looks) == len(drawn) == 6


# -- the other figures ----------------------------------------------------------------------------


def test_distance_figure_has_a_panel_per_norm_with_the_values_of_the_rows():
    rows = distance_rows({"sfl_vae": (3, 3.2, 3.7, 4.6, 5.8, 8), "non_sfl_vae": (4, 4, 4, 4, 5, 7)})
    rows += distance_rows({"sfl_vae": (100.0,) * 6, "non_sfl_vae": (120.0,) * 6}, metric="l1")
    figure = plots.distance_figure(rows, "t", "c")
    assert [axes.get_ylabel()[:2] for axes in figure.axes] == ["L2", "L1"]
    drawn = lines(figure.axes[0], "curve")
    assert list(drawn) == ["SFL-VAE", "non-SFL-VAE"]
    assert list(drawn["SFL-VAE"].get_ydata()) == [3, 3.2, 3.7, 4.6, 5.8, 8]
    assert list(lines(figure.axes[1], "curve")["non-SFL-VAE"].get_ydata()) == [120.0] * 6
    (crossing,) = [line for line in figure.axes[0].get_lines() if line.get_gid() == "printed"]
    assert list(crossing.get_xdata()) == [0.15, 0.15]
    under_pgd = distance_rows({"sfl_vae": [1.0] * 6}, attack="pgd")
    panel = plots.distance_figure(under_pgd, "t", "c").axes[0]
    assert not [line for line in panel.get_lines() if line.get_gid() == "printed"]


def test_voting_figure_has_a_panel_per_metric_and_a_line_per_epsilon():
    rows = voting_rows(sizes=(2, 3, 4))
    figure = plots.voting_figure(rows, "t", "c")
    assert len(figure.axes) == 3
    for axes in figure.axes:
        assert list(lines(axes, "curve")) == ["ε = 0.05", "ε = 0.1"]
    recovery = lines(figure.axes[0], "curve")["ε = 0.1"]
    assert list(recovery.get_xdata()) == [2, 3, 4]
    assert list(recovery.get_ydata()) == pytest.approx([55.0, 60.0, 62.5])
    single = [r for r in rows if r.metric == "overlap_wrong"]
    assert len(plots.voting_figure(single, "t", "c").axes) == 1


def test_sweep_figure_marks_the_printed_distance_on_cifar10_only():
    axes = plots.sweep_figure(sweep_rows(), "t", "c").axes[0]
    (drawn,) = lines(axes, "curve").values()
    assert list(drawn.get_xdata()) == [0.01, 0.03, 0.1, 1.0]
    assert list(drawn.get_ydata()) == [80.0, 121.0, 175.0, 305.0]
    (printed,) = [line for line in axes.get_lines() if line.get_gid() == "printed"]
    assert list(printed.get_ydata()) == [126.0, 126.0]
    other = plots.sweep_figure(sweep_rows("digits"), "t", "c").axes[0]
    assert not [line for line in other.get_lines() if line.get_gid() == "printed"]


@pytest.mark.parametrize(
    "make",
    [plots.accuracy_figure, plots.distance_figure, plots.voting_figure, plots.sweep_figure],
)
def test_no_rows_is_a_clear_error(make):
    with pytest.raises(ValueError, match=r"received none\. Run its experiment first"):
        make([row(metric="something_else", correct=None, total=None)], "t", "c")


@pytest.mark.parametrize(
    "change", [{"dataset": "digits"}, {"attack": "pgd"}, {"threat_model": "framework"}]
)
def test_rows_of_two_figures_are_refused(change):
    (column,) = change
    with pytest.raises(ValueError, match=f"one {column}"):
        plots.accuracy_figure([*chapter_rows(), *chapter_rows(**change)], "t", "c")


# -- image grids ----------------------------------------------------------------------------------


def examples() -> dict[str, np.ndarray]:
    clean, attacked = flat_pictures()
    return {
        "clean": clean, "attacked": attacked, "purified": clean,
        "labels": np.array([0, 1, 2]), "target_predictions": np.array([1, 1, 0]),
        "votes": np.array([0, 2, 2]),
    }  # fmt: skip


def test_image_grid_shows_images_and_labels(tmp_path):
    path = tmp_path / "grid.npz"
    image_grids.save_examples(
        path, **examples(), class_names=["cat", "dog", "ship"], threat_model="oblivious"
    )
    figure = image_grids.image_grid(path, "t", "c")
    assert len(figure.axes) == 4 * 3
    images = [np.asarray(axes.get_images()[0].get_array()) for axes in figure.axes]
    np.testing.assert_array_equal(images[3], examples()["attacked"][0, ..., 0])
    # Row 3 is the perturbation: the largest change is 0.2, so the factor is 2.5.
    assert images[6][0, 0] == pytest.approx(0.75)
    assert images[8][0, 0] == pytest.approx(0.0, abs=1e-6)
    assert images[7][0, 0] == pytest.approx(0.5)
    assert "2.5" in figure.axes[6].get_ylabel()
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == ["cat", "dog", "ship", "dog ✗", "dog ✓", "cat ✗", "", "", "",
                      "cat ✓", "ship ✗", "ship ✓"]  # fmt: skip
    assert figure.axes[9].xaxis.label.get_color() == PALETTE["blue"]
    assert figure.axes[10].xaxis.label.get_color() == PALETTE["vermillion"]
    assert len(image_grids.image_grid(path, "t", "c", columns=2).axes) == 4 * 2


def test_amplify_keeps_zero_grey():
    shown, factor = image_grids.amplify(np.array([0.0, 0.1, -0.05]))
    assert factor == 5.0
    assert shown == pytest.approx([0.5, 1.0, 0.25])
    assert image_grids.amplify(np.zeros(2))[1] == 1.0


def test_image_grid_refuses_what_it_cannot_show(tmp_path):
    broken = examples()
    del broken["votes"]
    with pytest.raises(ValueError, match=r"missing \['votes'\]"):
        image_grids.image_grid(broken, "t", "c")
    with pytest.raises(ValueError, match=r"attacked in \[0, 1\]"):
        image_grids.image_grid({**examples(), "attacked": examples()["clean"] + 1}, "t", "c")
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, **{**examples(), "labels": np.array([{}, {}, {}], dtype=object)})
    with pytest.raises(ValueError, match="unreadable file"):
        image_grids.load_examples(pickled)
    cut = tmp_path / "cut.npz"
    cut.write_bytes(pickled.read_bytes()[:100])
    with pytest.raises(ValueError, match="unreadable file"):
        image_grids.load_examples(cut)


# -- saving ---------------------------------------------------------------------------------------


def test_equal_rows_give_equal_bytes_in_any_order(tmp_path):
    rows = chapter_rows(warning="unreliable")
    for file_format in ("png", "pdf"):
        first = figure_bytes(plots.accuracy_figure(rows, "t", "c"), file_format)
        second = figure_bytes(plots.accuracy_figure(rows[::-1], "t", "c"), file_format)
        assert first == second
        assert b"Matplotlib" not in first and b"CreationDate" not in first
    with pytest.raises(ValueError, match="'png' or 'pdf'"):
        figure_bytes(plots.accuracy_figure(rows, "t", "c"), "svg")


def test_save_figure_writes_both_formats_under_the_identifier(tmp_path):
    figure = plots.voting_figure(voting_rows(), "t", "c")
    png, pdf = save_figure(figure, tmp_path / "quick" / "003.F3.14_cifar10")
    assert (png.name, pdf.name) == ("003.F3.14_cifar10.png", "003.F3.14_cifar10.pdf")
    assert png.read_bytes().startswith(b"\x89PNG") and pdf.read_bytes().startswith(b"%PDF")


def test_curves_are_saved_in_few_colours_that_look_the_same_and_images_in_all(tmp_path):
    figure = plots.voting_figure(voting_rows(), "t", "c")
    png, _ = save_figure(figure, tmp_path / "curves")
    figure.savefig(tmp_path / "all.png", dpi=figure.dpi)
    saved, drawn = Image.open(png), Image.open(tmp_path / "all.png")
    assert (saved.mode, drawn.mode) == ("P", "RGBA") and saved.size == drawn.size
    difference = np.asarray(saved.convert("RGB"), "int16") - np.asarray(drawn.convert("RGB"))
    assert np.abs(difference).mean() < 0.5
    assert png.stat().st_size < 0.6 * (tmp_path / "all.png").stat().st_size
    figure.axes[0].imshow(np.random.default_rng(0).random((8, 8, 3)))
    assert Image.open(io.BytesIO(figure_bytes(figure, "png"))).mode == "RGBA"


def test_drawing_leaves_no_global_state():
    before = dict(matplotlib.rcParams)
    plots.accuracy_figure(chapter_rows(), "t", "c")
    assert dict(matplotlib.rcParams) == before


def test_results_need_no_deep_learning_library_and_no_other_package():
    code = (
        "import sys; import results.report, results.image_grids, results.claims; "
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'tensorflow', 'keras', "
        "'models', 'defenses', 'attacks', 'experiments'}), 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "False"]
