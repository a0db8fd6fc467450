"""Every classifier by its name: targets, voters, those of single papers, those of codes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import keras

from models import densenet, narrow_resnet, puvae_classifiers, resnet, wide_resnet
from models.classifiers import classifier_a, classifier_b, classifier_c
from models.layers import check_num_classes
from models.thermometer import thermometer_classifier
from validation import check_choice, check_image_shape

__all__ = [
    "CAP_GAN_CLASSIFIERS",
    "CLASSIFIERS",
    "PUVAE_CLASSIFIERS",
    "TARGETS",
    "THERMOMETER_CLASSIFIERS",
    "VOTERS",
    "ClassifierBuilder",
    "build_classifier",
    "classifier_names",
]


class ClassifierBuilder(Protocol):
    """A function that builds one named classifier; see ``build_classifier`` for the arguments."""

    def __call__(
        self,
        input_shape: tuple[int, int, int],
        num_classes: int = 10,
        *,
        width: float = 1.0,
        depth: int | None = None,
        seed: int = 0,
    ) -> keras.Model:
        """Returns the built classifier."""


class _TargetBuilder(Protocol):
    def __call__(
        self,
        input_shape: tuple[int, int, int],
        num_classes: int = 10,
        *,
        width: float = 1.0,
        seed: int = 0,
    ) -> keras.Model: ...


def _target(name: str, builder: _TargetBuilder) -> ClassifierBuilder:
    def build(
        input_shape: tuple[int, int, int],
        num_classes: int = 10,
        *,
        width: float = 1.0,
        depth: int | None = None,
        seed: int = 0,
    ) -> keras.Model:
        if depth is not None:
            raise ValueError(
                f"Expected depth=None for target classifier {name}, received {depth}: it has no "
                "stages of equal blocks. Use width to make it smaller."
            )
        return builder(input_shape, num_classes, width=width, seed=seed)

    return build


def _voter(
    name: str,
    network: Callable[..., keras.Model],
    depth_argument: str,
    printed_depth: int,
    **printed: int,
) -> ClassifierBuilder:
    """Returns the builder of a network whose blocks per stage are called ``depth_argument``."""

    def build(
        input_shape: tuple[int, int, int],
        num_classes: int = 10,
        *,
        width: float = 1.0,
        depth: int | None = None,
        seed: int = 0,
    ) -> keras.Model:
        blocks = {depth_argument: printed_depth if depth is None else depth}
        return network(
            input_shape, num_classes, width=width, seed=seed, name=name, **blocks, **printed
        )

    return build


def _voters() -> dict[str, ClassifierBuilder]:
    """Returns the voters of Tables B.2, B.3 and B.4 by name."""
    voters: dict[str, ClassifierBuilder] = {}
    for letter, row in resnet.VARIANTS.items():
        name = f"resnet_{letter.lower()}"
        voters[name] = _voter(name, resnet.resnet, "stack_n", row.stack_n)
    for letter, dense_row in densenet.VARIANTS.items():
        name = f"densenet_{letter.lower()}"
        num_layers = densenet.layers_per_block(dense_row.depth)
        voters[name] = _voter(
            name, densenet.densenet, "num_layers", num_layers, growth_rate=dense_row.growth_rate
        )
    for letter, wide_row in wide_resnet.VARIANTS.items():
        name = f"wide_resnet_{letter.lower()}"
        num_blocks = wide_resnet.blocks_per_group(wide_row.depth)
        voters[name] = _voter(
            name,
            wide_resnet.wide_resnet,
            "num_blocks",
            num_blocks,
            widen_factor=wide_row.widen_factor,
        )
    return voters


def _thermometer(
    name: str,
    network: Callable[..., keras.Model],
    depth_argument: str,
    printed_depth: int,
    **printed: int,
) -> ClassifierBuilder:
    """Returns the builder of a network of thermometer codes, which it takes as they are."""

    def build(
        input_shape: tuple[int, int, int],
        num_classes: int = 10,
        *,
        width: float = 1.0,
        depth: int | None = None,
        seed: int = 0,
    ) -> keras.Model:
        def of_codes(
            input_shape: tuple[int, int, int], num_classes: int, *, width: float, seed: int
        ) -> keras.Model:
            blocks = {depth_argument: printed_depth if depth is None else depth}
            channels = input_shape[-1]
            as_they_are = (0.0,) * channels, (1.0,) * channels
            return network(
                input_shape,
                num_classes,
                width=width,
                normalization=as_they_are,
                seed=seed,
                name=f"{name}_network",
                **blocks,
                **printed,
            )

        return thermometer_classifier(
            of_codes, input_shape, num_classes, width=width, seed=seed, name=name
        )

    return build


def _narrow_of_codes(
    input_shape: tuple[int, int, int], num_classes: int, *, normalization: object, **named: Any
) -> keras.Model:
    """Returns the narrow network without its own normalisation, which codes do not need."""
    del normalization
    return narrow_resnet.narrow_resnet(input_shape, num_classes, standardised=False, **named)


def _thermometers() -> dict[str, ClassifierBuilder]:
    """Returns CAP-GAN's network and the residual ones of Tables B.2 and B.4 behind a code."""
    narrow = "thermometer_narrow_resnet"
    found: dict[str, ClassifierBuilder] = {
        narrow: _thermometer(narrow, _narrow_of_codes, "num_blocks", 5)
    }
    for letter, row in resnet.VARIANTS.items():
        name = f"thermometer_resnet_{letter.lower()}"
        found[name] = _thermometer(name, resnet.resnet, "stack_n", row.stack_n)
    for letter, wide_row in wide_resnet.VARIANTS.items():
        name = f"thermometer_wide_resnet_{letter.lower()}"
        num_blocks = wide_resnet.blocks_per_group(wide_row.depth)
        found[name] = _thermometer(
            name,
            wide_resnet.wide_resnet,
            "num_blocks",
            num_blocks,
            widen_factor=wide_row.widen_factor,
        )
    return found


