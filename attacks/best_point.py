"""Attacks by gradients that keep the best point they met, and the parts of their compiled searches.

The parts are in Keras's operations; the runs are those of ``attacks.restarts``.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from attacks import engine
from attacks.attacked_model import AttackedModel, padded_batches, rows_of
from attacks.job import AttackFailedError, Job
from attacks.losses import attack_loss, goal_is_reached
from attacks.restarts import Batch, RestartedAttack, Run, random_starts

__all__ = [
    "Best",
    "BestPointAttack",
    "Search",
    "Slope",
    "ascent",
    "direction",
    "keep_better",
    "projected",
    "select",
    "slope_at",
    "value_at",
]

_SMALLEST = 1e-12


class Best(NamedTuple):
    """The best point of each image: adversarial before not, then by the highest loss.

    ``images`` ``(batch, height, width, channels)``, ``losses`` ``(batch,)`` and ``broken``
    ``(batch,)``, whether the point is adversarial.
    """

    images: Any
    losses: Any
    broken: Any

    @classmethod
    def none_yet(cls, images: Any) -> Best:
        """The state before the first point: any other is better."""
        losses = ops.full_like(images[:, 0, 0, 0], -np.inf)
        return cls(images, losses, ops.isfinite(losses))


class Slope(NamedTuple):
    """The gradient of the loss at a point, the loss, and whether the point is adversarial."""

    gradient: Any
    losses: Any
    broken: Any


Search = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], Best]
"""From images, labels, starts and epsilons ``(batch,)`` to the best points of a batch."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BestPointAttack(RestartedAttack, abc.ABC):
    """An attack by gradients in several runs that keeps each image's best point.

    A subclass implements ``_search`` and sets the loss that it climbs.

    Args:
        norm: ``"linf"`` or ``"l2"``.
        num_restarts: Number of runs.
    """

    @abc.abstractmethod
    def _search(self, victim: AttackedModel, targeted: bool) -> Search:
        """Returns the compiled search of one run."""

    def _climbed(self) -> str:
        """Returns the loss of ``attacks.losses`` that it climbs."""
        return "cross_entropy"

    def _start_is_random(self, restart: int) -> bool:
        """Returns whether a run starts at a random point of the ball, or at the images."""
        return True

    def _starts(self, batch: Batch) -> np.ndarray:
        if not self._start_is_random(batch.restart):
            return batch.images
        return random_starts(batch.images, batch.epsilon, self.norm, batch.generators)

    def _run(self, victim: AttackedModel, batch: Batch) -> Run:
        count = len(batch.images)
        arguments = (batch.images, batch.labels, self._starts(batch), batch.epsilons)
        # Of a size that was compiled before, or that a program for any size takes.
        size = rows_of(count, batch.size)
        filled = (np.resize(array, (size, *array.shape[1:])) for array in arguments)
        best = self._search(victim, batch.targeted)(*filled)
        images, losses, broken = (ops.convert_to_numpy(field)[:count] for field in best)
        return Run(images, losses, broken, np.zeros(count, np.int64))

    def _without_gradient(
        self,
        victim: AttackedModel,
        job: Job,
        starts: np.ndarray,
        reseed: Callable[[int], None],
    ) -> np.ndarray:
        """Returns where the gradient of the loss is zero or NaN at the start of the first run."""
        if not self._is_restarted():
            return super()._without_gradient(victim, job, starts, reseed)
        return without_gradient(victim, self._climbed(), job, starts, reseed)

    def _follows_gradient(
        self, victim: AttackedModel, job: Job, unmoved: np.ndarray, dead: np.ndarray
    ) -> np.ndarray:
        """Returns which images had a gradient at the start, which may be their best point."""
        if not self._is_restarted():
            return super()._follows_gradient(victim, job, unmoved, dead)
        return ~dead


def without_gradient(
    victim: AttackedModel,
    loss: str,
    job: Job,
    starts: np.ndarray,
    reseed: Callable[[int], None],
) -> np.ndarray:
    """Returns where the gradient of a loss is zero or NaN at a start, ``(num_images,)``."""

    def dead(points: Any, labels: Any) -> Any:
        def losses(x: Any) -> Any:
            return attack_loss(loss, victim(x), labels, targeted=job.targeted)

        gradient = engine.gradient(losses, points)
        has_one = ops.any(gradient != 0.0, axis=(1, 2, 3))
        return ~(has_one & ops.all(ops.isfinite(gradient), axis=(1, 2, 3)))

    program = victim.program(("dead", loss, job.targeted), dead, any_batch_size=True)
    found = np.zeros(len(starts), bool)
    for start, count, rows in padded_batches(len(starts), job.batch_size):
        reseed(start)
        mask = ops.convert_to_numpy(program(starts[rows], job.goal_labels[rows]))
        found[start : start + count] = mask[:count]
    return found


