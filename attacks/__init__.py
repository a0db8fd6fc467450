"""Attacks: frozen hyper-parameters, called on a model, images, labels and a budget.

Images are float32 NHWC in [0, 1], labels integers, models end in logits. The attacks are
independent of the defenses: a defended classifier is attacked like any other model.
"""

from __future__ import annotations

from attacks.attack import Attack
from attacks.job import AttackFailedError, AttackResult, UnattackedImagesWarning
from attacks.registry import attack_names, get_attack
from attacks.threat_models import ThreatModel, attack_random_member
from attacks.wrappers import BPDA, EOT

__all__ = [
    "BPDA",
    "EOT",
    "Attack",
    "AttackFailedError",
    "AttackResult",
    "ThreatModel",
    "UnattackedImagesWarning",
    "attack_names",
    "attack_random_member",
    "get_attack",
]
