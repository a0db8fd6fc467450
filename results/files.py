"""Writing a file so that nobody ever reads half of it."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

_LOCK_SECONDS = 60
UNREADABLE_ARRAYS = (
    OSError,
    EOFError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading a damaged ``.npz`` raises: one changed bit can make it encrypted, or no archive."""


def load_arrays(path: str | Path, kinds: Mapping[str, str], remedy: str) -> dict[str, np.ndarray]:
    """Reads an ``.npz`` of a figure.

    Args:
        path: The file.
        kinds: The arrays that it has to hold -> NumPy's letter for their kind.
        remedy: How such a file is written, for messages.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, holds objects, or lacks an array.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except UNREADABLE_ARRAYS as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(
            f"{path}: expected an .npz of plain arrays, received an unreadable file ({error}). "
            "Delete it and measure its figure again."
        ) from error
    for name, kind in kinds.items():
        if name not in arrays:
            raise ValueError(
                f"{path}: expected the array {name!r}, received {list(arrays)}. {remedy}"
            )
        if arrays[name].dtype.kind != kind:
            raise ValueError(
                f"{path}: expected {name} of NumPy's kind {kind!r}, received "
                f"{arrays[name].dtype}. {remedy}"
            )
    return arrays


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Lets every ``OSError`` of a block name a path: a full disk, say, names none."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keeps other runs out of a block; the lock's file is made with its folder.

    Args:
        path: The lock's file.

    Raises:
        OSError: If it cannot be made, or another run holds it for a minute.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=_LOCK_SECONDS)
        try:
            lock.acquire()
        except Timeout:
            raise TimeoutError(
                f"Expected the lock {path} within {_LOCK_SECONDS} seconds, but another run holds "
                "it. Wait for that run, or end it."
            ) from None
    try:
        yield
    finally:
        lock.release()


def check_writable(folder: Path) -> None:
    """Makes a folder and writes into it, so that a run finds out before its work, not after.

    Raises:
        OSError: If that cannot be done; it names the folder.
    """
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".", dir=folder) as file:
            file.write(b"rows")
            file.flush()


def write_atomically(path: str | Path, content: bytes | Callable[[Path], object]) -> None:
    """Writes a file so that a reader, or a killed run, sees the old or the new one, never a part.

    Args:
        path: Where to write; missing folders are made.
        content: The bytes, or a function that writes them to the path it is given (which has the
            same suffix).

    Raises:
        OSError: If the disk refuses; it names a path, the old file is untouched and nothing is left
            beside it.
    """
    path = Path(path)
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent
        )
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
