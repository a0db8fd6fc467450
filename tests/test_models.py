"""Every classifier of the registry, and files that load anywhere."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments.presets.paper import PRINTED_TRAINING
from models import densenet, resnet, wide_resnet
from models.autoencoders import sfl_vae_decoder, sfl_vae_encoder
from models.layers import LayerSeeds, Sampling
from models.preactivation import PreactivationLayers
from models.registry import (
    CLASSIFIERS,
    TARGETS,
    VOTERS,
    build_classifier,
    classifier_names,
)
from tests.model_helpers import (
    COLOUR,
    GREY,
    ROOT,
    SMALL_VOTERS,
    images,
    kernels_of,
    layers_of,
    num_trainable,
    same_weights,
    small,
)


def test_registry_knows_three_targets_and_twelve_voters() -> None:
    families = ("resnet", "densenet", "wide_resnet")
    voters = tuple(f"{family}_{letter}" for family in families for letter in "abcd")
    assert classifier_names() == ("A", "B", "C", *voters) == tuple(CLASSIFIERS)
    assert voters == VOTERS == tuple(PRINTED_TRAINING)
    assert PRINTED_TRAINING["resnet_b"] == (50, 128)
    assert PRINTED_TRAINING["resnet_c"] == (100, 128)
    assert PRINTED_TRAINING["densenet_d"] == (80, 256)
    assert PRINTED_TRAINING["wide_resnet_c"] == (80, 256)


@pytest.mark.parametrize("shape", [GREY, COLOUR])
@pytest.mark.parametrize("name", [*TARGETS, *SMALL_VOTERS])
def test_classifiers_give_logits_for_any_batch(name: str, shape: tuple[int, int, int]) -> None:
    model = small(name, shape)
    assert model.name == name
    batch = images(shape, count=3)
    logits = model.predict(batch, verbose=0)
    assert logits.shape == (3, 10) and logits.dtype == np.float32
    assert np.isfinite(logits).all()
    probabilities = np.asarray(keras.ops.softmax(logits))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    # Logits, not probabilities: a softmax would make every row sum to one.
    assert not np.allclose(logits.sum(axis=1), 1.0)
    assert logits.std(axis=0).max() > 0
    # In evaluation an image's logits do not depend on its neighbours.
    np.testing.assert_allclose(model.predict(batch[:1], verbose=0), logits[:1], atol=1e-5)


@pytest.mark.parametrize("name", [*TARGETS, *SMALL_VOTERS])
@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_classifiers_pass_a_gradient_to_the_image(name: str, shape: tuple[int, int, int]) -> None:
    model = small(name, shape)
    batch = tf.constant(images(shape, count=2))
    with tf.GradientTape() as tape:
        tape.watch(batch)
        loss = tf.reduce_sum(model(batch, training=False)[:, 0])
    gradient = tape.gradient(loss, batch).numpy()
    assert np.isfinite(gradient).all()
    assert (np.abs(gradient).max(axis=(1, 2, 3)) > 0).all()


@pytest.mark.parametrize("name", [*TARGETS, *SMALL_VOTERS])
def test_a_seed_decides_all_weights_and_the_global_seed_none(name: str) -> None:
    depth = None if name in TARGETS else 1
    keras.utils.set_random_seed(1)
    one = build_classifier(name, COLOUR, width=0.125, depth=depth, seed=7)
    keras.utils.set_random_seed(2)
    again = build_classifier(name, COLOUR, width=0.125, depth=depth, seed=7)
    other = build_classifier(name, COLOUR, width=0.125, depth=depth, seed=8)
    assert same_weights(one, again)
    for first, second in zip(kernels_of(one), kernels_of(other), strict=True):
        assert not np.array_equal(first.numpy(), second.numpy()), first.path


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_rebuilt_dropout_drops_the_same_units(name: str, shape: tuple[int, int, int]) -> None:
    batch = images(shape)
    build = [build_classifier(name, shape, width=0.125, seed=3) for _ in range(2)]
    first, second = (np.asarray(model(batch, training=True)) for model in build)
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, build[0](batch, training=True))
    rates = layers_of(build[0], keras.layers.Dropout)
    assert len({layer.seed for layer in rates}) == len(rates)


@pytest.mark.parametrize(
    "model",
    [
        lambda: resnet.resnet(GREY, stack_n=3),
        lambda: densenet.densenet(GREY, num_layers=2, growth_rate=4),
        lambda: wide_resnet.wide_resnet(GREY, num_blocks=2, widen_factor=1),
        lambda: sfl_vae_encoder(GREY, width=0.125),
    ],
)
def test_layers_of_one_shape_start_different(model: Callable[[], keras.Model]) -> None:
    kernels: dict[tuple[int, ...], list[np.ndarray]] = {}
    for variable in kernels_of(model()):
        kernels.setdefault(tuple(variable.shape), []).append(variable.numpy())
    twins = [group for group in kernels.values() if len(group) > 1]
    assert twins
    for group in twins:
        assert len({kernel.tobytes() for kernel in group}) == len(group)


def test_voters_built_from_one_seed_are_unrelated() -> None:
    first, second = (small(name).layers[2].kernel.numpy() for name in ("resnet_a", "resnet_b"))
    assert first.shape == second.shape
    assert not np.array_equal(first, second)


def test_projections_read_every_other_pixel_and_learn_from_those() -> None:
    """As a strided 1x1 convolution; for three channels oneDNN's gradient of one is wrong."""
    inputs = keras.Input((8, 8, 3))
    build = PreactivationLayers(LayerSeeds(0, "block"), weight_decay=0.0, use_bias=False)
    block = keras.Model(inputs, build.residual_block(inputs, 16, strides=2))
    (projection,) = (c for c in layers_of(block, keras.layers.Conv2D) if c.kernel_size == (1, 1))
    projected = keras.Model(inputs, projection.output)
    batch = images((8, 8, 3), count=4) - 0.5
    read = np.maximum(batch[:, ::2, ::2], 0) / np.sqrt(1 + 1e-5)
    with tf.GradientTape() as tape:
        outputs = projected(batch)
        loss = tf.reduce_sum(outputs**2)
    np.testing.assert_allclose(outputs, read @ projection.kernel.numpy()[0, 0], atol=1e-6)
    expected = 2 * np.einsum("bhwc,bhwd->cd", read, outputs)
    np.testing.assert_allclose(tape.gradient(loss, projection.kernel)[0, 0], expected, rtol=1e-4)


