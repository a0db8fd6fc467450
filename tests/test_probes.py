"""What is measured beside accuracies: distances, features, votes, seconds, weights, pictures."""

from __future__ import annotations

import dataclasses
import itertools
import re

import numpy as np
import pytest

from defenses.defense_gan import DefenseGAN
from defenses.feature_diagnostics import feature_diagnostics
from defenses.puvae import PuVAE
from experiments import probes
from experiments.attacked_sets import Scenario
from experiments.measure import Study
from experiments.probes import timing, voting
from experiments.runs import draw, is_drawn
from experiments.scheduler import measure_exhibit
from papers import catalog
from results.exhibit import ABSENT, PRESENT, Probe
from results.pictures import load_pictures
from results.store import RowStore
from tests.tiny_profile import codes_profile, puvae_profile, rows_where, study_of, tiny_run

DISSERTATION = ("003.F1.1", "003.F5.7", "003.F5.8", "003.F5.10", "003.T4.1", "003.S3.kl_weight")
PUVAE = ("004.F4", "004.F7", "004.T7", "004.F9")
CLEAN = Scenario()


def measured(folder, profile, exhibits):
    """A run whose exhibits were measured, and its study."""
    run = tiny_run(folder, profile, exhibits)
    study = study_of(run)
    for exhibit in run.exhibits:
        measure_exhibit(study, exhibit)
    return run, study


@pytest.fixture(scope="module")
def dissertation(tmp_path_factory, uncompiled):
    return measured(tmp_path_factory.mktemp("later"), codes_profile(), DISSERTATION)


@pytest.fixture(scope="module")
def puvae(tmp_path_factory, uncompiled):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "WIDTH", 0.1)
        patch.setattr(timing, "REPEATS", 2)
        yield measured(tmp_path_factory.mktemp("puvae"), puvae_profile(), PUVAE)


@pytest.fixture(scope="module")
def later(dissertation) -> Study:
    return dissertation[1]


@pytest.fixture(scope="module")
def timed(puvae) -> Study:
    return puvae[1]


def oblivious(attack: str, epsilon: float, target: str) -> Scenario:
    return Scenario(threat="oblivious", attack=attack, epsilon=epsilon, targets=(target,))


def says(study: Study, target: str, images: np.ndarray) -> np.ndarray:
    return study.models.target(target).predict(images, verbose=0).argmax(axis=1)


# -- all of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dissertation", "puvae"])
def test_every_exhibit_has_rows_or_pictures_and_a_figure(name, request):
    run, study = request.getfixturevalue(name)
    for exhibit in run.exhibits:
        if not exhibit.implemented:
            continue
        there = study.picture_path(exhibit.id).is_file()
        assert there or rows_where(study, exhibit.where), exhibit.id
        if exhibit.draw is not None:
            draw(run, exhibit, study.dataset)
            assert is_drawn(run, exhibit, study.dataset), exhibit.id


@pytest.mark.parametrize("name", ["dissertation", "puvae"])
def test_what_is_there_is_not_measured_again(name, request, monkeypatch):
    run, study = request.getfixturevalue(name)
    files = [*study.rows.folder.glob("*.csv"), *study.rows.folder.glob("*.npz")]
    before = [path.read_bytes() for path in files]
    again = Study(run.profile, study.models, study.rows)
    for model in ("target", "purifier"):
        monkeypatch.setattr(type(study.models), model, lambda *_: pytest.fail("a model"))
    for exhibit in run.exhibits:
        measure_exhibit(again, exhibit)
    assert again.measured == []
    assert [path.read_bytes() for path in files] == before


@pytest.mark.parametrize("name", ["dissertation", "puvae"])
def test_a_dry_run_plans_the_same_rows_and_keeps_nothing(name, request, tmp_path):
    run, study = request.getfixturevalue(name)
    dry = Study(run.profile, study.models, RowStore(tmp_path, "tiny"), dry_run=True)
    for exhibit in run.exhibits:
        measure_exhibit(dry, exhibit)
    planned = {row.place: row.config_hash for row in dry.planned}
    assert planned == {row.place: row.config_hash for row in study.rows.read("digits")}
    assert not list(tmp_path.iterdir())


