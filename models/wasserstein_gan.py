"""The Wasserstein GAN that Defense-GAN searches: generator and critic."""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras
from keras import layers

from models.layers import LayerSeeds, check_latent_dim, scaled
from validation import check_image_shape

__all__ = ["wasserstein_critic", "wasserstein_generator"]

KERNEL_SIZE = 5
NUM_STAGES = 3
SLOPE = 0.2
"""Slope of the critic's rectifiers below zero."""


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What differs between the networks for grey and for colour images.

    Args:
        filters: Channels of the stage nearest to the image; each further one doubles them.
        batch_normalization: Whether the generator normalises its hidden layers.
        centred: Whether the networks use images in [-1, 1] internally.
    """

    filters: int
    batch_normalization: bool
    centred: bool


GREY_PLAN = _Plan(filters=64, batch_normalization=False, centred=False)
COLOUR_PLAN = _Plan(filters=128, batch_normalization=True, centred=True)


def wasserstein_generator(
    output_shape: tuple[int, int, int],
    latent_dim: int = 128,
    *,
    width: float = 1.0,
    seed: int = 0,
) -> keras.Model:
    """Builds the generator of Defense-GAN.

    **Reference**: Samangouei, Kabkab and Chellappa, "Defense-GAN", 2018, and its public code, for
    one channel; Gulrajani et al., "Improved training of Wasserstein GANs", 2017, and its public
    code for CIFAR-10, for colour.
    **Differs from the paper**: Defense-GAN has no network for CIFAR-10; the colour generator is
    that of the second reference, without the biases that its batch normalisation cancels, and its
    output in [-1, 1] is moved to [0, 1]. Where a doubling overshoots (8x8 instead of 7x7 on the way
    to 28x28) the last row and column are cut off, as in the code.

    Args:
        output_shape: ``(height, width, channels)`` of the images, one channel or three.
        latent_dim: Size of the latent vector; ``width`` does not change it.
        width: Multiplier of all hidden channel counts.
        seed: Non-negative seed of the weights.

    Returns:
        Functional model, latent vectors ``(batch, latent_dim)`` of any range to images
        ``(batch, *output_shape)`` in [0, 1].

    Raises:
        ValueError: If an argument is out of range.

    Example:
        import keras
        from models.wasserstein_gan import wasserstein_generator

        generator = wasserstein_generator((28, 28, 1), width=0.125)
        generator(keras.random.normal((2, 128))).shape  # (2, 28, 28, 1)
    """
    shape = check_image_shape(output_shape, channels=(1, 3))
    check_latent_dim(latent_dim)
    plan = _plan_for(shape)
    seeds = LayerSeeds(seed, "wasserstein_generator")
    start = (
        *_size_before(shape, NUM_STAGES),
        scaled(plan.filters * 2 ** (NUM_STAGES - 1), width),
    )
    inputs = keras.Input((latent_dim,), name="latent")
    x = layers.Dense(
        math.prod(start),
        use_bias=not plan.batch_normalization,
        kernel_initializer=seeds.glorot_uniform(),
    )(inputs)
    x = layers.Reshape(start)(_hidden_activation(x, plan))
    for stages_left in range(NUM_STAGES - 1, -1, -1):
        last = stages_left == 0
        filters = shape[2] if last else scaled(plan.filters * 2 ** (stages_left - 1), width)
        x = layers.Conv2DTranspose(
            filters,
            KERNEL_SIZE,
            strides=2,
            padding="same",
            use_bias=last or not plan.batch_normalization,
            kernel_initializer=_kernel(x.shape[-1] / 4, filters, seeds),
        )(x)
        x = _crop(x, _size_before(shape, stages_left))
        if not last:
            x = _hidden_activation(x, plan)
    x = layers.Activation("tanh" if plan.centred else "sigmoid")(x)
    if plan.centred:
        x = layers.Rescaling(0.5, offset=0.5)(x)
    return keras.Model(inputs, x, name="wasserstein_generator")


def wasserstein_critic(
    input_shape: tuple[int, int, int], *, width: float = 1.0, seed: int = 0
) -> keras.Model:
    """Builds the critic that trains the generator of Defense-GAN.

    Without batch normalisation: the gradient penalty treats each image by itself.

    **Reference**: as ``wasserstein_generator``.
    **Differs from the paper**: no bias in the last layer, where a constant cancels out of the loss.
    Images come in [0, 1]; the colour critic moves them to [-1, 1] first.

    Args:
        input_shape: ``(height, width, channels)``, one channel or three.
        width: Multiplier of all filter counts.
        seed: Non-negative seed of the weights.

    Returns:
        Functional model, images ``(batch, *input_shape)`` in [0, 1] to scores ``(batch, 1)`` of any
        range, higher for real images.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        import keras
        from models.wasserstein_gan import wasserstein_critic

        critic = wasserstein_critic((28, 28, 1), width=0.125)
        critic(keras.random.uniform((2, 28, 28, 1))).shape  # (2, 1)
    """
    shape = check_image_shape(input_shape, channels=(1, 3))
    plan = _plan_for(shape)
    seeds = LayerSeeds(seed, "wasserstein_critic")
    inputs = keras.Input(shape, name="images")
    x = layers.Rescaling(2.0, offset=-1.0)(inputs) if plan.centred else inputs
    for stage in range(NUM_STAGES):
        filters = scaled(plan.filters * 2**stage, width)
        x = layers.Conv2D(
            filters,
            KERNEL_SIZE,
            strides=2,
            padding="same",
            kernel_initializer=_kernel(x.shape[-1], filters / 4, seeds),
        )(x)
        x = layers.LeakyReLU(negative_slope=SLOPE)(x)
    x = layers.Flatten()(x)
    scores = layers.Dense(
        1, use_bias=False, kernel_initializer=seeds.glorot_uniform(), name="scores"
    )(x)
    return keras.Model(inputs, scores, name="wasserstein_critic")


def _plan_for(shape: tuple[int, int, int]) -> _Plan:
    """Returns the plan for images of this shape."""
    return GREY_PLAN if shape[2] == 1 else COLOUR_PLAN


def _size_before(shape: tuple[int, int, int], doublings: int) -> tuple[int, int]:
    """Returns the smallest height and width that reach ``shape`` after so many doublings."""
    return -(-shape[0] // 2**doublings), -(-shape[1] // 2**doublings)


def _crop(x: keras.KerasTensor, size: tuple[int, int]) -> keras.KerasTensor:
    """Returns ``x``, cut at the far edges to ``size``."""
    rows, columns = x.shape[1] - size[0], x.shape[2] - size[1]
    return layers.Cropping2D(((0, rows), (0, columns)))(x) if rows or columns else x


def _hidden_activation(x: keras.KerasTensor, plan: _Plan) -> keras.KerasTensor:
    """Returns ``x`` after a ReLU, normalised first where the plan says so."""
    if plan.batch_normalization:
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
    return layers.ReLU()(x)


def _kernel(
    inputs_per_pixel: float, outputs_per_pixel: float, seeds: LayerSeeds
) -> keras.initializers.Initializer:
    """Returns He's uniform initializer with the mean of both fans, counted with the stride.

    Args:
        inputs_per_pixel: Channels that a kernel's pixel reads, divided by 4 where a stride of 2
            spreads the pixels that it reads.
        outputs_per_pixel: Channels that it writes to, divided by 4 where a stride of 2 skips.
        seeds: Source of the initializer's seed.
    """
    fans = KERNEL_SIZE**2 * (inputs_per_pixel + outputs_per_pixel)
    limit = math.sqrt(3.0 * 4.0 / fans)
    return keras.initializers.RandomUniform(-limit, limit, seed=seeds.next())
