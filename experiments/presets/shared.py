"""What the profiles have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from experiments.config import (
    ADVERSARIAL,
    AttackConfig,
    AttackedCopies,
    ClassifierConfig,
    PurifierConfig,
    TrainingConfig,
)

FULL_EPSILONS = (0.0, 0.03, 0.06, 0.09, 0.12, 0.15, 0.18, 0.21, 0.24, 0.27, 0.30)
REDUCED_EPSILONS = (0.0, 0.05, 0.10, 0.15, 0.20, 0.30)
SWEEP_WEIGHTS = (1.0, 0.1, 0.03, 0.01, 0.003)
KL_WEIGHT = 0.01
SFL_WEIGHTS = (0.0, 1.0, 10.0, 100.0)
"""Of the spatial frequency loss, which is a tenth of the loss at 1; 0 is the ablation."""
FRAMEWORK_CONFIDENCE = 2.0
"""Margin of log-probabilities that Carlini-Wagner asks for where it attacks a whole defense."""
NOISY_A = 0.2
"""Standard deviation of the noise on the images that the other reading of 4.3.1 learns to clean."""
PUVAE_COEFFICIENTS = ((0.1, 0.01, 10.0), (0.1, 0.1, 10.0))
"""Weights of reconstruction, divergence and cross-entropy beside the printed (0.01, 0.1, 10): the
divergence below the reconstruction, and level with it. The paper prints its own triple alone."""
PUVAE_RATIOS = (*PUVAE_COEFFICIENTS, (0.01, 0.2, 10.0), (0.01, 0.8, 10.0))
"""The same with divergences that are weighted more than in print."""
TARGETED_CARLINI_WAGNER = {
    "learning_rate": 0.2,
    "initial_const": 10.0,
    "binary_search_steps": 1,
    "max_iterations": 100,
}
"""What "CW (100)" most likely means: the numbers of CleverHans's tutorial for MNIST."""
ABLATIONS = ("non_sfl_vae", *(f"defense_cyclegan_{removed}" for removed in range(1, 5)))
"""Purifiers that are made for one figure each."""
VARIANTS = (
    *(f"puvae_{weights[0]:g}_{weights[1]:g}_{weights[2]:g}" for weights in PUVAE_RATIOS),
    *(f"sfl_vae_kl_weight_{weight:g}" for weight in SWEEP_WEIGHTS),
    *(f"sfl_vae_sfl_weight_{weight:g}" for weight in SFL_WEIGHTS),
)
"""Purifiers with other weights of their losses, each made for one figure."""
LARGE = (
    "non_vqunet",
    "vqunet_literal",
    "vqunet_reconstruction",
    "puvae_other_source",
    "puvae_noisy",
    "puvae_noisy_other_source",
    "defense_cyclegan_noisy",
)
"""Purifiers beside a published one that are small enough for the zoo in the demo alone."""
UNPUBLISHED = (
    *ABLATIONS,
    *(f"defense_vae_retrained_{target}" for target in "ABC"),
    *(f"vqunet_retrained_{target}" for target in "ABC"),
    *(f"substitute_of_puvae_{letter}" for letter in "abcd"),
    *LARGE,
)
"""What the zoo leaves out; retrained copies of full-sized targets would be most of its weight."""


def targets(training: Mapping[str, TrainingConfig]) -> dict[str, ClassifierConfig]:
    """The dissertation's targets A, B and C at full size.

    Args:
        training: How each of them, A, B or C, is trained.
    """
    return {
        name: ClassifierConfig(architecture=name, training=config)
        for name, config in training.items()
    }


def sfl_purifiers(
    training: TrainingConfig, *, width: float, kl_weight: float
) -> dict[str, PurifierConfig]:
    """SFL-VAE and its ablation: same seed, same epochs, only the edge loss differs."""
    return {
        name: PurifierConfig(
            name=name, training=training, width=width, arguments={"kl_weight": kl_weight}
        )
        for name in ("sfl_vae", "non_sfl_vae")
    }


def densenets(
    configs: Sequence[ClassifierConfig],
) -> dict[str, ClassifierConfig]:
    """The DenseNets whose adversarial images chapter 5 transfers, by the name rows carry."""
    return {f"substitute_{index}": config for index, config in enumerate(configs)}


def small_voters(training: TrainingConfig) -> tuple[ClassifierConfig, ...]:
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


