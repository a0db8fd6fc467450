"""Pairs of a clean image and its FGSM copy, made while a purifier is trained on them."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from defenses.adversarial_training import fgsm_images
from defenses.frozen import Frozen, check_source
from defenses.phases import Batch
from defenses.purifier import Purifier
from validation import check_number

__all__ = ["CIFAR10_EPSILON", "FGSMPairs"]

CIFAR10_EPSILON = 8.0 / 255.0
"""Budget with which CAP-GAN and its baselines are trained on CIFAR-10."""


class FGSMPairs(Purifier):
    """A purifier that learns to undo FGSM against the classifier that it protects.

    The copies are made on the fly: the classifier does not change, so they are those that could be
    made beforehand, and an augmented image gets a copy of its own.

    **Reference**: CAP-GAN, sec. IV-A, FGSM with ε = 8 of 255, and all defenses in one codebase.
    **Differs from the paper**: nothing; as for CAP-GAN itself, the true labels are taken and copies
    are clipped to [0, 1].
    """

    batch_keys = ("clean", "label")
    guards_source = True

    def take_source(
        self,
        source_classifier: keras.Model | None,
        epsilon: float,
        input_shape: tuple[int | None, ...],
    ) -> None:
        """Keeps what the copies are made with, unseen by Keras.

        Args:
            source_classifier: Trained classifier that returns logits; ``None`` for a purifier that
                only purifies.
            epsilon: Largest change of a pixel, in [0, 1].
            input_shape: ``(batch, height, width, channels)`` of the purifier.

        Raises:
            ValueError: If the classifier returns no logits or reads other images, or ``epsilon`` is
                out of range.
        """
        check_source(source_classifier, input_shape)
        check_number("epsilon", epsilon, at_least=0, at_most=1, such_as=0.03)
        self._source = Frozen(source_classifier)
        self.epsilon = float(epsilon)

    @property
    def source_classifier(self) -> keras.Model | None:
        """The frozen classifier that training uses, if there is one."""
        return self._source.network

    @property
    def num_classes(self) -> int | None:
        """Number of classes of the source classifier, if there is one."""
        source = self.source_classifier
        return None if source is None else int(source.output_shape[-1])

    def teacher(self) -> keras.Model:
        """The source classifier, which training needs.

        Raises:
            ValueError: If there is none.
        """
        if self.source_classifier is None:
            kind = type(self).__name__
            raise ValueError(
                f"Expected a source classifier for training, received None. Build {kind} with "
                "source_classifier=..., on the networks of a loaded one if need be."
            )
        return self.source_classifier

    def paired(self, batch: Batch) -> Batch:
        """Adds its FGSM copy to each image of a batch.

        Args:
            batch: ``"clean"``: images in [0, 1]; ``"label"``: integers ``(batch,)``.

        Returns:
            The batch with ``"adversarial"``, at most ``epsilon`` from ``"clean"``, in [0, 1]; the
            same batch if it has them.

        Raises:
            ValueError: If there is no source classifier.
        """
        if "adversarial" in batch:
            return batch
        clean = ops.convert_to_tensor(batch["clean"])
        adversarial = fgsm_images(self.teacher(), clean, batch["label"], self.epsilon)
        return {**batch, "clean": clean, "adversarial": adversarial}

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the purifier, its networks included, its source classifier not."""
        return {**super().get_config(), "epsilon": self.epsilon}
