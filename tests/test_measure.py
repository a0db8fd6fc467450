"""Accuracies: each is measured once, under the threat model that it was attacked under."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest

from defenses.magnet_detector import accepted_by_all, published_detectors
from experiments import measure as measuring
from experiments.attacked_sets import UNBOUNDED, Scenario
from experiments.config import ADVERSARIAL
from experiments.measure import Study, measure
from experiments.outcomes import Outcome, paired, worst
from experiments.presets import shared
from experiments.runs import draw
from experiments.scheduler import measure_exhibit
from experiments.training import TrainedModels
from results.exhibit import ABSENT, Grid
from results.store import RowStore
from tests.tiny_profile import (
    BRIEF,
    later_profile,
    puvae_profile,
    rows_where,
    study_of,
    tiny_run,
)

DISSERTATION = ("003.F3.6", "003.F3.10", "003.F4.2", "003.F5.3", "003.T5.1")
PUVAE = ("004.T3", "004.T6", "004.F8")
POOLED = ("sfl_vae", "defense_cyclegan")


def measured(folder, profile, exhibits):
    """A run whose exhibits were measured, its study, and how often each group of them was."""
    run = tiny_run(folder, profile, exhibits)
    study, calls, original = study_of(run), Counter(), measuring._outcomes

    def counted(study, scenario, who, names, first=None):
        names = tuple(names)
        calls[scenario, who, names, first] += 1
        return original(study, scenario, who, names, first)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "_outcomes", counted)
        for exhibit in run.exhibits:
            measure_exhibit(study, exhibit)
    return run, study, calls


def fair_puvae_profile():
    """What profiles of full width measure beside the paper's lines."""
    profile = puvae_profile()
    plan = profile.plans["digits"]
    noisy = shared.puvae_purifiers(
        colour=False, puvae=BRIEF, width=0.1, decoder_width=0.1, magnet=BRIEF, noisy=True
    )
    plan = dataclasses.replace(plan, purifiers={**plan.purifiers, **noisy})
    return dataclasses.replace(profile, plans={"digits": plan}, fair=True)


@pytest.fixture(scope="module")
def dissertation(tmp_path_factory, uncompiled):
    return measured(tmp_path_factory.mktemp("later"), later_profile(), DISSERTATION)


@pytest.fixture(scope="module")
def puvae(tmp_path_factory, uncompiled):
    return measured(tmp_path_factory.mktemp("puvae"), fair_puvae_profile(), PUVAE)


@pytest.fixture
def no_models(monkeypatch):
    """A model that is asked for fails the test."""

    def forbidden(*_, **__):
        raise AssertionError("a model was asked for")

    for name in ("target", "purifier", "voter", "retrained", "substitute"):
        monkeypatch.setattr(TrainedModels, name, forbidden)


# -- what is measured -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dissertation", "puvae"])
def test_every_exhibit_can_be_drawn(name, request):
    run, study, _ = request.getfixturevalue(name)
    for exhibit in run.exhibits:
        if exhibit.implemented:
            (figure,) = draw(run, exhibit, study.dataset)
            assert figure.stat().st_size > 5000, exhibit.id


@pytest.mark.parametrize("name", ["dissertation", "puvae"])
def test_every_accuracy_is_measured_once_however_many_exhibits_ask_for_it(name, request):
    _, study, calls = request.getfixturevalue(name)
    assert set(calls.values()) == {1}
    asked = Counter(who.defense for scenario, who, *_ in calls if scenario == clean_of(who))
    if name == "dissertation":
        # Before A by three figures and before the Wide-ResNet by another two.
        assert asked == dict.fromkeys(("none", *POOLED, "defense_vae"), 2) | {"defense_gan": 1}
    rows = study.rows.read("digits")
    assert len(study.measured) == len(rows) == len({row.place for row in rows})


def clean_of(who) -> Scenario:
    return Scenario(targets=(who.target,))


def test_an_attacked_set_is_made_once_for_every_defense(dissertation):
    _, study, _ = dissertation
    folder = study.models.store.root / "attacked_sets"
    made = [path for path in folder.iterdir() if not path.name.startswith(".")]
    # One on A alone, one through each of four defenses, one on the Wide-ResNet and others.
    assert len(made) == 6
    facing = {row.defense for row in rows_where(study, {"threat_model": "oblivious"})}
    assert facing == {"none", *POOLED, "defense_vae", "defense_gan"}


