"""The three profiles: the same code as demo, quick and paper-sized runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from experiments.config import (
    AttackConfig,
    ClassifierConfig,
    DatasetConfig,
    DatasetPlan,
    DecisionConfig,
    Profile,
    PurifierConfig,
    TrainingConfig,
)
from models.registry import PRINTED_TRAINING, VOTERS

FULL_EPSILONS = (0.0, 0.03, 0.06, 0.09, 0.12, 0.15, 0.18, 0.21, 0.24, 0.27, 0.30)
REDUCED_EPSILONS = (0.0, 0.05, 0.10, 0.15, 0.20, 0.30)
SWEEP_WEIGHTS = (1.0, 0.1, 0.03, 0.01, 0.003)
KL_WEIGHT = 0.01


def known_profiles() -> tuple[str, ...]:
    """The names `profile` takes."""
    return tuple(_PROFILES)


def profile(name: str) -> Profile:
    """The profile called `name`.

    Raises:
        ValueError: if there is none; the message lists the known ones.
    """
    if name not in _PROFILES:
        raise ValueError(f"Unknown profile {name!r}. Known: {', '.join(_PROFILES)}.")
    return _PROFILES[name]()


def _targets(training: Mapping[str, TrainingConfig]) -> dict[str, ClassifierConfig]:
    return {name: ClassifierConfig(architecture=name, training=training[name]) for name in "ABC"}


def _sfl_purifiers(
    training: TrainingConfig, *, width: float, kl_weight: float
) -> dict[str, PurifierConfig]:
    """SFL-VAE and its ablation: same seed, same epochs, only the edge loss differs."""
    return {
        name: PurifierConfig(
            name=name, training=training, width=width, arguments={"kl_weight": kl_weight}
        )
        for name in ("sfl_vae", "non_sfl_vae")
    }


def _small_voters(training: TrainingConfig) -> tuple[ClassifierConfig, ...]:
    """Six voters, two of each family: the printed block structure, fewer blocks and channels."""
    sizes = (
        ("resnet_a", 1.0, 1),
        ("resnet_b", 1.0, 2),
        ("densenet_a", 0.5, 2),
        ("densenet_b", 0.5, 2),
        ("wide_resnet_a", 0.125, 1),
        ("wide_resnet_b", 0.125, 2),
    )
    return tuple(
        ClassifierConfig(architecture=name, width=width, depth=depth, training=training)
        for name, width, depth in sizes
    )


def _attacks(
    *, pgd_steps: int, carlini_wagner: Mapping[str, float | int]
) -> dict[str, AttackConfig]:
    """FGSM, BIM, PGD and Carlini-Wagner as in the dissertation's figures."""
    return {
        "fgsm": AttackConfig(name="fgsm"),
        "bim": AttackConfig(name="bim", hyperparameters={"step_size": 0.05, "num_steps": 10}),
        "pgd": AttackConfig(name="pgd", hyperparameters={"num_steps": pgd_steps}),
        "carlini_wagner": AttackConfig(name="carlini_wagner", hyperparameters=dict(carlini_wagner)),
    }


def _demo() -> Profile:
    target = TrainingConfig(epochs=15, batch_size=64, schedule="cosine")
    purifier = TrainingConfig(epochs=40, batch_size=64, schedule="cosine", global_clipnorm=5.0)
    voter = TrainingConfig(epochs=12, batch_size=64, schedule="cosine", learning_rate=3e-3)
    plan = DatasetPlan(
        dataset=DatasetConfig(name="digits", validation_size=197, test_limit=200),
        targets=_targets(dict.fromkeys("ABC", target)),
        purifiers=_sfl_purifiers(purifier, width=0.25, kl_weight=KL_WEIGHT),
        voters=_small_voters(voter),
        decision=DecisionConfig(num_drawn=3, backoff=True),
        sweep=SWEEP_WEIGHTS,
        sweep_training=dataclasses.replace(purifier, epochs=15),
    )
    return Profile(
        name="demo",
        plans={"digits": plan},
        attacks=_attacks(
            pgd_steps=10,
            carlini_wagner={
                "binary_search_steps": 3,
                "max_iterations": 40,
                "learning_rate": 0.05,
                "initial_const": 1.0,
            },
        ),
        epsilons=REDUCED_EPSILONS,
        voting_epsilons=(0.05, 0.10, 0.15),
        cuts=(
            "Profile demo: scikit-learn digits enlarged to 28x28, 1,200 training and 200 test "
            "images; VAE at a quarter of its widths; 6 small voters, 3 drawn; PGD 10 steps; "
            "CW 3 x 40 steps."
        ),
    )


