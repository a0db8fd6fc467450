"""Defense-CycleGAN: two U-Nets, trained as each other's inverse, that filter an image in turn."""

from __future__ import annotations

from typing import Any, Self

import keras
from keras import ops

from defenses.adversarial_purifier import AdversarialPurifier
from defenses.gan_losses import (
    check_power,
    cycle_loss,
    least_squares_discriminator_loss,
    least_squares_generator_loss,
)
from defenses.losses import MOST_NOISE, check_weights
from defenses.phases import Batch, Losses, step_objective
from defenses.purifier import check_functional
from defenses.registry import register
from models.gan_networks import cyclegan_networks
from models.layers import MOST_SEED, LayerSeeds
from validation import check_choice, check_integer, check_number

__all__ = ["MODES", "DefenseCycleGAN"]

MODES = ("gb_ga", "ga")
"""The purified image: G_B(G_A(x)), or G_A(x) alone."""


@register("defense_cyclegan_4", removed_concatenations=4)
@register("defense_cyclegan_3", removed_concatenations=3)
@register("defense_cyclegan_2", removed_concatenations=2)
@register("defense_cyclegan_1", removed_concatenations=1)
@register("defense_cyclegan")
@keras.saving.register_keras_serializable(package="cleanroom")
class DefenseCycleGAN(AdversarialPurifier):
    """Purifies by a pass through two U-Nets that were trained as a CycleGAN on clean images.

    Each generator makes images that a discriminator cannot tell from clean ones; the cycle loss
    keeps their class. Two filters in a row need not blur more than one, since the second is trained
    on the output of the first, and concatenations carry detail past the bottleneck.

    **Reference**: Defense-CycleGAN, sec. III-A and III-B, eqs. 1-3; Dissertation, ch. 4.3.1-4.3.2,
    eqs. 4.3.1-4.3.3. The networks of Table I (Dissertation, Table 4.1), from which concatenations
    are removed, are registered as ``defense_cyclegan_1`` to ``defense_cyclegan_4``.

    **Differs from the paper**: eqs. 1 and 2 are printed with absolute values and called least
    squares; they are squares here, and absolute values with ``gan_p=1``. Both domains are the clean
    images, as every expectation is printed; ``noisy_a`` makes the first noisy, as in the text. Not
    printed are the discriminators, the weight of the cycle loss, the optimizers (both Adam, rate
    0.0002, beta_1 0.5) and the order of updates: first the discriminators, then both generators
    jointly. Nor is it printed which image is the purified one: here G_B(G_A(x)), which the cycle
    loss keeps close to x. Generators have a linear output and only a purified image is clipped to
    [0, 1]; where the clip acts the input gradient is 0.

    Args:
        generator_a: G_A, images of domain A to images of domain B.
        generator_b: G_B, images of domain B to images of domain A.
        discriminator_a: D_A, which scores the images that G_A generates. ``None`` for both gives a
            purifier that cannot be trained, such as a loaded one.
        discriminator_b: D_B, which scores the images that G_B generates.
        gan_p: Power of a score's distance from its target: 2, or 1 as printed.
        cycle_weight: Weight of the cycle loss, at least 0.
        noisy_a: Standard deviation of Gaussian noise on the training images of domain A, at least
            0. With noise G_B learns to restore it, so that ``mode="ga"`` is the one that denoises.
        mode: One of ``MODES``. Build a second purifier on the same networks for the other:
            compiled functions would not notice a change.
        seed: Seed of the noise.
        **kwargs: Name and dtype, as of any model.

    Raises:
        ValueError: If the networks do not fit each other or an argument is out of range.

    Example:
        import numpy as np
        from defenses.defense_cyclegan import DefenseCycleGAN

        images = np.random.default_rng(0).random((8, 28, 28, 1), dtype="float32")
        purifier = DefenseCycleGAN.for_images((28, 28, 1), width=0.125)
        purifier.compile()
        purifier.fit({"clean": images}, batch_size=4, verbose=0)
        purifier.purify(images).shape  # (8, 28, 28, 1)
    """

    batch_keys = ("clean",)
    num_parts = 2
    pooled = True
    loss_names = (
        *("discriminator_loss", "discriminator_a_loss", "discriminator_b_loss"),
        *("generator_loss", "generator_a_loss", "generator_b_loss", "cycle_loss"),
    )
    generator_names = ("generator_a", "generator_b")
    discriminator_names = ("discriminator_a", "discriminator_b")

    def __init__(
        self,
        generator_a: keras.Model,
        generator_b: keras.Model,
        discriminator_a: keras.Model | None = None,
        discriminator_b: keras.Model | None = None,
        *,
        gan_p: int = 2,
        cycle_weight: float = 10.0,
        noisy_a: float = 0.0,
        mode: str = "gb_ga",
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        discriminators = [d for d in (discriminator_a, discriminator_b) if d is not None]
        _check_networks([generator_a, generator_b], discriminators)
        _check_options(gan_p, cycle_weight, noisy_a, mode)
        check_integer("seed", seed, at_most=MOST_SEED, such_as=0)
        self.generator_a = generator_a
        self.generator_b = generator_b
        self.discriminator_a: Any = discriminator_a
        self.discriminator_b: Any = discriminator_b
        self.gan_p = int(gan_p)
        self.cycle_weight = float(cycle_weight)
        self.noisy_a = float(noisy_a)
        self._mode = mode
        self.seed = int(seed)
        self.noise_seeds = keras.random.SeedGenerator(self.seed)
        self.finish_building()

    @classmethod
    def for_images(
        cls,
        input_shape: tuple[int, int, int],
        num_classes: int = 10,
        *,
        width: float = 1.0,
        seed: int = 0,
        removed_concatenations: int = 0,
        sigmoid: bool = False,
        **arguments: Any,
    ) -> Self:
        """Builds two U-Nets, two patch discriminators, and the purifier on them.

        Args:
            input_shape: ``(height, width, channels)``.
            num_classes: Not used; the method sees no labels.
            width: Factor on every filter count.
            seed: Seeds weights and noise.
            removed_concatenations: 0 to 4, of both generators; see ``unet``.
            sigmoid: Whether scores pass a sigmoid, as "D: x -> [0, 1]" may mean.
            **arguments: Passed on to the constructor.

        Returns:
            A built purifier.
        """
        del num_classes
        networks = cyclegan_networks(
            input_shape,
            removed_concatenations=removed_concatenations,
            width=width,
            sigmoid=sigmoid,
            seed=seed,
        )
        noise_seed = LayerSeeds(seed, "defense_cyclegan_noise").next()
        return cls(*networks, seed=noise_seed, **arguments)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(height, width, channels)`` of the images."""
        return tuple(self.generator_a.input_shape[1:])

    def call(self, images: Any, training: bool = False) -> Any:
        """Purifies images; see the base class for shapes and ranges."""
        purified = self.generator_a(images, training=training)
        if self._mode == "gb_ga":
            purified = self.generator_b(purified, training=training)
        return ops.clip(purified, 0.0, 1.0)

    # ------------------------------------------------------------------ losses

    def domains(self, images: Any) -> tuple[Any, Any]:
        """Splits a batch of clean images into two samples, one for each domain.

        Halves of a shuffled batch are independent, so 128 images give each domain 64. Of an odd
        number the middle one is in both. Each call draws new noise.

        Args:
            images: ``(batch, height, width, channels)`` in [0, 1], at least one.

        Returns:
            Images of A, noisy if ``noisy_a`` says so, and of B; each half the batch, rounded up.
        """
        num_images = ops.shape(images)[0]
        images_a, images_b = images[: (num_images + 1) // 2], images[num_images // 2 :]
        if self.noisy_a > 0:
            shape, dtype = ops.shape(images_a), images_a.dtype
            noise = keras.random.normal(shape, dtype=dtype, seed=self.noise_seeds)
            images_a = ops.clip(images_a + self.noisy_a * noise, 0.0, 1.0)
        return images_a, images_b

    def discriminator_losses(self, batch: Batch, training: bool = True) -> Losses:
        """The losses of eq. 1 for one batch; the generated images count as constants.

        Returns:
            Batch means: ``"discriminator_a_loss"``, ``"discriminator_b_loss"``, and their sum
            ``"loss"``; scalars of at least 0.
        """
        images_a, images_b = self.domains(batch["clean"])
        fakes_b = ops.stop_gradient(self.generator_a(images_a, training=training))
        fakes_a = ops.stop_gradient(self.generator_b(images_b, training=training))
        real_a = self.discriminator_a(images_b, training=training)
        fake_a = self.discriminator_a(fakes_b, training=training)
        real_b = self.discriminator_b(images_a, training=training)
        fake_b = self.discriminator_b(fakes_a, training=training)
        loss_a = ops.mean(least_squares_discriminator_loss(real_a, fake_a, self.gan_p))
        loss_b = ops.mean(least_squares_discriminator_loss(real_b, fake_b, self.gan_p))
        losses = {"discriminator_a_loss": loss_a, "discriminator_b_loss": loss_b}
        return {"loss": loss_a + loss_b, **losses}

    def generator_losses(self, batch: Batch, training: bool = True) -> Losses:
        """The losses of eqs. 2 and 3 for one batch.

        Returns:
            Batch means: ``"loss"``, weighted, and the unweighted ``"generator_a_loss"``,
            ``"generator_b_loss"`` (eq. 2) and ``"cycle_loss"`` (eq. 3, both terms); scalars of
            at least 0.
        """
        images_a, images_b = self.domains(batch["clean"])
        fakes_b = self.generator_a(images_a, training=training)
        fakes_a = self.generator_b(images_b, training=training)
        cycled_a = self.generator_b(fakes_b, training=training)
        cycled_b = self.generator_a(fakes_a, training=training)

        scores_a = self.discriminator_a(fakes_b, training=training)
        scores_b = self.discriminator_b(fakes_a, training=training)
        loss_a = ops.mean(least_squares_generator_loss(scores_a, self.gan_p))
        loss_b = ops.mean(least_squares_generator_loss(scores_b, self.gan_p))
        cycle = ops.mean(cycle_loss(images_a, cycled_a)) + ops.mean(cycle_loss(images_b, cycled_b))
        losses = {"generator_a_loss": loss_a, "generator_b_loss": loss_b, "cycle_loss": cycle}
        return {"loss": loss_a + loss_b + self.cycle_weight * cycle, **losses}

    # ------------------------------------------------------------------ training

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update of the discriminators and one of the generators (eqs. 1-3).

        1. Take a batch of clean images X and halve it: x_a from domain A, x_b from domain B.
        2. Generate G_A(x_a), which D_A compares with x_b, and G_B(x_b), which D_B compares with
           x_a.
        3. Add up the losses of D_A and D_B (eq. 1).
        4. Update D_A and D_B together by a gradient step on the sum.
        5. Score G_A(x_a) and G_B(x_b) again, by the updated discriminators (eq. 2).
        6. Map back: G_B(G_A(x_a)) and G_A(G_B(x_b)), and compare with x_a and x_b (eq. 3).
        7. Add up the losses of G_A, G_B and of the cycles, the latter weighted.
        8. Update G_A and G_B together by a gradient step on the sum.

        Args:
            data: A batch with the key ``"clean"``.

        Returns:
            The running epoch means of the losses, by name.
        """
        import tensorflow as tf

        batch = self.read_batch(data)
        with tf.GradientTape() as tape:
            losses = self.discriminator_losses(batch, training=True)  # 1 to 3
            objective = step_objective(losses["loss"], self.discriminator_optimizer)
        variables = self.discriminator_variables
        gradients = tape.gradient(objective, variables)
        self.discriminator_optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.track(losses, batch, "discriminator")

        with tf.GradientTape() as tape:
            losses = self.generator_losses(batch, training=True)  # 5 to 7
            objective = step_objective(losses["loss"], self.generator_optimizer)
        variables = self.generator_variables
        gradients = tape.gradient(objective, variables)
        self.generator_optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.track(losses, batch, "generator")
        return self.tracked_losses()

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the purifier, its networks included."""
        return {
            **super().get_config(),
            "gan_p": self.gan_p,
            "cycle_weight": self.cycle_weight,
            "noisy_a": self.noisy_a,
            "mode": self._mode,
            "seed": self.seed,
        }


def _check_networks(generators: list[keras.Model], discriminators: list[keras.Model]) -> None:
    """Raises a ValueError unless all networks take the images that both generators make."""
    for name, networks in (("a generator", generators), ("a discriminator", discriminators)):
        for network in networks:
            check_functional(**{name: network})
    shapes = [network.input_shape for network in generators + discriminators]
    shapes += [network.output_shape for network in generators]
    if len(set(shapes)) != 1 or len(discriminators) == 1:
        raise ValueError(
            "Expected two generators from images to images and two discriminators of them (or "
            f"none), received {len(discriminators)} discriminators and the shapes {shapes}. Build "
            "all networks for the same image shape."
        )


def _check_options(gan_p: int, cycle_weight: float, noisy_a: float, mode: str) -> None:
    """Raises a ValueError unless every option is in its range."""
    check_power(gan_p)
    check_weights(cycle_weight=cycle_weight)
    check_number("noisy_a", noisy_a, at_least=0, at_most=MOST_NOISE, such_as=0.1)
    check_choice("mode", mode, MODES)
