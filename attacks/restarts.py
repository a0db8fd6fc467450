"""Attacks in several runs, of which each image keeps its best point.

What a run draws for an image comes from a generator of that image's own, seeded by the seed of the
attack, the number of the run and the place of the image in the set. So it depends neither on the
batch, nor on which other images still stand, nor on the backend.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from attacks.attack import LATER, Attack
from attacks.attacked_model import AttackedModel, missing_gradients_explained, padded_batches
from attacks.job import Job
from validation import check_integer

__all__ = ["Batch", "RestartedAttack", "Run", "attacked_again", "image_generators", "random_starts"]

MOST_RESTARTS = 1_000
_SEEDS = 2**32


class Batch(NamedTuple):
    """Images of one run, each with its random generator.

    ``images`` ``(batch, height, width, channels)`` float32, ``labels`` ``(batch,)`` to be avoided,
    or to be predicted if ``targeted``; ``epsilon`` the budget; ``restart`` the number of the run;
    ``size`` how many rows a program is compiled for where every size is compiled.
    """

    images: np.ndarray
    labels: np.ndarray
    targeted: bool
    epsilon: float
    restart: int
    generators: list[np.random.Generator]
    size: int

    @property
    def epsilons(self) -> np.ndarray:
        """The budget of each image, ``(batch,)`` float32."""
        return np.full(len(self.images), self.epsilon, np.float32)


class Run(NamedTuple):
    """What a run found: each image's best point, its loss, whether it is adversarial; queries.

    ``images`` ``(batch, height, width, channels)``, the others ``(batch,)``.
    """

    images: np.ndarray
    losses: np.ndarray
    broken: np.ndarray
    queries: np.ndarray

    @classmethod
    def begun(cls, images: np.ndarray) -> Run:
        """A run that has not met a point yet: any other is better."""
        count = len(images)
        losses = np.full(count, -np.inf, np.float32)
        return cls(images.copy(), losses, np.zeros(count, bool), np.zeros(count, np.int64))

    def take(self, rows: np.ndarray, run: Run, stands: np.ndarray) -> None:
        """Takes over what another run found at ``rows``, of images that stand and are better."""
        better = np.where(
            run.broken == self.broken[rows], run.losses > self.losses[rows], run.broken
        )
        taken = better & stands
        for mine, other in zip(self[:3], run[:3], strict=True):
            mine[rows[taken]] = other[taken]
        self.queries[rows] += run.queries


@dataclasses.dataclass(frozen=True, kw_only=True)
class RestartedAttack(Attack, abc.ABC):
    """An attack in several runs, of which each image keeps its best point.

    A run attacks the images that still stand: those that are neither misclassified when clean,
    which come back unchanged, nor were broken by a run before. Each image's result is that of the
    first run that breaks it, else the point of the highest loss of all runs. Where gradients are
    followed through a model that draws at random, one misread draw is no success, and every run
    attacks every image.

    Args:
        norm: ``"linf"`` or ``"l2"``.
        num_restarts: Number of runs.
    """

    num_restarts: int = dataclasses.field(default=1, metadata=LATER)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer(
            f"num_restarts of {self.name}",
            self.num_restarts,
            at_least=1,
            at_most=MOST_RESTARTS,
            such_as=1,
        )

    @abc.abstractmethod
    def _run(self, victim: AttackedModel, batch: Batch) -> Run:
        """Returns what one run finds for one batch."""

    @abc.abstractmethod
    def _starts(self, batch: Batch) -> np.ndarray:
        """Returns where the search begins; what is drawn is drawn first from the generators."""

    def _is_restarted(self) -> bool:
        """Returns whether runs are made here; if not, the other base class attacks."""
        return True

    def _standing(
        self, victim: AttackedModel, job: Job, reseed: Callable[[int], None]
    ) -> tuple[np.ndarray, int]:
        """Returns which images are to be attacked, and how many queries each has cost."""
        if victim.is_random:
            return np.ones(len(job.images), bool), 0
        return ~job.fooled_by(victim.predict(job.images, job.batch_size)), 0

    def _craft(
        self,
        victim: AttackedModel,
        job: Job,
        epsilons: Sequence[float | None],
        reseed: Callable[[int], None],
    ) -> dict[float | None, np.ndarray]:
        """Returns each image's best point of all runs, for each epsilon."""
        if not self._is_restarted():
            return super()._craft(victim, job, epsilons, reseed)
        crafted: dict[float | None, np.ndarray] = {}
        count = len(job.images)
        readable, asked = self._standing(victim, job, reseed)
        for number, epsilon in enumerate(epsilons):
            best, stands = Run.begun(job.images), readable.copy()
            best.queries[:] = asked
            for restart in range(self.num_restarts):
                standing = np.flatnonzero(attacked_again(stands))
                for start, size in _spans(len(standing), job.batch_size):
                    rows = standing[start : start + size]
                    reseed(restart * count + start)
                    batch = _batch(job, rows, float(epsilon or 0.0), restart)
                    with missing_gradients_explained(self.name):
                        run = self._run(victim, batch)
                    best.take(rows, run, stands[rows])
                    share = (restart + (start + size) / len(standing)) / self.num_restarts
                    job.report(int(count * (number + share) / len(epsilons)))
                if not (victim.is_random and self.uses_gradient):
                    stands &= ~best.broken
            crafted[epsilon], job.queries[epsilon] = best.images, best.queries
        return crafted

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
        """Returns the best points for one batch."""
        if not self._is_restarted():
            return super()._perturb(  # type: ignore[safe-super]  # of a class that has its own
                victim, images, labels, epsilon, targeted=targeted, seed=seed
            )
        job = Job(images, labels, labels if targeted else None, seed, len(images), None)
        return self._craft(victim, job, [epsilon], lambda start: None)[epsilon]

    def _starting_points(
        self, victim: AttackedModel, job: Job, epsilon: float | None
    ) -> np.ndarray:
        """Returns the starts of the first run."""
        if not self._is_restarted():
            return super()._starting_points(victim, job, epsilon)
        everything = np.arange(len(job.images))
        starts = self._starts(_batch(job, everything, float(epsilon or 0.0), 0))
        return job.images if np.array_equal(starts, job.images) else starts


