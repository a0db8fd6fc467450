"""Data sets as ``.npz`` files, and the pipeline on a machine that has no TensorFlow."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from attacks.attack import Attack
from experiments import datasets, fitting, image_files, scheduler
from experiments.config import DatasetConfig
from experiments.datasets import DatasetError
from experiments.reproducibility import array_hash
from tests.tiny_profile import SMALLEST_EXHIBITS, smallest_profile, tiny_run

ROOT = Path(__file__).resolve().parent.parent
MNIST = DatasetConfig(name="mnist", validation_size=2)
WITHOUT_TENSORFLOW = """
import runpy, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "tensorflow_datasets", "tensorflow_probability"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def made_arrays(number: int = 12, shape: tuple[int, ...] = (28, 28, 1)) -> dict[str, np.ndarray]:
    """Random images and labels under the names of the members."""
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (number, *shape), np.uint8),
        "y_train": rng.integers(0, 10, number).astype(np.uint8),
        "x_test": rng.integers(0, 256, (number // 2, *shape), np.uint8),
        "y_test": rng.integers(0, 10, number // 2).astype(np.uint8),
    }


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A directory with a few images in the format of TensorFlow Datasets."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    folder, arrays = tmp_path_factory.mktemp("tfds"), made_arrays()
    features = {
        "image": tfds.features.Image(shape=(28, 28, 1)),
        "label": tfds.features.ClassLabel(num_classes=10),
    }
    tfds.dataset_builders.store_as_tfds_dataset(
        name="mnist",
        version="3.0.1",
        features=tfds.features.FeaturesDict(features),
        split_datasets={
            split: tf.data.Dataset.from_tensor_slices(
                {"image": arrays[f"x_{split}"], "label": arrays[f"y_{split}"].astype(np.int64)}
            )
            for split in ("train", "test")
        },
        data_dir=folder,
        disable_shuffling=True,
    )
    return folder


def test_what_is_exported_is_what_tensorflow_datasets_gives(prepared, tmp_path, capsys):
    command = ["export", "mnist", "--data-dir", str(prepared), "--to", str(tmp_path / "new")]
    assert datasets.main(command) == 0
    there, here = (datasets.load(MNIST, folder) for folder in (prepared, tmp_path / "new"))
    assert here.checksum == there.checksum
    assert f"12 + 6 images, 0.0 MB, checksum {here.checksum}" in capsys.readouterr().out
    for split in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(here, split).images, getattr(there, split).images)
        np.testing.assert_array_equal(getattr(here, split).labels, getattr(there, split).labels)
    with np.load(tmp_path / "new" / "mnist.npz", allow_pickle=False) as file:
        assert sorted(file.files) == ["x_test", "x_train", "y_test", "y_train"]
        assert {file[name].dtype for name in file.files} == {np.dtype(np.uint8)}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mnist.npz"]


def test_the_file_comes_before_a_directory_of_the_same_name(prepared, tmp_path):
    (tmp_path / "mnist").symlink_to(prepared / "mnist")
    from_directory = datasets.load(MNIST, tmp_path).checksum
    arrays = made_arrays(20)
    np.savez(tmp_path / "mnist.npz", **arrays)
    loaded = datasets.load(MNIST, tmp_path)
    assert (len(loaded.train), len(loaded.test)) == (18, 10)
    assert loaded.checksum != from_directory


def test_the_checksum_is_that_of_images_and_long_labels(tmp_path):
    """Files of Keras have no axis of channels, those of CIFAR-10 a column of labels."""
    arrays = made_arrays()
    expected = array_hash(
        *(a.astype(np.int64) if name[0] == "y" else a for name, a in arrays.items())
    )
    flat = {name: a[..., 0] if name[0] == "x" else a[:, np.newaxis] for name, a in arrays.items()}
    for members in (arrays, flat):
        np.savez(tmp_path / "mnist.npz", **members)
        assert datasets.load(MNIST, tmp_path).checksum == expected


def test_a_folder_without_the_data_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DatasetError, match=r"mnist.npz, received none.*export mnist.*copy it here"):
        datasets.load(MNIST, tmp_path)


