"""What is attacked: classifiers behind a purifier, as models that an attack differentiates."""

from __future__ import annotations

import functools
from typing import Any

import keras

from defenses.defended_classifier import DefendedClassifier
from defenses.registry import get_purifier
from experiments.training import TrainedModels
from validation import check_choice

AIMS = ("target", "retrained", "vote", "vote_bayes")
"""What stands behind a purifier when an attack through it is made for one decider: the target, the
target retrained, the mean of the pool, the mean of the pool and the target."""


class Victims:
    """The models that attacks through a purifier of one plan are made on.

    Each is built once for a run: the same networks in a second model would be traced anew.

    Args:
        models: The trained models.
    """

    def __init__(self, models: TrainedModels) -> None:
        self.models, self.plan = models, models.plan

    @functools.cache  # noqa: B019  one object lives as long as a run
    def end_to_end(
        self,
        purifier: str | None,
        target: str,
        surrogate: tuple[tuple[str, Any], ...] = (),
        num_draws: int = 1,
        identity_gradient: bool = False,
    ) -> keras.Model:
        """A target behind a purifier as one model, for an attacker who is given both.

        Args:
            purifier: Its key in the plan; ``None`` gives the target alone.
            target: Its name.
            surrogate: Arguments of the purifier's ``attack_surrogate``, as sorted items.
            num_draws: Draws of the purifier that each gradient averages over.
            identity_gradient: Whether a purifier that differentiates is treated as if it did not.

        Returns:
            Images to logits.
        """
        classifier = self.models.target(target)
        if purifier is None:
            return classifier
        attacked = self.models.purifier(purifier).attack_surrogate(**dict(surrogate))
        return DefendedClassifier(
            attacked,
            [classifier],
            identity_gradient=identity_gradient or not attacked.differentiable,
            num_draws=num_draws,
        )

    # -- one decider behind a purifier ----------------------------------------------------------

    @functools.lru_cache(maxsize=2)  # noqa: B019  one decider after the other meets all budgets
    def aimed(self, purifier: str, aimed: str, target: str, num_draws: int) -> DefendedClassifier:
        """A purifier and what stands behind it for one decider, as one model.

        A vote has no gradient, and neither has the update: the mean of the probabilities of all
        who are asked stands in for them.

        Args:
            purifier: Its key in the plan.
            aimed: One of ``AIMS``.
            target: The target's name, which a vote does not ask.
            num_draws: Draws of a random purifier that each gradient averages over.

        Returns:
            Images to log-probabilities.
        """
        models, model = self.models, self.models.purifier(purifier)
        asked = {
            "target": lambda: [models.target(target)],
            "retrained": lambda: [models.retrained(purifier, target)],
            "vote": lambda: models.voters(purifier),
            "vote_bayes": lambda: [*models.voters(purifier), models.target(target)],
        }
        return DefendedClassifier(
            model,
            asked[check_choice("what an attack is aimed at", aimed, AIMS)](),
            rule="mean",
            identity_gradient=not model.differentiable,
            num_draws=num_draws if model.is_stochastic else 1,
        )

    def aimed_recipes(
        self, purifier: str, aimed: str, targets: tuple[str, ...]
    ) -> list[dict[str, Any]]:
        """The recipes of what ``aimed`` holds; only a vote has several targets."""
        models = self.models
        if aimed == "vote":
            return models.pool_recipes(purifier)
        (target,) = targets
        if aimed == "retrained":
            return [models.retrained_recipe(purifier, target)]
        pool = models.pool_recipes(purifier) if aimed == "vote_bayes" else []
        return [models.purifier_recipe(purifier), *pool, models.target_recipe(target)]

    # -- one classifier, drawn from those that a purifier is deployed with ------------------------

    def deployed(self, purifier: str, targets: tuple[str, ...]) -> str | None:
        """The target that a purifier without a pool is deployed with; ``None`` for a pool."""
        return None if get_purifier(self.plan.purifier(purifier).name).pooled else targets[0]

    def member_recipes(self, purifier: str, target: str | None) -> list[dict[str, Any]]:
        """The recipes of what is attacked: the purifier and the classifiers behind it."""
        models = self.models
        if target is None:
            return models.pool_recipes(purifier)
        if get_purifier(self.plan.purifier(purifier).name).retrains_classifier:
            return [models.retrained_recipe(purifier, target)]
        return [models.purifier_recipe(purifier), models.target_recipe(target)]

    def behind(self, purifier: str, target: str | None) -> list[keras.Model]:
        """The classifiers behind a purifier: the pool, or the one it is deployed with."""
        if target is None:
            return self.models.voters(purifier)
        if get_purifier(self.plan.purifiers[purifier].name).retrains_classifier:
            return [self.models.retrained(purifier, target)]
        return [self.models.target(target)]

    @functools.cache  # noqa: B019
    def members(self, purifier: str, target: str | None) -> list[DefendedClassifier]:
        """Each of ``behind`` behind the purifier, as a model of its own."""
        model = self.models.purifier(purifier)
        return [
            DefendedClassifier(model, [classifier], identity_gradient=not model.differentiable)
            for classifier in self.behind(purifier, target)
        ]
