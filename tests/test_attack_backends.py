"""Attacks on TensorFlow and on JAX: the same images where nothing is drawn, the same rules where
something is; one process on each backend, the one on JAX without TensorFlow.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import attack_backend_cases as cases
from tests.attack_helpers import (
    boundary_distances,
    grey_images,
    lengths,
    linear_classifier,
    predictions,
)

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, dict[str, np.ndarray]]:
    """What each backend computes."""
    file = tmp_path_factory.mktemp("attacks") / "found.npz"
    with file.with_suffix(".txt").open("w") as errors:
        other = subprocess.Popen(
            [sys.executable, "-m", "tests.attack_backend_cases", str(file)],
            cwd=ROOT,
            env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
            stderr=errors,
        )
        try:
            here = cases.results()
            other.wait(timeout=900)
        finally:
            other.kill()
    assert other.returncode == 0, file.with_suffix(".txt").read_text()[-5000:]
    with np.load(file) as arrays:
        return {"tensorflow": here, "jax": dict(arrays)}


both = pytest.mark.parametrize("backend", ["tensorflow", "jax"])


# A linear classifier: what the result has to be


@both
@pytest.mark.parametrize("targeted", ["", "/targeted"])
def test_a_step_follows_the_gradient_by_hand(found, backend, targeted):
    model, weights, bias = linear_classifier(cases.CLASSES)
    images = grey_images(cases.NUM_IMAGES)
    labels = predictions(model, images)
    goals = (labels + 2) % cases.CLASSES if targeted else labels
    logits = images.reshape(len(images), -1).astype("float64") @ weights + bias
    residual = np.exp(logits - logits.max(axis=1, keepdims=True))
    residual = residual / residual.sum(axis=1, keepdims=True) - np.eye(cases.CLASSES)[goals]
    slope = (residual @ weights.T).reshape(images.shape) * (-1 if targeted else 1)
    unit = slope / np.sqrt((slope**2).sum(axis=(1, 2, 3), keepdims=True))
    steps = {"linf": cases.EPSILON * np.sign(slope), "l2": cases.LENGTH * unit}
    for norm, step in steps.items():
        result = found[backend][f"linear/fgsm/{norm}{targeted}"]
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, np.clip(images + step, 0.0, 1.0), atol=1e-5)


@both
def test_the_shortest_change_is_the_distance_to_the_hyperplane(found, backend):
    model, weights, bias = linear_classifier(2)
    images = grey_images(cases.NUM_IMAGES)
    labels = predictions(model, images)
    result = found[backend]["linear/carlini_wagner"]
    nearest = boundary_distances(images, labels, weights, bias).min(axis=1)
    assert (predictions(model, result) != labels).all()
    np.testing.assert_allclose(lengths(result - images), nearest, rtol=0.02, atol=1e-3)


@both
def test_a_random_corner_is_followed_by_a_step(found, backend):
    model, weights, _ = linear_classifier(2)
    images = grey_images(cases.NUM_IMAGES)
    labels = predictions(model, images)
    away = np.where(labels == 0, 1.0, -1.0)[:, None] * (weights[:, 1] - weights[:, 0])
    moved = found[backend]["linear/rand_fgsm"] - images
    ahead = moved * np.sign(away).reshape(images.shape)
    with_it, against = np.isclose(ahead, 0.1, atol=1e-6), np.isclose(ahead, 0.05, atol=1e-6)
    assert (with_it | against).all()
    assert 0.3 < with_it.mean() < 0.7


@both
def test_random_starts_fill_the_ball(found, backend):
    images = grey_images(cases.NUM_IMAGES)
    step = 0.02
    delta = (found[backend]["linear/start/linf"] - images) / cases.EPSILON
    assert np.abs(delta).max() <= 1.0 + 1e-5
    # The mean of |u| over [-1, 1], within five standard errors.
    assert abs(np.abs(delta).mean() - 0.5) < 5 * 0.29 / np.sqrt(delta.size) + step
    assert abs(delta.mean()) < 5 * 0.58 / np.sqrt(delta.size) + step
    share = lengths(found[backend]["linear/start/l2"] - images) / cases.LENGTH
    dimension = images[0].size
    assert share.max() <= 1.0 + 1e-5
    assert abs(share.mean() - dimension / (dimension + 1)) < 5 * 0.06 / np.sqrt(len(share)) + step
    assert share.std() > 0.01


# Both backends


def test_without_random_starts_the_backends_agree_on_a_linear_classifier(found):
    names = [
        name
        for name in found["tensorflow"]
        if name.startswith("linear/") and "start" not in name and "rand_fgsm" not in name
    ]
    assert len(names) == 4 * len(cases.DETERMINISTIC) + 4
    for name in names:
        tolerance = 2e-3 if "carlini_wagner" in name else 1e-5
        here, there = found["tensorflow"][name], found["jax"][name]
        np.testing.assert_allclose(there, here, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("name", cases.ON_DIGITS)
def test_the_backends_agree_on_the_digits_target(found, name):
    images, labels = (found["tensorflow"][f"digits/{key}"] for key in ("images", "labels"))
    here, there = (found[backend][f"digits/{name}"] - images for backend in found)
    assert np.mean(np.sign(here) == np.sign(there)) >= 0.999
    right = [(found[backend][f"digits/{name}/predictions"] == labels).sum() for backend in found]
    clean = (found["tensorflow"]["digits/clean/predictions"] == labels).sum()
    assert abs(int(right[0]) - int(right[1])) <= 1
    assert right[0] < clean - 10


def test_carlini_wagner_agrees_on_the_digits_target(found):
    images = found["tensorflow"]["digits/images"][:20]
    here, there = (lengths(found[backend]["digits/carlini_wagner"] - images) for backend in found)
    assert (here > 0).mean() > 0.5
    np.testing.assert_array_equal(here > 0, there > 0)
    np.testing.assert_allclose(there, here, rtol=0.05)
    signs = [np.sign(found[backend]["digits/carlini_wagner/scaled"] - images) for backend in found]
    assert np.mean(signs[0] == signs[1]) > 0.98


# Attacks in several runs, whose draws are the same on both


@pytest.mark.parametrize("name", cases.BEST)
def test_the_backends_agree_on_best_points_restarts_and_queries(found, name):
    images, labels = (found["tensorflow"][f"best/{key}"] for key in ("images", "labels"))
    here, there = (found[backend][f"best/{name}"] for backend in found)
    close = np.abs(here - there).reshape(len(images), -1).max(axis=1) < 1e-3
    # A pixel whose gradient is zero up to rounding, or a step that barely pays, may turn.
    assert np.mean(np.abs(here - there) < 1e-3) > 0.9 and close.mean() >= 0.7
    right = [found[backend][f"best/{name}/predictions"] == labels for backend in found]
    assert np.sum(right[0] != right[1]) <= 1
    queries = [found[backend][f"best/{name}/queries"] for backend in found]
    assert np.mean(queries[0] == queries[1]) >= 0.9
    assert (queries[0].max() > 0) == (name in ("square", "spsa"))


def test_the_backends_agree_behind_wrappers(found):
    here, there = (found[backend]["best/bpda/logits"] for backend in found)
    np.testing.assert_allclose(there, here, atol=1e-4)
    images = found["tensorflow"]["best/images"]
    signs = [np.sign(found[backend]["best/bpda"] - images) for backend in found]
    assert np.mean(signs[0] == signs[1]) > 0.99


# Random models


@both
@pytest.mark.parametrize("name", cases.DRAWN)
def test_a_random_model_repeats_under_a_seed_and_is_left_as_it_was(found, backend, name):
    first, again, other = (
        found[backend][f"random/{name}{end}"] for end in ("", "/again", "/other")
    )
    np.testing.assert_array_equal(again, first)
    assert not np.array_equal(other, first)
    assert found[backend][f"random/{name}/kept"]


@both
def test_a_random_model_draws_anew_at_every_step_and_for_every_image(found, backend):
    """Each step goes up or down by the sign drawn for its image: a walk, not a straight line."""
    moved = found[backend]["random/sign_pgd"] - 0.5
    np.testing.assert_allclose(moved, np.broadcast_to(moved[:, :1, :1], moved.shape), atol=1e-6)
    steps = moved[:, 0, 0, 0] / cases.STEP
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)
    # Of 12 steps of random sign the sum has a variance of 12; frozen signs would give 144.
    assert 4 < np.mean(steps**2) < 30
    assert len(np.unique(np.round(steps))) > 4
    single = np.sign(found[backend]["random/sign_fgsm"][:, 0, 0, 0] - 0.5)
    assert 8 < (single > 0).sum() < 32


@both
def test_several_draws_average_the_gradient(found, backend):
    gradients = found[backend]["random/gradients"]
    spread = gradients.std(axis=1, ddof=1)
    ratio = np.sqrt(np.mean(spread[1] ** 2) / np.mean(spread[0] ** 2))
    assert spread.max() > 0
    assert 0.4 < ratio < 0.62  # One half for four draws.


# JAX


@pytest.mark.parametrize("name", ["pgd", "mi_fgsm", "carlini_wagner"])
def test_other_budgets_images_and_seeds_compile_nothing(found, name):
    first, second = found["jax"][f"traced/{name}"]
    assert first <= 5
    assert second == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("callback", "Expected for fgsm a gradient .* JVP.* BPDA"),
        ("callback/search", "Expected for carlini_wagner a gradient .* JVP.* BPDA"),
        ("numpy", "Expected for pgd a gradient .* BPDA"),
        ("cut", "bim .* changed none.* gradient of the model is zero"),
        ("cut/search", "carlini_wagner a gradient .* zero in every pixel"),
        ("nan", "mi_fgsm finite gradients, received NaN"),
        ("nan/best", "apgd .* changed none.* zero .* or NaN"),
        ("cut/best", "apgd .* changed none.* gradient of the model is zero"),
        ("steep", "fgsm .* 20 images that are not yet adversarial, .* changed none"),
        ("cleverhans", "ValueError: Expected the backend tensorflow .* Use carlini_wagner,"),
        ("cleverhans/spsa", "ValueError: Expected the backend tensorflow .* Use spsa,"),
    ],
)
def test_what_has_no_gradient_on_jax_is_an_error(found, name, message):
    said = str(found["jax"][f"refused/{name}"])
    assert re.search(message, said, re.DOTALL), said


def test_attacks_on_jax_need_no_tensorflow_and_keep_no_model(found):
    assert found["jax"]["jax/imported"].size == 0
    assert found["jax"]["jax/freed"]


def test_a_callback_of_jax_is_attacked_as_the_identity(found):
    assert found["jax"]["jax/identity"].mean() > 0.5
