"""Small models whose adversarial images are known, for the tests of the attacks."""

from __future__ import annotations

import keras
import numpy as np

from attacks import Attack, get_attack
from attacks.carlini_wagner import CarliniWagner

# Enough to converge on a linear model.
EXACT = CarliniWagner(
    max_iterations=400, learning_rate=0.002, binary_search_steps=9, abort_early=False
)
# For the tests about strength, on digits.
SHORT = {"max_iterations": 100, "learning_rate": 0.02, "binary_search_steps": 4}
# For the tests of the base class, not of strength.
QUICK = {
    "carlini_wagner": {"max_iterations": 60, "learning_rate": 0.05, "binary_search_steps": 4},
    "carlini_wagner_cleverhans": {
        "max_iterations": 30,
        "learning_rate": 0.1,
        "binary_search_steps": 1,
        "initial_const": 0.1,
    },
    "apgd": {"num_steps": 10},
    "square": {"num_queries": 60},
    "spsa": {"num_samples": 16, "num_steps": 8, "learning_rate": 0.05},
    "spsa_cleverhans": {"num_samples": 16, "num_steps": 8, "learning_rate": 0.05},
}


def quick(name: str) -> Attack:
    """Returns an attack at small settings."""
    return get_attack(name, **QUICK.get(name, {}))


def linear_classifier(
    num_classes: int = 2, shape: tuple[int, int, int] = (4, 4, 1), seed: int = 0
) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """Returns a linear classifier with weights ``(pixels, classes)`` and bias ``(classes,)``."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(int(np.prod(shape)), num_classes)).astype("float32")
    # Centred on grey, so that random images fall on both sides of the boundary.
    bias = (-0.5 * weights.sum(axis=0)).astype("float32")
    inputs = keras.Input(shape)
    outputs = keras.layers.Dense(num_classes)(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, outputs)
    model.layers[-1].set_weights([weights, bias])
    return model, weights, bias


def grey_images(
    num_images: int, shape: tuple[int, int, int] = (4, 4, 1), seed: int = 1
) -> np.ndarray:
    """Returns images in [0.3, 0.7], from which a budget of 0.2 never reaches black or white."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.3, 0.7, size=(num_images, *shape)).astype("float32")


def predictions(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Returns the predicted labels."""
    logits = keras.ops.convert_to_numpy(model(images, training=False))
    return logits.argmax(axis=1).astype("int64")


def accuracy(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> float:
    """Returns the share of images classified as labelled."""
    return float(np.mean(predictions(model, images) == labels))


def lengths(delta: np.ndarray) -> np.ndarray:
    """Returns the L2 length of each change."""
    return np.sqrt(np.sum(delta.astype("float64") ** 2, axis=(1, 2, 3)))


def shuffled_digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns scikit-learn's digits as images ``(1797, 16, 16, 1)``, with their labels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.images))
    images = np.kron(digits.images[order] / 16.0, np.ones((1, 2, 2))).astype("float32")
    return images[..., None], digits.target[order].astype("int64")


def digits_cnn() -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """Returns a CNN trained for a few seconds on the digits, and 100 test images."""
    images, labels = shuffled_digits()
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            keras.layers.Conv2D(16, 4, strides=2, activation="relu"),
            keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    model.compile(
        keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.fit(images[:1600], labels[:1600], epochs=8, batch_size=64, verbose=0)
    return model, images[1600:1700], labels[1600:1700]


def boundary_distances(images, labels, weights, bias, kappa=0.0) -> np.ndarray:
    """Distances ``(batch, classes)`` to where each other class leads by kappa; inf for the own."""
    logits = images.reshape(len(images), -1).astype("float64") @ weights + bias
    own = np.arange(len(images)), labels
    slopes = weights.T[None] - weights.T[labels][:, None]
    slopes = np.linalg.norm(slopes, axis=2)
    slopes[own] = 1.0
    distances = (logits[own][:, None] - logits + kappa) / slopes
    distances[own] = np.inf
    return distances
