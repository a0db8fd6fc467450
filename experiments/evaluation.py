"""Adversarial sets, decisions on them, and the rows they become.

One adversarial set is made per target, attack and epsilon, stored under the hash of
everything it depends on, and serves every defense that faces it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from attacks.attack import Attack
from attacks.registry import get_attack
from attacks.threat_models import ThreatModel, attack_random_member
from defenses.defended_classifier import DefendedClassifier
from defenses.voting import majority_vote
from experiments import fitting, reproducibility
from experiments.config import Profile
from experiments.inference import classifier_labels
from experiments.training import TrainedModels
from results.rows import Row, RowStore, row_key

ATTACK_BATCH_SIZE = 125
Crafted = dict[float | None, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one row will say, before its number is known; fields as in `results.row.Row`."""

    defense: str
    classifier: str
    metric: str = "accuracy"
    flags: str = ""


@dataclasses.dataclass(frozen=True)
class Decisions:
    """What everybody says of one purified set.

    Args:
        voters: ``(n, voters)`` labels of the pool.
        vote: ``(n,)`` the winning labels.
        targets: by target name, its labels ``(n,)`` on the purified images.
    """

    voters: np.ndarray
    vote: np.ndarray
    targets: Mapping[str, np.ndarray]


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

    def framework_set(self, purifier: str, attack_name: str, epsilon: float) -> np.ndarray:
        """Test images, each attacked through the purifier on a voter drawn at random for it.

        **Reference**: dissertation, 3.4.4; the fact sheet's threat model TM-7.

        Args:
            purifier: registry key.
            attack_name: a name of this profile.
            epsilon: the budget; 0 gives the clean images.

        Returns:
            ``(n, height, width, channels)`` float32 in [0, 1].
        """
        if epsilon == 0:
            return self.data.test.images
        model = self.models.purifier(purifier)
        voters = self.models.voters(purifier)
        hashes = [reproducibility.weights_hash(m) for m in (model, *voters)]
        label = f"{attack_name} through {purifier}"

        def craft(epsilons: list[float], seed: int, progress: Callable) -> Crafted:
            test = self.data.test
            members = [DefendedClassifier(model, [voter]) for voter in voters]
            sets, _ = attack_random_member(
                self.attack(attack_name), members, test.images, test.labels, epsilons,
                seed=seed, batch_size=ATTACK_BATCH_SIZE, progress=progress,
            )  # fmt: skip
            return sets

        return self._attacked(
            ThreatModel.FRAMEWORK, attack_name, epsilon, {"members": hashes}, label, craft
        )

    def _attacked(
        self,
        threat_model: ThreatModel,
        attack_name: str,
        epsilon: float,
        recipe: dict[str, Any],
        label: str,
        craft: Callable[[list[float], int, Callable], Crafted],
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
            total = len(self.data.test)
            with fitting.progress_bar(total, f"{self.dataset}: {label}, {reach}", "image") as bar:
                made = craft(epsilons, seed, lambda done: bar.update(done - bar.n))
            return {f"epsilon_{e:g}": images for e, images in made.items()}

        return self.models.store.arrays("adversarial_sets", recipe, make)[f"epsilon_{epsilon:g}"]

    # -- decisions ----------------------------------------------------------------------------

    def purified(self, purifier: str, images: np.ndarray, draw: int = 0) -> np.ndarray:
        """Purifies a set; the same draw meets every set with the same random numbers."""
        return self.models.purify(purifier, images, "test images", draw)

    def decide(
        self, purifier: str, purified: np.ndarray, targets: Iterable[str], draw: int = 0
    ) -> Decisions:
        """Asks the pool and the named targets about purified images."""
        predictions = self.models.vote_predictions(purifier, purified)
        return Decisions(
            voters=predictions,
            vote=self.vote(predictions, draw),
            targets={
                name: classifier_labels(self.models.target(name), purified, f"target {name}")
                for name in targets
            },
        )

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
        measure: Callable[[], Mapping[Measurement, tuple[float, int | None, int | None]]],
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
