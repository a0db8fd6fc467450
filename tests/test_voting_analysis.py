"""What a set of voters has to offer: the voting analysis against worked examples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from defenses.decision import majority_vote, voting_analysis

# Six images of true class 0; three voters. The vote of all three is right on images 0 and 1,
# wrong on 2 and 3 (unanimously on 3), tied three ways on 4 and unanimously right on 5.
ANALYSED = np.array(
    [
        [0, 0, 1],
        [0, 2, 0],
        [1, 1, 0],
        [1, 1, 1],
        [0, 1, 2],
        [0, 0, 0],
    ]
)


def test_voting_analysis_of_three_voters_by_hand():
    result = voting_analysis(ANALYSED, np.zeros(6, int), [3], rng=0)[3]
    # Voter 0 errs on 2, 3: none recovered. Voter 1 on 1, 2, 3, 4: 1 and a third of 4.
    # Voter 2 on 0, 3, 4: 0 and a third of 4.
    assert result.recovery_rate == pytest.approx((0 + (1 + 1 / 3) / 4 + (1 + 1 / 3) / 3) / 3)
    assert result.wrong_overlap == pytest.approx(1 / 3)  # image 3, of 3 wrong on average
    assert result.correct_overlap == pytest.approx(1 / 3)  # image 5, of 3 right on average
    assert (result.size, result.num_subsets) == (3, 1)


def test_voting_analysis_enumerates_small_sets_of_pairs():
    result = voting_analysis(ANALYSED, np.zeros(6, int), (2, 3), rng=0)
    assert list(result) == [2, 3]
    assert result[2].num_subsets == 3
    # Pairs (0,1), (0,2), (1,2): same wrong label on {2,3}, {3}, {3}.
    expected = np.mean([2 / 3.0, 1 / 2.5, 1 / 3.5])
    assert result[2].wrong_overlap == pytest.approx(expected)


def test_a_vote_recovers_as_the_random_vote_does_on_average():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 400)
    predictions = np.where(
        rng.random((400, 4)) < 0.5, labels[:, None], rng.integers(0, 5, (400, 4))
    )
    expected = voting_analysis(predictions, labels, [4])[4].recovery_rate
    wrong = predictions != labels[:, None]
    rates = []
    for seed in range(200):
        recovered = majority_vote(predictions, rng=seed) == labels
        rates.append(np.mean((wrong & recovered[:, None]).sum(axis=0) / wrong.sum(axis=0)))
    assert np.mean(rates) == pytest.approx(expected, abs=0.005)


def test_recovery_grows_and_overlaps_shrink_with_independent_voters():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 2_000)
    right = rng.random((2_000, 12)) < 0.6
    predictions = np.where(right, labels[:, None], rng.integers(0, 10, (2_000, 12)))
    result = voting_analysis(predictions, labels, range(2, 13), rng=0)
    assert result[7].num_subsets == 20
    recovery = [result[v].recovery_rate for v in (3, 6, 9, 12)]
    wrong = [result[v].wrong_overlap for v in (2, 3, 6)]
    correct = [result[v].correct_overlap for v in (2, 3, 6)]
    assert recovery == sorted(recovery)
    assert wrong == sorted(wrong, reverse=True)
    assert correct == sorted(correct, reverse=True)
    assert result[2].correct_overlap == pytest.approx(0.64, abs=0.03)


def test_identical_voters_recover_nothing_and_overlap_fully():
    labels = np.zeros(8, int)
    predictions = np.repeat(np.array([0, 0, 0, 1, 2, 3, 0, 0])[:, None], 5, axis=1)
    result = voting_analysis(predictions, labels, [2, 5], rng=0)
    for statistics in result.values():
        assert statistics.recovery_rate == 0.0
        assert statistics.wrong_overlap == 1.0
        assert statistics.correct_overlap == 1.0


def test_a_share_of_nothing_is_nan():
    perfect = voting_analysis(np.zeros((4, 3), int), np.zeros(4, int), [2])[2]
    assert math.isnan(perfect.recovery_rate)
    assert math.isnan(perfect.wrong_overlap)
    assert perfect.correct_overlap == 1.0


@pytest.mark.parametrize(
    ("labels", "sizes", "num_subsets", "message"),
    [
        (np.zeros(5, int), [2], 20, r"shape \(6,\), one for each image"),
        (
            np.zeros(6, int),
            [4],
            20,
            "each of sizes to be an integer of at least 1 and of at most 3",
        ),
        (np.zeros(6, int), [0], 20, "each of sizes .* received 0"),
        (np.zeros(6, int), [], 20, "at least one of sizes"),
        (np.zeros(6, int), 3, 20, "sequence of integers"),
        (np.zeros(6, int), [2], 0, "num_subsets"),
    ],
)
def test_analysis_explains_bad_arguments(labels, sizes, num_subsets, message):
    with pytest.raises(ValueError, match=message):
        voting_analysis(ANALYSED, labels, sizes, num_subsets)
