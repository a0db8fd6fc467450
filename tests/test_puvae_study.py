"""The PuVAE paper on tiny data: targeted, transfer and adaptive sets, whole MagNet, timing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from experiments import zoo
from experiments.config import DatasetPlan
from experiments.evaluation import Study
from experiments.puvae_deciders import guard_of
from experiments.training import TrainedModels
from results.rows import qualifier
from tests.tiny_profile import PUVAE_ENTRIES, finished_run, puvae_profile, rows_where, study_of


@pytest.fixture(scope="module")
def run(tmp_path_factory, uncompiled):
    """One finished run of what the PuVAE paper adds."""
    return finished_run(tmp_path_factory.mktemp("puvae"), puvae_profile(), PUVAE_ENTRIES)


@pytest.fixture(scope="module")
def study(run):
    return study_of(run)


def test_every_entry_is_measured_and_drawn(run):
    for entry in run.entries:
        if not entry.implemented:
            continue
        pictures = run.rows.folder / f"{entry.id}_digits.npz"
        assert rows_where(run, entry.id) or pictures.is_file(), entry.id
        if entry.drawing:
            figure = run.results_dir / f"figures/tiny/{entry.id}_digits.png"
            assert figure.stat().st_size > 5000, entry.id


def test_every_defense_meets_every_attack_before_both_targets(run):
    for attack in ("targeted_fgsm", "targeted_bim", "targeted_carlini_wagner"):
        for target in ("puvae_a", "puvae_b"):
            rows = rows_where(
                run, "004.T3", attack=attack, classifier=target, threat_model="oblivious"
            )
            assert sorted(row.defense for row in rows) == [
                "adversarial_training", "defense_gan", "magnet", "magnet", "none", "puvae",
            ]  # fmt: skip
            (puvae,) = (row for row in rows if row.defense == "puvae")
            assert {target, qualifier(puvae, "source")} == {"puvae_a", "puvae_b"}
            assert {row.epsilon for row in rows} == {1.0 if "carlini" in attack else 0.3}
    hardened = rows_where(run, "004.T3", threat_model="adaptive")
    assert {row.defense for row in hardened} == {"adversarial_training"}
    assert {row.threat_model for row in rows_where(run, "004.T6")} == {"transfer"}


def test_targeted_images_lead_to_the_drawn_label_within_the_budget(study):
    sets, target = study.sets, study.models.target("puvae_a")
    truth, goals = study.data.test.labels, sets.goal_labels
    assert (goals != truth).all() and set(goals) <= set(range(10))
    attacked = sets.oblivious("puvae_a", "targeted_fgsm", 0.3)
    assert np.abs(attacked - study.data.test.images).max() <= 0.3 + 1e-6
    logits = [np.asarray(target(images)) for images in (study.data.test.images, attacked)]
    rows = np.arange(len(goals))
    before, after = (values[rows, goals] - values.max(axis=1) for values in logits)
    assert after.mean() > before.mean()


def test_the_attacker_without_weights_attacks_what_it_has_learnt(study):
    substitute, target = study.models.substitute("puvae_a"), study.models.target("puvae_a")
    assert substitute is not target and substitute.name == "puvae_e"
    transferred = study.sets.transfer("puvae_a", "targeted_fgsm", 0.3)
    assert not np.array_equal(transferred, study.sets.oblivious("puvae_a", "targeted_fgsm", 0.3))


def test_the_adaptive_attacker_goes_through_puvae(run, study):
    options = {"surrogate": {"soft_min_temperature": 0.02}, "num_draws": 2}
    attacked = study.sets.adaptive("puvae", "puvae_b", "pgd", 0.3, **options)
    assert len(attacked) == 20
    oblivious = study.sets.oblivious("puvae_b", "pgd", 0.3)[:20]
    assert np.abs(attacked - study.data.test.images[:20]).max() <= 0.3 + 1e-6
    assert not np.array_equal(attacked, oblivious)
    rows = rows_where(run, "004.F8", attack="pgd", threat_model="adaptive")
    found = {qualifier(row, "surrogate"): row for row in rows}
    assert found["worst"].correct <= min(found["argmin"].correct, found["softmin"].correct)
    assert {row.total for row in rows} == {20}


def test_whole_magnet_counts_a_refused_attack_as_handled(run):
    for attack, epsilon in (("none", 0.0), ("targeted_bim", 0.3)):
        rows = rows_where(run, "004.T3", defense="magnet", attack=attack, classifier="puvae_a")
        found = {qualifier(row, "detectors"): row.correct for row in rows}
        reformer, whole = found[None], found["True"]
        assert whole <= reformer if epsilon == 0 else whole >= reformer


def test_a_card_holds_one_purifiers_numbers_and_every_setting_apart(run):
    zoo_folder = run.results_dir / "zoo/digits"
    cards = {path.stem: json.loads(path.read_text()) for path in zoo_folder.glob("*.json")}
    assert len(rows_where(run, "004.T3", defense="puvae", classifier="puvae_a")) == 4
    own = cards["puvae"]["measured"]
    assert {entry["decided_by"] for entry in own} == {"puvae_b"}
    assert rows_where(run, "004.F7") and "004.F7" not in {entry["experiment"] for entry in own}
    adaptive = rows_where(run, "004.F8", attack="pgd", threat_model="adaptive")
    expected = {f"eot=2;surrogate={qualifier(row, 'surrogate')}": row.value for row in adaptive}
    assert _values(cards["puvae"], "004.F8", "pgd", "adaptive") == pytest.approx(expected, abs=1e-4)
    magnet = rows_where(
        run, "004.T3", defense="magnet", attack="targeted_bim", classifier="puvae_a"
    )
    expected = {"detectors=True" if "detectors" in row.flags else "": row.value for row in magnet}
    found = _values(cards["magnet"], "004.T3", "targeted_bim", "oblivious", "puvae_a")
    assert found == pytest.approx(expected, abs=1e-4) and len(found) == 2


def _values(card, experiment, attack, threat_model, decider="puvae_b"):
    wanted = (experiment, attack, threat_model, decider)
    columns = ("experiment", "attack", "threat_model", "decided_by")
    return {
        entry.get("setting", ""): entry["value"]
        for entry in card["measured"]
        if tuple(entry[column] for column in columns) == wanted
    }


def test_a_card_is_written_anew_when_the_same_has_been_measured_otherwise(run, study):
    path = run.results_dir / "zoo/digits/puvae.json"
    written = path.read_text()

    def publish(**changes):
        path.write_text(json.dumps({**json.loads(written), **changes}))
        before = path.read_text()
        assert zoo.publish(study, run.results_dir / "zoo") == []
        return path.read_text() != before

    more = [*json.loads(written)["measured"], {}]
    assert not publish() and not publish(measured=more, rows_hash="other")
    assert publish(rows_hash="other") and path.read_text() == written
    assert publish(measured=[]) and path.read_text() == written


def test_times_are_measured_and_the_floor_is_one_plain_pass(run):
    rows = rows_where(run, "004.T7")
    found = {(row.defense, row.metric): row.value for row in rows}
    assert set(found) == {
        ("magnet", "seconds"), ("defense_gan", "seconds"), ("puvae", "seconds"),
        ("puvae", "seconds_floor"),
    }  # fmt: skip
    assert all(value > 0 for value in found.values())
    assert found["puvae", "seconds"] < 5 * found["puvae", "seconds_floor"] + 0.1


def test_a_missing_plan_or_guard_is_explained(study):
    plan: DatasetPlan = study.plan
    models = TrainedModels(
        DatasetPlan(
            dataset=plan.dataset, targets={}, purifiers={}, voters=(), decision=plan.decision
        ),
        study.data, study.models.store, 0,
    )  # fmt: skip
    with pytest.raises(ValueError, match="Expected a plan of PuVAE's experiments for digits"):
        _ = models.puvae_plan
    bare = Study(study.profile, models, study.rows)
    bare.models.plan = DatasetPlan(
        dataset=plan.dataset, targets={}, purifiers={}, voters=(), decision=plan.decision,
        puvae=plan.puvae,
    )  # fmt: skip
    with pytest.raises(ValueError, match="Expected a PuVAE with the source 'puvae_b'"):
        guard_of(bare, "puvae_a")
