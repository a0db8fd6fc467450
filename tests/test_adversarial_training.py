"""Adversarial training by FGSM and by PGD: losses, limits, and what they are good for."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from attacks import get_attack
from defenses.adversarial_training import (
    FGSMAdversarialTraining,
    PGDAdversarialTraining,
    fgsm_images,
    pgd_images,
)
from tests.attack_helpers import accuracy, grey_images, linear_classifier, shuffled_digits
from tests.model_helpers import GREY, images, small

SPARSE = keras.losses.SparseCategoricalCrossentropy


def plain_cnn(seed: int = 0) -> keras.Model:
    """A small network without anything random, so that two trainings can agree exactly."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )


def some_batch(num_images: int = 12) -> tuple[np.ndarray, np.ndarray]:
    return grey_images(num_images, (8, 8, 1)), np.arange(num_images) % 3


def twin(model: keras.Model) -> keras.Model:
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def scalars(losses) -> dict[str, float]:
    return {name: float(value) for name, value in losses.items()}


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5])
def test_the_inner_images_are_those_of_the_attack(epsilon):
    model, (clean, labels) = plain_cnn(), some_batch()
    inner = fgsm_images(model, tf.constant(clean), tf.constant(labels), epsilon).numpy()
    np.testing.assert_array_equal(inner, get_attack("fgsm")(model, clean, labels, epsilon))
    assert inner.min() >= 0 and inner.max() <= 1
    compiled = tf.function(lambda x, y: fgsm_images(model, x, y, epsilon))
    np.testing.assert_array_equal(compiled(tf.constant(clean), tf.constant(labels)), inner)


def test_the_loss_is_the_published_mixture():
    """On a linear classifier the step and its loss are known in closed form."""
    model, weights, bias = linear_classifier(3)
    clean, labels = grey_images(6), np.arange(6) % 3
    flat = clean.reshape(6, -1)

    def entropies(x):
        logits = (x @ weights + bias).astype("float64")
        logits -= logits.max(axis=1, keepdims=True)
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return -np.log(p[np.arange(6), labels]), p

    clean_loss, p = entropies(flat)
    sign = np.sign((p - np.eye(3)[labels]) @ weights.T).astype("float32")
    adversarial_loss, _ = entropies(flat + np.float32(0.2) * sign)
    trainer = FGSMAdversarialTraining(model, 0.2, clean_weight=0.3)
    trainer.compile(keras.optimizers.SGD(0.0))
    log = scalars(trainer.train_step((clean, labels)))
    assert log["clean_loss"] == pytest.approx(clean_loss.mean(), rel=1e-4)
    assert log["adversarial_loss"] == pytest.approx(adversarial_loss.mean(), rel=1e-4)
    assert log["adversarial_loss"] > 1.5 * log["clean_loss"]
    expected = 0.3 * clean_loss.mean() + 0.7 * adversarial_loss.mean()
    assert log["loss"] == pytest.approx(expected, rel=1e-4)
    assert log["accuracy"] == pytest.approx(accuracy(model, clean, labels))


def test_the_step_is_held_constant_and_moves_only_the_classifier():
    """The gradient is that of the mixture on fixed images."""
    model, (clean, labels) = plain_cnn(), some_batch()
    adversarial = get_attack("fgsm")(model, clean, labels, 0.1)
    with tf.GradientTape() as tape:
        loss = 0.5 * SPARSE(from_logits=True)(labels, model(clean))
        loss += 0.5 * SPARSE(from_logits=True)(labels, model(adversarial))
    before = model.get_weights()
    gradients = tape.gradient(loss, model.trainable_variables)
    trainer = FGSMAdversarialTraining(model, 0.1)
    trainer.compile(keras.optimizers.SGD(0.1))
    trainer.train_step((tf.constant(clean), tf.constant(labels)))
    for old, new, gradient in zip(before, model.get_weights(), gradients, strict=True):
        np.testing.assert_allclose(new, old - 0.1 * gradient.numpy(), atol=1e-6)


