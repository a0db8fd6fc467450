"""The layer that replaces feature vectors by the nearest vectors of a learned codebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from models.layers import MOST_SEED, MOST_UNITS
from validation import check_flag, check_integer, check_numbers

__all__ = ["VectorQuantizer"]

MOST_CODES = 10_000_000
"""Most codes of a codebook."""


@keras.saving.register_keras_serializable(package="cleanroom")
class VectorQuantizer(layers.Layer):
    """Replaces each feature vector by the nearest code of a codebook; gradients pass unchanged.

    A perturbation of a feature is lost as long as the same code stays nearest, and the layers that
    follow see codes only, however far the feature has moved.

    The search runs over all codes, in training as in inference. It ranks them by
    ||code||^2 - 2 feature.code, the squared distance less ||feature||^2, which is the same for
    all of them, and takes ``codes_at_once`` codes at a time. A block of scores takes
    4 * batch * positions * ``codes_at_once`` bytes, and TensorFlow computes up to ten blocks ahead.
    For 128 images of 16x16 positions with 64 channels, the search among 2,560 codes was measured
    to add 70 to 100 MB to the process on a CPU, against 720 to 800 MB with all codes at once,
    which is no faster.

    **Reference**: Dissertation, ch. 5.3.1, eq. 5.3.1, and ch. 5.3.2 (the codebook is the matrix of
    an Embedding layer; q* = a + o with the offset o = q - a held constant).
    **Differs from the paper**: the dissertation lets the reconstruction loss train the encoder
    through q* and the codes through q, yet only q* is passed on, whose offset is constant, so that
    no gradient reaches the codes. This is the default here; with ``reconstruction_trains_codes``
    the reconstruction gradient reaches both, at the same forward value. Initial codes are only said
    to be random; here they are uniform in ``code_range``.

    Args:
        num_embeddings: Number of codes, K in the dissertation; at least 1.
        embedding_dim: Entries of a code, G in the dissertation; the channels of the features.
        code_range: Smallest and largest entry of an initial code; ``None`` is
            +-1/sqrt(num_embeddings), close to zero.
        reconstruction_trains_codes: Whether gradients reach the chosen codes as well.
        codes_at_once: Number of codes compared with the features at a time; bounds the memory.
        seed: Integer seed of the initial codes.
        **kwargs: Name and dtype, as of any layer.

    Call arguments:
        inputs: Features a, ``(batch, height, width, embedding_dim)``, any range.

    Returns:
        ``(quantized, codes, indices)``: q*, shape of the features, equal to the codes up to
        rounding, with the gradient passed on to the features unchanged; q, the chosen codes, same
        shape, with a gradient to the codebook only; and their rows in it, int32
        ``(batch, height, width)`` in [0, num_embeddings).

    Raises:
        ValueError: If an argument is of another kind or out of range, or the features have another
            number of channels.

    Example:
        import keras
        from models.vector_quantizer import VectorQuantizer

        features = keras.random.uniform((2, 4, 4, 8))
        quantizer = VectorQuantizer(num_embeddings=16, embedding_dim=8, code_range=(0.0, 1.0))
        quantized, codes, indices = quantizer(features)
        indices.shape  # (2, 4, 4)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        code_range: Sequence[float] | None = None,
        reconstruction_trains_codes: bool = False,
        codes_at_once: int = 32,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_integer("num_embeddings", num_embeddings, at_least=1, at_most=MOST_CODES)
        check_integer("embedding_dim", embedding_dim, at_least=1, at_most=MOST_UNITS)
        check_integer("codes_at_once", codes_at_once, at_least=1, such_as=32)
        check_integer("seed", seed, at_most=MOST_SEED, such_as=0)
        check_flag("reconstruction_trains_codes", reconstruction_trains_codes)
        if code_range is not None:
            _check_code_range(code_range)
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.reconstruction_trains_codes = reconstruction_trains_codes
        self.codes_at_once = codes_at_once
        self.seed = seed
        limit = num_embeddings**-0.5
        self.code_range = (-limit, limit) if code_range is None else tuple(code_range)
        self.embedding = layers.Embedding(
            num_embeddings,
            embedding_dim,
            embeddings_initializer=keras.initializers.RandomUniform(*self.code_range, seed=seed),
            name="codebook",
        )

    def build(self, input_shape: Any) -> None:
        """Creates the codebook."""
        if input_shape[-1] != self.embedding_dim:
            raise ValueError(
                f"Expected features with {self.embedding_dim} channels, received the shape "
                f"{tuple(input_shape)}. Set embedding_dim to {input_shape[-1]}."
            )
        self.embedding.build((None,))
        self.built = True

    @property
    def codebook(self) -> keras.Variable:
        """All codes, ``(num_embeddings, embedding_dim)``."""
        return self.embedding.embeddings

    def call(self, inputs: Any) -> tuple[Any, Any, Any]:
        """Returns the quantized features, the codes and their indices; see the class."""
        indices = self.nearest(inputs)
        # A lookup in the variable itself has a sparse gradient with one entry for each use of a
        # row, which optimizers square and clip one by one. Through a reshape it is dense.
        table = ops.reshape(self.codebook, (self.num_embeddings, self.embedding_dim))
        codes = ops.take(table, indices, axis=0)
        if self.reconstruction_trains_codes:
            return codes + (inputs - ops.stop_gradient(inputs)), codes, indices
        return inputs + ops.stop_gradient(codes - inputs), codes, indices

    def nearest(self, inputs: Any) -> Any:
        """Returns the row of the code nearest to each feature, the first one among equals."""
        features = ops.reshape(ops.stop_gradient(inputs), (-1, self.embedding_dim))
        codes = ops.stop_gradient(ops.convert_to_tensor(self.codebook))
        codes = ops.cast(codes, features.dtype)
        doubled = 2.0 * features
        norms = ops.sum(ops.square(codes), axis=1)
        rows = min(self.codes_at_once, self.num_embeddings)

        def compare(step: Any, best: tuple[Any, Any]) -> tuple[Any, Any]:
            best_scores, best_indices = best
            # The last block overlaps codes already compared, which cannot change the result.
            start = ops.minimum(step * rows, self.num_embeddings - rows)
            block = ops.slice(codes, (start, 0), (rows, self.embedding_dim))
            scores = ops.slice(norms, (start,), (rows,)) - ops.matmul(doubled, ops.transpose(block))
            scores_here = ops.min(scores, axis=1)
            indices_here = start + ops.cast(ops.argmin(scores, axis=1), "int32")
            closer = scores_here < best_scores
            return (
                ops.where(closer, scores_here, best_scores),
                ops.where(closer, indices_here, best_indices),
            )

        zeros = ops.zeros_like(features[:, 0])
        start = (zeros + float("inf"), ops.cast(zeros, "int32"))
        _, indices = ops.fori_loop(0, -(-self.num_embeddings // rows), compare, start)
        return ops.reshape(indices, ops.shape(inputs)[:-1])

    def compute_output_spec(self, inputs: Any) -> tuple[keras.KerasTensor, ...]:
        """Returns the shapes and types of the three results."""
        features = keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)
        codes = keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)
        return features, codes, keras.KerasTensor(inputs.shape[:-1], dtype="int32")

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {
            **super().get_config(),
            "num_embeddings": self.num_embeddings,
            "embedding_dim": self.embedding_dim,
            "code_range": list(self.code_range),
            "reconstruction_trains_codes": self.reconstruction_trains_codes,
            "codes_at_once": self.codes_at_once,
            "seed": self.seed,
        }


def _check_code_range(code_range: Sequence[float]) -> None:
    """Raises a ValueError unless it is two finite numbers, the smaller one first."""
    numbers = check_numbers("code_range", code_range)
    if len(numbers) != 2 or numbers[0] >= numbers[1]:
        raise ValueError(
            f"Expected code_range as a smallest and a larger largest entry, received "
            f"{code_range!r}. Pass a pair such as (0.0, 1.0), or None."
        )
