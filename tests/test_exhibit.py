"""Declarations of papers: what is misspelt, or of another kind, is found where it is declared."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from results import printed
from results.claims import Claim, judge_claims
from results.exhibit import (
    ABSENT,
    PRESENT,
    Axis,
    Curves,
    Exhibit,
    Grid,
    Line,
    Mark,
    Probe,
    check_where,
)
from results.figures import draw, draw_exhibit, figure_path
from results.judges import ABOVE, Everywhere
from results.markdown import markdown_table
from results.pictures import PictureGrid, PictureRow, amplify
from results.row import VOCABULARY
from results.sheet import Point, fill, wilson_interval
from results.store import RowStore
from tests.made_rows import row

GRID = Grid(threat="oblivious", attacks=("pgd",), targets=("A",))
EXHIBIT = Exhibit(
    id="009.T1", title="t", datasets=("mnist",), lines=(Line("all"),), columns=(Line("accuracy"),)
)
CLAIM = Claim(
    id="c",
    heading="h",
    text="t",
    says="s",
    where={"metric": "accuracy"},
    judge=Everywhere(pairs=[(Line("all"), 50.0)], holds=ABOVE),
    datasets=("mnist",),
    needs="any size",
    reason="r",
)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"threat_model": "oblivius"}, "threat_model in the conditions of it to be one of none, "),
        ({"metric": ("accuracy", "acuracy")}, "metric in the .*received 'acuracy'"),
        ({"dataset": "cifar-10"}, "dataset in the conditions of it to be one of mnist"),
        ([{"norm": "linf"}, {"norm": "l3"}], "norm in the .*received 'l3'"),
        ({"decider": 3}, "decider in the conditions .*received 3"),
        ({"attack": ["fgsm", "pgd"]}, r"attack in .* a tuple of them, received \['fgsm', 'pgd'\]"),
        ({"target": None}, "target in .*ABSENT for what rows do not carry"),
        ({"epsilon": {0.1, 0.2}}, "epsilon in .* a tuple of them"),
        ({3: "A"}, "by the names of fields and settings, received {3: 'A'}"),
        ("attack=pgd", "as a mapping or several, received 'attack=pgd'"),
        (None, "as a mapping or several, received None"),
        (["attack"], "by the names of fields and settings, received 'attack'"),
    ],
)
def test_conditions_that_nothing_meets_are_refused(where, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        check_where("it", where)
    for declared in (Line, Axis):
        with pytest.raises(ValueError, match=r"Expected .*received"):
            declared("attack", where=where, **({"label": "a"} if declared is Axis else {}))
    with pytest.raises(ValueError, match=r"009\.T1"):
        dataclasses.replace(EXHIBIT, where=where)
    with pytest.raises(ValueError, match="the claim 'c'"):
        dataclasses.replace(CLAIM, where=where)


def test_conditions_take_every_known_word():
    for name, known in VOCABULARY.items():
        check_where("it", {name: known})
        check_where("it", [{name: word} for word in known])
    check_where("it", {"target": ("A", "B"), "voters": PRESENT, "metric": ABSENT, "epsilon": 0.1})


@pytest.mark.parametrize(
    ("declared", "changes", "message"),
    [
        (EXHIBIT, {"id": "../T1"}, "id of an exhibit as letters.*names files.*received '../T1'"),
        (EXHIBIT, {"id": None}, "id of an exhibit"),
        (EXHIBIT, {"title": 3}, r"title of 009\.T1 as a text"),
        (EXHIBIT, {"datasets": "mnist"}, r"datasets of 009\.T1 as a tuple"),
        (EXHIBIT, {"datasets": ("minst",)}, r"a data set of 009\.T1 to be one of mnist"),
        (EXHIBIT, {"measures": GRID}, r"measures of 009\.T1 as a tuple"),
        (EXHIBIT, {"measures": ("grid",)}, r"each of measures of 009\.T1 as Grid or Probe"),
        (EXHIBIT, {"lines": ({"defense": "none"},)}, r"each of lines of 009\.T1 as Line or Axis"),
        (EXHIBIT, {"columns": Line("a")}, r"columns of 009\.T1 as a tuple"),
        (EXHIBIT, {"draw": "curves"}, r"009\.T1 drawn as Curves, Bars"),
        (Line("a"), {"label": None}, "label of a line as a text"),
        (Axis("epsilon", "ε"), {"fields": ()}, "at least one field of an axis"),
        (Axis("epsilon", "ε"), {"fields": (1,)}, "each of the fields of an axis as str"),
        (GRID, {"targets": "A"}, r"targets of a grid as a tuple, received 'A'. .* \(one,\)"),
        (GRID, {"attacks": ()}, "attacks of a grid, received none, so it would measure nothing"),
        (GRID, {"defenses": (None,)}, "each of defenses of a grid as str, received None"),
        (GRID, {"compared": "yes"}, "compared of a grid to be True or False"),
        (Probe("voting"), {"settings": "pgd"}, "settings of the probe 'voting' by name"),
        (Probe("voting"), {"name": 1}, "name of a probe as a text"),
        (Curves(), {"percent": 1}, "percent of curves to be True or False"),
        (Curves(), {"spread": math.nan}, "spread of curves to be a finite number above 1"),
        (CLAIM, {"datasets": ("minst",)}, "a data set of the claim 'c' to be one of mnist"),
        (CLAIM, {"says": {"cifar10": "90"}}, "a data set of the claim 'c' to be one of cifar10"),
        (CLAIM, {"needs": "any width"}, "the claim 'c' to need 'any size' or 'full width'"),
    ],
)
def test_declarations_of_another_kind_are_refused(declared, changes, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        dataclasses.replace(declared, **changes)


def test_what_a_profile_bears_is_known():
    with pytest.raises(ValueError, match="bears to be one of nothing, any size, full width"):
        judge_claims([CLAIM], [], "everything")


@pytest.mark.parametrize(
    ("correct", "total", "confidence", "message"),
    [
        (5, 0, 0.95, "total to be an integer of at least 1"),
        (5, 9.5, 0.95, "total to be an integer"),
        (-1, 10, 0.95, "correct, a count and no percentage, .* at least 0"),
        (11, 10, 0.95, "correct, a count and no percentage, .* at most 10"),
        (math.nan, 10, 0.95, "correct, a count and no percentage, to be a finite number"),
        ("5", 10, 0.95, "correct, a count and no percentage, to be a finite number"),
        (5, 10, 95, "confidence to be a finite number above 0 and below 1.* such as 0.95"),
        (5, 10, 1.0, "confidence"),
        (5, 10, math.nan, "confidence"),
    ],
)
def test_an_interval_is_of_counts(correct, total, confidence, message):
    with pytest.raises(ValueError, match=message):
        wilson_interval(correct, total, confidence)


def test_points_and_marks_are_finite():
    for value, low, high in ((math.nan, 0, 1), (0.5, math.nan, 1), (0.5, 0, math.inf), (2, 0, 1)):
        with pytest.raises(ValueError, match=r"Expected the .* of a point to be a finite number"):
            Point(value, low, high)
    curves = Curves(marks=lambda dataset: (Mark("printed", math.nan, 90.0),))
    shown = Exhibit(
        id="009.F1", title="t", lines=(Line("a"),), columns=(Axis("epsilon", "ε"),), draw=curves
    )
    with pytest.raises(ValueError, match="each place of the mark 'printed' to be a finite number"):
        draw(fill(shown, "cifar10", [row(), row(epsilon=0.2)]), profile="quick")


def test_figures_are_of_their_profile_and_seed(tmp_path):
    store = RowStore(tmp_path, "quick")
    store.add([row()])
    shown = dataclasses.replace(EXHIBIT, draw=Curves())
    with pytest.raises(ValueError, match="profile of a figure to be one of quick, received 'demo'"):
        draw_exhibit(shown, "cifar10", store, profile="demo")
    with pytest.raises(ValueError, match="seed to be an integer of at least 0"):
        figure_path(tmp_path, "quick", "009.F1", "mnist", -1)


def test_pictures_name_a_threat_model_and_perturbations_are_finite():
    rows = (PictureRow(label="", images=np.zeros((1, 4, 4, 1))),)
    with pytest.raises(ValueError, match="threat model of pictures to be one of none, oblivious"):
        PictureGrid(rows, "white-box")
    for wrong in (np.full((1, 4, 4, 1), np.nan), np.zeros((0, 4, 4, 1))):
        with pytest.raises(ValueError, match="Expected a finite perturbation"):
            amplify(wrong)


def test_tables_are_aligned_to_a_side_and_printed_digits_are_counted():
    with pytest.raises(ValueError, match="align to be one of left, right, received 'center'"):
        markdown_table(["a"], [["1"]], "center")
    with pytest.raises(ValueError, match="digits to be an integer of at least 0"):
        printed.printed_values("004.T3", {}, {}, digits=-1)


@pytest.mark.parametrize("content", ["", "[]", '{"rows": []}', '{"tables": [NaN]}'])
def test_a_damaged_file_of_printed_values_is_named(tmp_path, monkeypatch, content):
    (tmp_path / "paper_values.json").write_text(content)
    monkeypatch.setattr(printed, "__file__", str(tmp_path / "printed.py"))
    with pytest.raises(ValueError, match=r"paper_values\.json: expected JSON .*Restore it"):
        printed._tables.__wrapped__()
    (tmp_path / "paper_values.json").write_text(json.dumps({"tables": [{"id": "004.T3"}]}))
    assert printed._tables.__wrapped__() == [{"id": "004.T3"}]
