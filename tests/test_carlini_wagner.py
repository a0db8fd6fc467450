"""The sound Carlini-Wagner attack: distances known in closed form, whatever the batch."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from attacks import AttackFailedError, get_attack
from attacks.attacked_model import attacked_model
from attacks.carlini_wagner import CarliniWagner
from attacks.carlini_wagner_search import Search, margin_gradient
from tests.attack_helpers import (
    EXACT,
    SHORT,
    accuracy,
    boundary_distances,
    grey_images,
    lengths,
    linear_classifier,
    predictions,
)

# Closed forms on a linear classifier


@pytest.mark.parametrize("num_classes", [2, 5])
def test_minimal_l2_is_the_distance_to_the_nearest_hyperplane(num_classes):
    model, weights, bias = linear_classifier(num_classes)
    images = grey_images(20)
    labels = predictions(model, images)
    result = EXACT.minimal_perturbation(model, images, labels)
    distances = boundary_distances(images, labels, weights, bias)
    found, nearest = lengths(result - images), distances.min(axis=1)
    assert accuracy(model, result, labels) == 0.0
    assert (found >= nearest - 1e-4).all()
    # The objective descends towards the runner-up, which need not be the nearest class.
    runner_up = np.argsort(np.asarray(model(images)), axis=1)[:, -2]
    direct = distances.argmin(axis=1) == runner_up
    assert direct.sum() >= 10
    np.testing.assert_allclose(found[direct], nearest[direct], rtol=0.02, atol=1e-3)


def test_the_minimal_change_is_normal_to_the_hyperplane():
    model, weights, _ = linear_classifier(2)
    images = grey_images(8)
    labels = predictions(model, images)
    delta = (EXACT.minimal_perturbation(model, images, labels) - images).reshape(8, -1)
    normal = np.where(labels == 0, 1.0, -1.0)[:, None] * (weights[:, 1] - weights[:, 0])
    cosine = (delta * normal).sum(axis=1)
    cosine /= np.linalg.norm(delta, axis=1) * np.linalg.norm(normal, axis=1)
    assert cosine.min() > 0.99


def test_targeted_minimal_l2_where_only_one_boundary_matters():
    model, weights, bias = linear_classifier(4)
    images = grey_images(40)
    labels = predictions(model, images)
    distances = boundary_distances(images, labels, weights, bias)
    # The second nearest class, where the straight way to it does not cross a third one.
    targets = np.argsort(distances, axis=1)[:, 1]
    rows = np.arange(len(images))
    normal = weights.T[targets] - weights.T[labels]
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    foot = images.reshape(40, -1) + 1.001 * distances[rows, targets][:, None] * normal
    clear = (foot @ weights + bias).argmax(axis=1) == targets
    clear &= (foot.min(axis=1) > 0.05) & (foot.max(axis=1) < 0.95)
    assert clear.sum() >= 5
    images, labels, targets = images[clear], labels[clear], targets[clear]
    result = EXACT.minimal_perturbation(model, images, labels, target_labels=targets)
    assert accuracy(model, result, targets) == 1.0
    expected = distances[rows, np.argsort(distances, axis=1)[:, 1]][clear]
    np.testing.assert_allclose(lengths(result - images), expected, rtol=0.02, atol=1e-3)


def test_confidence_enters_the_loss_and_the_test_of_success():
    model, weights, bias = linear_classifier(2)
    images = grey_images(8)
    labels = predictions(model, images)
    attack = CarliniWagner(
        max_iterations=400, learning_rate=0.01, binary_search_steps=9, confidence=1.0
    )
    result = attack.minimal_perturbation(model, images, labels)
    logits = np.asarray(model(result))
    rows = np.arange(len(images))
    assert (logits[rows, 1 - labels] - logits[rows, labels] >= 1.0 - 1e-4).all()
    expected = boundary_distances(images, labels, weights, bias, kappa=1.0).min(axis=1)
    np.testing.assert_allclose(lengths(result - images), expected, rtol=0.02, atol=1e-3)


def test_every_image_has_its_own_constant():
    """One image a hundred times nearer to the boundary must not pay for the others."""
    model, weights, bias = linear_classifier(2)
    images = grey_images(6)
    normal = weights[:, 1] - weights[:, 0]
    normal /= np.linalg.norm(normal)
    sides = (images.reshape(6, -1) @ weights + bias) @ np.array([-1.0, 1.0])
    sides /= np.linalg.norm(weights[:, 1] - weights[:, 0])
    wanted = np.array([0.005, 0.5, 0.3, 0.4, 0.01, 0.2])
    flat = images.reshape(6, -1) + (wanted - sides)[:, None] * normal
    images = flat.reshape(images.shape).astype("float32")
    assert images.min() > 0.0 and images.max() < 1.0
    labels = np.ones(6, "int64")
    result = EXACT.minimal_perturbation(model, images, labels)
    np.testing.assert_allclose(lengths(result - images), wanted, rtol=0.02, atol=1e-3)


def test_black_and_white_pixels_move_as_readily_as_grey_ones():
    """Saturated pixels sit where tanh is flat; a short search must move them all the same."""
    model, weights, _ = linear_classifier(2, shape=(6, 6, 1))
    away = np.sign(weights[:, 1] - weights[:, 0])
    images = np.where(away > 0, 0.0, 1.0).astype("float32").reshape(1, 6, 6, 1)
    labels = predictions(model, images)
    assert labels[0] == 0
    attack = CarliniWagner(max_iterations=100, learning_rate=0.05, binary_search_steps=6)
    result = attack.minimal_perturbation(model, images, labels)
    assert accuracy(model, result, labels) == 0.0
    slope = weights[:, 1] - weights[:, 0]
    logits = np.asarray(model(images))[0]
    distance = (logits[0] - logits[1]) / np.linalg.norm(slope)
    assert distance <= lengths(result - images)[0] < 1.15 * distance


# The batch does not matter


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_the_result_does_not_depend_on_the_batch(digits, batch_size):
    model, images, labels = digits
    images, labels = images[:17], labels[:17]
    attack = CarliniWagner(**SHORT)
    whole = attack.minimal_perturbation(model, images, labels, batch_size=17)
    parts = attack.minimal_perturbation(model, images, labels, batch_size=batch_size)
    assert lengths(whole - images).mean() > 0.3
    np.testing.assert_allclose(lengths(parts - images), lengths(whole - images), rtol=0.01)


def test_an_image_alone_gives_what_it_gives_among_others():
    model, _, _ = linear_classifier(3, shape=(5, 5, 3))
    images = grey_images(9, shape=(5, 5, 3))
    labels = predictions(model, images)
    attack = CarliniWagner(**SHORT)
    among = attack.minimal_perturbation(model, images, labels, batch_size=4)
    for row in (0, 5, 8):
        rows = slice(row, row + 1)
        alone = attack.minimal_perturbation(model, images[rows], labels[rows])
        np.testing.assert_allclose(alone, among[rows], atol=1e-4)


def test_nothing_is_traced_twice_and_finished_images_make_room(digits, monkeypatch):
    model, images, labels = digits
    attack = CarliniWagner(max_iterations=60, learning_rate=0.05, binary_search_steps=3)
    attack.minimal_perturbation(model, images[:3], labels[:3])
    attack.minimal_perturbation(model, images[:11], labels[:11], batch_size=4)
    search = attacked_model(model).compiled[(attack, False, (16, 16, 1))]
    (program,) = search._run.programs.values()
    assert program.experimental_get_tracing_count() == 1
    sizes: list[int] = []
    run = Search.run

    def recorded(self, state, size):
        sizes.append(len(state.labels))
        return run(self, state, size)

    monkeypatch.setattr(Search, "run", recorded)
    attack.minimal_perturbation(model, images[:40], labels[:40], batch_size=8)
    assert max(sizes) == 8 and sizes[0] == 8
    # 40 images, 3 constants, 60 iterations, 25 per visit: at most 8 visits for each eighth.
    assert sum(sizes) <= 40 * 8
    full = sizes[: len(sizes) // 2]
    assert min(full) == 8


# Early abort, nothing found, nothing to do


def test_early_abort_saves_work_and_little_else(digits, monkeypatch):
    model, images, labels = digits
    images, labels = images[:10], labels[:10]
    visits: list[int] = []
    run = Search.run
    monkeypatch.setattr(
        Search,
        "run",
        lambda self, state, size: (visits.append(len(state.labels)), run(self, state, size))[1],
    )
    settings = {"max_iterations": 500, "learning_rate": 0.02, "binary_search_steps": 3}
    results, work = {}, {}
    for abort_early in (False, True):
        visits.clear()
        attack = CarliniWagner(**settings, abort_early=abort_early)
        results[abort_early] = attack.minimal_perturbation(model, images, labels)
        work[abort_early] = sum(visits)
    assert work[False] == 10 * 3 * 500 / 25
    assert work[True] < 0.9 * work[False]
    long, short = (lengths(results[abort] - images) for abort in (False, True))
    assert short.mean() < 1.02 * long.mean()


def test_images_already_wrong_come_back_untouched():
    model, _, _ = linear_classifier(3)
    images = grey_images(9)
    labels = predictions(model, images)
    labels[::2] = (labels[::2] + 1) % 3
    for name in ("carlini_wagner", "carlini_wagner_cleverhans"):
        attack = get_attack(name, max_iterations=50, learning_rate=0.05)
        result = attack.minimal_perturbation(model, images, labels)
        np.testing.assert_array_equal(result[::2], images[::2])
        assert (lengths(result - images)[1::2] > 0).all()
        scaled = attack(model, images, labels, 0.2)
        np.testing.assert_array_equal(scaled[::2], images[::2])


def test_images_already_on_target_come_back_untouched():
    model, _, _ = linear_classifier(3)
    images = grey_images(9)
    targets = predictions(model, images)
    attack = CarliniWagner(max_iterations=50)
    result = attack.minimal_perturbation(model, images, (targets + 1) % 3, target_labels=targets)
    np.testing.assert_array_equal(result, images)


def test_a_search_that_finds_nothing_says_so():
    model, _, _ = linear_classifier(2)
    images = grey_images(4)
    labels = predictions(model, images)
    hopeless = CarliniWagner(max_iterations=1, learning_rate=1e-6)
    with pytest.raises(AttackFailedError, match="max_iterations"):
        hopeless.minimal_perturbation(model, images, labels)
    unchanged = hopeless.minimal_perturbation(model, images, labels, require_change=False)
    np.testing.assert_array_equal(unchanged, images)


# The epsilon axis


def test_one_run_serves_the_whole_axis(digits, monkeypatch):
    model, images, labels = digits
    images = images[:8]
    labels = predictions(model, images)
    attack = CarliniWagner(max_iterations=60, learning_rate=0.05, binary_search_steps=4)
    native = attack(model, images, labels, None)
    np.testing.assert_array_equal(native, attack.minimal_perturbation(model, images, labels))
    visits: list[int] = []
    run = Search.run
    monkeypatch.setattr(Search, "run", lambda self, *rest: (visits.append(1), run(self, *rest))[1])
    attack(model, images, labels, 0.1)
    once = len(visits)
    curve = attack.curve(model, images, labels, [None, 0.05, 0.1, 0.4])
    assert len(visits) == 2 * once
    np.testing.assert_array_equal(curve[None], native)
    delta = native.astype("float64") - images
    peak = np.abs(delta).max(axis=(1, 2, 3), keepdims=True)
    for epsilon in (0.05, 0.1, 0.4):
        expected = np.clip(images + epsilon * delta / peak, 0.0, 1.0)
        np.testing.assert_allclose(curve[epsilon], expected, atol=1e-6)


def test_clip_mode_is_flat_beyond_the_native_length():
    model, _, _ = linear_classifier(3)
    images = grey_images(6)
    labels = predictions(model, images)
    attack = CarliniWagner(max_iterations=100, learning_rate=0.05, epsilon_mode="clip")
    curve = attack.curve(model, images, labels, [None, 0.001, 0.9, 1.0])
    np.testing.assert_array_equal(curve[0.9], curve[None])
    np.testing.assert_array_equal(curve[1.0], curve[None])
    assert np.abs(curve[0.001] - images).max() == pytest.approx(0.001, abs=1e-6)


def test_rescaling_in_l2_gives_length_epsilon():
    model, _, _ = linear_classifier(3)
    images = grey_images(6)
    labels = predictions(model, images)
    attack = CarliniWagner(max_iterations=100, learning_rate=0.05, norm="l2")
    result = attack(model, images, labels, 0.25)
    np.testing.assert_allclose(lengths(result - images), 0.25, rtol=1e-4)


def test_the_gradient_at_the_start_asks_for_none_of_the_weights():
    """TensorFlow's fast gradient of these weights on three images ends the whole process."""
    inputs = keras.Input((28, 28, 1))
    hidden = keras.layers.Conv2D(8, 3, padding="same")(inputs)
    hidden = keras.layers.Conv2D(16, 1, strides=2, padding="same")(hidden)
    hidden = keras.layers.GlobalMaxPooling2D()(hidden)
    model = keras.Model(inputs, keras.layers.Dense(4)(hidden))
    images = np.random.default_rng(0).random((3, 28, 28, 1)).astype(np.float32)
    victim = attacked_model(model)
    for _ in range(3):
        slope = margin_gradient(victim, images, np.array([0, 1, 2]))
    assert slope.shape == images.shape
    assert (np.abs(slope).max(axis=(1, 2, 3)) > 0).all()
