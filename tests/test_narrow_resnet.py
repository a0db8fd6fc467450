"""The classifier that CAP-GAN protects, against counts and values worked by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from models.narrow_resnet import PadChannels, StandardiseImages, narrow_resnet
from models.registry import (
    CAP_GAN_CLASSIFIERS,
    CLASSIFIERS,
    PUVAE_CLASSIFIERS,
    build_classifier,
)
from tests.model_helpers import (
    COLOUR,
    GREY,
    images,
    kernels_of,
    layers_of,
    num_trainable,
    same_weights,
)


def array(tensor) -> np.ndarray:
    return ops.convert_to_numpy(tensor)


def unit(before: int, after: int) -> int:
    """Two 3x3 convolutions without a bias, each behind scale and shift of its input."""
    return 9 * before * after + 9 * after * after + 2 * before + 2 * after


def test_the_published_network_is_the_default():
    expected = 9 * 3 * 16 + 5 * unit(16, 16)
    expected += unit(16, 32) + 4 * unit(32, 32)
    expected += unit(32, 64) + 4 * unit(64, 64)
    expected += 2 * 64 + 64 * 10 + 10
    model = build_classifier("narrow_resnet", COLOUR)
    assert num_trainable(model) == expected == 464_154
    assert len(layers_of(model, keras.layers.Conv2D)) + 1 == 32  # and the dense layer
    assert {layer.negative_slope for layer in layers_of(model, keras.layers.ReLU)} == {0.1}
    sizes = [layer.output.shape[1:] for layer in layers_of(model, keras.layers.Add)]
    assert sizes == [*[(32, 32, 16)] * 5, *[(16, 16, 32)] * 5, *[(8, 8, 64)] * 5]
    # Every kernel has the decay, nothing else; half the squares times 2e-4.
    decay = 1e-4 * sum(float((array(kernel) ** 2).sum()) for kernel in kernels_of(model))
    assert float(sum(model.losses)) == pytest.approx(decay, rel=1e-5)


def test_each_image_is_standardised_by_itself():
    batch = images(COLOUR, count=3) * np.array([1.0, 0.5, 0.1], "float32")[:, None, None, None]
    received = array(StandardiseImages()(batch))
    np.testing.assert_allclose(received.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(received.std(axis=(1, 2, 3)), 1, rtol=1e-4)
    expected = (batch[1] - batch[1].mean()) / batch[1].std()
    np.testing.assert_allclose(received[1], expected, atol=1e-4)


def test_an_image_without_contrast_has_a_value_and_a_gradient():
    grey = tf.fill((1, 4, 4, 1), 0.5)
    with tf.GradientTape() as tape:
        tape.watch(grey)
        first = StandardiseImages()(grey)[0, 0, 0, 0]
    np.testing.assert_allclose(array(first), 0, atol=1e-6)
    gradient = array(tape.gradient(first, grey))
    # Divided by the least deviation, 1 / (255 * 4).
    assert gradient[0, 0, 0, 0] == pytest.approx(255 * 4 * 15 / 16, rel=1e-4)
    assert gradient[0, 1, 1, 0] == pytest.approx(-255 * 4 / 16, rel=1e-4)


@pytest.mark.parametrize(("added", "before"), [(2, 1), (3, 1), (1, 0)])
def test_maps_of_zeros_are_added_on_both_sides(added, before):
    maps = images((2, 2, 3), count=2)
    received = array(PadChannels(added)(maps))
    assert received.shape == (2, 2, 2, 3 + added)
    np.testing.assert_array_equal(received[..., before : before + 3], maps)
    assert received.sum() == pytest.approx(maps.sum(), rel=1e-6)


def test_shortcuts_carry_the_image_where_the_convolutions_are_silent():
    """With kernels of zeros a unit returns its shortcut: activated first, averaged, filled up."""
    model = narrow_resnet((8, 8, 1), num_blocks=1, width=0.25)
    stem, *convolutions = layers_of(model, keras.layers.Conv2D)
    for convolution in convolutions:
        convolution.kernel.assign(np.zeros(convolution.kernel.shape))
    inside = keras.Model(model.input, [stem.output, layers_of(model, keras.layers.Add)[-1].output])
    features, last = map(array, inside(images((8, 8, 1))))
    activated = features / np.sqrt(1 + 1e-5)
    activated = np.where(activated > 0, activated, 0.1 * activated)
    pooled = activated.reshape(3, 2, 4, 2, 4, 4).mean(axis=(2, 4))
    expected = np.zeros((3, 2, 2, 16), "float32")
    expected[..., 6:10] = pooled  # 4 maps, of 8 between 2 and 2, of 16 between 4 and 4
    np.testing.assert_allclose(last, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [GREY, COLOUR, (14, 10, 1)])
def test_the_registry_builds_a_classifier_of_logits(shape):
    assert not set(CAP_GAN_CLASSIFIERS) & {*CLASSIFIERS, *PUVAE_CLASSIFIERS}
    first, again, other = (
        build_classifier("narrow_resnet", shape, 7, width=0.2, depth=1, seed=seed)
        for seed in (3, 3, 4)
    )
    assert first.name == "narrow_resnet"
    assert len(layers_of(first, keras.layers.Add)) == 3
    logits = first.predict(images(shape), verbose=0)
    assert logits.shape == (3, 7) and np.isfinite(logits).all()
    assert not np.allclose(logits.sum(axis=1), 1.0)
    assert same_weights(first, again) and not same_weights(first, other)


def test_training_moves_every_weight_and_lowers_the_loss(tmp_path):
    model = build_classifier("narrow_resnet", GREY, 2, width=0.25, depth=1, seed=1)
    labels = np.arange(16) % 2
    batch = 0.3 * images(GREY, count=16)
    batch[labels == 1, :, 14:] += 0.6
    before = [array(variable).copy() for variable in model.trainable_variables]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    entropy = keras.metrics.SparseCategoricalCrossentropy("entropy", from_logits=True)
    model.compile(keras.optimizers.Adam(0.003), loss, metrics=[entropy])
    history = model.fit(batch, labels, batch_size=16, epochs=15, verbose=0).history
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert not np.array_equal(array(variable), old), variable.path
    assert history["entropy"][-1] < 0.5 * history["entropy"][0]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True, compile=False)
    np.testing.assert_array_equal(array(loaded(batch)), array(model(batch)))


def test_impossible_depths_are_explained():
    for depth in (0, 1.5):
        with pytest.raises(ValueError, match="num_blocks to be an integer"):
            build_classifier("narrow_resnet", GREY, depth=depth)
