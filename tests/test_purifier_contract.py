"""What every purifier of the registry has to keep, whatever the method.

A new purifier is tested here by being registered. Small networks, random images.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import zipfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from defenses.purifier import Purifier
from defenses.registry import get_purifier, purifier_names
from tests.attack_helpers import linear_classifier

ROOT = Path(__file__).resolve().parent.parent
GREY, COLOUR = (28, 28, 1), (32, 32, 3)
WIDTH = 0.1
NUM_CLASSES = 10


def methods() -> list[str]:
    """Every method and one ablation of each: the others would only repeat costly tests."""
    seen, chosen = set(), []
    for name in purifier_names():
        entry = get_purifier(name)
        kind = (entry.purifier_class, bool(entry.arguments))
        if kind not in seen:
            seen.add(kind)
            chosen.append(name)
    return chosen


every_method = pytest.mark.parametrize("name", methods())
every_published_method = pytest.mark.parametrize(
    "name", [name for name in methods() if not get_purifier(name).arguments]
)

FRESH_PROCESS = """
import sys
if len(sys.argv) > 2:
    sys.modules[sys.argv[2]] = None  # makes its import fail
import keras, numpy as np
import defenses
images = np.load(sys.argv[1] + "/images.npy")
purified = {}
for name in sys.stdin.read().split():
    purifier = keras.saving.load_model(f"{sys.argv[1]}/{name}.keras", safe_mode=True)
    purifier.reset_randomness(7)
    purified[name] = purifier.purify(images)
np.savez(sys.argv[1] + "/purified.npz", **purified)
"""


def build(name: str, shape=GREY, *, seed: int = 0, deterministic: bool = False) -> Purifier:
    entry = get_purifier(name)
    arguments: dict[str, object] = {}
    parameters = inspect.signature(entry.purifier_class).parameters
    given = {"num_restarts": 2, "num_steps": 5}
    given |= {"mean_latent": True, "noise_scale": 0.0} if deterministic else {}
    arguments |= {key: value for key, value in given.items() if key in parameters}
    if "source_classifier" in parameters:
        arguments["source_classifier"] = linear_classifier(NUM_CLASSES, shape)[0]
    return entry.for_images(shape, NUM_CLASSES, width=WIDTH, seed=seed, **arguments)


@cache
def untrained(name: str, shape=GREY) -> Purifier:
    """A purifier to look at; tests that train build their own."""
    return build(name, shape)


def compiled(purifier: Purifier, make_optimizer) -> Purifier:
    """Compiles with one fresh optimizer for each that the method takes."""
    parameters = inspect.signature(purifier.compile).parameters
    purifier.compile(**{p: make_optimizer() for p in parameters if p.endswith("optimizer")})
    return purifier


def some_images(num_images: int, shape=GREY, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((num_images, *shape), dtype="float32")


def training_batch(purifier: Purifier, num_images: int, seed: int = 0) -> dict[str, np.ndarray]:
    clean = some_images(num_images, purifier.image_shape, seed)
    noise = np.random.default_rng(seed + 1).normal(scale=0.1, size=clean.shape)
    available = {
        "clean": clean,
        "adversarial": np.clip(clean + noise, 0, 1).astype("float32"),
        "label": np.arange(num_images) % NUM_CLASSES,
    }
    return {key: available[key] for key in purifier.batch_keys}


def as_tensors(batch: dict[str, np.ndarray]) -> dict[str, tf.Tensor]:
    return {key: tf.convert_to_tensor(value) for key, value in batch.items()}


class Batches(keras.utils.PyDataset):
    """Serves the given batches in order, as dicts."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def values(variables) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(v).copy() for v in variables]


def trains(purifier: Purifier) -> bool:
    return bool(purifier.loss_names)


# ---------------------------------------------------------------------- purifying


