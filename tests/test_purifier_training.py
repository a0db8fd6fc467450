"""How every purifier of the registry has to train, whatever the method."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.purifier_helpers import (
    GREY,
    Batches,
    as_tensors,
    build,
    compiled,
    every_method,
    every_published_method,
    some_images,
    training_batch,
    trains,
    untrained,
    values,
)


@every_method
def test_one_step_moves_what_it_should_and_nothing_else(name):
    purifier = build(name)
    if not trains(purifier):
        pytest.skip("does not train")
    compiled(purifier, lambda: keras.optimizers.Adam(1e-3))
    phases = purifier.phases()
    for phase in phases:
        assert phase.optimizer.built
    moving = {id(v) for phase in phases for v in phase.variables}
    assert moving
    weights = purifier.trainable_variables
    assert moving <= {id(v) for v in weights}
    before = values(weights)
    purifier.train_step(as_tensors(training_batch(purifier, 4)))
    for variable, old, new in zip(weights, before, values(weights), strict=True):
        assert np.array_equal(old, new) is not (id(variable) in moving), variable.path


@every_method
def test_the_explicit_step_is_the_step_of_the_phases(name):
    pair = [build(name, seed=5), build(name, seed=5)]
    if not trains(pair[0]):
        pytest.skip("does not train")
    logs = []
    for purifier in pair:
        compiled(purifier, lambda: keras.optimizers.SGD(1e-3, global_clipnorm=5.0))
        purifier.reset_randomness(1)
    for purifier, step in zip(pair, ("train_step", "phase_train_step"), strict=True):
        for seed in range(3):
            log = getattr(purifier, step)(as_tensors(training_batch(purifier, 4, seed)))
        logs.append({key: float(value) for key, value in log.items()})
    assert logs[0] == pytest.approx(logs[1], rel=1e-6)
    start, moved = values(build(name, seed=5).weights), False
    for old, first, second in zip(start, *(values(p.weights) for p in pair), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-6, atol=1e-7)
        moved = moved or not np.array_equal(old, first)
    assert moved


@every_method
def test_logged_losses_are_means_over_the_images_of_the_epoch(name):
    fitted, stepped = build(name, seed=2), build(name, seed=2)
    if not trains(fitted):
        pytest.skip("does not train")
    batches = [training_batch(fitted, size, seed) for seed, size in enumerate((4, 4, 1))]
    for purifier in (fitted, stepped):
        compiled(purifier, lambda: keras.optimizers.SGD(1e-4))
        purifier.reset_randomness(1)
    fitted.run_eagerly = True  # three batches run faster eagerly than they compile
    history = fitted.fit(Batches(batches), epochs=1, shuffle=False, verbose=0).history

    assert set(history) == set(fitted.loss_names)
    records = []
    for batch in batches:
        stepped.reset_metrics()
        log = stepped.train_step(as_tensors(batch))
        records.append([float(log[key]) for key in fitted.loss_names])
    expected = np.average(records, axis=0, weights=[4, 4, 1])
    received = [history[key][0] for key in fitted.loss_names]
    np.testing.assert_allclose(received, expected, rtol=2e-4)
    assert not np.allclose(received, records[-1], rtol=1e-3)


@every_published_method
def test_each_side_lowers_its_losses_on_one_batch_seen_often(name):
    if not trains(untrained(name)):
        pytest.skip("does not train")
    # Smooth images: random pixels cannot be learnt in a few steps.
    rows = np.linspace(0, 1, GREY[0])[None, :, None, None] * np.ones((4, *GREY))
    batch = training_batch(untrained(name), 4)
    for key in set(batch) - {"label"}:
        batch[key] = (rows * np.linspace(0.4, 1, 4)[:, None, None, None]).astype("float32")
    for side in untrained(name).optimizer_names:
        # The other side rests: against a moving opponent a loss may rise.
        purifier = build(name)
        purifier.compile(
            **{
                other: keras.optimizers.Adam(2e-3 if other == side else 0.0, global_clipnorm=5.0)
                for other in purifier.optimizer_names
            }
        )
        history = purifier.fit(Batches([batch] * 6), epochs=4, verbose=0).history
        for phase in purifier.phases():
            if phase.optimizer is getattr(purifier, side):
                key = "loss" if "loss" in history else f"{phase.name}_loss"
                first, last = history[key][0], history[key][-1]
                assert last < first - 0.1 * abs(first)


@every_method
def test_evaluation_reports_losses_and_moves_nothing(name):
    purifier = build(name)
    if not trains(purifier):
        pytest.skip("does not train")
    compiled(purifier, lambda: keras.optimizers.Adam(1e-3))
    before = values(purifier.weights)
    result = purifier.evaluate(Batches([training_batch(purifier, 4)]), verbose=0, return_dict=True)
    assert set(result) == set(purifier.loss_names)
    assert np.isfinite(list(result.values())).all()
    for old, new in zip(before, values(purifier.weights), strict=True):
        np.testing.assert_array_equal(old, new)


@every_method
def test_an_incomplete_batch_is_explained(name):
    purifier = untrained(name)
    if not trains(purifier):
        pytest.skip("does not train")
    for batch in ({"cleen": some_images(2)}, (some_images(2), np.zeros(2)), some_images(2)):
        with pytest.raises(ValueError, match="dict with the keys"):
            purifier.read_batch(batch)
    whole = training_batch(purifier, 2)
    assert purifier.read_batch((whole,)) is whole
    assert purifier.read_batch(whole) is whole
