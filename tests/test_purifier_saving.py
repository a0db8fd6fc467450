"""How every purifier of the registry is saved and loaded elsewhere, whatever the method."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest

from defenses import saving
from defenses.registry import get_purifier
from tests.purifier_helpers import (
    as_tensors,
    build,
    compiled,
    every_method,
    methods,
    some_images,
    training_batch,
    trains,
    untrained,
)

ROOT = Path(__file__).resolve().parent.parent
FRESH_PROCESS = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == sys.argv[2]:
            raise ImportError(name)
if len(sys.argv) > 2:
    sys.meta_path.insert(0, Blocked())
import keras, numpy as np
import defenses
images = np.load(sys.argv[1] + "/images.npy")
purified = {}
for name in sys.stdin.read().split():
    purifier = keras.saving.load_model(f"{sys.argv[1]}/{name}.keras", safe_mode=True)
    purifier.reset_randomness(7)
    purified[name] = purifier.purify(images)
np.savez(sys.argv[1] + "/purified.npz", **purified)
"""


def purify_elsewhere(folder: Path, names, *blocked: str, **environment: str):
    subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS, str(folder), *blocked],
        input=" ".join(names),
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        timeout=300,
    )
    with np.load(folder / "purified.npz", allow_pickle=False) as file:
        return dict(file)


def save_all(folder: Path, deterministic: bool) -> dict[str, np.ndarray]:
    """Saves every purifier, no two of its weights alike, and returns what it purifies to."""
    images, rng = some_images(6, seed=9), np.random.default_rng(0)
    np.save(folder / "images.npy", images)
    purified = {}
    for name in methods():
        purifier = build(name, deterministic=deterministic)
        for variable in purifier.trainable_variables:
            variable.assign_add(rng.uniform(0, 0.01, variable.shape).astype("float32"))
        purifier.save(folder / f"{name}.keras")
        purifier.reset_randomness(7)
        purified[name] = purifier.purify(images)
    return purified


def test_a_fresh_process_purifies_bit_for_bit(tmp_path):
    here = save_all(tmp_path, deterministic=False)
    assert [path.name for path in tmp_path.glob(".*")] == []
    elsewhere = purify_elsewhere(tmp_path, methods(), KERAS_BACKEND="tensorflow")
    for name in methods():
        np.testing.assert_array_equal(elsewhere[name], here[name], err_msg=name)


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_another_backend_purifies_alike_without_tensorflow(tmp_path):
    here = save_all(tmp_path, deterministic=True)
    one_per_class = {get_purifier(name).purifier_class: name for name in here}.values()
    names = [n for n in one_per_class if not build(n, deterministic=True).is_stochastic]
    assert names
    elsewhere = purify_elsewhere(tmp_path, names, "tensorflow", KERAS_BACKEND="jax")
    for name in names:
        np.testing.assert_allclose(elsewhere[name], here[name], atol=1e-5, err_msg=name)


@every_method
def test_a_saved_purifier_carries_no_optimizer(name, tmp_path):
    purifier = build(name)
    if trains(purifier):
        compiled(purifier, lambda: keras.optimizers.Adam(1e-3))
        purifier.train_step(as_tensors(training_batch(purifier, 2)))
    path = tmp_path / f"{name}.keras"
    purifier.save(path)
    size = sum(variable.numpy().nbytes for variable in purifier.weights)
    with zipfile.ZipFile(path) as archive:
        # With the two moments of Adam the weights would take three times their size.
        assert archive.getinfo("model.weights.h5").file_size < 1.5 * size + 200_000
    assert keras.saving.load_model(path, safe_mode=True).compiled is False


@every_method
def test_saving_refuses_other_formats_and_taken_paths(name, tmp_path):
    purifier = untrained(name)
    with pytest.raises(ValueError, match=r"ends in \.keras"):
        purifier.save(tmp_path / "purifier.h5")
    purifier.save(tmp_path / "purifier.keras")
    with pytest.raises(ValueError, match="free path"):
        purifier.save(tmp_path / "purifier.keras", overwrite=False)


def test_paths_that_cannot_be_written_to_are_explained(tmp_path, monkeypatch):
    purifier = untrained("magnet")
    (tmp_path / "folder.keras").mkdir()
    (tmp_path / "file").touch()
    for path, message in [
        ("hf://me/my_magnet", "on this computer, received 'hf://me/my_magnet'"),
        ("gs://bucket/a.keras", "on this computer"),
        (tmp_path / "a.KERAS", r"ends in \.keras, received .*a.KERAS"),
        (tmp_path / "a", r"Pass 'a\.keras'"),
        (tmp_path / "none" / "a.keras", "a folder that exists, received .*os.makedirs"),
        (tmp_path / "folder.keras", "which is a folder"),
        (None, "Expected a path such as 'name.keras', received None"),
    ]:
        with pytest.raises(ValueError, match=message):
            purifier.save(path)
    with pytest.raises(ValueError, match="overwrite to be True or False, received 'no'"):
        purifier.save(tmp_path / "a.keras", overwrite="no")
    for path, message in [("hf://me/a", "this computer"), (tmp_path / "file", "is a file")]:
        with pytest.raises(ValueError, match=message):
            purifier.export(path)
    purifier.save(os.fsencode(tmp_path / "a.keras"))
    assert (tmp_path / "a.keras").is_file()
    monkeypatch.setattr(saving.os, "access", lambda *given: False)
    with pytest.raises(ValueError, match="a folder that can be written to"):
        purifier.save(tmp_path / "b.keras")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_damaged_weights_are_neither_saved_nor_exported(value, tmp_path):
    purifier = build("defense_cyclegan")
    bias = purifier.generator_b.trainable_variables[1]
    bias.assign(np.full(bias.shape, value))
    message = f"received {bias.shape[0]} values that are NaN or infinite in .*bias"
    with pytest.raises(ValueError, match=message):
        purifier.save(tmp_path / "a.keras")
    with pytest.raises(ValueError, match=message):
        purifier.export(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []
