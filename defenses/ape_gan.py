"""APE-GAN: adversarial images are mapped to clean ones, against a discriminator."""

from __future__ import annotations

from typing import Any, Self

import keras
from keras import ops

from defenses.adversarial_purifier import AdversarialPurifier
from defenses.fgsm_pairs import CIFAR10_EPSILON, FGSMPairs
from defenses.gan_losses import cross_entropy_discriminator_loss, cross_entropy_generator_loss
from defenses.losses import check_weights, mean_squared_error_loss
from defenses.phases import Batch, Losses, Phase, step_objective
from defenses.purifier import check_functional
from defenses.registry import register
from models.ape_gan import ape_gan_discriminator, ape_gan_generator
from validation import check_integer

__all__ = ["APEGAN"]

MOST_GENERATOR_STEPS = 100


@register("ape_gan")
@keras.saving.register_keras_serializable(package="cleanroom")
class APEGAN(FGSMPairs, AdversarialPurifier):
    """Purifies by one pass through a generator that was trained to undo an attack.

    The generator sees adversarial images and is to return the clean ones, pixel by pixel, and so
    that a discriminator cannot tell them from clean images. The classifier behind it has no part in
    its loss, which leaves what the classifier sees of a remaining perturbation uncontrolled.

    **Reference**: Shen et al., "APE-GAN: Adversarial Perturbation Elimination with GAN", 2017, and
    its public codes; the baseline APE of CAP-GAN, sec. IV, Tables I to IV.

    **Differs from the paper**: the losses are weighted by 0.7 and 0.3, as in the public codes, and
    the squared error is not put under a root, as it is in the authors'. The generator is updated
    twice for each update of the discriminator, as in both codes, whose authors note that the paper
    does not. Adversarial images are made on the fly, by FGSM against the classifier that is
    protected, with the budget that CAP-GAN prints. For the networks see ``models.ape_gan``.

    Args:
        generator: Images to images in [0, 1], from ``ape_gan_generator``.
        discriminator: Images to logits, from ``ape_gan_discriminator``; ``None`` for a purifier
            that only purifies.
        source_classifier: Trained classifier that returns logits, the one to be defended. Training
            attacks it and does not update it; purifying does not need it, and a saved purifier does
            not contain it.
        epsilon: Largest change of a pixel by the attack, in [0, 1].
        reconstruction_weight: Weight of the squared error.
        adversarial_weight: Weight of the cross-entropy of the discriminator's scores.
        num_generator_steps: Updates of the generator for each of the discriminator, at least 1.
        **kwargs: Name and dtype, as of any model.

    Raises:
        ValueError: If the networks do not fit each other or a number is out of range.

    Example:
        import numpy as np
        from defenses.ape_gan import APEGAN
        from models import build_classifier

        images = np.random.default_rng(0).random((8, 28, 28, 1), dtype="float32")
        source = build_classifier("A", (28, 28, 1), width=0.125)
        purifier = APEGAN.for_images((28, 28, 1), width=0.125, source_classifier=source)
        purifier.compile()
        purifier.fit({"clean": images, "label": np.arange(8)}, batch_size=4, verbose=0)
        purifier.purify(images).shape  # (8, 28, 28, 1)
    """

    loss_names = ("discriminator_loss", "generator_loss", "reconstruction_loss", "adversarial_loss")

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model | None = None,
        *,
        source_classifier: keras.Model | None = None,
        epsilon: float = CIFAR10_EPSILON,
        reconstruction_weight: float = 0.7,
        adversarial_weight: float = 0.3,
        num_generator_steps: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check_networks(generator, discriminator)
        check_weights(
            reconstruction_weight=reconstruction_weight, adversarial_weight=adversarial_weight
        )
        check_integer(
            "num_generator_steps",
            num_generator_steps,
            at_least=1,
            at_most=MOST_GENERATOR_STEPS,
            such_as=2,
        )
        self.take_source(source_classifier, epsilon, generator.input_shape)
        self.generator = generator
        self.discriminator: Any = discriminator
        self.reconstruction_weight = float(reconstruction_weight)
        self.adversarial_weight = float(adversarial_weight)
        self.num_generator_steps = int(num_generator_steps)
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
        """Builds the networks of the public codes and the purifier on them.

        Args:
            input_shape: ``(height, width, channels)``; height and width are multiples of 4.
            num_classes: Not used; the source classifier knows them.
            width: Factor on every hidden channel count.
            seed: Seeds weights.
            **arguments: Passed on to the constructor, such as ``source_classifier``.

        Returns:
            A built purifier.
        """
        del num_classes
        generator = ape_gan_generator(input_shape, width=width, seed=seed)
        discriminator = ape_gan_discriminator(input_shape, width=width, seed=seed)
        return cls(generator, discriminator, **arguments)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(height, width, channels)`` of the images."""
        return tuple(self.generator.input_shape[1:])

    def call(self, images: Any, training: bool = False) -> Any:
        """Purifies images; see the base class for shapes and ranges."""
        return self.generator(images, training=training)

    def discriminator_losses(self, batch: Batch, training: bool = True) -> Losses:
        """The loss of the discriminator for one batch; the generated images count as constants.

        Args:
            batch: As of ``paired``.
            training: Whether batch statistics are those of the batch.

        Returns:
            The batch mean ``"loss"``, a scalar of at least 0.
        """
        batch = self.paired(batch)
        fakes = ops.stop_gradient(self.generator(batch["adversarial"], training=training))
        real = self.discriminator(batch["clean"], training=training)
        fake = self.discriminator(fakes, training=training)
        return {"loss": ops.mean(cross_entropy_discriminator_loss(real, fake))}

    def generator_losses(self, batch: Batch, training: bool = True) -> Losses:
        """The losses of the generator for one batch.

        Args:
            batch: As of ``paired``.
            training: Whether batch statistics are those of the batch.

        Returns:
            Batch means: ``"loss"``, weighted, and the unweighted ``"reconstruction_loss"`` and
            ``"adversarial_loss"``; scalars of at least 0.
        """
        batch = self.paired(batch)
        fakes = self.generator(batch["adversarial"], training=training)
        scores = self.discriminator(fakes, training=training)
        reconstruction = ops.mean(mean_squared_error_loss(batch["clean"], fakes))
        adversarial = ops.mean(cross_entropy_generator_loss(scores))
        total = self.reconstruction_weight * reconstruction + self.adversarial_weight * adversarial
        return {
            "loss": total,
            "reconstruction_loss": reconstruction,
            "adversarial_loss": adversarial,
        }

    def phases(self) -> list[Phase]:
        """One update of the discriminator, then those of the generator."""
        discriminator, generator = super().phases()
        return [discriminator, *[generator] * self.num_generator_steps]

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update of the discriminator and two of the generator (Shen et al., 2017).

        1. Take a batch of clean images x with their labels y.
        2. Make the adversarial images x_adv = x + ε · sign ∇_x L(f(x), y) of the source classifier.
        3. Generate G(x_adv).
        4. Let D tell x, its 1, from G(x_adv), its 0: cross-entropies of both.
        5. Update D by a gradient step.
        6. Generate G(x_adv) and let the updated D score it.
        7. Add up the squared error to x and the cross-entropy of scores that should be 1, weighted.
        8. Update G by a gradient step; repeat 6 to 8 ``num_generator_steps`` times in all.

        Args:
            data: A batch with the keys ``"clean"`` and ``"label"``.

        Returns:
            The running epoch means of the losses, by name; over the updates of a step too.
        """
        import tensorflow as tf

        batch = self.paired(self.read_batch(data))  # 1 and 2
        with tf.GradientTape() as tape:
            losses = self.discriminator_losses(batch, training=True)  # 3 and 4
            objective = step_objective(losses["loss"], self.discriminator_optimizer)
        variables = self.discriminator_variables
        gradients = tape.gradient(objective, variables)
        self.discriminator_optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.track(losses, batch, "discriminator")

        for _ in range(self.num_generator_steps):
            with tf.GradientTape() as tape:
                losses = self.generator_losses(batch, training=True)  # 6 and 7
                objective = step_objective(losses["loss"], self.generator_optimizer)
            variables = self.generator_variables
            gradients = tape.gradient(objective, variables)
            self.generator_optimizer.apply_gradients(zip(gradients, variables, strict=True))
            self.track(losses, batch, "generator")
        return self.tracked_losses()

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the purifier, its networks included, its source classifier not."""
        return {
            **super().get_config(),
            "reconstruction_weight": self.reconstruction_weight,
            "adversarial_weight": self.adversarial_weight,
            "num_generator_steps": self.num_generator_steps,
        }


def _check_networks(generator: keras.Model, discriminator: keras.Model | None) -> None:
    """Raises a ValueError unless both networks take the images that the generator makes."""
    check_functional(generator=generator)
    shapes = [generator.input_shape, generator.output_shape]
    if discriminator is not None:
        check_functional(discriminator=discriminator)
        shapes.append(discriminator.input_shape)
    if len(set(shapes)) != 1:
        raise ValueError(
            "Expected a generator from images to images of one shape and a discriminator of them, "
            f"received the shapes {shapes}. Build both for the same image shape."
        )
