"""Forms of a claim that several chapters make: a gain, a gain of voting, a floor, a clean loss."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

from results.comparisons import (
    ATTACKS,
    NOT_MEASURED,
    NOT_REPRODUCED,
    PARTLY,
    REPRODUCED,
    Claim,
    Pair,
    accuracy_pairs,
    points,
    share_verdict,
)
from results.labels import ATTACK_LABELS, DEFENSE_LABELS
from results.row import Row
from results.statistics import mean


def attack_label(attack: str) -> str:
    """How a reader knows an attack."""
    return ATTACK_LABELS.get(attack, attack)


def defense_label(defense: str) -> str:
    """How a reader knows a defense."""
    return DEFENSE_LABELS.get(defense, defense)


def attacked_pairs(
    rows: Iterable[Row],
    dataset: str,
    method: tuple[str, str | None],
    defenses: Iterable[str],
    *,
    threat_model: str = "oblivious",
    chapter: int = 3,
    attacks: Container[str] = ATTACKS,
) -> dict[str, list[Pair]]:
    """A method beside the headline of each of several defenses, clean images left out.

    Args:
        rows: Rows of a profile.
        dataset: Name of the data set.
        method: Defense and role; role None takes the headline.
        defenses: Registry keys of the others.
        threat_model: What the attacker knows.
        chapter: Whose figures.
        attacks: Attacks that count.

    Returns:
        Pairs by defense; none for one that is not measured.
    """
    rows = list(rows)
    return {
        name: [
            pair
            for pair in accuracy_pairs(
                rows, dataset, method, (name, None), threat_model=threat_model, chapter=chapter
            )
            if pair.epsilon > 0 and pair.attack in attacks
        ]
        for name in defenses
    }


def average_gain(pairs: Sequence[Pair]) -> str:
    """A mean gain in points, and at how many points it is beyond the interval of the difference.

    Args:
        pairs: At least one pair.

    Returns:
        For example `"+12.1 points (above at 18 of 20, 15 beyond the 95 % interval)"`.
    """
    above = [pair for pair in pairs if pair.gain > 0]
    return (
        f"{points(mean([pair.gain for pair in pairs])):+.1f} points (above at {len(above)} of "
        f"{len(pairs)}, {sum(pair.clear for pair in above)} beyond the 95 % interval)"
    )


def judge_gains(gains: Mapping[str, Sequence[Pair]], least: float) -> tuple[str, str]:
    """Verdict on a claim of being that many points above each of several defenses.

    Args:
        gains: Pairs under attack by the registry key of the defense compared with; one without
            pairs counts as not measured.
        least: Mean gain in points from which on the claim is reproduced.

    Returns:
        Verdict and words. Reproduced: a mean gain of at least `least` over each. Partly: above
        zero over each, or one of them not measured. Not measured: none of them is.
    """
    averages = {
        name: points(mean([p.gain for p in pairs])) for name, pairs in gains.items() if pairs
    }
    missing = [defense_label(name) for name in gains if name not in averages]
    parts = [f"{average_gain(gains[name])} over {defense_label(name)}" for name in averages]
    if missing:
        # Either side may be what is missing.
        parts.append(f"not measured against {' and '.join(missing)} yet")
    if not averages:
        return NOT_MEASURED, "; ".join(parts)
    lowest = min(averages.values())
    if lowest >= least and not missing:
        return REPRODUCED, "; ".join(parts)
    return PARTLY if lowest > 0 else NOT_REPRODUCED, "; ".join(parts)


def voting_claim(
    pairs: Sequence[Pair], *, id: str, text: str, paper_says: str, chapter: int
) -> Claim:
    """A decider over the mean single voter, paired at each attack and epsilon (0 included).

    Args:
        pairs: Of the decider and the mean single voter.
        id, text, paper_says, chapter: As in `Claim`.

    Returns:
        Reproduced: at least 2.5 points, which round to the printed 3. Partly: above zero.
    """
    verdict, measured = NOT_MEASURED, "no rows"
    if pairs:
        gains = [points(pair.gain) for pair in pairs]
        average = mean(gains)
        verdict = REPRODUCED if average >= 2.5 else PARTLY if average > 0 else NOT_REPRODUCED
        measured = (
            f"{average:+.1f} points on average over {len(gains)} pairs of attack and ε, from "
            f"{min(gains):+.1f} to {max(gains):+.1f}; beyond the 95 % interval at "
            f"{sum(pair.clear and pair.gain > 0 for pair in pairs)}"
        )
    return Claim(id, text, paper_says, measured, verdict, chapter)


def floor_claim(
    pairs: Sequence[Pair],
    floor: float,
    *,
    id: str,
    text: str,
    paper_says: str,
    chapter: int,
    inclusive: bool = False,
    attacks: Sequence[str] | None = None,
) -> Claim:
    """An accuracy that stays above a level at every attack and epsilon.

    Args:
        pairs: Whose values are judged.
        floor: The level in percent.
        id, text, paper_says, chapter: As in `Claim`.
        inclusive: Whether the level itself is enough.
        attacks: Attacks that the claim speaks of; None for all four.

    Returns:
        Reproduced: above everywhere, under all attacks spoken of. Partly: at half of the points
        or more.
    """
    if attacks is not None:
        pairs = [pair for pair in pairs if pair.attack in attacks]
    above = [
        points(pair.value) >= floor if inclusive else points(pair.value) > floor for pair in pairs
    ]
    measured = "no rows"
    if pairs:
        worst = min(pairs, key=lambda pair: pair.value)
        word = "at least that" if inclusive else "above"
        measured = (
            f"{word} at {sum(above)} of {len(above)} points; least {points(worst.value):.1f} % "
            f"({attack_label(worst.attack)}, ε = {worst.epsilon:.3g})"
        )
    found = {pair.attack for pair in pairs}
    verdict = (
        share_verdict(sum(above), len(above), found)
        if attacks is None
        else share_verdict(sum(above), len(above), found, attacks)
    )
    return Claim(id, text, paper_says, measured, verdict, chapter)
