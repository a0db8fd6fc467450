"""The PuVAE paper's figures and tables."""

from __future__ import annotations

from experiments import puvae_accuracy, puvae_pictures, puvae_timing
from experiments.entries import ARCHITECTURE, DIAGRAM, Entry, copies, unmeasured

_DATASETS = {"T3": "mnist", "T4": "fashion_mnist", "T5": "cifar10"}
_NAMES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}

PUVAE: tuple[Entry, ...] = (
    *unmeasured(
        "004", {"F1": "overview", "F2": "training", "F3": "inference", "F6": "structure"}, DIAGRAM
    ),
    *unmeasured("004", {"T1": "classifiers", "T2": "PuVAE"}, ARCHITECTURE),
    *(
        Entry(
            id=f"004.{number}",
            title="clean, attacked and purified images",
            run=puvae_pictures.purified_images,
            drawing="projections",
            datasets=(dataset,),
        )
        for number, dataset in (("F4", "mnist"), ("F5", "fashion_mnist"))
    ),
    Entry(
        id="004.F7",
        title="an attacked image as every class, for some triples of loss weights",
        run=puvae_pictures.coefficients,
        drawing="coefficients",
        datasets=("mnist",),
    ),
    *(
        Entry(
            id=f"004.{number}",
            title=f"accuracy of the defenses, targeted attacks on the target ({_NAMES[dataset]})",
            run=puvae_accuracy.white_box,
            drawing="defenses",
            datasets=(dataset,),
        )
        for number, dataset in _DATASETS.items()
    ),
    Entry(
        id="004.T6",
        title="accuracy of the defenses, targeted attacks on a substitute (transfer)",
        run=puvae_accuracy.black_box,
        drawing="defenses",
        datasets=("fashion_mnist",),
    ),
    Entry(
        id="004.F8",
        title="accuracy of PuVAE when the attacker knows it",
        run=puvae_accuracy.strong_white_box,
        drawing="knowledge",
        datasets=tuple(_NAMES),
    ),
    Entry(
        id="004.T7",
        title="seconds to purify 128 images",
        run=puvae_timing.seconds_per_batch,
        datasets=("mnist",),
    ),
    Entry(
        id="004.F9",
        title="accuracy against the seconds that 128 images take",
        run=puvae_timing.accuracy_against_time,
        drawing="time",
        datasets=("mnist",),
    ),
    *copies("004", {"T8": ("accuracy within one second", ["004.F9"])}),
)
