"""Adversarial sets that are made on several models: which image is attacked on which."""

from __future__ import annotations

import numpy as np
import pytest

from attacks import ThreatModel, attack_random_member
from attacks.gradient import FGSM
from attacks.threat_models import attack_mixed, draw_members, mixed_members
from tests.attack_helpers import grey_images, linear_classifier


@pytest.mark.parametrize("as_function", [False, True])
def test_each_image_is_attacked_on_the_member_drawn_for_it(as_function):
    models = [linear_classifier(3, seed=seed)[0] for seed in range(4)]
    images = grey_images(50)
    labels = np.random.default_rng(0).integers(3, size=50)
    seen: list[int] = []
    curve, members, unattacked = attack_random_member(
        FGSM(),
        models.__getitem__ if as_function else models,
        images,
        labels,
        [0.0, 0.1],
        seed=2,
        num_members=4,
        progress=seen.append,
    )
    assert seen[-1] == 50 and set(members) == {0, 1, 2, 3}
    np.testing.assert_array_equal(members, draw_members(50, 4, 2))
    assert not unattacked[0.0].any() and not unattacked[0.1].any()
    np.testing.assert_array_equal(curve[0.0], images)
    for row, member in enumerate(members):
        rows = slice(row, row + 1)
        alone = FGSM()(models[member], images[rows], labels[rows], 0.1, require_change=False)
        np.testing.assert_allclose(curve[0.1][rows], alone, atol=1e-6)


def test_members_are_drawn_evenly_and_by_seed():
    members = draw_members(12_000, 12, 0)
    counts = np.bincount(members, minlength=12)
    assert np.abs(counts - 1000).max() < 150
    assert not np.array_equal(members, draw_members(12_000, 12, 1))


@pytest.mark.parametrize("num_images", [60, 61])
def test_half_of_a_mixed_set_is_attacked_on_the_target(num_images):
    members = mixed_members(num_images, 3, seed=5)
    np.testing.assert_array_equal(np.bincount(members)[1:], [10, 10, 10])
    np.testing.assert_array_equal(members, mixed_members(num_images, 3, seed=5))
    assert not np.array_equal(members, mixed_members(num_images, 3, seed=6))
    # Not the first half: the test set may be ordered.
    assert 0 < np.count_nonzero(members[:30]) < 30


def test_a_mixed_set_transfers_the_other_half():
    target, *substitutes = [linear_classifier(3, seed=seed)[0] for seed in range(4)]
    images = grey_images(24)
    labels = np.random.default_rng(0).integers(3, size=24)
    curve, members, _ = attack_mixed(
        FGSM(), target, substitutes, images, labels[:, None], [0.0, 0.1], seed=1
    )
    np.testing.assert_array_equal(curve[0.0], images)
    for row, member in enumerate(members):
        rows = slice(row, row + 1)
        model = [target, *substitutes][member]
        alone = FGSM()(model, images[rows], labels[rows], 0.1, require_change=False)
        np.testing.assert_allclose(curve[0.1][rows], alone, atol=1e-6)


def test_a_mixed_set_needs_a_substitute():
    with pytest.raises(ValueError, match="num_substitutes to be an integer of at least 1"):
        mixed_members(10, 0, seed=0)
    model, images = linear_classifier(3)[0], grey_images(4)
    with pytest.raises(ValueError, match="at least one substitute in a list of models, received 0"):
        attack_mixed(FGSM(), model, [], images, np.zeros(4, "int64"), [0.1])
    # A model is callable, but no function from an index to a member.
    with pytest.raises(ValueError, match="list of models, received Functional"):
        attack_random_member(FGSM(), model, images, np.zeros(4, "int64"), [0.1])
    with pytest.raises(ValueError, match=r"num_members to be an integer .* received 2\.5"):
        attack_random_member(
            FGSM(), [model].__getitem__, images, np.zeros(4, "int64"), [0.1], num_members=2.5
        )


def test_every_threat_model_says_what_the_attacker_knows():
    assert [str(model) for model in ThreatModel] == [
        "oblivious",
        "transfer",
        "mixed",
        "framework",
        "adaptive",
        "score",
        "bpda",
    ]
    assert len({model.knowledge for model in ThreatModel}) == len(ThreatModel)
    assert ThreatModel("framework") is ThreatModel.FRAMEWORK
    with pytest.raises(ValueError, match=r"one of oblivious, transfer, .* received 'white-box'"):
        ThreatModel("white-box")
