"""Profiles: what one part of a plan says of another, and that exhibits find what they ask for."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from attacks.registry import get_attack
from experiments import augmentation, datasets, fitting, presets, reproducibility
from experiments.config import (
    ADVERSARIAL,
    AUGMENTATIONS,
    OPTIMIZERS,
    SCHEDULES,
    AttackConfig,
    AttackedCopies,
    DecisionConfig,
    TrainingConfig,
)
from experiments.profile import BEARS
from papers import catalog
from results import claims
from results.exhibit import Grid
from results.row import DATASETS

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
    with pytest.raises(ValueError, match="demo, quick, full, paper"):
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
    assert set(plan.pools) | set(plan.purified) | set(plan.compared) <= set(everything)
    assert set(plan.attacked_through) <= set(everything) | set(plan.classifiers)
    assert set(plan.retraining_epochs) <= set(plan.retrained)
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
            if part.fair and not profile.fair:
                continue
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
        "full": "full width",
        "paper": "full width",
    }
    assert all(profile.cuts.startswith(f"Profile {profile.name}: ") for profile in PROFILES)


# -- configurations -------------------------------------------------------------------------------

BRIEF = TrainingConfig(epochs=1)
FGSM = AttackConfig(name="fgsm")
PLAN = presets.profile("demo").plans["digits"]


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (PLAN.dataset, {"name": "imagenet"}, "name of DatasetConfig to be one of mnist"),
        (PLAN.dataset, {"validation_size": -5}, "validation_size of DatasetConfig .* at least 1"),
        (PLAN.dataset, {"validation_size": 1.5}, "validation_size of DatasetConfig to be an int"),
        (PLAN.dataset, {"train_limit": 0}, "train_limit of DatasetConfig .* at least 1"),
        (PLAN.dataset, {"test_limit": "all"}, "test_limit of DatasetConfig to be an integer"),
        (BRIEF, {"epochs": 0}, "epochs of TrainingConfig .* at least 1"),
        (BRIEF, {"epochs": 2.5}, "epochs of TrainingConfig to be an integer"),
        (BRIEF, {"batch_size": True}, "batch_size of TrainingConfig to be an integer"),
        (BRIEF, {"optimizer": "adamw"}, "optimizer of TrainingConfig to be one of adam, sgd"),
        (BRIEF, {"schedule": "step"}, "schedule of TrainingConfig to be one of constant"),
        (BRIEF, {"learning_rate": 0.0}, "learning_rate of TrainingConfig .* above 0"),
        (BRIEF, {"learning_rate": math.inf}, "learning_rate of TrainingConfig to be a finite"),
        (BRIEF, {"learning_rate": "1e-3"}, "learning_rate of TrainingConfig to be a finite"),
        (BRIEF, {"final_learning_rate": -1e-5}, "final_learning_rate of TrainingConfig"),
        (BRIEF, {"beta_1": 1.0}, "beta_1 of TrainingConfig .* below 1"),
        (BRIEF, {"global_clipnorm": 0}, "global_clipnorm of TrainingConfig .* above 0"),
        (BRIEF, {"noise_scale": math.nan}, "noise_scale of TrainingConfig to be a finite"),
        (BRIEF, {"shift_fraction": 1.0}, "shift_fraction of TrainingConfig .* below 1"),
        (BRIEF, {"augmentation": "flip"}, "augmentation of TrainingConfig as a tuple"),
        (BRIEF, {"augmentation": ("mixup",)}, "each augmentation of TrainingConfig .* flip"),
        (BRIEF, {"milestones": (0.5,)}, "with the schedule 'steps' alone"),
        (BRIEF, {"schedule": "steps"}, "milestones of TrainingConfig as at least one number"),
        (
            BRIEF,
            {"schedule": "steps", "milestones": (0.5, 0.7), "decays": (0.1,)},
            "a decay for each milestone",
        ),
        (
            BRIEF,
            {"schedule": "steps", "milestones": (0.7, 0.5), "decays": (0.1, 0.01)},
            "the milestones rising",
        ),
        (PLAN.classifiers["A"], {"architecture": ""}, "architecture of ClassifierConfig as a text"),
        (PLAN.classifiers["A"], {"training": None}, "training of ClassifierConfig as a TrainingC"),
        (PLAN.classifiers["A"], {"width": -1.0}, "width of ClassifierConfig .* above 0"),
        (PLAN.classifiers["A"], {"depth": 0}, "depth of ClassifierConfig .* at least 1"),
        (PLAN.classifiers["A"], {"adversarial_epsilon": 8}, "adversarial_epsilon of .* at most 1"),
        (FGSM, {"name": None}, "name of AttackConfig as a str"),
        (FGSM, {"hyperparameters": ("num_steps", 3)}, "hyperparameters of AttackConfig as a Map"),
        (FGSM, {"targeted": 1}, "targeted of AttackConfig to be True or False"),
        (PLAN.purifiers["magnet"], {"width": math.nan}, "width of PurifierConfig to be a finite"),
        (PLAN.purifiers["magnet"], {"copies": "A"}, "copies of PurifierConfig as a AttackedCopies"),
        (PLAN.decision, {"num_drawn": 0}, "num_drawn of DecisionConfig .* at least 1"),
        (PLAN.decision, {"smoothing": 0.0}, "smoothing of DecisionConfig .* above 0"),
        (PLAN.decision, {"backoff": "no"}, "backoff of DecisionConfig to be True or False"),
        (PLAN.decision, {"table_source": "test"}, "table_source .* one of train, heldout"),
        (PLAN.substitute, {"classifier": "A"}, "classifier of SubstituteConfig as a ClassifierC"),
        (PLAN, {"retrained": ("D",)}, "each of retrained to be one of A, B"),
        (PLAN, {"retrained": "A"}, "retrained of DatasetPlan as a tuple"),
        (PLAN, {"transferred": ("D",)}, "each of transferred to be one of A, B"),
        (PLAN, {"compared": ("mag_net",)}, "each of compared to be one of sfl_vae"),
        (PLAN, {"attacked_through": {"mag_net": 4}}, "each of attacked_through to be one of sfl"),
        (PLAN, {"attacked_through": {"magnet": 0}}, "images attacked through magnet .* at least 1"),
        (PLAN, {"purifiers": {"magnet": BRIEF}}, "purifiers of DatasetPlan as PurifierConfigs"),
        (PLAN, {"voters": (BRIEF,)}, "each of voters of DatasetPlan as a ClassifierConfig"),
        (PLAN, {"decision": DecisionConfig(num_drawn=5)}, "num_drawn .* at most 4, received 5"),
        (PLAN, {"attacked_draws": 0}, "attacked_draws of DatasetPlan .* at least 1"),
        (PLAN, {"soft_min_temperature": math.inf}, "soft_min_temperature of DatasetPlan"),
        (PLAN, {"searches": (1, 2.5)}, "each number of steps and restarts of a search"),
        (
            PLAN,
            {"classifiers": {**PLAN.classifiers, "A_adversarial": PLAN.classifiers["A"]}},
            "adversarially trained version.*received 'A_adversarial' with adversarial_epsilon=None",
        ),
        (PROFILES[0], {"bears": "all"}, "bears of Profile to be one of nothing"),
        (PROFILES[0], {"num_draws": 0}, "num_draws of Profile .* at least 1"),
        (PROFILES[0], {"budgets": {"axis": (0.1, 8.0)}}, "budgets 'axis' .* at most 1"),
        (PROFILES[0], {"budgets": {"axis": ()}}, "budgets 'axis' as at least one number"),
        (PROFILES[0], {"budgets": {"axis": [0.1]}}, "budgets of Profile as tuples by name"),
        (PROFILES[0], {"plans": {"mnist": PLAN}}, "the name of a plan.* one of digits"),
    ],
)
def test_a_configuration_out_of_range_is_refused(config, changes, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}") as refused:
        dataclasses.replace(config, **changes)
    assert "received" in str(refused.value)


@pytest.mark.parametrize(
    ("attacks", "message"),
    [
        ((), "at least one attack"),
        ((("fgsm", 0.1),), "pairs of an AttackConfig"),
        (((FGSM, 8.0),), "epsilon of fgsm .* at most 1"),
    ],
)
def test_attacked_copies_are_of_attacks_with_budgets(attacks, message):
    with pytest.raises(ValueError, match=message):
        AttackedCopies(target="A", attacks=attacks)


def test_a_configuration_keeps_its_values_as_they_were_given():
    kept = TrainingConfig(epochs=1, learning_rate=1, global_clipnorm=5, beta_1=0)
    assert reproducibility.canonical_json(kept) == reproducibility.canonical_json(
        dataclasses.replace(kept)
    )
    assert (type(kept.learning_rate), type(kept.global_clipnorm)) == (int, int)


def test_what_a_configuration_may_name_is_what_there_is():
    assert tuple(augmentation._AUGMENTATIONS) == AUGMENTATIONS
    assert set(datasets.DATASET_NAMES) == set(DATASETS)
    assert BEARS == claims.BEARS
    for optimizer in OPTIMIZERS:
        for schedule in SCHEDULES:
            steps = {"milestones": (0.5,), "decays": (0.1,)} if schedule == "steps" else {}
            training = TrainingConfig(epochs=1, optimizer=optimizer, schedule=schedule, **steps)
            made = fitting.make_optimizer(training, 10)
            assert type(made).__name__.lower() == optimizer
            assert np.isclose(float(made.learning_rate), training.learning_rate)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "0", None, True])
def test_a_seed_is_a_whole_number_of_32_bits(seed):
    for ask in (reproducibility.derive_seed, reproducibility.set_seeds):
        with pytest.raises(ValueError, match="seed to be an integer of at least 0 and of at most"):
            ask(seed)


def test_a_schedule_has_steps():
    with pytest.raises(ValueError, match="steps of the run to be an integer of at least 1"):
        fitting.HalfLinearDecay(1e-3, 0)
    with pytest.raises(ValueError, match="learning rate to be a finite number above 0"):
        fitting.HalfLinearDecay(math.nan, 10)
    with pytest.raises(ValueError, match="steps_per_epoch to be an integer of at least 1"):
        fitting.make_optimizer(BRIEF, 0)


def test_what_is_not_finite_has_no_hash():
    with pytest.raises(ValueError, match="configurations of finite numbers, received"):
        reproducibility.stable_hash({"rate": math.nan})


@every_profile
def test_every_attack_of_a_profile_can_be_built(profile):
    configs = list(profile.attacks.values())
    for plan in profile.plans.values():
        for purifier in plan.purifiers.values():
            if purifier.copies is not None:
                configs += [config for config, _ in purifier.copies.attacks]
    for config in configs:
        assert get_attack(config.name, **config.hyperparameters).num_gradients() >= 1
