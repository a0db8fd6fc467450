"""Markdown tables, the README's markers, and the report."""

from __future__ import annotations

import numpy as np
import pytest

from results import tables
from results.image_grids import save_examples
from results.report import report_tables, write_report
from results.rows import RowStore
from results.sections import sections
from tests.drawn import cells
from tests.synthetic_rows import (
    accuracy_row,
    chapter_rows,
    distance_rows,
    row,
    sweep_rows,
    voting_rows,
)


def test_accuracy_table_gives_value_and_half_width():
    # 8 of 10: the interval is (0.4902, 0.9433), half of it 0.2266.
    rows = [
        accuracy_row(0.8, images=10, epsilon=0.1),
        accuracy_row(0.5, images=10, epsilon=0.3, flags="target=A;unreliable"),
    ]
    table = tables.accuracy_table(rows)
    assert cells(table) == [
        ["accuracy (%)", "ε = 0.1", "ε = 0.3"],
        ["vote", "80.0 ± 22.7", "50.0 ± 26.3*"],
    ]
    assert "flagged: unreliable" in table


def test_accuracy_table_has_the_lines_of_the_figure_and_dashes_for_gaps():
    rows = [r for r in chapter_rows() if not (r.classifier == "vote" and r.epsilon == 0.05)]
    body = cells(tables.accuracy_table(rows))
    assert [line[0] for line in body[1:]] == [
        "no defense", "SFL-VAE + target", "mean single voter", "vote (of 3)", "vote (of 3) + Bayes",
    ]  # fmt: skip
    assert body[4][2] == "–"
    assert body[1][1].startswith("85.0 ± 2.2")


def test_clean_table_lists_each_target_and_one_column_per_data_set():
    rows = chapter_rows() + chapter_rows(attack="pgd", experiment="003.F3.8")
    rows += chapter_rows({"none": [0.91] * 6}, dataset="fashion_mnist")
    body = cells(tables.clean_table(rows))
    assert body[0] == ["clean accuracy (%)", "CIFAR-10", "Fashion-MNIST"]
    lines = {line[0]: line[1:] for line in body[1:]}
    assert lines["no defense A"] == ["84.0", "90.0"]
    assert lines["no defense, mean"][0].startswith("85.0 ± ")
    assert lines["vote (of 3) + Bayes"][1] == "–"


def test_a_line_of_the_clean_table_is_named_alike_in_every_column():
    rows = chapter_rows() + chapter_rows({"vote": [0.7] * 6}, defense="defense_vae")
    rows += chapter_rows({"vote": [0.91] * 6}, dataset="fashion_mnist")
    lines = {line[0]: line[1:] for line in cells(tables.clean_table(rows))[1:]}
    assert [cell[:4] for cell in lines["SFL-VAE, vote (of 3)"]] == ["84.0", "91.0"]
    assert [cell[:4] for cell in lines["Defense-VAE, vote (of 3)"]] == ["70.0", "–"]
    assert "vote (of 3)" not in lines


def test_voting_table_has_a_column_per_pool_size():
    body = cells(tables.voting_table(voting_rows(sizes=(2, 4))))
    assert body[0] == ["voting (%)", "V = 2", "V = 4"]
    assert body[1] == ["recovery rate of mispredictions, ε = 0.05", "60.0", "67.5"]
    assert len(body) == 1 + 3 * 2


def test_distance_table_gives_the_standard_error():
    rows = distance_rows({"sfl_vae": (3.125,), "non_sfl_vae": (4.0,)}, epsilons=(0.1,), error=0.25)
    assert cells(tables.distance_table(rows))[1:] == [
        ["L2, SFL-VAE", "3.125 ± 0.25"],
        ["L2, non-SFL-VAE", "4 ± 0.25"],
    ]


