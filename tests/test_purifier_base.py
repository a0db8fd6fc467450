"""The base class of purifiers on a toy method with two phases, and the registry's errors."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from defenses.defense_gan import DefenseGAN
from defenses.phases import step_objective
from defenses.purifier import Phase, Purifier
from defenses.registry import get_purifier, register


class TwoPhase(Purifier):
    """Scales images by ``first * second``; each factor has a phase of its own."""

    loss_names = ("first_loss", "second_loss", "distance")

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = self.add_weight(shape=(), initializer="ones", name="first")
        self.second = self.add_weight(shape=(), initializer="ones", name="second")
        self.finish_building()

    @classmethod
    def for_images(cls, input_shape, num_classes=10, *, width=1.0, seed=0, **arguments):
        return cls(**arguments)

    @property
    def image_shape(self):
        return (2, 2, 1)

    def call(self, images, training=False):
        return images * self.first * self.second

    def first_losses(self, batch, training=True):
        loss = keras.ops.mean(batch["clean"]) * self.first * self.second
        return {"loss": loss, "distance": loss + 1}, 10 * self.first

    def second_losses(self, batch, training=True):
        return {"loss": keras.ops.mean(batch["clean"]) * self.first * self.second}

    def double(self, auxiliary):
        self.first.assign(2 * self.first + auxiliary)

    def phases(self):
        return [
            Phase("first", self.first_losses, [self.first], self.optimizer, self.double),
            Phase("second", self.second_losses, [self.second], self.second_optimizer),
        ]

    def compile(self, optimizer, second_optimizer):
        self.second_optimizer = second_optimizer
        super().compile(optimizer)


def two_phase() -> TwoPhase:
    purifier = TwoPhase()
    purifier.compile(keras.optimizers.SGD(0.5), keras.optimizers.SGD(0.1))
    return purifier


def test_phases_run_in_order_with_their_own_optimizers_and_after():
    purifier = two_phase()
    log = purifier.train_step({"clean": np.full((3, 2, 2, 1), 0.5, "float32")})
    # First: 1 - 0.5 * 0.5 = 0.75, then doubled plus ten times the old value: 11.5.
    assert float(purifier.first) == pytest.approx(11.5)
    # Second sees the moved factor: 1 - 0.1 * 0.5 * 11.5.
    assert float(purifier.second) == pytest.approx(0.425)
    received = {key: float(value) for key, value in log.items()}
    assert received == pytest.approx({"first_loss": 0.5, "distance": 1.5, "second_loss": 5.75})


def test_undeclared_losses_are_explained():
    purifier = two_phase()
    with pytest.raises(ValueError, match=r"loss_names.*received 'other'"):
        purifier.track({"other": 1.0}, {"clean": np.zeros((1, 2, 2, 1))}, "first")


def test_each_replica_and_a_loss_scale_contribute_their_share(monkeypatch):
    class TwoReplicas:
        num_replicas_in_sync = 2

    plain = keras.optimizers.SGD(0.1)
    assert float(step_objective(tf.constant(3.0), plain)) == 3.0
    scaling = keras.optimizers.LossScaleOptimizer(plain, initial_scale=8.0)
    scaling.build([keras.Variable(1.0)])
    assert float(step_objective(tf.constant(3.0), scaling)) == 24.0
    monkeypatch.setattr(tf.distribute, "get_strategy", TwoReplicas)
    assert float(step_objective(tf.constant(3.0), plain)) == 1.5


def test_unknown_and_taken_names_are_explained():
    with pytest.raises(ValueError, match=r"purifier to be one of .*sfl_vae.*received 'sfl_vea'"):
        get_purifier("sfl_vea")

    class Impostor(Purifier):
        pass

    with pytest.raises(ValueError, match="Expected a free name"):
        register("sfl_vae")(Impostor)


def test_narrow_names_the_class_that_was_expected():
    purifier = two_phase()
    assert TwoPhase.narrow(purifier) is purifier
    with pytest.raises(ValueError, match=r"Expected a purifier of class DefenseGAN.*TwoPhase"):
        DefenseGAN.narrow(purifier)
