"""Trains every model of a plan on demand, once, and keeps it in the artifact store."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from defenses.adversarial_training import FGSMAdversarialTraining, PGDAdversarialTraining
from defenses.purifier import Purifier
from defenses.registry import get_purifier
from experiments import devices, fitting, reproducibility, zoo
from experiments.artifacts import ArtifactStore
from experiments.attacked_copies import attacked_copies
from experiments.config import ClassifierConfig, PurifierConfig
from experiments.datasets import Batches, Dataset, Split
from experiments.inference import classifier_labels
from experiments.profile import DatasetPlan
from experiments.recipes import Recipes
from models.registry import build_classifier


class TrainedModels(Recipes):
    """The targets, purifiers, voters and retrained targets of one plan.

    Each is trained when first asked for, stored under the hash of its recipe (configuration,
    data checksum, seed, and for voters the purifier in front of them), and kept in memory.

    Args:
        plan: What to train.
        data: The images; their checksum enters every recipe.
        store: Where the models are kept.
        seed: Every part derives its own seed from it.
        published: A zoo whose models of the same recipe are taken instead of training;
            ``None`` trains.
    """

    def __init__(
        self,
        plan: DatasetPlan,
        data: Dataset,
        store: ArtifactStore,
        seed: int,
        published: Path | None = None,
    ) -> None:
        super().__init__(plan, data, seed)
        self.store, self.published = store, published

    @functools.cache  # noqa: B019  one object lives as long as a run
    def target(self, name: str) -> keras.Model:
        """Target classifier ``name``, trained on clean images."""
        recipe = self.target_recipe(name)
        return self._classifier(
            "targets", recipe, lambda: self.data.train, f"target {name}", f"target-{name}"
        )

    @functools.cache  # noqa: B019
    def purifier(self, name: str) -> Purifier:
        """Purifier or variant ``name``.

        A purifier and its ablation start from the same weights and see the same batches: the
        seed of a purifier does not depend on its loss weights.
        """
        config, recipe = self.plan.purifier(name), self.purifier_recipe(name)
        checkpoint = self.store.checkpoint_path("purifiers", recipe)

        def make() -> Purifier:
            source = {"source_classifier": self.target(config.source)} if config.source else {}
            split = self.data.train.take(config.training.train_limit)
            attacked = self._attacked_copies(config, split)
            seed = reproducibility.derive_seed(self.seed, self.data.name, "purifier")
            reproducibility.set_seeds(seed)
            purifier = get_purifier(config.name).for_images(
                self.data.input_shape,
                self.data.num_classes,
                width=config.width,
                seed=seed,
                **config.arguments,
                **source,
            )
            if not purifier.loss_names:
                return purifier  # there is nothing to train
            batches = Batches(
                split.images,
                split.labels,
                config.training,
                seed=seed,
                keys=purifier.batch_keys,
                attacked=attacked,
            )
            steps = fitting.steps_per_epoch(batches)
            purifier.compile(
                **{
                    n: fitting.make_optimizer(config.training, steps)
                    for n in purifier.optimizer_names
                }
            )
            fitting.fit(
                purifier,
                batches,
                config.training.epochs,
                checkpoint=checkpoint,
                label=f"{self.data.name}: {config.name}",
            )
            return purifier

        return self._stored("purifiers", recipe, make, checkpoint)

    def _attacked_copies(self, config: PurifierConfig, split: Split) -> list[np.ndarray]:
        """The adversarial training images of a purifier that has them."""
        if config.copies is None:
            return []
        victim = self.target(config.copies.target)
        seed = reproducibility.derive_seed(self.seed, self.data.name, "attacked copies")
        label = f"{self.data.name}: attacked copies for {config.name}"
        return attacked_copies(
            self.store, victim, split, config.copies.attacks, seed=seed, label=label
        )

    @functools.cache  # noqa: B019
    def purified_training_images(self, purifier: str) -> np.ndarray:
        """One seeded pass over the training images that voters, retraining or tables use."""
        retrained = [self.plan.retrained_classifier(name) for name in self.plan.retrained]
        students = [*self.plan.pool(purifier), *retrained]
        limits = [student.training.train_limit for student in students]
        limits.append(self.plan.decision.table_limit)
        known = [limit for limit in limits if limit is not None]
        limit = max(known) if len(known) == len(limits) else None
        return self.purify(purifier, self.data.train.images[:limit], "training images")

    def purify(self, purifier: str, images: np.ndarray, purpose: str, draw: int = 0) -> np.ndarray:
        """Purifies images; the randomness depends on the seed, ``purpose`` and ``draw`` alone."""
        model = self.purifier(purifier)
        seed = reproducibility.derive_seed(self.seed, self.data.name, purpose, str(draw))
        model.reset_randomness(seed)
        return model.purify(images)

    def purified_test_images(self, purifier: str, images: np.ndarray, draw: int = 0) -> np.ndarray:
        """Purifies test images, attacked or not; a draw meets every set with the same numbers."""
        return self.purify(purifier, images, "test images", draw)

    @functools.cache  # noqa: B019
    def voter(self, purifier: str, index: int) -> keras.Model:
        """The voter at ``index``, trained on images purified by ``purifier``."""
        recipe = self.voter_recipe(purifier, index)
        name = self.plan.pool(purifier)[index].architecture
        label = f"{purifier}, voter {name}"
        return self._on_purified("voters", recipe, purifier, label, f"voter-{index}")

    def voters(self, purifier: str) -> list[keras.Model]:
        """The whole pool behind ``purifier``."""
        return [self.voter(purifier, index) for index in range(len(self.plan.pool(purifier)))]

    @functools.cache  # noqa: B019
    def retrained(self, purifier: str, name: str) -> keras.Model:
        """Target ``name``, trained anew on images purified by ``purifier``."""
        recipe = self.retrained_recipe(purifier, name)
        label = f"{purifier}, target {name} retrained"
        return self._on_purified("retrained", recipe, purifier, label, f"retrained-{name}")

    def _on_purified(
        self, kind: str, recipe: dict[str, Any], purifier: str, label: str, seed_name: str
    ) -> keras.Model:
        """A classifier trained on purified images, which are made only if it is not there."""

        def split() -> Split:
            purified = self.purified_training_images(purifier)
            return Split(purified, self.data.train.labels[: len(purified)])

        return self._classifier(kind, recipe, split, label, seed_name)

    @functools.cache  # noqa: B019
    def substitute(self, name: str) -> keras.Model:
        """What attacks on target ``name`` are transferred from.

        The surrogate that the plan names, trained apart on the same images, or else a classifier
        learnt from the target's answers to the attacker's own images.
        """
        if name in self.plan.surrogates:
            return self.target(self.plan.surrogates[name])
        recipe = self.substitute_recipe(name)

        def make() -> keras.Model:
            target, training = self.target(name), self.substitute_training()
            seed = reproducibility.derive_seed(self.seed, self.data.name, f"substitute of {name}")
            reproducibility.set_seeds(seed)
            model = self._built(recipe["config"], seed)
            label = f"{self.data.name}: substitute of {name}"
            with fitting.progress_bar(training.num_rounds, label, "round") as bar:
                training(
                    model,
                    lambda images: classifier_labels(target, images, f"queries to {name}"),
                    self.data.validation.images,
                    seed=seed,
                    progress=lambda done: bar.update(done - bar.n),
                )
            return model

        checkpoint = self.store.checkpoint_path("substitutes", recipe)
        return self._stored("substitutes", recipe, make, checkpoint)

    def _built(self, config: ClassifierConfig, seed: int) -> keras.Model:
        """A classifier with fresh weights."""
        return build_classifier(
            config.architecture,
            self.data.input_shape,
            self.data.num_classes,
            width=config.width,
            depth=config.depth,
            seed=seed,
        )

    def _classifier(
        self,
        kind: str,
        recipe: dict[str, Any],
        split: Callable[[], Split],
        label: str,
        seed_name: str,
    ) -> keras.Model:
        config: ClassifierConfig = recipe["config"]
        training = config.training
        checkpoint = self.store.checkpoint_path(kind, recipe)

        def make() -> keras.Model:
            chosen = split().take(training.train_limit)
            seed = reproducibility.derive_seed(self.seed, self.data.name, seed_name)
            reproducibility.set_seeds(seed)
            with fitting.computing_in(training.precision):
                model = self._built(config, seed)
            batches = Batches(chosen.images, chosen.labels, training, seed=seed)
            optimizer = fitting.make_optimizer(training, fitting.steps_per_epoch(batches))
            trained = _trainer(config, model, seed)
            if trained is model:
                loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
                trained.compile(optimizer, loss, metrics=["accuracy"])
            else:
                trained.compile(optimizer)
            fitting.fit(
                trained,
                batches,
                training.epochs,
                checkpoint=checkpoint,
                label=f"{self.data.name}: {label}",
            )
            if training.precision == "float32":
                return model
            twin = self._built(config, seed)  # attacks differentiate in full precision
            for variable, value in zip(twin.variables, model.variables, strict=True):
                variable.assign(value)
            return twin

        return self._stored(kind, recipe, make, checkpoint)

    def _stored(
        self,
        kind: str,
        recipe: dict[str, Any],
        train: Callable[[], keras.Model],
        checkpoint: Path,
    ) -> keras.Model:
        """The model of ``recipe`` from the store, else the zoo if there is one, else trained."""

        def make() -> keras.Model:
            with devices.spread():
                model = train()
                fitting.round_weights(model)
            return model

        def find() -> Path | None:
            return zoo.find(self.data.name, recipe, self.published) if self.published else None

        model = self.store.model(kind, recipe, make, find)
        checkpoint.unlink(missing_ok=True)
        return model


def _trainer(config: ClassifierConfig, model: keras.Model, seed: int) -> keras.Model:
    """What is fitted so that a classifier is trained: itself, or one that attacks it."""
    if config.adversarial_epsilon is None:
        return model
    if config.adversarial_step_size is None:
        return FGSMAdversarialTraining(model, config.adversarial_epsilon)
    return PGDAdversarialTraining(
        model,
        config.adversarial_epsilon,
        step_size=config.adversarial_step_size,
        num_steps=config.adversarial_steps,
        seed=seed,
    )
