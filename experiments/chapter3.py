"""The experiments of the dissertation's chapter 3: SFL-VAE, collective voting, Bayesian update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from attacks.threat_models import ThreatModel
from defenses.voting import voting_analysis
from experiments.evaluation import Decisions, Measurement, Study, accuracy
from experiments.inference import classifier_labels
from results.rows import make_flags

PURIFIER = "sfl_vae"
ABLATION = "non_sfl_vae"
RECONSTRUCTION_TARGET = "A"
VOTING_METRICS = {
    "003.F3.14": ("recovery_rate", "recovery_rate"),
    "003.F3.15": ("overlap_wrong", "wrong_overlap"),
    "003.F3.16": ("overlap_correct", "correct_overlap"),
}
"""Figure -> the row's metric and its name in `defenses.voting.VotingStatistics`."""
Measured = dict[Measurement, tuple[float, int | None, int | None]]


def _pool_recipe(study: Study, purifier: str) -> dict[str, Any]:
    """What the decision of the whole defense depends on, beside the attack."""
    models = study.models
    return {
        "voters": [models.voter_recipe(purifier, i) for i in range(len(study.plan.voters))],
        "decision": study.plan.decision,
        "num_draws": study.profile.num_draws,
    }


def _settle_oblivious(
    study: Study,
    experiment: str,
    attack: str,
    epsilon: float,
    target: str,
    *,
    wishes: Mapping[Any, Measurement],
    measure: Callable[[np.ndarray], Measured],
    **depends_on: Any,
) -> None:
    """Settles what is measured on one set made on the undefended `target`."""
    study.settle(
        experiment,
        attack=attack,
        epsilon=epsilon,
        threat_model=ThreatModel.OBLIVIOUS.value,
        depends_on={"target": study.models.target_recipe(target), **depends_on},
        measurements=wishes.values(),
        measure=lambda: measure(study.oblivious_set(target, attack, epsilon)),
    )


def _repeats(study: Study) -> dict[str, int]:
    """The flag of counts that pool several draws of a stochastic defense."""
    return {"draws": study.profile.num_draws} if study.profile.num_draws > 1 else {}


# -- Figures 3.2 to 3.5: distance of the purified images to the clean ones ----------------------


def reconstruction_distance(study: Study, experiment: str, attack: str) -> None:
    """L2 and L1 between purified attacked images and the clean originals, with and without SFL.

    **Reference**: dissertation, 3.4.2, Figures 3.2 to 3.5.
    **Differs from the paper**: test images, where the captions say training images; the
    attacked classifier, which the text does not name, is target A.
    """
    target = RECONSTRUCTION_TARGET
    names = (PURIFIER, ABLATION)
    flags = make_flags({"target": target})
    metrics = ("l2", "l2_standard_error", "l1", "l1_standard_error")
    wishes = {
        (name, metric): Measurement(defense=name, classifier=target, metric=metric, flags=flags)
        for name in names
        for metric in metrics
    }
    gain = Measurement(
        defense=PURIFIER, classifier=target, metric="l2_gain_standard_error", flags=flags
    )

    def measure(attacked: np.ndarray) -> Measured:
        purified = {name: study.purified(name, attacked) for name in names}
        measured: Measured = {gain: (_gain_standard_error(study, purified), None, None)}
        for name in names:
            for metric, value in distances(study, purified[name]).items():
                measured[wishes[name, metric]] = (value, None, None)
        return measured

    for epsilon in study.profile.epsilons:
        _settle_oblivious(
            study, experiment, attack, epsilon, target,
            wishes={**wishes, "gain": gain}, measure=measure,
            purifiers=[study.models.purifier_recipe(name) for name in names],
        )  # fmt: skip


def _gain_standard_error(study: Study, purified: Mapping[str, np.ndarray]) -> float:
    """Standard error of the mean difference in L2 between the two purifiers, image by image."""
    lengths = [
        np.linalg.norm((purified[name] - study.data.test.images).reshape(len(study.data.test), -1),
                       axis=1)
        for name in (PURIFIER, ABLATION)
    ]  # fmt: skip
    difference = lengths[0] - lengths[1]
    return float(difference.std(ddof=1) / np.sqrt(len(difference)))


def distances(study: Study, purified: np.ndarray) -> dict[str, float]:
    """Mean and standard error of the per-image L1 and L2 to the clean test images."""
    difference = (purified.astype(np.float64) - study.data.test.images).reshape(len(purified), -1)
    values = {}
    for norm, order in (("l2", 2), ("l1", 1)):
        lengths = np.linalg.norm(difference, order, axis=1)
        values[norm] = float(lengths.mean())
        values[f"{norm}_standard_error"] = float(lengths.std(ddof=1) / np.sqrt(len(lengths)))
    return values


# -- Figures 3.6 to 3.9: the attacker knows the target, not the defense ------------------------


def oblivious_accuracy(study: Study, experiment: str, attack: str) -> None:
    """Accuracy against epsilon when the undefended target is attacked.

    **Reference**: dissertation, 3.4.3, Figures 3.6 to 3.9.
    **Differs from the paper**: vote alone and vote with Bayesian update are kept apart, and
    the update is also given with tables from held-out images.
    """
    for target in study.plan.targets:
        for epsilon in study.profile.epsilons:
            _settle_undefended(study, experiment, attack, epsilon, target)
            _settle_defended(study, experiment, attack, epsilon, target)


