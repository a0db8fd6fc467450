"""JPEG: what is lost, the same everywhere, and how it is attacked."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from attacks import get_attack
from defenses.defended_classifier import DefendedClassifier
from defenses.jpeg import JPEG, compressed
from tests.attack_helpers import linear_classifier
from tests.model_helpers import COLOUR, GREY, images

ROOT = Path(__file__).resolve().parents[1]
ON_JAX = """
import sys
import numpy as np, jax, keras
from defenses.jpeg import JPEG
images = np.load(sys.argv[1] + "/images.npy")
purifier = keras.saving.load_model(sys.argv[1] + "/jpeg.keras", safe_mode=True)
called = jax.jit(lambda x: purifier(x))(images)
np.savez(sys.argv[1] + "/jax.npz", purified=purifier.purify(images), called=called)
"""


def smooth(shape=COLOUR, count: int = 3) -> np.ndarray:
    """Images without edges."""
    rows = np.linspace(0, 1, shape[0])[:, None, None]
    columns = np.linspace(0, 1, shape[1])[None, :, None]
    made = [rows * 0.5 + columns * 0.1 * n + np.zeros(shape) for n in range(count)]
    return np.stack(made).astype("float32")


def array(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_values_are_those_of_eight_bits(shape):
    purified = JPEG(shape).purify(images(shape, 5))
    assert purified.shape == (5, *shape) and purified.dtype == np.float32
    assert purified.min() >= 0 and purified.max() <= 1
    np.testing.assert_array_equal(np.rint(purified * 255).astype("float32") / 255, purified)


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_the_file_is_an_ordinary_one(shape):
    """Grey images have one channel in it, colour half the resolution."""
    image = images(shape, 1)[0]
    code, file = np.rint(image * 255).astype("uint8"), io.BytesIO()
    Image.fromarray(code.squeeze()).save(file, "JPEG", quality=75)  # Pillow's default is 4:2:0
    expected = np.asarray(Image.open(file)).reshape(shape) / np.float32(255)
    np.testing.assert_array_equal(compressed(image[None], 75)[0], expected)
    assert Image.open(file).mode == ("L" if shape == GREY else "RGB")


def test_quality_decides_what_is_lost():
    clean, noisy = smooth(), images(COLOUR)
    lost = [np.abs(JPEG(COLOUR, quality=q).purify(noisy) - noisy).mean() for q in (10, 50, 75, 95)]
    assert lost == sorted(lost, reverse=True) and lost[0] > 1.2 * lost[-1]
    assert np.abs(JPEG(COLOUR).purify(clean) - clean).max() < 0.03
    # A perturbation of single pixels is damped, the smooth image is not.
    attacked = np.clip(clean + 8 / 255 * np.sign(noisy - 0.5), 0, 1).astype("float32")
    purifier = JPEG(COLOUR, quality=30)
    left = np.abs(purifier.purify(attacked) - purifier.purify(clean)).mean()
    assert left < 0.7 * np.abs(attacked - clean).mean()


def test_values_are_rounded_to_the_nearest_code():
    grey = np.full((1, *GREY), 100.4 / 255, "float32")
    np.testing.assert_allclose(JPEG(GREY, quality=100).purify(grey), 100 / 255, atol=1e-6)


def test_a_compiled_function_computes_the_same():
    purifier, clean = JPEG(COLOUR), images(COLOUR)
    expected = purifier.purify(clean)
    function = tf.function(lambda x: purifier(x))
    np.testing.assert_array_equal(array(function(tf.constant(clean))), expected)
    assert function.get_concrete_function(tf.TensorSpec((None, *COLOUR))).output_shapes[1:] == (
        tf.TensorShape(COLOUR)
    )
    np.testing.assert_array_equal(array(purifier(clean)), expected)
    one = np.concatenate([purifier.purify(image[None]) for image in clean])
    np.testing.assert_array_equal(one, expected)
    assert purifier.supports_jit is False
    assert purifier(keras.Input(COLOUR)).shape == (None, *COLOUR)


def test_jax_computes_the_same(tmp_path):
    purifier, clean = JPEG(COLOUR, quality=60), images(COLOUR, 40)
    purifier.save(tmp_path / "jpeg.keras")
    np.save(tmp_path / "images.npy", clean)
    subprocess.run(
        [sys.executable, "-c", ON_JAX, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        check=True,
        timeout=300,
    )
    with np.load(tmp_path / "jax.npz") as found:
        for name in ("purified", "called"):
            np.testing.assert_array_equal(found[name], purifier.purify(clean))


def test_it_is_attacked_by_the_gradient_of_the_identity():
    classifier, weights, bias = linear_classifier(3, COLOUR)
    purifier, clean, labels = JPEG(COLOUR), 0.25 + 0.5 * images(COLOUR, 6), np.arange(6) % 3
    assert DefendedClassifier(purifier, [classifier]).differentiable is False
    with pytest.raises(ValueError, match="BPDA"):
        get_attack("fgsm")(DefendedClassifier(purifier, [classifier]), clean, labels, 0.1)
    defended = DefendedClassifier(purifier, [classifier], identity_gradient=True)
    adversarial = get_attack("fgsm")(defended, clean, labels, 0.1)
    logits = purifier.purify(clean).reshape(6, -1) @ weights + bias
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    slope = ((p - np.eye(3)[labels]) @ weights.T).reshape(clean.shape)
    sure = np.abs(slope) > 1e-4 * np.abs(slope).max()
    expected = clean + np.float32(0.1) * np.sign(slope)
    np.testing.assert_allclose(adversarial[sure], expected[sure], atol=1e-6)


def test_there_is_nothing_to_train_and_mistakes_are_explained():
    purifier = JPEG.for_images(GREY, quality=30, width=0.5, seed=3)
    assert (purifier.weights, purifier.phases(), purifier.loss_names) == ([], [], ())
    twin = JPEG.from_config(purifier.get_config())
    assert (twin.quality, twin.image_shape) == (30, GREY)
    for quality in (0, 101, 7.5):
        with pytest.raises(ValueError, match="quality to be an integer of at least 1"):
            JPEG(GREY, quality=quality)
    with pytest.raises(ValueError, match="Expected images with 1 or 3 channels, received 2"):
        JPEG((8, 8, 2))
