"""Square and SPSA: what they ask, what they count, and what they reach."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from attacks import AttackFailedError, get_attack
from attacks.attacked_model import attacked_model
from attacks.best_point import projected
from attacks.cleverhans_tensorflow import signs_from, spsa_adam
from attacks.gradient import PGD
from attacks.losses import attack_loss, lead
from attacks.spsa import SPSA, estimated_gradient, pairs_at_once
from attacks.spsa_cleverhans import SPSACleverHans
from attacks.square import Square, square_sides
from results.sheet import wilson_interval
from tests.attack_helpers import accuracy, grey_images, linear_classifier, predictions, quick

BLIND = ["square", "spsa", "spsa_cleverhans"]


@keras.saving.register_keras_serializable(package="test_query_attacks")
class NoGradient(keras.layers.Layer):
    """The identity, whose gradient is an error; counts the images that pass it."""

    images = 0

    def call(self, inputs):
        @tf.custom_gradient
        def identity(x):
            def gradient(*_):
                raise RuntimeError("a gradient was asked for")

            return tf.identity(x), gradient

        return identity(inputs)


def without_gradient(model: keras.Model) -> keras.Model:
    inputs = keras.Input(model.input_shape[1:])
    return keras.Model(inputs, model(NoGradient()(inputs)))


# No gradient is asked for


@pytest.mark.parametrize("name", BLIND)
def test_no_gradient_is_asked_for(name):
    plain, *_ = linear_classifier(3)
    model, images = without_gradient(plain), grey_images(12)
    labels = predictions(model, images)
    with pytest.raises(RuntimeError, match="a gradient was asked for"):
        get_attack("fgsm")(model, images, labels, 0.1)
    found = quick(name)(model, images, labels, 0.1)
    np.testing.assert_array_equal(found, quick(name)(plain, images, labels, 0.1))
    assert accuracy(model, found, labels) < 1.0


@pytest.mark.parametrize("name", BLIND)
def test_a_model_that_answers_the_same_to_everything_is_told(name):
    model, *_ = linear_classifier(3)
    model.layers[-1].set_weights([np.zeros((16, 3)), np.array([3.0, -1.0, 0.5])])
    images = grey_images(20)
    with pytest.raises(AttackFailedError, match="changed none"):
        quick(name)(model, images, np.zeros(20, int), 0.1)
    (result,) = (
        quick(name)
        .run(model, images, np.zeros(20, int), [0.1], require_change=False, tolerated=1.0)
        .values()
    )
    assert result.unattacked.all() and result.unmoved.all()


# Queries


@pytest.mark.parametrize("name", BLIND)
def test_broken_images_cost_no_further_queries(digits, name):
    model, images, labels = digits
    images, labels = images[:14], labels[:14].copy()
    labels[:3] = (labels[:3] + 1) % 10
    attack = quick(name)
    (result,) = attack.run(model, images, labels, [0.25]).values()
    most = attack.most_queries()
    broken = predictions(model, result.adversarial_images) != labels
    np.testing.assert_array_equal(result.num_queries[:3], 1)
    np.testing.assert_array_equal(result.adversarial_images[:3], images[:3])
    assert (result.num_queries[~broken] == most).all()
    assert (result.num_queries[3:] > 1).all() and (result.num_queries <= most).all()
    assert (result.num_queries[broken] < most).any()
    assert attack.num_gradients() == -(-most // 2)


def test_what_is_counted_is_what_is_asked(monkeypatch):
    """One image that stands to the end: every call of the model is one query."""
    model, *_ = linear_classifier(3)
    images = grey_images(1)
    labels = predictions(model, images)
    rows = []
    attack = Square(num_queries=50)
    from attacks import queries, square

    original = queries.mean_margins

    def counting(victim, points, labels, **options):
        margins = original(victim, points, labels, **options)
        tf.numpy_function(lambda x: rows.append(len(x)) or np.float32(0), [margins], tf.float32)
        return margins

    monkeypatch.setattr(queries, "mean_margins", counting)
    monkeypatch.setattr(square, "mean_margins", counting)
    (result,) = attack.run(model, images, labels, [1e-3]).values()
    assert sum(rows) == result.num_queries[0] == 51


def test_attacks_by_gradients_count_no_queries():
    model, *_ = linear_classifier(3)
    images = grey_images(4)
    (result,) = PGD(num_steps=2).run(model, images, predictions(model, images), [0.1]).values()
    np.testing.assert_array_equal(result.num_queries, np.zeros(4))


# Square


def test_squares_shrink_by_the_schedule_of_the_paper():
    sides = square_sides(10_000, 32, 32, 0.8)
    shares = {0: 0.8, 10: 0.8, 11: 0.4, 50: 0.4, 51: 0.2, 200: 0.2, 500: 0.1, 1000: 0.05}
    shares |= {2000: 0.025, 4000: 0.0125, 6000: 0.00625, 8000: 0.003125, 8001: 0.0015625}
    for place, share in shares.items():
        assert sides[place] == max(1, round(np.sqrt(share * 32 * 32))), place
    np.testing.assert_array_equal(square_sides(1000, 32, 32, 0.8), sides[::10])
    assert square_sides(30, 4, 4, 1.0).max() == 3 and square_sides(30, 4, 4, 1.0).min() == 1


def test_square_ends_in_the_corner_of_a_linear_model():
    model, *_ = linear_classifier(2)
    images = grey_images(40)
    labels = predictions(model, images)
    margins = -np.asarray(lead(model(images), labels))
    images, labels = images[margins < -0.4], labels[margins < -0.4]
    assert len(images) > 5
    epsilon = 0.01
    pgd = PGD(num_steps=10)(model, images, labels, epsilon)
    assert (predictions(model, pgd) == labels).all()
    found = Square(num_queries=400)(model, images, labels, epsilon)
    np.testing.assert_allclose(found, pgd, atol=1e-6)


def test_square_takes_one_of_two_values_in_every_pixel(digits):
    model, images, labels = digits
    found = Square(num_queries=80)(model, images[:15], labels[:15], 0.1)
    low, high = np.clip(images[:15] - 0.1, 0, 1), np.clip(images[:15] + 0.1, 0, 1)
    assert (np.isclose(found, low, atol=1e-6) | np.isclose(found, high, atol=1e-6)).all()


def test_square_in_colour_gives_each_channel_its_own_sign():
    model, *_ = linear_classifier(3, (6, 6, 3))
    images = grey_images(9, (6, 6, 3))
    labels = predictions(model, images)
    signs = np.sign(Square(num_queries=30)(model, images, labels, 0.01) - images)
    assert (signs != signs[..., :1]).any(axis=(1, 2, 3)).all()


def test_more_queries_and_restarts_break_more(digits):
    model, images, labels = digits
    images, labels = images[:60], labels[:60]
    left = [
        accuracy(model, Square(num_queries=n, num_restarts=r)(model, images, labels, 0.12), labels)
        for n, r in ((20, 1), (200, 1), (200, 2))
    ]
    assert left[0] > left[1] >= left[2]


@pytest.mark.parametrize("targeted", [False, True])
def test_a_factor_on_the_logits_changes_nothing(digits, targeted):
    model, images, labels = digits
    images, labels = images[:30], labels[:30]
    goals = (labels + 1) % 10 if targeted else None
    found = []
    for factor in (1.0, 20.0, 50.0):
        scaled = keras.Model(model.inputs[0], keras.layers.Rescaling(factor)(model.outputs[0]))
        attack = Square(num_queries=100)
        found.append(attack.run(scaled, images, labels, [0.2], target_labels=goals)[0.2])
    reached = predictions(model, found[0].adversarial_images) == (goals if targeted else labels)
    assert 0.05 < reached.mean() < 0.95
    for other in found[1:]:
        same = predictions(model, other.adversarial_images) == (goals if targeted else labels)
        assert np.mean(same != reached) <= 0.04
        assert np.mean(other.num_queries == found[0].num_queries) >= 0.9


@keras.saving.register_keras_serializable(package="test_query_attacks")
class Noise(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(7)

    def call(self, inputs):
        shape = keras.ops.shape(inputs)
        return inputs + keras.random.normal(shape, stddev=0.3, seed=self.seed_generator)


def test_a_random_model_is_asked_several_times_and_each_is_a_query():
    plain, *_ = linear_classifier(3)
    inputs = keras.Input((4, 4, 1))
    model, images = keras.Model(inputs, plain(Noise()(inputs))), grey_images(24)
    labels = predictions(plain, images)
    margins = -np.asarray(lead(plain(images), labels))
    sure = margins < -0.5
    attack = Square(num_queries=60, num_draws=4)
    (result,) = attack.run(model, images, labels, [0.02]).values()
    assert (result.num_queries % 4 == 0).all()
    assert attack.most_queries() == 64 and result.num_queries.max() <= 64
    # The mean of several answers errs less about the clean image than one answer does.
    once = Square(num_queries=60).run(model, images, labels, [0.02])[0.02]
    lost = [np.sum(one.num_queries[sure] == n) for one, n in ((result, 4), (once, 1))]
    assert lost[0] < lost[1]
    again = attack.run(model, images, labels, [0.02])[0.02]
    np.testing.assert_array_equal(again.adversarial_images, result.adversarial_images)


# SPSA


def signs_as_bits(signs: np.ndarray) -> np.ndarray:
    """Signs ``(images, pairs, ...)`` as they are handed to the estimate."""
    flat = signs.reshape(*signs.shape[:2], -1) > 0
    return np.packbits(flat, axis=2, bitorder="little")


def test_the_estimate_is_the_mean_over_signs_by_hand():
    model, *_ = linear_classifier(3)
    images = grey_images(5)
    labels = predictions(model, images)
    signs = np.where(np.random.default_rng(0).random((5, 12, 4, 4, 1)) < 0.5, -1.0, 1.0)
    found = estimated_gradient(
        attacked_model(model),
        tf.constant(images),
        tf.constant(labels),
        tf.constant(signs_as_bits(signs)),
        delta=0.01,
        at_once=3,
        targeted=False,
    )

    def margins(points):
        return np.asarray(attack_loss("margin", model(points), labels, targeted=False))

    expected = np.zeros(images.shape)
    for pair in range(12):
        step = 0.01 * signs[:, pair].astype("float32")
        slope = (margins(images + step) - margins(images - step)) / 0.02
        expected += slope[:, None, None, None] * signs[:, pair] / 12
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_the_estimate_tends_to_the_gradient():
    model, weights, _ = linear_classifier(2)
    images = grey_images(3)
    labels = predictions(model, images)
    generators = [np.random.default_rng(i) for i in range(3)]
    bits = np.stack([np.frombuffer(g.bytes(4096 * 2), np.uint8) for g in generators])
    found = estimated_gradient(
        attacked_model(model),
        tf.constant(images),
        tf.constant(labels),
        tf.constant(bits.reshape(3, 4096, 2)),
        delta=0.01,
        at_once=256,
        targeted=False,
    )
    slope = weights[:, 1] - weights[:, 0]
    expected = np.where(labels == 0, 1.0, -1.0)[:, None] * slope
    error = np.linalg.norm(np.asarray(found).reshape(3, -1) - expected, axis=1)
    # The variance of the estimate of each pixel is the square length of the others over the pairs.
    assert (error < 2 * np.sqrt(16 / 4096) * np.linalg.norm(slope)).all()


@pytest.mark.parametrize("targeted", [False, True])
def test_the_estimate_is_that_of_cleverhans_for_the_same_signs(digits, targeted):
    model, images, labels = digits
    image, label, delta = images[:1], labels[:1], 0.01
    optimizer = spsa_adam(np.random.default_rng(3))(lr=0.01, delta=delta, num_samples=64)
    signs = signs_from(np.random.default_rng(3), (32, 16, 16, 1))

    def loss(x):
        clean = tf.constant(image)
        return -attack_loss("margin", model(clean + x), np.repeat(label, len(x)), targeted=targeted)

    (theirs,) = optimizer._compute_gradients(loss, [tf.zeros_like(image)])
    ours = estimated_gradient(
        attacked_model(model),
        tf.constant(image),
        tf.constant(label),
        tf.constant(signs_as_bits(signs[None])),
        delta=delta,
        at_once=8,
        targeted=targeted,
    )
    # CleverHans minimises, and its estimate is delta times as long.
    ours = -delta * np.asarray(ours)
    np.testing.assert_allclose(ours, theirs, atol=2e-3 * np.abs(theirs).max())


def test_both_implementations_take_the_same_way(digits):
    """Seeds, start and signs are the same, so the images are nearly the same."""
    model, images, labels = digits
    images, labels = images[:10], labels[:10]
    settings = {"num_samples": 64, "num_steps": 8, "learning_rate": 0.03}
    ours = SPSA(**settings).run(model, images, labels, [0.2], seed=4)[0.2]
    theirs = SPSACleverHans(**settings).run(model, images, labels, [0.2], seed=4)[0.2]
    stood = ours.num_queries == SPSA(**settings).most_queries()
    assert np.mean(ours.num_queries == theirs.num_queries) >= 0.8
    interval = wilson_interval(int(np.sum(stood)), 10)
    left = accuracy(model, theirs.adversarial_images, labels)
    assert interval[0] <= left <= interval[1]
    assert not stood.all()
    broken = ~stood & (ours.num_queries == theirs.num_queries)
    delta = np.abs(ours.adversarial_images - theirs.adversarial_images)[broken]
    assert np.mean(delta < 0.01) > 0.95


def test_one_model_is_attacked_with_any_number_of_samples_and_size_of_images():
    inputs = keras.Input((None, None, 1))
    hidden = keras.layers.Conv2D(4, 3, activation="tanh")(inputs)
    pooled = keras.layers.GlobalAveragePooling2D()(hidden)
    model = keras.Model(inputs, keras.layers.Dense(3)(pooled))
    for size, samples in ((6, 8), (6, 16), (9, 8)):
        images = grey_images(5, (size, size, 1))
        labels = predictions(model, images)
        for attack in (
            SPSA(num_samples=samples, num_steps=2),
            Square(num_queries=samples),
            get_attack("apgd", num_steps=2),
            PGD(num_steps=2, best_point=True),
        ):
            found = attack(model, images, labels, 0.1)
            assert found.shape == images.shape and (found != images).any(axis=(1, 2, 3)).all()


def test_few_images_are_asked_for_at_once():
    assert pairs_at_once(1024, 128) == 8
    assert pairs_at_once(1024, 1) == 1024
    assert pairs_at_once(7, 400) == 1
    assert pairs_at_once(6, 250) == 3
    assert 1024 % pairs_at_once(1024, 100) == 0


def test_points_stay_in_the_ball_and_in_range():
    points = np.random.default_rng(0).normal(0.5, 1.0, (6, 4, 4, 1)).astype("float32")
    images = grey_images(6)
    for norm in ("linf", "l2"):
        found = np.asarray(projected(points, images, np.full(6, 0.2, "float32"), norm))
        delta = (found - images).reshape(6, -1)
        length = np.abs(delta).max(axis=1) if norm == "linf" else np.linalg.norm(delta, axis=1)
        assert length.max() <= 0.2 + 1e-6 and found.min() >= 0 and found.max() <= 1
