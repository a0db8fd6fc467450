"""Base class of purifiers that are variational autoencoders from images to images."""

from __future__ import annotations

import abc
from typing import Any

import keras

from defenses.phases import Batch, Losses, Phase
from defenses.purifier import Purifier, check_functional
from models.layers import MOST_SEED, Sampling
from validation import check_flag, check_integer

__all__ = ["VariationalPurifier"]


class VariationalPurifier(Purifier):
    """A purifier with an encoder to a latent distribution and a decoder back to images.

    A subclass gives the losses and the training step.

    Args:
        encoder: Images to ``[z_mean, z_log_var]``.
        decoder: Latent vectors to images in [0, 1].
        mean_latent: Whether a purification takes the latent mean instead of a sample. Training
            samples in either case. Fixed for the life of the model, because compiled functions
            would not notice a change: build a second purifier on the same networks instead.
        seed: Seed of the latent noise.
        **kwargs: Name and dtype, as of any model.

    Raises:
        ValueError: If the networks do not fit each other.
    """

    network_names = ("encoder", "decoder")

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        mean_latent: bool,
        seed: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check_networks(encoder, decoder)
        check_flag("mean_latent", mean_latent)
        check_integer("seed", seed, at_most=MOST_SEED, such_as=0)
        self.encoder = encoder
        self.decoder = decoder
        self._mean_latent = bool(mean_latent)
        self.seed = int(seed)
        self.sampling = Sampling(seed=self.seed, name="sampling")
        self.finish_building()

    @abc.abstractmethod
    def vae_losses(self, batch: Batch, training: bool = True) -> Losses:
        """What encoder and decoder minimise; a dict of scalars with the total under ``"loss"``."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(height, width, channels)`` of the images."""
        return tuple(self.encoder.input_shape[1:])

    @property
    def mean_latent(self) -> bool:
        """Whether a purification takes the latent mean instead of a sample."""
        return self._mean_latent

    @property
    def is_stochastic(self) -> bool:  # type: ignore[override]
        """True unless the latent mean is taken."""
        return not self._mean_latent

    def call(self, images: Any, training: bool = False) -> Any:
        """Purifies images; see the base class for shapes and ranges."""
        z_mean, z_log_var = self.encoder(images, training=training)
        use_mean = self._mean_latent and not training
        latent = z_mean if use_mean else self.sampling([z_mean, z_log_var])
        return self.decoder(latent, training=training)

    def phases(self) -> list[Phase]:
        """One phase: one update of encoder and decoder."""
        variables = self.encoder.trainable_variables + self.decoder.trainable_variables
        return [Phase("vae", self.vae_losses, variables, self.optimizer)]

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the purifier, its networks included; a subclass adds its options."""
        return {**super().get_config(), "seed": self.seed}


def _check_networks(encoder: keras.Model, decoder: keras.Model) -> None:
    """Raises a ValueError unless the decoder continues the encoder and ends where it began."""
    check_functional(encoder=encoder, decoder=decoder)
    shapes = encoder.output_shape
    fits = isinstance(shapes, list) and shapes == [decoder.input_shape] * 2
    if not fits or encoder.input_shape != decoder.output_shape:
        raise ValueError(
            "Expected an encoder from images to two latent vectors and a decoder from one back "
            f"to images, received {encoder.input_shape} to {encoder.output_shape} and "
            f"{decoder.input_shape} to {decoder.output_shape}. Build both for the same image "
            "shape, latent_dim and width."
        )
