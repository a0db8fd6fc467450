"""The PuVAE paper's accuracies: Tables 3 to 6 and Figure 8."""

from __future__ import annotations

from typing import Any

import numpy as np

from attacks.threat_models import ThreatModel
from experiments.adversarial_sets import UNBOUNDED
from experiments.config import PuVAEPlan
from experiments.deciders import repeats
from experiments.evaluation import Measured, Study
from experiments.puvae_deciders import (
    Decider,
    decided_rightly,
    decided_row,
    deciders,
    guard_of,
    hardened,
    measured,
    purified,
    share,
    undefended,
)

TARGETED = ("targeted_fgsm", "targeted_bim", "targeted_carlini_wagner")
SURROGATES = {"argmin": False, "softmin": True}
"""How the adaptive attacker treats the choice of the candidate -> whether as a mixture."""


def epsilon_of(study: Study, attack: str) -> float:
    """The budget of one of the paper's attacks; Carlini-Wagner has none."""
    native = study.sets.attack(attack).allows_native_epsilon
    return UNBOUNDED if native else study.models.puvae_plan.epsilon


def white_box(study: Study, experiment: str) -> None:
    """Accuracy of every defense on clean images and under the targeted attacks on the target.

    **Reference**: PuVAE, sec. V-B, Tables 3 to 5.
    **Differs from the paper**: clean accuracies are behind each defense, where the paper gives
    the bare classifier's; the adversarially trained classifier meets the images made on the
    undefended one, as the purifiers do, and also its own; MagNet is also given whole.
    """
    for target in study.models.puvae_plan.classifiers:
        for attack in ("none", *TARGETED):
            for decider in deciders(study, target, attacked=attack != "none"):
                _settle(study, experiment, attack, target, decider)
        for attack in TARGETED:
            _settle_hardened(study, experiment, attack, target)


def black_box(study: Study, experiment: str) -> None:
    """Accuracy of every purifier on images made on a substitute learnt from the target's labels.

    **Reference**: PuVAE, sec. V-B, Table 6.
    **Differs from the paper**: the attacker's own images are of the validation split; how the
    substitute is learnt is not printed, see `attacks.substitute`.
    """
    for target in study.models.puvae_plan.classifiers:
        for attack in TARGETED:
            for decider in deciders(study, target, attacked=True):
                _settle(study, experiment, attack, target, decider, ThreatModel.TRANSFER)


def strong_white_box(study: Study, experiment: str) -> None:
    """PuVAE's accuracy when the attacker does not know it, and when he goes through it.

    **Reference**: PuVAE, sec. V-C, Figure 8.
    **Differs from the paper**: beside its one FGSM step, which follows the chosen candidate as
    far as the text tells, the attacker also has PGD, a mixture of the candidates through which
    the choice itself has a gradient, and gradients averaged over the purifier's noise.
    """
    target = list(study.models.puvae_plan.classifiers)[-1]
    key = guard_of(study, target)
    guarded = purified(study, key, target)
    for attack in ("none", "targeted_fgsm", "pgd"):
        for decider in (undefended(study, target), guarded):
            _settle(study, experiment, attack, target, decider)
    for attack in ("targeted_fgsm", "pgd"):
        _settle_adaptive(study, experiment, attack, target, guarded, key)


def _settle(
    study: Study,
    experiment: str,
    attack: str,
    target: str,
    decider: Decider,
    threat_model: ThreatModel = ThreatModel.OBLIVIOUS,
) -> None:
    """The row of one decider on the images of one attack on the target or its substitute."""
    models, sets = study.models, study.sets
    epsilon = 0.0 if attack == "none" else epsilon_of(study, attack)
    made_on: dict[str, Any] = {"target": models.target_recipe(target)}
    if threat_model is ThreatModel.TRANSFER:
        made_on["substitute"] = models.substitute_recipe(target)

    def images() -> np.ndarray:
        if attack == "none":
            return study.data.test.images
        make = sets.transfer if threat_model is ThreatModel.TRANSFER else sets.oblivious
        return make(target, attack, epsilon)

    study.settle(
        experiment,
        attack=attack,
        epsilon=epsilon,
        threat_model="none" if attack == "none" else threat_model.value,
        depends_on={**made_on, **decider.recipe},
        measurements=[decider.row],
        measure=lambda: measured(decider, images()),
    )


def _settle_hardened(study: Study, experiment: str, attack: str, target: str) -> None:
    """Adversarial training under an attack on the very classifier that it made."""
    decider = hardened(study, target)
    name = study.models.puvae_plan.hardened(target)
    epsilon = epsilon_of(study, attack)
    study.settle(
        experiment,
        attack=attack,
        epsilon=epsilon,
        threat_model=ThreatModel.ADAPTIVE.value,
        depends_on=decider.recipe,
        measurements=[decider.row],
        measure=lambda: measured(decider, study.sets.adaptive(None, name, attack, epsilon)),
    )


def _settle_adaptive(
    study: Study, experiment: str, attack: str, target: str, guarded: Decider, key: str
) -> None:
    """PuVAE under an attack through it, by each surrogate and by the better of them per image."""
    plan: PuVAEPlan = study.models.puvae_plan
    epsilon = epsilon_of(study, attack)
    source = study.plan.purifiers[key].source
    rows = {
        name: decided_row(
            "puvae", target, source=source, surrogate=name, eot=plan.num_draws,
            **repeats(study),
        )
        for name in (*SURROGATES, "worst")
    }  # fmt: skip
    temperature = plan.soft_min_temperature

    def measure() -> Measured:
        survived = {}
        for name, mixes in SURROGATES.items():
            images = study.sets.adaptive(
                key,
                target,
                attack,
                epsilon,
                surrogate={"soft_min_temperature": temperature if mixes else None},
                num_draws=plan.num_draws,
            )
            survived[name] = decided_rightly(guarded, images)
        survived["worst"] = survived["argmin"] & survived["softmin"]
        return {rows[name]: share(correct) for name, correct in survived.items()}

    study.settle(
        experiment,
        attack=attack,
        epsilon=epsilon,
        threat_model=ThreatModel.ADAPTIVE.value,
        depends_on={
            "target": study.models.target_recipe(target),
            "attacker": {"num_draws": plan.num_draws, "temperature": temperature},
            "attacked_through": study.plan.attacked_through.get(key),
            **guarded.recipe,
        },
        measurements=rows.values(),
        measure=measure,
    )
