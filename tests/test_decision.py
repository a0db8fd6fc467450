"""The vote and the Bayesian update against worked examples."""

from __future__ import annotations

import numpy as np
import pytest

from defenses.decision import ConditionalTables, majority_vote, softmax_prior

# Counts N[c, e_B, e_A] of a three-class example with ten images of each class.
TOY_COUNTS = np.array(
    [
        [[8, 1, 0], [0, 1, 0], [0, 0, 0]],
        [[0, 0, 0], [1, 7, 1], [0, 0, 1]],
        [[0, 0, 0], [0, 0, 1], [0, 1, 8]],
    ]
)


def toy_evidence() -> dict[str, np.ndarray]:
    labels, votes, target = np.repeat(np.argwhere(TOY_COUNTS + 1 > 0), TOY_COUNTS.ravel(), axis=0).T
    order = np.random.default_rng(0).permutation(len(labels))
    return {
        "labels": labels[order],
        "target_predictions": target[order],
        "votes": votes[order],
    }


def toy_tables(**arguments) -> ConditionalTables:
    return ConditionalTables.fit(**toy_evidence(), num_classes=3, **arguments)


def identity_tables(num_classes: int = 10) -> ConditionalTables:
    every = np.arange(num_classes)
    return ConditionalTables.fit(every, every, every, num_classes, smoothing=1e-9)


# ---------------------------------------------------------------------- vote


def test_unanimous_voters_win_whatever_is_drawn():
    labels = np.arange(50) % 10
    predictions = np.repeat(labels[:, None], 12, axis=1)
    for num_drawn in (1, 2, 7, None):
        np.testing.assert_array_equal(majority_vote(predictions, num_drawn, 0), labels)


def test_full_vote_without_a_tie_is_the_mode_and_needs_no_luck():
    predictions = np.array([[1, 1, 2], [0, 9, 9], [4, 4, 4]])
    for seed in range(20):
        np.testing.assert_array_equal(majority_vote(predictions, None, seed), [1, 9, 4])


@pytest.mark.parametrize("labels", [(3, 7), (7, 3)])
def test_a_two_way_tie_falls_evenly(labels):
    predictions = np.tile([labels[0], labels[0], labels[1], labels[1], 0], (20_000, 1))
    result = majority_vote(predictions, rng=0)
    assert set(result) == {3, 7}
    assert abs((result == 3).mean() - 0.5) < 0.02


def test_a_three_way_tie_falls_evenly():
    result = majority_vote(np.tile([2, 5, 8], (30_000, 1)), rng=0)
    np.testing.assert_allclose(np.bincount(result)[[2, 5, 8]] / 30_000, 1 / 3, atol=0.015)


def test_drawing_is_per_image_without_replacement_and_fair():
    predictions = np.tile(np.arange(4), (40_000, 1))
    single = majority_vote(predictions, 1, 0)
    np.testing.assert_allclose(np.bincount(single) / 40_000, 0.25, atol=0.01)
    # Of [0, 0, 1], two distinct voters give 0 with 1/3 (both zeros) + 2/3 * 1/2 (a tie).
    pairs = majority_vote(np.tile([0, 0, 1], (40_000, 1)), 2, 0)
    assert abs((pairs == 0).mean() - 2 / 3) < 0.01
    # Any three of [1, 1, 1, 1, 0] hold two ones; with replacement 0 would win 1 time in 10.
    assert (majority_vote(np.tile([1, 1, 1, 1, 0], (5_000, 1)), 3, 0) == 1).all()


def test_every_label_was_cast_and_the_larger_count_wins():
    predictions = np.random.default_rng(0).integers(0, 4, (2_000, 6))
    result = majority_vote(predictions, rng=1)
    counts = (predictions[:, :, None] == np.arange(4)).sum(axis=1)
    np.testing.assert_array_equal(counts[np.arange(2_000), result], counts.max(axis=1))
    drawn = majority_vote(predictions, 2, rng=1)
    assert (predictions == drawn[:, None]).any(axis=1).all()


def test_vote_repeats_with_its_seed_alone():
    predictions = np.random.default_rng(0).integers(0, 10, (500, 12))
    first = majority_vote(predictions, 3, np.random.default_rng(5))
    np.testing.assert_array_equal(first, majority_vote(predictions, 3, 5))
    assert (first != majority_vote(predictions, 3, 6)).any()
    assert first.dtype == np.int64


