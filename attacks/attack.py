"""The base class of every attack: checks of arguments and results, and batching."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from attacks.attacked_model import (
    AttackedModel,
    attacked_model,
    batch_seed,
    image_shape_of,
    missing_gradients_explained,
    padded_batches,
    repeatable_randomness,
)
from attacks.job import (
    AttackFailedError,
    AttackResult,
    Job,
    validated_job,
    warn_of_unattacked,
)
from validation import check_choice, check_flag, check_number, check_numbers

_CHANGE_TOLERANCE = 1e-6
_SMALLEST_EPSILON = 1e-5
"""float32 images show a smaller change badly or not at all."""
LARGEST_EPSILON = {"linf": 1.0, "l2": 1e4}
LATER = {"omitted_at_default": True}
"""Marks a field younger than the first published rows: ``config`` leaves it out at its default, so
that what was measured before it keeps its name."""


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
    [0, 1]. What would count as robustness though nothing was attacked is an error: a result that is
    not finite, no image changed, or too many left where the search started. A few such images give
    a warning, and ``run`` tells which they are.

    A minimal perturbation is smaller than a step of 8-bit pixels: images that are stored as
    pictures lose it. A random defense is judged by several draws, by their mean and by the worst
    draw of each image: an attacker may send the same images again.

    **Reference**: Dissertation, ch. 2.2, threat model and notation.

    **Differs from the paper**: the true label is always used. CleverHans by default uses the
    model's own prediction, which is weaker on images that the model misclassifies.

    Args:
        norm: ``"linf"`` (largest change of a pixel) or ``"l2"`` (Euclidean length of the change):
            the norm in which ``epsilon`` is measured.
    """

    name: ClassVar[str] = "attack"
    allows_native_epsilon: ClassVar[bool] = False
    uses_gradient: ClassVar[bool] = True
    """Whether it needs a gradient of the model, or its outputs alone."""

    norm: str = "linf"

    def __post_init__(self) -> None:
        check_choice(f"norm of {self.name}", self.norm, LARGEST_EPSILON)

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
            labels: ``(num_images,)`` or ``(num_images, 1)`` integers, the true labels.
            epsilon: The budget in [1e-5, 1] (for ``"l2"``: up to 1e4), or 0, which returns the
                images unchanged. ``None``, for Carlini-Wagner only, is the minimal perturbation.
            target_labels: Labels to be predicted instead, none of them the true one; ``None`` is
                any other label.
            seed: Non-negative; equal arguments give equal images. Random starts are drawn per
                batch, so they depend on ``batch_size`` too.
            batch_size: Images per batch, 128 by default.
            progress: Called with the number of images done so far, up to ``num_images``.
            require_change: Whether an attack that had no effect on any image, or no gradient on
                too many, is an error. Use False only for sets so small that finding nothing is
                plausible.

        Returns:
            float32 array of the shape of ``images``, in [0, 1], within ``epsilon`` of ``images``.

        Raises:
            ValueError: If an argument is not as described above.
            AttackFailedError: If the model has no usable gradient, returns probabilities, or the
                attack changed none of the images it should have changed, or left more of them where
                it started than ``attacks.job.tolerated_share``.

        Warns:
            UnattackedImagesWarning: If it left some of them there.
        """
        results = self.run(
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
        warn_of_unattacked(self.name, results, stacklevel=2)
        return results[epsilon].adversarial_images

    def curve(
        self,
        model: keras.Model,
        images: np.ndarray,
        labels: np.ndarray,
        epsilons: Iterable[float | None],
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
            epsilons: Budgets, at least one, each as ``epsilon`` of a call.

        Returns:
            A dict from epsilon to adversarial images, as a call returns them.
        """
        results = self.run(
            model,
            images,
            labels,
            epsilons,
            target_labels=target_labels,
            seed=seed,
            batch_size=batch_size,
            progress=progress,
            require_change=require_change,
        )
        warn_of_unattacked(self.name, results, stacklevel=2)
        return {epsilon: result.adversarial_images for epsilon, result in results.items()}

    def run(
        self,
        model: keras.Model,
        images: np.ndarray,
        labels: np.ndarray,
        epsilons: Iterable[float | None],
        *,
        target_labels: np.ndarray | None = None,
        seed: int = 0,
        batch_size: int | None = None,
        progress: Callable[[int], None] | None = None,
        require_change: bool = True,
        tolerated: float | None = None,
    ) -> dict[float | None, AttackResult]:
        """Returns the images of ``curve``, and which of them were not attacked.

        The other arguments are those of ``curve``.

        Args:
            tolerated: Share of unattacked images up to which they are no error, in [0, 1]; ``None``
                is that of ``attacks.job.tolerated_share``. Whoever passes more has to tell of them.

        Returns:
            A dict from epsilon to an ``AttackResult``.
        """
        budgets = self.checked(epsilons)
        check_flag("require_change", require_change)
        if tolerated is not None:
            check_number("tolerated", tolerated, at_least=0.0, at_most=1.0)
        victim = attacked_model(model)
        job = validated_job(
            images, labels, target_labels, seed, batch_size, progress, image_shape_of(model)
        )
        nonzero = [epsilon for epsilon in dict.fromkeys(budgets) if epsilon != 0]
        with repeatable_randomness(model, job.seed) as reseed:
            reseed(0)
            self._prepare(victim, job)
            crafted = self._craft(victim, job, nonzero, reseed) if nonzero else {}
            crafted = {e: self._bounded(job, crafted[e], e) for e in nonzero}
            results = self._results(victim, job, crafted, reseed, require_change)
        if require_change:
            for epsilon, result in results.items():
                result.check(self.name, epsilon, tolerated)
        job.report(len(job.images))
        return {e: results.get(e) or AttackResult.of_clean(job.images) for e in budgets}

    def config(self) -> dict[str, Any]:
        """Returns the attack's name and hyper-parameters, as plain values suitable for hashing.

        A field that is marked as ``LATER`` is left out at its default.
        """
        kept = {
            field.name
            for field in dataclasses.fields(self)
            if "omitted_at_default" not in field.metadata
            or getattr(self, field.name) != field.default
        }
        values = dataclasses.asdict(self)
        return {"name": self.name, **{key: v for key, v in values.items() if key in kept}}

    def num_gradients(self) -> int:
        """Returns the largest number of gradients spent on one image, for cost estimates.

        Two queries of an attack without a gradient count as one.
        """
        return 1

    def checked(self, epsilons: Iterable[float | None]) -> tuple[float | None, ...]:
        """Returns the epsilons, read once, as Python floats.

        Raises:
            ValueError: If there is none, or one is no budget of this attack.
        """
        remedy = "0.03; divide an 8-bit budget by 255"
        if self.allows_native_epsilon:
            remedy += ", or pass None for the minimal perturbation"
        budgets = check_numbers(
            f"epsilon of {self.name}",
            epsilons,
            or_none=self.allows_native_epsilon,
            at_least=0.0,
            at_most=LARGEST_EPSILON[self.norm],
            such_as=remedy,
        )
        for epsilon in budgets:
            if epsilon is not None and 0.0 < epsilon < _SMALLEST_EPSILON:
                raise ValueError(
                    f"Expected epsilon of {self.name} to be 0 or at least {_SMALLEST_EPSILON:g}, "
                    f"received {epsilon!r}: float32 images do not show so small a change. Pass a "
                    "larger budget; 1/255 is one step of an 8-bit image."
                )
        return budgets

    def _prepare(self, victim: AttackedModel, job: Job) -> None:
        """Checks the model before the attack; the attack is reseeded afterwards."""
        _, _, rows = next(padded_batches(len(job.images), job.batch_size))
        with missing_gradients_explained(self.name):
            num_classes = victim.check(job.images[rows])
        job.check_labels(num_classes)

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
                    float(epsilon),  # type: ignore[arg-type]  # None is refused by checked
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

    def _results(
        self,
        victim: AttackedModel,
        job: Job,
        crafted: dict[float | None, np.ndarray],
        reseed: Callable[[int], None],
        require_change: bool,
    ) -> dict[float | None, AttackResult]:
        """Returns the images with the masks of those not attacked, for each epsilon.

        Asks for the model's decisions only where some image did not move or had no gradient.

        Raises:
            AttackFailedError: If change is required and no image moved that should have.
        """
        results = {}
        fooled: np.ndarray | None = None
        dead = np.zeros(len(job.images), bool)
        from_images = False
        for epsilon, adversarial in crafted.items():
            start = self._starting_points(victim, job, epsilon)
            if start is not job.images or not from_images:
                dead = self._without_gradient(victim, job, start, reseed)
            from_images = start is job.images
            unmoved = _lengths(adversarial - start, self.norm) <= self._tolerance(epsilon)
            unattacked = unmoved
            if (unmoved | dead).any():
                if fooled is None:
                    reseed(0)
                    fooled = job.fooled_by(victim.predict(job.images, job.batch_size))
                reseed(0)
                found = job.fooled_by(victim.predict(adversarial, job.batch_size))
                right = ~fooled & ~found
                unmoved, dead_and_right = unmoved & right, dead & right
                if require_change and unmoved.any() and unmoved[~fooled].all():
                    num_images = int((~fooled).sum())
                    raise AttackFailedError.nothing_changed(self.name, epsilon, num_images)
                reseed(0)
                unattacked = unmoved & ~self._follows_gradient(victim, job, unmoved, dead)
                unattacked = unattacked | dead_and_right
            num_queries = job.queries.get(epsilon, np.zeros(len(job.images), np.int64))
            results[epsilon] = AttackResult(adversarial, unmoved, unattacked, num_queries)
        return results

    def _without_gradient(
        self,
        victim: AttackedModel,
        job: Job,
        starts: np.ndarray,
        reseed: Callable[[int], None],
    ) -> np.ndarray:
        """Returns ``(num_images,)`` booleans: where the gradient is zero or NaN at the start."""
        return np.zeros(len(starts), bool)

    def _tolerance(self, epsilon: float | None) -> float:
        """Returns the distance from the start up to which an image counts as unmoved."""
        return _CHANGE_TOLERANCE

    def _follows_gradient(
        self, victim: AttackedModel, job: Job, unmoved: np.ndarray, dead: np.ndarray
    ) -> np.ndarray:
        """Returns ``(num_images,)`` booleans: which unmoved images had a gradient all the same."""
        return np.zeros(len(unmoved), bool)


def _lengths(delta: np.ndarray, norm: str) -> np.ndarray:
    """Returns the length of each change, ``(num_images,)``."""
    if norm == "linf":
        return np.abs(delta).reshape(len(delta), -1).max(axis=1)
    return np.sqrt(np.sum(delta.astype(np.float64) ** 2, axis=(1, 2, 3)))
