"""The PuVAE paper's times and loss weights: what is shown is what the rows say."""

from __future__ import annotations

import pytest

from results import puvae_tables
from results.puvae_cells import coefficient_points
from results.puvae_paper import printed_in_time
from results.puvae_time_plots import time_figure
from results.puvae_times import Setting, timed_settings, within_limit
from results.style import PALETTE
from tests.drawn import assert_words_apart, cells, lines_of, words
from tests.puvae_rows import SEARCHES, TRIPLES, coefficient_rows, puvae_row, seconds_rows, time_rows

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


def test_coefficient_table_is_ordered_by_the_share_of_the_divergence():
    assert cells(puvae_tables.coefficient_table(coefficient_rows(TRIPLES)))[1:] == [
        ["1", "0.01", "10", "1:0.01", "30.0 ± 2.8"],
        ["0.01", "0.01", "10", "1:1", "60.0 ± 3.0"],
        ["0.01", "0.1", "10", "1:10", "80.0 ± 2.5"],
    ]
    with pytest.raises(ValueError, match="a flag kl=NUMBER"):
        coefficient_points([puvae_row(0.5, "puvae", "pgd", flags={"reconstruction": 1})])
