"""CAP-GAN: what the contract of all purifiers does not already hold."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from defenses.cap_gan import CAPGAN
from defenses.cap_gan_losses import domain_loss, semantic_loss, softened_log_probabilities
from defenses.gan_losses import least_squares_discriminator_loss, least_squares_generator_loss
from defenses.registry import get_purifier
from experiments import costs
from experiments.config import PurifierConfig, TrainingConfig
from models.cam_gan import cam_gan_networks
from models.registry import build_classifier
from tests.attack_helpers import linear_classifier
from tests.model_helpers import images

SHAPE = (4, 4, 1)
REAL = (16, 16, 1)
EPSILON = 0.05
ABLATIONS = {
    "cap_gan": (True, True, True),
    "cap_gan_pixel": (False, False, True),
    "cap_gan_pixel_cam": (True, False, True),
    "cap_gan_pixel_semantic": (False, True, True),
    "cap_gan_no_cycle": (True, True, False),
}
"""L_cam, L_sem and cycles of Table VI."""


def array(tensor) -> np.ndarray:
    return ops.convert_to_numpy(tensor)


def scalars(losses) -> dict[str, float]:
    return {name: float(value) for name, value in losses.items()}


def network(scale: float, offset: float, weight: float, shape=SHAPE) -> keras.Model:
    """x -> (scale * x + offset, weight * mean of x), both as generator and as discriminator."""
    constant = keras.initializers.Constant
    inputs = keras.Input(shape)
    first = keras.layers.Conv2D(
        1, 1, kernel_initializer=constant(scale), bias_initializer=constant(offset)
    )
    second = keras.layers.Dense(1, use_bias=False, kernel_initializer=constant(weight))
    mean = keras.layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, [first(inputs), second(mean)])


NUMBERS = {
    "to_clean": (0.9, 0.05, 2.0),
    "to_adversarial": (0.7, 0.1, -1.5),
    "clean": (1.2, -0.1, 0.8),
    "adversarial": (0.6, 0.3, 1.1),
}


def toy(numbers=NUMBERS, **arguments) -> tuple[CAPGAN, np.ndarray, np.ndarray]:
    """A purifier of affine networks, with weights and bias of its linear source classifier."""
    source, weights, bias = linear_classifier(3, SHAPE)
    networks = (network(*numbers[name]) for name in NUMBERS)
    purifier = CAPGAN(*networks, source_classifier=source, epsilon=EPSILON, **arguments)
    return purifier, weights, bias


def toy_batch(count: int = 5) -> dict[str, tf.Tensor]:
    labels = np.arange(count) % 3
    return {"clean": tf.constant(images(SHAPE, count=count)), "label": tf.constant(labels)}


def source() -> keras.Model:
    return build_classifier("narrow_resnet", REAL, width=0.25, depth=1, seed=5)


def small(name: str = "cap_gan", **arguments) -> CAPGAN:
    given = {"width": 0.1, "num_residual_blocks": 1, "source_classifier": source(), **arguments}
    return get_purifier(name).for_images(REAL, **given)


def batch(count: int = 4) -> dict[str, tf.Tensor]:
    labels = np.arange(count) % 10
    return {"clean": tf.constant(images(REAL, count=count)), "label": tf.constant(labels)}


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


# ---------------------------------------------------------------------- losses by hand


def test_least_squares_by_hand():
    real, fake = np.array([[1.0, 0.5]]), np.array([[0.0, 2.0]])
    # Real: 0 and 0.25. Fake as such: 0 and 4; taken for real: 1 and 1.
    assert array(least_squares_discriminator_loss(real, fake)) == pytest.approx(0.125 + 2.0)
    assert array(least_squares_generator_loss(fake)) == pytest.approx(1.0)


def test_the_domain_loss_is_the_cross_entropy_of_both_answers():
    logits = np.array([[np.log(3.0)], [0.0], [50.0]])  # probabilities 3/4, 1/2 and 1
    others = np.array([[np.log(0.25)], [0.0], [-50.0]])  # probabilities 1/5, 1/2 and 0
    expected = [-np.log(0.75) - np.log(0.8), 2 * np.log(2), 0.0]
    np.testing.assert_allclose(array(domain_loss(logits, others)), expected, atol=1e-6)
    # The wrong way round is worse, and so is a surer mistake; nothing is unbounded below.
    assert array(domain_loss(others, logits))[0] > expected[0]
    assert array(domain_loss(-logits, -others))[2] == pytest.approx(100)


def test_soft_answers_by_hand():
    logits = np.array([[np.log(4.0), 0.0], [3.0, 3.0]])
    # At temperature 2 the first row is proportional to (2, 1).
    np.testing.assert_allclose(
        np.exp(array(softened_log_probabilities(logits, 2.0))),
        [[2 / 3, 1 / 3], [0.5, 0.5]],
        rtol=1e-6,
    )
    uniform = np.exp(array(softened_log_probabilities(10 * images((3,), count=4), 1e6)))
    np.testing.assert_allclose(uniform, 1 / 3, atol=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 5.0, 10.0])
def test_the_semantic_loss_by_hand(temperature):
    teacher = np.array([[2.0, -1.0, 0.5], [4.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    student = np.array([[0.0, 1.0, 0.5], [0.0, 4.0, 0.0], [6.0, 7.0, 8.0]])
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    expected = temperature**2 * (p * np.log(p / q)).sum(axis=1)
    received = array(semantic_loss(teacher, student, temperature))
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-5)
    assert received[0] > 0.5
    # Logits that differ by a constant are one answer.
    assert received[2] == pytest.approx(0, abs=1e-5)
    # Closer logits, smaller loss; and the order of the two matters.
    nearer = array(semantic_loss(teacher, (teacher + student) / 2, temperature))
    assert (nearer[:2] < received[:2]).all()
    other_way = array(semantic_loss(student, teacher, temperature))
    assert other_way[0] != pytest.approx(received[0], rel=1e-3)


def test_no_gradient_reaches_the_teacher():
    teacher, student = tf.constant([[1.0, 2.0]]), tf.constant([[0.0, 3.0]])
    with tf.GradientTape() as tape:
        tape.watch([teacher, student])
        loss = semantic_loss(teacher, student, 2.0)
    of_teacher, of_student = tape.gradient(loss, [teacher, student])
    assert of_teacher is None
    # T (q - p), which is T² times the derivative of the divergence.
    expected = 2.0 * (softmax(np.array([[0.0, 1.5]])) - softmax(np.array([[0.5, 1.0]])))
    np.testing.assert_allclose(array(of_student), expected, rtol=1e-5)


# ---------------------------------------------------------------------- one batch


def fgsm(x: np.ndarray, labels: np.ndarray, weights, bias) -> np.ndarray:
    error = softmax(x.reshape(len(x), -1) @ weights + bias) - np.eye(3)[labels]
    return np.clip(x + EPSILON * np.sign(error @ weights.T).reshape(x.shape), 0, 1)


def test_the_adversarial_domain_is_fgsm_on_the_source_with_true_labels():
    purifier, weights, bias = toy()
    data = toy_batch()
    whole = purifier.paired(data)
    expected = fgsm(array(data["clean"]), array(data["label"]), weights, bias)
    np.testing.assert_allclose(array(whole["adversarial"]), expected, atol=1e-6)
    assert purifier.paired(whole) is whole
    # They raise the loss of the source.
    logits = [array(purifier.source_classifier(whole[key])) for key in ("clean", "adversarial")]
    own = [softmax(z)[np.arange(5), array(data["label"])].mean() for z in logits]
    assert own[1] < own[0] - 0.1


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("name", ABLATIONS)
def test_losses_of_a_batch_are_those_of_the_equations(name, alpha):
    """Affine networks, each with numbers of its own, so that no two can be mistaken."""
    cam_term, semantic_term, cycles = ABLATIONS[name]
    options = dict(get_purifier(name).arguments)
    purifier, weights, bias = toy(alpha=alpha, temperature=2.0, **options)
    data = toy_batch()
    x = array(data["clean"]).astype("float64")
    x_adv = fgsm(x, array(data["label"]), weights, bias)

    def apply(which, value):
        scale, offset, weight = NUMBERS[which]
        return scale * value + offset, weight * value.mean(axis=(1, 2, 3))

    (a2c, own_adv), (c2c, other_x) = apply("to_clean", x_adv), apply("to_clean", x)
    (c2a, own_x), (a2a, other_adv) = apply("to_adversarial", x), apply("to_adversarial", x_adv)
    c2a2c, a2c2a = apply("to_clean", c2a)[0], apply("to_adversarial", a2c)[0]

    def entropy(own, other):
        return np.mean(np.log1p(np.exp(-own)) + np.log1p(np.exp(other)))

    def divergence(real, fake):
        p, q = (
            softmax((image.reshape(len(x), -1) @ weights + bias) / 2.0) for image in (real, fake)
        )
        return 4.0 * np.mean((p * np.log(p / q)).sum(axis=1))

    (real_c, real_logit_c), (fake_c, fake_logit_c) = apply("clean", x), apply("clean", a2c)
    (real_a, real_logit_a), (fake_a, fake_logit_a) = (
        apply("adversarial", x_adv),
        apply("adversarial", c2a),
    )
    versions = [(x, a2c), (x, c2c), (x_adv, c2a), (x_adv, a2a)]
    versions += [(x, c2a2c), (x_adv, a2c2a)] if cycles else []
    expected = {
        "discriminator_gan_loss": sum(
            np.mean((real - 1) ** 2) + np.mean(fake**2)
            for real, fake in ((real_c, fake_c), (real_a, fake_a))
        ),
        "discriminator_cam_loss": cam_term
        * sum(
            np.mean((real - 1) ** 2) + np.mean(fake**2)
            for real, fake in ((real_logit_c, fake_logit_c), (real_logit_a, fake_logit_a))
        ),
        "generator_gan_loss": np.mean((fake_c - 1) ** 2) + np.mean((fake_a - 1) ** 2),
        "identity_loss": np.abs(c2c - x).mean() + np.abs(a2a - x_adv).mean(),
        "cycle_loss": cycles * (np.abs(c2a2c - x).mean() + np.abs(a2c2a - x_adv).mean()),
        "generator_cam_loss": cam_term
        * (
            entropy(own_adv, other_x)
            + entropy(own_x, other_adv)
            + np.mean((fake_logit_c - 1) ** 2)
            + np.mean((fake_logit_a - 1) ** 2)
        ),
        "semantic_loss": semantic_term * sum(divergence(*pair) for pair in versions),
    }
    of_discriminators = scalars(purifier.discriminator_losses(data))
    of_generators = scalars(purifier.generator_losses(data))
    totals = of_discriminators.pop("loss"), of_generators.pop("loss")
    assert {**of_discriminators, **of_generators} == pytest.approx(expected, rel=1e-4, abs=1e-6)
    gan, cam = expected["discriminator_gan_loss"], expected["discriminator_cam_loss"]
    assert totals[0] == pytest.approx(alpha * gan + (1 - alpha) * cam, rel=1e-4)
    pixel = sum(expected[n] for n in ("generator_gan_loss", "identity_loss", "cycle_loss"))
    feature = expected["generator_cam_loss"] + expected["semantic_loss"]
    assert totals[1] == pytest.approx(alpha * pixel + (1 - alpha) * feature, rel=1e-4, abs=1e-6)


def test_generators_that_change_nothing_have_no_loss_of_distance_or_of_meaning():
    same = {**NUMBERS, "to_clean": (1.0, 0.0, 2.0), "to_adversarial": (1.0, 0.0, -1.5)}
    losses = scalars(
        toy(same)[0].generator_losses({**toy_batch(), "adversarial": toy_batch()["clean"]})
    )
    assert losses["identity_loss"] == losses["cycle_loss"] == 0
    assert losses["semantic_loss"] == pytest.approx(0, abs=1e-5)


def test_the_further_the_answers_are_apart_the_larger_is_the_loss_of_meaning():
    same = {**NUMBERS, "to_clean": (1.0, 0.0, 1.0), "to_adversarial": (1.0, 0.0, 1.0)}
    losses = []
    for epsilon in (0.01, 0.05, 0.1):
        purifier, data = toy(same)[0], toy_batch()
        adversarial = purifier.paired(data)["adversarial"]
        moved = data["clean"] + epsilon / EPSILON * (adversarial - data["clean"])
        losses.append(scalars(purifier.generator_losses({**data, "adversarial": moved})))
    meanings = [one["semantic_loss"] for one in losses]
    assert 0 < meanings[0] < 0.5 * meanings[1] < 0.5 * meanings[2]


def test_each_network_is_asked_about_the_images_of_its_equation():
    """Every call of every network in a step, by the letters of the paper."""
    purifier, _, _ = toy()
    data = purifier.paired(toy_batch())
    made = purifier.translations(data)
    images_of = {"x": data["clean"], "x_adv": data["adversarial"]}
    names = ("a2c", "c2c", "c2a2c", "c2a", "a2a", "a2c2a")
    images_of |= dict(zip(names, (*made.to_clean, *made.to_adversarial), strict=True))

    def spy(network_, log):
        def call(seen, training=False):
            (known,) = [n for n, image in images_of.items() if np.allclose(seen, image, atol=1e-6)]
            log.append(known)
            return network_(seen, training=training)

        return call

    calls = {}
    for method in (purifier.discriminator_losses, purifier.generator_losses):
        before = {}
        for name in purifier.network_names:
            before[name] = getattr(purifier, name)
            key = (method.__name__, name)
            object.__setattr__(purifier, name, spy(before[name], calls.setdefault(key, [])))
        method(data)
        for name, network_ in before.items():
            object.__setattr__(purifier, name, network_)
    first, second = "discriminator_losses", "generator_losses"
    assert calls == {
        (first, "generator_to_clean"): ["x_adv"],
        (first, "generator_to_adversarial"): ["x"],
        (first, "discriminator_clean"): ["x", "a2c"],
        (first, "discriminator_adversarial"): ["x_adv", "c2a"],
        (second, "generator_to_clean"): ["x_adv", "x", "c2a"],
        (second, "generator_to_adversarial"): ["x", "x_adv", "a2c"],
        (second, "discriminator_clean"): ["a2c"],
        (second, "discriminator_adversarial"): ["c2a"],
    }


# ---------------------------------------------------------------------- gradients


def gradients(purifier: CAPGAN, method: str, names: tuple[str, ...]) -> list[np.ndarray]:
    variables = getattr(purifier, method.replace("losses", "variables"))
    with tf.GradientTape() as tape:
        losses = getattr(purifier, method)(batch(), training=False)
        total = sum(losses[name] for name in names)
    found = tape.gradient(total, [v.value for v in variables], unconnected_gradients="zero")
    return [array(gradient) for gradient in found]


PARTS = {
    "discriminator_losses": (("discriminator_gan_loss",), ("discriminator_cam_loss",)),
    "generator_losses": (
        ("generator_gan_loss", "identity_loss", "cycle_loss"),
        ("generator_cam_loss", "semantic_loss"),
    ),
}


@pytest.mark.parametrize("method", PARTS)
def test_alpha_weighs_pixels_against_features_and_at_its_ends_leaves_one(method):
    purifier = small(temperature=1.0)
    pixel, feature = (gradients(purifier, method, names) for names in PARTS[method])
    for alpha in (0.0, 0.5, 1.0):
        whole = gradients(small(temperature=1.0, alpha=alpha), method, ("loss",))
        for total, of_pixels, of_features in zip(whole, pixel, feature, strict=True):
            expected = alpha * of_pixels + (1 - alpha) * of_features
            assert np.linalg.norm(total - expected) <= 1e-4 * np.linalg.norm(expected) + 1e-6
    # The attention learns from pixels as well: it scales the maps that are decoded.
    variables = getattr(purifier, method.replace("losses", "variables"))
    attention = [i for i, v in enumerate(variables) if "attention" in v.path]
    assert len(attention) == 2
    for index in attention:
        assert np.abs(pixel[index]).max() > 0 and np.abs(feature[index]).max() > 0


def test_a_loss_pulls_only_at_the_networks_of_its_equation():
    purifier, _, _ = toy()
    data = purifier.paired(toy_batch())
    reached = {}
    for method in (purifier.discriminator_losses, purifier.generator_losses):
        with tf.GradientTape(persistent=True) as tape:
            losses = method(data)
        for name, loss in losses.items():
            reached[name] = {
                side
                for side in purifier.network_names
                for gradient in tape.gradient(loss, getattr(purifier, side).trainable_variables)
                if gradient is not None
            }
    generators, discriminators = {*purifier.generator_names}, {*purifier.discriminator_names}
    assert reached["discriminator_gan_loss"] == reached["discriminator_cam_loss"] == discriminators
    assert reached["generator_gan_loss"] == reached["generator_cam_loss"]
    assert reached["generator_gan_loss"] == generators | discriminators
    for name in ("identity_loss", "cycle_loss", "semantic_loss"):
        assert reached[name] == generators


# ---------------------------------------------------------------------- training


def test_training_moves_nothing_of_the_source_classifier():
    classifier = source()
    purifier = small(source_classifier=classifier)
    assert purifier.source_classifier is classifier and purifier.num_classes == 10
    known = {id(variable) for variable in purifier.variables}
    assert not known & {id(variable) for variable in classifier.variables}
    assert any("moving_mean" in variable.path for variable in classifier.variables)
    before = classifier.get_weights()
    purifier.compile(run_eagerly=True)
    purifier.fit(dict(batch()), epochs=1, batch_size=2, verbose=0)
    for old, new in zip(before, classifier.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_each_side_moves_alone_and_the_power_iteration_with_the_discriminators():
    data = batch()
    for rates, moving in (((0.1, 0.0), "generator"), ((0.0, 0.1), "discriminator")):
        purifier = small()
        purifier.compile(*map(keras.optimizers.SGD, rates), run_eagerly=True)
        directions = [v for v in purifier.non_trainable_variables if "direction" in v.path]
        assert len(directions) == 8
        sides = {
            "generator": purifier.generator_variables,
            "discriminator": purifier.discriminator_variables,
        }
        watched = {**sides, "directions": directions}
        before = {side: [array(v).copy() for v in variables] for side, variables in watched.items()}
        purifier.generator_losses(data)
        for variable, old in zip(directions, before["directions"], strict=True):
            np.testing.assert_array_equal(array(variable), old)
        purifier.train_step(data)
        for side, variables in watched.items():
            moved = [
                not np.array_equal(array(v), old)
                for v, old in zip(variables, before[side], strict=True)
            ]
            assert any(moved) is (side in (moving, "directions"))


def test_the_generators_face_the_moved_discriminators():
    purifier, _, _ = toy()
    purifier.compile(keras.optimizers.SGD(0.0), keras.optimizers.SGD(0.5), run_eagerly=True)
    data = toy_batch()
    before = scalars(purifier.generator_losses(data))
    logged = scalars(purifier.train_step(data))
    after = scalars(purifier.generator_losses(data))
    assert logged["generator_gan_loss"] == pytest.approx(after["generator_gan_loss"], rel=1e-5)
    assert logged["generator_gan_loss"] != pytest.approx(before["generator_gan_loss"], rel=0.05)


@pytest.mark.parametrize("step", ["train_step", "phase_train_step"])
def test_shares_of_the_norms_stay_in_range_at_a_large_rate(step):
    purifier = small()
    purifier.compile(*map(keras.optimizers.Adam, (0.7, 1e-4)), run_eagerly=True)
    for _ in range(3):
        getattr(purifier, step)(batch())
    shares = [array(v) for v in purifier.generator_variables if v.path.endswith("rho")]
    assert len(shares) == 8  # two of each kind in each generator
    together = np.concatenate(shares)
    assert together.min() >= 0 and together.max() <= 1
    assert 0 in together and 1 in together


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_train_by_both_steps_alike(name):
    pair = [small(name, seed=5) for _ in range(2)]
    logs = []
    for purifier, step in zip(pair, ("train_step", "phase_train_step"), strict=True):
        optimizers = [keras.optimizers.SGD(1e-3, global_clipnorm=5.0) for _ in range(2)]
        purifier.compile(*optimizers, run_eagerly=True)
        logs.append(scalars(getattr(purifier, step)(batch())))
    assert logs[0] == pytest.approx(logs[1], rel=1e-6)
    for one, other in zip(pair[0].weights, pair[1].weights, strict=True):
        np.testing.assert_allclose(array(one), array(other), rtol=1e-6, atol=1e-7)
    cam_term, semantic_term, cycles = ABLATIONS[name]
    switched = {
        "discriminator_cam_loss": cam_term,
        "generator_cam_loss": cam_term,
        "semantic_loss": semantic_term,
        "cycle_loss": cycles,
    }
    assert {key: logs[0][key] > 0 for key in switched} == switched


# ---------------------------------------------------------------------- purifying and building


def test_a_purification_is_the_first_generator_in_one_pass():
    purifier = small()
    expected = array(purifier.generator_to_clean(images(REAL))[0])
    np.testing.assert_allclose(purifier.purify(images(REAL)), expected, atol=1e-6)
    assert not (purifier.is_stochastic or purifier.pooled or purifier.retrains_classifier)
    assert purifier.differentiable and not purifier.has_detectors
    assert get_purifier("cap_gan").guards_source


def test_attention_maps_are_of_the_purifying_generator():
    purifier, batch_ = small(), images(REAL, count=5)
    maps = purifier.attention_maps(batch_, batch_size=2)
    assert maps.shape == (5, 4, 4) and maps.dtype == np.float32
    logits = array(purifier.generator_to_clean(batch_)[1])
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), logits[:, 0], atol=1e-5)
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        purifier.attention_maps(255 * batch_)


def test_the_published_numbers_are_the_default():
    purifier = CAPGAN(*cam_gan_networks(REAL, num_residual_blocks=1, width=0.1))
    assert (purifier.alpha, purifier.temperature) == (0.7, 10.0)
    assert purifier.epsilon == pytest.approx(8 / 255)
    assert purifier.cam_term and purifier.semantic_term and purifier.cycles
    purifier.compile()
    for optimizer in (purifier.generator_optimizer, purifier.discriminator_optimizer):
        assert isinstance(optimizer, keras.optimizers.Adam)
        assert float(optimizer.learning_rate) == pytest.approx(1e-4)
        assert (optimizer.beta_1, optimizer.beta_2) == (0.5, 0.999)


def test_a_saved_purifier_has_its_generators_alone(tmp_path):
    purifier = small(alpha=0.5, temperature=5.0, cycles=False)
    purifier.save(tmp_path / "cap_gan.keras")
    loaded = keras.saving.load_model(tmp_path / "cap_gan.keras", safe_mode=True, compile=False)
    assert loaded.source_classifier is loaded.discriminator_clean is None
    assert loaded.discriminator_adversarial is loaded.num_classes is None
    assert (loaded.alpha, loaded.temperature, loaded.cycles) == (0.5, 5.0, False)
    np.testing.assert_array_equal(loaded.purify(images(REAL)), purifier.purify(images(REAL)))
    with pytest.raises(ValueError, match="discriminator_clean and discriminator_adversarial"):
        loaded.compile()
    generators = loaded.generator_to_clean, loaded.generator_to_adversarial
    discriminators = purifier.discriminator_clean, purifier.discriminator_adversarial
    sourceless = CAPGAN(*generators, *discriminators)
    sourceless.compile(run_eagerly=True)
    with pytest.raises(ValueError, match="Expected a source classifier for training"):
        sourceless.train_step(batch())
    again = CAPGAN(*generators, *discriminators, source_classifier=source())
    again.compile(run_eagerly=True)
    assert np.isfinite(list(scalars(again.train_step(batch())).values())).all()


def test_config_keeps_every_argument():
    arguments = {
        "alpha": 0.9,
        "temperature": 5.0,
        "epsilon": 0.1,
        "cam_term": False,
        "semantic_term": False,
        "cycles": False,
    }
    purifier = small(**arguments)
    twin = CAPGAN.from_config(purifier.get_config())
    for key, value in arguments.items():
        assert getattr(twin, key) == value, key
    assert [v.shape for v in twin.weights] == [v.shape for v in purifier.weights]
    assert twin.get_config() == purifier.get_config()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 1.1}, "alpha to be .* received 1.1"),
        ({"temperature": 0.0}, "temperature to be .* above 0, received 0"),
        ({"epsilon": -0.1}, "epsilon to be .* received -0.1"),
        ({"epsilon": 8.0}, "epsilon to be .* received 8"),
        ({"cam_term": 1}, "cam_term to be True or False, received 1"),
        ({"cycles": "no"}, "cycles to be True or False, received 'no'"),
        ({"alhpa": 0.5}, "Unrecognized keyword.*alhpa"),
        ({"num_residual_blocks": 0}, "num_residual_blocks"),
    ],
)
def test_mistakes_are_explained(arguments, message):
    with pytest.raises(ValueError, match=message):
        small(**arguments)


def test_networks_and_sources_that_do_not_fit_are_explained():
    g = network(*NUMBERS["to_clean"])
    for networks in (
        (g, network(1.0, 0.0, 1.0, REAL)),
        (g, g, g),
        (g, g, g, network(1, 0, 1, REAL)),
    ):
        with pytest.raises(ValueError, match="Build all networks for the same image"):
            CAPGAN(*networks)
    plain = keras.Sequential([keras.Input(SHAPE), keras.layers.ReLU()])
    with pytest.raises(ValueError, match="networks with two outputs"):
        CAPGAN(plain, plain)
    with pytest.raises(ValueError, match="Train one on the same data"):
        small(source_classifier=linear_classifier(10, SHAPE)[0])
    soft = keras.Sequential([source(), keras.layers.Softmax()])
    with pytest.raises(ValueError, match="ends in a softmax"):
        small(source_classifier=soft)


# ---------------------------------------------------------------------- costs


def test_a_step_is_counted_by_its_passes():
    config = PurifierConfig(name="cap_gan", width=0.1, training=TrainingConfig(epochs=1))
    counts = {name: one.operations for name, one in costs.networks(config, REAL).items()}
    generators = counts["generator_to_clean"] + counts["generator_to_adversarial"]
    discriminators = counts["discriminator_clean"] + counts["discriminator_adversarial"]
    # An attack (2), the teacher's answers to two images, and six that pass a gradient (2 each).
    expected = 10 * generators + 8 * discriminators + 16 * 1000.0
    assert costs.training_operations(config, REAL, source=1000.0) == expected
    purification = costs.purification(config, REAL)
    assert purification.forward == counts["generator_to_clean"]
    assert purification.gradient == 2 * purification.forward