def test_the_outcomes_behind_the_rows_have_their_counts(dissertation, puvae):
    for _, study, _ in (dissertation, puvae):
        for row in rows_where(study, {"metric": "accuracy"}):
            outcome = study.outcomes.get(row)
            assert outcome.counts == (row.correct, row.total), row
            assert outcome.correct.shape[1] == row.distinct_images


def test_through_a_defense_only_what_is_deployed_is_attacked(dissertation):
    _, study, _ = dissertation
    found = {
        threat: {
            (row.defense, row.decider, row.settings.get("retrained", False))
            for row in rows_where(study, {"threat_model": threat})
        }
        for threat in ("framework", "framework_transfer")
    }
    assert found["framework"] == {
        *(
            (defense, decider, False)
            for defense in POOLED
            for decider in ("mean_voter", "vote", "vote_bayes")
        ),
        ("defense_vae", "target", True),
        ("defense_gan", "target", False),
    }
    assert found["framework_transfer"] == {
        *((defense, "target", False) for defense in (*POOLED, "defense_vae")),
    }


def test_a_retrained_classifier_is_measured_beside_the_target(dissertation):
    _, study, _ = dissertation
    common = {"defense": "defense_vae", "target": "wide_resnet"}
    (row,) = rows_where(study, {**common, "threat_model": "mixed", "retrained": True})
    mixed = Scenario(threat="mixed", attack="fgsm", epsilon=0.1, targets=("wide_resnet",))
    purified = study.purified("defense_vae", study.sets.images(mixed))
    retrained = study.models.retrained("defense_vae", "wide_resnet")
    labels = retrained.predict(purified, verbose=0).argmax(axis=1)
    right = labels == study.data.test.labels
    assert (row.correct, row.decider) == (right.sum(), "target")
    np.testing.assert_array_equal(study.outcomes.get(row).correct, right[np.newaxis])
    assert len(rows_where(study, {**common, "attack": "none"})) == 2


def test_every_defense_meets_every_attack_before_both_targets(puvae):
    _, study, _ = puvae
    for attack in ("targeted_fgsm", "targeted_bim", "targeted_carlini_wagner"):
        for target in ("puvae_a", "puvae_b"):
            attacked = {"attack": attack, "target": target, "threat_model": "oblivious"}
            rows = rows_where(study, {**attacked, "metric": "accuracy"})
            assert sorted(row.defense for row in rows) == [
                "adversarial_training",
                "class_means",
                "defense_gan",
                "magnet",
                "magnet",
                "none",
                "puvae",
                "puvae_noisy",
            ]
            (row,) = (row for row in rows if row.defense == "puvae")
            assert {target, row.settings["source"]} == {"puvae_a", "puvae_b"}
            expected = (UNBOUNDED, "l2") if "carlini" in attack else (0.3, "linf")
            assert {(row.epsilon, row.norm) for row in rows} == {expected}
    transferred = rows_where(study, {"threat_model": "transfer", "metric": "accuracy"})
    assert len(transferred) == 3 * 2 * 7


def test_the_worst_of_several_attacks_is_worst_image_by_image(puvae):
    _, study, _ = puvae
    adaptive = {"threat_model": "adaptive", "defense": "puvae", "attack": "pgd"}
    rows = rows_where(study, {**adaptive, "metric": "accuracy", "worst_of": ABSENT})
    found = {row.settings["surrogate"]: row for row in rows}
    assert set(found) == {"argmin", "softmin", "worst", "oblivious"}
    assert {(row.total, row.settings["eot"]) for row in rows} == {(20, 2)}
    outcomes = {name: study.outcomes.get(row) for name, row in found.items()}
    expected = worst([outcomes["argmin"], outcomes["softmin"]])
    np.testing.assert_array_equal(outcomes["worst"].correct, expected.correct)


