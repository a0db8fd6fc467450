"""SFL-VAE: a variational autoencoder whose reconstructions keep their edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import keras
from keras import ops

from defenses.losses import (
    MOST_SIGMA,
    check_weights,
    kl_divergence_loss,
    reconstruction_loss,
    spatial_frequency_loss,
)
from defenses.phases import Batch, Losses, step_objective
from defenses.registry import register
from defenses.variational_purifier import VariationalPurifier
from models.autoencoders import sfl_vae_decoder, sfl_vae_encoder
from models.layers import LayerSeeds
from validation import check_numbers

__all__ = ["GRADIENT_CLIP_NORM", "SFLVAE"]

GRADIENT_CLIP_NORM = 5.0
"""Global gradient norm of the default optimizer; exp(log-variance) can spike in early steps."""


@register("non_sfl_vae", sfl_weight=0.0)
@register("sfl_vae")
@keras.saving.register_keras_serializable(package="cleanroom")
class SFLVAE(VariationalPurifier):
    """Purifies by one pass through a variational autoencoder trained on clean images.

    Details that the latent distribution of clean images cannot express, such as a perturbation, are
    lost. A squared error alone would blur the result, which harms the classifier behind it; the
    spatial frequency loss rewards sharp edges.

    **Reference**: Dissertation, ch. 3.3.1-3.3.2, eqs. 3.3.2-3.3.5, and app. A, Table A.1. The
    ablation "Non-SFL-VAE" of ch. 3.4.2 is registered as ``non_sfl_vae``, with ``sfl_weight`` 0.

    **Differs from the paper**: the three losses are printed without weights or reductions. Each is
    summed over an image and averaged over the batch, and the divergence is weighted by 0.01: with
    weight 1 too few latent dimensions are used to reach the printed reconstruction error. The
    optimizer is not printed either; the default is Adam with rate 0.001 and gradients clipped to
    global norm 5. Whether a purification samples the latent vector or takes its mean is left open;
    it samples, since the paper relies on that randomness.

    Args:
        encoder: Images to ``[z_mean, z_log_var]``.
        decoder: Latent vectors to images in [0, 1].
        reconstruction_weight: Weight of the reconstruction loss.
        kl_weight: Weight of the Kullback-Leibler divergence; 1 is as printed, without a weight.
        sfl_weight: Weight of the spatial frequency loss; 0 is the ablation.
        sigmas: Scales of the Laplacian of Gaussian, in pixels.
        mean_latent: Whether a purification takes the latent mean instead of a sample. Training
            samples in either case; see the base class.
        seed: Seed of the latent noise.
        **kwargs: Name and dtype, as of any model.

    Raises:
        ValueError: If the networks do not fit each other or an argument is out of range.

    Example:
        import numpy as np
        from defenses.sfl_vae import SFLVAE

        images = np.random.default_rng(0).random((8, 28, 28, 1), dtype="float32")
        purifier = SFLVAE.for_images((28, 28, 1), width=0.125)
        purifier.compile()
        purifier.fit({"clean": images}, batch_size=4, verbose=0)
        purifier.purify(images).shape  # (8, 28, 28, 1)
    """

    batch_keys = ("clean",)
    pooled = True
    loss_names = ("loss", "reconstruction_loss", "kl_loss", "sfl_loss")

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        reconstruction_weight: float = 1.0,
        kl_weight: float = 0.01,
        sfl_weight: float = 1.0,
        sigmas: Sequence[float] = (1.0,),
        mean_latent: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        check_weights(
            reconstruction_weight=reconstruction_weight, kl_weight=kl_weight, sfl_weight=sfl_weight
        )
        sigmas = check_numbers("sigmas", sigmas, above=0, at_most=MOST_SIGMA)
        super().__init__(encoder, decoder, mean_latent=mean_latent, seed=seed, **kwargs)
        self.reconstruction_weight = float(reconstruction_weight)
        self.kl_weight = float(kl_weight)
        self.sfl_weight = float(sfl_weight)
        self.sigmas = sigmas

    @classmethod
    def for_images(
        cls,
        input_shape: tuple[int, int, int],
        num_classes: int = 10,
        *,
        width: float = 1.0,
        seed: int = 0,
        latent_dim: int = 1024,
        dropout: float = 0.2,
        decoder_variant: str = "stride1",
        output_activation: str = "sigmoid",
        **arguments: Any,
    ) -> Self:
        """Builds the networks of Table A.1 and the purifier on them.

        Args:
            input_shape: ``(height, width, channels)``.
            num_classes: Not used; the method sees no labels.
            width: Factor on every filter count and on ``latent_dim``.
            seed: Seeds weights, dropout and latent noise.
            latent_dim: Latent size at width 1.
            dropout: Dropout rate of the encoder.
            decoder_variant: Which interpretation of the printed decoder; see ``sfl_vae_decoder``.
            output_activation: ``"sigmoid"``, or ``"relu"`` as printed, then clipped.
            **arguments: Passed on to the constructor.

        Returns:
            A built purifier.
        """
        del num_classes
        encoder = sfl_vae_encoder(input_shape, latent_dim, width=width, dropout=dropout, seed=seed)
        decoder = sfl_vae_decoder(
            input_shape,
            latent_dim,
            width=width,
            variant=decoder_variant,
            output_activation=output_activation,
            seed=seed,
        )
        return cls(encoder, decoder, seed=LayerSeeds(seed, "sfl_vae_latent").next(), **arguments)

    def vae_losses(self, batch: Batch, training: bool = True) -> Losses:
        """The losses of eq. 3.3.5 for one batch.

        Args:
            batch: ``"clean"``: images in [0, 1].
            training: Whether dropout and batch statistics are those of training. The latent vector
                is sampled in either case, as the expectation in eq. 3.3.3 requires.

        Returns:
            Batch means: ``"loss"``, weighted, and the unweighted ``"reconstruction_loss"``,
            ``"kl_loss"`` and ``"sfl_loss"``; scalars of at least 0.
        """
        images = batch["clean"]
        z_mean, z_log_var = self.encoder(images, training=training)
        latent = self.sampling([z_mean, z_log_var])
        reconstructions = self.decoder(latent, training=training)

        reconstruction = ops.mean(reconstruction_loss(images, reconstructions))
        kl = ops.mean(kl_divergence_loss(z_mean, z_log_var))
        sfl = ops.mean(spatial_frequency_loss(images, reconstructions, self.sigmas))
        total = self.reconstruction_weight * reconstruction + self.kl_weight * kl
        return {
            "loss": total + self.sfl_weight * sfl,
            "reconstruction_loss": reconstruction,
            "kl_loss": kl,
            "sfl_loss": sfl,
        }

    @classmethod
    def default_optimizer(cls) -> keras.optimizers.Optimizer:
        """Adam at rate 0.001, clipped to ``GRADIENT_CLIP_NORM``."""
        return keras.optimizers.Adam(1e-3, global_clipnorm=GRADIENT_CLIP_NORM)

    def train_step(self, data: Any) -> dict[str, Any]:
        """One joint update of encoder and decoder (dissertation, ch. 3.3.1-3.3.2).

        1. Take a batch of clean images X; no noise is added to them.
        2. Encode them to the mean and variance of q(Z|X), with dropout and batch statistics.
        3. Draw one latent vector Z for each image.
        4. Decode Z to the reconstruction X~.
        5. Add up reconstruction, divergence and spatial frequency loss (eq. 3.3.5).
        6. Update encoder and decoder together by a gradient step on the sum.

        Args:
            data: A batch with the key ``"clean"``.

        Returns:
            The running epoch means of the losses, by name.
        """
        import tensorflow as tf

        batch = self.read_batch(data)
        with tf.GradientTape() as tape:
            losses = self.vae_losses(batch, training=True)  # 2 to 5
            objective = step_objective(losses["loss"], self.optimizer)
        variables = self.encoder.trainable_variables + self.decoder.trainable_variables
        gradients = tape.gradient(objective, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.track(losses, batch, "vae")
        return self.tracked_losses()

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the purifier, its networks included."""
        return {
            **super().get_config(),
            "reconstruction_weight": self.reconstruction_weight,
            "kl_weight": self.kl_weight,
            "sfl_weight": self.sfl_weight,
            "sigmas": list(self.sigmas),
            "mean_latent": self._mean_latent,
        }
