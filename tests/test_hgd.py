"""HGD: its network, its loss, and what a training moves."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from attacks import get_attack
from defenses.hgd import HGD, logits_distance_loss
from models.dunet import dunet
from tests.model_helpers import COLOUR, GREY, images, layers_of, num_trainable, same_weights, small

LABELS = np.arange(4) % 10


def array(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


def purifier(shape=GREY, **arguments) -> HGD:
    given = {"width": 0.05, "source_classifier": small("resnet_a", shape), **arguments}
    made = HGD.for_images(shape, **given)
    made.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
    return made


def batch(shape=GREY) -> dict[str, np.ndarray]:
    return {"clean": images(shape, 4), "label": LABELS}


def silence(made: HGD) -> None:
    """Lets the denoiser change nothing."""
    kernel = made.denoiser.get_layer("change").kernel
    kernel.assign(np.zeros_like(kernel))


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_the_network_is_the_published_one(shape):
    network, channels = dunet(shape), shape[-1]
    groups = [
        *((channels, 64), (64, 64)),
        *((64, 128), (128, 128), (128, 128)),
        *((128, 256), (256, 256), (256, 256)),
        *((256, 256),) * 6,
        # Back: what was enlarged beside what was there.
        *((256 + 256, 256), (256, 256), (256, 256)),
        *((256 + 256, 256), (256, 256), (256, 256)),
        *((256 + 128, 128), (128, 128), (128, 128)),
        *((128 + 64, 64), (64, 64)),
    ]
    convolutions = sum(9 * given * made + 2 * made for given, made in groups)
    assert num_trainable(network) == convolutions + 64 * channels
    sides = [layer.output.shape[1] for layer in layers_of(network, keras.layers.ReLU)]
    down = {28: [28, 14, 7, 4, 2], 32: [32, 16, 8, 4, 2]}[shape[0]]
    counts = (2, 3, 3, 3, 3)
    there = [side for side, count in zip(down, counts, strict=True) for _ in range(count)]
    back = [side for side, n in zip(down[3::-1], (3, 3, 3, 2), strict=True) for _ in range(n)]
    assert sides == there + back
    assert network.output_shape == (None, *shape)
    assert all(not layer.use_bias for layer in layers_of(network, keras.layers.Conv2D))


def test_seeds_decide_and_an_untrained_network_changes_little():
    network, again, other = (dunet(GREY, width=0.25, seed=seed) for seed in (0, 0, 1))
    assert same_weights(network, again)
    assert not same_weights(network, other)
    change = array(network(images(GREY, 8), training=True))
    assert 0.05 < change.std() < 1


def test_maps_are_enlarged_by_the_positions_of_pixel_centres():
    layer = dunet(GREY, width=0.05).get_layer("enlarge_4")
    row = array(layer(np.array([0.0, 1.0], "float32").reshape(1, 1, 2, 1)))[0, 0, :, 0]
    np.testing.assert_allclose(row, [0, 0.25, 0.75, 1], atol=1e-6)


def test_a_call_without_a_mode_is_inference():
    network, clean = dunet(GREY, width=0.05), images(GREY)
    before = [array(v).copy() for v in network.variables]
    np.testing.assert_array_equal(array(network(clean)), array(network(clean, training=False)))
    for old, variable in zip(before, network.variables, strict=True):
        np.testing.assert_array_equal(old, array(variable))


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_without_its_last_kernel_it_is_the_identity(shape):
    made, clean = purifier(shape), images(shape, 5)
    assert np.abs(made.purify(clean) - clean).max() > 0.01
    silence(made)
    np.testing.assert_array_equal(made.purify(clean), clean)


def test_the_sum_is_clipped():
    made = purifier()
    clean = images(GREY)
    expected = np.clip(clean + array(made.denoiser(clean)), 0, 1)
    np.testing.assert_allclose(made.purify(clean), expected, atol=1e-6)


def test_the_distance_is_a_mean_over_classes():
    logits, others = np.array([[1, 2], [0, 4.0]]), np.array([[1, -1], [2, 4.0]])
    distance = array(logits_distance_loss(logits.astype("float32"), others.astype("float32")))
    np.testing.assert_allclose(distance, [1.5, 1.0])
    assert array(logits_distance_loss(logits, logits)).tolist() == [0, 0]
    with pytest.raises(ValueError, match="of one shape"):
        logits_distance_loss(logits, logits[:, :1])


def test_the_loss_compares_answers_to_denoised_and_to_clean_images():
    made, clean = purifier(epsilon=0.1), batch()
    source = made.source_classifier
    attacked = get_attack("fgsm")(source, clean["clean"], LABELS, 0.1)
    answers = [array(source(x)) for x in (clean["clean"], attacked, made.purify(attacked))]
    loss = float(made.guided_losses(clean, training=False)["loss"])
    assert loss == pytest.approx(np.abs(answers[2] - answers[0]).mean(), rel=1e-4)
    silence(made)
    loss = float(made.guided_losses(clean, training=False)["loss"])
    assert loss == pytest.approx(np.abs(answers[1] - answers[0]).mean(), rel=1e-4)
    given = {**clean, "adversarial": clean["clean"]}
    assert float(made.guided_losses(given, training=False)["loss"]) == pytest.approx(0, abs=1e-6)


def test_the_source_classifier_never_moves_and_passes_the_gradient():
    made = purifier()
    before = [array(v).copy() for v in made.source_classifier.variables]
    kernel = array(made.denoiser.get_layer("down_1_1").kernel).copy()
    for step in (made.train_step, made.phase_train_step):
        step({k: tf.constant(v) for k, v in batch().items()})
    for old, variable in zip(before, made.source_classifier.variables, strict=True):
        np.testing.assert_array_equal(old, array(variable))
    assert not np.array_equal(kernel, array(made.denoiser.get_layer("down_1_1").kernel))
    assert not {id(v) for v in made.source_classifier.variables} & {id(v) for v in made.variables}


def test_a_saved_purifier_has_no_source(tmp_path):
    made = purifier(epsilon=0.1)
    made.save(tmp_path / "a.keras")
    loaded = keras.saving.load_model(tmp_path / "a.keras", safe_mode=True)
    assert (loaded.epsilon, loaded.source_classifier) == (0.1, None)
    np.testing.assert_array_equal(loaded.purify(images(GREY)), made.purify(images(GREY)))
    loaded.compile()
    with pytest.raises(ValueError, match="Build HGD with source_classifier"):
        loaded.train_step(batch())


def test_networks_that_do_not_fit_are_refused():
    inputs = keras.Input(GREY)
    with pytest.raises(ValueError, match="changes of the same shape"):
        HGD(keras.Model(inputs, keras.layers.Flatten()(inputs)))
    with pytest.raises(ValueError, match="Expected a source classifier of images"):
        purifier(source_classifier=small("resnet_a", COLOUR))
