"""The experiments of the dissertation's chapter 3: SFL-VAE, collective voting, Bayesian update."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from attacks.threat_models import ThreatModel
from defenses.voting import voting_analysis
from experiments.deciders import POOLED, decided_accuracy, decided_by, depends_on, pool_recipe
from experiments.distances import settle_distances
from experiments.evaluation import Measured, Measurement, Study
from experiments.evidence import vote_predictions
from experiments.oblivious import available, settle_defended, settle_oblivious, settle_undefended
from results.rows import make_flags

PURIFIER = "sfl_vae"
ABLATION = "non_sfl_vae"
BASELINES = ("defense_vae", "defense_gan")
RECONSTRUCTION_TARGET = "A"
VOTING_METRICS = {
    "003.F3.14": ("recovery_rate", "recovery_rate"),
    "003.F3.15": ("overlap_wrong", "wrong_overlap"),
    "003.F3.16": ("overlap_correct", "correct_overlap"),
}
"""Figure -> the row's metric and its name in `defenses.voting.VotingStatistics`."""


def reconstruction_distance(study: Study, experiment: str, attack: str) -> None:
    """L2 and L1 between purified attacked images and the clean originals, with and without SFL.

    **Reference**: dissertation, 3.4.2, Figures 3.2 to 3.5.
    **Differs from the paper**: test images, where the captions say training images; the
    attacked classifier, which the text does not name, is target A.
    """
    settle_distances(study, experiment, attack, RECONSTRUCTION_TARGET, (PURIFIER, ABLATION))


def oblivious_accuracy(study: Study, experiment: str, attack: str) -> None:
    """Accuracy against epsilon when the undefended target is attacked.

    **Reference**: dissertation, 3.4.3, Figures 3.6 to 3.9.
    **Differs from the paper**: vote alone and vote with Bayesian update are kept apart, and
    the update is also given with tables from held-out images.
    """
    for target in study.plan.targets:
        for epsilon in study.profile.epsilons:
            settle_undefended(study, experiment, attack, epsilon, target)
    settle_defended(study, experiment, attack, (PURIFIER, *BASELINES, *study.plan.compared))


def framework_accuracy(study: Study, experiment: str, attack: str) -> None:
    """Accuracy against epsilon when the attacker differentiates through the whole defense.

    **Reference**: dissertation, 3.4.4, Figures 3.10 to 3.13.
    **Differs from the paper**: the voter is drawn anew for each image; Defense-GAN, of which the
    paper perturbs the latent vector without a budget on the image, is attacked on the image,
    with the gradient at its reconstruction (BPDA); Defense-CycleGAN is added.
    """
    compared = (PURIFIER, *BASELINES, "defense_cyclegan", *study.plan.compared)
    for purifier in available(study, compared):
        # A pool is attacked as a whole; elsewhere each target is attacked behind the purifier.
        alone = [[target] for target in study.plan.targets]
        for targets in [list(study.plan.targets)] if purifier in POOLED else alone:
            for epsilon in study.profile.epsilons:
                _settle_framework(study, experiment, attack, epsilon, purifier, targets)


def _settle_framework(
    study: Study, experiment: str, attack: str, epsilon: float, purifier: str, targets: list[str]
) -> None:
    wishes = {target: decided_by(study, purifier, target) for target in targets}
    single = None if purifier in POOLED else targets[0]
    limit = study.plan.attacked_through.get(purifier)
    study.settle(
        experiment,
        attack=attack,
        epsilon=epsilon,
        threat_model=ThreatModel.FRAMEWORK.value,
        depends_on={
            "targets": [study.models.target_recipe(target) for target in targets],
            **depends_on(study, purifier, targets),
            **({"attacked_through": limit} if limit else {}),
        },
        measurements=[wish for named in wishes.values() for wish in named.values()],
        measure=lambda: decided_accuracy(
            study, purifier, study.sets.framework(purifier, attack, epsilon, single), wishes
        ),
    )


def voting(study: Study, experiment: str, attack: str) -> None:
    """Recovery rate and overlaps of the pool against the number of voters.

    **Reference**: dissertation, 3.4.5, Figures 3.14 to 3.16.
    **Differs from the paper**: definitions spelled out (mean over random subsets); the attacked
    classifier, which the text does not name, is target A.
    """
    target = RECONSTRUCTION_TARGET
    metric, statistic = VOTING_METRICS[experiment]
    sizes = range(2, len(study.plan.pool(PURIFIER)) + 1)
    for epsilon in study.profile.voting_epsilons:
        wishes = {
            size: Measurement(
                defense=PURIFIER,
                classifier="vote",
                metric=metric,
                flags=make_flags({"target": target, "voters": size}),
            )
            for size in sizes
        }

        def measure(images: np.ndarray, wishes: Mapping[int, Measurement] = wishes) -> Measured:
            purified = study.purified(PURIFIER, images)
            analysis = voting_analysis(
                vote_predictions(study.models, PURIFIER, purified),
                study.data.test.labels,
                list(sizes),
                num_subsets=study.profile.voting_subsets,
                rng=np.random.default_rng(study.seed),
            )
            return {
                wish: (float(getattr(analysis[size], statistic)), None, None)
                for size, wish in wishes.items()
            }

        settle_oblivious(
            study, experiment, attack, epsilon, target,
            wishes=wishes, measure=measure,
            subsets=study.profile.voting_subsets, **pool_recipe(study, PURIFIER),
        )  # fmt: skip
