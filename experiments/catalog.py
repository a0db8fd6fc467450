"""Every figure and table of the five papers, and what is done about each.

An entry is what ``run_all.py --only`` selects. Its id is the paper's number, then F for a
figure or T for a table: ``003.F3.6`` is Figure 3.6 of the dissertation.
"""

from __future__ import annotations

from collections.abc import Iterable

from experiments.dissertation import DISSERTATION
from experiments.entries import DIAGRAM, Entry, copies, unmeasured
from experiments.puvae_paper import PUVAE

PAPERS = {
    "000": "Defense-CycleGAN",
    "001": "CAP-GAN",
    "002": "ATGAN",
    "003": "the dissertation (SFL-VAE, Defense-CycleGAN, VQUNet)",
    "004": "PuVAE",
}

ENTRIES: tuple[Entry, ...] = (
    *unmeasured("000", {"F1": "pipeline", "F3": "VAE and U-Net structures"}, DIAGRAM),
    *copies(
        "000",
        {
            "F2": (
                "accuracy against epsilon, Defense-CycleGAN and baselines",
                [f"003.F4.{number}" for number in range(2, 6)],
            ),
            "T1": ("L1 of reconstructions, Defense-CycleGAN and ablations", ["003.T4.1"]),
        },
    ),
    *unmeasured("001", {"F2": "overview", "F4": "losses"}, DIAGRAM),
    *unmeasured(
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
    *DISSERTATION,
    *PUVAE,
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
        for entry in found:
            chosen += [one for one in (entry, *originals(entry)) if one not in chosen]
    return chosen


def originals(entry: Entry) -> list[Entry]:
    """The entries that `entry` repeats, none for an original."""
    return [one for one in ENTRIES if one.id in entry.repeats]


def _chapter_prefix(pattern: str) -> str:
    """``003.F`` means every figure, ``003.F3`` those of chapter 3 but not ``003.F31``."""
    return pattern if pattern[-1:].isalpha() else f"{pattern}."