def test_whoever_knows_a_defense_may_send_the_images_that_ignore_it(puvae):
    _, study, _ = puvae
    adaptive = {"threat_model": "adaptive", "defense": "puvae", "attack": "pgd"}
    rows = rows_where(study, {**adaptive, "worst_of": "argmin+oblivious+softmin"})
    (all_of_them,) = (row for row in rows if row.metric == "accuracy")
    (error,) = (row for row in rows if row.metric == "accuracy_gain_standard_error")
    # The first images of the set that was made on the target alone, purified by the same draws.
    single = {**adaptive, "metric": "accuracy", "worst_of": ABSENT}
    outcomes = {
        row.settings["surrogate"]: study.outcomes.get(row) for row in rows_where(study, single)
    }
    ignoring = Scenario(threat="oblivious", attack="pgd", epsilon=0.3, targets=("puvae_b",))
    purified = study.purified("puvae", study.sets.images(ignoring)[:20])
    said = study.models.target("puvae_b").predict(purified, verbose=0).argmax(axis=1)
    right = said == study.data.test.labels[:20]
    np.testing.assert_array_equal(outcomes["oblivious"].correct, right[np.newaxis])
    expected = worst([outcomes[name] for name in ("argmin", "softmin", "oblivious")])
    np.testing.assert_array_equal(study.outcomes.get(all_of_them).correct, expected.correct)
    assert error.value == paired(outcomes["oblivious"], expected)[1]
    assert all_of_them.correct <= outcomes["oblivious"].counts[0]


def test_an_adversarially_trained_classifier_is_attacked_itself(puvae):
    _, study, _ = puvae
    adaptive = {"threat_model": "adaptive", "defense": "adversarial_training"}
    rows = rows_where(study, {**adaptive, "metric": "accuracy"})
    assert {row.settings["target"] for row in rows} == {"puvae_a", "puvae_b"}
    assert len(rows) == 2 * 3 and not any("eot" in row.settings for row in rows)


def test_whole_magnet_counts_a_refused_attack_as_right(puvae):
    _, study, _ = puvae
    for attack in ("none", "targeted_bim"):
        whole, alone = (
            rows_where(
                study,
                {
                    "defense": "magnet",
                    "attack": attack,
                    "threat_model": ("none", "oblivious"),
                    "target": "puvae_a",
                    "detectors": detectors,
                },
            )[0].correct
            for detectors in (True, ABSENT)
        )
        assert whole <= alone if attack == "none" else whole >= alone


# -- what is not measured -------------------------------------------------------------------------


def test_what_is_there_is_not_measured_again(dissertation, no_models):
    run, study, _ = dissertation
    before = study.rows.path("digits").read_bytes()
    again = Study(run.profile, study.models, study.rows)
    for exhibit in run.exhibits:
        measure_exhibit(again, exhibit)
    assert again.measured == []
    assert study.rows.path("digits").read_bytes() == before


@pytest.mark.parametrize("name", ["dissertation", "puvae"])
def test_a_dry_run_plans_the_same_rows_and_measures_nothing(name, request, tmp_path, no_models):
    run, study, _ = request.getfixturevalue(name)
    elsewhere = RowStore(tmp_path, "tiny")
    dry = Study(run.profile, study.models, elsewhere, dry_run=True)
    for exhibit in run.exhibits:
        measure_exhibit(dry, exhibit)
    planned = {row.place: row.config_hash for row in dry.planned}
    assert planned == {row.place: row.config_hash for row in study.rows.read("digits")}
    assert not list(tmp_path.iterdir())


def test_rows_of_an_older_configuration_are_measured_anew(dissertation, tmp_path):
    run, study, _ = dissertation
    grid = Grid(threat="none", attacks=("none",), targets=("A",))
    (row,) = rows_where(study, {"attack": "none", "defense": "none", "target": "A"})
    store = RowStore(tmp_path, "tiny")
    older = dataclasses.replace(row, value=0.0, correct=0, config_hash="0" * 16)
    store.add([older])
    fresh = Study(run.profile, study.models, store)
    measure(fresh, grid)
    assert fresh.measured == store.read("digits")
    (stored,) = store.read("digits")
    assert dataclasses.replace(stored, seconds=row.seconds) == row != older
    assert fresh.outcomes.get(older) is None


# -- what an exhibit asks for ---------------------------------------------------------------------


