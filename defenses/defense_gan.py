"""Defense-GAN: an image is replaced by the nearest image that a generator can produce."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import keras
from keras import ops

from defenses.latent_search import Candidates, descend_latents, nearest_candidates
from defenses.losses import mean_squared_error_loss
from defenses.registry import register
from defenses.wasserstein_gan import WassersteinGAN
from models.layers import LayerSeeds
from models.wasserstein_gan import wasserstein_critic, wasserstein_generator
from validation import check_call, check_integer, check_number

__all__ = ["DefenseGAN"]

MOST_RESTARTS = 1_000
MOST_STEPS = 100_000
"""With more of either, a search would not fit in memory or not end."""


@register("defense_gan")
@keras.saving.register_keras_serializable(package="cleanroom")
class DefenseGAN(WassersteinGAN):
    """Purifies by searching a generator's latent space for the image nearest to the given one.

    The generator is trained on clean images alone, so it does not produce perturbations. The search
    is gradient descent in the latent space from several random starts; it is slow, and its gradient
    is useless, so that an attack needs BPDA.

    **Reference**: Samangouei, Kabkab and Chellappa, "Defense-GAN: protecting classifiers against
    adversarial attacks using generative models", 2018, and its public code; PuVAE, eq. 6;
    Dissertation, ch. 2.3 and 3.4.

    **Differs from the paper**: the search starts from N(0, I / latent_dim), as the code's does; the
    text's N(0, I) is ``initial_scale`` 1. The learning rate falls to a tenth after 0.8 of the
    steps, which the code intends but, since it does not count steps, never does. The errors
    compared are those of the final latent vectors; in the code they are those of one step earlier.
    The gradient penalty takes the norm over the whole image; see ``gradient_penalty_loss``. Each
    training step ends, rather than begins, with the generator; see ``WassersteinGAN``.

    Args:
        generator: Latent vectors to images in [0, 1].
        critic: Images to scores ``(batch, 1)``; ``None`` for a purifier without training.
        num_restarts: Random starts R of a search, from 1 to ``MOST_RESTARTS``.
        num_steps: Descent steps L of a search, from 0 to ``MOST_STEPS``; 0 compares the starts
            alone.
        learning_rate: Learning rate of the search, positive.
        momentum: Momentum of the search, in [0, 1).
        initial_scale: Standard deviation of the starts, positive; ``None`` is
            ``latent_dim ** -0.5``.
        **arguments: Those of the training, the seed, and name and dtype; see ``WassersteinGAN``.

    Call arguments:
        images: float32 ``(batch, height, width, channels)`` in [0, 1].
        training: Ignored; a purification always uses the generator's moving statistics.

    Returns:
        Generated images, shape of the input, in [0, 1]. No gradient flows to the input.

    Raises:
        ValueError: If the networks do not fit each other or an argument is out of range.

    Example:
        import numpy as np
        from defenses.defense_gan import DefenseGAN

        images = np.random.default_rng(0).random((8, 28, 28, 1), dtype="float32")
        purifier = DefenseGAN.for_images((28, 28, 1), width=0.125, num_restarts=2, num_steps=5)
        purifier.compile()
        purifier.fit({"clean": images}, batch_size=4, verbose=0)
        purifier.purify(images).shape  # (8, 28, 28, 1)
    """

    is_stochastic = True
    differentiable = False

    def __init__(
        self,
        generator: keras.Model,
        critic: keras.Model | None,
        *,
        num_restarts: int = 10,
        num_steps: int = 200,
        learning_rate: float = 10.0,
        momentum: float = 0.7,
        initial_scale: float | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(generator, critic, **arguments)
        check_integer("num_restarts", num_restarts, at_least=1, at_most=MOST_RESTARTS, such_as=10)
        check_integer("num_steps", num_steps, at_most=MOST_STEPS, such_as=200)
        check_number("learning_rate", learning_rate, above=0, such_as=10.0)
        check_number("momentum", momentum, at_least=0, below=1, such_as=0.7)
        if initial_scale is not None:
            check_number("initial_scale", initial_scale, above=0, such_as=1.0)
        self.num_restarts = int(num_restarts)
        self.num_steps = int(num_steps)
        self.learning_rate = float(learning_rate)
        self.momentum = float(momentum)
        scale = self.latent_dim**-0.5 if initial_scale is None else initial_scale
        self.initial_scale = float(scale)
        self.finish_building()

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
        """Builds the networks of the public codes for grey or for colour images.

        Args:
            input_shape: ``(height, width, channels)``, one channel or three.
            num_classes: Not used; the method sees no labels.
            width: Factor on every filter count.
            seed: Seeds weights, latent vectors and the points of the gradient penalty.
            latent_dim: Latent size at any width.
            **arguments: Passed on to the constructor.

        Returns:
            A built purifier.
        """
        del num_classes
        generator = wasserstein_generator(input_shape, latent_dim, width=width, seed=seed)
        critic = wasserstein_critic(input_shape, width=width, seed=seed)
        noise_seed = LayerSeeds(seed, "defense_gan_latent").next()
        return cls(generator, critic, seed=noise_seed, **arguments)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Nothing to do: the networks come built, and a search needs real images."""

    def call(self, images: Any, training: bool = False) -> Any:
        """Purifies images; see the class."""
        return nearest_candidates(self.search(images))

    def search(self, images: Any, latents: Any = None) -> Candidates:
        """Searches from several starts for each image, all of them in one batch.

        Args:
            images: ``(batch, height, width, channels)`` in [0, 1].
            latents: Where to start, ``(batch, num_restarts, latent_dim)``, any range and any
                number of restarts. ``None`` draws ``num_restarts`` from N(0, initial_scale² I).

        Returns:
            The final latent vectors, their reconstructions and their errors, of every start.

        Raises:
            ValueError: If the images or latent vectors are of another kind or shape, or the backend
                is neither TensorFlow nor JAX.
        """
        check_call(images, self.image_shape)
        if latents is not None:
            self._check_latents(latents)
        images = ops.stop_gradient(ops.convert_to_tensor(images, dtype="float32"))
        if latents is None:
            shape = (ops.shape(images)[0], self.num_restarts, self.latent_dim)
            latents = self.initial_scale * keras.random.normal(shape, seed=self.seed_generator)
        num_restarts = latents.shape[1]
        copies = ops.repeat(images, num_restarts, axis=0)
        moved = descend_latents(
            self.generator,
            copies,
            ops.reshape(latents, (-1, self.latent_dim)),
            num_steps=self.num_steps,
            learning_rate=self.learning_rate,
            momentum=self.momentum,
        )
        reconstructions = self.generator(moved, training=False)
        errors = mean_squared_error_loss(copies, reconstructions)
        return Candidates(
            ops.reshape(moved, (-1, num_restarts, self.latent_dim)),
            ops.reshape(reconstructions, (-1, num_restarts, *self.image_shape)),
            ops.reshape(errors, (-1, num_restarts)),
        )

    def _check_latents(self, latents: Any) -> None:
        shape = tuple(getattr(latents, "shape", ()))
        if len(shape) != 3 or shape[2] not in (None, self.latent_dim):
            raise ValueError(
                f"Expected latents of shape (batch, num_restarts, {self.latent_dim}), received "
                f"{shape}. Pass a tensor with a latent vector for each start of each image."
            )

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the purifier, its networks included."""
        return {**super().get_config(), **{name: getattr(self, name) for name in _NUMBERS}}


_NUMBERS = ("num_restarts", "num_steps", "learning_rate", "momentum", "initial_scale")
"""The numerical options of a search."""
