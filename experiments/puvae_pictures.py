"""What PuVAE makes of attacked images: Figures 4, 5 and 7 of its paper."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from attacks.threat_models import ThreatModel
from defenses.puvae import PUBLISHED_WEIGHTS, PuVAE
from experiments import reproducibility
from experiments.evaluation import Measured, Measurement, Study
from experiments.inference import classifier_labels
from experiments.puvae_deciders import decided_row, guard_of, share
from results.puvae_images import save_coefficients, save_projections

ATTACK = "targeted_fgsm"


def purified_images(study: Study, experiment: str) -> None:
    """Stores one attacked image of each class, as PuVAE sees it as every class.

    **Reference**: PuVAE, Figures 4 and 5.
    **Differs from the paper**: beside the purified image the candidates and their distances are
    kept too; the attacked classifier, which the captions do not name, is the first of the pair.
    """
    path = study.picture_path(experiment)
    if path.is_file():
        return
    target = _target(study)
    attacked = study.sets.oblivious(target, ATTACK, study.models.puvae_plan.epsilon)
    chosen = study.one_of_each_class()
    puvae = PuVAE.narrow(study.models.purifier(guard_of(study, target)))
    projection = _seeded(study, puvae).project(attacked[chosen])
    candidates, distances, nearest = (np.asarray(part) for part in projection)
    purified = candidates[np.arange(len(chosen)), nearest]
    save_projections(
        path,
        clean=study.data.test.images[chosen],
        attacked=attacked[chosen],
        candidates=candidates,
        distances=distances,
        chosen=nearest,
        purified=purified,
        labels=study.data.test.labels[chosen],
        target_predictions=_says(study, target, attacked[chosen]),
        decisions=_says(study, target, purified),
        class_names=list(study.data.class_names),
        threat_model=ThreatModel.OBLIVIOUS.value,
    )


def coefficients(study: Study, experiment: str) -> None:
    """Accuracy for each triple of loss weights, and the candidates of one attacked image.

    **Reference**: PuVAE, sec. V-A, Figure 7.
    **Differs from the paper**: the image is the first of the test split.
    """
    plan, path = study.models.puvae_plan, study.picture_path(experiment)
    target = _target(study)
    weighted = [_weighted(study, target, weights) for weights in plan.coefficients]
    attacked = functools.partial(study.sets.oblivious, target, ATTACK, plan.epsilon)
    for row, recipe, purifier in weighted:

        def measure(row=row, purifier=purifier) -> Measured:
            purified = _seeded(study, purifier()).purify(attacked())
            return {row: share(_says(study, target, purified) == study.data.test.labels)}

        study.settle(
            experiment,
            attack=ATTACK,
            epsilon=plan.epsilon,
            threat_model=ThreatModel.OBLIVIOUS.value,
            depends_on={"target": study.models.target_recipe(target), "purifier": recipe},
            measurements=[row],
            measure=measure,
        )
    if not weighted or path.is_file():
        return
    measured = {row.flags: row.value for row in study.rows.read(experiment)}
    first = attacked()[:1]
    projections = [_seeded(study, purifier()).project(first) for _, _, purifier in weighted]
    save_coefficients(
        path,
        clean=study.data.test.images[0],
        attacked=first[0],
        label=int(study.data.test.labels[0]),
        candidates=np.concatenate([np.asarray(p.candidates) for p in projections]),
        chosen=np.concatenate([np.asarray(p.labels) for p in projections]),
        weights=np.asarray(plan.coefficients),
        accuracy=np.asarray([measured[row.flags] for row, _, _ in weighted]),
        class_names=list(study.data.class_names),
        threat_model=ThreatModel.OBLIVIOUS.value,
    )


def _weighted(
    study: Study, target: str, weights: tuple[float, float, float]
) -> tuple[Measurement, dict[str, Any], Callable[[], PuVAE]]:
    """The row of one triple, the recipe of its PuVAE, and what trains it."""
    base = study.plan.purifiers[guard_of(study, target)]
    named = dict(zip(("reconstruction", "kl", "cross_entropy"), weights, strict=True))
    # The published weights are the defaults, so that this is the purifier of the other figures.
    changed = {} if tuple(weights) == PUBLISHED_WEIGHTS else named
    arguments = {f"{name}_weight": weight for name, weight in changed.items()}
    config = dataclasses.replace(base, arguments={**base.arguments, **arguments})
    recipe = study.models.recipe(config, source=study.models.target_recipe(base.source or ""))
    flags = {name: f"{weight:g}" for name, weight in named.items()}
    row = decided_row("puvae", target, source=base.source, **flags)

    @functools.cache
    def purifier() -> PuVAE:
        return PuVAE.narrow(study.models.train_purifier(config, recipe))

    return row, recipe, purifier


def _seeded(study: Study, puvae: PuVAE) -> PuVAE:
    puvae.reset_randomness(reproducibility.derive_seed(study.seed, study.dataset, "pictures"))
    return puvae


def _target(study: Study) -> str:
    return next(iter(study.models.puvae_plan.classifiers))


def _says(study: Study, target: str, images: np.ndarray) -> np.ndarray:
    return classifier_labels(study.models.target(target), images, f"target {target}")
