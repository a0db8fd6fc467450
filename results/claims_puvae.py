"""The claims of the PuVAE paper, each held against the rows.

Every target of a table stands for itself, as in print. MagNet is its reformer alone and
adversarial training meets the images made on the undefended classifier, since these are what the
paper compares with; the stronger versions of both are told, not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from results.comparisons import NOT_REPRODUCED, PARTLY, Claim, dataset_label, points, share_verdict
from results.cost_claims import (
    ahead_within_limit,
    best_weights,
    faster_than_defense_gan,
    knowing_hardly_helps,
    slower_than_magnet,
)
from results.judging import average_gain
from results.puvae_cells import ITSELF, TARGETED, WHOLE, Cell, Entrant
from results.puvae_judging import (
    GAN,
    HARDENED,
    MAGNET,
    expected_places,
    gains_over,
    levels,
    measured_cells,
    printed_points,
    puvae_claim,
    signed,
)
from results.puvae_paper import WHITE_BOX
from results.ranking_claims import all_low, best_under_iterative, black_box, mostly_best
from results.row import Row


def above_magnet(rows: Iterable[Row], dataset: str) -> Claim:
    """PuVAE is above MagNet under every attack.

    Reproduced: before both targets under all three attacks. Partly: at half of the lines measured
    or more.

    **Reference**: PuVAE, sec. V-B, Table 3.

    Args:
        rows: All rows of a profile.
        dataset: Name of the data set.

    Returns:
        The claim with its verdict; how the whole MagNet fares is told beside it.
    """
    cells = measured_cells(rows, "004.T3", dataset)
    gains = gains_over(cells, MAGNET)
    above = sum(pair.gain > 0 for pair in gains.values())
    measured = f"{average_gain(list(gains.values()))}: {signed(gains)}" if gains else ""
    whole = gains_over(cells, Entrant("magnet", WHOLE))
    if gains and whole:
        count = sum(pair.gain > 0 for pair in whole.values())
        measured += f"; above MagNet with its detectors at {count} of {len(whole)}"
    printed = _printed_range("004.T3", MAGNET)
    return puvae_claim(
        f"puvae_above_magnet/{dataset}",
        f"PuVAE is above MagNet under every attack ({dataset_label(dataset)}).",
        f"above on all the attacks, by {printed} points (V-B, Table 3)",
        measured,
        share_verdict(above, len(gains), gains, expected_places(cells, dataset)),
    )


def _printed_range(experiment: str, other: Entrant) -> str:
    gains = gains_over(printed_points(experiment, "mnist"), other).values()
    found = [points(pair.gain) for pair in gains]
    return f"{min(found):+.1f} to {max(found):+.1f}"


def near_defense_gan(rows: Iterable[Row], dataset: str) -> Claim:
    """PuVAE is comparable to Defense-GAN: within 5 points, above or below.

    Reproduced: within 5 points before both targets under all three attacks, as the printed
    numbers are. Partly: at half of the lines measured or more.

    **Reference**: PuVAE, sec. V-B, Table 3.

    Args:
        rows: All rows of a profile.
        dataset: Name of the data set.

    Returns:
        The claim with its verdict.
    """
    cells = measured_cells(rows, "004.T3", dataset)
    gains = gains_over(cells, GAN)
    near = sum(abs(points(pair.gain)) <= 5 for pair in gains.values())
    return puvae_claim(
        f"puvae_near_defense_gan/{dataset}",
        f"PuVAE is comparable to Defense-GAN ({dataset_label(dataset)}).",
        f"comparable, by {_printed_range('004.T3', GAN)} points (V-B, Table 3)",
        f"within 5 points at {near} of {len(gains)} lines: {signed(gains)}" if gains else "",
        share_verdict(near, len(gains), gains, expected_places(cells, dataset)),
    )


def hardened_weak(rows: Iterable[Row], dataset: str) -> Claim:
    """Adversarial training withstands FGSM and iFGSM, but is weak against Carlini-Wagner.

    Weak is at least 20 points below the lower of its accuracies under FGSM and iFGSM. Reproduced:
    before both targets. Partly: before one of them, or below by less before each.

    **Reference**: PuVAE, sec. V-B, Table 3.

    Args:
        rows: All rows of a profile.
        dataset: Name of the data set.

    Returns:
        The claim with its verdict; the accuracies on images made on the trained classifier itself
        are told beside it.
    """
    cells = measured_cells(rows, "004.T3", dataset)
    gaps = {}
    for target in sorted({cell.target for cell in cells}):
        found = [p for a in TARGETED if (p := cells.get(Cell(target, a, HARDENED))) is not None]
        if len(found) == len(TARGETED):
            fgsm, bim, wagner = (point.value for point in found)
            gaps[target] = points(min(fgsm, bim) - wagner)
    expected = {target for target, _ in expected_places(cells, dataset)}
    verdict = share_verdict(sum(gap >= 20 for gap in gaps.values()), len(gaps), gaps, expected)
    if verdict == NOT_REPRODUCED and all(gap > 0 for gap in gaps.values()):
        verdict = PARTLY
    measured = levels(cells, HARDENED)
    if itself := levels(cells, Entrant("adversarial_training", ITSELF)):
        measured += f"; attacked itself: {itself}"
    printed = levels(printed_points("004.T3", "mnist"), HARDENED)
    return puvae_claim(
        f"hardened_weak_to_cw/{dataset}",
        "Adversarial training withstands FGSM and iFGSM, but not Carlini–Wagner "
        f"({dataset_label(dataset)}).",
        f"very low under CW: {printed} (V-B, Table 3)",
        measured,
        verdict,
    )


def evaluate(rows: list[Row], printed: list[str], everywhere: list[str]) -> list[Claim]:
    """Every claim of the paper.

    Args:
        rows: All rows of a profile.
        printed: Data sets that the paper prints numbers for.
        everywhere: These and any other that has rows, which is judged by every claim but that of
            a level.

    Returns:
        Claims in the paper's order; those without rows say `"not measured"`.
    """
    others = [name for name in everywhere if name not in WHITE_BOX]

    def judged(dataset: str, *judges: Callable[[Iterable[Row], str], Claim]) -> list[Claim]:
        own = [name for name in (dataset,) if name in printed]
        return [judge(rows, name) for judge in judges for name in [*own, *others]]

    claims = judged("mnist", best_weights, above_magnet, near_defense_gan, hardened_weak)
    claims += judged("fashion_mnist", best_under_iterative)
    claims += [all_low(rows)] if "cifar10" in printed else []
    claims += judged("cifar10", mostly_best) + judged("fashion_mnist", black_box)
    claims += [knowing_hardly_helps(rows, name) for name in everywhere]
    return claims + judged("mnist", faster_than_defense_gan, slower_than_magnet, ahead_within_limit)