def test_an_unknown_probe_lists_the_known_ones(later):
    with pytest.raises(ValueError, match=r"a probe .* distances, clean_dist.*received 'weather'"):
        probes.run(later, "009.F1", Probe("weather"))


@pytest.mark.parametrize(
    ("probe", "settings", "message"),
    [
        ("projections", {"defense": "puvae", "epsilon": (0.1,)}, "Expected puvae before one of"),
        ("loss_weights", {"defense": "puvae", "epsilon": (0.1,)}, "Expected puvae before one of"),
        ("accuracy_against_time", {"epsilon": (0.1,), "images": 8}, "Expected one of the classif"),
    ],
)
def test_what_a_plan_does_not_have_is_named(later, probe, settings, message):
    known = {"attacks": ("fgsm",)} if "time" in probe else {"attack": "fgsm"}
    with pytest.raises(ValueError, match=rf"{message}.*\['puvae_a'\].*Add one to the profile"):
        probes.run(later, "009.F1", Probe(probe, {"targets": ("puvae_a",), **known, **settings}))


@pytest.mark.parametrize(
    ("probe", "settings", "message"),
    [
        ("clean_distances", {"norms": ("l3",)}, "each distance to be one of l2, l1, received 'l3'"),
        ("voting", {"metrics": ("recovery",)}, "each statistic of a pool to be one of recovery_r"),
        ("seconds", {"images": 0}, "images of a timed batch to be an integer of at least 1"),
        ("accuracy_against_time", {"images": 8.5}, "images of a timed batch to be an integer"),
        ("example_images", {"epsilon": float("nan")}, "epsilon of example images to be a finite"),
    ],
)
def test_settings_of_a_probe_are_checked(later, tmp_path, monkeypatch, probe, settings, message):
    monkeypatch.setattr(later, "picture_path", lambda exhibit: tmp_path / "absent.npz")
    usual = {
        "clean_distances": {"purifiers": ("sfl_vae",)},
        "voting": {"attack": "fgsm", "target": "A", "purifier": "sfl_vae"},
        "seconds": {},
        "accuracy_against_time": {"targets": ("A",), "attacks": ("fgsm",), "epsilon": (0.1,)},
        "example_images": {"purifier": "sfl_vae", "target": "A", "attack": "fgsm"},
    }
    with pytest.raises(ValueError, match=message):
        probes.run(later, "009.F1", Probe(probe, {**usual[probe], **settings}))


# -- distances ------------------------------------------------------------------------------------


def lengths(study: Study, purifier: str, scenario: Scenario, order: int) -> np.ndarray:
    purified = study.purified(purifier, study.sets.images(scenario)).astype(np.float64)
    return np.linalg.norm((purified - study.data.test.images).reshape(40, -1), order, axis=1)


@pytest.mark.parametrize(("metric", "order"), [("l1", 1), ("l2", 2)])
@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_a_gain_in_distance_is_judged_image_by_image(later, metric, order, epsilon):
    scenario = oblivious("fgsm", 0.1, "wide_resnet") if epsilon else CLEAN
    where = {"epsilon": epsilon, "target": "wide_resnet" if epsilon else ABSENT}
    values = {
        (row.defense, row.metric): row.value
        for row in rows_where(later, {**where, "decider": "none", "mean_latent": ABSENT})
    }
    own, other = (lengths(later, name, scenario, order) for name in ("vqunet", "non_vqunet"))
    np.testing.assert_allclose(values["vqunet", metric], own.mean(), rtol=1e-5)
    np.testing.assert_allclose(values["non_vqunet", metric], other.mean(), rtol=1e-5)
    error = own.std(ddof=1) / np.sqrt(40)
    np.testing.assert_allclose(values["vqunet", f"{metric}_standard_error"], error, rtol=1e-4)
    gain = (own - other).std(ddof=1) / np.sqrt(40)
    np.testing.assert_allclose(values["vqunet", f"{metric}_gain_standard_error"], gain, rtol=1e-4)


