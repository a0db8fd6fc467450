"""Generated wrong inputs at the public doors, and the rule by which their errors are graded."""

from __future__ import annotations

import time

import keras
import numpy as np
import pytest

from attacks import get_attack
from tests import bad_inputs
from tests.bad_inputs import GROUPS, Case, Grade, counts, grade, share_clear, tried
from validation import check_integer

CASES = {
    "attacks": 120,
    "purifiers": 100,
    "decisions": 60,
    "networks": 40,
    "experiments": 60,
    "options": 100,
    "files": 60,
    "command line": 24,
}


def graded(call, wrong=True, holds=lambda _: True) -> Grade:
    return grade(Case("made up", "a door", "a value", wrong, call, holds))[0]


def raising(error: BaseException):
    def call():
        raise error

    return call


def test_a_message_is_clear_if_it_says_what_was_expected_received_and_how_to_mend_it():
    assert graded(lambda: check_integer("num_steps", 2.5, at_least=1)) == Grade.CLEAR
    whole = "Expected one image, received none. Pass an array."
    assert graded(raising(ValueError(whole))) == Grade.CLEAR
    assert graded(raising(RuntimeError(whole))) == Grade.TRACE
    received = "Expected num_steps to be a number, received 'x'"
    assert graded(raising(ValueError(f"{received}."))) == Grade.TRACE  # "number" is no remedy
    assert graded(raising(ValueError(f"{received}. Pass 3."))) == Grade.CLEAR
    for part in ("Expected one image. Pass an array.", "Expected one, received none.", "No."):
        assert graded(raising(ValueError(part))) == Grade.TRACE  # raised in no package of ours


def test_an_error_from_deep_inside_is_a_trace_and_no_error_is_silent():
    assert graded(lambda: np.zeros(3) @ np.zeros(4)) == Grade.TRACE
    assert graded(lambda: "3" + 1) == Grade.TRACE
    assert graded(lambda: get_attack("pgd", steps=3)) == Grade.CLEAR  # Python's own words
    assert graded(lambda: 1) == Grade.SILENT
    assert graded(lambda: 1, wrong=False) == Grade.ACCEPTED
    assert graded(lambda: 1, wrong=False, holds=lambda found: found == 2) == Grade.SILENT
    assert graded(lambda: 1, wrong=None, holds=lambda found: found.shape) == Grade.TRACE
    assert graded(raising(ValueError("no")), wrong=False) == Grade.REFUSED


def test_what_never_ends_is_found(monkeypatch):
    monkeypatch.setattr(bad_inputs, "SECONDS", 0.2)

    def endless():
        while True:
            time.sleep(0.01)

    assert graded(endless) == Grade.HANG


def test_images_that_were_not_attacked_are_not_silent():
    inputs = keras.Input((4, 4, 1))
    dense = keras.layers.Dense(2)
    net = keras.Model(inputs, dense(keras.layers.Flatten()(keras.layers.ReLU()(inputs - 0.5))))
    dense.set_weights([np.linspace(-1, 1, 32).reshape(16, 2), np.array([1.0, -2.0])])
    images = np.full((40, 4, 4, 1), 0.7, "float32")
    images[0] = 0.1  # where the gradient is zero
    labels = np.asarray(net(images)).argmax(axis=1)
    found = grade(
        Case(
            "made up",
            "fgsm",
            "one dead",
            True,
            lambda: get_attack("fgsm")(net, images, labels, 0.05),
        )
    )
    assert found[0] == Grade.CLEAR and "1 of 40" in found[1]


@pytest.mark.parametrize("part", GROUPS)
def test_no_wrong_input_is_taken_silently(part):
    outcomes = tried(part, CASES[part])
    failures = [
        f"{o.grade}: {o.case.door} <- {o.case.value}: {o.said[:300]}"
        for o in outcomes
        if o.grade in (Grade.SILENT, Grade.HANG, Grade.REFUSED)
    ]
    assert failures == []
    assert len(outcomes) >= 0.5 * CASES[part]
    assert sum(sum(found.values()) for found in counts(outcomes).values()) == len(outcomes)
    unclear = [
        f"{o.case.door} <- {o.case.value}: {o.said[:300]}"
        for o in outcomes
        if o.grade in (Grade.UNCLEAR, Grade.TRACE)
    ]
    assert share_clear(outcomes) >= 0.95, unclear