def _quick_plan(
    name: str,
    targets: Mapping[str, TrainingConfig],
    *,
    purifier_epochs: int,
    voter_epochs: int,
    validation_size: int,
    sweep: tuple[float, ...],
) -> DatasetPlan:
    purifier = TrainingConfig(
        epochs=purifier_epochs, batch_size=64, schedule="cosine", global_clipnorm=5.0
    )
    voter = TrainingConfig(
        epochs=voter_epochs,
        learning_rate=3e-3,
        schedule="cosine",
        train_limit=20_000,
        augmentation=("flip", "shift"),
        shift_fraction=0.125,
    )
    return DatasetPlan(
        dataset=DatasetConfig(name=name, validation_size=validation_size, test_limit=1_000),
        targets=_targets(targets),
        purifiers=_sfl_purifiers(purifier, width=0.5, kl_weight=KL_WEIGHT),
        voters=_small_voters(voter),
        decision=DecisionConfig(num_drawn=3, backoff=True, table_limit=10_000),
        sweep=sweep,
        sweep_training=dataclasses.replace(purifier, epochs=8, batch_size=128, train_limit=10_000),
    )


def _quick() -> Profile:
    grey = {
        name: TrainingConfig(epochs=epochs, schedule="cosine")
        for name, epochs in (("A", 12), ("B", 20), ("C", 10))
    }
    colour = {
        name: TrainingConfig(
            epochs=epochs, schedule="cosine", learning_rate=2e-3, augmentation=("flip",)
        )
        for name, epochs in (("A", 8), ("B", 8), ("C", 9))
    }
    return Profile(
        name="quick",
        plans={
            "fashion_mnist": _quick_plan(
                "fashion_mnist",
                grey,
                purifier_epochs=8,
                voter_epochs=4,
                validation_size=6_000,
                sweep=(),
            ),
            "cifar10": _quick_plan(
                "cifar10",
                colour,
                purifier_epochs=16,
                voter_epochs=5,
                validation_size=5_000,
                sweep=SWEEP_WEIGHTS,
            ),
        },
        attacks=_attacks(
            pgd_steps=20,
            carlini_wagner={
                "binary_search_steps": 3,
                "max_iterations": 50,
                "learning_rate": 0.05,
                "initial_const": 1.0,
            },
        ),
        epsilons=REDUCED_EPSILONS,
        voting_epsilons=(0.05, 0.10, 0.15),
        cuts=(
            "Profile quick: targets at full size, 8 to 20 epochs; VAE at half of its widths, "
            "8 or 16 epochs; 6 small voters of three families, 4 or 5 epochs on 20,000 images, "
            "3 drawn; KL sweep 8 epochs on 10,000 images; 1,000 test images; PGD 20 steps; "
            "CW 3 x 50 steps; one seed."
        ),
    )


def _paper_voters() -> tuple[ClassifierConfig, ...]:
    """The twelve voters of Tables B.2 to B.4, milestones scaled to the printed epochs."""
    schedules = {
        "resnet": ((0.40, 0.61), (0.1, 0.01)),
        "densenet": ((0.50, 0.75), (0.1, 0.01)),
        "wide_resnet": ((0.30, 0.60, 0.80), (0.2, 0.04, 0.008)),
    }
    voters = []
    for name in VOTERS:
        epochs, batch_size = PRINTED_TRAINING[name]
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


def _paper_plan(name: str, target: TrainingConfig, purifier_epochs: int) -> DatasetPlan:
    purifier = TrainingConfig(epochs=purifier_epochs, schedule="cosine", global_clipnorm=5.0)
    return DatasetPlan(
        dataset=DatasetConfig(name=name, test_limit=5_000),
        targets=_targets(dict.fromkeys("ABC", target)),
        purifiers=_sfl_purifiers(purifier, width=1.0, kl_weight=KL_WEIGHT),
        voters=_paper_voters(),
        decision=DecisionConfig(num_drawn=7),
        sweep=SWEEP_WEIGHTS,
        sweep_training=purifier,
    )


def _paper() -> Profile:
    colour = TrainingConfig(
        epochs=100,
        schedule="steps",
        milestones=(0.6, 0.85),
        decays=(0.1, 0.01),
        augmentation=("flip", "shift"),
    )
    attacks = _attacks(pgd_steps=40, carlini_wagner={})
    attacks["pgd"] = AttackConfig(name="pgd", hyperparameters={"step_size": 0.01, "num_steps": 40})
    return Profile(
        name="paper",
        plans={
            "fashion_mnist": _paper_plan("fashion_mnist", TrainingConfig(epochs=20), 50),
            "cifar10": _paper_plan("cifar10", colour, 100),
        },
        attacks=attacks,
        epsilons=FULL_EPSILONS,
        voting_epsilons=(0.03, 0.06, 0.09, 0.12, 0.15),
        num_draws=3,
        cuts="Profile paper: the dissertation's networks, 12 voters and 5,000 test images.",
    )


_PROFILES = {"demo": _demo, "quick": _quick, "paper": _paper}
