"""Images as points: of which class their neighbours are, and how they lie in a plane."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors

from attacks.threat_models import ThreatModel
from experiments import reproducibility
from experiments.attacked_sets import Scenario, oblivious
from experiments.inference import classifier_logits
from experiments.measure import Study
from results.clouds import Cloud, save_clouds

SPACES = ("pixels", "logits")
NEIGHBOURS = 10
_PLACED = 1000
"""As many images as are placed in a plane; more make it no clearer."""


def neighbourhoods(study: Study, exhibit: str, *, target: str, attack: str, epsilon: float) -> None:
    """Whether attacked images keep company of their class, by pixels and by logits.

    A row says which share of an image's ten nearest neighbours, by L2 among the images of the same
    set, is of its class. The figure places the images in a plane by t-SNE, each set by itself.

    **Reference**: CAP-GAN, sec. I and Figure 1; van der Maaten and Hinton, "Visualizing Data using
    t-SNE", 2008.
    **Differs from the paper**: the share of neighbours; of an embedding no settings are printed:
    these are scikit-learn's, from a start by principal components.

    Args:
        study: Models, sets and rows.
        exhibit: Names the file.
        target: Whose logits are taken, and who is attacked.
        attack: A name of the profile's attacks.
        epsilon: Its budget.
    """
    if target not in study.plan.classifiers:
        return
    scenarios = {"clean": Scenario(), "attacked": oblivious(attack, epsilon, target)}
    for scenario in scenarios.values():
        wanted = {
            space: study.row(
                scenario,
                {
                    "scenario": study.sets.recipe(scenario),
                    "classifier": study.models.target_recipe(target),
                    "neighbours": NEIGHBOURS,
                    "images": _PLACED,
                },
                defense="none",
                metric="neighbours_of_class",
                settings={"target": target, "space": space},
            )
            for space in SPACES
        }
        study.ensure(wanted, partial(_shares, study, scenario, target), scenario)
    path = study.picture_path(exhibit)
    if study.dry_run or path.is_file():
        return
    columns = {"clean": "clean", "attacked": f"{attack.upper()}, ε = {255 * epsilon:.0f}/255"}
    found = {name: _spaces(study, scenario, target) for name, scenario in scenarios.items()}
    clouds = [
        Cloud(row=space, column=columns[name], points=_placed(study, found[name][space]))
        for space in SPACES
        for name in scenarios
    ]
    save_clouds(
        path,
        clouds,
        study.data.test.labels[: len(clouds[0].points)],
        names=study.data.class_names,
        threat_model=ThreatModel.OBLIVIOUS.value,
    )


def _spaces(study: Study, scenario: Scenario, target: str) -> dict[str, np.ndarray]:
    """The images of a scenario as vectors, by space."""
    images = study.sets.images(scenario)[:_PLACED]
    logits = classifier_logits(study.models.target(target), images, f"logits of {target}")
    return {"pixels": images.reshape(len(images), -1), "logits": logits}


def _shares(study: Study, scenario: Scenario, target: str) -> dict[str, Any]:
    found = _spaces(study, scenario, target)
    return {space: _share(vectors, study.data.test.labels) for space, vectors in found.items()}


def _share(vectors: np.ndarray, labels: np.ndarray) -> float:
    """The share of nearest neighbours that are of the same class."""
    number = min(NEIGHBOURS, len(vectors) - 1)
    nearest = NearestNeighbors(n_neighbors=number).fit(vectors).kneighbors(return_distance=False)
    own = labels[: len(vectors)]
    return float(np.mean(own[nearest] == own[:, np.newaxis]))


def _placed(study: Study, vectors: np.ndarray) -> np.ndarray:
    """Points of a plane, ``(n, 2)``."""
    seed = reproducibility.derive_seed(study.seed, study.dataset, "t-SNE")
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed % 2**32).fit_transform(vectors)
