"""The same attacks on either backend, and what the process on JAX finds about them.

Run as ``KERAS_BACKEND=jax python -m tests.attack_backend_cases FILE``: TensorFlow cannot be
imported then.
"""

# ruff: noqa: E402 -- packages are hidden before they are imported
from __future__ import annotations

import gc
import importlib.abc
import sys
import weakref
from collections.abc import Callable
from typing import Any

BLOCKED = ("tensorflow", "tensorflow_datasets", "torch")


class Absent(importlib.abc.MetaPathFinder):
    """Lets packages seem not to be installed."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


if __name__ == "__main__":
    sys.meta_path.insert(0, Absent())

# isort: split
import keras
import numpy as np
from keras import ops

from attacks import AttackFailedError, attack_random_member, engine, get_attack
from attacks.attacked_model import attacked_model
from attacks.gradient import BIM, FGSM, PGD
from attacks.substitute import SubstituteTraining
from attacks.wrappers import BPDA, EOT
from defenses.batches import reset_seed_generators, seed_states
from defenses.defended_classifier import DefendedClassifier
from defenses.purifier import Purifier
from defenses.registry import get_purifier
from experiments import datasets, zoo
from experiments.presets import profile
from tests.attack_helpers import EXACT, grey_images, linear_classifier, predictions

EPSILON, LENGTH, STEP, NUM_STEPS = 0.1, 0.5, 0.01, 12
CLASSES, NUM_IMAGES, SHAPE = 5, 13, (16, 16, 1)
SHORT = {
    "max_iterations": 30,
    "learning_rate": 0.05,
    "binary_search_steps": 2,
    "initial_const": 1.0,
}
DETERMINISTIC = {
    "fgsm": {},
    "bim": {"num_steps": 5},
    "pgd": {"num_steps": 5, "random_start": False},
    "mi_fgsm": {"num_steps": 5},
}
ON_DIGITS = ["fgsm", "bim", "pgd"]
DRAWN = ["sign_fgsm", "sign_pgd", "sign_carlini_wagner", "defended_pgd"]
Arrays = dict[str, np.ndarray]


@keras.saving.register_keras_serializable(package="attack_backend_cases")
class RandomSign(keras.layers.Layer):
    """Multiplies each image by 1 or -1, drawn at every call; counts how often it is traced."""

    traces = 0

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(7)

    def call(self, inputs: Any) -> Any:
        type(self).traces += 1
        drawn = keras.random.uniform((ops.shape(inputs)[0], 1, 1, 1), seed=self.seed_generator)
        return inputs * ops.where(drawn < 0.5, -1.0, 1.0)


def random_sign_classifier() -> keras.Model:
    """Two classes; the gradient of every pixel has the sign that was drawn for its image."""
    inputs = keras.Input((4, 4, 1))
    summed = ops.sum(RandomSign()(inputs), axis=(1, 2))
    outputs = keras.layers.Dense(2, use_bias=False)(summed)
    model = keras.Model(inputs, outputs)
    model.layers[-1].set_weights([np.array([[1.0, -1.0]], "float32")])
    return model


def digits() -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """The digits target of the zoo, and the test images of the profile that trained it."""
    test = datasets.load(profile("demo").plans["digits"].dataset).test
    return zoo.load("digits", "target_A"), test.images, test.labels


def random_purifier() -> Purifier:
    """A narrow purifier that draws, with the same weights on every backend."""
    purifier = get_purifier("sfl_vae").for_images(SHAPE, width=0.125)
    rng = np.random.default_rng(3)
    for weights in purifier.weights:
        if len(weights.shape) > 1:
            weights.assign(rng.normal(0.0, 0.1, weights.shape))
    return purifier


def linear_cases() -> Arrays:
    """A linear classifier, on which the results are known."""
    model, *_ = linear_classifier(CLASSES)
    images = grey_images(NUM_IMAGES)
    labels = predictions(model, images)
    targets = (labels + 2) % CLASSES
    found = {}
    for name, settings in DETERMINISTIC.items():
        for norm, epsilon in (("linf", EPSILON), ("l2", LENGTH)):
            attack = get_attack(name, norm=norm, **settings)
            found[f"linear/{name}/{norm}"] = attack(model, images, labels, epsilon)
            found[f"linear/{name}/{norm}/targeted"] = attack(
                model, images, labels, epsilon, target_labels=targets, batch_size=8
            )
    two, *_ = linear_classifier(2)
    goals = predictions(two, images)
    found["linear/carlini_wagner"] = EXACT.minimal_perturbation(two, images, goals)
    found["linear/rand_fgsm"] = get_attack("rand_fgsm")(two, images, goals, EPSILON)
    found["linear/substitute"] = SubstituteTraining()._augmented(model, images, labels)
    models = [model, linear_classifier(CLASSES, seed=4)[0]]
    sets, members, _ = attack_random_member(FGSM(), models, images, labels, [EPSILON], seed=2)
    found["linear/members"], found["linear/pool"] = members, sets[EPSILON]
    for norm, epsilon in (("linf", EPSILON), ("l2", LENGTH)):
        start = PGD(norm=norm, num_steps=1, step_size=0.02 * epsilon)
        found[f"linear/start/{norm}"] = start(model, images, labels, epsilon, seed=1)
    return found


def digits_cases() -> Arrays:
    """A network that was trained."""
    model, images, labels = digits()
    found = {"digits/images": images, "digits/labels": labels}
    for name in ON_DIGITS:
        attack = get_attack(name, **DETERMINISTIC[name])
        found[f"digits/{name}"] = attack(model, images, labels, EPSILON)
    attack = get_attack("carlini_wagner", **SHORT)
    curve = attack.curve(model, images[:20], labels[:20], [None, EPSILON])
    found["digits/carlini_wagner"], found["digits/carlini_wagner/scaled"] = curve.values()
    for name in ("clean", *ON_DIGITS):
        attacked = images if name == "clean" else found[f"digits/{name}"]
        found[f"digits/{name}/predictions"] = predictions(model, attacked)
    return found


BEST = {
    "apgd/linf": ("apgd", {"num_steps": 12, "num_restarts": 2}, 0.1),
    "apgd/l2": ("apgd", {"num_steps": 12, "norm": "l2", "loss": "margin"}, 1.0),
    "apgd/ratio": ("apgd", {"num_steps": 12, "loss": "difference_of_logits"}, 0.1),
    "pgd": ("pgd", {"num_steps": 6, "best_point": True, "num_restarts": 2}, 0.1),
    "bim": ("bim", {"num_steps": 6, "best_point": True, "norm": "l2"}, 1.0),
    "square": ("square", {"num_queries": 60, "num_restarts": 2}, 0.1),
    "spsa": ("spsa", {"num_samples": 16, "num_steps": 5, "learning_rate": 0.03}, 0.1),
}
"""Attacks whose draws do not depend on the backend: name, settings and budget."""


def best_cases() -> Arrays:
    """Attacks in several runs, on the target and behind wrappers."""
    model, images, labels = digits()
    images, labels = images[:24], labels[:24]
    found = {"best/images": images, "best/labels": labels}
    for key, (name, settings, epsilon) in BEST.items():
        attack = get_attack(name, **settings)
        result = attack.run(model, images, labels, [epsilon], seed=5, batch_size=10)[epsilon]
        found[f"best/{key}"] = result.adversarial_images
        found[f"best/{key}/queries"] = result.num_queries
        found[f"best/{key}/predictions"] = predictions(model, result.adversarial_images)
    rounding = BPDA(lambda x: ops.round(x * 7.0) / 7.0, EOT(model, 2))
    found["best/bpda"] = PGD(num_steps=3, random_start=False)(rounding, images, labels, 0.1)
    found["best/bpda/logits"] = ops.convert_to_numpy(rounding(images))
    return found


def random_cases() -> Arrays:
    """Models that draw at every call: attacked twice from one seed, and from another."""
    found = {}
    images = np.full((40, 4, 4, 1), 0.5, "float32")
    labels = np.zeros(40, int)
    signs = random_sign_classifier()
    model, *_ = linear_classifier(CLASSES, SHAPE)
    purifier = random_purifier()
    grey = grey_images(10, SHAPE)
    classes = predictions(model, grey)
    walk = PGD(num_steps=NUM_STEPS, step_size=STEP, random_start=False)
    victims: dict[str, tuple[Any, ...]] = {
        "sign_fgsm": (signs, FGSM(), images, labels, 0.25),
        "sign_pgd": (signs, walk, images, labels, 0.25),
        "sign_carlini_wagner": (signs, get_attack("carlini_wagner", **SHORT), images, labels, 0.25),
        "defended_pgd": (
            DefendedClassifier(purifier, [model]),
            PGD(num_steps=2),
            grey,
            classes,
            0.2,
        ),
    }
    for name, (victim, attack, x, y, epsilon) in victims.items():
        reset_seed_generators(victim, 9)
        before = [ops.convert_to_numpy(state) for state in seed_states(victim)]

        def attacked(seed: int, call: Any = (attack, victim, x, y, epsilon)) -> np.ndarray:
            attack, victim, x, y, epsilon = call
            results = attack.run(
                victim, x, y, [epsilon], seed=seed, require_change=False, tolerated=1.0
            )
            return results[epsilon].adversarial_images

        found[f"random/{name}"] = attacked(1)
        after = [ops.convert_to_numpy(state) for state in seed_states(victim)]
        found[f"random/{name}/kept"] = np.array(np.array_equal(before, after))
        reset_seed_generators(victim, 10)
        found[f"random/{name}/again"] = attacked(1)
        found[f"random/{name}/other"] = attacked(2)
    found["random/gradients"] = gradients_of_draws(purifier, model, grey[:4], classes[:4])
    return found


def gradients_of_draws(
    purifier: Purifier, model: keras.Model, images: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Gradients of a random purifier's log-probabilities, ``(2, repeats, *images.shape)``.

    The first half averages one draw, the second four.
    """
    found = []
    for num_draws in (1, 4):
        defended = DefendedClassifier(purifier, [model], num_draws=num_draws)
        reset_seed_generators(defended, 4)

        def slope(x: Any, y: Any, defended: keras.Model = defended) -> Any:
            return engine.gradient(lambda z: ops.take_along_axis(defended(z), y, axis=1), x)

        program = engine.compile(slope, lambda defended=defended: defended.variables)
        repeats = [ops.convert_to_numpy(program(images, labels[:, None])) for _ in range(20)]
        found.append(np.stack(repeats))
    return np.stack(found)


