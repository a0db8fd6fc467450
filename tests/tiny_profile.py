"""The whole pipeline on a handful of digits; as a script, one run that a test may kill.

Its numbers mean nothing: networks a tenth as wide as printed see 200 images.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments import catalog, datasets, scheduler
from experiments.artifacts import ArtifactStore
from experiments.config import (
    AttackConfig,
    AttackedCopies,
    ClassifierConfig,
    DatasetConfig,
    DatasetPlan,
    DecisionConfig,
    Profile,
    PurifierConfig,
    TrainingConfig,
)
from experiments.evaluation import Study
from experiments.presets import shared
from experiments.training import TrainedModels
from results.rows import Row

ENTRIES = ("003.F1.1", "003.F3.2", "003.F3.5", "003.F3.8", "003.F3.10", "003.F3.14")
LATER_ENTRIES = (
    "003.F3.10", "003.F4.2", "003.T4.1", "003.T5.1", "003.F5.3", "003.F5.8", "003.F5.10",
)  # fmt: skip
PUVAE_ENTRIES = ("004.F4", "004.F7", "004.T3", "004.T6", "004.F8", "004.T7", "004.T8")
# Few blocks: uncompiled, each takes as long as a layer.
CODES_AT_ONCE = 512


def tiny_profile() -> Profile:
    """Two targets, both purifiers, two voters, three attacks, two epsilons."""
    training = TrainingConfig(epochs=2, batch_size=50)
    networks = {"width": 0.1, "training": training}
    plan = DatasetPlan(
        dataset=DatasetConfig(name="digits", train_limit=200, validation_size=100, test_limit=40),
        targets={name: ClassifierConfig(architecture=name, **networks) for name in "AB"},
        purifiers={
            name: PurifierConfig(name=name, training=training, width=0.05)
            for name in ("sfl_vae", "non_sfl_vae")
        },
        voters=(
            ClassifierConfig(architecture="resnet_a", depth=1, width=0.25, training=training),
            ClassifierConfig(architecture="B", **networks),
        ),
        decision=DecisionConfig(num_drawn=1),
        unpublished=("non_sfl_vae",),
    )
    return Profile(
        name="tiny",
        plans={"digits": plan},
        attacks={
            "fgsm": AttackConfig(name="fgsm"),
            "pgd": AttackConfig(name="pgd", hyperparameters={"num_steps": 2}),
            "carlini_wagner": AttackConfig(
                name="carlini_wagner",
                hyperparameters={
                    "binary_search_steps": 2,
                    "max_iterations": 10,
                    "learning_rate": 0.1,
                    "initial_const": 10.0,
                },
            ),
        },
        epsilons=(0.0, 0.1),
        voting_epsilons=(0.1,),
        voting_subsets=2,
        num_draws=2,
        cuts="Profile tiny: for tests.",
    )


def later_profile() -> Profile:
    """What chapters 4 and 5 add: every other purifier, a target of its own and its substitutes.

    Small networks stand in for Wide-ResNet, DenseNets and voters, which take long to build.
    """
    profile = tiny_profile()
    plan = profile.plans["digits"]
    training = TrainingConfig(epochs=1, batch_size=200)
    purifiers = {
        name: PurifierConfig(name=name, training=training, width=0.1)
        for name in ("defense_cyclegan", "defense_cyclegan_4")
    }
    several_steps = dataclasses.replace(training, batch_size=50)  # after one no code has moved
    purifiers |= {
        key: dataclasses.replace(
            config, arguments={**config.arguments, "codes_at_once": CODES_AT_ONCE}
        )
        for key, config in shared.vq_purifiers(several_steps, width=0.1).items()
    }
    purifiers["defense_vae"] = PurifierConfig(
        name="defense_vae",
        training=training,
        width=0.1,
        copies=AttackedCopies(target="A", attacks=((AttackConfig(name="fgsm"), 0.2),)),
    )
    purifiers["defense_gan"] = PurifierConfig(
        name="defense_gan",
        training=training,
        width=0.1,
        arguments={"num_restarts": 1, "num_steps": 2},
    )
    first, second, third = (
        ClassifierConfig(architecture=name, width=0.1, training=training) for name in "ABC"
    )
    later = dataclasses.replace(
        plan,
        targets={"A": plan.targets["A"]},
        purifiers={"sfl_vae": plan.purifiers["sfl_vae"], **purifiers},
        voters=(second,),
        wide_resnet=first,
        substitutes=(second, third),
    )
    return dataclasses.replace(profile, plans={"digits": later}, num_draws=1)


def puvae_profile() -> Profile:
    """What the PuVAE paper adds."""
    profile = tiny_profile()
    training = TrainingConfig(epochs=1, batch_size=200)
    search = {
        "binary_search_steps": 1,
        "max_iterations": 20,
        "learning_rate": 0.3,
        "initial_const": 100.0,
    }
    puvae = shared.puvae_plan(
        colour=False,
        classifier=training,
        width=0.1,
        substitute_training={"num_seed_images": 20, "num_rounds": 2, "epochs": 1},
        num_draws=2,
        searches=(1,),
        timed_search=(2, 2),
    )
    guards = shared.puvae_purifiers(
        puvae, puvae=training, width=0.1, decoder_width=0.1, magnet=training
    )
    defense_gan = later_profile().plans["digits"].purifiers["defense_gan"]
    plan = dataclasses.replace(
        profile.plans["digits"],
        targets={},
        voters=(),
        purifiers={"defense_gan": defense_gan, **guards},
        unpublished=shared.UNPUBLISHED,
        attacked_through={"puvae": 20},
        puvae=puvae,
    )
    return dataclasses.replace(
        profile,
        plans={"digits": plan},
        attacks={**profile.attacks, **shared.targeted_attacks(search)},
        num_draws=1,
    )


def tiny_run(
    folder: Path, profile: Profile | None = None, entries: Sequence[str] = ENTRIES
) -> scheduler.Run:
    """A run that keeps everything under `folder`."""
    return scheduler.Run(
        profile=profile or tiny_profile(),
        entries=tuple(catalog.select(entries)),
        dataset_names=("digits",),
        seed=0,
        results_dir=folder / "results",
        artifacts_dir=folder / "artifacts",
    )


def finished_run(folder: Path, profile: Profile, entries: Sequence[str]) -> scheduler.Run:
    """A run that has measured and drawn."""
    run = tiny_run(folder, profile, entries)
    scheduler.measure(run)
    return run


def study_of(run: scheduler.Run) -> Study:
    """What a run measured with, read back from its store."""
    plan = run.profile.plans["digits"]
    models = TrainedModels(plan, datasets.load(plan.dataset), ArtifactStore(run.artifacts_dir), 0)
    return Study(run.profile, models, run.rows)


def rows_where(run: scheduler.Run, experiment: str, **fields: object) -> list[Row]:
    """The rows of an experiment that have these values."""
    return [
        row
        for row in run.rows.read(experiment)
        if all(getattr(row, name) == value for name, value in fields.items())
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    scheduler.measure(tiny_run(parser.parse_args().folder))
