"""APE-GAN: its networks, its losses, and what a training moves."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from attacks import get_attack
from defenses.ape_gan import APEGAN
from defenses.gan_losses import cross_entropy_discriminator_loss, cross_entropy_generator_loss
from models.ape_gan import ape_gan_discriminator, ape_gan_generator
from tests.model_helpers import COLOUR, GREY, images, layers_of, num_trainable, same_weights, small

LABELS = np.arange(4) % 10


def array(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


def purifier(shape=GREY, **arguments) -> APEGAN:
    given = {"width": 0.125, "source_classifier": small("resnet_a", shape), **arguments}
    made = APEGAN.for_images(shape, **given)
    made.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1), run_eagerly=True)
    return made


def batch(shape=GREY) -> dict[str, np.ndarray]:
    return {"clean": images(shape, 4), "label": LABELS}


# ---------------------------------------------------------------------- networks


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_the_networks_are_the_published_ones(shape):
    generator, discriminator = ape_gan_generator(shape), ape_gan_discriminator(shape)
    channels, kernel = shape[-1], 4 * 4
    # Kernels and biases, and two numbers for each normalised map.
    assert num_trainable(generator) == (
        (kernel * channels * 64 + 64 + 2 * 64)
        + (kernel * 64 * 128 + 128 + 2 * 128)
        + (kernel * 128 * 64 + 64 + 2 * 64)
        + (kernel * 64 * channels + channels)
    )
    side = -(-shape[0] // 8)
    assert num_trainable(discriminator) == (
        (kernel * channels * 64 + 64)
        + (kernel * 64 * 128 + 128 + 2 * 128)
        + (kernel * 128 * 256 + 256 + 2 * 256)
        + (side * side * 256 + 1)
    )
    halves = [layer.output.shape[1] for layer in layers_of(generator, keras.layers.Conv2D)]
    assert halves[:2] == [shape[0] // 2, shape[0] // 4]
    assert discriminator.output_shape == (None, 1)
    again, other = (ape_gan_generator(shape, seed=seed) for seed in (0, 1))
    assert same_weights(generator, again)
    assert not same_weights(generator, other)


def test_the_output_reaches_both_ends_of_the_range_and_no_further():
    generator = ape_gan_generator(GREY, width=0.125)
    last = generator.get_layer("decoder_2")
    for value, expected in ((100.0, 1.0), (-100.0, 0.0), (0.0, None)):
        last.bias.assign([value])
        made = array(generator(images(GREY)))
        assert made.min() >= 0 and made.max() <= 1
        if expected is not None:
            np.testing.assert_array_equal(made, expected)


def test_sides_that_cannot_be_halved_twice_are_refused():
    with pytest.raises(ValueError, match="multiples of 4 for APE-GAN, received"):
        ape_gan_generator((30, 32, 1))
    with pytest.raises(ValueError, match="one shape and a discriminator of them"):
        APEGAN(ape_gan_generator(GREY, width=0.1), ape_gan_discriminator(COLOUR, width=0.1))


# ---------------------------------------------------------------------- losses


def test_cross_entropies_are_those_of_the_sigmoid():
    real, fake = np.array([[0.0], [2.0]], "float32"), np.array([[0.0], [-1.0]], "float32")
    expected = [np.log(2) + np.log(2), np.log1p(np.exp(-2)) + np.log1p(np.exp(-1))]
    np.testing.assert_allclose(
        array(cross_entropy_discriminator_loss(real, fake)), expected, rtol=1e-6
    )
    expected = [np.log(2), np.log1p(np.exp(1))]
    np.testing.assert_allclose(array(cross_entropy_generator_loss(fake)), expected, rtol=1e-6)
    far = np.array([[1e4], [-1e4]], "float32")
    np.testing.assert_allclose(array(cross_entropy_generator_loss(far)), [0, 1e4])


def test_losses_are_those_of_the_adversarial_images():
    made, clean = purifier(), batch()
    attacked = get_attack("fgsm")(made.source_classifier, clean["clean"], LABELS, 8 / 255)
    paired = made.paired(clean)
    np.testing.assert_array_equal(array(paired["adversarial"]), attacked)
    assert made.paired(paired) is paired
    purified = array(made.generator(attacked))
    real, fake = (array(made.discriminator(x)) for x in (clean["clean"], purified))
    losses = {k: float(v) for k, v in made.generator_losses(clean, training=False).items()}
    error = ((purified - clean["clean"]) ** 2).mean()
    assert losses["reconstruction_loss"] == pytest.approx(error, rel=1e-5)
    believed = np.log1p(np.exp(-fake)).mean()
    assert losses["adversarial_loss"] == pytest.approx(believed, rel=1e-5)
    assert losses["loss"] == pytest.approx(0.7 * error + 0.3 * believed, rel=1e-5)
    loss = float(made.discriminator_losses(clean, training=False)["loss"])
    told = np.log1p(np.exp(-real)).mean() + np.log1p(np.exp(fake)).mean()
    assert loss == pytest.approx(told, rel=1e-5)


def test_each_loss_falls_with_what_it_rewards():
    made, clean = purifier(), batch()
    logit = made.discriminator.get_layer("logit")
    before = {k: float(v) for k, v in made.generator_losses(clean).items()}
    logit.bias.assign([3.0])  # everything is taken for clean
    after = {k: float(v) for k, v in made.generator_losses(clean).items()}
    assert after["adversarial_loss"] < before["adversarial_loss"]
    assert after["reconstruction_loss"] == pytest.approx(before["reconstruction_loss"])
    flat = {**clean, "clean": np.full((4, *GREY), 0.5, "float32")}
    far = float(made.generator_losses(flat)["reconstruction_loss"])
    made.generator.get_layer("decoder_2").kernel.assign(
        np.zeros_like(made.generator.get_layer("decoder_2").kernel)
    )
    near = float(made.generator_losses(flat)["reconstruction_loss"])  # tanh 0 is the middle
    assert near < 1e-8 < far


# ---------------------------------------------------------------------- training


def test_a_step_updates_the_discriminator_once_and_the_generator_twice():
    for steps in (1, 2, 3):
        made = purifier(num_generator_steps=steps)
        made.train_step({k: tf.constant(v) for k, v in batch().items()})
        assert int(made.discriminator_optimizer.iterations) == 1
        assert int(made.generator_optimizer.iterations) == steps
        assert [phase.name for phase in made.phases()] == ["discriminator"] + ["generator"] * steps


def test_the_source_classifier_never_moves():
    made = purifier()
    before = [array(v).copy() for v in made.source_classifier.variables]
    assert any("moving" in v.path for v in made.source_classifier.variables)
    for step in (made.train_step, made.phase_train_step):
        step({k: tf.constant(v) for k, v in batch().items()})
    for old, variable in zip(before, made.source_classifier.variables, strict=True):
        np.testing.assert_array_equal(old, array(variable))
    assert not {id(v) for v in made.source_classifier.variables} & {id(v) for v in made.variables}


def test_a_saved_purifier_has_neither_source_nor_discriminator(tmp_path):
    made = purifier(epsilon=0.1, reconstruction_weight=0.5)
    made.save(tmp_path / "a.keras")
    loaded = keras.saving.load_model(tmp_path / "a.keras", safe_mode=True)
    assert (loaded.epsilon, loaded.reconstruction_weight, loaded.num_classes) == (0.1, 0.5, None)
    assert loaded.source_classifier is loaded.discriminator is None
    np.testing.assert_array_equal(loaded.purify(images(GREY)), made.purify(images(GREY)))
    whole = APEGAN(loaded.generator, ape_gan_discriminator(GREY, width=0.125))
    whole.compile()
    with pytest.raises(ValueError, match="source classifier for training, received None"):
        whole.train_step(batch())


def test_another_classifier_is_refused():
    with pytest.raises(ValueError, match="Expected a source classifier of images"):
        APEGAN.for_images(GREY, width=0.125, source_classifier=small("resnet_a", COLOUR))
    with pytest.raises(ValueError, match="num_generator_steps to be an integer of at least 1"):
        purifier(num_generator_steps=0)
