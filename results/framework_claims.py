"""The claims of the dissertation's section 3.4.4: the whole defense under attack."""

from __future__ import annotations

from collections.abc import Iterable

from results.comparisons import (
    PARTLY,
    REPRODUCED,
    Claim,
    attacked_curves,
    dataset_label,
    pair_up,
    paper_name,
    points,
    share_verdict,
)
from results.headlines import headline
from results.judging import attacked_pairs, defense_label, judge_gains
from results.paper import text_value
from results.row import Row
from results.statistics import mean

FULL_METHOD = ("sfl_vae", "vote_bayes")
BASELINES = ("defense_vae", "defense_gan")


def framework_attack_hurts(rows: Iterable[Row], dataset: str) -> Claim:
    """An attacker who knows purifier and classifier lowers the accuracy of every defense.

    Framework and oblivious accuracy are paired at each attack and epsilon > 0, for each of the
    dissertation's defenses that has both. Reproduced: lower everywhere, under all four attacks.
    Partly: at half of the points or more.

    **Reference**: Dissertation, sec. 3.4.4.

    Args:
        rows: All rows of a profile.
        dataset: Name of the data set.

    Returns:
        The claim with its verdict.
    """
    rows = list(rows)
    # The oblivious attacks on Defense-CycleGAN are chapter 4's.
    oblivious = attacked_curves(rows, dataset, chapter=4)
    framework = attacked_curves(rows, dataset, "framework")
    changes: dict[str, list[float]] = {}
    attacks: set[str] = set()
    for defense in (FULL_METHOD[0], "defense_cyclegan", *BASELINES):
        for attack, curves in framework.items():
            plain = headline(oblivious.get(attack, []), defense)
            for pair in pair_up(attack, headline(curves, defense), plain):
                if pair.epsilon > 0:
                    changes.setdefault(defense, []).append(points(pair.gain))
                    attacks.add(attack)
    parts = [
        f"{defense_label(defense)} lower at {_num_lower(own)} of {len(own)} points "
        f"({mean(own):+.1f} on average)"
        for defense, own in changes.items()
    ]
    every = [change for own in changes.values() for change in own]
    return Claim(
        f"framework_attack_hurts/{dataset}",
        f"Attacked as a whole, every defense loses accuracy ({dataset_label(dataset)}).",
        "all defenses lose accuracy (3.4.4)",
        "; ".join(parts) or "no rows",
        share_verdict(_num_lower(every), len(every), attacks),
    )


def _num_lower(changes: Iterable[float]) -> int:
    return sum(change < 0 for change in changes)


def framework_gain(rows: Iterable[Row], dataset: str) -> Claim:
    """Attacked as a whole by FGSM or CW, the full method is 10 points above the two baselines.

    The gain is the mean over the two attacks and epsilons > 0. Reproduced: at least 80 % of the
    printed gain over each baseline. Partly: above zero over each, or a baseline or one of the
    attacks is not measured.

    **Reference**: Dissertation, sec. 3.4.4. The summary in 3.5 has 5 points for CIFAR-10.

    Args:
        rows: All rows of a profile.
        dataset: `"cifar10"` or `"fashion_mnist"`.

    Returns:
        The claim with its verdict.

    Raises:
        ValueError: If the paper prints no gain for the data set.
    """
    quantity = f"whole-framework attack gain (FGSM and CW), {paper_name(dataset)}"
    printed = text_value("003", "3.4.4", quantity)
    attacks = {"fgsm", "carlini_wagner"}
    gains = attacked_pairs(
        rows, dataset, FULL_METHOD, BASELINES, threat_model="framework", attacks=attacks
    )
    verdict, measured = judge_gains(gains, 0.8 * printed)
    found = {pair.attack for pairs in gains.values() for pair in pairs}
    if verdict == REPRODUCED and found != attacks:
        verdict = PARTLY
    return Claim(
        f"framework_gain/{dataset}",
        "Attacked as a whole, the full method beats Defense-VAE and Defense-GAN "
        f"({dataset_label(dataset)}).",
        f"+{printed:g} points under FGSM and CW (3.4.4)",
        measured,
        verdict,
    )
