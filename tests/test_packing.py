"""``--pack`` and ``--unpack``: parts, half precision without loss, and packs that are damaged."""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
from pathlib import Path

import keras
import numpy as np
import pytest

import run_all
from benchmarks.kill_and_resume import different_arrays, rows_without_seconds
from defenses.registry import get_purifier
from experiments import fitting, packing, parts, presets, scheduler
from experiments.artifacts import ArtifactStore, save_deflated
from experiments.attacked_sets import AttackedSets
from experiments.half_precision import pack_model, read_about, unpack_model
from experiments.model_files import DamagedArtifactError, load_keras_model
from experiments.packing import pack, unpack
from experiments.parts import DamagedPartError, part_path, read_parts, write_parts
from experiments.reproducibility import weights_hash
from tests.tiny_profile import SMALLEST_EXHIBITS, smallest_profile, study_of, tiny_run

ANY = re.compile(r"[\w/.]+")
SMALL = 40_000
"""Bytes of a part in tests: a model takes several."""


# -- parts ----------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    """A folder with small files, an empty one, and one of several parts."""
    folder, rng = tmp_path / "files", np.random.default_rng(0)
    sizes = {"empty": 0, "one/large": 150_000, **{f"two/{n}": 500 + n for n in range(30)}}
    for name, size in sizes.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(rng.bytes(size))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_parts_hold_every_byte_and_none_is_too_large(files, tmp_path):
    written = write_parts(tmp_path / "out" / "pack.tar", files, "tests", SMALL)
    assert [path.name for path in written[:2]] == ["pack.tar", "pack-02.tar"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        path.name for path in written
    )
    sizes = [path.stat().st_size for path in written]
    assert max(sizes) <= SMALL and len(sizes) < 2.5 * 180_000 / SMALL
    read_parts(written[0], tmp_path / "back", "tests", ANY)
    assert contents(tmp_path / "back") == contents(files)


def test_sixteen_megabytes_are_not_exceeded(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "large").write_bytes(bytes(17_000_000))
    written = write_parts(tmp_path / "pack.tar", tmp_path / "files", "tests")
    assert len(written) == 2 and written[0].stat().st_size <= 16_000_000


def test_a_smaller_pack_of_the_same_name_leaves_no_former_parts(files, tmp_path):
    write_parts(tmp_path / "pack.tar", files, "tests", SMALL)
    (tmp_path / "pack-99.tar").write_bytes(b"of somebody else")
    written = write_parts(tmp_path / "pack.tar", files, "tests", 10 * SMALL)
    assert {path.name for path in tmp_path.glob("*.tar")} == {
        "pack-99.tar",
        *(path.name for path in written),
    }


def test_a_pack_is_a_tar_that_any_program_reads(files, tmp_path):
    (path,) = write_parts(tmp_path / "pack.tar", files, "tests")
    with tarfile.open(path) as tar:
        names = tar.getnames()
        assert names[:2] == ["part.json", "part.sha256"] and "two/7" in names
        assert tar.extractfile("two/7").read() == (files / "two/7").read_bytes()


@pytest.mark.parametrize("part", [1, 3])
@pytest.mark.parametrize("how", ["missing", "cut", "changed", "empty", "text", "other"])
def test_a_part_that_is_not_as_it_was_is_named(files, tmp_path, part, how):
    file = tmp_path / "pack.tar"
    write_parts(file, files, "tests", SMALL)
    path = part_path(file, part)
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "other":
        (files / "two/7").write_bytes(b"another")
        write_parts(tmp_path / "other.tar", files, "tests", SMALL)
        # Of another pack, the last part stands in for this one.
        shutil.copy(part_path(tmp_path / "other.tar", 2), path)
    else:
        at = len(content) // 2
        changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        damaged = {"cut": content[:at], "changed": changed, "empty": b"", "text": b"text " * 500}
        path.write_bytes(damaged[how])
    with pytest.raises(DamagedPartError, match=re.escape(path.name)):
        read_parts(file, tmp_path / "back", "tests", ANY)


