"""The files of rows: what is kept, replaced, refused, and what survives two runs at once."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from results import files
from results import store as store_module
from results.store import RowStore
from tests.made_rows import CLEAN, accuracy, number, row

ROOT = Path(__file__).parents[1]
FILES = [".cifar10.lock", "cifar10.csv", "cifar10.csv.sha256"]


def test_returns_exactly_what_was_added(tmp_path):
    store = RowStore(tmp_path, "quick")
    odd = row(epsilon=8 / 255, value=1 / 3, correct=1, total=3, seconds=0.1 + 0.2)
    rich = accuracy(
        0.5,
        settings={"target": "A", "voters": 6, "kl_weight": 0.03, "retrained": True},
        flags=("unreliable", "undefined"),
    )
    distance = number(1e-17, **CLEAN, settings={})
    assert store.add([odd, rich, distance]) == 3
    assert store.path("cifar10") == tmp_path / "raw" / "quick" / "cifar10.csv"
    fresh = RowStore(tmp_path, "quick").read()
    assert fresh == sorted([odd, rich, distance], key=lambda r: r.place)
    assert RowStore(tmp_path, "quick").get(rich.place) == rich


def test_data_sets_have_their_own_files_and_seeds_are_told_apart(tmp_path):
    store = RowStore(tmp_path, "quick")
    store.add([row(), row(seed=1), row(dataset="mnist")])
    assert sorted(path.name for path in store.folder.glob("*.csv")) == ["cifar10.csv", "mnist.csv"]
    assert [r.seed for r in store.read("cifar10")] == [0, 1]
    assert [r.dataset for r in store.read(seed=0)] == ["cifar10", "mnist"]
    with pytest.raises(ValueError, match=r"data set to be one of mnist, .*received '../escape'"):
        store.path("../escape")
    for name in ("../escape", "", None):
        with pytest.raises(ValueError, match=r"Expected the profile to be a word of letters"):
            RowStore(tmp_path, name)


def test_what_was_never_measured_does_not_read_as_empty(tmp_path):
    empty = RowStore(tmp_path, "demo")
    assert empty.get(row().place) is None and not empty.has(row()) and not empty.has_any()
    with pytest.raises(ValueError, match=r"raw/demo, received none; .* rows of no profile"):
        empty.read()
    RowStore(tmp_path, "quick").add([row()])
    with pytest.raises(ValueError, match=r"raw/demo, .* rows of quick\. .* --profile demo"):
        empty.read("cifar10")
    store = RowStore(tmp_path, "quick")
    with pytest.raises(ValueError, match=r"rows of 'digits' .* has cifar10\. .* --dataset digits"):
        store.read("digits")
    with pytest.raises(ValueError, match="data set to be one of mnist"):
        store.read("imagenet")
    with pytest.raises(ValueError, match="seed to be an integer"):
        store.read(seed="0")
    assert store.has_any() and store.has_any("cifar10") and not store.has_any("digits")
    assert store.read(seed=1) == []


def test_a_row_that_is_there_is_kept_as_it_is(tmp_path):
    store = RowStore(tmp_path, "quick")
    assert not store.has(row())
    assert store.add([row()]) == 1
    before = store.path("cifar10").read_bytes()
    again = accuracy(0.9, flags=("unreliable",), seconds=7.0)
    assert RowStore(tmp_path, "quick").add([again]) == 0
    assert store.path("cifar10").read_bytes() == before
    assert store.has(again)


def test_another_configuration_replaces_a_row(tmp_path):
    store = RowStore(tmp_path, "quick")
    other = row(epsilon=0.3)
    store.add([row(config_hash="old"), other])
    new = accuracy(0.6, config_hash="new")
    assert not store.has(new)
    assert store.add([new]) == 1
    assert store.read() == [new, other]


def test_bytes_do_not_depend_on_the_order_of_adding(tmp_path):
    some = [row(epsilon=e, settings={"target": t}) for e in (0.3, 0.05, 0.1) for t in "BAC"]
    one, two = RowStore(tmp_path / "one", "quick"), RowStore(tmp_path / "two", "quick")
    one.add(some)
    for single in reversed(some):
        two.add([single])
    assert one.path("cifar10").read_bytes() == two.path("cifar10").read_bytes()


def test_another_store_sees_new_rows(tmp_path):
    reader, writer = RowStore(tmp_path, "quick"), RowStore(tmp_path, "quick")
    assert reader.get(row().place) is None
    writer.add([row()])
    assert reader.get(row().place) == row()


_ADD = """
import sys
from results.store import RowStore
from tests.made_rows import row
store = RowStore(sys.argv[1], "quick")
for index in range(1, 61):
    store.add([row(epsilon=index / 100, settings={"target": sys.argv[2]})])
