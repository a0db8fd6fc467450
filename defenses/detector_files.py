"""Files of fitted detectors: JSON with a sum over what it holds, and what tells networks apart."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from defenses.saving import check_new_file

__all__ = ["network_sum", "read_detector", "write_detector"]


def network_sum(network: keras.Model) -> str:
    """SHA-256 of the weights of a network: their shapes and values, in order."""
    digest = hashlib.sha256()
    for variable in network.weights:
        value = np.ascontiguousarray(ops.convert_to_numpy(variable))
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def write_detector(filepath: Any, content: dict[str, Any]) -> None:
    """Writes what describes a detector, whole or not at all.

    Args:
        filepath: Ends in ``.json``; replaced if it is there.
        content: ``"class"``, ``"networks"``, ``"options"`` and ``"threshold"``.

    Raises:
        ValueError: If the path cannot be written to.
    """
    path = check_new_file(filepath, ".json")
    beside = path.with_name(f".{path.stem}.{os.getpid()}.json")
    try:
        text = json.dumps({**content, "sum": _sum(content)}, indent=1, sort_keys=True)
        beside.write_text(text + "\n")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def read_detector(filepath: Any) -> dict[str, Any]:
    """Returns what ``write_detector`` wrote.

    Raises:
        ValueError: If the file is missing, damaged or of another kind.
    """
    path = Path(os.fsdecode(filepath))
    try:
        content = json.loads(path.read_text())
        if content.pop("sum") != _sum(content):
            raise ValueError("its sum differs")
        if set(content) != {"class", "networks", "options", "threshold"}:
            raise ValueError(f"it has {', '.join(sorted(content))}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"Expected the file of a detector, received {str(path)!r}, which is missing or damaged "
            f"({type(error).__name__}: {error}). Fit the detector again and save it."
        ) from error
    return content


def _sum(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
