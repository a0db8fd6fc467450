"""Data sets as float32 NHWC images in [0, 1] with integer labels.

The MNIST family, CIFAR-10 and SVHN come from one ``.npz`` each or through TensorFlow Datasets, from
a directory given by ``--data-dir`` or the ``TFDS_DATA_DIR`` environment variable if there is one;
``digits`` is bundled with scikit-learn and needs no download.

    python -m experiments.datasets export cifar10 --data-dir DIR

writes ``DIR/cifar10.npz`` from TensorFlow Datasets in ``DIR``, for machines without it.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import keras
import numpy as np

from experiments import augmentation
from experiments.config import DatasetConfig, TrainingConfig
from experiments.image_files import TFDS_NAMES, Arrays, DatasetError, export_arrays, read_arrays
from experiments.reproducibility import array_hash
from validation import (
    check_choice,
    check_image_shape,
    check_images,
    check_integer,
    check_labels,
)

SPLIT_SEED = 20_240_501
DATASET_NAMES = ("digits", *TFDS_NAMES)
CLASS_NAMES = {
    "fashion_mnist": (
        "T-shirt",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "boot",
    ),
    "cifar10": (
        "airplane",
        "car",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
}


@dataclasses.dataclass(frozen=True)
class Split:
    """Images ``(n, height, width, channels)`` float32 in [0, 1]; labels ``(n,)`` int64."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, limit: int | None) -> Split:
        """The first ``limit`` examples, or as many as there are (all for ``None``).

        Raises:
            ValueError: If it is not an integer above 0.
        """
        if limit is not None:
            check_integer("limit", limit, at_least=1)
        return Split(self.images[:limit], self.labels[:limit])


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Three splits and the checksum of the decoded arrays they were cut from."""

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    checksum: str

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return self.train.images.shape[1:]

    @property
    def num_classes(self) -> int:
        """How many classes the labels range over."""
        return len(self.class_names)


def load(config: DatasetConfig, data_dir: str | Path | None = None) -> Dataset:
    """Loads a data set and cuts it with fixed, seeded permutations.

    Args:
        config: The name and the sizes.
        data_dir: A folder with ``<name>.npz``, which comes first, or of TensorFlow Datasets;
            ``None`` takes ``TFDS_DATA_DIR``, then TensorFlow Datasets' own default. Ignored for
            ``digits``.

    Returns:
        The three splits; the validation images are not in the training split.

    Raises:
        DatasetError: If the name is unknown, the data are not there and cannot be
            downloaded, or fewer images are there than the configuration asks for.
    """
    if not isinstance(config, DatasetConfig):
        raise DatasetError(
            f"Expected a DatasetConfig, received {config!r}. Pass DatasetConfig(name='digits'), or "
            "that of a profile: presets.profile('demo').plans['digits'].dataset."
        )
    arrays = _read_digits() if config.name == "digits" else read_arrays(config.name, data_dir)
    train_images, train_labels, test_images, test_labels = arrays
    order = np.random.default_rng(SPLIT_SEED).permutation(len(train_labels))
    held_out = len(order) - config.validation_size
    if held_out < 1:
        raise DatasetError(
            f"Expected validation_size below the {len(order)} training images of {config.name}, "
            f"received {config.validation_size}. Pass a smaller one to DatasetConfig, such as "
            f"{len(order) // 10}."
        )
    train_limit = held_out if config.train_limit is None else config.train_limit
    test_limit = len(test_labels) if config.test_limit is None else config.test_limit
    if not 0 < train_limit <= held_out or not 0 < test_limit <= len(test_labels):
        raise DatasetError(
            f"Expected limits within the {len(order)} training images of {config.name}, "
            f"{config.validation_size} of them held out for validation, and its {len(test_labels)} "
            f"test images, received {train_limit} and {test_limit}. Lower the limits of its "
            "DatasetConfig (experiments/presets)."
        )
    test_order = np.random.default_rng(SPLIT_SEED + 1).permutation(len(test_labels))[:test_limit]
    classes = CLASS_NAMES.get(config.name, tuple(str(digit) for digit in range(10)))
    return Dataset(
        name=config.name,
        train=_split(train_images, train_labels, order[:train_limit]),
        validation=_split(train_images, train_labels, order[held_out:]),
        test=_split(test_images, test_labels, test_order),
        class_names=classes,
        checksum=array_hash(*arrays),
    )


def _split(images: np.ndarray, labels: np.ndarray, indices: np.ndarray) -> Split:
    return Split(images[indices].astype(np.float32) / np.float32(255), labels[indices])


def _read_digits() -> Arrays:
    """scikit-learn's 8x8 digits, enlarged bilinearly to 28x28x1 bytes."""
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = zoom(digits.images / 16.0, (1, 3.5, 3.5), order=1, grid_mode=True, mode="nearest")
    images = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)[..., np.newaxis]
    labels = digits.target.astype(np.int64)
    # The bundle is ordered by writer; the fixed permutation mixes them over the splits.
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    train, test = order[:1_397], order[1_397:]
    return images[train], labels[train], images[test], labels[test]


