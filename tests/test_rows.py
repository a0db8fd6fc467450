"""Rows, their identity, and the files that keep them."""

from __future__ import annotations

import os
import warnings as python_warnings
from pathlib import Path

import pytest

from results import files, rows
from results.rows import (
    COLUMNS,
    RowStore,
    distinct_images,
    make_flags,
    qualifier,
    qualifiers,
    read_rows,
    row_key,
    write_atomically,
)
from tests.synthetic_rows import row


def test_columns_are_the_published_ones():
    assert ",".join(COLUMNS) == (
        "experiment,dataset,defense,classifier,attack,norm,epsilon,threat_model,metric,value,"
        "correct,total,seed,flags,config_hash,seconds"
    )


def test_key_ignores_numbers_time_and_warnings_but_not_qualifiers():
    plain = row(flags="target=A;voters=3")
    same = row(flags="unreliable;voters=3;target=A", value=0.5, correct=500, seconds=9.0)
    assert plain.key == same.key
    for change in (
        {"epsilon": 0.2}, {"seed": 1}, {"config_hash": "other"}, {"metric": "l2"},
        {"flags": "target=B;voters=3"}, {"threat_model": "framework"}, {"attack": "pgd"},
        {"norm": "l2"}, {"classifier": "vote_bayes"}, {"dataset": "digits"},
        {"defense": "non_sfl_vae"}, {"experiment": "003.F3.7"},
    ):  # fmt: skip
        assert row(**{"flags": "target=A;voters=3", **change}).key != plain.key, change


def test_row_key_is_the_key_of_the_row_to_come():
    stored = row(flags="unreliable;target=B;drawn=2")
    names = (
        "experiment", "dataset", "defense", "classifier", "attack", "norm", "epsilon",
        "threat_model", "metric", "seed", "config_hash",
    )  # fmt: skip
    fields = {name: getattr(stored, name) for name in names}
    assert row_key(**fields, flags="drawn=2;target=B") == stored.key


def test_flags_are_canonical_and_read_back():
    flags = make_flags({"target": "A", "kl_weight": 0.03, "drawn": 7}, ["unreliable"])
    assert flags == "drawn=7;kl_weight=0.03;target=A;unreliable"
    flagged = row(flags="unreliable;target=A;kl_weight=0.03;drawn=7;unreliable")
    assert flagged.flags == flags
    assert qualifiers(flagged) == {"drawn": "7", "kl_weight": "0.03", "target": "A"}
    assert qualifier(flagged, "target") == "A"
    assert qualifier(flagged, "voters") is None
    assert qualifier(flagged, "voters", "12") == "12"
    assert rows.warnings(flagged) == ("unreliable",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": 80.0, "correct": None, "total": None}, "Divide percentages by 100"),
        ({"value": 0.7}, "correct / total"),
        ({"correct": 1001, "value": 1.0}, "0 <= correct <= total"),
        ({"total": None}, "together or neither"),
        ({"value": float("nan"), "metric": "l2"}, "finite"),
        ({"epsilon": -0.1}, "epsilon"),
        ({"dataset": ""}, "dataset"),
        ({"dataset": "a,b"}, "commas"),
        ({"seed": 1.5}, "whole number"),
        ({"flags": "target=A;target=B"}, "several times"),
        ({"flags": "two words"}, "name=value"),
    ],
)
def test_contradictory_rows_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        row(**changes)


def test_distinct_images_undo_the_pooling():
    assert distinct_images(row()) == 1000
    assert distinct_images(row(classifier="mean_voter", flags="voters=4")) == 250
    assert distinct_images(row(classifier="vote", flags="voters=4")) == 1000
    assert distinct_images(row(classifier="vote", flags="voters=4;draws=2")) == 500
    assert distinct_images(row(classifier="mean_voter", flags="voters=4;draws=2")) == 125
    assert distinct_images(row(flags="images=77")) == 77
    assert distinct_images(row(metric="l2", correct=None, total=None, value=3.0)) is None


def test_store_returns_exactly_what_was_added(tmp_path):
    store = RowStore(tmp_path, "quick")
    odd = row(epsilon=8 / 255, value=1 / 3, correct=1, total=3, seconds=0.1 + 0.2)
    distance = row(metric="l2", value=1e-17, correct=None, total=None)
    assert store.add([odd, distance]) == 2
    assert store.path("003.F3.6") == tmp_path / "raw" / "quick" / "003.F3.6.csv"
    fresh = RowStore(tmp_path, "quick")
    assert set(fresh.read()) == {odd, distance}
    assert fresh.get(odd.key) == odd
    assert read_rows(tmp_path, "quick", "003.F3.6") == fresh.read()
    assert read_rows(tmp_path, "demo") == []


def test_a_row_that_is_there_is_not_added_again(tmp_path):
    store = RowStore(tmp_path, "quick")
    assert not store.has(row().key)
    assert store.add([row(), row()]) == 1
    before = store.path("003.F3.6").read_bytes()
    again = row(value=0.9, correct=900, flags="unreliable;target=A", seconds=7.0)
    assert RowStore(tmp_path, "quick").add([again]) == 0
    assert store.path("003.F3.6").read_bytes() == before
    assert store.has(again) and store.has(row().key)