def test_any_changed_byte_is_found(files, tmp_path):
    """Each byte that counts: those of headers, names, sizes and contents; not those of padding."""
    shutil.rmtree(files / "one")
    (path,) = write_parts(tmp_path / "pack.tar", files, "tests")
    content, rng = path.read_bytes(), np.random.default_rng(0)
    expected = contents(files)
    found = 0
    for number, at in enumerate(rng.choice(len(content), 150, replace=False)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        back = tmp_path / f"back_{number}"
        try:
            read_parts(path, back, "tests", ANY)
        except DamagedPartError:
            found += 1
        else:
            assert contents(back) == expected
    assert found > 50


def rewritten(path: Path, change) -> None:
    """Writes a part anew, with valid sums, after ``change`` had its header and its members."""
    with tarfile.open(path) as tar:
        members = {one.name: (one, tar.extractfile(one).read()) for one in tar}
    header = json.loads(members.pop("part.json")[1])
    members.pop("part.sha256")
    listed = [(one, content) for one, content in members.values()]
    change(header, listed)
    text = json.dumps(header).encode()
    total = parts.hashlib.sha256(text).hexdigest().encode()
    front = [(tarfile.TarInfo("part.json"), text), (tarfile.TarInfo("part.sha256"), total)]
    with tarfile.open(path, "w") as tar:
        for one, content in (*front, *listed):
            if one.isreg():
                one.size = len(content)
            tar.addfile(one, io.BytesIO(content) if one.isreg() else None)


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "two/../../outside", "a b"])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "one").write_bytes(b"one")
    (path,) = write_parts(tmp_path / "pack.tar", tmp_path / "files", "tests")

    def change(header, members):
        header["segments"][0]["path"] = members[0][0].name = name
        listed = [parts._Segment(**header["segments"][0])]
        header["pack"] = parts._name_of_pack(listed)

    rewritten(path, change)
    with pytest.raises(DamagedPartError, match="which no pack holds"):
        read_parts(path, tmp_path / "back", "tests", re.compile("one|two/[a-z]+"))
    assert not (tmp_path / "back").exists() and not (tmp_path / "outside").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
def test_links_and_folders_are_refused(tmp_path, kind):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "one").write_bytes(b"one")
    (path,) = write_parts(tmp_path / "pack.tar", tmp_path / "files", "tests")

    def change(header, members):
        members[0][0].type, members[0][0].linkname = kind, "/etc/passwd"

    rewritten(path, change)
    with pytest.raises(DamagedPartError, match="no file of its own"):
        read_parts(path, tmp_path / "back", "tests", ANY)


def test_a_compressed_tar_is_refused(tmp_path):
    with tarfile.open(tmp_path / "pack.tar", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("part.json"))
    with pytest.raises(DamagedPartError, match=re.escape("pack.tar")):
        read_parts(tmp_path / "pack.tar", tmp_path / "back", "tests", ANY)


# -- half precision -------------------------------------------------------------------------------


def stored(folder: Path, values: np.ndarray) -> Path:
    """A model file with these weights."""
    model = keras.Sequential([keras.Input((len(values),)), keras.layers.Dense(1, use_bias=False)])
    model.layers[0].set_weights([values.astype(np.float32)[:, None]])
    save_deflated(model, folder / "model.keras")
    return folder / "model.keras"


def bits(path: Path) -> np.ndarray:
    """The bits of the weights of ``stored``."""
    (weights,) = keras.saving.load_model(path, compile=False).get_weights()
    return weights[:, 0].view(np.uint32)


def test_what_half_precision_cannot_hold_is_kept_bit_for_bit(tmp_path):
    values = np.random.default_rng(0).normal(size=200).astype(np.float16).astype(np.float64)
    rare = [65504, 65536, -1e30, 1e-8, 2.0**-25, 2.0**-24, -0.0, 0.0, 1 + 2.0**-20, 3e-39]
    values[: len(rare)] = rare
    path = stored(tmp_path, values)
    pack_model(path, tmp_path / "packed.npz", {"of": "a test"})
    with np.load(tmp_path / "packed.npz") as file:
        assert file["a00000"].dtype == np.float16
        assert sorted(file["a00000_at"]) == [1, 2, 3, 4, 8, 9]
    unpack_model(tmp_path / "packed.npz", tmp_path / "back.keras")
    np.testing.assert_array_equal(bits(tmp_path / "back.keras"), bits(path))
    assert read_about(tmp_path / "packed.npz") == {"of": "a test"}


