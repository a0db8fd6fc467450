"""What purifying costs: seconds for a batch, and what is reached in them."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from defenses.defense_gan import DefenseGAN
from defenses.purifier import Purifier
from defenses.puvae import PuVAE
from experiments.attacked_sets import Scenario, oblivious
from experiments.deciders import ADVERSARIAL_TRAINING, DECIDERS, Defended, defended
from experiments.inference import classifier_labels
from experiments.measure import Study
from experiments.outcomes import Outcome
from validation import check_integer

REPEATS = 5
_SINGLE_PASS = ("magnet", "puvae")
_SEARCH = "defense_gan"


class _Setting(NamedTuple):
    """A purifier as it is timed: its name, what its rows carry, its recipe, and what makes it."""

    defense: str
    settings: dict[str, Any]
    recipe: dict[str, Any]
    make: Callable[[], Purifier]


def seconds(study: Study, exhibit: str, *, targets: Sequence[str], images: int) -> None:
    """Seconds that each purifier takes for a batch of images, and a plain pass of PuVAE's networks.

    All of them are timed in turn, in one process, after a first call that compiles: medians of
    five. The plain pass (``seconds_floor``) is of ten times as many images, one for each class.

    **Reference**: PuVAE, sec. V-D, Table 7.

    Args:
        study: Models and rows.
        exhibit: Not needed: rows name no figure.
        targets: The first that the plan has says which PuVAE is timed.
        images: Size of the batch; test images come again where there are fewer.
    """
    check_integer("images of a timed batch", images, at_least=1)
    restarts, steps = study.plan.timed_search
    target = _first(study, targets)
    settings = [*_single_pass(study, target), _search(study, restarts, steps)]
    common = {"images": images, "repeats": REPEATS}
    clean = Scenario()
    depends_on = {setting.defense: [setting.recipe, setting.settings] for setting in settings}
    row = functools.partial(study.row, clean, depends_on)
    wanted = {
        setting.defense: row(
            defense=setting.defense, metric="seconds", settings={**common, **setting.settings}
        )
        for setting in settings
    }
    wanted["floor"] = row(defense="puvae", metric="seconds_floor", settings=common)

    def measure() -> dict[str, float]:
        purifiers = {setting.defense: setting.make() for setting in settings}
        batch = _batch(study, images)
        calls: dict[str, Callable[[], object]] = {
            name: _purification(purifier, batch) for name, purifier in purifiers.items()
        }
        calls["floor"] = _plain_pass(purifiers["puvae"], batch)
        return _timed(calls)

    study.ensure(wanted, measure)


def accuracy_against_time(
    study: Study,
    exhibit: str,
    *,
    targets: Sequence[str],
    attacks: Sequence[str],
    epsilon: Any,
    images: int,
) -> None:
    """Accuracy on the first attacked images, and the seconds that a batch of as many takes.

    **Reference**: PuVAE, sec. V-D, Figure 9 and Table 8.
    **Differs from the paper**: adversarial training, which purifies nothing, has no time.

    Args:
        study: Models, sets and rows.
        exhibit: Not needed: rows name no figure.
        targets: The first that the plan has is attacked.
        attacks: Names of the profile.
        epsilon: Budget of the attacks that have one, as in ``results.exhibit.Grid``.
        images: Size of the batch.
    """
    check_integer("images of a timed batch", images, at_least=1)
    target = _first(study, targets)
    restarts, _ = study.plan.timed_search
    settings = _single_pass(study, target)
    settings += [_search(study, restarts, steps) for steps in study.plan.searches]
    trained = defended(study.plan, ADVERSARIAL_TRAINING, target)
    for setting in settings:
        _measure_seconds(study, setting, target, images)
    for attack in attacks:
        budget = study.budget(epsilon, attack)
        scenario = oblivious(attack, budget, target)
        for setting in settings:
            _measure_accuracy(study, scenario, setting, images)
        if trained is not None:
            _measure_alone(study, scenario, trained, images)


def _first(study: Study, targets: Sequence[str]) -> str:
    """The first of some classifiers that the plan has."""
    present = [name for name in targets if name in study.plan.classifiers]
    if not present:
        raise ValueError(
            f"Expected one of the classifiers {list(targets)} in the plan of {study.dataset}, "
            f"received {', '.join(study.plan.classifiers)}. Add one to the profile."
        )
    return present[0]


def _single_pass(study: Study, target: str) -> list[_Setting]:
    models = study.models
    found = [defended(study.plan, name, target) for name in _SINGLE_PASS]
    return [
        _Setting(
            who.defense,
            {},
            models.purifier_recipe(who.key or ""),
            functools.partial(models.purifier, who.key or ""),
        )
        for who in found
        if who is not None
    ]


def _search(study: Study, restarts: int, steps: int) -> _Setting:
    """The same trained generator with another search."""

    @functools.cache
    def make() -> Purifier:
        trained = DefenseGAN.narrow(study.models.purifier(_SEARCH))
        return DefenseGAN(
            trained.generator, None, num_restarts=restarts, num_steps=steps, seed=study.seed
        )

    settings = {"restarts": restarts, "steps": steps}
    return _Setting(_SEARCH, settings, study.models.purifier_recipe(_SEARCH), make)


def _measure_seconds(study: Study, setting: _Setting, target: str, images: int) -> None:
    row = study.row(
        Scenario(),
        {"purifier": setting.recipe, "images": images, **setting.settings},
        defense=setting.defense,
        metric="seconds",
        settings={"target": target, **setting.settings},
    )
    study.ensure(
        {"": row}, lambda: _timed({"": _purification(setting.make(), _batch(study, images))})
    )


def _measure_accuracy(study: Study, scenario: Scenario, setting: _Setting, images: int) -> None:
    (target,) = scenario.targets
    depends_on = {
        "scenario": study.sets.recipe(scenario),
        "decided": [setting.recipe, setting.settings],
    }

    def measure() -> dict[str, Outcome]:
        purifier = setting.make()
        purifier.reset_randomness(study.seed)
        purified = purifier.purify(study.sets.images(scenario)[:images], images)
        return {"": _outcome(study, target, purified)}

    row = study.row(
        scenario,
        depends_on,
        defense=setting.defense,
        decider="target",
        settings={"target": target, "batch": images, **setting.settings},
    )
    study.ensure({"": row}, measure, scenario)


def _measure_alone(study: Study, scenario: Scenario, who: Defended, images: int) -> None:
    """An adversarially trained classifier on the same images."""
    decided = DECIDERS["target"].recipe(study.models, study.profile, who, attacked=True)
    row = study.row(
        scenario,
        {"scenario": study.sets.recipe(scenario), "decided": decided},
        defense=who.defense,
        decider="target",
        settings={"target": who.target, "batch": images},
    )
    study.ensure(
        {"": row},
        lambda: {"": _outcome(study, who.classifier, study.sets.images(scenario)[:images])},
        scenario,
    )


def _outcome(study: Study, classifier: str, images: np.ndarray) -> Outcome:
    labels = classifier_labels(study.models.target(classifier), images, classifier)
    return Outcome((labels == study.data.test.labels[: len(images)])[np.newaxis])


def _batch(study: Study, size: int) -> np.ndarray:
    """Test images; where there are too few they come again, so that a time is of as many."""
    images = study.data.test.images
    return images[np.arange(size) % len(images)]


def _purification(purifier: Purifier, batch: np.ndarray) -> Callable[[], object]:
    return lambda: purifier.purify(batch, len(batch))


def _plain_pass(purifier: Purifier, batch: np.ndarray) -> Callable[[], object]:
    """PuVAE's encoder and decoder on every image as every class, and nothing else."""
    puvae = PuVAE.narrow(purifier)
    encoder, decoder = puvae.encoder, puvae.decoder
    copies = np.repeat(batch, puvae.num_classes, axis=0)
    classes = np.tile(np.eye(puvae.num_classes, dtype="float32"), (len(batch), 1))
    images, labels = keras.Input(batch.shape[1:]), keras.Input(classes.shape[1:])
    z_mean, _ = encoder([images, labels])
    networks = keras.Model([images, labels], decoder([z_mean, labels]))
    return lambda: networks.predict_on_batch([copies, classes])


def _timed(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each call, taken in turn after a first one that compiles."""
    for call in calls.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for name in _turns(calls):
        start = time.perf_counter()
        calls[name]()
        taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def _turns(calls: Mapping[str, Any]) -> Iterator[str]:
    for _ in range(REPEATS):
        yield from calls
