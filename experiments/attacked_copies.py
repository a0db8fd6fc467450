"""Adversarial training images, made on an undefended target and stored attack by attack."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from attacks.registry import get_attack
from experiments import fitting, reproducibility
from experiments.artifacts import ArtifactStore
from experiments.config import AttackConfig
from experiments.datasets import Split


def attacked_copies(
    store: ArtifactStore,
    victim: keras.Model,
    split: Split,
    attacks: Sequence[tuple[AttackConfig, float | None]],
    *,
    seed: int,
    label: str,
) -> list[np.ndarray]:
    """The images of ``split``, attacked once by each attack.

    **Reference**: Defense-VAE, its training set of twelve copies.

    Args:
        store: Where each copy is kept.
        victim: The undefended target.
        split: The images and their true labels.
        attacks: Each with its epsilon, or ``None`` for the attack's own distance.
        seed: Of random steps.
        label: What the progress bar calls it.

    Returns:
        One array like ``split.images`` for each attack.
    """
    common = {
        "target": reproducibility.weights_hash(victim),
        "images": reproducibility.array_hash(split.images, split.labels),
        "seed": seed,
    }
    copies = []
    for number, (config, epsilon) in enumerate(attacks, start=1):
        attack = get_attack(config.name, **config.hyperparameters)

        def make(attack=attack, epsilon=epsilon, number=number) -> dict[str, np.ndarray]:
            text = f"{label} ({number} of {len(attacks)}, {attack.name})"
            with fitting.progress_bar(len(split), text, "image") as bar:
                # Nothing is concluded from them, so that a few without a gradient are no error.
                found = attack.run(
                    victim,
                    split.images,
                    split.labels,
                    [epsilon],
                    seed=seed,
                    progress=fitting.reporting(bar, len(split)),
                    tolerated=1.0,
                )
            return {"images": found[epsilon].adversarial_images}

        recipe = {**common, "attack": attack.config(), "epsilon": epsilon}
        copies.append(store.arrays("attacked_copies", recipe, make)["images"])
    return copies
