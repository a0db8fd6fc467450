"""PuVAE's classifiers A to E: the columns of its Table 1."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from models.puvae_classifiers import VARIANTS, puvae_classifier
from models.registry import (
    CLASSIFIERS,
    PUVAE_CLASSIFIERS,
    VOTERS,
    build_classifier,
    classifier_names,
)
from tests.model_helpers import COLOUR, GREY, images, kernels_of, layers_of, num_trainable


def convolution(size: int, before: int, filters: int) -> int:
    return size * size * before * filters + filters


def dense(before: int, units: int) -> int:
    return before * units + units


@pytest.mark.parametrize(
    ("variant", "shape", "count"),
    [
        (
            "A",
            GREY,
            convolution(5, 1, 64)
            + convolution(5, 64, 64)
            + dense(14 * 14 * 64, 128)
            + dense(128, 10),
        ),
        (
            "B",
            GREY,
            convolution(3, 1, 128)
            + convolution(3, 128, 64)
            + dense(14 * 14 * 64, 128)
            + dense(128, 10),
        ),
        (
            "C",
            COLOUR,
            convolution(5, 3, 64)
            + convolution(5, 64, 128)
            + convolution(5, 128, 256)
            + dense(16 * 16 * 256, 512)
            + dense(512, 256)
            + dense(256, 10),
        ),
        (
            "D",
            COLOUR,
            convolution(3, 3, 128)
            + convolution(3, 128, 256)
            + convolution(3, 256, 512)
            + dense(16 * 16 * 512, 512)
            + dense(512, 10),
        ),
        ("E", GREY, dense(784, 200) + dense(200, 200) + dense(200, 10)),
    ],
)
def test_the_published_networks_are_the_default(variant, shape, count) -> None:
    assert num_trainable(puvae_classifier(shape, variant=variant)) == count


def test_dropout_stands_before_the_dense_layers_it_is_printed_before() -> None:
    order = [
        type(layer).__name__ for layer in puvae_classifier(GREY, variant="C", width=0.1).layers
    ]
    assert order[-7:] == ["Conv2D", "Flatten", "Dropout", "Dense", "Dropout", "Dense", "Dense"]
    rates = {
        variant: [
            layer.rate
            for layer in layers_of(
                puvae_classifier(GREY, variant=variant, width=0.1), keras.layers.Dropout
            )
        ]
        for variant in VARIANTS
    }
    assert rates == {**{letter: [0.25, 0.5] for letter in "ABCD"}, "E": []}


@pytest.mark.parametrize("name", sorted(PUVAE_CLASSIFIERS))
@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_the_registry_builds_classifiers_of_logits(name, shape) -> None:
    model = build_classifier(name, shape, 7, width=0.1, seed=3)
    assert model.name == name
    logits = model.predict(images(shape), verbose=0)
    assert logits.shape == (3, 7)
    assert np.isfinite(logits).all()
    assert not np.allclose(logits.sum(axis=1), 1.0)
    assert model.layers[-1].activation is keras.activations.linear
    again, other = (build_classifier(name, shape, 7, width=0.1, seed=seed) for seed in (3, 4))
    for kernel, same, different in zip(*map(kernels_of, (model, again, other)), strict=True):
        np.testing.assert_array_equal(kernel, same)
        assert not np.array_equal(kernel, different)


def test_they_are_neither_targets_nor_voters_of_the_dissertation() -> None:
    assert tuple(PUVAE_CLASSIFIERS) == tuple(f"puvae_{letter}" for letter in "abcde")
    assert not set(PUVAE_CLASSIFIERS) & {*classifier_names(), *CLASSIFIERS, *VOTERS}


def test_mistakes_are_explained() -> None:
    with pytest.raises(ValueError, match="variant to be one of A, B, C, D, E, received 'F'"):
        puvae_classifier(GREY, variant="F")
    with pytest.raises(ValueError, match=r"puvae_a.*received 'puvae_f'"):
        build_classifier("puvae_f", GREY)
    with pytest.raises(ValueError, match="depth=None"):
        build_classifier("puvae_a", GREY, depth=2)
