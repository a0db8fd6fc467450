"""The quantizing layer, its losses and algorithm 1, against hand-computed numbers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from defenses.losses import mean_squared_error_loss
from defenses.vq_losses import (
    class_averaged_codebook,
    code_frequencies,
    code_perplexity,
    codebook_loss,
    encoder_loss,
    used_code_share,
)
from defenses.vqunet import VQUNet
from models.vector_quantizer import VectorQuantizer


def numpy(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


def some_features(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def quantizer(codebook: np.ndarray, **arguments) -> VectorQuantizer:
    layer = VectorQuantizer(*codebook.shape, **arguments)
    layer.build((None, None, None, codebook.shape[1]))
    layer.codebook.assign(codebook)
    return layer


# ---------------------------------------------------------------------- the search


def test_the_nearest_code_of_a_worked_example():
    layer = quantizer(np.array([[0, 0], [3, 0], [0, -2]], "float32"))
    features = np.array([[[[1, 0], [2, 0]], [[0, -1.5], [0.1, -9]]]], "float32")
    quantized, codes, indices = layer(features)
    np.testing.assert_array_equal(indices, [[[0, 1], [2, 2]]])
    np.testing.assert_array_equal(codes, [[[[0, 0], [3, 0]], [[0, -2], [0, -2]]]])
    np.testing.assert_allclose(quantized, codes, atol=1e-6)
    assert keras.backend.standardize_dtype(indices.dtype) == "int32"


@pytest.mark.parametrize("codes_at_once", [1, 7, 12, 40, 41, 1000])
def test_blocks_of_any_size_find_the_code_of_a_direct_search(codes_at_once):
    codebook, features = some_features(41, 5), some_features(3, 4, 2, 5, seed=1)
    layer = quantizer(codebook, codes_at_once=codes_at_once)
    squares = ((features[..., None, :].astype("f8") - codebook) ** 2).sum(axis=-1)
    np.testing.assert_array_equal(layer(features)[2], squares.argmin(axis=-1))
    compiled = tf.function(layer, input_signature=[tf.TensorSpec((None, 4, 2, 5))])
    for batch_size in (1, 3):
        np.testing.assert_array_equal(
            compiled(features[:batch_size])[2], squares.argmin(axis=-1)[:batch_size]
        )


def test_the_first_of_equal_codes_wins_across_blocks():
    codebook = np.repeat(some_features(2, 3), 4, axis=0)
    features = codebook[[7, 0]].reshape(1, 1, 2, 3)
    for codes_at_once in (1, 3, 8):
        layer = quantizer(codebook, codes_at_once=codes_at_once)
        np.testing.assert_array_equal(layer(features)[2], [[[4, 0]]])


def test_codes_start_small_distinct_and_from_their_seed():
    first, again, other = (VectorQuantizer(100, 8, seed=seed) for seed in (3, 3, 4))
    for layer in (first, again, other):
        layer.build((None, 2, 2, 8))
    np.testing.assert_array_equal(first.codebook, again.codebook)
    assert not np.array_equal(first.codebook, other.codebook)
    assert len(np.unique(numpy(first.codebook), axis=0)) == 100


def test_a_codebook_that_does_not_fit_is_explained():
    with pytest.raises(ValueError, match="Set embedding_dim to 4"):
        VectorQuantizer(10, 3)(some_features(1, 2, 2, 4))
    for counts, name in (((0, 3), "num_embeddings"), ((3, 2.5), "embedding_dim")):
        with pytest.raises(ValueError, match=f"{name} to be an integer of at least 1"):
            VectorQuantizer(*counts)
    for argument in ({"codes_at_once": 0}, {"seed": -1}, {"reconstruction_trains_codes": 1}):
        with pytest.raises(ValueError, match=f"Expected {next(iter(argument))} .* received"):
            VectorQuantizer(3, 3, **argument)
    for code_range in ((1.0, 0.0), (0.0,), (0.0, float("inf")), 3):
        with pytest.raises(ValueError, match=r"Expected .*code_range.* received"):
            VectorQuantizer(3, 3, code_range=code_range)


# ---------------------------------------------------------------------- gradients


def gradients_of(loss, layer, features):
    """Gradients of ``loss(features, quantized, codes)`` to the features and to the codebook."""
    features = tf.constant(features)
    with tf.GradientTape() as tape:
        tape.watch(features)
        quantized, codes, _ = layer(features)
        value = tf.reduce_sum(loss(features, quantized, codes))
    return tape.gradient(
        value, [features, layer.codebook.value], unconnected_gradients=tf.UnconnectedGradients.ZERO
    )


def test_the_gradient_passes_straight_through_to_the_features():
    layer, features = quantizer(some_features(9, 4)), some_features(2, 3, 3, 4, seed=1)
    weights = some_features(2, 3, 3, 4, seed=2)

    def downstream(a, quantized, q):
        return tf.sin(quantized) * weights

    to_features, to_codebook = gradients_of(downstream, layer, features)
    at_quantized = np.cos(numpy(layer(features)[0])) * weights
    np.testing.assert_allclose(to_features, at_quantized, rtol=1e-6)
    np.testing.assert_array_equal(to_codebook, 0.0)
    ones, _ = gradients_of(lambda a, quantized, q: quantized, layer, features)
    np.testing.assert_array_equal(ones, 1.0)


def test_on_request_what_follows_trains_the_chosen_codes_too():
    codebook, features = some_features(9, 4), some_features(2, 3, 3, 4, seed=1)
    weights = some_features(2, 3, 3, 4, seed=2)
    layer = quantizer(codebook, reconstruction_trains_codes=True)
    plain = quantizer(codebook)
    np.testing.assert_allclose(layer(features)[0], plain(features)[0], atol=1e-6)
    to_features, to_codebook = gradients_of(
        lambda a, quantized, q: quantized * weights, layer, features
    )
    np.testing.assert_allclose(to_features, weights)
    expected = np.zeros_like(codebook)
    np.add.at(expected, numpy(layer(features)[2]).ravel(), weights.reshape(-1, 4))
    np.testing.assert_allclose(to_codebook, expected, atol=1e-5)


def test_each_loss_moves_its_own_side_only():
    layer, features = quantizer(some_features(9, 4)), some_features(2, 3, 3, 4, seed=1)
    codes = numpy(layer(features)[1])
    to_features, to_codebook = gradients_of(
        lambda a, quantized, q: encoder_loss(a, q), layer, features
    )
    np.testing.assert_allclose(to_features, 2 * (features - codes) / 36, rtol=1e-5)
    np.testing.assert_array_equal(to_codebook, 0.0)
    to_features, to_codebook = gradients_of(
        lambda a, quantized, q: codebook_loss(a, q), layer, features
    )
    np.testing.assert_array_equal(to_features, 0.0)
    assert np.abs(to_codebook).max() > 0.01


def test_adam_sees_the_whole_gradient_of_a_code_used_often():
    """Entry by entry, Adam would add up the squares of three gradients, not square their sum."""
    layer = quantizer(np.array([[0.0], [10.0]], "float32"))
    features = tf.constant([1.0, 2.0, 3.0], shape=(1, 1, 3, 1))
    optimizer = keras.optimizers.Adam(0.1, beta_2=0.9)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(codebook_loss(features, layer(features)[1]))
    gradients = tape.gradient(loss, layer.trainable_variables)
    assert len(gradients) == 1
    assert isinstance(gradients[0], tf.Tensor)
    np.testing.assert_allclose(gradients[0], [[-4.0], [0.0]], rtol=1e-6)
    optimizer.apply_gradients(zip(gradients, layer.trainable_variables, strict=True))
    second_moment = optimizer.variables[-1]
    np.testing.assert_allclose(second_moment, [[0.1 * 16.0], [0.0]], rtol=1e-5)


# ---------------------------------------------------------------------- losses


def test_losses_average_over_entries():
    images = np.zeros((2, 2, 2, 1), "float32")
    others = np.stack([np.full((2, 2, 1), 0.5), np.eye(2)[..., None]]).astype("float32")
    for loss in (mean_squared_error_loss, encoder_loss, codebook_loss):
        np.testing.assert_allclose(loss(images, others), [0.25, 0.5], rtol=1e-6)


# ---------------------------------------------------------------------- algorithm 1


def test_algorithm_1_on_a_worked_example():
    codebook = np.array([[0, 0], [7, 7], [1, 2], [3, 4]], "float32")  # 2 classes, 2 positions
    vectors = np.array([[[[1, 0], [5, 5]]], [[[3, 0], [7, 7]]]], "float32")
    updated = numpy(class_averaged_codebook(codebook, vectors, np.array([0, 0]), 0.2))
    np.testing.assert_allclose(updated[:2], [[0.4, 0.0], [6.8, 6.8]], rtol=1e-6)
    np.testing.assert_array_equal(updated[2:], codebook[2:])


def test_algorithm_1_groups_rows_by_class_then_position():
    labels = np.array([2, 0, 2, 0, 2])
    codebook, vectors = some_features(3 * 6, 4), some_features(5, 2, 3, 4, seed=1)
    updated = numpy(class_averaged_codebook(codebook, vectors, labels, 1.0)).reshape(3, 6, 4)
    for label in (0, 2):
        mean = vectors[labels == label].reshape(-1, 6, 4).mean(axis=0)
        np.testing.assert_allclose(updated[label], mean, atol=1e-6)
    np.testing.assert_array_equal(updated[1], codebook.reshape(3, 6, 4)[1])


def test_algorithm_1_at_rate_zero_and_of_an_absent_class_changes_no_bit():
    codebook, vectors = some_features(20, 3), some_features(4, 1, 2, 3, seed=1)
    same = class_averaged_codebook(codebook, vectors, np.arange(4), 0.0)
    np.testing.assert_array_equal(same, codebook)
    updated = numpy(class_averaged_codebook(codebook, vectors, np.arange(4), 0.2))
    np.testing.assert_array_equal(updated[8:], codebook[8:])
    assert (np.abs(updated[:8] - codebook[:8]) > 0).all()


# ---------------------------------------------------------------------- usage


def test_usage_and_perplexity_of_known_frequencies():
    frequencies = numpy(code_frequencies(np.array([[[0, 1], [1, 3]]], "int32"), 8))
    np.testing.assert_allclose(frequencies, [0.25, 0.5, 0, 0.25, 0, 0, 0, 0])
    assert float(used_code_share(frequencies)) == pytest.approx(3 / 8)
    entropy = 0.5 * np.log(4) + 0.5 * np.log(2)
    assert float(code_perplexity(frequencies)) == pytest.approx(np.exp(entropy), rel=1e-6)
    assert float(code_perplexity(np.full(8, 0.125, "f4"))) == pytest.approx(8.0, rel=1e-5)
    assert float(code_perplexity(np.eye(8, dtype="f4")[2])) == pytest.approx(1.0)


def shallow_network(seed: int, side: int = 16, filters: int = 16) -> keras.Model:
    """A VQUNet with one convolution for each block, which trains in seconds."""
    inputs = x = keras.Input((side, side, 1))
    features, quantized, codes, indices = [], [], [], []

    def kernel() -> keras.initializers.Initializer:
        nonlocal seed
        seed += 1
        return keras.initializers.GlorotUniform(seed=seed)

    def double(x, filters: int, activation: str):
        return layers.Conv2DTranspose(
            filters, 4, 2, "same", activation=activation, kernel_initializer=kernel()
        )(x)

    for depth in (1, 2, 3, 4):
        x = layers.Conv2D(filters, 4, 2, "same", kernel_initializer=kernel())(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        features.append(x)
        quantizer = VectorQuantizer(
            10 * x.shape[1] ** 2, filters, seed=depth, name=f"quantizer_{depth}"
        )
        x, *found = quantizer(x)
        quantized.append(x)
        codes.append(found[0])
        indices.append(found[1])
    x = quantized.pop()
    while quantized:
        x = layers.Concatenate()([double(x, filters, "relu"), quantized.pop()])
    images = double(x, 1, "sigmoid")
    return keras.Model(
        inputs, {"images": images, "features": features, "codes": codes, "indices": indices}
    )


def used_after_training(num_steps: int, **arguments) -> float:
    """The share of codes at depth 1 that held-out digits use."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.kron(digits.images / 16.0, np.ones((2, 2)))[..., None].astype("float32")
    purifier = VQUNet(shallow_network(seed=0), **arguments)
    purifier.compile(keras.optimizers.Adam(1e-3))
    step, rng = tf.function(purifier.train_step), np.random.default_rng(0)
    for _ in range(num_steps):
        batch = rng.choice(1397, 32, replace=False)
        step({"clean": tf.constant(images[batch]), "label": tf.constant(digits.target[batch])})
    indices = purifier.codes(images[1397:])[0]
    return len(np.unique(indices)) / purifier.quantizers[0].num_embeddings


def test_algorithm_1_brings_codes_into_use_that_start_close_to_zero():
    averaging_codes = used_after_training(250)
    assert averaging_codes > 0.10
    assert used_after_training(250, ema_source="encoder") > averaging_codes
    assert used_after_training(250, codebook_rate=0.0) < 0.05