@every_method
@pytest.mark.parametrize("shape", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("num_images", [1, 5])
def test_purified_images_have_shape_kind_and_range(name, shape, num_images):
    purifier = untrained(name, shape)
    purified = purifier.purify(some_images(num_images, shape), batch_size=4)
    assert purifier.image_shape == shape
    assert purified.shape == (num_images, *shape)
    assert purified.dtype == np.float32
    assert np.isfinite(purified).all()
    assert purified.min() >= 0
    assert purified.max() <= 1


@every_method
def test_the_call_itself_stays_in_range(name):
    purified = keras.ops.convert_to_numpy(untrained(name)(some_images(3)))
    assert purified.shape == (3, *GREY)
    assert purified.min() >= 0
    assert purified.max() <= 1


@every_method
def test_randomness_is_as_declared_and_repeats_with_its_seed(name):
    purifier, images = untrained(name), some_images(5)
    assert isinstance(purifier.is_stochastic, bool)
    purifier.reset_randomness(3)
    first, second = purifier.purify(images), purifier.purify(images)
    assert np.array_equal(first, second) is not purifier.is_stochastic
    purifier.reset_randomness(3)
    np.testing.assert_array_equal(purifier.purify(images), first)
    np.testing.assert_array_equal(purifier.purify(images), second)
    purifier.reset_randomness(4)
    assert np.array_equal(purifier.purify(images), first) is not purifier.is_stochastic


@every_method
def test_images_of_one_batch_draw_apart(name):
    purifier = untrained(name)
    same = np.repeat(some_images(1), 4, axis=0)
    purified = purifier.purify(same)
    assert np.allclose(purified[0], purified[1], atol=1e-6) is not purifier.is_stochastic


@every_method
def test_an_image_is_purified_alike_in_any_company(name):
    purifier = build(name, deterministic=True)
    if purifier.is_stochastic:
        pytest.skip("offers no deterministic purification")
    images = some_images(5)
    together = purifier.purify(images, batch_size=4)
    apart = np.concatenate([purifier.purify(images[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(together, apart, atol=2e-6)


@every_method
def test_every_image_has_an_input_gradient_or_bpda_is_declared(name):
    purifier = untrained(name)
    if not purifier.differentiable:
        pytest.skip("declares that it does not differentiate")
    images = tf.constant(some_images(3))
    weights = np.random.default_rng(1).normal(size=images.shape).astype("float32")
    with tf.GradientTape() as tape:
        tape.watch(images)
        output = tf.reduce_sum(purifier(images, training=False) * weights)
    gradient = tape.gradient(output, images).numpy()
    assert np.isfinite(gradient).all()
    assert (np.abs(gradient).max(axis=(1, 2, 3)) > 0).all()


@every_method
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda images: (images * 255).astype("uint8"), r"received dtype uint8.*/ 255"),
        (lambda images: images > 0.5, "received dtype bool"),
        (lambda images: images * 255, r"in \[0, 1\], received values from"),
        (lambda images: images * 2 - 1, r"in \[0, 1\], received values from -"),
        (lambda images: np.where(images > 0.9, np.nan, images), "finite images"),
        (lambda images: images[0], "missing axis"),
        (lambda images: images[:, :-1], "of shape"),
        (lambda images: np.repeat(images, 2, axis=-1), "of shape"),
        (lambda images: images[:0], "at least one image"),
    ],
)
def test_bad_images_are_explained(name, spoil, message):
    with pytest.raises(ValueError, match=message):
        untrained(name).purify(spoil(some_images(2)))


@every_method
def test_bad_batch_size_and_seed_are_explained(name):
    with pytest.raises(ValueError, match="batch_size of at least 1"):
        untrained(name).purify(some_images(2), batch_size=0)
    for seed in (-1, 1.5, True):
        with pytest.raises(ValueError, match="non-negative integer seed"):
            untrained(name).reset_randomness(seed)


@every_method
def test_damaged_weights_do_not_pass_silently(name):
    purifier = build(name)
    if not purifier.trainable_variables:
        pytest.skip("has no weights")
    for variable in purifier.trainable_variables:
        variable.assign(np.full(variable.shape, np.nan, "float32"))
    with pytest.raises(ValueError, match="NaN"):
        purifier.purify(some_images(1))


# ---------------------------------------------------------------------- initial weights


@every_method
def test_twins_from_other_seeds_differ_and_from_one_seed_agree(name):
    kernels = [[v for v in values(build(name, seed=s).weights) if v.std() > 0] for s in (1, 1, 2)]
    for first, again, other in zip(*kernels, strict=True):
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)


@every_method
def test_no_two_layers_start_identical(name):
    kernels = [v for v in values(untrained(name, COLOUR).weights) if v.std() > 0]
    for index, first in enumerate(kernels):
        for second in kernels[index + 1 :]:
            assert not np.array_equal(np.ravel(first)[:50], np.ravel(second)[:50])


# ---------------------------------------------------------------------- training


@every_method
def test_one_step_moves_what_it_should_and_nothing_else(name):
    purifier = build(name)
    if not trains(purifier):
        pytest.skip("does not train")
    compiled(purifier, lambda: keras.optimizers.Adam(1e-3))
    phases = purifier.phases()
    for phase in phases:
        assert phase.optimizer.built
    moving = {id(v) for phase in phases for v in phase.variables}
    assert moving
    weights = purifier.trainable_variables
    assert moving <= {id(v) for v in weights}
    before = values(weights)
    purifier.train_step(as_tensors(training_batch(purifier, 4)))
    for variable, old, new in zip(weights, before, values(weights), strict=True):
        assert np.array_equal(old, new) is not (id(variable) in moving), variable.path


@every_method
def test_the_explicit_step_is_the_step_of_the_phases(name):
    pair = [build(name, seed=5), build(name, seed=5)]
    if not trains(pair[0]):
        pytest.skip("does not train")
    logs = []
    for purifier in pair:
        compiled(purifier, lambda: keras.optimizers.SGD(1e-3, global_clipnorm=5.0))
        purifier.reset_randomness(1)
    for purifier, step in zip(pair, ("train_step", "phase_train_step"), strict=True):
        for seed in range(3):
            log = getattr(purifier, step)(as_tensors(training_batch(purifier, 4, seed)))
        logs.append({key: float(value) for key, value in log.items()})
    assert logs[0] == pytest.approx(logs[1], rel=1e-6)
    start, moved = values(build(name, seed=5).weights), False
    for old, first, second in zip(start, *(values(p.weights) for p in pair), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-6, atol=1e-7)
        moved = moved or not np.array_equal(old, first)
    assert moved


@every_method
def test_logged_losses_are_means_over_the_images_of_the_epoch(name):
    fitted, stepped = build(name, seed=2), build(name, seed=2)
    if not trains(fitted):
        pytest.skip("does not train")
    batches = [training_batch(fitted, size, seed) for seed, size in enumerate((4, 4, 1))]
    for purifier in (fitted, stepped):
        compiled(purifier, lambda: keras.optimizers.SGD(1e-4))
        purifier.reset_randomness(1)
    history = fitted.fit(Batches(batches), epochs=1, shuffle=False, verbose=0).history

    assert set(history) == set(fitted.loss_names)
    records = []
    for batch in batches:
        stepped.reset_metrics()
        log = stepped.train_step(as_tensors(batch))
        records.append([float(log[key]) for key in fitted.loss_names])
    expected = np.average(records, axis=0, weights=[4, 4, 1])
    received = [history[key][0] for key in fitted.loss_names]
    np.testing.assert_allclose(received, expected, rtol=2e-4)
    assert not np.allclose(received, records[-1], rtol=1e-3)


@every_published_method
def test_each_side_lowers_its_losses_on_one_batch_seen_often(name):
    if not trains(untrained(name)):
        pytest.skip("does not train")
    # Smooth images: random pixels cannot be learnt in a few steps.
    rows = np.linspace(0, 1, GREY[0])[None, :, None, None] * np.ones((4, *GREY))
    batch = training_batch(untrained(name), 4)
    for key in set(batch) - {"label"}:
        batch[key] = (rows * np.linspace(0.4, 1, 4)[:, None, None, None]).astype("float32")
    for side in untrained(name).optimizer_names:
        # The other side rests: against a moving opponent a loss may rise.
        purifier = build(name)
        purifier.compile(
            **{
                other: keras.optimizers.Adam(2e-3 if other == side else 0.0, global_clipnorm=5.0)
                for other in purifier.optimizer_names
            }
        )
        history = purifier.fit(Batches([batch] * 6), epochs=4, verbose=0).history
        for phase in purifier.phases():
            if phase.optimizer is getattr(purifier, side):
                key = "loss" if "loss" in history else f"{phase.name}_loss"
                first, last = history[key][0], history[key][-1]
                assert last < first - 0.1 * abs(first)


@every_method
def test_evaluation_reports_losses_and_moves_nothing(name):
    purifier = build(name)
    if not trains(purifier):
        pytest.skip("does not train")
    compiled(purifier, lambda: keras.optimizers.Adam(1e-3))
    before = values(purifier.weights)
    result = purifier.evaluate(Batches([training_batch(purifier, 4)]), verbose=0, return_dict=True)
    assert set(result) == set(purifier.loss_names)
    assert np.isfinite(list(result.values())).all()
    for old, new in zip(before, values(purifier.weights), strict=True):
        np.testing.assert_array_equal(old, new)


@every_method
def test_an_incomplete_batch_is_explained(name):
    purifier = untrained(name)
    if not trains(purifier):
        pytest.skip("does not train")
    for batch in ({"cleen": some_images(2)}, (some_images(2), np.zeros(2)), some_images(2)):
        with pytest.raises(ValueError, match="dict with the keys"):
            purifier.read_batch(batch)
    whole = training_batch(purifier, 2)
    assert purifier.read_batch((whole,)) is whole
    assert purifier.read_batch(whole) is whole


# ---------------------------------------------------------------------- saving


def purify_elsewhere(folder: Path, names, *blocked: str, **environment: str):
    subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS, str(folder), *blocked],
        input=" ".join(names),
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        timeout=300,
    )
    with np.load(folder / "purified.npz", allow_pickle=False) as file:
        return dict(file)


