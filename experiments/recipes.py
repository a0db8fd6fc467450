"""What every model of a plan is made from, known before any is trained.

A recipe names what it makes: the artifact store, the zoo and the rows hash it. It holds the
configuration, the checksum of the data, the seed, and the recipes of the models it needs.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from attacks.substitute import SubstituteTraining
from experiments.config import SubstituteConfig
from experiments.datasets import Dataset
from experiments.profile import DatasetPlan


class Recipes:
    """The recipes of one plan.

    Args:
        plan: What to train.
        data: The images; their checksum enters every recipe.
        seed: Every part derives its own seed from it.
    """

    def __init__(self, plan: DatasetPlan, data: Dataset, seed: int) -> None:
        self.plan, self.data, self.seed = plan, data, seed

    def recipe(self, config: Any, **inputs: Any) -> dict[str, Any]:
        """What a model of this plan is made from."""
        dataset = dataclasses.replace(self.plan.dataset, test_limit=None)
        return {
            "config": config,
            "dataset": dataset,
            "checksum": self.data.checksum,
            "seed": self.seed,
            **inputs,
        }

    def target_recipe(self, name: str) -> dict[str, Any]:
        """The recipe of a classifier of ``DatasetPlan.classifiers``."""
        return self.recipe(self.plan.classifier(name))

    def purifier_recipe(self, name: str) -> dict[str, Any]:
        """The recipe of purifier ``name``, with the classifier that it is trained with."""
        config = self.plan.purifier(name)
        needed = {}
        if config.copies:
            needed["target"] = self.target_recipe(config.copies.target)
        if config.source:
            needed["source"] = self.target_recipe(config.source)
        return self.recipe(config, **needed)

    def voter_recipe(self, purifier: str, index: int) -> dict[str, Any]:
        """The recipe of the voter at ``index`` of the pool behind ``purifier``."""
        return self.recipe(
            self.plan.pool(purifier)[index], index=index, purifier=self.purifier_recipe(purifier)
        )

    def pool_recipes(self, purifier: str) -> list[dict[str, Any]]:
        """The recipes of the whole pool behind ``purifier``."""
        return [self.voter_recipe(purifier, i) for i in range(len(self.plan.pool(purifier)))]

    def retrained_recipe(self, purifier: str, name: str) -> dict[str, Any]:
        """The recipe of target ``name``, trained on what ``purifier`` makes of its images."""
        return self.recipe(
            self.plan.retrained_classifier(name),
            retrained=name,
            purifier=self.purifier_recipe(purifier),
        )

    def substitute_recipe(self, name: str) -> dict[str, Any]:
        """The recipe of what attacks on target ``name`` are transferred from.

        Either another classifier of the plan, or a substitute that is learnt from its answers.
        """
        if name in self.plan.surrogates:
            return self.target_recipe(self.plan.surrogates[name])
        substitute, training = self._substitute()
        return self.recipe(
            substitute.classifier,
            queried=self.target_recipe(name),
            substitute_training=dataclasses.asdict(training),
        )

    def substitute_training(self) -> SubstituteTraining:
        """How an attacker without weights learns a substitute."""
        return self._substitute()[1]

    def _substitute(self) -> tuple[SubstituteConfig, SubstituteTraining]:
        substitute = self.plan.substitute
        if substitute is None:
            raise ValueError(
                f"Expected a plan of {self.data.name} with a substitute for attackers without "
                "weights, received none. Add one to the profile, or choose another data set."
            )
        return substitute, SubstituteTraining(**substitute.arguments)
