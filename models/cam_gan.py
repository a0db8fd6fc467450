"""The networks of CAP-GAN: attention generators, and discriminators that attend as well."""

from __future__ import annotations

import keras
from keras import layers, ops

from models.cam_layers import (
    AdaptiveLayerInstanceNormalization,
    ClassActivation,
    LayerInstanceNormalization,
    ReflectionPadding2D,
    SpectralConv2D,
)
from models.gan_networks import LEAKY_SLOPE, PATCH_STAGES
from models.layers import LayerSeeds, scaled
from models.preactivation import MOST_BLOCKS
from validation import check_image_shape, check_integer

__all__ = ["attention_network", "cam_discriminator", "cam_gan_networks", "cam_generator"]

STAGE_FILTERS = (64, 128, 256)
"""Filters of the stem and of the two stages that halve the image, at width 1."""

ATTENTION = "attention"
"""Name of the layer that weighs the maps, in generators and discriminators."""

_SMALLEST_IMAGE = 12


def cam_generator(
    input_shape: tuple[int, int, int],
    *,
    num_residual_blocks: int = 4,
    width: float = 1.0,
    name: str = "cam_generator",
    seed: int = 0,
) -> keras.Model:
    """Builds the generator of CAP-GAN: encoder, auxiliary classifier, and decoder.

    The auxiliary classifier η learns to tell the generator's source domain from the other one. The
    weights by which it does so scale the encoder's maps, so that the decoder is shown where the
    source domain is to be seen: where the perturbation is, for the generator that removes it.

    **Reference**: CAP-GAN, sec. III-B and Figure 2, "Generator"; Kim et al., "U-GAT-IT", 2020,
    which the architecture is taken from.
    **Differs from the paper**: layers and sizes are not printed. They are those of U-GAT-IT's
    public code with one maximum-pooled branch less, since global average pooling alone is named,
    and with the lighter of its two networks for the scales and shifts of AdaLIN, which sees spatial
    means. Nor is the number of residual blocks: 4 in encoder and decoder each, U-GAT-IT's. Initial
    weights are Glorot uniform. For the attention map see ``models.cam_layers.ClassActivation``.

    Args:
        input_shape: ``(height, width, channels)``; height and width are multiples of 4, at
            least 12.
        num_residual_blocks: Residual blocks of the encoder, and as many of the decoder, at least 1.
        width: Multiplier of all hidden channel counts.
        name: Name of the model, which also enters the seed: networks of different names differ.
        seed: Non-negative seed of the weights.

    Returns:
        Functional model, images ``(batch, *input_shape)`` in [0, 1] to a pair: images of the same
        shape in [0, 1], and the logit of η, ``(batch, 1)`` of any range.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        import keras
        from models.cam_gan import cam_generator

        generator = cam_generator((28, 28, 1), num_residual_blocks=1, width=0.125)
        images, logits = generator(keras.random.uniform((2, 28, 28, 1)))
        images.shape, logits.shape  # (2, 28, 28, 1), (2, 1)
    """
    check_integer("num_residual_blocks", num_residual_blocks, at_least=1, at_most=MOST_BLOCKS)
    shape = _check_shape(input_shape)
    build = _GeneratorLayers(LayerSeeds(seed, name))
    filters = [scaled(count, width) for count in STAGE_FILTERS]
    most = filters[-1]

    # ----- encoder
    inputs = keras.Input(shape, name="images")
    x = layers.Rescaling(2.0, offset=-1.0, name="to_signed")(inputs)
    x = build.normalised(build.conv(x, filters[0], 7))
    for count in filters[1:]:
        x = build.normalised(build.conv(x, count, 3, strides=2))
    for _ in range(num_residual_blocks):
        residual = build.normalised(build.conv(x, most, 3))
        residual = build.normalised(build.conv(residual, most, 3), activate=False)
        x = layers.Add()([x, residual])

    # ----- auxiliary classifier and attention
    x, logit = ClassActivation(kernel_initializer=build.seeds.glorot_uniform(), name=ATTENTION)(x)
    x = build.pointwise(x, most)
    x = layers.ReLU()(x)

    # ----- decoder
    code = layers.GlobalAveragePooling2D()(x)
    for _ in range(2):
        code = layers.ReLU()(build.dense(code, most))
    gamma, beta = build.dense(code, most, "gamma"), build.dense(code, most, "beta")
    for _ in range(num_residual_blocks):
        residual = build.conv(x, most, 3)
        residual = AdaptiveLayerInstanceNormalization()([residual, gamma, beta])
        residual = build.conv(layers.ReLU()(residual), most, 3)
        residual = AdaptiveLayerInstanceNormalization()([residual, gamma, beta])
        x = layers.Add()([x, residual])
    for count in reversed(filters[:-1]):
        x = layers.UpSampling2D(2, interpolation="nearest")(x)
        x = layers.ReLU()(LayerInstanceNormalization()(build.conv(x, count, 3)))
    x = layers.Activation("tanh")(build.conv(x, shape[2], 7))
    outputs = layers.Rescaling(0.5, offset=0.5, name="translated")(x)
    return keras.Model(inputs, [outputs, logit], name=name)


