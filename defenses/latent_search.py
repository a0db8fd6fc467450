"""The search of a generator's latent space for the image nearest to a given one."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import keras
from keras import ops

from defenses.losses import mean_squared_error_loss
from defenses.wasserstein_losses import input_gradient

__all__ = ["Candidates", "descend_latents", "nearest_candidates"]

DECAY_START = 0.8
"""Fraction of the steps of a search after which the learning rate falls."""

DECAY_FACTOR = 0.1


class Candidates(NamedTuple):
    """Results of a search for each image, from each of its starts.

    Attributes:
        latents: ``(batch, num_restarts, latent_dim)``, any range.
        reconstructions: Images generated from them,
            ``(batch, num_restarts, height, width, channels)`` in [0, 1].
        errors: Their mean squared errors, ``(batch, num_restarts)``, in [0, 1].
    """

    latents: Any
    reconstructions: Any
    errors: Any


def descend_latents(
    generator: keras.Model,
    images: Any,
    latents: Any,
    *,
    num_steps: int,
    learning_rate: float,
    momentum: float,
) -> Any:
    """Moves latent vectors so that the images generated from them approach given images.

    Gradient descent with momentum. Each latent vector follows the error of its own image alone, so
    the result does not depend on the rest of the batch. The learning rate falls to a tenth once
    ``DECAY_START`` of the steps, rounded up, are done.

    Args:
        generator: Latent vectors to images in [0, 1].
        images: ``(batch, height, width, channels)`` in [0, 1].
        latents: Where to start, ``(batch, latent_dim)``, any range.
        num_steps: Number of steps, at least 0.
        learning_rate: Step length, positive.
        momentum: Share of the previous step that is kept, in [0, 1).

    Returns:
        ``(batch, latent_dim)``, any range.

    Raises:
        ValueError: If the backend is neither TensorFlow nor JAX.
    """
    first_decayed = math.ceil(DECAY_START * num_steps)

    def errors(candidates: Any) -> Any:
        return mean_squared_error_loss(images, generator(candidates, training=False))

    def step(index: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
        candidates, velocity = state
        velocity = momentum * velocity + input_gradient(errors, candidates)
        factor = ops.where(index < first_decayed, 1.0, DECAY_FACTOR)
        return candidates - learning_rate * factor * velocity, velocity

    moved, _ = ops.fori_loop(0, num_steps, step, (latents, ops.zeros_like(latents)))
    return moved


def nearest_candidates(candidates: Candidates) -> Any:
    """Returns, for each image, the reconstruction with the least error.

    Starts whose search has diverged are ignored, unless all have.

    Args:
        candidates: Results of a search.

    Returns:
        ``(batch, height, width, channels)`` in [0, 1].
    """
    errors = candidates.errors
    comparable = ops.where(ops.isnan(errors), float("inf"), errors)
    best = ops.argmin(comparable, axis=1)[:, None, None, None, None]
    return ops.squeeze(ops.take_along_axis(candidates.reconstructions, best, axis=1), axis=1)
