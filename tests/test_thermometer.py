"""Thermometer codes: levels by hand, the way back, and classifiers behind them."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from attacks import get_attack
from defenses.defended_classifier import DefendedClassifier
from defenses.thermometer import Thermometer
from models.classifiers import classifier_a
from models.puvae_classifiers import puvae_classifier
from models.registry import (
    CLASSIFIERS,
    PUVAE_CLASSIFIERS,
    THERMOMETER_CLASSIFIERS,
    VOTERS,
    build_classifier,
    classifier_names,
)
from models.thermometer import ThermometerCode, thermometer_classifier
from tests.model_helpers import COLOUR, GREY, images, num_trainable

EIGHT_BITS = np.arange(256, dtype="float32") / np.float32(255)


def array(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


def codes(values, levels: int = 16) -> np.ndarray:
    """``(n, levels)`` for as many values."""
    return array(ThermometerCode(levels)(np.reshape(values, (-1, 1)).astype("float32")))


@pytest.mark.parametrize(("value", "ones"), [(0, 1), (0.1, 2), (0.5, 8), (1, 16)])
def test_levels_by_hand(value, ones):
    assert codes(value).tolist() == [[1.0] * ones + [0.0] * (16 - ones)]


@pytest.mark.parametrize("levels", [2, 3, 16, 100, 256])
def test_codes_do_not_rise_and_have_one_more_than_the_level(levels):
    values = np.concatenate([EIGHT_BITS, np.random.default_rng(0).random(500, "float32")])
    found = codes(values, levels)
    assert set(np.unique(found)) == {0.0, 1.0}
    assert (np.diff(found, axis=1) <= 0).all()
    level = np.floor(np.float32(0.99999 * levels) * values)
    np.testing.assert_array_equal(found.sum(axis=1), level + 1)


def test_the_levels_of_a_channel_lie_side_by_side():
    image = np.array([0.0, 0.5, 1.0], "float32").reshape(1, 1, 1, 3)
    layer = ThermometerCode(4)
    found = array(layer(image))
    assert found.shape == (1, 1, 1, 12) == layer.compute_output_shape((1, 1, 1, 3))
    assert found.ravel().tolist() == [1, 0, 0, 0] + [1, 1, 0, 0] + [1, 1, 1, 1]
    assert layer(keras.Input(COLOUR)).shape == (None, 32, 32, 12)


@pytest.mark.parametrize("levels", [2, 16, 256])
def test_the_decoded_value_has_the_same_code(levels):
    layer = ThermometerCode(levels)
    values = np.random.default_rng(0).random((20, 8, 8, 3), "float32")
    values[0], values[1] = 0, 1
    found = layer(values)
    decoded = array(layer.decode(found))
    assert decoded.shape == values.shape
    np.testing.assert_array_equal(array(layer(decoded)), array(found))
    assert np.abs(decoded - values).max() <= 0.5 / levels + 2e-5
    assert decoded.min() == 0.5 / levels and decoded.max() == 1 - 0.5 / levels


def test_backwards_the_position_of_the_level_alone_has_a_slope():
    values = tf.constant([[0.1], [0.49], [0.9], [1.0]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(values)
        found = ThermometerCode(4)(values)
    slopes = array(tape.jacobian(found, values))[np.arange(4), :, np.arange(4), 0]
    assert slopes.tolist() == [[4, 0, 0, 0], [0, 4, 0, 0], [0, 0, 0, 4], [0, 0, 0, 4]]


def test_a_layer_in_half_precision_keeps_the_levels():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found = codes(EIGHT_BITS, 100)
    finally:
        keras.config.set_dtype_policy(before)
    np.testing.assert_array_equal(found, codes(EIGHT_BITS, 100))


# ---------------------------------------------------------------------- the purifier


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_the_purifier_rounds_to_what_has_the_same_codes(shape, tmp_path):
    purifier, clean = Thermometer.for_images(shape, levels=4), images(shape)
    purified = purifier.purify(clean)
    assert np.unique(purified).tolist() == [0.125, 0.375, 0.625, 0.875]
    np.testing.assert_array_equal(purifier.purify(purified), purified)
    layer = ThermometerCode(4)
    np.testing.assert_array_equal(array(layer(purified)), array(layer(clean)))
    assert (purifier.weights, purifier.phases(), purifier.differentiable) == ([], [], False)
    purifier.save(tmp_path / "a.keras")
    loaded = keras.saving.load_model(tmp_path / "a.keras", safe_mode=True)
    assert (loaded.code.levels, loaded.image_shape) == (4, shape)
    np.testing.assert_array_equal(loaded.purify(clean), purified)
    assert DefendedClassifier(purifier, [classifier_a(shape, width=0.1)]).differentiable is False


def test_numbers_of_levels_out_of_range_are_explained():
    for levels in (1, 257, 2.5, True):
        with pytest.raises(ValueError, match="levels to be an integer of at least 2"):
            Thermometer.for_images(GREY, levels=levels)
        with pytest.raises(ValueError, match="levels to be an integer of at least 2"):
            ThermometerCode(levels)


# ---------------------------------------------------------------------- classifiers


@pytest.mark.parametrize("name", ["resnet_a", "wide_resnet_a"])
@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_only_the_stem_is_larger(name, shape):
    plain, coded = (
        build_classifier(which, shape, width=0.25, depth=1)
        for which in (name, f"thermometer_{name}")
    )
    filters = next(
        layer for layer in plain.layers if isinstance(layer, keras.layers.Conv2D)
    ).filters
    assert num_trainable(coded) - num_trainable(plain) == 9 * 15 * shape[-1] * filters
    assert (coded.name, coded.input_shape) == (f"thermometer_{name}", plain.input_shape)
    assert len(coded.losses) == len(plain.losses) > 0
    clean = images(shape)
    assert coded(clean).shape == (3, 10)
    rounded = Thermometer(shape).purify(clean)
    np.testing.assert_allclose(array(coded(rounded)), array(coded(clean)), atol=1e-6)
    inner = coded.get_layer(f"thermometer_{name}_network")
    assert array(inner.get_layer("standardise")(np.ones((1, 2, 2, 16 * shape[-1])))).max() == 1


def test_every_residual_network_has_one():
    residual = {f"thermometer_{n}" for n in VOTERS if not n.startswith("densenet")}
    assert set(THERMOMETER_CLASSIFIERS) == {*residual, "thermometer_narrow_resnet"}
    known = {*classifier_names(), *CLASSIFIERS, *PUVAE_CLASSIFIERS}
    assert not set(THERMOMETER_CLASSIFIERS) & known


def test_a_classifier_of_codes_is_attacked_and_saved_as_any_other(tmp_path):
    keras.utils.set_random_seed(0)
    network = partial(puvae_classifier, variant="A")
    classifier = thermometer_classifier(network, GREY, levels=8, width=0.125)
    clean, labels = images(GREY, 6), np.arange(6)
    adversarial = get_attack("pgd", num_steps=5, step_size=0.05)(classifier, clean, labels, 0.15)

    def loss(x) -> float:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        return float(loss(labels, classifier(x)))

    assert loss(adversarial) > loss(clean) + 0.01
    classifier.save(tmp_path / "a.keras")
    loaded = keras.saving.load_model(tmp_path / "a.keras", safe_mode=True)
    np.testing.assert_array_equal(array(loaded(clean)), array(classifier(clean)))
