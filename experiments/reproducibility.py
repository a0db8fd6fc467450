"""Seeds, hashes and the record of what a run was made from."""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from results.row import LARGEST_SEED
from validation import check_integer

RECORDED_PACKAGES = ("tensorflow", "jax", "keras", "cleverhans", "tensorflow-datasets", "numpy")


def plain(value: Any) -> Any:
    """Configurations as JSON types, with one spelling per value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f for f in dataclasses.fields(value) if not _omitted(f, getattr(value, f.name))]
        return {f.name: plain(getattr(value, f.name)) for f in fields}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        "Expected configurations of mappings, sequences, numbers, texts and None, received a "
        f"{type(value).__name__}: {value!r}. Pass plain values."
    )


def _omitted(field: dataclasses.Field[Any], value: Any) -> bool:
    """Whether a field is younger than published hashes (``config.LATER``) and at its default."""
    return "omitted_at_default" in field.metadata and value == field.default


def canonical_json(value: Any) -> str:
    """The one JSON spelling of ``value``; equal configurations give equal text.

    Raises:
        ValueError: If a number in it is not finite.
    """
    try:
        return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise ValueError(
            f"Expected configurations of finite numbers, received {value!r}. Replace what is NaN "
            "or infinite."
        ) from error


def stable_hash(value: Any, length: int = 16) -> str:
    """A hexadecimal digest of ``value`` that is the same in every process."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:length]


def array_hash(*arrays: np.ndarray, length: int = 16) -> str:
    """A hexadecimal digest of the contents, shapes and types of ``arrays``."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:length]


def weights_hash(model: keras.Model) -> str:
    """A digest of a model's weights; the bytes of a ``.keras`` file differ on each save."""
    return array_hash(*(np.asarray(weight) for weight in model.get_weights()))


def derive_seed(seed: int, *names: str) -> int:
    """A seed for the part called ``names``, so that parts neither share nor shift draws.

    Raises:
        ValueError: If the seed is no whole number of at most 32 bits.
    """
    seed = check_integer("seed", seed, at_most=LARGEST_SEED, such_as=0)
    return int(stable_hash([seed, *names], length=7), 16)


def set_seeds(seed: int) -> None:
    """Seeds Python, NumPy and the backend, and asks TensorFlow for deterministic kernels.

    Raises:
        ValueError: If the seed is no whole number of at most 32 bits.
    """
    seed = check_integer("seed", seed, at_most=LARGEST_SEED, such_as=0)
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def environment_record() -> dict[str, str]:
    """The backend, its device, versions of everything that can change a number, and kernels."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "backend": keras.backend.backend(),
        "device": _device(),
        "TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "not set"),
        **{name: _version(name) for name in RECORDED_PACKAGES},
    }


@functools.cache
def _device() -> str:
    """What the backend computes on, for example ``NVIDIA H100 80GB HBM3``, or ``cpu``."""
    names = ["cpu"]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_physical_devices("GPU")
        details = [tf.config.experimental.get_device_details(device) for device in found]
        names = [detail.get("device_name", "gpu") for detail in details] or names
    elif keras.backend.backend() == "jax":
        import jax

        names = [device.device_kind for device in jax.local_devices()]
    counts = collections.Counter(names)
    return ", ".join(name if n == 1 else f"{n} x {name}" for name, n in counts.items())


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
