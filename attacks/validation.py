"""Checks of an attack's arguments and of the attacked model, with their error messages."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable

import numpy as np

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
        for what, labels in (("labels", self.labels), ("target_labels", self.target_labels)):
            if labels is not None and (labels.min() < 0 or labels.max() >= num_classes):
                raise ValueError(
                    f"Expected {what} in [0, {num_classes - 1}] for a model with {num_classes} "
                    f"classes, received values in [{labels.min()}, {labels.max()}]. "
                    "Number the classes from 0 or pass a model with more classes."
                )


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
    images = _checked_images(np.asarray(images))
    size = DEFAULT_BATCH_SIZE if batch_size is None else batch_size
    for what, value, least in (("batch_size", size, 1), ("seed", seed, 0)):
        if not isinstance(value, numbers.Integral) or value < least:
            raise ValueError(
                f"Expected {what} to be an integer of at least {least}, received {value!r}."
            )
    return Job(
        images=images,
        labels=_checked_labels("labels", labels, len(images)),
        target_labels=(
            None
            if target_labels is None
            else _checked_labels("target_labels", target_labels, len(images))
        ),
        seed=int(seed),
        batch_size=int(size),
        progress=progress,
    )


def _checked_images(images: np.ndarray) -> np.ndarray:
    """Returns the images; raises unless they are float32 NHWC in [0, 1]."""
    if images.ndim != 4 or images.size == 0:
        raise ValueError(
            "Expected images of shape (num_images, height, width, channels) with at least one "
            f"image, received shape {images.shape}. Add a batch or channel axis with "
            "np.expand_dims."
        )
    if images.dtype != np.float32:
        raise ValueError(
            f"Expected images of dtype float32, received {images.dtype}. Use "
            "images.astype('float32'), and divide 8-bit images by 255."
        )
    if not np.isfinite(images).all():
        raise ValueError(
            f"Expected finite images, received {int((~np.isfinite(images)).sum())} NaN or "
            "infinite pixels. Clean the images first."
        )
    if images.min() < 0.0 or images.max() > 1.0:
        raise ValueError(
            f"Expected images in [0, 1], received values in [{images.min():.6g}, "
            f"{images.max():.6g}]. Divide 8-bit images by 255; rescale [-1, 1] to [0, 1]."
        )
    return images


def _checked_labels(what: str, labels: np.ndarray, num_images: int) -> np.ndarray:
    """Returns labels as int64; raises unless they are one integer per image."""
    array = np.asarray(labels)
    if array.shape != (num_images,) or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"Expected {what} to be integers of shape ({num_images},), one per image, received "
            f"dtype {array.dtype} and shape {array.shape}. Turn one-hot labels into integers "
            "with labels.argmax(axis=-1)."
        )
    return array.astype(np.int64)


def check_logits(logits: np.ndarray, num_images: int) -> int:
    """Returns the number of classes; raises if a model with this output cannot be attacked.

    Args:
        logits: The model's output for a batch.
        num_images: Size of the batch.

    Raises:
        AttackFailedError: If the output is not ``(num_images, classes)``, is not finite, or is
            probabilities, whose gradient nearly vanishes where the model is confident.
    """
    if logits.ndim != 2 or logits.shape[0] != num_images or logits.shape[1] < 2:
        raise AttackFailedError(
            f"Expected a model that returns logits of shape ({num_images}, classes) with at "
            f"least 2 classes, received {logits.shape}. Pass a classifier."
        )
    if not np.isfinite(logits).all():
        raise AttackFailedError(
            "Expected finite logits for clean images, received NaN or infinity. The model's "
            "weights or its normalisation are broken: evaluate it on clean images first."
        )
    if logits.min() >= 0.0 and np.allclose(logits.sum(axis=1), 1.0, atol=1e-4):
        raise AttackFailedError(
            "Expected logits, received non-negative rows that sum to 1: the model ends in a "
            "softmax, whose gradient vanishes where the model is sure, so that it would seem "
            "robust. Remove the last activation, or take the logarithm of the probabilities."
        )
    return int(logits.shape[1])