def attacked_again(stands: np.ndarray) -> np.ndarray:
    """Returns which images a run attacks: those that stand."""
    return stands


def image_generators(seed: int, restart: int, rows: np.ndarray) -> list[np.random.Generator]:
    """Returns one random generator for each image of a set, by its place in it."""
    low, high = seed % _SEEDS, seed // _SEEDS
    return [np.random.default_rng([low, high, restart, int(row)]) for row in rows]


def random_starts(
    images: np.ndarray, epsilon: float, norm: str, generators: list[np.random.Generator]
) -> np.ndarray:
    """Returns points drawn uniformly from the ball around each image, clipped to [0, 1].

    Args:
        images: ``(num_images, height, width, channels)`` float32 in [0, 1].
        epsilon: Radius of the ball.
        norm: ``"linf"`` or ``"l2"``.
        generators: One for each image.
    """
    starts = np.empty_like(images)
    for index, generator in enumerate(generators):
        if norm == "linf":
            delta = generator.uniform(-epsilon, epsilon, images.shape[1:])
        else:
            normal = generator.normal(size=images.shape[1:])
            share = generator.random() ** (1.0 / normal.size)
            delta = epsilon * share * normal / np.linalg.norm(normal)
        starts[index] = np.clip(images[index] + delta, 0.0, 1.0)
    return starts


def _batch(job: Job, rows: np.ndarray, epsilon: float, restart: int) -> Batch:
    """Returns some images of a job as the batch of a run."""
    _, _, largest = next(padded_batches(len(job.images), job.batch_size))
    return Batch(
        images=job.images[rows],
        labels=job.goal_labels[rows],
        targeted=job.targeted,
        epsilon=epsilon,
        restart=restart,
        generators=image_generators(job.seed, restart, rows),
        size=len(largest),
    )


def _spans(count: int, batch_size: int) -> list[tuple[int, int]]:
    """Returns start and length of each batch."""
    starts = range(0, count, batch_size)
    return [(start, min(batch_size, count - start)) for start in starts]
