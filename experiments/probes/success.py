"""What explains accuracies: whether attacks reach their goal, and which class PuVAE chooses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from attacks.threat_models import ThreatModel
from defenses.batches import predict_in_batches
from defenses.puvae import PuVAE
from experiments import reproducibility
from experiments.attacked_sets import UNBOUNDED, Scenario, oblivious
from experiments.deciders import ADVERSARIAL_TRAINING, Defended, defended
from experiments.inference import classifier_labels
from experiments.measure import Study

_ATTACKED = {"none": ThreatModel.OBLIVIOUS, ADVERSARIAL_TRAINING: ThreatModel.ADAPTIVE}
"""The classifiers that are attacked themselves, by the defense that their rows name."""
_BATCH = 250


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
                    metric="attack_success",
                    settings={"target": target},
                )
                study.ensure({"": row}, partial(_measured, study, scenario), scenario)


def _measured(study: Study, scenario: Scenario) -> dict[str, float]:
    (name,) = scenario.targets
    images = study.sets.images(scenario)
    said = classifier_labels(study.models.target(name), images, name)
    if study.sets.attack_config(scenario.attack).targeted:
        reached = said == study.sets.goal_labels[: len(said)]
    else:
        reached = said != study.data.test.labels[: len(said)]
    return {"": float(np.mean(reached))}


def chosen_class(
    study: Study,
    exhibit: str,
    *,
    defenses: Sequence[str],
    targets: Sequence[str],
    attacks: Sequence[str],
    epsilons: Any,
) -> None:
    """The share of images of which a purifier keeps the candidate of the true class.

    The candidate of a class is nearly always read as that class, so this choice, the y* of PuVAE's
    eq. 21, is the decision.

    Args:
        study: Models, sets and rows.
        exhibit: Not needed: rows name no figure.
        defenses: PuVAE and its variants; those that the plan has are measured.
        targets: Whose undefended copies are attacked.
        attacks: Names of the profile; ``"none"`` is for clean images.
        epsilons: As in ``results.exhibit.Grid``.
    """
    found = [defended(study.plan, name, target) for name in defenses for target in targets]
    for who in found:
        if who is None:
            continue
        for attack in attacks:
            for epsilon in study.budgets(epsilons, attack):
                clean = attack == "none"
                scenario = Scenario() if clean else oblivious(attack, epsilon, who.target)
                row = study.row(
                    scenario,
                    {
                        "scenario": study.sets.recipe(scenario),
                        "purifier": study.models.purifier_recipe(who.key or ""),
                    },
                    defense=who.defense,
                    metric="chosen_class",
                    settings={"target": who.target},
                )
                study.ensure({"": row}, partial(_chosen, study, scenario, who), scenario)


def _chosen(study: Study, scenario: Scenario, who: Defended) -> dict[str, float]:
    puvae = PuVAE.narrow(study.models.purifier(who.key or ""))
    puvae.reset_randomness(reproducibility.derive_seed(study.seed, study.dataset, "chosen class"))
    images = study.sets.images(scenario)
    labels = predict_in_batches(lambda batch: puvae.project(batch).labels, images, _BATCH)
    return {"": float(np.mean(labels == study.data.test.labels[: len(labels)]))}
