"""Fits one model, epoch by epoch, so that a kill loses at most the epoch in flight.

After each epoch every variable (weights, optimizer slots, random generators) is written
atomically; a later run restores them and continues with the order of the next epoch, so that
an interrupted and an uninterrupted training end in the same weights.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from defenses.purifier import Purifier
from experiments import devices, time_limit
from experiments.config import TrainingConfig
from experiments.datasets import Batches
from experiments.device_training import DeviceTraining, steps_of_an_epoch
from results.files import UNREADABLE_ARRAYS, write_atomically
from validation import check_integer, check_number

logger = logging.getLogger(__name__)


class TrainingDivergedError(ValueError):
    """The loss became NaN or infinite."""


def progress_bar(total: int, label: str, unit: str) -> tqdm:
    """A bar with the remaining time, for work of more than a few seconds."""
    return tqdm(
        total=total,
        desc=label,
        unit=unit,
        leave=False,
        dynamic_ncols=True,
        delay=3.0,
        mininterval=0.5 if sys.stderr.isatty() else 20.0,
    )


def reporting(bar: tqdm, total: int) -> Callable[[int], None]:
    """What a long loop tells how much it has done: the bar, and the time limit if there is one.

    Args:
        bar: Counts up to ``total``.
        total: How much there is to do.
    """
    pace = time_limit.Pace(total)

    def report(done: int) -> None:
        bar.update(done - bar.n)
        pace.report(done)

    return report


class HalfLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that is constant for half of the steps and then falls straight to 0.

    Args:
        initial_learning_rate: The rate of the first half.
        steps: All steps of the run.

    Raises:
        ValueError: If the rate is not positive, or there are no steps.
    """

    def __init__(self, initial_learning_rate: float, steps: int) -> None:
        super().__init__()
        self.initial_learning_rate = check_number("learning rate", initial_learning_rate, above=0)
        self.steps = check_integer("steps of the run", steps, at_least=1)

    def __call__(self, step):
        """The rate of ``step``, counted from 0."""
        done = keras.ops.cast(step, "float32") / self.steps
        return self.initial_learning_rate * keras.ops.clip(2.0 - 2.0 * done, 0.0, 1.0)

    def get_config(self) -> dict[str, float | int]:
        """What rebuilds the schedule."""
        return {"initial_learning_rate": self.initial_learning_rate, "steps": self.steps}


