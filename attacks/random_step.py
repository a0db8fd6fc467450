"""RAND+FGSM: a random step, then FGSM with the rest of the budget."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from attacks.attacked_model import AttackedModel
from attacks.gradient_attack import GradientAttack, cleverhans
from validation import check_choice, check_number


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandFGSM(GradientAttack):
    """Steps ``random_share * epsilon`` to a random corner first, then uses FGSM for the rest.

    The random step leaves the neighbourhood where a defended classifier may mask its gradient.
    Defense-VAE trains on such images.

    **Reference**: Tramer et al. 2018; Defense-VAE, its training set.

    **Differs from the paper**: the random step is a share of epsilon, where the reference has
    0.05 for every epsilon; ``random_share = 0.05 / epsilon`` is the reference.

    Args:
        norm: ``"linf"`` only; the corners are those of its ball.
        random_share: Length of the random step as a share of epsilon, above 0 and below 1.

    Example:
        import numpy as np
        from attacks.random_step import RandFGSM
        from models.classifiers import classifier_a

        classifier = classifier_a((28, 28, 1), width=0.125)
        images, labels = np.full((4, 28, 28, 1), 0.5, "float32"), np.arange(4)
        adversarial_images = RandFGSM()(classifier, images, labels, epsilon=0.1)
        round(float(np.abs(adversarial_images - images).max()), 3)  # 0.1
    """

    name: ClassVar[str] = "rand_fgsm"

    random_share: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(f"norm of {self.name}", self.norm, ["linf"])
        check_number(
            f"random_share of {self.name}", self.random_share, above=0.0, below=1.0, such_as=0.25
        )

    def _start(
        self,
        victim: AttackedModel,
        images: np.ndarray,
        labels: np.ndarray,
        epsilon: float,
        seed: int,
    ) -> np.ndarray:
        return cleverhans().random_corner(seed, images, float(self.random_share) * epsilon)

    def _call_cleverhans(
        self,
        victim: AttackedModel,
        images: np.ndarray,
        labels: np.ndarray,
        epsilon: float,
        settings: dict[str, Any],
        seed: int,
    ) -> np.ndarray:
        start = self._start(victim, images, labels, epsilon, seed)
        rest = (1 - float(self.random_share)) * epsilon
        return cleverhans().fast_gradient_method(victim, start, labels, rest, **settings)