def test_width_and_depth() -> None:
    filters = [layer.filters for layer in layers_of(small("A"), keras.layers.Conv2D)]
    assert filters == [8, 8, 16, 16, 32, 32]
    hidden = layers_of(small("C", GREY), keras.layers.Dense)[0]
    assert hidden.units == 32
    deeper = build_classifier("resnet_a", GREY, width=0.5, depth=2)
    assert {layer.filters for layer in layers_of(deeper, keras.layers.Conv2D)} == {8, 16, 32}
    assert len(layers_of(deeper, keras.layers.Add)) == 6
    dense = build_classifier("densenet_b", GREY, width=0.5, depth=2)
    assert num_trainable(dense) == 43_978  # DenseNet-BC of depth 16, growth rate 12
    wide = build_classifier("wide_resnet_b", GREY, width=0.125)
    assert num_trainable(wide) == 174_768  # WRN-16-1
    assert build_classifier("wide_resnet_c", GREY, num_classes=7, width=0.1).output_shape == (
        None,
        7,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vgg", GREY), "architecture to be one of .*resnet_a.*received 'vgg'"),
        (("A", (28, 28, 2)), "1 or 3 channels, received 2"),
        (("A", (28, 28)), "three positive integers"),
        (("B", (26, 26, 1)), "at least 27x27"),
        (("A", (7, 32, 3)), "at least 8x8"),
        (("densenet_a", (3, 3, 1)), "at least 4x4"),
        (("A", GREY, 1), "at least 2"),
    ],
)
def test_build_classifier_says_what_is_wrong(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_classifier(*arguments)


@pytest.mark.parametrize(
    ("name", "depth", "message"),
    [
        ("A", 2, "depth=None"),
        ("resnet_a", 0, "stack_n"),
        ("densenet_a", 0, "num_layers"),
        ("wide_resnet_a", 0, "num_blocks"),
    ],
)
def test_impossible_depths(name: str, depth: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_classifier(name, GREY, depth=depth)


def test_impossible_printed_depths() -> None:
    with pytest.raises(ValueError, match="at least 10"):
        densenet.layers_per_block(9)
    with pytest.raises(ValueError, match="at least 1"):
        wide_resnet.blocks_per_group(0)


@pytest.mark.parametrize("name", [*TARGETS, *SMALL_VOTERS])
def test_training_moves_every_weight_and_lowers_the_loss(name: str) -> None:
    width = 0.125 if name.startswith("wide") else 0.25
    depth = None if name in TARGETS else 1
    model = build_classifier(name, GREY, 2, width=width, depth=depth, seed=1)
    labels = np.arange(16) % 2
    batch = 0.3 * images(GREY, count=16)
    batch[labels == 1, :, 14:] += 0.6
    before = [variable.numpy() for variable in model.trainable_variables]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    entropy = keras.metrics.SparseCategoricalCrossentropy("entropy", from_logits=True)
    model.compile(keras.optimizers.Adam(0.003), loss, metrics=[entropy])
    history = model.fit(batch, labels, batch_size=16, epochs=20, verbose=0).history
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert not np.array_equal(variable.numpy(), old), variable.path
    # The weight decay is no part of the metric, which would hide behind it in the loss.
    assert history["entropy"][-1] < 0.5 * history["entropy"][0]


SAVED: dict[str, Callable[[], keras.Model]] = {
    "target": lambda: small("A"),
    "resnet": lambda: small("resnet_a"),
    "densenet": lambda: small("densenet_a"),
    "wide_resnet": lambda: small("wide_resnet_a"),
    "encoder": lambda: sfl_vae_encoder(COLOUR, width=0.125),
    "autoencoder": lambda: _autoencoder(),
}


def _autoencoder() -> keras.Model:
    """Return encoder, sampling and clipped decoder in one network of every registered layer."""
    inputs = keras.Input(COLOUR)
    latent = Sampling(seed=3)(sfl_vae_encoder(COLOUR, width=0.125)(inputs))
    decoder = sfl_vae_decoder(COLOUR, width=0.125, output_activation="relu")
    return keras.Model(inputs, decoder(latent))


def _flat(outputs: object) -> list[np.ndarray]:
    return [np.asarray(output) for output in keras.tree.flatten(outputs)]


@pytest.mark.parametrize("name", sorted(SAVED))
def test_saved_networks_load_in_safe_mode_bit_for_bit(name: str, tmp_path: Path) -> None:
    model = SAVED[name]()
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.saving.load_model(path, safe_mode=True, compile=False)
    batch = images(COLOUR)
    assert same_weights(model, loaded)
    assert loaded.to_json() == model.to_json()
    for saved, restored in zip(
        _flat(model(batch, training=False)), _flat(loaded(batch, training=False)), strict=True
    ):
        np.testing.assert_array_equal(saved, restored)


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_saved_networks_load_on_another_backend(tmp_path: Path) -> None:
    batch = images(COLOUR)
    np.save(tmp_path / "batch.npy", batch)
    models = {name: SAVED[name]() for name in ("wide_resnet", "encoder", "autoencoder")}
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
    script = """
import sys, pathlib, keras, numpy as np, models
folder = pathlib.Path(sys.argv[1])
batch = np.load(folder / "batch.npy")
for path in sorted(folder.glob("*.keras")):
    model = keras.saving.load_model(path, safe_mode=True, compile=False)
    for index, output in enumerate(keras.tree.flatten(model.predict(batch, verbose=0))):
        np.save(folder / f"{path.stem}_{index}.npy", output)
print(keras.backend.backend())
"""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)}
    environment["JAX_PLATFORMS"] = "cpu"
    # Without it XLA spends seconds on optimising each initializer that runs once.
    environment["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["jax"]
    for name in ("wide_resnet", "encoder"):
        for index, expected in enumerate(_flat(models[name](batch, training=False))):
            restored = np.load(tmp_path / f"{name}_{index}.npy")
            np.testing.assert_allclose(restored, expected, atol=1e-5, err_msg=name)
    # Its noise is another backend's, so only shape and range can agree.
    purified = np.load(tmp_path / "autoencoder_0.npy")
    assert purified.shape == batch.shape
    assert purified.min() >= 0.0 and purified.max() <= 1.0
