"""The defense as one model: its arithmetic, its gradient, its file."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from defenses.defended_classifier import DefendedClassifier
from defenses.sfl_vae import SFLVAE

SHAPE = (28, 28, 1)


def some_images(num_images: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((num_images, *SHAPE), dtype="float32")


def linear_classifier(seed: int, num_classes: int = 10, activation: str | None = None):
    inputs = keras.Input(SHAPE)
    flat = keras.layers.Flatten()(inputs)
    initializer = keras.initializers.RandomNormal(stddev=0.3, seed=seed)
    outputs = keras.layers.Dense(
        num_classes, kernel_initializer=initializer, activation=activation
    )(flat)
    return keras.Model(inputs, outputs, name=f"linear_{seed}")


def sfl_vae(**arguments) -> SFLVAE:
    return SFLVAE.for_images(SHAPE, width=0.1, **arguments)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = np.asarray(logits, "float64")
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def test_without_purifier_one_classifier_keeps_its_probabilities():
    classifier, images = linear_classifier(0), some_images(4)
    defended = DefendedClassifier(None, [classifier])
    received = np.asarray(defended(images))
    np.testing.assert_allclose(received, log_softmax(classifier(images)), atol=1e-5)
    assert (received <= 0).all()
    np.testing.assert_allclose(np.exp(received).sum(axis=1), 1.0, atol=1e-5)
    assert defended.is_stochastic is False


def test_rules_against_their_definitions():
    members, images = [linear_classifier(s) for s in range(3)], some_images(4)
    logits = np.stack([np.asarray(m(images), "float64") for m in members])
    expected = {
        "mean": np.log(np.exp(log_softmax(logits)).mean(axis=0)),
        "mean_logits": log_softmax(logits.mean(axis=0)),
    }
    for rule, log_probabilities in expected.items():
        received = np.asarray(DefendedClassifier(None, members, rule)(images))
        np.testing.assert_allclose(received, log_probabilities, atol=1e-4)
    assert not np.allclose(expected["mean"], expected["mean_logits"], atol=0.1)


def test_several_draws_are_the_mean_of_their_probabilities():
    purifier, classifier, images = sfl_vae(seed=4), linear_classifier(0), some_images(3)
    purifier.reset_randomness(5)
    singly = [np.exp(np.asarray(DefendedClassifier(purifier, [classifier])(images)))]
    singly += [np.exp(np.asarray(DefendedClassifier(purifier, [classifier])(images)))]
    assert not np.allclose(*singly, atol=1e-3)
    averaging = DefendedClassifier(purifier, [classifier], num_draws=2)
    purifier.reset_randomness(5)
    received = np.exp(np.asarray(averaging(images)))
    np.testing.assert_allclose(received, np.mean(singly, axis=0), atol=1e-5)
    with pytest.raises(ValueError, match=r"num_draws to be an integer of at least 1 .* received 0"):
        DefendedClassifier(purifier, [classifier], num_draws=0)


def test_the_mean_stays_finite_where_a_probability_underflows():
    defended = DefendedClassifier(None, [linear_classifier(s) for s in (0, 1)], "mean")
    for member in defended.classifiers:
        member.set_weights([300 * weight for weight in member.get_weights()])
    images = tf.constant(some_images(3))
    with tf.GradientTape() as tape:
        tape.watch(images)
        received = defended(images)
        total = tf.reduce_sum(received)
    assert np.isfinite(received.numpy()).all()
    assert received.numpy().min() < -200
    assert np.isfinite(tape.gradient(total, images).numpy()).all()


def test_the_purifier_comes_before_the_classifiers():
    purifier, classifier = sfl_vae(mean_latent=True), linear_classifier(0)
    defended = DefendedClassifier(purifier, [classifier])
    images = some_images(5)
    expected = log_softmax(classifier(purifier.purify(images)))
    np.testing.assert_allclose(np.asarray(defended(images)), expected, atol=1e-4)
    labels = defended.predict_labels(images, batch_size=2)
    np.testing.assert_array_equal(labels, expected.argmax(axis=1))
    assert labels.dtype == np.int64


def test_the_gradient_is_the_chain_through_classifier_and_purifier():
    purifier, classifier = sfl_vae(mean_latent=True), linear_classifier(0)
    defended = DefendedClassifier(purifier, [classifier])
    images = tf.constant(some_images(2))
    with tf.GradientTape() as tape:
        tape.watch(images)
        chained = tf.reduce_sum(tf.nn.log_softmax(classifier(purifier(images)))[:, 3])
    expected = tape.gradient(chained, images).numpy()
    with tf.GradientTape() as tape:
        tape.watch(images)
        output = tf.reduce_sum(defended(images, training=False)[:, 3])
    received = tape.gradient(output, images).numpy()
    assert np.abs(expected).max(axis=(1, 2, 3)).min() > 0
    np.testing.assert_allclose(received, expected, rtol=1e-3, atol=1e-9)


def test_an_identity_gradient_is_that_of_the_classifier_at_the_purified_image():
    purifier, classifier = sfl_vae(mean_latent=True), linear_classifier(0)
    images = tf.constant(some_images(3))
    defended = DefendedClassifier(purifier, [classifier], identity_gradient=True)
    plain = DefendedClassifier(purifier, [classifier])
    np.testing.assert_allclose(defended(images), plain(images), atol=1e-5)

    def gradient(model, point):
        with tf.GradientTape() as tape:
            tape.watch(point)
            total = tf.reduce_sum(model(point)[:, 0])
        return tape.gradient(total, point).numpy()

    expected = gradient(DefendedClassifier(None, [classifier]), purifier(images))
    np.testing.assert_allclose(gradient(defended, images), expected, atol=1e-6)
    assert not np.allclose(gradient(plain, images), expected, atol=1e-4)
    assert defended.differentiable
    assert DefendedClassifier.from_config(defended.get_config()).identity_gradient


def test_each_gradient_of_a_stochastic_defense_draws_anew_also_when_compiled():
    defended = DefendedClassifier(sfl_vae(), [linear_classifier(0)])
    assert defended.is_stochastic is True
    images = tf.constant(some_images(2))

    @tf.function
    def gradient(batch):
        with tf.GradientTape() as tape:
            tape.watch(batch)
            output = tf.reduce_sum(defended(batch, training=False)[:, 0])
        return tape.gradient(output, batch)

    defended.reset_randomness(0)
    first, second = gradient(images).numpy(), gradient(images).numpy()
    defended.reset_randomness(0)
    again = gradient(images).numpy()
    assert not np.allclose(first, second, rtol=1e-3, atol=0)
    np.testing.assert_array_equal(first, again)


def test_labels_of_a_stochastic_defense_repeat_with_their_seed():
    defended = DefendedClassifier(sfl_vae(), [linear_classifier(s) for s in (0, 1)], "mean")
    images = some_images(3)
    rows = []
    for seed in (1, 1, 2):
        defended.reset_randomness(seed)
        rows.append(defended.predict_on_batch(images))
    np.testing.assert_array_equal(rows[0], rows[1])
    assert not np.allclose(rows[0], rows[2], atol=1e-6)


def test_a_saved_defense_is_the_same_defense(tmp_path):
    defended = DefendedClassifier(sfl_vae(), [linear_classifier(s) for s in (0, 1)], "mean")
    images = some_images(3)
    defended.reset_randomness(4)
    expected = defended.predict_on_batch(images)
    defended.save(tmp_path / "defended.keras")
    loaded = keras.saving.load_model(tmp_path / "defended.keras", compile=False, safe_mode=True)
    loaded.reset_randomness(4)
    np.testing.assert_array_equal(loaded.predict_on_batch(images), expected)
    assert loaded.rule == "mean"
    assert loaded.purifier.get_config().keys() == defended.purifier.get_config().keys()

    bare = DefendedClassifier(None, [linear_classifier(5)])
    bare.save(tmp_path / "bare.keras")
    loaded = keras.saving.load_model(tmp_path / "bare.keras", compile=False, safe_mode=True)
    assert loaded.purifier is None
    np.testing.assert_array_equal(loaded(images), bare(images))


def test_damaged_weights_do_not_pass_silently():
    classifier = linear_classifier(0)
    classifier.set_weights([np.full_like(w, np.nan) for w in classifier.get_weights()])
    with pytest.raises(ValueError, match="NaN"):
        DefendedClassifier(None, [classifier]).predict_labels(some_images(2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ([linear_classifier(0)], "vote"),
            "rule to be one of single, mean, mean_logits, received 'vote'",
        ),
        (lambda: ([], "mean"), "at least one classifier"),
        (lambda: ([linear_classifier(0), linear_classifier(1)], "single"), "exactly one"),
        (
            lambda: ([linear_classifier(0), linear_classifier(1, 5)], "mean"),
            "one number of classes",
        ),
        (lambda: ([linear_classifier(0, activation="softmax")], "single"), "ends in a softmax"),
    ],
)
def test_bad_members_are_explained(make, message):
    classifiers, rule = make()
    with pytest.raises(ValueError, match=message):
        DefendedClassifier(None, classifiers, rule)


def test_a_purifier_of_another_shape_is_explained():
    purifier = SFLVAE.for_images((32, 32, 1), width=0.1)
    with pytest.raises(ValueError, match="one image shape"):
        DefendedClassifier(purifier, [linear_classifier(0)])


def test_bad_images_are_explained():
    with pytest.raises(ValueError, match="received dtype uint8"):
        DefendedClassifier(None, [linear_classifier(0)]).predict_labels(
            (255 * some_images(1)).astype("uint8")
        )
