"""What a classifier says of many images, in padded batches of one size."""

from __future__ import annotations

import keras
import numpy as np

from experiments.fitting import progress_bar

BATCH_SIZE = 250


def classifier_labels(model: keras.Model, images: np.ndarray, label: str) -> np.ndarray:
    """Predicted labels ``(n,)`` of a classifier on images ``(n, h, w, c)`` in [0, 1]."""
    return classifier_logits(model, images, label).argmax(-1)


def classifier_logits(model: keras.Model, images: np.ndarray, label: str) -> np.ndarray:
    """Logits ``(n, classes)`` of a classifier, in padded batches of one size."""
    batches = []
    with progress_bar(len(images), label, "image") as bar:
        for start in range(0, len(images), BATCH_SIZE):
            batch = images[start : start + BATCH_SIZE]
            missing = BATCH_SIZE - len(batch)
            padded = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
            batches.append(model.predict_on_batch(padded)[: len(batch)])
            bar.update(len(batch))
    return np.concatenate(batches)
