"""VQUNet: a U-Net whose features pass through codebooks on their way to the reconstruction."""

from __future__ import annotations

import math
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from defenses.batches import predict_in_batches
from defenses.losses import check_weights, mean_squared_error_loss
from defenses.phases import Batch, Losses, Phase, step_objective
from defenses.purifier import Purifier
from defenses.registry import register
from defenses.vq_losses import (
    class_averaged_codebook,
    code_frequencies,
    code_perplexity,
    codebook_loss,
    encoder_loss,
    used_code_share,
)
from models.vector_quantizer import VectorQuantizer
from models.vqunet import CHANNELS, quantizer_name, vqunet
from validation import check_choice, check_images, check_number

__all__ = ["EMA_SOURCES", "VQUNet", "network_outputs"]

EMA_SOURCES = ("codes", "encoder")
"""Which vectors algorithm 1 averages: the chosen codes, or the encoder's outputs they replace."""

NETWORK_ARGUMENTS = (
    "encoder_input",
    "code_range",
    "reconstruction_trains_codes",
    "codes_at_once",
)
DEPTHS = range(1, len(CHANNELS) + 1)


@register("non_vqunet", quantize=False)
@register("vqunet")
@keras.saving.register_keras_serializable(package="cleanroom")
class VQUNet(Purifier):
    """Purifies by one pass through a U-Net that decodes from learned codes only.

    A U-Net with plain skip connections would pass a perturbation on. Here every feature, at every
    depth, is replaced by the nearest vector of a codebook: small perturbations change no code, and
    large ones can only replace one code by another.

    The search for the nearest code has no gradient of its own. Attacks see the straight-through
    estimate, as if the codes moved with the features, so ``differentiable`` is true.

    **Reference**: Dissertation, ch. 5.3, eqs. 5.3.1-5.3.5, algorithm 1 and fig. 5.1. The ablation
    "non-VQUNet" of ch. 5.4.4 is registered as ``non_vqunet``: the same network without
    quantizers, trained by the reconstruction loss alone.

    **Differs from the paper**: the losses of eqs. 5.3.3 and 5.3.4 are averaged over the entries of
    a depth and added up over depths, which is not printed. The optimizer is not printed either; the
    default is Adam with rate 0.001. Algorithm 1 is as printed by default, which leaves few codes in
    use and features that hardly differ between images; ``ema_source="encoder"`` is the other
    interpretation, which the profiles evaluate. For what the network, the encoder loss and
    algorithm 1 change, see ``models.vqunet.vqunet``, ``encoder_loss`` and
    ``class_averaged_codebook``.

    Logged beside the losses, for each depth and as means over the batches of an epoch: the
    encoder loss there, the share of codes that a batch uses, and the perplexity of their use.

    Args:
        network: Images to reconstructions, features, codes and indices, as ``vqunet`` builds it.
        reconstruction_weight: α of eq. 5.3.5, at least 0.
        encoder_weight: β of eq. 5.3.5, at least 0.
        codebook_rate: ω of algorithm 1, in [0, 1]; 0 leaves algorithm 1 out.
        ema_source: One of ``EMA_SOURCES``; ``"codes"`` is printed, ``"encoder"`` trains better.
        **kwargs: Name and dtype, as of any model.

    Raises:
        ValueError: If the network has other outputs or an argument is out of range.

    Example:
        import numpy as np
        from defenses.vqunet import VQUNet

        images = np.random.default_rng(0).random((8, 28, 28, 1), dtype="float32")
        purifier = VQUNet.for_images((28, 28, 1), width=0.125)
        purifier.compile()
        purifier.fit({"clean": images, "label": np.arange(8)}, batch_size=4, verbose=0)
        purifier.purify(images).shape  # (8, 28, 28, 1)
    """

    batch_keys = ("clean", "label")
    retrains_classifier = True
    network_names = ("network",)
    loss_names = (
        "loss",
        "reconstruction_loss",
        "encoder_loss",
        "codebook_loss",
        *(f"encoder_loss_{depth}" for depth in DEPTHS),
        *(f"used_code_share_{depth}" for depth in DEPTHS),
        *(f"code_perplexity_{depth}" for depth in DEPTHS),
    )

    def __init__(
        self,
        network: keras.Model,
        *,
        reconstruction_weight: float = 1.0,
        encoder_weight: float = 1.0,
        codebook_rate: float = 0.2,
        ema_source: str = "codes",
        **kwargs: Any,
    ) -> None:
        quantizes = _check_network(network)
        if not quantizes:  # before the base class makes a mean for each name
            self.loss_names = ("loss", "reconstruction_loss")
        super().__init__(**kwargs)
        _check_arguments(reconstruction_weight, encoder_weight, codebook_rate, ema_source)
        self.network = network
        self.quantizes = quantizes
        self.reconstruction_weight = float(reconstruction_weight)
        self.encoder_weight = float(encoder_weight)
        self.codebook_rate = float(codebook_rate)
        self.ema_source = ema_source
        self.finish_building()

    @classmethod
    def for_images(
        cls,
        input_shape: tuple[int, int, int],
        num_classes: int = 10,
        *,
        width: float = 1.0,
        seed: int = 0,
        quantize: bool = True,
        **arguments: Any,
    ) -> Self:
        """Builds the published network and the purifier on it.

        Args:
            input_shape: ``(height, width, channels)``.
            num_classes: Sizes the codebooks, which have as many codes for each position.
            width: Factor on every hidden channel count; the number of codes stays.
            seed: Seeds weights and codes.
            quantize: False builds the ablation.
            **arguments: ``encoder_input``, ``code_range``, ``reconstruction_trains_codes`` and
                ``codes_at_once`` go to ``models.vqunet.vqunet``, all others to the constructor.

        Returns:
            A built purifier.
        """
        of_network = {key: arguments.pop(key) for key in NETWORK_ARGUMENTS if key in arguments}
        network = vqunet(
            input_shape, num_classes, width=width, quantize=quantize, seed=seed, **of_network
        )
        return cls(network, **arguments)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(height, width, channels)`` of the images."""
        return tuple(self.network.input_shape[1:])

    @property
    def num_classes(self) -> int | None:
        """Number of classes that the codebooks have codes for; ``None`` in the ablation."""
        if not self.quantizes:
            return None
        positions = math.prod(self.network.output["codes"][0].shape[1:3])
        return self.quantizers[0].num_embeddings // positions

    @property
    def quantizers(self) -> list[VectorQuantizer]:
        """The quantizers from depth 1 on; none in the ablation."""
        return [self.network.get_layer(quantizer_name(d)) for d in DEPTHS if self.quantizes]

    def call(self, images: Any, training: bool = False) -> Any:
        """Purifies images; see the base class for shapes and ranges."""
        return self.network(images, training=training)["images"]

    def features(self, images: np.ndarray, batch_size: int = 256) -> list[np.ndarray]:
        """Outputs of the encoding blocks, one array ``(num_images, height, width, channels)``
        for each depth; see ``network_outputs`` for arguments and memory."""
        return list(network_outputs(self.network, images, batch_size)["features"])

    def codes(self, images: np.ndarray, batch_size: int = 256) -> list[np.ndarray]:
        """Which code stands at each position: rows of the codebook, one integer array
        ``(num_images, height, width)`` for each depth; see ``network_outputs``.

        Raises:
            ValueError: If the network does not quantize.
        """
        if not self.quantizes:
            raise ValueError(
                "Expected a network with codebooks, received the ablation without. Build the "
                "purifier 'vqunet' to see codes."
            )
        return list(network_outputs(self.network, images, batch_size)["indices"])

    def unet_losses(self, batch: Batch, training: bool = True) -> tuple[Losses, Any]:
        """The losses of eq. 5.3.5 for one batch, and what algorithm 1 needs.

        Args:
            batch: ``"clean"``: images in [0, 1]; ``"label"``: integers ``(batch,)``.
            training: Whether batch statistics are those of training.

        Returns:
            Scalars by the names in ``loss_names``: ``"loss"``, weighted, and the unweighted
            batch means of its parts; and a pair of the labels and, for each depth, the vectors to
            average, or ``None`` where nothing is quantized.
        """
        images = batch["clean"]
        outputs = self.network(images, training=training)
        reconstruction = ops.mean(mean_squared_error_loss(images, outputs["images"]))
        total = self.reconstruction_weight * reconstruction
        losses = {"reconstruction_loss": reconstruction}
        if not self.quantizes:
            return {"loss": total, **losses}, None

        features, codes = outputs["features"], outputs["codes"]
        at_depths = [ops.mean(loss) for loss in map(encoder_loss, features, codes)]
        losses["encoder_loss"] = sum(at_depths)
        losses["codebook_loss"] = sum(map(ops.mean, map(codebook_loss, features, codes)))
        total = total + self.encoder_weight * losses["encoder_loss"] + losses["codebook_loss"]
        for depth, quantizer in zip(DEPTHS, self.quantizers, strict=True):
            used = code_frequencies(outputs["indices"][depth - 1], quantizer.num_embeddings)
            losses[f"encoder_loss_{depth}"] = at_depths[depth - 1]
            losses[f"used_code_share_{depth}"] = used_code_share(used)
            losses[f"code_perplexity_{depth}"] = code_perplexity(used)
        vectors = codes if self.ema_source == "codes" else features
        return {"loss": total, **losses}, (batch["label"], vectors)

    def update_codebooks(self, labels_and_vectors: Any) -> None:
        """Algorithm 1 at every depth, from the second value that ``unet_losses`` returned."""
        if not self.quantizes or self.codebook_rate == 0.0:
            return
        labels, all_vectors = labels_and_vectors
        for quantizer, vectors in zip(self.quantizers, all_vectors, strict=True):
            codebook = quantizer.codebook
            codebook.assign(class_averaged_codebook(codebook, vectors, labels, self.codebook_rate))

    def phases(self) -> list[Phase]:
        """One phase: an update of the network with its codebooks, followed by algorithm 1."""
        variables = self.network.trainable_variables
        return [Phase("unet", self.unet_losses, variables, self.optimizer, self.update_codebooks)]

    def train_step(self, data: Any) -> dict[str, Any]:
        """The two sub-steps of training (dissertation, ch. 5.3.2, "Entire Training").

        1. Take a batch of clean images X and their labels.
        2. Encode them depth by depth to features a, find the nearest codes q, and pass q* on.
        3. Decode the deepest q*, with q* of the depth above beside each result, to X~.
        4. Add up reconstruction, encoder and codebook losses (eq. 5.3.5).
        5. First sub-step: take a gradient step on the network and all codebooks.
        6. Second sub-step: move each class's codes towards the class's average vectors of step 2
           (algorithm 1). Labels are used for nothing else.

        Args:
            data: A batch with the keys ``"clean"`` and ``"label"``.

        Returns:
            The running epoch means of the losses, by name.
        """
        import tensorflow as tf

        batch = self.read_batch(data)
        with tf.GradientTape() as tape:
            losses, labels_and_vectors = self.unet_losses(batch, training=True)  # 2 to 4
            objective = step_objective(losses["loss"], self.optimizer)
        variables = self.network.trainable_variables
        gradients = tape.gradient(objective, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.update_codebooks(labels_and_vectors)
        self.track(losses, batch, "unet")
        return self.tracked_losses()

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the purifier, its network included."""
        return {
            **super().get_config(),
            "reconstruction_weight": self.reconstruction_weight,
            "encoder_weight": self.encoder_weight,
            "codebook_rate": self.codebook_rate,
            "ema_source": self.ema_source,
        }


