"""Profiles: what one part of a plan says of another, and that exhibits find what they ask for."""

from __future__ import annotations

import dataclasses

import pytest

from experiments import presets
from experiments.config import ADVERSARIAL, TrainingConfig
from papers import catalog
from results.exhibit import Grid

PROFILES = [presets.profile(name) for name in presets.known_profiles()]
PLANS = {
    f"{profile.name}-{name}": plan for profile in PROFILES for name, plan in profile.plans.items()
}
every_profile = pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
every_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)


@pytest.mark.parametrize(
    ("own", "limit", "expected"),
    [(None, None, None), (None, 20, 20), (10, None, 10), (10, 20, 10), (30, 20, 20)],
)
def test_retraining_differs_from_training_in_the_number_of_images_alone(own, limit, expected):
    plan = presets.profile("demo").plans["digits"]
    training = TrainingConfig(epochs=7, learning_rate=0.2, augmentation=("flip",), train_limit=own)
    target = dataclasses.replace(plan.classifiers["A"], training=training)
    classifiers = {**plan.classifiers, "A": target}
    changed = dataclasses.replace(plan, classifiers=classifiers, retraining_limit=limit)
    retrained = dataclasses.replace(training, train_limit=expected)
    assert changed.retrained_classifier("A") == dataclasses.replace(target, training=retrained)


def test_unknown_names_list_the_known_ones():
    plan = presets.profile("demo").plans["digits"]
    with pytest.raises(ValueError, match=r"a purifier .* one of sfl_vae, .*received 'atgan'"):
        plan.purifier("atgan")
    with pytest.raises(ValueError, match=r"a classifier .* one of A, B, wide_resnet"):
        plan.classifier("Z")
    with pytest.raises(ValueError, match=r"one of A, B, wide_resnet, received 'substitute_0'"):
        plan.retrained_classifier("substitute_0")
    with pytest.raises(ValueError, match="demo, quick, paper"):
        presets.profile("huge")


def test_a_variant_is_a_purifier_of_the_plan():
    plan = presets.profile("demo").plans["digits"]
    (name,) = plan.variants
    assert plan.purifier(name).name == "puvae" and name not in plan.purifiers


@every_plan
def test_a_plan_has_what_its_parts_name(plan):
    assert set(plan.retrained) <= set(plan.classifiers)
    assert set(plan.transferred) <= set(plan.classifiers)
    everything = {**plan.purifiers, **plan.variants}
    for config in everything.values():
        assert config.source is None or config.source in plan.classifiers
        assert config.copies is None or config.copies.target in plan.classifiers
    assert set(plan.pools) | set(plan.attacked_through) | set(plan.compared) <= set(everything)
    for name, config in plan.classifiers.items():
        trained = config.adversarial_epsilon is not None
        assert name.endswith(ADVERSARIAL) == trained
        assert not trained or name.removesuffix(ADVERSARIAL) in plan.classifiers


def test_the_wide_resnet_is_retrained_and_transferred_classifiers_are_not():
    plan = presets.profile("paper").plans["cifar10"]
    assert plan.retrained == ("A", "B", "C", "wide_resnet")
    assert plan.transferred == ("substitute_0", "substitute_1", "substitute_2")


@every_profile
def test_exhibits_find_their_attacks_and_budgets(profile):
    for exhibit in catalog.EXHIBITS:
        for part in exhibit.measures:
            if isinstance(part, Grid):
                attacks, epsilons = part.attacks, part.epsilons
            else:
                attack = part.settings.get("attack", "none")
                attacks, epsilons = part.settings.get("attacks", (attack,)), "axis"
            assert set(attacks) <= {"none", *profile.attacks}, exhibit.id
            assert not isinstance(epsilons, str) or epsilons in profile.budgets, exhibit.id
    assert all(0 <= epsilon <= 1 for budget in profile.budgets.values() for epsilon in budget)


def test_profiles_say_what_they_cut_and_what_they_bear():
    assert {profile.name: profile.bears for profile in PROFILES} == {
        "demo": "nothing",
        "quick": "any size",
        "paper": "full width",
    }
    assert all(profile.cuts.startswith(f"Profile {profile.name}: ") for profile in PROFILES)