def test_budgets_are_numbers_a_name_or_either_by_data_set(puvae):
    _, study, _ = puvae
    assert study.budgets((0.2, 0.3), "fgsm") == (0.2, 0.3)
    assert study.budgets("axis", "fgsm") == (0.0, 0.1)
    assert study.budgets({"digits": "voting", "": (0.5,)}, "fgsm") == (0.1,)
    assert study.budgets({"cifar10": (0.1,), "": (0.5,)}, "fgsm") == (0.5,)
    assert study.budgets("axis", "targeted_carlini_wagner") == (UNBOUNDED,)
    for wrong in ({"cifar10": (0.1,)}, (), (-0.1,), (2.0,), (float("nan"),), 0.1, ("0.1",)):
        with pytest.raises(ValueError, match=r"budgets of fgsm on digits .*numbers in \[0, 1\]"):
            study.budgets(wrong, "fgsm")
    assert study.budget((0.2,), "fgsm") == study.budget((0.2, 0.2), "fgsm") == 0.2
    with pytest.raises(ValueError, match=r"one budget of fgsm on digits, received \(0\.2, 0\.3\)"):
        study.budget((0.2, 0.3), "fgsm")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"epsilons": "axes"},
            r"budgets of profile tiny to be one of axis, voting, received 'axes'",
        ),
        ({"attacks": ("gust",)}, r"Unknown attack 'gust'. Known: fgsm, pgd, carlini_wagner"),
        (
            {"deciders": ("jury",)},
            "each decider to be one of target, retrained, .* received 'jury'",
        ),
        ({"threat": "white-box"}, "Unknown threat model 'white-box'"),
        ({"surrogates": ("argmin",)}, "surrogates for the threat model 'adaptive' alone"),
        ({"threat": "framework", "defenses": ("none",)}, "nothing to attack through"),
        ({"threat": "transfer"}, "a plan of digits with a substitute"),
    ],
)
def test_unknown_names_are_explained(dissertation, changes, message):
    run, study, _ = dissertation
    fields = {"threat": "oblivious", "attacks": ("fgsm",), "epsilons": (0.07,), "targets": ("A",)}
    with pytest.raises(ValueError, match=message):
        measure(Study(run.profile, study.models, study.rows), Grid(**{**fields, **changes}))


def test_what_a_plan_does_not_have_is_left_out(dissertation, no_models):
    run, study, _ = dissertation
    again = Study(run.profile, study.models, study.rows)
    grid = Grid(
        threat="oblivious",
        attacks=("fgsm",),
        epsilons=(0.07,),
        targets=("C", "puvae_a"),
        defenses=("none", "magnet"),
    )
    measure(again, grid)
    measure(again, dataclasses.replace(grid, targets=("A",), defenses=("magnet",)))
    assert again.measured == []


# -- keeping rows ---------------------------------------------------------------------------------


@pytest.fixture
def empty(dissertation, tmp_path) -> Study:
    run, study, _ = dissertation
    return Study(run.profile, study.models, RowStore(tmp_path, "tiny"))


def test_numbers_and_outcomes_become_rows(empty):
    right = Outcome(np.array([[True, True, False, False], [True, True, True, False]]))
    wanted = {
        "accuracy": empty.row(Scenario(), {}, defense="none", decider="vote"),
        "l1": empty.row(Scenario(), {}, defense="none", metric="l1"),
        "share": empty.row(Scenario(), {}, defense="none", metric="recovery_rate"),
    }
    empty.ensure(wanted, lambda: {"accuracy": right, "l1": 2.5, "share": float("nan")})
    found = {row.metric: row for row in empty.rows.read()}
    accuracy = found["accuracy"]
    assert (accuracy.value, accuracy.correct, accuracy.total) == (0.625, 5, 8)
    assert (found["l1"].value, found["l1"].total, found["l1"].flags) == (2.5, None, ())
    # A share of nothing has no value.
    assert (found["recovery_rate"].value, found["recovery_rate"].flags) == (0.0, ("undefined",))
    assert {row.seed for row in found.values()} == {empty.seed}
    assert empty.measured == [found[name] for name in ("accuracy", "l1", "recovery_rate")]


