"""Claims of chapter 5: each verdict from rows made to deserve it."""

from __future__ import annotations

import pytest

from results import claims_chapter5 as chapter5
from results import feature_claims
from results.comparisons import ATTACKS
from tests.synthetic_rows import EPSILONS, distance_rows, feature_rows, filtered_rows, mixed_rows


@pytest.mark.parametrize(
    ("vqunet", "cyclegan", "verdict"),
    [
        (0.935, 0.90, "reproduced"), (0.935, 0.94, "partly"), (0.92, 0.90, "partly"),
        (0.93, 0.90, "partly"), (0.90, 0.92, "not reproduced"), (0.935, None, "partly"),
    ],
)  # fmt: skip
def test_clean_loss(vqunet, cyclegan, verdict):
    accuracy = {"none": 0.94, "vqunet": vqunet}
    if cyclegan is not None:
        accuracy["defense_cyclegan"] = cyclegan
    claim = chapter5.clean_loss(filtered_rows(accuracy), "cifar10")
    assert claim.verdict == verdict
    assert claim.measured.startswith(f"{100 * (0.94 - vqunet):.1f} ± ")
    assert claim.paper_says.startswith("0.95 points lost")


def test_clean_loss_is_that_of_the_retrained_target():
    rows = filtered_rows({"none": 0.94, "vqunet": 0.94, "sfl_vae": 0.8}, retrained=False)
    assert chapter5.clean_loss(rows, "cifar10").verdict == "not measured"
    rows += [
        r for r in filtered_rows({"none": 0.94, "vqunet": 0.5, "sfl_vae": 0.8}) if "ret" in r.flags
    ]
    assert chapter5.clean_loss(rows, "cifar10").verdict == "not reproduced"
    with pytest.raises(ValueError, match="cifar10"):
        chapter5.clean_loss(rows, "digits")


def curves(vqunet, others=(0.8, 0.7, 0.6, 0.5, 0.4, 0.3), attacks=ATTACKS):
    """Mixed rows under several attacks; the three others share a curve."""
    names = ("defense_cyclegan", "sfl_vae", "defense_vae")
    values = {"vqunet": vqunet, **dict.fromkeys(names, others)}
    return [row for attack in attacks for row in mixed_rows(values, attack=attack)]


FLAT_LOW = (0.35, 0.34, 0.33, 0.32, 0.31, 0.3)
STEEP_HIGH = (0.95, 0.9, 0.85, 0.8, 0.7, 0.4)


@pytest.mark.parametrize(
    ("vqunet", "flattest", "highest"),
    [
        (FLAT_LOW, "reproduced", "not reproduced"),
        (STEEP_HIGH, "not reproduced", "reproduced"),
        ((0.8, 0.7, 0.6, 0.5, 0.4, 0.3), "not reproduced", "not reproduced"),
    ],
)
def test_flattest_and_highest_are_two_claims(vqunet, flattest, highest):
    rows = curves(vqunet)
    assert chapter5.smallest_fall(rows, "cifar10").verdict == flattest
    assert chapter5.highest_mean(rows, "cifar10").verdict == highest


def test_flattest_and_highest_name_the_best_of_the_others():
    rows = curves(FLAT_LOW, attacks=("fgsm",))
    claim = chapter5.smallest_fall(rows, "cifar10")
    assert claim.verdict == "partly"
    assert "FGSM 5.0, Defense-CycleGAN 50.0" in claim.measured
    claim = chapter5.highest_mean(curves(STEEP_HIGH, attacks=("fgsm",)), "cifar10")
    assert "FGSM 73.0, Defense-CycleGAN 50.0" in claim.measured
    assert "above at 15 of 15 comparisons, 15 beyond" in claim.measured


def test_curves_are_compared_over_the_budgets_that_all_have():
    rows = curves((0.9, 0.8, 0.7, 0.6, 0.5, 0.2), attacks=("fgsm",))
    assert "FGSM 70.0, " in chapter5.smallest_fall(rows, "cifar10").measured
    cut = [r for r in rows if not (r.defense == "sfl_vae" and r.epsilon == 0.3)]
    assert "FGSM 40.0, " in chapter5.smallest_fall(cut, "cifar10").measured


def test_the_ablation_is_no_rival():
    rows = curves(FLAT_LOW) + [
        row for attack in ATTACKS for row in mixed_rows({"non_vqunet": [0.99] * 6}, attack=attack)
    ]
    assert chapter5.smallest_fall(rows, "cifar10").verdict == "reproduced"
    assert chapter5.smallest_fall(mixed_rows({"vqunet": FLAT_LOW}), "cifar10").verdict == (
        "not measured"
    )


@pytest.mark.parametrize(
    ("end", "verdict"), [(0.09, "reproduced"), (0.10, "not reproduced")]
)  # fmt: skip
def test_undefended_below(end, verdict):
    rows = [
        row
        for attack in ATTACKS
        for row in mixed_rows({"none": (0.9, 0.5, 0.4, 0.3, 0.2, end)}, attack=attack)
    ]
    claim = chapter5.undefended_below(rows, "cifar10")
    assert claim.verdict == verdict and f"PGD {100 * end:.1f} %" in claim.measured


