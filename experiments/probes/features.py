"""What an attack changes inside a purifier with codebooks and its ablations, depth by depth."""

from __future__ import annotations

from collections.abc import Sequence

from defenses.feature_diagnostics import FeatureDiagnostics, feature_diagnostics
from experiments.attacked_sets import Scenario, oblivious
from experiments.measure import Study
from results.row import Row

Place = tuple[str, int, str]
"""Metric, depth and stage."""
CHANGES = ("feature_change", "feature_change_relative", "feature_change_spread")


def features(
    study: Study,
    exhibit: str,
    *,
    attack: str,
    target: str,
    purifiers: Sequence[str],
    depths: Sequence[int],
    stages: Sequence[str],
) -> None:
    """Changes of features, absolute, relative to their size, and relative to their spread.

    Relative, since two networks' features differ in scale; relative to their spread over the
    images, since features that tell no two images apart cannot change much.

    **Reference**: dissertation, 5.4.4, Figures 5.8 and 5.9.

    Args:
        study: Models, sets and rows.
        exhibit: Not needed: rows name no figure.
        attack: A name of the profile.
        target: Whose undefended copy is attacked.
        purifiers: Those that the plan has are measured.
        depths: The depths of the network.
        stages: ``"pre"`` and ``"post"``: before and after quantisation.
    """
    places = [(c, depth, stage) for c in CHANGES for stage in stages for depth in depths]
    _measure(study, attack, target, purifiers, places)


def index_changes(
    study: Study,
    exhibit: str,
    *,
    attack: str,
    target: str,
    purifiers: Sequence[str],
    depths: Sequence[int],
) -> None:
    """The share of code indices that change.

    **Reference**: dissertation, 5.4.4, Figure 5.10.

    Args:
        study, exhibit, attack, target, purifiers, depths: As in ``features``.
    """
    places = [("index_change", depth, "") for depth in depths]
    _measure(study, attack, target, purifiers, places)


def _measure(
    study: Study, attack: str, target: str, purifiers: Sequence[str], places: Sequence[Place]
) -> None:
    for epsilon in study.budgets("axis", attack):
        clean = Scenario(targets=(target,))
        scenario = oblivious(attack, epsilon, target) if epsilon > 0 else clean
        for purifier in purifiers:
            if purifier not in study.plan.purifiers:
                continue
            depends_on = {
                "scenario": study.sets.recipe(scenario),
                "purifier": study.models.purifier_recipe(purifier),
            }
            wanted = {
                place: _row(study, scenario, depends_on, purifier, target, place)
                for place in places
            }

            def measure(scenario=scenario, purifier=purifier) -> dict[Place, float]:
                images = study.sets.images(scenario)
                model = study.models.purifier(purifier)
                unattacked = study.data.test.images[: len(images)]
                return _numbers(feature_diagnostics(model, unattacked, images))

            study.ensure(wanted, measure, scenario)


def _row(
    study: Study, scenario: Scenario, depends_on: dict, purifier: str, target: str, place: Place
) -> Row:
    metric, depth, stage = place
    settings = {"target": target, "depth": depth, **({"stage": stage} if stage else {})}
    return study.row(scenario, depends_on, defense=purifier, metric=metric, settings=settings)


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