def traced_cases() -> Arrays:
    """How often a model is traced by the first attack, and by others that differ in numbers."""
    model = random_sign_classifier()
    found = {}
    for name, attacks in (
        ("pgd", (PGD(num_steps=2), BIM(num_steps=3), FGSM())),
        ("mi_fgsm", (get_attack("mi_fgsm"), get_attack("mi_fgsm", decay_factor=0.5))),
        ("carlini_wagner", (get_attack("carlini_wagner", **SHORT),)),
    ):
        counts = []
        for round_ in range(2):
            before = RandomSign.traces
            for number, attack in enumerate(attacks):
                images = grey_images(23, seed=round_ + number)
                budgets = (0.1, 0.05 + 0.1 * round_)
                labels = np.zeros(23, int)
                attack.run(model, images, labels, budgets, batch_size=8, seed=round_, tolerated=1.0)
            counts.append(RandomSign.traces - before)
        found[f"traced/{name}"] = np.array(counts)
    return found


def through(function: Callable[[Any], Any]) -> keras.Model:
    """A classifier that calls a function on its images first."""

    class Subclassed(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, images: Any, training: bool = False) -> Any:
            return self.dense(ops.reshape(function(images), (-1, 16)))

    model = Subclassed()
    keras.utils.set_random_seed(0)
    model(grey_images(2))
    return model


