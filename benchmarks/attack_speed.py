"""How fast attacks are: ours, CleverHans called plainly, the Toolbox, foolbox, and the floor.

    python -m benchmarks.attack_speed                     # measures what is installed
    python -m benchmarks.attack_speed --write-page        # and writes docs/performance.md from it

All attack one classifier in one process, a batch of the same images. Each call is made once to
compile and then five times; the median counts. The floor of an attack is its number of gradients
(for Square: of forward passes) times what one compiled gradient of the classifier takes, measured
in the same way between the others. Accuracies stand beside the times, since a fast attack that
does not attack is not fast; of Carlini-Wagner the mean L2 of what misleads.

The Adversarial Robustness Toolbox (``adversarial-robustness-toolbox``) is measured where it is
installed. So is foolbox, which needs an environment of its own, as it does not run with NumPy 2;
its numbers are kept beside the others, with the floor of its own process.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

KEPT = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- begin: attack speed -->", "<!-- end: attack speed -->"
NUM_IMAGES, REPEATS, EPSILON = 128, 5, 0.1
STEPS = {"FGSM": 1, "BIM-10": 10, "PGD-40": 40, "MI-10": 10, "CW-100": 100, "APGD-50": 50}
QUERIES = {"Square-1000": 1_000}
#: Carlini-Wagner with one constant, so that its gradients are its iterations.
SEARCH = {"initial_const": 10.0, "learning_rate": 0.1}
LIBRARIES = ("ours", "CleverHans", "Toolbox", "foolbox")
Call = Callable[[np.ndarray, np.ndarray], Any]


def classifier_and_images() -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """A small convolutional network trained on scikit-learn's digits, and images of it."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    small = (digits.images / 16.0).astype("float32")[..., np.newaxis]
    images = tf.image.resize(small, (28, 28)).numpy().clip(0.0, 1.0)
    labels = digits.target.astype("int64")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(200, activation="relu"),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss)
    model.fit(images[:1500], labels[:1500], epochs=6, batch_size=64, verbose=0)
    return model, images[-NUM_IMAGES:], labels[-NUM_IMAGES:]


# -- contenders -----------------------------------------------------------------------------------


def ours(model: keras.Model) -> dict[str, Call]:
    """The project's attacks."""
    from attacks import get_attack

    made = {
        "FGSM": get_attack("fgsm"),
        "BIM-10": get_attack("bim", num_steps=10),
        "PGD-40": get_attack("pgd", num_steps=40),
        "MI-10": get_attack("mi_fgsm", num_steps=10),
        "CW-100": get_attack("carlini_wagner", max_iterations=100, binary_search_steps=1, **SEARCH),
        "APGD-50": get_attack("apgd", num_steps=50),
        "Square-1000": get_attack("square", num_queries=1_000),
    }

    def calling(name: str) -> Call:
        epsilon = None if name.startswith("CW") else EPSILON
        return lambda images, labels: made[name](model, images, labels, epsilon)

    return {name: calling(name) for name in made}


def cleverhans(model: keras.Model) -> dict[str, Call]:
    """CleverHans's functions as they are; of its Carlini-Wagner, which fails, the mended one."""
    from cleverhans.tf2.attacks.basic_iterative_method import basic_iterative_method
    from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method
    from cleverhans.tf2.attacks.momentum_iterative_method import momentum_iterative_method
    from cleverhans.tf2.attacks.projected_gradient_descent import projected_gradient_descent

    from attacks import get_attack

    common = {"clip_min": 0.0, "clip_max": 1.0, "sanity_checks": False}
    search = get_attack(
        "carlini_wagner_cleverhans", max_iterations=100, binary_search_steps=1, **SEARCH
    )

    def step(num_steps: int) -> float:
        return 2.5 * EPSILON / num_steps

    return {
        "FGSM": lambda x, y: fast_gradient_method(
            model, tf.constant(x), EPSILON, np.inf, y=tf.constant(y), **common
        ),
        "BIM-10": lambda x, y: basic_iterative_method(
            model, tf.constant(x), EPSILON, step(10), 10, y=tf.constant(y), norm=np.inf, **common
        ),
        "PGD-40": lambda x, y: projected_gradient_descent(
            model,
            tf.constant(x),
            EPSILON,
            step(40),
            40,
            np.inf,
            y=tf.constant(y),
            rand_init=True,
            rand_minmax=EPSILON,
            **common,
        ),
        "MI-10": lambda x, y: momentum_iterative_method(
            model, tf.constant(x), EPSILON, step(10), 10, y=tf.constant(y), norm=np.inf, **common
        ),
        "CW-100": lambda x, y: search(model, x, y, None),
    }


