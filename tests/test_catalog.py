"""The catalog: its ids, what a name selects, and what every declaration has to keep."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from papers import catalog
from papers.lines import ATTACKS, DATASETS, LOOKS, NAMES, TARGETS
from results.exhibit import THREAT_LABELS, Axis, Curves, Exhibit, Grid, Line, Pictures, matches
from results.markdown import sheet_table
from results.row import FIELDS
from results.sheet import fill
from results.store import RowStore
from tests.made_rows import cells, of_larger_profiles
from tests.test_committed_rows import NOT_YET

ROOT = Path(__file__).parents[1]
IDS = [one.id for one in catalog.EXHIBITS]
SHOWN = [one for one in catalog.EXHIBITS if one.lines]


@pytest.fixture(scope="module")
def rows():
    """The committed rows of the profile quick."""
    return RowStore(ROOT / "results", "quick").read(seed=0)


def _ids(found: Iterable[Exhibit]) -> list[str]:
    return [one.id for one in found]


# -- names ----------------------------------------------------------------------------------------


def test_ids_are_unique_and_name_paper_and_kind():
    assert len(set(IDS)) == len(IDS)
    for id in IDS:
        assert re.fullmatch(r"\d{3}\.[FTS][A-Z]?\d+(\.\w+)?", id) or re.fullmatch(
            r"003\.T[AB]\.\d", id
        ), id
        assert id[:3] in {paper.number for paper in catalog.PAPERS}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (["003.F3.6"], ["003.F3.6"]),
        (["003.F3.1"], ["003.F3.1"]),
        (["003.F1"], ["003.F1.1"]),
        (["003.F1."], ["003.F1.1"]),
        (["003.T5", "003.F5.7", "003.T5.1"], ["003.T5.1", "003.F5.7"]),
        (["003.S3.clean"], ["003.S3.clean", "003.F3.6", "003.F4.2", "003.T5.1"]),
        (
            ["003.S3"],
            [
                *("003.S3.kl_weight", "003.S3.sfl_weight", "003.S3.clean"),
                *("003.F3.6", "003.F4.2", "003.T5.1", "003.S3.overruled"),
                *(f"003.F3.{n}" for n in range(7, 14)),
                *(f"003.F4.{n}" for n in range(3, 6)),
            ],
        ),
        (["004.T8"], ["004.T8", "004.F9"]),
        (["000.F2"], ["000.F2", *(f"003.F4.{n}" for n in range(2, 6))]),
    ],
)
def test_names_and_their_beginnings_select(wanted, expected):
    assert _ids(catalog.select(wanted)) == expected


def test_a_letter_alone_is_every_exhibit_of_its_kind():
    tables = _ids(catalog.select(["002.T"]))
    assert tables == [f"002.T{n}" for n in range(1, 6)]
    assert "003.F3.16" in _ids(catalog.select(["003.F"]))
    assert _ids(catalog.select([])) == IDS
    assert len(catalog.select(["003"])) == sum(id.startswith("003") for id in IDS)


@pytest.mark.parametrize("name", ["003.F9", "003.F3.66", "3", "", "005", 3, None])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(ValueError, match=r"Expected a figure or table.*003\.F3\.6, .*004\.T8"):
        catalog.select(["003.F3.6", name])


def test_a_misspelt_name_is_answered_with_those_like_it():
    with pytest.raises(ValueError, match=r"received '003.F3-6'. Did you mean 003\.F3\.6"):
        catalog.select(["003.F3-6"])
    with pytest.raises(ValueError, match=r"received the text '003.F3.6'. Pass a list"):
        catalog.select("003.F3.6")


def test_one_exhibit_by_its_id():
    assert catalog.exhibit("003.T4.1").corner == "L1 on clean images"
    with pytest.raises(ValueError, match=r"'003\.T4'.*003\.T4\.1"):
        catalog.exhibit("003.T4")


def test_the_catalog_alone_imports_neither_networks_nor_plots():
    heavy = ("tensorflow", "keras", "jax", "matplotlib", "experiments", "defenses", "attacks")
    code = (
        "import sys, papers.catalog; "
        f"print(*sorted({{name.split('.')[0] for name in sys.modules}} & {set(heavy)}))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stdout.strip()) == (0, ""), run.stderr


# -- the listing and the pages --------------------------------------------------------------------


def test_the_listing_names_every_exhibit_and_what_each_profile_does():
    profiles = [("demo", "Small.", ["digits"]), ("quick", "Less small.", ["cifar10", "mnist"])]
    text = catalog.listing(catalog.EXHIBITS, profiles)
    lines = text.splitlines()
    assert lines[:2] == ["demo: Small.", "quick: Less small."]
    found = [line.split()[0] for line in lines if re.match(r"  \d{3}\.", line)]
    assert found == IDS
    start = lines.index(next(line for line in lines if line.startswith("  004.T3 ")))
    assert [line.strip() for line in lines[start + 1 : start + 3]] == [
        "demo: digits",
        "quick: mnist",
    ]
    assert "quick: not run" in text
    assert "-- the same as 004.F9, which it selects" in text
    assert "001  CAP-GAN" in lines


def test_a_page_has_a_line_for_each_exhibit_of_a_paper():
    body = cells(catalog.docs_table("puvae"))
    assert body[0] == ["id", "shows", "data sets", "measured"]
    assert [line[0] for line in body[1:]] == [f"`{id}`" for id in IDS if id.startswith("004")]
    found = {line[0]: line[2:] for line in body}
    assert found["`004.T3`"] == [
        "MNIST",
        "accuracy, `oblivious`; accuracy, `adaptive`; attack success; chosen class",
    ]
    assert found["`004.T7`"] == ["MNIST", "seconds"]
    assert found["`004.F1`"] == ["–", "a diagram or notation, nothing to measure"]
    with pytest.raises(ValueError, match=r"a paper, one of .*received '004'"):
        catalog.docs_table("004")


# -- papers ---------------------------------------------------------------------------------------


def test_papers_come_by_number_and_name():
    found = [(paper.number, paper.module) for paper in catalog.PAPERS]
    assert found == sorted(found)
    assert found[:7] == [
        ("000", "defense_cyclegan"),
        ("001", "cap_gan"),
        ("002", "atgan"),
        ("003", "chapter3"),
        ("003", "chapter4"),
        ("003", "chapter5"),
        ("004", "puvae"),
    ]


def test_a_paper_is_found_by_being_there(tmp_path):
    """A copy of the package with one more file has one more paper."""
    shutil.copytree(ROOT / "papers", tmp_path / "papers")
    (tmp_path / "papers" / "another.py").write_text(
        "from results.exhibit import Exhibit\n"
        "TITLE, SUMMARY = 'Another', 'Claims nothing.'\n"
        "EXHIBITS = (Exhibit(id='003.F99', title='a figure', note='not yet'),)\n"
    )
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n"
        "from papers import catalog\n"
        "print(*(paper.module for paper in catalog.PAPERS), catalog.exhibit('003.F99').title)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert run.stdout.split()[3:5] == ["another", "chapter3"], run.stderr
    assert run.stdout.endswith(" a figure\n")


@pytest.mark.parametrize(
    ("ids", "left_out", "message"),
    [
        (["900.T1"], "SUMMARY", r"papers/sketch\.py to declare .*received no SUMMARY"),
        ([], "", "received no EXHIBITS"),
        (["900.T1", "901.T1"], "", r"begin with one number, received \['900', '901'\]"),
    ],
)
def test_a_paper_that_lacks_something_is_refused(monkeypatch, ids, left_out, message):
    exhibits = tuple(Exhibit(id=id, title="a table", note="not yet") for id in ids)
    declared = {"TITLE": "Sketch", "SUMMARY": "Claims nothing.", "EXHIBITS": exhibits}
    declared.pop(left_out, None)
    monkeypatch.setitem(sys.modules, "papers.sketch", SimpleNamespace(**declared))
    with pytest.raises(ValueError, match=message):
        catalog._paper("sketch")


def test_an_id_that_two_papers_declare_is_refused():
    one = next(paper for paper in catalog.PAPERS if paper.module == "puvae")
    other = one._replace(module="other")
    with pytest.raises(ValueError, match=r"'004\.F1' from papers/puvae\.py and papers/other\.py"):
        catalog._exhibits([one, other])


# -- declarations ---------------------------------------------------------------------------------


def test_every_exhibit_is_measured_or_says_why_not():
    for one in catalog.EXHIBITS:
        assert one.implemented != bool(one.note), one.id
        assert one.implemented <= bool(one.datasets), one.id
        assert one.implemented <= bool(one.lines or isinstance(one.draw, Pictures)), one.id
        assert set(one.datasets) <= set(DATASETS), one.id
        assert set(one.repeats) <= set(IDS), one.id


def test_grids_speak_of_known_names():
    for one in catalog.EXHIBITS:
        for grid in (part for part in one.measures if isinstance(part, Grid)):
            assert grid.threat in {*THREAT_LABELS, "none"}, one.id
            assert set(grid.attacks) <= set(ATTACKS), one.id
            assert set(grid.targets) <= set(TARGETS), one.id
            assert set(grid.defenses) <= set(NAMES), one.id


def _conditions(one: Exhibit) -> Iterator[Mapping[str, object]]:
    declared = [*one.panels, *one.lines, *one.columns]
    wheres = [one.where, *(d.where for d in declared if isinstance(d, Line | Axis))]
    for where in wheres:
        yield from [where] if isinstance(where, Mapping) else where


@pytest.mark.parametrize("one", SHOWN, ids=_ids(SHOWN))
def test_conditions_are_of_fields_and_settings_that_rows_have(one, rows):
    if one.id.startswith(NOT_YET):
        pytest.skip("no row of it is committed yet")
    rows = [*rows, *of_larger_profiles()]
    known = FIELDS | {name for row in rows for name in row.settings}
    for where in _conditions(one):
        assert set(where) <= known
    declared = [*one.panels, *one.lines, *one.columns]
    for line in (part for part in declared if isinstance(part, Line)):
        assert any(matches(row, line.where) for row in rows), line.label


@pytest.mark.parametrize("one", SHOWN, ids=_ids(SHOWN))
def test_printed_values_stand_at_declared_lines_and_columns(one):
    lines = {
        one.joint.join(text for text in (panel.label, line.label) if text)
        for panel in one.panels
        for line in one.lines
        if isinstance(line, Line)
    }
    columns = {column.label for column in one.columns if isinstance(column, Line)}
    for dataset in DATASETS:
        for (line, column), value in one.printed(dataset).items():
            assert line in lines and column in columns, (line, column)
            assert float(value) >= 0
    assert one.printed("digits") == {}


@pytest.mark.parametrize("one", SHOWN, ids=_ids(SHOWN))
def test_marks_have_a_place_on_the_axes(one):
    if not isinstance(one.draw, Curves):
        return
    for dataset in (*one.datasets, "digits"):
        for mark in one.draw.marks(dataset):
            assert mark.label.startswith("printed")
            assert (mark.x, mark.y) != (None, None)
            if one.draw.percent and mark.y is not None:
                assert 50 < mark.y <= 100


def test_lines_of_a_figure_look_different_and_a_defense_the_same_in_all():
    for one in (one for one in SHOWN if isinstance(one.draw, Curves)):
        looks = [line.look for line in one.lines if isinstance(line, Line) and line.look]
        strokes = [(look.color, look.marker, look.dashes) for look in looks]
        assert len(set(strokes)) == len(strokes), one.id
        if not isinstance(one.where, Mapping) or one.where.get("metric") != "accuracy":
            continue
        for line in (line for line in one.lines if isinstance(line, Line)):
            assert line.look.color == LOOKS[line.where["defense"]].color, (one.id, line.label)
        heavy = [
            line.where["defense"]
            for line in one.lines
            if isinstance(line, Line) and not line.look.light
        ]
        assert len(set(heavy)) == len(heavy), one.id


def test_the_committed_tables_are_those_of_the_committed_rows(rows):
    made = {}
    for one in SHOWN:
        for dataset in one.datasets:
            sheet = fill(one, dataset, rows)
            if not sheet.panels:  # a paper that the profile has not measured yet
                continue
            made[f"{one.id}_{dataset}.md"] = sheet_table(sheet)
    folder = ROOT / "results" / "tables" / "quick"
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    found.pop("claims.md", None)
    assert len(made) >= 64
    assert sorted(found) == sorted(made)
    assert [name for name in made if made[name] != found[name]] == []
