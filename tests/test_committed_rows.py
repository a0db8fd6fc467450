"""The committed rows are those that the profile measures today, so nothing is measured again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from experiments import presets
from experiments.artifacts import ArtifactStore
from experiments.datasets import Dataset, Split
from experiments.measure import Study
from experiments.scheduler import measure_exhibit
from experiments.training import TrainedModels
from papers import catalog
from results.store import RowStore

NOT_YET = ("001.",)
"""Exhibits of which the profile has no rows yet, by the beginnings of their ids."""
RESULTS = Path(__file__).resolve().parents[1] / "results"
PROFILE = presets.profile("quick")


def dry_study(dataset: str, folder: Path) -> Study:
    """A study that knows its images by their recorded hashes alone."""
    record = json.loads((RESULTS / f"raw/quick/{dataset}_seed0.json").read_text())
    shape = (32, 32, 3) if dataset == "cifar10" else (28, 28, 1)
    split = Split(np.zeros((1, *shape), np.float32), np.zeros(1, np.int64))
    names = tuple(str(label) for label in range(10))
    data = Dataset(dataset, split, split, split, names, record["checksum"])
    models = TrainedModels(PROFILE.plans[dataset], data, ArtifactStore(folder), 0)
    study = Study(PROFILE, models, RowStore(RESULTS, "quick"), dry_run=True)
    study.sets.image_hash = record["test_images"]
    return study


@pytest.mark.parametrize("dataset", PROFILE.plans)
def test_every_committed_row_is_planned_under_the_same_configuration(dataset, tmp_path):
    study = dry_study(dataset, tmp_path)
    for exhibit in catalog.EXHIBITS:
        known = exhibit.implemented and not exhibit.id.startswith(NOT_YET)
        if known and exhibit.applies_to(dataset):
            measure_exhibit(study, exhibit)
    planned = {row.place: row.config_hash for row in study.planned}
    stored = {row.place: row.config_hash for row in study.rows.read(dataset, seed=0)}
    assert len(stored) > 100
    assert planned == stored
    assert not list(tmp_path.iterdir()), "a dry run makes nothing"


def test_another_test_set_is_measured_anew(tmp_path):
    study = dry_study("mnist", tmp_path)
    study.sets.image_hash = "0" * 16
    measure_exhibit(study, catalog.exhibit("004.T3"))
    assert study.planned
    assert not any(study.rows.has(row) for row in study.planned)
