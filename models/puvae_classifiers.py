"""The five classifiers A to E that PuVAE is evaluated with."""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers

from models.layers import LayerSeeds, check_num_classes, scaled
from validation import check_choice, check_image_shape

__all__ = ["VARIANTS", "PuVAEClassifier", "puvae_classifier"]


@dataclass(frozen=True, kw_only=True)
class PuVAEClassifier:
    """One column of Table 1; every convolution and hidden layer ends in a ReLU.

    Args:
        convolutions: (filters, kernel size, stride) of each convolution.
        hidden: Units of each hidden dense layer.
        dropouts: Fraction dropped before each dense layer, the last included; 0 is no dropout.
    """

    convolutions: tuple[tuple[int, int, int], ...]
    hidden: tuple[int, ...]
    dropouts: tuple[float, ...]


VARIANTS: dict[str, PuVAEClassifier] = {
    "A": PuVAEClassifier(
        convolutions=((64, 5, 1), (64, 5, 2)), hidden=(128,), dropouts=(0.25, 0.5)
    ),
    "B": PuVAEClassifier(
        convolutions=((128, 3, 1), (64, 3, 2)), hidden=(128,), dropouts=(0.25, 0.5)
    ),
    "C": PuVAEClassifier(
        convolutions=((64, 5, 1), (128, 5, 1), (256, 5, 2)),
        hidden=(512, 256),
        dropouts=(0.25, 0.5, 0.0),
    ),
    "D": PuVAEClassifier(
        convolutions=((128, 3, 1), (256, 3, 1), (512, 3, 2)), hidden=(512,), dropouts=(0.25, 0.5)
    ),
    "E": PuVAEClassifier(convolutions=(), hidden=(200, 200), dropouts=(0.0, 0.0, 0.0)),
}
"""A and B are for one-channel images, C and D for CIFAR-10; E is the attacker's substitute."""


def puvae_classifier(
    input_shape: tuple[int, int, int],
    num_classes: int = 10,
    *,
    variant: str,
    width: float = 1.0,
    seed: int = 0,
) -> keras.Model:
    """Builds one of the classifiers that PuVAE is trained with and attacked on.

    Source and target classifier are two different ones, so that the purifier does not learn the
    decision boundary that is attacked.

    **Reference**: PuVAE, Table 1. Columns D and E are missing from the published text: D is that of
    the authors' public supplement, E is network E of Samangouei et al., "Defense-GAN", 2018, whose
    network A the table shares.
    **Differs from the paper**: ends in logits; convolutions are padded to keep the size, which
    the table leaves open.

    Args:
        input_shape: ``(height, width, channels)``.
        num_classes: Number of logits.
        variant: ``"A"`` to ``"E"``.
        width: Multiplier of all hidden channel counts.
        seed: Non-negative seed of weights and dropout.

    Returns:
        Functional model named ``"puvae_a"`` to ``"puvae_e"``, images ``(batch, *input_shape)`` in
        [0, 1] to logits ``(batch, num_classes)`` of any range.

    Raises:
        ValueError: If the variant is unknown or an argument is out of range.

    Example:
        import keras
        from models.puvae_classifiers import puvae_classifier

        classifier = puvae_classifier((28, 28, 1), variant="A", width=0.125)
        classifier(keras.random.uniform((2, 28, 28, 1))).shape  # (2, 10)
    """
    check_choice("variant", variant, VARIANTS)
    check_num_classes(num_classes)
    plan = VARIANTS[variant]
    name = f"puvae_{variant.lower()}"
    seeds = LayerSeeds(seed, name)
    inputs = keras.Input(check_image_shape(input_shape), name="images")
    x = inputs
    for filters, kernel_size, stride in plan.convolutions:
        x = layers.Conv2D(
            scaled(filters, width),
            kernel_size,
            strides=stride,
            padding="same",
            activation="relu",
            kernel_initializer=seeds.glorot_uniform(),
        )(x)
    x = layers.Flatten()(x)
    for units, dropout in zip((*plan.hidden, None), plan.dropouts, strict=True):
        if dropout:
            x = seeds.dropout(dropout)(x)
        x = layers.Dense(
            num_classes if units is None else scaled(units, width),
            activation=None if units is None else "relu",
            kernel_initializer=seeds.glorot_uniform(),
            name="logits" if units is None else None,
        )(x)
    return keras.Model(inputs, x, name=name)