def refusals_on_jax() -> Arrays:
    """What is said of models that cannot be attacked on JAX."""
    import jax

    def callback(images: Any) -> Any:
        if not hasattr(images, "aval"):
            return images
        return jax.pure_callback(
            np.asarray, jax.ShapeDtypeStruct(images.shape, images.dtype), images
        )

    def numpy_code(images: Any) -> Any:
        return ops.convert_to_tensor(np.round(np.asarray(images), 1))

    steep, *_ = linear_classifier(3)
    steep.layers[-1].set_weights([1e4 * w for w in steep.layers[-1].get_weights()])
    found = {}
    for name, model, attack in (
        ("callback", through(callback), "fgsm"),
        ("callback/search", through(callback), "carlini_wagner"),
        ("numpy", through(numpy_code), "pgd"),
        ("cut", through(ops.stop_gradient), "bim"),
        ("cut/search", through(ops.stop_gradient), "carlini_wagner"),
        ("nan", through(lambda images: images + ops.sqrt(images * 0.0)), "mi_fgsm"),
        ("nan/best", through(lambda images: images + ops.sqrt(images * 0.0)), "apgd"),
        ("cut/best", through(ops.stop_gradient), "apgd"),
        ("steep", steep, "fgsm"),
        ("cleverhans", linear_classifier(3)[0], "carlini_wagner_cleverhans"),
        ("cleverhans/spsa", linear_classifier(3)[0], "spsa_cleverhans"),
    ):
        images, said = grey_images(20), ""
        try:
            labels = np.zeros(20, int) if name == "numpy" else predictions(model, images)
            get_attack(attack)(model, images, labels, 0.1)
        except AttackFailedError as error:
            said = str(error)
        except ValueError as error:
            said = f"ValueError: {error}"
        found[f"refused/{name}"] = np.array(said)
    return found


