"""What an attack is asked for, what it returns, and when it has failed."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from validation import check_images, check_integer, check_labels

DEFAULT_BATCH_SIZE = 128
MOST_GRADIENTS = 100_000
"""The largest number of gradients on one image that an attack may be asked for."""

_CAUSES = (
    "Likely causes: the gradient of the model is zero (logits so steep that the softmax saturates, "
    "a rounded output, a step that is not differentiable) or NaN; the model ends in a softmax and "
    "should return logits; a purifier before the classifier is not differentiable (attack it with "
    "BPDA, or obliviously through the classifier alone); or the search is too short (raise "
    "step_size, num_steps, max_iterations or initial_const). Saturated logits are mended by a "
    "keras.layers.Rescaling behind them, or attacked by apgd with the loss 'margin' or by "
    "carlini_wagner, whose losses do not saturate. Do not report this model as robust."
)


class UnattackedImagesWarning(UserWarning):
    """Some images were not attacked, so that their right labels say nothing of robustness."""


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
            f"Expected {attack_name} at epsilon {epsilon} to change at least one of the "
            f"{num_images} images that are not yet adversarial, received a result that changed "
            f"none. {_CAUSES}"
        )

    @classmethod
    def too_many_unattacked(
        cls,
        attack_name: str,
        epsilon: float | None,
        num_unattacked: int,
        num_images: int,
        tolerated: float,
    ) -> AttackFailedError:
        """Returns the error for an attack that had no gradient on too many images.

        Args:
            attack_name: Name of the attack.
            epsilon: The budget of the attack.
            num_unattacked: Number of images that it did not move.
            num_images: Number of all images.
            tolerated: The share of them that would be no error.
        """
        return cls(
            f"Expected {attack_name} at epsilon {epsilon} to move every image that is not yet "
            f"adversarial, received {num_unattacked} of {num_images} where it started, more than "
            f"the {tolerated:.1%} that are tolerated; images without a gradient at the start count "
            f"among them, though chance may have moved them. {_CAUSES}"
        )

    @classmethod
    def no_gradient(cls, attack_name: str, detail: str) -> AttackFailedError:
        """Returns the error for a model whose output does not depend on its input.

        Args:
            attack_name: Name of the attack.
            detail: What the attack received instead of a gradient.
        """
        return cls(
            f"Expected for {attack_name} a gradient of the logits with respect to the images, "
            f"received {detail}. A step of the model does not differentiate (JPEG, rounding, "
            "argmax, NumPy code) or its output is constant. Attack a non-differentiable purifier "
            "with BPDA, or attack the classifier alone."
        )

    @classmethod
    def not_finite(cls, attack_name: str) -> AttackFailedError:
        """Returns the error for a gradient or a result that is NaN or infinite."""
        return cls(
            f"Expected for {attack_name} finite gradients, received NaN or infinity. Look in the "
            "model for a division by zero, a logarithm or square root of zero, or weights that are "
            "NaN."
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
        queries: By budget, how often the model was asked for each image, ``(num_images,)`` int64;
            an attack that counts its queries fills it in.
    """

    images: np.ndarray
    labels: np.ndarray
    target_labels: np.ndarray | None
    seed: int
    batch_size: int
    progress: Callable[[int], None] | None
    queries: dict[float | None, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def targeted(self) -> bool:
        """Whether the attack aims at given labels."""
        return self.target_labels is not None

    @property
    def goal_labels(self) -> np.ndarray:
        """The labels to be predicted if targeted, to be avoided if not."""
        return self.labels if self.target_labels is None else self.target_labels

    def fooled_by(self, logits: np.ndarray) -> np.ndarray:
        """Returns ``(num_images,)`` booleans: whether images with these logits are adversarial."""
        return (logits.argmax(axis=1) == self.goal_labels) == self.targeted

    def report(self, num_done: int) -> None:
        """Tells the caller how many images are done."""
        if self.progress is not None:
            self.progress(num_done)

    def check_labels(self, num_classes: int) -> None:
        """Raises a ValueError unless all labels are classes of the model."""
        for name, labels in (("labels", self.labels), ("target_labels", self.target_labels)):
            if labels is not None:
                check_labels(labels, len(self.images), num_classes, name=name)


@dataclasses.dataclass(frozen=True)
class AttackResult:
    """What an attack made of a set of images for one budget.

    Args:
        adversarial_images: ``(num_images, height, width, channels)`` float32 in [0, 1].
        unmoved: ``(num_images,)`` booleans: neither adversarial, before or after, nor moved from
            where the search started. For an attack that searches minimal perturbations these are
            the images for which it found none.
        unattacked: ``(num_images,)`` booleans: those of them that say nothing of robustness, since
            there was no gradient to follow. Of a gradient attack these are the unmoved ones, and
            those that are classified rightly still and had a gradient of exactly zero, or NaN,
            where the search started, even if chance moved them later.
        num_queries: ``(num_images,)`` int64: how often an attack by queries, such as Square, asked
            the model for each image; zeros of an attack that does not count.
    """

    adversarial_images: np.ndarray
    unmoved: np.ndarray
    unattacked: np.ndarray
    num_queries: np.ndarray

    @classmethod
    def of_clean(cls, images: np.ndarray) -> AttackResult:
        """Returns the result of an attack without a budget to spend: a copy of the images."""
        count = len(images)
        nothing = np.zeros(count, bool)
        return cls(images.copy(), nothing, nothing.copy(), np.zeros(count, np.int64))

    def put(self, rows: np.ndarray, result: AttackResult) -> None:
        """Takes over the first images of another result as those at ``rows``."""
        for field in dataclasses.fields(self):
            getattr(self, field.name)[rows] = getattr(result, field.name)[: len(rows)]

    def check(self, attack_name: str, epsilon: float | None, tolerated: float | None) -> None:
        """Raises an AttackFailedError if too many of the images were not attacked.

        Args:
            attack_name: Name of the attack, for the message.
            epsilon: The budget, for the message.
            tolerated: The share that is not too many, or ``None`` for that of ``tolerated_share``.
        """
        count, total = int(self.unattacked.sum()), len(self.unattacked)
        share = tolerated_share(total) if tolerated is None else tolerated
        if count > share * total:
            raise AttackFailedError.too_many_unattacked(attack_name, epsilon, count, total, share)


def tolerated_share(num_images: int) -> float:
    """Returns the share of unattacked images up to which an accuracy is still worth its name.

    Two standard deviations of an accuracy measured on so many images.
    """
    return 2.0 * math.sqrt(0.25 / num_images)


def warn_of_unattacked(
    attack_name: str, results: Mapping[float | None, AttackResult], stacklevel: int
) -> None:
    """Warns of budgets at which some images were not attacked."""
    counts = {e: int(result.unattacked.sum()) for e, result in results.items()}
    total = len(next(iter(results.values())).unattacked)
    found = [
        f"{count} of {total} at epsilon {epsilon}" for epsilon, count in counts.items() if count
    ]
    if found:
        warnings.warn(
            f"Expected {attack_name} to move every image that is not yet adversarial, received "
            f"{', '.join(found)} unmoved, or moved by chance alone, as their gradient is zero or "
            "NaN where the search started. Count them neither as robust nor as fooled: attack.run "
            "tells which they are.",
            UnattackedImagesWarning,
            stacklevel=stacklevel + 1,
        )


def validated_job(
    images: np.ndarray,
    labels: np.ndarray,
    target_labels: np.ndarray | None,
    seed: int,
    batch_size: int | None,
    progress: Callable[[int], None] | None,
    image_shape: Sequence[int | None] | None = None,
) -> Job:
    """Returns the arguments of an attack as a ``Job``.

    Args:
        images: ``(num_images, height, width, channels)`` float32 in [0, 1].
        labels: ``(num_images,)`` or ``(num_images, 1)`` integers.
        target_labels: Labels of the same kind, none of them the true one, or ``None``.
        seed: Non-negative integer.
        batch_size: Positive integer or ``None`` for the default.
        progress: Called with the number of images done, or ``None``.
        image_shape: ``(height, width, channels)`` of the model, or ``None`` if it takes any.

    Raises:
        ValueError: If one of them is not as described.
    """
    images = check_images(images, image_shape)
    labels = check_labels(labels, len(images))
    size = DEFAULT_BATCH_SIZE if batch_size is None else batch_size
    goals = target_labels
    if goals is not None:
        goals = check_labels(goals, len(images), name="target_labels")
        if num_equal := int((goals == labels).sum()):
            raise ValueError(
                f"Expected target_labels other than the true labels, received {num_equal} of "
                f"{len(images)} that are equal to them. Nothing has to change for those images: "
                "leave them out, or draw another class, such as (labels + 1) % num_classes."
            )
    if progress is not None and not callable(progress):
        raise ValueError(
            f"Expected progress to be a function of the number of images done, received "
            f"{progress!r}. Pass a function, or None."
        )
    return Job(
        images=images,
        labels=labels,
        target_labels=goals,
        seed=check_integer("seed", seed),
        batch_size=check_integer("batch_size", size, at_least=1, such_as=DEFAULT_BATCH_SIZE),
        progress=progress,
    )
