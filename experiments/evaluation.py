"""Decisions on adversarial sets, and the rows they become."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from defenses.voting import majority_vote
from experiments import reproducibility
from experiments.adversarial_sets import AdversarialSets
from experiments.config import Profile
from experiments.training import TrainedModels
from results.rows import Row, RowStore, row_key

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
        self.sets = AdversarialSets(profile, models)

    # -- decisions ----------------------------------------------------------------------------

    def purified(self, purifier: str, images: np.ndarray, draw: int = 0) -> np.ndarray:
        """Purifies a set; the same draw meets every set with the same random numbers."""
        return self.models.purify(purifier, images, "test images", draw)

    def vote(self, predictions: np.ndarray, draw: int = 0) -> np.ndarray:
        """The vote of R of M on labels ``(n, voters)``."""
        seed = reproducibility.derive_seed(self.seed, self.dataset, "vote", str(draw))
        rng = np.random.default_rng(seed)
        return majority_vote(predictions, self.plan.decision.num_drawn, rng)

    def one_of_each_class(self) -> np.ndarray:
        """Index of the first test image of each class, so that none is shown for looking well."""
        return np.unique(self.data.test.labels, return_index=True)[1]

    def picture_path(self, experiment: str) -> Path:
        """Where the images of a figure are kept, beside the rows."""
        return self.rows.folder / f"{experiment}_{self.dataset}.npz"

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
            "attack": None if attack == "none" else self.sets.attack_recipe(attack),
            "images": self.sets.image_hash,
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
