"""The base class of attacks through CleverHans' functions, which follow the cross-entropy."""

from __future__ import annotations

import abc
import importlib
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import numpy as np

from attacks.attack import Attack
from attacks.attacked_model import (
    AttackedModel,
    batch_seed,
    missing_gradients_explained,
    padded_batches,
)
from attacks.job import AttackFailedError, Job

__all__ = ["GradientAttack", "cleverhans", "is_dead"]

_CHANGED_SHARE = 0.01
"""An attack that moves an image by less than this share of its budget has not used it."""


class GradientAttack(Attack, abc.ABC):
    """Base class of attacks through CleverHans' functions; checks each model's gradient once."""

    has_momentum: ClassVar[bool] = False

    def _perturb(
        self,
        victim: AttackedModel,
        images: np.ndarray,
        labels: np.ndarray,
        epsilon: float,
        *,
        targeted: bool,
        seed: int,
    ) -> np.ndarray:
        settings = {"norm": self.norm, "targeted": targeted}
        with missing_gradients_explained(self.name):
            return self._call_cleverhans(victim, images, labels, epsilon, settings, seed)

    @abc.abstractmethod
    def _call_cleverhans(
        self,
        victim: AttackedModel,
        images: np.ndarray,
        labels: np.ndarray,
        epsilon: float,
        settings: dict[str, Any],
        seed: int,
    ) -> np.ndarray:
        """Returns CleverHans' adversarial images for one batch."""

    def _start(
        self,
        victim: AttackedModel,
        images: np.ndarray,
        labels: np.ndarray,
        epsilon: float,
        seed: int,
    ) -> np.ndarray:
        """Returns the images that the search starts from, for one batch."""
        return images

    def _starting_points(
        self, victim: AttackedModel, job: Job, epsilon: float | None
    ) -> np.ndarray:
        """Returns the starts, random ones drawn again from the same seeds.

        A random start changes every image even where the gradient is zero, so only the distance
        from it shows whether the attack had an effect.
        """
        if type(self)._start is GradientAttack._start:
            return job.images
        starts = np.array(job.images)
        for start, count, rows in padded_batches(len(job.images), job.batch_size):
            images, labels = job.images[rows], job.goal_labels[rows]
            seed = batch_seed(job.seed, start)
            batch = self._start(victim, images, labels, float(epsilon or 0.0), seed)
            starts[start : start + count] = batch[:count]
        return starts

    def _without_gradient(
        self,
        victim: AttackedModel,
        job: Job,
        starts: np.ndarray,
        reseed: Callable[[int], None],
    ) -> np.ndarray:
        """Returns where the gradient of the cross-entropy is zero or NaN at the start.

        Of a random model it is that of one draw. A later draw may have a gradient, so that the
        image moves a little: it has been attacked by the few steps that found one.
        """
        dead = np.zeros(len(starts), bool)
        for start, count, rows in padded_batches(len(starts), job.batch_size):
            reseed(start)
            slope = cleverhans().loss_gradient(
                victim,
                starts[rows],
                job.goal_labels[rows],
                targeted=job.targeted,
                momentum=self.has_momentum,
            )
            dead[start : start + count] = is_dead(slope)[:count]
        return dead

    def _tolerance(self, epsilon: float | None) -> float:
        """Returns the distance up to which an image counts as unmoved, a share of the budget.

        Of no more than a budget of 1, as the range of the pixels ends what a longer one allows.
        """
        return max(super()._tolerance(epsilon), _CHANGED_SHARE * min(epsilon or 0.0, 1.0))

    def _prepare(self, victim: AttackedModel, job: Job) -> None:
        """Raises if the model has no gradient; CleverHans would fail far from the cause."""
        super()._prepare(victim, job)
        if "has_gradient" in victim.compiled:
            return
        _, _, rows = next(padded_batches(len(job.images), job.batch_size))
        with missing_gradients_explained(self.name):
            found = cleverhans().has_gradient(
                victim,
                job.images[rows],
                job.goal_labels[rows],
                targeted=job.targeted,
                momentum=self.has_momentum,
            )
        if not found:
            raise AttackFailedError.no_gradient(self.name, "None")
        victim.compiled["has_gradient"] = True


def is_dead(slope: np.ndarray) -> np.ndarray:
    """Returns ``(batch,)`` booleans: whether a gradient is zero in every pixel, or NaN in some."""
    pixels = slope.reshape(len(slope), -1)
    return (pixels == 0.0).all(axis=1) | ~np.isfinite(pixels).all(axis=1)


def cleverhans() -> Any:
    """Returns the module of CleverHans' functions on the present backend."""
    return importlib.import_module(f"attacks.cleverhans_{keras.backend.backend()}")
