"""The paper profile: the papers' own settings, for a machine with a GPU."""

from __future__ import annotations

import dataclasses
import math

from experiments.config import (
    AttackConfig,
    ClassifierConfig,
    DatasetConfig,
    DecisionConfig,
    PurifierConfig,
    SubstituteConfig,
    TrainingConfig,
)
from experiments.presets import cap_gan, shared
from experiments.profile import DatasetPlan, Profile

GENERATOR_STEPS = 200_000
"""Updates of Defense-GAN's generator, in the public codes for either kind of image."""
CRITIC_STEPS = 5
PRINTED_TRAINING = {
    "resnet_a": (50, 128),
    "resnet_b": (50, 128),
    "resnet_c": (100, 128),
    "resnet_d": (100, 128),
    "densenet_a": (100, 128),
    "densenet_b": (100, 128),
    "densenet_c": (100, 128),
    "densenet_d": (80, 256),
    "wide_resnet_a": (80, 128),
    "wide_resnet_b": (80, 128),
    "wide_resnet_c": (80, 256),
    "wide_resnet_d": (80, 256),
}
"""Voter -> epochs and batch size as printed in Tables B.2 to B.4 of the dissertation."""
ATTACKED_DRAWS = 10
"""Draws that a gradient through a random purifier averages over."""
ATTACKED_THROUGH = {
    "defense_gan": 200,
    **dict.fromkeys(("sfl_vae", "defense_cyclegan", "defense_cyclegan_noisy"), 500),
}
"""How many images are attacked end to end where a gradient costs much: Defense-GAN searches 2,000
times for each image in every step of an attack, and twelve voters stand behind a pool."""


def paper() -> Profile:
    """Full architectures, epochs and test sets."""
    colour = TrainingConfig(
        epochs=100,
        schedule="steps",
        milestones=(0.6, 0.85),
        decays=(0.1, 0.01),
        augmentation=("flip", "shift"),
    )
    attacks = shared.attacks(pgd_steps=40, carlini_wagner={}, native=True)
    attacks["pgd"] = AttackConfig(name="pgd", hyperparameters={"step_size": 0.01, "num_steps": 40})
    return Profile(
        name="paper",
        plans={
            "mnist": _mnist(),
            "fashion_mnist": _plan("fashion_mnist", TrainingConfig(epochs=20), 50, 55_000),
            "cifar10": _with_cap_gan(_plan("cifar10", colour, 100, 45_000)),
        },
        attacks={
            **attacks,
            **shared.targeted_attacks(shared.TARGETED_CARLINI_WAGNER),
            **cap_gan.attacks(search={"max_iterations": 1_000}, spsa={}, scored=1_000),
        },
        budgets={
            "axis": shared.FULL_EPSILONS,
            "voting": (0.03, 0.06, 0.09, 0.12, 0.15),
            "transfer": cap_gan.BUDGETS,
        },
        bears="full width",
        num_draws=3,
        fair=True,
        cuts="Profile paper: the papers' networks, 12 voters and all 10,000 test images; attacked "
        "end to end are 200 images through Defense-GAN and 500 through a purifier with voters, by "
        "queries 1,000.",
    )


def _voters() -> tuple[ClassifierConfig, ...]:
    """The twelve voters of Tables B.2 to B.4, milestones scaled to the printed epochs."""
    schedules = {
        "resnet": ((0.40, 0.61), (0.1, 0.01)),
        "densenet": ((0.50, 0.75), (0.1, 0.01)),
        "wide_resnet": ((0.30, 0.60, 0.80), (0.2, 0.04, 0.008)),
    }
    voters = []
    for name, (epochs, batch_size) in PRINTED_TRAINING.items():
        milestones, decays = schedules[name.rsplit("_", 1)[0]]
        training = TrainingConfig(
            epochs=epochs,
            batch_size=batch_size,
            optimizer="sgd",
            learning_rate=0.1,
            schedule="steps",
            milestones=milestones,
            decays=decays,
            augmentation=("flip", "shift"),
            shift_fraction=0.125,
        )
        voters.append(ClassifierConfig(architecture=name, training=training))
    return tuple(voters)


def _plan(name: str, target: TrainingConfig, vae_epochs: int, training_images: int) -> DatasetPlan:
    vae = TrainingConfig(epochs=vae_epochs, schedule="cosine", global_clipnorm=5.0)
    voters = {voter.architecture: voter for voter in _voters()}
    wide_resnet = voters["wide_resnet_d"]
    colour = name == "cifar10"
    purifiers = {
        **shared.sfl_purifiers(vae, width=1.0, kl_weight=shared.KL_WEIGHT),
        **_later_purifiers(training_images, colour=colour),
        **_puvae_purifiers(colour=colour),
    }
    substitutes = shared.densenets([voters[f"densenet_{letter}"] for letter in "abc"])
    augmented = shared.cyclegan_pool(tuple(voters.values()))
    return DatasetPlan(
        dataset=DatasetConfig(name=name),
        classifiers={
            **shared.targets(dict.fromkeys("ABC", target)),
            "wide_resnet": dataclasses.replace(
                wide_resnet, training=dataclasses.replace(wide_resnet.training, batch_size=128)
            ),
            **substitutes,
            **_puvae_classifiers(colour=colour),
        },
        purifiers=purifiers,
        variants={
            **shared.kl_variants(purifiers["sfl_vae"], vae),
            **(shared.sfl_variants(purifiers["sfl_vae"], vae) if colour else {}),
        },
        retrained=("A", "B", "C", "wide_resnet"),
        voters=tuple(voters.values()),
        pools={"defense_cyclegan": augmented, "defense_cyclegan_noisy": augmented},
        decision=DecisionConfig(num_drawn=7),
        transferred=tuple(substitutes),
        substitute=_substitute(colour=colour),
        unpublished=(*shared.UNPUBLISHED, *shared.VARIANTS),
        attacked_through=ATTACKED_THROUGH,
        attacked_draws=ATTACKED_DRAWS,
        compared=("vqunet", "magnet"),
        drawn=shared.whole_pools(len(voters)),
        framework_confidence=shared.FRAMEWORK_CONFIDENCE,
    )


