"""FGSM, BIM, PGD and MI-FGSM: CleverHans v4's own functions with corrected defaults.

On TensorFlow these are its TensorFlow functions, on JAX its functions for JAX where it has them;
``attacks.cleverhans_tensorflow`` and ``attacks.cleverhans_jax`` say what was mended.
"""

from __future__ import annotations

import abc
import dataclasses
import importlib
from typing import Any, ClassVar

import keras
import numpy as np

from attacks.attack import LARGEST_EPSILON, Attack
from attacks.attacked_model import (
    AttackedModel,
    batch_seed,
    missing_gradients_explained,
    padded_batches,
)
from attacks.job import MOST_GRADIENTS, AttackFailedError, Job
from validation import check_flag, check_integer, check_number

_CHANGED_SHARE = 0.01
"""An attack that moves an image by less than this share of its budget has not used it."""
_SMALLEST_STEP = 1e-6
_LARGEST_DECAY = 1e3


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


def cleverhans() -> Any:
    """Returns the module of CleverHans' functions on the present backend."""
    return importlib.import_module(f"attacks.cleverhans_{keras.backend.backend()}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FGSM(GradientAttack):
    """The fast gradient sign method: one step of length epsilon up the loss.

    Cheap and weak: robustness to this attack alone means little.

    **Reference**: Goodfellow, Shlens and Szegedy 2015; Dissertation, ch. 2.2; CleverHans v4
    ``fast_gradient_method``.

    **Differs from the paper**: nothing; the result is clipped to [0, 1].

    Args:
        norm: ``"linf"`` or ``"l2"``.

    Example:
        import numpy as np
        from attacks.gradient import FGSM
        from models.classifiers import classifier_a

        classifier = classifier_a((28, 28, 1), width=0.125)
        images, labels = np.full((4, 28, 28, 1), 0.5, "float32"), np.arange(4)
        adversarial_images = FGSM()(classifier, images, labels, epsilon=0.1)
        round(float(np.abs(adversarial_images - images).max()), 3)  # 0.1
    """

    name: ClassVar[str] = "fgsm"

    def _call_cleverhans(
        self,
        victim: AttackedModel,
        images: np.ndarray,
        labels: np.ndarray,
        epsilon: float,
        settings: dict[str, Any],
        seed: int,
    ) -> np.ndarray:
        return cleverhans().fast_gradient_method(victim, images, labels, epsilon, **settings)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _IterativeAttack(GradientAttack):
    """Shared by the attacks that take several steps.

    Args:
        norm: ``"linf"`` or ``"l2"``.
        num_steps: Number of steps, in [1, 100,000].
        step_size: Length of a step, at least 1e-6 and in the range of epsilon. ``None`` is
            ``2.5 * epsilon / num_steps``, so that the border of the ball is reached from anywhere
            in it for every epsilon. Either is capped at epsilon, as CleverHans requires: a longer
            step would be projected on the ball anyway.
    """

    num_steps: int = 10
    step_size: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer(
            f"num_steps of {self.name}",
            self.num_steps,
            at_least=1,
            at_most=MOST_GRADIENTS,
            such_as=type(self).num_steps,
        )
        if self.step_size is not None:
            check_number(
                f"step_size of {self.name}",
                self.step_size,
                at_least=_SMALLEST_STEP,
                at_most=LARGEST_EPSILON[self.norm],
                such_as="0.01, or None for one that follows epsilon; divide 8-bit steps by 255",
            )

    def num_gradients(self) -> int:
        """Returns the number of gradients per image."""
        return int(self.num_steps)

    def step_for(self, epsilon: float) -> float:
        """Returns the length of a step for a budget; see the class."""
        step = 2.5 * epsilon / self.num_steps if self.step_size is None else float(self.step_size)
        return min(step, epsilon)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BIM(_IterativeAttack):
    """The basic iterative method: FGSM in small steps, projected on the ball after each.

    It returns the last point, as CleverHans does, not the best one met: an image that was
    misclassified on the way may be classified rightly at the end.

    **Reference**: Kurakin, Goodfellow and Bengio 2017; Dissertation, ch. 2.2; CleverHans v4
    ``basic_iterative_method``.

    **Differs from the paper**: the step follows epsilon unless given. The papers' constants are
    those of CleverHans 2.1, ``step_size=0.05`` and ``num_steps=10``.

    Args:
        norm: ``"linf"`` or ``"l2"``.
        num_steps: Number of steps.
        step_size: Length of a step, capped at epsilon; ``None``: ``2.5 * epsilon / num_steps``.

    Example:
        import numpy as np
        from attacks.gradient import BIM
        from models.classifiers import classifier_a

        classifier = classifier_a((28, 28, 1), width=0.125)
        images, labels = np.full((4, 28, 28, 1), 0.5, "float32"), np.arange(4)
        adversarial_images = BIM(num_steps=5)(classifier, images, labels, epsilon=0.1)
        round(float(np.abs(adversarial_images - images).max()), 3)  # 0.1
    """

    name: ClassVar[str] = "bim"

    def _call_cleverhans(
        self,
        victim: AttackedModel,
        images: np.ndarray,
        labels: np.ndarray,
        epsilon: float,
        settings: dict[str, Any],
        seed: int,
    ) -> np.ndarray:
        return cleverhans().basic_iterative_method(
            victim,
            images,
            labels,
            epsilon,
            step_size=self.step_for(epsilon),
            num_steps=int(self.num_steps),
            **settings,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PGD(_IterativeAttack):
    """Projected gradient descent: BIM from a random point of the ball.

    The random start leaves the flat region that a defense may have around each image. As in BIM,
    the last point is returned, not the best one met.

    **Reference**: Madry et al. 2018; Dissertation, ch. 2.2; CleverHans v4
    ``projected_gradient_descent``.

    **Differs from the paper**: the step follows epsilon unless given. The papers' constants are
    those of CleverHans 2.1's ``MadryEtAl``, ``step_size=0.01`` and ``num_steps=40``. The start is
    uniform in the ball of radius epsilon (CleverHans' ``madry_et_al`` has 0.3 for every epsilon).
    CleverHans draws it from TensorFlow's global generator; here its function draws the same
    numbers, those after ``tf.random.set_seed``, without touching that generator.

    Args:
        norm: ``"linf"`` or ``"l2"``.
        num_steps: Number of steps.
        step_size: Length of a step, capped at epsilon; ``None``: ``2.5 * epsilon / num_steps``.
        random_start: Whether to start at a random point of the ball; False makes it BIM.

    Example:
        import numpy as np
        from attacks.gradient import PGD
        from models.classifiers import classifier_a

        classifier = classifier_a((28, 28, 1), width=0.125)
        images, labels = np.full((4, 28, 28, 1), 0.5, "float32"), np.arange(4)
        adversarial_images = PGD(num_steps=5)(classifier, images, labels, epsilon=0.1)
        round(float(np.abs(adversarial_images - images).max()), 3)  # 0.1
    """

    name: ClassVar[str] = "pgd"

    num_steps: int = 40
    random_start: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag(f"random_start of {self.name}", self.random_start)

    def _call_cleverhans(
        self,
        victim: AttackedModel,
        images: np.ndarray,
        labels: np.ndarray,
        epsilon: float,
        settings: dict[str, Any],
        seed: int,
        num_steps: int | None = None,
    ) -> np.ndarray:
        return cleverhans().projected_gradient_descent(
            victim,
            images,
            labels,
            epsilon,
            step_size=self.step_for(epsilon),
            num_steps=int(self.num_steps) if num_steps is None else num_steps,
            seed=seed if self.random_start else None,
            **settings,
        )

    def _start(
        self,
        victim: AttackedModel,
        images: np.ndarray,
        labels: np.ndarray,
        epsilon: float,
        seed: int,
    ) -> np.ndarray:
        if not self.random_start:
            return images
        settings = {"norm": self.norm, "targeted": False}
        return self._call_cleverhans(victim, images, labels, epsilon, settings, seed, num_steps=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MIFGSM(_IterativeAttack):
    """Momentum iterative FGSM: BIM along a running sum of normalised gradients.

    Momentum smooths out gradients peculiar to one model, so the images transfer better.

    **Reference**: Dong et al. 2018; CleverHans v4 ``momentum_iterative_method``.

    **Differs from the paper**: gradients are divided by their mean absolute value, not by their
    L1 norm, as CleverHans does: the same direction, another unit.

    Args:
        norm: ``"linf"`` or ``"l2"``.
        num_steps: Number of steps.
        step_size: Length of a step, capped at epsilon; ``None``: ``2.5 * epsilon / num_steps``.
        decay_factor: Weight mu of the past gradients; 0 makes it BIM.

    Example:
        import numpy as np
        from attacks.gradient import MIFGSM
        from models.classifiers import classifier_a

        classifier = classifier_a((28, 28, 1), width=0.125)
        images, labels = np.full((4, 28, 28, 1), 0.5, "float32"), np.arange(4)
        adversarial_images = MIFGSM(num_steps=5)(classifier, images, labels, epsilon=0.1)
        round(float(np.abs(adversarial_images - images).max()), 3)  # 0.1
    """

    name: ClassVar[str] = "mi_fgsm"
    has_momentum: ClassVar[bool] = True

    num_steps: int = 20
    decay_factor: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(
            f"decay_factor of {self.name}",
            self.decay_factor,
            at_least=0.0,
            at_most=_LARGEST_DECAY,
            such_as=1.0,
        )

    def _call_cleverhans(
        self,
        victim: AttackedModel,
        images: np.ndarray,
        labels: np.ndarray,
        epsilon: float,
        settings: dict[str, Any],
        seed: int,
    ) -> np.ndarray:
        return cleverhans().momentum_iterative_method(
            victim,
            images,
            labels,
            epsilon,
            step_size=self.step_for(epsilon),
            num_steps=int(self.num_steps),
            decay_factor=float(self.decay_factor),
            **settings,
        )
