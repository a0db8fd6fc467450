"""The base class of every attack: checked input, batching, and what is promised of the result."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from attacks.attacked_model import (
    AttackedModel,
    attacked_model,
    batch_seed,
    padded_batches,
    repeatable_randomness,
)
from attacks.validation import AttackFailedError, Job, check_epsilon, validated_job

_CHANGE_TOLERANCE = 1e-6
_NORMS = ("linf", "l2")


def project(
    images: np.ndarray, adversarial_images: np.ndarray, epsilon: float, norm: str
) -> np.ndarray:
    """Clips adversarial images to the epsilon ball around the images and to [0, 1].

    What lies inside already comes back bit for bit.

    Args:
        images: `(batch, height, width, channels)` float32 in [0, 1].
        adversarial_images: the same shape.
        epsilon: radius of the ball.
        norm: `"linf"` or `"l2"`.

    Returns:
        float32 array of the same shape in [0, 1].
    """
    adversarial = adversarial_images.astype(np.float32, copy=False)
    if norm == "linf":
        radius = np.float32(epsilon)
        adversarial = np.clip(adversarial, images - radius, images + radius)
    else:
        delta = adversarial.astype(np.float64) - images
        length = np.sqrt(np.sum(delta**2, axis=(1, 2, 3), keepdims=True))
        shrunk = images + delta * (epsilon / np.maximum(length, 1e-12))
        too_long = length > epsilon * (1 + 1e-6)
        adversarial = np.where(too_long, shrunk, adversarial).astype(np.float32)
    return np.clip(adversarial, np.float32(0.0), np.float32(1.0))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attack(abc.ABC):
    """Frozen hyper-parameters that, called on a model and images, give adversarial images.

    A subclass sets `name` and writes `_perturb`. It need not be trusted: whatever it returns is
    clipped to the budget and to [0, 1], a result that is not finite is an error, and so is an
    attack that changed nothing, for that reads as perfect robustness.

    **Reference**: threat model and notation of the dissertation, ch. 2.2.

    **Differs from the paper**: the true label is always used. CleverHans, left alone, uses the
    model's own prediction, which is weaker on images the model already gets wrong.

    Args:
        norm: `"linf"` (largest change of a pixel) or `"l2"` (Euclidean length of the change):
            the norm in which `epsilon` is measured.
    """

    name: ClassVar[str] = "attack"
    allows_native_epsilon: ClassVar[bool] = False

    norm: str = "linf"

    def __post_init__(self) -> None:
        require_field(self, "norm", self.norm in _NORMS, f"one of {', '.join(_NORMS)}")

    @abc.abstractmethod
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
        """Returns adversarial images for one batch.

        Args:
            victim: maps images to logits.
            images: `(batch, height, width, channels)` float32 in [0, 1].
            labels: `(batch,)` int64, the labels to lead away from, or towards if `targeted`.
            epsilon: the budget, above 0.
            targeted: whether `labels` are targets.
            seed: seed for whatever is drawn at random in this batch.
        """

    def __call__(
        self,
        model: keras.Model,
        images: np.ndarray,
        labels: np.ndarray,
        epsilon: float | None,
        *,
        target_labels: np.ndarray | None = None,
        seed: int = 0,
        batch_size: int | None = None,
        progress: Callable[[int], None] | None = None,
        require_change: bool = True,
    ) -> np.ndarray:
        """Returns adversarial images within `epsilon` of `images`.

        Args:
            model: a classifier that returns logits (or log-probabilities).
            images: `(num_images, height, width, channels)` float32 in [0, 1].
            labels: `(num_images,)` integers, the true labels.
            epsilon: the budget in [0, 1] (for `"l2"`: at least 0); 0 returns the images
                unchanged. None, for Carlini-Wagner only: the minimal perturbation itself.
            target_labels: `(num_images,)` integers to be predicted instead; None: any other label.
            seed: two calls with the same arguments return the same images. Random starts are
                drawn per batch, so they depend on `batch_size` too.
            batch_size: images per batch, 128 by default.
            progress: called with the number of images done so far, up to `num_images`.
            require_change: whether an attack that changed no image at all is an error. False only
                for sets so small that the attack may rightly find nothing.

        Returns:
            float32 array of the shape of `images`, in [0, 1], within `epsilon` of `images`.

        Raises:
            ValueError: if an argument is not as described above.
            AttackFailedError: if the model has no usable gradient, returns probabilities, or the
                attack changed none of the images it should have changed.
        """
        curve = self.curve(
            model,
            images,
            labels,
            [epsilon],
            target_labels=target_labels,
            seed=seed,
            batch_size=batch_size,
            progress=progress,
            require_change=require_change,
        )
        return curve[epsilon]

    def curve(
        self,
        model: keras.Model,
        images: np.ndarray,
        labels: np.ndarray,
        epsilons: Sequence[float | None],
        *,
        target_labels: np.ndarray | None = None,
        seed: int = 0,
        batch_size: int | None = None,
        progress: Callable[[int], None] | None = None,
        require_change: bool = True,
    ) -> dict[float | None, np.ndarray]:
        """Returns adversarial images for each epsilon, as calls with each of them would.

        Args:
            model: see `__call__`, as for all arguments but the next.
            images: see `__call__`.
            labels: see `__call__`.
            epsilons: the budgets.
            target_labels: see `__call__`.
            seed: see `__call__`.
            batch_size: see `__call__`.
            progress: see `__call__`; it too counts up to `num_images`.
            require_change: see `__call__`.

        Returns:
            A dict from epsilon to adversarial images.
        """
        for epsilon in epsilons:
            check_epsilon(epsilon, self.norm, self.name, self.allows_native_epsilon)
        job = validated_job(images, labels, target_labels, seed, batch_size, progress)
        victim = attacked_model(model)
        nonzero = [epsilon for epsilon in dict.fromkeys(epsilons) if epsilon != 0]
        with repeatable_randomness(model, seed) as reseed:
            reseed(0)
            self._prepare(victim, job)
            crafted = self._craft(victim, job, nonzero, reseed) if nonzero else {}
            crafted = {e: self._bounded(job, crafted[e], e) for e in nonzero}
            if require_change:
                self._check_change(victim, job, crafted, reseed)
        job.report(len(job.images))
        return {e: crafted[e] if e in crafted else job.images.copy() for e in epsilons}

    def config(self) -> dict[str, Any]:
        """Returns the attack's name and hyper-parameters, plain values fit for hashing."""
        return {"name": self.name, **dataclasses.asdict(self)}

    def num_gradients(self) -> int:
        """Returns the largest number of gradients spent on one image, for cost estimates."""
        return 1

    def _prepare(self, victim: AttackedModel, job: Job) -> None:
        """Looks at the model before it is attacked; whatever this draws does not matter."""
        job.check_labels(victim.check(job))

    def _craft(
        self,
        victim: AttackedModel,
        job: Job,
        epsilons: Sequence[float | None],
        reseed: Callable[[int], None],
    ) -> dict[float | None, np.ndarray]:
        """Returns what `_perturb` makes of each batch for each epsilon, unchecked."""
        crafted: dict[float | None, np.ndarray] = {}
        for index, epsilon in enumerate(epsilons):
            adversarial = np.empty_like(job.images)
            for start, count, rows in padded_batches(len(job.images), job.batch_size):
                reseed(start)
                batch = self._perturb(
                    victim,
                    job.images[rows],
                    job.goal_labels[rows],
                    float(epsilon),  # type: ignore[arg-type]  # None is refused by check_epsilon
                    targeted=job.targeted,
                    seed=batch_seed(job.seed, start),
                )
                adversarial[start : start + count] = np.asarray(batch)[:count]
                done = index * len(job.images) + start + count
                job.report(done // len(epsilons))
            crafted[epsilon] = adversarial
        return crafted

    def _starting_points(
        self, victim: AttackedModel, job: Job, epsilon: float | None
    ) -> np.ndarray:
        """Returns where the search began, to tell a step from a random start."""
        return job.images

    def _bounded(self, job: Job, adversarial: np.ndarray, epsilon: float | None) -> np.ndarray:
        """Returns the images clipped to budget and range, or raises if they are not numbers."""
        if not np.isfinite(adversarial).all():
            raise AttackFailedError.not_finite(self.name)
        radius = np.inf if epsilon is None else epsilon
        return project(job.images, adversarial, radius, self.norm)

    def _check_change(
        self,
        victim: AttackedModel,
        job: Job,
        crafted: dict[float | None, np.ndarray],
        reseed: Callable[[int], None],
    ) -> None:
        """Raises if no image that was still to be led astray has moved."""
        fooled: np.ndarray | None = None
        for epsilon, adversarial in crafted.items():
            moved = np.abs(adversarial - self._starting_points(victim, job, epsilon))
            changed = moved.max(axis=(1, 2, 3)) > _CHANGE_TOLERANCE
            if changed.any() and changed.all():
                continue
            if fooled is None:
                reseed(0)
                predictions = victim.predict(job.images, job.batch_size).argmax(axis=1)
                fooled = (predictions == job.goal_labels) == job.targeted
            if not fooled.all() and not changed[~fooled].any():
                raise AttackFailedError.nothing_changed(self.name, epsilon, int((~fooled).sum()))


def require_field(attack: Attack, field: str, holds: bool, expected: str) -> None:
    """Raises a `ValueError` naming the field unless the condition holds."""
    if not holds:
        raise ValueError(
            f"Expected {field} of {attack.name} to be {expected}, "
            f"received {getattr(attack, field)!r}."
        )
