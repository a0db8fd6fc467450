"""The quick profile: real data at sizes for two cores and hours."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from experiments.config import (
    ClassifierConfig,
    DatasetConfig,
    DatasetPlan,
    DecisionConfig,
    Profile,
    PurifierConfig,
    TrainingConfig,
)
from experiments.presets import shared

CUTS = (
    "Profile quick: targets at full size, 8 to 20 epochs; SFL-VAE 16 epochs at half (CIFAR-10) or "
    "a quarter (Fashion-MNIST) of its widths; the other purifiers at a quarter or a half; "
    "Defense-GAN 2 x 30 steps, attacked end to end on 100 images; Wide-ResNet-10-2 for 28-10; "
    "6 small voters of three families, 4 or 5 epochs on 20,000 images, 3 drawn; KL sweep 8 epochs "
    "on 10,000 images; 1,000 test images; PGD 20 steps; CW 3 x 50 steps; one seed."
)


def quick() -> Profile:
    """Full training sets, reduced widths, epochs and evaluation counts."""
    grey = {
        name: TrainingConfig(epochs=epochs, schedule="cosine")
        for name, epochs in (("A", 12), ("B", 20), ("C", 10))
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
    return Profile(
        name="quick",
        plans={
            "fashion_mnist": _plan(
                "fashion_mnist", grey, vae_width=0.25, voter_epochs=4, validation_size=6_000
            ),
            "cifar10": dataclasses.replace(
                _plan("cifar10", colour, vae_width=0.5, voter_epochs=5, validation_size=5_000),
                sweep=shared.SWEEP_WEIGHTS,
            ),
        },
        attacks=shared.attacks(
            pgd_steps=20,
            carlini_wagner={
                "binary_search_steps": 3,
                "max_iterations": 50,
                "learning_rate": 0.05,
                "initial_const": 1.0,
            },
        ),
        epsilons=shared.REDUCED_EPSILONS,
        voting_epsilons=(0.05, 0.10, 0.15),
        cuts=CUTS,
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
    return DatasetPlan(
        dataset=DatasetConfig(name=name, validation_size=validation_size, test_limit=1_000),
        targets=shared.targets(targets),
        purifiers={
            **shared.sfl_purifiers(vae, width=vae_width, kl_weight=shared.KL_WEIGHT),
            **_later_purifiers(colour=name == "cifar10"),
        },
        voters=voters,
        pools={"defense_cyclegan": shared.cyclegan_pool(voters)},
        decision=DecisionConfig(num_drawn=3, backoff=True, table_limit=10_000),
        sweep_training=dataclasses.replace(vae, epochs=8, batch_size=128, train_limit=10_000),
        wide_resnet=ClassifierConfig(
            architecture="wide_resnet_d", width=0.2, depth=1, training=clean
        ),
        unpublished=(*shared.ABLATIONS, "non_vqunet"),
        substitutes=tuple(
            ClassifierConfig(architecture=f"densenet_{letter}", width=0.5, depth=2, training=clean)
            for letter in "abc"
        ),
        retraining=voter,
        attacked_through={"defense_gan": 100},
    )


def _later_purifiers(*, colour: bool) -> dict[str, PurifierConfig]:
    """Those of chapters 4 and 5, and the baselines."""
    cyclegan = TrainingConfig(
        epochs=12,
        learning_rate=1e-3,
        beta_1=0.5,
        schedule="linear",
        train_limit=20_000,
    )
    vq = TrainingConfig(epochs=6, batch_size=64, train_limit=20_000, schedule="cosine")
    denoiser = TrainingConfig(
        epochs=3, batch_size=64, train_limit=8_000, schedule="cosine", learning_rate=1e-3
    )
    gan = TrainingConfig(epochs=12, batch_size=250, learning_rate=5e-4, beta_1=0.5, beta_2=0.9)
    return {
        # Table 4.1 is of CIFAR-10 alone.
        **shared.cyclegan_purifiers(cyclegan, width=0.25, ablations=colour),
        **shared.vq_purifiers(vq, width=0.25),
        "defense_vae": PurifierConfig(
            name="defense_vae",
            training=denoiser,
            width=0.5,
            copies=shared.attacked_copies(
                colour=colour, carlini_wagner_rates=(10.0,), iterations=20
            ),
        ),
        "defense_gan": PurifierConfig(
            name="defense_gan",
            training=gan,
            width=0.25,
            arguments={"num_restarts": 2, "num_steps": 30},
        ),
    }
