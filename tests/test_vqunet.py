"""VQUNet: what the contract of all purifiers does not already hold."""

from __future__ import annotations

from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from defenses.registry import get_purifier
from defenses.vqunet import VQUNet
from models.vector_quantizer import VectorQuantizer
from models.vqunet import vqunet
from tests.model_helpers import layers_of, num_trainable, same_weights

SHAPE, NUM_CLASSES = (16, 16, 1), 3


def some_images(num_images: int, shape=SHAPE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((num_images, *shape), dtype="float32")


def small(**arguments) -> VQUNet:
    return VQUNet.for_images(SHAPE, NUM_CLASSES, width=0.1, **arguments)


@cache
def untrained(**arguments) -> VQUNet:
    """A purifier to look at; tests that train build their own."""
    return small(**arguments)


def one_batch(labels=(0, 2, 2)) -> dict[str, np.ndarray]:
    return {"clean": some_images(len(labels)), "label": np.array(labels)}


def codebooks(purifier: VQUNet) -> list[np.ndarray]:
    return [quantizer.codebook.numpy().copy() for quantizer in purifier.quantizers]


def one_step(purifier: VQUNet, batch, learning_rate: float = 0.0) -> list[np.ndarray]:
    """One step of plain gradient descent; at rate 0 only algorithm 1 is left."""
    purifier.compile(keras.optimizers.SGD(learning_rate))
    purifier.train_step({key: tf.constant(value) for key, value in batch.items()})
    return codebooks(purifier)


# ---------------------------------------------------------------------- the network


@pytest.mark.parametrize(
    ("shape", "count"),
    [((32, 32, 3), 34_886_979), ((32, 32, 1), 34_883_777), ((28, 28, 1), 34_883_777)],
)
def test_the_published_network_is_the_default(shape, count):
    network = vqunet(shape)
    assert num_trainable(network) == count
    sizes = [tuple(tensor.shape[1:]) for tensor in network.output["features"]]
    assert sizes == [(16, 16, 64), (8, 8, 128), (4, 4, 256), (2, 2, 512)]
    quantizers = layers_of(network, VectorQuantizer)
    assert [layer.num_embeddings for layer in quantizers] == [2560, 640, 160, 40]
    assert tuple(network.output["images"].shape[1:]) == shape
    assert {n.momentum for n in layers_of(network, layers.BatchNormalization)} == {0.9}
    codes = sum(2560 * 4**-d * 64 * 2**d for d in range(4))
    assert num_trainable(vqunet(shape, quantize=False)) == count - codes


def test_the_number_of_codes_follows_classes_and_not_width():
    quantizers = untrained().quantizers
    assert [layer.num_embeddings for layer in quantizers] == [192, 48, 12, 3]
    assert [layer.embedding_dim for layer in quantizers] == [6, 16, 24, 48]


def test_codes_start_where_features_do_or_close_to_zero():
    for code_range, low, high in (({}, 0.0, 1.0), ({"code_range": None}, -(192**-0.5), 192**-0.5)):
        codes = codebooks(untrained(**code_range))[0]
        assert (codes.min(), codes.max()) == pytest.approx((low, high), abs=0.01)


def test_images_of_28_pixels_are_padded_with_zeros_and_cropped_back():
    padded = vqunet((28, 28, 1), width=0.1, seed=3)
    native = vqunet((32, 32, 1), width=0.1, seed=3)
    assert same_weights(padded, native)
    images = some_images(2, (28, 28, 1))
    outputs = padded(images)
    framed = native(np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0))))
    np.testing.assert_array_equal(outputs["indices"][0], framed["indices"][0])
    np.testing.assert_array_equal(outputs["images"], framed["images"][:, 2:-2, 2:-2])


