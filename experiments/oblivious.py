"""Rows on sets that are made on an undefended target: the attacker does not know the defense."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from attacks.threat_models import ThreatModel
from experiments.deciders import decided_accuracy, decided_by, depends_on
from experiments.evaluation import Measured, Measurement, Study, accuracy
from experiments.inference import classifier_labels
from results.rows import make_flags


def available(study: Study, purifiers: Iterable[str]) -> list[str]:
    """Those of `purifiers` that this profile has."""
    return [name for name in purifiers if name in study.plan.purifiers]


def settle_oblivious(
    study: Study,
    experiment: str,
    attack: str,
    epsilon: float,
    target: str,
    *,
    wishes: Mapping[Any, Measurement],
    measure: Callable[[np.ndarray], Measured],
    **inputs: Any,
) -> None:
    """Settles what is measured on one set made on the undefended `target`."""
    study.settle(
        experiment,
        attack=attack,
        epsilon=epsilon,
        threat_model=ThreatModel.OBLIVIOUS.value,
        depends_on={"target": study.models.target_recipe(target), **inputs},
        measurements=wishes.values(),
        measure=lambda: measure(study.sets.oblivious(target, attack, epsilon)),
    )


def settle_undefended(
    study: Study, experiment: str, attack: str, epsilon: float, target: str
) -> None:
    """Accuracy of the attacked target itself."""
    wish = Measurement(defense="none", classifier=target, flags=make_flags({"target": target}))

    def measure(images: np.ndarray) -> Measured:
        labels = classifier_labels(study.models.target(target), images, f"target {target}")
        return {wish: accuracy(labels, study.data.test.labels)}

    settle_oblivious(
        study, experiment, attack, epsilon, target, wishes={target: wish}, measure=measure
    )


def settle_defended(study: Study, experiment: str, attack: str, purifiers: Iterable[str]) -> None:
    """Accuracy of everybody who decides behind each purifier, for every target and epsilon."""
    for purifier in available(study, purifiers):
        for target in study.plan.targets:
            wishes = decided_by(study, purifier, target)

            def measure(
                images: np.ndarray, purifier=purifier, target=target, wishes=wishes
            ) -> Measured:
                return decided_accuracy(study, purifier, images, {target: wishes})

            for epsilon in study.profile.epsilons:
                settle_oblivious(
                    study, experiment, attack, epsilon, target,
                    wishes=wishes, measure=measure, **depends_on(study, purifier, [target]),
                )  # fmt: skip