def network_outputs(
    network: keras.Model, images: np.ndarray, batch_size: int = 256
) -> dict[str, Any]:
    """Everything that the network of VQUNet computes for an array of images.

    All of it is held at once: about 270 kB for an image of 32x32 pixels at full width.

    Args:
        network: A network that ``models.vqunet.vqunet`` built.
        images: Float array ``(num_images, height, width, channels)`` in [0, 1].
        batch_size: Largest number of images in a batch.

    Returns:
        The outputs described there, as arrays over all images.

    Raises:
        ValueError: If the images are of another shape, kind or range, or none.
    """
    checked = check_images(images, network.input_shape[1:])
    batches: list[dict[str, Any]] = []

    def predict(batch: np.ndarray) -> Any:
        batches.append(network.predict_on_batch(batch))
        return batches[-1]["images"]

    predict_in_batches(predict, checked, batch_size)

    def join(*parts: np.ndarray) -> np.ndarray:
        return np.concatenate(parts)[: len(checked)]  # only the last batch is filled up

    return keras.tree.map_structure(join, *batches)


def _check_network(network: keras.Model) -> bool:
    """Says whether a network quantizes; raises a ValueError if ``vqunet`` did not build it."""
    outputs = getattr(network, "output", None)
    outputs = outputs if isinstance(outputs, dict) else {}
    quantizes = {"codes", "indices"} <= set(outputs)
    depths = [len(values) for key, values in outputs.items() if key != "images"]
    complete = {"images", "features"} <= set(outputs) and set(depths) == {len(CHANNELS)}
    if not complete or tuple(outputs["images"].shape) != tuple(network.input_shape):
        raise ValueError(
            "Expected a network from images to a dict of reconstructions of their shape, and "
            f"features of {len(CHANNELS)} depths, received one with the outputs "
            f"{sorted(outputs)}. Build it by models.vqunet.vqunet."
        )
    return quantizes


def _check_arguments(
    reconstruction_weight: float, encoder_weight: float, codebook_rate: float, ema_source: str
) -> None:
    """Raises a ValueError if an argument of the purifier is out of its range."""
    check_weights(reconstruction_weight=reconstruction_weight, encoder_weight=encoder_weight)
    check_number("codebook_rate", codebook_rate, at_least=0, at_most=1, such_as=0.2)
    check_choice("ema_source", ema_source, EMA_SOURCES)
