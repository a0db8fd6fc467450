"""The quick profile: real data at sizes for two cores and hours."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from experiments.config import (
    ClassifierConfig,
    DatasetConfig,
    DecisionConfig,
    PurifierConfig,
    SubstituteConfig,
    TrainingConfig,
)
from experiments.presets import cap_gan, shared
from experiments.profile import DatasetPlan, Profile

CUTS = (
    "Profile quick: targets at full size, 8 to 30 epochs; SFL-VAE 16 epochs at half (CIFAR-10) or "
    "a quarter (Fashion-MNIST) of its widths; the other purifiers at an eighth to a half, on "
    "8,000 to 20,000 images; Defense-GAN 2 x 30 steps, attacked end to end on 100 images; "
    "Wide-ResNet-10-2 for 28-10; 6 small voters of three families, 4 or 5 epochs on 20,000 images, "
    "3 drawn, and targets retrained on as many; KL sweep 8 epochs on 10,000 images; 1,000 test "
    "images; PGD 20 steps; CW 3 x 50 steps, 3 x 100 for PuVAE's tables; PuVAE and its classifiers "
    "at a quarter or a half, trained on 20,000 images, its adaptive attacks on 500 images; CAP-GAN "
    "at a quarter with 2 residual blocks, 5 epochs on 8,000 images, before a ResNet of half width "
    "and 2 units a stage, 100 images attacked by queries; one seed."
)
UNPUBLISHED = (
    *shared.UNPUBLISHED,
    *(f"defense_cyclegan_voter_{index}" for index in range(6)),
    *(
        f"{name}_retrained_wide_resnet"
        for name in ("vqunet", "defense_cyclegan", "sfl_vae", "defense_vae")
    ),
    *(f"target_puvae_{letter}" for letter in "ac"),
    *(f"target_puvae_{letter}_adversarial" for letter in "abcd"),
    *shared.VARIANTS,
)
"""What the zoo leaves out: it holds each purifier, the voters of SFL-VAE and the classifier that
the published PuVAE defends."""
HEAVY_TARGETS = tuple(f"target_{name}" for name in "ABC")
"""Of Fashion-MNIST, left out too: they are ten times the size of CIFAR-10's."""
ATTACKED_THROUGH = {"defense_gan": 100, "puvae": 500}
"""How many images are attacked end to end where a gradient costs much."""
ATTACKED_DRAWS = 4
"""Draws that a gradient through a random purifier averages over."""


def quick() -> Profile:
    """Full training sets, reduced widths, epochs and evaluation counts."""
    grey = {
        name: TrainingConfig(epochs=epochs, schedule="cosine", learning_rate=rate)
        for name, epochs, rate in (("A", 12, 1e-3), ("B", 30, 2e-3), ("C", 12, 1e-3))
    }
    colour = {
        name: TrainingConfig(
            epochs=epochs,
            batch_size=batch_size,
            schedule="cosine",
            learning_rate=2e-3,
            augmentation=("flip",),
        )
        for name, epochs, batch_size in (("A", 8, 128), ("B", 8, 128), ("C", 14, 64))
    }
    search = {"binary_search_steps": 3, "learning_rate": 0.05, "initial_const": 1.0}
    return Profile(
        name="quick",
        plans={
            "mnist": _mnist(),
            "fashion_mnist": _plan(
                "fashion_mnist", grey, vae_width=0.25, voter_epochs=4, validation_size=6_000
            ),
            "cifar10": _with_cap_gan(
                _plan("cifar10", colour, vae_width=0.5, voter_epochs=5, validation_size=5_000)
            ),
        },
        attacks={
            **shared.attacks(pgd_steps=20, carlini_wagner={**search, "max_iterations": 50}),
            **shared.targeted_attacks({**search, "max_iterations": 100}),
            **cap_gan.attacks(
                search={**search, "max_iterations": 100},
                queries=500,
                spsa={"num_samples": 128, "num_steps": 40},
                scored=100,
            ),
        },
        budgets={
            "axis": shared.REDUCED_EPSILONS,
            "voting": (0.05, 0.10, 0.15),
            "transfer": cap_gan.BUDGETS,
        },
        cuts=CUTS,
        bears="any size",
    )


def _plan(
    name: str,
    targets: Mapping[str, TrainingConfig],
    *,
    vae_width: float,
    voter_epochs: int,
    validation_size: int,
) -> DatasetPlan:
    vae = TrainingConfig(epochs=16, batch_size=64, schedule="cosine", global_clipnorm=5.0)
    voter = TrainingConfig(
        epochs=voter_epochs,
        learning_rate=3e-3,
        schedule="cosine",
        train_limit=20_000,
        augmentation=("flip", "shift"),
        shift_fraction=0.125,
    )
    clean = dataclasses.replace(voter, epochs=2 * voter_epochs)
    voters = shared.small_voters(voter)
    colour = name == "cifar10"
    purifiers = {
        **shared.sfl_purifiers(vae, width=vae_width, kl_weight=shared.KL_WEIGHT),
        **_later_purifiers(colour=colour),
        **_puvae_purifiers(colour=colour),
    }
    substitutes = shared.densenets(
        [
            ClassifierConfig(architecture=f"densenet_{letter}", width=0.5, depth=2, training=clean)
            for letter in "abc"
        ]
    )
    sweep = dataclasses.replace(vae, epochs=8, batch_size=128, train_limit=10_000)
    return DatasetPlan(
        dataset=DatasetConfig(name=name, validation_size=validation_size, test_limit=1_000),
        classifiers={
            **shared.targets(targets),
            "wide_resnet": ClassifierConfig(
                architecture="wide_resnet_d", width=0.2, depth=1, training=clean
            ),
            **substitutes,
            **_puvae_classifiers(colour=colour),
        },
        purifiers=purifiers,
        variants=shared.kl_variants(purifiers["sfl_vae"], sweep) if colour else {},
        retrained=("A", "B", "C", "wide_resnet"),
        voters=voters,
        pools={"defense_cyclegan": shared.cyclegan_pool(voters)},
        decision=DecisionConfig(num_drawn=3, backoff=True, table_limit=10_000),
        transferred=tuple(substitutes),
        substitute=_substitute(colour=colour),
        retraining_limit=voter.train_limit,
        unpublished=UNPUBLISHED if colour else (*UNPUBLISHED, *HEAVY_TARGETS),
        attacked_through=ATTACKED_THROUGH,
        attacked_draws=ATTACKED_DRAWS,
    )


