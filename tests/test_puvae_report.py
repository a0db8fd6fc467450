"""The PuVAE paper as a whole: its report, and figures that depend on nothing but their rows."""

from __future__ import annotations

import pytest

from results import puvae_images, puvae_tables
from results.puvae_plots import defense_table_figure, knowledge_figure
from results.puvae_time_plots import time_figure
from results.report import report_tables, write_report
from results.rows import RowStore
from results.sections import sections
from results.style import figure_bytes
from tests.drawn import projections
from tests.puvae_rows import (
    ADAPTIVE,
    OBLIVIOUS,
    SEARCHES,
    TRIPLES,
    coefficient_rows,
    defense_rows,
    knowledge_rows,
    seconds_row,
    seconds_rows,
    table_3,
    time_rows,
)
from tests.synthetic_rows import chapter_rows, row

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
