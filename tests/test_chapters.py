"""Chapters 4 and 5 on tiny data: every other purifier, mixed sets, retrained classifiers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from experiments import scheduler
from results.rows import qualifier
from tests.tiny_profile import LATER_ENTRIES, finished_run, later_profile, rows_where, study_of


@pytest.fixture(scope="module")
def run(tmp_path_factory, uncompiled):
    """One finished run of what chapters 4 and 5 add."""
    return finished_run(tmp_path_factory.mktemp("later"), later_profile(), LATER_ENTRIES)


@pytest.fixture(scope="module")
def study(run):
    return study_of(run)


def test_every_entry_has_rows_and_a_figure(run):
    for entry in run.entries:
        if not entry.implemented:
            continue
        assert rows_where(run, entry.id), entry.id
        figure = run.results_dir / f"figures/tiny/{entry.id}_digits.png"
        assert figure.stat().st_size > 5000, entry.id


def test_every_defense_is_attacked_as_a_whole(run):
    rows = rows_where(run, "003.F3.10", epsilon=0.1)
    assert {row.defense for row in rows} == {
        "sfl_vae", "defense_cyclegan", "defense_vae", "defense_gan",
    }  # fmt: skip
    assert {row.threat_model for row in rows} == {"framework"}
    retrained = [row for row in rows if qualifier(row, "retrained")]
    assert {row.defense for row in retrained} == {"defense_vae"}
    pooled = {row.defense for row in rows if row.classifier == "vote_bayes"}
    assert pooled == {"sfl_vae", "defense_cyclegan"}


def test_a_search_is_attacked_with_the_gradient_at_its_result(study):
    images = study.sets.framework("defense_gan", "fgsm", 0.1, "A")
    moved = np.abs(images - study.data.test.images).max(axis=(1, 2, 3))
    assert (moved > 0.05).mean() > 0.9


def test_a_mixed_set_is_half_the_targets(study):
    images, clean = study.sets.mixed("fgsm", 0.1), study.data.test.images
    assert np.abs(images - clean).max() <= 0.1 + 1e-6
    alone = study.sets.oblivious("wide_resnet", "fgsm", 0.1)
    same = np.isclose(images, alone, atol=1e-6).all(axis=(1, 2, 3))
    assert 0.4 < same.mean() < 0.7


def test_the_wide_resnet_is_measured_with_and_without_retraining(run, study):
    (row,) = [
        row
        for row in rows_where(run, "003.F5.3", defense="vqunet", epsilon=0.1)
        if qualifier(row, "retrained")
    ]
    purified = study.purified("vqunet", study.sets.mixed("fgsm", 0.1))
    retrained = study.models.retrained("vqunet", "wide_resnet")
    labels = retrained.predict(purified, verbose=0).argmax(axis=1)
    assert row.correct == (labels == study.data.test.labels).sum()
    assert row.classifier == qualifier(row, "target") == "wide_resnet"
    assert row.threat_model == "mixed"
    clean = rows_where(run, "003.T5.1", defense="vqunet")
    assert {row.attack for row in clean} == {"none"} and len(clean) == 2


def test_clean_reconstructions_are_measured_by_l1(run, study):
    values = {row.defense: row.value for row in rows_where(run, "003.T4.1", metric="l1")}
    assert set(values) == {"sfl_vae", "defense_cyclegan", "defense_cyclegan_4"}
    clean = study.data.test.images
    difference = study.purified("defense_cyclegan", clean) - clean
    expected = np.abs(difference).sum(axis=(1, 2, 3)).mean()
    np.testing.assert_allclose(values["defense_cyclegan"], expected, rtol=1e-5)


def test_features_change_under_attack_alone(run):
    rows = rows_where(run, "003.F5.8", metric="feature_change")
    assert {row.defense for row in rows} == {"vqunet", "vqunet_literal", "non_vqunet"}
    assert {qualifier(row, "stage") for row in rows} == {"pre"}
    assert {qualifier(row, "depth") for row in rows} == {"1", "2", "3"}
    assert all((row.value == 0) == (row.epsilon == 0) for row in rows)
    changed = rows_where(run, "003.F5.10")
    assert all(0 <= row.value <= 1 for row in changed)
    assert all(row.value == 0 for row in changed if row.epsilon == 0)


def test_a_card_keeps_the_retrained_target_apart(run, study):
    rows = rows_where(run, "003.T5.1", defense="vqunet")
    card = json.loads((run.results_dir / "zoo/digits/vqunet.json").read_text())
    found = {m["decided_by"]: m["value"] for m in card["measured"] if m["experiment"] == "003.T5.1"}
    expected = {
        ("retrained " if qualifier(row, "retrained") else "") + row.classifier: row.value
        for row in rows
    }
    assert found == pytest.approx(expected, abs=1e-4) and len(found) == 2


def test_attacked_copies_are_of_the_training_images(study):
    config = study.plan.purifiers["defense_vae"]
    split = study.data.train.take(config.training.train_limit)
    (copy,) = study.models._attacked_copies(config, split)
    moved = np.abs(copy - split.images).max(axis=(1, 2, 3))
    assert copy.shape == split.images.shape
    np.testing.assert_allclose(moved, 0.2, atol=1e-5)


def test_a_finished_run_measures_nothing_again(run):
    before = {path: path.read_bytes() for path in run.rows.folder.glob("*.csv")}
    scheduler.measure(run)
    assert before == {path: path.read_bytes() for path in run.rows.folder.glob("*.csv")}