def _with_cap_gan(plan: DatasetPlan) -> DatasetPlan:
    """CAP-GAN's tables: a narrow ResNet of two units a stage, narrow purifiers on few images."""
    classifier = TrainingConfig(
        epochs=10, schedule="cosine", learning_rate=2e-3, augmentation=("flip", "shift")
    )
    classifiers = cap_gan.classifiers(classifier, width=0.5, depth=2)
    trained = classifiers[cap_gan.TRAINED]
    shorter = dataclasses.replace(classifier, train_limit=20_000)
    denoiser = TrainingConfig(
        epochs=5, batch_size=32, schedule="cosine", train_limit=8_000, augmentation=("flip",)
    )
    translator = dataclasses.replace(denoiser, learning_rate=4e-4, beta_1=0.5)
    return cap_gan.added(
        plan,
        classifiers={
            **classifiers,
            cap_gan.TRAINED: dataclasses.replace(trained, training=shorter),
        },
        purifiers=cap_gan.purifiers(
            ape_gan=dataclasses.replace(translator, epochs=8),
            hgd=denoiser,
            cap_gan=translator,
            ablations=translator,
            widths={"ape_gan": 1.0, "hgd": 0.25, "cap_gan": 0.25},
            num_residual_blocks=2,
        ),
        through=500,
    )


def _mnist() -> DatasetPlan:
    """The PuVAE paper's alone; the dissertation does not use MNIST."""
    purifiers = {"defense_gan": _defense_gan(), **_puvae_purifiers(colour=False)}
    return DatasetPlan(
        dataset=DatasetConfig(name="mnist", validation_size=10_000, test_limit=1_000),
        classifiers=_puvae_classifiers(colour=False),
        purifiers=purifiers,
        variants=shared.puvae_variants(purifiers["puvae_other_source"]),
        substitute=_substitute(colour=False),
        unpublished=UNPUBLISHED,
        attacked_through=ATTACKED_THROUGH,
        attacked_draws=ATTACKED_DRAWS,
        searches=(1, 2, 4, 8, 16, 32),
        timed_steps=4,
    )


def _puvae_training(*, colour: bool) -> TrainingConfig:
    return TrainingConfig(
        epochs=10 if colour else 6,
        schedule="cosine",
        train_limit=20_000,
        augmentation=("flip",) if colour else (),
    )


def _puvae_classifiers(*, colour: bool) -> dict[str, ClassifierConfig]:
    return shared.puvae_classifiers(
        colour=colour, training=_puvae_training(colour=colour), width=0.25 if colour else 0.5
    )


def _substitute(*, colour: bool) -> SubstituteConfig:
    training = _puvae_training(colour=colour)
    return SubstituteConfig(classifier=ClassifierConfig(architecture="puvae_e", training=training))


def _puvae_purifiers(*, colour: bool) -> dict[str, PurifierConfig]:
    return shared.puvae_purifiers(
        colour=colour,
        puvae=TrainingConfig(
            epochs=12, batch_size=64, learning_rate=2e-3, train_limit=20_000, schedule="cosine"
        ),
        width=0.25,
        decoder_width=0.5,
        magnet=TrainingConfig(epochs=20, batch_size=256, train_limit=20_000, learning_rate=5e-3),
    )


def _later_purifiers(*, colour: bool) -> dict[str, PurifierConfig]:
    """Those of chapters 4 and 5, and the baselines."""
    cyclegan = TrainingConfig(
        epochs=12,
        learning_rate=1e-3,
        beta_1=0.5,
        schedule="linear",
        train_limit=10_000,
    )
    vq = TrainingConfig(epochs=6, batch_size=64, train_limit=20_000, schedule="cosine")
    denoiser = TrainingConfig(
        epochs=3, batch_size=64, train_limit=8_000, schedule="cosine", learning_rate=1e-3
    )
    return {
        # Table 4.1 is of CIFAR-10 alone.
        **shared.cyclegan_purifiers(cyclegan, width=0.125, ablations=colour),
        **shared.vq_purifiers(vq, width=0.1875),
        "defense_vae": PurifierConfig(
            name="defense_vae",
            training=denoiser,
            width=0.5,
            copies=shared.attacked_copies(
                colour=colour, carlini_wagner_rates=(10.0,), iterations=20
            ),
        ),
        "defense_gan": _defense_gan(),
    }


def _defense_gan() -> PurifierConfig:
    training = TrainingConfig(epochs=12, batch_size=250, learning_rate=5e-4, beta_1=0.5, beta_2=0.9)
    return PurifierConfig(
        name="defense_gan",
        training=training,
        width=0.25,
        arguments={"num_restarts": 2, "num_steps": 30},
    )
