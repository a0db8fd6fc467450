"""What networks, trainings, purifications and attacks cost, in floating-point operations.

Counted from layers and shapes: a multiplication and an addition are two operations. Convolutions,
dense layers and the search for the nearest code are counted; products with padding, normalisations
and activations are not. A gradient with respect to the images costs two passes, one forward and
one backward; one with respect to the weights too costs three.

Building a network only to count it takes seconds at full width, so the counts of the profiles'
networks are kept in ``operation_counts.json`` (``benchmarks/count_operations.py`` writes it); a
network that is not there is built and counted.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras

from attacks.registry import get_attack
from attacks.substitute import SubstituteTraining
from defenses.registry import get_purifier
from experiments.config import AttackConfig, ClassifierConfig, PurifierConfig
from models.registry import build_classifier
from models.vector_quantizer import VectorQuantizer

COUNTS = Path(__file__).with_name("operation_counts.json")
FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT = 1, 2, 3
"""Passes through a network: its output; its gradient with respect to the images; and to the
weights too."""
Shape = tuple[int, int, int]


class Count(NamedTuple):
    """What one forward pass of one image through a network takes.

    Attributes:
        operations: Floating-point operations.
        weights: Numbers that the network holds.
        activations: Numbers that a gradient needs of the way there: the inputs of all layers that
            have weights.
    """

    operations: float
    weights: float
    activations: float

    @classmethod
    def total(cls, counts: Iterable[Count]) -> Count:
        """The sum of several."""
        columns = zip((0.0, 0.0, 0.0), *counts, strict=True)
        return cls(*(float(sum(numbers)) for numbers in columns))

    def minus(self, part: Count) -> Count:
        """What is left of it without a part."""
        return Count(*(whole - own for whole, own in zip(self, part, strict=True)))


Networks = Mapping[str, Count]
"""The counts of the networks that a classifier or a purifier consists of."""

TRAINED_PASSES: dict[str, dict[str, float]] = {
    "APEGAN": {
        # Once for the discriminator, and two updates of its own.
        "generator": FORWARD + 2 * WEIGHT_GRADIENT,
        # Clean and generated images to learn from, and to teach the generator twice.
        "discriminator": 2 * WEIGHT_GRADIENT + 2 * INPUT_GRADIENT,
    },
    "CAPGAN": {
        # Once for the discriminators; for itself of x, of x_adv and, to close a cycle, of a fake.
        "generator_to_clean": FORWARD + 3 * WEIGHT_GRADIENT,
        "generator_to_adversarial": FORWARD + 3 * WEIGHT_GRADIENT,
        # A real and a generated image to learn from, and a generated one to teach the generator.
        "discriminator_clean": 2 * WEIGHT_GRADIENT + INPUT_GRADIENT,
        "discriminator_adversarial": 2 * WEIGHT_GRADIENT + INPUT_GRADIENT,
    },
    "DefenseCycleGAN": {
        # Each generator sees half of the batch: once for the discriminators, twice for itself.
        "generator_a": (FORWARD + 2 * WEIGHT_GRADIENT) / 2,
        "generator_b": (FORWARD + 2 * WEIGHT_GRADIENT) / 2,
        # A real and a generated half to learn from, and a generated one to teach the generator.
        "discriminator_a": (2 * WEIGHT_GRADIENT + INPUT_GRADIENT) / 2,
        "discriminator_b": (2 * WEIGHT_GRADIENT + INPUT_GRADIENT) / 2,
    },
    "DefenseGAN": {
        # A part of the batch for each update of the critic, and one more for the generator's.
        "generator": FORWARD + WEIGHT_GRADIENT / 5,
        # Real and generated images, and the penalty: a gradient (2), itself differentiated (4).
        "critic": 2 * WEIGHT_GRADIENT + 3 * INPUT_GRADIENT + INPUT_GRADIENT / 5,
    },
    "DefenseVAE": {"encoder": WEIGHT_GRADIENT, "decoder": WEIGHT_GRADIENT},
    "HGD": {"denoiser": WEIGHT_GRADIENT},
    "MagNet": {"autoencoder": WEIGHT_GRADIENT},
    "PuVAE": {
        "encoder_images": WEIGHT_GRADIENT,
        "encoder_labels": WEIGHT_GRADIENT,
        "decoder": WEIGHT_GRADIENT,
    },
    "SFLVAE": {"encoder": WEIGHT_GRADIENT, "decoder": WEIGHT_GRADIENT},
    # No gradient flows through the comparison with all codes.
    "VQUNet": {"network": WEIGHT_GRADIENT, "nearest_codes": FORWARD},
}
"""Passes of one training step for each of its images, by class of the purifier and network. One
that is not here trains each of its networks once."""
SOURCE_PASSES: dict[str, float] = {
    "APEGAN": INPUT_GRADIENT,  # FGSM
    # Of the attack; of x and x_adv, the teacher's; and of three versions of each, the student's.
    "CAPGAN": INPUT_GRADIENT + 2 * FORWARD + 6 * INPUT_GRADIENT,
    # FGSM, the answers to clean images, and those to denoised ones, which pass a gradient.
    "HGD": INPUT_GRADIENT + FORWARD + INPUT_GRADIENT,
}
"""Passes of the frozen classifier that a purifier asks, in one training step for each of its
images, by class of the purifier. One that is not here asks it once, and passes a gradient."""
STOCHASTIC = ("DefenseGAN", "PuVAE", "SFLVAE")
"""Classes of purifiers of which two purifications of one image differ."""
SEARCH = ("num_restarts", "num_steps", "learning_rate", "momentum", "initial_scale")
"""The arguments of Defense-GAN's search."""
SAME_NETWORKS = (
    *("reduction", "weight", "sigmas", "source", "range", "noise", "noisy", "mode"),
    *("mean_latent", "codes", "alpha", "temperature", "epsilon"),
    *("quality", "levels", "generator_steps"),
)
"""What the names of arguments hold that leave the networks as they are."""


