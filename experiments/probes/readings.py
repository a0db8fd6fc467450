"""Readings of one method on validation images, so that no test image chooses among them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from experiments.attacked_sets import Scenario
from experiments.inference import classifier_labels
from experiments.measure import Study
from experiments.outcomes import Outcome
from experiments.probes.distances import mean_length

SPLIT = "validation"


def readings(study: Study, exhibit: str, *, purifiers: Sequence[str], target: str) -> None:
    """L1 of clean validation images after each reading, and who reads them rightly.

    Args:
        study: Models and rows.
        exhibit: Not needed: rows name no figure.
        purifiers: The readings; those that the plan has are measured.
        target: Decides, and so does its copy retrained on purified images if the plan has one.
    """
    plan, models = study.plan, study.models
    if target not in plan.classifiers:
        return
    for name in (name for name in purifiers if name in plan.purifiers):
        recipe = {"purifier": models.purifier_recipe(name), "split": SPLIT}
        own = {"target": models.target_recipe(target)}
        row = partial(study.row, Scenario(), defense=name)
        wanted = {"l1": row(recipe, metric="l1", settings={"split": SPLIT})}
        wanted["l1_standard_error"] = row(
            recipe, metric="l1_standard_error", settings={"split": SPLIT}
        )
        decided = {"decider": "target", "settings": {"split": SPLIT, "target": target}}
        wanted["target"] = row({**recipe, **own}, **decided)
        if target in plan.retrained:
            copy = {"retrained": models.retrained_recipe(name, target)}
            decided["settings"] = {**decided["settings"], "retrained": True}
            wanted["retrained"] = row({**recipe, **copy}, **decided)
        study.ensure(wanted, partial(_measured, study, name, target, tuple(wanted)))


def _measured(study: Study, purifier: str, target: str, names: Sequence[str]) -> dict[str, Any]:
    images, truth = study.data.validation.images, study.data.validation.labels
    purified = study.models.purify(purifier, images, "validation images")
    mean, error = mean_length(purified, images, "l1")
    found: dict[str, Any] = {"l1": mean, "l1_standard_error": error}
    asked = {"target": study.models.target, "retrained": partial(study.models.retrained, purifier)}
    for name, model in asked.items():
        if name in names:
            said = classifier_labels(model(target), purified, f"{name} {target}")
            found[name] = Outcome(np.asarray(said == truth)[np.newaxis])
    return found