def test_clean_reconstructions_are_measured_by_l1(later):
    rows = rows_where(later, {"metric": "l1", "attack": "none", "kl_weight": ABSENT})
    values = {row.defense: row.value for row in rows}
    assert {"sfl_vae", "defense_cyclegan", "defense_cyclegan_4"} <= set(values)
    clean = later.data.test.images
    difference = later.purified("defense_cyclegan", clean) - clean
    expected = np.abs(difference).sum(axis=(1, 2, 3)).mean()
    np.testing.assert_allclose(values["defense_cyclegan"], expected, rtol=1e-5)
    assert not any("target" in row.settings for row in rows)


def test_a_sweep_measures_every_weight_in_both_readings(later):
    rows = rows_where(later, {"kl_weight": PRESENT})
    readings = {(row.settings["kl_weight"], row.settings["mean_latent"]) for row in rows}
    assert readings == {(w, mean) for w in (1, 0.1) for mean in (False, True)}
    assert {(row.defense, row.metric, row.attack) for row in rows} == {("sfl_vae", "l1", "none")}
    (mean,) = rows_where(later, {"kl_weight": 0.1, "mean_latent": True})
    trained = later.models.purifier("sfl_vae_kl_weight_0.1")
    clean = later.data.test.images
    z_mean = trained.encoder.predict(clean, verbose=0)[0]
    decoded = trained.decoder.predict(z_mean, verbose=0)
    expected = np.abs(decoded - clean).sum(axis=(1, 2, 3)).mean()
    np.testing.assert_allclose(mean.value, expected, rtol=1e-4)


# -- features and votes ---------------------------------------------------------------------------


def test_features_change_under_attack_alone(later):
    rows = rows_where(later, {"metric": "feature_change"})
    assert {row.defense for row in rows} == {"vqunet", "vqunet_literal", "non_vqunet"}
    assert {row.settings["stage"] for row in rows} == {"pre"}
    assert {row.settings["depth"] for row in rows} == {1, 2, 3}
    assert all((row.value == 0) == (row.epsilon == 0) for row in rows)
    indices = rows_where(later, {"metric": "index_change"})
    assert len(indices) == 3 * 2 and not any("stage" in row.settings for row in indices)
    assert all(0 <= row.value <= 1 for row in indices)
    assert all(row.value == 0 for row in indices if row.epsilon == 0)


def test_changes_are_those_inside_the_purifier(later):
    attacked = later.sets.images(oblivious("fgsm", 0.1, "wide_resnet"))
    found = feature_diagnostics(later.models.purifier("vqunet"), later.data.test.images, attacked)
    for depth in found.depths[:3]:
        where = {"defense": "vqunet", "epsilon": 0.1, "depth": depth.depth, "target": "wide_resnet"}
        values = {row.metric: row.value for row in rows_where(later, where)}
        assert values == pytest.approx(
            {
                "feature_change": depth.pre_change,
                "feature_change_relative": depth.relative_pre_change,
                "feature_change_spread": depth.spread_pre_change,
                "index_change": depth.changed_index_percent / 100,
            }
        )


