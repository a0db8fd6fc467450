"""The full profile: the papers' networks on all images, with epochs for minutes on one GPU."""

from __future__ import annotations

import dataclasses
from typing import Any

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
    "Profile full: the papers' networks, all training and all 10,000 test images; every purifier "
    "20 epochs (Defense-VAE 2, over nine attacked copies of the images), sweeps 10; every "
    "target, voter and retrained target 15 epochs, but for the Wide-ResNet 5 when it is "
    "retrained; 6 of the 12 voters; 1,000 images attacked end to end through a purifier, 200 "
    "through one with a pool, 50 through Defense-GAN, which purifies 1,000 of each set and, but "
    "on MNIST, searches from 2 starts in 100 steps; 1,000 images attacked on the Wide-ResNet; PGD "
    "40 steps; CW 3 x 100 steps, 1 x 100 for PuVAE's tables; CAP-GAN's "
    "ablations 10 epochs, 100 images attacked by queries; one seed."
)
PURIFIER_EPOCHS = 20
"""The same for all, so that none is ahead by its training; the papers have 50 to 100 for most."""
DECIDER_EPOCHS = 15
"""Of targets, voters and targets retrained on purified images alike."""
RETRAINED_WIDE_RESNET_EPOCHS = 5
"""Each epoch costs more than all of another target's."""
THROUGH_NETWORK = 1_000
"""How many images are attacked end to end through a purifier."""
ATTACKED_THROUGH = {
    "defense_gan": 50,
    **dict.fromkeys(("sfl_vae", "defense_cyclegan", "defense_cyclegan_noisy"), 200),
}
"""Fewer where a search or a pool of voters stands behind each gradient."""
SEARCH = {"num_restarts": 2, "num_steps": 100}
"""A tenth of Defense-GAN's printed search, where it is attacked end to end."""
SCORED = 100
"""How many images attacks are run on that only query."""
PURIFIED = {"defense_gan": 1_000}
"""How many images of a set pass a purifier that searches for each of them."""
ATTACKED_DRAWS = 4
"""Draws that a gradient through a random purifier averages over."""
VOTERS = (
    "resnet_a",
    "resnet_b",
    "resnet_c",
    "densenet_a",
    "densenet_b",
    "wide_resnet_a",
)
"""Of each family the smallest, at their printed sizes."""


def full() -> Profile:
    """Full architectures, training sets and test sets."""
    search = {
        "binary_search_steps": 3,
        "learning_rate": 0.05,
        "initial_const": 1.0,
        "max_iterations": 100,
    }
    attacks = shared.attacks(pgd_steps=40, carlini_wagner=search, native=True)
    return Profile(
        name="full",
        plans={
            "mnist": _mnist(),
            "fashion_mnist": _plan("fashion_mnist", validation_size=6_000),
            "cifar10": _with_cap_gan(_plan("cifar10", validation_size=5_000)),
        },
        attacks={
            **attacks,
            **shared.targeted_attacks(shared.TARGETED_CARLINI_WAGNER),
            **cap_gan.attacks(search={**search, "max_iterations": 1_000}, spsa={}, scored=SCORED),
        },
        budgets={
            "axis": shared.REDUCED_EPSILONS,
            "voting": (0.05, 0.10, 0.15),
            "transfer": cap_gan.BUDGETS,
        },
        cuts=CUTS,
        bears="full width",
        fair=True,
        publishes=False,
    )


def _decider(*, colour: bool, epochs: int = DECIDER_EPOCHS) -> TrainingConfig:
    """The one recipe of whatever classifies."""
    return TrainingConfig(
        epochs=epochs,
        schedule="cosine",
        augmentation=("flip", "shift") if colour else (),
        shift_fraction=0.125,
    )


def _purifier(epochs: int = PURIFIER_EPOCHS, **changes: Any) -> TrainingConfig:
    return dataclasses.replace(TrainingConfig(epochs=epochs, schedule="cosine"), **changes)


