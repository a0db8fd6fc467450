"""What a classifier says of many images, in padded batches of few sizes."""

from __future__ import annotations

import keras
import numpy as np

from experiments.fitting import progress_bar

BATCH_SIZES = (50, 125, 250)
"""The smallest that holds all images is taken, else the largest: each new size is compiled anew."""


def classifier_labels(model: keras.Model, images: np.ndarray, label: str) -> np.ndarray:
    """Predicted labels ``(n,)`` of a classifier on images ``(n, h, w, c)`` in [0, 1]."""
    return classifier_logits(model, images, label).argmax(-1)


def classifier_logits(model: keras.Model, images: np.ndarray, label: str) -> np.ndarray:
    """Logits ``(n, classes)`` of a classifier, in padded batches of one size."""
    size = next((size for size in BATCH_SIZES if size >= len(images)), BATCH_SIZES[-1])
    batches = []
    with progress_bar(len(images), label, "image") as bar:
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            missing = size - len(batch)
            padded = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
            batches.append(model.predict_on_batch(padded)[: len(batch)])
            bar.update(len(batch))
    return np.concatenate(batches)