@pytest.mark.parametrize(
    ("predictions", "num_drawn", "message"),
    [
        (np.zeros((3, 4)), None, "integers of shape"),
        (np.zeros(3, int), None, "integers of shape"),
        (np.zeros((3, 0), int), None, "integers of shape"),
        (np.full((3, 4), -1), None, "predictions in .0, 999., received values from -1"),
        (np.zeros((3, 4), int), 0, "num_drawn to be an integer of at least 1 and of at most 4"),
        (np.zeros((3, 4), int), 2.0, "num_drawn to be an integer"),
        ([[0, 1], [0]], None, "integers of shape"),
        (np.full((3, 4), 10**9), None, "received values from 1000000000"),
        (np.zeros((3, 4), int), 5, "num_drawn to be an integer of at least 1 and of at most 4"),
    ],
)
def test_vote_explains_bad_arguments(predictions, num_drawn, message):
    with pytest.raises(ValueError, match=message):
        majority_vote(predictions, num_drawn, 0)


# ---------------------------------------------------------------------- Bayesian update


def test_tables_of_the_worked_example():
    tables = toy_tables()
    np.testing.assert_allclose(
        tables.vote_given_class, np.array([[10, 2, 1], [1, 10, 2], [1, 2, 10]]) / 13
    )
    # p(e_A | e_B = 0, c = 0) from counts (8, 1, 0); axes are (e_B, c, e_A).
    np.testing.assert_allclose(tables.target_given_vote_and_class[0, 0], np.array([9, 2, 1]) / 12)
    np.testing.assert_allclose(tables.target_given_vote_and_class[1, 2], np.array([1, 1, 2]) / 4)
    np.testing.assert_allclose(tables.target_given_vote_and_class[0, 1], 1 / 3)


@pytest.mark.parametrize(
    ("target", "vote", "posterior"),
    [
        (0, 0, (0.918, 0.041, 0.041)),
        (0, 1, (0.1875, 0.625, 0.1875)),
        (2, 1, (0.158, 0.526, 0.316)),
        (1, 0, (0.714, 0.143, 0.143)),
    ],
)
def test_posteriors_of_the_worked_example(target, vote, posterior):
    evidence = np.array([target]), np.array([vote])
    tables = toy_tables()
    np.testing.assert_allclose(tables.posterior(*evidence)[0], posterior, atol=6e-4)
    assert tables.decide(*evidence)[0] == vote


def test_backoff_cell_by_hand():
    tables = toy_tables(backoff=True)
    coarse = (np.array([8, 2, 0]) + 1) / 13  # p(e_A | c = 0)
    np.testing.assert_allclose(
        tables.target_given_vote_and_class[0, 0],
        (np.array([8, 1, 0]) + 10 * coarse) / (9 + 10),
    )
    np.testing.assert_allclose(tables.target_given_vote_and_class[2, 0], coarse)
    np.testing.assert_allclose(tables.vote_given_class, toy_tables().vote_given_class)


@pytest.mark.parametrize("backoff", [False, True])
def test_rows_are_positive_and_sum_to_one(backoff):
    rng = np.random.default_rng(0)
    labels, target, votes = rng.integers(0, 10, (3, 300))
    tables = ConditionalTables.fit(labels, target, votes, backoff=backoff)
    for table in (tables.vote_given_class, tables.target_given_vote_and_class):
        np.testing.assert_allclose(table.sum(axis=-1), 1.0, atol=1e-12)
        assert (table > 0).all()
    posterior = tables.posterior(target, votes)
    assert posterior.shape == (300, 10)
    np.testing.assert_allclose(posterior.sum(axis=1), 1.0, atol=1e-12)


def test_posterior_agrees_with_the_formula_cell_by_cell():
    rng = np.random.default_rng(1)
    labels, target, votes = rng.integers(0, 4, (3, 200))
    tables = ConditionalTables.fit(labels, target, votes, 4)
    prior = rng.random((200, 4))
    posterior = tables.posterior(target, votes, prior)
    for i in range(0, 200, 17):
        terms = [
            tables.target_given_vote_and_class[votes[i], c, target[i]]
            * tables.vote_given_class[c, votes[i]]
            * prior[i, c]
            for c in range(4)
        ]
        np.testing.assert_allclose(posterior[i], np.array(terms) / sum(terms), rtol=1e-10)


def test_identity_tables_keep_agreeing_evidence():
    every = np.arange(10)
    np.testing.assert_array_equal(identity_tables().decide(every, every), every)


def test_scale_of_the_prior_is_irrelevant_and_a_one_hot_prior_decides():
    tables = toy_tables()
    target, vote = np.array([0, 1, 2]), np.array([0, 0, 1])
    prior = np.array([0.2, 0.5, 0.3])
    np.testing.assert_allclose(
        tables.posterior(target, vote, prior), tables.posterior(target, vote, 1e-30 * prior)
    )
    for forced in range(3):
        one_hot = np.eye(3)[forced]
        np.testing.assert_allclose(
            tables.posterior(target, vote, one_hot), np.tile(one_hot, (3, 1))
        )
        np.testing.assert_array_equal(tables.decide(target, vote, one_hot), forced)
    uniform = np.full((3, 3), 7.0)
    np.testing.assert_allclose(
        tables.posterior(target, vote, uniform), tables.posterior(target, vote)
    )


