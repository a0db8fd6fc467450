"""What a purifier, a defended classifier and an adversarially trained one refuse when called."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from defenses import DefendedClassifier
from defenses.adversarial_training import FGSMAdversarialTraining
from defenses.purifier import Purifier
from defenses.puvae import PuVAE
from models import build_classifier
from models.registry import CAP_GAN_CLASSIFIERS, CLASSIFIERS, PUVAE_CLASSIFIERS
from tests.attack_helpers import linear_classifier
from tests.purifier_helpers import (
    COLOUR,
    GREY,
    NUM_CLASSES,
    build,
    every_published_method,
    some_images,
    untrained,
)

SHAPES = [
    (lambda images: (255 * images).astype("uint8"), r"dtype uint8.*astype\('float32'\) / 255"),
    (lambda images: images > 0.5, "dtype bool"),
    (lambda images: np.moveaxis(images, -1, 1), r"numpy.moveaxis\(images, 1, -1\)"),
    (lambda images: images[..., 0], "missing axis"),
    (lambda images: np.repeat(images, 3, axis=-1), r"received \(3, 28, 28, 3\)"),
]
VALUES = [
    (lambda images: 255 * images, "Divide 8-bit images by 255"),
    (lambda images: 2 * images - 1, r"by \(images \+ 1\) / 2"),
    (lambda images: images + np.float32("nan"), "finite images"),
    (lambda images: images + 2e-6 * (images == images.max()), "from .* to 1.0"),
]


def at_the_border(num_images: int = 3) -> np.ndarray:
    images = some_images(num_images)
    images[0, 0, 0, 0] = 1.0
    return images


def models() -> dict[str, keras.Model]:
    classifier = linear_classifier(NUM_CLASSES, GREY)[0]
    purifier = untrained("magnet")
    return {
        "purifier": purifier,
        "defended": DefendedClassifier(purifier, [classifier]),
        "trainer": FGSMAdversarialTraining(classifier, 0.1),
    }


@every_published_method
def test_every_purifier_refuses_integers_and_the_range_of_bytes(name):
    purifier = untrained(name)
    for spoil, message in (SHAPES[0], VALUES[0]):
        with pytest.raises(ValueError, match=message):
            purifier(spoil(some_images(2)))


@pytest.mark.parametrize("kind", ["purifier", "defended", "trainer"])
def test_wrong_images_are_refused_in_a_graph_and_outside(kind):
    model = models()[kind]
    for spoil, message in SHAPES:
        spoilt = tf.constant(spoil(at_the_border()))
        for call in (model, tf.function(lambda x: model(x))):
            with pytest.raises(ValueError, match=message):
                call(spoilt)
    for spoil, message in VALUES:
        for convert in (np.asarray, tf.constant):
            with pytest.raises(ValueError, match=message):
                model(convert(spoil(at_the_border())), training=True)
    with pytest.raises(ValueError, match="dtype object"):
        model(None)
    for predict in (model.predict, model.predict_on_batch):
        with pytest.raises(ValueError, match=r"Expected x in \[0, 1\]"):
            predict(255 * some_images(2))


def test_what_is_right_goes_on_working():
    purifier, images = untrained("magnet"), at_the_border()
    wanted = np.asarray(purifier(images))
    rounded = np.nextafter(images, 2, dtype="float32")
    assert rounded.max() > 1.0
    for given in (rounded, tf.constant(images), images.astype("float64"), images.tolist()):
        np.testing.assert_allclose(purifier(given), wanted, atol=1e-6)
    np.testing.assert_allclose(purifier(images=images, training=False), wanted, atol=1e-6)
    assert purifier(images[:0]).shape == (0, *GREY)

    free = tf.TensorSpec((None, None, None, None), "float32")
    graph = tf.function(lambda x: purifier(x), input_signature=[free])
    np.testing.assert_allclose(graph(images), wanted, atol=1e-6)
    inputs = keras.Input(GREY)
    np.testing.assert_allclose(keras.Model(inputs, purifier(inputs))(images), wanted, atol=1e-6)
    with tf.GradientTape() as tape:
        tape.watch(watched := tf.constant(images))
        total = tf.reduce_sum(purifier(watched))
    assert np.abs(tape.gradient(total, watched)).max() > 0


def test_further_methods_check_their_images():
    calls = (
        PuVAE.narrow(untrained("puvae")).project,
        untrained("defense_gan").search,
        untrained("vqunet").features,
    )
    for call in calls:
        for spoil, message in (SHAPES[0], SHAPES[2], VALUES[0]):
            with pytest.raises(ValueError, match=message):
                call(spoil(some_images(2)))
    with pytest.raises(ValueError, match=r"latents of shape \(batch, num_restarts, 128\)"):
        untrained("defense_gan").search(some_images(2), np.zeros((2, 1, 3), "float32"))


def test_a_classifier_written_as_a_subclass_is_attached():
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.flat, self.dense = keras.layers.Flatten(), keras.layers.Dense(NUM_CLASSES)

        def call(self, images, training=False):
            return self.dense(self.flat(images))

    net, images = Net(), some_images(3)
    wanted = tf.nn.log_softmax(net(untrained("magnet")(images)))
    defended = DefendedClassifier(untrained("magnet"), [net])
    np.testing.assert_allclose(defended(images), wanted, atol=1e-5)
    with pytest.raises(ValueError, match=r"received Net. Wrap a model"):
        DefendedClassifier(None, [net])


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (("magnet", []), "Expected a Purifier or None as purifier, received str"),
        ((None, "A"), "classifiers as a list of models, received str"),
        ((None, ["A"]), "functional or sequential model, received str"),
        ((None, linear_classifier(NUM_CLASSES, GREY)[0]), "Pass .classifier."),
    ],
)
def test_members_of_another_kind_are_explained(members, message):
    with pytest.raises(ValueError, match=message):
        DefendedClassifier(*members)


@pytest.mark.parametrize("num_draws", [0, 2.5, "3", None, True, 10**9])
def test_impossible_numbers_of_draws_are_explained(num_draws):
    classifier = linear_classifier(NUM_CLASSES, GREY)[0]
    with pytest.raises(ValueError, match="num_draws to be an integer of at least 1"):
        DefendedClassifier(None, [classifier], num_draws=num_draws)


@every_published_method
def test_networks_and_shapes_of_another_kind_are_explained(name):
    for shape in ((1, 28, 28), (28, 28), (28, 28, 1, 1), (10**9, 28, 1), "28", None):
        with pytest.raises(ValueError, match=r"input_shape|output_shape"):
            type(untrained(name)).for_images(shape, width=0.03)
    networks = dict.fromkeys(untrained(name).network_names, "net")
    if not networks:
        return
    with pytest.raises(ValueError, match=r"received str|received one with the outputs"):
        type(untrained(name))(**networks)


@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan"), "0.1", True, [0.1]])
def test_numbers_of_another_kind_are_explained(value):
    for name, arguments in {
        "sfl_vae": ("kl_weight", "sfl_weight", "reconstruction_weight", "dropout", "width"),
        "defense_vae": ("kl_weight",),
        "defense_cyclegan": ("cycle_weight", "noisy_a"),
        "magnet": ("training_noise", "activity_weight", "width"),
        "puvae": ("kl_weight", "noise_scale", "soft_min_temperature", "cross_entropy_weight"),
        "vqunet": ("encoder_weight", "codebook_rate", "reconstruction_weight"),
        "defense_gan": ("learning_rate", "momentum", "initial_scale"),
    }.items():
        purifier_class = type(untrained(name))
        for argument in arguments:
            options = {"width": 0.03, argument: value}
            with pytest.raises(ValueError, match=f"Expected {argument} to be a finite number"):
                purifier_class.for_images(GREY, **options)


@pytest.mark.parametrize("value", [0, 2.5, "3", True, None, 10**9])
def test_counts_of_another_kind_are_explained(value):
    for name, arguments in {
        "sfl_vae": ("latent_dim",),
        "puvae": ("latent_dim", "num_classes"),
        "vqunet": ("num_classes",),
        "defense_gan": ("latent_dim", "num_restarts", "num_critic_steps"),
    }.items():
        purifier_class: type[Purifier] = type(untrained(name))
        for argument in arguments:
            options = {"width": 0.03, argument: value}
            with pytest.raises(ValueError, match=f"{argument} to be an integer of at least"):
                purifier_class.for_images(GREY, **options)


@pytest.mark.parametrize("name", ["A", "puvae_e", "resnet_a", "densenet_a", "wide_resnet_a"])
def test_classifiers_explain_what_they_cannot_build(name):
    for options, message in (
        ({"num_classes": 1}, "num_classes"),
        ({"num_classes": 10**9}, "num_classes"),
        ({"width": float("inf")}, "width"),
        ({"width": "1"}, "width"),
        ({"seed": None}, "seed"),
        ({"seed": -1}, "seed"),
        ({"depth": 2.5}, "depth|stack_n|num_layers|num_blocks"),
        ({"depth": 10**9}, "depth|stack_n|num_layers|num_blocks"),
        ({"input_shape": (3, 32, 32)}, r"channels first. Pass \(32, 32, 3\)"),
    ):
        with pytest.raises(ValueError, match=f"Expected .*({message})"):
            build_classifier(name, **{"input_shape": COLOUR, "width": 0.05, **options})


def test_channels_first_is_refused_where_networks_are_built(monkeypatch):
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    message = r"received channels_first.*set_image_data_format\(\"channels_last\"\)"
    for name in (
        "sfl_vae",
        "defense_vae",
        "defense_cyclegan",
        "vqunet",
        "puvae",
        "defense_gan",
        "cap_gan",
    ):
        with pytest.raises(ValueError, match=message):
            build(name)
    for name in (*CLASSIFIERS, *PUVAE_CLASSIFIERS, *CAP_GAN_CLASSIFIERS):
        with pytest.raises(ValueError, match=message):
            build_classifier(name, COLOUR, width=0.05)


def test_a_saved_purifier_purifies_alike_under_channels_first(tmp_path):
    purifier, images = untrained("defense_vae"), some_images(2)
    wanted = purifier.purify(images)
    purifier.save(tmp_path / "purifier.keras")
    keras.config.set_image_data_format("channels_first")
    try:
        loaded = keras.saving.load_model(tmp_path / "purifier.keras", compile=False)
        np.testing.assert_array_equal(loaded.purify(images), wanted)
    finally:
        keras.config.set_image_data_format("channels_last")