def attacks(
    *, pgd_steps: int, carlini_wagner: Mapping[str, float | int], native: bool = False
) -> dict[str, AttackConfig]:
    """FGSM, BIM, PGD and Carlini-Wagner as in the dissertation's figures.

    Args:
        pgd_steps: Steps of PGD.
        carlini_wagner: Hyper-parameters of Carlini-Wagner, which is rescaled to every budget.
        native: Whether its smallest perturbations are measured too, as they are.
    """
    search = AttackConfig(name="carlini_wagner", hyperparameters=dict(carlini_wagner))
    found = {
        "fgsm": AttackConfig(name="fgsm"),
        "bim": AttackConfig(name="bim", hyperparameters={"step_size": 0.05, "num_steps": 10}),
        "pgd": AttackConfig(name="pgd", hyperparameters={"num_steps": pgd_steps}),
        "carlini_wagner": search,
    }
    if native:
        found["carlini_wagner_native"] = dataclasses.replace(search, bounded=False)
    return found


def targeted_attacks(carlini_wagner: Mapping[str, float | int]) -> dict[str, AttackConfig]:
    """The PuVAE paper's attacks, each towards a drawn wrong label."""
    hyperparameters: dict[str, Mapping[str, float | int]] = {
        "fgsm": {},
        "bim": {"step_size": 0.03, "num_steps": 10},
        "carlini_wagner": dict(carlini_wagner),
    }
    return {
        f"targeted_{name}": AttackConfig(
            name=name,
            hyperparameters=numbers,
            targeted=True,
            bounded=name != "carlini_wagner",
        )
        for name, numbers in hyperparameters.items()
    }


def targeted_epsilon(*, colour: bool) -> float:
    """The budget of the PuVAE paper's attacks and of its adversarial training."""
    return 0.06 if colour else 0.3


def puvae_classifiers(
    *, colour: bool, training: TrainingConfig, width: float
) -> dict[str, ClassifierConfig]:
    """The two classifiers of the PuVAE paper on one kind of images, each also trained on FGSM.

    Args:
        colour: Whether the images are those of CIFAR-10.
        training: How they are trained.
        width: Factor on their hidden channel counts.
    """
    found = {}
    for name in ("puvae_c", "puvae_d") if colour else ("puvae_a", "puvae_b"):
        config = ClassifierConfig(architecture=name, width=width, training=training)
        found[name] = config
        found[f"{name}{ADVERSARIAL}"] = dataclasses.replace(
            config, adversarial_epsilon=targeted_epsilon(colour=colour)
        )
    return found


def puvae_purifiers(
    *,
    colour: bool,
    puvae: TrainingConfig,
    width: float,
    decoder_width: float,
    magnet: TrainingConfig,
    noisy: bool = False,
) -> dict[str, PurifierConfig]:
    """MagNet, and one PuVAE for each classifier as its source; "puvae" has the first.

    Args:
        colour: Whether the images are those of CIFAR-10.
        puvae: How each PuVAE is trained.
        width: Factor on the channel counts of its encoder.
        decoder_width: The same of its decoder.
        magnet: How MagNet is trained.
        noisy: Whether there is also each PuVAE with MagNet's size of noise on the encoder's input
            in training, which is not in the paper.
    """
    first, second = ("puvae_c", "puvae_d") if colour else ("puvae_a", "puvae_b")
    arguments = {"kl_reduction": "mean", "decoder_width": decoder_width}
    return {
        "magnet": PurifierConfig(name="magnet", training=magnet),
        **{
            f"{name}{suffix}": PurifierConfig(
                name=name, training=puvae, width=width, source=source, arguments=arguments
            )
            for name in ("puvae", *(("puvae_noisy",) if noisy else ()))
            for suffix, source in (("", first), ("_other_source", second))
        },
    }


def puvae_variants(
    base: PurifierConfig,
    coefficients: Sequence[tuple[float, float, float]] = PUVAE_COEFFICIENTS,
) -> dict[str, PurifierConfig]:
    """The PuVAEs of Figure 7, which differ from ``base`` in the weights of their losses.

    Args:
        base: The PuVAE with the published weights.
        coefficients: Weights of reconstruction, divergence and cross-entropy.
    """
    found = {}
    for reconstruction, kl, cross_entropy in coefficients:
        weights = {
            "reconstruction_weight": reconstruction,
            "kl_weight": kl,
            "cross_entropy_weight": cross_entropy,
        }
        name = f"puvae_{reconstruction:g}_{kl:g}_{cross_entropy:g}"
        found[name] = dataclasses.replace(base, arguments={**base.arguments, **weights})
    return found


def kl_variants(base: PurifierConfig, training: TrainingConfig) -> dict[str, PurifierConfig]:
    """The SFL-VAEs of the sweep over the weight of the divergence, which is not printed."""
    return _weight_variants(base, training, "kl_weight", SWEEP_WEIGHTS)


def sfl_variants(base: PurifierConfig, training: TrainingConfig) -> dict[str, PurifierConfig]:
    """The SFL-VAEs of the sweep over the weight of the spatial frequency loss."""
    return _weight_variants(base, training, "sfl_weight", SFL_WEIGHTS)


