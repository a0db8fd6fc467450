"""What an attacker differentiates: a classifier behind a purifier, as one model.

Each is built once for a run: the same networks in a second model would be traced anew.
"""

from __future__ import annotations

import functools
from typing import Any

import keras

from defenses.defended_classifier import DefendedClassifier
from experiments.training import TrainedModels

RETRAINED = ("defense_vae", "vqunet")
"""Purifiers that are deployed with a classifier retrained on purified images."""


class Victims:
    """The defended classifiers of one data set.

    Args:
        models: the purifiers and classifiers that they are built of.
    """

    def __init__(self, models: TrainedModels) -> None:
        self.models = models

    @functools.cache  # noqa: B019  see the module
    def end_to_end(
        self,
        purifier: str | None,
        target: str,
        surrogate: tuple[tuple[str, Any], ...] = (),
        num_draws: int = 1,
    ) -> keras.Model:
        """A target behind a purifier, for an attacker who knows both.

        Args:
            purifier: its key in the plan; ``None`` gives the target alone.
            target: its name.
            surrogate: arguments of the purifier's ``attack_surrogate``, as sorted items.
            num_draws: draws of the purifier that each gradient averages over.

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
            identity_gradient=not attacked.differentiable,
            num_draws=num_draws,
        )

    def behind(self, purifier: str, target: str | None) -> list[keras.Model]:
        """The classifiers behind a purifier: the one that is deployed, or the pool."""
        return [self.deployed(purifier, target)] if target else self.models.voters(purifier)

    def deployed(self, purifier: str, target: str) -> keras.Model:
        """The classifier behind a purifier without a pool, retrained where it is published so."""
        if purifier in RETRAINED:
            return self.models.retrained(purifier, target)
        return self.models.target(target)

    @functools.cache  # noqa: B019  see the module
    def members(self, purifier: str, target: str | None) -> list[DefendedClassifier]:
        """Each of the classifiers of `behind` behind the purifier.

        Args:
            purifier: its key in the plan.
            target: the target that is deployed; ``None`` for the pool.
        """
        model = self.models.purifier(purifier)
        return [
            DefendedClassifier(model, [classifier], identity_gradient=not model.differentiable)
            for classifier in self.behind(purifier, target)
        ]
