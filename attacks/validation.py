"""Checks of an attack's arguments and of the attacked model, with their error messages."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable

import numpy as np

from validation import check_images, check_integer, check_labels

DEFAULT_BATCH_SIZE = 128


class AttackFailedError(ValueError):
    """Raised when an attack could not work, which would be mistaken for robustness.

    A zero gradient causes no error: the attack returns clean images, and the model seems robust.
    See Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security", 2018.
    """

    @classmethod
    def nothing_changed(
        cls, attack_name: str, epsilon: float | None, num_images: int
    ) -> AttackFailedError:
        """Returns the error for an attack that changed no image.

        Args:
            attack_name: Name of the attack.
            epsilon: The budget of the attack.
            num_images: Number of images that were not adversarial before the attack.
        """
        return cls(
            f"{attack_name} at epsilon {epsilon} expected to change at least one of the "
            f"{num_images} images that were not yet adversarial, and changed none. Likely causes: "
            "the gradient of the model is zero (a saturated or rounded output, a step that is not "
            "differentiable); the model ends in a softmax and should return logits; a purifier "
            "before the classifier is not differentiable (attack it with BPDA, or obliviously "
            "through the classifier alone); or the search is too short (raise num_steps, "
            "max_iterations or initial_const). Do not report this model as robust."
        )

    @classmethod
    def no_gradient(cls, attack_name: str, detail: str) -> AttackFailedError:
        """Returns the error for a model whose output does not depend on its input.

        Args:
            attack_name: Name of the attack.
            detail: What the attack received instead of a gradient.
        """
        return cls(
            f"{attack_name} expected a gradient of the logits with respect to the images, "
            f"received {detail}. A step of the model does not differentiate (JPEG, rounding, "
            "argmax, NumPy code) or its output is constant. Attack a non-differentiable purifier "
            "with BPDA, or attack the classifier alone."
        )

    @classmethod
    def not_finite(cls, attack_name: str) -> AttackFailedError:
        """Returns the error for a gradient or a result that is NaN or infinite."""
        return cls(
            f"{attack_name} expected finite gradients, received NaN or infinity. Look in the model "
            "for a division by zero, a logarithm or square root of zero, or weights that are NaN."
        )


@dataclasses.dataclass(frozen=True)
class Job:
    """Validated arguments of one attack.

    Args:
        images: ``(num_images, height, width, channels)`` float32 in [0, 1].
        labels: ``(num_images,)`` int64 true labels.
        target_labels: ``(num_images,)`` int64, or ``None`` for an untargeted attack.
        seed: Seed of all random draws.
        batch_size: Images per batch.
        progress: Called with the number of images done, or ``None``.
    """

    images: np.ndarray
    labels: np.ndarray
    target_labels: np.ndarray | None
    seed: int
    batch_size: int
    progress: Callable[[int], None] | None

    @property
    def targeted(self) -> bool:
        """Whether the attack aims at given labels."""
        return self.target_labels is not None

    @property
    def goal_labels(self) -> np.ndarray:
        """The labels to be predicted if targeted, to be avoided if not."""
        return self.labels if self.target_labels is None else self.target_labels

    def report(self, num_done: int) -> None:
        """Tells the caller how many images are done."""
        if self.progress is not None:
            self.progress(num_done)

    def check_labels(self, num_classes: int) -> None:
        """Raises a ValueError unless all labels are classes of the model."""
        for name, labels in (("labels", self.labels), ("target_labels", self.target_labels)):
            if labels is not None:
                check_labels(labels, len(self.images), num_classes, name=name)


def check_epsilon(epsilon: float | None, norm: str, attack_name: str, allows_native: bool) -> None:
    """Raises a ValueError unless epsilon is a budget that the attack accepts.

    Args:
        epsilon: The value to check.
        norm: ``"linf"``, where the budget is at most 1, or ``"l2"``.
        attack_name: Name of the attack, for the message.
        allows_native: Whether ``None``, the minimal perturbation, is allowed.
    """
    if epsilon is None and allows_native:
        return
    largest = 1.0 if norm == "linf" else math.inf
    is_number = isinstance(epsilon, numbers.Real) and not isinstance(epsilon, bool)
    if not is_number or not 0.0 <= float(epsilon) <= largest or math.isinf(float(epsilon)):  # type: ignore[arg-type]
        limits = "in [0, 1]" if norm == "linf" else "at least 0 and finite"
        native = ", or None for the minimal perturbation" if allows_native else ""
        raise ValueError(
            f"Expected epsilon of {attack_name} to be a number {limits}{native}, received "
            f"{epsilon!r}. Budgets are for images in [0, 1]: divide an 8-bit budget by 255."
        )


def validated_job(
    images: np.ndarray,
    labels: np.ndarray,
    target_labels: np.ndarray | None,
    seed: int,
    batch_size: int | None,
    progress: Callable[[int], None] | None,
) -> Job:
    """Returns the arguments of an attack as a ``Job``.

    Args:
        images: ``(num_images, height, width, channels)`` float32 in [0, 1].
        labels: ``(num_images,)`` integers.
        target_labels: ``(num_images,)`` integers or ``None``.
        seed: Non-negative integer.
        batch_size: Positive integer or ``None`` for the default.
        progress: Called with the number of images done, or ``None``.

    Raises:
        ValueError: If one of them is not as described.
    """
    images = check_images(images)
    size = DEFAULT_BATCH_SIZE if batch_size is None else batch_size
    goals = target_labels
    if goals is not None:
        goals = check_labels(goals, len(images), name="target_labels")
    return Job(
        images=images,
        labels=check_labels(labels, len(images)),
        target_labels=goals,
        seed=check_integer("seed", seed),
        batch_size=check_integer("batch_size", size, at_least=1, such_as=DEFAULT_BATCH_SIZE),
        progress=progress,
    )
