"""A paper that nobody wrote: declaring it takes one place and no change of the engine."""

from __future__ import annotations

import inspect

from results.claims import ANY_SIZE, Claim, claims_table, judge_claims
from results.exhibit import Axis, Curves, Derived, Exhibit, Grid, Line
from results.figures import draw
from results.judges import ABOVE, Everywhere
from results.markdown import sheet_table
from results.sheet import fill
from tests.drawn import assert_apart, legend_words, lines, words
from tests.made_rows import accuracy, cells, clean


def invented_paper() -> tuple[Exhibit, Exhibit, Claim]:
    """A table, a figure and a claim of a purifier, "Sieve", against an attack, "gust"."""
    targets, defenses, attacks = ("oak", "elm"), ("none", "sieve"), ("none", "gust")
    bare, sieve = Line("no defense", {"defense": "none"}), Line("Sieve", {"defense": "sieve"})
    untouched, gust = Line("clean", {"attack": "none"}), Line("gust, ε = 0.1", {"epsilon": 0.1})
    grid = Grid(
        threat="adaptive", attacks=attacks, epsilons=(0.1, 0.2), targets=targets, defenses=defenses
    )
    rows = {"metric": "accuracy", "attack": attacks, "target": targets}
    common = {"datasets": ("mnist",), "measures": (grid,), "where": rows, "lines": (bare, sieve)}

    def lost(sheet, line):
        return f"{100 * (line.points[untouched].value - line.points[gust].value):.1f}"

    table = Exhibit(
        id="009.T1",
        title="accuracy with and without Sieve",
        columns=(untouched, gust, Derived("lost", lost)),
        printed=lambda dataset: {("Sieve", gust.label): "88.00"} if dataset == "mnist" else {},
        bracketed=True,
        **common,
    )
    epsilons = Axis("epsilon", "ε = {:g}")
    figure = Exhibit(id="009.F1", title="curves", columns=(epsilons,), draw=Curves(), **common)
    claim = Claim(
        id="sieve_helps",
        heading="Sieve",
        text="Sieve helps under gust.",
        says="above no defense (Table 1)",
        where={**rows, "attack": "gust"},
        judge=Everywhere(pairs=[(sieve, bare)], holds=ABOVE, expected=("gust",)),
        datasets=("mnist",),
        needs=ANY_SIZE,
        reason="one classifier with and without the purifier.",
    )
    return table, figure, claim


def _rows():
    rows = []
    for target, shift in (("oak", 0.0), ("elm", 0.1)):
        common = {"dataset": "mnist", "decider": "target", "images": 100}
        for defense, settings, values in (
            ("none", {}, (0.8, 0.1, 0.0)),
            ("sieve", {"passes": 3}, (0.7, 0.6, 0.4)),
        ):
            named = {**common, "defense": defense, "settings": {"target": target, **settings}}
            rows.append(clean(values[0] + shift, **named))
            rows += [
                accuracy(value + shift, **named, attack="gust", epsilon=e, threat_model="adaptive")
                for e, value in zip((0.1, 0.2), values[1:], strict=True)
            ]
    # Another paper's rows of the same data set.
    return [*rows, accuracy(0.3, dataset="mnist"), clean(0.3, dataset="mnist")]


def test_its_declarations_are_short():
    assert len(inspect.getsource(invented_paper).splitlines()) < 40


def test_its_table():
    table, _, _ = invented_paper()
    text = sheet_table(fill(table, "mnist", _rows()))
    assert cells(text) == [
        ["", "clean", "gust, ε = 0.1", "lost"],
        ["no defense", "85.0 ± 7.0", "15.0 ± 7.0", "70.0"],
        ["Sieve", "75.0 ± 8.4", "65.0 ± 9.2 (88.00)", "10.0"],
    ]
    assert "In brackets: as printed." in text


def test_its_figure():
    _, figure, _ = invented_paper()
    drawn = draw(fill(figure, "mnist", _rows()), profile="quick")
    curves = {
        name: [list(curve.get_xdata()), [round(y, 4) for y in curve.get_ydata()]]
        for name, curve in lines(drawn.axes[0], "curve").items()
    }
    assert curves == {
        "no defense": [[0, 0.1, 0.2], [85, 15, 5]],
        "Sieve": [[0, 0.1, 0.2], [75, 65, 45]],
    }
    assert legend_words(drawn) == ["no defense", "Sieve"]
    assert words(drawn, "title") == "009.F1  MNIST: curves"
    assert_apart(drawn)
    assert fill(figure, "digits", _rows()).panels == ()


def test_its_claim():
    _, _, claim = invented_paper()
    judged = judge_claims([claim], _rows(), "any size")
    assert [cells(table)[1:] for table in claims_table(judged).split("\n\n")[1:]] == [
        [
            [
                "Sieve helps under gust.",
                "MNIST",
                "above no defense (Table 1)",
                "above at 2 of 2; gust at ε = 0.1: 65.0 against 15.0, gust at ε = 0.2: 45.0 "
                "against 5.0 %",
                "**reproduced**",
            ]
        ]
    ]
