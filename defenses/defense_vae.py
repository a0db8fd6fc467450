"""Defense-VAE: a variational autoencoder from attacked images to clean ones."""

from __future__ import annotations

from typing import Any, Self

import keras
from keras import ops

from defenses.losses import binary_cross_entropy_loss, check_weights, kl_divergence_loss
from defenses.phases import Batch, Losses, step_objective
from defenses.registry import register
from defenses.variational_purifier import VariationalPurifier
from models.defense_vae_networks import defense_vae_decoder, defense_vae_encoder
from models.layers import LayerSeeds

__all__ = ["DefenseVAE"]


@register("defense_vae")
@keras.saving.register_keras_serializable(package="cleanroom")
class DefenseVAE(VariationalPurifier):
    """Purifies by one pass through a variational autoencoder trained on attacked images.

    It is trained to reconstruct the clean image from an attacked one, so it learns to remove
    perturbations of the kinds in its training set, which have to be known beforehand.

    **Reference**: Li and Ji, "Defense-VAE: a fast and accurate defense against adversarial
    attacks", 2019, and its public code; compared against in Dissertation, ch. 3.4, 4.4 and 5.4, and
    in Defense-CycleGAN, fig. 2.

    **Differs from the paper**: as in its code, not its text, the divergence is weighted by 0, which
    leaves a denoising autoencoder with latent noise. Other image shapes than 28x28x1 are not in the
    code; see ``defense_vae_encoder``.

    Args:
        encoder: Images to ``[z_mean, z_log_var]``.
        decoder: Latent vectors to images in [0, 1].
        kl_weight: Weight of the Kullback-Leibler divergence, at least 0; 1 is the text's.
        seed: Seed of the latent noise in training.
        **kwargs: Name and dtype, as of any model.

    Call arguments:
        images: float32 ``(batch, height, width, channels)`` in [0, 1].
        training: Whether the latent vector is sampled and batch statistics are those of the
            batch. A purification takes the latent mean and is deterministic.

    Returns:
        Purified images, shape of the input, in [0, 1].

    Raises:
        ValueError: If the networks do not fit each other or the weight is negative or not
            finite.

    Example:
        import numpy as np
        from defenses.defense_vae import DefenseVAE

        images = np.random.default_rng(0).random((8, 28, 28, 1), dtype="float32")
        purifier = DefenseVAE.for_images((28, 28, 1), width=0.125)
        purifier.compile()
        attacked_images = np.clip(images + 0.1, 0.0, 1.0)
        purifier.fit({"clean": images, "adversarial": attacked_images}, batch_size=4, verbose=0)
        purifier.purify(images).shape  # (8, 28, 28, 1)
    """

    batch_keys = ("clean", "adversarial")
    retrains_classifier = True
    loss_names = ("loss", "reconstruction_loss", "kl_loss")

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        kl_weight: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        check_weights(kl_weight=kl_weight)
        super().__init__(encoder, decoder, mean_latent=True, seed=seed, **kwargs)
        self.kl_weight = float(kl_weight)

    @classmethod
    def for_images(
        cls,
        input_shape: tuple[int, int, int],
        num_classes: int = 10,
        *,
        width: float = 1.0,
        seed: int = 0,
        latent_dim: int = 128,
        **arguments: Any,
    ) -> Self:
        """Builds the networks of the public code, adapted to the image shape.

        Args:
            input_shape: ``(height, width, channels)``.
            num_classes: Not used; the method sees no labels.
            width: Factor on every filter count and on ``latent_dim``.
            seed: Seeds weights and latent noise.
            latent_dim: Latent size at width 1.
            **arguments: Passed on to the constructor.

        Returns:
            A built purifier.
        """
        del num_classes
        encoder = defense_vae_encoder(input_shape, latent_dim, width=width, seed=seed)
        decoder = defense_vae_decoder(input_shape, latent_dim, width=width, seed=seed)
        noise_seed = LayerSeeds(seed, "defense_vae_latent").next()
        return cls(encoder, decoder, seed=noise_seed, **arguments)

    def vae_losses(self, batch: Batch, training: bool = True) -> Losses:
        """The losses of one batch of pairs.

        Args:
            batch: ``"clean"`` and ``"adversarial"``: images in [0, 1], one attacked copy for each
                clean image.
            training: Whether batch statistics are those of training. The latent vector is sampled
                in either case.

        Returns:
            Batch means: ``"loss"``, weighted, and the unweighted ``"reconstruction_loss"`` and
            ``"kl_loss"``; scalars of at least 0.
        """
        z_mean, z_log_var = self.encoder(batch["adversarial"], training=training)
        latent = self.sampling([z_mean, z_log_var])
        reconstructions = self.decoder(latent, training=training)

        reconstruction = ops.mean(binary_cross_entropy_loss(batch["clean"], reconstructions))
        kl = ops.mean(kl_divergence_loss(z_mean, z_log_var))
        return {
            "loss": reconstruction + self.kl_weight * kl,
            "reconstruction_loss": reconstruction,
            "kl_loss": kl,
        }

    @classmethod
    def default_optimizer(cls) -> keras.optimizers.Optimizer:
        """Adam at rate 0.0005, as in the public code."""
        return keras.optimizers.Adam(5e-4)

    def train_step(self, data: Any) -> dict[str, Any]:
        """One joint update of encoder and decoder (Li and Ji, 2019).

        1. Take a batch of attacked images, each with the clean image it was made from.
        2. Encode the attacked images to the mean and variance of their latent vectors.
        3. Draw one latent vector for each image and decode it.
        4. Compare with the clean images by cross-entropy; add the weighted divergence.
        5. Update encoder and decoder together by a gradient step on the sum.

        Args:
            data: A batch with the keys ``"clean"`` and ``"adversarial"``.

        Returns:
            The running epoch means of the losses, by name.
        """
        import tensorflow as tf

        batch = self.read_batch(data)
        with tf.GradientTape() as tape:
            losses = self.vae_losses(batch, training=True)  # 2 to 4
            objective = step_objective(losses["loss"], self.optimizer)
        variables = self.encoder.trainable_variables + self.decoder.trainable_variables
        gradients = tape.gradient(objective, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.track(losses, batch, "vae")
        return self.tracked_losses()

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the purifier, its networks included."""
        return {**super().get_config(), "kl_weight": self.kl_weight}
