"""CAP-GAN: its figures and tables, none of which is measured yet."""

from __future__ import annotations

from papers.listed import DIAGRAM, unmeasured
from results.exhibit import Exhibit

TITLE = "CAP-GAN"
SUMMARY = "A purifier trained on attacked images by pixels and by features of the class."

EXHIBITS: tuple[Exhibit, ...] = (
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
)
