"""Images that a figure shows, kept beside the rows, and the accuracies that stand beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from attacks.threat_models import ThreatModel
from defenses.puvae import PUBLISHED_WEIGHTS, PuVAE
from experiments import reproducibility
from experiments.attacked_sets import Scenario, oblivious
from experiments.deciders import Defended, DefendedImages, defended
from experiments.inference import classifier_labels
from experiments.measure import Study
from experiments.outcomes import Outcome
from results.pictures import PictureRow, amplify, save_pictures
from results.row import Row
from validation import check_number

WEIGHTS = (("reconstruction", "RC"), ("kl", "KL"), ("cross_entropy", "CE"))
"""The weights of PuVAE's losses as rows and the paper call them; arguments end in ``_weight``."""


def example_images(
    study: Study, exhibit: str, *, purifier: str, target: str, attack: str, epsilon: float
) -> None:
    """Keeps a test image of each class, attacked and purified, with who says what.

    **Reference**: dissertation, Figure 1.1 (one image and its attacked version).
    **Differs from the paper**: several images; perturbation and purified image are shown too.

    Args:
        study: Models and sets.
        exhibit: Names the file.
        purifier: With a pool, which votes on the purified images.
        target: Who is attacked.
        attack: A name of the profile.
        epsilon: The nearest of the profile's budgets is taken.
    """
    path = study.picture_path(exhibit)
    who = defended(study.plan, purifier, target)
    if study.dry_run or path.is_file() or who is None:
        return
    epsilon = check_number("epsilon of example images", epsilon, at_least=0, at_most=1)
    nearest = min(study.budgets("axis", attack), key=lambda one: abs(one - epsilon))
    attacked = study.sets.images(oblivious(attack, nearest, target))
    behind = DefendedImages(study.models, who, attacked)
    chosen = study.one_of_each_class()
    truth, names = study.data.test.labels[chosen], study.data.class_names
    rows = [
        *_attack_rows(study, chosen, attacked[chosen], _says(study, target, attacked)[chosen]),
        _judged("purified\nvote says", behind.purified[chosen], names, truth, behind.vote[chosen]),
    ]
    save_pictures(path, rows, threat_model=ThreatModel.OBLIVIOUS.value)


def projections(
    study: Study,
    exhibit: str,
    *,
    defense: str,
    targets: Sequence[str],
    attack: str,
    epsilon: Any,
) -> None:
    """Keeps an attacked image of each class as PuVAE purifies it, with the class it chose.

    **Reference**: PuVAE, Figures 4 and 5.
    **Differs from the paper**: the perturbation, who says what, and the class that the nearest
    reconstruction was made for, which is not the decision.

    Args:
        study: Models and sets.
        exhibit: Names the file.
        defense: The purifier that projects.
        targets: The first that the plan has is attacked.
        attack: A name of the profile.
        epsilon: As in ``results.exhibit.Grid``.
    """
    path = study.picture_path(exhibit)
    if study.dry_run or path.is_file():
        return
    who = _first(study, defense, targets)
    budget = study.budget(epsilon, attack)
    attacked = study.sets.images(oblivious(attack, budget, who.target))
    chosen = study.one_of_each_class()
    truth, names = study.data.test.labels[chosen], study.data.class_names
    puvae = _seeded(study, PuVAE.narrow(study.models.purifier(who.key or "")))
    projection = puvae.project(attacked[chosen])
    candidates, nearest = np.asarray(projection.candidates), np.asarray(projection.labels)
    purified = candidates[np.arange(len(chosen)), nearest]
    said = _says(study, who.target, purified)
    words = [f"{names[label]}\n({names[one]})" for label, one in zip(said, nearest, strict=True)]
    rows = [
        *_attack_rows(study, chosen, attacked[chosen], _says(study, who.target, attacked[chosen])),
        PictureRow(
            label="purified\ntarget says\n(class chosen)",
            images=purified,
            words=words,
            right=list(said == truth),
        ),
    ]
    save_pictures(path, rows, threat_model=ThreatModel.OBLIVIOUS.value)