def test_sweep_table_has_a_line_per_weight():
    body = cells(tables.sweep_table(sweep_rows()))
    assert body[0][0] == "kl_weight"
    assert [line[:2] for line in body[1:]] == [
        ["0.01", "80"], ["0.03", "121"], ["0.1", "175"], ["1", "305"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [tables.accuracy_table, tables.clean_table, tables.voting_table, tables.distance_table,
     tables.sweep_table],
)  # fmt: skip
def test_no_rows_is_a_clear_error(make):
    with pytest.raises(ValueError, match="received none"):
        make([row(metric="something_else", correct=None, total=None)])


def test_markers_are_filled_and_nothing_else_changes():
    empty = "<!-- table:b --><!-- /table:b -->"
    text = f"before\n<!-- table:a -->\nold\n<!-- /table:a -->\nafter {empty}"
    new = tables.update_between_markers(text, "a", "| x |\n")
    assert new == f"before\n<!-- table:a -->\n| x |\n<!-- /table:a -->\nafter {empty}"
    assert tables.update_between_markers(new, "a", "| x |\n") == new
    both = tables.update_between_markers(new, "b", "| y |")
    assert both == new.replace(empty, "<!-- table:b -->\n| y |\n<!-- /table:b -->")
    with pytest.raises(ValueError, match=r"\['a', 'b'\]"):
        tables.update_between_markers(text, "c", "| x |")
    with pytest.raises(ValueError, match="in this order"):
        tables.update_between_markers("<!-- /table:a --><!-- table:a -->", "a", "")


def test_a_table_refuses_ragged_lines():
    with pytest.raises(ValueError, match="Expected 2 cells"):
        tables.markdown_table(["a", "b"], [["1"]])


# -- figures of a profile and the report ----------------------------------------------------------


@pytest.fixture
def profile(tmp_path):
    """A results folder with rows of every kind."""
    store = RowStore(tmp_path, "quick")
    store.add(chapter_rows())
    store.add(chapter_rows(experiment="003.F3.10", threat_model="framework"))
    store.add(distance_rows({"sfl_vae": [3.0] * 6, "non_sfl_vae": [4.0] * 6}))
    store.add(voting_rows())
    store.add(sweep_rows())
    images = np.zeros((2, 8, 8, 3), np.float32)
    save_examples(
        store.folder / "003.examples_cifar10.npz", clean=images, attacked=images, purified=images,
        labels=np.zeros(2, int), target_predictions=np.ones(2, int), votes=np.zeros(2, int),
    )  # fmt: skip
    return tmp_path


def test_rows_say_which_figures_they_make(profile):
    found = sections(RowStore(profile, "quick").read())
    assert [(section.stem, section.kind) for section in found] == [
        ("003.F3.2_cifar10", "distance"),
        ("003.F3.6_cifar10", "accuracy"),
        ("003.F3.10_cifar10", "accuracy"),
        ("003.F3.14_cifar10", "voting"),
        ("003.kl_sweep_cifar10", "sweep"),
    ]
    assert found[1].title == "FGSM on CIFAR-10 (003.F3.6)"


def test_several_attacks_in_one_experiment_are_several_sections():
    clean = accuracy_row(0.9, attack="none", epsilon=0.0)
    found = sections([*chapter_rows(), *chapter_rows(attack="pgd"), clean])
    assert [section.stem for section in found] == [
        "003.F3.6_cifar10_fgsm_oblivious",
        "003.F3.6_cifar10_pgd_oblivious",
    ]
    assert all(clean in section.rows for section in found)
    assert sections([clean]) == []


def test_the_report_shows_figures_tables_claims_and_the_warning(profile):
    figures = profile / "figures" / "quick"
    drawn = ["003.F3.6_cifar10", "003.examples_cifar10"]
    figures.mkdir(parents=True)
    for stem in drawn:
        (figures / f"{stem}.png").write_bytes(b"")
    report = write_report(profile, "quick", "Cuts: made up.")
    assert report == profile / "reports" / "quick.md"
    text = report.read_text(encoding="utf-8")
    assert text.count("](../figures/") == 2
    for stem in drawn:
        assert f"](../figures/quick/{stem}.png)" in text
        assert (report.parent / f"../figures/quick/{stem}.png").exists()
    assert "Cuts: made up." in text
    assert "**not robustness**" in text
    assert "beats the mean single voter (CIFAR-10)" in text
    made = report_tables(RowStore(profile, "quick").read())
    assert {"claims", "clean_accuracy", "003.F3.6_cifar10", "003.F3.14_cifar10"} <= set(made)
    for name, table in made.items():
        assert table.strip() in text
        assert (profile / "tables" / "quick" / f"{name}.md").read_text(encoding="utf-8") == table
    before = report.read_bytes()
    assert write_report(profile, "quick", "Cuts: made up.").read_bytes() == before


def test_the_report_of_one_seed_leaves_others_out(profile):
    before = write_report(profile, "quick", "").read_bytes()
    RowStore(profile, "quick").add([accuracy_row(0.1, seed=7, flags="target=A;voters=3")])
    assert write_report(profile, "quick", "", seed=0).read_bytes() == before
    assert write_report(profile, "quick", "").read_bytes() != before
    with pytest.raises(ValueError, match="with seed 3, received none"):
        write_report(profile, "quick", "", seed=3)


def test_a_report_without_rows_says_how_to_get_them(tmp_path):
    with pytest.raises(ValueError, match=r"run_all\.py --profile quick"):
        write_report(tmp_path, "quick", "")