def count_network(model: keras.Model) -> Count:
    """Counts one image's forward pass through a functional model, nested ones included.

    Args:
        model: Built for one size of images.

    Raises:
        ValueError: If it is not functional, so that its layers' shapes are not known.
    """
    calls = list(_calls(model))
    return Count(
        operations=float(sum(_operations(layer, shape) for layer, shape in calls)),
        weights=float(sum(_size(weight.shape) for weight in model.weights)),
        activations=float(sum(_size(shape) for layer, shape in calls if layer.weights)),
    )


def _calls(model: keras.Model) -> Iterator[tuple[keras.layers.Layer, tuple[int | None, ...]]]:
    """Every call of a layer, with the shape of its first input."""
    config = model.get_config()
    if not isinstance(config, dict) or "input_layers" not in config:
        raise ValueError(
            f"Expected a functional model, received {type(model).__name__} {model.name!r}. Build "
            "it from keras.Input."
        )
    for entry in config["layers"]:
        layer = model.get_layer(entry["name"])
        for node in entry["inbound_nodes"]:
            if isinstance(layer, keras.Model):
                yield from _calls(layer)
            else:
                yield layer, next(_shapes(node))


def _shapes(node: Any) -> Iterator[tuple[int | None, ...]]:
    """Shapes of the tensors that a layer is called with, as ``get_config`` writes them."""
    if isinstance(node, Mapping):
        if node.get("class_name") == "__keras_tensor__":
            yield tuple(node["config"]["shape"])
        else:
            for value in node.values():
                yield from _shapes(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _shapes(value)


def _operations(layer: keras.layers.Layer, shape: tuple[int | None, ...]) -> float:
    """Operations of one call of one layer for one image."""
    if isinstance(layer, VectorQuantizer):
        return 2.0 * _size(shape) * layer.num_embeddings
    if isinstance(layer, keras.layers.Conv2DTranspose):
        # A convolution from its output to its input, the other way round.
        output = layer.compute_output_shape(shape)
        return 2.0 * _taps(layer, output, shape) * _size(layer.kernel.shape[2:])
    if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
        output = layer.compute_output_shape(shape)
        # A kernel of groups or of single channels has only the weights that a pixel meets.
        return 2.0 * _taps(layer, shape, output) * _size(layer.kernel.shape[2:])
    if isinstance(layer, keras.layers.Dense):
        return 2.0 * _size(shape[:-1]) * _size(layer.kernel.shape)
    return 0.0


def _taps(layer: Any, large: tuple[int | None, ...], small: tuple[int | None, ...]) -> int:
    """Pairs of a pixel and a position of the kernel over it that lies inside the image."""
    pairs = 1
    for axis, (kernel, stride) in enumerate(zip(layer.kernel_size, layer.strides, strict=True)):
        inside, places = int(large[axis + 1] or 0), int(small[axis + 1] or 0)
        padded = max((places - 1) * stride + kernel - inside, 0) if layer.padding == "same" else 0
        starts = (place * stride - padded // 2 for place in range(places))
        pairs *= sum(min(start + kernel, inside) - max(start, 0) for start in starts)
    return pairs


def _size(shape: Any) -> int:
    return math.prod(size for size in shape if size is not None)


# -- networks of a configuration ----------------------------------------------------------------


def networks(
    config: ClassifierConfig | PurifierConfig, shape: Shape, num_classes: int = 10
) -> Networks:
    """The counts of each network of a configuration, for one forward pass of one image.

    A classifier is one network. PuVAE's encoder counts as two: the part that sees the image alone,
    and the rest, which is run for each class. So do VQUNet's layers and its comparison with all
    codes.

    Args:
        config: What is built.
        shape: ``(height, width, channels)``.
        num_classes: Number of classes.
    """
    return _networks(_Built.of(config, shape, num_classes))


@dataclasses.dataclass(frozen=True)
class _Built:
    """What the networks of a configuration depend on."""

    kind: type
    name: str
    width: float
    shape: Shape
    num_classes: int
    arguments: tuple[tuple[str, Any], ...]

    @classmethod
    def of(
        cls, config: ClassifierConfig | PurifierConfig, shape: Shape, num_classes: int
    ) -> _Built:
        if isinstance(config, ClassifierConfig):
            name, given = config.architecture, {"depth": config.depth}
            arguments = {key: value for key, value in given.items() if value is not None}
        else:
            name = config.name
            arguments = {
                key: value
                for key, value in config.arguments.items()
                if key not in SEARCH and not any(word in key for word in SAME_NETWORKS)
            }
        pairs = tuple(sorted(arguments.items()))
        return cls(type(config), name, float(config.width), shape, num_classes, pairs)

    @property
    def label(self) -> str:
        """Its name in ``operation_counts.json``."""
        size = "x".join(map(str, self.shape))
        further = "".join(f", {key} {value}" for key, value in self.arguments)
        return f"{self.name}, {size}, {self.num_classes} classes, width {self.width:g}{further}"

    def count(self) -> Networks:
        """Builds the networks and counts."""
        arguments = {"width": self.width, **dict(self.arguments)}
        if self.kind is ClassifierConfig:
            model = build_classifier(self.name, self.shape, self.num_classes, **arguments)
            return {"network": count_network(model)}
        entry = get_purifier(self.name)
        return _counted(entry.for_images(self.shape, self.num_classes, **arguments))


def count(
    config: ClassifierConfig | PurifierConfig, shape: Shape, num_classes: int = 10
) -> Networks:
    """As ``networks``, always counted anew."""
    return _Built.of(config, shape, num_classes).count()


def label(config: ClassifierConfig | PurifierConfig, shape: Shape, num_classes: int = 10) -> str:
    """The name under which the counts of a configuration are kept."""
    return _Built.of(config, shape, num_classes).label


@functools.cache
def _networks(built: _Built) -> Networks:
    return kept_counts().get(built.label) or built.count()


@functools.cache
def kept_counts() -> dict[str, Networks]:
    """The counts that are kept, by name."""
    kept = json.loads(COUNTS.read_text()) if COUNTS.is_file() else {}
    return {
        label: {name: Count(*numbers) for name, numbers in networks.items()}
        for label, networks in kept.items()
    }


def _trained_passes(kind: type) -> Mapping[str, float]:
    default = dict.fromkeys(getattr(kind, "network_names", ()), float(WEIGHT_GRADIENT))
    return TRAINED_PASSES.get(kind.__name__, default)


def _counted(purifier: Any) -> Networks:
    passes = _trained_passes(type(purifier))
    if "encoder_images" in passes:
        images = count_network(purifier.encoder.get_layer("image_part"))
        labels = count_network(purifier.encoder).minus(images)
        decoder = count_network(purifier.decoder)
        return {"encoder_images": images, "encoder_labels": labels, "decoder": decoder}
    named = [name for name in passes if name != "nearest_codes"]
    counts = {name: count_network(getattr(purifier, name)) for name in named}
    if "nearest_codes" in passes:
        calls = [call for call in _calls(purifier.network) if isinstance(call[0], VectorQuantizer)]
        codes = Count(sum(_operations(*call) for call in calls), 0.0, 0.0)
        counts |= {"network": counts["network"].minus(codes), "nearest_codes": codes}
    return counts


# -- what is done with them ---------------------------------------------------------------------


def training_operations(
    config: ClassifierConfig | PurifierConfig,
    shape: Shape,
    num_classes: int = 10,
    *,
    source: float = 0.0,
) -> float:
    """Operations of the training step of one image of an epoch.

    Args:
        config: What is trained; of a purifier with attacked copies one copy counts as an image.
        shape: ``(height, width, channels)``.
        num_classes: Number of classes.
        source: Operations of a forward pass of the frozen classifier that a purifier asks.
    """
    if isinstance(config, ClassifierConfig):
        forward = networks(config, shape, num_classes)["network"].operations
        if config.adversarial_epsilon is None:
            return WEIGHT_GRADIENT * forward
        if config.adversarial_steps > 1:
            return (INPUT_GRADIENT * config.adversarial_steps + WEIGHT_GRADIENT) * forward
        return (INPUT_GRADIENT + 2 * WEIGHT_GRADIENT) * forward
    counts = networks(config, shape, num_classes)
    kind = get_purifier(config.name).purifier_class
    passes = _trained_passes(kind)
    own = sum(passes[name] * one.operations for name, one in counts.items())
    return own + SOURCE_PASSES.get(kind.__name__, INPUT_GRADIENT) * source


def calls_of_step(config: PurifierConfig) -> float:
    """How many networks a training step of a purifier runs through, forward and back."""
    passes = _trained_passes(get_purifier(config.name).purifier_class)
    return sum(passes.values()) / WEIGHT_GRADIENT


@dataclasses.dataclass(frozen=True, kw_only=True)
class Purification:
    """What a purifier costs for one image.

    Args:
        forward: Operations of a purification.
        gradient: Operations of a purification and of the way back of a gradient through it.
    """

    forward: float
    gradient: float


def purification(
    config: PurifierConfig,
    shape: Shape,
    num_classes: int = 10,
    *,
    restarts: int | None = None,
    steps: int | None = None,
) -> Purification:
    """Operations of the purification of one image.

    Args:
        config: The purifier.
        shape: ``(height, width, channels)``.
        num_classes: Number of classes, which PuVAE tries one by one.
        restarts: Of a search; ``None`` is the configuration's.
        steps: Of a search; ``None`` is the configuration's.
    """
    counted = networks(config, shape, num_classes)
    counts = {name: one.operations for name, one in counted.items()}
    kind = get_purifier(config.name).purifier_class
    if kind.__name__ == "DefenseGAN":
        given = {**_defaults(kind), **config.arguments}
        restarts = given["num_restarts"] if restarts is None else restarts
        steps = given["num_steps"] if steps is None else steps
        searched = restarts * (INPUT_GRADIENT * steps + FORWARD) * counts["generator"]
        # No gradient flows back through a search; an attack takes the identity's.
        return Purification(forward=searched, gradient=searched)
    if kind.__name__ == "PuVAE":
        each = counts["encoder_labels"] + counts["decoder"]
        forward = counts["encoder_images"] + num_classes * each
    elif kind.__name__ == "CAPGAN":
        forward = counts["generator_to_clean"]
    elif kind.__name__ == "DefenseCycleGAN":
        alone = config.arguments.get("mode") == "ga"
        forward = counts["generator_a"] + (0 if alone else counts["generator_b"])
    elif kind.__name__ == "APEGAN":
        forward = counts["generator"]
    else:
        forward = sum(counts.values())
    codes = counts.get("nearest_codes", 0.0)
    return Purification(forward=forward, gradient=INPUT_GRADIENT * (forward - codes) + codes)


def _defaults(kind: type) -> dict[str, int]:
    parameters = inspect.signature(kind).parameters
    return {name: parameters[name].default for name in ("num_restarts", "num_steps")}


def attack_operations(config: AttackConfig, gradient: float) -> float:
    """Operations of an attack on one image: its gradients, each of them at its most.

    Args:
        config: The attack.
        gradient: Operations of one gradient with respect to the image.
    """
    return get_attack(config.name, **config.hyperparameters).num_gradients() * gradient


def substitute_operations(training: SubstituteTraining, substitute: float, target: float) -> float:
    """Operations of learning a substitute of a classifier from its answers.

    Args:
        training: Rounds, epochs and images.
        substitute: Operations of a forward pass of the substitute.
        target: Operations of a forward pass of the classifier that answers.
    """
    seen = sum(training.num_seed_images * 2**number for number in range(training.num_rounds))
    augmented = training.num_queries - training.num_seed_images
    learnt = WEIGHT_GRADIENT * training.epochs * seen + INPUT_GRADIENT * augmented
    return learnt * substitute + training.num_queries * target
