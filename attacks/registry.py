"""Attacks by name: the same string in presets, on the command line and in result rows."""

from __future__ import annotations

from typing import Any

from attacks.apgd import APGD
from attacks.attack import Attack
from attacks.carlini_wagner import CarliniWagner
from attacks.carlini_wagner_cleverhans import CarliniWagnerCleverHans
from attacks.gradient import BIM, FGSM, MIFGSM, PGD
from attacks.random_step import RandFGSM
from attacks.spsa import SPSA
from attacks.spsa_cleverhans import SPSACleverHans
from attacks.square import Square

ATTACKS: dict[str, type[Attack]] = {
    attack.name: attack
    for attack in (
        FGSM,
        RandFGSM,
        BIM,
        PGD,
        MIFGSM,
        APGD,
        CarliniWagner,
        CarliniWagnerCleverHans,
        Square,
        SPSA,
        SPSACleverHans,
    )
}


def attack_names() -> tuple[str, ...]:
    """Returns the names of all attacks."""
    return tuple(ATTACKS)


def get_attack(name: str, **hyperparameters: Any) -> Attack:
    """Returns the attack of that name with the given hyper-parameters.

    Args:
        name: One of ``attack_names()``.
        **hyperparameters: Fields of the attack's class; the others keep their defaults.

    Returns:
        The attack, ready to be called.

    Raises:
        ValueError: If there is no such attack, or a value is out of range.
        TypeError: If the attack has no such hyper-parameter.
    """
    if not isinstance(name, str) or name not in ATTACKS:
        raise ValueError(
            f"Expected the name of an attack, received {name!r}. "
            f"Known attacks: {', '.join(attack_names())}."
        )
    return ATTACKS[name](**hyperparameters)
