"""FGSM, BIM, PGD and MI-FGSM: CleverHans v4's own functions with corrected defaults.

On TensorFlow these are its TensorFlow functions, on JAX its functions for JAX where it has them;
``attacks.cleverhans_tensorflow`` and ``attacks.cleverhans_jax`` say what was mended.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar

import numpy as np

from attacks.attack import LARGEST_EPSILON, LATER
from attacks.attacked_model import AttackedModel
from attacks.best_point import BestPointAttack, Search, ascent
from attacks.gradient_attack import GradientAttack, cleverhans
from attacks.job import MOST_GRADIENTS
from validation import check_flag, check_integer, check_number

_SMALLEST_STEP = 1e-6
_LARGEST_DECAY = 1e3


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
class _SteepestAscent(BestPointAttack, _IterativeAttack, abc.ABC):
    """Shared by BIM and PGD, which are CleverHans' unless they are restarted or keep their best.

    Then the same steps are taken here, in one compiled loop; random starts are other draws from the
    same ball.

    Args:
        norm: ``"linf"`` or ``"l2"``.
        num_steps: Number of steps.
        step_size: Length of a step.
        num_restarts: Number of runs, of which each image's best result is kept.
        best_point: Whether every point met may be the result, not only the last of a run.
    """

    best_point: bool = dataclasses.field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag(f"best_point of {self.name}", self.best_point)

    def num_gradients(self) -> int:
        """Returns the largest number of gradients per image; restarts skip broken ones."""
        return int(self.num_steps * self.num_restarts)

    def _is_restarted(self) -> bool:
        return bool(self.best_point) or self.num_restarts > 1

    def _search(self, victim: AttackedModel, targeted: bool) -> Search:
        key = ("ascent", self.norm, int(self.num_steps), bool(self.best_point), targeted)
        function = ascent(
            victim,
            norm=self.norm,
            num_steps=int(self.num_steps),
            keeps_steps=bool(self.best_point),
            targeted=targeted,
        )
        program = victim.program(key, function, any_batch_size=True)

        def search(
            images: np.ndarray, labels: np.ndarray, starts: np.ndarray, epsilons: np.ndarray
        ) -> Any:
            lengths = np.array([self.step_for(float(epsilon)) for epsilon in epsilons], np.float32)
            return program(images, labels, starts, epsilons, lengths)

        return search


@dataclasses.dataclass(frozen=True, kw_only=True)
class BIM(_SteepestAscent):
    """The basic iterative method: FGSM in small steps, projected on the ball after each.

    Unless ``best_point`` is set it returns the last point, as CleverHans does: an image that was
    misclassified on the way may be classified rightly at the end.

    **Reference**: Kurakin, Goodfellow and Bengio 2017; Dissertation, ch. 2.2; CleverHans v4
    ``basic_iterative_method``.

    **Differs from the paper**: the step follows epsilon unless given. The papers' constants are
    those of CleverHans 2.1, ``step_size=0.05`` and ``num_steps=10``.

    Args:
        norm: ``"linf"`` or ``"l2"``.
        num_steps: Number of steps.
        step_size: Length of a step, capped at epsilon; ``None``: ``2.5 * epsilon / num_steps``.
        num_restarts: Number of runs; the first starts at the images, each other at a random point
            of the ball, with the images that still stand.
        best_point: Whether the result is each image's best point of all steps and runs: an
            adversarial one before others, then the one of the highest loss.

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

    def _start_is_random(self, restart: int) -> bool:
        return restart > 0

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
class PGD(_SteepestAscent):
    """Projected gradient descent: BIM from a random point of the ball.

    The random start leaves the flat region that a defense may have around each image. As in BIM,
    the last point is returned unless ``best_point`` is set.

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
        num_restarts: Number of runs, each from another start; all but the first attack only images
            that still stand.
        best_point: Whether the result is each image's best point of all steps and runs: an
            adversarial one before others, then the one of the highest loss.

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

    def _start_is_random(self, restart: int) -> bool:
        return bool(self.random_start) or restart > 0

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
