"""The U-Net of VQUNet, whose skips and bottleneck are vector-quantized."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from models.layers import LayerSeeds, check_num_classes, scaled
from models.vector_quantizer import VectorQuantizer
from validation import check_choice, check_flag, check_image_shape

__all__ = ["CHANNELS", "CODE_RANGE", "ENCODER_INPUTS", "quantizer_name", "vqunet"]

CHANNELS = (64, 128, 256, 512)
"""Channels of the encoding blocks, from depth 1 on; 32 pixels halve four times to 2x2x512."""

ENCODER_INPUTS = ("quantized", "continuous")
"""Input of an encoding block: the features of the block above after quantization, or before."""

CODE_RANGE = (0.0, 1.0)
"""Range of the initial codes: about that of the features, which are normalized and at least 0.
Codes close to zero (``None``) train more slowly at first: the next depth normalizes the tiny codes,
which amplifies the gradient that is passed straight through to this one."""

MOST_CLASSES = 1_000
"""Most classes: each has a code for every position of the features."""

BATCH_NORM_MOMENTUM = 0.9


def quantizer_name(depth: int) -> str:
    """Returns the name that the quantizer of a depth (1, 2, ...) has in the network."""
    return f"quantizer_{depth}"


def vqunet(
    input_shape: tuple[int, int, int],
    num_classes: int = 10,
    *,
    width: float = 1.0,
    quantize: bool = True,
    encoder_input: str = "quantized",
    code_range: Sequence[float] | None = CODE_RANGE,
    reconstruction_trains_codes: bool = False,
    codes_at_once: int = 32,
    seed: int = 0,
) -> keras.Model:
    """Builds the U-Net of VQUNet, with everything that its training uses as outputs.

    A block encodes by a strided convolution and two residual blocks; a block decodes by a
    convolution, two residual blocks and a transposed convolution, whose result is concatenated with
    the quantized features of the depth above. The codebook of a depth has ``num_classes`` codes for
    each position of its features.

    **Reference**: Dissertation, ch. 5.3, figs. 5.1 and 5.2.
    **Differs from the paper**: the layers inside the blocks are not printed. There are four depths,
    the only chain of halvings from 32 pixels to the printed 2x2x512; channels 64, 128, 256, 512;
    kernels of 4 where the size changes and of 3 elsewhere, each convolution with batch
    normalization (momentum 0.9) and ReLU; the image is a 3x3 convolution with a sigmoid. Codes
    start at random, as printed; their range (``CODE_RANGE``) is not printed. The dissertation pads
    images of 28 pixels to 32 and calls those the data; here the network pads with zeros and crops
    back, so that the margin is neither attacked nor part of a loss.

    Args:
        input_shape: ``(height, width, channels)``; sizes that are no multiple of 16 are padded to
            one.
        num_classes: Number of classes, at least 1; sizes the codebooks.
        width: Multiplier of all hidden channel counts. The number of codes does not change.
        quantize: False omits the quantizers, which is the ablation of ch. 5.4.4.
        encoder_input: One of ``ENCODER_INPUTS``; fig. 5.1 passes quantized features on.
        code_range: Range of the initial codes; see ``CODE_RANGE`` and ``VectorQuantizer``.
        reconstruction_trains_codes: Whether the reconstruction loss also trains the chosen codes;
            see ``VectorQuantizer``.
        codes_at_once: Bounds the memory of the search; see ``VectorQuantizer``.
        seed: Non-negative seed of weights and codes.

    Returns:
        Functional model, images ``(batch, *input_shape)`` in [0, 1] to a dict: ``"images"``, the
        reconstructions, same shape and range; and lists with one entry per depth: ``"features"``,
        outputs of the encoding blocks ``(batch, height, width, channels)``, at least 0; and, if it
        quantizes, ``"codes"``, same shapes, any range, and ``"indices"``, int32
        ``(batch, height, width)``.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        import keras
        from models.vqunet import vqunet

        network = vqunet((28, 28, 1), width=0.125)
        outputs = network(keras.random.uniform((2, 28, 28, 1)))
        [indices.shape[1:] for indices in outputs["indices"]]  # [(16, 16), (8, 8), (4, 4), (2, 2)]
    """
    check_choice("encoder_input", encoder_input, ENCODER_INPUTS)
    check_num_classes(num_classes, at_least=1, at_most=MOST_CLASSES)
    check_flag("quantize", quantize)
    shape = check_image_shape(input_shape)
    channels = [scaled(count, width) for count in CHANNELS]
    seeds = LayerSeeds(seed, "vqunet")
    margins = [_margins(size) for size in shape[:2]]

    inputs = keras.Input(shape, name="images")
    x = layers.ZeroPadding2D(margins)(inputs) if any(map(sum, margins)) else inputs
    features, quantized, codes, indices = [], [], [], []
    for depth, filters in enumerate(channels, start=1):
        x = _encoding_block(x, filters, seeds)
        features.append(x)
        if quantize:
            result, *chosen = VectorQuantizer(
                num_classes * x.shape[1] * x.shape[2],
                filters,
                code_range=code_range,
                reconstruction_trains_codes=reconstruction_trains_codes,
                codes_at_once=codes_at_once,
                seed=seeds.next(),
                name=quantizer_name(depth),
            )(x)
            codes.append(chosen[0])
            indices.append(chosen[1])
        else:
            result = x
        quantized.append(result)
        x = result if encoder_input == "quantized" else x

    x = quantized.pop()
    for filters, filters_above in zip(
        channels[::-1], [*channels[-2::-1], channels[0]], strict=True
    ):
        x = _decoding_block(x, filters, filters_above, seeds)
        if quantized:
            x = layers.Concatenate()([x, quantized.pop()])
    x = layers.Conv2D(
        shape[2],
        3,
        padding="same",
        activation="sigmoid",
        kernel_initializer=seeds.glorot_uniform(),
    )(x)
    x = layers.Cropping2D(margins)(x) if any(map(sum, margins)) else x
    outputs = {"images": x, "features": features}
    if quantize:
        outputs |= {"codes": codes, "indices": indices}
    return keras.Model(inputs, outputs, name="vqunet" if quantize else "non_vqunet")


def _margins(size: int) -> tuple[int, int]:
    """Returns the padding to the next multiple of all strides, half on either side."""
    missing = -size % 2 ** len(CHANNELS)
    return missing // 2, missing - missing // 2


def _encoding_block(x: keras.KerasTensor, filters: int, seeds: LayerSeeds) -> keras.KerasTensor:
    """Returns features of half the size, at least 0."""
    x = layers.ReLU()(_normalized_conv(x, filters, 4, seeds, strides=2))
    for _ in range(2):
        x = _residual_block(x, filters, seeds)
    return x


def _decoding_block(
    x: keras.KerasTensor, filters: int, filters_above: int, seeds: LayerSeeds
) -> keras.KerasTensor:
    """Returns features of twice the size, with the channels of the depth above."""
    x = layers.ReLU()(_normalized_conv(x, filters, 3, seeds))
    for _ in range(2):
        x = _residual_block(x, filters, seeds)
    return layers.Conv2DTranspose(
        filters_above,
        4,
        strides=2,
        padding="same",
        activation="relu",
        kernel_initializer=seeds.glorot_uniform(),
    )(x)


def _residual_block(x: keras.KerasTensor, filters: int, seeds: LayerSeeds) -> keras.KerasTensor:
    """Returns ``x`` plus two convolutions of it, at least 0."""
    residual = layers.ReLU()(_normalized_conv(x, filters, 3, seeds))
    residual = _normalized_conv(residual, filters, 3, seeds)
    return layers.ReLU()(layers.Add()([x, residual]))


def _normalized_conv(
    x: keras.KerasTensor, filters: int, kernel_size: int, seeds: LayerSeeds, *, strides: int = 1
) -> keras.KerasTensor:
    """Returns a same-padded convolution of ``x``, batch-normalized."""
    x = layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        kernel_initializer=seeds.glorot_uniform(),
    )(x)
    return layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
