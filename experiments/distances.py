"""How far purified images are from the clean ones: L1 and L2 per image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.evaluation import Measured, Measurement, Study
from experiments.oblivious import settle_oblivious
from results.rows import make_flags

ORDERS = {"l2": 2, "l1": 1}
METRICS = ("l2", "l2_standard_error", "l1", "l1_standard_error")


def distances(study: Study, purified: np.ndarray) -> dict[str, float]:
    """Mean and standard error of the per-image L1 and L2 to the clean test images."""
    values = {}
    for norm, order in ORDERS.items():
        lengths = _lengths(study, purified, order)
        values[norm] = float(lengths.mean())
        values[f"{norm}_standard_error"] = _standard_error(lengths)
    return values


def settle_distances(
    study: Study,
    experiment: str,
    attack: str,
    target: str,
    purifiers: Sequence[str],
    paired: Sequence[str] = ("l2",),
) -> None:
    """Distances over epsilon, of a purifier and its ablations, on sets made on one target.

    Args:
        study: models, sets and rows.
        experiment: id of the figure.
        attack: a name of the profile.
        target: whose undefended copy is attacked.
        purifiers: the method and its ablations.
        paired: norms of which the standard error of the difference between the method and the
            first ablation, image by image, is stored beside the method.
    """
    flags = make_flags({"target": target})
    wishes = {
        (name, metric): Measurement(defense=name, classifier=target, metric=metric, flags=flags)
        for name in purifiers
        for metric in METRICS
    }
    gains = {
        norm: Measurement(
            defense=purifiers[0],
            classifier=target,
            metric=f"{norm}_gain_standard_error",
            flags=flags,
        )
        for norm in paired
    }

    def measure(attacked: np.ndarray) -> Measured:
        purified = [study.purified(name, attacked) for name in purifiers]
        found: Measured = {}
        for norm, gain in gains.items():
            first, second = (_lengths(study, images, ORDERS[norm]) for images in purified[:2])
            found[gain] = (_standard_error(first - second), None, None)
        for name, images in zip(purifiers, purified, strict=True):
            for metric, value in distances(study, images).items():
                found[wishes[name, metric]] = (value, None, None)
        return found

    for epsilon in study.profile.epsilons:
        settle_oblivious(
            study, experiment, attack, epsilon, target,
            wishes={**wishes, **gains}, measure=measure,
            purifiers=[study.models.purifier_recipe(name) for name in purifiers],
        )  # fmt: skip


def _lengths(study: Study, purified: np.ndarray, order: int) -> np.ndarray:
    difference = purified.astype(np.float64) - study.data.test.images
    return np.linalg.norm(difference.reshape(len(purified), -1), order, axis=1)


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))