def save_all(folder: Path, deterministic: bool) -> dict[str, np.ndarray]:
    """Trains every purifier for a step, saves it, and returns what it purifies to."""
    images = some_images(6, seed=9)
    np.save(folder / "images.npy", images)
    purified = {}
    for name in methods():
        purifier = build(name, deterministic=deterministic)
        if trains(purifier):
            compiled(purifier, lambda: keras.optimizers.Adam(1e-3))
            purifier.train_step(as_tensors(training_batch(purifier, 4)))
        purifier.save(folder / f"{name}.keras")
        purifier.reset_randomness(7)
        purified[name] = purifier.purify(images)
    return purified


def test_a_fresh_process_purifies_bit_for_bit(tmp_path):
    here = save_all(tmp_path, deterministic=False)
    assert [path.name for path in tmp_path.glob(".*")] == []
    elsewhere = purify_elsewhere(tmp_path, methods(), KERAS_BACKEND="tensorflow")
    for name in methods():
        np.testing.assert_array_equal(elsewhere[name], here[name], err_msg=name)


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_another_backend_purifies_alike_without_tensorflow(tmp_path):
    here = save_all(tmp_path, deterministic=True)
    one_per_class = {get_purifier(name).purifier_class: name for name in here}.values()
    names = [n for n in one_per_class if not build(n, deterministic=True).is_stochastic]
    assert names
    elsewhere = purify_elsewhere(tmp_path, names, "tensorflow", KERAS_BACKEND="jax")
    for name in names:
        np.testing.assert_allclose(elsewhere[name], here[name], atol=1e-5, err_msg=name)


