"""Layers and building helpers, against hand-computed numbers."""

from __future__ import annotations

import ast
import sys

import numpy as np
import pytest
import tensorflow as tf

from models.layers import ClipLogVariance, ClipToUnitRange, LayerSeeds, Sampling, scaled
from tests.model_helpers import ROOT
from validation import check_image_shape


@pytest.mark.parametrize(
    ("count", "width", "multiple", "expected"),
    [
        (64, 1.0, 8, 64),
        (12, 1.0, 8, 12),  # as printed, whatever the multiple
        (64, 0.25, 8, 16),
        (100, 0.2, 8, 24),  # 20 lies half way and rounds up
        (100, 0.19, 8, 16),
        (16, 0.3, 8, 5),
        (16, 0.5, 8, 8),
        (4, 0.01, 8, 1),
        (64, 2.0, 8, 128),
        (24, 0.5, 1, 12),
        (12, 0.21, 1, 3),
    ],
)
def test_scaled(count: int, width: float, multiple: int, expected: int) -> None:
    assert scaled(count, width, multiple=multiple) == expected


@pytest.mark.parametrize("width", [0.0, -1.0, float("nan"), float("inf"), 17, "1", True, None])
def test_scaled_refuses_impossible_widths(width: float) -> None:
    with pytest.raises(
        ValueError, match="width to be a finite number above 0 and of at most 16, received"
    ):
        scaled(64, width)


def test_scaled_refuses_impossible_counts() -> None:
    for count in (0, 2.5, None, 10**9):
        with pytest.raises(ValueError, match=f"count to be an integer .* received {count}"):
            scaled(count, 1.0)


@pytest.mark.parametrize("shape", [(28, 28), (0, 28, 1), (28.0, 28, 1), (None, 28, 28, 1)])
def test_check_image_shape_refuses_what_is_no_image(shape: tuple) -> None:
    with pytest.raises(ValueError, match="three positive integers"):
        check_image_shape(shape)


def test_layer_seeds_are_distinct_repeatable_and_separated_by_name() -> None:
    def draw(seed: int, name: str) -> list[int]:
        seeds = LayerSeeds(seed, name)
        return [seeds.next() for _ in range(100)]

    assert draw(3, "net") == draw(3, "net")
    pooled = draw(3, "net") + draw(4, "net") + draw(3, "other")
    assert len(set(pooled)) == 300
    assert all(0 <= value < 2**31 for value in pooled)


@pytest.mark.parametrize("seed", [-1, None, 1.5, True])
def test_layer_seeds_refuse_what_cannot_be_repeated(seed: object) -> None:
    with pytest.raises(ValueError, match="seed to be an integer of at least 0, received"):
        LayerSeeds(seed, "net")  # type: ignore[arg-type]


def test_models_import_no_backend_and_no_other_package_of_the_project() -> None:
    allowed = {"__future__", "keras", "models", "numpy", "validation"} | set(
        sys.stdlib_module_names
    )
    for path in sorted((ROOT / "models").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            outside = {name.split(".")[0] for name in names} - allowed
            assert not outside, f"{path.name} imports {outside}"


def test_sampling_has_the_given_moments() -> None:
    z_mean = np.full((200, 500), 3.0, "float32")
    z_log_var = np.full((200, 500), np.log(4.0), "float32")
    draw = np.asarray(Sampling(seed=1)([z_mean, z_log_var]))
    # Standard errors over 100,000 draws: 2 / 316 for the mean, 2 / 447 for the deviation.
    assert draw.mean() == pytest.approx(3.0, abs=0.03)
    assert draw.std() == pytest.approx(2.0, abs=0.02)
    # Neither images nor latent directions share their noise.
    assert draw.mean(axis=0).std() == pytest.approx(2.0 / np.sqrt(200), rel=0.2)
    assert draw.mean(axis=1).std() == pytest.approx(2.0 / np.sqrt(500), rel=0.2)


def test_sampling_is_seeded_and_fresh_at_each_call_also_when_compiled() -> None:
    arguments = [np.zeros((2, 4), "float32"), np.zeros((2, 4), "float32")]

    def two_draws(seed: int) -> tuple[np.ndarray, np.ndarray]:
        layer = Sampling(seed=seed)
        compiled = tf.function(lambda: layer(arguments))
        return np.asarray(compiled()), np.asarray(compiled())

    first, second = two_draws(5)
    again, again_second = two_draws(5)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(second, again_second)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, two_draws(6)[0])


def test_sampling_gradients_are_those_of_the_reparameterisation() -> None:
    z_mean = tf.constant([[1.0, -2.0, 0.5]])
    z_log_var = tf.constant([[0.3, -1.0, 2.0]])
    with tf.GradientTape() as tape:
        tape.watch([z_mean, z_log_var])
        draw = Sampling(seed=2)([z_mean, z_log_var])
    mean_gradient, log_var_gradient = tape.gradient(draw, [z_mean, z_log_var])
    np.testing.assert_allclose(mean_gradient, np.ones((1, 3)))
    np.testing.assert_allclose(log_var_gradient, 0.5 * (draw - z_mean), rtol=1e-5)


def test_clips() -> None:
    values = np.array([-20.0, -0.5, 0.25, 1.5, 20.0], "float32")
    np.testing.assert_array_equal(ClipToUnitRange()(values), [0.0, 0.0, 0.25, 1.0, 1.0])
    np.testing.assert_array_equal(ClipLogVariance()(values), [-10.0, -0.5, 0.25, 1.5, 10.0])
    np.testing.assert_array_equal(ClipLogVariance(1.0)(values), [-1.0, -0.5, 0.25, 1.0, 1.0])
    for limit in (0.0, float("inf"), "10", True):
        with pytest.raises(ValueError, match="limit to be a finite number above 0, received"):
            ClipLogVariance(limit)
