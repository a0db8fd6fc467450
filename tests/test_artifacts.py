"""The artifact store: made once, written whole, verified when read."""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import threading

import keras
import numpy as np
import pytest

from experiments.artifacts import ARRAYS, MANIFEST, ArtifactStore, save_deflated
from experiments.config import LATER, TrainingConfig
from experiments.fitting import round_weights
from experiments.model_files import DamagedArtifactError, file_hash, load_keras_model
from experiments.reproducibility import array_hash, derive_seed, stable_hash
from results.files import write_atomically

RECIPE = {"config": TrainingConfig(epochs=1), "seed": 0}


class Maker:
    """Counts how often it is asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"x": np.arange(6.0)}


def test_arrays_are_made_once(tmp_path):
    make = Maker()
    for store in (ArtifactStore(tmp_path), ArtifactStore(tmp_path)):
        np.testing.assert_array_equal(store.arrays("sets", RECIPE, make)["x"], np.arange(6.0))
    assert make.calls == 1
    other = {**RECIPE, "seed": 1}
    ArtifactStore(tmp_path).arrays("sets", other, make)
    assert make.calls == 2


@pytest.mark.parametrize("name", [ARRAYS, MANIFEST])
@pytest.mark.parametrize("damage", [b"", b"not what was written"])
def test_damaged_artifact_is_reported_kept_and_rebuilt(tmp_path, caplog, name, damage):
    make, store = Maker(), ArtifactStore(tmp_path)
    store.arrays("sets", RECIPE, make)
    (store.folder("sets", RECIPE) / name).write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(store.arrays("sets", RECIPE, make)["x"], np.arange(6.0))
    assert make.calls == 2
    assert "Damaged artifact" in caplog.text
    assert list((tmp_path / "damaged").rglob(name)), "the damaged file must not be lost"
    store.arrays("sets", RECIPE, make)
    assert make.calls == 2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", "an array"])
def test_a_file_that_is_no_archive_is_made_again_whatever_the_manifest_says(tmp_path, content):
    make, store = Maker(), ArtifactStore(tmp_path)
    store.arrays("sets", RECIPE, make)
    folder = store.folder("sets", RECIPE)
    with (folder / ARRAYS).open("wb") as file:
        np.save(file, np.arange(3)) if content == "an array" else file.write(content)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][ARRAYS] = file_hash(folder / ARRAYS)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    np.testing.assert_array_equal(store.arrays("sets", RECIPE, make)["x"], np.arange(6.0))
    assert make.calls == 2


def test_a_failed_making_leaves_nothing(tmp_path):
    def fail():
        raise RuntimeError("killed")

    store = ArtifactStore(tmp_path)
    with pytest.raises(RuntimeError):
        store.arrays("sets", RECIPE, fail)
    assert not store.has("sets", RECIPE)
    assert set(store.arrays("sets", RECIPE, Maker())) == {"x"}, "nothing is left locked"


def test_of_two_runs_the_second_waits_and_reads_what_the_first_has_made(tmp_path, caplog):
    started, go_on = threading.Event(), threading.Event()
    found: list[dict[str, np.ndarray]] = []

    def slow():
        started.set()
        assert go_on.wait(timeout=60)
        return {"x": np.arange(3.0)}

    def run(make) -> threading.Thread:
        def target():
            found.append(ArtifactStore(tmp_path).arrays("sets", RECIPE, make))

        thread = threading.Thread(target=target)
        thread.start()
        return thread

    with caplog.at_level(logging.WARNING):
        first = run(slow)
        assert started.wait(timeout=60)
        second_makes = Maker()
        second = run(second_makes)
        second.join(timeout=0.5)
        assert second.is_alive() and not found
        go_on.set()
        for thread in (first, second):
            thread.join(timeout=60)
    assert [list(arrays["x"]) for arrays in found] == [[0, 1, 2]] * 2
    assert second_makes.calls == 0
    assert "Waiting for another run" in caplog.text


def test_making_one_artifact_may_ask_for_another(tmp_path):
    store, inner = ArtifactStore(tmp_path), {"config": 1}
    found = store.arrays("sets", RECIPE, lambda: store.arrays("sets", inner, Maker()))
    assert set(found) == {"x"} and store.has("sets", inner)


def test_a_failed_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(temporary):
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def _model():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])


def test_models_come_back_with_equal_weights(tmp_path):
    model, store = _model(), ArtifactStore(tmp_path)
    loaded = store.model("targets", RECIPE, lambda: model)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_model_that_is_known_is_copied_in_and_out(tmp_path):
    known, store = tmp_path / "known.keras", ArtifactStore(tmp_path / "store")
    save_deflated(_model(), known)
    store.model("targets", RECIPE, lambda: pytest.fail("made"), lambda: known)
    store.copy_model("targets", RECIPE, tmp_path / "copy.keras")
    assert (tmp_path / "copy.keras").read_bytes() == known.read_bytes()
    stored = store.folder("targets", RECIPE) / "model.keras"
    stored.write_bytes(stored.read_bytes()[:-1])
    with pytest.raises(DamagedArtifactError, match="differs from its checksum"):
        store.copy_model("targets", RECIPE, tmp_path / "damaged.keras")
    assert not (tmp_path / "damaged.keras").exists()


def test_rounded_weights_deflate_to_less_and_load_bit_for_bit(tmp_path):
    model = keras.Sequential([keras.Input((50,)), keras.layers.Dense(200)])
    before = model.get_weights()
    round_weights(model)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_allclose(new, old, rtol=2**-11)
        mantissa, _ = np.frexp(new)
        np.testing.assert_array_equal(mantissa * 2048, np.round(mantissa * 2048))
    rounded = model.get_weights()
    round_weights(model)
    np.testing.assert_array_equal(model.get_weights()[0], rounded[0])
    save_deflated(model, tmp_path / "deflated.keras")
    model.save(tmp_path / "plain.keras")
    sizes = [(tmp_path / f"{name}.keras").stat().st_size for name in ("deflated", "plain")]
    assert sizes[0] < 0.7 * sizes[1]
    loaded = load_keras_model(tmp_path / "deflated.keras")
    np.testing.assert_array_equal(loaded.get_weights()[0], rounded[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deflated.keras", "plain.keras"]


def test_a_saved_model_carries_no_optimizer(tmp_path):
    model = _model()
    save_deflated(model, tmp_path / "untrained.keras")
    model.compile("adam", "mse")
    model.fit(np.zeros((4, 3)), np.zeros((4, 2)), verbose=0)
    save_deflated(model, tmp_path / "trained.keras")
    sizes = [(tmp_path / f"{name}.keras").stat().st_size for name in ("trained", "untrained")]
    assert sizes[0] < 1.1 * sizes[1]
    assert not keras.saving.load_model(tmp_path / "trained.keras").compiled
    loaded = load_keras_model(tmp_path / "trained.keras")
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])


def test_loader_refuses_other_formats_missing_files_and_other_bytes(tmp_path):
    path = tmp_path / "model.keras"
    with pytest.raises(ValueError, match="Expected a model file at"):
        load_keras_model(path)
    with pytest.raises(ValueError, match=r"Expected a \.keras file"):
        load_keras_model(tmp_path / "model.h5")
    _model().save(path)
    load_keras_model(path, file_hash(path))
    with pytest.raises(ValueError, match="damaged"):
        load_keras_model(path, "0" * 64)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="not a readable Keras model"):
        load_keras_model(path)


def test_loader_refuses_lambda_layers(tmp_path):
    path = tmp_path / "code.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x)]).save(path)
    with pytest.raises(ValueError, match=r"received keras\.layers\.Lambda"):
        load_keras_model(path)


def test_a_full_disk_is_named_and_leaves_nothing_behind(tmp_path, monkeypatch):
    store = ArtifactStore(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", full)
        with pytest.raises(OSError, match="No space left on device") as refused:
            store.arrays("votes", RECIPE, Maker())
    assert refused.value.filename == str(store.folder("votes", RECIPE))
    assert [path.suffix for path in (tmp_path / "votes").iterdir()] == [".lock"]
    np.testing.assert_array_equal(store.arrays("votes", RECIPE, Maker())["x"], np.arange(6.0))


def test_hashes_do_not_depend_on_order_but_on_every_value():
    assert stable_hash({"a": 1, "b": (2.0, None)}) == stable_hash({"b": [2.0, None], "a": 1})
    assert stable_hash({"a": 1}) != stable_hash({"a": 2})
    assert array_hash(np.zeros((2, 3))) != array_hash(np.zeros((3, 2)))
    assert array_hash(np.zeros(2, np.float32)) != array_hash(np.zeros(2, np.int32))
    assert derive_seed(0, "a", "bc") != derive_seed(0, "ab", "c")
    with pytest.raises(TypeError, match="object"):
        stable_hash({"a": object()})


def test_a_field_that_came_later_leaves_older_hashes_alone():
    @dataclasses.dataclass(frozen=True)
    class Grown:
        epochs: int
        momentum: float = dataclasses.field(default=0.9, metadata=LATER)

    assert stable_hash(Grown(3)) == stable_hash({"epochs": 3})
    assert stable_hash(Grown(3, 0.5)) == stable_hash({"epochs": 3, "momentum": 0.5})
