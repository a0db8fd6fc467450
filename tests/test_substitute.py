"""The substitute of an attacker who sees labels only."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from attacks.substitute import SubstituteTraining
from tests.attack_helpers import grey_images, linear_classifier, predictions

QUICK = {"num_seed_images": 20, "num_rounds": 3, "epochs": 5, "batch_size": 16}


def substitute() -> keras.Model:
    inputs = keras.Input((4, 4, 1))
    initializer = keras.initializers.RandomNormal(stddev=0.005, seed=1)
    # Large inputs: few steps of Adam's small rate go a long way.
    pixels = keras.layers.Rescaling(20.0)(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, keras.layers.Dense(2, kernel_initializer=initializer)(pixels))


def test_it_learns_the_target_from_labels_and_doubles_its_images_each_round():
    target, *_ = linear_classifier()
    model, queried = substitute(), []

    def query(images: np.ndarray) -> np.ndarray:
        queried.append(images)
        return predictions(target, images)

    own, test = (np.random.default_rng(s).random((400, 4, 4, 1), "float32") for s in (1, 9))
    before = np.mean(predictions(model, test) == predictions(target, test))
    training = SubstituteTraining(**{**QUICK, "batch_size": 4})
    rounds = []
    training(model, query, own[:20], seed=3, progress=rounds.append)
    after = np.mean(predictions(model, test) == predictions(target, test))
    assert after > 0.65 and after > before + 0.15
    assert [len(images) for images in queried] == [20, 20, 40]
    assert sum(len(images) for images in queried) == training.num_queries == 80
    assert rounds == [1, 2, 3]


def test_new_images_are_one_step_along_the_sign_of_the_gradient_of_the_label_logit():
    model, weights, _ = linear_classifier()
    images = grey_images(6)
    labels = np.array([0, 1, 0, 1, 1, 0])
    new_images = SubstituteTraining(**QUICK, step_size=0.1)._augmented(model, images, labels)
    expected = images + 0.1 * np.sign(weights.T[labels]).reshape(images.shape)
    np.testing.assert_allclose(new_images, expected, atol=1e-6)


def test_equal_seeds_learn_equal_substitutes():
    target, *_ = linear_classifier()
    learnt = []
    for _ in range(2):
        model = substitute()
        training = SubstituteTraining(**QUICK)
        training(model, lambda images: predictions(target, images), grey_images(20), seed=3)
        learnt.append(model.get_weights()[0])
    np.testing.assert_array_equal(*learnt)


def test_mistakes_are_explained():
    for field, value in (
        ("num_rounds", 0),
        ("num_rounds", 13),
        ("num_seed_images", 2.5),
        ("epochs", "3"),
        ("batch_size", None),
        ("step_size", float("nan")),
        ("step_size", 2.0),
    ):
        with pytest.raises(ValueError, match=f"Expected {field} to be .* received {value!r}"):
            SubstituteTraining(**{field: value})
    with pytest.raises(ValueError, match="at least 20 images, received 5"):
        SubstituteTraining(**QUICK)(substitute(), lambda images: images, grey_images(5))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda images: np.eye(2)[[0] * len(images)], "one-hot"),
        (lambda images: np.zeros(3, int), r"shape \(20,\), one for each image"),
        (lambda images: np.full(len(images), 2), r"labels of the query in \[0, 1\]"),
        (lambda images: np.zeros(len(images)), "astype"),
        (lambda images: None, "labels of the query as integers"),
        ("labels", "query to be a function from images to labels"),
    ],
)
def test_answers_that_are_no_labels_are_refused(answer, message):
    with pytest.raises(ValueError, match=message):
        SubstituteTraining(**QUICK)(substitute(), answer, grey_images(20))


def test_everything_else_is_checked_at_the_door():
    def train(model=None, images=None, **options):
        own = substitute() if model is None else model
        given = grey_images(20) if images is None else images
        SubstituteTraining(**QUICK)(own, lambda x: np.zeros((len(x), 1), int), given, **options)

    sure = keras.Sequential([substitute(), keras.layers.Softmax()])
    for options, message in (
        ({"model": sure}, "ends in a softmax"),
        ({"model": "D"}, "keras.Model from images to logits, received str"),
        ({"images": grey_images(20) * 255}, "Divide 8-bit images by 255"),
        ({"images": grey_images(20, (5, 5, 1))}, r"\(num_images, 4, 4, 1\)"),
        ({"seed": -1}, "seed to be an integer"),
        ({"progress": "yes"}, "progress to be a function"),
    ):
        with pytest.raises(ValueError, match=message):
            train(**options)
