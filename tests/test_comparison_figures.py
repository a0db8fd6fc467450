"""Figures and tables of chapters 4 and 5: what is drawn is what the rows say."""

from __future__ import annotations

import pytest

from results import comparison_plots, comparison_tables, feature_plots, plots, tables
from results.curves import accuracy_curves, role_of
from results.headlines import headline
from results.labels import curve_label
from results.paper import printed_accuracy, printed_filtered, printed_reconstruction, text_words
from results.sections import sections
from results.selection import companions, main_defense
from results.style import DEFENSE_STYLES, GREY
from tests.drawn import cells, lines, words
from tests.synthetic_rows import (
    EPSILONS,
    accuracy_row,
    chapter_rows,
    distance_rows,
    feature_rows,
    filtered_rows,
    mixed_rows,
    reconstruction_rows,
    row,
    target_rows,
)

CURVE = (0.8, 0.7, 0.6, 0.5, 0.4, 0.3)


def comparison() -> list:
    """The rows behind figures 3.6 and 4.2."""
    rows = chapter_rows() + target_rows({"defense_vae": CURVE, "defense_gan": CURVE})
    rows += target_rows({"defense_vae": CURVE}, retrained=True)
    roles = ("target", "mean_voter", "vote", "vote_bayes")
    own = chapter_rows(
        dict.fromkeys(roles, CURVE), defense="defense_cyclegan", experiment="003.F4.2"
    )
    held_out = [
        accuracy_row(
            0.9, defense="defense_cyclegan", classifier="vote_bayes", epsilon=e,
            experiment="003.F4.2", flags=f"target={t};voters=3;tables=heldout",
        )
        for e in EPSILONS
        for t in "ABC"
    ]  # fmt: skip
    return rows + own + held_out


CYCLEGAN = [
    "Defense-CycleGAN + target", "Defense-CycleGAN, mean single voter",
    "Defense-CycleGAN, vote (of 3)", "Defense-CycleGAN, vote (of 3) + Bayes",
    "Defense-CycleGAN, vote (of 3) + Bayes, held-out tables",
]  # fmt: skip
SFL_VAE = [
    "SFL-VAE + target", "SFL-VAE, mean single voter", "SFL-VAE, vote (of 3)",
    "SFL-VAE, vote (of 3) + Bayes",
]  # fmt: skip
BASELINES = ["Defense-VAE + retrained target", "Defense-GAN + target"]


@pytest.mark.parametrize(
    ("main", "expected"),
    [
        ("sfl_vae", ["no defense", *SFL_VAE, CYCLEGAN[3], *BASELINES]),
        ("defense_cyclegan", ["no defense", SFL_VAE[1], SFL_VAE[3], *CYCLEGAN, *BASELINES]),
        (None, ["no defense", *SFL_VAE, *CYCLEGAN, "Defense-VAE + target", *BASELINES]),
    ],
)
def test_the_main_defense_is_drawn_whole_and_others_by_their_headline(main, expected):
    axes = plots.accuracy_figure(comparison(), "t", "c", main=main).axes[0]
    drawn = lines(axes, "curve")
    assert list(drawn) == expected
    looks = {(x.get_color(), x.get_marker(), str(x._dash_pattern)) for x in drawn.values()}
    assert len(looks) == len(drawn)
    table = cells(tables.accuracy_table(comparison(), main))
    assert [line[0] for line in table[1:]] == expected


def test_colour_is_the_defense_and_weight_the_headline():
    axes = plots.accuracy_figure(comparison(), "t", "c", main="defense_cyclegan").axes[0]
    drawn = lines(axes, "curve")
    colours = {name.split(",")[0].split(" +")[0]: line.get_color() for name, line in drawn.items()}
    assert len(colours) == len(set(colours.values())) == 5
    assert {drawn[name].get_color() for name in CYCLEGAN} == {
        DEFENSE_STYLES["defense_cyclegan"].color
    }
    heavy = {name for name, line in drawn.items() if line.get_linewidth() > 1.5}
    assert heavy == {"no defense", SFL_VAE[3], CYCLEGAN[3], *BASELINES}
    bands = {str(c.get_gid()).removeprefix("band:") for c in axes.collections}
    assert bands == heavy


def test_unknown_defenses_get_colours_of_their_own():
    rows = target_rows({"sfl_vae": CURVE, "magnet": CURVE, "puvae": CURVE, "vqunet": CURVE})
    drawn = lines(plots.accuracy_figure(rows, "t", "c").axes[0], "curve")
    assert len({line.get_color() for line in drawn.values()}) == 4


