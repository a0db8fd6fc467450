"""PuVAE: an image is reconstructed under each class, and the nearest reconstruction is kept."""

from __future__ import annotations

from typing import Any, Self

import keras
from keras import ops

from defenses.frozen import Frozen
from defenses.losses import MOST_NOISE, binary_cross_entropy_loss, check_weights
from defenses.magnet import COLOUR_NOISE, GREY_NOISE
from defenses.phases import Batch, Losses, Phase, step_objective
from defenses.purifier import Purifier, check_functional
from defenses.puvae_losses import (
    check_reduction,
    class_cross_entropy_loss,
    deviation_kl_loss,
)
from defenses.puvae_projection import Projection, project_on_classes, purified_images
from defenses.registry import register
from models.conditional_vae import check_networks, puvae_decoder, puvae_encoder
from models.layers import MOST_SEED, LayerSeeds, Sampling
from validation import check_call, check_integer, check_number

__all__ = ["PUBLISHED_WEIGHTS", "PuVAE"]


PUBLISHED_WEIGHTS = (0.01, 0.1, 10.0)
"""Coefficients of reconstruction, divergence and cross-entropy, found by grid search."""


@register("puvae")
@register("puvae_noisy", input_noise=None)
@keras.saving.register_keras_serializable(package="cleanroom")
class PuVAE(Purifier):
    """Purifies by reconstructing an image under each class and keeping the nearest result.

    A VAE conditioned on the class projects on the manifold of that class. A perturbation is small,
    so the projection on the true class should stay the nearest one, while the perturbation is lost
    on the way. A separately trained classifier makes reconstructions recognisable as their class.

    **Reference**: PuVAE, eqs. 11-22, Table 2 and Figures 2 and 6.

    **Differs from the paper**: reductions are not printed. The reconstruction loss is summed over
    the pixels, without which the printed coefficient 0.01 would make it negligible; the divergence
    is averaged over the latent axis, since with a sum the latent vector is ignored (see
    ``kl_reduction``); all are averaged over the batch. The σ_ε of eq. 13, there a variance by
    notation and a deviation by name, is a standard deviation. For where the label enters see
    ``models.conditional_vae``. The optimizer is not printed; the default is Adam with rate 0.001.
    ``puvae_noisy`` is not in the paper: its encoder learns from images whose pixels were moved up
    or down at random, as MagNet's autoencoder learns from noisy ones; the loss compares with the
    image without noise.

    Args:
        encoder: ``[images, labels]`` to ``[z_mean, z_deviation]``, from ``puvae_encoder``.
        decoder: ``[latent, labels]`` to images in [0, 1], from ``puvae_decoder``.
        source_classifier: Trained classifier that returns logits, of another architecture than the
            one to be defended. Training uses it without updating it; purifying does not need it,
            and a saved purifier does not contain it.
        reconstruction_weight: Weight λ_RC of the reconstruction loss.
        kl_weight: Weight λ_KL of the Kullback-Leibler divergence.
        kl_reduction: ``"mean"`` or ``"sum"`` over the latent axis. With the sum and the published
            weights the decoder comes to ignore the latent vector, and every image of a class is
            purified to the same one.
        cross_entropy_weight: Weight λ_CE of the source classifier's cross-entropy.
        noise_scale: The σ_ε of purification, at least 0: factor on the latent noise, drawn for
            each image and class. 0 makes purification deterministic. In training it is 1. Fixed
            for the life of the model, because compiled functions would not notice a change.
        soft_min_temperature: ``None`` takes the nearest candidate. A positive temperature T mixes
            candidates by softmax(-distance / T), so that the choice has a gradient too: for
            attacks, on a second purifier with the same networks. Fixed too.
        input_noise: How far each pixel of the encoder's input is moved in training, up or down at
            random and clipped to [0, 1]; 0, as published, moves none. Purification moves none.
        seed: Seed of the latent noise, and of that on the encoder's input.
        **kwargs: Name and dtype, as of any model.

    Raises:
        ValueError: If the networks do not fit each other, a number is out of range or a name
            unknown.

    Example:
        import numpy as np
        from defenses.puvae import PuVAE
        from models.puvae_classifiers import puvae_classifier

        images = np.random.default_rng(0).random((8, 28, 28, 1), dtype="float32")
        source = puvae_classifier((28, 28, 1), variant="A", width=0.125)
        purifier = PuVAE.for_images((28, 28, 1), width=0.125, source_classifier=source)
        purifier.compile()
        purifier.fit({"clean": images, "label": np.arange(8)}, batch_size=4, verbose=0)
        purifier.purify(images).shape  # (8, 28, 28, 1)
    """

    batch_keys = ("clean", "label")
    network_names = ("encoder", "decoder")
    loss_names = ("loss", "reconstruction_loss", "kl_loss", "cross_entropy_loss")

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        source_classifier: keras.Model | None = None,
        reconstruction_weight: float = PUBLISHED_WEIGHTS[0],
        kl_weight: float = PUBLISHED_WEIGHTS[1],
        kl_reduction: str = "mean",
        cross_entropy_weight: float = PUBLISHED_WEIGHTS[2],
        noise_scale: float = 0.1,
        soft_min_temperature: float | None = None,
        input_noise: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_functional(encoder=encoder, decoder=decoder)
        check_networks(encoder, decoder, source_classifier)
        check_weights(
            reconstruction_weight=reconstruction_weight,
            kl_weight=kl_weight,
            cross_entropy_weight=cross_entropy_weight,
        )
        check_number("noise_scale", noise_scale, at_least=0, at_most=MOST_NOISE, such_as=0.1)
        if soft_min_temperature is not None:
            check_number("soft_min_temperature", soft_min_temperature, above=0, such_as=0.01)
        check_number("input_noise", input_noise, at_least=0, at_most=1, such_as=GREY_NOISE)
        check_integer("seed", seed, at_most=MOST_SEED, such_as=0)
        check_reduction(kl_reduction)
        self.encoder = encoder
        self.decoder = decoder
        self._source = Frozen(source_classifier)
        self.reconstruction_weight = float(reconstruction_weight)
        self.kl_weight = float(kl_weight)
        self.kl_reduction = kl_reduction
        self.cross_entropy_weight = float(cross_entropy_weight)
        self.noise_scale = float(noise_scale)
        self.soft_min_temperature = soft_min_temperature
        self.input_noise = float(input_noise)
        self.seed = int(seed)
        self.sampling = Sampling(seed=self.seed, name="sampling")
        # Only where it is used: a file of a model without it has no state for it.
        self.signs = None
        if self.input_noise > 0:
            self.signs = keras.random.SeedGenerator(LayerSeeds(self.seed, "puvae_signs").next())
        self.finish_building()

    @classmethod
    def for_images(
        cls,
        input_shape: tuple[int, int, int],
        num_classes: int = 10,
        *,
        width: float = 1.0,
        seed: int = 0,
        latent_dim: int = 32,
        decoder_width: float | None = None,
        input_noise: float | None = 0.0,
        **arguments: Any,
    ) -> Self:
        """Builds the networks of Table 2 and the purifier on them; see the base class.

        Args:
            input_shape: ``(height, width, channels)``.
            num_classes: Number of classes to project on.
            width: Factor on every number of maps and hidden units, not on ``latent_dim``.
            seed: Seeds weights and latent noise.
            latent_dim: Latent size.
            decoder_width: The decoder's own factor; ``None`` is ``width``. At full size the
                decoder has a two-hundredth of the encoder's weights.
            input_noise: As of the constructor; ``None`` is the size of MagNet's noise for so many
                channels, 0.1 for one and 0.025 for three.
            **arguments: Passed on to the constructor, such as ``source_classifier``.
        """
        widths = (width, width if decoder_width is None else decoder_width)
        encoder, decoder = (
            build(input_shape, num_classes, latent_dim=latent_dim, width=own, seed=seed)
            for build, own in zip((puvae_encoder, puvae_decoder), widths, strict=True)
        )
        if input_noise is None:
            input_noise = GREY_NOISE if input_shape[-1] == 1 else COLOUR_NOISE
        latent_seed = LayerSeeds(seed, "puvae_latent").next()
        return cls(encoder, decoder, input_noise=input_noise, seed=latent_seed, **arguments)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(height, width, channels)`` of the images."""
        return tuple(self.decoder.output_shape[1:])

    @property
    def num_classes(self) -> int:
        """Number of classes that an image is projected on."""
        return int(self.decoder.input_shape[1][-1])

    @property
    def source_classifier(self) -> keras.Model | None:
        """The frozen classifier that training uses, if there is one."""
        return self._source.network

    @property
    def is_stochastic(self) -> bool:  # type: ignore[override]
        """True unless the noise is switched off."""
        return self.noise_scale > 0

    def project(self, images: Any, training: bool = False) -> Projection:
        """Projects images on the manifold of every class, in one pass (eqs. 20-21).

        Args:
            images: ``(batch, height, width, channels)`` in [0, 1].
            training: Passed on to the networks.

        Returns:
            Candidates, their distances and the class of the nearest, as tensors.

        Raises:
            ValueError: If the images are of another kind or shape.
        """
        check_call(images, self.image_shape)

        def sample(z_mean: Any, z_deviation: Any) -> Any:
            return self._sample(z_mean, z_deviation, self.noise_scale)

        return project_on_classes(self.encoder, self.decoder, sample, images, training)

    def call(self, images: Any, training: bool = False) -> Any:
        """Purifies images (eq. 22); see the base class for shapes and ranges.

        The gradient flows through the chosen candidate; the choice counts as constant, unless
        there is a ``soft_min_temperature``.
        """
        projection = self.project(images, training=training)
        return purified_images(projection, self.soft_min_temperature)

    def attack_surrogate(self, soft_min_temperature: float | None = None) -> PuVAE:
        """A purifier with the same networks, whose choice of the candidate can have a gradient.

        Args:
            soft_min_temperature: The T of the mixture; ``None`` treats the choice as constant.

        Returns:
            A purifier without a source classifier.
        """
        options = {
            name: value
            for name, value in self.get_config().items()
            if name not in self.network_names
        }
        options |= {"soft_min_temperature": soft_min_temperature, "name": f"{self.name}_surrogate"}
        return type(self)(self.encoder, self.decoder, **options)

    def _sample(self, z_mean: Any, z_deviation: Any, scale: float) -> Any:
        """Draws latent vectors with ``scale`` times the encoded deviation (eqs. 12-13)."""
        if scale == 0:
            return z_mean
        return self.sampling([z_mean, 2.0 * ops.log(scale * z_deviation)])

    def _seen(self, images: Any, training: bool) -> Any:
        """What the encoder sees of training images."""
        if self.signs is None or not training:
            return images
        shape = ops.shape(images)
        signs = ops.sign(keras.random.uniform(shape, -1.0, 1.0, seed=self.signs))
        return ops.clip(images + self.input_noise * ops.cast(signs, images.dtype), 0.0, 1.0)

    def puvae_losses(self, batch: Batch, training: bool = True) -> Losses:
        """The losses of eqs. 15-19 for one batch.

        Args:
            batch: ``"clean"``: images in [0, 1]; ``"label"``: integers ``(batch,)``.
            training: Passed on to the networks, though never to the source classifier; without
                it the encoder's input is not moved. The latent vector is sampled with σ_ε = 1 in
                either case.

        Returns:
            Batch means: ``"loss"``, weighted, and the unweighted ``"reconstruction_loss"``,
            ``"kl_loss"`` and ``"cross_entropy_loss"``; scalars of at least 0.

        Raises:
            ValueError: If there is no source classifier.
        """
        source = self.source_classifier
        if source is None:
            raise ValueError(
                "Expected a source classifier for training, received None. Build PuVAE with "
                "source_classifier=..., on the encoder and decoder of a loaded one if need be."
            )
        images = ops.convert_to_tensor(batch["clean"])
        labels = ops.one_hot(batch["label"], self.num_classes, dtype=self.compute_dtype)
        seen = self._seen(images, training)
        z_mean, z_deviation = self.encoder([seen, labels], training=training)
        latent = self._sample(z_mean, z_deviation, 1.0)
        reconstructions = self.decoder([latent, labels], training=training)
        logits = source(reconstructions, training=False)

        reconstruction = ops.mean(binary_cross_entropy_loss(images, reconstructions))
        kl = ops.mean(deviation_kl_loss(z_mean, z_deviation, self.kl_reduction))
        cross_entropy = ops.mean(class_cross_entropy_loss(labels, logits))
        total = self.reconstruction_weight * reconstruction + self.kl_weight * kl
        return {
            "loss": total + self.cross_entropy_weight * cross_entropy,
            "reconstruction_loss": reconstruction,
            "kl_loss": kl,
            "cross_entropy_loss": cross_entropy,
        }

    def phases(self) -> list[Phase]:
        """One phase: one update of encoder and decoder; the source classifier stays fixed."""
        variables = self.encoder.trainable_variables + self.decoder.trainable_variables
        return [Phase("puvae", self.puvae_losses, variables, self.optimizer)]

    def train_step(self, data: Any) -> dict[str, Any]:
        """One joint update of encoder and decoder (PuVAE, sec. IV-A).

        1. Take a batch of clean images x with their labels y.
        2. Encode each pair to mean and standard deviation of its latent vector (eq. 11); the
           encoder sees x with ``input_noise``, by default none.
        3. Draw one latent vector z for each image, with σ_ε = 1 (eqs. 12-13).
        4. Decode z and y to the reconstruction x^ (eq. 14).
        5. Classify x^ by the frozen source classifier, without dropout (eq. 17).
        6. Add up reconstruction loss, divergence and cross-entropy (eqs. 15, 16, 18, 19).
        7. Update encoder and decoder together by a gradient step on the sum.

        Args:
            data: A batch with the keys ``"clean"`` and ``"label"``.

        Returns:
            The running epoch means of the losses, by name.
        """
        import tensorflow as tf

        batch = self.read_batch(data)
        with tf.GradientTape() as tape:
            losses = self.puvae_losses(batch, training=True)  # 2 to 6
            objective = step_objective(losses["loss"], self.optimizer)
        variables = self.encoder.trainable_variables + self.decoder.trainable_variables
        gradients = tape.gradient(objective, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.track(losses, batch, "puvae")
        return self.tracked_losses()

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the purifier, its networks included, its source classifier not."""
        return {
            **super().get_config(),
            "reconstruction_weight": self.reconstruction_weight,
            "kl_weight": self.kl_weight,
            "kl_reduction": self.kl_reduction,
            "cross_entropy_weight": self.cross_entropy_weight,
            "noise_scale": self.noise_scale,
            "soft_min_temperature": self.soft_min_temperature,
            "input_noise": self.input_noise,
            "seed": self.seed,
        }
