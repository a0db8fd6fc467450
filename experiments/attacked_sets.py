"""Attacked test images under each threat model, made once and kept.

A ``Scenario`` says what the attacker does. Its set is stored under the hash of everything that it
depends on and serves every defense that faces it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from attacks.attack import Attack
from attacks.job import tolerated_share
from attacks.registry import get_attack
from attacks.threat_models import ThreatModel, attack_mixed, attack_random_member
from experiments import fitting, reproducibility
from experiments.config import AttackConfig
from experiments.datasets import Split
from experiments.profile import Profile
from experiments.training import TrainedModels
from experiments.victims import AIMS, Victims

BATCH_SIZE = 125
UNBOUNDED = 1.0
"""The epsilon that rows carry where an attack has no budget: only the range [0, 1] bounds it."""
SURROGATES = {"argmin": False, "softmin": True}
"""How an adaptive attacker treats a purifier's choice among candidates -> whether as a mixture."""
END_TO_END = (ThreatModel.ADAPTIVE, ThreatModel.BPDA, ThreatModel.SCORE)
"""The threat models of an attacker who is given the purifier with the classifier behind it."""
UNMOVED, UNRELIABLE = "unmoved", "unreliable"
"""The flags of a row that was measured on a set of which some, or many, were not attacked."""
Epsilons = list[float | None]
Crafted = dict[float | None, np.ndarray]
Masks = dict[float | None, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenario:
    """Test images as an attacker hands them over.

    Args:
        threat: A name of ``ThreatModel``; ``"none"`` for clean images.
        attack: A name of the profile's attacks; ``"none"`` for clean images.
        epsilon: The budget; ``UNBOUNDED`` for the perturbations that an attack without one finds.
        targets: The classifiers that it is aimed at; several only where one set serves them all.
        through: The purifier that it is led through, by its key in the plan.
        surrogate: One of ``SURROGATES``; ``None`` for a purifier that chooses nothing.
        num_draws: Draws of the purifier that each gradient averages over.
        aimed: Which decider behind the purifier an attack through it is made for, one of
            ``AIMS``; ``None`` for the classifier that the purifier is deployed with, of a pool one
            drawn at random.

    Raises:
        ValueError: If the threat model or the surrogate is unknown, or if clean images are said to
            be attacked.
    """

    threat: str = "none"
    attack: str = "none"
    epsilon: float = 0.0
    targets: tuple[str, ...] = ()
    through: str | None = None
    surrogate: str | None = None
    num_draws: int = 1
    aimed: str | None = None

    def __post_init__(self) -> None:
        for noun, name, known in (
            ("threat model", self.threat, ("none", *ThreatModel)),
            ("aim", self.aimed, (None, *AIMS)),
            ("surrogate", self.surrogate, (None, *SURROGATES)),
        ):
            if name not in known:
                raise ValueError(
                    f"Unknown {noun} {name!r}. Known: {', '.join(filter(None, known))}."
                )
        clean = (self.threat == "none", self.attack == "none", self.epsilon == 0)
        if any(clean) != all(clean):
            raise ValueError(
                "Expected clean images to have the threat model 'none', the attack 'none' and "
                f"epsilon 0, and attacked ones to have all three, received {self}."
            )


def oblivious(attack: str, epsilon: float, target: str) -> Scenario:
    """Images that were made on one undefended classifier."""
    return Scenario(threat=ThreatModel.OBLIVIOUS, attack=attack, epsilon=epsilon, targets=(target,))


class AttackedSets:
    """The attacked test images of one data set under one profile.

    Args:
        profile: Attacks and epsilons.
        models: What is attacked, and the store that keeps the sets.
    """

    def __init__(self, profile: Profile, models: TrainedModels) -> None:
        self.profile, self.models = profile, models
        self.plan, self.data, self.seed = models.plan, models.data, models.seed
        self.victims = Victims(models)
        self.image_hash = reproducibility.array_hash(self.data.test.images, self.data.test.labels)

    # -- what a row says of an attack -----------------------------------------------------------

    def attack_config(self, name: str) -> AttackConfig:
        """How this profile runs the attack called ``name``.

        Raises:
            ValueError: If there is none; the message lists the known ones.
        """
        if name not in self.profile.attacks:
            raise ValueError(f"Unknown attack {name!r}. Known: {', '.join(self.profile.attacks)}.")
        return self.profile.attacks[name]

    def attack(self, name: str) -> Attack:
        """The attack called ``name`` in this profile."""
        config = self.attack_config(name)
        return get_attack(config.name, **config.hyperparameters)

    def margin(self, scenario: Scenario) -> float | None:
        """The ``confidence`` that replaces the attack's own; ``None`` where nothing does.

        A minimum-norm attack leaves an image alone that is misread already. Behind a random
        purifier one draw may misread what the next one reads rightly, so a margin is asked for.
        """
        asked = self.plan.framework_confidence if scenario.aimed else 0.0
        return asked if asked and "confidence" in self.attack(scenario.attack).config() else None

    def attack_recipe(self, name: str) -> dict[str, Any] | None:
        """What the hash of a set and of its rows knows of an attack; ``None`` for clean images."""
        if name == "none":
            return None
        targeted = {"targeted": True} if self.attack_config(name).targeted else {}
        return {**self.attack(name).config(), **targeted}

    def norm(self, scenario: Scenario) -> str:
        """The norm in which the budget of a scenario is measured; empty for clean images.

        A perturbation found without a budget is the smallest in L2.
        """
        if scenario.attack == "none":
            return ""
        bounded = self.attack_config(scenario.attack).bounded
        return self.attack(scenario.attack).norm if bounded else "l2"

    def recipe(self, scenario: Scenario) -> dict[str, Any]:
        """What the images of a scenario depend on beside the attack and the test images."""
        if scenario.attack == "none":
            return {}
        models, limit = self.models, self.limit(scenario)
        limited = {"attacked_through": limit} if limit else {}
        targets = [models.target_recipe(name) for name in scenario.targets]
        if scenario.aimed:
            margin = self.margin(scenario)
            return {
                "members": self.victims.aimed_recipes(
                    scenario.through or "", scenario.aimed, scenario.targets
                ),
                "aimed": scenario.aimed,
                "num_draws_attacked": scenario.num_draws,
                "attacked_through": limit,
                **({"confidence": margin} if margin else {}),
            }
        if scenario.threat == ThreatModel.FRAMEWORK:
            key = scenario.through or ""
            deployed = self.victims.deployed(key, scenario.targets)
            members = self.victims.member_recipes(key, deployed)
            return {"members": members, **limited}
        if scenario.threat == ThreatModel.MIXED:
            transferred = [models.target_recipe(name) for name in self.plan.transferred]
            return {"attacked": [*targets, *transferred], **limited}
        if scenario.threat == ThreatModel.TRANSFER:
            return {"substitute": models.substitute_recipe(scenario.targets[0])}
        if scenario.threat in END_TO_END and scenario.through is not None:
            return {
                "through": models.purifier_recipe(scenario.through),
                "num_draws_attacked": scenario.num_draws,
                "soft_min_temperature": self.plan.soft_min_temperature,
                "attacked_through": limit,
            }
        return {"attacked": targets, **limited}

    def limit(self, scenario: Scenario) -> int | None:
        """How many of the test images are attacked, ``None`` for all."""
        attacked = scenario.through
        if attacked is None and scenario.attack != "none" and scenario.targets:
            attacked = scenario.targets[0]
        known = [self.plan.attacked_through.get(attacked or "")]
        if scenario.attack != "none":
            known.append(self.attack_config(scenario.attack).images)
        return min((number for number in known if number is not None), default=None)

    # -- the images -----------------------------------------------------------------------------

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

    def images(self, scenario: Scenario) -> np.ndarray:
        """The images of a scenario, made if they are not stored.

        Args:
            scenario: What the attacker does.

        Returns:
            ``(n, height, width, channels)`` float32 in [0, 1]: the test images, or as many of
            them as the plan attacks through the purifier.
        """
        return self._set(scenario)[0]

    def flags(self, scenario: Scenario) -> tuple[str, ...]:
        """The flags of rows that are measured on the images of a scenario.

        ``UNMOVED`` if the attack left some images where it started though they were not
        adversarial, as it had no gradient there; ``UNRELIABLE`` too if these are more than
        ``attacks.job.tolerated_share``. Of a set that was stored without this knowledge nothing is
        said.
        """
        unattacked = self._set(scenario)[1]
        if unattacked is None or not unattacked.any():
            return ()
        many = unattacked.mean() > tolerated_share(len(unattacked))
        return (UNMOVED, UNRELIABLE) if many else (UNMOVED,)

    @functools.lru_cache(maxsize=4)  # noqa: B019  one object lives as long as a run
    def _set(self, scenario: Scenario) -> tuple[np.ndarray, np.ndarray | None]:
        """The images of a scenario, and which of them were not attacked, ``None`` if unknown."""
        test = self.data.test.take(self.limit(scenario))
        if scenario.attack == "none":
            return test.images, None
        if scenario.threat == ThreatModel.FRAMEWORK and not scenario.aimed:
            return self._through_members(scenario, test)
        if scenario.threat == ThreatModel.MIXED:
            return self._half_transferred(scenario, test)
        return self._on_one_model(scenario, test)

    def _on_one_model(
        self, scenario: Scenario, test: Split
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Images attacked on the target, on what stands in for it, or end to end."""
        target = " and ".join(scenario.targets)
        known: dict[str, Any] = {}
        if scenario.aimed:
            key, draws = scenario.through or "", scenario.num_draws
            # A vote asks no target, whichever are attacked with it.
            asked = "" if scenario.aimed == "vote" else target
            victim = self.victims.aimed(key, scenario.aimed, asked, draws)
            where = f"{target} through {scenario.through}, aimed at the {scenario.aimed}"
            known = {"aimed": scenario.aimed, "num_draws": scenario.num_draws}
        elif scenario.threat == ThreatModel.TRANSFER:
            victim, where = self.models.substitute(target), f"a surrogate of {target}"
        elif scenario.threat in END_TO_END:
            self._check_queries(scenario)
            surrogate = self._surrogate(scenario)
            victim = self.victims.end_to_end(
                scenario.through,
                target,
                surrogate,
                scenario.num_draws,
                identity_gradient=scenario.threat == ThreatModel.BPDA,
            )
            where = f"{target} through {scenario.through or 'nothing'}"
            known = {"surrogate": dict(surrogate), "num_draws": scenario.num_draws}
        else:
            victim, where = self.models.target(target), target
        targeted = self.attack_config(scenario.attack).targeted

        def craft(
            attack: Attack, epsilons: Epsilons, options: dict[str, Any]
        ) -> tuple[Crafted, Masks]:
            goals = self.goal_labels[: len(test)] if targeted else None
            found = attack.run(
                victim, test.images, test.labels, epsilons, target_labels=goals, **options
            )
            return (
                {e: result.adversarial_images for e, result in found.items()},
                {e: result.unattacked for e, result in found.items()},
            )

        recipe = {"target": reproducibility.weights_hash(victim), **known}
        return self._stored(scenario, recipe, where, craft, len(test))

    def _through_members(
        self, scenario: Scenario, test: Split
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Images attacked through the purifier; behind it a voter drawn at random for each image.

        **Reference**: dissertation, 3.4.4. A purifier without a pool is attacked with the
        classifier that it is deployed with.
        """
        key = scenario.through or ""
        target = self.victims.deployed(key, scenario.targets)
        behind = self.victims.behind(key, target)
        model = self.models.purifier(key)
        recipe = {"members": [reproducibility.weights_hash(m) for m in (model, *behind)]}

        def craft(
            attack: Attack, epsilons: Epsilons, options: dict[str, Any]
        ) -> tuple[Crafted, Masks]:
            members = self.victims.members(key, target)
            sets, _, unattacked = attack_random_member(
                attack, members, test.images, test.labels, epsilons, **options
            )
            return sets, unattacked

        where = f"{target or 'the pool'} through {key}"
        return self._stored(scenario, recipe, where, craft, len(test))

    def _half_transferred(
        self, scenario: Scenario, test: Split
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Images of which half are attacked on the target, half transferred from others.

        **Reference**: dissertation, 5.4.1.
        """
        (target,) = scenario.targets
        model = self.models.target(target)
        substitutes = [self.models.target(name) for name in self.plan.transferred]
        recipe = {"members": [reproducibility.weights_hash(m) for m in (model, *substitutes)]}

        def craft(
            attack: Attack, epsilons: Epsilons, options: dict[str, Any]
        ) -> tuple[Crafted, Masks]:
            sets, _, unattacked = attack_mixed(
                attack, model, substitutes, test.images, test.labels, epsilons, **options
            )
            return sets, unattacked

        where = f"{target} and {len(substitutes)} substitutes"
        return self._stored(scenario, recipe, where, craft, len(test))

    def _stored(
        self,
        scenario: Scenario,
        recipe: dict[str, Any],
        where: str,
        craft: Callable[[Attack, Epsilons, dict[str, Any]], tuple[Crafted, Masks]],
        total: int,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The stored set of one epsilon, and which of its images were not attacked.

        An attack that has no epsilon is run for all at once.
        """
        margin, epsilon = self.margin(scenario), scenario.epsilon
        attack = self.attack(scenario.attack)
        attack_recipe = self.attack_recipe(scenario.attack)
        if margin:
            changes: dict[str, Any] = {"confidence": margin}
            attack = dataclasses.replace(attack, **changes)
            attack_recipe = {**(attack_recipe or {}), **changes}
        unbounded = not self.attack_config(scenario.attack).bounded
        whole_axis = attack.allows_native_epsilon and not unbounded
        epsilons: Epsilons = [None if unbounded else epsilon]
        if whole_axis:
            epsilons = [e for e in self._axis_of(epsilon) if e > 0]
        seed = reproducibility.derive_seed(
            self.seed, self.data.name, scenario.threat, scenario.attack, repr(epsilons)
        )
        limit = self.limit(scenario)
        recipe = {
            **recipe,
            **({"limit": limit} if limit else {}),
            "attack": attack_recipe,
            "epsilons": epsilons,
            "images": self.image_hash,
            "threat_model": scenario.threat,
            "seed": seed,
            "batch_size": BATCH_SIZE,
        }

        def make() -> dict[str, np.ndarray]:
            reproducibility.set_seeds(seed)
            reach = "all epsilons" if whole_axis else f"epsilon {epsilon:g}"
            label = f"{self.data.name}: {scenario.attack} on {where}, {reach}"
            with fitting.progress_bar(total, label, "image") as bar:
                options = {
                    "seed": seed,
                    "batch_size": BATCH_SIZE,
                    "progress": fitting.reporting(bar, total),
                    # A long run does not end for them: their rows are flagged.
                    "tolerated": 1.0,
                }
                made, unattacked = craft(attack, epsilons, options)
            return {
                **{_member("epsilon", e): images for e, images in made.items()},
                **{_member("unattacked", e): mask for e, mask in unattacked.items()},
            }

        stored = self.models.store.arrays("attacked_sets", recipe, make)
        return stored[_member("epsilon", epsilon)], stored.get(_member("unattacked", epsilon))

    def _axis_of(self, epsilon: float) -> Sequence[float]:
        """The profile's set of budgets that an epsilon belongs to: one search serves them all."""
        holding = [budgets for budgets in self.profile.budgets.values() if epsilon in budgets]
        return max(holding, key=len, default=(epsilon,))

    def _check_queries(self, scenario: Scenario) -> None:
        """Raises a ValueError for an attacker who sees outputs alone and asks for a gradient."""
        if scenario.threat == ThreatModel.SCORE and self.attack(scenario.attack).uses_gradient:
            raise ValueError(
                f"Expected an attack by queries under the threat model 'score', received "
                f"{scenario.attack!r}, which takes gradients. Take 'square' or 'spsa', or another "
                "threat model."
            )

    def _surrogate(self, scenario: Scenario) -> tuple[tuple[str, Any], ...]:
        if scenario.surrogate is None:
            return ()
        temperature = self.plan.soft_min_temperature if SURROGATES[scenario.surrogate] else None
        return (("soft_min_temperature", temperature),)


def _member(what: str, epsilon: float | None) -> str:
    """The name of what belongs to one epsilon in a stored set."""
    return f"{what}_{UNBOUNDED if epsilon is None else epsilon:g}"
