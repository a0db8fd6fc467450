"""What an attack does inside VQUNet: to its features, to its codes, and to what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from defenses.vqunet import VQUNet, network_outputs
from validation import check_images, check_integer

__all__ = ["DepthDiagnostics", "FeatureDiagnostics", "feature_diagnostics"]


@dataclass(frozen=True, kw_only=True)
class DepthDiagnostics:
    """What an attack changes at one depth, averaged over images, positions and channels.

    Features of two networks differ in scale, because the encoder loss shrinks those of one; so each
    change is given in three units: as it is, relative to the mean magnitude of the clean features,
    and relative to their spread over the clean images. Features that are nearly the same for every
    image hardly change under an attack either; the last unit distinguishes that from robustness.

    Attributes:
        depth: 1 for the largest features.
        clean_magnitude: Mean |a(x)| of the encoder's output for clean images.
        clean_spread: Standard deviation of a(x) over the clean images, averaged over positions and
            channels; 0 for one image.
        clean_code_spread: The same of q(x).
        pre_change: Mean |a(x') - a(x)| before quantization.
        relative_pre_change: The same over ``clean_magnitude``; NaN if that is 0.
        spread_pre_change: The same over ``clean_spread``; NaN if that is 0.
        post_change: Mean |q(x') - q(x)| after quantization; ``None`` without quantizers.
        relative_post_change: The same over ``clean_magnitude``.
        spread_post_change: The same over ``clean_code_spread``; NaN if that is 0.
        changed_index_percent: Percentage of positions whose code changes.
    """

    depth: int
    clean_magnitude: float
    clean_spread: float
    pre_change: float
    relative_pre_change: float
    spread_pre_change: float
    clean_code_spread: float | None = None
    post_change: float | None = None
    relative_post_change: float | None = None
    spread_post_change: float | None = None
    changed_index_percent: float | None = None


@dataclass(frozen=True, kw_only=True)
class FeatureDiagnostics:
    """The diagnostics of one set of attacked images.

    Attributes:
        num_images: How many images were averaged over.
        reconstruction_l1: Mean over images of the summed |purified(x') - x|, the distance of a
            purified attacked image to the clean one.
        depths: One entry for each depth, from 1 on.
    """

    num_images: int
    reconstruction_l1: float
    depths: tuple[DepthDiagnostics, ...]


def feature_diagnostics(
    purifier: VQUNet,
    clean_images: np.ndarray,
    attacked_images: np.ndarray,
    batch_size: int = 128,
) -> FeatureDiagnostics:
    """Compares what VQUNet, or its ablation, computes for clean images and for attacked ones.

    **Reference**: Dissertation, ch. 5.4.4: fig. 5.7 (``reconstruction_l1``), figs. 5.8 and 5.9
    (changes before and after quantization), fig. 5.10 (``changed_index_percent``).
    **Differs from the paper**: "L1 difference" of features is printed without a normalization; it
    is a mean over entries, given relative to the clean features and to their spread as well.
    Features of images of 28 pixels include those of the zero margin that the network adds.

    Args:
        purifier: ``vqunet``, or ``non_vqunet``, which has no changes after quantization.
        clean_images: x, float array ``(num_images, height, width, channels)`` in [0, 1].
        attacked_images: x', same shape and range, in the same order.
        batch_size: Images in a batch; at most that many pairs are in memory at once.

    Returns:
        Averages over all images, the same for any ``batch_size`` up to rounding.

    Raises:
        ValueError: If the two arrays differ in shape or are no valid images.
    """
    purifier = VQUNet.narrow(purifier)
    if np.shape(clean_images) != np.shape(attacked_images):
        raise ValueError(
            "Expected an attacked image for each clean one, received the shapes "
            f"{np.shape(clean_images)} and {np.shape(attacked_images)}. Pass the clean images "
            "that the attacked ones were made from, in the same order."
        )
    clean_images = check_images(clean_images, purifier.image_shape, name="clean_images")
    attacked_images = check_images(attacked_images, purifier.image_shape, name="attacked_images")
    check_integer("batch_size", batch_size, at_least=1, such_as=128)
    distances, means, sizes = [], [], []
    spreads = {"features": _Spreads(), "codes": _Spreads()}
    for start in range(0, len(clean_images), batch_size):
        images = clean_images[start : start + batch_size]
        attacked_batch = attacked_images[start : start + batch_size]
        clean = network_outputs(purifier.network, images, batch_size)
        attacked = network_outputs(purifier.network, attacked_batch, batch_size)
        distances.append(_mean_change(images, attacked["images"]) * images[0].size)
        means.append(_depth_means(clean, attacked))
        sizes.append(len(images))
        for name, spread in spreads.items():
            spread.add(clean.get(name, []))
    averages = np.average(means, axis=0, weights=sizes)
    before, after = (spread.result() for spread in spreads.values())
    return FeatureDiagnostics(
        num_images=len(clean_images),
        reconstruction_l1=float(np.average(distances, weights=sizes)),
        depths=tuple(
            _at_depth(depth, *found)
            for depth, found in enumerate(zip_longest(averages, before, after), start=1)
        ),
    )


def _depth_means(clean: dict[str, Any], attacked: dict[str, Any]) -> np.ndarray:
    """One row for each depth: clean magnitude, change before and, where there are codes, after
    quantization, and share of changed indices."""
    columns = [
        [_mean_change(features, 0.0) for features in clean["features"]],
        list(map(_mean_change, clean["features"], attacked["features"])),
    ]
    if "codes" in clean:
        columns.append(list(map(_mean_change, clean["codes"], attacked["codes"])))
        pairs = zip(clean["indices"], attacked["indices"], strict=True)
        columns.append([float(np.mean(before != after)) for before, after in pairs])
    return np.transpose(columns)


def _mean_change(before: np.ndarray, after: np.ndarray | float) -> float:
    """Mean absolute difference over all entries, added up in double precision."""
    return float(np.mean(np.abs(before - after), dtype="float64"))


class _Spreads:
    """How far apart images are, entry by entry, in arrays that come in batches of images."""

    def __init__(self) -> None:
        self._count = 0
        self._first: list[np.ndarray] = []
        self._sums: list[np.ndarray] = []

    def add(self, arrays: Sequence[np.ndarray]) -> None:
        """Adds one array ``(batch, ...)`` for each depth; the same depths every time."""
        if not self._count:
            self._first = [array[:1].astype("float64") for array in arrays]
            self._sums = [np.zeros((2, *array.shape[1:])) for array in arrays]
        for sums, first, array in zip(self._sums, self._first, arrays, strict=True):
            offsets = array - first  # so that what is the same everywhere has no spread at all
            sums += np.stack([offsets.sum(axis=0), (offsets**2).sum(axis=0)])
        self._count += len(arrays[0]) if len(arrays) else 0

    def result(self) -> list[float]:
        """For each depth, the standard deviation over the images, averaged over entries."""
        moments = (sums / self._count for sums in self._sums)
        return [float(np.sqrt(np.maximum(m[1] - m[0] ** 2, 0.0)).mean()) for m in moments]


def _at_depth(
    depth: int, averages: Sequence[float], spread: float, code_spread: float | None
) -> DepthDiagnostics:
    """Names the averages of ``_depth_means`` and the spreads at one depth."""
    magnitude, pre_change, *quantized = (float(value) for value in averages)
    scale = magnitude or float("nan")
    of_codes: dict[str, float] = {}
    if quantized:
        of_codes = {
            "post_change": quantized[0],
            "relative_post_change": quantized[0] / scale,
            "spread_post_change": quantized[0] / (code_spread or float("nan")),
            "changed_index_percent": 100.0 * quantized[1],
        }
    return DepthDiagnostics(
        depth=depth,
        clean_magnitude=magnitude,
        clean_spread=spread,
        pre_change=pre_change,
        relative_pre_change=pre_change / scale,
        spread_pre_change=pre_change / (spread or float("nan")),
        clean_code_spread=code_spread,
        **of_codes,
    )