def cam_discriminator(
    input_shape: tuple[int, int, int],
    *,
    width: float = 1.0,
    name: str = "cam_discriminator",
    seed: int = 0,
) -> keras.Model:
    """Builds the discriminator of CAP-GAN: encoder, auxiliary classifier, and patch scores.

    Both the auxiliary classifier and the scores tell images of a domain from generated ones; the
    scores are given the maps as the auxiliary classifier weighs them.

    **Reference**: CAP-GAN, sec. III-B and Figure 2, "Discriminator"; Kim et al., "U-GAT-IT", 2020.
    **Differs from the paper**: layers and sizes are not printed. They are those of the shallower
    discriminator in U-GAT-IT's public code, less one halving and its maximum-pooled branch; one
    discriminator is drawn for each domain, and 32x32 pixels have no room for more. All layers with
    a kernel but the pointwise one are spectrally normalised, the auxiliary classifier too. Initial
    weights are Glorot uniform.

    Args:
        input_shape: As of ``cam_generator``.
        width: Multiplier of all hidden channel counts.
        name: Name of the model, which also enters the seed: networks of different names differ.
        seed: Non-negative seed of the weights.

    Returns:
        Functional model, images ``(batch, *input_shape)`` in [0, 1] to a pair: scores
        ``(batch, rows, columns, 1)``, one for each patch (6x6 for images of 32x32, 5x5 for 28x28),
        and the logit of the auxiliary classifier ``(batch, 1)``; both of any range.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        import keras
        from models.cam_gan import cam_discriminator

        discriminator = cam_discriminator((28, 28, 1), width=0.125)
        scores, logits = discriminator(keras.random.uniform((2, 28, 28, 1)))
        scores.shape, logits.shape  # (2, 5, 5, 1), (2, 1)
    """
    seeds = LayerSeeds(seed, name)
    inputs = keras.Input(_check_shape(input_shape), name="images")
    x = layers.Rescaling(2.0, offset=-1.0, name="to_signed")(inputs)
    for filters, stride in PATCH_STAGES:
        x = _spectral(ReflectionPadding2D()(x), scaled(filters, width), seeds, strides=stride)
        x = layers.LeakyReLU(negative_slope=LEAKY_SLOPE)(x)
    attention = ClassActivation(
        unit_norm=True, kernel_initializer=seeds.glorot_uniform(), name=ATTENTION
    )
    x, logit = attention(x)
    x = layers.Conv2D(x.shape[-1], 1, kernel_initializer=seeds.glorot_uniform())(x)
    x = layers.LeakyReLU(negative_slope=LEAKY_SLOPE)(x)
    scores = _spectral(ReflectionPadding2D()(x), 1, seeds, use_bias=False, name="scores")
    return keras.Model(inputs, [scores, logit], name=name)


def cam_gan_networks(
    input_shape: tuple[int, int, int],
    *,
    num_residual_blocks: int = 4,
    width: float = 1.0,
    seed: int = 0,
) -> tuple[keras.Model, keras.Model, keras.Model, keras.Model]:
    """Builds the networks of CAP-GAN: two generators and two discriminators.

    **Reference**: CAP-GAN, sec. III-B.
    **Differs from the paper**: see ``cam_generator`` and ``cam_discriminator``. Networks of one
    kind differ in their weights only.

    Args:
        input_shape: As of ``cam_generator``.
        num_residual_blocks: Of each generator; see ``cam_generator``.
        width: Multiplier of all hidden channel counts.
        seed: Non-negative seed of the weights.

    Returns:
        T_{A→C} and T_{C→A}, images to images and logits; D_C and D_A, images to scores and logits.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        import keras
        from models.cam_gan import cam_gan_networks

        to_clean, to_adversarial, *discriminators = cam_gan_networks((28, 28, 1), width=0.125)
        images = keras.random.uniform((2, 28, 28, 1))
        to_adversarial(to_clean(images)[0])[0].shape  # (2, 28, 28, 1)
    """
    to_clean, to_adversarial = (
        cam_generator(
            input_shape,
            num_residual_blocks=num_residual_blocks,
            width=width,
            name=name,
            seed=seed,
        )
        for name in ("generator_to_clean", "generator_to_adversarial")
    )
    clean, adversarial = (
        cam_discriminator(input_shape, width=width, name=name, seed=seed)
        for name in ("discriminator_clean", "discriminator_adversarial")
    )
    return to_clean, to_adversarial, clean, adversarial


