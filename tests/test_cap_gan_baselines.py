"""The baselines of CAP-GAN as a plan trains them, with the classifier that they protect."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from defenses.adversarial_training import PGDAdversarialTraining
from experiments import deciders, fitting
from experiments.artifacts import ArtifactStore
from experiments.config import ClassifierConfig, DatasetConfig, PurifierConfig, TrainingConfig
from experiments.datasets import Dataset, Split
from experiments.profile import DatasetPlan
from experiments.reproducibility import plain, stable_hash
from experiments.training import TrainedModels

ONCE = TrainingConfig(epochs=1, batch_size=6)
SHAPE, COUNT = (28, 28, 1), 12


def classifier(architecture: str = "puvae_b", **options) -> ClassifierConfig:
    return ClassifierConfig(architecture=architecture, training=ONCE, width=0.1, **options)


def purifier(name: str, **options) -> PurifierConfig:
    return PurifierConfig(name=name, training=ONCE, width=0.05, **options)


PLAN = DatasetPlan(
    dataset=DatasetConfig(name="mnist"),
    classifiers={
        "f": classifier(),
        "f_adversarial": classifier(
            adversarial_epsilon=0.1, adversarial_steps=2, adversarial_step_size=0.05
        ),
        "codes": ClassifierConfig(
            architecture="thermometer_resnet_a", training=ONCE, width=0.125, depth=1
        ),
    },
    purifiers={
        "ape_gan": purifier("ape_gan", source="f"),
        "hgd": purifier("hgd", source="f", arguments={"epsilon": 0.1}),
        "jpeg": purifier("jpeg", arguments={"quality": 30}),
        "thermometer": purifier("thermometer", arguments={"levels": 4}),
    },
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """All models of the plan, and what was fitted for them."""
    images = np.random.default_rng(0).random((COUNT, *SHAPE), dtype="float32")
    split = Split(images, np.arange(COUNT) % 10)
    data = Dataset("mnist", split, split, split, tuple("0123456789"), "0" * 16)
    models = TrainedModels(PLAN, data, ArtifactStore(tmp_path_factory.mktemp("store")), 0)
    fitted, fit = [], fitting.fit

    def seen(model, *arguments, **named):
        fitted.append(model)
        return fit(model, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "fit", seen)
        made = {name: models.target(name) for name in PLAN.classifiers}
        weights = made["f"].get_weights()
        made |= {name: models.purifier(name) for name in PLAN.purifiers}
    for before, after in zip(weights, made["f"].get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    return models, made, [type(model).__name__ for model in fitted]


def test_what_has_weights_is_trained_and_the_rest_is_not(trained):
    _, made, fitted = trained
    assert fitted == ["Functional", "PGDAdversarialTraining", "Functional", "APEGAN", "HGD"]
    assert (made["jpeg"].quality, made["thermometer"].code.levels) == (30, 4)
    assert (made["hgd"].epsilon, made["ape_gan"].epsilon) == (0.1, 8 / 255)
    assert made["ape_gan"].source_classifier is None, "what is used was read from a file"


def test_all_purify_and_classify(trained):
    models, made, _ = trained
    clean = models.data.test.images
    for name in PLAN.purifiers:
        purified = models.purified_test_images(name, clean)
        assert purified.shape == clean.shape
        assert not np.array_equal(purified, clean)
        np.testing.assert_array_equal(purified, models.purified_test_images(name, clean))
    for name in PLAN.classifiers:
        assert made[name](clean).shape == (COUNT, 10)
    assert made["codes"].layers[1].levels == 16


def test_a_purifier_guards_the_classifier_that_it_is_trained_with():
    for name in ("ape_gan", "hgd"):
        assert deciders.defended(PLAN, name, "f").key == name
        assert deciders.defended(PLAN, name, "codes") is None
    for name in ("jpeg", "thermometer"):
        assert {deciders.defended(PLAN, name, t).key for t in ("f", "codes")} == {name}


def test_older_configurations_keep_their_names():
    for options in ({}, {"adversarial_epsilon": 0.1}):
        one = classifier(**options)
        other = classifier(**options, adversarial_steps=1, adversarial_step_size=None)
        assert stable_hash(one) == stable_hash(other)
        assert "adversarial_steps" not in plain(one)
    assert stable_hash(PLAN.classifiers["f_adversarial"]) != stable_hash(one)


def test_random_starts_repeat_with_their_seed():
    images, starts = np.full((2, *SHAPE), 0.5, "float32"), []
    for seed in (1, 1, 2):
        model = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten()])
        model.add(keras.layers.Dense(10))
        trainer = PGDAdversarialTraining(model, 0.1, num_steps=1, step_size=1e-9, seed=seed)
        starts.append(np.asarray(trainer.adversarial_images(images, np.arange(2))))
    np.testing.assert_allclose(starts[0], starts[1], atol=1e-6)
    assert np.abs(starts[0] - starts[2]).max() > 0.05