def _weight_variants(
    base: PurifierConfig, training: TrainingConfig, argument: str, weights: Sequence[float]
) -> dict[str, PurifierConfig]:
    """Purifiers that differ from ``base`` in one weight and in how each run is trained."""
    return {
        f"{base.name}_{argument}_{weight:g}": dataclasses.replace(
            base, training=training, arguments={**base.arguments, argument: weight}
        )
        for weight in weights
    }


def cyclegan_purifiers(
    training: TrainingConfig, *, width: float, ablations: bool, noisy: bool = False
) -> dict[str, PurifierConfig]:
    """Defense-CycleGAN and the networks of Table 4.1, trained alike.

    Args:
        training: Sizes and schedule of all of them.
        width: Factor on their filter counts.
        ablations: Whether the networks with fewer concatenations are among them.
        noisy: Whether the other reading of 4.3.1 is, whose first network learns to clean noisy
            images and purifies alone.
    """
    names = ["defense_cyclegan"]
    names += [f"defense_cyclegan_{removed}" for removed in range(1, 5)] if ablations else []
    found = {name: PurifierConfig(name=name, training=training, width=width) for name in names}
    if noisy:
        reading = {"noisy_a": NOISY_A, "mode": "ga"}
        found["defense_cyclegan_noisy"] = dataclasses.replace(
            found["defense_cyclegan"], arguments=reading
        )
    return found


def whole_pools(num_voters: int) -> dict[str, int]:
    """How many voters are drawn behind either Defense-CycleGAN: all of them (4.3.3)."""
    return dict.fromkeys(("defense_cyclegan", "defense_cyclegan_noisy"), num_voters)


def vq_purifiers(
    training: TrainingConfig, *, width: float, reconstruction: bool = False
) -> dict[str, PurifierConfig]:
    """VQUNet, with algorithm 1 as printed, and without quantisation.

    Algorithm 1 as printed averages codes, and leaves few of them in use; "vqunet" averages what the
    encoder gives, the other reading, from codes that start near zero.

    Args:
        training: Sizes and schedule of all of them.
        width: Factor on their channel counts.
        reconstruction: Whether the reading is among them by which the codes of "vqunet" also learn
            from the reconstruction loss, as 5.3.2 says.
    """
    averaging = {"ema_source": "encoder", "code_range": None}
    vqunet = PurifierConfig(name="vqunet", training=training, width=width)
    found = {
        "vqunet": dataclasses.replace(vqunet, arguments=averaging),
        "vqunet_literal": vqunet,
        "non_vqunet": dataclasses.replace(vqunet, name="non_vqunet"),
    }
    if reconstruction:
        both = {**averaging, "reconstruction_trains_codes": True}
        found["vqunet_reconstruction"] = dataclasses.replace(vqunet, arguments=both)
    return found


def cyclegan_pool(voters: Sequence[ClassifierConfig]) -> tuple[ClassifierConfig, ...]:
    """Voters behind Defense-CycleGAN, with the augmentation of 4.3.4."""
    return tuple(
        dataclasses.replace(
            voter,
            training=dataclasses.replace(
                voter.training,
                augmentation=("flip", "vertical_flip", "shift", "stretch", "noise"),
                shift_fraction=0.2,
                stretch_fraction=0.1,
                noise_scale=0.2,
            ),
        )
        for voter in voters
    )


def attacked_copies(
    *,
    colour: bool,
    carlini_wagner_rates: Sequence[float] = (6.0, 8.0, 10.0, 12.0),
    iterations: int = 100,
) -> AttackedCopies:
    """What Defense-VAE trains on: FGSM, RAND+FGSM and Carlini-Wagner on target A.

    The published code has grey images only, with a random step of 0.05; on colour images the
    budgets are those of the field, and the random step a quarter of each. Carlini-Wagner has no
    budget: the code varies its learning rate instead.
    """
    epsilons = [n / 255 for n in (8, 16, 24, 32)] if colour else [0.2, 0.25, 0.3, 0.35]
    single = [(AttackConfig(name="fgsm"), epsilon) for epsilon in epsilons]
    for epsilon in epsilons:
        share = 0.25 if colour else 0.05 / epsilon
        random = AttackConfig(name="rand_fgsm", hyperparameters={"random_share": share})
        single.append((random, epsilon))
    searches = [
        AttackConfig(
            name="carlini_wagner",
            hyperparameters={
                "learning_rate": rate,
                "binary_search_steps": 1,
                "max_iterations": iterations,
                "initial_const": 100.0,
            },
        )
        for rate in carlini_wagner_rates
    ]
    return AttackedCopies(target="A", attacks=(*single, *((search, None) for search in searches)))
