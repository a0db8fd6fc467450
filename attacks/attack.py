"""The base class of every attack: checks of arguments and results, and batching."""

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

    Images that lie inside already are returned bit for bit.

    Args:
        images: ``(batch, height, width, channels)`` float32 in [0, 1].
        adversarial_images: Float array of the same shape, any range.
        epsilon: Radius of the ball.
        norm: ``"linf"`` or ``"l2"``.

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
    """Frozen hyper-parameters; a call with a model and images returns adversarial images.

    A subclass sets ``name`` and implements ``_perturb``. Its result is clipped to the budget and to
    [0, 1]; a result that is not finite is an error, and so is an attack that changed nothing, since
    that would count as perfect robustness.

    **Reference**: Dissertation, ch. 2.2, threat model and notation.

    **Differs from the paper**: the true label is always used. CleverHans by default uses the
    model's own prediction, which is weaker on images that the model misclassifies.

    Args:
        norm: ``"linf"`` (largest change of a pixel) or ``"l2"`` (Euclidean length of the change):
            the norm in which ``epsilon`` is measured.
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
            victim: The attacked model, images to logits.
            images: ``(batch, height, width, channels)`` float32 in [0, 1].
            labels: ``(batch,)`` int64: true labels, or labels to be predicted instead if
                ``targeted``.
            epsilon: The budget in ``norm``, above 0.
            targeted: Whether ``labels`` are to be predicted, not avoided.
            seed: Seed of all random draws in this batch.
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
        """Returns adversarial images within ``epsilon`` of ``images``.

        Args:
            model: A classifier that returns logits (or log-probabilities).
            images: ``(num_images, height, width, channels)`` float32 in [0, 1].
            labels: ``(num_images,)`` integers, the true labels.
            epsilon: The budget in [0, 1] (for ``"l2"``: at least 0); 0 returns the images
                unchanged. ``None``, for Carlini-Wagner only, is the minimal perturbation.
            target_labels: ``(num_images,)`` integers to be predicted instead; ``None`` is any other
                label.
            seed: Non-negative; equal arguments give equal images. Random starts are drawn per
                batch, so they depend on ``batch_size`` too.
            batch_size: Images per batch, 128 by default.
            progress: Called with the number of images done so far, up to ``num_images``.
            require_change: Whether an attack that changed no image is an error. Use False only for
                sets so small that finding nothing is plausible.

        Returns:
            float32 array of the shape of ``images``, in [0, 1], within ``epsilon`` of ``images``.

        Raises:
            ValueError: If an argument is not as described above.
            AttackFailedError: If the model has no usable gradient, returns probabilities, or the
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
        """Returns adversarial images for each epsilon, equal to those of single calls.

        The other arguments are those of a call; ``progress`` counts up to ``num_images`` once.

        Args:
            epsilons: Budgets, each as ``epsilon`` of a call.


        Returns:
            A dict from epsilon to adversarial images, as a call returns them.
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
        """Returns the attack's name and hyper-parameters, as plain values suitable for hashing."""
        return {"name": self.name, **dataclasses.asdict(self)}

    def num_gradients(self) -> int:
        """Returns the largest number of gradients spent on one image, for cost estimates."""
        return 1

    def _prepare(self, victim: AttackedModel, job: Job) -> None:
        """Checks the model before the attack; the attack is reseeded afterwards."""
        job.check_labels(victim.check(job))

    def _craft(
        self,
        victim: AttackedModel,
        job: Job,
        epsilons: Sequence[float | None],
        reseed: Callable[[int], None],
    ) -> dict[float | None, np.ndarray]:
        """Returns the unchecked results of ``_perturb`` for each epsilon, batch by batch."""
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
        """Returns the images the search starts from, to tell its steps from a random start."""
        return job.images

    def _bounded(self, job: Job, adversarial: np.ndarray, epsilon: float | None) -> np.ndarray:
        """Returns the images clipped to budget and range; raises if they are not finite."""
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
        """Raises if none of the images that were not yet adversarial has changed."""
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
    """Raises a ValueError naming the field unless the condition holds."""
    if not holds:
        raise ValueError(
            f"Expected {field} of {attack.name} to be {expected}, "
            f"received {getattr(attack, field)!r}."
        )
