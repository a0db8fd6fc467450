"""The training of a generator as a Wasserstein GAN, for purifiers that search its latent space."""

from __future__ import annotations

import functools
from typing import Any

import keras
from keras import ops

from defenses.adversarial_purifier import AdversarialPurifier
from defenses.losses import check_weights
from defenses.phases import Batch, Losses, Phase, step_objective
from defenses.purifier import check_functional
from defenses.wasserstein_losses import (
    critic_score_loss,
    generator_score_loss,
    gradient_penalty_loss,
    interpolate,
)
from models.layers import MOST_SEED
from validation import check_integer

__all__ = ["WassersteinGAN"]


class WassersteinGAN(AdversarialPurifier):
    """A purifier whose generator is trained on clean images as a Wasserstein GAN.

    The critic estimates how far generated images are from real ones, which stays informative where
    a classifying discriminator would saturate. The subclass defines how the generator purifies.

    **Reference**: Gulrajani et al., "Improved training of Wasserstein GANs", 2017, algorithm 1.

    **Differs from the paper**: a batch holds the images of all critic updates of a step, so five
    times the published batch size makes the published step. A generator with batch normalisation
    updates its statistics with every batch it generates, also in the critic's updates.

    Args:
        generator: Latent vectors to images in [0, 1].
        critic: Images to scores ``(batch, 1)``, without batch statistics. ``None`` gives a purifier
            that cannot be trained, such as a loaded one.
        gradient_penalty_weight: Weight of the critic's gradient penalty, at least 0.
        num_critic_steps: Critic updates for each generator update, at least 1.
        seed: Seed of the latent vectors and of the points of the gradient penalty.
        **kwargs: Name and dtype, as of any model.

    Raises:
        ValueError: If the networks do not fit each other or an argument is out of range.
    """

    batch_keys = ("clean",)
    loss_names = ("critic_loss", "generator_loss", "score_loss", "gradient_penalty_loss")
    discriminator_names = ("critic",)

    def __init__(
        self,
        generator: keras.Model,
        critic: keras.Model | None,
        *,
        gradient_penalty_weight: float = 10.0,
        num_critic_steps: int = 5,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check_networks(generator, critic)
        check_weights(gradient_penalty_weight=gradient_penalty_weight)
        check_integer("num_critic_steps", num_critic_steps, at_least=1, at_most=100, such_as=5)
        check_integer("seed", seed, at_most=MOST_SEED, such_as=0)
        self.generator = generator
        self.critic: Any = critic
        self.gradient_penalty_weight = float(gradient_penalty_weight)
        self.num_critic_steps = int(num_critic_steps)
        self.seed = int(seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    @property
    def num_parts(self) -> int:  # type: ignore[override]
        """One for each update of the critic."""
        return self.num_critic_steps

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(height, width, channels)`` of the images."""
        return tuple(self.generator.output_shape[1:])

    @property
    def latent_dim(self) -> int:
        """Size of a latent vector."""
        return int(self.generator.input_shape[-1])

    def discriminator_losses(self, batch: Batch, training: bool = True, *, part: int = 0) -> Losses:
        """The losses of one critic update.

        Args:
            batch: ``"clean"``: images in [0, 1], those of all parts.
            training: Whether the generator takes the statistics of its batch.
            part: Which of the ``num_critic_steps`` parts of the batch to take.

        Returns:
            Batch means: ``"loss"``, weighted, and the unweighted ``"score_loss"``, of any sign, and
            ``"gradient_penalty_loss"``, at least 0.
        """
        images = self._part(batch["clean"], part)
        generated = ops.stop_gradient(self._generate(ops.shape(images)[0], training))
        fractions = keras.random.uniform((ops.shape(images)[0], 1, 1, 1), seed=self.seed_generator)
        points = interpolate(images, generated, fractions)

        scores = critic_score_loss(self.critic(images), self.critic(generated))
        score, penalty = ops.mean(scores), ops.mean(gradient_penalty_loss(self.critic, points))
        return {
            "loss": score + self.gradient_penalty_weight * penalty,
            "score_loss": score,
            "gradient_penalty_loss": penalty,
        }

    def generator_losses(self, batch: Batch, training: bool = True) -> Losses:
        """The loss of one generator update, on as many images as a critic update sees.

        Args:
            batch: ``"clean"``, which says how many images to generate.
            training: Whether the generator takes the statistics of its batch.

        Returns:
            The batch mean ``"loss"``, of any sign.
        """
        num_images = ops.shape(self._part(batch["clean"], 0))[0]
        generated = self._generate(num_images, training)
        return {"loss": ops.mean(generator_score_loss(self.critic(generated)))}

    def _part(self, images: Any, part: int) -> Any:
        """One of the parts of a batch; the last part wraps around to the first images."""
        total = ops.shape(images)[0]
        size = -(-total // self.num_critic_steps)
        return ops.take(images, (part * size + ops.arange(size)) % total, axis=0)

    def _generate(self, num_images: Any, training: bool) -> Any:
        """Images from latent vectors drawn from N(0, I)."""
        shape = (num_images, self.latent_dim)
        latents = keras.random.normal(shape, seed=self.seed_generator)
        return self.generator(latents, training=training)

    @classmethod
    def default_optimizer(cls) -> keras.optimizers.Optimizer:
        """Adam at rate 0.0001 with betas 0.5 and 0.9, those of the reference."""
        return keras.optimizers.Adam(1e-4, beta_1=0.5, beta_2=0.9)

    def phases(self) -> list[Phase]:
        """The critic's updates, each on its part of the batch, then the generator's."""
        critic, generator = self.discriminator_variables, self.generator_variables
        parts = (
            functools.partial(self.discriminator_losses, part=part)
            for part in range(self.num_critic_steps)
        )
        return [
            *(Phase("critic", losses, critic, self.discriminator_optimizer) for losses in parts),
            Phase("generator", self.generator_losses, generator, self.generator_optimizer),
        ]

    def train_step(self, data: Any) -> dict[str, Any]:
        """One generator update and the critic updates before it (Gulrajani et al., algorithm 1).

        1. Take a batch of clean images and split it into ``num_critic_steps`` parts of one size.
           Where the batch cannot be divided equally, the last parts wrap around to its first
           images.
        2. For each part: draw as many latent vectors from N(0, I) and generate images.
        3. Draw a point on the line between each real and each generated image.
        4. Take a gradient step on the critic: generated minus real scores, plus the penalty.
        5. After the last part, draw new latent vectors and generate images.
        6. Take a gradient step on the generator, so that the critic scores them higher.

        Args:
            data: A batch with the key ``"clean"``.

        Returns:
            The running epoch means of the losses, by name.
        """
        import tensorflow as tf

        batch = self.read_batch(data)
        for part in range(self.num_critic_steps):
            with tf.GradientTape() as tape:
                losses = self.discriminator_losses(batch, training=True, part=part)  # 1 to 4
                objective = step_objective(losses["loss"], self.discriminator_optimizer)
            variables = self.discriminator_variables
            gradients = tape.gradient(objective, variables)
            self.discriminator_optimizer.apply_gradients(zip(gradients, variables, strict=True))
            self.track(losses, batch, "critic")

        with tf.GradientTape() as tape:
            losses = self.generator_losses(batch, training=True)  # 5 and 6
            objective = step_objective(losses["loss"], self.generator_optimizer)
        variables = self.generator_variables
        gradients = tape.gradient(objective, variables)
        self.generator_optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.track(losses, batch, "generator")
        return self.tracked_losses()

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the purifier, its networks included; a subclass adds its options."""
        return {
            **super().get_config(),
            "gradient_penalty_weight": self.gradient_penalty_weight,
            "num_critic_steps": self.num_critic_steps,
            "seed": self.seed,
        }


def _check_networks(generator: keras.Model, critic: keras.Model | None) -> None:
    """Raises a ValueError unless the critic, if there is one, scores the generator's images."""
    check_functional(generator=generator)
    if critic is None:
        return
    check_functional(critic=critic)
    if generator.output_shape != critic.input_shape or critic.output_shape != (None, 1):
        raise ValueError(
            "Expected a generator of images and a critic from them to one score, received "
            f"{generator.input_shape} to {generator.output_shape} and {critic.input_shape} to "
            f"{critic.output_shape}. Build both for the same image shape."
        )
