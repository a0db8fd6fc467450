"""Defense-GANs small enough to train and to search in a moment."""

from __future__ import annotations

import keras
import numpy as np

from defenses.defense_gan import DefenseGAN
from tests.model_helpers import GREY

TINY = (6, 6, 1)
LATENT_DIM = 4


def small(shape=GREY, **arguments) -> DefenseGAN:
    return DefenseGAN.for_images(shape, width=0.1, **arguments)


def tiny(seed: int = 0, **arguments) -> DefenseGAN:
    """A purifier whose generator is one steep layer, so that its images differ much."""
    latent = keras.Input((LATENT_DIM,))
    steep = keras.initializers.RandomNormal(stddev=2.0, seed=1)
    pixels = keras.layers.Dense(36, activation="sigmoid", kernel_initializer=steep)(latent)
    generator = keras.Model(latent, keras.layers.Reshape(TINY)(pixels))
    inputs = keras.Input(TINY)
    score = keras.layers.Dense(1, use_bias=False)(keras.layers.Flatten()(inputs))
    return DefenseGAN(generator, keras.Model(inputs, score), seed=seed, **arguments)


def starts(num_images: int, num_restarts: int, seed: int = 0, latent_dim: int = LATENT_DIM):
    shape = (num_images, num_restarts, latent_dim)
    return np.random.default_rng(seed).normal(size=shape).astype("float32")