def test_a_row_that_is_there_is_kept_when_its_group_is_measured_again(empty):
    wanted = {name: empty.row(Scenario(), {}, defense="none", metric=name) for name in ("l1", "l2")}
    empty.ensure({"l1": wanted["l1"]}, lambda: {"l1": 1.0})
    empty.ensure(wanted, lambda: {"l1": 7.0, "l2": 2.0})
    empty.ensure(wanted, lambda: pytest.fail("measured again"))
    assert {row.metric: row.value for row in empty.rows.read()} == {"l1": 1.0, "l2": 2.0}


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        ({"l1": 1.0}, r"a number of \['l2'\] on digits, received those of \['l1'\]"),
        ({"l1": 1.0, "l2": float("nan")}, "value of a row to be a finite number"),
        ({"l1": float("inf"), "l2": 1.0}, "value of a row to be a finite number"),
        ({"l1": -1.0, "l2": 1.0}, "value of a row to be a finite number of at least 0"),
    ],
)
def test_what_is_no_measurement_is_no_row(empty, measured, message):
    wanted = {name: empty.row(Scenario(), {}, defense="none", metric=name) for name in ("l1", "l2")}
    with pytest.raises(ValueError, match=message):
        empty.ensure(wanted, lambda: measured)
    assert not empty.rows.has_any() and not empty.measured


def test_a_row_on_images_that_were_not_attacked_is_flagged(empty, monkeypatch):
    monkeypatch.setattr(empty.sets, "flags", lambda scenario: ("unmoved",) * (scenario.epsilon > 0))
    attacked = {"threat": "oblivious", "attacks": ("fgsm",), "epsilons": (0.0, 0.1)}
    measure(empty, Grid(**attacked, targets=("A",), defenses=("none",)))
    flags = {row.epsilon: row.flags for row in empty.rows.read()}
    assert flags == {0.0: (), 0.1: ("unmoved",)}


def test_the_worst_of_several_has_the_flags_of_each(puvae, tmp_path, monkeypatch):
    run, study, _ = puvae
    fresh = Study(run.profile, study.models, RowStore(tmp_path, "tiny"))
    monkeypatch.setattr(
        fresh.sets, "flags", lambda scenario: ("unmoved",) * (scenario.surrogate == "softmin")
    )
    adaptive = {"threat": "adaptive", "attacks": ("pgd",), "epsilons": (0.3,)}
    surrogates = ("argmin", "softmin")
    grid = Grid(**adaptive, targets=("puvae_b",), defenses=("puvae",), surrogates=surrogates)
    measure(fresh, grid)
    rows = fresh.rows.read()
    flags = {
        (row.settings["surrogate"], "worst_of" in row.settings, row.metric): row.flags
        for row in rows
    }
    error = "accuracy_gain_standard_error"
    assert flags == {
        ("argmin", False, "accuracy"): (),
        ("oblivious", False, "accuracy"): (),
        ("softmin", False, "accuracy"): ("unmoved",),
        ("worst", False, "accuracy"): ("unmoved",),
        ("worst", True, "accuracy"): ("unmoved",),
        ("worst", True, error): ("unmoved",),
    }


def test_a_configuration_is_everything_that_a_number_depends_on(empty):
    scenario = Scenario(threat="oblivious", attack="fgsm", epsilon=0.1, targets=("A",))

    def hashed(scenario=scenario, depends_on=None, **changes) -> str:
        return empty.row(scenario, depends_on or {"width": 1}, defense="x", **changes).config_hash

    assert hashed() == hashed() == hashed(settings={"target": "A"}) == hashed(metric="l1")
    assert hashed(dataclasses.replace(scenario, attack="pgd")) != hashed()
    assert hashed(depends_on={"width": 2}) != hashed()
    known = hashed()
    empty.sets.image_hash = "0" * 16
    assert hashed() != known


def test_an_attack_on_the_target_is_adaptive_for_nobody_else(dissertation, no_models):
    run, study, _ = dissertation
    dry = Study(run.profile, study.models, run.rows, dry_run=True)
    deciders = ("target", "mean_voter", "vote", "vote_bayes")
    grid = {"attacks": ("pgd",), "epsilons": (0.1,), "targets": ("A",), "deciders": deciders}
    measure(dry, Grid(threat="adaptive", defenses=("sfl_vae",), **grid))
    found = {row.decider: row.threat_model for row in dry.planned}
    assert found.pop("target") == "adaptive"
    assert set(found) == {"mean_voter", "vote", "vote_bayes"}
    assert set(found.values()) == {"framework_transfer"}