def test_the_headline_is_the_published_decision():
    rows = comparison()
    chosen = {d: headline(accuracy_curves(rows), d) for d in ("defense_vae", "defense_cyclegan")}
    assert chosen["defense_vae"].qualifiers == {"retrained": "True"}
    assert chosen["defense_cyclegan"].qualifiers == {"voters": "3"}
    assert chosen["defense_cyclegan"].role == "vote_bayes"
    held_out = [r for r in rows if "heldout" in r.flags]
    assert headline(accuracy_curves(held_out), "defense_cyclegan") is not None
    assert headline(accuracy_curves(rows), "vqunet") is None


def test_the_wide_resnet_is_a_target_and_says_whether_it_was_retrained():
    rows = mixed_rows({"none": CURVE, "vqunet": CURVE}) + mixed_rows(
        {"vqunet": [0.2] * 6}, retrained=False
    )
    assert {role_of(r) for r in rows} == {"target"}
    curves = accuracy_curves(rows)
    assert [curve_label(c, curves) for c in curves] == [
        "no defense", "VQUNet + target", "VQUNet + retrained target",
    ]  # fmt: skip
    figure = plots.accuracy_figure(rows, "t", "c", main="vqunet")
    assert "mixed: half oblivious" in words(figure, "subtitle")


def test_chapters_3_and_4_share_rows_and_differ_in_the_main_defense():
    assert companions("003.F4.2") == ("003.F4.2", "003.F3.6")
    assert companions("003.F3.9") == ("003.F3.9", "003.F4.4")
    assert companions("003.F3.10") == ("003.F3.10",)
    found = {s.stem: s for s in sections(comparison())}
    assert set(found) == {"003.F3.6_cifar10", "003.F4.2_cifar10"}
    assert found["003.F3.6_cifar10"].main == "sfl_vae"
    assert set(found["003.F4.2_cifar10"].rows) == set(comparison())
    table = found["003.F4.2_cifar10"].table()
    assert "Defense-CycleGAN, vote (of 3) |" in table and "SFL-VAE, vote (of 3) |" not in table
    assert [main_defense(e) for e in ("003.F4.2", "003.F5.3", "004.T3")] == [
        "defense_cyclegan", "vqunet", None,
    ]  # fmt: skip


def test_printed_levels_of_each_chapter():
    def shown(*arguments):
        return [(p.epsilon, p.value) for p in printed_accuracy(*arguments)]

    assert shown("cifar10", "oblivious", 4, "pgd") == [(0.0, 0.91), (None, 0.8)]
    assert shown("cifar10", "oblivious", 4, "fgsm") == [(0.0, 0.91)]
    assert shown("fashion_mnist", "oblivious", 4, "fgsm") == [(0.0, 0.97), (None, 0.9)]
    assert shown("cifar10", "mixed", 5) == [(0.0, pytest.approx(0.9308))]
    assert shown("fashion_mnist", "mixed", 5)[1] == (None, 0.9)
    assert shown("cifar10", "oblivious", 5) == shown("cifar10", "framework", 4) == []
    assert text_words("003", "4.4.3", "proposed clean") == "97 Fashion-MNIST; 91 CIFAR-10"


# -- table 4.1 ------------------------------------------------------------------------------------

MEASURED = {
    "sfl_vae": 220.0, "defense_cyclegan": 60.0, "defense_cyclegan_1": 140.0,
    "defense_cyclegan_2": 230.0, "defense_cyclegan_3": 300.0, "defense_cyclegan_4": 410.0,
}  # fmt: skip


def test_reconstruction_figure_sets_measured_beside_printed():
    figure = comparison_plots.reconstruction_figure(reconstruction_rows(MEASURED), "t", "c")
    (axes,) = figure.axes
    bars = {str(p.get_gid())[4:]: p.get_height() for p in axes.patches if p.get_gid()}
    assert bars == MEASURED
    (printed,) = [line for line in axes.get_lines() if line.get_gid() == "printed"]
    assert list(printed.get_xdata()) == list(range(6))
    assert list(printed.get_ydata()) == [126.0, 54.3, 103.9, 225.9, 358.6, 518.8]
    assert axes.get_ylim()[1] > 518.8
    assert words(figure, "subtitle") == "no attack: clean test images"
    digits = reconstruction_rows(MEASURED, dataset="digits")
    other = comparison_plots.reconstruction_figure(digits, "t", "c").axes[0]
    assert not [line for line in other.get_lines() if line.get_gid() == "printed"]


