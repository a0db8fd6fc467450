"""MagNet's reformer: a small denoising autoencoder in front of the classifier."""

from __future__ import annotations

from typing import Any, Self

import keras
from keras import layers, ops

from defenses.losses import MOST_NOISE, check_weights, full_precision
from defenses.phases import Batch, Losses, Phase, step_objective
from defenses.purifier import Purifier, check_functional
from defenses.registry import register
from models.layers import MOST_SEED, LayerSeeds
from models.magnet_autoencoders import magnet_autoencoder
from validation import check_image_shape, check_integer, check_number

__all__ = ["COLOUR_NOISE", "GREY_NOISE", "MagNet"]

GREY_NOISE, COLOUR_NOISE = 0.1, 0.025
"""Standard deviation of the training noise for MNIST and for CIFAR-10."""


@register("magnet")
@keras.saving.register_keras_serializable(package="cleanroom")
class MagNet(Purifier):
    """Purifies by one pass through an autoencoder trained to remove Gaussian noise.

    The autoencoder has learnt to move images towards the manifold of clean ones. The other half of
    MagNet, which rejects images too far from it, is ``defenses.magnet_detector``.

    **Reference**: Meng and Chen, "MagNet", 2017, the reformer; PuVAE, eq. 5, where the reformer
    alone is the baseline.

    **Differs from the paper**: the mean squared error is averaged over pixels and the penalty on
    activations summed over an image, then both are averaged over the batch, as in the authors'
    code. Where the paper has no network for a data set, one channel takes that of MNIST and
    three that of CIFAR-10.

    Args:
        autoencoder: Images to images in [0, 1], a chain of layers; from ``magnet_autoencoder``.
        training_noise: Standard deviation of the Gaussian noise on training images, at least 0;
            noisy images are clipped to [0, 1]. Purification and evaluation add none.
        activity_weight: Weight of the summed squares of all convolutions' outputs.
        seed: Seed of the training noise.
        **kwargs: Name and dtype, as of any model.

    Raises:
        ValueError: If the autoencoder does not keep the shape or is not a chain of layers, or a
            number is out of range.

    Example:
        import numpy as np
        from defenses.magnet import MagNet

        images = np.random.default_rng(0).random((8, 28, 28, 1), dtype="float32")
        purifier = MagNet.for_images((28, 28, 1))
        purifier.compile()
        purifier.fit({"clean": images}, batch_size=4, verbose=0)
        purifier.purify(images).shape  # (8, 28, 28, 1)
    """

    has_detectors = True
    batch_keys = ("clean",)
    network_names = ("autoencoder",)
    loss_names = ("loss", "reconstruction_loss", "activity_loss")

    def __init__(
        self,
        autoencoder: keras.Model,
        *,
        training_noise: float = GREY_NOISE,
        activity_weight: float = 1e-9,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check_autoencoder(autoencoder)
        check_number("training_noise", training_noise, at_least=0, at_most=MOST_NOISE, such_as=0.1)
        check_weights(activity_weight=activity_weight)
        check_integer("seed", seed, at_most=MOST_SEED, such_as=0)
        self.autoencoder = autoencoder
        self.training_noise = float(training_noise)
        self.activity_weight = float(activity_weight)
        self.seed = int(seed)
        self.noise = layers.GaussianNoise(self.training_noise, seed=self.seed, name="noise")
        self.finish_building()

    @classmethod
    def for_images(
        cls,
        input_shape: tuple[int, int, int],
        num_classes: int = 10,
        *,
        width: float = 1.0,
        seed: int = 0,
        variant: str | None = None,
        training_noise: float | None = None,
        **arguments: Any,
    ) -> Self:
        """Builds the published autoencoder and the purifier on it.

        Args:
            input_shape: ``(height, width, channels)``.
            num_classes: Not used; the method sees no labels.
            width: Factor on the number of maps.
            seed: Seeds weights and training noise.
            variant: ``"I"`` or ``"II"``; ``None`` is I for one channel and II for three.
            training_noise: ``None`` is 0.1 for one channel and 0.025 for three.
            **arguments: Passed on to the constructor.

        Returns:
            A built purifier.
        """
        del num_classes
        grey = check_image_shape(input_shape)[-1] == 1
        if variant is None:
            variant = "I" if grey else "II"
        if training_noise is None:
            training_noise = GREY_NOISE if grey else COLOUR_NOISE
        autoencoder = magnet_autoencoder(input_shape, variant=variant, width=width, seed=seed)
        noise_seed = LayerSeeds(seed, "magnet_noise").next()
        return cls(autoencoder, training_noise=training_noise, seed=noise_seed, **arguments)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(height, width, channels)`` of the images."""
        return tuple(self.autoencoder.input_shape[1:])

    def call(self, images: Any, training: bool = False) -> Any:
        """Purifies images; see the base class for shapes and ranges."""
        return self.autoencoder(images, training=training)

    def denoising_losses(self, batch: Batch, training: bool = True) -> Losses:
        """The loss of a reconstruction from a noisy image, for one batch.

        Args:
            batch: ``"clean"``: images in [0, 1].
            training: Whether noise is added.

        Returns:
            Batch means: ``"loss"``, the unweighted ``"reconstruction_loss"``, which averages over
            pixels, and the unweighted ``"activity_loss"``, which sums over an image.
        """
        images = ops.convert_to_tensor(batch["clean"])
        x = ops.clip(self.noise(images, training=training), 0.0, 1.0)
        activity: Any = 0.0
        for layer in self.autoencoder.layers[1:]:
            x = layer(x)
            if isinstance(layer, layers.Conv2D):
                (active,) = full_precision(x)
                activity = activity + ops.mean(ops.sum(ops.square(active), axis=(1, 2, 3)))
        images, x = full_precision(images, x)
        reconstruction = ops.mean(ops.square(x - images))
        return {
            "loss": reconstruction + self.activity_weight * activity,
            "reconstruction_loss": reconstruction,
            "activity_loss": activity,
        }

    def phases(self) -> list[Phase]:
        """One phase: the autoencoder."""
        variables = self.autoencoder.trainable_variables
        return [Phase("magnet", self.denoising_losses, variables, self.optimizer)]

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update of the autoencoder (MagNet; PuVAE, eq. 5).

        1. Take a batch of clean images x.
        2. Add Gaussian noise and clip to [0, 1].
        3. Reconstruct; note the squares of all activations on the way.
        4. Compare with x, not with its noisy copy: mean squared error, plus a small penalty on
           the activations.
        5. Take a gradient step on the autoencoder's weights.

        Args:
            data: A batch with the key ``"clean"``.

        Returns:
            The running epoch means of the losses, by name.
        """
        import tensorflow as tf

        batch = self.read_batch(data)
        with tf.GradientTape() as tape:
            losses = self.denoising_losses(batch, training=True)  # 2 to 4
            objective = step_objective(losses["loss"], self.optimizer)
        variables = self.autoencoder.trainable_variables
        gradients = tape.gradient(objective, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.track(losses, batch, "magnet")
        return self.tracked_losses()

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the purifier, its network included."""
        return {
            **super().get_config(),
            "training_noise": self.training_noise,
            "activity_weight": self.activity_weight,
            "seed": self.seed,
        }


def _check_autoencoder(autoencoder: keras.Model) -> None:
    """Raises a ValueError unless the network keeps the shape, layer after layer."""
    check_functional(autoencoder=autoencoder)
    chain = all(
        previous.output is layer.input
        for previous, layer in zip(autoencoder.layers[:-1], autoencoder.layers[1:], strict=True)
    )
    if autoencoder.input_shape != autoencoder.output_shape or not chain:
        raise ValueError(
            "Expected an autoencoder that is a chain of layers from images to images of the same "
            f"shape, received {autoencoder.name!r} from {autoencoder.input_shape} to "
            f"{autoencoder.output_shape}. Build it with models.magnet_autoencoders."
        )
