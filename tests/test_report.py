"""The report of a profile, from rows, exhibits and claims made for it."""

from __future__ import annotations

import pytest

from results.claims import Claim
from results.exhibit import Axis, Exhibit, Line, Pictures
from results.judges import ABOVE, Everywhere
from results.markdown import sheet_table
from results.report import THREAT_WARNING, write_report
from results.sheet import fill
from results.store import RowStore
from tests.made_rows import accuracy, clean

PURIFIER = Line("purifier", {"defense": "sfl_vae"})
CURVES = Exhibit(
    id="009.F1",
    title="accuracy under FGSM",
    datasets=("mnist", "cifar10"),
    where={"metric": "accuracy", "attack": ("none", "fgsm")},
    corner="accuracy (%)",
    lines=(PURIFIER,),
    columns=(Axis("epsilon", "ε = {:g}"),),
    caveat="A caveat of the figure.",
)
CLEAN = Exhibit(
    id="009.T2",
    title="clean accuracy (CIFAR-10)",
    datasets=("cifar10",),
    where={"metric": "accuracy", "attack": "none"},
    lines=(PURIFIER,),
    columns=(Line("accuracy"),),
)
ELSEWHERE = Exhibit(
    id="008.F1", title="rows of another method", lines=(Line("", {"defense": "magnet"}),)
)
IMAGES = Exhibit(id="007.F3", title="some images", datasets=("cifar10",), draw=Pictures())
EXHIBITS = (IMAGES, CURVES, CLEAN, ELSEWHERE)
CLAIM = Claim(
    id="above",
    heading="A paper",
    text="It is above.",
    says="above 50 %",
    where={"attack": "fgsm"},
    judge=Everywhere(pairs=[(PURIFIER, 50)], holds=ABOVE),
    datasets=("cifar10",),
    needs="full width",
    reason="a level.",
)


@pytest.fixture
def root(tmp_path):
    RowStore(tmp_path, "small").add(rows())
    return tmp_path


def rows(**changes):
    first = [accuracy(0.8, **changes), clean(0.9), accuracy(0.7, dataset="mnist")]
    return [*first, accuracy(0.2, seed=1), clean(0.3, seed=1)]


def report(root, **changes):
    settings = {"exhibits": EXHIBITS, "claims": [CLAIM], "cuts": "Half of it.", "bears": "any size"}
    path = write_report(root, "small", **{**settings, "seed": 0, **changes})
    assert path == root / "reports" / "small.md"
    return path.read_text(encoding="utf-8")


def drawn(root, stem):
    path = root / "figures" / "small" / f"{stem}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_the_report_says_what_is_cut_and_warns_before_it_shows(root):
    text = report(root)
    places = [text.index(words) for words in ("Half of it.", THREAT_WARNING, "## Claims", "### ")]
    assert places == sorted(places)
    assert text.count("Half of it.") == 1


def test_every_exhibit_with_rows_is_shown_for_each_of_its_data_sets(root):
    text = report(root)
    titles = [line for line in text.splitlines() if line.startswith("### ")]
    assert titles == [
        "### Accuracy under FGSM, MNIST (009.F1)",
        "### Accuracy under FGSM, CIFAR-10 (009.F1)",
        "### Clean accuracy (CIFAR-10) (009.T2)",
    ]
    assert "| purifier | 90.0 ± 1.9 | 80.0 ± 2.5 |" in text
    # Clean images have no attacker.
    assert text.count("Threat model oblivious: ") == 2


def test_figures_are_linked_where_they_have_been_drawn(root):
    drawn(root, "009.F1_cifar10")
    text = report(root)
    assert text.count("![") == 1
    assert "![Accuracy under FGSM, CIFAR-10 (009.F1)](../figures/small/009.F1_cifar10.png)" in text
    assert text.count("A caveat of the figure.") == 1


def test_pictures_are_shown_without_rows(root):
    assert "Some images" not in report(root)
    drawn(root, "007.F3_cifar10")
    text = report(root)
    assert "### Some images, CIFAR-10 (007.F3)\n\n![Some images" in text


def test_claims_are_judged_as_far_as_the_profile_can(root):
    assert "**not tested at this size**" in report(root)
    assert "**reproduced**" in report(root, bears="full width")
    text = report(root, bears="nothing")
    assert "**A paper**" not in text and "too small to judge a claim" in text


def test_tables_are_written_beside_the_report(root):
    text = report(root)
    written = {path.stem: path.read_text() for path in (root / "tables" / "small").iterdir()}
    assert set(written) == {"claims", "009.F1_mnist", "009.F1_cifar10", "009.T2_cifar10"}
    assert all(table.strip() in text for table in written.values())
    sheet = fill(CURVES, "cifar10", [row for row in rows() if row.seed == 0])
    assert written["009.F1_cifar10"] == sheet_table(sheet)
    assert written["claims"].startswith("**A paper**")


def test_a_seed_is_shown_alone_or_all_in_the_mean(root):
    assert "| purifier | 30.0 ± 2.8 | 20.0 ± 2.5 |" in report(root, seed=1)
    assert "| purifier | 60.0 ± 3.0 | 50.0 ± 3.1 |" in report(root, seed=None)


def test_without_rows_there_is_no_report(root):
    with pytest.raises(ValueError, match=r"rows of seed 7 .*received those of \[0, 1\]"):
        report(root, seed=7)
    with pytest.raises(ValueError, match=r"run_all\.py --profile small"):
        write_report(root / "x", "small", exhibits=(), claims=(), cuts="", bears="nothing")


def test_flagged_rows_are_counted(tmp_path):
    RowStore(tmp_path, "small").add(rows(flags=("unreliable",)))
    text = report(tmp_path)
    assert "1 of 3 rows carry a flag (unreliable)" in text
    assert "80.0 ± 2.5*" in text
