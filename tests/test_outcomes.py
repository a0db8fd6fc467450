"""What stands behind an accuracy: right or wrong of every image, kept bit for bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from experiments.outcomes import Outcome, OutcomeStore, paired, worst
from results.row import Row
from tests.made_rows import CLEAN, row

FIRST = Outcome(np.array([[1, 1, 0, 0], [1, 0, 0, 1]], bool))
SECOND = Outcome(np.array([[1, 0, 1, 0], [1, 1, 0, 1]], bool))


def counted(outcome: Outcome, **changes: object) -> Row:
    """The row of an outcome, each of whose repeats is a draw of a random defense."""
    correct, total = outcome.counts
    settings = {"target": "A", "draws": len(outcome.correct)}
    fields = {"value": outcome.accuracy, "correct": correct, "total": total, **changes}
    return row(decider="target", settings=settings, **fields)


def test_counts_are_of_every_repeat_and_image():
    assert FIRST.counts == (4, 8) and FIRST.accuracy == 0.5
    assert Outcome(np.array([[True, True, False]])).counts == (2, 3)


@pytest.mark.parametrize(
    "correct",
    [np.zeros(3, bool), np.zeros((2, 3)), np.zeros((0, 3), bool), np.zeros((2, 0), bool)],
)
def test_other_shapes_and_types_are_refused(correct):
    with pytest.raises(ValueError, match=r"booleans of shape \(repeats, images\), received"):
        Outcome(correct)


def test_the_worst_is_right_where_every_one_is():
    assert worst([FIRST, SECOND]).correct.astype(int).tolist() == [[1, 0, 0, 0], [1, 0, 0, 1]]
    assert worst([FIRST]).counts == FIRST.counts


@pytest.mark.parametrize("outcomes", [[], [FIRST, Outcome(FIRST.correct[:1])]])
def test_the_worst_of_nothing_or_of_other_images_is_refused(outcomes):
    with pytest.raises(ValueError, match="outcomes of one shape"):
        worst(outcomes)


def test_a_paired_difference_is_made_image_by_image():
    # Image by image 1, 0.5, 0, 0.5 against 1, 0.5, 0.5, 0.5: the differences are 0, 0, -0.5, 0.
    difference, error = paired(FIRST, SECOND)
    assert difference == -0.125
    # Their mean is -1/8 and their sum of squares about it 3/16: sqrt(3/16 / 3) / sqrt(4).
    assert error == pytest.approx(0.125)
    assert paired(FIRST, FIRST) == (0.0, 0.0)
    once = Outcome(np.array([[True, True, False, False]]))
    # Repeats may differ: 1, 1, 0, 0 less 1, 0.5, 0.5, 0.5.
    assert paired(once, SECOND)[0] == -0.125


def test_a_paired_error_is_smaller_than_that_of_independent_images():
    rng = np.random.default_rng(0)
    hard = rng.random(1000)
    first, second = (Outcome((hard < level)[np.newaxis]) for level in (0.55, 0.5))
    _, error = paired(first, second)
    independent = np.sqrt((0.55 * 0.45 + 0.5 * 0.5) / 1000)
    assert error < 0.4 * independent


@pytest.mark.parametrize("images", [1, 3])
def test_a_pair_needs_the_same_images(images):
    other = Outcome(np.ones((1, images), bool))
    with pytest.raises(ValueError, match="same images, at least two, received"):
        paired(other, FIRST if images == 3 else other)


# -- kept beside the rows -------------------------------------------------------------------------


@pytest.mark.parametrize("images", [1, 8, 13, 1000])
def test_outcomes_read_back_bit_for_bit(tmp_path, images):
    correct = np.random.default_rng(images).random((3, images)) < 0.5
    outcome = Outcome(correct)
    stored = counted(outcome)
    OutcomeStore(tmp_path).add([(stored, outcome)])
    back = OutcomeStore(tmp_path).get(stored)
    assert back.correct.dtype == bool
    np.testing.assert_array_equal(back.correct, correct)
    assert back.counts == (stored.correct, stored.total)


def test_outcomes_of_one_configuration_share_a_file_and_are_told_apart(tmp_path):
    store = OutcomeStore(tmp_path)
    rows = {
        "first": counted(FIRST),
        "second": counted(SECOND, seed=1),
        "clean": counted(FIRST, **CLEAN),
        "other": counted(SECOND, config_hash="other"),
    }
    store.add([(rows["first"], FIRST), (rows["other"], SECOND)])
    store.add([(rows["second"], SECOND)])
    assert store.get(rows["clean"]) is None
    for name, outcome in (("first", FIRST), ("second", SECOND), ("other", SECOND)):
        np.testing.assert_array_equal(store.get(rows[name]).correct, outcome.correct)
    assert len(list(store.folder.glob("*.npz"))) == 2


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half of a file", b"no archive"])
def test_a_damaged_file_is_named(tmp_path, damage):
    store = OutcomeStore(tmp_path)
    store.add([(counted(FIRST), FIRST)])
    path = store.path(counted(FIRST).config_hash)
    path.write_bytes(damage)
    with pytest.raises(
        ValueError, match=rf"{path.name}.*packed outcomes.*Delete the file and the rows"
    ):
        store.get(counted(FIRST))


def test_a_changed_bit_is_named_or_changes_nothing(tmp_path):
    store = OutcomeStore(tmp_path)
    store.add([(counted(FIRST), FIRST)])
    path = store.path(counted(FIRST).config_hash)
    content, refusals = path.read_bytes(), 0
    for place in range(8 * len(content)):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            found = store.get(counted(FIRST))
        except ValueError as error:
            assert str(path) in str(error) and "Delete the file" in str(error)
            refusals += 1
        else:
            np.testing.assert_array_equal(found.correct, FIRST.correct)
    assert refusals > 4 * len(content)


def test_an_array_under_the_name_of_an_archive_is_named(tmp_path):
    store = OutcomeStore(tmp_path)
    store.add([(counted(FIRST), FIRST)])
    with store.path(counted(FIRST).config_hash).open("wb") as file:
        np.save(file, FIRST.correct)
    with pytest.raises(ValueError, match="unreadable file"):
        store.get(counted(FIRST))


def test_a_file_cut_short_is_named(tmp_path):
    store = OutcomeStore(tmp_path)
    store.add([(counted(FIRST), FIRST)])
    path = store.path(counted(FIRST).config_hash)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match="packed outcomes"):
        store.get(counted(FIRST))


def test_an_outcome_of_other_counts_is_refused(tmp_path):
    store = OutcomeStore(tmp_path)
    stored = counted(FIRST)
    store.add([(stored, FIRST)])
    assert np.array_equal(store.get(stored).correct, FIRST.correct)
    fewer = dataclasses.replace(
        stored, correct=stored.correct - 1, value=(stored.correct - 1) / stored.total
    )
    more = dataclasses.replace(stored, total=99, value=stored.correct / 99)
    for other in (fewer, more):
        with pytest.raises(ValueError, match=r"npz: expected the outcome of .*received another"):
            store.get(other)
