"""A fair profile: each decider behind a purifier is attacked itself, and deciders are equal."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from defenses.defended_classifier import DefendedClassifier
from experiments import deciders, presets, probes, victims
from experiments.artifacts import ArtifactStore
from experiments.attacked_sets import UNBOUNDED, AttackedSets, Scenario, oblivious
from experiments.datasets import Dataset, Split
from experiments.deciders import aims, attacked_themselves, defended, families
from experiments.evidence import conditional_tables
from experiments.measure import Study, measure
from experiments.scheduler import measure_exhibit
from experiments.training import TrainedModels
from papers import catalog, lines
from results.exhibit import PRESENT, Grid, Probe
from results.figures import draw
from results.markdown import sheet_table
from results.sheet import fill
from results.store import RowStore
from tests.tiny_profile import fair_profile, later_profile, rows_where, study_of, tiny_run

ALL = ("target", "mean_voter", "vote", "vote_bayes", "vote_bayes_heldout", "retrained")
POOLED = ("sfl_vae", "defense_cyclegan_noisy")
THROUGH = {
    "threat": "framework",
    "targets": ("A", "B"),
    "epsilons": (0.1,),
    "deciders": ALL,
    "defenses": POOLED,
    "compared": True,
}


@pytest.fixture(scope="module")
def study(tmp_path_factory, uncompiled) -> Study:
    """Every decider behind every purifier under FGSM, oblivious and through the whole defense."""
    found = study_of(tiny_run(tmp_path_factory.mktemp("fair"), fair_profile()))
    measure(found, Grid(attacks=("fgsm",), **THROUGH))
    oblivious = {**THROUGH, "threat": "oblivious", "targets": ("A",), "epsilons": (0.0, 0.1)}
    measure(found, Grid(attacks=("fgsm",), **oblivious))
    return found


def planned(study: Study, folder, **changes) -> Study:
    """The rows that a changed plan or profile would have of the vote behind SFL-VAE."""
    profile = dataclasses.replace(study.profile, **changes.pop("profile", {}))
    plan = dataclasses.replace(study.plan, **changes)
    models = TrainedModels(plan, study.data, study.models.store, study.seed)
    dry = Study(profile, models, RowStore(folder, "tiny"), dry_run=True)
    grid = {**THROUGH, "defenses": ("sfl_vae",), "compared": False}
    for attack in ("fgsm", "carlini_wagner"):
        measure(dry, Grid(attacks=(attack,), **grid))
    return dry


def hashes(dry: Study) -> dict:
    return {(row.attack, *row.place): row.config_hash for row in dry.planned}


# -- who is attacked ------------------------------------------------------------------------------


def test_every_aim_of_a_decider_is_one_of_an_attack():
    assert set(deciders.AIMS.values()) == set(victims.AIMS)
    assert {*deciders._POOL, "retrained", "detectors"} == set(deciders.AIMS) <= {*deciders.DECIDERS}


def test_deciders_are_grouped_by_what_is_attacked_for_them():
    assert aims(ALL) == {
        "target": ("target",),
        "vote": ("mean_voter", "vote"),
        "vote_bayes": ("vote_bayes", "vote_bayes_heldout", "target"),
        "retrained": ("retrained",),
    }
    assert aims(("target",)) == {"target": ("target",)}
    assert attacked_themselves("vote") == ("vote",)
    assert attacked_themselves("vote_bayes") == ("vote_bayes", "vote_bayes_heldout")


def test_each_decider_is_attacked_itself_or_says_that_it_was_not(study):
    found = {
        (row.defense, row.decider, row.settings["target"], row.settings.get("retrained", False))
        + (row.settings["aimed"], row.threat_model)
        for row in rows_where(study, {"threat_model": ("framework", "framework_transfer")})
        if row.metric == "accuracy" and row.settings.get("tables") is None
    }
    own, other = "framework", "framework_transfer"
    assert found == {
        one
        for target in "AB"
        for defense in (*POOLED, "magnet")
        for one in (
            (defense, "target", target, False, "target", own),
            *([(defense, "target", "A", True, "retrained", own)] if target == "A" else []),
            *(
                [
                    (defense, "vote", target, False, "vote", own),
                    (defense, "mean_voter", target, False, "vote", other),
                    (defense, "vote_bayes", target, False, "vote_bayes", own),
                    (defense, "target", target, False, "vote_bayes", other),
                ]
                if defense in POOLED
                else []
            ),
        )
    }


def test_a_set_is_made_for_each_decider_and_one_for_all_votes(study):
    folder = study.models.store.root / "attacked_sets"
    made = [path for path in folder.iterdir() if not path.name.startswith(".")]
    # Behind each pool two targets, one of them retrained, two updates and the vote; two targets
    # and one retrained behind MagNet; one on A alone.
    assert len(made) == 2 * (2 + 1 + 2 + 1) + (2 + 1) + 1


@pytest.mark.parametrize(
    ("aimed", "count"), [("target", 1), ("retrained", 1), ("vote", 2), ("vote_bayes", 3)]
)
def test_an_attack_runs_through_the_mean_of_all_who_are_asked(study, aimed, count):
    models = study.models
    victim = study.sets.victims.aimed("sfl_vae", aimed, "A", 2)
    purifier = models.purifier("sfl_vae")
    assert victim.purifier is purifier and len(victim.classifiers) == count
    asked = {
        "target": [models.target("A")],
        "retrained": [models.retrained("sfl_vae", "A")],
        "vote": models.voters("sfl_vae"),
        "vote_bayes": [*models.voters("sfl_vae"), models.target("A")],
    }[aimed]
    images = study.data.test.images[:4]
    purifier.reset_randomness(3)
    draws = [purifier(images, training=False) for _ in range(2)]
    each = [np.asarray(classifier(draw, training=False)) for draw in draws for classifier in asked]
    shares = [np.exp(logits - np.logaddexp.reduce(logits, axis=1)[:, None]) for logits in each]
    purifier.reset_randomness(3)
    found = np.exp(np.asarray(victim(images)))
    np.testing.assert_allclose(found, np.mean(shares, axis=0), atol=1e-5)


def test_a_purifier_without_randomness_is_drawn_once(study):
    assert study.sets.victims.aimed("defense_cyclegan_noisy", "vote", "", 2).num_draws == 1
    assert study.sets.victims.aimed("sfl_vae", "vote", "", 2).num_draws == 2


def test_the_images_of_a_decider_fool_its_own_model_most(study):
    """An attack on the mean of the pool leaves the mean of the pool less than its clean images."""
    scenario = Scenario(
        threat="framework",
        attack="fgsm",
        epsilon=0.1,
        targets=("A", "B"),
        through="defense_cyclegan_noisy",
        num_draws=2,
        aimed="vote",
    )
    victim: DefendedClassifier = study.sets.victims.aimed("defense_cyclegan_noisy", "vote", "", 2)
    clean, labels = study.data.test.images, study.data.test.labels
    attacked = study.sets.images(scenario)

    def certainty(images):
        return np.asarray(victim(images))[np.arange(len(labels)), labels].mean()

    assert certainty(attacked) < certainty(clean)
    assert np.abs(attacked - clean).max() <= 0.1 + 1e-6
    limited = dataclasses.replace(scenario, through="sfl_vae")
    assert len(study.sets.images(limited)) == 20


# -- what figures measure beside accuracies -------------------------------------------------------


def test_the_smallest_perturbations_stand_below_the_figure(study):
    grid = {**THROUGH, "threat": "oblivious", "targets": ("A",), "compared": False}
    exhibit = lines.accuracy_curves(
        "003.F9.9",
        "",
        ("cifar10",),
        Grid(attacks=("carlini_wagner",), **{**grid, "defenses": ("none", "magnet")}),
        [lines.NONE, lines.with_target("magnet")],
        native="carlini_wagner_native",
    )
    measure_exhibit(study, exhibit)
    scenario = oblivious("carlini_wagner_native", UNBOUNDED, "A")
    change = study.sets.images(scenario) - study.data.test.images
    lengths = np.linalg.norm(change.reshape(len(change), -1), axis=1)
    (row,) = rows_where(study, {"metric": "l2", "attack": "carlini_wagner_native"})
    assert row.value == pytest.approx(lengths.mean(), rel=1e-5)
    sheet = fill(exhibit, "digits", study.rows.read("digits"))
    said = study.models.target("A").predict(study.sets.images(scenario), verbose=0).argmax(1)
    errs = 100 * (said != study.data.test.labels).mean()
    text = sheet_table(sheet)
    assert f"the bare classifier errs on {errs:.1f} % of the images, at a mean L2" in text
    assert "ε = 1 " not in text and "| MagNet + target |" in text.split("no budget")[-1]
    figure = draw(sheet, profile="tiny")
    assert figure.axes
    unfair = Study(
        dataclasses.replace(study.profile, fair=False), study.models, study.rows, dry_run=True
    )
    measure_exhibit(unfair, exhibit)
    assert {row.attack for row in unfair.planned} == {"none", "carlini_wagner"}


def test_a_sweep_is_of_one_weight(study):
    exhibit = catalog.exhibit("003.S3.sfl_weight")
    measure_exhibit(study, exhibit)
    rows = rows_where(study, {"sfl_weight": PRESENT})
    assert {row.settings["sfl_weight"] for row in rows} == {0.0, 10.0}
    places = {(row.metric, row.attack, row.epsilon) for row in rows}
    assert places == {(m, *at) for m in ("l1", "l2") for at in (("none", 0.0), ("fgsm", 0.1))}
    assert len(rows) == 8 and not any("kl_weight" in row.settings for row in rows)
    measure_exhibit(study, catalog.exhibit("003.S3.kl_weight"))
    swept = rows_where(study, {"kl_weight": PRESENT})
    assert {row.settings["kl_weight"] for row in swept} == {1.0} and len(swept) == 2
    sheet = fill(exhibit, "digits", study.rows.read("digits"))
    assert [line.label for line in sheet.panels[0].lines] == ["weight 0", "weight 10"]


def test_readings_are_compared_on_validation_images(study):
    probe = Probe("readings", {"purifiers": ("magnet", "vqunet"), "target": "A"})
    probes.run(study, "003.S5.reading", probe)
    rows = rows_where(study, {"split": "validation"})
    assert {row.defense for row in rows} == {"magnet"}
    found = {(row.metric, row.settings.get("retrained", False)): row for row in rows}
    images, labels = study.data.validation.images, study.data.validation.labels
    purified = study.models.purifier("magnet").purify(images)
    l1 = np.abs(purified.astype(np.float64) - images).sum(axis=(1, 2, 3))
    assert found["l1", False].value == pytest.approx(l1.mean(), rel=1e-6)
    for retrained in (False, True):
        model = study.models.retrained("magnet", "A") if retrained else study.models.target("A")
        right = model.predict(purified, verbose=0).argmax(1) == labels
        row = found["accuracy", retrained]
        assert (row.correct, row.total) == (right.sum(), len(labels))


def test_distances_are_of_the_images_that_were_attacked(study, tmp_path):
    plan = dataclasses.replace(study.plan, attacked_through={"A": 10})
    models = TrainedModels(plan, study.data, study.models.store, study.seed)
    limited = Study(study.profile, models, RowStore(tmp_path, "tiny"))
    settings = {"attack": "fgsm", "target": "A", "purifiers": ("magnet",)}
    probes.run(limited, "003.F3.2", Probe("distances", settings))
    (row,) = rows_where(limited, {"metric": "l2", "attack": "fgsm"})
    attacked = limited.sets.images(oblivious("fgsm", 0.1, "A"))
    assert len(attacked) == 10
    change = models.purifier("magnet").purify(attacked) - study.data.test.images[:10]
    expected = np.linalg.norm(change.reshape(10, -1), axis=1).mean()
    assert row.value == pytest.approx(expected, rel=1e-5)


# -- what an attack depends on --------------------------------------------------------------------


def test_rows_of_an_attack_know_its_draws_and_its_margin(study, tmp_path):
    known = hashes(planned(study, tmp_path))
    assert len(known) == len(planned(study, tmp_path).planned)
    more = hashes(planned(study, tmp_path, framework_draws=3))
    assert known.keys() == more.keys() and not set(known.values()) & set(more.values())
    wider = hashes(planned(study, tmp_path, framework_confidence=3.0))
    changed = {place[0] for place in known if known[place] != wider[place]}
    assert changed == {"carlini_wagner"}


def test_an_attack_asks_for_its_margin_only_through_a_defense(study):
    sets = study.sets
    through = {"threat": "framework", "epsilon": 0.1, "targets": ("A",), "through": "sfl_vae"}
    aimed = Scenario(attack="carlini_wagner", aimed="target", **through)
    assert sets.margin(aimed) == 2.0
    assert sets.margin(dataclasses.replace(aimed, aimed=None)) is None
    assert sets.margin(dataclasses.replace(aimed, attack="fgsm")) is None


def test_images_that_are_misread_by_less_than_the_margin_are_searched_too(study, monkeypatch):
    """A linear model that sees class 0 by about one unit, whatever the image."""
    flat = keras.layers.Flatten()
    head = keras.layers.Dense(10)
    model = keras.Sequential([keras.Input((28, 28, 1)), flat, head])
    weights = np.random.default_rng(0).normal(scale=0.04, size=(784, 10)).astype("float32")
    head.set_weights([weights, np.eye(10, dtype="float32")[0]])
    scenario = Scenario(
        threat="framework",
        attack="carlini_wagner",
        epsilon=0.1,
        targets=("A",),
        through="sfl_vae",
        aimed="target",
    )
    moved = {}
    for margin in (0.0, 2.0):
        plan = dataclasses.replace(study.plan, framework_confidence=margin)
        models = TrainedModels(plan, study.data, study.models.store, study.seed)
        sets = AttackedSets(study.profile, models)
        monkeypatch.setattr(sets.victims, "aimed", lambda *_: model)
        change = np.abs(sets.images(scenario) - study.data.test.images[:20])
        moved[margin] = change.reshape(20, -1).max(axis=1) > 1e-6
    logits = model.predict(study.data.test.images[:20], verbose=0)
    misread = logits.argmax(axis=1) != study.data.test.labels[:20]
    lead = logits.max(axis=1) - logits[np.arange(20), study.data.test.labels[:20]]
    narrowly = misread & (lead < 2)
    assert narrowly.sum() > 10
    assert not moved[0.0][misread].any() and moved[0.0].any()
    assert moved[2.0][narrowly].all()


def test_an_unfair_profile_is_as_it_was(study, tmp_path):
    dry = planned(study, tmp_path, profile={"fair": False})
    assert not any("aimed" in row.settings or row.metric != "accuracy" for row in dry.planned)
    assert {row.threat_model for row in dry.planned if row.decider == "vote"} == {"framework"}
    targets = [row for row in dry.planned if row.decider == "target"]
    assert {row.threat_model for row in targets} == {"framework_transfer"}


# -- equal deciders -------------------------------------------------------------------------------


def test_the_same_classifier_is_retrained_behind_every_purifier():
    later = later_profile().plans["digits"]
    for defense in ("sfl_vae", "defense_cyclegan", "defense_vae", "defense_gan"):
        who = defended(later, defense, "A")
        (found,) = families(later, who, ALL, fair=True)
        assert found[-1] == "retrained", defense
        assert set(families(later, who, ALL)[0]) <= set(found)
    # A search for each image does not reach the whole training set.
    searched = dataclasses.replace(later, purified={"defense_gan": 10})
    gan = defended(searched, "defense_gan", "A")
    assert families(searched, gan, ALL, fair=True) == [("target",)]
    substitute = defended(later, "sfl_vae", "substitute_0")
    assert "retrained" not in families(later, substitute, ALL, fair=True)[0]


def test_whole_pools_vote_where_a_plan_says_so(study):
    plan = study.plan
    assert (plan.num_drawn("sfl_vae"), plan.num_drawn("defense_cyclegan_noisy")) == (1, 2)
    found = {
        (row.defense, row.settings["drawn"])
        for row in rows_where(study, {"decider": ("vote", "vote_bayes")})
    }
    assert found == {("sfl_vae", 1), ("defense_cyclegan_noisy", 2)}


def test_voters_drawn_enter_the_rows_of_their_pool_alone(study, tmp_path):
    assert hashes(planned(study, tmp_path)) == hashes(
        planned(study, tmp_path, drawn={"defense_cyclegan_noisy": 1})
    )
    both = hashes(planned(study, tmp_path, drawn={"sfl_vae": 2}))
    changed = {row.decider for row in planned(study, tmp_path).planned} - {
        place[3] for place in hashes(planned(study, tmp_path)) if place in both
    }
    assert changed == {"vote", "vote_bayes"}


# -- what the update decides ----------------------------------------------------------------------


def test_the_share_that_the_update_overrules_stands_beside_it(study):
    rows = rows_where(study, {"metric": "overruled", "defense": "defense_cyclegan_noisy"})
    places = {(row.attack, row.threat_model, row.settings.get("tables")) for row in rows}
    assert places == {
        (*where, tables)
        for where in (("none", "none"), ("fgsm", "oblivious"), ("fgsm", "framework"))
        for tables in (None, "heldout")
    }
    (row,) = rows_where(
        study,
        {
            "metric": "overruled",
            "defense": "defense_cyclegan_noisy",
            "attack": "none",
            "tables": "heldout",
        },
    )
    models = study.models
    purified = study.purified("defense_cyclegan_noisy", study.data.test.images)
    each = np.stack(
        [v.predict(purified, verbose=0).argmax(1) for v in models.voters("defense_cyclegan_noisy")]
    )
    own = models.target("A").predict(purified, verbose=0).argmax(1)
    tables = conditional_tables(models, "defense_cyclegan_noisy", "A", "heldout")
    agreeing = each[0] == each[1]
    assert agreeing.any()
    votes = each[0][agreeing]
    overruled = (tables.decide(own[agreeing], votes) != votes).sum()
    # Where the two voters differ the vote is a toss.
    least, most = overruled / len(own), (overruled + (~agreeing).sum()) / len(own)
    assert least <= row.value <= most
    assert (row.correct, row.total) == (None, None)


def test_what_no_decider_measures_beside_itself_is_refused(study):
    with pytest.raises(ValueError, match="no share beside the accuracy of 'vote', received 'over"):
        deciders.DECIDERS["vote"].share("overruled", None, "A")


# -- the profile of the papers --------------------------------------------------------------------


def test_the_papers_profile_plans_one_configuration_for_each_place(tmp_path):
    profile = presets.profile("paper")
    split = Split(np.zeros((1, 28, 28, 1), np.float32), np.zeros(1, np.int64))
    data = Dataset("fashion_mnist", split, split, split, tuple("0123456789"), "0" * 16)
    models = TrainedModels(profile.plans[data.name], data, ArtifactStore(tmp_path), 0)
    dry = Study(profile, models, RowStore(tmp_path, "paper"), dry_run=True)
    for exhibit in ("003.F3.10", "003.F4.4", "003.T5.1", "003.S5.reading"):
        measure_exhibit(dry, catalog.exhibit(exhibit))
    found: dict = {}
    for row in dry.planned:
        assert found.setdefault(row.place, row.config_hash) == row.config_hash, row.place
        through = row.threat_model in ("framework", "framework_transfer")
        assert through == ("aimed" in row.settings)
    compared = {row.defense for row in dry.planned if row.threat_model == "framework"}
    assert {"vqunet", "magnet"} < compared
    retrained = {row.defense for row in dry.planned if row.settings.get("retrained")}
    assert retrained == {
        *("sfl_vae", "defense_cyclegan", "defense_cyclegan_noisy", "defense_vae", "defense_gan"),
        *("vqunet", "vqunet_literal", "vqunet_reconstruction", "magnet"),
    }
    whole = {
        row.settings["drawn"]
        for row in dry.planned
        if row.defense == "defense_cyclegan_noisy" and row.decider == "vote"
    }
    assert whole == {12}
    assert not list(tmp_path.iterdir())