def test_lookup_is_every_decision_in_order_of_target_then_vote():
    tables = toy_tables()
    lookup = tables.lookup()
    assert lookup.shape == (3, 3)
    for target in range(3):
        for vote in range(3):
            assert lookup[target, vote] == tables.decide(np.array([target]), np.array([vote]))[0]
    # A vote that carries nothing leaves the decision to the target: axes must not be swapped.
    rng = np.random.default_rng(0)
    labels = np.arange(3_000) % 3
    informed = ConditionalTables.fit(labels, labels, rng.integers(0, 3, 3_000), 3)
    np.testing.assert_array_equal(informed.lookup(), np.tile(np.arange(3)[:, None], (1, 3)))


def test_a_tie_goes_to_the_vote_then_to_the_lowest_class():
    flat = ConditionalTables(np.full((3, 3), 1 / 3), np.full((3, 3, 3), 1 / 3))
    every = np.arange(3)
    np.testing.assert_array_equal(flat.decide(every[::-1], every), every)
    without_vote = np.array([0.4, 0.3, 0.4])
    np.testing.assert_array_equal(flat.decide(every, every, without_vote), [0, 0, 2])


def test_tables_survive_a_file_without_pickle(tmp_path):
    tables = toy_tables()
    tables.save(tmp_path / "tables.npz")
    with np.load(tmp_path / "tables.npz", allow_pickle=False) as file:
        assert set(file) == {"vote_given_class", "target_given_vote_and_class"}
    loaded = ConditionalTables.load(tmp_path / "tables.npz")
    np.testing.assert_array_equal(loaded.vote_given_class, tables.vote_given_class)
    np.testing.assert_array_equal(
        loaded.target_given_vote_and_class, tables.target_given_vote_and_class
    )


def test_tables_with_a_changed_bit_are_refused(tmp_path):
    path = tmp_path / "tables.npz"
    toy_tables().save(path)
    encrypted = bytearray(path.read_bytes())
    encrypted[encrypted.index(b"PK\x01\x02") + 8] ^= 1
    path.write_bytes(encrypted)
    with pytest.raises(ValueError, match=r"tables\.npz', which is damaged or of another kind"):
        ConditionalTables.load(path)


def test_softmax_prior_mixes_in_a_little_of_the_uniform():
    prior = softmax_prior(np.array([[1000.0, 0.0], [0.0, np.log(3.0)]]))
    np.testing.assert_allclose(prior[0], [0.9995, 0.0005])
    np.testing.assert_allclose(prior[1], 0.999 * np.array([0.25, 0.75]) + 0.0005)
    np.testing.assert_allclose(softmax_prior(np.zeros((1, 4)), 0.0), 0.25)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: toy_tables(smoothing=0.0), "smoothing to be a finite number above 0"),
        (lambda: ConditionalTables.fit([0, 1], [0], [0, 1], 2), "one length"),
        (lambda: ConditionalTables.fit(*np.zeros((3, 0), int), 2), "one length"),
        (
            lambda: ConditionalTables.fit([0, 2], [0, 1], [0, 1], 2),
            "labels in .0, 1., received values from 0 to 2",
        ),
        (lambda: ConditionalTables.fit([0, 1], [0.0, 1.0], [0, 1], 2), "integers"),
        (lambda: toy_tables().posterior(np.array([0]), np.array([0, 1])), "one vote for each"),
        (lambda: toy_tables().posterior(np.array([3]), np.array([0])), "in .0, 2., received"),
        (lambda: toy_tables().decide([0], [0], -np.ones(3)), "prior of at least 0"),
        (lambda: toy_tables().decide([0], [0], np.ones(2)), "of shape"),
        (lambda: toy_tables().decide([0], [0], np.zeros(3)), "rules every class out"),
        (lambda: ConditionalTables(np.eye(2), np.full((2, 2, 2), 0.5)), "positive probabilities"),
        (lambda: ConditionalTables(np.ones((2, 2)), np.ones((2, 2, 2))), "sum to 1"),
        (lambda: ConditionalTables(np.ones((2, 3)), np.ones((2, 2, 2))), "of shape"),
        (lambda: toy_tables().decide([0], [0], "even"), "prior as an array of numbers"),
        (lambda: ConditionalTables.fit([0], [0], [0], 10**9), "num_classes to be an integer"),
        (lambda: ConditionalTables("a", "b"), "vote_given_class as an array of numbers"),
        (lambda: ConditionalTables.load(__file__), "damaged or of another kind"),
        (lambda: softmax_prior(np.zeros((3, 0))), "finite logits"),
        (lambda: ConditionalTables.from_arrays({}), "Expected the arrays"),
        (lambda: softmax_prior(np.array([[np.nan, 0.0]])), "finite logits"),
        (lambda: softmax_prior(np.zeros((1, 2)), 2.0), "uniform_fraction"),
    ],
)
def test_update_explains_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
