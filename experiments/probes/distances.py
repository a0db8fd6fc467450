"""How far purified images are from the clean ones: L1 and L2 per image."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from defenses.sfl_vae import SFLVAE
from experiments.attacked_sets import Scenario, oblivious
from experiments.config import PurifierConfig
from experiments.measure import Study
from validation import check_choice

ORDERS = {"l2": 2, "l1": 1}


def distances(
    study: Study,
    exhibit: str,
    *,
    attack: str,
    target: str,
    purifiers: Sequence[str],
    paired: Sequence[str] = (),
) -> None:
    """Distances over epsilon, of a purifier and its ablations, on sets made on one target.

    Args:
        study: Models, sets and rows.
        exhibit: Not needed: rows name no figure.
        attack: A name of the profile.
        target: Whose undefended copy is attacked.
        purifiers: The method and its ablations; those that the plan has are measured.
        paired: Norms of which the standard error of the difference between the method and the
            first ablation, image by image, is kept beside the method.
    """
    present = [name for name in purifiers if name in study.plan.purifiers]
    clean_distances(study, exhibit, purifiers=present, norms=tuple(ORDERS), paired=paired)
    recipes = {name: study.models.purifier_recipe(name) for name in present}
    for epsilon in study.budgets("axis", attack):
        if epsilon > 0:
            scenario = oblivious(attack, epsilon, target)
            attacked = study.sets.recipe(scenario)
            alone = {name: {"scenario": attacked, "purifier": recipes[name]} for name in present}
            both = {"scenario": attacked, "purifiers": [recipes[name] for name in present[:2]]}
            row = partial(study.row, scenario, settings={"target": target})
            wanted = {
                (name, metric): row(alone[name], defense=name, metric=metric)
                for name in present
                for metric in _metrics(tuple(ORDERS))
            }
            wanted |= {
                (present[0], metric): row(both, defense=present[0], metric=metric)
                for metric in _metrics((), paired if len(present) > 1 else ())
            }
            study.ensure(wanted, partial(_measured, study, scenario, present, paired), scenario)


def clean_distances(
    study: Study,
    exhibit: str,
    *,
    purifiers: Sequence[str],
    norms: Sequence[str] = ("l1",),
    paired: Sequence[str] = (),
) -> None:
    """Distances between clean test images and what each purifier makes of them.

    Args:
        study: Models and rows.
        exhibit: Not needed: rows name no figure.
        purifiers: Those that the plan has are measured.
        norms: Which distances.
        paired: As in ``distances``.
    """
    clean = Scenario()
    present = [name for name in purifiers if name in study.plan.purifiers]
    recipes = {name: study.models.purifier_recipe(name) for name in present}
    for name in present:
        wanted = {
            (name, metric): study.row(clean, recipes[name], defense=name, metric=metric)
            for metric in _metrics(norms)
        }
        study.ensure(wanted, partial(_measured, study, clean, [name]))
    if paired and len(present) > 1:
        both = present[:2]
        depends_on = {"purifiers": [recipes[name] for name in both]}
        wanted = {
            (present[0], metric): study.row(clean, depends_on, defense=present[0], metric=metric)
            for metric in _metrics((), paired)
        }
        study.ensure(wanted, partial(_measured, study, clean, both, paired))


def weight_sweep(
    study: Study,
    exhibit: str,
    *,
    purifier: str,
    weight: str,
    norms: Sequence[str] = ("l1",),
    latents: Sequence[bool] = (False, True),
    attack: str = "none",
    target: str = "",
) -> None:
    """Distances of reconstructions against a loss weight that the text leaves open.

    The anchor is the L1 that is printed for the purifier. Both readings of its inference are
    measured: with a sampled latent vector, and with the mean.

    Args:
        study: Models and rows.
        exhibit: Not needed: rows name no figure.
        purifier: Whose variants of the plan are measured.
        weight: The argument in which they differ, and they in nothing else from the purifier.
        norms: Which distances.
        latents: Whether the latent vector is the mean, for each reading that is measured.
        attack: An attack of the profile whose budgets are measured beside the clean images.
        target: Whose undefended copy is attacked.
    """
    for norm in norms:
        check_choice("each distance", norm, ORDERS)
    scenarios = [Scenario()]
    if attack != "none":
        budgets = study.budgets("axis", attack)
        scenarios += [oblivious(attack, epsilon, target) for epsilon in budgets if epsilon > 0]
    for key, config in _sweep(study, purifier, weight).items():
        recipe = study.models.purifier_recipe(key)
        for scenario, mean_latent in itertools.product(scenarios, latents):
            settings = {weight: config.arguments[weight], "mean_latent": mean_latent}
            depends_on = recipe
            if scenario.attack != "none":
                depends_on = {"purifier": recipe, "scenario": study.sets.recipe(scenario)}
                settings["target"] = target
            wanted = {
                norm: study.row(
                    scenario, depends_on, defense=purifier, metric=norm, settings=settings
                )
                for norm in norms
            }
            measure = partial(_of_variant, study, scenario, key, mean_latent, norms)
            study.ensure(wanted, measure, scenario)


def _sweep(study: Study, purifier: str, weight: str) -> dict[str, PurifierConfig]:
    """The variants of a purifier that differ from it in one weight alone."""

    def others(config: PurifierConfig) -> dict[str, Any]:
        return {name: value for name, value in config.arguments.items() if name != weight}

    plan = study.plan
    return {
        key: config
        for key, config in plan.variants.items()
        if config.name == purifier
        and weight in config.arguments
        and others(config) == others(plan.purifier(purifier))
    }


def _of_variant(
    study: Study, scenario: Scenario, key: str, mean_latent: bool, norms: Sequence[str]
) -> dict[str, float]:
    trained = SFLVAE.narrow(study.models.purifier(key))
    model = SFLVAE(trained.encoder, trained.decoder, mean_latent=mean_latent, seed=study.seed)
    purified = model.purify(study.sets.images(scenario))
    return {norm: float(_lengths(study, purified, norm).mean()) for norm in norms}


def perturbation_lengths(
    study: Study, exhibit: str, *, attack: str, targets: Sequence[str]
) -> None:
    """How long the perturbations are that an attack without a budget finds on bare classifiers.

    Args:
        study: Models, sets and rows.
        exhibit: Not needed: rows name no figure.
        attack: A name of the profile.
        targets: Those that the plan has.
    """
    for target in targets:
        if target not in study.plan.classifiers:
            continue
        (epsilon,) = study.budgets("axis", attack)
        scenario = oblivious(attack, epsilon, target)
        wanted = {
            metric: study.row(
                scenario,
                {"scenario": study.sets.recipe(scenario)},
                defense="none",
                metric=metric,
                settings={"target": target},
            )
            for metric in _metrics(("l2",))
        }

        def measure(scenario: Scenario = scenario) -> dict[str, float]:
            lengths = _lengths(study, study.sets.images(scenario), "l2")
            return {"l2": float(lengths.mean()), "l2_standard_error": _standard_error(lengths)}

        study.ensure(wanted, measure, scenario)


def _metrics(norms: Sequence[str], paired: Sequence[str] = ()) -> list[str]:
    for norm in (*norms, *paired):
        check_choice("each distance", norm, ORDERS)
    found = [metric for norm in norms for metric in (norm, f"{norm}_standard_error")]
    return found + [f"{norm}_gain_standard_error" for norm in paired]


def _measured(
    study: Study, scenario: Scenario, purifiers: Sequence[str], paired: Sequence[str] = ()
) -> dict[tuple[str, str], float]:
    """Every distance of every purifier on one set, by purifier and metric."""
    images = study.sets.images(scenario)
    lengths = {
        (name, norm): _lengths(study, purified, norm)
        for name in purifiers
        for purified in (study.purified(name, images),)
        for norm in ORDERS
    }
    found = {}
    for (name, norm), values in lengths.items():
        found[name, norm] = float(values.mean())
        found[name, f"{norm}_standard_error"] = _standard_error(values)
    for norm in paired:
        first, second = (lengths[name, norm] for name in purifiers[:2])
        found[purifiers[0], f"{norm}_gain_standard_error"] = _standard_error(first - second)
    return found


def mean_length(purified: np.ndarray, images: np.ndarray, norm: str) -> tuple[float, float]:
    """The mean distance between two sets of images, and its standard error."""
    lengths = _between(purified, images, norm)
    return float(lengths.mean()), _standard_error(lengths)


def _lengths(study: Study, purified: np.ndarray, norm: str) -> np.ndarray:
    return _between(purified, study.data.test.images[: len(purified)], norm)


def _between(purified: np.ndarray, images: np.ndarray, norm: str) -> np.ndarray:
    difference = purified.astype(np.float64) - images
    return np.linalg.norm(difference.reshape(len(purified), -1), ORDERS[norm], axis=1)


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))
