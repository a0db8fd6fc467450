"""The compiled inner loop of Carlini and Wagner's attack, with a separate search for every image.

A batch is a set of independent searches. Each has its constant c, its bounds, its Adam moments and
its own count of iterations; when one has finished a constant it starts the next within the same
loop, while the others continue.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from attacks import engine
from attacks.attacked_model import AttackedModel
from attacks.job import AttackFailedError
from attacks.losses import lead

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
    ``momentum`` and ``velocity`` (Adam), ``best_images``. The rest are scalars per image. Between
    the calls of the compiled loop all are NumPy arrays.
    """

    images: Any
    start: Any
    modifier: Any
    momentum: Any
    velocity: Any
    best_images: Any
    labels: Any
    const: Any
    lower: Any
    upper: Any
    search_step: Any
    iteration: Any
    previous_loss: Any
    best_distance: Any
    found: Any
    has_gradient: Any
    broken: Any
    done: Any


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
        # One program for all sizes: the last, smaller batches are not traced again.
        self._run = engine.compile(self._iterate, victim.variables, any_batch_size=True)

    def run(self, state: State, size: int) -> State:
        """Returns the searches some iterations later; finished ones are marked ``done``.

        Args:
            state: Running searches.
            size: The number to which they are filled up, where programs have fixed shapes.
        """
        count = len(state.labels)
        if keras.backend.backend() != "tensorflow":
            state = _filled(state, size)
        return State(*(ops.convert_to_numpy(field)[:count] for field in self._run(state)))

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
        return State(*(np.concatenate(pair) for pair in zip(state, fresh, strict=True)))

    @staticmethod
    def keep(state: State, mask: np.ndarray) -> State:
        """Returns the searches selected by a boolean ``(batch,)`` mask."""
        return state if mask.all() else State(*(field[mask] for field in state))

    def succeeds(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Returns ``(batch,)`` booleans: whether images with these logits meet the success test."""
        return ops.convert_to_numpy(self._succeeds(self._margin(logits, labels)))

    def _initial(self, images: np.ndarray, labels: np.ndarray) -> State:
        """Returns the searches at their first iteration."""
        zeros, size = np.zeros_like(images), len(images)
        start = ops.arctanh((2.0 * images - 1.0) * np.float32(_TANH_MARGIN))
        return State(
            images=images,
            start=ops.convert_to_numpy(start),
            modifier=zeros,
            momentum=zeros,
            velocity=zeros,
            best_images=images,
            labels=labels,
            const=np.full(size, self.initial_const, np.float32),
            lower=np.zeros(size, np.float32),
            upper=np.full(size, _NO_UPPER_BOUND, np.float32),
            search_step=np.zeros(size, np.int32),
            iteration=np.zeros(size, np.int32),
            previous_loss=np.full(size, np.inf, np.float32),
            best_distance=np.full(size, np.inf, np.float32),
            found=np.zeros(size, bool),
            has_gradient=np.zeros(size, bool),
            broken=np.zeros(size, bool),
            done=np.zeros(size, bool),
        )

    def _margin(self, logits: Any, labels: Any) -> Any:
        """Returns ``(batch,)`` margins by which the label's class leads; negated if targeted."""
        margin = lead(logits, labels)
        return -margin if self.targeted else margin

    def _succeeds(self, margin: Any) -> Any:
        """Returns whether the margin is negative, and by at least ``confidence``."""
        return ops.logical_and(margin < 0.0, margin <= -self.confidence)

    def _iterate(self, state: State) -> State:
        """The traced function: a fixed number of iterations, fewer if all searches are done."""
        return engine.loop(
            lambda index, state: self._one_iteration(state),
            state,
            _ITERATIONS_PER_CALL,
            until=lambda state: ops.all(state.done),
        )

    def _one_iteration(self, state: State) -> State:
        """Returns the searches after one gradient step, some with their next constant."""
        squashed = ops.tanh(state.start + state.modifier)
        adversarial = (squashed + 1.0) / 2.0

        def hinge_and_margin(x: Any) -> tuple[Any, Any]:
            margin = self._margin(self.victim(x), state.labels)
            hinge = ops.maximum(margin + self.confidence, 0.0)
            return hinge, (hinge, margin)

        slope, (hinge, margin) = engine.gradient(hinge_and_margin, adversarial, has_auxiliary=True)
        if slope is None:
            raise AttackFailedError.no_gradient("carlini_wagner", "None")
        delta = adversarial - state.images
        distance = ops.sum(ops.square(delta), axis=(1, 2, 3))
        loss = distance + state.const * hinge
        gradient = (2.0 * delta + _as_images(state.const) * slope) * (1.0 - squashed**2) / 2.0

        better = self._succeeds(margin) & (distance < state.best_distance) & ~state.done
        is_number = ops.all(ops.isfinite(gradient), axis=(1, 2, 3))
        moved = self._adam(state, gradient)._replace(
            best_images=_select(better, adversarial, state.best_images),
            best_distance=ops.where(better, distance, state.best_distance),
            found=state.found | self._succeeds(margin),
            has_gradient=state.has_gradient | ops.any(slope != 0.0, axis=(1, 2, 3)),
            broken=state.broken | ~is_number,
        )
        return self._next_constant(moved, loss)

    def _adam(self, state: State, gradient: Any) -> State:
        """Returns the state after Adam's step, bias-corrected by each image's own count."""
        step = ops.cast(state.iteration + 1, "float32")
        momentum = _BETA_1 * state.momentum + (1.0 - _BETA_1) * gradient
        velocity = _BETA_2 * state.velocity + (1.0 - _BETA_2) * ops.square(gradient)
        rate = self.learning_rate * ops.sqrt(1.0 - _BETA_2**step) / (1.0 - _BETA_1**step)
        update = _as_images(rate) * momentum / (ops.sqrt(velocity) + _ADAM_EPSILON)
        return state._replace(
            modifier=state.modifier - update, momentum=momentum, velocity=velocity
        )

    def _next_constant(self, state: State, loss: Any) -> State:
        """Returns the state in which finished constants are replaced by the next ones."""
        is_check = state.iteration % max(self.max_iterations // 10, 1) == 0
        stalled = is_check & (loss > 0.9999 * state.previous_loss) & self.abort_early
        over = stalled | (state.iteration + 1 >= self.max_iterations)

        upper = ops.where(over & state.found, ops.minimum(state.upper, state.const), state.upper)
        lower = ops.where(over & ~state.found, ops.maximum(state.lower, state.const), state.lower)
        bounded = upper < _NO_UPPER_BOUND
        following = ops.where(bounded, (lower + upper) / 2.0, _tenfold(state.const))
        search_step = state.search_step + ops.cast(over, "int32")
        zeros = ops.zeros_like(state.modifier)
        return state._replace(
            modifier=_select(over, zeros, state.modifier),
            momentum=_select(over, zeros, state.momentum),
            velocity=_select(over, zeros, state.velocity),
            const=ops.where(over, following, state.const),
            lower=lower,
            upper=upper,
            search_step=search_step,
            iteration=ops.where(over, 0, state.iteration + 1),
            previous_loss=ops.where(
                over, np.float32(np.inf), ops.where(is_check, loss, state.previous_loss)
            ),
            found=state.found & ~over,
            done=state.done | (search_step >= self.binary_search_steps),
        )


def margin_gradient(victim: AttackedModel, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the gradient of the margin where a search starts, ``(batch, height, width, c)``."""

    def slope(start: Any, labels: Any) -> Any:
        return engine.gradient(lambda x: lead(victim(x), labels), start)

    # Not one operation after the other: TensorFlow would also run the gradients of weights, and its
    # fast one for a 1x1 convolution with strides writes past its memory on a few images.
    program = victim.program("margin_gradient", slope)
    start = (0.5 + _TANH_MARGIN * (images - 0.5)).astype(np.float32)
    gradient = program(ops.convert_to_tensor(start), ops.convert_to_tensor(labels))
    return np.zeros_like(images) if gradient is None else ops.convert_to_numpy(gradient)


def _filled(state: State, size: int) -> State:
    """Returns the searches, filled up to a number by copies of the first one that are done."""
    missing = max(size - len(state.labels), 0)
    copies = State(*(np.repeat(field[:1], missing, axis=0) for field in state))
    copies = copies._replace(done=np.ones(missing, bool))
    return State(*(np.concatenate(pair) for pair in zip(state, copies, strict=True)))


def _tenfold(const: Any) -> Any:
    """Returns ten times the constants, up to where float32 would end in infinity."""
    return ops.minimum(const * 10.0, _NO_UPPER_BOUND)


def _as_images(scalars: Any) -> Any:
    """Returns ``(batch,)`` as ``(batch, 1, 1, 1)``."""
    return scalars[:, None, None, None]


def _select(mask: Any, chosen: Any, otherwise: Any) -> Any:
    """Returns, per image, ``chosen`` where the ``(batch,)`` mask holds, else ``otherwise``."""
    return ops.where(_as_images(mask), chosen, otherwise)
