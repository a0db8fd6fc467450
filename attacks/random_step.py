"""RAND+FGSM: a random step, then FGSM with the rest of the budget."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf
from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method

from attacks.attack import require_field
from attacks.attacked_model import AttackedModel
from attacks.gradient import GradientAttack


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
        require_field(self, "norm", self.norm == "linf", "'linf'")
        require_field(self, "random_share", 0.0 < self.random_share < 1.0, "above 0 and below 1")

    def _start(
        self, victim: AttackedModel, images: tf.Tensor, labels: tf.Tensor, epsilon: float, seed: int
    ) -> tf.Tensor:
        normal = tf.random.stateless_normal(images.shape, seed=(seed, 0))
        return tf.clip_by_value(images + self.random_share * epsilon * tf.sign(normal), 0.0, 1.0)

    def _call_cleverhans(
        self,
        victim: AttackedModel,
        images: tf.Tensor,
        epsilon: float,
        settings: dict[str, Any],
        seed: int,
    ) -> tf.Tensor:
        start = self._start(victim, images, settings["y"], epsilon, seed)
        return fast_gradient_method(victim, start, (1 - self.random_share) * epsilon, **settings)
