"""A purifier that was just loaded is exported, and what is written purifies as it does."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from defenses import saving
from defenses.purifier import Purifier
from defenses.registry import get_purifier, purifier_names

ROOT = Path(__file__).resolve().parent.parent
SHAPE, WIDTH, NUM_CLASSES = (28, 28, 1), 0.125, 10
TOLERANCE = 1e-5
FRESH_PROCESS = """
import sys
import keras
import defenses
for name in sys.stdin.read().split():
    purifier = keras.saving.load_model(f"{sys.argv[1]}/{name}.keras", compile=False)
    purifier.export(f"{sys.argv[1]}/{name}", format="tf_saved_model", verbose=False)
"""
#: Ablations are of the same classes, but for VQUNet's, which has other networks.
NAMES = [
    n
    for n in purifier_names()
    if n == "non_vqunet" or not (get_purifier(n).arguments or n == "jpeg")
]
every_purifier = pytest.mark.parametrize("name", NAMES)


def some_images() -> np.ndarray:
    """Four images, of which each is brighter than the one before."""
    brightness = np.linspace(0.1, 1, 4, dtype="float32")[:, None, None, None]
    return brightness * np.random.default_rng(0).random((4, *SHAPE), dtype="float32")


def build(name: str, scale: float = 0.1, **arguments) -> Purifier:
    """A small purifier, its weights moved by ``scale`` so that it tells images apart.

    Another runtime rounds otherwise, which deep networks amplify the more, the larger the scale.
    """
    entry, rng = get_purifier(name), np.random.default_rng(1)
    parameters = inspect.signature(entry.purifier_class).parameters
    short = {"num_restarts": 2, "num_steps": 5}
    arguments |= {key: value for key, value in short.items() if key in parameters}
    purifier = entry.for_images(SHAPE, NUM_CLASSES, width=WIDTH, seed=0, **arguments)
    for variable in purifier.trainable_variables:
        variable.assign_add(rng.normal(0, scale, variable.shape).astype("float32"))
    return purifier


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[Path, dict[str, Purifier]]:
    """A folder with the SavedModel of every purifier, written by a process that loaded it."""
    folder = tmp_path_factory.mktemp("exported")
    purifiers = {name: build(name) for name in NAMES}
    for name, purifier in purifiers.items():
        purifier.save(folder / f"{name}.keras")
    subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS, str(folder)],
        input=" ".join(purifiers),
        text=True,
        check=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "tensorflow"},
        timeout=300,
    )
    return folder, purifiers


@every_purifier
def test_a_saved_model_purifies_as_what_it_was_exported_from(name, exported):
    folder, purifiers = exported
    purifier, loaded, images = purifiers[name], tf.saved_model.load(folder / name), some_images()
    purified = np.asarray(loaded.serve(images))
    assert purified.shape == images.shape
    assert np.isfinite(purified).all()
    assert purified.min() >= 0 and purified.max() <= 1
    assert loaded.serve(images[:3]).shape == (3, *SHAPE)
    if purifier.is_stochastic:
        assert np.abs(purified - loaded.serve(images)).max() > 0
    else:
        expected = purifier.purify(images)
        assert np.ptp(expected, axis=0).max() > 10 * TOLERANCE  # or any image would pass
        np.testing.assert_allclose(purified, expected, atol=TOLERANCE)


@pytest.mark.parametrize("format", ["tf_saved_model", "onnx"])
def test_what_python_computes_is_not_exported(format, tmp_path):
    with pytest.raises(ValueError, match=r"runs without Python for export, received .*JPEG"):
        build("jpeg").export(tmp_path / "jpeg", format=format)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["magnet", "sfl_vae"])
def test_a_saved_model_need_not_be_kept(name, exported):
    folder, purifiers = exported
    images = some_images()
    served = np.asarray(tf.saved_model.load(folder / name).serve(images))
    layer = np.asarray(keras.layers.TFSMLayer(folder / name, call_endpoint="serve")(images))
    assert served.shape == layer.shape == images.shape
    if not purifiers[name].is_stochastic:
        np.testing.assert_allclose(served, purifiers[name].purify(images), atol=TOLERANCE)
        np.testing.assert_allclose(layer, served, atol=TOLERANCE)


def test_onnx_without_its_packages_names_them(tmp_path, monkeypatch):
    monkeypatch.setattr(saving.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install tf2onnx onnx"):
        build("magnet").export(tmp_path / "magnet.onnx", format="onnx")


@pytest.mark.parametrize("name", ["sfl_vae", "puvae", "defense_gan"])
def test_noise_does_not_go_into_an_onnx_file(name, tmp_path):
    with pytest.raises(ValueError, match="deterministic purifier"):
        build(name).export(tmp_path / "purifier.onnx", format="onnx")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *((name, {"scale": 0.05}) for name in ("defense_cyclegan", "non_vqunet")),
        *((name, {}) for name in ("defense_vae", "magnet")),
        ("sfl_vae", {"scale": 0.05, "mean_latent": True}),
    ],
)
def test_an_onnx_file_purifies_as_what_it_was_exported_from(name, arguments, tmp_path):
    pytest.importorskip("tf2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    purifier, path, images = build(name, **arguments), tmp_path / "purifier.onnx", some_images()
    purifier.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(str(path))
    (given,) = session.get_inputs()
    assert given.name == "images"
    (purified,) = session.run(None, {"images": images})
    expected = purifier.purify(images)
    assert np.ptp(expected, axis=0).max() > 10 * TOLERANCE
    np.testing.assert_allclose(purified, expected, atol=TOLERANCE)
    assert session.run(None, {"images": images[:3]})[0].shape == (3, *SHAPE)


@pytest.mark.parametrize(("name", "arguments"), [("vqunet", {}), ("puvae", {"noise_scale": 0.0})])
def test_operations_that_onnx_lacks_leave_no_file(name, arguments, tmp_path):
    pytest.importorskip("tf2onnx")
    with pytest.raises(ValueError, match="operations that ONNX has"):
        build(name, **arguments).export(tmp_path / "purifier.onnx", format="onnx", verbose=False)
    assert list(tmp_path.iterdir()) == []
