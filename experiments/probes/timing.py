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
from defenses.registry import get_purifier
from experiments.attacked_sets import Scenario, oblivious
from experiments.deciders import defended
from experiments.inference import classifier_labels
from experiments.measure import Study
from experiments.outcomes import Outcome
from validation import check_integer

REPEATS = 5
WIDTH = 1.0
"""Of the networks whose seconds are compared with each other, in every profile."""
_SINGLE_PASS = ("magnet", "puvae")
_SEARCH = "defense_gan"


class _Setting(NamedTuple):
    """A purifier as it is timed: its name, what its rows carry, its recipe, and what makes it."""

    defense: str
    settings: dict[str, Any]
    recipe: dict[str, Any]
    make: Callable[[], Purifier]


def seconds(study: Study, exhibit: str, *, images: int) -> None:
    """Seconds that each purifier takes for a batch of images, at the papers' widths.

    The networks are fresh, as a time does not depend on weights, and of full width in every
    profile, so that ratios are those of like with like. PuVAE stands twice: as it purifies here,
    sharing what does not depend on the class, and in one full pass of encoder and decoder for each
    class, as printed. All are timed in turn, in one process, after a first call that compiles:
    medians of five. Where a plan says so, a search is timed over some of its steps and over half as
    many, and its whole time lies on the line through the two.

    **Reference**: PuVAE, sec. V-D, Table 7.

    Args:
        study: Images and rows.
        exhibit: Not needed: rows name no figure.
        images: Size of the batch; test images come again where there are fewer.
    """
    check_integer("images of a timed batch", images, at_least=1)
    restarts, steps = study.plan.timed_search
    timed = min(steps, study.plan.timed_steps or steps)
    search = {"restarts": restarts, "steps": steps}
    if timed < steps:
        search["timed_steps"] = timed
    lengths = (steps,) if timed == steps else (timed // 2, timed)
    settings: dict[str, dict[str, int]] = {"magnet": {}, "puvae": {}, _SEARCH: search}
    settings["passes"] = {"passes": study.data.num_classes}
    common = {"images": images, "repeats": REPEATS, "width": WIDTH}
    shape = study.data.input_shape
    depends_on = {"shape": shape, "classes": study.data.num_classes, "settings": settings}
    wanted = {
        name: study.row(
            Scenario(),
            depends_on,
            defense="puvae" if name == "passes" else name,
            metric="seconds",
            settings={**common, **own},
        )
        for name, own in settings.items()
    }

    def measure() -> dict[str, float]:
        batch = _batch(study, images)

        def built(name: str, **arguments: int) -> Purifier:
            return get_purifier(name).for_images(
                shape, study.data.num_classes, width=WIDTH, seed=study.seed, **arguments
            )

        calls: dict[Any, Callable[[], object]] = {
            length: _purification(built(_SEARCH, num_restarts=restarts, num_steps=length), batch)
            for length in lengths
        }
        calls["magnet"] = _purification(built("magnet"), batch)
        puvae = PuVAE.narrow(built("puvae"))
        calls["puvae"], calls["passes"] = _purification(puvae, batch), _full_passes(puvae, batch)
        found = _timed(calls)
        searched = {length: found.pop(length) for length in lengths}
        return {**found, _SEARCH: _on_line(searched, steps)}

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
    """Accuracy behind searches of several lengths, and the seconds that a batch takes.

    What makes a single pass is timed too; its accuracies are measured as everywhere.

    **Reference**: PuVAE, sec. V-D, Figure 9 and Table 8.
    **Differs from the paper**: adversarial training, which purifies nothing, has no time.

    Args:
        study: Models, sets and rows.
        exhibit: Not needed: rows name no figure.
        targets: The first that the plan has is attacked.
        attacks: Names of the profile.
        epsilon: Budget of the attacks that have one, as in ``results.exhibit.Grid``.
        images: Size of the batch that is timed; accuracies are of all test images, or of as many as
            the plan lets the search purify.
    """
    check_integer("images of a timed batch", images, at_least=1)
    target = _first(study, targets)
    restarts, _ = study.plan.timed_search
    searches = [_search(study, restarts, steps) for steps in study.plan.searches]
    for setting in (*_single_pass(study, target), *searches):
        _measure_seconds(study, setting, target, images)
    for attack in attacks:
        scenario = oblivious(attack, study.budget(epsilon, attack), target)
        for setting in searches:
            _measure_accuracy(study, scenario, setting, images)


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


def _measure_accuracy(study: Study, scenario: Scenario, setting: _Setting, batch_size: int) -> None:
    (target,) = scenario.targets
    limit = study.plan.purified.get(_SEARCH)
    depends_on = {
        "scenario": study.sets.recipe(scenario),
        "decided": [setting.recipe, setting.settings],
        **({"purified": limit} if limit else {}),
    }

    def measure() -> dict[str, Outcome]:
        purifier = setting.make()
        purifier.reset_randomness(study.seed)
        purified = purifier.purify(study.sets.images(scenario)[:limit], batch_size)
        labels = classifier_labels(study.models.target(target), purified, target)
        right = labels == study.data.test.labels[: len(purified)]
        return {"": Outcome(right[np.newaxis])}

    row = study.row(
        scenario,
        depends_on,
        defense=setting.defense,
        decider="target",
        settings={"target": target, **setting.settings},
    )
    study.ensure({"": row}, measure, scenario)


def _batch(study: Study, size: int) -> np.ndarray:
    """Test images; where there are too few they come again, so that a time is of as many."""
    images = study.data.test.images
    return images[np.arange(size) % len(images)]


def _purification(purifier: Purifier, batch: np.ndarray) -> Callable[[], object]:
    return lambda: purifier.purify(batch, len(batch))


def _full_passes(puvae: PuVAE, batch: np.ndarray) -> Callable[[], object]:
    """PuVAE as printed: encoder and decoder once for each class, then the nearest candidate."""
    images = keras.Input(puvae.image_shape)
    labels = keras.Input((puvae.num_classes,))
    z_mean, _ = puvae.encoder([images, labels])
    networks = keras.Model([images, labels], puvae.decoder([z_mean, labels]))
    codes = np.eye(puvae.num_classes, dtype="float32")

    def purify() -> np.ndarray:
        candidates = np.stack(
            [networks.predict_on_batch([batch, np.tile(code, (len(batch), 1))]) for code in codes],
            axis=1,
        )
        nearest = ((candidates - batch[:, np.newaxis]) ** 2).mean(axis=(2, 3, 4)).argmin(axis=1)
        return candidates[np.arange(len(batch)), nearest]

    return purify


def _on_line(seconds: Mapping[int, float], steps: int) -> float:
    """Seconds of so many steps, from those of one or two numbers of them.

    What does not depend on the steps, such as the last pass of a search, then counts once.
    """
    first, *rest = seconds
    if not rest:
        return seconds[first]
    (last,) = rest
    each = (seconds[last] - seconds[first]) / (last - first)
    return seconds[first] + (steps - first) * each


def _timed(calls: Mapping[Any, Callable[[], object]]) -> dict[Any, float]:
    """Median seconds of each call, taken in turn after a first one that compiles."""
    for call in calls.values():
        call()
    taken: dict[Any, list[float]] = {name: [] for name in calls}
    for name in _turns(calls):
        start = time.perf_counter()
        calls[name]()
        taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def _turns(calls: Mapping[Any, Any]) -> Iterator[Any]:
    for _ in range(REPEATS):
        yield from calls
