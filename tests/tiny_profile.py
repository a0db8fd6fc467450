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

from experiments import scheduler
from experiments.config import (
    AttackConfig,
    AttackedCopies,
    ClassifierConfig,
    DatasetConfig,
    DecisionConfig,
    PurifierConfig,
    SubstituteConfig,
    TrainingConfig,
)
from experiments.measure import Study
from experiments.presets import cap_gan, shared
from experiments.profile import DatasetPlan, Profile
from experiments.runs import Run
from papers import catalog
from results.exhibit import Where, matches
from results.row import Row

SMALLEST_EXHIBITS = ("003.F3.6",)
EXHIBITS = ("003.F1.1", "003.F3.2", "003.F3.5", "003.F3.8", "003.F3.10", "003.F3.14")
# Few blocks: uncompiled, each takes as long as a layer.
CODES_AT_ONCE = 512
BRIEF = TrainingConfig(epochs=1, batch_size=200)


def tiny_profile() -> Profile:
    """Two targets, a purifier with its ablation, two voters, three attacks, two epsilons."""
    training = TrainingConfig(epochs=2, batch_size=50)
    networks = {"width": 0.1, "training": training}
    plan = DatasetPlan(
        dataset=DatasetConfig(name="digits", train_limit=200, validation_size=100, test_limit=40),
        classifiers={name: ClassifierConfig(architecture=name, **networks) for name in "AB"},
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
        budgets={"axis": (0.0, 0.1), "voting": (0.1,)},
        cuts="Profile tiny: for tests.",
        voting_subsets=2,
        num_draws=2,
    )


def smallest_profile() -> Profile:
    """Two targets, one of the smallest purifiers, one attack."""
    profile = tiny_profile()
    plan = profile.plans["digits"]
    classifiers = {
        name: dataclasses.replace(config, training=BRIEF)
        for name, config in plan.classifiers.items()
    }
    smallest = dataclasses.replace(
        plan,
        classifiers=classifiers,
        purifiers={"magnet": PurifierConfig(name="magnet", training=BRIEF)},
        voters=(),
        compared=("magnet",),
    )
    return dataclasses.replace(profile, plans={"digits": smallest}, num_draws=1)


def later_profile() -> Profile:
    """Further purifiers of the dissertation, retrained targets, transferred classifiers.

    Small networks stand in for Wide-ResNet, DenseNets and voters, which take long to build. All
    are trained for one epoch.
    """
    profile = tiny_profile()
    plan = profile.plans["digits"]
    purifiers = {
        name: PurifierConfig(name=name, training=BRIEF, width=0.1)
        for name in ("defense_cyclegan", "defense_cyclegan_4")
    }
    purifiers["defense_vae"] = PurifierConfig(
        name="defense_vae",
        training=BRIEF,
        width=0.1,
        copies=AttackedCopies(target="A", attacks=((AttackConfig(name="fgsm"), 0.2),)),
    )
    purifiers["defense_gan"] = _defense_gan()
    first, second, third = (
        ClassifierConfig(architecture=name, width=0.1, training=BRIEF) for name in "ABC"
    )
    sweep = shared.kl_variants(plan.purifiers["sfl_vae"], BRIEF)
    later = dataclasses.replace(
        plan,
        classifiers={
            "A": plan.classifiers["A"],
            "wide_resnet": first,
            "substitute_0": second,
            "substitute_1": third,
        },
        purifiers={"sfl_vae": plan.purifiers["sfl_vae"], **purifiers},
        variants=dict(list(sweep.items())[:2]),
        retrained=("A", "wide_resnet"),
        voters=(second,),
        transferred=("substitute_0", "substitute_1"),
        unpublished=shared.UNPUBLISHED,
    )
    return dataclasses.replace(profile, plans={"digits": later}, num_draws=1)


def fair_profile() -> Profile:
    """Every decider is attacked itself: a pool, one that votes as a whole, and MagNet compared."""
    profile = tiny_profile()
    plan = profile.plans["digits"]
    brief = {"training": BRIEF, "width": 0.1}
    noisy = shared.cyclegan_purifiers(BRIEF, width=0.1, ablations=False, noisy=True)
    fair = dataclasses.replace(
        plan,
        classifiers={name: ClassifierConfig(architecture=name, **brief) for name in "AB"},
        purifiers={
            "sfl_vae": dataclasses.replace(plan.purifiers["sfl_vae"], training=BRIEF),
            "defense_cyclegan_noisy": noisy["defense_cyclegan_noisy"],
            "magnet": PurifierConfig(name="magnet", training=BRIEF),
        },
        variants=dict(
            list(shared.sfl_variants(plan.purifiers["sfl_vae"], BRIEF).items())[::2]
            + list(shared.kl_variants(plan.purifiers["sfl_vae"], BRIEF).items())[:1]
        ),
        retrained=("A",),
        voters=tuple(ClassifierConfig(architecture=name, **brief) for name in "CA"),
        decision=DecisionConfig(num_drawn=1),
        drawn={"defense_cyclegan_noisy": 2},
        attacked_through={"sfl_vae": 20},
        compared=("magnet",),
        framework_draws=2,
        framework_confidence=2.0,
    )
    native = dataclasses.replace(profile.attacks["carlini_wagner"], bounded=False)
    return dataclasses.replace(
        profile,
        plans={"digits": fair},
        attacks={**profile.attacks, "carlini_wagner_native": native},
        fair=True,
    )


