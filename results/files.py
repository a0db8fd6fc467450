"""Writing a file so that nobody ever reads half of it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def write_atomically(path: str | Path, content: bytes | Callable[[Path], object]) -> None:
    """Writes a file so that a reader, or a killed run, sees the old or the new one, never a part.

    Args:
        path: Where to write; missing folders are made.
        content: The bytes, or a function that writes them to the path it is given (which has the
            same suffix).

    Raises:
        OSError: If the disk refuses; the old file is then untouched and nothing is left beside it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            if isinstance(content, bytes):
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if not isinstance(content, bytes):
            content(beside)
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Writes sorted, indented JSON in one step."""
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    write_atomically(path, text.encode())
