"""Where the images of a data set are kept: one ``.npz``, or a directory of TensorFlow Datasets.

A folder given by ``--data-dir`` or the ``TFDS_DATA_DIR`` environment variable may hold both. The
file ``<name>.npz`` is read where it is there, since it needs nothing but NumPy; it has the members
``x_train, y_train, x_test, y_test`` of Keras's own ``mnist.npz``. ``python -m experiments.datasets
export`` writes it from a directory of TensorFlow Datasets, in the same order, so that either gives
the same arrays.
"""

from __future__ import annotations

import io
import os
import socket
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from results.files import UNREADABLE_ARRAYS, write_atomically
from validation import check_choice

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Training images ``(n, height, width, channels)`` uint8, their labels ``(n,)`` int64, and the
images and labels of the test split alike."""
TFDS_NAMES = ("mnist", "fashion_mnist", "cifar10", "svhn_cropped")
_TFDS_FOLDER = "~/tensorflow_datasets"
"""Where TensorFlow Datasets keeps data if it is not told otherwise."""
_MEMBERS = ("x_train", "y_train", "x_test", "y_test")
_SOURCES = {
    "mnist": "https://storage.googleapis.com",
    "fashion_mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "cifar10": "https://www.cs.toronto.edu",
    "svhn_cropped": "http://ufldl.stanford.edu",
}
"""Where TensorFlow Datasets downloads from; without a connection it tries for minutes."""
_CONNECTION_SECONDS = 5.0
_PORTS = {"": 80, "http": 80, "https": 443}
_SOCKS_PORT = 1080
_SHAPES = {
    "mnist": (28, 28, 1),
    "fashion_mnist": (28, 28, 1),
    "cifar10": (32, 32, 3),
    "svhn_cropped": (32, 32, 3),
}


class DatasetError(ValueError):
    """A data set is unknown, absent or not what it should be."""


def read_arrays(name: str, data_dir: str | Path | None = None) -> Arrays:
    """The arrays of a data set from ``<name>.npz``, else from TensorFlow Datasets.

    Args:
        name: One of ``TFDS_NAMES``.
        data_dir: The folder; ``None`` takes ``TFDS_DATA_DIR``, then TensorFlow Datasets' own.

    Returns:
        See ``Arrays``; equal from either source where the file was written by ``export_arrays``.

    Raises:
        DatasetError: If the folder is none, or the data are damaged, or absent and cannot be
            downloaded.
        ValueError: If the name is unknown; the message lists those that are known.
    """
    check_choice("the name of a data set", name, TFDS_NAMES)
    directory = _directory(data_dir)
    if directory is not None and npz_path(name, directory).is_file():
        return _read_npz(name, npz_path(name, directory))
    return _read_tfds(name, directory)


def is_prepared(name: str, data_dir: str | Path | None = None) -> bool:
    """Whether ``read_arrays`` has a data set to read and need not download it.

    Args:
        name: One of ``TFDS_NAMES``.
        data_dir: As in ``read_arrays``.

    Raises:
        DatasetError: If the folder is none.
    """
    directory = _directory(data_dir)
    if directory is not None and npz_path(name, directory).is_file():
        return True
    return (Path(directory or _TFDS_FOLDER).expanduser() / name).is_dir()


def export_arrays(
    name: str, data_dir: str | Path | None = None, to: str | Path | None = None
) -> tuple[Path, Arrays]:
    """Writes ``<name>.npz`` from TensorFlow Datasets, in one step and without pickles.

    Args:
        name, data_dir: As in ``read_arrays``.
        to: The folder of the file; ``None`` takes that of the data.

    Returns:
        The file, and the arrays in it.

    Raises:
        DatasetError: As ``read_arrays``, or if neither folder is given.
        OSError: If the file cannot be written.
    """
    check_choice("the name of a data set", name, TFDS_NAMES)
    directory = _directory(data_dir)
    folder = to or directory
    if folder is None:
        raise DatasetError(
            "Expected a folder to write to, received none. Give that of the data with --data-dir "
            "or TFDS_DATA_DIR, or another with --to."
        )
    path, arrays = npz_path(name, folder), _read_tfds(name, directory)
    # Labels are below 256; Keras's own files keep them in bytes too.
    members = {
        member: array.astype(np.uint8) for member, array in zip(_MEMBERS, arrays, strict=True)
    }
    write_atomically(
        path, lambda beside: np.savez_compressed(beside, allow_pickle=False, **members)
    )
    return path, arrays


def npz_path(name: str, folder: str | Path) -> Path:
    """Where the file of a data set lies in a folder."""
    return Path(folder) / f"{name}.npz"


def _directory(data_dir: str | Path | None) -> str | Path | None:
    """The folder that was asked for, checked; ``None`` if none was."""
    directory = data_dir or os.environ.get("TFDS_DATA_DIR")
    is_path = isinstance(directory, str | os.PathLike)
    if directory is not None and not (is_path and Path(directory).is_dir()):
        state = "is a file" if is_path and Path(directory).is_file() else "does not exist"
        raise DatasetError(
            f"Expected a data directory, received {str(directory)!r}, which {state}. Give an "
            "existing folder of .npz files or of TensorFlow Datasets with --data-dir or "
            "TFDS_DATA_DIR."
        )
    return directory


def _read_npz(name: str, path: Path) -> Arrays:
    try:
        with zipfile.ZipFile(path) as archive:
            found = [member.removesuffix(".npy") for member in archive.namelist()]
            sound = sorted(found) == sorted(_MEMBERS)
            # Read whole, so that each is compared with its checksum.
            content = {member: archive.read(f"{member}.npy") for member in _MEMBERS if sound}
        members = {
            member: np.lib.format.read_array(io.BytesIO(content.pop(member)), allow_pickle=False)
            for member in list(content)
        }
    except UNREADABLE_ARRAYS as error:
        raise _wrong_npz(name, path, f"a damaged one ({type(error).__name__}: {error})") from error
    if not members:
        raise _wrong_npz(name, path, f"one with the members {', '.join(found)[:200] or 'none'}")
    train, test = (
        _checked(name, path, part, members[f"x_{part}"], members[f"y_{part}"])
        for part in ("train", "test")
    )
    return *train, *test


def _checked(
    name: str, path: Path, part: str, images: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One split of a file as ``Arrays`` has it."""
    shape = _SHAPES[name]
    if images.ndim == 3 and shape[-1] == 1:
        images = images[..., np.newaxis]
    if images.shape[1:] != shape or not len(images) or images.dtype != np.uint8:
        wanted = f"(n, {', '.join(map(str, shape))}) of uint8"
        raise _wrong_npz(
            name, path, f"one with x_{part} {images.shape} of {images.dtype}, not {wanted}"
        )
    if labels.shape == (len(images), 1):
        labels = labels[:, 0]
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise _wrong_npz(
            name,
            path,
            f"one with y_{part} {labels.shape} of {labels.dtype}, not ({len(images)},) of integers",
        )
    if labels.min() < 0 or labels.max() > 9:
        lowest, highest = labels.min(), labels.max()
        raise _wrong_npz(name, path, f"one with y_{part} from {lowest} to {highest}, not 0 to 9")
    return images, labels.astype(np.int64)


