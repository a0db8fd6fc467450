"""Adversarial training: a classifier that is trained on images made against itself."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from attacks.engine import gradient, loop
from defenses.image_model import ImageModel
from defenses.losses import full_precision
from defenses.phases import Batch, Losses, Phase, step_objective
from defenses.stateless import lend_stateless_steps
from defenses.training_data import BatchCheck, CheckedTraining
from models.layers import MOST_SEED, check_classifier
from validation import check_flag, check_integer, check_number

__all__ = [
    "AdversarialTraining",
    "FGSMAdversarialTraining",
    "PGDAdversarialTraining",
    "fgsm_images",
    "pgd_images",
]

_MOST_STEPS = 1_000


def fgsm_images(classifier: keras.Model, images: Any, labels: Any, epsilon: float) -> Any:
    """One gradient sign step against a classifier in inference mode, for use inside a graph.

    On TensorFlow the same function of CleverHans that ``attacks.get_attack("fgsm")`` calls, on
    tensors; on JAX the same step in Keras's operations.

    Args:
        classifier: Images to logits.
        images: Tensor ``(batch, height, width, channels)`` in [0, 1].
        labels: Integer tensor ``(batch,)``, the true labels.
        epsilon: Largest change of a pixel, at least 0.

    Returns:
        Tensor of the shape of ``images``, in [0, 1]; no gradient flows through it.
    """
    if keras.backend.backend() == "jax":
        signs = ops.sign(gradient(_entropies(classifier, labels), images))
        return ops.stop_gradient(ops.clip(images + epsilon * signs, 0.0, 1.0))

    from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method

    from attacks.attacked_model import attacked_model

    # One stable callable for each model: CleverHans would trace a new one each time.
    victim = attacked_model(classifier)
    adversarial_images = fast_gradient_method(
        victim, images, epsilon, np.inf, clip_min=0.0, clip_max=1.0, y=labels
    )
    return ops.stop_gradient(adversarial_images)


def pgd_images(
    classifier: Callable[..., Any],
    images: Any,
    labels: Any,
    epsilon: float,
    *,
    step_size: float,
    num_steps: int,
    seed: keras.random.SeedGenerator | None = None,
) -> Any:
    """Projected gradient descent against a classifier in inference mode, for use inside a graph.

    The steps are one loop of the program that calls it, so that they cost no more than their
    forward and backward passes.

    **Reference**: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks",
    2018.

    Args:
        classifier: Images to logits; takes ``training``.
        images: Tensor ``(batch, height, width, channels)`` in [0, 1].
        labels: Integer tensor ``(batch,)``, the true labels.
        epsilon: Largest change of a pixel, at least 0.
        step_size: Length of a step; it may be longer than epsilon, as the projection follows.
        num_steps: Number of steps.
        seed: Draws the start uniformly from the ball; ``None`` starts at the images.

    Returns:
        Tensor of the shape of ``images``, in [0, 1]; no gradient flows through it.
    """
    entropies = _entropies(classifier, labels)
    low, high = images - epsilon, images + epsilon

    def projected(x: Any) -> Any:
        return ops.clip(ops.clip(x, low, high), 0.0, 1.0)

    def step(index: Any, state: tuple[Any]) -> tuple[Any]:
        (x,) = state
        return (projected(x + step_size * ops.sign(gradient(entropies, x))),)

    start = images
    if seed is not None:
        shape, dtype = ops.shape(images), images.dtype
        start = projected(images + keras.random.uniform(shape, -epsilon, epsilon, dtype, seed=seed))
    (found,) = loop(step, (start,), num_steps)
    return ops.stop_gradient(found)


def _entropies(classifier: Callable[..., Any], labels: Any) -> Callable[[Any], Any]:
    """The cross-entropy of each image, as a function of the images."""

    def entropies(x: Any) -> Any:
        logits = classifier(x, training=False)
        return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)

    return entropies


class AdversarialTraining(ImageModel, CheckedTraining, abc.ABC):
    """Trains a classifier on images that are made against it in each step.

    The defense is the classifier itself, ``trainer.classifier``: an ordinary model, independent of
    the trainer, to be saved and attacked as any other.

    Args:
        classifier: A built model, images to logits; it is trained in place.
        epsilon: Largest change of a pixel, in [0, 1]. 0 is training without attack.
        **kwargs: Name and dtype, as of any model.

    Attributes:
        loss_names: What is logged.

    Raises:
        ValueError: If epsilon is out of range, or the classifier returns no logits.
    """

    loss_names: tuple[str, ...] = ()

    def __init__(self, classifier: keras.Model, epsilon: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_classifier(classifier)
        check_number("epsilon", epsilon, at_least=0, at_most=1, such_as=0.3)
        self.classifier = classifier
        self.epsilon = float(epsilon)
        self._trackers = {name: keras.metrics.Mean(name=name) for name in self.loss_names}
        self.built = True

    @abc.abstractmethod
    def step_losses(self, batch: Batch, training: bool = True) -> Losses:
        """The losses of one batch, whose adversarial images are made here.

        Args:
            batch: ``"images"`` in [0, 1] and ``"labels"``, integers ``(batch,)``.
            training: Whether dropout and batch statistics are those of training.

        Returns:
            Batch means by ``loss_names``; ``"loss"`` is minimised.
        """

    @property
    def image_shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        """``(height, width, channels)`` of the images."""
        return tuple(self.classifier.input_shape[1:])

    def batch_check(self) -> BatchCheck:
        """What a training batch has to hold: a pair of images and labels."""
        return BatchCheck(
            image_shape=self.image_shape,
            image_keys=("images",),
            label_key="labels",
            num_classes=int(self.classifier.output_shape[-1]),
            as_pair=True,
        )

    def call(self, images: Any, training: bool = False) -> Any:
        """The logits of the classifier; see the class docstring."""
        return self.classifier(images, training=training)

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer | str = "adam",
        *,
        run_eagerly: bool = False,
        jit_compile: bool | str = "auto",
        steps_per_execution: int = 1,
    ) -> None:
        """Takes the optimizer of the classifier and creates its state; the loss is fixed.

        Args:
            optimizer: A Keras optimizer, or the name of one.
            run_eagerly: Whether to run steps without compiling them.
            jit_compile: Whether to compile with XLA; ``"auto"`` leaves it off on a CPU.
            steps_per_execution: Batches per compiled call.
        """
        super().compile(
            optimizer=optimizer,
            run_eagerly=run_eagerly,
            jit_compile=jit_compile,
            steps_per_execution=steps_per_execution,
        )
        if not self.optimizer.built:
            self.optimizer.build(self.classifier.trainable_variables)
        lend_stateless_steps(self)

    def phases(self) -> list[Phase]:
        """One phase: one update of the classifier."""
        variables = self.classifier.trainable_variables
        return [Phase("classifier", self.step_losses, variables, self.optimizer)]

    def test_step(self, data: Any) -> dict[str, Any]:
        """Losses and accuracies in inference mode, on clean and adversarial images."""
        batch = self.read_batch(data)
        self.track(self.step_losses(batch, training=False), batch, "classifier")
        return self.tracked_losses()

    def read_batch(self, data: Any) -> Batch:
        """Images and labels as tensors by name, checked as far as a graph shows them.

        Raises:
            ValueError: If the batch is no pair of them.
        """
        batch = self.batch_check().tensors(data)
        return {name: ops.convert_to_tensor(values) for name, values in batch.items()}

    def track(self, losses: Losses, batch: Batch, phase_name: str) -> None:
        """Adds batch means to the epoch means, weighted by the size of the batch."""
        del phase_name
        for name, value in losses.items():
            self._trackers[name].update_state(value, sample_weight=ops.shape(batch["images"])[0])

    def tracked_losses(self) -> dict[str, Any]:
        """The epoch means so far, by name."""
        return {name: tracker.result() for name, tracker in self._trackers.items()}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """One mean per loss and accuracy; Keras resets them at the start of each epoch."""
        return list(self._trackers.values())


class FGSMAdversarialTraining(AdversarialTraining):
    """Trains a classifier on clean images and on its own adversarial ones at once.

    The defense is the classifier itself, ``trainer.classifier``: an ordinary model, independent of
    the trainer, to be saved and attacked as any other. It resists the attack it was trained on, and
    little else.

    **Reference**: PuVAE, eq. 4; Goodfellow, Shlens and Szegedy, "Explaining and Harnessing
    Adversarial Examples", 2015.

    **Differs from the paper**: α is not printed; it is 0.5, as in the second reference. Both halves
    go through the classifier in one batch of double size, so that batch statistics are those of the
    mixture. The step is taken in inference mode, as by an attacker, and clipped to [0, 1]. The
    classifier's own penalties on weights are added. The optimizer is not printed; the default is
    Adam with rate 0.001.

    Args:
        classifier: A built model, images to logits; it is trained in place.
        epsilon: Largest change of a pixel, in [0, 1]. 0 is training without attack.
        clean_weight: The α of eq. 4, weight of the clean loss, in [0, 1].
        **kwargs: Name and dtype, as of any model.

    Call arguments:
        images: float32 ``(batch, height, width, channels)`` in [0, 1].
        training: Whether the classifier behaves as in training.

    Returns:
        The classifier's logits, ``(batch, num_classes)``.

    Raises:
        ValueError: If a number is out of range, or the classifier returns no logits.

    Example:
        import numpy as np
        from defenses.adversarial_training import FGSMAdversarialTraining
        from models.classifiers import classifier_a

        images = np.random.default_rng(0).random((8, 28, 28, 1), dtype="float32")
        trainer = FGSMAdversarialTraining(classifier_a((28, 28, 1), width=0.125), epsilon=0.3)
        trainer.compile("adam")
        trainer.fit(images, np.arange(8), batch_size=4, verbose=0)
        trainer.classifier(images).shape  # (8, 10)
    """

    loss_names = ("loss", "clean_loss", "adversarial_loss", "accuracy", "adversarial_accuracy")

    def __init__(
        self,
        classifier: keras.Model,
        epsilon: float,
        *,
        clean_weight: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(classifier, epsilon, **kwargs)
        check_number("clean_weight", clean_weight, at_least=0, at_most=1, such_as=0.5)
        self.clean_weight = float(clean_weight)

    def mixed_losses(
        self, images: Any, adversarial_images: Any, labels: Any, training: bool = True
    ) -> Losses:
        """The loss of eq. 4 for one batch and its adversarial images.

        Args:
            images: Tensor ``(batch, height, width, channels)`` in [0, 1].
            adversarial_images: Same shape and range.
            labels: Integers ``(batch,)``.
            training: Whether dropout and batch statistics are those of training.

        Returns:
            Batch means: ``"loss"``, with the classifier's own penalties, ``"clean_loss"``,
            ``"adversarial_loss"``, and the shares ``"accuracy"`` and ``"adversarial_accuracy"``.
        """
        both = self.classifier(ops.concatenate([images, adversarial_images]), training=training)
        means = [_entropy_and_accuracy(labels, logits) for logits in ops.split(both, 2)]
        (clean, accuracy), (adversarial, adversarial_accuracy) = means
        loss = self.clean_weight * clean + (1.0 - self.clean_weight) * adversarial
        return {
            "loss": loss + sum(self.classifier.losses),
            "clean_loss": clean,
            "adversarial_loss": adversarial,
            "accuracy": accuracy,
            "adversarial_accuracy": adversarial_accuracy,
        }

    def step_losses(self, batch: Batch, training: bool = True) -> Losses:
        """The loss of eq. 4 for one batch, whose adversarial images are made here.

        Args:
            batch: ``"images"`` in [0, 1] and ``"labels"``, integers ``(batch,)``.
            training: As of ``mixed_losses``.

        Returns:
            As ``mixed_losses``.
        """
        images, labels = batch["images"], batch["labels"]
        adversarial_images = fgsm_images(self.classifier, images, labels, self.epsilon)
        return self.mixed_losses(images, adversarial_images, labels, training=training)

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update of the classifier (PuVAE, eq. 4).

        1. Take a batch of clean images x with their labels y.
        2. Make x + ε · sign ∇_x L(x, y; θ) with the weights as they are; ε 0 leaves x.
        3. Mix α L(x, y; θ) + (1 − α) L(x + ε · sign ∇_x L, y; θ), the step held constant.
        4. Take a gradient step on the classifier's weights.

        Args:
            data: A pair of images and integer labels.

        Returns:
            The running epoch means of losses and accuracies, by name.
        """
        import tensorflow as tf

        batch = self.read_batch(data)
        images, labels = batch["images"], batch["labels"]
        adversarial_images = fgsm_images(self.classifier, images, labels, self.epsilon)
        with tf.GradientTape() as tape:
            losses = self.mixed_losses(images, adversarial_images, labels, training=True)
            objective = step_objective(losses["loss"], self.optimizer)
        variables = self.classifier.trainable_variables
        gradients = tape.gradient(objective, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.track(losses, batch, "classifier")
        return self.tracked_losses()


class PGDAdversarialTraining(AdversarialTraining):
    """Trains a classifier on its own PGD images alone.

    Images on the border of the ball around a training image are the worst ones that a first-order
    attacker finds; a classifier that reads them rightly keeps accuracy under attack where those of
    one step hide their gradient.

    **Reference**: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks",
    2018, eq. 2.1 and sec. 5; CAP-GAN, sec. IV-B (PGD_7).

    **Differs from the paper**: the steps are taken in inference mode, as by an attacker; the code
    of the reference has batch statistics of training in both. The classifier's own penalties on
    weights are added.

    Args:
        classifier: A built model, images to logits; it is trained in place.
        epsilon: Largest change of a pixel, in [0, 1]. 0 is training without attack.
        step_size: Length of a step, above 0.
        num_steps: Number of steps, at least 1.
        random_start: Whether each search starts at a random point of the ball.
        seed: Seeds the starts.
        **kwargs: Name and dtype, as of any model.

    Call arguments:
        images: float32 ``(batch, height, width, channels)`` in [0, 1].
        training: Whether the classifier behaves as in training.

    Returns:
        The classifier's logits, ``(batch, num_classes)``.

    Raises:
        ValueError: If a number is out of range, or the classifier returns no logits.

    Example:
        import numpy as np
        from defenses.adversarial_training import PGDAdversarialTraining
        from models.classifiers import classifier_a

        images = np.random.default_rng(0).random((8, 28, 28, 1), dtype="float32")
        classifier = classifier_a((28, 28, 1), width=0.125)
        trainer = PGDAdversarialTraining(classifier, epsilon=0.3, step_size=0.1, num_steps=3)
        trainer.compile("adam")
        trainer.fit(images, np.arange(8), batch_size=4, verbose=0)
        trainer.classifier(images).shape  # (8, 10)
    """

    loss_names = ("loss", "adversarial_loss", "adversarial_accuracy")

    def __init__(
        self,
        classifier: keras.Model,
        epsilon: float,
        *,
        step_size: float = 2 / 255,
        num_steps: int = 7,
        random_start: bool = True,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(classifier, epsilon, **kwargs)
        check_number("step_size", step_size, above=0, at_most=1, such_as=2 / 255)
        check_integer("num_steps", num_steps, at_least=1, at_most=_MOST_STEPS, such_as=7)
        check_flag("random_start", random_start)
        check_integer("seed", seed, at_most=MOST_SEED, such_as=0)
        self.step_size = float(step_size)
        self.num_steps = int(num_steps)
        self.starts = keras.random.SeedGenerator(seed) if random_start else None

    def adversarial_images(self, images: Any, labels: Any) -> Any:
        """The images that a batch is replaced by, of the same shape, in [0, 1]."""
        return pgd_images(
            self.classifier,
            images,
            labels,
            self.epsilon,
            step_size=self.step_size,
            num_steps=self.num_steps,
            seed=self.starts,
        )

    def adversarial_losses(
        self, adversarial_images: Any, labels: Any, training: bool = True
    ) -> Losses:
        """The loss of eq. 2.1 for the adversarial images of one batch.

        Args:
            adversarial_images: Tensor ``(batch, height, width, channels)`` in [0, 1].
            labels: Integers ``(batch,)``.
            training: Whether dropout and batch statistics are those of training.

        Returns:
            Batch means: ``"loss"``, with the classifier's own penalties, ``"adversarial_loss"``,
            and the share ``"adversarial_accuracy"``.
        """
        loss, accuracy = _entropy_and_accuracy(
            labels, self.classifier(adversarial_images, training=training)
        )
        return {
            "loss": loss + sum(self.classifier.losses),
            "adversarial_loss": loss,
            "adversarial_accuracy": accuracy,
        }

    def step_losses(self, batch: Batch, training: bool = True) -> Losses:
        """The losses of one batch, whose adversarial images are made here; see the base class."""
        images, labels = batch["images"], batch["labels"]
        adversarial_images = self.adversarial_images(images, labels)
        return self.adversarial_losses(adversarial_images, labels, training=training)

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update of the classifier (Madry et al., eq. 2.1).

        1. Take a batch of clean images x with their labels y.
        2. Start at a random point of the ball of radius ε around each x.
        3. Take k steps along sign ∇ L(x', y; θ) with the weights as they are, each projected on
           the ball and on [0, 1].
        4. Take a gradient step on the classifier's weights for L(x', y; θ), x' held constant.

        Args:
            data: A pair of images and integer labels.

        Returns:
            The running epoch means of the losses and of the accuracy, by name.
        """
        import tensorflow as tf

        batch = self.read_batch(data)
        images, labels = batch["images"], batch["labels"]
        adversarial_images = self.adversarial_images(images, labels)  # 2 and 3
        with tf.GradientTape() as tape:
            losses = self.adversarial_losses(adversarial_images, labels, training=True)
            objective = step_objective(losses["loss"], self.optimizer)
        variables = self.classifier.trainable_variables
        gradients = tape.gradient(objective, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.track(losses, batch, "classifier")
        return self.tracked_losses()


def _entropy_and_accuracy(labels: Any, logits: Any) -> tuple[Any, Any]:
    """The mean cross-entropy of a batch, and the share of right labels."""
    (logits,) = full_precision(logits)
    entropies = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    hits = ops.equal(ops.argmax(logits, axis=-1), ops.cast(labels, "int32"))
    return ops.mean(entropies), ops.mean(ops.cast(hits, "float32"))
