"""Who decides behind a defense, in which groups, and which images it deals with rightly."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from defenses.decision import ConditionalTables
from experiments import deciders
from experiments.deciders import (
    DECIDERS,
    Defended,
    DefendedImages,
    defended,
    deployed,
    families,
)
from experiments.profile import DatasetPlan
from tests.tiny_profile import codes_profile, puvae_profile

ALL = tuple(DECIDERS)
POOL = ("target", "mean_voter", "vote", "vote_bayes", "vote_bayes_heldout")


@pytest.fixture
def later() -> DatasetPlan:
    return codes_profile().plans["digits"]


@pytest.fixture
def puvae() -> DatasetPlan:
    return puvae_profile().plans["digits"]


# -- what stands before a target ------------------------------------------------------------------


def test_a_purifier_stands_before_a_target_of_the_plan(later):
    assert defended(later, "none", "A") == Defended(
        defense="none", target="A", key=None, classifier="A"
    )
    assert defended(later, "vqunet", "wide_resnet").key == "vqunet"
    assert defended(later, "vqunet", "C") is None
    assert defended(later, "magnet", "A") is None


def test_a_purifier_trained_with_a_classifier_stands_before_the_others(puvae):
    sources = {
        target: puvae.purifiers[defended(puvae, "puvae", target).key].source
        for target in ("puvae_a", "puvae_b")
    }
    assert sources == {"puvae_a": "puvae_b", "puvae_b": "puvae_a"}
    assert {defended(puvae, "puvae", target).defense for target in sources} == {"puvae"}
    alone = dataclasses.replace(puvae, purifiers={"puvae": puvae.purifiers["puvae"]})
    assert defended(alone, "puvae", alone.purifiers["puvae"].source) is None


def test_adversarial_training_changes_the_classifier(later, puvae):
    found = defended(puvae, "adversarial_training", "puvae_b")
    assert (found.key, found.classifier) == (None, "puvae_b_adversarial")
    assert defended(later, "adversarial_training", "A") is None


# -- groups ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("defense", "wanted", "expected"),
    [
        ("none", ALL, [("target",)]),
        ("sfl_vae", ALL, [POOL]),
        ("sfl_vae", ("vote", "target"), [("target", "vote")]),
        ("sfl_vae", ("target", "retrained"), [("target", "retrained")]),
        ("defense_vae", ALL, [("target", "retrained")]),
        ("vqunet", ("retrained",), [("retrained",)]),
        # A purifier that is published without a retrained classifier has none beside a vote.
        ("defense_gan", ALL, [("target",)]),
        ("defense_gan", ("target", "retrained"), [("target", "retrained")]),
        ("defense_gan", ("vote",), []),
    ],
)
def test_deciders_behind_a_purifier_are_measured_in_groups(later, defense, wanted, expected):
    assert families(later, defended(later, defense, "A"), wanted) == expected


def test_detectors_stand_for_themselves(puvae):
    magnet = defended(puvae, "magnet", "puvae_a")
    assert families(puvae, magnet, ALL) == [("target",), ("detectors",)]
    assert families(puvae, magnet, ("detectors",)) == [("detectors",)]
    assert families(puvae, defended(puvae, "puvae", "puvae_a"), ALL) == [("target",)]


def test_an_unknown_decider_lists_the_known_ones(later):
    with pytest.raises(ValueError, match=r"each decider .* target, retrained.*received 'jury'"):
        families(later, defended(later, "none", "A"), ("target", "jury"))


@pytest.mark.parametrize(
    ("defense", "expected"),
    [
        ("sfl_vae", {"mean_voter", "vote", "vote_bayes", "vote_bayes_heldout"}),
        ("defense_cyclegan", {"mean_voter", "vote", "vote_bayes", "vote_bayes_heldout"}),
        ("defense_vae", {"retrained"}),
        ("vqunet", {"retrained"}),
        ("defense_gan", {"target"}),
    ],
)
def test_an_attack_through_a_purifier_is_aimed_at_what_is_deployed(later, defense, expected):
    assert set(deployed(later, defended(later, defense, "A"))) == expected


def test_what_a_decider_says_of_itself(later):
    plan = dataclasses.replace(later, voters=later.voters * 6)
    who = defended(plan, "sfl_vae", "A")
    found = {name: (one.decides, one.settings(plan, who)) for name, one in DECIDERS.items()}
    drawn = {"voters": 6, "drawn": 1}
    assert found == {
        "target": ("target", {}),
        "retrained": ("target", {"retrained": True}),
        "mean_voter": ("mean_voter", {"voters": 6}),
        "vote": ("vote", drawn),
        "vote_bayes": ("vote_bayes", drawn),
        "vote_bayes_heldout": ("vote_bayes", {**drawn, "tables": "heldout"}),
        "detectors": ("target", {"detectors": True}),
        "class_means": ("class_means", {}),
    }


# -- decisions ------------------------------------------------------------------------------------

TRUTH = np.array([0, 1, 2, 3])
SAID = {
    "A": np.array([0, 1, 0, 0]),
    "A_adversarial": np.array([0, 1, 2, 0]),
    "B": np.array([0, 0, 0, 3]),
    "A behind sieve": np.array([1, 1, 2, 3]),
}
VOTERS = np.array([[0, 0, 0], [1, 1, 0], [2, 0, 0], [0, 0, 0]])


class Models:
    """Stands in for trained models, each of which is its own name."""

    def __init__(self, plan: DatasetPlan) -> None:
        self.plan, self.seed, self.purified = plan, 0, []
        test = SimpleNamespace(labels=np.concatenate([TRUTH, TRUTH]))
        self.data = SimpleNamespace(name="digits", test=test, num_classes=4)

    def purified_test_images(self, key, images, draw=0):
        self.purified.append((key, draw))
        return images / 2

    def target(self, name):
        return name

    def retrained(self, key, name):
        return f"{name} behind {key}"


def behind(later, monkeypatch, key="sieve", target="A", **changes) -> DefendedImages:
    """Four images whose labels, those of classifiers and voters, stand above."""
    plan = dataclasses.replace(
        later,
        voters=later.voters * VOTERS.shape[1],
        decision=dataclasses.replace(later.decision, num_drawn=VOTERS.shape[1]),
    )
    monkeypatch.setattr(deciders, "classifier_labels", lambda model, *_: SAID[model])
    monkeypatch.setattr(deciders, "vote_predictions", lambda *_: VOTERS)
    who = Defended(defense="sieve", target=target, key=key, classifier=target)
    images = np.zeros((4, 2, 2, 1), np.float32)
    return DefendedImages(Models(plan), dataclasses.replace(who, **changes), images)


@pytest.mark.parametrize(
    ("decider", "expected"),
    [
        ("target", [[1, 1, 0, 0]]),
        ("retrained", [[0, 1, 1, 1]]),
        ("mean_voter", [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]),
        ("vote", [[1, 1, 0, 0]]),
    ],
)
def test_which_images_are_dealt_with_rightly(later, monkeypatch, decider, expected):
    images = behind(later, monkeypatch)
    correct = DECIDERS[decider].correct(images, "A")
    assert correct.dtype == bool
    assert correct.astype(int).tolist() == expected


def test_the_bayesian_update_asks_target_and_vote(later, monkeypatch):
    asked = []

    def tables(models, key, target, source):
        asked.append((key, target, source))
        # Evidence that leaves no doubt: the class is what the target says, whatever the vote.
        labels = np.repeat(np.arange(4), 4)
        return ConditionalTables.fit(labels, labels, np.tile(np.arange(4), 4), 4, smoothing=1e-9)

    monkeypatch.setattr(deciders, "conditional_tables", tables)
    images = behind(later, monkeypatch)
    for name in ("vote_bayes", "vote_bayes_heldout"):
        correct = DECIDERS[name].correct(images, "A")
        assert correct.astype(int).tolist() == [[1, 1, 0, 0]]
    assert asked == [("sieve", "A", None), ("sieve", "A", "heldout")]


def test_images_are_purified_once_for_all_who_decide(later, monkeypatch):
    images = behind(later, monkeypatch)
    for name in ("target", "mean_voter", "vote"):
        DECIDERS[name].correct(images, "A")
    assert images.models.purified == [("sieve", 0)]


def test_the_adversarially_trained_version_decides_in_place_of_its_target(later, monkeypatch):
    images = behind(later, monkeypatch, key=None, classifier="A_adversarial")
    assert DECIDERS["target"].correct(images, "A").astype(int).tolist() == [[1, 1, 1, 0]]
    assert images.models.purified == [] and images.purified is images.images
    # Another target that one attacked set serves decides for itself.
    assert DECIDERS["target"].correct(images, "B").astype(int).tolist() == [[1, 0, 0, 1]]


@pytest.mark.parametrize(
    ("attacked", "expected"), [(True, [[1, 1, 1, 0]]), (False, [[1, 0, 0, 0]])]
)
def test_detectors_may_refuse_an_attacked_image_alone(later, monkeypatch, attacked, expected):
    accepted = np.array([True, False, False, True])
    monkeypatch.setattr(deciders, "_detectors", lambda *_: [])
    monkeypatch.setattr(deciders, "accepted_by_all", lambda *_: accepted)
    images = behind(later, monkeypatch)
    images.attacked = attacked
    assert DECIDERS["detectors"].correct(images, "A").astype(int).tolist() == expected
