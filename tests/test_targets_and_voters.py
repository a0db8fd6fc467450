"""Targets and voters: sizes, feature maps and wiring as Tables B.1-B.4 print them."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

from models import densenet, resnet, wide_resnet
from models.classifiers import classifier_b
from models.registry import build_classifier
from tests.model_helpers import COLOUR, GREY, images, kernels_of, layers_of, num_trainable, small


@pytest.mark.parametrize(
    ("name", "shape", "count"),
    [
        ("A", GREY, 1_285_194),
        ("B", GREY, 710_218),
        ("C", GREY, 1_387_210),
        ("A", COLOUR, 308_394),
        ("B", COLOUR, 308_394),
        ("C", COLOUR, 184_938),
    ],
)
def test_targets_have_the_printed_sizes(name: str, shape: tuple, count: int) -> None:
    assert num_trainable(build_classifier(name, shape)) == count


@pytest.mark.parametrize(
    ("name", "shape", "feature_map"),
    [
        ("A", GREY, (12, 12, 64)),
        ("B", GREY, (1, 1, 128)),
        ("C", GREY, (12, 12, 64)),
        ("A", COLOUR, (4, 4, 128)),
        ("B", COLOUR, (4, 4, 128)),
        ("C", COLOUR, (8, 8, 128)),
    ],
)
def test_targets_flatten_the_printed_feature_map(
    name: str, shape: tuple, feature_map: tuple
) -> None:
    (flatten,) = layers_of(build_classifier(name, shape), keras.layers.Flatten)
    assert flatten.input.shape[1:] == feature_map


def _describe(layer: keras.layers.Layer) -> str:
    if isinstance(layer, keras.layers.Conv2D):
        return (
            f"{layer.filters},{layer.kernel_size[0]},{layer.strides[0]}{layer.activation.__name__}"
        )
    if isinstance(layer, keras.layers.Dropout):
        return f"drop{layer.rate}"
    if isinstance(layer, keras.layers.Dense):
        return f"dense{layer.units}{layer.activation.__name__}"
    known = {"BatchNormalization": "bn", "MaxPooling2D": "pool", "Flatten": "flat"}
    return known[type(layer).__name__]


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("A", GREY, "64,5,1relu 64,5,2relu flat drop0.25 dense128relu drop0.5 dense10linear"),
        ("B", GREY, "drop0.2 64,8,2relu 128,6,2relu 128,5,1relu flat drop0.5 dense10linear"),
        ("C", GREY, "128,3,1relu 64,5,2relu flat drop0.25 dense128relu drop0.5 dense10linear"),
        (
            "A",
            COLOUR,
            "32,3,1elu bn 32,3,1elu bn pool drop0.2 64,3,1elu bn 64,3,1elu bn pool drop0.2 "
            "128,3,1elu bn 128,3,1elu bn pool drop0.2 flat dense10linear",
        ),
        (
            "B",
            COLOUR,
            "32,3,1relu bn 32,3,1relu bn pool drop0.2 64,3,1relu bn 64,3,1relu bn pool drop0.2 "
            "128,3,1relu bn 128,3,1relu bn pool drop0.2 flat dense10linear",
        ),
        (
            "C",
            COLOUR,
            "32,3,1elu bn 32,3,1elu bn pool drop0.2 64,3,1elu bn 128,3,1elu bn pool drop0.2 "
            "flat dense10linear",
        ),
    ],
)
def test_targets_follow_table_b1_layer_by_layer(name: str, shape: tuple, expected: str) -> None:
    built = build_classifier(name, shape).layers[1:]
    assert " ".join(map(_describe, built)) == expected


def test_target_b_with_printed_strides() -> None:
    model = classifier_b(COLOUR, strides="printed")
    strides = [layer.strides[0] for layer in layers_of(model, keras.layers.Conv2D)]
    assert strides == [2, 2, 2, 2, 1, 1]
    (flatten,) = layers_of(model, keras.layers.Flatten)
    assert flatten.input.shape[1:] == (1, 1, 128)
    assert num_trainable(model) == 308_394 - (4 * 4 - 1) * 128 * 10
    with pytest.raises(ValueError, match="one-channel"):
        classifier_b(GREY, strides="printed")
    with pytest.raises(ValueError, match="'two'"):
        classifier_b(COLOUR, strides="two")


def _conv_count(cin: int, cout: int, size: int, bias: bool) -> int:
    return size * size * cin * cout + (cout if bias else 0)


def resnet_count(n: int, channels: int) -> int:
    total, width = _conv_count(channels, 16, 3, True), 16
    for filters in (16, 32, 64):
        for _ in range(n):
            total += 2 * width + _conv_count(width, filters, 3, True)
            total += 2 * filters + _conv_count(filters, filters, 3, True)
            total += _conv_count(width, filters, 1, True) if width != filters else 0
            width = filters
    return total + 2 * 64 + 65 * 10


def densenet_count(bottlenecks: int, k: int, channels: int) -> int:
    total, width = _conv_count(channels, 2 * k, 3, False), 2 * k
    for block in range(3):
        for _ in range(bottlenecks):
            total += 2 * width + _conv_count(width, 4 * k, 1, False)
            total += 2 * 4 * k + _conv_count(4 * k, k, 3, False)
            width += k
        if block < 2:
            total += 2 * width + _conv_count(width, width // 2, 1, False)
            width //= 2
    return total + 2 * width + (width + 1) * 10


def wide_resnet_count(blocks: int, k: int, channels: int) -> int:
    total, width = _conv_count(channels, 16, 3, False), 16
    for filters in (16 * k, 32 * k, 64 * k):
        for block in range(blocks):
            total += 2 * width + _conv_count(width, filters, 3, False)
            total += 2 * filters + _conv_count(filters, filters, 3, False)
            changes = width != filters or (block == 0 and filters != 16 * k)
            total += _conv_count(width, filters, 1, False) if changes else 0
            width = filters
    return total + 2 * width + width * 10


@pytest.mark.parametrize(
    ("name", "expected", "published_millions"),
    [
        ("resnet_a", resnet_count(3, 3), "0.27"),
        ("resnet_b", resnet_count(5, 3), None),
        ("resnet_c", resnet_count(10, 3), None),
        ("resnet_d", resnet_count(18, 3), "1.72"),
        ("densenet_a", densenet_count(7, 12, 3), "0.21"),
        ("densenet_b", densenet_count(7, 24, 3), None),
        ("densenet_c", densenet_count(16, 12, 3), None),
        ("densenet_d", densenet_count(16, 24, 3), "2.97"),
        ("wide_resnet_a", wide_resnet_count(1, 8, 3), "4.8"),
        ("wide_resnet_b", wide_resnet_count(2, 8, 3), None),
        ("wide_resnet_c", wide_resnet_count(2, 10, 3), None),
        ("wide_resnet_d", wide_resnet_count(4, 10, 3), "36.5"),
    ],
)
def test_voters_have_the_published_sizes(
    name: str, expected: int, published_millions: str | None
) -> None:
    """Closed forms count every trainable weight, the usual round figures kernels only."""
    model = build_classifier(name, COLOUR)
    assert num_trainable(model) == expected
    if published_millions is not None:
        kernels = sum(int(np.prod(kernel.shape)) for kernel in kernels_of(model))
        decimals = len(published_millions.split(".")[1])
        assert f"{kernels / 1e6:.{decimals}f}" == published_millions


@pytest.mark.parametrize("stack_n", [1, 3])
def test_resnet_has_6n_plus_2_layers_on_its_main_path(stack_n: int) -> None:
    model = resnet.resnet(COLOUR, stack_n=stack_n)
    convolutions = layers_of(model, keras.layers.Conv2D)
    main_path = [layer for layer in convolutions if layer.kernel_size == (3, 3)]
    assert len(main_path) + 1 == 6 * stack_n + 2
    projections = [layer for layer in convolutions if layer.kernel_size == (1, 1)]
    assert [layer.strides for layer in projections] == [(1, 1), (1, 1)]
    halvings = layers_of(model, keras.layers.AveragePooling2D)
    assert [(layer.pool_size, layer.strides) for layer in halvings] == [((1, 1), (2, 2))] * 2
    assert all(layer.use_bias for layer in convolutions)


@pytest.mark.parametrize("build", [resnet.resnet, wide_resnet.wide_resnet])
def test_shortcuts_project_the_activated_tensor_or_pass_the_raw_one(
    build: Callable[..., keras.Model],
) -> None:
    model = build(
        COLOUR,
        **({"stack_n": 2} if build is resnet.resnet else {"num_blocks": 2, "widen_factor": 2}),
    )
    producer = {id(layer.output): layer for layer in model.layers}
    kinds = []
    for add in layers_of(model, keras.layers.Add):
        residual, shortcut = (producer[id(tensor)] for tensor in add.input)
        assert isinstance(residual, keras.layers.Conv2D) and residual.kernel_size == (3, 3)
        if isinstance(shortcut, keras.layers.Conv2D) and shortcut.kernel_size == (1, 1):
            source = producer[id(shortcut.input)]
            if isinstance(source, keras.layers.AveragePooling2D):  # every other pixel
                source = producer[id(source.input)]
            assert isinstance(source, keras.layers.ReLU)
            kinds.append("projection")
        else:
            assert isinstance(shortcut, (keras.layers.Add, keras.layers.Conv2D))
            kinds.append("identity")
    first = "identity" if build is resnet.resnet else "projection"
    assert kinds == [first, "identity"] + ["projection", "identity"] * 2


def test_densenet_puts_new_features_in_front() -> None:
    model = densenet.densenet(COLOUR, num_layers=densenet.layers_per_block(50), growth_rate=3)
    concatenations = layers_of(model, keras.layers.Concatenate)
    assert len(concatenations) == 3 * 7
    for layer in concatenations:
        new, old = layer.input
        assert new.shape[-1] == 3
        assert old.shape[-1] >= 6
    # 2k, then +7k and halved: 27 -> 13, 34 -> 17, 38.
    (pooling,) = layers_of(model, keras.layers.GlobalAveragePooling2D)
    assert pooling.input.shape[1:] == (8, 8, 38)


@pytest.mark.parametrize(("depth", "expected"), [(50, 7), (100, 16), (16, 2), (10, 1)])
def test_densenet_depths(depth: int, expected: int) -> None:
    assert densenet.layers_per_block(depth) == expected


@pytest.mark.parametrize(("depth", "expected"), [(8, 1), (10, 1), (16, 2), (28, 4)])
def test_wide_resnet_depths_include_the_illegal_one(depth: int, expected: int) -> None:
    assert wide_resnet.blocks_per_group(depth) == expected


def test_wide_resnet_of_depth_8_is_that_of_depth_10() -> None:
    def build(depth: int) -> keras.Model:
        num_blocks = wide_resnet.blocks_per_group(depth)
        return wide_resnet.wide_resnet(COLOUR, num_blocks=num_blocks, widen_factor=1)

    assert num_trainable(build(8)) == num_trainable(build(10)) == wide_resnet_count(1, 1, 3)


@pytest.mark.parametrize("shape", [GREY, COLOUR])
@pytest.mark.parametrize("name", ["resnet_a", "densenet_a", "wide_resnet_a"])
def test_voters_halve_the_image_twice(name: str, shape: tuple[int, int, int]) -> None:
    (pooling,) = layers_of(small(name, shape), keras.layers.GlobalAveragePooling2D)
    assert pooling.input.shape[1:3] == (shape[0] // 4, shape[1] // 4)


def test_wide_resnet_pooling_is_the_printed_8x8_pooling() -> None:
    model = small("wide_resnet_a")
    (pooling,) = layers_of(model, keras.layers.GlobalAveragePooling2D)
    features = keras.Model(model.input, pooling.input)
    batch = images(COLOUR)
    printed = keras.layers.AveragePooling2D(8)(features(batch, training=False))
    logits = keras.ops.reshape(printed, (3, -1)) @ model.get_layer("logits").kernel
    np.testing.assert_allclose(model(batch, training=False), logits, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "decay", "bias", "logit_bias"),
    [
        ("resnet_a", 1e-4, True, True),
        ("densenet_a", 1e-4, False, True),
        ("wide_resnet_a", 5e-4, False, False),
    ],
)
def test_voters_defaults(name: str, decay: float, bias: bool, logit_bias: bool) -> None:
    model = small(name)
    penalty = decay * sum(float(np.sum(np.square(v.numpy()))) for v in kernels_of(model))
    assert float(sum(model.losses)) == pytest.approx(penalty, rel=1e-5)
    convolutions = layers_of(model, keras.layers.Conv2D)
    assert {layer.use_bias for layer in convolutions} == {bias}
    assert model.get_layer("logits").use_bias == logit_bias
    for layer in layers_of(model, keras.layers.BatchNormalization):
        assert (layer.momentum, layer.epsilon) == (0.9, 1e-5)
    # He normal: variance 2 / fan-in, here on the widest convolution.
    kernel = max((layer.kernel.numpy() for layer in convolutions), key=np.size)
    assert kernel.std() == pytest.approx(np.sqrt(2 / np.prod(kernel.shape[:3])), rel=0.1)


def test_weight_decay_can_be_switched_off_but_not_negative() -> None:
    assert resnet.resnet(GREY, stack_n=1, weight_decay=0.0).losses == []
    with pytest.raises(ValueError, match="weight_decay to be a finite number of at least 0"):
        resnet.resnet(GREY, stack_n=1, weight_decay=-1.0)


def test_voters_standardise_unit_range_images() -> None:
    model = small("resnet_a")
    front = keras.Model(model.input, model.get_layer("standardise").output)
    mean = np.array([125.307, 122.95, 113.865], "float32") / 255
    deviation = np.array([62.9932, 62.0887, 66.7048], "float32") / 255
    batch = np.stack([np.full(COLOUR, 1.0) * mean, np.full(COLOUR, 1.0) * (mean + 2 * deviation)])
    result = np.asarray(front(batch.astype("float32")))
    np.testing.assert_allclose(result[0], 0.0, atol=1e-5)
    np.testing.assert_allclose(result[1], 2.0, atol=1e-5)


def test_normalization_can_be_given_and_is_checked() -> None:
    model = densenet.densenet(GREY, num_layers=1, growth_rate=2, normalization=([0.5], [0.25]))
    front = keras.Model(model.input, model.get_layer("standardise").output)
    np.testing.assert_allclose(front(np.ones((1, *GREY), "float32")), 2.0, atol=1e-6)
    default = small("densenet_a", GREY)
    front = keras.Model(default.input, default.get_layer("standardise").output)
    np.testing.assert_allclose(front(np.zeros((1, *GREY), "float32")), -0.2860 / 0.3530, atol=1e-5)
    for wrong, message in (
        (([0.5], [0.0]), "deviations of normalization to be a finite number above 0"),
        (([0.5, 0.5], [1.0]), "1 means and 1 positive"),
        (([], []), "means of normalization as at least one number"),
    ):
        with pytest.raises(ValueError, match=message):
            resnet.resnet(GREY, stack_n=1, normalization=wrong)
    with pytest.raises(ValueError, match="defaults exist for"):
        resnet.resnet((8, 8, 2), stack_n=1)