def _with_cap_gan(plan: DatasetPlan) -> DatasetPlan:
    """CAP-GAN's tables: the target as Madry's challenge trains it, purifiers as published."""
    madry = TrainingConfig(
        epochs=228,  # 80,000 steps of 128 images
        optimizer="sgd",
        learning_rate=0.1,
        schedule="steps",
        milestones=(0.5, 0.75),
        decays=(0.1, 0.01),
        augmentation=("flip", "shift"),
        shift_fraction=0.0625,
    )
    translator = TrainingConfig(
        epochs=200,
        learning_rate=1e-4,
        beta_1=0.5,
        schedule="cosine",
        final_learning_rate=0.0,
        augmentation=("flip",),
    )
    return cap_gan.added(
        plan,
        classifiers=cap_gan.classifiers(madry),
        purifiers=cap_gan.purifiers(
            ape_gan=TrainingConfig(
                epochs=30, batch_size=64, learning_rate=2e-4, beta_1=0.5, augmentation=("flip",)
            ),
            hgd=TrainingConfig(
                epochs=30,
                batch_size=64,
                schedule="steps",
                milestones=(0.6, 0.9),
                decays=(0.1, 0.01),
                augmentation=("flip",),
            ),
            cap_gan=translator,
            ablations=translator,
            widths={},
        ),
        through=None,
    )


def _mnist() -> DatasetPlan:
    """The PuVAE paper's alone; the dissertation does not use MNIST."""
    purifiers = {
        "defense_gan": _defense_gan(50_000, colour=False),
        **_puvae_purifiers(colour=False),
    }
    return DatasetPlan(
        dataset=DatasetConfig(name="mnist", validation_size=10_000),
        classifiers=_puvae_classifiers(colour=False),
        purifiers=purifiers,
        variants=shared.puvae_variants(purifiers["puvae_other_source"], shared.PUVAE_RATIOS),
        substitute=_substitute(colour=False),
        unpublished=(*shared.UNPUBLISHED, *shared.VARIANTS),
        attacked_through={"defense_gan": ATTACKED_THROUGH["defense_gan"]},
        attacked_draws=ATTACKED_DRAWS,
        searches=(1, 2, 5, 10, 20, 50, 100, 200),
    )


def _puvae_classifiers(*, colour: bool) -> dict[str, ClassifierConfig]:
    training = TrainingConfig(epochs=40 if colour else 20)
    return shared.puvae_classifiers(colour=colour, training=training, width=1.0)


def _substitute(*, colour: bool) -> SubstituteConfig:
    training = TrainingConfig(epochs=40 if colour else 20)
    return SubstituteConfig(classifier=ClassifierConfig(architecture="puvae_e", training=training))


def _puvae_purifiers(*, colour: bool) -> dict[str, PurifierConfig]:
    return shared.puvae_purifiers(
        colour=colour,
        puvae=TrainingConfig(epochs=100 if colour else 50),
        width=1.0,
        decoder_width=1.0,
        magnet=TrainingConfig(epochs=100, batch_size=256),
        noisy=True,
    )


def _later_purifiers(training_images: int, *, colour: bool) -> dict[str, PurifierConfig]:
    """Those of chapters 4 and 5, and the baselines."""
    # A batch holds two streams of 64 images.
    cyclegan = TrainingConfig(
        epochs=100, batch_size=128, learning_rate=2e-4, beta_1=0.5, schedule="linear"
    )
    vq = TrainingConfig(epochs=100, batch_size=128, schedule="cosine")
    return {
        **shared.cyclegan_purifiers(cyclegan, width=1.0, ablations=True, noisy=True),
        **shared.vq_purifiers(vq, width=1.0, reconstruction=True),
        "defense_vae": PurifierConfig(
            name="defense_vae",
            training=TrainingConfig(epochs=5, batch_size=16, learning_rate=5e-4),
            copies=shared.attacked_copies(colour=colour),
        ),
        "defense_gan": _defense_gan(training_images, colour=colour),
    }


def _defense_gan(training_images: int, *, colour: bool) -> PurifierConfig:
    batch_size = CRITIC_STEPS * (64 if colour else 50)
    training = TrainingConfig(
        epochs=math.ceil(GENERATOR_STEPS / math.ceil(training_images / batch_size)),
        batch_size=batch_size,
        learning_rate=1e-4,
        beta_1=0.5,
        beta_2=0.9,
    )
    return PurifierConfig(name="defense_gan", training=training)
