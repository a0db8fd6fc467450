"""Trainings around Keras: several optimizers, callbacks, mixed precision, a cut training."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from defenses.callbacks import check_callbacks
from defenses.optimizers import OptimizerGroup, take_optimizers
from tests.purifier_helpers import (
    Batches,
    as_tensors,
    build,
    compiled,
    training_batch,
    values,
)

SGD = keras.optimizers.SGD


@pytest.fixture
def policy():
    """Sets a dtype policy for one test."""
    yield keras.mixed_precision.set_global_policy
    keras.mixed_precision.set_global_policy("float32")


def moved_in_one_step(name: str, make_optimizer) -> np.ndarray:
    purifier = compiled(build(name), make_optimizer)
    before = values(purifier.trainable_variables)
    purifier.train_step(as_tensors(training_batch(purifier, 4)))
    changes = zip(before, values(purifier.trainable_variables), strict=True)
    return np.concatenate([(new - old).ravel() for old, new in changes])


@pytest.mark.parametrize("name", ["defense_cyclegan", "magnet"])
def test_a_step_in_half_precision_is_that_in_full_precision(name, policy):
    full = moved_in_one_step(name, lambda: SGD(1e-2))
    steps = {
        "mixed_float16": lambda: keras.optimizers.LossScaleOptimizer(SGD(1e-2), 128.0),
        "mixed_bfloat16": lambda: SGD(1e-2),
    }
    for dtype, make_optimizer in steps.items():
        policy(dtype)
        half = moved_in_one_step(name, make_optimizer)
        assert not np.array_equal(half, full)
        assert np.linalg.norm(half - full) < 0.02 * np.linalg.norm(full)


@pytest.mark.parametrize("name", ["defense_cyclegan", "defense_gan", "magnet"])
def test_every_optimizer_scales_its_loss_in_half_precision(name, policy):
    policy("mixed_float16")
    purifier = build(name)
    purifier.compile()
    kinds = {type(phase.optimizer) for phase in purifier.phases()}
    assert kinds == {keras.optimizers.LossScaleOptimizer}
    policy("mixed_bfloat16")
    purifier = build(name)
    purifier.compile()
    assert {type(phase.optimizer) for phase in purifier.phases()} == {keras.optimizers.Adam}


def test_a_rate_falls_for_each_optimizer_from_its_own():
    purifier = build("defense_cyclegan")
    purifier.compile(SGD(0.1), SGD(0.2), run_eagerly=True)
    decay = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.5 * rate)
    history = purifier.fit(
        Batches([training_batch(purifier, 2)]), verbose=0, callbacks=[decay]
    ).history
    assert float(purifier.generator_optimizer.learning_rate) == pytest.approx(0.05)
    assert float(purifier.discriminator_optimizer.learning_rate) == pytest.approx(0.1)
    assert history["learning_rate_generator_optimizer"] == [pytest.approx(0.05)]
    assert history["learning_rate_discriminator_optimizer"] == [pytest.approx(0.1)]


def test_a_group_has_no_rate_of_its_own():
    group = OptimizerGroup([SGD(0.1, name="first"), SGD(0.2, name="second")])
    with pytest.raises(ValueError, match=r"all 2 together \(first, second\)"):
        group.learning_rate = 0.1
    with pytest.raises(ValueError, match=r"optimizers\[0\].learning_rate"):
        float(group.learning_rate)


def test_averaged_weights_reach_the_variables_of_their_own_optimizer():
    def trained(num_steps: int):
        purifier = build("defense_cyclegan")
        averaging = SGD(0.1, use_ema=True, ema_momentum=1.0)  # the average is that of step 1
        purifier.compile(averaging, SGD(0.1), run_eagerly=True)
        batches = [training_batch(purifier, 2, seed) for seed in range(num_steps)]
        purifier.fit(Batches(batches), shuffle=False, verbose=0)
        return values(purifier.generator_variables), values(purifier.discriminator_variables)

    (first, others_first), (second, others_second) = trained(1), trained(2)
    for expected, received in zip(first, second, strict=True):
        np.testing.assert_array_equal(received, expected)
    assert any((a != b).any() for a, b in zip(others_first, others_second, strict=True))


LOGGED = ("generator_loss", "cycle_loss")


@pytest.mark.parametrize(
    ("callback", "has_validation", "message"),
    [
        (keras.callbacks.EarlyStopping(), True, "val_cycle_loss, received monitor='val_loss'"),
        (keras.callbacks.ReduceLROnPlateau("loss"), False, "give fit validation_data"),
        (
            keras.callbacks.ModelCheckpoint("a.keras", save_best_only=True),
            True,
            "Expected ModelCheckpoint to monitor one of generator_loss, cycle_loss",
        ),
        (keras.callbacks.EarlyStopping("cycle_loss"), False, "Pass mode='min' for a loss"),
        (keras.callbacks.EarlyStopping("val_cycle_loss", mode="min"), False, "to monitor one of"),
    ],
)
def test_a_callback_that_would_do_nothing_is_refused(callback, has_validation, message):
    for callbacks in (callback, [callback], keras.callbacks.CallbackList([callback])):
        with pytest.raises(ValueError, match=message):
            check_callbacks(callbacks, LOGGED, has_validation=has_validation)


def test_callbacks_that_monitor_what_is_logged_pass():
    class Own(keras.callbacks.Callback):
        """Stands for one that logs a value of its own."""

    check_callbacks(None, LOGGED, has_validation=False)
    every_epoch = keras.callbacks.ModelCheckpoint("a.keras")
    checked = keras.callbacks.EarlyStopping("val_cycle_loss", mode="min")
    check_callbacks([every_epoch, checked], LOGGED, has_validation=True)
    own = keras.callbacks.EarlyStopping("own_value", mode="max")
    check_callbacks([Own(), own], LOGGED, has_validation=False)
    with pytest.raises(ValueError, match="received monitor='own_value'"):
        check_callbacks([own, Own()], LOGGED, has_validation=False)


def test_fit_looks_at_its_callbacks_before_it_trains():
    purifier = compiled(build("defense_cyclegan"), SGD)
    before = values(purifier.weights)
    with pytest.raises(ValueError, match="received monitor='val_loss'"):
        purifier.fit(
            training_batch(purifier, 2), verbose=0, callbacks=[keras.callbacks.EarlyStopping()]
        )
    for old, new in zip(before, values(purifier.weights), strict=True):
        np.testing.assert_array_equal(old, new)


class Cut(keras.callbacks.Callback):
    """Stands for a kill after the first epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["sfl_vae", "defense_gan"])