def test_weights_that_were_never_rounded_are_kept_whole(tmp_path):
    path = stored(tmp_path, np.random.default_rng(0).normal(size=200))
    pack_model(path, tmp_path / "packed.npz", {})
    with np.load(tmp_path / "packed.npz") as file:
        assert file["a00000"].dtype == np.float32
    unpack_model(tmp_path / "packed.npz", tmp_path / "back.keras")
    np.testing.assert_array_equal(bits(tmp_path / "back.keras"), bits(path))


def test_a_purifier_comes_back_with_its_generators_and_purifies_the_same(tmp_path):
    purifier = get_purifier("sfl_vae").for_images((28, 28, 1), 10, width=0.05, seed=3)
    save_deflated(purifier, tmp_path / "model.keras")
    pack_model(tmp_path / "model.keras", tmp_path / "packed.npz", {})
    unpack_model(tmp_path / "packed.npz", tmp_path / "back.keras")
    one, other = (load_keras_model(tmp_path / name) for name in ("model.keras", "back.keras"))
    assert weights_hash(one) == weights_hash(other)
    images = np.random.default_rng(0).random((3, 28, 28, 1), dtype=np.float32)
    for model in (one, other):
        model.reset_randomness(0)
    np.testing.assert_array_equal(one.purify(images), other.purify(images))


def test_changed_weights_are_not_taken(tmp_path):
    path = stored(tmp_path, np.ones(50))
    pack_model(path, tmp_path / "packed.npz", {})
    with np.load(tmp_path / "packed.npz") as file:
        arrays = dict(file)
    arrays["a00000"] = arrays["a00000"] * 2
    np.savez(tmp_path / "packed.npz", **arrays)
    with pytest.raises(DamagedArtifactError, match="other weights than were packed"):
        unpack_model(tmp_path / "packed.npz", tmp_path / "back.keras")
    np.savez_compressed(tmp_path / "packed.npz", **arrays)
    with pytest.raises(DamagedArtifactError, match="compressed"):
        unpack_model(tmp_path / "packed.npz", tmp_path / "back.keras")
    assert not (tmp_path / "back.keras").exists()


# -- a run ----------------------------------------------------------------------------------------