def identity_on_jax() -> Arrays:
    """A purifier without a gradient on JAX, attacked as if it were the identity."""
    import jax

    def rounded(images: Any) -> Any:
        shape = jax.ShapeDtypeStruct(images.shape, images.dtype)
        return jax.pure_callback(
            lambda x: np.round(np.asarray(x) * 3) / np.float32(3), shape, images
        )

    classifier, *_ = linear_classifier(3)
    model, images = BPDA(rounded, classifier), grey_images(12)
    labels = predictions(model, images)
    attacked = PGD(num_steps=5)(model, images, labels, 0.3)
    return {"jax/identity": predictions(model, attacked) != labels}


def process_on_jax() -> Arrays:
    """What only that process can tell: that models are freed, and what it has imported."""
    model, *_ = linear_classifier(3)
    images = grey_images(4)
    for name in ("fgsm", "pgd", "mi_fgsm", "carlini_wagner"):
        settings = SHORT if name == "carlini_wagner" else {}
        get_attack(name, **settings)(model, images, predictions(model, images), 0.2)
    program = attacked_model(model).compiled
    alive = weakref.ref(model)
    del model, program
    gc.collect()
    imported = sorted(name for name in sys.modules if name.split(".")[0] in BLOCKED)
    return {"jax/freed": np.array(alive() is None), "jax/imported": np.array(imported, str)}


def results() -> Arrays:
    """Everything that both backends compute."""
    return {
        **linear_cases(),
        **digits_cases(),
        **best_cases(),
        **random_cases(),
        **traced_cases(),
    }


if __name__ == "__main__":
    np.savez(sys.argv[1], **results(), **refusals_on_jax(), **identity_on_jax(), **process_on_jax())
