"""Settings of every test."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import run_all  # noqa: F401 -- it sets the environment that TensorFlow reads when imported

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf

from experiments.memory import keep_freed_memory
from tests.attack_helpers import digits_cnn

keep_freed_memory()  # as run_all.py does
gc.set_threshold(200_000, 20, 20)  # tracing makes many objects, and collecting took a tenth of it


@pytest.fixture(scope="module")
def uncompiled() -> Iterator[None]:
    """Every step runs in Python: a network that sees few batches takes longer to compile."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def digits() -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """A small network trained on scikit-learn's digits, and 100 test images to attack."""
    return digits_cnn()
