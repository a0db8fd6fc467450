"""A study that only notes what exhibits ask for: which rows, sets and models, and what they cost.

A row's recipe names all models that it depends on. What is in the artifact store, in the zoo and
among the rows is there; for the rest the operations are counted.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from defenses.registry import get_purifier
from experiments import deciders, zoo
from experiments.artifacts import MANIFEST, ArtifactStore
from experiments.attacked_sets import Scenario, oblivious
from experiments.datasets import Dataset, Split
from experiments.measure import CLEAN, Study
from experiments.profile import DatasetPlan
from experiments.reproducibility import stable_hash
from experiments.runs import Run
from experiments.scheduler import measure_exhibit
from experiments.speed import Speed, Work
from experiments.training import TrainedModels
from experiments.workload import Images, Model, ModelNames, Workload
from results.exhibit import Exhibit, Probe
from results.files import UNREADABLE_ARRAYS
from results.row import Row

_REPEATS = 6
"""How often a timed purification is run."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """A model to be trained, an attacked set to be made, or rows to be measured.

    Args:
        kind: ``"train"``, ``"attack"`` or ``"measure"``.
        name: What it is called.
        operations: What it takes.
        seconds: About how long.
        epochs: Of a training, those that are left.
        gigabytes: About what is held in the device's memory at once.
    """

    kind: str
    name: str
    operations: float
    seconds: float
    epochs: int = 0
    gigabytes: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExhibitPlan:
    """What one figure or table of one data set needs.

    Args:
        dataset: The data set.
        id: Of the exhibit.
        title: What it shows.
        rows: How many rows it asks for.
        missing: How many of them are not there and are not measured by an exhibit before it.
        pictures: How many files of pictures are not there.
        models: How many models these need.
        cached_models: How many of the models are there, or are made for an exhibit before it.
        sets: How many attacked sets the missing rows need.
        cached_sets: How many of the sets are there, or are made for an exhibit before it.
        steps: What is left to do, but for what exhibits before it do.
    """

    dataset: str
    id: str
    title: str
    rows: int
    missing: int
    pictures: int
    models: int
    cached_models: int
    sets: int
    cached_sets: int
    steps: tuple[Step, ...]

    @property
    def seconds(self) -> float:
        """About how long it takes."""
        return sum(step.seconds for step in self.steps)

    @property
    def operations(self) -> float:
        """What it takes."""
        return sum(step.operations for step in self.steps)

    @property
    def gigabytes(self) -> float:
        """About what its largest step holds in the device's memory."""
        return max((step.gigabytes for step in self.steps), default=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class KnownData:
    """What identifies the images of a data set."""

    checksum: str
    test_images: str
    images: Images


def trained_models(run: Run, plan: DatasetPlan, data: Dataset) -> TrainedModels:
    return TrainedModels(plan, data, ArtifactStore(run.artifacts_dir), run.seed)


def _placeholder(name: str, images: Images, checksum: str) -> Dataset:
    """A data set of one black image, known by its checksum."""
    split = Split(np.zeros((1, *images.shape), np.float32), np.zeros(1, np.int64))
    classes = tuple(str(label) for label in range(images.num_classes))
    return Dataset(name, split, split, split, classes, checksum)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Asked:
    """A measurement that was asked for."""

    rows: tuple[Row, ...]
    scenarios: tuple[Scenario, ...]


class Planner(Study):
    """A study that notes what exhibits ask for, and knows what is there."""

    def __init__(self, run: Run, name: str, known: KnownData | None, speed: Speed) -> None:
        plan = run.profile.plans[name]
        images = known.images if known else Images.of_plan(plan)
        data = _placeholder(name, images, known.checksum if known else "")
        super().__init__(run.profile, trained_models(run, plan, data), run.rows, dry_run=True)
        if known:
            self.sets.image_hash = known.test_images
        self.run, self.known, self.speed = run, known, speed
        self.work = Workload(run.profile, plan, images)
        self.store = self.models.store
        self.asked: list[_Asked] = []
        self.depends: dict[tuple[Any, ...], Mapping[str, Any]] = {}
        self.pictures: list[Path] = []
        self.done: set[Any] = set()
        self.names = ModelNames(plan)
        self.has_rows = known is not None and run.rows.has_any(name)

    # What a study is asked for.

    def row(self, scenario: Scenario, depends_on: Mapping[str, Any], **fields: Any) -> Row:
        row = super().row(scenario, depends_on, **fields)
        self.depends[row.place, row.config_hash] = depends_on
        return row

    def config_hash(self, scenario: Scenario, depends_on: Mapping[str, Any]) -> str:
        # With no row to compare it with, hashing would be nearly all that a plan takes.
        return super().config_hash(scenario, depends_on) if self.has_rows else ""

    def ensure(
        self,
        wanted: Mapping[Any, Row],
        measure: Callable[[], Mapping[Any, Any]],
        facing: Scenario | Mapping[Any, Sequence[Scenario]] = CLEAN,
    ) -> None:
        super().ensure(wanted, measure, facing)
        each = [facing] if isinstance(facing, Scenario) else [s for f in facing.values() for s in f]
        self.asked.append(_Asked(rows=tuple(wanted.values()), scenarios=tuple(dict.fromkeys(each))))

    def picture_path(self, exhibit: str) -> Path:
        path = super().picture_path(exhibit)
        self.pictures.append(path)
        return path

    # What that takes.

    def plan_exhibit(self, exhibit: Exhibit) -> ExhibitPlan:
        """What one exhibit needs beside what was planned before."""
        self.asked, self.pictures = [], []
        measure_exhibit(self, exhibit)
        steps: list[Step] = []
        models: dict[Model, bool] = {}
        sets: dict[Any, bool] = {}
        missing_rows = 0
        for asked in self.asked:
            missing = [row for row in asked.rows if not self._has_row(row)]
            missing_rows += len(missing)
            if missing:
                steps += self._steps(asked, missing, models, sets)
        pictures = {path for path in self.pictures if not path.is_file()}
        if pictures:
            steps += self._shown(exhibit, models, sets)
        return ExhibitPlan(
            dataset=self.dataset,
            id=exhibit.id,
            title=exhibit.title,
            rows=sum(len(asked.rows) for asked in self.asked),
            missing=missing_rows,
            pictures=len(pictures),
            models=len(models),
            cached_models=sum(models.values()),
            sets=len(sets),
            cached_sets=sum(sets.values()),
            steps=tuple(steps),
        )

    def _has_row(self, row: Row) -> bool:
        if self.has_rows and self.rows.has(row):
            return True
        # Another exhibit before this one measures it.
        return self._first((row.place, row.config_hash)) is False

    def _first(self, key: Any) -> bool:
        """Whether this is the first time that something is asked for."""
        if key in self.done:
            return False
        self.done.add(key)
        return True

    def _steps(
        self, asked: _Asked, missing: list[Row], models: dict[Model, bool], sets: dict[Any, bool]
    ) -> Iterator[Step]:
        depends = [self.depends[row.place, row.config_hash] for row in missing]
        named = {}
        for one in depends:
            named.update(self.names.models_in(one))
        for scenario in asked.scenarios:
            named.update(self.names.models_in(self.sets.recipe(scenario)))
        for model, recipe in named.items():
            yield from self._train(model, recipe, models)
        for scenario in asked.scenarios:
            if scenario.attack != "none":
                yield from self._attack(scenario, sets)
        yield from self._measure(asked, missing, depends)

    def _shown(
        self, exhibit: Exhibit, models: dict[Model, bool], sets: dict[Any, bool]
    ) -> Iterator[Step]:
        """What pictures need: the purifier with its pool, the target, and an attacked set."""
        for part in exhibit.measures:
            asked = part.settings if isinstance(part, Probe) else {}
            defense, attack = asked.get("purifier", asked.get("defense")), asked.get("attack")
            wanted = asked.get("targets", (asked.get("target"),))
            found = (deciders.defended(self.plan, defense or "none", one) for one in wanted)
            who = next((one for one in found if one is not None), None)
            if who is None or attack is None:
                continue
            recipes = [self.models.target_recipe(who.target)]
            if who.key is not None:
                recipes.append(self.models.purifier_recipe(who.key))
                if get_purifier(self.plan.purifier(who.key).name).pooled:
                    recipes += self.models.pool_recipes(who.key)
            for model, recipe in self.names.models_in(recipes).items():
                yield from self._train(model, recipe, models)
            epsilon = asked.get("epsilon", "axis")
            budgets = self.budgets("axis" if isinstance(epsilon, float) else epsilon, attack)
            near = epsilon if isinstance(epsilon, float) else max(budgets)
            nearest = min(budgets, key=lambda one: abs(one - near))
            if nearest > 0:
                yield from self._attack(oblivious(attack, nearest, who.target), sets)

    def _train(
        self, model: Model, recipe: Mapping[str, Any], models: dict[Model, bool]
    ) -> Iterator[Step]:
        if model in models:
            return
        for needed in self.work.needs(model):
            yield from self._train(needed, self.names.recipe(self.models, needed), models)
        models[model] = there = not self._first(model) or self._has_model(model.kind, recipe)
        if there:
            return
        if model.behind and self._first(("purified training images", model.behind)):
            purifier = Model("purifiers", model.behind)
            work = [self.work.passes([purifier], self.work.images.train)]
            yield self._step("measure", f"training images through {model.behind}", work)
        config = self.work.config(model)
        done = self._epochs_done(model.kind, recipe)
        left = max(config.training.epochs - done, 0)
        works = self.work.train(model, left if done else None)
        if not works:
            return  # it has no weights
        # A substitute's epochs are those of its rounds.
        epochs = left if model.kind != "substitutes" else 0
        yield self._step("train", str(model), works, epochs=epochs)

    def _has_model(self, kind: str, recipe: Mapping[str, Any]) -> bool:
        if self.known is None:
            return False
        return self.store.has(kind, recipe) or stable_hash(recipe) in self._published

    @functools.cached_property
    def _published(self) -> frozenset[str]:
        """The recipes of the zoo's models, by their hashes."""
        place = zoo.ZOO / self.dataset
        if not self.run.from_zoo or not place.is_dir():
            return frozenset()
        cards = (zoo.read_card(path) for path in place.glob("*.json"))
        return frozenset(str(card.get("recipe_hash")) for card in cards)

    def _epochs_done(self, kind: str, recipe: Mapping[str, Any]) -> int:
        """Epochs of an unfinished training."""
        path = self.store.checkpoint_path(kind, recipe)
        if self.known is None or not path.is_file():
            return 0
        try:
            with np.load(path, allow_pickle=False) as file:
                return int(file["epoch"])
        except UNREADABLE_ARRAYS:
            return 0

    def _attack(self, scenario: Scenario, sets: dict[Any, bool]) -> Iterator[Step]:
        key = self._set_key(scenario)
        if key in sets:
            return
        sets[key] = there = not self._first(key) or self._has_set(scenario)
        if not there:
            through = f" through {scenario.through}" if scenario.through else ""
            reach = "" if self._whole_axis(scenario) else f", ε = {scenario.epsilon:.3g}"
            name = f"{scenario.attack} on {' and '.join(scenario.targets)}{through}{reach}"
            work = self.work.attack(self.sets, scenario)
            # Sets that differ in their budget are made by one compiled search.
            if not self._first(("program", dataclasses.replace(scenario, epsilon=1.0))):
                work = dataclasses.replace(work, programs=0)
            yield self._step("attack", name, [work])

    def _whole_axis(self, scenario: Scenario) -> bool:
        bounded = self.sets.attack_config(scenario.attack).bounded
        return not bounded or self.sets.attack(scenario.attack).allows_native_epsilon

    def _set_key(self, scenario: Scenario) -> Any:
        """What a set is told apart by; one search serves all budgets of an attack that has none."""
        epsilon = None if self._whole_axis(scenario) else scenario.epsilon
        return "set", dataclasses.replace(scenario, epsilon=epsilon or 1.0), epsilon is None

    def _has_set(self, scenario: Scenario) -> bool:
        """Whether a set is stored, as far as that can be told without the weights it was made on.

        Of sets that differ in nothing but the model those asked for first are taken to be there.
        """
        key = self._stored_key(
            self.sets.attack_recipe(scenario.attack) or {},
            scenario.threat,
            scenario.epsilon if not self._whole_axis(scenario) else None,
            self.sets.limit(scenario),
        )
        if self.known is None or self._stored_sets[key] <= 0:
            return False
        self._stored_sets[key] -= 1
        return True

    @functools.cached_property
    def _stored_sets(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for path in (self.store.root / "attacked_sets").glob(f"*/{MANIFEST}"):
            try:
                recipe = json.loads(path.read_text())["recipe"]
                if recipe["images"] != self.sets.image_hash:
                    continue
                attack, epsilons = recipe["attack"], recipe["epsilons"]
                whole = epsilons == [None] or len(epsilons) > 1
                epsilon = None if whole or attack["name"] in self._native else epsilons[0]
                key = self._stored_key(attack, recipe["threat_model"], epsilon, recipe.get("limit"))
            except (OSError, ValueError, KeyError, TypeError):
                continue
            found[key] += 1
        return found

    @functools.cached_property
    def _native(self) -> frozenset[str]:
        """The attacks whose one search serves all budgets."""
        attacks = [self.sets.attack(name) for name in self.profile.attacks]
        return frozenset(attack.name for attack in attacks if attack.allows_native_epsilon)

    def _stored_key(
        self, attack: Mapping[str, Any], threat: str, epsilon: float | None, limit: int | None
    ) -> str:
        # A margin that an attack through a purifier keeps is left out of what is compared.
        attack = {name: value for name, value in attack.items() if name != "confidence"}
        return stable_hash([attack, str(threat), epsilon, limit])

    def _measure(
        self, asked: _Asked, missing: list[Row], depends: list[Mapping[str, Any]]
    ) -> Iterator[Step]:
        """Passes of the images through all models that the rows name."""
        purifiers: dict[Model, None] = {}
        others: dict[Model, None] = {}
        for one in depends:
            parts = {key: value for key, value in one.items() if key != "scenario"}
            for model in self.names.models_in(parts):
                (purifiers if model.kind == "purifiers" else others)[model] = None
        images, works = self.work.images, []
        for scenario in asked.scenarios:
            limits = [self.sets.limit(scenario), *(self._limit(p) for p in purifiers)]
            number = min([images.test, *(limit for limit in limits if limit)])
            searched = [work for row in missing if (work := self._timed_search(row))]
            if searched:
                works += searched
                continue
            draws = self.profile.num_draws if any(map(self._stochastic, purifiers)) else 1
            works.append(self.work.passes([*purifiers, *others], number * draws))
        if any(row.decider == "vote_bayes" for row in missing):
            works += self._tables(others)
        words = "row" if len(missing) == 1 else "rows"
        yield self._step("measure", f"{len(missing)} {words}", works)

    def _limit(self, model: Model) -> int | None:
        return self.plan.purified.get(model.name)

    def _stochastic(self, model: Model) -> bool:
        return self.work.stochastic(model.name)

    def _timed_search(self, row: Row) -> Work | None:
        """The passes of a search whose length the row carries."""
        if not {"restarts", "steps"} <= set(row.settings) or row.defense not in self.plan.purifiers:
            return None
        timed = row.metric == "seconds"
        number = float(row.settings.get("images", row.settings.get("batch", 128)))
        restarts, steps = int(row.settings["restarts"]), int(row.settings["steps"])
        if length := row.settings.get("timed_steps"):
            steps = int(length) + int(length) // 2  # it and half of it are run
        repeats = _REPEATS if timed else 1
        return self.work.search(row.defense, number * repeats, restarts, steps)

    def _tables(self, models: Iterable[Model]) -> list[Work]:
        """Votes on the training images, once for each pool."""
        works = []
        for model in models:
            if model.kind == "voters" and self._first(("table", model)):
                works.append(self.work.passes([model], self.work.images.train))
        return works

    def _step(self, kind: str, name: str, works: Iterable[Work], *, epochs: int = 0) -> Step:
        works = list(works)
        return Step(
            kind=kind,
            name=name,
            operations=sum(work.operations for work in works),
            seconds=sum(self.speed.seconds(work) for work in works),
            epochs=epochs,
            gigabytes=max((work.bytes for work in works), default=0.0) / 1e9,
        )
