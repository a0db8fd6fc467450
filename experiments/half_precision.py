"""Model files at half of their size, bit for bit the same when they are unpacked.

Trained weights have 11 significant bits (``fitting.round_weights``), those of half precision. What
half precision cannot hold, being too large or too small for its exponent, or not rounded, is kept
beside the array with its place. A packed model is an ``.npz`` without pickles and without
compression: the descriptions of the model as bytes, the groups of its weights, and the arrays.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from experiments.model_files import DamagedArtifactError
from experiments.reproducibility import array_hash
from results.files import UNREADABLE_ARRAYS

_WEIGHTS = "model.weights.h5"
_TEXTS = ("config.json", "metadata.json")
_TREE = "tree"
_SPARSE = 4
"""An array of which more than one value in so many does not fit is kept whole."""


def pack_model(path: Path, packed: Path, about: Mapping[str, Any]) -> None:
    """Writes a ``.keras`` file in half precision.

    Args:
        path: The model file.
        packed: Where the ``.npz`` goes.
        about: What is to be known of it, as JSON types.

    Raises:
        DamagedArtifactError: If it is no model file, or holds what is no array of numbers.
    """
    try:
        with zipfile.ZipFile(path) as members:
            texts = {name: members.read(name) for name in _TEXTS}
            weights = members.read(_WEIGHTS)
        with h5py.File(io.BytesIO(weights)) as file:
            groups, arrays = _tree(file)
    except (*UNREADABLE_ARRAYS, AttributeError) as error:
        raise DamagedArtifactError(f"{path} cannot be packed: {error}. Train it again.") from error
    stored: dict[str, np.ndarray] = {name: _bytes(text) for name, text in texts.items()}
    for number, array in enumerate(arrays.values()):
        stored |= _halved(f"a{number:05d}", array)
    tree = {
        "about": about,
        "groups": groups,
        "arrays": list(arrays),
        "weights": array_hash(*arrays.values()),
    }
    stored[_TREE] = _bytes(json.dumps(tree, sort_keys=True).encode())
    np.savez(packed, allow_pickle=False, **stored)


def read_about(packed: Path) -> dict[str, Any]:
    """What ``pack_model`` was told of a model.

    Raises:
        DamagedArtifactError: If the file is damaged.
    """
    with _opened(packed) as file:
        return _read_tree(file, packed)["about"]


def unpack_model(packed: Path, path: Path) -> None:
    """Writes the ``.keras`` file of a packed model: the same weights under the same names.

    Args:
        packed: What ``pack_model`` wrote.
        path: Where the model file goes.

    Raises:
        DamagedArtifactError: If the file is damaged, or its weights are not those that were packed.
    """
    with _opened(packed) as file:
        tree = _read_tree(file, packed)
        try:
            texts = {name: file[name].tobytes() for name in _TEXTS}
            arrays = [_whole(f"a{n:05d}", file) for n in range(len(tree["arrays"]))]
            same = array_hash(*arrays) == tree["weights"]
            weights = _written(tree["groups"], dict(zip(tree["arrays"], arrays, strict=True)))
        except (*UNREADABLE_ARRAYS, AttributeError, IndexError) as error:
            raise _damaged(packed, str(error)) from error
    if not same:
        raise _damaged(packed, "other weights than were packed")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as members:
        for name, content in (*texts.items(), (_WEIGHTS, weights)):
            members.writestr(name, content)


def _tree(file: h5py.File) -> tuple[dict[str, dict[str, Any]], dict[str, np.ndarray]]:
    """Every group of a file with its attributes, and every array, by name."""
    groups: dict[str, dict[str, Any]] = {}
    arrays: dict[str, np.ndarray] = {}

    def visit(name: str, found: h5py.Group | h5py.Dataset) -> None:
        attributes = {key: _plain(value) for key, value in found.attrs.items()}
        if isinstance(found, h5py.Group):
            groups[name] = attributes
            return
        arrays[name] = np.asarray(found)
        if attributes or arrays[name].dtype.kind not in "fiub":
            raise ValueError(f"expected plain numbers in {name}, received {found}, {attributes}")

    visit("/", file)
    file.visititems(visit)
    return groups, arrays


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, str | int | float):
        raise ValueError(f"expected texts and numbers beside the weights, received {value!r}")
    return value


def _written(groups: Mapping[str, Mapping[str, Any]], arrays: Mapping[str, np.ndarray]) -> bytes:
    """A file of weights as Keras reads it."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, attributes in groups.items():
            group = file.require_group(name)
            for key, value in attributes.items():
                group.attrs[key] = _plain(value)
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
    return buffer.getvalue()


def _halved(name: str, array: np.ndarray) -> dict[str, np.ndarray]:
    """The members that hold an array."""
    if array.dtype != np.float32:
        return {name: array}
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    lost = np.flatnonzero(half.astype(np.float32).view(np.uint32) != array.view(np.uint32))
    if lost.size * _SPARSE > array.size:
        return {name: array}
    if not lost.size:
        return {name: half}
    return {name: half, f"{name}_at": lost, f"{name}_is": array.reshape(-1)[lost]}


def _whole(name: str, file: Mapping[str, np.ndarray]) -> np.ndarray:
    """The array that ``_halved`` was given."""
    array = file[name]
    if array.dtype != np.float16:
        return array
    array = np.ascontiguousarray(array, np.float32)
    if f"{name}_at" in file:
        array.reshape(-1)[file[f"{name}_at"]] = file[f"{name}_is"]
    return array


def _bytes(text: bytes) -> np.ndarray:
    return np.frombuffer(text, np.uint8)


def _opened(packed: Path) -> Any:
    """The arrays of a file, whose members unpack to no more than they take."""
    try:
        with zipfile.ZipFile(packed) as members:
            if any(one.compress_type != zipfile.ZIP_STORED for one in members.infolist()):
                raise ValueError("compressed members")
        return np.load(packed, allow_pickle=False)
    except UNREADABLE_ARRAYS as error:
        raise _damaged(packed, str(error)) from error


def _read_tree(file: Mapping[str, np.ndarray], packed: Path) -> dict[str, Any]:
    try:
        tree = json.loads(file[_TREE].tobytes())
        expected = {"about": dict, "groups": dict, "arrays": list, "weights": str}
        if {name: type(tree[name]) for name in expected} != expected:
            raise ValueError("descriptions of another form")
    except (*UNREADABLE_ARRAYS, AttributeError, RecursionError) as error:
        raise _damaged(packed, str(error)) from error
    return tree


def _damaged(packed: Path, received: str) -> DamagedArtifactError:
    return DamagedArtifactError(
        f"Expected a packed model in {packed.name}, received {received}. Pack it again."
    )
