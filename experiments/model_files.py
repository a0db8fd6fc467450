"""Reading a ``.keras`` file that may be damaged or hostile: nothing runs before it is looked at.

Keras's safe mode refuses pickled functions, but builds any class that a file names. Here the file
is read as data first: its members, their sizes and every class that its configuration names. Only
this project's registered classes and a list of Keras's own, none of which runs given code or opens
files, go on to Keras.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

__all__ = ["DamagedArtifactError", "check_hash", "file_hash", "load_keras_model"]

_OURS = "cleanroom>"
_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_LARGEST = {_CONFIG: 16 << 20, _METADATA: 1 << 20, _WEIGHTS: 8 << 30}
"""The members of a model file, and how many bytes each may unpack to."""
_PACKED = 200
"""How much smaller than its content a member may be, beyond its first megabyte: weights are noise,
which hardly shrinks, and a file that unpacks to far more than it holds is made to fill a memory."""
_MODELS = {"Functional", "Sequential"}
_LAYERS = frozenset(
    {
        "Activation",
        "Add",
        "Average",
        "AveragePooling2D",
        "BatchNormalization",
        "Concatenate",
        "Conv1D",
        "Conv2D",
        "Conv2DTranspose",
        "Cropping2D",
        "Dense",
        "DepthwiseConv2D",
        "Dropout",
        "ELU",
        "Embedding",
        "Flatten",
        "GaussianDropout",
        "GaussianNoise",
        "GlobalAveragePooling2D",
        "GlobalMaxPooling2D",
        "GroupNormalization",
        "InputLayer",
        "LayerNormalization",
        "LeakyReLU",
        "MaxPooling2D",
        "Maximum",
        "Minimum",
        "Multiply",
        "Normalization",
        "PReLU",
        "Permute",
        "ReLU",
        "Rescaling",
        "Reshape",
        "SeparableConv2D",
        "Softmax",
        "SpatialDropout2D",
        "Subtract",
        "UnitNormalization",
        "UpSampling2D",
        "ZeroPadding2D",
    }
)
_WHOLE_MODULES = (
    "keras.constraints",
    "keras.initializers",
    "keras.losses",
    "keras.metrics",
    "keras.optimizers",
    "keras.optimizers.schedules",
    "keras.regularizers",
)
"""Modules whose public classes are plain numbers and formulas."""
_DATA = {"__keras_tensor__", "__tuple__"}
"""Marks of Keras's own format that stand for data, not for a class."""
_MODEL_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
_LAYER_NAME = re.compile(r"[A-Za-z0-9_.\\/>-]*")
"""Under other names TensorFlow calls no model, and no layer inside of one."""


class DamagedArtifactError(ValueError):
    """A stored file does not match the checksum written when it was made."""


