"""HGD: a denoiser that is taught by the classifier's answers, not by pixels."""

from __future__ import annotations

from typing import Any, Self

import keras
from keras import ops

from defenses.fgsm_pairs import CIFAR10_EPSILON, FGSMPairs
from defenses.losses import check_same_shape, full_precision
from defenses.phases import Batch, Losses, Phase, step_objective
from defenses.purifier import check_functional
from defenses.registry import register
from models.dunet import dunet

__all__ = ["HGD", "logits_distance_loss"]


def logits_distance_loss(logits: Any, guided_logits: Any) -> Any:
    """Absolute difference of two answers of a classifier, averaged over the classes.

    **Reference**: Liao et al., "Defense against Adversarial Attacks Using High-Level Representation
    Guided Denoiser", 2018, the loss with the logits as the representation (LGD).
    **Differs from the paper**: it writes a norm, which sums; the public code averages.

    Args:
        logits: ``(batch, classes)`` for clean images, any range.
        guided_logits: The same for denoised images.

    Returns:
        ``(batch,)``, at least 0; 0 exactly where the answers are one.
    """
    check_same_shape(logits=logits, guided_logits=guided_logits)
    logits, guided_logits = full_precision(logits, guided_logits)
    return ops.mean(ops.abs(guided_logits - logits), axis=-1)


@register("hgd")
@keras.saving.register_keras_serializable(package="cleanroom")
class HGD(FGSMPairs):
    """Purifies by adding what a U-Net takes for the negative of the perturbation.

    The network is trained so that the protected classifier answers to the denoised image as to the
    clean one. No loss compares pixels: a small error of these can grow from layer to layer of the
    classifier, which this loss sees.

    **Reference**: Liao et al., "Defense against Adversarial Attacks Using High-Level Representation
    Guided Denoiser", 2018, the logits guided denoiser LGD, and its public code; the baseline HGD of
    CAP-GAN, sec. IV, Tables I to IV.

    **Differs from the paper**: which of its three losses CAP-GAN compares with is not said; it is
    LGD, which needs no choice of a layer. The sum of image and change is clipped to [0, 1], in
    training as in use, since the networks between which it stands exchange such images. Adversarial
    images are made on the fly, by FGSM against the classifier that is protected, with the budget
    that CAP-GAN prints, where the paper mixes stored attacks on several networks. As there, clean
    images are only the classifier's target, never the denoiser's input. The optimizer is Adam with
    rate 0.001, a tenth of the public code's; it falls as the schedule of a training says.

    Args:
        denoiser: Images to what is added to them, of the same shape, from ``dunet``.
        source_classifier: Trained classifier that returns logits, the one to be defended. Training
            asks it and does not update it; purifying does not need it, and a saved purifier does
            not contain it.
        epsilon: Largest change of a pixel by the attack, in [0, 1].
        **kwargs: Name and dtype, as of any model.

    Raises:
        ValueError: If the denoiser does not keep the shape, or a number is out of range.

    Example:
        import numpy as np
        from defenses.hgd import HGD
        from models import build_classifier

        images = np.random.default_rng(0).random((8, 28, 28, 1), dtype="float32")
        source = build_classifier("A", (28, 28, 1), width=0.125)
        purifier = HGD.for_images((28, 28, 1), width=0.125, source_classifier=source)
        purifier.compile()
        purifier.fit({"clean": images, "label": np.arange(8)}, batch_size=4, verbose=0)
        purifier.purify(images).shape  # (8, 28, 28, 1)
    """

    network_names = ("denoiser",)
    loss_names = ("loss",)

    def __init__(
        self,
        denoiser: keras.Model,
        *,
        source_classifier: keras.Model | None = None,
        epsilon: float = CIFAR10_EPSILON,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_functional(denoiser=denoiser)
        if denoiser.input_shape != denoiser.output_shape:
            raise ValueError(
                "Expected a denoiser from images to changes of the same shape, received one from "
                f"{denoiser.input_shape} to {denoiser.output_shape}. Build it with models.dunet."
            )
        self.take_source(source_classifier, epsilon, denoiser.input_shape)
        self.denoiser = denoiser
        self.finish_building()

    @classmethod
    def for_images(
        cls,
        input_shape: tuple[int, int, int],
        num_classes: int = 10,
        *,
        width: float = 1.0,
        seed: int = 0,
        **arguments: Any,
    ) -> Self:
        """Builds DUNET and the purifier on it.

        Args:
            input_shape: ``(height, width, channels)``.
            num_classes: Not used; the source classifier knows them.
            width: Factor on every hidden channel count.
            seed: Seeds weights.
            **arguments: Passed on to the constructor, such as ``source_classifier``.

        Returns:
            A built purifier.
        """
        del num_classes
        return cls(dunet(input_shape, width=width, seed=seed), **arguments)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(height, width, channels)`` of the images."""
        return tuple(self.denoiser.input_shape[1:])

    def call(self, images: Any, training: bool = False) -> Any:
        """Purifies images; see the base class for shapes and ranges."""
        return ops.clip(images + self.denoiser(images, training=training), 0.0, 1.0)

    def guided_losses(self, batch: Batch, training: bool = True) -> Losses:
        """The loss of one batch (Liao et al., 2018, LGD).

        Args:
            batch: As of ``paired``.
            training: Whether the denoiser's batch statistics are those of the batch; the source
                classifier's never are.

        Returns:
            The batch mean ``"loss"``, a scalar of at least 0.
        """
        batch, source = self.paired(batch), self.teacher()
        wanted = ops.stop_gradient(source(batch["clean"], training=False))
        denoised = self.call(batch["adversarial"], training=training)
        answers = source(denoised, training=False)
        return {"loss": ops.mean(logits_distance_loss(wanted, answers))}

    def phases(self) -> list[Phase]:
        """One phase: one update of the denoiser; the source classifier stays fixed."""
        variables = self.denoiser.trainable_variables
        return [Phase("hgd", self.guided_losses, variables, self.optimizer)]

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update of the denoiser (Liao et al., 2018, LGD).

        1. Take a batch of clean images x with their labels y.
        2. Make the adversarial images x_adv = x + ε · sign ∇_x L(f(x), y) of the source classifier.
        3. Denoise them: x^ = clip(x_adv + dx(x_adv)).
        4. Ask the source classifier for f(x) and f(x^), in inference mode.
        5. Take the mean of |f(x^) − f(x)| over classes and images.
        6. Update the denoiser by a gradient step; f passes the gradient and is not updated.

        Args:
            data: A batch with the keys ``"clean"`` and ``"label"``.

        Returns:
            The running epoch mean of the loss.
        """
        import tensorflow as tf

        batch = self.paired(self.read_batch(data))  # 1 and 2
        with tf.GradientTape() as tape:
            losses = self.guided_losses(batch, training=True)  # 3 to 5
            objective = step_objective(losses["loss"], self.optimizer)
        variables = self.denoiser.trainable_variables
        gradients = tape.gradient(objective, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.track(losses, batch, "hgd")
        return self.tracked_losses()
