"""CAP-GAN's networks and their layers against numbers worked by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from experiments.costs import count_network
from models.cam_gan import attention_network, cam_discriminator, cam_gan_networks, cam_generator
from models.cam_layers import (
    AdaptiveLayerInstanceNormalization,
    ClassActivation,
    LayerInstanceNormalization,
    ReflectionPadding2D,
    SpectralConv2D,
    UnitInterval,
)
from tests.model_helpers import GREY, images, kernels_of, layers_of, num_trainable, same_weights

SMALL = (16, 16, 3)


def array(tensor) -> np.ndarray:
    return ops.convert_to_numpy(tensor)


def generator(**arguments) -> keras.Model:
    return cam_generator(SMALL, num_residual_blocks=1, width=0.125, **arguments)


def discriminator(**arguments) -> keras.Model:
    return cam_discriminator(SMALL, width=0.125, **arguments)


# ---------------------------------------------------------------------- padding


def test_a_border_is_the_mirror_image_without_its_edge():
    row = np.arange(4, dtype="float32").reshape(1, 1, 4, 1) * np.ones((1, 4, 1, 1), "float32")
    padded = array(ReflectionPadding2D(3)(row))
    assert padded.shape == (1, 10, 10, 1)
    np.testing.assert_array_equal(padded[0, 0, :, 0], [3, 2, 1, 0, 1, 2, 3, 2, 1, 0])
    column = array(ReflectionPadding2D(1)(row.transpose(0, 2, 1, 3)))
    np.testing.assert_array_equal(column[0, :, 2, 0], [1, 0, 1, 2, 3, 2])
    assert ReflectionPadding2D(2).compute_output_shape((None, 5, 7, 3)) == (None, 9, 11, 3)
    with pytest.raises(ValueError, match="more than 3 rows and columns, received 3x9"):
        ReflectionPadding2D(3)(np.zeros((1, 3, 9, 1), "float32"))


# ---------------------------------------------------------------------- norms

# Two maps of 1x2 pixels: means 2 and 6 and deviations 1 and 3; of the image mean 4, variance 9.
MAPS = np.array([[[[1.0, 3.0], [3.0, 9.0]]]], dtype="float32")
BY_MAP = np.array([[-1.0, -1.0], [1.0, 1.0]])
BY_IMAGE = np.array([[-3.0, -1.0], [-1.0, 5.0]]) / 3.0


@pytest.mark.parametrize("rho", [0.0, 0.25, 1.0])
def test_lin_mixes_both_norms_then_scales_and_shifts(rho):
    layer = LayerInstanceNormalization(rho)
    expected = rho * BY_MAP + (1 - rho) * BY_IMAGE
    np.testing.assert_allclose(array(layer(MAPS))[0, 0], expected, atol=2e-5)
    layer.gamma.assign([2.0, 3.0])
    layer.beta.assign([0.5, -1.0])
    expected = expected * [2, 3] + [0.5, -1]
    np.testing.assert_allclose(array(layer(MAPS))[0, 0], expected, atol=6e-5)


def test_lin_mixes_each_map_by_its_own_share():
    layer = LayerInstanceNormalization()
    layer(MAPS)
    layer.rho.assign([1.0, 0.0])
    expected = np.stack([BY_MAP[:, 0], BY_IMAGE[:, 1]], axis=1)
    np.testing.assert_allclose(array(layer(MAPS))[0, 0], expected, atol=2e-5)


@pytest.mark.parametrize("rho", [0.0, 0.9, 1.0])
def test_adalin_scales_and_shifts_each_image_apart(rho):
    maps = np.concatenate([MAPS, 5.0 + 2.0 * MAPS])  # both normalise to the same
    gamma = np.array([[2.0, 3.0], [-1.0, 0.0]], "float32")
    beta = np.array([[0.5, -1.0], [0.0, 7.0]], "float32")
    received = array(AdaptiveLayerInstanceNormalization(rho)([maps, gamma, beta]))
    normalised = rho * BY_MAP + (1 - rho) * BY_IMAGE
    np.testing.assert_allclose(received[0, 0], normalised * [2, 3] + [0.5, -1], atol=6e-5)
    np.testing.assert_allclose(received[1, 0], normalised * [-1, 0] + [0, 7], atol=6e-5)


def test_published_shares_and_their_range():
    shares = {
        kind: {float(value) for layer in layers_of(generator(), kind) for value in array(layer.rho)}
        for kind in (LayerInstanceNormalization, AdaptiveLayerInstanceNormalization)
    }
    assert shares[LayerInstanceNormalization] == {0.0}
    assert {round(share, 6) for share in shares[AdaptiveLayerInstanceNormalization]} == {0.9}
    clipped = UnitInterval()(np.array([-3.0, 0.0, 0.4, 1.0, 1.5], "float32"))
    np.testing.assert_allclose(array(clipped), [0, 0, 0.4, 1, 1])
    for kind in (LayerInstanceNormalization, AdaptiveLayerInstanceNormalization):
        with pytest.raises(ValueError, match=r"rho to be a finite number .* received 1\.5"):
            kind(1.5)


def test_an_optimizer_keeps_the_shares_in_range():
    layer = LayerInstanceNormalization(0.5)
    layer(MAPS)
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build([layer.rho])
    optimizer.apply([tf.constant([-7.0, 7.0])])
    np.testing.assert_array_equal(array(layer.rho), [1.0, 0.0])


# ---------------------------------------------------------------------- attention


@pytest.mark.parametrize("unit_norm", [False, True])
def test_the_mean_of_the_attended_maps_is_the_logit(unit_norm):
    layer = ClassActivation(unit_norm)
    maps = images((3, 5, 2), count=4)
    layer(maps)
    layer.kernel.assign([[3.0], [-4.0]])
    weights = np.array([0.6, -0.8]) if unit_norm else np.array([3.0, -4.0])
    attended, logit = map(array, layer(maps))
    np.testing.assert_allclose(attended, maps * weights, rtol=1e-5)
    np.testing.assert_allclose(logit[:, 0], maps.mean(axis=(1, 2)) @ weights, rtol=1e-5)
    assert logit.shape == (4, 1)


@pytest.mark.parametrize("build", [generator, discriminator])
def test_the_attention_network_shows_what_the_logit_is_the_mean_of(build):
    network, batch = build(), images(SMALL)
    maps, logit = array(attention_network(network)(batch)), array(network(batch)[1])
    assert maps.shape == ((3, 4, 4) if build is generator else (3, 3, 3))
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), logit[:, 0], atol=1e-5)
    assert maps.std(axis=(1, 2)).min() > 0
    with pytest.raises(ValueError, match="layer 'attention', received 'plain'"):
        attention_network(keras.Sequential([keras.Input((2,))], name="plain"))


def test_the_decoder_sees_the_maps_through_the_attention_alone():
    network, batch = generator(), images(SMALL)
    attention = network.get_layer("attention")
    attention.kernel.assign(np.zeros(attention.kernel.shape))
    translated, logit = map(array, network(batch))
    np.testing.assert_array_equal(logit, 0)
    np.testing.assert_allclose(translated - translated[:1], 0, atol=1e-6)


# ---------------------------------------------------------------------- spectral normalisation


def spectral(**arguments) -> SpectralConv2D:
    layer = SpectralConv2D(6, 3, use_bias=False, **arguments)
    layer.build((None, 8, 8, 4))
    layer.kernel.assign(np.random.default_rng(0).normal(size=layer.kernel.shape))
    return layer


def largest(kernel) -> float:
    return float(np.linalg.svd(array(kernel).reshape(-1, 6), compute_uv=False)[0])


def test_a_kernel_is_divided_by_its_largest_singular_value():
    layer = spectral()
    kernel = array(layer.kernel).copy()
    assert largest(kernel) > 2
    for _ in range(60):
        normalised = layer.normalised_kernel(training=True)
    assert largest(normalised) == pytest.approx(1, rel=1e-4)
    np.testing.assert_allclose(array(normalised), kernel / largest(kernel), rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(array(layer.kernel), kernel)  # the optimizer alone moves it


def test_one_step_of_the_power_iteration_for_each_call_in_training():
    layer, batch = spectral(), images((8, 8, 4))
    matrix, direction = array(layer.kernel).reshape(-1, 6), array(layer.direction)
    expected = matrix.T @ (matrix @ direction)
    layer(batch)
    np.testing.assert_array_equal(array(layer.direction), direction)
    in_training = array(layer(batch, training=True))
    np.testing.assert_allclose(
        array(layer.direction), expected / np.linalg.norm(expected), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(array(layer(batch)), in_training, atol=1e-6)


def test_the_gradient_of_a_normalised_kernel_is_across_it():
    """The value does not change with the kernel's length, so no gradient is along it."""
    layer = spectral()
    weights = np.random.default_rng(1).normal(size=layer.kernel.shape).astype("float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer.normalised_kernel() * weights)
    gradient = tape.gradient(loss, layer.kernel.value).numpy()
    assert np.abs(gradient).max() > 0.01
    assert float((gradient * array(layer.kernel)).sum()) == pytest.approx(0, abs=1e-3)


def test_a_kernel_of_zeros_stays_finite():
    layer = spectral()
    layer.kernel.assign(np.zeros(layer.kernel.shape))
    assert np.isfinite(array(layer.normalised_kernel(training=True))).all()


# ---------------------------------------------------------------------- networks

GENERATOR = sum(
    (
        7 * 7 * 3 * 64,
        3 * 3 * 64 * 128 + 3 * 3 * 128 * 256,
        4 * 2 * 3 * 3 * 256 * 256,
        256,  # the auxiliary classifier
        256 * 256 + 256,
        4 * 256 * 256,  # two hidden layers, scale and shift
        4 * 2 * (3 * 3 * 256 * 256 + 256),
        3 * 3 * 256 * 128 + 3 * 128 + 3 * 3 * 128 * 64 + 3 * 64,
        7 * 7 * 64 * 3,
    )
)
DISCRIMINATOR = sum(
    (
        4 * 4 * 3 * 64 + 64,
        4 * 4 * 64 * 128 + 128,
        4 * 4 * 128 * 256 + 256,
        256,
        256 * 256 + 256,
        4 * 4 * 256,
    )
)


def test_the_published_networks_are_the_default():
    networks = cam_gan_networks((32, 32, 3))
    assert [num_trainable(network) for network in networks] == [
        *(GENERATOR, GENERATOR, DISCRIMINATOR, DISCRIMINATOR)
    ]
    for network in networks[:2]:
        assert network.output_shape == [(None, 32, 32, 3), (None, 1)]
        assert network.get_layer("attention").output[0].shape == (None, 8, 8, 256)
    for network in networks[2:]:
        assert network.output_shape == [(None, 6, 6, 1), (None, 1)]
        assert network.get_layer("attention").output[0].shape == (None, 7, 7, 256)
        assert len(layers_of(network, SpectralConv2D)) == 4
    # Multiplications and additions of one pass, layer by layer.
    eighth, fourth, whole = 8 * 8, 16 * 16, 32 * 32
    passes = whole * 7 * 7 * 3 * 64 * 2  # first and last
    passes += fourth * 9 * 64 * 128 + eighth * 9 * 128 * 256 + eighth * 256 * 256
    passes += 16 * eighth * 9 * 256 * 256 + 4 * 256 * 256
    passes += fourth * 9 * 256 * 128 + whole * 9 * 128 * 64
    assert count_network(networks[0]).operations == 2 * passes == 1_632_894_976


def test_width_and_depth():
    network = cam_generator(GREY, num_residual_blocks=2, width=0.25)
    filters = [layer.filters for layer in layers_of(network, keras.layers.Conv2D)]
    assert filters == [16, 32, 64, *[64] * 4, 64, *[64] * 4, 32, 16, 1]
    assert network.output_shape == [(None, 28, 28, 1), (None, 1)]
    network = cam_discriminator(GREY, width=0.25)
    assert [layer.filters for layer in layers_of(network, SpectralConv2D)] == [16, 32, 64, 1]
    assert network.output_shape == [(None, 5, 5, 1), (None, 1)]


def test_translated_images_are_in_range_however_large_the_weights():
    network = generator()
    for kernel in kernels_of(network):
        kernel.assign(100.0 * kernel)
    translated, logit = network(images(SMALL, count=3))
    assert array(translated).min() == 0.0 and array(translated).max() == 1.0
    assert array(logit).shape == (3, 1)


def test_images_do_not_depend_on_their_batch():
    batch = images(SMALL, count=3)
    for network in (generator(), discriminator()):
        for together, apart in zip(network(batch), network(batch[1:2]), strict=True):
            np.testing.assert_allclose(array(together)[1:2], array(apart), atol=1e-5)


def test_networks_of_one_seed_are_unrelated_and_a_seed_decides_all_weights():
    first, second, third, fourth = cam_gan_networks(
        SMALL, num_residual_blocks=1, width=0.125, seed=3
    )
    for one, other in ((first, second), (third, fourth)):
        for kernel, twin in zip(kernels_of(one), kernels_of(other), strict=True):
            assert not np.array_equal(array(kernel), array(twin))
    assert same_weights(first, generator(seed=3, name="generator_to_clean"))
    assert not same_weights(first, generator(seed=4, name="generator_to_clean"))
    assert same_weights(third, discriminator(seed=3, name="discriminator_clean"))


def test_every_weight_has_a_gradient():
    batch = tf.constant(images(SMALL))
    for network in (generator(), discriminator()):
        with tf.GradientTape() as tape:
            outputs = network(batch, training=True)
            loss = tf.reduce_sum(outputs[0] ** 2) + tf.reduce_sum(outputs[1] ** 2)
        gradients = tape.gradient(loss, network.trainable_variables)
        for variable, gradient in zip(network.trainable_variables, gradients, strict=True):
            assert np.abs(array(gradient)).max() > 0, variable.path


def test_saved_networks_load_in_safe_mode_bit_for_bit(tmp_path):
    batch = images(SMALL)
    for network in (generator(), discriminator()):
        network(batch, training=True)
        network.save(tmp_path / "network.keras")
        loaded = keras.saving.load_model(tmp_path / "network.keras", safe_mode=True, compile=False)
        assert same_weights(network, loaded) and loaded.to_json() == network.to_json()
        for saved, restored in zip(network(batch), loaded(batch), strict=True):
            np.testing.assert_array_equal(array(saved), array(restored))


@pytest.mark.parametrize("shape", [(30, 32, 3), (32, 30, 3), (8, 8, 1)])
def test_sizes_that_do_not_return_are_explained(shape):
    for build in (cam_generator, cam_discriminator):
        with pytest.raises(ValueError, match=r"multiples of 4 and at least 12, received \d+x\d+"):
            build(shape)


def test_no_residual_block_is_explained():
    with pytest.raises(ValueError, match="num_residual_blocks to be an integer"):
        cam_generator(SMALL, num_residual_blocks=0)