@every_method
def test_a_saved_purifier_carries_no_optimizer(name, tmp_path):
    purifier = build(name)
    if trains(purifier):
        compiled(purifier, lambda: keras.optimizers.Adam(1e-3))
        purifier.train_step(as_tensors(training_batch(purifier, 2)))
    path = tmp_path / f"{name}.keras"
    purifier.save(path)
    size = sum(variable.numpy().nbytes for variable in purifier.weights)
    with zipfile.ZipFile(path) as archive:
        # With the two moments of Adam the weights would take three times their size.
        assert archive.getinfo("model.weights.h5").file_size < 1.5 * size + 200_000
    assert keras.saving.load_model(path, safe_mode=True).compiled is False


@every_method
def test_saving_refuses_other_formats_and_taken_paths(name, tmp_path):
    purifier = untrained(name)
    with pytest.raises(ValueError, match=r"ends in \.keras"):
        purifier.save(tmp_path / "purifier.h5")
    purifier.save(tmp_path / "purifier.keras")
    with pytest.raises(ValueError, match="free path"):
        purifier.save(tmp_path / "purifier.keras", overwrite=False)


# ---------------------------------------------------------------------- registry


@pytest.mark.parametrize("name", purifier_names())
def test_registry_entries_say_what_they_build(name):
    entry = get_purifier(name)
    assert entry.name == name
    assert isinstance(untrained(name), entry.purifier_class)
    assert entry.batch_keys == untrained(name).batch_keys
    assert set(entry.batch_keys) <= {"clean", "adversarial", "label"}
    for argument in entry.arguments:
        with pytest.raises(ValueError, match=argument):
            entry.for_images(GREY, **{argument: 1.0})