def test_reconstruction_table_ranks_both():
    body = cells(comparison_tables.reconstruction_table(reconstruction_rows(MEASURED)))
    assert body[0] == ["L1 on clean images", "measured", "printed", "rank", "printed rank"]
    assert body[1] == ["SFL-VAE", "220 ± 1", "126.0", "3", "3"]
    assert body[3] == ["Cyc_1", "140 ± 1", "103.9", "2", "2"]
    three = {name: MEASURED[name] for name in list(MEASURED)[:3]}
    assert cells(comparison_tables.reconstruction_table(reconstruction_rows(three)))[1][4] == "3"
    elsewhere = reconstruction_rows(MEASURED, dataset="digits")
    assert cells(comparison_tables.reconstruction_table(elsewhere))[1][2:] == ["–", "3", "–"]


# -- table 5.1 ------------------------------------------------------------------------------------


def filtered() -> list:
    """Both targets behind three purifiers."""
    rows = filtered_rows({"none": 0.93, "defense_vae": 0.75, "vqunet": 0.92, "sfl_vae": 0.8})
    return rows + filtered_rows({"vqunet": 0.88, "defense_vae": 0.55}, retrained=False)


def test_filtered_figure_has_a_dot_per_target_and_the_printed_value():
    axes = comparison_plots.filtered_figure(filtered(), "t", "c").axes[0]
    dots = {str(x.get_gid()): x.get_xdata()[0] for x in axes.get_lines() if x.get_gid()}
    assert dots["dot:vqunet:0"] == pytest.approx(92.0)
    assert dots["dot:vqunet:1"] == pytest.approx(88.0)
    assert dots["dot:none:1"] == dots["unfiltered"] == pytest.approx(93.0)
    assert "dot:none:0" not in dots and "dot:sfl_vae:1" not in dots
    names = [t.get_text() for t in axes.get_yticklabels()]
    assert names == ["no defense", "VQUNet", "SFL-VAE", "Defense-VAE"]
    (printed,) = [line for line in axes.get_lines() if line.get_gid() == "printed"]
    assert list(printed.get_xdata()) == [94.03, 93.08, 86.51, 78.84]
    assert printed.get_color() == GREY


def test_filtered_table_gives_losses_in_points():
    body = cells(comparison_tables.filtered_table(filtered()))
    lines_ = {line[0]: line[1:] for line in body[1:]}
    assert lines_["no defense"][1:] == ["–", "–", "–", "94.03", "–"]
    vqunet = lines_["VQUNet"]
    assert vqunet[0].startswith("92.0 ± ") and vqunet[1] == "1.0"
    assert vqunet[2].startswith("88.0 ± ") and vqunet[3:] == ["5.0", "93.08", "0.95"]
    assert lines_["SFL-VAE"][2:4] == ["–", "–"]
    assert printed_filtered("fashion_mnist")["none"] == 94.31
    assert printed_filtered("digits") == printed_reconstruction("fashion_mnist") == {}


def test_clean_accuracies_of_the_wide_resnet_are_not_averaged_with_the_others():
    rows = chapter_rows({"none": CURVE}) + mixed_rows({"none": [0.5] * 6, "vqunet": [0.4] * 6})
    body = {line[0]: line[1] for line in cells(tables.clean_table(rows))[1:]}
    assert body["no defense, mean"].startswith("80.0")
    assert body["no defense (Wide-ResNet)"].startswith("50.0")
    assert body["VQUNet + retrained target (Wide-ResNet)"].startswith("40.0")


# -- which rows make which figure ------------------------------------------------------------------


def test_rows_of_chapters_4_and_5_say_which_figures_they_make():
    rows = reconstruction_rows(MEASURED) + filtered() + mixed_rows({"vqunet": CURVE})
    rows += feature_rows({("vqunet", "pre"): [CURVE], ("non_vqunet", "pre"): [CURVE]})
    rows += distance_rows({"vqunet": CURVE}, metric="l1", experiment="003.F5.7")
    found = {(s.stem, s.kind) for s in sections(rows)}
    assert found == {
        ("003.T4.1_cifar10", "reconstruction"), ("003.T5.1_cifar10", "filtered"),
        ("003.F5.3_cifar10", "accuracy"), ("003.F5.7_cifar10", "distance"),
        ("003.F5.8_cifar10", "features"),
    }  # fmt: skip
    assert all(section.table().startswith("| ") for section in sections(rows))


@pytest.mark.parametrize(
    "make",
    [
        comparison_plots.reconstruction_figure,
        comparison_plots.filtered_figure,
        feature_plots.feature_figure,
        lambda rows, *_: comparison_tables.reconstruction_table(rows),
        lambda rows, *_: comparison_tables.filtered_table(rows),
        lambda rows, *_: comparison_tables.feature_table(rows),
    ],
)
def test_no_rows_is_a_clear_error(make):
    with pytest.raises(ValueError, match=r"received none\. Run its experiment first"):
        make([row(metric="something_else", correct=None, total=None)], "t", "c")
