"""What a reader sees in place of a registry key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from results.curves import Curve

DEFENSE_LABELS = {
    "none": "no defense",
    "sfl_vae": "SFL-VAE",
    "non_sfl_vae": "non-SFL-VAE",
    "defense_cyclegan": "Defense-CycleGAN",
    "defense_cyclegan_1": "Cyc_1",
    "defense_cyclegan_2": "Cyc_2",
    "defense_cyclegan_3": "Cyc_3",
    "defense_cyclegan_4": "Cyc_4",
    "vqunet": "VQUNet",
    "vqunet_literal": "literal VQUNet",
    "non_vqunet": "non-VQUNet",
    "puvae": "PuVAE",
    "cap_gan": "CAP-GAN",
    "atgan": "ATGAN",
    "defense_vae": "Defense-VAE",
    "defense_gan": "Defense-GAN",
    "magnet": "MagNet",
    "ape_gan": "APE-GAN",
    "hgd": "HGD",
    "jpeg": "JPEG",
    "thermometer": "thermometer",
    "adversarial_training": "adversarial training",
}
DATASET_LABELS = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "svhn_cropped": "SVHN",
    "digits": "digits",
}
ATTACK_LABELS = {
    "none": "no attack",
    "fgsm": "FGSM",
    "rand_fgsm": "RAND+FGSM",
    "bim": "BIM",
    "pgd": "PGD",
    "mi_fgsm": "MI-FGSM",
    "carlini_wagner": "Carlini–Wagner",
    "carlini_wagner_cleverhans": "Carlini–Wagner (CleverHans)",
    "targeted_fgsm": "targeted FGSM",
    "targeted_bim": "targeted iFGSM",
    "targeted_carlini_wagner": "targeted Carlini–Wagner",
}
NO_BUDGET = "no budget"
THREAT_LABELS = {
    "oblivious": "oblivious: the attacker ignores the defense, so this is not robustness",
    "transfer": "transfer: the attacker knows only a substitute trained apart",
    "mixed": "mixed: half oblivious on the target, half transfer from substitutes",
    "framework": "framework: the attacker differentiates through purifier and one classifier",
    "adaptive": "adaptive: the attacker knows and differentiates through everything",
    "score": "score: the attacker sees the outputs of the defended classifier only",
}
#: The letters of two papers mean different networks.
TARGET_LABELS = {
    "wide_resnet": "Wide-ResNet",
    **{f"puvae_{letter}": f"{letter.upper()} (PuVAE)" for letter in "abcd"},
}
VOTING_METRICS = {
    "recovery_rate": "recovery rate of mispredictions",
    "overlap_wrong": "overlap of wrong predictions",
    "overlap_correct": "overlap of correct predictions",
}
FEATURE_METRICS = {
    "feature_change": "change of features",
    "feature_change_relative": "change of features, relative to their size",
    "feature_change_spread": "change of features, relative to their spread",
    "index_change": "changed code indices",
}
STAGE_LABELS = {"pre": "before quantisation", "post": "after quantisation"}
QUALIFIER_LABELS = {
    ("mean_latent", "True"): "mean latent",
    ("mean_latent", "False"): "sampled latent",
    ("tables", "heldout"): "held-out tables",
}
#: Qualifiers that a curve's name spells out in its own words.
SPOKEN_QUALIFIERS = {"voters", "drawn", "retrained"}


def threat_words(names: Iterable[str]) -> str:
    """What attackers know, in words.

    Args:
        names: Threat models, in any order.

    Returns:
        What each attacker knows, in the order of `THREAT_LABELS`, joined by semicolons.
    """
    known = list(THREAT_LABELS)
    ordered = sorted(set(names), key=lambda n: (known.index(n) if n in known else len(known), n))
    return "; ".join(THREAT_LABELS.get(name, name) for name in ordered)


def budget_label(attack: str, epsilon: float) -> str:
    """The budget of an attack.

    Args:
        attack: Registry key.
        epsilon: As in its rows; 1, the whole range of a pixel, is no budget.

    Returns:
        For example `"ε = 0.3"`; empty for clean images.
    """
    if attack == "none":
        return ""
    return NO_BUDGET if epsilon >= 1 else f"ε = {epsilon:g}"


def curve_label(curve: Curve, curves: Sequence[Curve]) -> str:
    """The legend's name of a curve among others.

    Args:
        curve: The curve.
        curves: All curves of the figure; purifiers are named only where several need telling apart.

    Returns:
        For example `"vote + Bayes (7 of 12)"`.
    """
    purifiers = {other.defense for other in curves if other.defense != "none"}
    name = DEFENSE_LABELS.get(curve.defense, curve.defense)
    given = curve.qualifiers
    size = given.get("voters")
    drawn = given.get("drawn")
    count = f" ({drawn} of {size})" if drawn and size else f" (of {size})" if size else ""
    target = " + retrained target" if given.get("retrained") == "True" else " + target"
    role = {
        "target": "" if curve.defense == "none" else target,
        "mean_voter": "mean single voter",
        "vote": f"vote{count}",
        "vote_bayes": f"vote{count} + Bayes",
    }.get(curve.role, curve.role.replace("_", " "))
    if curve.role in ("target", "none"):
        label = name if curve.role == "none" else name + role
    else:
        label = role if len(purifiers) == 1 and curve.defense != "none" else f"{name}, {role}"
    extra = ", ".join(
        QUALIFIER_LABELS.get((key, value), f"{key} {value}".replace("_", " "))
        for key, value in given.items()
        if key not in SPOKEN_QUALIFIERS
    )
    return f"{label}, {extra}" if extra else label