# -- parts of a compiled search -------------------------------------------------------------------


def slope_at(victim: AttackedModel, loss: str, points: Any, labels: Any, targeted: bool) -> Slope:
    """Returns the gradient of a loss of ``attacks.losses``; zero where it is NaN."""

    def climbed(x: Any) -> tuple[Any, Any]:
        logits = victim(x)
        losses = attack_loss(loss, logits, labels, targeted=targeted)
        return losses, (losses, goal_is_reached(logits, labels, targeted=targeted))

    gradient, (losses, broken) = engine.gradient(climbed, points, has_auxiliary=True)
    if gradient is None:
        raise AttackFailedError.no_gradient("a search by gradients", "None")
    return Slope(ops.where(ops.isfinite(gradient), gradient, 0.0), losses, broken)


def value_at(
    victim: AttackedModel, loss: str, points: Any, labels: Any, targeted: bool
) -> tuple[Any, Any]:
    """Returns loss and success at points, without a gradient."""
    logits = victim(points)
    losses = attack_loss(loss, logits, labels, targeted=targeted)
    return losses, goal_is_reached(logits, labels, targeted=targeted)


def keep_better(best: Best, points: Any, losses: Any, broken: Any) -> Best:
    """Returns the better of the best point so far and another, for each image."""
    higher = ops.logical_and(losses > best.losses, ops.logical_not(best.broken & ~broken))
    better = ops.logical_or(broken & ~best.broken, higher)
    return Best(
        select(better, points, best.images),
        ops.where(better, losses, best.losses),
        ops.logical_or(best.broken, broken),
    )


def ascent(
    victim: AttackedModel, *, norm: str, num_steps: int, keeps_steps: bool, targeted: bool
) -> Callable[..., Best]:
    """Returns the function of projected gradient ascent, to be compiled.

    It takes images, labels, starts, epsilons and lengths of the step, each with the batch as its
    first axis, climbs the cross-entropy, and returns the best of all points, or the last one.

    Args:
        victim: The attacked model.
        norm: ``"linf"`` or ``"l2"``.
        num_steps: Number of steps.
        keeps_steps: Whether any point may be the result, not the last alone.
        targeted: Whether labels are to be predicted.
    """
    loss = "cross_entropy"

    def climb(images: Any, labels: Any, starts: Any, epsilons: Any, lengths: Any) -> Best:
        def step(index: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
            points, best = state[0], Best(*state[1:])
            slope = slope_at(victim, loss, points, labels, targeted)
            if keeps_steps:
                best = keep_better(best, points, slope.losses, slope.broken)
            moved = points + _as_images(lengths) * direction(slope.gradient, norm)
            return (projected(moved, images, epsilons, norm), *best)

        last, *best = engine.loop(step, (starts, *Best.none_yet(starts)), num_steps)
        return keep_better(Best(*best), last, *value_at(victim, loss, last, labels, targeted))

    return climb


def direction(gradient: Any, norm: str) -> Any:
    """Returns the step of length 1 in the norm that goes farthest along the gradient.

    The length is taken of the gradient over its largest pixel, since squares of small numbers
    vanish in float32.
    """
    if norm == "linf":
        return ops.sign(gradient)
    largest = ops.max(ops.abs(gradient), axis=(1, 2, 3), keepdims=True)
    scaled = gradient / ops.where(largest > 0.0, largest, 1.0)
    squares = ops.sum(ops.square(scaled), axis=(1, 2, 3), keepdims=True)
    return scaled / ops.sqrt(ops.maximum(squares, _SMALLEST))


def projected(points: Any, images: Any, epsilons: Any, norm: str) -> Any:
    """Returns points clipped to the ball of radius epsilon around the images, and to [0, 1]."""
    delta, radius = points - images, _as_images(epsilons)
    if norm == "linf":
        delta = ops.clip(delta, -radius, radius)
    else:
        squares = ops.sum(ops.square(delta), axis=(1, 2, 3), keepdims=True)
        delta = delta * ops.minimum(1.0, radius / ops.sqrt(ops.maximum(squares, _SMALLEST)))
    return ops.clip(images + delta, 0.0, 1.0)


def _as_images(scalars: Any) -> Any:
    """Returns ``(batch,)`` as ``(batch, 1, 1, 1)``."""
    return scalars[:, None, None, None]


def select(mask: Any, chosen: Any, otherwise: Any) -> Any:
    """Returns, per image, ``chosen`` where the ``(batch,)`` mask holds, else ``otherwise``."""
    return ops.where(_as_images(mask), chosen, otherwise)
