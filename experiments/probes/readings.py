"""Readings of one method on validation images, so that no test image chooses among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
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
        row = partial(study.row, Scenario(), defense=name)
        settings: dict[str, Any] = {"split": SPLIT}
        wanted = {
            metric: row(recipe, metric=metric, settings=settings)
            for metric in ("l1", "l1_standard_error")
        }
        settings = {**settings, "target": target}
        own = {**recipe, "target": models.target_recipe(target)}
        wanted["target"] = row(own, decider="target", settings=settings)
        if target in plan.retrained:
            copy = {**recipe, "retrained": models.retrained_recipe(name, target)}
            settings = {**settings, "retrained": True}
            wanted["retrained"] = row(copy, decider="target", settings=settings)
        study.ensure(wanted, partial(_measured, study, name, target, tuple(wanted)))


def _measured(study: Study, purifier: str, target: str, names: Sequence[str]) -> dict[str, Any]:
    images, truth = study.data.validation.images, study.data.validation.labels
    purified = study.models.purify(purifier, images, "validation images")
    mean, error = mean_length(purified, images, "l1")
    found: dict[str, Any] = {"l1": mean, "l1_standard_error": error}
    asked: dict[str, Callable[[str], keras.Model]] = {
        "target": study.models.target,
        "retrained": partial(study.models.retrained, purifier),
    }
    for name, model in asked.items():
        if name in names:
            said = classifier_labels(model(target), purified, f"{name} {target}")
            found[name] = Outcome(np.asarray(said == truth)[np.newaxis])
    return found
