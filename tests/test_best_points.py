"""Auto-PGD, and PGD and BIM with restarts and best points: closed forms, a second implementation,
and what restarts may and may not change.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from attacks import AttackFailedError, get_attack, restarts
from attacks.apgd import APGD, checkpoints
from attacks.attacked_model import attacked_model
from attacks.best_point import ascent
from attacks.gradient import BIM, PGD
from attacks.losses import FEWEST_CLASSES, LOSSES, attack_loss, goal_is_reached
from attacks.restarts import image_generators, random_starts
from tests.attack_helpers import accuracy, grey_images, lengths, linear_classifier, predictions

SHAPE = (4, 4, 1)


@pytest.fixture(scope="module")
def curved() -> keras.Model:
    """A small smooth network whose loss has curved level lines."""
    rng = np.random.default_rng(5)
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.Dense(24, activation="tanh"),
            keras.layers.Dense(5),
        ]
    )
    for layer in model.layers[1:]:
        weights, bias = layer.get_weights()
        layer.set_weights([rng.normal(0, 0.8, weights.shape), rng.normal(0, 0.3, bias.shape)])
    return model


def losses_of(name, model, images, labels, targeted=False) -> np.ndarray:
    return np.asarray(attack_loss(name, model(images), labels, targeted=targeted))


# Losses by hand


def test_losses_against_their_definitions():
    logits = np.array([[3.0, 1.0, 0.5, -2.0], [0.0, 4.0, 1.0, 2.0]], "float32")
    labels = np.array([0, 3])
    rows = np.arange(2)
    entropy = np.log(np.exp(logits).sum(axis=1)) - logits[rows, labels]
    margin = np.array([1.0 - 3.0, 4.0 - 2.0])
    ratio = margin / np.array([3.0 - 0.5, 4.0 - 1.0])
    of_target = -margin / np.array([3.0 - (0.5 - 2.0) / 2, 4.0 - (1.0 + 0.0) / 2])
    for name, targeted, expected in (
        ("cross_entropy", False, entropy),
        ("cross_entropy", True, -entropy),
        ("margin", False, margin),
        ("margin", True, -margin),
        ("difference_of_logits", False, ratio),
        ("difference_of_logits", True, of_target),
    ):
        found = np.asarray(attack_loss(name, logits, labels, targeted=targeted))
        np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=f"{name} {targeted}")
    np.testing.assert_array_equal(goal_is_reached(logits, labels, targeted=False), [False, True])
    np.testing.assert_array_equal(goal_is_reached(logits, labels, targeted=True), [True, False])
    assert not np.asarray(goal_is_reached(logits * np.nan, labels, targeted=False)).any()


@pytest.mark.parametrize("targeted", [False, True])
def test_the_difference_of_logits_has_no_scale(targeted):
    logits = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
    labels = np.arange(20) % 6
    expected = attack_loss("difference_of_logits", logits, labels, targeted=targeted)
    for factor in (1e-3, 20.0, 1e4):
        found = attack_loss("difference_of_logits", factor * logits, labels, targeted=targeted)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    tied = np.asarray(attack_loss("difference_of_logits", logits * 0, labels, targeted=targeted))
    assert (tied == 0.0).all()


# Closed forms on a linear classifier


@pytest.mark.parametrize("name", ["apgd", "apgd/margin", "pgd", "bim"])
def test_the_best_point_of_two_classes_is_the_corner(name):
    model, weights, _ = linear_classifier(2)
    images = grey_images(6)
    labels = predictions(model, images)
    away = np.where(labels == 0, 1.0, -1.0)[:, None] * (weights[:, 1] - weights[:, 0])
    corner = images + 0.1 * np.sign(away).reshape(images.shape)
    attack = {
        "apgd": APGD(num_steps=20),
        "apgd/margin": APGD(num_steps=20, loss="margin"),
        "pgd": PGD(best_point=True),
        "bim": BIM(best_point=True),
    }[name]
    np.testing.assert_allclose(attack(model, images, labels, 0.1), corner, atol=1e-6)


def test_the_best_point_in_l2_lies_along_the_weights():
    model, weights, _ = linear_classifier(2)
    images = grey_images(6)
    labels = predictions(model, images)
    away = np.where(labels == 0, 1.0, -1.0)[:, None] * (weights[:, 1] - weights[:, 0])
    unit = (away / np.linalg.norm(away, axis=1, keepdims=True)).reshape(images.shape)
    for attack, near in ((APGD(norm="l2"), 0.9999), (PGD(norm="l2", best_point=True), 0.97)):
        found = attack(model, images, labels, 0.25)
        assert lengths(found - images).max() <= 0.25 * (1 + 1e-5)
        assert (np.sum((found - images) * unit, axis=(1, 2, 3)) > near * 0.25).all()


# Auto-PGD against a second implementation


def test_the_search_looks_back_where_the_paper_says():
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(50)[:3] == [11, 21, 29]
    assert checkpoints(1) == []
    assert all(0 < step < 7 for step in checkpoints(7))


def literal_apgd(gradient_of, images, starts, epsilon, num_steps, norm):
    """Algorithm 1 of the paper, image by image, in NumPy; returns the point of highest loss."""

    def project(point, image):
        delta = point - image
        if norm == "linf":
            delta = np.clip(delta, -epsilon, epsilon)
        else:
            delta *= min(1.0, epsilon / max(np.linalg.norm(delta), 1e-12))
        return np.clip(image + delta, 0.0, 1.0)

    def unit(slope):
        return np.sign(slope) if norm == "linf" else slope / max(np.linalg.norm(slope), 1e-12)

    found, halvings = [], 0
    for index, (image, point) in enumerate(zip(images, starts, strict=True)):
        step, former, looks = 2 * epsilon, point, [0, *checkpoints(num_steps)]
        loss, slope = gradient_of(point, index)
        best, best_slope, highest = point, slope, loss
        at_look, halved, rises = highest, False, 0
        for k in range(num_steps):
            if k in looks[1:]:
                span = k - looks[looks.index(k) - 1]
                halves = rises < 0.75 * span or (not halved and at_look == highest)
                at_look, halved, rises = highest, halves, 0
                if halves:
                    halvings += 1
                    step /= 2
                    point, slope, loss = best, best_slope, highest
            ahead = project(point + step * unit(slope), image)
            weight = 1.0 if k == 0 else 0.75
            moved = point + weight * (ahead - point) + (1 - weight) * (point - former)
            former, point = point, project(moved, image)
            new_loss, slope = gradient_of(point, index)
            rises += new_loss > loss
            loss = new_loss
            if loss > highest:
                best, best_slope, highest = point, slope, loss
        found.append(best)
    return np.stack(found), halvings


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.1), ("l2", 0.5)])
def test_auto_pgd_follows_the_algorithm_of_the_paper(curved, norm, epsilon, loss):
    images, num_steps = grey_images(8), 40
    labels = predictions(curved, images)
    rows = np.arange(len(images))
    starts = random_starts(images, epsilon, norm, image_generators(3, 0, rows))

    def gradient_of(point, index):
        x = tf.constant(point[None], tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = attack_loss(loss, curved(x), labels[index : index + 1], targeted=False)
        return float(value[0]), tape.gradient(value, x).numpy()[0].astype("float64")

    expected, halvings = literal_apgd(gradient_of, images, starts, epsilon, num_steps, norm)
    assert halvings > len(images)
    found = APGD(norm=norm, loss=loss, num_steps=num_steps)(curved, images, labels, epsilon, seed=3)
    # The point of highest loss is the result too, where it is adversarial if any is.
    highest = losses_of(loss, curved, expected.astype("float32"), labels)
    reached = losses_of(loss, curved, found, labels)
    same = np.isclose(highest, reached, rtol=1e-3, atol=1e-4)
    adversarial = predictions(curved, found) != labels
    assert same.mean() >= 0.75 and (same | adversarial | (reached >= highest)).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_auto_pgd_is_at_least_as_strong_as_pgd(digits, loss):
    model, images, labels = digits
    images, labels = images[:60], labels[:60]
    pgd = accuracy(model, PGD(num_steps=20)(model, images, labels, 0.15), labels)
    apgd = APGD(num_steps=20, loss=loss)(model, images, labels, 0.15)
    assert np.abs(apgd - images).max() <= 0.15 + 1e-6
    assert apgd.min() >= 0.0 and apgd.max() <= 1.0
    assert accuracy(model, apgd, labels) <= pgd + 0.02


@pytest.mark.parametrize("loss", LOSSES)
def test_a_targeted_search_reaches_its_target(digits, loss):
    model, images, labels = digits
    images, targets = images[:30], (labels[:30] + 1) % 10
    attack = APGD(num_steps=30, loss=loss)
    found = attack(model, images, labels[:30], 0.5, target_labels=targets)
    assert accuracy(model, found, targets) >= 0.9


@pytest.mark.parametrize("targeted", [False, True])
def test_a_ratio_needs_enough_classes(targeted):
    fewest = FEWEST_CLASSES["difference_of_logits", targeted]
    attack = APGD(loss="difference_of_logits", num_steps=2)
    images = grey_images(6)
    for count in (fewest - 1, fewest):
        model, *_ = linear_classifier(count)
        labels = predictions(model, images)
        targets = (labels + 1) % count if targeted else None
        if count == fewest:
            attack(model, images, labels, 0.1, target_labels=targets)
        else:
            with pytest.raises(ValueError, match=f"at least {fewest} classes .* Use the loss"):
                attack(model, images, labels, 0.1, target_labels=targets)


@pytest.mark.parametrize("loss", ["difference_of_logits", "margin"])
def test_a_factor_on_the_logits_changes_nothing(digits, loss):
    model, images, labels = digits
    images, labels = images[:50], labels[:50]
    attack, found = APGD(num_steps=20, loss=loss), []
    for factor in (1.0, 20.0, 50.0):
        scaled = keras.Model(model.inputs[0], keras.layers.Rescaling(factor)(model.outputs[0]))
        found.append(predictions(scaled, attack(scaled, images, labels, 0.15)) == labels)
    assert 0.05 < found[0].mean() < 0.95
    for other in found[1:]:
        # A pixel whose gradient is zero up to rounding may be given either sign.
        assert np.mean(found[0] != other) <= 0.02


# The best point


@pytest.mark.parametrize("name", ["pgd", "bim"])
def test_the_best_point_is_never_worse_than_the_last(digits, name):
    """With steps that are too long, an image is adversarial on the way and not at the end."""
    model, images, labels = digits
    settings = {"num_steps": 12, "step_size": 0.1}
    last = get_attack(name, num_restarts=2, **settings)(model, images, labels, 0.12)
    best = get_attack(name, num_restarts=2, best_point=True, **settings)(
        model, images, labels, 0.12
    )
    fooled_last, fooled_best = (
        predictions(model, last) != labels,
        predictions(model, best) != labels,
    )
    assert fooled_best[fooled_last].all()
    assert fooled_best.sum() > fooled_last.sum()
    assert np.abs(best - images).max() <= 0.12 + 1e-6 and best.min() >= 0 and best.max() <= 1


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.1), ("l2", 0.2)])
def test_the_own_loop_takes_the_steps_of_cleverhans(norm, epsilon, targeted):
    model, *_ = linear_classifier(5)
    images = grey_images(9)
    labels = predictions(model, images)
    goals = (labels + 2) % 5
    plain = BIM(norm=norm, num_steps=5)
    expected = plain(model, images, labels, epsilon, target_labels=goals if targeted else None)
    last = ascent(
        attacked_model(model), norm=norm, num_steps=5, keeps_steps=False, targeted=targeted
    )
    numbers = (np.full(9, value, "float32") for value in (epsilon, plain.step_for(epsilon)))
    found = last(tf.constant(images), goals if targeted else labels, images, *numbers)
    np.testing.assert_allclose(found.images, expected, atol=1e-5)


# Restarts


@pytest.mark.parametrize(
    "attack",
    [
        APGD(num_steps=6, num_restarts=3),
        PGD(num_steps=4, num_restarts=3, best_point=True),
        BIM(num_steps=4, num_restarts=3),
        get_attack("square", num_queries=40, num_restarts=3),
    ],
    ids=lambda attack: attack.name,
)
def test_restarts_on_survivors_give_what_restarts_on_all_would(digits, attack, monkeypatch):
    model, images, labels = digits
    images, labels = images[:40], labels[:40]
    attacked = []

    def counting(stands):
        attacked.append(int(stands.sum()))
        return stands

    monkeypatch.setattr(restarts, "attacked_again", counting)
    survivors = attack(model, images, labels, 0.12, seed=2, batch_size=16)
    assert 40 >= attacked[0] > attacked[1] >= attacked[2] > 0
    monkeypatch.setattr(restarts, "attacked_again", np.ones_like)
    everything = attack(model, images, labels, 0.12, seed=2, batch_size=16)
    close = np.abs(survivors - everything).reshape(40, -1).max(axis=1) < 1e-6
    assert close.all()


def test_each_restart_breaks_more_images_and_none_less(digits):
    model, images, labels = digits
    images, labels = images[:60], labels[:60]
    fooled = [
        predictions(model, PGD(num_steps=1, num_restarts=n)(model, images, labels, 0.12)) != labels
        for n in (1, 2, 4)
    ]
    assert fooled[1][fooled[0]].all() and fooled[2][fooled[1]].all()
    assert fooled[2].sum() > fooled[0].sum()


def test_what_is_misread_when_clean_comes_back_unchanged(digits):
    model, images, labels = digits
    wrong = (labels[:10] + 1) % 10
    mixed = np.where(np.arange(10) < 4, wrong, labels[:10])
    for attack in (APGD(num_steps=2), PGD(num_steps=2, best_point=True)):
        result = attack(model, images[:10], mixed, 0.1)
        np.testing.assert_array_equal(result[:4], images[:4])
        assert (result[4:] != images[4:10]).any(axis=(1, 2, 3)).all()


def test_starts_belong_to_the_image_and_not_to_its_batch(digits):
    model, images, labels = digits
    images, labels = images[:20], labels[:20]
    attack = APGD(num_steps=3)
    whole = attack(model, images, labels, 0.1, batch_size=20)
    parts = attack(model, images, labels, 0.1, batch_size=7)
    assert np.mean(np.abs(whole - parts) < 1e-5) > 0.999


def test_nothing_is_traced_twice():
    model, *_ = linear_classifier(3, seed=4)
    images = grey_images(33)
    labels = predictions(model, images)
    for attack in (
        APGD(num_steps=3),
        PGD(num_steps=3, best_point=True),
        get_attack("square", num_queries=10, num_restarts=2),
        get_attack("spsa", num_samples=4, num_steps=2),
    ):
        for epsilon, count, seed in ((0.05, 33, 0), (0.2, 11, 1)):
            attack.run(model, images[:count], labels[:count], [epsilon], seed=seed, batch_size=8)
    programs = [one for one in attacked_model(model).compiled.values() if hasattr(one, "programs")]
    assert len(programs) >= 6
    for program in programs:
        (function,) = program.programs.values()
        assert function.experimental_get_tracing_count() == 1


@keras.saving.register_keras_serializable(package="test_best_points")
class Noise(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(7)

    def call(self, inputs):
        shape = keras.ops.shape(inputs)
        return inputs + keras.random.normal(shape, stddev=0.3, seed=self.seed_generator)


@pytest.mark.parametrize("name", ["apgd", "pgd"])
def test_one_misread_draw_of_a_random_model_is_no_success(name, monkeypatch):
    """Every run attacks every image, also those that one draw misread when clean."""
    plain, *_ = linear_classifier(3)
    inputs = keras.Input(SHAPE)
    model, images = keras.Model(inputs, plain(Noise()(inputs))), grey_images(30)
    labels = predictions(plain, images)
    assert (predictions(model, images) != labels).any()
    settings = {"num_steps": 10, "num_restarts": 3}
    settings |= {"best_point": True} if name == "pgd" else {}
    attacked = []

    def counting(stands):
        attacked.append(int(stands.sum()))
        return stands

    monkeypatch.setattr(restarts, "attacked_again", counting)
    found = get_attack(name, **settings)(model, images, labels, 0.1, seed=1)
    assert attacked == [30, 30, 30] and attacked_model(model).is_random
    assert not attacked_model(plain).is_random
    assert (found != images).any(axis=(1, 2, 3)).all()
    assert accuracy(plain, found, labels) < 0.5
    again = get_attack(name, **settings)(model, images, labels, 0.1, seed=1)
    np.testing.assert_array_equal(again, found)


# Configurations


def test_configurations_of_before_are_as_they_were():
    assert get_attack("bim").config() == {
        "name": "bim",
        "norm": "linf",
        "num_steps": 10,
        "step_size": None,
    }
    assert get_attack("pgd", best_point=True, num_restarts=5).config() == {
        "name": "pgd",
        "norm": "linf",
        "num_steps": 40,
        "step_size": None,
        "random_start": True,
        "best_point": True,
        "num_restarts": 5,
    }
    assert get_attack("apgd", num_restarts=2).config()["num_restarts"] == 2
    assert get_attack("pgd", num_restarts=5).num_gradients() == 200


# What has no gradient


def test_a_gradient_that_is_zero_or_nan_is_told_image_by_image():
    inputs = keras.Input(SHAPE)
    hidden = keras.layers.Flatten()(inputs)
    # sqrt(relu(x - 0.5)) is infinitely steep where it is off: NaN on dark images.
    root = keras.ops.sqrt(keras.ops.relu(hidden - 0.5))
    model = keras.Model(inputs, keras.layers.Dense(3)(root))
    rng = np.random.default_rng(1)
    model.layers[-1].set_weights([rng.normal(size=(16, 3)), np.array([0.1, 0.0, 0.0])])
    images = np.full((20, *SHAPE), 0.8, "float32") + rng.uniform(-0.1, 0.1, (20, *SHAPE))
    images = images.astype("float32")
    images[:3] = 0.2
    labels = predictions(model, images)
    attack = APGD(num_steps=3)
    (result,) = attack.run(model, images, labels, [0.05]).values()
    np.testing.assert_array_equal(result.unattacked, np.arange(20) < 3)
    images[3:] = 0.2
    labels = predictions(model, images)
    with pytest.raises(AttackFailedError, match="NaN"):
        attack(model, images, labels, 0.05)