def file_hash(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_hash(path: Path, sha256: str) -> None:
    """Raises a ``DamagedArtifactError`` if a file has another SHA-256."""
    found = file_hash(path)
    if found != sha256:
        raise DamagedArtifactError(
            f"{path} is damaged: expected the SHA-256 {sha256}, received {found}. Restore the file "
            "from where it came, or make it again."
        )


def load_keras_model(path: str | os.PathLike[str], sha256: str | None = None) -> keras.Model:
    """Loads a ``.keras`` file of this project's purifiers and classifiers, running no other code.

    Args:
        path: The file.
        sha256: Its expected digest; ``None`` skips the comparison.

    Returns:
        The model, not compiled; every weight is finite.

    Raises:
        ValueError: If the file is missing, has another suffix, differs from ``sha256``, is
            damaged, names a class that is not on the list, or holds weights that are not finite.
    """
    import defenses  # noqa: F401  registers the purifiers' classes

    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise ValueError(
            f"Expected the path of a .keras file, received {path!r}. Pass a text or a Path."
        )
    path = Path(path)
    if path.suffix != ".keras":
        raise ValueError(
            f"Expected a .keras file, received {path.name!r}. Other formats can run code when "
            "loaded; save the model with model.save('name.keras')."
        )
    if "\0" in str(path) or not path.is_file():
        raise ValueError(
            f"Expected a model file at {str(path)!r}, received none. Train one with run_all.py, or "
            "mend the path."
        )
    if sha256 is not None:
        check_hash(path, sha256)
    _check_classes(_configuration(path), path)
    try:
        with warnings.catch_warnings():
            # Keras only warns where it leaves layers with weights that the file does not hold.
            warnings.filterwarnings("error", message="Skipping nested container")
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        # Damage surfaces in Keras as errors of nearly every type.
        raise _damaged(path, f"one that Keras cannot rebuild ({_shown(error)})") from error
    _check_names(model, path)
    _check_weights(model, path)
    return model


def _configuration(path: Path) -> dict[str, Any]:
    """The configuration in a model file, read as data after a look at the file's members."""
    try:
        with zipfile.ZipFile(path) as members:
            wrong = _wrong_member(members.infolist())
            if wrong is None and (broken := members.testzip()):
                wrong = f"{broken}, which differs from its checksum"
            if wrong is None:
                config = json.loads(members.read(_CONFIG))
    except Exception as error:
        # Changed bytes surface as errors of zipfile, zlib, struct and json, among others.
        raise _damaged(path, f"bytes that cannot be unpacked ({_shown(error)})") from error
    if wrong is None and not isinstance(config, dict):
        wrong = f"a {_CONFIG} that describes no model"
    if wrong is not None:
        raise _damaged(path, wrong)
    return config


def _wrong_member(members: list[zipfile.ZipInfo]) -> str | None:
    """What is wrong with the members of a model file, or ``None``."""
    names = sorted(member.filename for member in members)
    if names != sorted(_LARGEST):
        return f"the members {', '.join(names[:6])} in place of {', '.join(sorted(_LARGEST))}"
    for member in members:
        name, size, packed = member.filename, member.file_size, member.compress_size
        if member.flag_bits & 1:
            return f"{name}, which is encrypted"
        if size > _LARGEST[name] or size > (1 << 20) + _PACKED * packed:
            return f"{name}, which unpacks from {packed:,} to {size:,} bytes"
    return None


def _check_classes(config: Any, path: Path) -> None:
    """Raises unless every class that a configuration names is on the list."""
    for named in _dictionaries(config):
        if "class_name" not in named and "registered_name" not in named:
            continue
        module, name, registered = (
            named.get(key) for key in ("module", "class_name", "registered_name")
        )
        if module is None and registered is None and isinstance(name, str) and name in _DATA:
            continue
        if not _is_known(module, name, registered):
            raise ValueError(
                f"Expected {path} to be built from this project's classes and Keras's own layers, "
                f"received {_word(module)}.{_word(name)} (registered as {_word(registered)}), "
                "which is not among them: it may run code when it is loaded. Do not use the file; "
                "take it again from where it was published, or load it with Keras itself if you "
                "trust it."
            )


def _is_known(module: Any, name: Any, registered: Any) -> bool:
    if not isinstance(module, str) or not isinstance(name, str):
        return False
    if isinstance(registered, str) and registered.startswith(_OURS):
        found = keras.saving.get_registered_object(registered)
        # Without these comparisons a registered name could lead to another class.
        return isinstance(found, type) and (found.__module__, found.__name__) == (module, name)
    if registered not in (None, name):
        return False
    if name in _MODELS:
        return module in ("keras", "keras.models", f"keras.src.models.{name.lower()}")
    if module == "keras":
        return name == "DTypePolicy"
    if module == "keras.layers":
        return name in _LAYERS
    return module in _WHOLE_MODULES and isinstance(_public(module, name), type)


def _public(module: str, name: str) -> Any:
    """What Keras publishes under a name, or ``None``."""
    place: Any = keras
    for part in (*module.split(".")[1:], name):
        place = None if part.startswith("_") else getattr(place, part, None)
    return place


def _dictionaries(value: Any) -> Iterator[dict[str, Any]]:
    """Every dictionary inside a value, without recursion."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _check_names(model: keras.Model, path: Path) -> None:
    for layer in model._flatten_layers():
        allowed = _MODEL_NAME if layer is model else _LAYER_NAME
        if not allowed.fullmatch(layer.name):
            raise _damaged(path, f"the name {layer.name!r}, under which no layer can be called")


def _check_weights(model: keras.Model, path: Path) -> None:
    for variable in model.variables:
        values = keras.ops.convert_to_numpy(variable)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise _damaged(path, f"weights that are NaN or infinite in {variable.path}")


def _damaged(path: Path, received: str) -> ValueError:
    return ValueError(
        f"Expected a sound model file, {path} is damaged or not a readable Keras model: received "
        f"{received}. Restore it from version control, download it again, or train it anew with "
        "run_all.py --train."
    )


def _shown(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _word(value: Any) -> str:
    return repr(value)[:60] if not isinstance(value, str) else value[:60]
