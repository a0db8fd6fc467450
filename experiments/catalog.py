"""Every figure and table of the five papers, and what is done about each.

An entry is what ``run_all.py --only`` selects. Its id is the paper's number, then F for a
figure or T for a table: ``003.F3.6`` is Figure 3.6 of the dissertation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

from experiments import chapter3, supplements
from experiments.evaluation import Study

PAPERS = {
    "000": "Defense-CycleGAN",
    "001": "CAP-GAN",
    "002": "ATGAN",
    "003": "the dissertation (SFL-VAE, Defense-CycleGAN, VQUNet)",
    "004": "PuVAE",
}
DIAGRAM = "a diagram or notation, nothing to measure"
ARCHITECTURE = "an architecture, built in models/ and held by tests"
NOT_YET = "not implemented yet"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One figure or table.

    Args:
        id: as in the module's text.
        title: what it shows.
        run: measures its rows, called with a study and the id; ``None`` if nothing is measured.
        drawing: how its rows are drawn: a kind of `experiments.figures`, or empty.
        datasets: data sets it is run on; ``None`` takes all of the profile.
        note: why nothing is measured, or how it differs.
    """

    id: str
    title: str
    run: Callable[[Study, str], None] | None = None
    drawing: str = ""
    datasets: tuple[str, ...] | None = None
    note: str = ""

    @property
    def implemented(self) -> bool:
        """Whether `run_all.py` measures it."""
        return self.run is not None

    def applies_to(self, dataset: str) -> bool:
        """Whether it is run on `dataset`; ``digits`` stands in for any."""
        return self.datasets is None or dataset == "digits" or dataset in self.datasets


_ATTACKS = {"fgsm": "FGSM", "bim": "BIM", "pgd": "PGD", "carlini_wagner": "Carlini-Wagner"}


def _per_attack(
    first: int,
    title: str,
    run: Callable[..., None],
    drawing: str,
) -> list[Entry]:
    """Four figures of chapter 3 in a row, one for each attack."""
    return [
        Entry(
            id=f"003.F3.{first + offset}",
            title=title.format(attack=_ATTACKS[attack]),
            run=_bound(run, attack),
            drawing=drawing,
        )
        for offset, attack in enumerate(_ATTACKS)
    ]


def _bound(run: Callable[..., None], attack: str) -> Callable[[Study, str], None]:
    return lambda study, experiment: run(study, experiment, attack)


def _unmeasured(paper: str, ids: Mapping[str, str], note: str = NOT_YET) -> list[Entry]:
    """Entries that `run_all.py` only lists, with the reason."""
    return [Entry(id=f"{paper}.{i}", title=title, note=note) for i, title in ids.items()]


_CHAPTER_3 = [
    *_per_attack(
        2,
        "L2 of reconstructions under {attack}, SFL-VAE and non-SFL-VAE",
        chapter3.reconstruction_distance,
        "distance",
    ),
    *_per_attack(
        6,
        "accuracy against epsilon, {attack} on the target (oblivious)",
        chapter3.oblivious_accuracy,
        "accuracy",
    ),
    *_per_attack(
        10,
        "accuracy against epsilon, {attack} through the whole defense (framework)",
        chapter3.framework_accuracy,
        "accuracy",
    ),
    *(
        Entry(
            id=f"003.F3.{number}",
            title=title,
            run=_bound(chapter3.voting, "fgsm"),
            drawing="voting",
            datasets=("cifar10",),
        )
        for number, title in (
            (14, "recovery rate of the vote against the number of voters"),
            (15, "overlap of wrong predictions against the number of voters"),
            (16, "overlap of correct predictions against the number of voters"),
        )
    ),
]