class Batches(keras.utils.PyDataset):
    """Batches in an order that depends on seed and epoch alone, so a resumed run is exact.

    Args:
        images: ``(n, height, width, channels)`` float32 in [0, 1].
        labels: ``(n,)`` or ``(n, 1)`` integers.
        training: Batch size and augmentation.
        seed: Of order and augmentation.
        keys: ``None`` yields ``(images, labels)``; otherwise each batch is a dict with these
            of ``"clean"``, ``"adversarial"`` and ``"label"``, as ``defenses.purifier.Purifier``
            trains on.
        attacked: Attacked copies of ``images``, each of the same shape; an epoch passes over all
            of them, with the clean image beside each.

    A pass over the images ends when each batch has been taken, also where Keras calls fewer steps
    an epoch (``steps_per_epoch``): the next epoch then goes on where the last one stopped.

    Raises:
        ValueError: If images, labels, copies or the seed are not as above, for a key that there are
            no data for, or for augmentation of images that have attacked copies.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        training: TrainingConfig,
        *,
        seed: int,
        keys: tuple[str, ...] | None = None,
        attacked: Sequence[np.ndarray] = (),
    ) -> None:
        super().__init__()
        if not isinstance(training, TrainingConfig):
            raise ValueError(
                f"Expected a TrainingConfig, received {training!r}. Pass TrainingConfig(epochs=1)."
            )
        self.images = check_images(images)
        check_image_shape(self.images.shape[1:], name="the shape of an image")
        self.labels = check_labels(labels, len(self.images))
        if not isinstance(attacked, Iterable):
            raise ValueError(
                f"Expected attacked as a sequence of image arrays, received {attacked!r}. Pass a "
                "list of them, or leave it out."
            )
        if keys is not None and (not isinstance(keys, tuple | list) or not keys):
            raise ValueError(
                f"Expected keys as a tuple of one name or more, received {keys!r}. Pass ('clean', "
                "'label'), or None for pairs of images and labels."
            )
        copies = [check_images(copy, name="each attacked copy") for copy in attacked]
        shapes = {copy.shape for copy in copies}
        if shapes - {self.images.shape} or (copies and training.augmentation):
            raise ValueError(
                f"Expected attacked copies of shape {self.images.shape} and no augmentation beside "
                f"them, received {sorted(shapes)} and {training.augmentation}. Attack exactly "
                "these images, and leave the augmentation empty."
            )
        known = ("clean", "label", *(("adversarial",) if copies else ()))
        for key in keys or ():
            check_choice("each of keys", key, known)
        self.seed = check_integer("seed", seed)
        self.training, self.keys, self.attacked, self.epoch = training, keys, tuple(copies), 0
        self._trains = False
        self._start_epoch()

    def __len__(self) -> int:
        return math.ceil(len(self._order) / self.training.batch_size)

    def __getitem__(self, index: int):
        if not isinstance(index, int | np.integer) or not 0 <= index < len(self):
            raise IndexError(
                f"Expected the index of one of {len(self)} batches, received {index!r}. Count them "
                "from 0."
            )
        self._taken.add(int(index))
        size = self.training.batch_size
        chosen = self._order[index * size : (index + 1) * size]
        copies, chosen = np.divmod(chosen, len(self.labels))
        rng = np.random.default_rng([self.seed, self.epoch, index])
        images = augmentation.augment(self.images[chosen], rng, self.training)
        if self.keys is None:
            return images, self.labels[chosen]
        available = {"clean": images, "label": self.labels[chosen]}
        if self.attacked:
            pairs = zip(copies, chosen, strict=True)
            available["adversarial"] = np.stack([self.attacked[c][i] for c, i in pairs])
        return ({key: available[key] for key in self.keys},)

    @property
    def order(self) -> np.ndarray:
        """The images of this epoch's batches, one after the other: numbers below their count,
        to which that of the images is added for each attacked copy before theirs."""
        return self._order

    def on_epoch_begin(self) -> None:
        """Notes that Keras trains from here on; before that it takes batches only to build."""
        self._trains = True

    def on_epoch_end(self) -> None:
        """Moves to the next epoch's order, unless training has some batches of this one to take."""
        if not self._trains or len(self._taken) == len(self):
            self.epoch += 1
            self._start_epoch()
        self._trains = False

    def start_at(self, epoch: int) -> None:
        """Continues as if ``epoch`` epochs had been drawn already."""
        self.epoch = check_integer("epoch", epoch)
        self._start_epoch()

    def _start_epoch(self) -> None:
        self._taken: set[int] = set()
        length = len(self.labels) * max(1, len(self.attacked))
        self._order = np.random.default_rng([self.seed, self.epoch]).permutation(length)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line of ``python -m experiments.datasets``."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.datasets",
        description="Data sets for machines without TensorFlow.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser(
        "export", help="write one .npz for each data set, from TensorFlow Datasets"
    )
    export.add_argument("names", nargs="+", choices=TFDS_NAMES, metavar="NAME")
    export.add_argument(
        "--data-dir", type=Path, help="TensorFlow Datasets directory (else TFDS_DATA_DIR)"
    )
    export.add_argument("--to", type=Path, help="folder to write to (else that of the data)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes data sets as ``.npz`` files, as the command line asks; returns the exit status."""
    options = parse_arguments(arguments)
    try:
        for name in options.names:
            path, arrays = export_arrays(name, options.data_dir, options.to)
            train, test = len(arrays[0]), len(arrays[2])
            size, checksum = path.stat().st_size / 1e6, array_hash(*arrays)
            print(f"{path}: {train:,} + {test:,} images, {size:.1f} MB, checksum {checksum}")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        remedy = "Free space, or grant access to it, or name another folder."
        print(f"error: {str(error).rstrip('.')}. {remedy}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