def test_the_worst_of_other_surrogates_is_another_measurement(puvae, no_models):
    run, study, _ = puvae
    planned = {}
    for surrogates in (("argmin",), ("argmin", "softmin")):
        dry = Study(run.profile, study.models, run.rows, dry_run=True)
        grid = {"attacks": ("pgd",), "epsilons": (0.3,), "targets": ("puvae_b",)}
        measure(dry, Grid(threat="adaptive", defenses=("puvae",), surrogates=surrogates, **grid))
        planned[surrogates] = {r.settings["surrogate"]: r.config_hash for r in dry.planned}
    one, two = planned.values()
    assert one["argmin"] == two["argmin"]
    assert one["worst"] != two["worst"]


def test_bits_stay_with_the_row_that_stays(dissertation, tmp_path):
    run, study, _ = dissertation
    fresh = Study(run.profile, study.models, RowStore(tmp_path, "tiny"))
    rows = {
        name: fresh.row(Scenario(targets=("A",)), {"n": 1}, defense="none", decider=name)
        for name in ("vote", "vote_bayes")
    }
    right, wrong = Outcome(np.ones((1, 8), bool)), Outcome(np.zeros((1, 8), bool))
    fresh.ensure({"vote": rows["vote"]}, lambda: {"vote": right})
    fresh.ensure(rows, lambda: {"vote": wrong, "vote_bayes": wrong})
    stored = [fresh.rows.get(row.place) for row in rows.values()]
    assert [row.correct for row in stored] == [8, 0]
    bits = [fresh.outcomes.get(row).counts for row in stored]
    assert bits == [(8, 8), (0, 8)]


def test_an_attack_without_a_budget_says_how_often_it_reached_its_goal(puvae):
    _, study, _ = puvae
    rows = rows_where(study, {"metric": "attack_success"})
    assert {row.attack for row in rows} == {"targeted_carlini_wagner"}
    found = {(row.defense, row.settings["target"]): row for row in rows}
    assert {(name, row.threat_model) for (name, _), row in found.items()} == {
        ("none", "oblivious"),
        ("adversarial_training", "adaptive"),
    }
    for (defense, target), row in found.items():
        name = target if defense == "none" else f"{target}{ADVERSARIAL}"
        scenario = Scenario(
            threat=row.threat_model, attack=row.attack, epsilon=UNBOUNDED, targets=(name,)
        )
        images = study.sets.images(scenario)
        said = study.models.target(name).predict(images, verbose=0).argmax(axis=1)
        assert row.value == np.mean(said == study.sets.goal_labels)
        assert row.value > 0.5


def test_what_explains_accuracies_is_measured_beside_them(puvae):
    _, study, _ = puvae
    data, attack = study.data, "targeted_fgsm"
    facing = Scenario(threat="oblivious", attack=attack, epsilon=0.3, targets=("puvae_b",))
    images = study.sets.images(facing)
    means = np.stack([data.train.images[data.train.labels == c].mean(axis=0) for c in range(10)])
    nearest = ((images[:, np.newaxis] - means) ** 2).sum(axis=(2, 3, 4)).argmin(axis=1)
    where = {"attack": attack, "target": "puvae_b", "threat_model": "oblivious"}
    (row,) = rows_where(study, {**where, "defense": "class_means"})
    assert (row.correct, row.decider) == ((nearest == data.test.labels).sum(), "class_means")

    (refused,) = rows_where(study, {**where, "metric": "refused"})
    magnet, target = study.models.purifier("magnet"), study.models.target("puvae_b")
    detectors = published_detectors(magnet, target, data.validation.images)
    assert refused.value == np.mean(~accepted_by_all(detectors, images))

    chosen = rows_where(study, {**where, "metric": "chosen_class"})
    assert {row.defense for row in chosen} == {"puvae", "puvae_noisy"}
    for row in chosen:
        model = study.models.purifier(row.defense)
        shares = [
            np.mean(np.asarray(model.project(images).labels) == data.test.labels) for _ in range(4)
        ]
        assert min(shares) - 0.1 <= row.value <= max(shares) + 0.1
