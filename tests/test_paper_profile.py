"""The papers' full settings: one training step of every method at full width, on few images."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from defenses.registry import get_purifier
from experiments import fitting, presets
from models.registry import build_classifier

PLAN = presets.profile("paper").plans["cifar10"]
SHAPE = (32, 32, 3)
MILLION = 1e6
# Trainable parameters in millions, and megabytes of weights, gradients and Adam's two moments.
SIZES = {
    "sfl_vae": (16.0, 256),
    "defense_cyclegan": (34.6, 554),
    "vqunet": (34.9, 558),
    "defense_vae": (3.0, 48),
    "defense_gan": (9.3, 149),
    "puvae": (34.9, 559),
    "magnet": (0.0, 0),
    "ape_gan": (0.9, 15),
    "hgd": (11.0, 177),
    "cap_gan": (22.5, 360),
}
UNTRAINED = {"jpeg", "thermometer"}


def test_every_method_of_the_paper_profile_is_named_here():
    assert set(PLAN.purifiers) - set(PLAN.unpublished) == set(SIZES) | UNTRAINED


@pytest.mark.parametrize("name", SIZES)
def test_the_first_step_at_full_width(name):
    config = PLAN.purifiers[name]
    assert config.width == 1.0
    arguments = dict(config.arguments)
    if config.source:
        source = PLAN.classifiers[config.source]
        arguments["source_classifier"] = build_classifier(source.architecture, SHAPE)
    purifier = get_purifier(name).for_images(SHAPE, width=config.width, **arguments)
    optimizers = {n: fitting.make_optimizer(config.training, 100) for n in purifier.optimizer_names}
    purifier.compile(**optimizers)

    parameters = sum(v.shape.num_elements() for v in purifier.trainable_variables) / MILLION
    megabytes = 4 * 4 * parameters
    assert (round(parameters, 1), round(megabytes)) == pytest.approx(SIZES[name], rel=0.02)

    rng = np.random.default_rng(0)
    # Two images for each update; a step of Defense-GAN has five updates of its critic.
    count = 2 * getattr(purifier, "num_critic_steps", 1)
    images = rng.random((count, *SHAPE), dtype="float32")
    batch = {"clean": images, "adversarial": 1 - images, "label": np.arange(count) % 10}
    before = keras.ops.convert_to_numpy(purifier.trainable_variables[0]).copy()
    logs = purifier.train_step(
        {key: keras.ops.convert_to_tensor(batch[key]) for key in purifier.batch_keys}
    )
    assert set(logs) == set(purifier.loss_names)
    assert all(np.isfinite(float(value)) for value in logs.values())
    assert not np.array_equal(before, purifier.trainable_variables[0])


def test_defense_gan_takes_its_published_number_of_steps():
    training = PLAN.purifiers["defense_gan"].training
    steps = training.epochs * -(-45_000 // training.batch_size)
    assert 200_000 <= steps < 200_500
