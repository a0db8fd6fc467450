"""The U-Net of Defense-CycleGAN and its discriminators: sizes, shapes, what passes a skip."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from models.gan_networks import cyclegan_networks, patch_discriminator
from models.unet import NUM_CONCATENATIONS, unet
from tests.model_helpers import (
    COLOUR,
    GREY,
    images,
    kernels_of,
    layers_of,
    num_trainable,
    same_weights,
)

PADDED_GREY = (32, 32, 1)
every_removal = pytest.mark.parametrize("removed", range(NUM_CONCATENATIONS + 1))


@pytest.mark.parametrize(
    ("shape", "removed", "count"),
    [
        (COLOUR, 0, 16_657_795),
        (GREY, 0, 16_651_649),
        (COLOUR, 1, 16_920_003),
        (COLOUR, 4, 26_358_083),
    ],
)
def test_unet_has_the_published_size(shape: tuple[int, int, int], removed: int, count: int) -> None:
    assert num_trainable(unet(shape, removed_concatenations=removed)) == count


@pytest.mark.parametrize(
    ("shape", "encoded", "joined"),
    [
        (
            COLOUR,
            [(16, 64), (8, 128), (4, 256), (2, 512), (1, 512)],
            [(16, 128), (8, 256), (4, 512), (2, 1024)],
        ),
        (
            GREY,
            [(14, 64), (7, 128), (4, 256), (2, 512), (1, 512)],
            [(14, 128), (7, 256), (4, 512), (2, 1024)],
        ),
    ],
)
def test_stages_meet_at_their_sizes(shape, encoded, joined) -> None:
    network = unet(shape)
    convolutions = [network.get_layer(f"encoder_{depth}") for depth in range(1, 6)]
    assert [(c.output.shape[1], c.output.shape[-1]) for c in convolutions] == encoded
    for convolution in convolutions:
        assert convolution.kernel_size == (4, 4) and convolution.strides == (2, 2)
        assert convolution.activation is keras.activations.relu
    outputs = [network.get_layer(f"concatenate_{depth}").output for depth in range(1, 5)]
    assert [(o.shape[1], o.shape[-1]) for o in outputs] == joined
    for layer in layers_of(network, keras.layers.Conv2DTranspose):
        last = layer.name == "purified"
        assert layer.activation is (keras.activations.linear if last else keras.activations.relu)


@every_removal
@pytest.mark.parametrize("shape", [GREY, COLOUR, PADDED_GREY, (20, 26, 2)])
def test_a_removed_concatenation_changes_no_later_shape(shape, removed: int) -> None:
    whole = unet(shape, width=0.25)
    network = unet(shape, removed_concatenations=removed, width=0.25)
    kept = [layer.name for layer in layers_of(network, keras.layers.Concatenate)]
    assert kept == [f"concatenate_{depth}" for depth in range(4, removed, -1)]
    for name in ("decoder_4", "decoder_3", "decoder_2", "decoder_1", "purified"):
        assert network.get_layer(name).input.shape == whole.get_layer(name).input.shape
    assert network.get_layer("purified").input.shape[-1] == 128 * 0.25
    for depth in range(1, NUM_CONCATENATIONS + 1):
        filters = [net.get_layer(f"decoder_{depth}").filters for net in (network, whole)]
        assert filters[0] == filters[1] * (2 if depth <= removed else 1)
    result = np.asarray(network(images(shape)))
    assert result.shape == (3, *shape) and result.dtype == np.float32


def close(network: keras.Model, depth: int) -> keras.Model:
    """Lets nothing of the image through the encoder at `depth` and below it."""
    layer = network.get_layer(f"encoder_{depth}")
    layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    return network


@pytest.mark.parametrize("depth", range(1, NUM_CONCATENATIONS + 1))
def test_a_concatenation_is_the_way_past_the_stages_below_it(depth: int) -> None:
    batch = images(GREY)
    without = close(unet(GREY, removed_concatenations=depth, width=0.1), depth + 1)
    purified = np.asarray(without(batch))
    np.testing.assert_array_equal(purified[0], purified[1])
    beside = close(unet(GREY, removed_concatenations=depth - 1, width=0.1), depth + 1)
    purified = np.asarray(beside(batch))
    assert np.abs(purified[0] - purified[1]).max() > 1e-5


@pytest.mark.parametrize(("shape", "depth"), [(GREY, 1), (GREY, 2), (GREY, 3), (COLOUR, 2)])
def test_a_decoder_stage_lies_where_the_encoder_stage_lay(shape, depth: int) -> None:
    # Cropped rightly, the way up is the adjoint of the way down: <conv(x), y> = <x, up(y)>.
    network = unet(shape, width=0.1)
    stage, crop = network.get_layer(f"decoder_{depth}"), network.get_layer(f"decoder_{depth}_crop")
    kernel = ops.convert_to_tensor(stage.kernel)
    size_up, size_down = crop.output.shape[1], stage.input.shape[1]
    assert size_up == network.get_layer(f"encoder_{depth}").output.shape[1]
    x = images((size_up, size_up, kernel.shape[2]), count=1)
    y = images((size_down, size_down, kernel.shape[3]), count=1, seed=1)
    down = ops.conv(x, kernel, strides=2, padding="same")
    up = crop(ops.conv_transpose(y, kernel, strides=2, padding="valid"))
    assert float(ops.sum(down * y)) == pytest.approx(float(ops.sum(x * up)), rel=1e-4)


def test_the_output_is_not_bounded() -> None:
    network = unet(GREY, width=0.1)
    result = np.asarray(network(1e3 * images(GREY)))
    assert result.min() < -1 and result.max() > 2


def test_networks_are_seeded_and_told_apart_by_their_names() -> None:
    for build in (unet, patch_discriminator):
        first = build(GREY, width=0.1, seed=1)
        assert same_weights(first, build(GREY, width=0.1, seed=1))
        assert not same_weights(first, build(GREY, width=0.1, seed=2))
    networks = cyclegan_networks(GREY, width=0.1, seed=1)
    assert [network.name for network in networks] == [
        *("generator_a", "generator_b"),
        *("discriminator_a", "discriminator_b"),
    ]
    for one, other in (networks[:2], networks[2:]):
        for first, second in zip(kernels_of(one), kernels_of(other), strict=True):
            assert not np.array_equal(first, second)


@pytest.mark.parametrize(("shape", "scores", "count"), [(COLOUR, 8, 662_977), (GREY, 7, 660_929)])
def test_a_discriminator_scores_patches(
    shape: tuple[int, int, int], scores: int, count: int
) -> None:
    discriminator = patch_discriminator(shape)
    assert discriminator.output_shape == (None, scores, scores, 1)
    assert num_trainable(discriminator) == count
    batch = images(shape)
    changed = batch.copy()
    changed[:, :2, :2] = 1 - changed[:, :2, :2]
    difference = np.asarray(discriminator(changed) - discriminator(batch))[0, ..., 0]
    # Stages of stride 2, 2, 1, 1 see 34 pixels at most, so a far corner is out of sight.
    assert difference[0, 0] != 0
    assert difference[-1, -1] == 0


def test_scores_are_bounded_on_request_only() -> None:
    far = 1e4 * images(GREY)
    free = np.asarray(patch_discriminator(GREY, width=0.25)(far))
    bound = np.asarray(patch_discriminator(GREY, width=0.25, sigmoid=True)(far))
    assert np.abs(free).max() > 2
    assert bound.min() >= 0 and bound.max() <= 1
    np.testing.assert_allclose(bound, 1 / (1 + np.exp(-free.astype("float64"))), atol=1e-5)


def test_one_width_scales_generators_and_discriminators() -> None:
    generator, _, discriminator, _ = cyclegan_networks(GREY, width=0.25)
    hidden = layers_of(discriminator, keras.layers.Conv2D)
    assert [layer.filters for layer in hidden] == [16, 32, 64, 1]
    assert generator.get_layer("encoder_1").filters == 16


@pytest.mark.parametrize(
    ("build", "arguments", "message"),
    [
        (unet, {"removed_concatenations": 5}, "of at most 4, received 5"),
        (unet, {"removed_concatenations": -1}, "of at most 4, received -1"),
        (unet, {"width": 0}, "above 0 .* received 0"),
        (patch_discriminator, {"width": 0}, "above 0 .* received 0"),
    ],
)
def test_wrong_arguments_are_explained(build, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(GREY, **arguments)
