"""The base class of every purifier.

A purifier maps images to images: it takes an image that may be attacked and returns an estimate of
the clean one. The rest of the project uses purifiers through this class only.

This module imports no backend. ``tensorflow`` is imported inside the training steps only, so a
saved purifier loads on every backend of Keras and, unless it takes gradients as Defense-GAN does,
purifies there. It trains on TensorFlow and on JAX, where a step is made from the phases.
"""

from __future__ import annotations

import abc
import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from defenses.batches import predict_in_batches, reset_seed_generators
from defenses.callbacks import check_callbacks
from defenses.image_model import ImageModel
from defenses.optimizers import OptimizerGroup, build_optimizer, take_optimizers
from defenses.phases import Batch, Losses, Phase, step_objective
from defenses.saving import (
    CompositeModel,
    check_new_file,
    check_new_folder,
    check_onnx_file,
    check_onnx_packages,
    check_weights,
    write_saved_model,
)
from defenses.stateless import lend_stateless_steps
from defenses.training_data import BatchCheck, CheckedTraining
from validation import check_flag, check_images, check_integer, check_number

__all__ = ["Phase", "Purifier", "check_functional"]


class Purifier(ImageModel, CheckedTraining, CompositeModel, abc.ABC):
    """Maps images to images; every defense that cleans its input derives from it.

    A subclass makes its networks in ``__init__``, ends it with ``finish_building()``, and gives
    ``call``, ``image_shape``, ``for_images``, the ``network_names`` it is saved with and, in
    ``get_config``, its options. One that trains also gives ``loss_names``, loss methods,
    ``phases`` and an explicit ``train_step``.

    Training data. ``fit(dataset)`` takes a ``keras.utils.PyDataset`` whose items are dicts keyed
    by ``batch_keys`` (or one-element tuples of such a dict), or a dict of arrays:
    ``"clean"`` and ``"adversarial"`` are float32 images in [0, 1], ``"label"`` are integers of
    shape ``(batch,)``. Logged losses are means over the images of the epoch.

    Loss methods return a dict of batch-mean scalars with the total under ``"loss"``. They are
    never called ``losses``: that name is a property of every Keras layer.

    Attributes:
        batch_keys: Keys of a training batch.
        loss_names: Every logged loss. Where phases share the name ``"loss"``, it is declared and
            logged as ``"<phase>_loss"``.
        optimizer_names: The optimizers that ``compile`` takes, one for each network group.
        num_parts: Parts of one size that a training step cuts its batch into, each with a role of
            its own.
        is_stochastic: Whether two purifications of one image differ, so that an attack has to
            average over them.
        differentiable: Whether a gradient flows to the input; if not, an attack needs BPDA.
        pooled: Whether it is published with a pool of voters and the Bayesian update.
        retrains_classifier: Whether the classifier behind it is published retrained on purified
            images.
        has_detectors: Whether it is published with detectors that refuse images.
        guards_source: Whether the classifier that it is trained with is the one that it protects,
            and not one of the attacker's or of nobody's.

    Call arguments:
        images: float32 ``(batch, height, width, channels)`` in [0, 1].
        training: Whether dropout, batch statistics and sampling behave as in training.

    Returns:
        Purified images, shape of the input, in [0, 1].
    """

    batch_keys: tuple[str, ...] = ("clean",)
    loss_names: tuple[str, ...] = ()
    optimizer_names: tuple[str, ...] = ("optimizer",)
    num_parts: int = 1
    is_stochastic: bool = False
    differentiable: bool = True
    pooled: bool = False
    retrains_classifier: bool = False
    has_detectors: bool = False
    guards_source: bool = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._loss_trackers = {name: keras.metrics.Mean(name=name) for name in self.loss_names}

    @classmethod
    @abc.abstractmethod
    def for_images(
        cls,
        input_shape: tuple[int, int, int],
        num_classes: int = 10,
        *,
        width: float = 1.0,
        seed: int = 0,
        **arguments: Any,
    ) -> Self:
        """Builds the published architecture for images of one shape.

        Args:
            input_shape: ``(height, width, channels)``.
            num_classes: Number of classes, for purifiers that are conditioned on the class.
            width: Factor on every hidden channel count; 1 is the published network.
            seed: Seeds initial weights, dropout and sampling.
            **arguments: Passed on to the constructor and the networks.

        Returns:
            A built purifier, ready to train or to purify.
        """

    @classmethod
    def narrow(cls, purifier: keras.Model) -> Self:
        """Returns ``purifier`` itself, with this class as its static type.

        Args:
            purifier: Any purifier.

        Raises:
            ValueError: If it is of another class.
        """
        if not isinstance(purifier, cls):
            raise ValueError(
                f"Expected a purifier of class {cls.__name__}, received {purifier.name!r} of class "
                f"{type(purifier).__name__}. Give this key of the profile's purifiers to a "
                f"{cls.__name__}."
            )
        return purifier

    @property
    @abc.abstractmethod
    def image_shape(self) -> tuple[int, int, int]:
        """``(height, width, channels)`` of the images this purifier takes and returns."""

    @property
    def num_classes(self) -> int | None:
        """Number of classes that training labels are of; ``None`` if the networks do not say."""
        return None

    @abc.abstractmethod
    def call(self, images: Any, training: bool = False) -> Any:
        """Purifies a batch of images in [0, 1]; see the class docstring."""

    def finish_building(self) -> None:
        """Builds the model for ``image_shape``; an unbuilt model would save without weights."""
        self.build((None, *self.image_shape))

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates missing variables by a call on symbolic images."""
        if not self.built:
            self.call(keras.KerasTensor(tuple(input_shape)))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """The shape of the input."""
        return tuple(input_shape)

    # ------------------------------------------------------------------ purifying

    def purify(self, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
        """Purifies an array of any length, in compiled batches of one size.

        The last batch is padded, so no length causes a new compilation. A stochastic purifier
        draws anew at each call; ``reset_randomness`` makes a call repeatable, for the same
        images in the same order at the same ``batch_size``.

        Args:
            images: Float array ``(num_images, height, width, channels)`` in [0, 1].
            batch_size: Largest number of images in a batch.

        Returns:
            float32 array of the same shape, in [0, 1].

        Raises:
            ValueError: If the images are of another shape, kind or range, not finite, or none;
                or if a purified image is not finite.
        """
        checked = check_images(images, self.image_shape)
        purified = predict_in_batches(self.predict_checked, checked, batch_size)
        if not np.isfinite(purified).all():
            raise ValueError(
                f"Expected finite purified images, received NaN or infinity from "
                f"{type(self).__name__}. Its weights are probably damaged: train it again at a "
                "lower learning rate."
            )
        return np.clip(purified, 0.0, 1.0).astype("float32", copy=False)

    def attack_surrogate(self) -> Purifier:
        """A purifier with the same networks that a gradient attack should use in its place.

        The purifier itself, unless a subclass makes a discrete choice without a gradient.
        """
        return self

    def reset_randomness(self, seed: int) -> None:
        """Restarts every random stream of the purifier (sampling, dropout) from one seed."""
        reset_seed_generators(self, seed)

    def export(
        self,
        filepath: str | os.PathLike[str],
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Sequence[Any] | None = None,
        **arguments: Any,
    ) -> None:
        """Writes the purification alone, to be run without this code; see ``keras.Model.export``.

        Keras knows the signature of a model of this kind only after its first call. Here it is
        known before: any number of images of ``image_shape``. A SavedModel purifies by the
        ``serve`` of what ``tf.saved_model.load`` returns, and draws anew at each call if the
        purifier is stochastic.

        Args:
            filepath: Folder of the SavedModel, or the ``.onnx`` file.
            format: ``"tf_saved_model"``, ``"onnx"``, or another that Keras knows.
            verbose: Whether Keras prints where it has written; ``None`` is Keras's default.
            input_signature: What Keras takes; ``None`` is float32
                ``(batch, height, width, channels)`` with a free batch.
            **arguments: Passed on to Keras, such as ``opset_version``.

        Raises:
            ImportError: If a package that ONNX needs is not installed.
            ValueError: If a weight is not finite, the path is not on this computer or taken by
                another kind of thing, or ONNX cannot express the purifier: it is stochastic, or
                made of operations that ONNX does not have.
        """
        as_known = input_signature is None and not arguments
        if input_signature is None:
            shape = (None, *self.image_shape)
            input_signature = [keras.InputSpec(dtype="float32", shape=shape, name="images")]
        path, of_class = filepath, type(self).__name__
        if format in ("onnx", "tf_saved_model"):
            to_file = format == "onnx"
            path = check_new_file(filepath, ".onnx") if to_file else check_new_folder(filepath)
        check_weights(self)
        if format == "onnx":
            if self.is_stochastic:
                raise ValueError(
                    f"Expected a deterministic purifier for format='onnx', which has no seeded "
                    f"noise, received a stochastic {of_class}. Export it with "
                    "format='tf_saved_model', or build one without noise on the same networks "
                    "(mean_latent=True for a variational autoencoder)."
                )
            check_onnx_packages()
        on_tensorflow = keras.backend.backend() == "tensorflow"
        if format == "tf_saved_model" and as_known and on_tensorflow:
            write_saved_model(self, str(path), self.image_shape)
            if verbose is not False:
                print(f"Saved the purification at {str(path)!r}, as 'serve'.")
            return
        super().export(str(path), format, verbose, input_signature, **arguments)
        if format == "onnx":
            check_onnx_file(str(path), of_class)

    # ------------------------------------------------------------------ training

    def phases(self) -> list[Phase]:
        """The updates of one training step, in order; none for a purifier without training."""
        return []

    @classmethod
    def default_optimizer(cls) -> keras.optimizers.Optimizer:
        """The optimizer that ``compile`` uses by default; a subclass returns its published one."""
        return keras.optimizers.Adam()

    def compile(  # the signature is Keras's, less what a purifier fixes itself
        self,
        optimizer: keras.optimizers.Optimizer | str | None = None,
        *,
        run_eagerly: bool = False,
        jit_compile: bool | str = "auto",
        steps_per_execution: int = 1,
    ) -> None:
        """Takes the optimizer and creates its state, so all variables exist before ``fit``.

        A subclass with several optimizers takes each by its name and passes them to
        ``compile_with``.

        Args:
            optimizer: A Keras optimizer, or the name of one; ``None`` is ``default_optimizer()``.
                Gradients are clipped as the given optimizer is configured to. In mixed precision
                with float16 it is wrapped in a ``LossScaleOptimizer``.
            run_eagerly: Whether to run steps without compiling them.
            jit_compile: Whether to compile with XLA; ``"auto"`` leaves it off on a CPU.
            steps_per_execution: Batches per compiled call, at least 1.

        Raises:
            ValueError: If the optimizer is unknown or belongs to another model, or an argument is
                of the wrong kind.
        """
        self.compile_with(
            {"optimizer": optimizer},
            run_eagerly=run_eagerly,
            jit_compile=jit_compile,
            steps_per_execution=steps_per_execution,
        )

    def compile_with(
        self,
        given: Mapping[str, keras.optimizers.Optimizer | str | None],
        *,
        run_eagerly: bool,
        jit_compile: bool | str,
        steps_per_execution: int,
    ) -> None:
        """Compiles with one or several optimizers.

        Several become attributes by their names, and ``optimizer`` is the group of them, on each
        of which Keras's callbacks act.

        Args:
            given: What ``compile`` took for each of ``optimizer_names``.
            run_eagerly: See ``compile``, as for the others.
            jit_compile: Whether to compile with XLA.
            steps_per_execution: Batches per compiled call.

        Raises:
            ValueError: See ``compile``; also if one optimizer is given twice.
        """
        check_flag("run_eagerly", run_eagerly)
        if jit_compile != "auto":
            check_flag("jit_compile (if it is not 'auto')", jit_compile)
        check_integer("steps_per_execution", steps_per_execution, at_least=1)
        taken = take_optimizers(self, given, self.default_optimizer)
        if len(taken) > 1:
            for name, optimizer in taken.items():
                setattr(self, name, optimizer)
        super().compile(
            optimizer=OptimizerGroup(list(taken.values()))
            if len(taken) > 1
            else next(iter(taken.values())),
            auto_scale_loss=False,
            run_eagerly=run_eagerly,
            jit_compile=jit_compile,
            steps_per_execution=steps_per_execution,
        )
        for phase in self.phases():
            build_optimizer(phase.optimizer, phase.variables)
        lend_stateless_steps(self)

    def fit(self, *arguments: Any, **named: Any) -> Any:  # type: ignore[override]
        """Trains as ``keras.Model.fit`` does, once the callbacks are checked.

        Raises:
            ValueError: If a callback monitors what is not logged.
        """
        given = inspect.signature(super().fit).bind(*arguments, **named).arguments
        share = check_number(
            "validation_split", given.get("validation_split", 0.0), at_least=0, below=1, such_as=0.1
        )
        validates = given.get("validation_data") is not None or share > 0
        check_callbacks(given.get("callbacks"), self.loss_names, has_validation=validates)
        return super().fit(*arguments, **named)

    def batch_check(self) -> BatchCheck:
        """What a training batch has to hold: ``batch_keys``, images of ``image_shape``."""
        return BatchCheck(
            image_shape=self.image_shape,
            image_keys=tuple(key for key in self.batch_keys if key != "label"),
            label_key="label" if "label" in self.batch_keys else None,
            num_classes=self.num_classes,
        )

    def read_batch(self, data: Any) -> Batch:
        """Returns a training batch as a dict, after checking what a graph shows of it.

        Raises:
            ValueError: If the batch is not a dict, lacks one of ``batch_keys``, or has images or
                labels of another kind or shape.
        """
        return self.batch_check().tensors(data)

    def train_step(self, data: Any) -> dict[str, Any]:
        """One training step; subclasses write it explicitly, equal to ``phase_train_step``.

        This is the step on TensorFlow. A model compiled on JAX has the one of
        ``defenses.stateless`` instead.
        """
        return self.phase_train_step(data)

    def phase_train_step(self, data: Any) -> dict[str, Any]:
        """One training step made from ``phases()`` alone.

        Returns:
            The running epoch means of all losses, by name.
        """
        import tensorflow as tf

        batch = self.read_batch(data)
        for phase in self.phases():
            with tf.GradientTape() as tape:
                losses, auxiliary = phase.evaluate(batch, training=True)
                objective = step_objective(losses["loss"], phase.optimizer)
            gradients = tape.gradient(objective, list(phase.variables))
            phase.optimizer.apply_gradients(zip(gradients, phase.variables, strict=True))
            if phase.after is not None:
                phase.after(auxiliary)
            self.track(losses, batch, phase.name)
        return self.tracked_losses()

    def test_step(self, data: Any) -> dict[str, Any]:
        """Computes the losses of every phase in inference mode, without updates."""
        batch = self.read_batch(data)
        for phase in self.phases():
            losses, _ = phase.evaluate(batch, training=False)
            self.track(losses, batch, phase.name)
        return self.tracked_losses()

    def track(self, losses: Losses, batch: Batch, phase_name: str) -> None:
        """Adds batch-mean losses to the epoch means, weighted by the size of the batch.

        Raises:
            ValueError: If a loss is not declared in ``loss_names``.
        """
        batch_size = ops.shape(batch[self.batch_keys[0]])[0]
        for key, value in losses.items():
            shared = key == "loss" and "loss" not in self._loss_trackers
            name = f"{phase_name}_loss" if shared else key
            if name not in self._loss_trackers:
                raise ValueError(
                    f"Expected a loss named in loss_names {list(self.loss_names)}, received "
                    f"{name!r}. Declare it in {type(self).__name__}.loss_names."
                )
            self._loss_trackers[name].update_state(value, sample_weight=batch_size)

    def tracked_losses(self) -> dict[str, Any]:
        """The epoch means so far, by loss name."""
        return {name: tracker.result() for name, tracker in self._loss_trackers.items()}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """One mean per loss; Keras resets them at the start of each epoch."""
        return list(self._loss_trackers.values())


def check_functional(**networks: Any) -> None:
    """Raises a ValueError unless all networks are built functional or sequential models.

    Args:
        **networks: By the names of their arguments.

    Raises:
        ValueError: If one is another thing, or a model written as a subclass, whose shapes are
            not known.
    """
    for name, network in networks.items():
        if not isinstance(network, keras.Model) or not hasattr(network, "input_shape"):
            raise ValueError(
                f"Expected {name} as a built functional or sequential model, received "
                f"{type(network).__name__}. Build it with a function of the package models, or "
                "take for_images, which builds all networks."
            )
