"""The claims of the dissertation's chapter 4 (Defense-CycleGAN), each held against the rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

from results.comparison_plots import reconstruction_points
from results.comparisons import (
    ATTACKS,
    NOT_MEASURED,
    NOT_REPRODUCED,
    PARTLY,
    REPRODUCED,
    Claim,
    accuracy_pairs,
    dataset_label,
    points,
)
from results.judging import attacked_pairs, defense_label, floor_claim, judge_gains, voting_claim
from results.paper import printed_clean_of_cyclegan, printed_reconstruction, text_value
from results.row import Row
from results.statistics import mean

FULL_METHOD = ("defense_cyclegan", "vote_bayes")
RECONSTRUCTIONS = "003.T4.1"


def gain_over_sfl_vae(rows: Iterable[Row], dataset: str = "cifar10") -> Claim:
    """Defense-CycleGAN is 5 to 13 points above SFL-VAE, both with vote and Bayesian update.

    The gain is the mean over attacks and epsilons > 0. Reproduced: at least 4.5 points, which round
    to the printed 5. Partly: above zero.

    **Reference**: Dissertation, sec. 4.4.2, said of CIFAR-10.

    Args:
        rows: All rows of a profile.
        dataset: Name of the data set.

    Returns:
        The claim with its verdict.
    """
    compared = attacked_pairs(rows, dataset, FULL_METHOD, ("sfl_vae",), chapter=4)
    verdict, measured = judge_gains(compared, 4.5)
    if gains := [points(pair.gain) for pair in compared["sfl_vae"]]:
        measured += f", from {min(gains):+.1f} to {max(gains):+.1f}"
    return Claim(
        f"cyclegan_over_sfl_vae/{dataset}",
        f"Defense-CycleGAN beats SFL-VAE ({dataset_label(dataset)}).",
        "+5 to +13 points across levels (4.4.2)",
        measured,
        verdict,
        4,
    )


def gain_over_baselines(rows: Iterable[Row], dataset: str = "cifar10") -> Claim:
    """Defense-CycleGAN is nearly 30 points above Defense-VAE and Defense-GAN.

    The gain is the mean over attacks and epsilons > 0. Reproduced: at least 80 % of the printed
    gain over each. Partly: above zero over each, or one of them is not measured.

    **Reference**: Dissertation, sec. 4.4.2, said of CIFAR-10.

    Args:
        rows: All rows of a profile.
        dataset: Name of the data set.

    Returns:
        The claim with its verdict.
    """
    printed = text_value("003", "4.4.2", "margin of CycleGAN over Defense-VAE/Defense-GAN")
    gains = attacked_pairs(rows, dataset, FULL_METHOD, ("defense_vae", "defense_gan"), chapter=4)
    verdict, measured = judge_gains(gains, 0.8 * printed)
    return Claim(
        f"cyclegan_over_baselines/{dataset}",
        f"Defense-CycleGAN beats Defense-VAE and Defense-GAN ({dataset_label(dataset)}).",
        f"nearly +{printed:g} points on average (4.4.2)",
        measured,
        verdict,
        4,
    )


def clean_accuracy(rows: Iterable[Row], dataset: str) -> Claim:
    """On clean images Defense-CycleGAN is as accurate as the bare classifier.

    Judged is the loss to the bare targets measured here, not the printed level. Reproduced: no
    more than one point. Partly: no more than five.

    **Reference**: Dissertation, sec. 4.4.3.

    Args:
        rows: All rows of a profile.
        dataset: `"cifar10"` or `"fashion_mnist"`.

    Returns:
        The claim with its verdict; the losses of the other methods are given with it.

    Raises:
        ValueError: If the paper prints no clean accuracy for the data set.
    """
    rows = list(rows)
    printed = printed_clean_of_cyclegan(dataset)
    losses = {}
    for name in ("defense_cyclegan", "sfl_vae", "defense_vae", "defense_gan"):
        pairs = accuracy_pairs(rows, dataset, ("none", "target"), (name, None), chapter=4)
        if clean := [pair for pair in pairs if pair.epsilon == 0]:
            losses[name] = clean
    verdict, measured = NOT_MEASURED, "no rows"
    if own := losses.pop("defense_cyclegan", []):
        loss = points(mean([pair.gain for pair in own]))
        verdict = REPRODUCED if loss <= 1 else PARTLY if loss <= 5 else NOT_REPRODUCED
        within = "beyond" if all(pair.clear for pair in own) else "within"
        measured = (
            f"{points(mean([p.reference for p in own])):.1f} % against "
            f"{points(mean([p.value for p in own])):.1f} % without defense: {loss:.1f} points "
            f"lost, {within} the 95 % interval"
        )
        others = [
            f"{defense_label(name)} {points(mean([p.gain for p in pairs])):.1f}"
            for name, pairs in losses.items()
        ]
        measured += f" (others lose: {', '.join(others)})" if others else ""
    return Claim(
        f"cyclegan_clean_accuracy/{dataset}",
        f"Defense-CycleGAN keeps the accuracy on clean images ({dataset_label(dataset)}).",
        f"{printed:g} %, as the original classifier; the others lose 6 to 10 points (4.4.3, 4.5)",
        measured,
        verdict,
        4,
    )


def voting_gain(rows: Iterable[Row], dataset: str) -> Claim:
    """Vote and Bayesian update add 3 to 5 points to a single voter behind the CycleGAN.

    Thresholds as in `judging.voting_claim`.

    **Reference**: Dissertation, sec. 4.4.2.

    Args:
        rows: All rows of a profile.
        dataset: Name of the data set.

    Returns:
        The claim with its verdict.
    """
    single = ("defense_cyclegan", "mean_voter")
    return voting_claim(
        accuracy_pairs(rows, dataset, FULL_METHOD, single, chapter=4),
        id=f"cyclegan_voting_gain/{dataset}",
        text="Behind the CycleGAN, vote + Bayes beats the mean single voter "
        f"({dataset_label(dataset)}).",
        paper_says="+3 to +5 points (4.4.2)",
        chapter=4,
    )


def accuracy_floor(rows: Iterable[Row], dataset: str) -> Claim:
    """Defense-CycleGAN stays above 80 % (CIFAR-10; CW, PGD, BIM) and at 90 % (Fashion-MNIST).

    Reproduced: at every level of every attack spoken of. Partly: at half of the points or more.

    **Reference**: Dissertation, sec. 4.5.

    Args:
        rows: All rows of a profile.
        dataset: `"cifar10"` or `"fashion_mnist"`.

    Returns:
        The claim with its verdict.
    """
    colour = dataset == "cifar10"
    quantity = "CIFAR-10 under CW, PGD, BIM" if colour else "Fashion-MNIST accuracy range"
    floor = text_value("003", "4.5", quantity)
    attacks = [name for name in ATTACKS if name != "fgsm"] if colour else ATTACKS
    return floor_claim(
        accuracy_pairs(rows, dataset, FULL_METHOD, FULL_METHOD, chapter=4),
        floor,
        id=f"cyclegan_floor/{dataset}",
        text=f"Defense-CycleGAN's accuracy hardly falls ({dataset_label(dataset)}).",
        paper_says=f"above {floor:g} % under CW, PGD and BIM (4.5)"
        if colour
        else f"{floor:g} to 98 % under all attacks (4.5)",
        chapter=4,
        inclusive=not colour,
        attacks=attacks,
    )


def reconstruction_order(rows: Iterable[Row], dataset: str = "cifar10") -> Claim:
    """The fewer concatenations, the farther the reconstruction: Cyc, Cyc_1, VAE, Cyc_2, 3, 4.

    Reproduced: the six in the printed order. Partly: at least 12 of their 15 pairs in order.
    Not measured: one of the six is missing.

    **Reference**: Dissertation, sec. 4.4.4, table 4.1.

    Args:
        rows: All rows of a profile.
        dataset: Name of the data set; the table's is taken to be CIFAR-10.

    Returns:
        The claim with its verdict; with how many pairs are in order by more than two standard
        errors of the difference.
    """
    own = [r for r in rows if r.experiment == RECONSTRUCTIONS and r.dataset == dataset]
    measured_points = reconstruction_points(own) if own else {}
    printed = printed_reconstruction("cifar10")
    order = sorted(printed, key=lambda name: printed[name])
    known = [name for name in order if name in measured_points]
    right, clear = [], 0
    for near, far in combinations(known, 2):
        low, high = measured_points[near], measured_points[far]
        if high.value > low.value:
            right.append((near, far))
            error = (low.half_width**2 + high.half_width**2) ** 0.5
            clear += high.value - low.value > 2 * error
    verdict = NOT_MEASURED
    if len(known) == len(order):
        verdict = REPRODUCED if len(right) == 15 else PARTLY if len(right) >= 12 else NOT_REPRODUCED
    measured = "no rows"
    if known:
        ranked = sorted(known, key=lambda name: measured_points[name].value)
        listed = _chain(ranked, [measured_points[name].value for name in ranked])
        pairs = len(known) * (len(known) - 1) // 2
        measured = (
            f"{listed}; {len(right)} of {pairs} pairs in the printed order, {clear} by more than "
            "two standard errors"
        )
        missing = [defense_label(name) for name in order if name not in known]
        measured += f"; {', '.join(missing)} not measured yet" if missing else ""
    return Claim(
        f"reconstruction_order/{dataset}",
        f"Each removed concatenation costs fidelity ({dataset_label(dataset)}).",
        f"{_chain(order, [printed[name] for name in order])} (L1 on clean images, table 4.1)",
        measured,
        verdict,
        4,
    )


def _chain(names: Sequence[str], values: Sequence[float]) -> str:
    parts = [f"{defense_label(n)} {value:.1f}" for n, value in zip(names, values, strict=True)]
    return " < ".join(parts)


def evaluate(rows: list[Row], printed: list[str], everywhere: list[str]) -> list[Claim]:
    """Every claim of the chapter.

    Args:
        rows: All rows of a profile.
        printed: Data sets that the chapter prints numbers for.
        everywhere: These and any other that has rows.

    Returns:
        Claims in the chapter's order; those without rows say `"not measured"`.
    """
    colour = "cifar10" in printed
    claims = [gain_over_baselines(rows), gain_over_sfl_vae(rows)] if colour else []
    claims += [voting_gain(rows, name) for name in everywhere]
    claims += [clean_accuracy(rows, name) for name in printed]
    claims += [reconstruction_order(rows)] if colour else []
    claims += [accuracy_floor(rows, name) for name in printed]
    return claims