def test_voters_are_analysed_for_every_size_of_the_pool(later, tmp_path, monkeypatch):
    plan = dataclasses.replace(later.plan, voters=later.plan.voters * 3)
    profile = dataclasses.replace(later.profile, plans={"digits": plan}, voting_subsets=20)
    run = dataclasses.replace(tiny_run(tmp_path, profile), artifacts_dir=later.models.store.root)
    study = study_of(run)
    # Three voters: on the first half of the images two err alike, then all are right.
    truth = study.data.test.labels
    said = np.stack([truth, truth, truth], axis=1)
    said[:20, :2] = (truth[:20, np.newaxis] + 1) % 10
    monkeypatch.setattr(voting, "vote_predictions", lambda *_: said)
    settings = {"attack": "fgsm", "target": "A", "purifier": "sfl_vae"}
    probes.run(study, "009.F1", Probe("voting", {**settings, "metrics": tuple(voting.STATISTICS)}))
    found = {(row.metric, row.settings["voters"]): row.value for row in study.rows.read()}
    # Of pairs: one errs alike on 20 of 20; of the other two one voter errs alone, and half of the
    # ties go its way. All three: the wrong ones win, and nobody is wrong with all.
    assert found == pytest.approx(
        {
            ("recovery_rate", 2): (0 + 0.5 + 0.5) / 3,
            ("recovery_rate", 3): 0,
            ("overlap_wrong", 2): (1 + 0 + 0) / 3,
            ("overlap_wrong", 3): 0,
            ("overlap_correct", 2): (20 / 20 + 20 / 30 + 20 / 30) / 3,
            ("overlap_correct", 3): 20 / (80 / 3),
        }
    )
    assert {(row.decider, row.defense, row.epsilon) for row in study.rows.read()} == {
        ("vote", "sfl_vae", 0.1)
    }


# -- PuVAE ----------------------------------------------------------------------------------------


def test_seconds_are_those_of_fresh_networks_of_one_width(timed):
    rows = rows_where(timed, {"metric": "seconds", "target": ABSENT})
    found = {(row.defense, row.settings.get("passes", 1)): row for row in rows}
    assert set(found) == {("magnet", 1), ("defense_gan", 1), ("puvae", 1), ("puvae", 10)}
    assert all(row.value > 0 and row.settings["width"] == 0.1 for row in rows)
    assert found["puvae", 1].value < found["puvae", 10].value
    assert found["defense_gan", 1].settings == {
        "images": 128,
        "repeats": 2,
        "restarts": 2,
        "steps": 4,
        "timed_steps": 2,
        "width": 0.1,
    }


def test_full_passes_choose_the_nearest_candidate(timed):
    puvae = PuVAE.narrow(timed.models.purifier("puvae"))
    images = timed.data.test.images[:5]
    purified = timing._full_passes(puvae, images)()
    quiet = PuVAE(puvae.encoder, puvae.decoder, noise_scale=0.0)
    np.testing.assert_allclose(purified, quiet.purify(images), atol=1e-5)


def test_the_whole_time_of_a_search_lies_on_the_line_of_two_short_ones(
    timed, tmp_path, monkeypatch
):
    # A tenth of a second for each step, and 0.3 for whatever a search does once.
    def seconds(calls):
        return {name: 0.3 + 0.1 * name if isinstance(name, int) else 0.5 for name in calls}

    monkeypatch.setattr(timing, "_timed", seconds)
    run = dataclasses.replace(tiny_run(tmp_path), profile=timed.profile)
    study = study_of(run)
    probes.run(study, "009.T1", Probe("seconds", {"images": 3}))
    found = {row.defense: row.value for row in study.rows.read()}
    assert found == {"magnet": 0.5, "puvae": 0.5, "defense_gan": pytest.approx(0.7)}
    assert timing._on_line({200: 5.0}, 200) == 5.0


def test_accuracies_and_seconds_of_searches_stand_side_by_side(timed):
    rows = rows_where(timed, {"metric": "accuracy", "steps": PRESENT})
    assert {(row.defense, row.total, row.settings["target"]) for row in rows} == {
        ("defense_gan", 40, "puvae_a")
    }
    assert {row.attack for row in rows} == {
        "targeted_fgsm",
        "targeted_bim",
        "targeted_carlini_wagner",
    }
    seconds = rows_where(timed, {"metric": "seconds", "target": "puvae_a"})
    # Adversarial training purifies nothing and has no time.
    assert {row.defense for row in seconds} == {"magnet", "puvae", "defense_gan"}
    (row,) = (r for r in rows if r.attack == "targeted_fgsm")
    attacked = timed.sets.images(oblivious("targeted_fgsm", 0.3, "puvae_a"))
    trained = timed.models.purifier("defense_gan")
    search = DefenseGAN(trained.generator, None, num_restarts=2, num_steps=1, seed=0)
    search.reset_randomness(0)
    right = says(timed, "puvae_a", search.purify(attacked, 128)) == timed.data.test.labels
    assert (row.correct, row.total) == (right.sum(), 40)
    alone = rows_where(timed, {"metric": "accuracy", "steps": ABSENT, "reconstruction": ABSENT})
    assert {row.defense for row in alone} == {"adversarial_training", "magnet", "puvae"}


