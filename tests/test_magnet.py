"""MagNet: reformer, detectors, and how the whole is counted."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from defenses.magnet import COLOUR_NOISE, GREY_NOISE, MagNet
from defenses.magnet_detector import (
    DivergenceDetector,
    ErrorDetector,
    MagNetDetector,
    accepted_by_all,
    handled,
    jensen_shannon_divergence,
    reconstruction_error,
)
from models.magnet_autoencoders import magnet_autoencoder
from tests.attack_helpers import linear_classifier
from tests.model_helpers import COLOUR, GREY, images, layers_of, num_trainable, same_weights


def array(tensor) -> np.ndarray:
    return ops.convert_to_numpy(tensor)


# ---------------------------------------------------------------------- reformer


@pytest.mark.parametrize(
    ("shape", "variant", "kinds", "count"),
    [
        (
            GREY,
            "I",
            "Conv2D AveragePooling2D Conv2D Conv2D UpSampling2D Conv2D Conv2D",
            30 + 3 * 84 + 28,
        ),
        (GREY, "II", "Conv2D Conv2D Conv2D", 30 + 84 + 28),
        (COLOUR, "II", "Conv2D Conv2D Conv2D", 3 * 84),
    ],
)
def test_autoencoders_are_the_published_ones(shape, variant, kinds, count):
    network = magnet_autoencoder(shape, variant=variant)
    assert [type(layer).__name__ for layer in network.layers[1:]] == kinds.split()
    assert num_trainable(network) == count
    for layer in layers_of(network, keras.layers.Conv2D):
        assert layer.activation is keras.activations.sigmoid
    purified = network.predict(images(shape), verbose=0)
    assert purified.shape == (3, *shape)
    assert purified.min() > 0 and purified.max() < 1
    again, other = (magnet_autoencoder(shape, variant=variant, seed=seed) for seed in (0, 1))
    assert same_weights(network, again)
    assert not same_weights(network, other)


def test_shape_decides_network_and_noise():
    grey, colour = MagNet.for_images(GREY), MagNet.for_images(COLOUR)
    assert grey.autoencoder.name == "magnet_autoencoder_i"
    assert colour.autoencoder.name == "magnet_autoencoder_ii"
    assert (grey.training_noise, colour.training_noise) == (0.1, 0.025)
    assert (GREY_NOISE, COLOUR_NOISE) == (0.1, 0.025)
    assert grey.activity_weight == 1e-9
    other = MagNet.for_images(GREY, variant="II", training_noise=0.2)
    assert (other.autoencoder.name, other.training_noise) == ("magnet_autoencoder_ii", 0.2)


def test_losses_are_those_of_the_reconstruction_and_of_all_activations():
    purifier = MagNet.for_images(GREY, activity_weight=0.5)
    batch = {"clean": images(GREY, 4)}
    losses = {k: float(v) for k, v in purifier.denoising_losses(batch, training=False).items()}
    convolutions = layers_of(purifier.autoencoder, keras.layers.Conv2D)
    probe = keras.Model(purifier.autoencoder.input, [layer.output for layer in convolutions])
    outputs = [array(output) for output in probe(batch["clean"])]
    activity = sum((output**2).sum() for output in outputs) / 4
    error = ((outputs[-1] - batch["clean"]) ** 2).mean()
    assert len(outputs) == 5
    assert losses["activity_loss"] == pytest.approx(activity, rel=1e-5)
    assert losses["reconstruction_loss"] == pytest.approx(error, rel=1e-5)
    assert losses["loss"] == pytest.approx(error + 0.5 * activity, rel=1e-5)


def test_training_sees_clipped_noise_and_is_compared_with_the_clean_image():
    """An autoencoder that changes nothing shows the noise itself."""
    inputs = keras.Input((40, 40, 1))
    identity = keras.Model(inputs, keras.layers.Activation("linear")(inputs))
    grey = {"clean": np.full((20, 40, 40, 1), 0.5, "float32")}
    black = {"clean": np.zeros((20, 40, 40, 1), "float32")}
    purifier = MagNet(identity, training_noise=0.1)
    seen = [float(purifier.denoising_losses(batch)["loss"]) for batch in (grey, black)]
    assert seen[0] == pytest.approx(0.01, rel=0.05)
    assert seen[1] == pytest.approx(0.005, rel=0.05)  # the negative half is clipped
    assert float(purifier.denoising_losses(grey, training=False)["loss"]) == 0.0
    np.testing.assert_array_equal(purifier.purify(grey["clean"]), grey["clean"])
    assert purifier.is_stochastic is False


def test_config_and_mistakes():
    purifier = MagNet.for_images(GREY, variant="II", training_noise=0.3, activity_weight=0.1)
    twin = MagNet.from_config(purifier.get_config())
    for key in ("training_noise", "activity_weight", "seed", "image_shape"):
        assert getattr(twin, key) == getattr(purifier, key), key
    with pytest.raises(ValueError, match="variant to be one of I, II, received 'III'"):
        MagNet.for_images(GREY, variant="III")
    with pytest.raises(ValueError, match="even height and width"):
        magnet_autoencoder((27, 28, 1))
    with pytest.raises(ValueError, match="at least 0"):
        MagNet.for_images(GREY, training_noise=-0.1)
    with pytest.raises(ValueError, match="chain of layers"):
        MagNet(keras.Sequential([keras.Input(GREY), keras.layers.Flatten()]))
    inputs = keras.Input(GREY)
    middle = keras.layers.Activation("sigmoid")(inputs)
    with pytest.raises(ValueError, match="chain of layers"):
        MagNet(keras.Model(inputs, keras.layers.Add()([inputs, middle])))


# ---------------------------------------------------------------------- detectors


class Brightness(MagNetDetector):
    """Scores an image by its mean, so that a test knows the scores."""

    def score_batch(self, images):
        return ops.mean(images, axis=(1, 2, 3))


def shades(values) -> np.ndarray:
    return np.ones((len(values), *GREY), "float32") * np.reshape(values, (-1, 1, 1, 1)).astype(
        "float32"
    )


def test_reconstruction_error_is_a_norm():
    image, other = np.zeros((1, 1, 2, 1), "float32"), np.array([[[[0.3], [-0.4]]]], "float32")
    np.testing.assert_allclose(array(reconstruction_error(image, other, 1)), [0.7], rtol=1e-6)
    np.testing.assert_allclose(array(reconstruction_error(image, other, 2)), [0.5], rtol=1e-6)


def test_divergence_is_jensen_shannons_at_a_temperature():
    logits = np.array([[10.0, 0.0, 0.0], [1.0, 2.0, 3.0]], "float32")
    others = np.array([[0.0, 10.0, 0.0], [1.0, 2.0, 3.0]], "float32")
    p, q = np.array([0.57612, 0.21194, 0.21194]), np.array([0.21194, 0.57612, 0.21194])
    m = (p + q) / 2
    expected = 0.5 * (p * np.log(p / m)).sum() + 0.5 * (q * np.log(q / m)).sum()
    received = array(jensen_shannon_divergence(logits, others, 10.0))
    np.testing.assert_allclose(received, [expected, 0.0], atol=1e-5)
    swapped = array(jensen_shannon_divergence(others, logits, 10.0))
    np.testing.assert_allclose(swapped, received, atol=1e-6)
    far = array(jensen_shannon_divergence(1e4 * logits, 1e4 * others, 1.0))
    np.testing.assert_allclose(far, [np.log(2.0), 0.0], atol=1e-5)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.3])
def test_the_threshold_rejects_the_given_share_of_validation_images(rate):
    reformer = MagNet.for_images(GREY, width=0.4)
    classifier, _, _ = linear_classifier(10, GREY)
    clean = images(GREY, 200)
    for detector in (
        ErrorDetector(reformer, order=1),
        ErrorDetector(reformer),
        DivergenceDetector(reformer, classifier, temperature=40.0),
    ):
        assert detector.fit_threshold(clean, rate, batch_size=64) is detector
        refused = ~detector.accepts(clean, batch_size=64)
        assert refused.sum() == round(rate * 200)
        scores = detector.scores(clean, batch_size=64)
        assert scores[refused].min() > scores[~refused].max()


def test_scores_are_those_of_the_networks_in_any_batches():
    reformer = MagNet.for_images(GREY, width=0.4)
    classifier, _, _ = linear_classifier(10, GREY)
    clean = images(GREY, 5)
    reformed = reformer.purify(clean)
    error = np.abs(clean - reformed).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(
        ErrorDetector(reformer, order=1).scores(clean, batch_size=2), error, rtol=1e-5
    )
    divergence = jensen_shannon_divergence(classifier(clean), classifier(reformed), 10.0)
    np.testing.assert_allclose(
        DivergenceDetector(reformer, classifier).scores(clean, batch_size=3),
        array(divergence),
        atol=1e-5,
    )


def test_equal_scores_are_accepted_and_far_images_refused():
    detector = Brightness(MagNet.for_images(GREY, width=0.4))
    with pytest.raises(ValueError, match="Call fit_threshold"):
        detector.accepts(shades([0.1]))
    detector.fit_threshold(shades([0.1] * 5 + [0.2] * 5), 0.2)
    assert detector.accepts(shades([0.1, 0.2, 0.21, 0.9])).tolist() == [True, True, False, False]
    other = Brightness(detector.reformer, threshold=0.15)
    accepted = accepted_by_all([detector, other], shades([0.1, 0.2, 0.9]))
    assert accepted.tolist() == [True, False, False]
    assert accepted_by_all([], shades([0.1, 0.9])).tolist() == [True, True]
    with pytest.raises(ValueError, match="pass more images"):
        detector.fit_threshold(shades([0.1] * 9), 0.1)
    for rate in (0.0, 1.0, -0.5):
        with pytest.raises(ValueError, match="above 0 and below 1, received"):
            detector.fit_threshold(shades([0.1] * 9), rate)


def test_detector_mistakes_are_explained():
    reformer = MagNet.for_images(GREY, width=0.4)
    with pytest.raises(
        ValueError, match="order to be an integer of at least 1 and of at most 2, received 3"
    ):
        ErrorDetector(reformer, order=3)
    with pytest.raises(
        ValueError, match="temperature to be a finite number above 0 and of at most"
    ):
        DivergenceDetector(reformer, linear_classifier(10, GREY)[0], temperature=0.0)
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        ErrorDetector(reformer).scores(2 * images(GREY))
    reformer.autoencoder.layers[-1].bias.assign([np.nan])
    with pytest.raises(ValueError, match="finite scores"):
        ErrorDetector(reformer).scores(images(GREY))


def test_a_refused_attack_is_handled_and_a_refused_clean_image_is_an_error():
    labels = np.array([1, 1, 2, 2])
    predictions = np.array([1, 0, 2, 0])
    accepted = np.array([True, True, False, False])
    attacked = handled(labels, predictions, accepted, adversarial=True)
    assert attacked.tolist() == [True, False, True, True]
    clean = handled(labels, predictions, accepted, adversarial=False)
    assert clean.tolist() == [True, False, False, False]
    with pytest.raises(ValueError, match=r"predictions as integers of shape \(4,\)"):
        handled(labels, predictions[:3], accepted, adversarial=True)


@pytest.fixture(scope="module")
def networks():
    """A reformer and the classifier behind it."""
    return MagNet.for_images(GREY, width=0.4, seed=1), linear_classifier(10, GREY)[0]


@pytest.mark.parametrize(
    ("kind", "options", "count"),
    [(ErrorDetector, {"order": 1}, 1), (DivergenceDetector, {"temperature": 40.0}, 2)],
)
def test_a_saved_detector_accepts_as_before(kind, options, count, networks, tmp_path):
    path, used = tmp_path / "detector.json", networks[:count]
    detector = kind(*used, **options)
    with pytest.raises(ValueError, match="Call fit_threshold"):
        detector.save(path)
    detector.fit_threshold(images(GREY), 0.5).save(path)
    read = kind.load(path, *used)
    assert (read.threshold, read.options()) == (detector.threshold, options)
    np.testing.assert_array_equal(read.accepts(images(GREY)), detector.accepts(images(GREY)))
    assert [file.name for file in tmp_path.iterdir()] == ["detector.json"]
    others = (MagNet.for_images(GREY, width=0.4, seed=2), *used[1:])
    with pytest.raises(ValueError, match=r"Expected the reformer that .* other weights"):
        kind.load(path, *others)
    if count == 2:
        with pytest.raises(ValueError, match="Expected the classifier that"):
            kind.load(path, used[0], linear_classifier(10, GREY, seed=7)[0])


def test_damaged_files_of_detectors_are_refused(networks, tmp_path):
    path = tmp_path / "detector.json"
    detector = ErrorDetector(networks[0], threshold=0.25)
    with pytest.raises(ValueError, match=r"ends in \.json"):
        detector.save(tmp_path / "detector.pickle")
    detector.save(path)
    whole = path.read_text()
    with pytest.raises(ValueError, match="a DivergenceDetector, received one of 'ErrorDetector'"):
        DivergenceDetector.load(path, *networks)
    for text in (whole.replace("0.25", "0.35"), whole[:40], "", "[]", "{}", "\0", "null"):
        path.write_text(text)
        with pytest.raises(ValueError, match="missing or damaged"):
            ErrorDetector.load(path, networks[0])
    with pytest.raises(ValueError, match="missing or damaged"):
        ErrorDetector.load(tmp_path / "none.json", networks[0])
    detector.threshold = float("nan")
    with pytest.raises(ValueError, match="threshold to be a finite number of at least 0"):
        detector.save(path)
    with pytest.raises(ValueError, match="threshold to be a finite number of at least 0"):
        detector.accepts(images(GREY))
