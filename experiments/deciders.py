"""Who decides on purified images, what their decisions depend on, and how often they are right.

Behind a purifier with a pool decide the target, the single voters, the vote, and the vote with
Bayesian update; behind one without, the target and, where it is published so, the target
retrained on purified images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from experiments.config import WIDE_RESNET
from experiments.evaluation import Measured, Measurement, Study, accuracy
from experiments.evidence import conditional_tables, vote_predictions
from experiments.inference import classifier_labels
from experiments.victims import RETRAINED
from results.rows import make_flags

POOLED = ("sfl_vae", "defense_cyclegan")
"""Purifiers with a pool of voters and the Bayesian update."""
Wishes = Mapping[str, Mapping[str, Measurement]]
"""Target -> short name of the decider -> the row it will make."""


def decided_by(study: Study, purifier: str, target: str) -> dict[str, Measurement]:
    """Everybody who decides on purified images, by a short name."""
    own = {"target": target, **repeats(study)}
    retrained = ("retrained", (target, {**own, "retrained": True}))
    parts = {"target": (target, own)}
    if target == WIDE_RESNET:
        # Chapter 5 leaves the vote out, to compare the purifiers alone.
        parts |= [retrained]
    elif purifier in POOLED:
        pool = {**own, "voters": len(study.plan.pool(purifier))}
        drawn = {**pool, "drawn": study.plan.decision.num_drawn}
        parts |= {
            "mean_voter": ("mean_voter", pool),
            "vote": ("vote", drawn),
            "vote_bayes": ("vote_bayes", drawn),
            "vote_bayes_heldout": ("vote_bayes", {**drawn, "tables": "heldout"}),
        }
    elif purifier in RETRAINED:
        parts |= [retrained]
    return {
        name: Measurement(defense=purifier, classifier=classifier, flags=make_flags(flags))
        for name, (classifier, flags) in parts.items()
    }


def repeats(study: Study) -> dict[str, int]:
    """The flag of counts that pool several draws of a stochastic defense."""
    return {"draws": study.profile.num_draws} if study.profile.num_draws > 1 else {}


def depends_on(study: Study, purifier: str, targets: Iterable[str]) -> dict[str, Any]:
    """What the decisions depend on, beside the target that is attacked and the attack."""
    models = study.models
    if purifier in POOLED and WIDE_RESNET not in targets:
        return pool_recipe(study, purifier)
    recipes = {t: models.retrained_recipe(purifier, t) for t in targets}
    return {
        "purifier": models.purifier_recipe(purifier),
        "num_draws": study.profile.num_draws,
        **({"retrained": recipes} if purifier in RETRAINED or WIDE_RESNET in recipes else {}),
    }


def pool_recipe(study: Study, purifier: str) -> dict[str, Any]:
    """What the decision of a pool depends on, beside the attack."""
    return {
        "voters": study.models.pool_recipes(purifier),
        "decision": study.plan.decision,
        "num_draws": study.profile.num_draws,
    }


def decided_accuracy(study: Study, purifier: str, images: np.ndarray, wishes: Wishes) -> Measured:
    """Accuracy of every decision on one attacked set, pooled over the profile's draws.

    Args:
        study: models and test labels.
        purifier: registry key.
        images: the attacked test images, all of them or the first few.
        wishes: what is measured; the names are those of `decided_by`.
    """
    answers: dict[tuple[str, str], list[np.ndarray]] = {}
    for draw in range(study.profile.num_draws):
        purified = study.purified(purifier, images, draw)
        for place, labels in _answers(study, purifier, purified, wishes, draw).items():
            answers.setdefault(place, []).append(labels)
    truth = np.tile(study.data.test.labels[: len(images)], study.profile.num_draws)
    return {
        wish: accuracy(np.concatenate(answers[target, name]), truth)
        for target, named in wishes.items()
        for name, wish in named.items()
    }


def _answers(
    study: Study, purifier: str, purified: np.ndarray, wishes: Wishes, draw: int
) -> dict[tuple[str, str], np.ndarray]:
    """By target and decider, the labels of one purified set."""
    models = study.models
    wanted = {name for named in wishes.values() for name in named}
    common: dict[str, np.ndarray] = {}
    if "vote" in wanted:
        common["mean_voter"] = vote_predictions(models, purifier, purified)
        common["vote"] = study.vote(common["mean_voter"], draw)
    answers: dict[tuple[str, str], np.ndarray] = {}
    for target, named in wishes.items():
        own = classifier_labels(models.target(target), purified, f"target {target}")
        given = {**common, "target": own}
        if "retrained" in named:
            retrained = models.retrained(purifier, target)
            given["retrained"] = classifier_labels(retrained, purified, f"retrained {target}")
        if "vote_bayes" in named:
            for name, source in (("vote_bayes", None), ("vote_bayes_heldout", "heldout")):
                tables = conditional_tables(models, purifier, target, source)
                given[name] = tables.decide(own, common["vote"])
        answers |= {(target, name): given[name] for name in named}
    return answers
