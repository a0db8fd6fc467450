"""Data sets as float32 NHWC images in [0, 1] with integer labels.

The MNIST family, CIFAR-10 and SVHN come through TensorFlow Datasets, from a directory given
by ``--data-dir`` or the ``TFDS_DATA_DIR`` environment variable if there is one; ``digits`` is
bundled with scikit-learn and needs no download.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from experiments import augmentation
from experiments.config import DatasetConfig, TrainingConfig
from experiments.reproducibility import array_hash

SPLIT_SEED = 20_240_501
TFDS_NAMES = ("mnist", "fashion_mnist", "cifar10", "svhn_cropped")
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


class DatasetError(ValueError):
    """A data set is unknown, absent or not what it should be."""


@dataclasses.dataclass(frozen=True)
class Split:
    """Images ``(n, height, width, channels)`` float32 in [0, 1]; labels ``(n,)`` int64."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, limit: int | None) -> Split:
        """The first ``limit`` examples (all for ``None``)."""
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
        data_dir: The TensorFlow Datasets directory; ``None`` takes ``TFDS_DATA_DIR``, then
            TensorFlow Datasets' own default. Ignored for ``digits``.

    Returns:
        The three splits; the validation images are not in the training split.

    Raises:
        DatasetError: If the name is unknown, the data are not there and cannot be
            downloaded, or fewer images are there than the configuration asks for.
    """
    if config.name not in DATASET_NAMES:
        raise DatasetError(f"Unknown data set {config.name!r}. Known: {', '.join(DATASET_NAMES)}.")
    arrays = _read_digits() if config.name == "digits" else _read_tfds(config.name, data_dir)
    train_images, train_labels, test_images, test_labels = arrays
    order = np.random.default_rng(SPLIT_SEED).permutation(len(train_labels))
    held_out = len(order) - config.validation_size
    train_limit = held_out if config.train_limit is None else config.train_limit
    test_limit = len(test_labels) if config.test_limit is None else config.test_limit
    if not 0 < train_limit <= held_out or not 0 < test_limit <= len(test_labels):
        raise DatasetError(
            f"{config.name} has {len(order)} training images, {config.validation_size} of them "
            f"held out for validation, and {len(test_labels)} test images; {train_limit} and "
            f"{test_limit} were asked for. Lower the limits in experiments/presets.py."
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


def _read_digits() -> tuple[np.ndarray, ...]:
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


def _read_tfds(name: str, data_dir: str | Path | None) -> tuple[np.ndarray, ...]:
    import tensorflow_datasets as tfds

    directory = data_dir or os.environ.get("TFDS_DATA_DIR")
    if directory is not None and not Path(directory).is_dir():
        raise DatasetError(
            f"The data directory {directory} does not exist. Give an existing TensorFlow "
            "Datasets directory with --data-dir or TFDS_DATA_DIR."
        )
    try:
        builder = tfds.builder(name, data_dir=directory)
        builder.download_and_prepare()
        parts = [
            tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1, shuffle_files=False))
            for split in ("train", "test")
        ]
    except Exception as error:
        # TensorFlow Datasets raises many types for "no network"; all mean the same here.
        raise DatasetError(
            f"{name} is not in {directory or 'the default TensorFlow Datasets directory'} and "
            f"could not be downloaded ({type(error).__name__}: {error}). Prepare it once where "
            f'there is a network with `python -c "import tensorflow_datasets as tfds; '
            f"tfds.load('{name}', data_dir='DIR')\"`, then pass --data-dir DIR."
        ) from error
    return tuple(
        np.asarray(part[key], np.uint8 if key == "image" else np.int64)
        for part in parts
        for key in ("image", "label")
    )


class Batches(keras.utils.PyDataset):
    """Batches in an order that depends on seed and epoch alone, so a resumed run is exact.

    Args:
        images: ``(n, height, width, channels)`` float32 in [0, 1].
        labels: ``(n,)`` integers.
        training: Batch size and augmentation.
        seed: Of order and augmentation.
        keys: ``None`` yields ``(images, labels)``; otherwise each batch is a dict with these
            of ``"clean"``, ``"adversarial"`` and ``"label"``, as ``defenses.purifier.Purifier``
            trains on.
        attacked: Attacked copies of ``images``, each of the same shape; an epoch passes over all
            of them, with the clean image beside each.

    Raises:
        ValueError: For an unknown augmentation, for one on images that have attacked copies, or
            if a copy has another shape than the images.
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
        augmentation.check(training.augmentation)
        shapes = {copy.shape for copy in attacked}
        if shapes - {images.shape} or (attacked and training.augmentation):
            raise ValueError(
                f"Expected attacked copies of shape {images.shape} and no augmentation beside "
                f"them, received {sorted(shapes)} and {training.augmentation}. Attack exactly "
                "these images, and leave the augmentation empty."
            )
        self.images, self.labels, self.training = images, labels, training
        self.seed, self.keys, self.attacked, self.epoch = seed, keys, tuple(attacked), 0
        self._start_epoch()

    def __len__(self) -> int:
        return math.ceil(len(self._order) / self.training.batch_size)

    def __getitem__(self, index: int):
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

    def on_epoch_end(self) -> None:
        """Moves to the next epoch's order."""
        self.epoch += 1
        self._start_epoch()

    def start_at(self, epoch: int) -> None:
        """Continues as if ``epoch`` epochs had been drawn already."""
        self.epoch = epoch
        self._start_epoch()

    def _start_epoch(self) -> None:
        length = len(self.labels) * max(1, len(self.attacked))
        self._order = np.random.default_rng([self.seed, self.epoch]).permutation(length)
