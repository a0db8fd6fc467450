"""Plans of the profiles: what one part of a plan says of another."""

from __future__ import annotations

import dataclasses

import pytest

from experiments import presets
from experiments.config import WIDE_RESNET, TrainingConfig


@pytest.mark.parametrize(
    ("own", "limit", "expected"),
    [(None, None, None), (None, 20, 20), (10, None, 10), (10, 20, 10), (30, 20, 20)],
)
def test_retraining_differs_from_training_in_the_number_of_images_alone(own, limit, expected):
    plan = presets.profile("demo").plans["digits"]
    training = TrainingConfig(epochs=7, learning_rate=0.2, augmentation=("flip",), train_limit=own)
    target = dataclasses.replace(plan.targets["A"], training=training)
    changed = dataclasses.replace(plan, targets={"A": target}, retraining_limit=limit)
    retrained = dataclasses.replace(training, train_limit=expected)
    assert changed.retrained["A"] == dataclasses.replace(target, training=retrained)


def test_the_wide_resnet_is_retrained_and_the_substitutes_are_not():
    plan = presets.profile("paper").plans["cifar10"]
    assert plan.retrained == {**plan.targets, WIDE_RESNET: plan.wide_resnet}
