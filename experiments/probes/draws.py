"""A random defense by its fresh draws: their mean, and the worst of them image by image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from attacks.threat_models import ThreatModel
from experiments.attacked_sets import Scenario
from experiments.deciders import DECIDERS, Defended, DefendedImages, defended
from experiments.measure import CLEAN, Study
from experiments.outcomes import Outcome

FEWEST = 10
"""Draws below which the worst of them says little."""


def fresh_draws(
    study: Study,
    exhibit: str,
    *,
    defenses: Sequence[str],
    targets: Sequence[str],
    attacks: Sequence[str],
    epsilons: Any,
    surrogate: str | None = None,
    num_draws: int = FEWEST,
) -> None:
    """The accuracy over fresh draws of a random purifier that was attacked end to end.

    An attacker may send an image as often as is needed, so the share of images that are read
    rightly in every draw stands beside the mean; and since some clean images are misread in some
    draws, the same pair of clean images stands beside both.

    **Reference**: the evaluations of random purifiers since Lee and Kim, "Robust Evaluation of
    Diffusion-Based Adversarial Purification", 2023.

    Args:
        study: Models, sets and rows.
        exhibit: Not needed: rows name no figure.
        defenses: Random purifiers; those that the plan has are measured.
        targets: Who stands behind them.
        attacks: Names of the profile's attacks.
        epsilons: As in ``results.exhibit.Grid``.
        surrogate: As of a ``Scenario``.
        num_draws: Fresh draws, at least ``FEWEST``.

    Raises:
        ValueError: If there are too few draws.
    """
    if num_draws < FEWEST:
        raise ValueError(
            f"Expected at least {FEWEST} fresh draws, received {num_draws}. Ask for more."
        )
    found = [defended(study.plan, name, target) for name in defenses for target in targets]
    for who in (who for who in found if who is not None and who.key is not None):
        scenarios = [
            Scenario(
                threat=ThreatModel.ADAPTIVE,
                attack=attack,
                epsilon=epsilon,
                targets=(who.classifier,),
                through=who.key,
                surrogate=surrogate,
                num_draws=study.plan.attacked_draws,
            )
            for attack in attacks
            for epsilon in study.budgets(epsilons, attack)
        ]
        for scenario in (CLEAN, *scenarios):
            limit = study.sets.limit(scenarios[0])
            _measure(study, scenario, who, num_draws, limit)


def _measure(
    study: Study, scenario: Scenario, who: Defended, num_draws: int, limit: int | None
) -> None:
    number = len(study.data.test.labels[:limit])
    target = DECIDERS["target"]
    source = study.plan.purifiers[who.key or ""].source
    recipe = {
        "target": study.models.target_recipe(who.target),
        "scenario": study.sets.recipe(scenario),
        **target.recipe(study.models, study.profile, who, attacked=scenario.attack != "none"),
        "fresh_draws": num_draws,
        "limit": limit,
    }
    attacked = {"surrogate": scenario.surrogate} if scenario.surrogate else {}
    settings = {
        "target": who.target,
        **({"source": source} if source else {}),
        **({"eot": scenario.num_draws, **attacked} if scenario.through else {}),
        "fresh": num_draws,
    }
    wanted = {
        "accuracy": study.row(
            scenario,
            recipe,
            defense=who.defense,
            decider="target",
            settings={**settings, "draws": num_draws},
        ),
        "worst_draw": study.row(
            scenario,
            recipe,
            defense=who.defense,
            decider="target",
            metric="worst_draw",
            settings=settings,
        ),
    }
    study.ensure(wanted, partial(_measured, study, scenario, who, num_draws, number), scenario)


def _measured(
    study: Study, scenario: Scenario, who: Defended, num_draws: int, number: int
) -> dict[str, Outcome]:
    images = study.sets.images(scenario)[:number]
    target = DECIDERS["target"]
    draws = [
        target.correct(DefendedImages(study.models, who, images, draw), who.target)
        for draw in range(num_draws)
    ]
    every = Outcome.of_draws(draws)
    return {"accuracy": every, "worst_draw": every.worst_draw()}