def test_bytes_do_not_depend_on_the_order_of_adding(tmp_path):
    some = [row(epsilon=e, flags=f"target={t}") for e in (0.3, 0.0, 0.05, 0.1) for t in "BAC"]
    RowStore(tmp_path / "one", "quick").add(some)
    other = RowStore(tmp_path / "two", "quick")
    for single in reversed(some):
        other.add([single])
    first = RowStore(tmp_path / "one", "quick").path("003.F3.6").read_bytes()
    assert first == other.path("003.F3.6").read_bytes()
    assert [r.epsilon for r in other.read()] == sorted(r.epsilon for r in some)


def test_experiments_go_to_their_own_files(tmp_path):
    store = RowStore(tmp_path, "quick")
    store.add([row(), row(experiment="003.F3.10", threat_model="framework")])
    assert store.experiments() == ["003.F3.10", "003.F3.6"]
    assert [r.threat_model for r in store.read("003.F3.10")] == ["framework"]
    assert len(store.read()) == 2
    with pytest.raises(ValueError, match="names a file"):
        store.path("../escape")


def test_another_store_sees_new_rows(tmp_path):
    reader, writer = RowStore(tmp_path, "quick"), RowStore(tmp_path, "quick")
    assert not reader.has(row())
    writer.add([row()])
    assert reader.has(row())


def test_discard_removes_only_what_is_unwanted(tmp_path):
    store = RowStore(tmp_path, "quick")
    store.add([row(config_hash="old"), row(config_hash="new")])
    assert store.discard("003.F3.6", lambda r: r.config_hash == "old") == 1
    assert [r.config_hash for r in store.read()] == ["new"]


def test_a_failure_while_replacing_leaves_the_old_file(tmp_path, monkeypatch):
    store = RowStore(tmp_path, "quick")
    store.add([row()])
    before = store.path("003.F3.6").read_bytes()

    def broken(source: object, destination: object) -> None:
        raise OSError("disk gone")

    monkeypatch.setattr(files.os, "replace", broken)
    with pytest.raises(OSError, match="disk gone"):
        store.add([row(epsilon=0.3)])
    monkeypatch.undo()
    assert store.path("003.F3.6").read_bytes() == before
    assert os.listdir(store.folder) == ["003.F3.6.csv"]
    assert RowStore(tmp_path, "quick").read() == [row()]
    assert store.read() == [row()]


def test_the_new_file_is_complete_before_it_replaces_the_old(tmp_path, monkeypatch):
    seen = []
    replace = os.replace

    def watch(source: str, destination: Path) -> None:
        seen.append(Path(source).read_bytes())
        assert Path(source).parent == Path(destination).parent
        replace(source, destination)

    monkeypatch.setattr(files.os, "replace", watch)
    write_atomically(tmp_path / "file", b"whole")
    assert seen == [b"whole"]


def test_a_line_cut_off_is_dropped_with_a_warning_and_healed(tmp_path):
    store = RowStore(tmp_path, "quick")
    store.add([row(epsilon=e) for e in (0.0, 0.1, 0.2)])
    path = store.path("003.F3.6")
    whole = path.read_bytes()
    # Even a cut that leaves a line which parses is a cut: "1.5" became "1.".
    for cut in (2, 20):
        path.write_bytes(whole[:-cut])
        with pytest.warns(UserWarning, match="line 4: the file ends in the middle"):
            left = RowStore(tmp_path, "quick").read()
        assert [r.epsilon for r in left] == [0.0, 0.1]
    with pytest.warns(UserWarning, match="middle of a line"):
        RowStore(tmp_path, "quick").add([row(epsilon=0.2)])
    assert path.read_bytes() == whole
    with python_warnings.catch_warnings():
        python_warnings.simplefilter("error")
        assert len(RowStore(tmp_path, "quick").read()) == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",0.8,", ",abc,", r"003\.F3\.6\.csv, line 2: expected a number in column 'value'"),
        (",800,", ",8x0,", "line 2: expected a number in column 'correct'"),
        (",0.8,800,", ",800,", "line 2: expected 16 cells, received 15"),
        (",0.8,", ",0.9,", "line 2: .*correct / total"),
        ("seconds\n", "duration\n", r"line 1: .*unknown \['duration'\], missing \['seconds'\]"),
        ("003.F3.6,cifar10", "003.F3.7,cifar10", "rows of experiment"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path, old, new, message):
    store = RowStore(tmp_path, "quick")
    store.add([row()])
    path = store.path("003.F3.6")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=message):
        RowStore(tmp_path, "quick").read()


def test_a_measurement_that_stands_twice_is_an_error(tmp_path):
    store = RowStore(tmp_path, "quick")
    store.add([row()])
    path = store.path("003.F3.6")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[-1]]))
    with pytest.raises(ValueError, match="line 3: expected each measurement once"):
        store.read()


def test_an_empty_file_is_an_error(tmp_path):
    store = RowStore(tmp_path, "quick")
    store.folder.mkdir(parents=True)
    store.path("003.F3.6").write_bytes(b"")
    with pytest.raises(ValueError, match="expected the columns"):
        store.read()
