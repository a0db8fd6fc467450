"""What the defenses of the PuVAE paper cost: Tables 7 and 8, Figure 9."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from attacks.threat_models import ThreatModel
from defenses.defense_gan import DefenseGAN
from defenses.purifier import Purifier
from defenses.puvae import PuVAE
from experiments.evaluation import Measured, Measurement, Study
from experiments.inference import classifier_labels
from experiments.puvae_accuracy import TARGETED, epsilon_of
from experiments.puvae_deciders import Decider, decided_row, guard_of, hardened, measured, share
from results.rows import make_flags

BATCH = 128
REPEATS = 5


class _Setting(NamedTuple):
    """A purifier as it is timed: its name, its flags and what makes it."""

    defense: str
    flags: dict[str, Any]
    recipe: dict[str, Any]
    make: Callable[[], Purifier]


def seconds_per_batch(study: Study, experiment: str) -> None:
    """Seconds that each purifier takes for 128 images, and the floor of PuVAE's.

    All of them are timed in turn, in one process, after a first call that compiles: medians of
    five. The floor is one plain forward pass of PuVAE's networks on ten times as many images.

    **Reference**: PuVAE, sec. V-D, Table 7.
    """
    restarts, steps = study.models.puvae_plan.timed_search
    target = next(iter(study.models.puvae_plan.classifiers))
    settings = [*_single_pass(study, target), _search(study, restarts, steps)]
    common = {"images": BATCH, "repeats": REPEATS}
    rows = {
        setting.defense: Measurement(
            defense=setting.defense,
            classifier="none",
            metric="seconds",
            flags=make_flags({**common, **setting.flags}),
        )
        for setting in settings
    }
    rows["floor"] = Measurement(
        defense="puvae", classifier="none", metric="seconds_floor", flags=make_flags(common)
    )

    def measure() -> Measured:
        purifiers = {setting.defense: setting.make() for setting in settings}
        batch = _batch(study)
        calls: dict[str, Callable[[], object]] = {
            name: _purification(purifier, batch) for name, purifier in purifiers.items()
        }
        calls["floor"] = _plain_pass(purifiers["puvae"], batch)
        return {rows[name]: (seconds, None, None) for name, seconds in _timed(calls).items()}

    study.settle(
        experiment,
        attack="none",
        epsilon=0.0,
        threat_model="none",
        depends_on={setting.defense: [setting.recipe, setting.flags] for setting in settings},
        measurements=rows.values(),
        measure=measure,
    )


def accuracy_against_time(study: Study, experiment: str) -> None:
    """Accuracy on the first 128 attacked images, and the seconds that a batch of 128 takes.

    **Reference**: PuVAE, sec. V-D, Figure 9 and Table 8.
    **Differs from the paper**: the target is the first of the pair, whose numbers Table 8
    repeats; adversarial training, which purifies nothing, has no time.
    """
    plan = study.models.puvae_plan
    target = next(iter(plan.classifiers))
    restarts, _ = plan.timed_search
    settings = _single_pass(study, target)
    settings += [_search(study, restarts, steps) for steps in plan.searches]
    for setting in settings:
        _settle_seconds(study, experiment, setting, target)
        for attack in TARGETED:
            _settle_accuracy(study, experiment, setting, target, attack)
    for attack in TARGETED:
        decider = hardened(study, target)
        decide = functools.partial(_alone, study, decider)
        _settle(study, experiment, attack, target, decider.row, decider.recipe, decide)


def _single_pass(study: Study, target: str) -> list[_Setting]:
    models = study.models
    keys = {"magnet": "magnet", "puvae": guard_of(study, target)}
    return [
        _Setting(name, {}, models.purifier_recipe(key), functools.partial(models.purifier, key))
        for name, key in keys.items()
    ]


def _search(study: Study, restarts: int, steps: int) -> _Setting:
    """Defense-GAN on the trained generator, with another search."""

    @functools.cache
    def make() -> Purifier:
        trained = DefenseGAN.narrow(study.models.purifier("defense_gan"))
        return DefenseGAN(
            trained.generator, None, num_restarts=restarts, num_steps=steps, seed=study.seed
        )

    flags = {"restarts": restarts, "steps": steps}
    return _Setting("defense_gan", flags, study.models.purifier_recipe("defense_gan"), make)


def _settle_seconds(study: Study, experiment: str, setting: _Setting, target: str) -> None:
    row = Measurement(
        defense=setting.defense,
        classifier="none",
        metric="seconds",
        flags=make_flags({"target": target, **setting.flags}),
    )

    def measure() -> Measured:
        calls = {"": _purification(setting.make(), _batch(study))}
        return {row: (_timed(calls)[""], None, None)}

    study.settle(
        experiment,
        attack="none",
        epsilon=0.0,
        threat_model="none",
        depends_on={"purifier": setting.recipe, **setting.flags},
        measurements=[row],
        measure=measure,
    )


def _settle_accuracy(
    study: Study, experiment: str, setting: _Setting, target: str, attack: str
) -> None:
    def decide(images: np.ndarray) -> tuple[float, int, int]:
        purifier = setting.make()
        purifier.reset_randomness(study.seed)
        purified = purifier.purify(images, BATCH)
        labels = classifier_labels(study.models.target(target), purified, f"target {target}")
        return share(labels == study.data.test.labels[:BATCH])

    row = decided_row(setting.defense, target, **setting.flags)
    _settle(study, experiment, attack, target, row, [setting.recipe, setting.flags], decide)


def _alone(
    study: Study, decider: Decider, images: np.ndarray
) -> tuple[float, int | None, int | None]:
    return measured(decider, images)[decider.row]


def _settle(
    study: Study,
    experiment: str,
    attack: str,
    target: str,
    row: Measurement,
    recipe: Any,
    decide: Callable[[np.ndarray], tuple[float, int | None, int | None]],
) -> None:
    epsilon = epsilon_of(study, attack)
    study.settle(
        experiment,
        attack=attack,
        epsilon=epsilon,
        threat_model=ThreatModel.OBLIVIOUS.value,
        depends_on={"target": study.models.target_recipe(target), "decided": recipe},
        measurements=[row],
        measure=lambda: {row: decide(study.sets.oblivious(target, attack, epsilon)[:BATCH])},
    )


def _batch(study: Study) -> np.ndarray:
    """128 test images; where there are fewer they come again, so that a time is always of 128."""
    images = study.data.test.images
    return images[np.arange(BATCH) % len(images)]


def _purification(purifier: Purifier, batch: np.ndarray) -> Callable[[], object]:
    return lambda: purifier.purify(batch, BATCH)


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
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _turns(calls: Mapping[str, Any]) -> Iterator[str]:
    for _ in range(REPEATS):
        yield from calls
