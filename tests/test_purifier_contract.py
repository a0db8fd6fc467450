"""What every purifier of the registry has to keep, whatever the method.

A new purifier is tested here by being registered, and in the same way in
``test_purifier_training`` and ``test_purifier_saving``. Small networks, random images.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from defenses.registry import get_purifier, purifier_names
from tests.purifier_helpers import COLOUR, GREY, build, every_method, some_images, untrained, values

# ---------------------------------------------------------------------- purifying


@every_method
@pytest.mark.parametrize("shape", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("num_images", [1, 5])
def test_purified_images_have_shape_kind_and_range(name, shape, num_images):
    purifier = untrained(name, shape)
    purified = purifier.purify(some_images(num_images, shape), batch_size=4)
    assert purifier.image_shape == shape
    assert purified.shape == (num_images, *shape)
    assert purified.dtype == np.float32
    assert np.isfinite(purified).all()
    assert purified.min() >= 0
    assert purified.max() <= 1


@every_method
def test_the_call_itself_stays_in_range(name):
    purified = keras.ops.convert_to_numpy(untrained(name)(some_images(3)))
    assert purified.shape == (3, *GREY)
    assert purified.min() >= 0
    assert purified.max() <= 1


@every_method
def test_randomness_is_as_declared_and_repeats_with_its_seed(name):
    purifier, images = untrained(name), some_images(5)
    assert isinstance(purifier.is_stochastic, bool)
    purifier.reset_randomness(3)
    first, second = purifier.purify(images), purifier.purify(images)
    assert np.array_equal(first, second) is not purifier.is_stochastic
    purifier.reset_randomness(3)
    np.testing.assert_array_equal(purifier.purify(images), first)
    np.testing.assert_array_equal(purifier.purify(images), second)
    purifier.reset_randomness(4)
    assert np.array_equal(purifier.purify(images), first) is not purifier.is_stochastic


@every_method
def test_images_of_one_batch_draw_apart(name):
    purifier = untrained(name)
    same = np.repeat(some_images(1), 4, axis=0)
    purified = purifier.purify(same)
    assert np.allclose(purified[0], purified[1], atol=1e-6) is not purifier.is_stochastic


@every_method
def test_the_purification_of_an_image_does_not_depend_on_its_batch(name):
    purifier = build(name, deterministic=True)
    if purifier.is_stochastic:
        pytest.skip("offers no deterministic purification")
    images = some_images(5)
    together = purifier.purify(images, batch_size=4)
    apart = np.concatenate([purifier.purify(images[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(together, apart, atol=2e-6)


@every_method
def test_every_image_has_an_input_gradient_or_bpda_is_declared(name):
    purifier = untrained(name)
    if not purifier.differentiable:
        pytest.skip("declares that it does not differentiate")
    images = tf.constant(some_images(3))
    weights = np.random.default_rng(1).normal(size=images.shape).astype("float32")
    with tf.GradientTape() as tape:
        tape.watch(images)
        output = tf.reduce_sum(purifier(images, training=False) * weights)
    gradient = tape.gradient(output, images).numpy()
    assert np.isfinite(gradient).all()
    assert (np.abs(gradient).max(axis=(1, 2, 3)) > 0).all()


@every_method
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda images: (images * 255).astype("uint8"), r"received dtype uint8.*/ 255"),
        (lambda images: images > 0.5, "received dtype bool"),
        (lambda images: images * 255, r"in \[0, 1\], received values from"),
        (lambda images: images * 2 - 1, r"in \[0, 1\], received values from -"),
        (lambda images: np.where(images > 0.9, np.nan, images), "finite images"),
        (lambda images: images[0], "missing axis"),
        (lambda images: images[:, :-1], "of shape"),
        (lambda images: np.repeat(images, 2, axis=-1), "of shape"),
        (lambda images: images[:0], "at least one of images"),
    ],
)
def test_bad_images_are_explained(name, spoil, message):
    with pytest.raises(ValueError, match=message):
        untrained(name).purify(spoil(some_images(2)))


@every_method
def test_bad_batch_size_and_seed_are_explained(name):
    with pytest.raises(ValueError, match="batch_size to be an integer of at least 1"):
        untrained(name).purify(some_images(2), batch_size=0)
    for seed in (-1, 1.5, True):
        with pytest.raises(ValueError, match="seed to be an integer of at least 0"):
            untrained(name).reset_randomness(seed)


@every_method
def test_damaged_weights_do_not_pass_silently(name):
    purifier = build(name)
    if not purifier.trainable_variables:
        pytest.skip("has no weights")
    for variable in purifier.trainable_variables:
        variable.assign(np.full(variable.shape, np.nan, "float32"))
    with pytest.raises(ValueError, match="NaN"):
        purifier.purify(some_images(1))


# ---------------------------------------------------------------------- initial weights


@every_method
def test_twins_from_other_seeds_differ_and_from_one_seed_agree(name):
    kernels = [[v for v in values(build(name, seed=s).weights) if np.ptp(v) > 0] for s in (1, 1, 2)]
    for first, again, other in zip(*kernels, strict=True):
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)


@every_method
def test_no_two_layers_start_identical(name):
    kernels = [v for v in values(untrained(name, COLOUR).weights) if np.ptp(v) > 0]
    for index, first in enumerate(kernels):
        for second in kernels[index + 1 :]:
            assert not np.array_equal(np.ravel(first)[:50], np.ravel(second)[:50])


# ---------------------------------------------------------------------- registry


@pytest.mark.parametrize("name", purifier_names())
def test_registry_entries_say_what_they_build(name):
    entry = get_purifier(name)
    assert entry.name == name
    assert isinstance(untrained(name), entry.purifier_class)
    assert entry.batch_keys == untrained(name).batch_keys
    assert set(entry.batch_keys) <= {"clean", "adversarial", "label"}
    for argument in entry.arguments:
        with pytest.raises(ValueError, match=argument):
            entry.for_images(GREY, **{argument: 1.0})
