"""The demo profile: bundled digits, minutes on two cores, no download."""

from __future__ import annotations

import dataclasses

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
    "Profile demo: scikit-learn digits enlarged to 28x28, 1,200 training and 100 test images; "
    "targets A and B; purifiers at an eighth to a half of their widths, a few epochs each; 4 "
    "small voters of three families, 3 drawn; PGD 10 steps; CW 2 x 30 steps, 1 x 100 for PuVAE's "
    "tables; Defense-GAN 1 x 10 steps; 40 images attacked end to end; of Table 4.1's ablations "
    "the fourth alone, two of Figure 7's three weightings, two of CAP-GAN's eight ablations, its "
    "attacks by queries on 20 images."
)
EPSILONS = (0.0, 0.1, 0.2, 0.3)
CAP_GANS = ("cap_gan_temperature_1", "cap_gan_pixel")
"""The ablations of Tables V and VI that are made."""


def demo() -> Profile:
    """One small data set, every defense, every kind of figure."""
    search = {
        "binary_search_steps": 2,
        "max_iterations": 30,
        "learning_rate": 0.05,
        "initial_const": 1.0,
    }
    return Profile(
        name="demo",
        plans={"digits": _plan()},
        attacks={
            **shared.attacks(pgd_steps=10, carlini_wagner=search),
            **shared.targeted_attacks(shared.TARGETED_CARLINI_WAGNER),
            **cap_gan.attacks(
                search={**search, "initial_const": 10.0},
                apgd_steps=10,
                queries=100,
                spsa={"num_samples": 32, "num_steps": 10},
                scored=20,
            ),
        },
        budgets={"axis": EPSILONS, "voting": (0.1, 0.2), "transfer": cap_gan.BUDGETS},
        cuts=CUTS,
    )


def _plan() -> DatasetPlan:
    target = TrainingConfig(epochs=6, batch_size=64, schedule="cosine")
    vae = TrainingConfig(epochs=20, batch_size=64, schedule="cosine", global_clipnorm=5.0)
    voter = TrainingConfig(epochs=6, batch_size=64, schedule="cosine", learning_rate=3e-3)
    voters = tuple(
        ClassifierConfig(architecture=name, width=width, depth=1, training=voter)
        for name, width in (
            ("resnet_a", 0.5),
            ("resnet_b", 0.5),
            ("densenet_a", 0.5),
            ("wide_resnet_a", 0.125),
        )
    )
    classifier = TrainingConfig(epochs=8, batch_size=64, schedule="cosine")
    puvaes = shared.puvae_purifiers(
        colour=False,
        puvae=TrainingConfig(epochs=30, batch_size=64, schedule="cosine", learning_rate=2e-3),
        width=0.125,
        decoder_width=0.5,
        magnet=TrainingConfig(epochs=20, batch_size=64, learning_rate=1e-2),
    )
    purifiers = {
        **shared.sfl_purifiers(vae, width=0.125, kl_weight=shared.KL_WEIGHT),
        **_later_purifiers(),
        **puvaes,
    }
    substitutes = shared.densenets(
        [
            ClassifierConfig(architecture=f"densenet_{letter}", width=0.5, depth=1, training=voter)
            for letter in "abc"
        ]
    )
    plan = DatasetPlan(
        dataset=DatasetConfig(name="digits", validation_size=197, test_limit=100),
        classifiers={
            **shared.targets(dict.fromkeys("AB", target)),
            "wide_resnet": ClassifierConfig(
                architecture="wide_resnet_d", width=0.1, depth=1, training=voter
            ),
            **substitutes,
            **shared.puvae_classifiers(colour=False, training=classifier, width=0.25),
        },
        purifiers=purifiers,
        variants=shared.puvae_variants(puvaes["puvae_other_source"], shared.PUVAE_COEFFICIENTS[:1]),
        retrained=("A", "B", "wide_resnet"),
        voters=voters,
        pools={"defense_cyclegan": shared.cyclegan_pool(voters)},
        decision=DecisionConfig(num_drawn=3, backoff=True),
        transferred=tuple(substitutes),
        substitute=SubstituteConfig(
            classifier=ClassifierConfig(architecture="puvae_e", training=classifier),
            arguments={"num_rounds": 4},
        ),
        attacked_through=dict.fromkeys(purifiers, 40),
        attacked_draws=2,
        compared=("magnet",),
        searches=(1, 4, 16),
        timed_search=(4, 50),
        timed_steps=4,
    )
    brief = TrainingConfig(epochs=8, batch_size=64, schedule="cosine", learning_rate=2e-3)
    longer = dataclasses.replace(brief, epochs=12)
    translator = dataclasses.replace(longer, beta_1=0.5)
    purifiers = cap_gan.purifiers(
        ape_gan=dataclasses.replace(longer, epochs=20, learning_rate=1e-3, beta_1=0.5),
        hgd=brief,
        cap_gan=translator,
        ablations=translator,
        widths={"ape_gan": 0.5, "hgd": 0.125, "cap_gan": 0.125},
        num_residual_blocks=1,
    )
    shown = [name for name in purifiers if name not in cap_gan.ABLATIONS or name in CAP_GANS]
    return cap_gan.added(
        plan,
        classifiers=cap_gan.classifiers(brief, width=0.5, depth=1),
        purifiers={name: purifiers[name] for name in shown},
        through=40,
        unpublished=(),
    )


def _later_purifiers() -> dict[str, PurifierConfig]:
    """Those of chapters 4 and 5, and the baselines."""
    cyclegan = TrainingConfig(
        epochs=8, batch_size=64, learning_rate=1e-3, beta_1=0.5, schedule="linear"
    )
    cyclegans = shared.cyclegan_purifiers(cyclegan, width=0.125, ablations=True)
    vq = TrainingConfig(epochs=8, batch_size=64, schedule="cosine", learning_rate=2e-3)
    denoiser = TrainingConfig(epochs=2, batch_size=64, schedule="cosine", learning_rate=2e-3)
    gan = TrainingConfig(epochs=25, batch_size=80, learning_rate=1e-3, beta_1=0.5, beta_2=0.9)
    return {
        **{name: cyclegans[name] for name in ("defense_cyclegan", "defense_cyclegan_4")},
        **shared.vq_purifiers(vq, width=0.125),
        "defense_vae": PurifierConfig(
            name="defense_vae",
            training=denoiser,
            width=0.25,
            copies=shared.attacked_copies(
                colour=False, carlini_wagner_rates=(10.0,), iterations=20
            ),
        ),
        "defense_gan": PurifierConfig(
            name="defense_gan",
            training=gan,
            width=0.125,
            arguments={"num_restarts": 1, "num_steps": 10},
        ),
    }
