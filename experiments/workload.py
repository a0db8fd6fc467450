"""What each part of a plan costs: its trainings, its attacked sets, and its passes of images."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from attacks.substitute import SubstituteTraining
from attacks.threat_models import ThreatModel
from defenses.registry import get_purifier
from experiments import costs
from experiments.attacked_sets import BATCH_SIZE, AttackedSets, Scenario
from experiments.config import ClassifierConfig, PurifierConfig
from experiments.costs import FORWARD, INPUT_GRADIENT, Count, Shape
from experiments.datasets import Dataset
from experiments.profile import DatasetPlan, Profile
from experiments.recipes import Recipes
from experiments.speed import Work

SHAPES: dict[str, Shape] = {"cifar10": (32, 32, 3), "svhn_cropped": (32, 32, 3)}
"""Images of data sets; all others are 28x28 and grey."""
SIZES = {
    "digits": (1_397, 400),
    "mnist": (60_000, 10_000),
    "fashion_mnist": (60_000, 10_000),
    "cifar10": (50_000, 10_000),
    "svhn_cropped": (73_257, 26_032),
}
"""Training and test images."""
FLOAT = 4
"""Bytes of a number."""
_PASSED = 250
"""Images of a batch that only passes through networks."""


class Model(NamedTuple):
    """A model of a plan.

    Attributes:
        kind: Its folder in the artifact store.
        name: Its name in the plan, or of a voter its number.
        behind: The purifier that it stands behind; empty for none.
    """

    kind: str
    name: str
    behind: str = ""

    def __str__(self) -> str:
        words = {
            "targets": "",
            "purifiers": "",
            "voters": "voter ",
            "substitutes": "substitute of ",
        }
        if self.kind == "retrained":
            return f"{self.name} behind {self.behind}"
        return f"{words[self.kind]}{self.name}" + (f" of {self.behind}" if self.behind else "")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Images:
    """How many images there are, and of which shape.

    Args:
        shape: ``(height, width, channels)``.
        train: Images that are trained on.
        validation: Images held out.
        test: Images that are evaluated.
        num_classes: How many classes.
    """

    shape: Shape
    train: int
    validation: int
    test: int
    num_classes: int = 10

    @classmethod
    def of_plan(cls, plan: DatasetPlan) -> Images:
        """Those of a plan, from the known sizes of its data set."""
        config = plan.dataset
        total, test = SIZES[config.name]
        train = total - config.validation_size
        return cls(
            shape=SHAPES.get(config.name, (28, 28, 1)),
            train=min(train, config.train_limit or train),
            validation=config.validation_size,
            test=min(test, config.test_limit or test),
        )

    @classmethod
    def of_data(cls, data: Dataset) -> Images:
        """Those of a data set that is at hand."""
        return cls(
            shape=data.input_shape,
            train=len(data.train),
            validation=len(data.validation),
            test=len(data.test),
            num_classes=data.num_classes,
        )


class Workload:
    """The operations of a plan's parts.

    Args:
        profile: Attacks and repetitions.
        plan: Models.
        images: How many there are.
    """

    def __init__(self, profile: Profile, plan: DatasetPlan, images: Images) -> None:
        self.profile, self.plan, self.images = profile, plan, images

    def config(self, model: Model) -> ClassifierConfig | PurifierConfig:
        """How a model is built and trained."""
        plan = self.plan
        if model.kind == "purifiers":
            return plan.purifier(model.name)
        if model.kind == "voters":
            return plan.pool(model.behind)[int(model.name)]
        if model.kind == "retrained":
            return plan.retrained_classifier(model.name)
        if model.kind == "substitutes":
            if plan.substitute is None:
                raise ValueError("Expected a plan with a substitute, received none. Add one.")
            return plan.substitute.classifier
        return plan.classifier(model.name)

    def train(self, model: Model, epochs: float | None = None) -> list[Work]:
        """What training a model takes; nothing for a purifier without weights.

        Args:
            model: Of the plan.
            epochs: That are left; ``None`` for all.
        """
        config = self.config(model)
        if model.kind == "substitutes":
            return [self._substitute(model, config)]
        if isinstance(config, PurifierConfig) and not self._learns(config):
            return []
        training = config.training
        number = min(self.images.train, training.train_limit or self.images.train)
        each = costs.training_operations(
            config, self.images.shape, self.images.num_classes, source=self._source(config)
        )
        passes = number * (training.epochs if epochs is None else epochs)
        works, calls, copies = [], 1.0, 1
        if isinstance(config, PurifierConfig):
            kind = "purifier"
            # A step calls several networks, each as one call of a classifier's step.
            calls = costs.calls_of_step(config)
            if config.copies is not None:
                works = self._copies(config, number) if epochs is None else []
                passes *= len(config.copies.attacks)
                copies += len(config.copies.attacks)
        else:
            kind = "bfloat16" if training.precision == "bfloat16" else "classifier"
        steps = math.ceil(passes / training.batch_size)
        trained = self._count(config)
        source = getattr(config, "source", None)
        frozen = self._count(self.plan.classifier(source)) if source else Count(0, 0, 0)
        # Weights, their gradients and two moments; activations, and as much again to work with.
        held = FLOAT * (4 * trained.weights + frozen.weights)
        held += 2 * FLOAT * training.batch_size * (trained.activations + frozen.activations)
        return [
            *works,
            Work(
                kind=kind,
                operations=passes * each,
                steps=steps * calls,
                programs=1,
                bytes=held + self._resident(number, copies),
            ),
        ]

    def _learns(self, config: PurifierConfig) -> bool:
        """Whether a purifier has anything to train."""
        return bool(get_purifier(config.name).purifier_class.loss_names)

    def attack(self, sets: AttackedSets, scenario: Scenario) -> Work:
        """What making an attacked set takes, each search as long as it may be."""
        number = min(sets.limit(scenario) or self.images.test, self.images.test)
        gradient = self._gradient(scenario)
        config = sets.attack_config(scenario.attack)
        operations = number * costs.attack_operations(config, gradient)
        steps = operations / gradient / BATCH_SIZE
        counts = [self._count(self.config(model)) for model in self.attacked(scenario)]
        draws = scenario.num_draws if scenario.through else 1
        held = sum(one.weights + 2 * draws * BATCH_SIZE * one.activations for one in counts)
        return Work(
            kind="attack", operations=operations, steps=steps, programs=1, bytes=FLOAT * held
        )

    def attacked(self, scenario: Scenario) -> list[Model]:
        """The models that are held at once while a set is made."""
        targets = [Model("targets", name) for name in scenario.targets]
        if scenario.threat == ThreatModel.TRANSFER:
            return [self._transferred(scenario.targets[0])]
        if scenario.through is None:
            return targets
        key = scenario.through
        purifier = Model("purifiers", key)
        pool = [Model("voters", str(index), key) for index in range(len(self.plan.pool(key)))]
        if scenario.aimed in ("vote", "vote_bayes"):
            return [purifier, *pool, *(targets if scenario.aimed == "vote_bayes" else ())]
        if scenario.aimed == "retrained":
            return [purifier, Model("retrained", scenario.targets[0], key)]
        # Of a pool one voter at a time, the largest of which counts.
        entry = get_purifier(self.plan.purifier(key).name)
        if scenario.threat == ThreatModel.FRAMEWORK and not scenario.aimed and entry.pooled:
            pool.sort(key=lambda model: self._count(self.config(model)).activations)
            return [purifier, *pool[-1:]]
        return [purifier, *targets]

    def passes(self, models: Iterable[Model], number: float) -> Work:
        """What passing images through models takes."""
        each = [self.forward(model) for model in models]
        steps = len(each) * math.ceil(number / _PASSED)
        return Work(kind="passes", operations=sum(each) * number, steps=steps)

    def search(self, key: str, number: float, restarts: int, steps: int) -> Work:
        """What a purifier's search of another length takes."""
        config = self.plan.purifier(key)
        images = self.images
        one = costs.purification(
            config, images.shape, images.num_classes, restarts=restarts, steps=steps
        )
        return Work(kind="passes", operations=one.forward * number, programs=1)

    def forward(self, model: Model) -> float:
        """Operations of a pass of one image through a model; of a purifier, of its purification."""
        config = self.config(model)
        if isinstance(config, PurifierConfig):
            return self._purification(model.name).forward
        return self._classifier(config)

    def stochastic(self, key: str) -> bool:
        """Whether two purifications of one image differ."""
        return (
            get_purifier(self.plan.purifier(key).name).purifier_class.__name__ in costs.STOCHASTIC
        )

    def needs(self, model: Model) -> list[Model]:
        """What has to be there before a model is trained."""
        if model.behind:
            return [Model("purifiers", model.behind)]
        if model.kind == "substitutes":
            return [Model("targets", model.name)]
        config = self.config(model)
        if isinstance(config, PurifierConfig):
            names = [config.source, config.copies.target if config.copies else None]
            return [Model("targets", name) for name in names if name]
        return []

    # -- parts ----------------------------------------------------------------------------------

    def _count(self, config: ClassifierConfig | PurifierConfig) -> Count:
        """All networks of a configuration together."""
        counts = costs.networks(config, self.images.shape, self.images.num_classes)
        return Count.total(counts.values())

    def _resident(self, number: int, channels: int = 1) -> float:
        """Bytes of 8-bit images that lie on the device."""
        return float(number * channels * math.prod(self.images.shape))

    def _classifier(self, config: ClassifierConfig | PurifierConfig) -> float:
        return self._count(config).operations

    @functools.cache  # noqa: B019  one object lives as long as a plan is looked at
    def _purification(self, key: str) -> costs.Purification:
        config = self.plan.purifier(key)
        return costs.purification(config, self.images.shape, self.images.num_classes)

    def _source(self, config: ClassifierConfig | PurifierConfig) -> float:
        source = getattr(config, "source", None)
        return self._classifier(self.plan.classifier(source)) if source else 0.0

    def _substitute(self, model: Model, config: ClassifierConfig | PurifierConfig) -> Work:
        training = SubstituteTraining(
            **(self.plan.substitute.arguments if self.plan.substitute else {})
        )
        target = self.forward(Model("targets", model.name))
        own = self._classifier(config)
        seen = training.num_seed_images * (2**training.num_rounds - 1) * training.epochs
        return Work(
            kind="classifier",
            operations=costs.substitute_operations(training, own, target),
            steps=math.ceil(seen / training.batch_size),
            programs=2,
        )

    def _copies(self, config: PurifierConfig, number: int) -> list[Work]:
        """The attacked copies of the training images."""
        copies = config.copies
        if copies is None:
            return []
        gradient = INPUT_GRADIENT * self.forward(Model("targets", copies.target))
        works = []
        for attack, _ in copies.attacks:
            operations = number * costs.attack_operations(attack, gradient)
            steps = operations / gradient / 128
            works.append(Work(kind="attack", operations=operations, steps=steps, programs=1))
        return works

    def _gradient(self, scenario: Scenario) -> float:
        """Operations of the gradient of one image, all draws and all voters included."""
        targets = [INPUT_GRADIENT * self.forward(Model("targets", t)) for t in scenario.targets]
        if scenario.threat == ThreatModel.TRANSFER:
            return INPUT_GRADIENT * self.forward(self._transferred(scenario.targets[0]))
        if scenario.threat == ThreatModel.MIXED:
            others = [self.forward(Model("targets", name)) for name in self.plan.transferred]
            return targets[0] / 2 + INPUT_GRADIENT * sum(others) / max(len(others), 1) / 2
        if scenario.through is None:
            return targets[0]
        key = scenario.through
        entry = get_purifier(self.plan.purifier(key).name)
        if scenario.threat == ThreatModel.FRAMEWORK and not scenario.aimed:
            behind = self._behind(key, scenario.targets[0], pooled=entry.pooled)
            return self._purification(key).gradient + INPUT_GRADIENT * sum(behind) / len(behind)
        aimed = {
            "vote": lambda: self._pool(key),
            "vote_bayes": lambda: [*self._pool(key), targets[0] / INPUT_GRADIENT],
            "retrained": lambda: [self.forward(Model("retrained", scenario.targets[0], key))],
        }.get(scenario.aimed or "", lambda: [targets[0] / INPUT_GRADIENT])()
        draws = scenario.num_draws if self.stochastic(key) else 1
        return draws * (self._purification(key).gradient + INPUT_GRADIENT * sum(aimed))

    def _transferred(self, target: str) -> Model:
        """What attacks on a target are transferred from."""
        if target in self.plan.surrogates:
            return Model("targets", self.plan.surrogates[target])
        return Model("substitutes", target)

    def _pool(self, key: str) -> list[float]:
        return [self._classifier(config) for config in self.plan.pool(key)]

    def _behind(self, key: str, target: str, *, pooled: bool) -> list[float]:
        entry = get_purifier(self.plan.purifier(key).name)
        if pooled:
            return self._pool(key)
        kind = "retrained" if entry.retrains_classifier else "targets"
        behind = key if entry.retrains_classifier else ""
        return [FORWARD * self.forward(Model(kind, target, behind))]


