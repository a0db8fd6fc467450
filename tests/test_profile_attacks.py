"""Every profile's Carlini-Wagner attacks: an attack that leaves images alone measures nothing."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.registry import get_attack
from experiments import presets
from tests.attack_helpers import accuracy, lengths, predictions

COUNT = 25
AT_MOST = 0.05


@pytest.mark.parametrize("attack", ["carlini_wagner", "targeted_carlini_wagner"])
@pytest.mark.parametrize("profile", presets.known_profiles())
def test_a_bare_classifier_keeps_next_to_nothing(profile, attack, digits):
    model, images, labels = digits
    images, labels = images[:COUNT], labels[:COUNT]
    config = presets.profile(profile).attacks[attack]
    goals = (labels + np.random.default_rng(0).integers(1, 10, COUNT)) % 10
    run = get_attack(config.name, **config.hyperparameters).run
    targeted = goals if config.targeted else None
    result = run(model, images, labels, [None], target_labels=targeted, tolerated=1.0)
    found = result[None].adversarial_images
    assert accuracy(model, images, labels) > 0.9
    assert accuracy(model, found, labels) < AT_MOST
    if config.targeted:
        assert np.mean(predictions(model, found) == goals) > 1 - AT_MOST
    else:
        # The smallest change that is found, as every budget of a figure rescales it.
        assert lengths(found - images).mean() < 2


def test_a_rate_that_is_too_small_would_be_noticed(digits):
    model, images, labels = digits
    attack = get_attack("carlini_wagner", max_iterations=100)
    goals = (labels[:COUNT] + 1) % 10
    found = attack.run(
        model, images[:COUNT], labels[:COUNT], [None], target_labels=goals, tolerated=1.0
    )[None].adversarial_images
    assert accuracy(model, found, labels[:COUNT]) > 0.5