def make_optimizer(training: TrainingConfig, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """The optimizer of a training configuration with its learning-rate schedule.

    Args:
        training: Names and rates.
        steps_per_epoch: At least 1.
    """
    steps = training.epochs * check_integer("steps_per_epoch", steps_per_epoch, at_least=1)
    rate: float | keras.optimizers.schedules.LearningRateSchedule = training.learning_rate
    if training.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            training.learning_rate, steps, training.final_learning_rate / training.learning_rate
        )
    elif training.schedule == "steps":
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(
            [int(fraction * steps) for fraction in training.milestones],
            [training.learning_rate * factor for factor in (1.0, *training.decays)],
        )
    elif training.schedule == "linear":
        rate = HalfLinearDecay(training.learning_rate, steps)
    if training.optimizer == "sgd":
        return keras.optimizers.SGD(
            rate, momentum=0.9, nesterov=True, global_clipnorm=training.global_clipnorm
        )
    return keras.optimizers.Adam(
        rate,
        beta_1=training.beta_1,
        beta_2=training.beta_2,
        global_clipnorm=training.global_clipnorm,
    )


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """A context in which networks are built that compute in a precision, with float32 weights.

    Args:
        precision: ``"float32"`` or ``"bfloat16"``.
    """
    before = keras.config.dtype_policy()
    if precision != "float32":
        keras.config.set_dtype_policy(f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def steps_per_epoch(batches: Batches) -> int:
    """How many steps ``fit`` takes in an epoch.

    On JAX every batch is full (see ``experiments.device_training``); on TensorFlow the last one may
    be smaller.

    Args:
        batches: The training data.
    """
    return steps_of_an_epoch(batches) if keras.backend.backend() == "jax" else len(batches)


def fit(
    model: keras.Model,
    batches: Batches,
    epochs: int,
    *,
    checkpoint: Path,
    label: str,
) -> dict[str, float]:
    """Trains a compiled model for ``epochs``, resuming from ``checkpoint`` if it is there.

    Args:
        model: Compiled and built.
        batches: The training data.
        epochs: How many epochs in all.
        checkpoint: Where the state after each epoch goes.
        label: What the progress bar calls it.

    Returns:
        The last epoch's logged values.

    Raises:
        TrainingDivergedError: If a loss is not finite.
    """
    variables = _all_variables(model)
    done = _restore(checkpoint, variables)
    batches.start_at(done)
    logs: dict[str, float] = {}
    steps = steps_per_epoch(batches)
    with progress_bar(epochs * steps, label, "step") as bar:
        bar.update(done * steps)
        recorder = _EpochRecorder(checkpoint, variables, bar, logs)
        if done < epochs and keras.backend.backend() == "jax":
            _fit_on_device(model, batches, done, epochs, recorder)
        elif done < epochs:
            devices.prepare(model)
            model.fit(
                devices.dealt(batches, model),
                epochs=epochs,
                initial_epoch=done,
                shuffle=False,
                verbose=0,
                callbacks=[recorder],
            )
    return logs


def _fit_on_device(
    model: keras.Model, batches: Batches, done: int, epochs: int, recorder: _EpochRecorder
) -> None:
    training = DeviceTraining(model, batches)
    recorder.set_params({"epochs": epochs, "steps": training.steps})
    for epoch in range(done, epochs):
        recorder.on_epoch_begin(epoch)
        logs = training.epoch()
        recorder.bar.update(training.steps)
        recorder.on_epoch_end(epoch, logs)


class _EpochRecorder(keras.callbacks.Callback):
    def __init__(
        self, path: Path, variables: Sequence[keras.Variable], bar: tqdm, logs: dict[str, float]
    ) -> None:
        super().__init__()
        self.path, self.variables, self.bar, self.last_logs = path, variables, bar, logs
        self.epochs_of_this_call = 0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.start, self.pace = time.perf_counter(), time_limit.Pace(self.params["steps"])

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.bar.update(1)
        self.pace.report(batch + 1)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        bad = [name for name, value in values.items() if not np.isfinite(value)]
        if bad:
            raise TrainingDivergedError(
                f"{', '.join(bad)} is not finite after epoch {epoch + 1}. Lower the learning "
                "rate or set global_clipnorm in the training configuration."
            )
        self.last_logs.update(values)
        self.bar.set_postfix({name: f"{value:.4g}" for name, value in values.items()})
        arrays = {f"v{i:04d}": np.asarray(v) for i, v in enumerate(self.variables)}
        arrays["epoch"] = np.asarray(epoch + 1)
        arrays["logs"] = np.asarray(json.dumps(values))
        write_atomically(self.path, lambda path: np.savez(path, allow_pickle=False, **arrays))
        time_limit.step_done()
        self.epochs_of_this_call += 1
        if epoch + 1 < self.params["epochs"]:
            seconds = time.perf_counter() - self.start
            # The first one on JAX has compiling in it, which may take most of the time.
            compiled = self.epochs_of_this_call == 1 and keras.backend.backend() == "jax"
            time_limit.check(seconds / 2 if compiled else seconds)


def _all_variables(model: keras.Model) -> list[keras.Variable]:
    """Weights, random-generator states and optimizer slots, in a stable order."""
    if isinstance(model, Purifier):
        phases = model.phases()
        optimizers: list[keras.optimizers.Optimizer] = []
        for phase in phases:
            if all(phase.optimizer is not known for known in optimizers):
                optimizers.append(phase.optimizer)
    else:
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        optimizers = [model.optimizer]
    metric_variables = {id(v) for metric in model.metrics for v in metric.variables}
    variables = [v for v in model.variables if id(v) not in metric_variables]
    return variables + [v for optimizer in optimizers for v in optimizer.variables]


def _restore(checkpoint: Path, variables: Sequence[keras.Variable]) -> int:
    if not checkpoint.is_file():
        return 0
    try:
        with np.load(checkpoint, allow_pickle=False) as file:
            stored = [file[f"v{i:04d}"] for i in range(len(variables))]
            done = check_integer("epoch", int(file["epoch"]), at_least=1)
        shapes = [(tuple(v.shape), value.shape) for v, value in zip(variables, stored, strict=True)]
        # Looked at before anything is assigned, so that no model is half restored.
        if any(wanted != received for wanted, received in shapes) or not all(
            np.isfinite(value).all() for value in stored if value.dtype.kind == "f"
        ):
            raise ValueError("it holds variables of another model, or values that are not finite")
    except UNREADABLE_ARRAYS as error:
        logger.warning("Training restarts: the checkpoint %s is unreadable: %s", checkpoint, error)
        return 0
    for variable, value in zip(variables, stored, strict=True):
        variable.assign(value)
    return done


def round_weights(model: keras.Model) -> None:
    """Rounds every float weight to 11 significant bits, those of half precision.

    A file of them takes half of the space once it is deflated. It is done at the end of training,
    so that whatever is measured is measured on what is published.
    """
    for variable in model.variables:
        value = keras.ops.convert_to_numpy(variable)
        if value.dtype == np.float32 and variable.name != "seed_generator_state":
            mantissa, exponent = np.frexp(value)
            variable.assign(np.ldexp(np.round(mantissa * 2048) / 2048, exponent))
