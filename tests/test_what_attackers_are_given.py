"""Attackers with a surrogate of their own, with the purifier, and what is measured of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from experiments.attacked_sets import Scenario, oblivious
from experiments.config import AttackConfig, ClassifierConfig, PurifierConfig
from experiments.deciders import defended
from experiments.measure import measure
from experiments.outcomes import worst
from experiments.probes.draws import fresh_draws
from experiments.probes.spaces import SPACES, _share, neighbourhoods
from results.clouds import load_clouds
from results.exhibit import WORST_OF_ALL, Grid
from tests.tiny_profile import BRIEF, rows_where, study_of, tiny_profile, tiny_run

ADAPTIVE = {"threat": "adaptive", "attacks": ("fgsm", "pgd"), "epsilons": (0.1,), "targets": ("A",)}


def profile():
    """A target with a surrogate and with a purifier that brings a classifier along."""
    tiny = tiny_profile()
    plan = tiny.plans["digits"]
    target = ClassifierConfig(architecture="A", width=0.1, training=BRIEF)
    plan = dataclasses.replace(
        plan,
        classifiers={
            "A": target,
            "B": ClassifierConfig(architecture="B", width=0.1, training=BRIEF),
            "surrogate": dataclasses.replace(target, twin=1),
        },
        purifiers={
            "sfl_vae": dataclasses.replace(plan.purifiers["sfl_vae"], training=BRIEF),
            "magnet": PurifierConfig(name="magnet", training=BRIEF),
        },
        voters=(),
        surrogates={"A": "surrogate"},
        behind={"magnet": "B"},
        unpublished=(),
    )
    few = AttackConfig(name="pgd", hyperparameters={"num_steps": 2}, images=10)
    return dataclasses.replace(
        tiny, plans={"digits": plan}, attacks={**tiny.attacks, "few": few}, num_draws=1
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory, uncompiled):
    return study_of(tiny_run(tmp_path_factory.mktemp("given"), profile(), ("003.F3.6",)))


# -- a surrogate that is trained apart ------------------------------------------------------------


def test_a_surrogate_is_the_target_from_other_random_numbers(study):
    surrogate, target = study.models.substitute("A"), study.models.target("A")
    assert surrogate is study.models.target("surrogate") is not target
    weights = zip(surrogate.get_weights(), target.get_weights(), strict=True)
    assert not any(np.array_equal(*pair) for pair in weights if pair[0].ndim > 1)


def test_transferred_images_are_those_made_on_the_surrogate(study):
    transferred = dataclasses.replace(oblivious("fgsm", 0.1, "A"), threat="transfer")
    images = study.sets.images(transferred)
    own = study.sets.images(oblivious("fgsm", 0.1, "surrogate"))
    np.testing.assert_array_equal(images, own)
    assert not np.array_equal(images, study.sets.images(oblivious("fgsm", 0.1, "A")))


@pytest.mark.parametrize(
    ("surrogates", "message"),
    [
        ({"A": "C"}, "the surrogate of A"),
        ({"C": "A"}, "each of surrogates"),
        ({"A": "A"}, "another 'twin'"),
    ],
)
def test_a_surrogate_is_another_classifier_of_the_plan(surrogates, message):
    plan = profile().plans["digits"]
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(plan, surrogates=surrogates)


# -- a classifier that a defense brings along -----------------------------------------------------


def test_a_defense_may_bring_its_own_classifier(study):
    who = defended(study.plan, "magnet", "A")
    assert (who.target, who.classifier) == ("A", "B")
    grid = Grid(
        threat="oblivious",
        attacks=("fgsm",),
        epsilons=(0.1,),
        targets=("A",),
        defenses=("magnet",),
    )
    measure(study, grid)
    (row,) = rows_where(study, {"defense": "magnet", "attack": "fgsm", "threat_model": "oblivious"})
    attacked = study.sets.images(oblivious("fgsm", 0.1, "A"))
    purified = study.purified("magnet", attacked)
    said = study.models.target("B").predict(purified, verbose=0).argmax(-1)
    assert row.correct == (said == study.data.test.labels).sum()


# -- attackers who are given the purifier ---------------------------------------------------------


def through(threat: str, attack: str = "fgsm") -> Scenario:
    return Scenario(
        threat=threat, attack=attack, epsilon=0.1, targets=("A",), through="sfl_vae", num_draws=1
    )


def test_bpda_goes_another_way_than_the_gradient(study):
    whole, identity = (study.sets.images(through(threat)) for threat in ("adaptive", "bpda"))
    assert not np.array_equal(whole, identity)
    for images in (whole, identity):
        assert np.abs(images - study.data.test.images).max() <= 0.1 + 1e-6
    recipes = [study.sets.recipe(through(threat)) for threat in ("adaptive", "bpda", "score")]
    assert all("through" in recipe for recipe in recipes)


def test_an_attack_of_few_images_is_run_on_those_alone(study):
    scenario = oblivious("few", 0.1, "A")
    assert study.sets.limit(scenario) == len(study.sets.images(scenario)) == 10
    measure(study, Grid(threat="oblivious", attacks=("few",), epsilons=(0.1,), targets=("A",)))
    (row,) = rows_where(study, {"attack": "few"})
    assert row.total == 10


def test_the_worst_over_attacks_is_worst_image_by_image(study):
    measure(study, Grid(**ADAPTIVE, defenses=("sfl_vae",), worst=True))
    rows = rows_where(study, {"threat_model": "adaptive", "defense": "sfl_vae"})
    found = {row.attack: row for row in rows}
    assert set(found) == {"fgsm", "pgd", WORST_OF_ALL}
    assert found[WORST_OF_ALL].settings["worst_of"] == "fgsm+pgd"
    outcomes = {name: study.outcomes.get(row) for name, row in found.items()}
    expected = worst([outcomes["fgsm"], outcomes["pgd"]])
    np.testing.assert_array_equal(outcomes[WORST_OF_ALL].correct, expected.correct)


# -- fresh draws ----------------------------------------------------------------------------------


def test_a_random_defense_has_a_mean_and_a_worst_draw_clean_and_attacked(study):
    asked = {"defenses": ("sfl_vae",), "targets": ("A",), "attacks": ("fgsm",)}
    fresh_draws(study, "", **asked, epsilons=(0.1,))
    for attack in ("none", "fgsm"):
        rows = rows_where(study, {"attack": attack, "fresh": 10, "defense": "sfl_vae"})
        mean, lowest = sorted(rows, key=lambda row: row.metric)
        assert (mean.metric, lowest.metric) == ("accuracy", "worst_draw")
        assert (mean.total, mean.settings["draws"]) == (400, 10)
        assert (lowest.total, lowest.settings["fresh"]) == (40, 10)
        draws = study.outcomes.get(mean).correct
        assert draws.shape == (10, 40)
        assert lowest.correct == draws.all(axis=0).sum()
        assert lowest.value <= draws.mean(axis=1).min()


def test_few_draws_are_refused(study):
    asked = {"defenses": ("sfl_vae",), "targets": ("A",), "attacks": ("fgsm",)}
    with pytest.raises(ValueError, match="at least 10 fresh draws, received 3"):
        fresh_draws(study, "", **asked, epsilons=(0.1,), num_draws=3)


# -- neighbours -----------------------------------------------------------------------------------


def test_the_share_of_neighbours_by_hand():
    # Two groups far apart, one image of the other class in the first.
    vectors = np.concatenate([np.zeros((11, 2)), np.full((11, 2), 9.0)])
    vectors += np.random.default_rng(0).normal(0, 0.01, vectors.shape)
    labels = np.array([1] + [0] * 10 + [1] * 11)
    # Of the odd one no neighbour is of its class, of the ten others nine are, of the rest all.
    assert _share(vectors, labels) == pytest.approx((0 + 10 * 0.9 + 11) / 22)


def test_neighbourhoods_are_measured_and_placed(study):
    neighbourhoods(study, "clouds", target="A", attack="fgsm", epsilon=0.1)
    rows = rows_where(study, {"metric": "neighbours_of_class"})
    assert {(row.settings["space"], row.attack) for row in rows} == {
        (space, attack) for space in SPACES for attack in ("none", "fgsm")
    }
    grid = load_clouds(study.picture_path("clouds"))
    assert grid.rows == list(SPACES) and len(grid.columns) == 2
    np.testing.assert_array_equal(grid.labels, study.data.test.labels)
    assert all(cloud.points.shape == (40, 2) for cloud in grid.clouds)
