"""Is it short training, or the reading of the divergence, that decides PuVAE's numbers on MNIST?

    python benchmarks/puvae_trainings.py artifacts/trainings

Trains classifier B for 20 epochs on all training images, as ``paper`` does, in place of 6 epochs on
20,000, at the width of ``quick``; and PuVAE as long, in place of 12 epochs on 20,000, or with a
heavier divergence. Prints how many of the test images the classifier reads right, bare and behind
the purifiers, the published ones and these. Besides the attacks there is noise of the same size,
each pixel's sign at random: what a purifier removes of a perturbation that has no structure. The
rows of the project are left alone. About an hour on two cores; stopped and started again, it goes
on.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from attacks.threat_models import ThreatModel
from defenses.purifier import Purifier
from experiments import datasets, presets, zoo
from experiments.artifacts import ArtifactStore
from experiments.attacked_sets import AttackedSets, Scenario
from experiments.config import PurifierConfig, TrainingConfig
from experiments.inference import classifier_labels
from experiments.profile import DatasetPlan
from experiments.training import TrainedModels
from results.markdown import markdown_table

DATASET, TARGET, PUVAE = "mnist", "puvae_b", "puvae"
EPOCHS, EPSILON, SEED = 20, 0.3, 0
PUBLISHED = ("magnet", "defense_gan", "puvae")
ATTACKS = ("targeted_fgsm", "targeted_bim")


def longer(training: TrainingConfig) -> TrainingConfig:
    """The same training for ``EPOCHS`` epochs on all images."""
    return dataclasses.replace(training, epochs=EPOCHS, train_limit=None)


def changed_puvaes(puvae: PurifierConfig) -> dict[str, PurifierConfig]:
    """PuVAE trained longer, or with one of two heavier divergences; their source is the same."""

    def heavier(reduction: str, weight: float) -> PurifierConfig:
        arguments = {**puvae.arguments, "kl_reduction": reduction, "kl_weight": weight}
        return dataclasses.replace(puvae, arguments=arguments)

    return {
        "puvae, longer": dataclasses.replace(puvae, training=longer(puvae.training)),
        "puvae, divergence summed": heavier("sum", 0.1),
        "puvae, divergence times 8": heavier("mean", 0.8),
    }


def with_longer_target(plan: DatasetPlan) -> DatasetPlan:
    """The plan with a classifier B that trains longer."""
    target = plan.classifier(TARGET)
    target = dataclasses.replace(target, training=longer(target.training))
    return dataclasses.replace(plan, classifiers={**plan.classifiers, TARGET: target})


def random_signs(images: np.ndarray) -> np.ndarray:
    """Images with every pixel moved by ``EPSILON``, up or down at random, and clipped to [0, 1]."""
    signs = np.random.default_rng(SEED).choice((-1.0, 1.0), images.shape)
    return np.clip(images + EPSILON * signs, 0.0, 1.0).astype("float32")


def accuracies(
    models: TrainedModels, sets: Mapping[str, np.ndarray], purifiers: Mapping[str, Purifier]
) -> str:
    """A table of the target's accuracy on every set, bare and behind every purifier."""
    labels = models.data.test.labels

    def percent(images: np.ndarray) -> str:
        found = classifier_labels(models.target(TARGET), images, f"target {TARGET}")
        return f"{100 * float(np.mean(found == labels)):.1f}"

    body = [
        [name, percent(images), *(percent(one.purify(images)) for one in purifiers.values())]
        for name, images in sets.items()
    ]
    return markdown_table(["accuracy (%)", "no defense", *purifiers], body)


def main() -> None:
    """Trains what is not there yet and prints one table for each classifier."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("artifacts", type=Path, help="where trained models are kept")
    parser.add_argument("--data-dir", default=os.environ.get("TFDS_DATA_DIR"))
    options = parser.parse_args()
    profile = presets.profile("quick")
    plan = profile.plans[DATASET]
    data = datasets.load(plan.dataset, options.data_dir)
    store = ArtifactStore(options.artifacts)
    purifiers = {name: Purifier.narrow(zoo.load(DATASET, name)) for name in PUBLISHED}
    for name, config in changed_puvaes(plan.purifier(PUVAE)).items():
        changed = dataclasses.replace(plan, purifiers={**plan.purifiers, PUVAE: config})
        purifiers[name] = TrainedModels(changed, data, store, SEED, zoo.ZOO).purifier(PUVAE)
    for name, changed in (("published", plan), ("longer", with_longer_target(plan))):
        models = TrainedModels(changed, data, store, SEED, zoo.ZOO)
        attacked = AttackedSets(profile, models)
        images = data.test.images
        sets = {"clean": images, "random signs": random_signs(images)}
        for attack in ATTACKS:
            sets[attack] = attacked.images(
                Scenario(
                    threat=ThreatModel.OBLIVIOUS, attack=attack, epsilon=EPSILON, targets=(TARGET,)
                )
            )
        print(f"classifier B, {name}:\n\n{accuracies(models, sets, purifiers)}\n", flush=True)


if __name__ == "__main__":
    main()