def attention_network(network: keras.Model) -> keras.Model:
    """Builds the network that shows where a generator or discriminator sees its domain.

    **Reference**: CAP-GAN, Figure 3 and sec. III-B: M = Σ_k w_k · E_k.
    **Differs from the paper**: without the spatial mean ψ, which would leave one number; the mean
    of a map is the logit of the auxiliary classifier.

    Args:
        network: From ``cam_generator`` or ``cam_discriminator``, whose weights are shared.

    Returns:
        Functional model, images to maps ``(batch, rows, columns)`` of any range; a fourth of the
        image's sides for a generator, one row and column less for a discriminator.

    Raises:
        ValueError: If the network has no attention.
    """
    if ATTENTION not in {layer.name for layer in network.layers}:
        raise ValueError(
            f"Expected a network with a layer {ATTENTION!r}, received {network.name!r}. Pass one "
            "from cam_generator or cam_discriminator."
        )
    attended, _ = network.get_layer(ATTENTION).output
    return keras.Model(network.input, ops.sum(attended, axis=-1), name=f"{network.name}_attention")


class _GeneratorLayers:
    """The layers of a generator: no biases, mirrored borders, seeds of their own."""

    def __init__(self, seeds: LayerSeeds) -> None:
        self.seeds = seeds

    def conv(
        self, x: keras.KerasTensor, filters: int, kernel_size: int, *, strides: int = 1
    ) -> keras.KerasTensor:
        """A convolution that keeps the sides, or divides them by the stride."""
        convolution = layers.Conv2D(
            filters,
            kernel_size,
            strides=strides,
            use_bias=False,
            kernel_initializer=self.seeds.glorot_uniform(),
        )
        return convolution(ReflectionPadding2D(kernel_size // 2)(x))

    def pointwise(self, x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
        """A mixture of the maps at each pixel, the one convolution with a bias."""
        return layers.Conv2D(filters, 1, kernel_initializer=self.seeds.glorot_uniform())(x)

    def normalised(self, x: keras.KerasTensor, *, activate: bool = True) -> keras.KerasTensor:
        """Instance normalisation without scale and shift, and a ReLU."""
        norm = layers.GroupNormalization(groups=-1, epsilon=1e-5, center=False, scale=False)
        return layers.ReLU()(norm(x)) if activate else norm(x)

    def dense(self, x: keras.KerasTensor, units: int, name: str | None = None) -> keras.KerasTensor:
        """A matrix."""
        initializer = self.seeds.glorot_uniform()
        return layers.Dense(units, use_bias=False, kernel_initializer=initializer, name=name)(x)


def _spectral(
    x: keras.KerasTensor,
    filters: int,
    seeds: LayerSeeds,
    *,
    strides: int = 1,
    use_bias: bool = True,
    name: str | None = None,
) -> keras.KerasTensor:
    """A spectrally normalised 4x4 convolution."""
    convolution = SpectralConv2D(
        filters,
        4,
        strides=strides,
        use_bias=use_bias,
        kernel_initializer=seeds.glorot_uniform(),
        seed=seeds.next(),
        name=name,
    )
    return convolution(x)


def _check_shape(input_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Raises a ValueError unless two halvings and a doubling return to the image's sides."""
    shape = check_image_shape(input_shape)
    if any(side % 4 or side < _SMALLEST_IMAGE for side in shape[:2]):
        raise ValueError(
            f"Expected images whose height and width are multiples of 4 and at least "
            f"{_SMALLEST_IMAGE}, received {shape[0]}x{shape[1]}. Pad or scale them."
        )
    return shape