def test_export_without_any_folder_asks_for_one(monkeypatch, capsys):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    assert datasets.main(["export", "mnist"]) == 2
    assert "error: Expected a folder to write to, received none. Give" in capsys.readouterr().err


def with_changes(**changes: object) -> dict[str, object]:
    return {**made_arrays(), **changes}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"x_train": np.zeros((2, 28, 28), np.uint8)}, "the members x_train"),
        (with_changes(extra=np.zeros(2)), "the members .*, extra"),
        (made_arrays(shape=(32, 32, 3)), r"x_train \(12, 32, 32, 3\) of uint8, not \(n, 28, 28, 1"),
        (with_changes(x_test=np.zeros((6, 28, 28, 1))), r"x_test .* of float64, not .* of uint8"),
        (with_changes(x_test=np.zeros((0, 28, 28, 1), np.uint8)), r"x_test \(0, 28, 28, 1\)"),
        (with_changes(y_train=np.zeros(11, np.uint8)), r"y_train \(11,\) of uint8, not \(12,\)"),
        (with_changes(y_train=np.zeros(12, np.float32)), "y_train .* of float32, not .* integers"),
        (with_changes(y_test=np.full(6, 10)), "y_test from 10 to 10, not 0 to 9"),
        (with_changes(y_test=np.full(6, -1)), "y_test from -1 to -1, not 0 to 9"),
        (with_changes(y_test=np.array([{}] * 6)), "damaged one .*allow_pickle"),
    ],
)
def test_a_file_with_something_else_is_refused(members, message, tmp_path):
    np.savez(tmp_path / "mnist.npz", **members)
    with pytest.raises(DatasetError, match=f"mnist.npz with the images of mnist .*{message}"):
        datasets.load(MNIST, tmp_path)


def test_a_damaged_file_is_called_damaged(tmp_path):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **made_arrays())
    content = buffer.getvalue()
    with zipfile.ZipFile(buffer) as archive:
        start = archive.getinfo("x_test.npy").header_offset + 200
    flipped = bytearray(content)
    flipped[start] ^= 1
    for damaged in (b"", b"no archive", content[: len(content) // 2], bytes(flipped)):
        (tmp_path / "mnist.npz").write_bytes(damaged)
        with pytest.raises(DatasetError, match=r"received a damaged one .*Write it anew"):
            datasets.load(MNIST, tmp_path)


def test_unknown_names_list_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="one of mnist, fashion_mnist, cifar10"):
        image_files.read_arrays("digits", tmp_path)


# -- the pipeline on JAX --------------------------------------------------------------------------


def without_tensorflow(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a script of the repository on JAX where nothing of TensorFlow can be imported."""
    environment = {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        # Small networks take longer to compile than to run.
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
    }
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        timeout=300,
    )


def test_the_pipeline_runs_on_jax_and_tensorflow_goes_on_from_there(tmp_path, monkeypatch):
    done = without_tensorflow("tests/tiny_profile.py", tmp_path, "--smallest")
    assert done.returncode == 0, done.stderr[-2000:]
    run = tiny_run(tmp_path, smallest_profile(), SMALLEST_EXHIBITS)
    there = run.rows.read("digits")
    assert {row.metric for row in there} >= {"accuracy"}
    assert len(list(run.results_dir.glob("figures/tiny/*.png"))) == len(SMALLEST_EXHIBITS)
    manifests = [json.loads(path.read_text()) for path in tmp_path.rglob("manifest.json")]
    assert {manifest["environment"]["backend"] for manifest in manifests} == {"jax"}

    def refused(*_, **__):
        pytest.fail("made again")

    monkeypatch.setattr(fitting, "fit", refused)
    monkeypatch.setattr(Attack, "run", refused)
    elsewhere = dataclasses.replace(run, results_dir=tmp_path / "elsewhere")
    scheduler.run_all(elsewhere)
    here = {row.place: row for row in elsewhere.rows.read("digits")}
    assert here.keys() == {row.place for row in there}
    for row in there:
        assert row.config_hash == here[row.place].config_hash
        assert abs(row.value - here[row.place].value) * row.total < 1.5, row
