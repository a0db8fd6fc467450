"""Defense-CycleGAN, the paper that chapter 4 of the dissertation extends: it prints a part of it.

**Reference**: Defense-CycleGAN, Figure 2 and Table I.
"""

from __future__ import annotations

from papers.listed import DIAGRAM, copies, unmeasured
from results.exhibit import Exhibit

TITLE = "Defense-CycleGAN"
SUMMARY = "A part of chapter 4, whose figures and tables it selects."

EXHIBITS: tuple[Exhibit, ...] = (
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
)