def small_run(folder: Path):
    return tiny_run(folder, smallest_profile(), SMALLEST_EXHIBITS)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A finished run with an unfinished training beside it, and its pack."""
    folder = tmp_path_factory.mktemp("packed")
    scheduler.run_all(small_run(folder))
    checkpoints = folder / "artifacts" / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    name = f"targets-{'0' * 16}.npz"
    np.savez(checkpoints / name, epoch=np.asarray(3), v0000=np.ones(4))
    np.savez(checkpoints / f"targets-{'1' * 16}.npz", v0000=np.ones(3_000_000))
    found = pack(small_run(folder), folder / "out" / "models.tar", SMALL)
    assert found.trainings == 1 and found.left_out == (f"targets-{'1' * 16}",)
    assert found.models >= 3 and len(found.files) > 2
    return folder


def taken(folder: Path, packed: Path) -> Path:
    """A copy of the pack."""
    shutil.copytree(packed / "out", folder / "in")
    return folder / "in" / "models.tar"


def test_an_unpacked_run_trains_and_measures_nothing(packed, tmp_path, monkeypatch):
    done = unpack(small_run(tmp_path), taken(tmp_path, packed))
    assert (done.models, done.trainings) == (
        len(list(ArtifactStore(packed / "artifacts").models())),
        1,
    )
    assert done.rows == len(rows_without_seconds(packed))
    assert rows_without_seconds(tmp_path) == rows_without_seconds(packed) != []
    assert different_arrays(tmp_path, packed) == []
    models = [study_of(small_run(folder)).models for folder in (packed, tmp_path)]
    monkeypatch.setattr(fitting, "fit", None)
    for name in ("A", "B"):
        assert weights_hash(models[0].target(name)) == weights_hash(models[1].target(name))
    monkeypatch.setattr(AttackedSets, "images", None)
    scheduler.run_all(small_run(tmp_path))
    assert rows_without_seconds(tmp_path) == rows_without_seconds(packed)
    assert list((tmp_path / "results" / "figures").rglob("*.png"))


def test_manifests_say_where_a_model_was_made(packed, tmp_path):
    for path in (packed / "artifacts").glob("targets/*/manifest.json"):
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, "environment": {"device": "elsewhere"}}))
    pack(small_run(packed), tmp_path / "again.tar")
    unpack(small_run(tmp_path), tmp_path / "again.tar")
    manifests = list((tmp_path / "artifacts").glob("targets/*/manifest.json"))
    assert manifests
    for path in manifests:
        assert json.loads(path.read_text())["environment"] == {"device": "elsewhere"}


def test_what_is_there_stays(packed, tmp_path):
    run, file = small_run(tmp_path), taken(tmp_path, packed)
    unpack(run, file)
    before = contents(tmp_path)
    done = unpack(run, file)
    assert (done.models, done.trainings, done.rows) == (0, 0, 0)
    assert contents(tmp_path) == before


def test_the_further_of_two_unfinished_trainings_stays(packed, tmp_path):
    for epoch, kept in ((2, 3), (5, 5)):
        folder = tmp_path / str(epoch)
        path = folder / "artifacts" / "checkpoints" / f"targets-{'0' * 16}.npz"
        path.parent.mkdir(parents=True)
        np.savez(path, epoch=np.asarray(epoch))
        unpack(small_run(folder), taken(folder, packed))
        with np.load(path) as file:
            assert file["epoch"] == kept


@pytest.mark.parametrize("part", [1, 2])
def test_nothing_is_taken_of_a_pack_with_a_damaged_part(packed, tmp_path, part):
    path = part_path(taken(tmp_path, packed), part)
    content = path.read_bytes()
    path.write_bytes(content[:-20_000] + bytes(20_000))
    with pytest.raises(DamagedPartError, match=re.escape(path.name)):
        unpack(small_run(tmp_path), tmp_path / "in" / "models.tar")
    left = [one for one in (tmp_path / "artifacts").rglob("*") if one.is_file()]
    assert left == [] and not (tmp_path / "results").exists()


def test_a_full_disk_leaves_no_half_of_anything(packed, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packing, "unpack_model", full)
    with pytest.raises(OSError, match="No space"):
        unpack(small_run(tmp_path), taken(tmp_path, packed))
    assert [one for one in (tmp_path / "artifacts").rglob("*") if one.is_file()] == []


# -- the command ----------------------------------------------------------------------------------


def folders(folder: Path) -> list[str]:
    return ["--results-dir", str(folder / "results"), "--artifacts-dir", str(folder / "artifacts")]


def test_the_command_packs_and_unpacks(packed, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(presets, "profile", lambda name: smallest_profile())
    file = str(tmp_path / "models.tar")
    assert run_all.main([*folders(packed), "--pack", file]) == 0
    assert "Packed: 3 models" in capsys.readouterr().out
    assert run_all.main([*folders(tmp_path), "--unpack", file]) == 0
    assert "Taken over: 3 models" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pack", "x.zip"], "name of a pack to end in .tar"),
        (["--pack", "x.tar"], "to pack, received none"),
        (["--unpack", "x.tar"], "Expected the part x.tar, received no file"),
    ],
)
def test_the_command_refuses_in_a_sentence(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_all.main([*folders(tmp_path), *arguments]) == 2
    text = capsys.readouterr().err
    assert text.startswith("error: ") and message in text and text.count("\n") == 1


def test_a_pack_of_another_profile_is_refused(packed, tmp_path, capsys):
    file = taken(tmp_path, packed)
    assert run_all.main([*folders(tmp_path), "--unpack", str(file)]) == 2
    assert "to be a pack of profile demo, received one of profile tiny" in capsys.readouterr().err
