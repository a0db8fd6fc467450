"""The claims of the PuVAE paper about its rank among defenses: Tables 4 to 6."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from results.comparisons import (
    NOT_MEASURED,
    NOT_REPRODUCED,
    PARTLY,
    REPRODUCED,
    Claim,
    dataset_label,
    points,
    share_verdict,
)
from results.curves import Point
from results.puvae_cells import TARGETED, Cell
from results.puvae_judging import (
    GAN,
    PUVAE,
    RIVALS,
    expected_places,
    gains_over,
    measured_cells,
    printed_points,
    puvae_claim,
    ranking,
    signed,
)
from results.row import Row


def best_under_iterative(rows: Iterable[Row], dataset: str) -> Claim:
    """On Fashion-MNIST PuVAE is the best of all under iFGSM and Carlini-Wagner.

    Reproduced: before both targets under both attacks. Partly: at half of the lines measured or
    more.

    **Reference**: PuVAE, sec. V-B, Table 4.

    Args:
        rows: All rows of a profile.
        dataset: Name of the data set.

    Returns:
        The claim with its verdict; the best of the others is named.
    """
    attacks = TARGETED[1:]
    cells = measured_cells(rows, "004.T4", dataset)
    best, complete, words = ranking(cells, attacks)
    printed = ranking(printed_points("004.T4", "fashion_mnist"), attacks).words
    return puvae_claim(
        f"puvae_best_iterative/{dataset}",
        f"PuVAE is the best under iFGSM and Carlini–Wagner ({dataset_label(dataset)}).",
        f"the best before both targets: {printed} (V-B, Table 4)",
        f"the best at {sum(best.values())} of {len(best)} lines: {words}" if best else "",
        share_verdict(
            sum(best.values()), len(best), complete, expected_places(cells, dataset, attacks)
        ),
    )


def all_low(rows: Iterable[Row]) -> Claim:
    """On CIFAR-10 every defense is low.

    Low is below 60 %, which the highest printed accuracy, 56.48 %, is. Reproduced: every defense,
    before both targets under all three attacks. Partly: half of the accuracies measured or more.

    **Reference**: PuVAE, sec. V-B, Table 5.

    Args:
        rows: All rows of a profile.

    Returns:
        The claim with its verdict; the highest accuracy is named.
    """
    cells = measured_cells(rows, "004.T5", "cifar10")
    judged = _defended(cells)
    low = sum(points(point.value) < 60 for point in judged.values())
    found = {(cell.target, cell.attack, cell.entrant) for cell in judged}
    places = expected_places(cells, "cifar10")
    expected = {(*place, entrant) for place in places for entrant in (*RIVALS, PUVAE)}
    printed = _defended(printed_points("004.T5", "cifar10"))
    words = f"from {_spread(judged)} %, below 60 % at {low} of {len(judged)}" if judged else ""
    return puvae_claim(
        "puvae_all_low/cifar10",
        "On CIFAR-10 the accuracy is low behind every defense.",
        f"overall low, from {_spread(printed)} % (V-B, Table 5)",
        words,
        share_verdict(low, len(judged), found, expected),
    )


def _defended(cells: Mapping[Cell, Point]) -> dict[Cell, Point]:
    """What the paper's defenses reach under attack."""
    entrants = (*RIVALS, PUVAE)
    return {c: p for c, p in cells.items() if c.entrant in entrants and c.attack in TARGETED}


def _spread(cells: Mapping[Cell, Point]) -> str:
    values = [points(point.value) for point in cells.values()]
    return f"{min(values):.1f} to {max(values):.1f}"


def mostly_best(rows: Iterable[Row], dataset: str) -> Claim:
    """On CIFAR-10 PuVAE is the best of all in most settings.

    Reproduced: at more than half of the lines, all of them measured. Partly: at more than a
    quarter of those measured, which is what chance gives to one of four.

    **Reference**: PuVAE, sec. V-B, Table 5.

    Args:
        rows: All rows of a profile.
        dataset: Name of the data set.

    Returns:
        The claim with its verdict; the best of the others is named.
    """
    cells = measured_cells(rows, "004.T5", dataset)
    best, complete, words = ranking(cells)
    count = sum(best.values())
    verdict = NOT_MEASURED
    if best:
        whole = expected_places(cells, dataset) <= complete
        verdict = PARTLY if 4 * count > len(best) else NOT_REPRODUCED
        verdict = REPRODUCED if 2 * count > len(best) and whole else verdict
    printed = ranking(printed_points("004.T5", "cifar10")).best
    return puvae_claim(
        f"puvae_mostly_best/{dataset}",
        f"PuVAE is the best under various attacks ({dataset_label(dataset)}).",
        f"the best at {sum(printed.values())} of {len(printed)} lines (V-B, Table 5)",
        f"the best at {count} of {len(best)} lines: {words}" if best else "",
        verdict,
    )


def black_box(rows: Iterable[Row], dataset: str) -> Claim:
    """On transferred images Defense-GAN wins under FGSM, PuVAE under iFGSM and Carlini-Wagner.

    Reproduced: before both targets under all three attacks. Partly: at half of the lines measured
    or more.

    **Reference**: PuVAE, sec. V-B; the values of Table 6 are lost.

    Args:
        rows: All rows of a profile.
        dataset: Name of the data set.

    Returns:
        The claim with its verdict; PuVAE's gains over Defense-GAN are given.
    """
    cells = measured_cells(rows, "004.T6", dataset)
    gains = gains_over(cells, GAN)
    right = sum(
        pair.gain < 0 if pair.attack == "targeted_fgsm" else pair.gain > 0
        for pair in gains.values()
    )
    return puvae_claim(
        f"puvae_black_box/{dataset}",
        "Attacked through a substitute, Defense-GAN is better under FGSM, PuVAE under iFGSM and "
        f"Carlini–Wagner ({dataset_label(dataset)}).",
        "Defense-GAN better under FGSM, PuVAE under iFGSM and CW (V-B; Table 6 is lost)",
        f"as printed at {right} of {len(gains)} lines; PuVAE over Defense-GAN: {signed(gains)}"
        if gains
        else "",
        share_verdict(right, len(gains), gains, expected_places(cells, dataset)),
    )