def _wrong_npz(name: str, path: Path, received: str) -> DatasetError:
    return DatasetError(
        f"Expected {path} with the images of {name} in {', '.join(_MEMBERS)}, received "
        f"{received}. Write it anew with `python -m experiments.datasets export {name} "
        "--data-dir DIR` where TensorFlow Datasets has the data, or copy it again from where it "
        "is sound."
    )


def _read_tfds(name: str, directory: str | Path | None) -> Arrays:
    """The prepared data set of a directory, which is downloaded if it is not there."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        place = npz_path(name, directory) if directory else f"a folder with {name}.npz"
        raise DatasetError(
            f"Expected {place}, received none, and TensorFlow Datasets, which is asked next, "
            f"cannot be imported ({error}). Write the file with `python -m experiments.datasets "
            f"export {name} --data-dir DIR` where it is, copy it here, and pass its folder "
            "with --data-dir."
        ) from error
    try:
        # Reads what lies there and asks no server.
        builder = tfds.core.read_only_builder.builder_from_files(name, data_dir=directory)
    except tfds.core.registered.DatasetNotFoundError:
        builder = _download(name, directory)
    except Exception as error:
        # A description that is cut or changed raises errors of json, protobuf and more.
        folder = Path(directory or tfds.core.constants.DATA_DIR) / name
        raise _damaged(name, folder, f"{type(error).__name__}: {error}") from error
    try:
        parts = [
            tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1, shuffle_files=False))
            for split in ("train", "test")
        ]
        sizes = [builder.info.splits[split].num_examples for split in ("train", "test")]
    except Exception as error:
        # TensorFlow Datasets raises many types for files that are cut or changed.
        raise _damaged(name, builder.data_dir, f"{type(error).__name__}: {error}") from error
    for part, size in zip(parts, sizes, strict=True):
        _check_part(name, builder.data_dir, part, size)
    train, test = (
        (np.asarray(part["image"], np.uint8), np.asarray(part["label"], np.int64)) for part in parts
    )
    return *train, *test


def _download(name: str, directory: str | Path | None) -> Any:
    """A builder whose data have been downloaded; refuses at once where there is no network."""
    import tensorflow_datasets as tfds

    place = directory or "the default TensorFlow Datasets directory"
    reason = _no_connection(_SOURCES[name])
    if not reason:
        try:
            builder = tfds.builder(name, data_dir=directory)
            builder.download_and_prepare()
            return builder
        except Exception as error:
            # TensorFlow Datasets raises many types where a download fails.
            reason = f"{type(error).__name__}: {error}"
    raise DatasetError(
        f"Expected {name} in {place}, where it is not prepared, and it could not be downloaded "
        f'({reason}). Prepare it once where there is a network with `python -c "import '
        f"tensorflow_datasets as tfds; tfds.load('{name}', data_dir='DIR')\"`, then pass "
        "--data-dir DIR."
    )


def _no_connection(source: str) -> str:
    """Why an address, or the proxy before it, cannot be reached; empty if it can."""
    address, role = urllib.parse.urlsplit(source), ""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all")
    if proxy and not urllib.request.proxy_bypass(address.hostname or ""):
        address = urllib.parse.urlsplit(proxy if "://" in proxy else f"//{proxy}")
        role = "the proxy "
    try:
        port = address.port or _PORTS.get(address.scheme, _SOCKS_PORT)
        socket.create_connection((address.hostname or "", port), _CONNECTION_SECONDS).close()
    except (OSError, ValueError) as error:
        return f"no connection to {role}{address.hostname}: {error}"
    return ""


def _check_part(name: str, folder: object, part: Mapping[str, np.ndarray], size: int) -> None:
    """Raises unless a split has as many images as its record says, of bytes, with ten labels."""
    images, labels = np.asarray(part["image"]), np.asarray(part["label"])
    shape = (size, *_SHAPES[name])
    if images.shape != shape or images.dtype != np.uint8:
        raise _damaged(name, folder, f"images {images.shape} of {images.dtype}, not {shape}")
    if labels.shape != (size,) or labels.min() < 0 or labels.max() > 9:
        raise _damaged(name, folder, f"labels {labels.shape} from {labels.min()} to {labels.max()}")


def _damaged(name: str, folder: object, received: str) -> DatasetError:
    return DatasetError(
        f"Expected {name} as TensorFlow Datasets prepares it, received damaged files in {folder} "
        f"({received[:300]}). Delete that folder and give the same command again where there is a "
        "network, or copy the folder again from where it is sound."
    )