def _plan(name: str, *, validation_size: int) -> DatasetPlan:
    colour = name == "cifar10"
    decider = _decider(colour=colour)
    large = dataclasses.replace(decider, precision="bfloat16")
    voters = tuple(
        ClassifierConfig(
            architecture=voter, training=large if voter.startswith("wide_resnet") else decider
        )
        for voter in VOTERS
    )
    vae = _purifier(global_clipnorm=5.0)
    purifiers = {
        **shared.sfl_purifiers(vae, width=1.0, kl_weight=shared.KL_WEIGHT),
        **_later_purifiers(colour=colour),
        **_puvae_purifiers(colour=colour),
    }
    substitutes = shared.densenets(
        [ClassifierConfig(architecture=f"densenet_{letter}", training=decider) for letter in "abc"]
    )
    sweep = dataclasses.replace(vae, epochs=PURIFIER_EPOCHS // 2)
    return DatasetPlan(
        dataset=DatasetConfig(name=name, validation_size=validation_size),
        classifiers={
            **shared.targets(dict.fromkeys("ABC", decider)),
            "wide_resnet": ClassifierConfig(architecture="wide_resnet_d", training=large),
            **substitutes,
            **_puvae_classifiers(colour=colour),
        },
        purifiers=purifiers,
        variants={
            **shared.kl_variants(purifiers["sfl_vae"], sweep),
            **shared.sfl_variants(purifiers["sfl_vae"], sweep),
        }
        if colour
        else {},
        retrained=("A", "B", "C", "wide_resnet"),
        retraining_epochs={"wide_resnet": RETRAINED_WIDE_RESNET_EPOCHS},
        voters=voters,
        decision=DecisionConfig(num_drawn=3),
        transferred=tuple(substitutes),
        substitute=_substitute(colour=colour),
        attacked_through={
            **dict.fromkeys((*purifiers, "wide_resnet"), THROUGH_NETWORK),
            **ATTACKED_THROUGH,
        },
        purified=PURIFIED,
        attacked_draws=ATTACKED_DRAWS,
        compared=("vqunet", "magnet"),
        drawn=shared.whole_pools(len(voters)),
        framework_confidence=shared.FRAMEWORK_CONFIDENCE,
    )


def _with_cap_gan(plan: DatasetPlan) -> DatasetPlan:
    """CAP-GAN's tables, its ablations with half of the epochs."""
    translator = _purifier(learning_rate=1e-4, beta_1=0.5, augmentation=("flip",))
    denoiser = _purifier(
        schedule="steps", milestones=(0.6, 0.9), decays=(0.1, 0.01), augmentation=("flip",)
    )
    return cap_gan.added(
        plan,
        classifiers=cap_gan.classifiers(_decider(colour=True)),
        purifiers=cap_gan.purifiers(
            ape_gan=dataclasses.replace(translator, learning_rate=2e-4, batch_size=64),
            hgd=denoiser,
            cap_gan=translator,
            ablations=dataclasses.replace(translator, epochs=PURIFIER_EPOCHS // 2),
            widths={},
        ),
        through=THROUGH_NETWORK,
    )


def _mnist() -> DatasetPlan:
    """The PuVAE paper's alone; the dissertation does not use MNIST."""
    purifiers = {"defense_gan": _defense_gan(), **_puvae_purifiers(colour=False)}
    return DatasetPlan(
        dataset=DatasetConfig(name="mnist", validation_size=10_000),
        classifiers=_puvae_classifiers(colour=False),
        purifiers=purifiers,
        variants=shared.puvae_variants(purifiers["puvae_other_source"], shared.PUVAE_RATIOS),
        substitute=_substitute(colour=False),
        attacked_through=dict.fromkeys(purifiers, THROUGH_NETWORK)
        | {"defense_gan": ATTACKED_THROUGH["defense_gan"]},
        purified=PURIFIED,
        attacked_draws=ATTACKED_DRAWS,
        searches=(1, 2, 5, 10, 20, 50, 100, 200),
        timed_steps=10,
    )


def _puvae_classifiers(*, colour: bool) -> dict[str, ClassifierConfig]:
    training = _decider(colour=colour)
    return shared.puvae_classifiers(colour=colour, training=training, width=1.0)


def _substitute(*, colour: bool) -> SubstituteConfig:
    training = _decider(colour=colour)
    return SubstituteConfig(classifier=ClassifierConfig(architecture="puvae_e", training=training))


def _puvae_purifiers(*, colour: bool) -> dict[str, PurifierConfig]:
    return shared.puvae_purifiers(
        colour=colour,
        puvae=_purifier(),
        width=1.0,
        decoder_width=1.0,
        magnet=_purifier(batch_size=256),
        noisy=True,
    )


def _later_purifiers(*, colour: bool) -> dict[str, PurifierConfig]:
    """Those of chapters 4 and 5, and the baselines."""
    # A batch holds two streams of 64 images.
    cyclegan = _purifier(learning_rate=2e-4, beta_1=0.5, schedule="linear")
    return {
        **shared.cyclegan_purifiers(cyclegan, width=1.0, ablations=colour, noisy=True),
        **shared.vq_purifiers(_purifier(), width=1.0),
        "defense_vae": PurifierConfig(
            name="defense_vae",
            training=_purifier(epochs=2, batch_size=64),
            copies=shared.attacked_copies(
                colour=colour, carlini_wagner_rates=(10.0,), iterations=20
            ),
        ),
        "defense_gan": dataclasses.replace(_defense_gan(), arguments=SEARCH),
    }


def _defense_gan() -> PurifierConfig:
    training = TrainingConfig(
        epochs=PURIFIER_EPOCHS, batch_size=250, learning_rate=5e-4, beta_1=0.5, beta_2=0.9
    )
    return PurifierConfig(name="defense_gan", training=training)
