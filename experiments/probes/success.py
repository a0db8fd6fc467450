"""Whether attacks reach their goal on the classifier that they attack."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from attacks.threat_models import ThreatModel
from experiments.attacked_sets import UNBOUNDED, Scenario
from experiments.deciders import ADVERSARIAL_TRAINING, defended
from experiments.inference import classifier_labels
from experiments.measure import Study

METRIC = "attack_success"
_ATTACKED = {"none": ThreatModel.OBLIVIOUS, ADVERSARIAL_TRAINING: ThreatModel.ADAPTIVE}
"""The classifiers that are attacked themselves, by the defense that their rows name."""


def attack_success(
    study: Study, exhibit: str, *, targets: Sequence[str], attacks: Sequence[str]
) -> None:
    """The share of test images that an attack without a budget turns into what it was to reach.

    Such an attack returns an image unchanged where its search finds nothing; a defense that reads
    that image rightly has withstood nothing. A targeted attack has reached its goal where the
    classifier under attack says the label that it was led to, any other where the classifier errs.

    Args:
        study: Models, sets and rows.
        exhibit: Not needed: rows name no figure.
        targets: Those that the plan has are attacked, and so are their adversarially trained
            versions.
        attacks: Names of the profile; those with a budget are left out, as an error within it is
            what an accuracy counts.
    """
    for attack in attacks:
        if study.sets.attack_config(attack).bounded:
            continue
        for target in targets:
            for defense, threat in _ATTACKED.items():
                who = defended(study.plan, defense, target)
                if who is None:
                    continue
                scenario = Scenario(
                    threat=threat, attack=attack, epsilon=UNBOUNDED, targets=(who.classifier,)
                )
                row = study.row(
                    scenario,
                    {"scenario": study.sets.recipe(scenario)},
                    defense=defense,
                    metric=METRIC,
                    settings={"target": target},
                )
                study.ensure({"": row}, partial(_measured, study, scenario), scenario)


def _measured(study: Study, scenario: Scenario) -> dict[str, float]:
    (name,) = scenario.targets
    images = study.sets.images(scenario)
    said = classifier_labels(study.models.target(name), images, name)
    if study.sets.attack_config(scenario.attack).targeted:
        reached = said == study.sets.goal_labels
    else:
        reached = said != study.data.test.labels
    return {"": float(np.mean(reached))}