def test_reconstructions_are_made_of_codes_alone():
    network = untrained().network
    outputs = network(some_images(3))
    for depth, quantizer in enumerate(untrained().quantizers):
        rows = quantizer.codebook.numpy()[np.asarray(outputs["indices"][depth])]
        np.testing.assert_array_equal(outputs["codes"][depth], rows)
        assert np.asarray(outputs["features"][depth]).min() >= 0
    # Where every code of a depth is the same, nothing else of the image comes through.
    blind = small()
    for quantizer in blind.quantizers:
        quantizer.codebook.assign(np.ones(quantizer.codebook.shape))
    purified = blind.purify(some_images(2))
    np.testing.assert_allclose(purified[0], purified[1], atol=1e-5)


@pytest.mark.parametrize("encoder_input", ["quantized", "continuous"])
def test_the_encoder_goes_on_from_codes_or_from_features(encoder_input):
    purifier = small(encoder_input=encoder_input)
    images = some_images(2)
    before = [np.asarray(a) for a in purifier.network(images)["features"]]
    purifier.quantizers[0].codebook.assign(purifier.quantizers[0].codebook * 50)
    after = [np.asarray(a) for a in purifier.network(images)["features"]]
    np.testing.assert_array_equal(before[0], after[0])
    same = [np.array_equal(*pair) for pair in zip(before[1:], after[1:], strict=True)]
    assert same == [encoder_input == "continuous"] * 3


# ---------------------------------------------------------------------- the losses


def test_losses_are_those_of_the_paper():
    purifier = small(reconstruction_weight=3.0, encoder_weight=0.5)
    batch = one_batch()
    losses, (labels, vectors) = purifier.unet_losses(batch, training=False)
    losses = {name: float(value) for name, value in losses.items()}
    outputs = purifier.network(batch["clean"])
    assert set(losses) == set(purifier.loss_names)
    reconstruction = float(np.mean((np.asarray(outputs["images"]) - batch["clean"]) ** 2))
    at_depths = [
        float(np.mean((np.asarray(a) - np.asarray(q)) ** 2))
        for a, q in zip(outputs["features"], outputs["codes"], strict=True)
    ]
    assert losses["reconstruction_loss"] == pytest.approx(reconstruction, rel=1e-5)
    assert [losses[f"encoder_loss_{d}"] for d in (1, 2, 3, 4)] == pytest.approx(at_depths, rel=1e-5)
    assert losses["encoder_loss"] == pytest.approx(sum(at_depths), rel=1e-5)
    assert losses["codebook_loss"] == pytest.approx(sum(at_depths), rel=1e-5)
    assert losses["loss"] == pytest.approx(3 * reconstruction + 1.5 * sum(at_depths), rel=1e-5)
    used = [
        len(np.unique(k)) / q.num_embeddings
        for k, q in zip(outputs["indices"], purifier.quantizers, strict=True)
    ]
    assert [losses[f"used_code_share_{d}"] for d in (1, 2, 3, 4)] == pytest.approx(used, rel=1e-5)
    assert 1 <= losses["code_perplexity_1"] <= 1.001 * used[0] * 192
    assert labels is batch["label"]
    np.testing.assert_array_equal(vectors[3], outputs["codes"][3])


def test_the_ablation_is_the_same_network_without_codebooks():
    ablation = get_purifier("non_vqunet").for_images(SHAPE, NUM_CLASSES, width=0.1)
    assert ablation.loss_names == ("loss", "reconstruction_loss")
    assert ablation.quantizers == []
    assert len(layers_of(ablation.network, layers.Conv2D)) == len(
        layers_of(untrained().network, layers.Conv2D)
    )
    losses, auxiliary = ablation.unet_losses(one_batch(), training=False)
    assert auxiliary is None
    assert float(losses["loss"]) == float(losses["reconstruction_loss"]) > 0
    with pytest.raises(ValueError, match="without"):
        ablation.codes(some_images(1))
    assert [a.shape for a in ablation.features(some_images(2))] == [
        (2, 8, 8, 6),
        (2, 4, 4, 16),
        (2, 2, 2, 24),
        (2, 1, 1, 48),
    ]


# ---------------------------------------------------------------------- the two sub-steps


