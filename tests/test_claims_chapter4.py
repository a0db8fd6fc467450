"""Claims of chapter 4: each verdict from rows made to deserve it."""

from __future__ import annotations

import pytest

from results import claims_chapter4 as chapter4
from results import comparisons
from tests.synthetic_rows import chapter_rows, reconstruction_rows, target_rows

ATTACKS = comparisons.ATTACKS
F4 = {"fgsm": "003.F4.2", "pgd": "003.F4.3", "carlini_wagner": "003.F4.4", "bim": "003.F4.5"}


def cyclegan(values, role="vote_bayes", attack="fgsm", **changes):
    """One curve of Defense-CycleGAN, in chapter 4's own experiment."""
    values = [values] * 6 if isinstance(values, float) else values
    return chapter_rows(
        {role: values}, defense="defense_cyclegan", attack=attack, experiment=F4[attack], **changes
    )


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.545, "reproduced"), (0.54, "partly"), (0.49, "not reproduced")]
)
def test_gain_over_sfl_vae_joins_the_rows_of_two_chapters(value, verdict):
    rows = cyclegan([0.0, *[value] * 5]) + chapter_rows({"vote_bayes": [0.9, *[0.5] * 5]})
    claim = chapter4.gain_over_sfl_vae(rows)
    assert claim.verdict == verdict
    assert f"{100 * (value - 0.5):+.1f} points" in claim.measured and claim.chapter == 4
    assert chapter4.gain_over_sfl_vae(cyclegan(0.9)).verdict == "not measured"


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.64, "reproduced"), (0.63, "partly"), (0.39, "not reproduced")]
)
def test_gain_over_the_baselines(value, verdict):
    rows = cyclegan(value) + target_rows({"defense_gan": [0.3] * 6})
    rows += target_rows({"defense_vae": [0.1] * 6})
    rows += target_rows({"defense_vae": [0.4] * 6}, retrained=True)
    claim = chapter4.gain_over_baselines(rows)
    assert claim.verdict == verdict
    assert "over Defense-VAE; " in claim.measured and "over Defense-GAN" in claim.measured


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(0.85, "reproduced"), (0.84, "reproduced"), (0.83, "partly"), (0.79, "not reproduced")],
)
def test_clean_accuracy_is_judged_by_the_loss_to_the_bare_classifier(value, verdict):
    rows = cyclegan([value, *[0.1] * 5]) + chapter_rows({"none": [0.85, *[0.0] * 5]})
    rows += target_rows({"defense_gan": [0.5] * 6})
    claim = chapter4.clean_accuracy(rows, "cifar10")
    assert claim.verdict == verdict
    assert f"{100 * value:.1f} % against 85.0 % without" in claim.measured
    assert "others lose: Defense-GAN 35.0" in claim.measured
    # 1,000 images: the interval of the difference is about 3.2 points.
    assert ("beyond the 95" in claim.measured) == (value == 0.79)
    with pytest.raises(ValueError, match="cifar10"):
        chapter4.clean_accuracy(rows, "digits")


@pytest.mark.parametrize(
    ("vote", "verdict"), [(0.625, "reproduced"), (0.62, "partly"), (0.6, "not reproduced")]
)
def test_voting_gain_is_that_of_the_cyclegan(vote, verdict):
    rows = cyclegan(0.6, "mean_voter") + cyclegan(vote)
    rows += chapter_rows({"mean_voter": [0.1] * 6, "vote_bayes": [0.9] * 6})
    assert chapter4.voting_gain(rows, "cifar10").verdict == verdict


@pytest.mark.parametrize(
    ("dataset", "value", "fgsm", "verdict"),
    [
        ("cifar10", 0.81, 0.2, "reproduced"), ("cifar10", 0.80, 0.9, "not reproduced"),
        ("fashion_mnist", 0.90, 0.9, "reproduced"), ("fashion_mnist", 0.95, 0.5, "partly"),
    ],
)  # fmt: skip
def test_floor_leaves_fgsm_out_on_cifar10(dataset, value, fgsm, verdict):
    rows = [
        row
        for attack in ATTACKS
        for row in cyclegan(fgsm if attack == "fgsm" else value, attack=attack, dataset=dataset)
    ]
    assert chapter4.accuracy_floor(rows, dataset).verdict == verdict
    three = [row for row in rows if row.attack != "bim"]
    assert chapter4.accuracy_floor(three, dataset).verdict != "reproduced"


PRINTED = {
    "defense_cyclegan": 54.3, "defense_cyclegan_1": 103.9, "sfl_vae": 126.0,
    "defense_cyclegan_2": 225.9, "defense_cyclegan_3": 358.6, "defense_cyclegan_4": 518.8,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "verdict", "pairs"),
    [
        ({}, "reproduced", 15),
        ({"sfl_vae": 222.0}, "reproduced", 15),
        ({"sfl_vae": 360.0}, "partly", 13),
        ({"sfl_vae": 600.0}, "partly", 12),
        ({"sfl_vae": 600.0, "defense_cyclegan_1": 50.0}, "not reproduced", 11),
    ],
)
def test_reconstruction_order(changes, verdict, pairs):
    rows = reconstruction_rows({**PRINTED, **changes})
    claim = chapter4.reconstruction_order(rows)
    assert claim.verdict == verdict
    assert f"{pairs} of 15 pairs" in claim.measured
    assert claim.paper_says.startswith("Defense-CycleGAN 54.3 < Cyc_1 103.9 < SFL-VAE 126.0 < ")


def test_reconstruction_order_counts_what_is_significant_and_what_is_missing():
    # Errors of 1.0 each: two of the difference are 2.83.
    claim = chapter4.reconstruction_order(
        reconstruction_rows({"defense_cyclegan": 54.0, "defense_cyclegan_1": 56.8, "sfl_vae": 57.0})
    )
    assert claim.verdict == "not measured"
    assert "3 of 3 pairs in the printed order, 1 by more" in claim.measured
    assert "Cyc_4 not measured yet" in claim.measured
    elsewhere = reconstruction_rows(PRINTED, experiment="003.S3.kl_weight")
    assert chapter4.reconstruction_order(elsewhere).measured == "no rows"
