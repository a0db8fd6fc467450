"""CAP-GAN's figures and tables from training to drawing, on a handful of digits."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.threat_models import ThreatModel
from experiments.attacked_sets import UNBOUNDED, Scenario
from experiments.measure import Study, measure
from experiments.presets import cap_gan
from experiments.runs import draw
from experiments.scheduler import measure_exhibit
from experiments.training import TrainedModels
from papers.cap_gan import BUDGET, EXHIBITS, TARGET
from results.exhibit import WORST_OF_ALL, Grid
from results.pictures import load_pictures
from results.sheet import fill
from results.store import RowStore
from tests.tiny_profile import cap_gan_profile, rows_where, study_of, tiny_run

MEASURED = tuple(one.id for one in EXHIBITS if one.implemented)
DEFENSES = {"jpeg", "thermometer", "ape_gan", "hgd", "adversarial_training", "cap_gan"}


@pytest.fixture(scope="module")
def measured(tmp_path_factory, uncompiled):
    run = tiny_run(tmp_path_factory.mktemp("cap_gan"), cap_gan_profile(), MEASURED)
    study = study_of(run)
    for exhibit in run.exhibits:
        measure_exhibit(study, exhibit)
    return run, study


def test_every_figure_can_be_drawn(measured):
    run, study = measured
    assert ("001.F1", "001.F3", "001.F5", *(f"001.T{n}" for n in range(1, 7))) == MEASURED
    for exhibit in run.exhibits:
        (figure,) = draw(run, exhibit, study.dataset)
        assert figure.stat().st_size > 5000, exhibit.id


@pytest.mark.parametrize(
    ("threat", "attacks", "defenses"),
    [
        ("transfer", {"fgsm", "mi_fgsm", "pgd_7", "pgd_40"}, {"none", *DEFENSES}),
        ("oblivious", {"fgsm", "mi_fgsm", "pgd_7", "pgd_40"}, {"none", *DEFENSES}),
        ("adaptive", {"fgsm", "pgd_40", "apgd_ce", "apgd_dlr", WORST_OF_ALL}, DEFENSES),
        ("score", {"spsa", "square", "square_5"}, {"jpeg", "ape_gan", "hgd", "cap_gan"}),
        ("bpda", {"pgd_40"}, {"jpeg", "ape_gan", "hgd", "cap_gan", "cap_gan_pixel"}),
    ],
)
def test_every_defense_meets_every_attacker(measured, threat, attacks, defenses):
    _, study = measured
    for attack in attacks:
        where = {"threat_model": threat, "attack": attack, "epsilon": BUDGET}
        found = {row.defense for row in rows_where(study, {**where, "metric": "accuracy"})}
        assert found - {"cap_gan_pixel"} == defenses - {"cap_gan_pixel"}, attack
    assert all(row.settings["target"] == TARGET for row in rows_where(study, {}))


def test_attacks_without_a_budget_have_none(measured):
    _, study = measured
    for attack in ("carlini_wagner_confident", "carlini_wagner_longest"):
        rows = rows_where(study, {"attack": attack})
        assert {(row.epsilon, row.norm) for row in rows} == {(UNBOUNDED, "l2")}


def test_every_table_is_full(measured):
    run, study = measured
    made = {"cap_gan", "cap_gan_pixel"}
    for exhibit in run.exhibits:
        if exhibit.id[4] != "T":
            continue
        sheet = fill(exhibit, "digits", study.rows.read("digits"))
        lines = [line for panel in sheet.panels for line in panel.lines]
        if exhibit.id in ("001.T5", "001.T6"):
            assert {line.rows[0].defense for line in lines} <= made
        else:
            assert len(lines) == len(exhibit.lines), exhibit.id
        assert all(len(line.points) == len(exhibit.columns) for line in lines), exhibit.id


def test_a_purifier_stands_before_the_classifier_that_it_was_trained_with(measured):
    _, study = measured
    transferred = Scenario(
        threat=ThreatModel.TRANSFER, attack="fgsm", epsilon=BUDGET, targets=(TARGET,)
    )
    images = study.sets.images(transferred)
    said = {
        "hgd": study.models.target(TARGET).predict(study.purified("hgd", images), verbose=0),
        "thermometer": study.models.target(cap_gan.ENCODED).predict(
            study.purified("thermometer", images), verbose=0
        ),
        "adversarial_training": study.models.target(cap_gan.TRAINED).predict(images, verbose=0),
    }
    where = {"threat_model": "transfer", "attack": "fgsm", "epsilon": BUDGET}
    for defense, logits in said.items():
        (row,) = rows_where(study, {**where, "defense": defense})
        assert row.correct == (logits.argmax(-1) == study.data.test.labels).sum(), defense


def test_attention_is_shown_in_grey_between_its_extremes(measured):
    _, study = measured
    grid = load_pictures(study.picture_path("001.F3"))
    labels = [row.label for row in grid.rows]
    assert labels[:2] == ["clean", "attacked"] and labels[-1] == "purified"
    for first in (3, 5):
        maps = np.concatenate([row.images for row in grid.rows[first : first + 2]])
        assert maps.min() == 0 and maps.max() == 1


def test_a_dry_run_plans_the_same_rows(measured, tmp_path, monkeypatch):
    run, study = measured

    def forbidden(*_, **__):
        raise AssertionError("a model was asked for")

    for name in ("target", "purifier", "substitute"):
        monkeypatch.setattr(TrainedModels, name, forbidden)
    dry = Study(run.profile, study.models, RowStore(tmp_path, "tiny"), dry_run=True)
    for exhibit in run.exhibits:
        measure_exhibit(dry, exhibit)
    planned = {row.place: row.config_hash for row in dry.planned}
    assert planned == {row.place: row.config_hash for row in study.rows.read("digits")}


def test_who_sees_outputs_alone_takes_no_gradient(measured):
    _, study = measured
    grid = Grid(
        threat="score", attacks=("fgsm",), epsilons=(0.1,), targets=(TARGET,), defenses=("hgd",)
    )
    with pytest.raises(ValueError, match="an attack by queries under the threat model 'score'"):
        measure(study, grid)
