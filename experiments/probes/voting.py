"""How a pool's predictions agree, against the number of its voters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from defenses.voting import voting_analysis
from experiments.attacked_sets import oblivious
from experiments.deciders import pool_recipe
from experiments.evidence import vote_predictions
from experiments.measure import Study
from validation import check_choice

STATISTICS = {
    "recovery_rate": "recovery_rate",
    "overlap_wrong": "wrong_overlap",
    "overlap_correct": "correct_overlap",
}
"""Metric of the row -> its name in ``defenses.voting.VotingStatistics``."""


def voting(
    study: Study, exhibit: str, *, attack: str, target: str, purifier: str, metrics: Sequence[str]
) -> None:
    """Recovery rate and overlaps of the pool against the number of voters.

    **Reference**: dissertation, 3.4.5, Figures 3.14 to 3.16.
    **Differs from the paper**: definitions spelled out (mean over random subsets).

    Args:
        study: Models, sets and rows.
        exhibit: Not needed: rows name no figure.
        attack: A name of the profile.
        target: Whose undefended copy is attacked.
        purifier: Whose pool.
        metrics: Keys of ``STATISTICS``.
    """
    for metric in metrics:
        check_choice("each statistic of a pool", metric, STATISTICS)
    if target not in study.plan.classifiers or purifier not in study.plan.purifiers:
        return
    sizes = range(2, len(study.plan.pool(purifier)) + 1)
    for epsilon in study.budgets("voting", attack):
        scenario = oblivious(attack, epsilon, target)
        depends_on = {
            "scenario": study.sets.recipe(scenario),
            "subsets": study.profile.voting_subsets,
            **pool_recipe(study.models, study.profile, purifier),
        }
        wanted = {
            (metric, size): study.row(
                scenario,
                depends_on,
                defense=purifier,
                decider="vote",
                metric=metric,
                settings={"target": target, "voters": size},
            )
            for metric in metrics
            for size in sizes
        }

        def measure(scenario=scenario) -> dict[tuple[str, int], float]:
            purified = study.purified(purifier, study.sets.images(scenario))
            analysis = voting_analysis(
                vote_predictions(study.models, purifier, purified),
                study.data.test.labels[: len(purified)],
                list(sizes),
                num_subsets=study.profile.voting_subsets,
                rng=np.random.default_rng(study.seed),
            )
            return {
                (metric, size): float(getattr(analysis[size], STATISTICS[metric]))
                for metric in metrics
                for size in sizes
            }

        study.ensure(wanted, measure, scenario)
