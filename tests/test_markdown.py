"""Cells, tables of sheets, and the places of tables in documents."""

from __future__ import annotations

import dataclasses

import pytest

from results import markdown
from results.exhibit import Axis, Derived, Exhibit, Line
from results.markdown import sheet_table, update_between_markers
from results.sheet import Point, fill
from tests.made_rows import accuracy, cells, number

EPSILONS = Axis("epsilon", "ε = {:.3g}")
WIDE = Point(0.812345, 0.788, 0.836)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (markdown.percent, ("81.2 ± 2.4", "81.2 ± 2.4*", "50.0", "–")),
        (markdown.bare_percent, ("81.2", "81.2", "50.0", "–")),
        (markdown.number, ("0.8123 ± 0.024", "0.8123 ± 0.024*", "0.5", "–")),
        (markdown.seconds, ("0.812", "0.812*", "0.5", "–")),
    ],
)
def test_cells(cell, expected):
    flagged = dataclasses.replace(WIDE, flags=("unreliable",))
    assert tuple(cell(p) for p in (WIDE, flagged, Point(0.5, 0.5, 0.5), None)) == expected


def test_a_table_aligns_its_columns_and_escapes_bars():
    table = markdown.markdown_table(["a", "c"], [["1", "x|y"]], align="left")
    assert table == "| a | c |\n| :-- | :-- |\n| 1 | x\\|y |\n"
    assert "| :-- | --: |" in markdown.markdown_table(["a", "b"], [])
    with pytest.raises(ValueError, match="Expected 2 cells"):
        markdown.markdown_table(["a", "b"], [["1"]])


def test_a_sheet_as_a_table():
    exhibit = Exhibit(
        id="009.T1",
        title="made up",
        corner="accuracy (%)",
        panels=(Line("target A", {"target": "A"}), Line("target B", {"target": "B"})),
        joint=": ",
        lines=(
            Line("vote", {"decider": "vote"}),
            Line("update", {"decider": "vote_bayes"}, cell=markdown.bare_percent),
            Derived("ahead", lambda sheet, column: column.label.upper()),
        ),
        columns=(
            EPSILONS,
            Derived("targets", lambda sheet, line: str(len(line.rows))),
        ),
        printed=lambda dataset: {
            ("target A: vote", "ε = 0.1"): "90.00",
            ("target B: update", "ε = 0.1"): 85.5,
        },
        bracketed=True,
        notes=(lambda sheet: f"Of {sheet.dataset}.", lambda sheet: ""),
    )
    rows = [
        accuracy(0.8, images=10, settings={"target": "A"}),
        accuracy(0.5, images=10, epsilon=0.3, settings={"target": "A"}, flags=("unreliable",)),
        accuracy(0.7, decider="vote_bayes", settings={"target": "B"}),
    ]
    table = sheet_table(fill(exhibit, "cifar10", rows))
    assert cells(table) == [
        ["accuracy (%)", "ε = 0.1", "ε = 0.3", "targets"],
        ["target A: vote", "80.0 ± 22.7 (90.00)", "50.0 ± 26.3*", "2"],
        ["target A: ahead", "Ε = 0.1", "Ε = 0.3", "TARGETS"],
        ["target B: update", "70.0 (85.5)", "–", "1"],
        ["target B: ahead", "Ε = 0.1", "Ε = 0.3", "TARGETS"],
    ]
    assert table.split("\n\n")[1:] == [
        "In brackets: as printed.",
        "Of cifar10.",
        "\\* flagged: unreliable.\n",
    ]


def test_printed_values_stay_out_of_a_table_that_does_not_bracket_them():
    exhibit = Exhibit(
        id="009.T1",
        title="made up",
        lines=(Line("L2", {"metric": "l2"}),),
        columns=(Line("measured"),),
        cell=markdown.number,
        printed=lambda dataset: {("L2", "measured"): 3.0},
    )
    table = sheet_table(fill(exhibit, "cifar10", [number(2.5)]))
    assert table == "|  | measured |\n| :-- | --: |\n| L2 | 2.5 |\n"


def test_markers_are_filled_and_nothing_else_changes():
    empty = "<!-- table:b --><!-- /table:b -->"
    text = f"before\n<!-- table:a -->\nold\n<!-- /table:a -->\nafter {empty}"
    new = update_between_markers(text, "a", "| x |\n")
    assert new == f"before\n<!-- table:a -->\n| x |\n<!-- /table:a -->\nafter {empty}"
    assert update_between_markers(new, "a", "| x |\n") == new
    both = update_between_markers(new, "b", "| y |")
    assert both == new.replace(empty, "<!-- table:b -->\n| y |\n<!-- /table:b -->")
    with pytest.raises(ValueError, match=r"\['a', 'b'\]"):
        update_between_markers(text, "c", "| x |")
    with pytest.raises(ValueError, match="in this order"):
        update_between_markers("<!-- /table:a --><!-- table:a -->", "a", "")