def codes_profile() -> Profile:
    """As `later_profile`, with VQUNet and its ablations."""
    profile = later_profile()
    plan = profile.plans["digits"]
    several_steps = dataclasses.replace(BRIEF, batch_size=50)  # after one no code has moved
    purifiers = {
        key: dataclasses.replace(
            config, arguments={**config.arguments, "codes_at_once": CODES_AT_ONCE}
        )
        for key, config in shared.vq_purifiers(several_steps, width=0.1).items()
    }
    plan = dataclasses.replace(plan, purifiers={**plan.purifiers, **purifiers})
    return dataclasses.replace(profile, plans={"digits": plan})


def puvae_profile() -> Profile:
    """What the PuVAE paper adds: purifiers with a source, targeted and adaptive attackers."""
    profile = tiny_profile()
    search = {
        "binary_search_steps": 1,
        "max_iterations": 20,
        "learning_rate": 0.3,
        "initial_const": 100.0,
    }
    purifiers = shared.puvae_purifiers(
        colour=False, puvae=BRIEF, width=0.1, decoder_width=0.1, magnet=BRIEF
    )
    plan = dataclasses.replace(
        profile.plans["digits"],
        classifiers=shared.puvae_classifiers(colour=False, training=BRIEF, width=0.1),
        voters=(),
        purifiers={"defense_gan": _defense_gan(), **purifiers},
        variants=shared.puvae_variants(
            purifiers["puvae_other_source"], shared.PUVAE_COEFFICIENTS[:1]
        ),
        substitute=SubstituteConfig(
            classifier=ClassifierConfig(architecture="puvae_e", training=BRIEF),
            arguments={"num_seed_images": 20, "num_rounds": 2, "epochs": 1},
        ),
        unpublished=(*shared.UNPUBLISHED, *shared.VARIANTS),
        attacked_through={"puvae": 20},
        attacked_draws=2,
        searches=(1,),
        timed_search=(2, 4),
        timed_steps=2,
    )
    return dataclasses.replace(
        profile,
        plans={"digits": plan},
        attacks={**profile.attacks, **shared.targeted_attacks(search)},
        num_draws=1,
    )


def cap_gan_profile() -> Profile:
    """What the CAP-GAN paper adds: purifiers of one classifier, attackers who query or transfer."""
    profile = tiny_profile()
    purifiers = cap_gan.purifiers(
        ape_gan=BRIEF,
        hgd=BRIEF,
        cap_gan=BRIEF,
        ablations=BRIEF,
        widths={"ape_gan": 0.1, "hgd": 0.1, "cap_gan": 0.1},
        num_residual_blocks=1,
    )
    made = ("jpeg", "thermometer", "ape_gan", "hgd", "cap_gan", "cap_gan_pixel")
    bare = dataclasses.replace(profile.plans["digits"], classifiers={}, purifiers={}, voters=())
    plan = cap_gan.added(
        dataclasses.replace(bare, unpublished=()),
        classifiers=cap_gan.classifiers(BRIEF, width=0.25, depth=1),
        purifiers={name: purifiers[name] for name in made},
        through=10,
    )
    search = {
        "binary_search_steps": 1,
        "max_iterations": 30,
        "learning_rate": 1.0,
        "initial_const": 1e4,
    }
    attacks = cap_gan.attacks(
        search=search,
        confidence=0.0,
        apgd_steps=3,
        queries=10,
        spsa={"num_samples": 4, "num_steps": 2},
        scored=10,
    )
    return dataclasses.replace(
        profile,
        plans={"digits": plan},
        attacks={**profile.attacks, **attacks},
        budgets={**profile.budgets, "transfer": cap_gan.BUDGETS},
        num_draws=1,
    )


def _defense_gan() -> PurifierConfig:
    arguments = {"num_restarts": 1, "num_steps": 2}
    return PurifierConfig(name="defense_gan", training=BRIEF, width=0.1, arguments=arguments)


def tiny_run(
    folder: Path, profile: Profile | None = None, exhibits: Sequence[str] = EXHIBITS
) -> Run:
    """A run that keeps everything under `folder`."""
    return Run(
        profile=profile or tiny_profile(),
        exhibits=tuple(catalog.select(exhibits)),
        dataset_names=("digits",),
        seed=0,
        results_dir=folder / "results",
        artifacts_dir=folder / "artifacts",
    )


def study_of(run: Run) -> Study:
    """What a run measures with."""
    return scheduler.study_of(run, "digits")


def rows_where(rows: Run | Study, where: Where) -> list[Row]:
    """The stored rows that meet conditions."""
    store = rows.rows
    return [row for row in store.read("digits") if matches(row, where)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--smallest", action="store_true")
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--rows-only", action="store_true")
    options = parser.parse_args()
    profile, exhibits = tiny_profile(), EXHIBITS
    if options.smallest:
        profile, exhibits = smallest_profile(), SMALLEST_EXHIBITS
    run = tiny_run(options.folder, profile, options.only or exhibits)
    scheduler.run_all(dataclasses.replace(run, rows_only=options.rows_only))