class ModelNames:
    """The models of a plan by their recipes, which hold the plan's own configurations."""

    def __init__(self, plan: DatasetPlan) -> None:
        self.purifiers = _by_identity({**plan.purifiers, **plan.variants})
        self.classifiers = _by_identity(plan.classifiers)

    def models_in(self, value: Any) -> dict[Model, Mapping[str, Any]]:
        """Every model that a recipe names, with its own recipe."""
        found: dict[Model, Mapping[str, Any]] = {}
        if isinstance(value, Mapping):
            model = self._model(value)
            if model is not None:
                return {model: value}
            value = list(value.values())
        if isinstance(value, list | tuple):
            for item in value:
                found.update(self.models_in(item))
        return found

    def recipe(self, models: Recipes, model: Model) -> Mapping[str, Any]:
        """The recipe of a purifier or of a classifier."""
        if model.kind == "purifiers":
            return models.purifier_recipe(model.name)
        return models.target_recipe(model.name)

    def _model(self, recipe: Mapping[str, Any]) -> Model | None:
        config = recipe.get("config")
        if isinstance(config, PurifierConfig):
            return Model("purifiers", self.purifiers[id(config)])
        if not isinstance(config, ClassifierConfig):
            return None
        if "queried" in recipe:
            return Model("substitutes", self.classifiers[id(recipe["queried"]["config"])])
        if "purifier" not in recipe:
            return Model("targets", self.classifiers[id(config)])
        behind = self.purifiers[id(recipe["purifier"]["config"])]
        if "retrained" in recipe:
            return Model("retrained", recipe["retrained"], behind)
        return Model("voters", str(recipe["index"]), behind)


def _by_identity(configs: Mapping[str, Any]) -> dict[int, str]:
    found: dict[int, str] = {}
    for name, config in configs.items():
        found.setdefault(id(config), name)
    return found
