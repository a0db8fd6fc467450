"""Carlini and Wagner's L2 attack: the smallest change that is misclassified."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from attacks.attack import Attack, project
from attacks.attacked_model import AttackedModel, missing_gradients_explained, padded_batches
from attacks.carlini_wagner_search import Search, margin_gradient
from attacks.job import MOST_GRADIENTS, AttackFailedError, Job
from validation import check_choice, check_flag, check_integer, check_number

_EPSILON_MODES = ("rescale", "clip")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MinimalAttack(Attack, abc.ABC):
    """An attack that minimises the perturbation and is scaled to a budget afterwards.

    One run of the search serves a whole accuracy-epsilon curve. Images for which it finds nothing
    come back unchanged; ``run`` tells which they are, and on which of them the gradient was zero.
    A minimal perturbation ends just beyond the boundary: rounded to 8 bits, many images fall back
    behind it.

    **Reference**: Dissertation, ch. 3.4.3, which plots Carlini-Wagner against epsilon without
    saying what epsilon means for an attack that has none.

    **Differs from the paper**: the meaning of epsilon is chosen here. ``"rescale"``, the default,
    stretches or shrinks each perturbation to length epsilon, so every point of the curve has that
    budget; beyond the minimal length it is an amplified perturbation, no longer a minimal one.
    ``"clip"`` projects it on the ball and keeps it unchanged once it fits, so that the curve
    becomes flat.

    Args:
        norm: ``"linf"`` or ``"l2"``, of epsilon; the perturbation is minimal in L2 in either case.
        epsilon_mode: ``"rescale"`` or ``"clip"``.
    """

    allows_native_epsilon: ClassVar[bool] = True

    epsilon_mode: str = "rescale"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(f"epsilon_mode of {self.name}", self.epsilon_mode, _EPSILON_MODES)

    def minimal_perturbation(
        self,
        model: keras.Model,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        target_labels: np.ndarray | None = None,
        seed: int = 0,
        batch_size: int | None = None,
        progress: Callable[[int], None] | None = None,
        require_change: bool = True,
    ) -> np.ndarray:
        """Returns the adversarial images nearest to ``images``; a call with epsilon ``None``.

        The arguments are those of a call.

        Returns:
            float32 array of the shape of ``images``, in [0, 1]. Images that need no change, and
            images for which no adversarial image was found, are returned unchanged.

        Raises:
            ValueError: If an argument is not valid.
            AttackFailedError: If the model cannot be attacked, or no image changed.
        """
        return self(
            model,
            images,
            labels,
            None,
            target_labels=target_labels,
            seed=seed,
            batch_size=batch_size,
            progress=progress,
            require_change=require_change,
        )

    @abc.abstractmethod
    def _minimal(
        self, victim: AttackedModel, job: Job, reseed: Callable[[int], None]
    ) -> np.ndarray:
        """Returns the adversarial image nearest to each image, or the image itself."""

    def _craft(
        self,
        victim: AttackedModel,
        job: Job,
        epsilons: Sequence[float | None],
        reseed: Callable[[int], None],
    ) -> dict[float | None, np.ndarray]:
        """Returns the one minimal result scaled to each epsilon."""
        native = self._minimal(victim, job, reseed)
        return {epsilon: self._scaled(job.images, native, epsilon) for epsilon in epsilons}

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
        """Returns the minimal result for one batch scaled to epsilon."""
        job = Job(images, labels, labels if targeted else None, seed, len(images), None)
        return self._scaled(images, self._minimal(victim, job, lambda start: None), epsilon)

    def _follows_gradient(
        self, victim: AttackedModel, job: Job, unmoved: np.ndarray, dead: np.ndarray
    ) -> np.ndarray:
        """Returns which images without an adversarial one had a gradient, ``(num_images,)``.

        Where the margin has a gradient at the start, the search ended without success, which a
        robust model explains as well as a short search.
        """
        follows = np.zeros(len(unmoved), bool)
        if not unmoved.any():
            return follows
        searched = np.flatnonzero(unmoved)
        for start, count, rows in padded_batches(len(searched), job.batch_size):
            rows = searched[rows]
            gradient = margin_gradient(victim, job.images[rows], job.goal_labels[rows])
            found = (gradient != 0.0).any(axis=(1, 2, 3))
            follows[searched[start : start + count]] = found[:count]
        return follows

    def _scaled(self, images: np.ndarray, native: np.ndarray, epsilon: float | None) -> np.ndarray:
        """Returns the minimal result scaled or clipped to a budget."""
        if epsilon is None:
            return native
        if self.epsilon_mode == "clip":
            return project(images, native, epsilon, self.norm)
        delta = native.astype(np.float64) - images
        if self.norm == "linf":
            length = np.abs(delta).max(axis=(1, 2, 3), keepdims=True)
        else:
            length = np.sqrt(np.sum(delta**2, axis=(1, 2, 3), keepdims=True))
        scaled = images + delta * (epsilon / np.where(length > 0.0, length, 1.0))
        return np.clip(scaled, 0.0, 1.0).astype(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CarliniWagner(MinimalAttack):
    """Minimises the L2 change plus c times the margin by which the true class still leads.

    Every image has its own constant, Adam state and step of the search, so the result does not
    depend on which images share a batch. Images whose loss no longer falls proceed to their next
    constant at once, and finished images are replaced by waiting ones, so the compiled loop always
    works on a full batch.

    **Reference**: Carlini and Wagner 2017, sec. V and VI; Dissertation, ch. 2.2 and 3.4.3.

    **Differs from the paper**: early abort acts per image, not per batch. Black and white pixels
    start 0.0005 inside the range, not 5e-7, so that they can move from the first step (with 100
    iterations the changes are a tenth shorter, with 1,000 the same); the distance is measured from
    the image itself. The last search step does not repeat the best constant, which for a
    deterministic model would find the same again. An image that already meets the success test is
    returned unchanged. As published, the untargeted search descends towards the runner-up class,
    which is not always the nearest.

    Args:
        norm: ``"linf"`` or ``"l2"``, of epsilon.
        epsilon_mode: ``"rescale"`` or ``"clip"``; see ``MinimalAttack``.
        confidence: Kappa, the margin of logits by which the wrong class must win, also in the
            test of success.
        learning_rate: Rate of Adam, in tanh space.
        binary_search_steps: Number of constants tried.
        max_iterations: Adam steps for each constant.
        initial_const: First constant c; tenfold until a success, then bisected.
        abort_early: Whether to stop with a constant when the loss has not fallen by 0.01 % within a
            tenth of ``max_iterations``.

    Example:
        import numpy as np
        from attacks.carlini_wagner import CarliniWagner
        from models.classifiers import classifier_a

        classifier = classifier_a((28, 28, 1), width=0.125)
        images = np.random.default_rng(0).random((4, 28, 28, 1), dtype="float32")
        labels = np.argmax(classifier(images), axis=1)
        attack = CarliniWagner(initial_const=1.0, max_iterations=100)
        nearest = attack.minimal_perturbation(classifier, images, labels)
        int(np.sum(np.argmax(classifier(nearest), axis=1) == labels))  # 0
    """

    name: ClassVar[str] = "carlini_wagner"

    confidence: float = 0.0
    learning_rate: float = 5e-3
    binary_search_steps: int = 5
    max_iterations: int = 1000
    initial_const: float = 1e-2
    abort_early: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_search_fields(self)

    def num_gradients(self) -> int:
        """Returns the largest number of gradients per image; early abort saves some."""
        return int(self.binary_search_steps * self.max_iterations)

    def _minimal(
        self, victim: AttackedModel, job: Job, reseed: Callable[[int], None]
    ) -> np.ndarray:
        """Returns the results of all searches; finished ones are replaced by waiting images."""
        reseed(0)
        search = self._compiled(victim, job)
        logits = victim.predict(job.images, job.batch_size)
        waiting = np.flatnonzero(~search.succeeds(logits, job.goal_labels))
        results = job.images.copy()
        num_done = len(results) - len(waiting)
        rows, state, alive = np.array([], np.int64), None, len(waiting) == 0
        _, _, filled = next(padded_batches(len(results), job.batch_size))
        while len(rows) or len(waiting):
            room = job.batch_size - len(rows)
            fresh, waiting = waiting[:room], waiting[room:]
            rows = np.concatenate([rows, fresh])
            state = search.refill(state, job.images[fresh], job.goal_labels[fresh])
            with missing_gradients_explained(self.name):
                state = search.run(state, len(filled))
            done = state.done
            if state.broken.any():
                raise AttackFailedError.not_finite(self.name)
            alive = alive or bool(state.has_gradient.any())
            results[rows[done]] = state.best_images[done]
            state, rows = search.keep(state, ~done), rows[~done]
            num_done += int(done.sum())
            job.report(num_done)
        if not alive:
            raise AttackFailedError.no_gradient(self.name, "zero in every pixel of every image")
        return results

    def _compiled(self, victim: AttackedModel, job: Job) -> Search:
        """Returns the compiled search for this model, these settings and this image size."""
        key = (self, job.targeted, job.images.shape[1:])
        if key not in victim.compiled:
            victim.compiled[key] = Search(
                victim,
                job.images.shape[1:],
                targeted=job.targeted,
                confidence=float(self.confidence),
                learning_rate=float(self.learning_rate),
                binary_search_steps=int(self.binary_search_steps),
                max_iterations=int(self.max_iterations),
                initial_const=float(self.initial_const),
                abort_early=bool(self.abort_early),
            )
        return victim.compiled[key]


def check_search_fields(attack: Any) -> None:
    """Raises a ValueError unless the six settings of the search are in range."""
    for field, limits in (
        ("confidence", {"at_least": 0.0, "at_most": 1e6, "such_as": 0.0}),
        ("learning_rate", {"above": 0.0, "at_most": 100.0, "such_as": 0.005}),
        ("initial_const", {"at_least": 1e-10, "at_most": 1e10, "such_as": 0.01}),
    ):
        check_number(f"{field} of {attack.name}", getattr(attack, field), **limits)
    for field, usual in (("binary_search_steps", 5), ("max_iterations", 1000)):
        check_integer(
            f"{field} of {attack.name}", getattr(attack, field), at_least=1, such_as=usual
        )
    check_integer(
        f"binary_search_steps * max_iterations of {attack.name}",
        attack.binary_search_steps * attack.max_iterations,
        at_most=MOST_GRADIENTS,
        such_as=5000,
    )
    check_flag(f"abort_early of {attack.name}", attack.abort_early)
