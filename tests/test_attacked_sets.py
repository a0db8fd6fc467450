"""Attacked test images: what each attacker does, and that a set is made once and kept."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable

import numpy as np
import pytest

from attacks import Attack, UnattackedImagesWarning
from experiments.attacked_sets import UNBOUNDED, Scenario
from experiments.measure import Study, measure
from results.exhibit import Grid
from tests.tiny_profile import later_profile, puvae_profile, study_of, tiny_run


@pytest.fixture(scope="module")
def later(tmp_path_factory, uncompiled) -> Study:
    return study_of(tiny_run(tmp_path_factory.mktemp("later"), later_profile()))


@pytest.fixture(scope="module")
def puvae(tmp_path_factory, uncompiled) -> Study:
    return study_of(tiny_run(tmp_path_factory.mktemp("puvae"), puvae_profile()))


@pytest.fixture
def makes_nothing(monkeypatch) -> Callable[[], None]:
    """Once called, an attack that is run fails the test."""

    def forbidden(*_, **__):
        raise AssertionError("a set was made although it is stored")

    return lambda: monkeypatch.setattr(Attack, "run", forbidden)


def oblivious(attack: str, epsilon: float, target: str) -> Scenario:
    return Scenario(threat="oblivious", attack=attack, epsilon=epsilon, targets=(target,))


def moved(study: Study, images: np.ndarray) -> np.ndarray:
    """How far each image is from the clean one, in its most changed pixel."""
    return np.abs(images - study.data.test.images[: len(images)]).max(axis=(1, 2, 3))


def stored_sets(study: Study) -> set[str]:
    folder = study.models.store.root / "attacked_sets"
    return {path.name for path in folder.glob("*") if not path.name.startswith(".")}


# -- scenarios ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threat": "white-box"}, r"Unknown threat model 'white-box'. Known: none, oblivious"),
        ({"surrogate": "average"}, r"Unknown surrogate 'average'. Known: argmin, softmin"),
        ({"threat": "none"}, "Expected clean images to have the threat model 'none'"),
        ({"attack": "none"}, "Expected clean images"),
        ({"epsilon": 0.0}, "Expected clean images"),
    ],
)
def test_a_scenario_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Scenario(**{"threat": "oblivious", "attack": "fgsm", "epsilon": 0.1, **changes})


def test_an_unknown_attack_lists_the_known_ones(later):
    with pytest.raises(ValueError, match=r"Unknown attack 'gust'. Known: fgsm, pgd, carlini"):
        later.sets.images(oblivious("gust", 0.1, "A"))


def test_a_large_classifier_is_attacked_on_fewer_images_and_judged_on_all_clean_ones(tmp_path):
    profile = later_profile()
    ((name, plan),) = profile.plans.items()
    plan = dataclasses.replace(plan, attacked_through={"A": 10})
    study = study_of(tiny_run(tmp_path, dataclasses.replace(profile, plans={name: plan})))
    attacked = oblivious("fgsm", 0.1, "A")
    assert study.sets.limit(attacked) == 10
    assert study.sets.recipe(attacked)["attacked_through"] == 10
    assert study.sets.limit(oblivious("fgsm", 0.1, "wide_resnet")) is None
    assert study.sets.limit(Scenario(targets=("A",))) is None


def test_a_search_meets_fewer_images_and_its_row_says_so(puvae, tmp_path):
    plan = dataclasses.replace(puvae.plan, purified={"magnet": 7})
    run = tiny_run(tmp_path, dataclasses.replace(puvae.profile, plans={puvae.dataset: plan}))
    limited = study_of(dataclasses.replace(run, artifacts_dir=puvae.models.store.root))
    grid = Grid(
        threat="oblivious",
        attacks=("none",),
        epsilons=(0.0,),
        targets=("puvae_a",),
        defenses=("none", "magnet"),
        deciders=("target",),
    )
    measure(limited, grid)
    assert {row.defense: row.total for row in limited.measured} == {
        "none": len(limited.data.test.images),
        "magnet": 7,
    }


def test_a_budget_is_measured_in_the_norm_of_its_attack(puvae):
    assert puvae.sets.norm(Scenario()) == ""
    assert puvae.sets.norm(oblivious("pgd", 0.3, "puvae_a")) == "linf"
    # What is found without a budget is the smallest perturbation in L2.
    found = oblivious("targeted_carlini_wagner", UNBOUNDED, "puvae_a")
    assert puvae.sets.norm(found) == "l2"


def test_clean_images_are_the_test_images(later):
    np.testing.assert_array_equal(later.sets.images(Scenario()), later.data.test.images)
    assert later.sets.attack_recipe("none") is None


# -- each attacker --------------------------------------------------------------------------------


def test_an_oblivious_attack_stays_within_its_budget_and_misleads(later):
    attacked = later.sets.images(oblivious("fgsm", 0.1, "A"))
    assert moved(later, attacked).max() <= 0.1 + 1e-6
    target, labels = later.models.target("A"), later.data.test.labels
    before, after = (
        (target.predict(images, verbose=0).argmax(-1) == labels).sum()
        for images in (later.data.test.images, attacked)
    )
    assert after < before


def test_targeted_images_lead_to_the_drawn_label(puvae):
    sets, target = puvae.sets, puvae.models.target("puvae_a")
    truth, goals = puvae.data.test.labels, sets.goal_labels
    assert (goals != truth).all() and set(goals) <= set(range(10))
    attacked = sets.images(oblivious("targeted_fgsm", 0.3, "puvae_a"))
    assert moved(puvae, attacked).max() <= 0.3 + 1e-6
    logits = [np.asarray(target(images)) for images in (puvae.data.test.images, attacked)]
    rows = np.arange(len(goals))
    before, after = (values[rows, goals] - values.max(axis=1) for values in logits)
    assert after.mean() > before.mean()


def test_an_attacker_without_weights_attacks_what_it_has_learnt(puvae):
    substitute, target = puvae.models.substitute("puvae_a"), puvae.models.target("puvae_a")
    assert substitute is not target and substitute.name == "puvae_e"
    own = oblivious("targeted_fgsm", 0.3, "puvae_a")
    transferred = puvae.sets.images(dataclasses.replace(own, threat="transfer"))
    assert moved(puvae, transferred).max() <= 0.3 + 1e-6
    assert not np.array_equal(transferred, puvae.sets.images(own))


def test_an_attacker_without_weights_needs_a_substitute(later):
    scenario = dataclasses.replace(oblivious("fgsm", 0.1, "A"), threat="transfer")
    with pytest.raises(ValueError, match="a plan of digits with a substitute"):
        later.sets.recipe(scenario)


def test_a_mixed_set_is_half_the_targets(later):
    alone = oblivious("fgsm", 0.1, "wide_resnet")
    images = later.sets.images(dataclasses.replace(alone, threat="mixed"))
    assert moved(later, images).max() <= 0.1 + 1e-6
    same = np.isclose(images, later.sets.images(alone), atol=1e-6).all(axis=(1, 2, 3))
    assert 0.4 < same.mean() < 0.7


def test_a_search_is_attacked_with_the_gradient_at_its_result(later):
    scenario = Scenario(
        threat="framework", attack="fgsm", epsilon=0.1, targets=("A",), through="defense_gan"
    )
    assert (moved(later, later.sets.images(scenario)) > 0.05).mean() > 0.9


def test_a_pool_is_attacked_as_a_whole_whatever_the_target(later, makes_nothing):
    through = {"threat": "framework", "attack": "fgsm", "epsilon": 0.1, "through": "sfl_vae"}
    first = later.sets.images(Scenario(targets=("A",), **through))
    makes_nothing()
    second = later.sets.images(Scenario(targets=("wide_resnet",), **through))
    np.testing.assert_array_equal(first, second)


def test_an_adaptive_attacker_goes_through_the_purifier(puvae):
    own = oblivious("pgd", 0.3, "puvae_b")
    through = dataclasses.replace(
        own, threat="adaptive", through="puvae", surrogate="softmin", num_draws=2
    )
    sets = {
        name: puvae.sets.images(scenario)
        for name, scenario in {
            "oblivious": own,
            "softmin": through,
            "argmin": dataclasses.replace(through, surrogate="argmin"),
        }.items()
    }
    assert {name: len(images) for name, images in sets.items()} == {
        "oblivious": 40,
        "softmin": 20,
        "argmin": 20,
    }
    assert all(moved(puvae, images).max() <= 0.3 + 1e-6 for images in sets.values())
    assert not np.array_equal(sets["softmin"], sets["oblivious"][:20])
    assert not np.array_equal(sets["softmin"], sets["argmin"])


def test_without_a_purifier_an_adaptive_attack_is_aimed_at_the_classifier(puvae):
    trained = oblivious("fgsm", 0.3, "puvae_a_adversarial")
    adaptive = dataclasses.replace(trained, threat="adaptive")
    attacked = [puvae.sets.images(scenario) for scenario in (trained, adaptive)]
    np.testing.assert_array_equal(*attacked)


def test_attacked_copies_are_of_the_training_images(later):
    config = later.plan.purifiers["defense_vae"]
    split = later.data.train.take(config.training.train_limit)
    (copy,) = later.models._attacked_copies(config, split)
    assert copy.shape == split.images.shape
    np.testing.assert_allclose(np.abs(copy - split.images).max(axis=(1, 2, 3)), 0.2, atol=1e-5)


# -- kept -----------------------------------------------------------------------------------------


def test_a_stored_set_is_read_by_every_later_run(later, makes_nothing):
    scenario = oblivious("pgd", 0.1, "A")
    made = later.sets.images(scenario)
    makes_nothing()
    again = Study(later.profile, later.models, later.rows)
    np.testing.assert_array_equal(again.sets.images(scenario), made)


def test_a_search_without_a_budget_serves_the_whole_axis(later, makes_nothing):
    profile = dataclasses.replace(later.profile, budgets={"axis": (0.0, 0.05, 0.1), "few": (0.1,)})
    study = Study(profile, later.models, later.rows)
    before = stored_sets(study)
    wide = study.sets.images(oblivious("carlini_wagner", 0.1, "A"))
    assert len(stored_sets(study) - before) == 1
    makes_nothing()
    narrow = study.sets.images(oblivious("carlini_wagner", 0.05, "A"))
    assert moved(study, narrow).max() <= 0.05 + 1e-6 < moved(study, wide).max() <= 0.1 + 1e-6


@pytest.mark.parametrize("threat", ["oblivious", "mixed"])
@pytest.mark.parametrize(
    ("share", "flags"), [(0.02, ("unmoved",)), (0.5, ("unmoved", "unreliable"))]
)
def test_a_set_keeps_which_images_were_not_attacked(later, threat, share, flags, monkeypatch):
    run = Attack.run

    def partly_unattacked(self, *arguments, **options):
        found = run(self, *arguments, **options)
        for result in found.values():
            result.unattacked[: int(np.ceil(share * len(result.unattacked)))] = True
        return found

    monkeypatch.setattr(Attack, "run", partly_unattacked)
    epsilon = 0.23 + share / 100
    scenario = dataclasses.replace(oblivious("fgsm", epsilon, "wide_resnet"), threat=threat)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnattackedImagesWarning)
        assert later.sets.flags(scenario) == flags
    monkeypatch.undo()
    again = Study(later.profile, later.models, later.rows)
    assert again.sets.flags(scenario) == flags
    assert later.sets.flags(oblivious("fgsm", 0.1, "A")) == later.sets.flags(Scenario()) == ()


def test_of_a_set_stored_without_a_mask_nothing_is_said(later, monkeypatch):
    scenario, store = oblivious("fgsm", 0.1, "A"), later.models.store
    images = later.sets.images(scenario)
    arrays = store.arrays

    def older(kind, recipe, make):
        found = arrays(kind, recipe, make)
        return {name: array for name, array in found.items() if name.startswith("epsilon")}

    monkeypatch.setattr(store, "arrays", older)
    again = Study(later.profile, later.models, later.rows)
    np.testing.assert_array_equal(again.sets.images(scenario), images)
    assert again.sets.flags(scenario) == ()


def test_a_set_belongs_to_weights_attack_budget_and_images(later):
    scenario = oblivious("fgsm", 0.17, "A")
    other_images = Study(later.profile, later.models, later.rows)
    other_images.sets.image_hash = "0" * 16
    made = [
        (later, scenario),
        (later, dataclasses.replace(scenario, epsilon=0.19)),
        (later, dataclasses.replace(scenario, targets=("wide_resnet",))),
        (later, dataclasses.replace(scenario, attack="pgd")),
        (other_images, scenario),
    ]
    for study, changed in made:
        before = stored_sets(study)
        study.sets.images(changed)
        assert len(stored_sets(study) - before) == 1, changed