def toolbox(model: keras.Model) -> dict[str, Call]:
    """The Adversarial Robustness Toolbox."""
    from art.attacks import evasion
    from art.estimators.classification import TensorFlowV2Classifier

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    classifier = TensorFlowV2Classifier(
        model=model,
        nb_classes=10,
        input_shape=model.input_shape[1:],
        loss_object=loss,
        clip_values=(0.0, 1.0),
    )
    ball = {"norm": np.inf, "eps": EPSILON}
    batch = {"batch_size": NUM_IMAGES}
    quiet = {"verbose": False}

    def step(num_steps: int) -> dict[str, Any]:
        return {"eps_step": 2.5 * EPSILON / num_steps, "max_iter": num_steps}

    made = {
        "FGSM": evasion.FastGradientMethod(classifier, **ball, **batch),
        "BIM-10": evasion.BasicIterativeMethod(
            classifier, eps=EPSILON, **step(10), **batch, **quiet
        ),
        "PGD-40": evasion.ProjectedGradientDescent(
            classifier, **ball, **step(40), num_random_init=1, **batch, **quiet
        ),
        "MI-10": evasion.MomentumIterativeMethod(
            classifier, **ball, **step(10), decay=1.0, **batch, **quiet
        ),
        "CW-100": evasion.CarliniL2Method(
            classifier,
            binary_search_steps=1,
            max_iter=100,
            initial_const=SEARCH["initial_const"],
            learning_rate=SEARCH["learning_rate"],
            **batch,
            **quiet,
        ),
        "APGD-50": evasion.AutoProjectedGradientDescent(
            classifier,
            **ball,
            eps_step=2 * EPSILON,
            max_iter=50,
            nb_random_init=1,
            loss_type="cross_entropy",
            **batch,
            **quiet,
        ),
        "Square-1000": evasion.SquareAttack(
            classifier, **ball, max_iter=1_000, p_init=0.8, nb_restarts=1, **batch, **quiet
        ),
    }
    return {
        name: (lambda x, y, attack=attack: attack.generate(x, y)) for name, attack in made.items()
    }


def foolbox(model: keras.Model) -> dict[str, Call]:
    """foolbox."""
    import foolbox as library

    wrapped = library.TensorFlowModel(model, bounds=(0.0, 1.0))
    found = library.attacks

    def step(num_steps: int) -> dict[str, Any]:
        return {"abs_stepsize": 2.5 * EPSILON / num_steps, "steps": num_steps}

    made = {
        "FGSM": found.LinfFastGradientAttack(),
        "BIM-10": found.LinfBasicIterativeAttack(**step(10)),
        "PGD-40": found.LinfProjectedGradientDescentAttack(**step(40)),
        "CW-100": found.L2CarliniWagnerAttack(
            binary_search_steps=1,
            steps=100,
            stepsize=SEARCH["learning_rate"],
            initial_const=SEARCH["initial_const"],
        ),
    }

    def calling(name: str) -> Call:
        epsilon = None if name.startswith("CW") else EPSILON

        def call(images: np.ndarray, labels: np.ndarray) -> Any:
            _, clipped, _ = made[name](
                wrapped, tf.constant(images), tf.constant(labels), epsilons=epsilon
            )
            return clipped

        return call

    return {name: calling(name) for name in made}


# -- measuring ------------------------------------------------------------------------------------