def test_a_training_that_was_cut_ends_as_one_that_was_not(name, tmp_path):
    def trained(*callbacks):
        purifier = build(name)
        purifier.compile(run_eagerly=True)
        batches = Batches([training_batch(purifier, 4, seed) for seed in range(2)])
        purifier.fit(batches, epochs=2, shuffle=False, verbose=0, callbacks=list(callbacks))
        return values(purifier.weights)

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    whole = trained()
    with pytest.raises(KeyboardInterrupt):
        trained(backup(), Cut())
    for expected, received in zip(whole, trained(backup()), strict=True):
        np.testing.assert_array_equal(received, expected)


def test_weights_of_another_number_of_generators_are_refused(tmp_path):
    path = tmp_path / "a.weights.h5"
    purifier = build("sfl_vae")
    purifier.save_weights(path)
    purifier.reset_randomness(5)
    purifier.load_weights(path)
    fresh = [v for v in build("sfl_vae").variables if v.name == "seed_generator_state"]
    states = [v for v in purifier.variables if v.name == "seed_generator_state"]
    for expected, received in zip(values(fresh), values(states), strict=True):
        np.testing.assert_array_equal(received, expected)
    with pytest.raises(ValueError, match="states of random generators, received 1"):
        purifier.load_own_variables({"seed_generator_0": np.zeros(2)})


@pytest.mark.parametrize("value", ["adamm", SGD, 0.1, {"a": 1}])
def test_unknown_optimizers_are_explained(value):
    with pytest.raises(ValueError, match=r"Expected optimizer as a Keras optimizer or the name"):
        build("magnet").compile(value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps_per_execution": 0}, "steps_per_execution to be an integer of at least 1"),
        ({"steps_per_execution": 2.5}, "received 2.5"),
        ({"jit_compile": "yes"}, "jit_compile .* to be True or False, received 'yes'"),
        ({"run_eagerly": 1}, "run_eagerly to be True or False, received 1"),
    ],
)
def test_compile_arguments_of_the_wrong_kind_are_explained(arguments, message):
    with pytest.raises(ValueError, match=message):
        build("magnet").compile(**arguments)


def test_an_optimizer_belongs_to_one_model():
    purifier, optimizer = build("magnet"), SGD()
    purifier.compile(optimizer)
    purifier.compile(optimizer)
    assert purifier.optimizer is optimizer
    with pytest.raises(ValueError, match=r"another model\. Make a new optimizer"):
        build("magnet").compile(optimizer)
    inner = SGD()
    given = {"first": inner, "second": keras.optimizers.LossScaleOptimizer(inner)}
    with pytest.raises(ValueError, match="2 optimizers, received one SGD twice"):
        take_optimizers(purifier, given, SGD)
