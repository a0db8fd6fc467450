"""Figures of sheets: what is drawn is what the rows say."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from papers import catalog
from results.exhibit import (
    ABSENT,
    PALETTE,
    Axis,
    Bars,
    Curves,
    Derived,
    Dots,
    Exhibit,
    Line,
    Look,
    Mark,
    Pictures,
    Scatter,
)
from results.figures import draw, draw_exhibit
from results.pictures import (
    PictureRow,
    load_pictures,
    picture_grid,
    pictures_path,
    save_pictures,
)
from results.sheet import fill, wilson_interval
from results.store import RowStore
from results.style import figure_bytes
from tests.drawn import assert_apart, bands, bars, legend_words, lines, printed, words
from tests.made_rows import CLEAN, accuracy, clean, number, row

BLUE, GREEN = PALETTE["blue"], PALETTE["green"]
EPSILONS = Axis("epsilon", "ε = {:g}")
CURVES = Exhibit(
    id="009.F1",
    title="accuracy",
    where={"metric": "accuracy"},
    lines=(
        Line("no defense", {"defense": "none"}),
        Line("heavy", {"defense": "sfl_vae"}, Look(BLUE, "P")),
        Line("light", {"defense": "magnet"}, Look(GREEN, "s", (0, (1, 1)), light=True)),
    ),
    columns=(EPSILONS,),
    draw=Curves(),
)


def curve_rows(**flags):
    """Three defenses on clean images and at two budgets; one point of the last two is flagged."""
    rows = []
    for defense, values in {
        "none": (0.9, 0.3, 0.1),
        "sfl_vae": (0.8, 0.7, 0.6),
        "magnet": (0.85, 0.5, 0.2),
    }.items():
        rows.append(clean(values[0], defense=defense))
        for epsilon, value in zip((0.1, 0.3), values[1:], strict=True):
            flagged = ("unreliable",) if (defense, epsilon) in flags.get("at", ()) else ()
            rows.append(accuracy(value, defense=defense, epsilon=epsilon, flags=flagged))
    return rows


def drawn(exhibit, rows, dataset="cifar10", **options):
    return draw(fill(exhibit, dataset, rows), **{"profile": "quick", **options})


# -- curves ---------------------------------------------------------------------------------------


def test_curves_have_the_values_of_the_rows_in_percent_over_epsilon():
    figure = drawn(CURVES, curve_rows())
    (axes,) = figure.axes
    curves = lines(axes, "curve")
    assert list(curves) == ["no defense", "heavy", "light"]
    assert list(curves["heavy"].get_xdata()) == [0, 0.1, 0.3]
    np.testing.assert_allclose(curves["heavy"].get_ydata(), [80, 70, 60])
    np.testing.assert_allclose(curves["no defense"].get_ydata(), [90, 30, 10])
    assert axes.get_ylim() == (-2, 102)
    assert list(axes.get_xticks()) == [0, 0.1, 0.3]
    assert axes.get_ylabel() == "accuracy (%)"
    assert legend_words(figure) == ["no defense", "heavy", "light"]
    assert_apart(figure)


def test_heavy_lines_have_the_interval_as_a_band_and_light_ones_are_thin_without():
    (axes,) = drawn(CURVES, curve_rows()).axes
    assert bands(axes) == {"no defense", "heavy"}
    curves = lines(axes, "curve")
    assert curves["light"].get_linewidth() < curves["heavy"].get_linewidth()
    (band,) = [one for one in axes.collections if one.get_gid() == "band:heavy"]
    low, high = (100 * value for value in wilson_interval(700, 1000))
    at = {round(y, 4) for x, y in band.get_paths()[0].vertices if x == 0.1}
    assert at == {round(low, 4), round(high, 4)}


def test_declared_looks_are_kept_and_the_others_differ():
    curves = lines(drawn(CURVES, curve_rows()).axes[0], "curve")
    assert (curves["heavy"].get_color(), curves["heavy"].get_marker()) == (BLUE, "P")
    assert curves["light"].get_linestyle() == "--"
    undeclared = dataclasses.replace(CURVES, lines=(Axis("defense", "{}"),))
    looks = {
        (one.get_color(), one.get_marker())
        for one in lines(drawn(undeclared, curve_rows()).axes[0], "curve").values()
    }
    assert len(looks) == 3


def test_a_line_looks_the_same_in_every_panel_and_stands_once_in_the_legend():
    rows = [
        number(v, metric=m, epsilon=0.1, defense=d)
        for m, d, v in (("l2", "a", 1.0), ("l2", "b", 2.0), ("l1", "b", 9.0))
    ]
    exhibit = dataclasses.replace(
        CURVES,
        where={},
        panels=(Line("L2", {"metric": "l2"}), Line("L1", {"metric": "l1"})),
        lines=(Line("a", {"defense": "a"}), Line("b", {"defense": "b"})),
        draw=Curves(percent=False, ylabel="distance"),
    )
    figure = drawn(exhibit, rows)
    left, right = figure.axes
    assert lines(left, "curve")["b"].get_color() == lines(right, "curve")["b"].get_color()
    assert lines(left, "curve")["a"].get_color() != lines(left, "curve")["b"].get_color()
    assert [axes.get_ylabel() for axes in figure.axes] == ["L2 distance", "L1 distance"]
    assert legend_words(figure) == ["a", "b"]
    assert_apart(figure)


def test_flagged_points_are_hollow_and_the_legend_names_the_flag():
    at = {("sfl_vae", 0.3), ("magnet", 0.1)}
    figure = drawn(CURVES, curve_rows(at=at))
    hollow = lines(figure.axes[0], "hollow")
    assert {name: list(one.get_xdata()) for name, one in hollow.items()} == {
        "heavy": [0.3],
        "light": [0.1],
    }
    assert hollow["heavy"].get_markerfacecolor() == "white"
    np.testing.assert_allclose(hollow["heavy"].get_ydata(), [60])
    assert legend_words(figure)[-1] == "hollow: unreliable"
    assert not lines(drawn(CURVES, curve_rows()).axes[0], "hollow")


def test_marks_are_points_levels_and_places_of_their_data_set():
    marks = [Mark("a point", 0.0, 91.0), Mark("a level", None, 80.0), Mark("a place", 0.15, None)]
    exhibit = dataclasses.replace(
        CURVES, draw=Curves(marks=lambda dataset: marks if dataset == "cifar10" else [])
    )
    figure = drawn(exhibit, curve_rows())
    point, level, place = printed(figure.axes[0])
    assert (list(point.get_xdata()), list(point.get_ydata())) == ([0.0], [91.0])
    assert (point.get_marker(), point.get_linestyle()) == ("*", "None")
    assert list(level.get_ydata()) == [80.0, 80.0]
    assert list(place.get_xdata()) == [0.15, 0.15]
    assert legend_words(figure)[-3:] == ["a point", "a level", "a place"]
    others = [dataclasses.replace(one, dataset="mnist") for one in curve_rows()]
    assert not printed(drawn(exhibit, others, "mnist").axes[0])
    marks[:] = [Mark("nowhere", None, None)]
    with pytest.raises(ValueError, match="'nowhere' to have an x or a y"):
        drawn(exhibit, curve_rows())


@pytest.mark.parametrize(("peaks", "scale"), [((1.0, 30.0), "log"), ((1.0, 15.0), "linear")])
def test_lines_far_apart_share_a_logarithmic_axis(peaks, scale):
    rows = [number(0.0, defense=d, **CLEAN) for d in "ab"]
    rows += [number(v, defense=d, epsilon=0.1) for d, v in zip("ab", peaks, strict=True)]
    exhibit = dataclasses.replace(
        CURVES,
        where={"metric": "l2"},
        lines=(Axis("defense", "{}"),),
        draw=Curves(percent=False, ylabel="L2", spread=20),
    )
    (axes,) = drawn(exhibit, rows).axes
    assert axes.get_yscale() == scale
    assert axes.get_ylabel() == ("L2 (log)" if scale == "log" else "L2")
    if scale == "linear":
        assert axes.get_ylim()[0] == 0
        assert axes.get_ylim()[1] > 15


def test_budgets_may_be_shown_as_multiples_of_a_unit():
    exhibit = dataclasses.replace(CURVES, draw=Curves(unit=1 / 255))
    rows = [accuracy(0.5, defense="none", epsilon=budget / 255) for budget in (4, 8, 16)]
    (axes,) = drawn(exhibit, rows).axes
    axes.figure.canvas.draw()
    assert [text.get_text() for text in axes.get_xticklabels()] == ["4", "8", "16"]
    assert list(lines(axes, "curve")["no defense"].get_xdata()) == [4 / 255, 8 / 255, 16 / 255]


def test_an_axis_of_a_setting_may_be_logarithmic_and_stand_in_the_lines_of_the_table():
    rows = [
        number(value, metric="l1", settings={"weight": weight, "mean": mean}, **CLEAN)
        for weight, value in ((0.01, 300.0), (1, 450.0), (0.1, 350.0))
        for mean in (True, False)
    ]
    exhibit = Exhibit(
        id="009.S1",
        title="a sweep",
        lines=(Axis("weight", "{:g}"),),
        columns=(Line("mean", {"mean": True}), Line("sampled", {"mean": False})),
        draw=Curves(axis="weight", percent=False, logarithmic=True, transposed=True),
    )
    figure = drawn(exhibit, rows)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    curves = lines(axes, "curve")
    assert list(curves) == ["mean", "sampled"]
    assert list(curves["mean"].get_xdata()) == [0.01, 0.1, 1]
    assert list(curves["mean"].get_ydata()) == [300, 350, 450]
    assert words(figure, "subtitle") == "no attack: clean test images"


def test_a_column_without_a_place_on_the_axis_is_refused():
    exhibit = dataclasses.replace(CURVES, columns=(Line("all", {"epsilon": 0.1}), Line("rest")))
    rows = [one for one in curve_rows() if one.epsilon == 0.1]
    with pytest.raises(ValueError, match="'rest' to ask for one value of 'epsilon'"):
        drawn(exhibit, rows)


# -- bars -----------------------------------------------------------------------------------------

BARS = Exhibit(
    id="009.T1",
    title="bars",
    where={"metric": "accuracy"},
    panels=(Line("A", {"target": "A"}), Line("B", {"target": "B"})),
    lines=(
        Line("no attack", {"attack": "none"}),
        Line("targeted FGSM, ε = 0.1", {"attack": "fgsm"}),
    ),
    columns=(
        Line("plain", {"defense": "none"}, Look(GREEN)),
        Line("hatched", {"defense": "sfl_vae"}, Look(BLUE, hatch="///")),
        Derived("a text", lambda sheet, line: "no bar"),
    ),
    draw=Bars(),
)


def bar_rows(**changes):
    found = []
    for target, values in {"A": (0.9, 0.5, 0.8, 0.6), "B": (0.7, 0.4, 0.3, 0.2)}.items():
        shared = {"settings": {"target": target}}
        found += [
            clean(values[0], defense="none", **shared),
            accuracy(values[1], defense="none", **{**shared, **changes}),
            clean(values[2], **shared),
            accuracy(values[3], **shared),
        ]
    return found


def test_bars_have_the_values_of_the_rows_a_panel_for_each_panel():
    figure = drawn(BARS, bar_rows())
    left, right = figure.axes
    heights = {name: round(one.get_height(), 6) for name, one in bars(left).items()}
    assert heights == {
        "plain:no attack": 90,
        "plain:targeted FGSM, ε = 0.1": 50,
        "hatched:no attack": 80,
        "hatched:targeted FGSM, ε = 0.1": 60,
    }
    assert round(bars(right)["hatched:no attack"].get_height(), 6) == 30
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["A", "B"]
    assert legend_words(figure) == ["plain", "hatched"]
    assert [one.get_text() for one in left.get_xticklabels()] == [
        "no attack",
        "targeted\nFGSM\nε = 0.1",
    ]
    assert_apart(figure)


def test_bars_of_a_group_stand_side_by_side():
    at = {name: one.get_bbox() for name, one in bars(drawn(BARS, bar_rows()).axes[0]).items()}
    assert at["plain:no attack"].x1 <= at["hatched:no attack"].x0
    assert at["hatched:no attack"].x1 < at["plain:targeted FGSM, ε = 0.1"].x0


def test_hatched_and_flagged_bars_are_hollow():
    (axes, _) = drawn(BARS, bar_rows(flags=("unreliable",))).axes
    faces = {name: to_hex(one.get_facecolor()) for name, one in bars(axes).items()}
    assert faces["plain:no attack"] == GREEN.lower()
    assert faces["plain:targeted FGSM, ε = 0.1"] == "#ffffff"
    assert faces["hatched:no attack"] == "#ffffff"
    assert bars(axes)["hatched:no attack"].get_hatch() == "///"
    assert to_hex(bars(axes)["hatched:no attack"].get_edgecolor()) == BLUE.lower()


def test_printed_values_are_diamonds_on_their_bars():
    exhibit = dataclasses.replace(
        BARS,
        printed=lambda dataset: {("A, no attack", "hatched"): "81.33", ("A, gone", "plain"): 1.0},
    )
    figure = drawn(exhibit, bar_rows())
    (diamonds,) = printed(figure.axes[0])
    bar = bars(figure.axes[0])["hatched:no attack"]
    assert list(diamonds.get_ydata()) == [81.33]
    assert diamonds.get_xdata()[0] == pytest.approx(bar.get_x() + bar.get_width() / 2)
    assert diamonds.get_marker() == "D"
    assert not printed(figure.axes[1])
    assert legend_words(figure) == ["plain", "hatched", "printed"]


def test_one_bar_to_a_group_carries_its_number_and_a_tick_where_the_paper_is():
    rows = [
        number(value, metric="l1", defense=name, **CLEAN)
        for name, value in (("a", 222.61), ("b", 154.0))
    ]
    exhibit = dataclasses.replace(
        BARS,
        where={"metric": "l1"},
        panels=(Line(""),),
        lines=(Line("a", {"defense": "a"}), Line("b", {"defense": "b"})),
        columns=(Line("measured", look=Look(BLUE)),),
        printed=lambda dataset: {("a", "measured"): 126.0, ("b", "measured"): 518.8},
        draw=Bars(percent=False, numbers=True, ylabel="L1"),
    )
    figure = drawn(exhibit, rows)
    (axes,) = figure.axes
    assert {name: one.get_height() for name, one in bars(axes).items()} == {
        "measured:a": 222.61,
        "measured:b": 154.0,
    }
    assert [one.get_text() for one in axes.texts] == ["222.6", "154.0"]
    (ticks,) = printed(axes)
    assert (list(ticks.get_xdata()), list(ticks.get_ydata())) == ([0, 1], [126.0, 518.8])
    assert ticks.get_marker() == "_"
    assert axes.get_ylim()[1] > 518.8
    assert_apart(figure)


# -- dots -----------------------------------------------------------------------------------------


def test_dots_have_values_intervals_printed_stars_and_a_level():
    rows = [
        clean(0.9, defense="none"),
        clean(0.6, settings={"target": "A", "retrained": True}),
        clean(0.2),
    ]
    exhibit = Exhibit(
        id="009.T2",
        title="dots",
        lines=(Line("no defense", {"defense": "none"}), Line("VAE", {"defense": "sfl_vae"})),
        columns=(
            Line("retrained", [{"defense": "none"}, {"retrained": True}], Look(BLUE)),
            Line("as it was", {"defense": "sfl_vae", "retrained": ABSENT}, Look(GREEN, "s")),
        ),
        printed=lambda dataset: {("VAE", "retrained"): "93.08"},
        draw=Dots(xlabel="clean (%)", level=("no defense", "retrained")),
    )
    figure = drawn(exhibit, rows)
    (axes,) = figure.axes
    dots = lines(axes, "dot")
    assert {name: round(float(one.get_xdata()[0]), 6) for name, one in dots.items()} == {
        "no defense:retrained": 90,
        "VAE:retrained": 60,
        "VAE:as it was": 20,
    }
    assert dots["no defense:retrained"].get_color() == "black"
    assert dots["VAE:retrained"].get_ydata()[0] < dots["VAE:as it was"].get_ydata()[0]
    (star,) = printed(axes)
    assert list(star.get_xdata()) == [93.08]
    assert star.get_ydata()[0] == dots["VAE:retrained"].get_ydata()[0]
    (level,) = [one for one in axes.get_lines() if one.get_gid() == "level"]
    np.testing.assert_allclose(level.get_xdata(), [90, 90])
    low, high = (100 * value for value in wilson_interval(600, 1000))
    arms = [one.get_segments()[0] for one in axes.collections]
    assert any(np.allclose(arm[:, 0], [low, high]) for arm in arms)
    assert legend_words(figure) == ["retrained", "as it was", "printed", "no defense"]
    assert_apart(figure)


# -- paths ----------------------------------------------------------------------------------------

PATHS = Exhibit(
    id="009.F9",
    title="accuracy against time",
    lines=(
        Line("one pass", {"defense": "magnet"}, Look(GREEN, "s", (0, (1, 1)))),
        Axis("steps", "search, {steps} steps", where={"defense": "gan"}, looks=[Look(BLUE)] * 9),
        Line("no time", {"defense": "none"}),
    ),
    columns=(
        Line("seconds", {"metric": "seconds"}),
        Line("FGSM", {"metric": "accuracy"}, Look(PALETTE["vermillion"])),
    ),
    draw=Scatter(x="seconds", xlabel="seconds", limit=("limit", 1.0), point="{steps} steps"),
)


def path_rows():
    timed = {("magnet", None): (0.01, 0.9), ("gan", 1): (0.5, 0.3), ("gan", 4): (2.0, 0.6)}
    rows = [accuracy(0.1, defense="none")]
    for (defense, steps), (time, value) in timed.items():
        settings = {"target": "A"} | ({"steps": steps} if steps else {})
        shared = {"defense": defense, "settings": settings}
        rows.append(number(time, metric="seconds", **CLEAN, **shared))
        flags = ("unreliable",) if steps == 4 else ()
        rows.append(accuracy(value, flags=flags, **shared))
    return rows


def test_lines_of_one_look_are_a_path_and_a_single_point_keeps_its_level():
    figure = drawn(PATHS, path_rows())
    (axes,) = figure.axes
    paths = lines(axes, "path")
    assert list(paths) == ["one pass:FGSM", "search:FGSM"]
    assert list(paths["search:FGSM"].get_xdata()) == [0.5, 2.0]
    np.testing.assert_allclose(paths["search:FGSM"].get_ydata(), [30, 60])
    assert list(paths["one pass:FGSM"].get_xdata()) == [0.01, axes.get_xlim()[1]]
    np.testing.assert_allclose(paths["one pass:FGSM"].get_ydata(), [90, 90])
    assert {one.get_color() for one in paths.values()} == {PALETTE["vermillion"]}
    assert axes.get_xscale() == "log"
    assert [one.get_text() for one in axes.texts] == ["1 steps", "4 steps"]
    (limit,) = [one for one in axes.get_lines() if one.get_gid() == "limit"]
    assert list(limit.get_xdata()) == [1.0, 1.0]
    assert legend_words(figure) == ["FGSM", "one pass", "search", "limit", "hollow: unreliable"]
    dots = [one for one in axes.get_lines() if one.get_gid() == "dot:search:FGSM"]
    assert [one.get_markerfacecolor() for one in dots] == [PALETTE["vermillion"], "white"]
    assert_apart(figure)


def test_paths_need_the_column_of_their_axis():
    rows = [one for one in path_rows() if one.metric == "accuracy"]
    with pytest.raises(ValueError, match="a measured column 'seconds', received"):
        drawn(PATHS, rows)


# -- words ----------------------------------------------------------------------------------------


def test_title_attacker_and_footer_are_one_line_each():
    figure = drawn(CURVES, curve_rows(), seed=3)
    assert words(figure, "title") == "009.F1  CIFAR-10: accuracy"
    assert words(figure, "subtitle").startswith("threat model: oblivious: the attacker ignores")
    assert words(figure, "caption") == (
        "profile quick · 1,000 images · seed 3 · threat model oblivious"
    )


def test_a_caveat_stands_behind_the_footer_and_counts_are_a_range():
    rows = [*curve_rows(), accuracy(0.5, images=100, epsilon=0.2, threat_model="adaptive")]
    exhibit = dataclasses.replace(CURVES, caveat="A sentence that a reader needs.")
    assert words(drawn(exhibit, rows), "caption") == (
        "profile quick · 100 to 1,000 images · seed 0 · threat model oblivious, adaptive. "
        "A sentence that a reader needs."
    )
    rows = [number(5.0, **CLEAN)]
    distances = dataclasses.replace(CURVES, where={"metric": "l2"}, draw=Curves(percent=False))
    figure = drawn(distances, rows)
    assert words(figure, "caption") == "profile quick · seed 0 · no attack"


def test_equal_rows_give_equal_bytes_in_any_order():
    first, second = drawn(CURVES, curve_rows()), drawn(CURVES, curve_rows()[::-1])
    assert figure_bytes(first, "png") == figure_bytes(second, "png")


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match=r"'Scatter'.*, received 009\.F1 with None"):
        drawn(dataclasses.replace(CURVES, draw=None), curve_rows())
    with pytest.raises(ValueError, match=r"rows of cifar10 for 009\.F1, received none"):
        drawn(CURVES, [])


# -- files ----------------------------------------------------------------------------------------


def test_an_exhibit_is_drawn_from_the_rows_of_its_seed(tmp_path):
    store = RowStore(tmp_path, "quick")
    store.add(curve_rows())
    store.add([row(seed=1)])
    folder = tmp_path / "figures" / "quick"
    assert draw_exhibit(CURVES, "cifar10", store, profile="quick") == [
        folder / "009.F1_cifar10.png"
    ]
    paths = draw_exhibit(CURVES, "cifar10", store, profile="quick", seed=1, pdf=True)
    assert paths == [folder / f"009.F1_cifar10_seed1.{ending}" for ending in ("png", "pdf")]
    assert len(list(folder.iterdir())) == 3
    assert paths[0].read_bytes() != (folder / "009.F1_cifar10.png").read_bytes()


def test_nothing_is_drawn_where_nothing_is_measured_or_declared(tmp_path):
    store = RowStore(tmp_path, "quick")
    store.add(curve_rows())
    pictures = dataclasses.replace(CURVES, draw=Pictures())
    table = dataclasses.replace(CURVES, draw=None)
    assert draw_exhibit(CURVES, "mnist", store, profile="quick") == []
    assert draw_exhibit(table, "cifar10", store, profile="quick") == []
    assert draw_exhibit(pictures, "cifar10", store, profile="quick") == []
    assert not (tmp_path / "figures").exists()


def test_pictures_are_drawn_from_their_file(tmp_path):
    store = RowStore(tmp_path, "quick")
    exhibit = Exhibit(id="009.F4", title="pictures", draw=Pictures())
    images = PictureRow(label="clean", images=np.full((2, 4, 4, 1), 0.5))
    save_pictures(pictures_path(store.folder, "009.F4", "mnist"), [images], threat_model="none")
    (path,) = draw_exhibit(exhibit, "mnist", store, profile="quick")
    assert path == tmp_path / "figures" / "quick" / "009.F4_mnist.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert draw_exhibit(exhibit, "mnist", store, profile="quick", seed=1) == []


# -- what is committed ----------------------------------------------------------------------------

QUICK = RowStore(Path(__file__).parent.parent / "results", "quick")


@cache
def committed_rows(dataset):
    return QUICK.read(dataset, 0)


def test_the_committed_figures_are_those_of_the_committed_rows_and_pictures():
    expected = set()
    for one in catalog.EXHIBITS:
        for dataset in one.datasets if one.draw else ():
            if isinstance(one.draw, Pictures):
                measured = pictures_path(QUICK.folder, one.id, dataset).is_file()
            else:
                measured = bool(fill(one, dataset, committed_rows(dataset)).panels)
            expected |= {f"{one.id}_{dataset}.png"} if measured else set()
    assert {path.name for path in (QUICK.root / "figures" / "quick").iterdir()} == expected


@pytest.mark.parametrize(
    ("id", "dataset"),
    [
        ("003.F4.3", "fashion_mnist"),
        ("003.F5.8", "cifar10"),
        ("003.T4.1", "cifar10"),
        ("003.T5.1", "cifar10"),
        ("004.T3", "mnist"),
        ("004.F8", "mnist"),
        ("004.F9", "mnist"),
    ],
)
def test_nothing_overlaps_in_the_figures_of_the_papers(id, dataset):
    assert_apart(drawn(catalog.exhibit(id), committed_rows(dataset), dataset))


@pytest.mark.parametrize("path", sorted(QUICK.folder.glob("*.npz")), ids=lambda path: path.stem)
def test_nothing_overlaps_in_the_committed_pictures(path):
    grid = load_pictures(path)
    assert grid.threat_model == "oblivious"
    assert_apart(picture_grid(grid, "title", "threat model", "footer"))
