"""The experiments of the dissertation's chapter 5: VQUNet before a retrained Wide-ResNet."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from attacks.threat_models import ThreatModel
from defenses.feature_diagnostics import FeatureDiagnostics, feature_diagnostics
from experiments.config import WIDE_RESNET
from experiments.deciders import decided_accuracy, decided_by, depends_on
from experiments.distances import settle_distances
from experiments.evaluation import Measured, Measurement, Study, accuracy
from experiments.inference import classifier_labels
from experiments.oblivious import available, settle_oblivious
from results.rows import make_flags

PURIFIER = "vqunet"
ABLATION = "non_vqunet"
NETWORKS = (PURIFIER, ABLATION, "vqunet_literal")
"""Those of section 5.4.4; the last has algorithm 1 as printed."""
COMPARED = (PURIFIER, "defense_cyclegan", "sfl_vae", "defense_vae")
SHOWN_DEPTHS = (1, 2, 3)
"""The depths of Figures 5.8 to 5.10; the network has a fourth."""


def mixed_accuracy(study: Study, experiment: str, attack: str) -> None:
    """Accuracy of the Wide-ResNet when half of the images are attacked on it, half transferred.

    **Reference**: dissertation, 5.4.3, Figures 5.3 to 5.6.
    **Differs from the paper**: the Wide-ResNet that is attacked is the one trained on clean
    images, so that one set serves every purifier; each purifier is followed by this one and by
    the one retrained on its images, where the text speaks of the second only.
    """
    for epsilon in study.profile.epsilons:
        _settle_wide_resnet(study, experiment, attack, epsilon)


def filtered_accuracy(study: Study, experiment: str) -> None:
    """Accuracy of the Wide-ResNet on clean images, before and after each purifier.

    **Reference**: dissertation, 5.4.2, Table 5.1.
    """
    _settle_wide_resnet(study, experiment, "none", 0.0)


def _settle_wide_resnet(study: Study, experiment: str, attack: str, epsilon: float) -> None:
    models, truth = study.models, study.data.test.labels
    threat_model = "none" if attack == "none" else ThreatModel.MIXED.value
    substitutes = [f"substitute_{i}" for i in range(len(study.plan.substitutes))]
    attacked = [WIDE_RESNET] if attack == "none" else [WIDE_RESNET, *substitutes]
    common = {"attacked": [models.target_recipe(name) for name in attacked]}
    undefended = Measurement(
        defense="none", classifier=WIDE_RESNET, flags=make_flags({"target": WIDE_RESNET})
    )

    def images() -> np.ndarray:
        return study.data.test.images if attack == "none" else study.sets.mixed(attack, epsilon)

    def measure_undefended() -> Measured:
        labels = classifier_labels(models.target(WIDE_RESNET), images(), WIDE_RESNET)
        return {undefended: accuracy(labels, truth)}

    study.settle(
        experiment,
        attack=attack,
        epsilon=epsilon,
        threat_model=threat_model,
        depends_on=common,
        measurements=[undefended],
        measure=measure_undefended,
    )
    for purifier in available(study, COMPARED):
        wishes = decided_by(study, purifier, WIDE_RESNET)

        def measure(purifier=purifier, wishes=wishes) -> Measured:
            return decided_accuracy(study, purifier, images(), {WIDE_RESNET: wishes})

        study.settle(
            experiment,
            attack=attack,
            epsilon=epsilon,
            threat_model=threat_model,
            depends_on={**common, **depends_on(study, purifier, [WIDE_RESNET])},
            measurements=wishes.values(),
            measure=measure,
        )


def reconstruction_distance(study: Study, experiment: str, attack: str) -> None:
    """L1 and L2 of purified attacked images to the clean ones, with and without quantisation.

    **Reference**: dissertation, 5.4.4, Figure 5.7.
    **Differs from the paper**: L2 is shown beside L1, and both readings of algorithm 1.
    """
    settle_distances(
        study, experiment, attack, WIDE_RESNET, available(study, NETWORKS), paired=("l1", "l2")
    )


def feature_changes(study: Study, experiment: str, attack: str) -> None:
    """What an attack changes inside VQUNet and its ablations, depth by depth.

    **Reference**: dissertation, 5.4.4, Figures 5.8 (features before quantisation, with and
    without it), 5.9 (before and after) and 5.10 (indices that change).
    **Differs from the paper**: every change is also given relative to the mean magnitude of the
    clean features, since the two networks' features differ in scale, and relative to their spread
    over the images, since features that tell no two images apart cannot change much. Figure 5.8
    also has VQUNet with the other reading of algorithm 1.
    """
    shown = NETWORKS if experiment == "003.F5.8" else (PURIFIER,)
    for epsilon in study.profile.epsilons:
        for purifier in available(study, shown):
            wishes = _feature_wishes(experiment, purifier)

            def measure(attacked: np.ndarray, purifier=purifier, wishes=wishes) -> Measured:
                found = feature_diagnostics(
                    study.models.purifier(purifier), study.data.test.images, attacked
                )
                numbers = _numbers(found)
                return {wish: (numbers[place], None, None) for place, wish in wishes.items()}

            settle_oblivious(
                study, experiment, attack, epsilon, WIDE_RESNET,
                wishes=wishes, measure=measure,
                purifier=study.models.purifier_recipe(purifier),
            )  # fmt: skip


Place = tuple[str, int, str]


def _feature_wishes(experiment: str, purifier: str) -> Mapping[Place, Measurement]:
    """The rows of one figure, by metric, depth and stage."""
    metrics = ("feature_change", "feature_change_relative", "feature_change_spread")
    stages = {
        "003.F5.8": [(metric, "pre") for metric in metrics],
        "003.F5.9": [(metric, stage) for metric in metrics for stage in ("pre", "post")],
        "003.F5.10": [("index_change", "")],
    }[experiment]
    wishes = {}
    for metric, stage in stages:
        for depth in SHOWN_DEPTHS:
            flags = {"target": WIDE_RESNET, "depth": depth, **({"stage": stage} if stage else {})}
            wishes[metric, depth, stage] = Measurement(
                defense=purifier, classifier=WIDE_RESNET, metric=metric, flags=make_flags(flags)
            )
    return wishes


def _numbers(found: FeatureDiagnostics) -> dict[Place, float]:
    numbers: dict[Place, float | None] = {}
    for one in found.depths:
        numbers["feature_change", one.depth, "pre"] = one.pre_change
        numbers["feature_change_relative", one.depth, "pre"] = one.relative_pre_change
        numbers["feature_change_spread", one.depth, "pre"] = one.spread_pre_change
        numbers["feature_change", one.depth, "post"] = one.post_change
        numbers["feature_change_relative", one.depth, "post"] = one.relative_post_change
        numbers["feature_change_spread", one.depth, "post"] = one.spread_post_change
        if one.changed_index_percent is not None:
            numbers["index_change", one.depth, ""] = one.changed_index_percent / 100
    return {place: number for place, number in numbers.items() if number is not None}
