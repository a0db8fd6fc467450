"""The compiled inner loop of Carlini and Wagner's attack, with a separate search for every image.

A batch is a set of independent searches. Each has its constant c, its bounds, its Adam moments and
its own count of iterations; when one has finished a constant it starts the next within the same
loop, while the others continue.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from attacks.attacked_model import AttackedModel
from attacks.job import AttackFailedError

# Keeps atanh finite for pixels that are exactly 0 or 1. The authors' own code has 0.999999, which
# leaves such pixels so flat a tanh that Adam needs a hundred steps and more to move them; early
# abort often comes first. Here they start at 0.0005 and 0.9995 and move from the first step.
_TANH_MARGIN = 0.999
_BETA_1, _BETA_2, _ADAM_EPSILON = 0.9, 0.999, 1e-8
_NO_UPPER_BOUND = 1e10
# Iterations of the compiled loop before finished images are replaced by waiting ones.
_ITERATIONS_PER_CALL = 25


class State(NamedTuple):
    """The searches of one batch; every field has the batch as its first axis.

    Image-shaped: ``images`` (clean), ``start`` (clean, in tanh space), ``modifier`` (added to it),
    ``momentum`` and ``velocity`` (Adam), ``best_images``. The rest are scalars per image.
    """

    images: tf.Tensor
    start: tf.Tensor
    modifier: tf.Tensor
    momentum: tf.Tensor
    velocity: tf.Tensor
    best_images: tf.Tensor
    labels: tf.Tensor
    const: tf.Tensor
    lower: tf.Tensor
    upper: tf.Tensor
    search_step: tf.Tensor
    iteration: tf.Tensor
    previous_loss: tf.Tensor
    best_distance: tf.Tensor
    found: tf.Tensor
    has_gradient: tf.Tensor
    broken: tf.Tensor
    done: tf.Tensor


class Search:
    """Runs the searches of one model under one set of settings, without retracing.

    **Reference**: Carlini and Wagner 2017, sec. V-C and VI-A: minimise
    ``||x' - x||^2 + c * max(z_y - max_{j != y} z_j, -kappa)`` over w with
    ``x' = (tanh(w) + 1) / 2``; for a target t the margin is ``max_{j != t} z_j - z_t``.

    **Differs from the paper**: see ``CarliniWagner``. A constant offset of the margin term (here it
    is ``max(margin + kappa, 0)``) changes neither gradient nor minimum.

    Args:
        victim: Maps images to logits.
        image_shape: ``(height, width, channels)``.
        targeted: Whether the labels are to be predicted, not avoided.
        confidence: Kappa; this and all that follow are fields of ``CarliniWagner``.
        learning_rate: Rate of Adam.
        binary_search_steps: Number of constants tried.
        max_iterations: Adam steps for each constant.
        initial_const: First constant.
        abort_early: Whether to stop with a constant when the loss stalls.
    """

    def __init__(
        self,
        victim: AttackedModel,
        image_shape: tuple[int, ...],
        *,
        targeted: bool,
        confidence: float,
        learning_rate: float,
        binary_search_steps: int,
        max_iterations: int,
        initial_const: float,
        abort_early: bool,
    ) -> None:
        self.victim = victim
        self.image_shape = tuple(image_shape)
        self.targeted = targeted
        self.confidence = confidence
        self.learning_rate = learning_rate
        self.binary_search_steps = binary_search_steps
        self.max_iterations = max_iterations
        self.initial_const = initial_const
        self.abort_early = abort_early
        # No batch size in the signature: the last, smaller batches are not traced again.
        specs = tf.nest.map_structure(
            lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype),
            self._initial(np.zeros((1, *self.image_shape), np.float32), np.zeros(1, np.int64)),
        )
        self._run = tf.function(self._iterate, input_signature=[specs], autograph=False)

    def run(self, state: State) -> State:
        """Returns the searches some iterations later; finished ones are marked ``done``."""
        return self._run(state)

    def refill(self, state: State | None, images: np.ndarray, labels: np.ndarray) -> State:
        """Returns the running searches followed by fresh ones for ``images``.

        Args:
            state: Running searches, or ``None``.
            images: ``(batch, height, width, channels)`` float32 in [0, 1].
            labels: ``(batch,)`` int64.
        """
        if state is None:
            return self._initial(images, labels)
        if len(images) == 0:
            return state
        fresh = self._initial(images, labels)
        return State(*(tf.concat(pair, axis=0) for pair in zip(state, fresh, strict=True)))

    @staticmethod
    def keep(state: State, mask: np.ndarray) -> State:
        """Returns the searches selected by a boolean ``(batch,)`` mask."""
        if mask.all():
            return state
        rows = tf.constant(np.flatnonzero(mask), tf.int64)
        return State(*(tf.gather(field, rows) for field in state))

    def succeeds(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Returns ``(batch,)`` booleans: whether images with these logits meet the success test."""
        return self._succeeds(self._margin(tf.constant(logits), tf.constant(labels))).numpy()

    def _initial(self, images: np.ndarray, labels: np.ndarray) -> State:
        """Returns the searches at their first iteration."""
        clean = tf.constant(images)
        zeros = tf.zeros_like(clean)
        size = [len(images)]
        return State(
            images=clean,
            start=tf.atanh((2.0 * clean - 1.0) * _TANH_MARGIN),
            modifier=zeros,
            momentum=zeros,
            velocity=zeros,
            best_images=clean,
            labels=tf.constant(labels),
            const=tf.fill(size, np.float32(self.initial_const)),
            lower=tf.zeros(size),
            upper=tf.fill(size, np.float32(_NO_UPPER_BOUND)),
            search_step=tf.zeros(size, tf.int32),
            iteration=tf.zeros(size, tf.int32),
            previous_loss=tf.fill(size, np.float32(np.inf)),
            best_distance=tf.fill(size, np.float32(np.inf)),
            found=tf.zeros(size, tf.bool),
            has_gradient=tf.zeros(size, tf.bool),
            broken=tf.zeros(size, tf.bool),
            done=tf.zeros(size, tf.bool),
        )

    def _margin(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Returns ``(batch,)`` margins by which the label's class leads; negated if targeted."""
        margin = _margin(logits, labels)
        return -margin if self.targeted else margin

    def _succeeds(self, margin: tf.Tensor) -> tf.Tensor:
        """Returns whether the margin is negative, and by at least ``confidence``."""
        return tf.logical_and(margin < 0.0, margin <= -self.confidence)

    def _iterate(self, state: State) -> State:
        """The traced function: a fixed number of iterations, fewer if all searches are done."""

        def unfinished(count: tf.Tensor, *fields: tf.Tensor) -> tf.Tensor:
            return tf.reduce_any(tf.logical_not(State(*fields).done))

        def body(count: tf.Tensor, *fields: tf.Tensor) -> tuple[Any, ...]:
            return (count + 1, *self._one_iteration(State(*fields)))

        result = tf.while_loop(
            unfinished, body, (tf.constant(0), *state), maximum_iterations=_ITERATIONS_PER_CALL
        )
        return State(*result[1:])

    def _one_iteration(self, state: State) -> State:
        """Returns the searches after one gradient step, some with their next constant."""
        squashed = tf.tanh(state.start + state.modifier)
        adversarial = (squashed + 1.0) / 2.0
        with tf.GradientTape() as tape:
            tape.watch(adversarial)
            margin = self._margin(self.victim(adversarial), state.labels)
            hinge = tf.maximum(margin + self.confidence, 0.0)
        slope = tape.gradient(hinge, adversarial)
        if slope is None:
            raise AttackFailedError.no_gradient("carlini_wagner", "None")
        delta = adversarial - state.images
        distance = tf.reduce_sum(tf.square(delta), axis=[1, 2, 3])
        loss = distance + state.const * hinge
        gradient = (2.0 * delta + _as_images(state.const) * slope) * (1.0 - squashed**2) / 2.0

        better = self._succeeds(margin) & (distance < state.best_distance) & ~state.done
        is_number = tf.reduce_all(tf.math.is_finite(gradient), axis=[1, 2, 3])
        moved = self._adam(state, gradient)._replace(
            best_images=_select(better, adversarial, state.best_images),
            best_distance=tf.where(better, distance, state.best_distance),
            found=state.found | self._succeeds(margin),
            has_gradient=state.has_gradient | tf.reduce_any(slope != 0.0, axis=[1, 2, 3]),
            broken=state.broken | ~is_number,
        )
        return self._next_constant(moved, loss)

    def _adam(self, state: State, gradient: tf.Tensor) -> State:
        """Returns the state after Adam's step, bias-corrected by each image's own count."""
        step = tf.cast(state.iteration + 1, tf.float32)
        momentum = _BETA_1 * state.momentum + (1.0 - _BETA_1) * gradient
        velocity = _BETA_2 * state.velocity + (1.0 - _BETA_2) * tf.square(gradient)
        rate = self.learning_rate * tf.sqrt(1.0 - _BETA_2**step) / (1.0 - _BETA_1**step)
        update = _as_images(rate) * momentum / (tf.sqrt(velocity) + _ADAM_EPSILON)
        return state._replace(
            modifier=state.modifier - update, momentum=momentum, velocity=velocity
        )

    def _next_constant(self, state: State, loss: tf.Tensor) -> State:
        """Returns the state in which finished constants are replaced by the next ones."""
        is_check = state.iteration % max(self.max_iterations // 10, 1) == 0
        stalled = is_check & (loss > 0.9999 * state.previous_loss) & self.abort_early
        over = stalled | (state.iteration + 1 >= self.max_iterations)

        upper = tf.where(over & state.found, tf.minimum(state.upper, state.const), state.upper)
        lower = tf.where(over & ~state.found, tf.maximum(state.lower, state.const), state.lower)
        bounded = upper < _NO_UPPER_BOUND
        following = tf.where(bounded, (lower + upper) / 2.0, _tenfold(state.const))
        search_step = state.search_step + tf.cast(over, tf.int32)
        zeros = tf.zeros_like(state.modifier)
        return state._replace(
            modifier=_select(over, zeros, state.modifier),
            momentum=_select(over, zeros, state.momentum),
            velocity=_select(over, zeros, state.velocity),
            const=tf.where(over, following, state.const),
            lower=lower,
            upper=upper,
            search_step=search_step,
            iteration=tf.where(over, 0, state.iteration + 1),
            previous_loss=tf.where(
                over, np.float32(np.inf), tf.where(is_check, loss, state.previous_loss)
            ),
            found=state.found & ~over,
            done=state.done | (search_step >= self.binary_search_steps),
        )


def margin_gradient(victim: AttackedModel, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the gradient of the margin where a search starts, ``(batch, height, width, c)``."""
    start = tf.constant(0.5 + _TANH_MARGIN * (images - 0.5), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(start)
        margin = _margin(victim(start), tf.constant(labels))
    gradient = tape.gradient(margin, start)
    return np.zeros_like(images) if gradient is None else gradient.numpy()


def _margin(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns ``(batch,)`` margins by which the label's class leads."""
    logits = tf.cast(logits, tf.float32)
    is_label = tf.one_hot(labels, logits.shape[-1], on_value=True, off_value=False)
    of_label = tf.reduce_sum(tf.where(is_label, logits, 0.0), axis=1)
    of_other = tf.reduce_max(tf.where(is_label, tf.float32.min, logits), axis=1)
    return of_label - of_other


def _tenfold(const: tf.Tensor) -> tf.Tensor:
    """Returns ten times the constants, up to where float32 would end in infinity."""
    return tf.minimum(const * 10.0, _NO_UPPER_BOUND)


def _as_images(scalars: tf.Tensor) -> tf.Tensor:
    """Returns ``(batch,)`` as ``(batch, 1, 1, 1)``."""
    return scalars[:, tf.newaxis, tf.newaxis, tf.newaxis]


def _select(mask: tf.Tensor, chosen: tf.Tensor, otherwise: tf.Tensor) -> tf.Tensor:
    """Returns, per image, ``chosen`` where the ``(batch,)`` mask holds, else ``otherwise``."""
    return tf.where(_as_images(mask), chosen, otherwise)