def floors(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> tuple[Call, Call]:
    """One compiled gradient of all images, and one forward pass."""
    x, y = tf.constant(images), tf.constant(labels)

    @tf.function
    def gradient(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(y, model(x, training=False))
        return tape.gradient(loss, x)

    @tf.function
    def forward(x: Any) -> Any:
        return model(x, training=False)

    return lambda *_: gradient(x).numpy(), lambda *_: forward(x).numpy()


def seconds(call: Call, images: np.ndarray, labels: np.ndarray, inner: int = 1) -> float:
    """The median of several calls, each of which may be made of several."""
    call(images, labels)
    found = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in range(inner):
            result = call(images, labels)
        np.asarray(result)
        found.append((time.perf_counter() - start) / inner)
    return statistics.median(found)


def measured(libraries: list[str]) -> dict[str, Any]:
    """Seconds and results of each attack by library, and of the floors."""
    model, images, labels = classifier_and_images()
    gradient, forward = floors(model, images, labels)
    makers = {"ours": ours, "CleverHans": cleverhans, "Toolbox": toolbox, "foolbox": foolbox}
    calls = {library: makers[library](model) for library in libraries}
    found: dict[str, Any] = {library: {} for library in libraries}
    floor: dict[str, float] = {}
    clean = model.predict(images, verbose=0).argmax(-1)
    for name in (*STEPS, *QUERIES):
        one = seconds(gradient if name in STEPS else forward, images, labels, inner=20)
        floor[name] = one * (STEPS.get(name) or QUERIES[name])
        for library in libraries:
            call = calls[library].get(name)
            if call is None:
                continue
            taken = seconds(call, images, labels)
            attacked = np.asarray(call(images, labels))
            said = model.predict(attacked, verbose=0).argmax(-1)
            fooled = (said != labels) & (clean == labels)
            lengths = np.sqrt(np.sum((attacked - images) ** 2, axis=(1, 2, 3)))
            found[library][name] = {
                "seconds": taken,
                "accuracy": float(np.mean(said == labels)),
                "l2": float(lengths[fooled].mean()) if fooled.any() else None,
            }
            print(f"{name:12} {library:10} {taken:8.3f} s, floor {floor[name]:.3f} s", flush=True)
    return {
        "libraries": found,
        "floor": floor,
        "clean_accuracy": float(np.mean(clean == labels)),
        "versions": {
            package: metadata.version(package)
            for package in (
                "tensorflow",
                "keras",
                "numpy",
                "cleverhans",
                "adversarial-robustness-toolbox",
                "foolbox",
            )
            if _installed(package)
        },
        "processor": f"{os.cpu_count()} cores, {platform.machine()}",
    }


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _there() -> list[str]:
    """The libraries that this environment has."""
    modules = {"CleverHans": "cleverhans", "Toolbox": "art", "foolbox": "foolbox"}
    found = [name for name, module in modules.items() if importlib.util.find_spec(module)]
    own = [] if "foolbox" in found else ["ours"]
    return [*own, *found] if own else ["foolbox"]


# -- showing --------------------------------------------------------------------------------------


def table(kept: dict[str, Any]) -> str:
    """Images per second, as a share of the floor, with accuracies."""
    lines = [
        "| attack | floor, images/s | " + " | ".join(LIBRARIES) + " |",
        "| :-- | --: |" + " --: |" * len(LIBRARIES),
    ]
    for name in (*STEPS, *QUERIES):
        cells = []
        floor = ""
        for library in LIBRARIES:
            run = next((r for r in kept.values() if library in r["libraries"]), None)
            one = run["libraries"][library].get(name) if run else None
            if run is None or one is None:
                cells.append("–")
                continue
            share = run["floor"][name] / one["seconds"]
            rate = NUM_IMAGES / one["seconds"]
            beside = f"L2 {one['l2']:.2f}" if name.startswith("CW") and one["l2"] else ""
            left = beside or f"{100 * one['accuracy']:.0f} % left"
            cells.append(f"{rate:,.0f} ({share:.2f}; {left})")
            if library == "ours":
                floor = f"{NUM_IMAGES / run['floor'][name]:,.0f}"
        lines.append(f"| {name} | {floor} | " + " | ".join(cells) + " |")
    versions = "; ".join(
        ", ".join(f"{package} {version}" for package, version in run["versions"].items())
        for run in kept.values()
    )
    processors = ", ".join(dict.fromkeys(run["processor"] for run in kept.values()))
    return "\n".join([*lines, "", f"Measured on {processors}; {versions}."])


def write_page(kept: dict[str, Any]) -> None:
    """Puts the table into the page, between its markers."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{table(kept)}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Measures what is installed, keeps it, and writes the page if asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--write-page", action="store_true", help="write docs/performance.md")
    parser.add_argument("--only-page", action="store_true", help="from what is kept, no measuring")
    options = parser.parse_args()
    kept = json.loads(KEPT.read_text()) if KEPT.is_file() else {}
    if not options.only_page:
        libraries = _there()
        kept["foolbox" if libraries == ["foolbox"] else "main"] = measured(libraries)
        KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    if options.write_page or options.only_page:
        write_page(kept)
    print(table(kept))


if __name__ == "__main__":
    main()
