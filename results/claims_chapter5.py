"""The claims of the dissertation's chapter 5 (VQUNet), each held against the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from results.comparison_plots import filtered_points
from results.comparisons import (
    NOT_MEASURED,
    NOT_REPRODUCED,
    PARTLY,
    REPRODUCED,
    Claim,
    accuracy_pairs,
    attacked_curves,
    dataset_label,
    paper_name,
    points,
    share_verdict,
)
from results.curves import Curve
from results.feature_claims import evaluate as evaluate_features
from results.headlines import headline
from results.judging import attack_label, defense_label, floor_claim
from results.paper import printed_filtered, text_value
from results.row import Row
from results.statistics import mean

METHOD = "vqunet"
OTHERS = ("defense_cyclegan", "sfl_vae", "defense_vae")
FILTERED = "003.T5.1"


def clean_loss(rows: Iterable[Row], dataset: str) -> Claim:
    """VQUNet costs less than one point of clean accuracy, and less than the other three.

    Judged is the target retrained on purified images. Reproduced: below one point and the least of
    all measured. Partly: one of the two.

    **Reference**: Dissertation, sec. 5.4.2, table 5.1.

    Args:
        rows: All rows of a profile.
        dataset: `"cifar10"` or `"fashion_mnist"`.

    Returns:
        The claim with its verdict.

    Raises:
        ValueError: If the paper prints nothing for the data set.
    """
    paper_name(dataset)
    own = [r for r in rows if r.experiment == FILTERED and r.dataset == dataset]
    found = filtered_points(own) if own else {}
    bare = found.get("none", (None, None))[1]
    losses = {
        name: points(bare.value - point.value)
        for name in (METHOD, *OTHERS)
        if bare is not None and (point := found.get(name, (None, None))[0]) is not None
    }
    verdict, measured = NOT_MEASURED, "no rows"
    if METHOD in losses and bare is not None:
        others = {name: loss for name, loss in losses.items() if name != METHOD}
        small, least = losses[METHOD] < 1, bool(others) and losses[METHOD] < min(others.values())
        verdict = REPRODUCED if small and least else PARTLY if small or least else NOT_REPRODUCED
        point = found[METHOD][0]
        error = (bare.half_width**2 + (point.half_width if point else 0.0) ** 2) ** 0.5
        measured = f"{losses[METHOD]:.1f} ± {points(error):.1f} points lost"
        if others:
            listed = ", ".join(f"{defense_label(n)} {loss:.1f}" for n, loss in others.items())
            measured += f"; others: {listed}"
    printed = printed_filtered(dataset)
    lost = printed["none"] - printed[METHOD]
    return Claim(
        f"vqunet_clean_loss/{dataset}",
        f"VQUNet hardly changes the accuracy on clean images ({dataset_label(dataset)}).",
        f"{lost:.2f} points lost, the only one below 1 (table 5.1)",
        measured,
        verdict,
        5,
    )


def _fall(curve: Curve) -> float:
    return points(curve.values[0] - curve.values[-1])


def _average(curve: Curve) -> float:
    return -points(mean([point.value for point in curve.points if point.x > 0]))


def _best_of_all(
    rows: Iterable[Row], dataset: str, cost: Callable[[Curve], float]
) -> tuple[str, list[str]]:
    """Verdict, and a phrase per attack, on VQUNet having the least cost of all defenses."""
    best, phrases, attacks = 0, [], set()
    for attack, curves in attacked_curves(rows, dataset, "mixed", 5).items():
        lines = {name: headline(curves, name) for name in (METHOD, *OTHERS)}
        # Costs compare only over the same budgets.
        places = [set(curve.xs) for curve in lines.values() if curve is not None]
        shared = set.intersection(*places) if places else set()
        costs = {
            name: cost(_restricted(curve, shared))
            for name, curve in lines.items()
            if curve is not None and len(shared) > 1
        }
        others = {name: value for name, value in costs.items() if name != METHOD}
        if METHOD not in costs or not others:
            continue
        rival = min(others, key=lambda name: others[name])
        best += costs[METHOD] < others[rival]
        attacks.add(attack)
        phrases.append(
            f"{attack_label(attack)} {abs(costs[METHOD]):.1f}, {defense_label(rival)} "
            f"{abs(others[rival]):.1f}"
        )
    return share_verdict(best, len(phrases), attacks), phrases


def _restricted(curve: Curve, places: set[float]) -> Curve:
    kept = tuple(point for point in curve.points if point.x in places)
    return Curve(curve.defense, curve.role, curve.qualifiers, kept)


def smallest_fall(rows: Iterable[Row], dataset: str) -> Claim:
    """VQUNet's curve is the flattest: accuracy falls least from epsilon 0 to the largest.

    Reproduced: the smallest fall of all purifiers under all four attacks. Partly: under half of the
    attacks measured or more.

    **Reference**: Dissertation, sec. 5.4.3, figs. 5.3-5.6.

    Args:
        rows: All rows of a profile.
        dataset: Name of the data set.

    Returns:
        The claim with its verdict; for each attack the best of the others is named.
    """
    verdict, phrases = _best_of_all(rows, dataset, _fall)
    return Claim(
        f"vqunet_flattest/{dataset}",
        f"VQUNet's accuracy falls least as ε grows ({dataset_label(dataset)}).",
        "the flattest curve under FGSM, BIM, PGD and CW (5.4.3)",
        f"points lost between ε = 0 and the largest: {'; '.join(phrases)}"
        if phrases
        else "no rows",
        verdict,
        5,
    )


def highest_mean(rows: Iterable[Row], dataset: str) -> Claim:
    """VQUNet's mean accuracy over epsilons > 0 is the highest.

    Reproduced: of all purifiers, under all four attacks. Partly: under half of the attacks measured
    or more.

    **Reference**: Dissertation, sec. 5.4.3, figs. 5.3-5.6.

    Args:
        rows: All rows of a profile.
        dataset: Name of the data set.

    Returns:
        The claim with its verdict; for each attack the best of the others is named, and at how
        many points VQUNet is above each by more than the 95 % interval of the difference.
    """
    rows = list(rows)
    verdict, phrases = _best_of_all(rows, dataset, _average)
    measured = "no rows"
    if phrases:
        pairs = [
            pair
            for other in OTHERS
            for pair in accuracy_pairs(
                rows, dataset, (METHOD, None), (other, None), threat_model="mixed", chapter=5
            )
            if pair.epsilon > 0
        ]
        above = [pair for pair in pairs if pair.gain > 0]
        measured = (
            f"mean accuracy (%): {'; '.join(phrases)}; above at {len(above)} of {len(pairs)} "
            f"comparisons, {sum(pair.clear for pair in above)} beyond the 95 % interval"
        )
    return Claim(
        f"vqunet_highest/{dataset}",
        f"VQUNet is above the other purifiers ({dataset_label(dataset)}).",
        "above all three at every level of every attack (5.4.3)",
        measured,
        verdict,
        5,
    )


def undefended_below(rows: Iterable[Row], dataset: str) -> Claim:
    """Without a defense the accuracy falls below 10 % under every attack.

    Judged at the largest epsilon of each attack. Reproduced: below under all four. Partly: under
    half of those measured or more.

    **Reference**: Dissertation, sec. 5.4.3.

    Args:
        rows: All rows of a profile.
        dataset: Name of the data set.

    Returns:
        The claim with its verdict.
    """
    level = text_value("003", "5.4.3", "undefended accuracy under every attack")
    ends = {}
    for attack, curves in attacked_curves(rows, dataset, "mixed", 5).items():
        bare = headline(curves, "none")
        if bare is not None and bare.points:
            ends[attack] = points(bare.points[-1].value)
    below = sum(value < level for value in ends.values())
    listed = ", ".join(f"{attack_label(attack)} {value:.1f} %" for attack, value in ends.items())
    return Claim(
        f"undefended_below/{dataset}",
        f"The undefended target is lost under every attack ({dataset_label(dataset)}).",
        f"below {level:g} % (5.4.3)",
        f"at the largest ε: {listed}" if ends else "no rows",
        share_verdict(below, len(ends), ends),
        5,
    )


def fashion_mnist_floor(rows: Iterable[Row]) -> Claim:
    """On Fashion-MNIST VQUNet keeps at least 90 % under all attacks and levels.

    Thresholds as in `judging.floor_claim`.

    **Reference**: Dissertation, sec. 5.4.3.

    Args:
        rows: All rows of a profile.

    Returns:
        The claim with its verdict.
    """
    floor = text_value("003", "5.4.3", "VQUNet Fashion-MNIST floor")
    method = (METHOD, None)
    return floor_claim(
        accuracy_pairs(
            rows, "fashion_mnist", method, method, threat_model="mixed", chapter=5
        ),
        floor,
        id="vqunet_floor/fashion_mnist",
        text="VQUNet's accuracy on Fashion-MNIST hardly falls under any attack.",
        paper_says=f"at least {floor:g} % throughout (5.4.3)",
        chapter=5,
        inclusive=True,
    )  # fmt: skip


def evaluate(rows: list[Row], printed: list[str], everywhere: list[str]) -> list[Claim]:
    """Every claim of the chapter.

    Args:
        rows: All rows of a profile.
        printed: Data sets that the chapter prints numbers for.
        everywhere: These and any other that has rows.

    Returns:
        Claims in the chapter's order; those without rows say `"not measured"`.
    """
    claims = [clean_loss(rows, name) for name in printed]
    for judge in (smallest_fall, highest_mean, undefended_below):
        claims += [judge(rows, name) for name in everywhere]
    claims += [fashion_mnist_floor(rows)] if "fashion_mnist" in printed else []
    return claims + evaluate_features(rows, everywhere)
