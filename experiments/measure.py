"""Measuring: the only place where an accuracy is made, and where rows are kept."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from attacks.threat_models import ThreatModel
from defenses.registry import get_purifier
from experiments import deciders, reproducibility, time_limit
from experiments.attacked_sets import END_TO_END, UNBOUNDED, AttackedSets, Scenario, oblivious
from experiments.deciders import DECIDERS, Defended, DefendedImages
from experiments.outcomes import Outcome, OutcomeStore, paired, worst
from experiments.profile import Profile
from experiments.training import TrainedModels
from results.exhibit import WORST_OF_ALL, Grid
from results.pictures import pictures_path
from results.row import DISTANCES, Row
from results.store import RowStore
from validation import check_choice

Key = TypeVar("Key", bound=Hashable)
Value = float | Outcome
CLEAN = Scenario()
GAIN_ERROR = "accuracy_gain_standard_error"
_IGNORING = "oblivious"
"""The surrogate that rows name where an attacker who knows the purifier ignores it."""
_ALWAYS_FINITE = (*DISTANCES, "seconds", "seconds_floor")
NOT_ATTACKED = "framework_transfer"
"""The threat model of a decider behind a purifier through which another one was attacked."""


class Study:
    """One data set under one profile: models, attacked sets and rows.

    Args:
        profile: Attacks, epsilons and repetitions.
        models: The trained models, with the images they were trained on.
        rows: Where measured numbers go.
        dry_run: Lists the rows that would be there in ``planned`` and measures nothing.
    """

    def __init__(
        self, profile: Profile, models: TrainedModels, rows: RowStore, *, dry_run: bool = False
    ) -> None:
        self.profile, self.models, self.rows = profile, models, rows
        self.plan, self.data, self.seed = models.plan, models.data, models.seed
        self.dataset = models.data.name
        self.sets = AttackedSets(profile, models)
        self.outcomes = OutcomeStore(rows.folder)
        self.dry_run = dry_run
        self.planned: list[Row] = []
        self.measured: list[Row] = []

    def purified(self, purifier: str, images: np.ndarray, draw: int = 0) -> np.ndarray:
        """Purifies a set; the same draw meets every set with the same random numbers."""
        return self.models.purified_test_images(purifier, images, draw)

    def one_of_each_class(self) -> np.ndarray:
        """Index of the first test image of each class, so that none is shown for looking well."""
        return np.unique(self.data.test.labels, return_index=True)[1]

    def picture_path(self, exhibit: str) -> Path:
        """Where the images of a figure are kept, beside the rows."""
        return pictures_path(self.rows.folder, exhibit, self.dataset, self.seed)

    def budgets(self, epsilons: Any, attack: str) -> tuple[float, ...]:
        """The budgets of an attack as an exhibit asks for them.

        Args:
            epsilons: As in ``results.exhibit.Grid``.
            attack: A name of the profile's attacks.

        Raises:
            ValueError: If the profile has no attack or no set of budgets of that name, or a budget
                is no number in [0, 1].
        """
        if attack == "none":
            return (0.0,)
        if not self.sets.attack_config(attack).bounded:
            return (UNBOUNDED,)
        if isinstance(epsilons, Mapping):
            epsilons = epsilons.get(self.dataset, epsilons.get("", ()))
        if isinstance(epsilons, str):
            of_profile = f"a set of budgets of profile {self.profile.name}"
            epsilons = self.profile.budgets[
                check_choice(of_profile, epsilons, self.profile.budgets)
            ]
        numbers = isinstance(epsilons, tuple) and all(isinstance(e, int | float) for e in epsilons)
        if not numbers or not epsilons or not all(0 <= e <= 1 for e in epsilons):
            raise ValueError(
                f"Expected budgets of {attack} on {self.dataset} as a tuple of numbers in [0, 1], "
                f"at least one, received {epsilons!r}. Pass, say, (0.1, 0.2), or the name of a set."
            )
        return tuple(dict.fromkeys(epsilons))

    def budget(self, epsilon: Any, attack: str) -> float:
        """The only budget of an attack, asked for as in ``budgets``.

        Raises:
            ValueError: As ``budgets``, and if there are several.
        """
        found = self.budgets(epsilon, attack)
        if len(found) != 1:
            raise ValueError(
                f"Expected one budget of {attack} on {self.dataset}, received {found}. Pass one, "
                "or one for each data set."
            )
        return found[0]

    # -- rows -----------------------------------------------------------------------------------

    def row(
        self,
        scenario: Scenario,
        depends_on: Mapping[str, Any],
        *,
        defense: str,
        decider: str = "none",
        metric: str = "accuracy",
        settings: Mapping[str, Any] | None = None,
        threat: str | None = None,
        attack: str | None = None,
    ) -> Row:
        """The row of a measurement before its number is known.

        Args:
            scenario: The images.
            depends_on: Everything the number depends on beside the attack and the test images;
                hashed with them into ``config_hash``.
            defense: As in ``results.row.Row``, and so are the others.
            decider: Who decides.
            metric: What is measured.
            settings: What else tells it apart.
            threat: What the attacker of this decider knows, where it is not the scenario's.
            attack: What rows name, where several attacks stand behind the number.
        """
        return Row(
            dataset=self.dataset,
            defense=defense,
            decider=decider,
            attack=attack or scenario.attack,
            norm=self.sets.norm(scenario),
            epsilon=scenario.epsilon,
            threat_model=threat or scenario.threat,
            metric=metric,
            value=0.0,
            seed=self.seed,
            settings=settings or {},
            config_hash=self.config_hash(scenario, depends_on),
        )

    def config_hash(self, scenario: Scenario, depends_on: Mapping[str, Any]) -> str:
        """The hash of everything that a number depends on."""
        recipe = {
            "depends_on": depends_on,
            "attack": self.sets.attack_recipe(scenario.attack),
            "images": self.sets.image_hash,
        }
        return reproducibility.stable_hash(recipe)

    def ensure(
        self,
        wanted: Mapping[Key, Row],
        measure: Callable[[], Mapping[Key, Value]],
        facing: Scenario | Mapping[Key, Sequence[Scenario]] = CLEAN,
    ) -> None:
        """Measures and keeps rows, unless all of them are there.

        Args:
            wanted: The rows without their numbers, by any name.
            measure: Returns a number or an outcome for each name.
            facing: The set that all of them are measured on, or the sets of each name; their flags
                go into the rows.

        Raises:
            ValueError: If one was not measured, or is not finite where it has to be.
        """
        if self.dry_run:
            self.planned += wanted.values()
            return
        # A row that is there stays, and so do its bits.
        missing = {name: row for name, row in wanted.items() if not self.rows.has(row)}
        if not missing:
            return
        time_limit.check()
        start = time.perf_counter()
        measured = measure()
        seconds = round((time.perf_counter() - start) / len(wanted), 3)
        lacking = [name for name in missing if name not in measured]
        if lacking:
            raise ValueError(
                f"Expected a number of {lacking} on {self.dataset}, received those of "
                f"{list(measured)}. Ask for what is measured."
            )
        faced = {n: (facing,) if isinstance(facing, Scenario) else facing[n] for n in missing}
        flags = {
            name: tuple(flag for scenario in faced[name] for flag in self.sets.flags(scenario))
            for name in missing
        }
        rows = [_filled(row, measured[n], seconds, flags[n]) for n, row in missing.items()]
        outcomes = {n: value for n, value in measured.items() if isinstance(value, Outcome)}
        self.outcomes.add((row, outcomes[n]) for n, row in missing.items() if n in outcomes)
        self.rows.add(rows)
        self.measured += rows
        time_limit.step_done()


def _filled(row: Row, value: Value, seconds: float, flags: tuple[str, ...]) -> Row:
    if isinstance(value, Outcome):
        correct, total = value.counts
        return dataclasses.replace(
            row, value=value.accuracy, correct=correct, total=total, flags=flags, seconds=seconds
        )
    if np.isnan(value) and row.metric not in _ALWAYS_FINITE:
        # A share of nothing, such as the recovery rate where no voter errs.
        return dataclasses.replace(row, flags=("undefined", *flags), seconds=seconds)
    return dataclasses.replace(row, value=float(value), flags=flags, seconds=seconds)


# -- accuracies ---------------------------------------------------------------------------------


def measure(study: Study, grid: Grid) -> None:
    """Measures every accuracy of a grid that the study's plan has.

    Args:
        study: Models and test images.
        grid: What is asked for.
    """
    if grid.surrogates and grid.threat != ThreatModel.ADAPTIVE:
        raise ValueError(
            f"Expected surrogates for the threat model 'adaptive' alone, received {grid.threat!r}. "
            "Leave them out: nobody else attacks the purifier."
        )
    further = study.plan.compared if grid.compared else ()
    for defense in dict.fromkeys((*grid.defenses, *further)):
        found = [deciders.defended(study.plan, defense, target) for target in grid.targets]
        _measure_defense(study, grid, [who for who in found if who is not None])


def _measure_defense(study: Study, grid: Grid, behind: list[Defended]) -> None:
    for who in behind:
        for family in _families(study, grid, who):
            if any(0 in study.budgets(grid.epsilons, attack) for attack in grid.attacks):
                _measure_family(study, Scenario(targets=(who.target,)), [who], family)
    for group, family, aimed in _facing(study, grid, behind):
        scenarios = list(_scenarios(study, grid, group, aimed))
        for scenario in scenarios:
            if grid.surrogates:
                _measure_worst(study, scenario, group[0], grid.surrogates)
            else:
                _measure_family(study, scenario, group, family)
        if grid.worst:
            for epsilon in dict.fromkeys(scenario.epsilon for scenario in scenarios):
                same = [one for one in scenarios if one.epsilon == epsilon]
                _measure_worst_of_all(study, same, group, family)


def _families(study: Study, grid: Grid, who: Defended) -> list[tuple[str, ...]]:
    return deciders.families(study.plan, who, grid.deciders, fair=study.profile.fair)


def _facing(
    study: Study, grid: Grid, behind: list[Defended]
) -> Iterator[tuple[list[Defended], tuple[str, ...], str | None]]:
    """Who meets one attacked set, by which deciders, and which of these it is made for.

    In a fair profile an attack through a defense is made for each decider anew; the vote, which
    asks no target, is attacked once for all of them.
    """
    if grid.threat != ThreatModel.FRAMEWORK or not study.profile.fair:
        for group in _groups(study, grid, behind):
            for family in _families(study, grid, group[0]):
                yield group, family, None
        return
    voting: list[tuple[Defended, tuple[str, ...]]] = []
    for who in behind:
        for family in _families(study, grid, who):
            for aimed, names in deciders.aims(family).items():
                if aimed == "vote":
                    voting.append((who, names))
                else:
                    yield [who], names, aimed
    if voting:
        yield [who for who, _ in voting], voting[0][1], "vote"


def _groups(study: Study, grid: Grid, behind: list[Defended]) -> Iterator[list[Defended]]:
    """Those that one attacked set serves: a pool is attacked as a whole, whatever the target."""
    whole = (
        grid.threat == ThreatModel.FRAMEWORK
        and behind
        and behind[0].key is not None
        and get_purifier(study.plan.purifiers[behind[0].key].name).pooled
    )
    yield from [behind] if whole else [[who] for who in behind]


def _scenarios(
    study: Study, grid: Grid, group: list[Defended], aimed: str | None
) -> Iterator[Scenario]:
    if grid.threat == ThreatModel.FRAMEWORK and group[0].key is None:
        raise ValueError(
            f"Expected purifiers for the threat model 'framework', received the defense "
            f"{group[0].defense!r}. There is nothing to attack through; take 'oblivious' or "
            "'adaptive'."
        )
    knows = grid.threat in END_TO_END
    through = knows or grid.threat == ThreatModel.FRAMEWORK
    draws = study.plan.attacked_draws if knows and group[0].key else 1
    for attack in grid.attacks:
        for epsilon in study.budgets(grid.epsilons, attack):
            if attack != "none" and epsilon > 0:
                yield Scenario(
                    threat=grid.threat,
                    attack=attack,
                    epsilon=epsilon,
                    targets=tuple(who.classifier if knows else who.target for who in group),
                    through=group[0].key if through else None,
                    num_draws=study.plan.framework_draws if aimed else draws,
                    aimed=aimed,
                )


def _measure_family(
    study: Study, scenario: Scenario, group: list[Defended], family: tuple[str, ...]
) -> None:
    """The rows of deciders that are measured together, on one attacked set."""
    aimed_at = family
    if scenario.aimed:
        aimed_at = deciders.attacked_themselves(scenario.aimed)
    elif scenario.threat == ThreatModel.FRAMEWORK:
        aimed_at = deciders.deployed(study.plan, group[0])
    elif scenario.threat in END_TO_END:
        aimed_at = ("target",)
    aimed = {"aimed": scenario.aimed} if scenario.aimed else {}
    wanted = {
        (who.target, name, *metric): study.row(
            scenario,
            _depends_on(study, scenario, who, name),
            threat=scenario.threat if name in aimed_at else NOT_ATTACKED,
            defense=who.defense,
            decider=DECIDERS[name].decides,
            metric=metric[0] if metric else "accuracy",
            settings={**_settings(study, who, name), **aimed},
        )
        for who in group
        for name in family
        for metric in ((), *((one,) for one in DECIDERS[name].beside(study.profile)))
    }
    study.ensure(wanted, lambda: _outcomes(study, scenario, group[0], wanted), scenario)


def _measure_worst_of_all(
    study: Study, scenarios: list[Scenario], group: list[Defended], family: tuple[str, ...]
) -> None:
    """Accuracies in which an image counts only if it survives every attack of one budget."""
    attacks = "+".join(sorted(scenario.attack for scenario in scenarios))
    wanted: dict[tuple[str, ...], Row] = {}
    for who, name in itertools.product(group, family):
        recipes = {one.attack: _depends_on(study, one, who, name) for one in scenarios}
        wanted[who.target, name] = study.row(
            scenarios[0],
            {**recipes[scenarios[0].attack], "worst_of": recipes},
            defense=who.defense,
            decider=DECIDERS[name].decides,
            settings={**_settings(study, who, name), "worst_of": attacks},
            attack=WORST_OF_ALL,
        )

    def measured() -> dict[tuple[str, ...], Value]:
        each = [_outcomes(study, scenario, group[0], wanted) for scenario in scenarios]
        return {name: worst([cast(Outcome, one[name]) for one in each]) for name in wanted}

    study.ensure(wanted, measured, dict.fromkeys(wanted, scenarios))


def _depends_on(study: Study, scenario: Scenario, who: Defended, name: str) -> dict[str, Any]:
    """What a decision depends on beside the attack and the test images."""
    attacked = scenario.attack != "none"
    purified = study.plan.purified.get(who.key or "")
    return {
        "target": study.models.target_recipe(who.target),
        "scenario": study.sets.recipe(scenario),
        **({"purified": purified} if purified else {}),
        **DECIDERS[name].recipe(study.models, study.profile, who, attacked=attacked),
    }


def _outcomes(
    study: Study,
    scenario: Scenario,
    who: Defended,
    names: Iterable[tuple[str, ...]],
    first: int | None = None,
) -> dict[tuple[str, ...], Value]:
    """By target and decider, which images are dealt with rightly, pooled over draws.

    With a metric as the third name, the share of images that the decider has of it; of the first
    few images, if a number of them is given.
    """
    names = list(names)
    images = study.sets.images(scenario)[: study.plan.purified.get(who.key or "")][:first]
    attacked = scenario.attack != "none"
    draws = study.profile.num_draws if _repeated(who, [name for _, name, *_ in names]) else 1
    found: dict[tuple[str, ...], list[np.ndarray]] = {name: [] for name in names}
    for draw in range(draws):
        defended = DefendedImages(study.models, who, images, draw, attacked=attacked)
        for target, name, *metric in names:
            decider = DECIDERS[name]
            found[target, name, *metric].append(
                decider.share(metric[0], defended, target)
                if metric
                else decider.correct(defended, target)
            )
    pooled = {name: np.concatenate(parts) for name, parts in found.items()}
    return {
        name: float(parts.mean()) if len(name) > 2 else Outcome(parts)
        for name, parts in pooled.items()
    }


def _repeated(who: Defended, names: Iterable[str]) -> bool:
    """Whether the draws of a profile are made: behind a purifier, but for its detectors."""
    return who.key is not None and "detectors" not in names


def _settings(study: Study, who: Defended, name: str) -> dict[str, Any]:
    """What the row of a decider carries."""
    source = study.plan.purifiers[who.key].source if who.key else None
    draws = study.profile.num_draws
    return {
        "target": who.target,
        **({"source": source} if source else {}),
        **({"draws": draws} if draws > 1 and _repeated(who, [name]) else {}),
        **DECIDERS[name].settings(study.plan, who),
    }


def _measure_worst(
    study: Study, scenario: Scenario, who: Defended, surrogates: tuple[str, ...]
) -> None:
    """An attack past a choice inside the purifier, by each surrogate, and the worst of several.

    In a worst case an image counts only if it survives every attack. It is that of the surrogates,
    and that of these and of the images that were made on the target alone, which an attacker who
    knows the purifier may still send. All are of the same images, so what the knowledge costs has
    an error image by image.
    """
    ignoring = oblivious(scenario.attack, scenario.epsilon, who.target)
    depends_on = _depends_on(study, scenario, who, "target")
    shared = {**_settings(study, who, "target"), "eot": scenario.num_draws}
    known = tuple(sorted((*surrogates, _IGNORING)))
    of_all = {**depends_on, "ignoring": study.sets.recipe(ignoring), "surrogates": known}
    # The worst is of these surrogates; each of them stands for itself.
    recipes = {"worst": {**depends_on, "surrogates": sorted(surrogates)}, _IGNORING: of_all}

    def row(name: str, recipe: dict[str, Any], metric: str = "accuracy", **more: Any) -> Row:
        settings = {**shared, "surrogate": name, **more}
        return study.row(
            scenario,
            recipe,
            defense=who.defense,
            decider="none" if metric != "accuracy" else "target",
            metric=metric,
            settings=settings,
        )

    wanted = {
        name: row(name, recipes.get(name, depends_on)) for name in (*surrogates, "worst", _IGNORING)
    }
    wanted["all"] = row("worst", of_all, worst_of="+".join(known))
    wanted["cost"] = row("worst", of_all, GAIN_ERROR, worst_of="+".join(known))

    by = {name: dataclasses.replace(scenario, surrogate=name) for name in surrogates}

    def measured() -> dict[str, Value]:
        def outcome(facing: Scenario) -> Outcome:
            name = (who.target, "target")
            limit = study.sets.limit(scenario)
            return cast(Outcome, _outcomes(study, facing, who, [name], first=limit)[name])

        found = {name: outcome(by[name]) for name in surrogates}
        plain = outcome(ignoring)
        every = worst([*found.values(), plain])
        return {
            **found,
            "worst": worst(list(found.values())),
            _IGNORING: plain,
            "all": every,
            "cost": paired(plain, every)[1],
        }

    faced = {name: [by[name]] for name in surrogates}
    faced |= {"worst": list(by.values()), _IGNORING: [ignoring]}
    faced |= {key: [*by.values(), ignoring] for key in ("all", "cost")}
    study.ensure(wanted, measured, faced)