@pytest.mark.parametrize("make", [plain_cnn, lambda: small("resnet_a", GREY)])
def test_epsilon_zero_is_plain_training(make):
    """Also with batch statistics and with penalties on weights, which the ResNet has."""
    model = make()
    shape = tuple(model.input_shape[1:])
    clean, labels = images(shape, 12), np.arange(12) % 3
    pair = [twin(model), twin(model)]
    trainer = FGSMAdversarialTraining(pair[0], 0.0)
    trainer.compile(keras.optimizers.SGD(0.05))
    pair[1].compile(keras.optimizers.SGD(0.05), SPARSE(from_logits=True))
    settings = {"epochs": 3, "batch_size": 6, "shuffle": False, "verbose": 0}
    logs = [fitted.fit(clean, labels, **settings).history for fitted in (trainer, pair[1])]
    np.testing.assert_allclose(logs[0]["loss"], logs[1]["loss"], rtol=1e-4)
    moved = False
    for old, one, other in zip(model.get_weights(), *(m.get_weights() for m in pair), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        moved = moved or not np.array_equal(old, one)
    assert moved
    attacked = FGSMAdversarialTraining(twin(model), 0.1)
    attacked.compile(keras.optimizers.SGD(0.05))
    assert attacked.fit(clean, labels, **settings).history["loss"][-1] != pytest.approx(
        logs[1]["loss"][-1], rel=1e-3
    )


def test_logs_are_means_over_the_images_and_evaluation_moves_nothing():
    clean, labels = some_batch(10)
    trainer = FGSMAdversarialTraining(plain_cnn(), 0.1)
    trainer.compile(keras.optimizers.SGD(0.0))
    log = trainer.fit(clean, labels, batch_size=4, shuffle=False, verbose=0).history
    parts = [scalars(_fresh_step(trainer, clean[i : i + 4], labels[i : i + 4])) for i in (0, 4, 8)]
    for name, values in log.items():
        expected = np.average([part[name] for part in parts], weights=[4, 4, 2])
        assert values == pytest.approx([expected], rel=1e-5), name
    trainer.compile(keras.optimizers.SGD(1.0))
    before = trainer.classifier.get_weights()
    result = trainer.evaluate(clean, labels, verbose=0, return_dict=True)
    assert set(result) == set(log)
    assert result["loss"] == pytest.approx(log["loss"][0], rel=1e-5)
    for old, new in zip(before, trainer.classifier.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def _fresh_step(trainer, clean, labels):
    trainer.reset_metrics()
    return trainer.train_step((clean, labels))


def test_it_resists_fgsm_better_than_plain_training_and_saves_as_a_plain_model(digits, tmp_path):
    plain, test_images, test_labels = digits
    images, labels = shuffled_digits()
    trainer = FGSMAdversarialTraining(twin(plain), 0.15)
    trainer.compile(keras.optimizers.Adam(3e-3))
    trainer.fit(images[:1600], labels[:1600], epochs=8, batch_size=64, verbose=0)

    path = tmp_path / "robust.keras"
    trainer.classifier.save(path)
    robust = keras.saving.load_model(path, safe_mode=True)
    assert type(robust) is type(plain)
    assert [v.shape for v in robust.weights] == [v.shape for v in plain.weights]
    np.testing.assert_array_equal(robust(test_images), trainer(test_images))
    attack, left = get_attack("fgsm"), []
    for model in (plain, robust):
        assert accuracy(model, test_images, test_labels) > 0.9
        adversarial = attack(model, test_images, test_labels, 0.15)
        left.append(accuracy(model, adversarial, test_labels))
    assert left[1] > left[0] + 0.2


@pytest.mark.parametrize(("epsilon", "clean_weight"), [(-0.1, 0.5), (77, 0.5), (0.3, 1.5)])
def test_numbers_out_of_range_are_explained(epsilon, clean_weight):
    with pytest.raises(
        ValueError, match=r"(epsilon|clean_weight) to be a finite number of at least 0"
    ):
        FGSMAdversarialTraining(plain_cnn(), epsilon, clean_weight=clean_weight)


def test_a_batch_without_labels_is_explained():
    trainer = FGSMAdversarialTraining(plain_cnn(), 0.1)
    trainer.compile()
    for data in ({"clean": some_batch()[0]}, (some_batch()[0],)):
        with pytest.raises(ValueError, match=r"pair \(images, labels\)"):
            trainer.train_step(data)


# -- PGD ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_one_whole_step_of_pgd_is_fgsm(epsilon):
    model, (clean, labels) = plain_cnn(), some_batch()
    x, y = tf.constant(clean), tf.constant(labels)
    step = pgd_images(model, x, y, epsilon, step_size=max(epsilon, 0.1), num_steps=1)
    np.testing.assert_array_equal(step, fgsm_images(model, x, y, epsilon))


def test_the_inner_images_are_those_of_pgd():
    model, (clean, labels) = plain_cnn(), some_batch()
    attack = get_attack("pgd", num_steps=5, step_size=0.03, random_start=False)
    x, y = tf.constant(clean), tf.constant(labels)
    inner = pgd_images(model, x, y, 0.1, step_size=0.03, num_steps=5)
    np.testing.assert_allclose(inner, attack(model, clean, labels, 0.1), atol=1e-6)
    compiled = tf.function(lambda x: pgd_images(model, x, y, 0.1, step_size=0.03, num_steps=5))
    np.testing.assert_allclose(compiled(x), inner, atol=1e-6)


def test_random_starts_differ_and_stay_in_ball_and_box():
    model, (clean, labels) = plain_cnn(), some_batch()
    x, y = tf.constant(clean), tf.constant(labels)
    seed = keras.random.SeedGenerator(0)
    drawn = [
        np.asarray(pgd_images(model, x, y, 0.1, step_size=0.02, num_steps=2, seed=seed))
        for _ in range(2)
    ]
    assert not np.array_equal(*drawn)
    for found in drawn:
        assert np.abs(found - clean).max() <= 0.1 + 1e-6
        assert found.min() >= 0 and found.max() <= 1


def test_pgd_training_takes_the_gradient_on_its_images_alone():
    model, (clean, labels) = plain_cnn(), some_batch()
    x, y = tf.constant(clean), tf.constant(labels)
    adversarial = pgd_images(model, x, y, 0.1, step_size=0.04, num_steps=3)
    with tf.GradientTape() as tape:
        loss = SPARSE(from_logits=True)(labels, model(adversarial))
    before, right = model.get_weights(), accuracy(model, adversarial.numpy(), labels)
    gradients = tape.gradient(loss, model.trainable_variables)
    trainer = PGDAdversarialTraining(model, 0.1, step_size=0.04, num_steps=3, random_start=False)
    trainer.compile(keras.optimizers.SGD(0.1))
    log = scalars(trainer.train_step((x, y)))
    assert log["loss"] == log["adversarial_loss"] == pytest.approx(float(loss), rel=1e-5)
    assert log["adversarial_accuracy"] == pytest.approx(right)
    for old, new, gradient in zip(before, model.get_weights(), gradients, strict=True):
        np.testing.assert_allclose(new, old - 0.1 * gradient.numpy(), atol=1e-6)


def test_making_the_images_moves_nothing():
    """Neither weights nor batch statistics, as the classifier is in inference mode."""
    model = small("resnet_a", GREY)
    clean, labels = images(GREY, 6), np.arange(6) % 3
    before = model.get_weights()
    pgd_images(model, tf.constant(clean), tf.constant(labels), 0.1, step_size=0.1, num_steps=2)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_pgd_at_epsilon_zero_is_plain_training():
    model = small("resnet_a", GREY)
    clean, labels = images(GREY, 12), np.arange(12) % 3
    pair = [twin(model), twin(model)]
    trainer = PGDAdversarialTraining(pair[0], 0.0, step_size=0.1, num_steps=2)
    trainer.compile(keras.optimizers.SGD(0.05))
    pair[1].compile(keras.optimizers.SGD(0.05), SPARSE(from_logits=True))
    settings = {"epochs": 2, "batch_size": 6, "shuffle": False, "verbose": 0}
    logs = [fitted.fit(clean, labels, **settings).history for fitted in (trainer, pair[1])]
    np.testing.assert_allclose(logs[0]["loss"], logs[1]["loss"], rtol=1e-4)
    for one, other in zip(*(m.get_weights() for m in pair), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_pgd_training_withstands_pgd(digits):
    plain, test_images, test_labels = digits
    images, labels = shuffled_digits()
    trainer = PGDAdversarialTraining(twin(plain), 0.15, step_size=0.05, num_steps=5)
    trainer.compile(keras.optimizers.Adam(3e-3))
    trainer.fit(images[:1600], labels[:1600], epochs=8, batch_size=64, verbose=0)
    attack, left = get_attack("pgd", num_steps=20), []
    for model in (plain, trainer.classifier):
        assert accuracy(model, test_images, test_labels) > 0.9
        left.append(accuracy(model, attack(model, test_images, test_labels, 0.15), test_labels))
    assert left[1] > left[0] + 0.2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step_size": 0.0}, "step_size"),
        ({"num_steps": 0}, "num_steps"),
        ({"random_start": 1}, "random_start"),
        ({"seed": -1}, "seed"),
    ],
)
def test_numbers_of_pgd_out_of_range_are_explained(changes, message):
    with pytest.raises(ValueError, match=message):
        PGDAdversarialTraining(plain_cnn(), 0.1, **changes)