@pytest.mark.parametrize(("least", "verdict"), [(0.9, "reproduced"), (0.899, "partly")])
def test_fashion_mnist_floor_includes_the_level(least, verdict):
    rows = [
        row
        for attack in ATTACKS
        for row in mixed_rows(
            {"vqunet": (0.93, 0.92, 0.92, 0.91, 0.91, least)},
            attack=attack,
            dataset="fashion_mnist",
        )
    ]
    assert chapter5.fashion_mnist_floor(rows).verdict == verdict


def line(slope):
    """A feature that moves in proportion to epsilon."""
    return [slope * epsilon for epsilon in EPSILONS]


@pytest.mark.parametrize(
    ("vqunet", "verdict"),
    [
        ((110, 100, 110, 120, 130, 140), "reproduced"),
        ((110, 150, 110, 120, 130, 140), "partly"),
        ((90, 150, 160, 170, 180, 190), "not reproduced"),
    ],
)
def test_nearer_reconstructions_judge_attacked_images_alone(vqunet, verdict):
    rows = distance_rows(
        {"vqunet": vqunet, "non_vqunet": (100, 110, 120, 130, 140, 150)},
        metric="l1", experiment="003.F5.7", error=3.0, classifier="wide_resnet",
    )  # fmt: skip
    claim = feature_claims.nearer_reconstructions(rows, "cifar10")
    assert claim.verdict == verdict
    if verdict == "reproduced":
        # Two standard errors of a difference are 8.5, and every gain is 10.
        assert "by more than two standard errors at 5" in claim.measured
    assert feature_claims.nearer_reconstructions(rows, "digits").verdict == "not measured"


@pytest.mark.parametrize(
    ("slopes", "verdict"),
    [((0.9, 0.9, 0.9), "reproduced"), ((0.9, 0.9, 1.0), "partly"), ((0.9, 1.1, 1.1), "not re")],
)
@pytest.mark.parametrize(
    "metric", ["feature_change", "feature_change_relative", "feature_change_spread"]
)
def test_features_are_compared_depth_by_depth(slopes, verdict, metric):
    other = {"feature_change": "feature_change_relative"}.get(metric, "feature_change")
    same = [line(1.0)] * 3
    changed = [line(slope) for slope in slopes]
    rows = feature_rows({("vqunet", "pre"): changed, ("non_vqunet", "pre"): same}, metric=metric)
    claim = feature_claims.ablation_changes_more(rows, "cifar10", metric)
    assert claim.verdict.startswith(verdict) and "of 15 depths" in claim.measured
    assert feature_claims.ablation_changes_more(rows, "cifar10", other).verdict == "not measured"
    rows = feature_rows({("vqunet", "post"): changed, ("vqunet", "pre"): same}, metric=metric)
    claim = feature_claims.quantised_changes_less(rows, "cifar10", metric)
    assert claim.verdict.startswith(verdict)
    assert feature_claims.ablation_changes_more(rows, "cifar10", metric).verdict == "not measured"


@pytest.mark.parametrize(
    ("slopes", "verdict"),
    [((3, 2, 1), "reproduced"), ((3, 1, 2), "partly"), ((1, 2, 3), "not reproduced")],
)
def test_deeper_changes_less(slopes, verdict):
    lines = [line(slope) for slope in slopes]
    rows = feature_rows({("vqunet", ""): lines}, metric="index_change", experiment="003.F5.10")
    claim = feature_claims.deeper_changes_less(rows, "cifar10", "index_change")
    assert claim.verdict == verdict and claim.id == "deeper_changes_less/index_change/cifar10"
    rows = feature_rows({("vqunet", "post"): lines, ("vqunet", "pre"): [line(1)] * 3})
    judge = feature_claims.deeper_changes_less
    assert judge(rows, "cifar10", "feature_change", "post").verdict == verdict
    assert judge(rows, "cifar10", "feature_change", "pre").verdict == "not reproduced"
    assert judge(rows, "cifar10", "feature_change_spread", "post").verdict == "not measured"
    rows = feature_rows({("vqunet", "post"): lines}, metric="feature_change_spread")
    claim = judge(rows, "cifar10", "feature_change_spread", "post")
    assert claim.verdict == verdict and "relative to their spread over images" in claim.text


def test_the_same_curve_of_two_figures_counts_once():
    rows = feature_rows({("vqunet", "pre"): [line(1.0)], ("non_vqunet", "pre"): [line(2.0)]})
    rows += feature_rows({("vqunet", "pre"): [line(1.0)]}, experiment="003.F5.9")
    claim = feature_claims.ablation_changes_more(rows, "cifar10", "feature_change")
    assert claim.verdict == "reproduced" and "of 5 depths" in claim.measured


def test_the_section_is_judged_where_it_has_rows():
    rows = feature_rows({("vqunet", "pre"): [line(1.0)]}, dataset="fashion_mnist")
    judged = feature_claims.evaluate(rows, ["cifar10", "fashion_mnist"])
    assert {claim.id.rpartition("/")[2] for claim in judged} == {"fashion_mnist"}
    assert {c.id.rpartition("/")[2] for c in feature_claims.evaluate([], ["cifar10", "x"])} == {
        "cifar10"
    }