"""


def test_two_runs_on_one_folder_lose_nothing(tmp_path):
    runs = [
        subprocess.Popen([sys.executable, "-c", _ADD, str(tmp_path), target], cwd=ROOT)
        for target in "AB"
    ]
    assert [run.wait(timeout=120) for run in runs] == [0, 0]
    rows = RowStore(tmp_path, "quick").read()
    assert len(rows) == 120
    assert {r.settings["target"] for r in rows} == {"A", "B"}


def test_a_failure_while_replacing_leaves_the_old_file(tmp_path, monkeypatch):
    store = RowStore(tmp_path, "quick")
    store.add([row()])
    before = store.path("cifar10").read_bytes()

    def broken(source: object, destination: object) -> None:
        raise OSError("disk gone")

    monkeypatch.setattr(files.os, "replace", broken)
    with pytest.raises(OSError, match="disk gone"):
        store.add([row(epsilon=0.3)])
    monkeypatch.undo()
    assert store.path("cifar10").read_bytes() == before
    assert sorted(os.listdir(store.folder)) == FILES
    assert store.read() == RowStore(tmp_path, "quick").read() == [row()]


def test_the_new_file_is_complete_before_it_replaces_the_old(tmp_path, monkeypatch):
    seen = []
    replace = os.replace

    def watch(source: str, destination: Path) -> None:
        seen.append(Path(source).read_bytes())
        assert Path(source).parent == Path(destination).parent
        replace(source, destination)

    monkeypatch.setattr(files.os, "replace", watch)
    files.write_atomically(tmp_path / "file", b"whole")
    assert seen == [b"whole"]


def test_a_file_that_was_cut_off_is_refused(tmp_path):
    store = RowStore(tmp_path, "quick")
    store.add([row(epsilon=e) for e in (0.05, 0.1, 0.2)])
    path = store.path("cifar10")
    whole = path.read_bytes()
    # Even a cut that leaves a line which parses is a cut: "1.5" became "1.".
    for cut in (1, 2, 20):
        path.write_bytes(whole[:-cut])
        with pytest.raises(ValueError, match=r"line 4: expected a line end .*ends in the middle"):
            RowStore(tmp_path, "quick").read()
        with pytest.raises(ValueError, match=r"line 4: .*delete the line, .*and measure it again"):
            RowStore(tmp_path, "quick").add([row(epsilon=0.3)])
        assert path.read_bytes() == whole[:-cut]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",0.8,800,", ",abc,800,", r"cifar10\.csv, line 2, value: Expected a number, .*'abc'"),
        (",800,", ",8x0,", "line 2, correct: Expected a number, received '8x0'"),
        (",800,", ",8_00,", r"expected every value as it is written.*'8_00' \(would be '800'\)"),
        (",800,", ",+800,", "line 2: expected every value as it is written"),
        (",800,", ", 800,", "line 2: expected every value as it is written"),
        (",0.1,", ",1e-1,", r"epsilon '1e-1' \(would be '0\.1'\)"),
        (",0.1,", ",0.1\0,", "line 2, epsilon: Expected a number"),
        ("sfl_vae", "sfl_vae\0", "line 2: Expected defense to be a word"),
        ("sfl_vae", '"sfl_vae"', "line 2: .* other quotes, spaces or line ends"),
        ("1.5\n", "1.5\r\n", "line 2: .*as it is written"),
        ("dataset", "\ufeffdataset", "line 1: expected the columns"),
        ("oblivious", "oblivius", "line 2: Expected threat_model of a row to be one of"),
        (",accuracy,", ",acuracy,", "line 2: Expected metric of a row to be one of"),
        (",vote,", ",votes,", "line 2: Expected decider of a row to be one of"),
        (",linf,", ",l3,", "line 2: Expected norm of a row to be one of"),
        (",0.8,", ",0,", "line 2: .*correct / total"),
        (",0.8,", ",0.8000001,", r"value '0\.8000001' \(would be '0\.8'\)"),
        (",0.8,800,", ",800,", "line 2: expected 16 cells, received 15"),
        (",0.8,", ",0.9,", "line 2: .*correct / total"),
        (",0.8,", ",0.80,", r"line 2: expected every value as it is written.*value '0\.80'"),
        (",target=A,", ",target=A;drawn=3,", "line 2, settings: Expected settings as sorted"),
        (",target=A,", ",voters=06,", "line 2, settings: Expected settings as sorted"),
        ("seconds\n", "duration\n", r"line 1: .*unknown \['duration'\], missing \['seconds'\]"),
        ("dataset,defense", "defense,dataset", "line 1: .*order changed"),
        ("cifar10,sfl_vae", "mnist,sfl_vae", "line 2: expected rows of 'cifar10' only"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path, old, new, message):
    store = RowStore(tmp_path, "quick")
    store.add([row()])
    path = store.path("cifar10")
    text = path.read_text()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode())
    with pytest.raises(ValueError, match=message) as refused:
        RowStore(tmp_path, "quick").read()
    assert re.search("Restore the file|Move it to", str(refused.value))


def test_a_measurement_that_stands_twice_is_an_error(tmp_path):
    store = RowStore(tmp_path, "quick")
    store.add([row()])
    path = store.path("cifar10")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[-1]]))
    with pytest.raises(ValueError, match="line 3: expected each measurement once"):
        store.read()


def test_a_budget_cut_in_half_is_out_of_order(tmp_path):
    store = RowStore(tmp_path, "quick")
    store.add([row(epsilon=e) for e in (0.05, 0.12, 0.15)])
    path = store.path("cifar10")
    path.write_text(path.read_text().replace(",0.15,", ",0.1,"))
    with pytest.raises(ValueError, match=r"line 4: expected lines sorted .*a cell was changed"):
        store.read()


@pytest.mark.parametrize(
    ("old", "new"),
    [(",5.125,", ",5.1,"), ("c0ffee", "c0ffe"), ("sfl_vae", "sfl_va"), ("target=A", "target=B")],
)
def test_what_no_other_cell_tells_is_found_by_the_sum(tmp_path, old, new):
    store = RowStore(tmp_path, "quick")
    store.add([number(5.125)])
    path = store.path("cifar10")
    whole = path.read_text()
    assert old in whole
    path.write_text(whole.replace(old, new))
    said = r"cifar10\.csv: expected the contents whose SHA-256 stands in cifar10\.csv\.sha256"
    for store in (RowStore(tmp_path, "quick"), RowStore(tmp_path, "quick")):
        with pytest.raises(ValueError, match=f"{said}, .*on purpose, delete .*sha256"):
            store.read()
        with pytest.raises(ValueError, match=said):
            store.add([row()])
    path.with_name("cifar10.csv.sha256").unlink()
    assert len(RowStore(tmp_path, "quick").read()) == 1
    path.write_text(whole)
    assert RowStore(tmp_path, "quick").add([row()]) == 1
    assert hashlib.sha256(path.read_bytes()).hexdigest() in sums(path)


def test_lines_that_are_gone_are_found_by_the_sum(tmp_path):
    store = RowStore(tmp_path, "quick")
    store.add([row(), row(epsilon=0.3)])
    path = store.path("cifar10")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(ValueError, match="expected the contents whose SHA-256"):
        store.read()


def sums(path: Path) -> list[str]:
    """What stands beside a file of rows."""
    lines = path.with_name(f"{path.name}.sha256").read_text().splitlines()
    assert all(line.endswith(f"  {path.name}") for line in lines)
    return [line.split()[0] for line in lines]


@pytest.mark.parametrize("killed_at", [1, 2, 3])
def test_a_kill_between_the_file_and_its_sum_leaves_both_whole(tmp_path, monkeypatch, killed_at):
    store = RowStore(tmp_path, "quick")
    store.add([row()])
    path, calls = store.path("cifar10"), []

    def write(target: Path, content: bytes) -> None:
        calls.append(target.name)
        if len(calls) == killed_at:
            raise KeyboardInterrupt
        files.write_atomically(target, content)

    with monkeypatch.context() as patched:
        patched.setattr(store_module, "write_atomically", write)
        with pytest.raises(KeyboardInterrupt):
            store.add([row(epsilon=0.3)])
    assert calls == ["cifar10.csv.sha256", "cifar10.csv", "cifar10.csv.sha256"][:killed_at]
    assert len(RowStore(tmp_path, "quick").read()) == (2 if killed_at == 3 else 1)
    assert RowStore(tmp_path, "quick").add([row(epsilon=0.3)]) == (0 if killed_at == 3 else 1)
    RowStore(tmp_path, "quick").add([row(epsilon=0.5)])
    assert sums(path) == [hashlib.sha256(path.read_bytes()).hexdigest()]


def test_a_file_that_another_run_writes_while_it_is_read_is_no_damage(tmp_path, monkeypatch):
    store = RowStore(tmp_path, "quick")
    store.add([row()])
    path, read = store.path("cifar10"), Path.read_bytes

    def late(self: Path) -> bytes:
        content = read(self)
        if self == path:
            monkeypatch.undo()
            RowStore(tmp_path, "quick").add([row(epsilon=0.3)])
        return content

    monkeypatch.setattr(Path, "read_bytes", late)
    assert len(RowStore(tmp_path, "quick").read()) == 2


def test_a_heading_that_stands_twice_is_an_error(tmp_path):
    store = RowStore(tmp_path, "quick")
    store.add([row()])
    path = store.path("cifar10")
    heading = path.read_text().splitlines(keepends=True)[0]
    path.write_text(heading + path.read_text())
    with pytest.raises(ValueError, match="line 2, epsilon: Expected a number, received 'epsilon'"):
        store.read()


@pytest.mark.parametrize(
    ("code", "kind"), [(errno.ENOSPC, OSError), (errno.EACCES, PermissionError)]
)
def test_a_disk_that_refuses_is_named_and_nothing_is_lost(tmp_path, monkeypatch, code, kind):
    store = RowStore(tmp_path, "quick")
    store.add([row()])
    path = store.path("cifar10")
    before = path.read_bytes()

    def refuse(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", refuse)
        with pytest.raises(kind, match=os.strerror(code)) as refused:
            store.add([row(epsilon=0.3)])
    assert refused.value.filename == f"{path}.sha256"
    assert path.read_bytes() == before
    assert sorted(os.listdir(store.folder)) == FILES
    assert store.add([row(epsilon=0.3)]) == 1


def test_a_file_in_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "raw").write_text("")
    with pytest.raises(OSError, match=r"raw"):
        RowStore(tmp_path, "quick").add([row()])
    with pytest.raises(OSError, match=r"Not a directory: .*raw"):
        files.check_writable(tmp_path / "raw" / "figures")
    files.check_writable(tmp_path / "made" / "here")
    assert os.listdir(tmp_path / "made" / "here") == []


def test_a_lock_that_another_run_keeps_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_LOCK_SECONDS", 0.01)
    held, named = FileLock(tmp_path / ".lock"), pytest.raises(TimeoutError, match=r"another run")
    with held, named, files.locked(tmp_path / ".lock"):
        pass


@pytest.mark.parametrize("content", [b"", b"\xff\xfe"])
def test_a_file_without_a_heading_is_an_error(tmp_path, content):
    store = RowStore(tmp_path, "quick")
    store.folder.mkdir(parents=True)
    store.path("cifar10").write_bytes(content)
    with pytest.raises(ValueError, match=r"cifar10\.csv.*expected (the columns|UTF-8)"):
        store.read()
