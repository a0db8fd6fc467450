"""Adversarial test sets under each threat model, made once and kept.

One set is made per attack, epsilon and what is attacked, stored under the hash of everything it
depends on, and serves every defense that faces it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from attacks.attack import Attack
from attacks.registry import get_attack
from attacks.threat_models import ThreatModel, attack_mixed, attack_random_member
from experiments import fitting, reproducibility
from experiments.config import WIDE_RESNET, Profile
from experiments.training import TrainedModels
from experiments.victims import Victims

BATCH_SIZE = 125
UNBOUNDED = 1.0
"""The epsilon that rows carry where an attack has no budget: only the range [0, 1] bounds it."""
Epsilons = list[float | None]
Crafted = dict[float | None, np.ndarray]


class AdversarialSets:
    """The attacked test images of one data set under one profile.

    Args:
        profile: attacks and epsilons.
        models: what is attacked, and the store that keeps the sets.
    """

    def __init__(self, profile: Profile, models: TrainedModels) -> None:
        self.profile, self.models, self.victims = profile, models, Victims(models)
        self.plan, self.data, self.seed = models.plan, models.data, models.seed
        self.image_hash = reproducibility.array_hash(self.data.test.images, self.data.test.labels)

    def attack(self, name: str) -> Attack:
        """The attack called `name` in this profile."""
        config = self.profile.attacks[name]
        return get_attack(config.name, **config.hyperparameters)

    def attack_recipe(self, name: str) -> dict[str, Any]:
        """What the hash of a set and of its rows knows of an attack."""
        targeted = {"targeted": True} if self.profile.attacks[name].targeted else {}
        return {**self.attack(name).config(), **targeted}

    @functools.cached_property
    def goal_labels(self) -> np.ndarray:
        """For each test image the wrong label that a targeted attack leads to, ``(n,)``.

        Drawn once, uniformly among the wrong ones, so that every attack has the same goal.

        **Reference**: PuVAE, eqs. 1 to 3, which do not say how the target is chosen.
        """
        labels, num_classes = self.data.test.labels, self.data.num_classes
        seed = reproducibility.derive_seed(self.seed, self.data.name, "goal labels")
        steps = np.random.default_rng(seed).integers(1, num_classes, size=len(labels))
        return (labels + steps) % num_classes

    def oblivious(self, target: str, attack_name: str, epsilon: float) -> np.ndarray:
        """Test images attacked on an undefended target.

        Args:
            target: its name.
            attack_name: a name of this profile.
            epsilon: the budget; 0 gives the clean images, ``UNBOUNDED`` the perturbations that an
                attack without a budget finds.

        Returns:
            ``(n, height, width, channels)`` float32 in [0, 1].
        """
        return self._on_model(
            ThreatModel.OBLIVIOUS,
            attack_name,
            epsilon,
            model=lambda: self.models.target(target),
            label=f"{attack_name} on {target}",
        )

    def transfer(self, target: str, attack_name: str, epsilon: float) -> np.ndarray:
        """Test images attacked on a substitute of the target.

        **Reference**: PuVAE, sec. V-B, Table 6.

        Args:
            target: the name of the target that the substitute has learnt from.
            attack_name: a name of this profile.
            epsilon: as in `oblivious`.

        Returns:
            ``(n, height, width, channels)`` float32 in [0, 1].
        """
        return self._on_model(
            ThreatModel.TRANSFER,
            attack_name,
            epsilon,
            model=lambda: self.models.substitute(target),
            label=f"{attack_name} on a substitute of {target}",
        )

    def adaptive(
        self,
        purifier: str | None,
        target: str,
        attack_name: str,
        epsilon: float,
        *,
        surrogate: Mapping[str, Any] | None = None,
        num_draws: int = 1,
    ) -> np.ndarray:
        """Test images attacked end to end, by an attacker who knows everything.

        **Reference**: PuVAE, sec. V-C, Figure 8; Athalye, Carlini and Wagner 2018 for what makes
        such an attack go through (expectation over the purifier's randomness, and the identity
        for a gradient that is not there).

        Args:
            purifier: its key in the plan; ``None`` attacks the classifier alone.
            target: the classifier behind it.
            attack_name: a name of this profile.
            epsilon: as in `oblivious`.
            surrogate: arguments of the purifier's ``attack_surrogate``.
            num_draws: draws of the purifier that each gradient averages over.

        Returns:
            ``(n, height, width, channels)`` float32 in [0, 1]: the test images, or as many of
            them as the plan attacks through this purifier.
        """
        known = tuple(sorted((surrogate or {}).items()))
        return self._on_model(
            ThreatModel.ADAPTIVE,
            attack_name,
            epsilon,
            model=lambda: self.victims.end_to_end(purifier, target, known, num_draws),
            label=f"{attack_name} through {purifier or 'nothing'} on {target}",
            limit=self.plan.attacked_through.get(purifier or ""),
            surrogate=dict(known),
            num_draws=num_draws,
        )

    def framework(
        self, purifier: str, attack_name: str, epsilon: float, target: str | None = None
    ) -> np.ndarray:
        """Test images, each attacked through the purifier.

        **Reference**: dissertation, 3.4.4. Behind a pool stands a voter drawn at random for each
        image; a purifier without one is attacked with the classifier that it is deployed with.

        Args:
            purifier: registry key.
            attack_name: a name of this profile.
            epsilon: the budget; 0 gives the clean images.
            target: the target deployed behind a purifier without a pool; ``None`` for one with.

        Returns:
            ``(n, height, width, channels)`` float32 in [0, 1]: the test images, or as many of
            them as the plan attacks through this purifier.
        """
        limit = self.plan.attacked_through.get(purifier)
        test = self.data.test.take(limit)
        if epsilon == 0:
            return test.images
        model = self.models.purifier(purifier)
        behind = self.victims.behind(purifier, target)
        hashes = [reproducibility.weights_hash(m) for m in (model, *behind)]
        recipe = {"members": hashes, **({"limit": limit} if limit else {})}
        label = f"{attack_name} through {purifier}" + (f" on {target}" if target else "")

        def craft(attack: Attack, epsilons: Epsilons, options: dict[str, Any]) -> Crafted:
            members = self.victims.members(purifier, target)
            sets, _ = attack_random_member(
                attack, members, test.images, test.labels, epsilons, **options
            )
            return sets

        return self._stored(
            ThreatModel.FRAMEWORK, attack_name, epsilon, recipe, label, craft, len(test)
        )

    def mixed(self, attack_name: str, epsilon: float) -> np.ndarray:
        """Test images, half attacked on the Wide-ResNet, half transferred from the substitutes.

        **Reference**: dissertation, 5.4.1.

        Args:
            attack_name: a name of this profile.
            epsilon: the budget; 0 gives the clean images.

        Returns:
            ``(n, height, width, channels)`` float32 in [0, 1].
        """
        test = self.data.test
        if epsilon == 0:
            return test.images
        model = self.models.target(WIDE_RESNET)
        names = [f"substitute_{index}" for index in range(len(self.plan.substitutes))]
        substitutes = [self.models.target(name) for name in names]
        hashes = [reproducibility.weights_hash(m) for m in (model, *substitutes)]

        def craft(attack: Attack, epsilons: Epsilons, options: dict[str, Any]) -> Crafted:
            sets, _ = attack_mixed(
                attack, model, substitutes, test.images, test.labels, epsilons, **options
            )
            return sets

        label = f"{attack_name} on {WIDE_RESNET} and {len(substitutes)} substitutes"
        return self._stored(
            ThreatModel.MIXED, attack_name, epsilon, {"members": hashes}, label, craft, len(test)
        )

    def _on_model(
        self,
        threat_model: ThreatModel,
        attack_name: str,
        epsilon: float,
        *,
        model: Callable[[], keras.Model],
        label: str,
        limit: int | None = None,
        **known: Any,
    ) -> np.ndarray:
        """The stored set made on one model, which is only asked for where it is needed.

        `known` is what the set depends on beside the model's weights.
        """
        test = self.data.test.take(limit)
        if epsilon == 0:
            return test.images
        victim = model()
        targeted = self.profile.attacks[attack_name].targeted

        def craft(attack: Attack, epsilons: Epsilons, options: dict[str, Any]) -> Crafted:
            goals = self.goal_labels[: len(test)] if targeted else None
            return attack.curve(
                victim, test.images, test.labels, epsilons, target_labels=goals, **options
            )

        recipe = {"target": reproducibility.weights_hash(victim), **known}
        if limit:
            recipe["limit"] = limit
        return self._stored(threat_model, attack_name, epsilon, recipe, label, craft, len(test))

    def _stored(
        self,
        threat_model: ThreatModel,
        attack_name: str,
        epsilon: float,
        recipe: dict[str, Any],
        label: str,
        craft: Callable[[Attack, Epsilons, dict[str, Any]], Crafted],
        total: int,
    ) -> np.ndarray:
        """The stored set of one epsilon; an attack that has no epsilon is run for all at once."""
        attack = self.attack(attack_name)
        unbounded = attack.allows_native_epsilon and epsilon == UNBOUNDED
        whole_axis = attack.allows_native_epsilon and not unbounded
        epsilons: Epsilons = [None if unbounded else epsilon]
        if whole_axis:
            epsilons = [e for e in self.profile.epsilons if e > 0]
        seed = reproducibility.derive_seed(
            self.seed, self.data.name, threat_model.value, attack_name, repr(epsilons)
        )
        recipe = {
            **recipe, "attack": self.attack_recipe(attack_name), "epsilons": epsilons,
            "images": self.image_hash, "threat_model": threat_model.value, "seed": seed,
            "batch_size": BATCH_SIZE,
        }  # fmt: skip

        def make() -> dict[str, np.ndarray]:
            reproducibility.set_seeds(seed)
            reach = "all epsilons" if whole_axis else f"epsilon {epsilon:g}"
            with fitting.progress_bar(total, f"{self.data.name}: {label}, {reach}", "image") as bar:
                options = {
                    "seed": seed,
                    "batch_size": BATCH_SIZE,
                    "progress": lambda done: bar.update(done - bar.n),
                }
                made = craft(attack, epsilons, options)
            return {f"epsilon_{UNBOUNDED if e is None else e:g}": x for e, x in made.items()}

        return self.models.store.arrays("adversarial_sets", recipe, make)[f"epsilon_{epsilon:g}"]