def test_every_triple_of_loss_weights_has_an_accuracy(timed):
    rows = rows_where(timed, {"cross_entropy": PRESENT})
    triples = {
        tuple(row.settings[name] for name in ("reconstruction", "kl", "cross_entropy"))
        for row in rows
    }
    assert triples == {(0.1, 0.01, 10), (0.01, 0.1, 10)}
    assert {(row.defense, row.attack, row.total) for row in rows} == {
        ("puvae", "targeted_fgsm", 40)
    }
    grid = load_pictures(timed.picture_path("004.F7"))
    labels = [row.label for row in grid.rows]
    for row in rows:
        (label,) = (text for text in labels if f"{{KL}}$ = {row.settings['kl']:g}\n" in text)
        assert label.endswith(f"{100 * row.value:.1f} % correct")
    for row in grid.rows[1:]:
        assert len(row.images) == 10 and sum(row.framed) == 1


def test_the_weights_trade_clean_accuracy_for_accuracy_under_attack(timed, tmp_path):
    study = Study(timed.profile, timed.models, RowStore(tmp_path, "tiny"))
    shown = catalog.exhibit("004.F7").measures[0].settings
    probes.run(study, "009.F1", Probe("trade_off", shown))
    found = {(row.attack, row.settings["kl"]): row for row in study.rows.read()}
    assert set(found) == set(itertools.product(("none", "targeted_fgsm"), (0.01, 0.1)))
    trained = timed.models.purifier("puvae_other_source")
    said = says(timed, "puvae_a", trained.purify(timed.data.test.images))
    share = np.mean(said == timed.data.test.labels)
    # The purifier draws noise: close, not equal.
    row = found["none", 0.1]
    assert abs(row.value - share) <= 0.15 and row.total == 40


def test_projections_show_what_is_purified_and_who_says_what(timed):
    grid = load_pictures(timed.picture_path("004.F4"))
    assert grid.threat_model == "oblivious"
    chosen = timed.one_of_each_class()
    truth, names = timed.data.test.labels[chosen], timed.data.class_names
    assert sorted(truth) == sorted(set(timed.data.test.labels))
    clean, attacked, perturbation, purified = grid.rows
    assert list(clean.words) == [names[label] for label in truth]
    images = timed.sets.images(oblivious("targeted_fgsm", 0.3, "puvae_a"))[chosen]
    np.testing.assert_allclose(attacked.images, images, atol=0.5 / 255 + 1e-6)
    said = says(timed, "puvae_a", images)
    assert list(attacked.words) == [names[label] for label in said]
    assert list(attacked.right) == list(said == truth)
    # The largest change of a pixel is drawn as black or white, none as grey.
    assert perturbation.label.startswith("perturbation\n× ")
    extremes = np.abs(perturbation.images - 0.5).max()
    assert extremes == pytest.approx(0.5, abs=0.01)
    assert all(re.fullmatch(r"\w+\n\(\w+\)", word) for word in purified.words)


def test_an_image_of_each_class_is_shown_with_the_vote(later):
    grid = load_pictures(later.picture_path("003.F1.1"))
    labels = [row.label.split("\n")[0] for row in grid.rows]
    assert labels == ["clean", "attacked", "perturbation", "purified"]
    chosen = later.one_of_each_class()
    attacked = later.sets.images(oblivious("pgd", 0.1, "A"))
    said = says(later, "A", attacked[chosen])
    truth = later.data.test.labels[chosen]
    assert list(grid.rows[1].right) == list(said == truth)
    assert len(grid.rows[3].words) == len(chosen) and not grid.rows[2].words[0]
