"""The dissertation's figures and tables, chapter by chapter."""

from __future__ import annotations

import dataclasses

from experiments import chapter3, chapter4, chapter5, supplements
from experiments.entries import ARCHITECTURE, DIAGRAM, Entry, bound, per_attack, unmeasured

_ORDER_3 = ("fgsm", "bim", "pgd", "carlini_wagner")
_ORDER_4 = ("fgsm", "pgd", "carlini_wagner", "bim")

_CHAPTER_3 = [
    *unmeasured(
        "003", {"F2.1": "graphical model", "T2.1": "notation", "F3.1": "pipeline"}, DIAGRAM
    ),
    *per_attack(
        "003.F3",
        dict(enumerate(_ORDER_3, start=2)),
        "L2 of reconstructions under {attack}, SFL-VAE and non-SFL-VAE",
        chapter3.reconstruction_distance,
        drawing="distance",
        datasets=("cifar10",),
    ),
    *per_attack(
        "003.F3",
        dict(enumerate(_ORDER_3, start=6)),
        "accuracy against epsilon, {attack} on the target (oblivious)",
        chapter3.oblivious_accuracy,
    ),
    *per_attack(
        "003.F3",
        dict(enumerate(_ORDER_3, start=10)),
        "accuracy against epsilon, {attack} through the whole defense (framework)",
        chapter3.framework_accuracy,
    ),
    *(
        Entry(
            id=f"003.F3.{number}",
            title=title,
            run=bound(chapter3.voting, "fgsm"),
            drawing="voting",
            datasets=("cifar10",),
        )
        for number, title in (
            (14, "recovery rate of the vote against the number of voters"),
            (15, "overlap of wrong predictions against the number of voters"),
            (16, "overlap of correct predictions against the number of voters"),
        )
    ),
    Entry(
        id="003.S3.kl_weight",
        title="supplement: L1 of clean reconstructions against the weight of the KL term",
        run=supplements.kl_weight_sweep,
        drawing="sweep",
        datasets=("cifar10",),
    ),
]

_CHAPTER_4 = [
    *unmeasured("003", {"F4.1": "pipeline", "F4.6": "U-Net and VAE structures"}, DIAGRAM),
    *per_attack(
        "003.F4",
        dict(enumerate(_ORDER_4, start=2)),
        "accuracy against epsilon, {attack} on the target (oblivious), Defense-CycleGAN",
        chapter4.oblivious_accuracy,
    ),
    Entry(
        id="003.T4.1",
        title="L1 of clean reconstructions, Defense-CycleGAN, its ablations and SFL-VAE",
        run=chapter4.clean_reconstruction,
        drawing="reconstruction",
    ),
]

_CHAPTER_5 = [
    *unmeasured("003", {"F5.1": "VQUNet structure", "F5.2": "VQUNet blocks"}, DIAGRAM),
    *per_attack(
        "003.F5",
        dict(enumerate(_ORDER_3, start=3)),
        "accuracy against epsilon, {attack}, half transferred (mixed), VQUNet",
        chapter5.mixed_accuracy,
    ),
    Entry(
        id="003.F5.7",
        title="L1 of reconstructions under FGSM, with and without quantisation",
        run=bound(chapter5.reconstruction_distance, "fgsm"),
        drawing="distance",
    ),
    *(
        Entry(
            id=f"003.F5.{number}",
            title=title,
            run=bound(chapter5.feature_changes, "fgsm"),
            drawing="features",
        )
        for number, title in (
            (8, "change of features before quantisation under FGSM, with and without it"),
            (9, "change of features before and after quantisation under FGSM"),
            (10, "changed code indices under FGSM"),
        )
    ),
    Entry(
        id="003.T5.1",
        title="clean accuracy of the Wide-ResNet after filtering",
        run=chapter5.filtered_accuracy,
        drawing="filtered",
    ),
]

_ALL: tuple[Entry, ...] = (
    Entry(
        id="003.F1.1",
        title="clean, attacked and purified images with labels",
        run=supplements.example_images,
        drawing="images",
    ),
    *_CHAPTER_3,
    *_CHAPTER_4,
    *_CHAPTER_5,
    *unmeasured(
        "003",
        {
            "TA.1": "VAE structure",
            "TB.1": "target classifiers",
            "TB.2": "ResNet voters",
            "TB.3": "DenseNet voters",
            "TB.4": "Wide-ResNet voters",
        },
        ARCHITECTURE,
    ),
)

DATASETS = ("fashion_mnist", "cifar10")
DISSERTATION: tuple[Entry, ...] = tuple(
    dataclasses.replace(entry, datasets=entry.datasets or DATASETS) for entry in _ALL
)