@pytest.mark.parametrize("ema_source", ["codes", "encoder"])
def test_algorithm_1_follows_the_gradient_step(ema_source):
    purifier = small(ema_source=ema_source)
    before, batch = codebooks(purifier), one_batch((0, 2, 2))
    outputs = purifier.network(batch["clean"], training=True)
    vectors = outputs["codes" if ema_source == "codes" else "features"]
    after = one_step(purifier, batch)
    for old, new, found in zip(before, after, vectors, strict=True):
        positions = len(old) // NUM_CLASSES
        flat = np.reshape(found, (3, positions, -1))
        averages = [flat[0], None, flat[1:].mean(axis=0)]
        for label, average in enumerate(averages):
            rows = slice(label * positions, (label + 1) * positions)
            if average is None:
                np.testing.assert_array_equal(new[rows], old[rows])
            else:
                np.testing.assert_allclose(
                    new[rows], 0.8 * old[rows] + 0.2 * average, rtol=1e-4, atol=1e-5
                )


def test_rate_zero_leaves_algorithm_1_out():
    purifier = small(codebook_rate=0.0)
    for old, new in zip(codebooks(purifier), one_step(purifier, one_batch()), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_gradient_step_moves_chosen_codes_alone_and_comes_first():
    batch = one_batch((1, 1, 1))
    plain, full = small(codebook_rate=0.0), small()
    outputs = plain.network(batch["clean"], training=True)
    start = codebooks(plain)
    moved, updated = one_step(plain, batch, 0.1), one_step(full, batch, 0.1)
    for depth, (old, new) in enumerate(zip(start, moved, strict=True)):
        chosen = np.unique(outputs["indices"][depth])
        rest = np.setdiff1d(np.arange(len(old)), chosen)
        assert (new[chosen] != old[chosen]).any(axis=1).all()
        np.testing.assert_array_equal(new[rest], old[rest])
        positions = len(old) // NUM_CLASSES
        average = np.reshape(outputs["codes"][depth], (3, positions, -1)).mean(axis=0)
        rows = slice(positions, 2 * positions)
        expected = 0.8 * new[rows] + 0.2 * average
        np.testing.assert_allclose(updated[depth][rows], expected, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------- the rest


def test_config_keeps_every_argument():
    purifier = small(
        reconstruction_weight=2.0,
        encoder_weight=0.5,
        codebook_rate=0.1,
        ema_source="encoder",
        reconstruction_trains_codes=True,
        encoder_input="continuous",
        code_range=(-2.0, 3.0),
        codes_at_once=7,
        name="mine",
    )
    twin = VQUNet.from_config(purifier.get_config())
    for key in ("reconstruction_weight", "encoder_weight", "codebook_rate", "ema_source", "name"):
        assert getattr(twin, key) == getattr(purifier, key), key
    assert all(q.reconstruction_trains_codes for q in twin.quantizers)
    assert {q.codes_at_once for q in twin.quantizers} == {7}
    assert all(tuple(q.code_range) == (-2.0, 3.0) for q in twin.quantizers)
    twin.set_weights(purifier.get_weights())
    np.testing.assert_array_equal(twin.purify(some_images(2)), purifier.purify(some_images(2)))


def test_arguments_out_of_range_are_explained():
    network = untrained().network
    for arguments, message in (
        ({"encoder_weight": -1.0}, "at least 0"),
        ({"codebook_rate": 1.5}, "codebook_rate to be .* received 1.5"),
        ({"ema_source": "decoder"}, "codes, encoder, received 'decoder'"),
        ({"codebok_rate": 0.2}, "codebok_rate"),
    ):
        with pytest.raises(ValueError, match=message):
            VQUNet(network, **arguments)
    with pytest.raises(ValueError, match=r"models\.vqunet\.vqunet"):
        VQUNet(keras.Sequential([keras.Input(SHAPE), layers.ReLU()]))
    with pytest.raises(ValueError, match="quantized, continuous, received 'codes'"):
        vqunet(SHAPE, encoder_input="codes")
    with pytest.raises(
        ValueError, match=r"num_classes to be an integer of at least 1 .* received 0"
    ):
        vqunet(SHAPE, 0)
