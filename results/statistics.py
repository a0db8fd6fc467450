"""The little statistics the figures need."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson_interval(correct: float, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion.

    Why not the textbook normal interval: at 0 % and 100 %, where accuracy curves under attack like
    to end, that one has width zero, and near them it leaves [0, 1].

    `correct` may be fractional. A mean accuracy over several classifiers that all face the same
    `total` images is `correct = mean * total`. Each image then scores some number in [0, 1], and a
    variable in [0, 1] with mean p has variance at most p (1 - p), so the interval is never too
    narrow; pooling the classifiers (`total` times their number) would be, as their errors on
    shared images are correlated.

    **Reference**: E. B. Wilson, Probable inference, the law of succession, and statistical
    inference, JASA 22 (1927).

    **Differs from the paper**: nothing.

    Args:
        correct: Number of successes, 0 <= correct <= total.
        total: Number of distinct trials, at least 1.
        confidence: Two-sided coverage, in (0, 1).

    Returns:
        `(low, high)`, both in [0, 1], with `low <= correct / total <= high`.

    Raises:
        ValueError: If an argument is outside its range.
    """
    if total < 1:
        raise ValueError(
            f"Expected total >= 1, received {total}: an interval needs at least one trial."
        )
    if not 0 <= correct <= total:
        raise ValueError(
            f"Expected 0 <= correct <= total, received correct={correct}, total={total}. "
            "Pass a count, not a percentage."
        )
    if not 0 < confidence < 1:
        raise ValueError(
            f"Expected confidence in (0, 1), received {confidence}. For 95 % pass 0.95."
        )
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    proportion = correct / total
    scale = 1 + z * z / total
    centre = (proportion + z * z / (2 * total)) / scale
    spread = z * math.sqrt(proportion * (1 - proportion) / total + (z / (2 * total)) ** 2) / scale
    low = min(max(centre - spread, 0.0), proportion)
    high = max(min(centre + spread, 1.0), proportion)
    return low, high


def mean(values: list[float]) -> float:
    """Arithmetic mean with one rounding, whatever the order of the values.

    Args:
        values: At least one number.

    Returns:
        Their mean.

    Raises:
        ValueError: If there is no value.
    """
    if not values:
        raise ValueError("Expected at least one value to average, received none.")
    return math.fsum(values) / len(values)
