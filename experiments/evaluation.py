"""Adversarial sets, decisions on them, and the rows they become.

One adversarial set is made per target, attack and epsilon, stored under the hash of
everything it depends on, and serves every defense that faces it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np

from attacks.attack import Attack
from attacks.registry import get_attack
from attacks.threat_models import ThreatModel, attack_mixed, attack_random_member
from defenses.defended_classifier import DefendedClassifier
from defenses.voting import majority_vote
from experiments import fitting, reproducibility
from experiments.config import WIDE_RESNET, Profile
from experiments.training import TrainedModels
from results.rows import Row, RowStore, row_key

ATTACK_BATCH_SIZE = 125
RETRAINED = ("defense_vae", "vqunet")
"""Purifiers that are deployed with a classifier retrained on purified images."""
Crafted = dict[float | None, np.ndarray]
Measured = dict["Measurement", tuple[float, int | None, int | None]]
"""Value, correct and total of each measurement."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one row will say, before its number is known; fields as in `results.row.Row`."""

    defense: str
    classifier: str
    metric: str = "accuracy"
    flags: str = ""


class Study:
    """One data set under one profile: models, adversarial sets and rows.

    Args:
        profile: attacks, epsilons and repetitions.
        models: the trained models, with the images they were trained on.
        rows: where measured numbers go.
    """

    def __init__(self, profile: Profile, models: TrainedModels, rows: RowStore) -> None:
        self.profile, self.models, self.rows = profile, models, rows
        self.plan, self.data, self.seed = models.plan, models.data, models.seed
        self.dataset = models.data.name
        self._image_hash = reproducibility.array_hash(self.data.test.images, self.data.test.labels)

    # -- attacks ------------------------------------------------------------------------------

    def attack(self, name: str) -> Attack:
        """The attack called `name` in this profile."""
        config = self.profile.attacks[name]
        return get_attack(config.name, **config.hyperparameters)

    def oblivious_set(self, target: str, attack_name: str, epsilon: float) -> np.ndarray:
        """Test images attacked on an undefended target.

        Args:
            target: its name.
            attack_name: a name of this profile.
            epsilon: the budget; 0 gives the clean images.

        Returns:
            ``(n, height, width, channels)`` float32 in [0, 1].
        """
        if epsilon == 0:
            return self.data.test.images
        model = self.models.target(target)
        recipe = {"target": reproducibility.weights_hash(model)}
        label = f"{attack_name} on {target}"

        def craft(epsilons: list[float], seed: int, progress: Callable) -> Crafted:
            test = self.data.test
            return self.attack(attack_name).curve(
                model, test.images, test.labels, epsilons,
                seed=seed, batch_size=ATTACK_BATCH_SIZE, progress=progress,
            )  # fmt: skip

        return self._attacked(ThreatModel.OBLIVIOUS, attack_name, epsilon, recipe, label, craft)

    def framework_set(
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
        behind = [self.deployed(purifier, target)] if target else self.models.voters(purifier)
        hashes = [reproducibility.weights_hash(m) for m in (model, *behind)]
        recipe = {"members": hashes, **({"limit": limit} if limit else {})}
        label = f"{attack_name} through {purifier}" + (f" on {target}" if target else "")

        def craft(epsilons: list[float], seed: int, progress: Callable) -> Crafted:
            straight = not model.differentiable
            members = [DefendedClassifier(model, [m], identity_gradient=straight) for m in behind]
            sets, _ = attack_random_member(
                self.attack(attack_name), members, test.images, test.labels, epsilons,
                seed=seed, batch_size=ATTACK_BATCH_SIZE, progress=progress,
            )  # fmt: skip
            return sets

        return self._attacked(
            ThreatModel.FRAMEWORK, attack_name, epsilon, recipe, label, craft, total=len(test)
        )

    def mixed_set(self, attack_name: str, epsilon: float) -> np.ndarray:
        """Test images, half attacked on the Wide-ResNet, half transferred from the substitutes.

        **Reference**: dissertation, 5.4.1.

        Args:
            attack_name: a name of this profile.
            epsilon: the budget; 0 gives the clean images.

        Returns:
            ``(n, height, width, channels)`` float32 in [0, 1].
        """
        if epsilon == 0:
            return self.data.test.images
        model = self.models.target(WIDE_RESNET)
        names = [f"substitute_{index}" for index in range(len(self.plan.substitutes))]
        substitutes = [self.models.target(name) for name in names]
        hashes = [reproducibility.weights_hash(m) for m in (model, *substitutes)]

        def craft(epsilons: list[float], seed: int, progress: Callable) -> Crafted:
            test = self.data.test
            sets, _ = attack_mixed(
                self.attack(attack_name), model, substitutes, test.images, test.labels, epsilons,
                seed=seed, batch_size=ATTACK_BATCH_SIZE, progress=progress,
            )  # fmt: skip
            return sets

        label = f"{attack_name} on {WIDE_RESNET} and {len(substitutes)} substitutes"
        return self._attacked(
            ThreatModel.MIXED, attack_name, epsilon, {"members": hashes}, label, craft
        )

    def deployed(self, purifier: str, target: str) -> keras.Model:
        """The classifier behind a purifier without a pool, retrained where it is published so."""
        if purifier in RETRAINED:
            return self.models.retrained(purifier, target)
        return self.models.target(target)

    def _attacked(
        self,
        threat_model: ThreatModel,
        attack_name: str,
        epsilon: float,
        recipe: dict[str, Any],
        label: str,
        craft: Callable[[list[float], int, Callable], Crafted],
        total: int | None = None,
    ) -> np.ndarray:
        """The stored set of one epsilon; an attack that has no epsilon is run for all at once."""
        attack = self.attack(attack_name)
        whole_axis = attack.allows_native_epsilon
        epsilons = [e for e in self.profile.epsilons if e > 0] if whole_axis else [epsilon]
        seed = reproducibility.derive_seed(
            self.seed, self.dataset, threat_model.value, attack_name, repr(epsilons)
        )
        recipe = {
            **recipe, "attack": attack.config(), "epsilons": epsilons, "images": self._image_hash,
            "threat_model": threat_model.value, "seed": seed, "batch_size": ATTACK_BATCH_SIZE,
        }  # fmt: skip

        def make() -> dict[str, np.ndarray]:
            reproducibility.set_seeds(seed)
            reach = "all epsilons" if whole_axis else f"epsilon {epsilon:g}"
            count = total or len(self.data.test)
            with fitting.progress_bar(count, f"{self.dataset}: {label}, {reach}", "image") as bar:
                made = craft(epsilons, seed, lambda done: bar.update(done - bar.n))
            return {f"epsilon_{e:g}": images for e, images in made.items()}

        return self.models.store.arrays("adversarial_sets", recipe, make)[f"epsilon_{epsilon:g}"]

    # -- decisions ----------------------------------------------------------------------------

    def purified(self, purifier: str, images: np.ndarray, draw: int = 0) -> np.ndarray:
        """Purifies a set; the same draw meets every set with the same random numbers."""
        return self.models.purify(purifier, images, "test images", draw)

    def vote(self, predictions: np.ndarray, draw: int = 0) -> np.ndarray:
        """The vote of R of M on labels ``(n, voters)``."""
        seed = reproducibility.derive_seed(self.seed, self.dataset, "vote", str(draw))
        rng = np.random.default_rng(seed)
        return majority_vote(predictions, self.plan.decision.num_drawn, rng)

    # -- rows ---------------------------------------------------------------------------------

    def settle(
        self,
        experiment: str,
        *,
        attack: str,
        epsilon: float,
        threat_model: str,
        depends_on: Mapping[str, Any],
        measurements: Iterable[Measurement],
        measure: Callable[[], Measured],
    ) -> None:
        """Measures and stores the rows of one adversarial set, unless all are there.

        Args:
            experiment: id of the figure or table.
            attack: the row's attack.
            epsilon: the row's epsilon.
            threat_model: the row's threat model.
            depends_on: everything the numbers depend on beside the attack and the test images;
                hashed with them into `config_hash`.
            measurements: what will be measured.
            measure: returns value, correct and total for each of them.
        """
        wanted = list(measurements)
        recipe = {
            "depends_on": depends_on,
            "attack": None if attack == "none" else self.attack(attack).config(),
            "images": self._image_hash,
        }
        common: dict[str, Any] = {
            "experiment": experiment,
            "dataset": self.dataset,
            "attack": attack,
            "norm": "linf",
            "epsilon": epsilon,
            "threat_model": threat_model,
            "seed": self.seed,
            "config_hash": reproducibility.stable_hash(recipe),
        }
        fields = {
            wish: {
                **common,
                "defense": wish.defense,
                "classifier": wish.classifier,
                "metric": wish.metric,
                "flags": wish.flags,
            }
            for wish in wanted
        }
        if all(self.rows.has(row_key(**fields[wish])) for wish in wanted):
            return
        start = time.perf_counter()
        measured = measure()
        seconds = round((time.perf_counter() - start) / len(wanted), 3)
        rows = []
        for wish in wanted:
            value, correct, total = measured[wish]
            counts: dict[str, Any] = {"correct": correct, "total": total, "seconds": seconds}
            if np.isnan(value):
                # A share of nothing, such as the recovery rate where no voter errs.
                value = 0.0
                fields[wish]["flags"] = ";".join(filter(None, [wish.flags, "undefined"]))
            rows.append(Row(**fields[wish], value=value, **counts))
        self.rows.add(rows)
        self._discard_outdated(experiment, rows)

    def _discard_outdated(self, experiment: str, fresh: Iterable[Row]) -> None:
        """Removes rows that an earlier configuration left at the same place."""
        current = {row.key._replace(config_hash=""): row.config_hash for row in fresh}

        def outdated(row: Row) -> bool:
            place = row.key._replace(config_hash="")
            return place in current and current[place] != row.config_hash

        self.rows.discard(experiment, outdated)


def accuracy(predictions: np.ndarray, labels: np.ndarray) -> tuple[float, int, int]:
    """Value, correct and total of labels ``(n,)`` or ``(n, voters)`` against true ones."""
    truth = labels if predictions.ndim == 1 else labels[:, np.newaxis]
    correct, total = int((predictions == truth).sum()), predictions.size
    return correct / total, correct, total
