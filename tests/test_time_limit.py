"""``--time-limit``: a run that stops between two steps, keeps everything, and goes on."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

import run_all
from benchmarks.kill_and_resume import different_arrays, rows_without_seconds
from experiments import fitting, presets, scheduler, time_limit
from experiments.config import TrainingConfig
from experiments.datasets import Batches
from experiments.time_limit import Pace, TimeIsUp, TimeLimit, limited
from tests.tiny_profile import SMALLEST_EXHIBITS, smallest_profile, tiny_run


class Clock:
    """A clock that a test turns on by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def limit(clock: Clock, minutes: float = 1.0, steps: int = 1) -> TimeLimit:
    """A limit of which some steps are done."""
    made = TimeLimit(minutes=minutes, clock=clock)
    made.steps = steps
    return made


def test_time_is_up_when_it_is_over_and_not_before(clock):
    with limited(limit(clock)):
        clock.now += 59.9
        time_limit.check()
        clock.now += 0.2
        with pytest.raises(TimeIsUp):
            time_limit.check()
    time_limit.check()


def test_a_step_that_does_not_fit_is_not_begun(clock):
    with limited(limit(clock)):
        clock.now += 30
        time_limit.check(29)
        with pytest.raises(TimeIsUp):
            time_limit.check(31)


def test_the_first_step_is_always_taken(clock):
    with limited(limit(clock, steps=0)):
        clock.now += 1000
        time_limit.check(1000)
        time_limit.step_done()
        with pytest.raises(TimeIsUp):
            time_limit.check()


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), "ten"])
def test_a_limit_has_minutes(minutes):
    with pytest.raises(ValueError, match="minutes"):
        TimeLimit(minutes=minutes)


def test_a_step_that_shows_itself_too_long_is_given_up_early(clock):
    # The first report has 20 seconds of compiling in it; from there on 100 images take a second.
    with limited(limit(clock)):
        fits, too_long = Pace(4000), Pace(5000)
        clock.now += 20
        fits.report(100)
        too_long.report(100)
        clock.now += 1
        fits.report(200)  # 38 of 39 seconds
        with pytest.raises(TimeIsUp):
            too_long.report(200)


def test_a_step_of_which_a_quarter_is_done_is_not_given_up(clock):
    with limited(limit(clock)):
        pace = Pace(100)
        pace.report(24)
        clock.now += 1000
        pace.report(26)
        with pytest.raises(TimeIsUp):
            pace.report(25)


# -- a training -----------------------------------------------------------------------------------


@pytest.fixture
def training():
    """A function that fits a small model for four epochs, and returns its weights."""
    rng = np.random.default_rng(0)
    images = rng.random((40, 6, 6, 1), dtype=np.float32)
    labels = rng.integers(3, size=40)
    config = TrainingConfig(epochs=4, batch_size=10, learning_rate=0.01)

    def fit(checkpoint):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Flatten()])
        model.add(keras.layers.Dense(3))
        batches = Batches(images, labels, config, seed=0)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(fitting.make_optimizer(config, len(batches)), loss)
        fitting.fit(model, batches, config.epochs, checkpoint=checkpoint, label="test")
        return model.get_weights()

    return fit


def test_a_training_stops_after_an_epoch_and_ends_in_the_same_weights(training, tmp_path):
    whole = training(tmp_path / "whole.npz")
    stops = 0
    while True:
        try:
            with limited(TimeLimit(minutes=1e-9)):
                parts = training(tmp_path / "parts.npz")
            break
        except TimeIsUp:
            stops += 1
            with np.load(tmp_path / "parts.npz") as file:
                assert file["epoch"] == stops
    assert stops == 3
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_epoch_is_not_begun_if_the_last_one_shows_that_it_will_not_fit(
    training, tmp_path, monkeypatch
):
    clock = Clock()
    monkeypatch.setattr(fitting.time, "perf_counter", clock)
    steps = []
    monkeypatch.setattr(
        fitting._EpochRecorder,
        "on_epoch_begin",
        _then(fitting._EpochRecorder.on_epoch_begin, lambda: _pass(clock, 25, steps)),
    )
    with pytest.raises(TimeIsUp), limited(TimeLimit(minutes=1, clock=clock)):
        training(tmp_path / "parts.npz")
    assert len(steps) == 2, "a third would end after 75 seconds"


def _then(method, after):
    def both(self, *arguments, **options):
        method(self, *arguments, **options)
        after()

    return both


def _pass(clock, seconds, steps):
    clock.now += seconds
    steps.append(seconds)


# -- a run ----------------------------------------------------------------------------------------


def undefended_profile():
    """Two targets, and no purifier."""
    profile = smallest_profile()
    plan = dataclasses.replace(profile.plans["digits"], purifiers={}, compared=())
    return dataclasses.replace(profile, plans={"digits": plan})


def test_a_run_of_one_step_at_a_time_ends_in_the_rows_of_one_call(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    scheduler.run_all(tiny_run(whole, undefended_profile(), SMALLEST_EXHIBITS))
    stops = 0
    while True:
        try:
            with limited(TimeLimit(minutes=1e-9)):
                scheduler.run_all(tiny_run(parts, undefended_profile(), SMALLEST_EXHIBITS))
            break
        except TimeIsUp:
            stops += 1
    assert stops >= 3
    assert rows_without_seconds(parts) == rows_without_seconds(whole) != []
    assert different_arrays(parts, whole) == []
    figures = [
        sorted(path.name for path in (one / "results/figures").rglob("*.png"))
        for one in (whole, parts)
    ]
    assert figures[0] == figures[1] != []
    record = "results/raw/tiny/digits_seed0.json"
    assert (parts / record).is_file() and not (parts / "artifacts" / "damaged").exists()


def test_the_command_ends_with_its_own_status_and_says_what_is_left(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(presets, "profile", lambda name: smallest_profile())
    folders = ["--results-dir", str(tmp_path / "r"), "--artifacts-dir", str(tmp_path / "a")]
    assert run_all.main([*folders, "--only", "003.F3.6", "--time-limit", "1e-9"]) == 3
    text = capsys.readouterr().out
    (line,) = [line for line in text.splitlines() if line.startswith("Stopped")]
    assert "the same command continues" in line
    assert "Left: 1 of 1 figures and tables, 2 models to train" in line and "about" in line


@pytest.mark.parametrize("minutes", ["0", "-3", "soon", "nan"])
def test_the_command_refuses_no_time(minutes, capsys):
    with pytest.raises(SystemExit) as stopped:
        run_all.main(["--time-limit", minutes])
    assert stopped.value.code == 2
    assert "expected a number above 0" in capsys.readouterr().err
