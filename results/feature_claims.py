"""The claims of the dissertation's section 5.4.4: what quantisation does to features under FGSM."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from results.comparisons import Claim, Pair, dataset_label, distance_pairs, pair_up, share_verdict
from results.curves import Curve, value_curves
from results.labels import FEATURE_METRICS
from results.row import Row

METHOD, ABLATION = "vqunet", "non_vqunet"
_ATTACK = ("fgsm",)
_NAMES = {
    "feature_change": "absolute",
    "feature_change_relative": "relative",
    "feature_change_spread": "relative to their spread over images",
}
_SPREAD = "feature_change_spread"


def _curves(
    rows: Iterable[Row], dataset: str, metric: str, wanted: Callable[[Curve], bool]
) -> dict[str, Curve]:
    """Curves of a metric under FGSM by depth; the same curve of several figures counts once."""
    chosen: dict[tuple, Row] = {}
    for row in rows:
        if (row.dataset, row.metric, row.attack) == (dataset, metric, "fgsm"):
            chosen.setdefault(row.key._replace(experiment=""), row)
    if not chosen:
        return {}
    curves = value_curves(chosen.values(), metric)
    return {c.qualifiers.get("depth", ""): c for c in curves if wanted(c)}


def _stage(defense: str, stage: str | None) -> Callable[[Curve], bool]:
    return lambda c: c.defense == defense and c.qualifiers.get("stage") == stage


def _lower_claim(
    pairs: Sequence[Pair], *, id: str, text: str, paper_says: str, unit: str = "points"
) -> Claim:
    """Reproduced: lower at every epsilon > 0. Partly: at half of them or more."""
    attacked = [pair for pair in pairs if pair.epsilon > 0]
    lower = sum(pair.gain < 0 for pair in attacked)
    measured = "no rows"
    if attacked:
        ratios = sorted(p.value / p.reference for p in attacked if p.reference > 0)
        measured = f"lower at {lower} of {len(attacked)} {unit}"
        if ratios:
            measured += f", {ratios[0]:.2g} to {ratios[-1]:.2g} times the other"
        if any(pair.error > 0 for pair in attacked):
            clear = sum(pair.gain < 0 and pair.clear for pair in attacked)
            measured += f"; by more than two standard errors at {clear}"
    return Claim(
        id, text, paper_says, measured,
        share_verdict(lower, len(attacked), {p.attack for p in attacked}, _ATTACK), 5,
    )  # fmt: skip


def _by_depth(first: dict[str, Curve], second: dict[str, Curve]) -> list[Pair]:
    return [pair for depth in first for pair in pair_up("fgsm", first[depth], second.get(depth))]


def nearer_reconstructions(rows: Iterable[Row], dataset: str) -> Claim:
    """Under FGSM VQUNet's reconstructions stay nearer to the clean image than the ablation's.

    Reproduced: lower L1 at every epsilon > 0. Partly: at half of them or more.

    **Reference**: Dissertation, sec. 5.4.4, fig. 5.7; its data set is not named.

    Args:
        rows: All rows of a profile.
        dataset: Name of the data set.

    Returns:
        The claim with its verdict.
    """
    pairs = distance_pairs(rows, dataset, METHOD, ABLATION, metric="l1", chapter=5)
    return _lower_claim(
        [pair for pair in pairs if pair.attack == "fgsm"],
        id=f"vqunet_nearer/{dataset}",
        text="VQUNet's reconstructions of attacked images stay nearer to the clean ones than "
        f"non-VQUNet's ({dataset_label(dataset)}).",
        paper_says="less divergence as ε grows (fig. 5.7)",
    )


def ablation_changes_more(rows: Iterable[Row], dataset: str, metric: str) -> Claim:
    """The encoder's features change less in VQUNet than without quantisation.

    Reproduced: at every depth and epsilon > 0. Partly: at half of them or more.

    **Reference**: Dissertation, sec. 5.4.4, fig. 5.8.

    Args:
        rows: All rows of a profile.
        dataset: Name of the data set.
        metric: `"feature_change"`, as printed, `"feature_change_relative"` or
            `"feature_change_spread"`.

    Returns:
        The claim with its verdict.
    """
    own = _curves(rows, dataset, metric, _stage(METHOD, "pre"))
    other = _curves(rows, dataset, metric, _stage(ABLATION, "pre"))
    return _lower_claim(
        _by_depth(own, other),
        id=f"vqunet_features/{_NAMES[metric]}/{dataset}",
        text=f"VQUNet's encoder features change less than non-VQUNet's, {_NAMES[metric]} "
        f"({dataset_label(dataset)}).",
        paper_says="much less at every depth (fig. 5.8)",
        unit="depths and epsilons",
    )


def quantised_changes_less(rows: Iterable[Row], dataset: str, metric: str) -> Claim:
    """Features change less after quantisation than before it.

    Reproduced: at every depth and epsilon > 0. Partly: at half of them or more.

    **Reference**: Dissertation, sec. 5.4.4, fig. 5.9.

    Args:
        rows: All rows of a profile.
        dataset: Name of the data set.
        metric: `"feature_change"`, as printed, or `"feature_change_relative"`.

    Returns:
        The claim with its verdict.
    """
    post = _curves(rows, dataset, metric, _stage(METHOD, "post"))
    pre = _curves(rows, dataset, metric, _stage(METHOD, "pre"))
    return _lower_claim(
        _by_depth(post, pre),
        id=f"quantised_features/{_NAMES[metric]}/{dataset}",
        text=f"Features change less after quantisation than before, {_NAMES[metric]} "
        f"({dataset_label(dataset)}).",
        paper_says="noticeably less at every depth (fig. 5.9)",
        unit="depths and epsilons",
    )


def deeper_changes_less(
    rows: Iterable[Row], dataset: str, metric: str, stage: str | None = None
) -> Claim:
    """The deeper, the less changes: code indices (fig. 5.10), features (fig. 5.9).

    Each depth is compared with the one above it. Reproduced: lower at every epsilon > 0. Partly:
    at half of the comparisons or more.

    **Reference**: Dissertation, sec. 5.4.4, figs. 5.9 and 5.10.

    Args:
        rows: All rows of a profile.
        dataset: Name of the data set.
        metric: `"index_change"`, `"feature_change"` or `"feature_change_spread"`.
        stage: `"pre"` or `"post"` for features; None for indices.

    Returns:
        The claim with its verdict.
    """
    curves = _curves(rows, dataset, metric, _stage(METHOD, stage))
    depths = sorted(curves)
    pairs = [
        pair
        for upper, lower in pairwise(depths)
        for pair in pair_up("fgsm", curves[lower], curves[upper])
    ]
    what = {"pre": "features before quantisation", "post": "features after quantisation"}.get(
        stage or "", "code indices" if metric == "index_change" else FEATURE_METRICS[metric]
    )
    scale = f", {_NAMES[metric]}" if metric == _SPREAD else ""
    return _lower_claim(
        pairs,
        id=f"deeper_changes_less/{metric}{'/' + stage if stage else ''}/{dataset}",
        text=f"Deeper {what} change less{scale} ({dataset_label(dataset)}).",
        paper_says=f"less at deeper levels (fig. {'5.10' if stage is None else '5.9'})",
        unit="comparisons of a depth with the one above",
    )


def evaluate(rows: list[Row], everywhere: list[str]) -> list[Claim]:
    """Every claim of the section.

    Args:
        rows: All rows of a profile.
        everywhere: Data sets to judge. The section does not name its own: all with rows of it are
            judged, or the first if none has any.

    Returns:
        Claims in the section's order.
    """
    figures = {f"003.F5.{number}" for number in (7, 8, 9, 10)}
    measured = {row.dataset for row in rows if row.experiment in figures}
    datasets = [name for name in everywhere if name in measured] or everywhere[:1]
    claims = [nearer_reconstructions(rows, name) for name in datasets]
    for judge in (ablation_changes_more, quantised_changes_less):
        claims += [judge(rows, name, metric) for metric in _NAMES for name in datasets]
    for metric in ("feature_change", _SPREAD):
        for stage in ("pre", "post"):
            claims += [deeper_changes_less(rows, name, metric, stage) for name in datasets]
    return claims + [deeper_changes_less(rows, name, "index_change") for name in datasets]
