"""JPEG: an image is compressed and decompressed, which loses what the eye does not miss."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import keras
import numpy as np

from defenses.fixed_transform import FixedTransform
from defenses.registry import register
from validation import check_integer

__all__ = ["JPEG", "compressed"]

MOST_QUALITY = 100


def compressed(images: np.ndarray, quality: int) -> np.ndarray:
    """Compresses images to JPEG and decompresses them.

    Args:
        images: float32 ``(batch, height, width, channels)`` in [0, 1], one channel or three.
        quality: In [1, 100].

    Returns:
        float32 array of the same shape; multiples of 1/255 in [0, 1].
    """
    from PIL import Image

    images = np.asarray(images)
    codes = np.rint(np.clip(images, 0.0, 1.0) * 255.0).astype("uint8")
    decoded = np.empty_like(codes)
    for code, out in zip(codes, decoded, strict=True):
        grey = code.shape[-1] == 1
        file = io.BytesIO()
        Image.fromarray(code[..., 0] if grey else code).save(
            file, "JPEG", quality=quality, subsampling="4:2:0"
        )
        with Image.open(file) as read:
            out[...] = np.asarray(read).reshape(code.shape)
    return decoded.astype("float32") / np.float32(255)


@register("jpeg")
@keras.saving.register_keras_serializable(package="cleanroom")
class JPEG(FixedTransform):
    """Purifies by compression to JPEG, which needs no training.

    Values are rounded in the frequency domain, the coarser the higher the frequency, and a small
    perturbation of single pixels is mostly of high frequency.

    It has no useful gradient: an attack takes that of the identity in its place, by
    ``DefendedClassifier(..., identity_gradient=True)``.

    **Reference**: Dziugaite, Ghahramani and Roy, "A study of the effect of JPG compression on
    adversarial images", 2016; the baseline JPEG of CAP-GAN, sec. IV, Tables I to III.
    **Differs from the paper**: CAP-GAN does not print the quality; it is 75 by default, as in the
    public code of Athalye, Carlini and Wagner, "Obfuscated Gradients Give a False Sense of
    Security", 2018. Colour is kept at half the resolution (4:2:0), as is usual and as in that code;
    a grey image is compressed as one.

    Compression runs on the host, by Pillow, on either backend with the same result; a compiled
    function calls it from there, though not one that XLA compiles on TensorFlow.

    Args:
        image_shape: ``(height, width, channels)`` with one channel or three.
        quality: Of the compression, in [1, 100].
        **kwargs: Name and dtype, as of any model.

    Raises:
        ValueError: If the shape is not one of grey or colour images, or the quality out of range.

    Example:
        import numpy as np
        from defenses.jpeg import JPEG

        images = np.random.default_rng(0).random((8, 32, 32, 3), dtype="float32")
        JPEG((32, 32, 3), quality=75).purify(images).shape  # (8, 32, 32, 3)
    """

    def __init__(
        self, image_shape: tuple[int, int, int], *, quality: int = 75, **kwargs: Any
    ) -> None:
        super().__init__(image_shape, channels=(1, 3), **kwargs)
        check_integer("quality", quality, at_least=1, at_most=MOST_QUALITY, such_as=75)
        self.quality = int(quality)
        self.supports_jit = False
        self.finish_building()

    def call(self, images: Any, training: bool = False) -> Any:
        """Purifies images; see the base class for shapes and ranges."""
        del training
        quality = self.quality
        return _on_host(lambda values: compressed(values, quality), images)

    def export(
        self,
        filepath: str | os.PathLike[str],
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Sequence[Any] | None = None,
        **arguments: Any,
    ) -> NoReturn:
        """Refuses: what is exported runs without Python, which compresses here.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"Expected a purifier that runs without Python for export, received {self.name!r} of "
            "class JPEG. Save it as a .keras file, or compress the images where they are served."
        )

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the purifier."""
        return {
            **super().get_config(),
            "image_shape": list(self._image_shape),
            "quality": self.quality,
        }


def _on_host(function: Callable[[np.ndarray], np.ndarray], images: Any) -> Any:
    """Calls a function of arrays that keeps shape and type, from a compiled program if need be."""
    if keras.backend.backend() == "jax":
        import jax

        images = keras.ops.convert_to_tensor(images, dtype="float32")
        result = jax.ShapeDtypeStruct(images.shape, images.dtype)
        return jax.pure_callback(function, result, jax.lax.stop_gradient(images))
    import tensorflow as tf

    images = tf.convert_to_tensor(images, dtype="float32")
    results = tf.numpy_function(function, [images], tf.float32, stateful=False)
    return tf.ensure_shape(results, images.shape)
