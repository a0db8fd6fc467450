"""What each part of a plan costs: its trainings, its attacked sets, and its passes of images."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable
from typing import NamedTuple

from attacks.substitute import SubstituteTraining
from attacks.threat_models import ThreatModel
from defenses.registry import get_purifier
from experiments import costs
from experiments.attacked_sets import BATCH_SIZE, AttackedSets, Scenario
from experiments.config import ClassifierConfig, DatasetPlan, Profile, PurifierConfig
from experiments.costs import FORWARD, INPUT_GRADIENT, Shape
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
        """What training a model takes.

        Args:
            model: Of the plan.
            epochs: That are left; ``None`` for all.
        """
        config = self.config(model)
        if model.kind == "substitutes":
            return [self._substitute(model, config)]
        training = config.training
        number = min(self.images.train, training.train_limit or self.images.train)
        each = costs.training_operations(
            config, self.images.shape, self.images.num_classes, source=self._source(config)
        )
        passes = number * (training.epochs if epochs is None else epochs)
        works = []
        if isinstance(config, PurifierConfig):
            kind = "purifier"
            if config.copies is not None:
                works = self._copies(config, number) if epochs is None else []
                passes *= len(config.copies.attacks)
        else:
            kind = "bfloat16" if getattr(training, "precision", "") == "bfloat16" else "classifier"
        steps = math.ceil(passes / training.batch_size)
        return [
            *works,
            Work(kind=kind, operations=passes * each, steps=steps, programs=1),
        ]

    def attack(self, sets: AttackedSets, scenario: Scenario) -> Work:
        """What making an attacked set takes, each search as long as it may be."""
        number = min(sets.limit(scenario) or self.images.test, self.images.test)
        gradient = self._gradient(scenario)
        config = sets.attack_config(scenario.attack)
        operations = number * costs.attack_operations(config, gradient)
        steps = operations / gradient / BATCH_SIZE
        return Work(kind="attack", operations=operations, steps=steps, programs=1)

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

    def _classifier(self, config: ClassifierConfig) -> float:
        return costs.networks(config, self.images.shape, self.images.num_classes)["network"]

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
        own = costs.networks(config, self.images.shape, self.images.num_classes)["network"]
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
            return INPUT_GRADIENT * self.forward(Model("substitutes", scenario.targets[0]))
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

    def _pool(self, key: str) -> list[float]:
        return [self._classifier(config) for config in self.plan.pool(key)]

    def _behind(self, key: str, target: str, *, pooled: bool) -> list[float]:
        entry = get_purifier(self.plan.purifier(key).name)
        if pooled:
            return self._pool(key)
        kind = "retrained" if entry.retrains_classifier else "targets"
        behind = key if entry.retrains_classifier else ""
        return [FORWARD * self.forward(Model(kind, target, behind))]