def _settle_undefended(
    study: Study, experiment: str, attack: str, epsilon: float, target: str
) -> None:
    wish = Measurement(defense="none", classifier=target, flags=make_flags({"target": target}))

    def measure(images: np.ndarray) -> Measured:
        labels = classifier_labels(study.models.target(target), images, f"target {target}")
        return {wish: accuracy(labels, study.data.test.labels)}

    _settle_oblivious(
        study, experiment, attack, epsilon, target, wishes={target: wish}, measure=measure
    )


def _settle_defended(
    study: Study, experiment: str, attack: str, epsilon: float, target: str
) -> None:
    wishes = _defended_measurements(study, target)
    _settle_oblivious(
        study, experiment, attack, epsilon, target,
        wishes=wishes,
        measure=lambda images: _defended_accuracy(study, images, {target: wishes}),
        **_pool_recipe(study, PURIFIER),
    )  # fmt: skip


def _defended_measurements(study: Study, target: str) -> dict[str, Measurement]:
    """Everybody who decides on purified images, by a short name."""
    own = {"target": target, **_repeats(study)}
    pool = {**own, "voters": len(study.plan.voters)}
    drawn = {**pool, "drawn": study.plan.decision.num_drawn}
    parts = {
        "target": (target, own),
        "mean_voter": ("mean_voter", pool),
        "vote": ("vote", drawn),
        "vote_bayes": ("vote_bayes", drawn),
        "vote_bayes_heldout": ("vote_bayes", {**drawn, "tables": "heldout"}),
    }
    return {
        name: Measurement(defense=PURIFIER, classifier=classifier, flags=make_flags(flags))
        for name, (classifier, flags) in parts.items()
    }


def _defended_accuracy(
    study: Study, images: np.ndarray, wishes: Mapping[str, Mapping[str, Measurement]]
) -> Measured:
    """Accuracy of every decision on one attacked set, pooled over the profile's draws."""
    labels = study.data.test.labels
    tables = {
        (target, source): study.models.tables(PURIFIER, target, source)
        for target in wishes
        for source in (study.plan.decision.table_source, "heldout")
    }
    decisions: list[Decisions] = []
    for draw in range(study.profile.num_draws):
        purified = study.purified(PURIFIER, images, draw)
        decisions.append(study.decide(PURIFIER, purified, wishes, draw))
    truth = np.tile(labels, len(decisions))
    votes = np.concatenate([decision.vote for decision in decisions])
    voters = np.concatenate([decision.voters for decision in decisions])
    measured: Measured = {}
    for target, named in wishes.items():
        own = np.concatenate([decision.targets[target] for decision in decisions])
        answers = {
            "target": own,
            "mean_voter": voters,
            "vote": votes,
            "vote_bayes": tables[target, study.plan.decision.table_source].decide(own, votes),
            "vote_bayes_heldout": tables[target, "heldout"].decide(own, votes),
        }
        measured |= {wish: accuracy(answers[name], truth) for name, wish in named.items()}
    return measured


# -- Figures 3.10 to 3.13: the attacker differentiates through the defense ---------------------


def framework_accuracy(study: Study, experiment: str, attack: str) -> None:
    """Accuracy against epsilon when purifier and a random voter are attacked end to end.

    **Reference**: dissertation, 3.4.4, Figures 3.10 to 3.13.
    **Differs from the paper**: nothing; the voter is drawn anew for each image.
    """
    wishes = {target: _defended_measurements(study, target) for target in study.plan.targets}
    for epsilon in study.profile.epsilons:

        def measure(epsilon: float = epsilon) -> Measured:
            images = study.framework_set(PURIFIER, attack, epsilon)
            return _defended_accuracy(study, images, wishes)

        study.settle(
            experiment,
            attack=attack,
            epsilon=epsilon,
            threat_model=ThreatModel.FRAMEWORK.value,
            depends_on={
                "targets": [study.models.target_recipe(t) for t in study.plan.targets],
                **_pool_recipe(study, PURIFIER),
            },
            measurements=[wish for named in wishes.values() for wish in named.values()],
            measure=measure,
        )


# -- Figures 3.14 to 3.16: how many voters ------------------------------------------------------


def voting(study: Study, experiment: str, attack: str) -> None:
    """Recovery rate and overlaps of the pool against the number of voters.

    **Reference**: dissertation, 3.4.5, Figures 3.14 to 3.16.
    **Differs from the paper**: definitions spelled out (mean over random subsets); the attacked
    classifier, which the text does not name, is target A.
    """
    target = RECONSTRUCTION_TARGET
    metric, statistic = VOTING_METRICS[experiment]
    sizes = range(2, len(study.plan.voters) + 1)
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
                study.models.vote_predictions(PURIFIER, purified),
                study.data.test.labels,
                list(sizes),
                num_subsets=study.profile.voting_subsets,
                rng=np.random.default_rng(study.seed),
            )
            return {
                wish: (float(getattr(analysis[size], statistic)), None, None)
                for size, wish in wishes.items()
            }

        _settle_oblivious(
            study, experiment, attack, epsilon, target,
            wishes=wishes, measure=measure,
            subsets=study.profile.voting_subsets, **_pool_recipe(study, PURIFIER),
        )  # fmt: skip