ENTRIES: tuple[Entry, ...] = (
    *_unmeasured("000", {"F1": "pipeline", "F3": "VAE and U-Net structures"}, DIAGRAM),
    *_unmeasured(
        "000",
        {
            "F2": "accuracy against epsilon, Defense-CycleGAN and baselines",
            "T1": "L1 of reconstructions, Defense-CycleGAN and ablations",
        },
    ),
    *_unmeasured("001", {"F2": "overview", "F4": "losses"}, DIAGRAM),
    *_unmeasured(
        "001",
        {
            "F1": "t-SNE of pixels and logits",
            "F3": "class activation maps",
            "F5": "transfer accuracy against epsilon",
            "T1": "black-box results",
            "T2": "score-based attacks and BPDA",
            "T3": "white-box on the target",
            "T4": "end-to-end attacks",
            "T5": "ablation of alpha and T",
            "T6": "ablation of loss terms",
        },
    ),
    *_unmeasured("002", {"F1": "architecture"}, DIAGRAM),
    *_unmeasured(
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
    Entry(
        id="003.F1.1",
        title="clean, attacked and purified images with labels",
        run=supplements.example_images,
        drawing="images",
    ),
    *_unmeasured(
        "003", {"F2.1": "graphical model", "T2.1": "notation", "F3.1": "pipeline"}, DIAGRAM
    ),
    *_CHAPTER_3,
    Entry(
        id="003.S3.kl_weight",
        title="supplement: L1 of clean reconstructions against the weight of the KL term",
        run=supplements.kl_weight_sweep,
        drawing="sweep",
        datasets=("cifar10",),
    ),
    *_unmeasured("003", {"F4.1": "pipeline", "F4.6": "U-Net and VAE structures"}, DIAGRAM),
    *_unmeasured(
        "003",
        {
            **{f"F4.{i}": "accuracy against epsilon, Defense-CycleGAN" for i in range(2, 6)},
            "T4.1": "L1 of reconstructions, Defense-CycleGAN and ablations",
            **{f"F5.{i}": "accuracy against epsilon, VQUNet" for i in range(3, 7)},
            "F5.7": "L1 of reconstructions, with and without quantisation",
            "F5.8": "features before quantisation",
            "F5.9": "features before and after quantisation",
            "F5.10": "changed code indices",
            "T5.1": "clean accuracy after filtering",
        },
    ),
    *_unmeasured("003", {"F5.1": "VQUNet structure", "F5.2": "VQUNet blocks"}, DIAGRAM),
    *_unmeasured(
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
    *_unmeasured(
        "004", {"F1": "overview", "F2": "training", "F3": "inference", "F6": "structure"}, DIAGRAM
    ),
    *_unmeasured(
        "004",
        {
            "F4": "purified images, MNIST",
            "F5": "purified images, Fashion-MNIST",
            "F7": "coefficients of the losses",
            "F8": "white-box and strong white-box",
            "F9": "accuracy against time",
            "T1": "classifier architectures",
            "T2": "PuVAE architectures",
            "T3": "white-box, MNIST",
            "T4": "white-box, Fashion-MNIST",
            "T5": "white-box, CIFAR-10",
            "T6": "black-box, Fashion-MNIST",
            "T7": "seconds for 128 images",
            "T8": "accuracy at one second",
        },
    ),
)


def select(wanted: Iterable[str]) -> list[Entry]:
    """The entries whose ids are named, or begin with a named part (``003`` or ``003.F3``).

    Args:
        wanted: ids or prefixes; none at all selects everything.

    Raises:
        ValueError: if one matches nothing; the message lists the known ids.
    """
    patterns = list(wanted)
    if not patterns:
        return list(ENTRIES)
    chosen = []
    for pattern in patterns:
        exact = [entry for entry in ENTRIES if entry.id == pattern]
        prefix = pattern if pattern.endswith(".") else f"{pattern}."
        found = exact or [
            entry for entry in ENTRIES if entry.id.startswith((prefix, _chapter_prefix(pattern)))
        ]
        if not found:
            known = ", ".join(entry.id for entry in ENTRIES)
            raise ValueError(f"Unknown figure or table {pattern!r}. Known: {known}.")
        chosen += [entry for entry in found if entry not in chosen]
    return chosen


def _chapter_prefix(pattern: str) -> str:
    """``003.F`` means every figure, ``003.F3`` those of chapter 3 but not ``003.F31``."""
    return pattern if pattern[-1:].isalpha() else f"{pattern}."
