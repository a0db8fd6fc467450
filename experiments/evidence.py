"""What the pool and the target say of purified training images, and the tables made of it."""

from __future__ import annotations

import functools

import numpy as np

from defenses.decision import ConditionalTables
from defenses.voting import majority_vote
from experiments import reproducibility
from experiments.config import TABLE_SOURCES
from experiments.inference import classifier_labels
from experiments.training import TrainedModels
from validation import check_choice


def vote_predictions(models: TrainedModels, purifier: str, purified: np.ndarray) -> np.ndarray:
    """Every voter's label ``(n, voters)`` on purified images."""
    voters = models.voters(purifier)
    return np.stack(
        [
            classifier_labels(voter, purified, f"voter {number} of {len(voters)}")
            for number, voter in enumerate(voters, start=1)
        ],
        axis=1,
    )


@functools.lru_cache(maxsize=64)
def conditional_tables(
    models: TrainedModels, purifier: str, target: str, source: str | None = None
) -> ConditionalTables:
    """The conditional probability tables of ``purifier`` and ``target``.

    Args:
        models: The trained models.
        purifier: Registry key.
        target: Whose label on the purified image is the first evidence.
        source: ``"train"`` or ``"heldout"``; ``None`` takes the plan's.
    """
    decision = models.plan.decision
    evidence = _evidence(models, purifier, target, source or decision.table_source)
    return ConditionalTables.fit(
        evidence["labels"],
        evidence["target"],
        evidence["vote"],
        models.data.num_classes,
        smoothing=decision.smoothing,
        backoff=decision.backoff,
    )


def _evidence(
    models: TrainedModels, purifier: str, target: str, source: str
) -> dict[str, np.ndarray]:
    """True labels, votes and the target's labels on purified clean images."""
    check_choice("the source of tables", source, TABLE_SOURCES)
    decision, data = models.plan.decision, models.data
    common = {"source": source, "limit": decision.table_limit, "seed": models.seed}

    @functools.cache
    def purified() -> np.ndarray:
        if source == "train":
            return models.purified_training_images(purifier)[: decision.table_limit]
        return models.purify(purifier, data.validation.images, "held-out images")

    def votes() -> dict[str, np.ndarray]:
        predictions = vote_predictions(models, purifier, purified())
        seed = reproducibility.derive_seed(models.seed, data.name, "tables", source)
        rng = np.random.default_rng(seed)
        return {"vote": majority_vote(predictions, models.plan.num_drawn(purifier), rng)}

    def own() -> dict[str, np.ndarray]:
        labels = classifier_labels(models.target(target), purified(), f"target {target}")
        return {"target": labels}

    vote_recipe = {
        "voters": models.pool_recipes(purifier),
        "num_drawn": models.plan.num_drawn(purifier),
        **common,
    }
    target_recipe = {
        "target": models.target_recipe(target),
        "purifier": models.purifier_recipe(purifier),
        **common,
    }
    stored = models.store.arrays("votes", vote_recipe, votes)
    stored |= models.store.arrays("target_labels", target_recipe, own)
    split = data.train if source == "train" else data.validation
    return {"labels": split.labels[: len(stored["vote"])], **stored}
