"""What the profiles have in common for CAP-GAN's figures and tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.config import AttackConfig, ClassifierConfig, PurifierConfig, TrainingConfig
from experiments.profile import DatasetPlan

TARGET = "narrow_resnet"
SURROGATE, TRAINED, ENCODED = (
    f"{TARGET}_{suffix}" for suffix in ("surrogate", "adversarial", "thermometer")
)
BUDGET = 8 / 255
BUDGETS = tuple(number / 255 for number in (4, 8, 12, 16, 32))
"""Of Figure 5 (sec. IV-B)."""
STEP = 2 / 255
ADVERSARIAL_STEPS = 7
CONFIDENCE = 20.0
"""Of Carlini-Wagner where it is transferred (sec. IV-B)."""
QUALITY = 75
"""Of JPEG, as of those who broke it; the paper's is not printed."""
ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "cap_gan_temperature_1": {"temperature": 1.0},
    "cap_gan_temperature_5": {"temperature": 5.0},
    "cap_gan_alpha_05": {"alpha": 0.5},
    "cap_gan_alpha_09": {"alpha": 0.9},
    "cap_gan_pixel": {},
    "cap_gan_pixel_cam": {},
    "cap_gan_pixel_semantic": {},
    "cap_gan_no_cycle": {},
}
"""Of Tables V and VI: what each changes; those without an entry are registered as they are."""


def classifiers(
    training: TrainingConfig, *, width: float = 1.0, depth: int | None = None
) -> dict[str, ClassifierConfig]:
    """The target, the surrogate, and the classifiers that two defenses bring along.

    Args:
        training: How each is trained.
        width: Factor on their channels.
        depth: Residual units of a stage, ``None`` for the published number.
    """
    target = ClassifierConfig(architecture=TARGET, training=training, width=width, depth=depth)
    return {
        TARGET: target,
        SURROGATE: dataclasses.replace(target, twin=1),
        TRAINED: dataclasses.replace(
            target,
            adversarial_epsilon=BUDGET,
            adversarial_steps=ADVERSARIAL_STEPS,
            adversarial_step_size=STEP,
        ),
        ENCODED: dataclasses.replace(target, architecture=f"thermometer_{TARGET}"),
    }


def added(
    plan: DatasetPlan,
    *,
    classifiers: Mapping[str, ClassifierConfig],
    purifiers: Mapping[str, PurifierConfig],
    through: int | None,
    unpublished: Sequence[str] = tuple(ABLATIONS),
) -> DatasetPlan:
    """A plan with what the paper's figures and tables need beside it.

    Args:
        plan: The others' figures and tables.
        classifiers: As made by ``classifiers``.
        purifiers: As made by ``purifiers``, or some of them.
        through: How many images are attacked through a purifier, ``None`` for all.
        unpublished: What the zoo leaves out.
    """
    limits = {} if through is None else dict.fromkeys(purifiers, through)
    return dataclasses.replace(
        plan,
        classifiers={**plan.classifiers, **classifiers},
        purifiers={**plan.purifiers, **purifiers},
        surrogates={**plan.surrogates, TARGET: SURROGATE},
        behind={**plan.behind, "thermometer": ENCODED},
        attacked_through={**plan.attacked_through, **limits},
        unpublished=(*plan.unpublished, *unpublished),
    )


def purifiers(
    *,
    ape_gan: TrainingConfig,
    hgd: TrainingConfig,
    cap_gan: TrainingConfig,
    ablations: TrainingConfig,
    widths: Mapping[str, float],
    num_residual_blocks: int | None = None,
) -> dict[str, PurifierConfig]:
    """The purifiers of the tables, those that are trained with the target as their source.

    Args:
        ape_gan: How APE-GAN is trained.
        hgd: How HGD is trained.
        cap_gan: How CAP-GAN is trained.
        ablations: How what Tables V and VI compare is trained.
        widths: Factors on channels by purifier, 1 for those that are not named.
        num_residual_blocks: Of CAP-GAN's generators, ``None`` for the published number.
    """
    depth = {} if num_residual_blocks is None else {"num_residual_blocks": num_residual_blocks}

    def trained(name: str, training: TrainingConfig, **arguments: Any) -> PurifierConfig:
        width = widths.get(name.split("_pixel")[0].split("_no_")[0], 1.0)
        return PurifierConfig(
            name=name, training=training, width=width, arguments=arguments, source=TARGET
        )

    untrained = TrainingConfig(epochs=1)
    found = {
        "jpeg": PurifierConfig(name="jpeg", training=untrained, arguments={"quality": QUALITY}),
        "thermometer": PurifierConfig(name="thermometer", training=untrained),
        "ape_gan": trained("ape_gan", ape_gan),
        "hgd": trained("hgd", hgd),
        "cap_gan": trained("cap_gan", cap_gan, **depth),
    }
    for key, arguments in ABLATIONS.items():
        name = "cap_gan" if arguments else key
        found[key] = trained(name, ablations, **depth, **arguments)
    return found


def attacks(
    *,
    search: Mapping[str, Any],
    confidence: float = CONFIDENCE,
    apgd_steps: int = 50,
    queries: int = 1_000,
    spsa: Mapping[str, Any],
    scored: int | None,
) -> dict[str, AttackConfig]:
    """The paper's attacks, and those beside it.

    Args:
        search: Of Carlini-Wagner.
        confidence: The margin that is asked of what is transferred.
        apgd_steps: Steps of APGD.
        queries: Of Square, for each start.
        spsa: Hyper-parameters of SPSA.
        scored: How many images attacks by queries alone are run on, ``None`` for all.
    """

    def steps(name: str, number: int, images: int | None = None) -> AttackConfig:
        settings = {"num_steps": number, "step_size": STEP}
        return AttackConfig(name=name, hyperparameters=settings, images=images)

    def carlini_wagner(**more: Any) -> AttackConfig:
        settings = {**search, **more}
        return AttackConfig(name="carlini_wagner", hyperparameters=settings, bounded=False)

    def apgd(loss: str) -> AttackConfig:
        return AttackConfig(name="apgd", hyperparameters={"loss": loss, "num_steps": apgd_steps})

    def square(restarts: int) -> AttackConfig:
        settings = {"num_queries": queries, "num_restarts": restarts}
        return AttackConfig(name="square", hyperparameters=settings, images=scored)

    return {
        "mi_fgsm": steps("mi_fgsm", 20),
        "pgd_7": steps("pgd", 7),
        "pgd_40": steps("pgd", 40),
        "carlini_wagner_confident": carlini_wagner(confidence=confidence),
        "carlini_wagner_longest": carlini_wagner(),
        "apgd_ce": apgd("cross_entropy"),
        "apgd_dlr": apgd("difference_of_logits"),
        "square": square(1),
        "square_5": square(5),
        "spsa": AttackConfig(name="spsa", hyperparameters=dict(spsa), images=scored),
    }
