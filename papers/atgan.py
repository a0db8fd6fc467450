"""ATGAN: its figures and tables, none of which is measured yet."""

from __future__ import annotations

from papers.listed import DIAGRAM, unmeasured
from results.exhibit import Exhibit

TITLE = "ATGAN"
SUMMARY = "A generator that is trained against attacks together with the classifier behind it."

EXHIBITS: tuple[Exhibit, ...] = (
    *unmeasured("002", {"F1": "architecture"}, DIAGRAM),
    *unmeasured(
        "002",
        {
            "F2": "robustness curves, MNIST",
            "F3": "robustness curves, SVHN",
            "F4": "robustness curves, CIFAR-10",
            "F5": "saliency maps, MNIST",
            "F6": "saliency maps, SVHN",
            "F7": "saliency maps, CIFAR-10",
            "T1": "generator architectures",
            "T2": "point-wise measures, MNIST",
            "T3": "point-wise measures, SVHN",
            "T4": "point-wise measures, CIFAR-10",
            "T5": "obfuscated-gradients test",
        },
    ),
)