CLASSIFIERS: dict[str, ClassifierBuilder] = {
    "A": _target("A", classifier_a),
    "B": _target("B", classifier_b),
    "C": _target("C", classifier_c),
    **_voters(),
}
"""Name -> builder, targets first, then the voters of Tables B.2, B.3 and B.4 in order."""

PUVAE_CLASSIFIERS: dict[str, ClassifierBuilder] = {
    f"puvae_{letter.lower()}": _target(
        f"puvae_{letter.lower()}",
        partial(puvae_classifiers.puvae_classifier, variant=letter),
    )
    for letter in puvae_classifiers.VARIANTS
}
"""Name -> builder of PuVAE's own classifiers, which no other method is evaluated with."""

CAP_GAN_CLASSIFIERS: dict[str, ClassifierBuilder] = {
    "narrow_resnet": _voter("narrow_resnet", narrow_resnet.narrow_resnet, "num_blocks", 5)
}
"""Name -> builder of the classifier that CAP-GAN protects, which no other method is evaluated with.
"""

THERMOMETER_CLASSIFIERS: dict[str, ClassifierBuilder] = _thermometers()
"""Name -> builder of the classifiers that see thermometer codes, a defense of their own."""

TARGETS: tuple[str, ...] = ("A", "B", "C")
"""The classifiers of Table B.1, which are attacked."""

VOTERS: tuple[str, ...] = tuple(name for name in CLASSIFIERS if name not in TARGETS)
"""The twelve classifiers of Tables B.2-B.4, which vote on purified images."""


def classifier_names() -> tuple[str, ...]:
    """Returns the names of the dissertation's classifiers, targets first.

    ``build_classifier`` also accepts those of ``PUVAE_CLASSIFIERS``, of ``CAP_GAN_CLASSIFIERS``
    and of ``THERMOMETER_CLASSIFIERS``.
    """
    return tuple(CLASSIFIERS)


def build_classifier(
    architecture: str,
    input_shape: tuple[int, int, int],
    num_classes: int = 10,
    *,
    width: float = 1.0,
    depth: int | None = None,
    seed: int = 0,
) -> keras.Model:
    """Builds a classifier by name.

    Training and loading go through this function, so that a configuration needs only a string.

    **Reference**: Dissertation, app. B, Tables B.1-B.4; PuVAE, Table 1; CAP-GAN, sec. IV-A.
    **Differs from the paper**: see the networks' own functions.

    Args:
        architecture: One of ``classifier_names()``, of ``PUVAE_CLASSIFIERS`` or of
            ``CAP_GAN_CLASSIFIERS`` or of ``THERMOMETER_CLASSIFIERS``.
        input_shape: ``(height, width, channels)`` with one channel or three.
        num_classes: Number of logits, at least 2.
        width: Multiplier of the hidden channel counts (of the growth rate for a DenseNet); 1.0 is
            the printed network.
        depth: Blocks per stage of a residual network (bottlenecks per dense block for a DenseNet);
            ``None`` is the printed network.
        seed: Non-negative seed of weights and dropout; equal seeds build equal networks.

    Returns:
        Functional model whose name is ``architecture``, images ``(batch, *input_shape)`` in [0, 1]
        to logits ``(batch, num_classes)`` of any range.

    Raises:
        ValueError: If the name is unknown or an argument does not fit the network.

    Example:
        import keras
        from models import build_classifier

        classifier = build_classifier("densenet_a", (28, 28, 1), width=0.5, depth=1)
        classifier(keras.random.uniform((2, 28, 28, 1))).shape  # (2, 10)
    """
    builders = CLASSIFIERS | PUVAE_CLASSIFIERS | CAP_GAN_CLASSIFIERS | THERMOMETER_CLASSIFIERS
    check_choice("architecture", architecture, builders)
    check_num_classes(num_classes)
    image_shape = check_image_shape(input_shape, channels=(1, 3))
    return builders[architecture](image_shape, num_classes, width=width, depth=depth, seed=seed)