def loss_weights(
    study: Study,
    exhibit: str,
    *,
    defense: str,
    targets: Sequence[str],
    attack: str,
    epsilon: Any,
) -> None:
    """Accuracy for each triple of loss weights, and the candidates of one attacked image.

    **Reference**: PuVAE, sec. V-A, Figure 7.
    **Differs from the paper**: the image is the first of the test split.

    Args:
        study, exhibit, defense, targets, attack, epsilon: As in ``projections``; the variants that
            the plan has of the purifier are the other triples.
    """
    who = _first(study, defense, targets)
    scenario = oblivious(attack, study.budget(epsilon, attack), who.target)
    found = _of_weights(study, who, scenario)
    if not found:
        return
    path = study.picture_path(exhibit)
    if study.dry_run or path.is_file():
        return
    image, names = study.sets.images(scenario)[:1], study.data.class_names
    rows = [
        PictureRow(
            label=f"label\n{names[study.data.test.labels[0]]}",
            images=np.concatenate([study.data.test.images[:1], image]),
            words=("clean", "attacked"),
        )
    ]
    for key, (weights, row) in found.items():
        projection = _seeded(study, PuVAE.narrow(study.models.purifier(key))).project(image)
        stored = study.rows.get(row.place)
        label = [rf"$\lambda_\mathrm{{{short}}}$ = {weights[name]:g}" for name, short in WEIGHTS]
        label.append(f"{100 * stored.value:.1f} % correct" if stored else "")
        (nearest,) = np.asarray(projection.labels)
        rows.append(
            PictureRow(
                label="\n".join(label),
                images=np.asarray(projection.candidates)[0],
                words=list(names),
                framed=[index == nearest for index in range(len(names))],
            )
        )
    save_pictures(path, rows, threat_model=ThreatModel.OBLIVIOUS.value)


def trade_off(
    study: Study,
    exhibit: str,
    *,
    defense: str,
    targets: Sequence[str],
    attack: str,
    epsilon: Any,
) -> None:
    """Accuracy of each triple of loss weights, on clean images and on attacked ones.

    A heavier divergence buys accuracy under attack with clean accuracy.

    Args:
        study, exhibit, defense, targets, attack, epsilon: As in ``loss_weights``.
    """
    who = _first(study, defense, targets)
    for scenario in (Scenario(), oblivious(attack, study.budget(epsilon, attack), who.target)):
        _of_weights(study, who, scenario)


def _of_weights(
    study: Study, who: Defended, scenario: Scenario
) -> dict[str, tuple[dict[str, float], Row]]:
    """Measures each triple of a purifier's loss weights; its weights and its row by its key."""
    base = study.plan.purifiers[who.key or ""]
    keys = [
        key
        for key, config in study.plan.variants.items()
        if (config.name, config.source) == (base.name, base.source)
    ]
    found = {}
    for key in (*keys, who.key or "") if keys else ():
        weights = _weights(study.plan.purifier(key).arguments)
        depends_on = {
            "scenario": study.sets.recipe(scenario),
            "purifier": study.models.purifier_recipe(key),
        }
        row = study.row(
            scenario,
            depends_on,
            defense=who.defense,
            decider="target",
            settings={"target": who.target, "source": base.source, **weights},
        )

        def measure(key=key) -> dict[str, Outcome]:
            puvae = _seeded(study, PuVAE.narrow(study.models.purifier(key)))
            purified = puvae.purify(study.sets.images(scenario))
            right = _says(study, who.target, purified) == study.data.test.labels
            return {"": Outcome(right[np.newaxis])}

        study.ensure({"": row}, measure, scenario)
        found[key] = (weights, row)
    return found


def _first(study: Study, defense: str, targets: Sequence[str]) -> Defended:
    """The first of some targets that the plan has behind a purifier."""
    for target in targets:
        who = defended(study.plan, defense, target)
        if who is not None:
            return who
    raise ValueError(
        f"Expected {defense} before one of {list(targets)} in the plan of {study.dataset}, "
        f"received {', '.join(study.plan.purifiers)}. Add one to the profile."
    )


def _weights(arguments: Mapping[str, Any]) -> dict[str, float]:
    """The weights of PuVAE's losses, those published where they are not changed."""
    return {
        name: arguments.get(f"{name}_weight", published)
        for (name, _), published in zip(WEIGHTS, PUBLISHED_WEIGHTS, strict=True)
    }


def _seeded(study: Study, puvae: PuVAE) -> PuVAE:
    puvae.reset_randomness(reproducibility.derive_seed(study.seed, study.dataset, "pictures"))
    return puvae


def _says(study: Study, target: str, images: np.ndarray) -> np.ndarray:
    return classifier_labels(study.models.target(target), images, target)


def _attack_rows(
    study: Study, chosen: np.ndarray, attacked: np.ndarray, said: np.ndarray
) -> list[PictureRow]:
    """The chosen test images, clean and attacked, and the perturbation between them."""
    clean, truth = study.data.test.images[chosen], study.data.test.labels[chosen]
    names = study.data.class_names
    perturbation, factor = amplify(attacked - clean)
    return [
        PictureRow(label="clean\nlabel", images=clean, words=_words(names, truth)),
        _judged("attacked\ntarget says", attacked, names, truth, said),
        PictureRow(label=f"perturbation\n× {factor:.3g}", images=perturbation),
    ]


def _words(names: Sequence[str], labels: np.ndarray) -> list[str]:
    return [names[label] for label in labels]


def _judged(
    label: str, images: np.ndarray, names: Sequence[str], truth: np.ndarray, said: np.ndarray
) -> PictureRow:
    return PictureRow(
        label=label, images=images, words=_words(names, said), right=list(said == truth)
    )
