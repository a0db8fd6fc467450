"""Generates wrong inputs for every public door, and grades what comes of them.

A door is a function and one of its arguments. What may come in at a kind of door (images, labels,
numbers, names, models, files, command lines) is a hypothesis strategy of wrong and of right values,
each of which says which it is, independently of the code under test.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import inspect
import io
import json
import re
import signal
import tempfile
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import run_all
from attacks import UnattackedImagesWarning, attack_random_member, get_attack
from attacks.losses import LOSSES
from attacks.registry import ATTACKS
from attacks.substitute import SubstituteTraining
from defenses import (
    ConditionalTables,
    DefendedClassifier,
    get_purifier,
    losses,
    majority_vote,
    purifier_names,
)
from defenses.adversarial_training import FGSMAdversarialTraining, PGDAdversarialTraining
from defenses.decision import softmax_prior
from defenses.magnet_detector import DivergenceDetector, ErrorDetector
from defenses.voting import voting_analysis
from experiments import config, datasets, presets, zoo
from experiments.model_files import load_keras_model
from models import Sampling, build_classifier
from results.sheet import wilson_interval
from results.store import RowStore
from tests.made_rows import accuracy, number, row

ROOT = Path(__file__).resolve().parents[1]
OURS = ("attacks", "defenses", "experiments", "models", "papers", "results", "validation")
SECONDS = 20
SHAPE = (28, 28, 1)


class Grade(enum.StrEnum):
    """What came of one input; docs/reliability.md has the rule."""

    CLEAR = "clear"
    UNCLEAR = "unclear"
    TRACE = "trace"
    SILENT = "silent"
    HANG = "hang"
    ACCEPTED = "accepted"
    REFUSED = "refused"


@dataclasses.dataclass(frozen=True)
class Case:
    """One input at one door.

    Args:
        group: Which kind of input it is.
        door: The function and argument, for the report.
        value: The input, for the report.
        wrong: Whether it has to be refused; ``None`` where either a refusal or a right result will
            do, as for a changed byte that may stand for nothing.
        call: Passes it in.
        holds: Of what comes back, whether it is right.
    """

    group: str
    door: str
    value: str
    wrong: bool | None
    call: Callable[[], Any]
    holds: Callable[[Any], bool] = lambda _: True


_RIGHT = (Grade.ACCEPTED, Grade.REFUSED)
"""Grades of inputs that are right."""


class _TimeUpError(BaseException):
    pass


_EXPECTED = re.compile(r"[Ee]xpected |[Uu]nknown .*[Kk]nown|required|must be", re.DOTALL)
_RECEIVED = re.compile(r"received|does not exist|is damaged|not found|missing", re.DOTALL)
_IMPERATIVES = (
    "add attack build call choose clip compile convert copy count delete divide do draw "
    "drop enlarge evaluate export fit flatten give install join lead leave load look "
    "lower make measure mend merge move number pad pass prepare publish raise read remove "
    "rescale resize restore run save see set stack take train try turn use wrap write"
)
_REMEDY = re.compile(
    # At the start of a sentence or clause: "a number" is no remedy.
    rf"(?:[.:;,?\"')] |\n)({_IMPERATIVES.replace(' ', '|')})\b|one of |known|there are|it has:",
    re.IGNORECASE,
)
_PYTHONS_OWN = re.compile(r"unexpected keyword|required (positional|keyword)|positional argument")


def grade(case: Case) -> tuple[Grade, str]:
    """Runs a case; returns its grade and what was said."""
    stop = partial(_stop, case)
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            result = case.call()
        is_right = not case.wrong and case.holds(result)
    except _TimeUpError:
        return Grade.HANG, f"not done after {SECONDS} seconds"
    except Exception as error:
        found = grade_of(error)
        return (Grade.REFUSED if case.wrong is False else found), f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    told = [str(w.message) for w in said if issubclass(w.category, UnattackedImagesWarning)]
    if case.wrong:
        return (Grade.CLEAR, told[0]) if told else (Grade.SILENT, repr(result)[:200])
    return (Grade.ACCEPTED if is_right else Grade.SILENT), repr(result)[:200]


def grade_of(error: BaseException) -> Grade:
    """Whether an error is clear: our own, with what was expected, received, and how to mend it."""
    text = str(error)
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, TypeError) and _PYTHONS_OWN.search(text):
        return Grade.CLEAR
    kinds = (ValueError, OSError, ImportError, IndexError)
    parts = _EXPECTED.search(text), _RECEIVED.search(text), _REMEDY.search(text)
    if isinstance(error, kinds) and all(parts) and not text.startswith("{{function_node"):
        return Grade.CLEAR
    inside = Path(frames[-1].filename)
    ours = inside.is_relative_to(ROOT) and inside.relative_to(ROOT).parts[0] in (
        *OURS,
        "run_all.py",
    )
    return Grade.UNCLEAR if ours and isinstance(error, kinds) else Grade.TRACE


def _stop(case: Case, *_: Any) -> None:
    raise _TimeUpError(case.door)


# -- values -------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Value:
    """A value, whether it is wrong (``None``: see ``Case``), and what the report calls it."""

    value: Any
    wrong: bool | None
    name: str


def _wrong(*named: tuple[str, Any]) -> st.SearchStrategy[Value]:
    return st.sampled_from([Value(value, True, name) for name, value in named])


def _right(*named: tuple[str, Any]) -> st.SearchStrategy[Value]:
    return st.sampled_from([Value(value, False, name) for name, value in named])


def _shown(strategy: st.SearchStrategy[Any], wrong: bool) -> st.SearchStrategy[Value]:
    return strategy.map(lambda value: Value(value, wrong, repr(value)[:60]))


JUNK = _wrong(
    ("text", "3"),
    ("empty text", ""),
    ("bytes", b"3"),
    ("object", object()),
    ("set", {1}),
    ("nan", float("nan")),
    ("inf", float("inf")),
    ("-inf", float("-inf")),
    ("function", len),
    ("complex", 1j),
    ("class", int),
    ("huge", 10**400),
)
"""Of no use as a number, a name, a list of numbers, images or labels."""


@cache
def sound_images() -> np.ndarray:
    return datasets.load(presets.profile("demo").plans["digits"].dataset).test.images[:4]


SOUND_LABELS = np.array([3, 1, 4, 1])


def _damaged_pixel(images: np.ndarray, value: float, place: int) -> np.ndarray:
    changed = images.copy()
    changed.reshape(-1)[place % changed.size] = value
    return changed


def bad_images() -> st.SearchStrategy[Value]:
    images = sound_images()
    pixels = st.tuples(
        st.sampled_from([np.nan, np.inf, -np.inf, 1.01, -0.01, 255.0, 1e30]),
        st.integers(0, images.size - 1),
    ).map(lambda p: Value(_damaged_pixel(images, *p), True, f"a pixel of {p[0]}"))
    shapes = st.lists(st.integers(1, 40), min_size=0, max_size=6).filter(
        lambda shape: np.prod(shape) < 10**6 and (len(shape) != 4 or tuple(shape[1:]) != SHAPE)
    )
    zeros = shapes.map(lambda s: Value(np.zeros(s, "float32"), True, f"zeros of {tuple(s)}"))
    scales = st.floats(1.2, 300).map(lambda s: Value(images * s + 0.5, True, f"times {s:.3g}"))
    fixed = _wrong(
        ("uint8", (images * 255).astype("uint8")),
        ("int64", np.ones((4, *SHAPE), "int64")),
        ("bool", images > 0.5),
        ("[-1, 1]", images * 2 - 1),
        ("channels first", np.moveaxis(images, -1, 1)),
        ("one image without a batch", images[0]),
        ("no channel", images[..., 0]),
        ("colour", np.repeat(images, 3, axis=-1)),
        ("complex", images.astype("complex64")),
        ("objects", images.astype(object)),
        ("texts", images.astype(str)),
        ("ragged", [images[0], images[1, :5]]),
        ("None", None),
        ("a dict", {"images": images}),
        ("masked integers", np.ma.masked_array(np.ones((4, *SHAPE), int))),
    )
    return st.one_of(fixed, pixels, zeros, scales, JUNK)


def good_images() -> st.SearchStrategy[Value]:
    images = sound_images()
    return _right(
        ("float32", images),
        ("float64", images.astype("float64")),
        ("reversed view", images[::-1]),
        ("Fortran order", np.asfortranarray(images)),
        ("zeros", np.zeros_like(images)),
        ("ones", np.ones_like(images)),
    )


def bad_labels(num_classes: int = 10, count: int = 4) -> st.SearchStrategy[Value]:
    low = st.integers(-(2**40), -1) | st.integers(num_classes, 2**40)
    out = st.tuples(low, st.integers(0, count - 1)).map(
        lambda p: Value(np.where(np.arange(count) == p[1], p[0], 1), True, f"a label of {p[0]}")
    )
    lengths = (
        st.integers(0, 9)
        .filter(lambda n: n != count)
        .map(lambda n: Value(np.ones(n, int), True, f"{n} labels"))
    )
    fixed = _wrong(
        ("one-hot", np.eye(num_classes)[SOUND_LABELS % num_classes]),
        ("one-hot integers", np.eye(num_classes, dtype=int)[SOUND_LABELS % num_classes]),
        ("floats", SOUND_LABELS.astype("float32")),
        ("NaN", np.full(count, np.nan)),
        ("bools", SOUND_LABELS > 1),
        ("texts", SOUND_LABELS.astype(str)),
        ("a scalar", np.int64(3)),
        ("two columns", np.ones((count, 2), int)),
        ("None", None),
        ("ragged", [[1], [1, 2], [3], [4]]),
    )
    return st.one_of(fixed, out, lengths, JUNK)


def good_labels() -> st.SearchStrategy[Value]:
    return _right(
        ("int64", SOUND_LABELS),
        ("int32", SOUND_LABELS.astype("int32")),
        ("uint8", SOUND_LABELS.astype("uint8")),
        ("a column", SOUND_LABELS[:, None]),
        ("a list", SOUND_LABELS.tolist()),
    )


def bad_integers(least: int, most: int | None = None, or_none: bool = False) -> Any:
    fractions = st.floats(-1e6, 1e6).filter(lambda x: x != int(x))
    outside = st.integers(-(10**12), least - 1)
    if most is not None:
        outside = outside | st.integers(most + 1, 10**15)
    lists = st.lists(st.integers(1, 5), max_size=3)
    bools = _wrong(("True", True), ("False", False), ("2.0", 2.0), ("an array", np.array([2, 3])))
    junk = JUNK
    if most is None:  # some generators take any integer, some have a limit: both are right
        junk = JUNK.map(lambda v: Value(v.value, None, v.name) if v.name == "huge" else v)
    parts = [_shown(fractions, True), _shown(outside, True), _shown(lists, True), bools, junk]
    return st.one_of(*parts, *([] if or_none else [_wrong(("None", None))]))


def bad_numbers(low: float, high: float | None = None, *, or_none: bool = False) -> Any:
    """Numbers outside of a range, which is given a little wide, and what is none."""
    outside = st.floats(max_value=low, exclude_max=True, allow_nan=False)
    if high is not None:
        outside = outside | st.floats(min_value=high, exclude_min=True, allow_nan=False)
    lists = st.lists(st.floats(0, 1), max_size=3)
    bools = _wrong(("True", True), ("False", False), ("an array", np.array([0.1, 0.2])))
    parts = [_shown(outside, True), _shown(lists, True), bools, JUNK]
    return st.one_of(*parts, *([] if or_none else [_wrong(("None", None))]))


def bad_names(known: tuple[str, ...]) -> st.SearchStrategy[Value]:
    texts = st.text(max_size=12) | st.sampled_from(known).map(lambda name: f"{name} ")
    texts |= st.sampled_from(known).map(lambda name: f"../{name}")
    texts |= st.sampled_from(known).map(lambda name: f"{name}\0")
    texts |= st.sampled_from(known).map(str.swapcase)
    wrong = _shown(texts.filter(lambda text: text not in known), True)
    fixed = _wrong(("None", None), ("a number", 3), ("a list", ["fgsm"]), ("a path", "/etc/passwd"))
    return st.one_of(wrong, fixed, JUNK)


def bad_flags() -> st.SearchStrategy[Value]:
    return st.one_of(_wrong(("0", 0), ("1", 1), ("None", None), ("a list", [True])), JUNK)


# -- what the doors need, made once -------------------------------------------------------------


@cache
def target() -> keras.Model:
    return zoo.load("digits", "target_A")


@cache
def purifier(name: str) -> keras.Model:
    return zoo.load("digits", name)


@cache
def trainable(name: str) -> keras.Model:
    options = {"source_classifier": target()} if name == "puvae" else {}
    found = get_purifier(name).for_images(SHAPE, width=0.05, **options)
    found.compile(run_eagerly=True)
    return found


@cache
def defended() -> keras.Model:
    return DefendedClassifier(purifier("magnet"), [target()])


class HiddenSoftmax(keras.layers.Layer):
    def call(self, x):
        return keras.ops.softmax(x)


def _model_of(*layers: Any, shape: tuple[int, ...] = SHAPE) -> keras.Model:
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), *layers])


@cache
def bad_model_list() -> tuple[tuple[str, Any], ...]:
    dense, rescaling = keras.layers.Dense, keras.layers.Rescaling
    nan = _model_of(dense(10))
    nan.set_weights([weights * np.nan for weights in nan.get_weights()])
    inputs = target().inputs
    steep = keras.Model(inputs, rescaling(80.0)(target().outputs[0]))
    flat = _model_of(dense(10))
    flat.set_weights([np.zeros((784, 10)), np.eye(10)[1]])
    nested = keras.Sequential([keras.Input(SHAPE), _model_of(dense(10, activation="softmax"))])
    operation = keras.Model(inputs, keras.ops.softmax(target().outputs[0]))
    scaled = keras.Model(inputs, 7.0 * keras.ops.softmax(target().outputs[0]))
    rounded = keras.Model(inputs, keras.ops.round(target().outputs[0]))
    return (
        ("None", None),
        ("a name", "A"),
        ("a function", lambda images: images),
        ("a purifier", purifier("magnet")),
        ("an unbuilt model", keras.Sequential([keras.layers.Dense(10)])),
        ("a model of other images", _model_of(dense(10), shape=(8, 8, 1))),
        ("a model of one class", _model_of(dense(1))),
        ("NaN weights", nan),
        ("a steep model", steep),
        ("a constant model", flat),
        ("a softmax", _model_of(dense(10, activation="softmax"))),
        ("a softmax in a layer of one's own", _model_of(dense(10), HiddenSoftmax())),
        ("a nested softmax", nested),
        ("a softmax as an operation", operation),
        ("seven softmaxes", scaled),
        ("a sigmoid", keras.Model(inputs, keras.ops.sigmoid(target().outputs[0]))),
        ("a tanh", keras.Model(inputs, keras.ops.tanh(target().outputs[0]))),
        ("a rounded model", rounded),
    )


# -- doors --------------------------------------------------------------------------------------


def door(
    group: str,
    name: str,
    values: st.SearchStrategy[Value],
    call: Callable[[Any], Any],
    holds: Callable[[Any], bool] = lambda _: True,
) -> st.SearchStrategy[Case]:
    """Cases of one door: the values that come in, what takes them, and what is right of it."""

    def case(value: Value) -> Case:
        return Case(group, name, value.name, value.wrong, partial(call, value.value), holds)

    return values.map(case)


def _are_images(found: Any) -> bool:
    array = np.asarray(found)
    return array.shape == (4, *SHAPE) and array.min() >= 0 and array.max() <= 1.000001


def _attack(name: str, **given: Any) -> Any:
    cheap = {"num_steps": 2} if "num_steps" in _fields(name) else {}
    cheap |= {"num_samples": 4} if "num_samples" in _fields(name) else {}
    cheap |= {"num_queries": 8} if "num_queries" in _fields(name) else {}
    if "max_iterations" in _fields(name):
        cheap = {"max_iterations": 5, "binary_search_steps": 1, "initial_const": 10.0}
    arguments = {"model": target(), "images": sound_images(), "labels": SOUND_LABELS}
    arguments |= {"epsilon": 0.3, "require_change": False, **given}
    return get_attack(name, **cheap)(**arguments)


def _fields(name: str) -> dict[str, str]:
    return {field.name: str(field.type) for field in dataclasses.fields(ATTACKS[name])}


def attack_doors() -> Iterator[st.SearchStrategy[Case]]:
    for name in ATTACKS:
        images = bad_images() | good_images()
        call = partial(_attack, name)
        yield door("images", f"{name}(images)", images, lambda v, c=call: c(images=v), _are_images)
        labels = bad_labels() | good_labels()
        yield door("labels", f"{name}(labels)", labels, lambda v, c=call: c(labels=v), _are_images)
        # None leaves the attack untargeted.
        goals = bad_labels().filter(lambda v: v.value is not None)
        goals |= _wrong(("the true labels", SOUND_LABELS))
        yield door("labels", f"{name}(target_labels)", goals, lambda v, c=call: c(target_labels=v))
        native = name.startswith("carlini")
        epsilons = bad_numbers(0.0, 1.0, or_none=native)
        yield door("numbers", f"{name}(epsilon)", epsilons, lambda v, c=call: c(epsilon=v))
        yield door("numbers", f"{name}(seed)", bad_integers(0), lambda v, c=call: c(seed=v))
        sizes = bad_integers(1, or_none=True)
        yield door("numbers", f"{name}(batch_size)", sizes, lambda v, c=call: c(batch_size=v))
        progress = _wrong(("a number", 3), ("a text", "bar"), ("a list", []))
        yield door("numbers", f"{name}(progress)", progress, lambda v, c=call: c(progress=v))
        models = _wrong(*bad_model_list())
        if native or not ATTACKS[name].uses_gradient:
            # A loss of logits does not saturate, and queries need no gradient.
            models = models.filter(lambda v: v.name not in ("a steep model", "a rounded model"))
        checked = partial(_attack, name, require_change=True)
        yield door("models", f"{name}(model)", models, lambda v, c=checked: c(model=v))
        for field, kind in _fields(name).items():
            yield door(
                "numbers",
                f"get_attack({name}, {field})",
                _of_field(field, kind),
                lambda v, n=name, f=field: get_attack(n, **{f: v}),
            )
    yield door("names", "get_attack(name)", bad_names(tuple(ATTACKS)), get_attack)
    lists = _wrong(("empty", []), ("a text", "0.1"), ("None", None), ("a number", 0.1))
    lists |= bad_numbers(0.0, 1.0).map(lambda v: Value([0.1, v.value], True, f"0.1, {v.name}"))
    yield door(
        "numbers",
        "fgsm.curve(epsilons)",
        lists,
        lambda v: get_attack("fgsm").curve(target(), sound_images(), SOUND_LABELS, v),
    )
    pools = _wrong(("empty", []), ("None", None), ("names", ["A"]), ("a model", target()))
    yield door(
        "models",
        "attack_random_member(models)",
        pools,
        lambda v: attack_random_member(
            get_attack("fgsm"), v, sound_images(), SOUND_LABELS, [0.1], 0
        ),
    )


def _of_field(field: str, kind: str) -> st.SearchStrategy[Value]:
    if field in ("norm", "epsilon_mode"):
        return bad_names(("linf", "l2", "rescale", "clip"))
    if field == "loss":
        return bad_names(LOSSES)
    if "bool" in kind:
        return bad_flags()
    if "int" in kind:
        return bad_integers(1, 10**7)
    if field == "random_share":
        return bad_numbers(0.0, 1.0)
    return bad_numbers(0.0, 1e10, or_none="None" in kind)


PURIFIERS = ("magnet", "sfl_vae", "defense_vae", "puvae", "vqunet", "defense_cyclegan")


def purifier_doors() -> Iterator[st.SearchStrategy[Case]]:
    import tensorflow as tf

    graph = tf.function(lambda images, model: model(images), reduce_retracing=True)
    in_graph = bad_images().filter(
        # Inside a graph there are no values; and what is no tensor is TensorFlow's own refusal.
        lambda v: (
            isinstance(v.value, np.ndarray)
            and v.value.dtype.kind in "fiub"
            and (v.value.shape[1:] != SHAPE or v.value.dtype.kind != "f")
        )
    )
    for name in PURIFIERS:
        images = bad_images() | good_images()
        purify = partial(lambda n, v: purifier(n).purify(v), name)
        yield door("images", f"{name}.purify(images)", images, purify, _are_images)
        call = partial(lambda n, v: purifier(n)(v), name)
        yield door("calls", f"{name}(images)", images, call, _are_images)
        traced = partial(lambda n, v: graph(tf.constant(v), purifier(n)), name)
        yield door("calls", f"tf.function of {name}(images)", in_graph, traced)
        sizes = partial(lambda n, v: purifier(n).purify(sound_images(), v), name)
        yield door("numbers", f"{name}.purify(batch_size)", bad_integers(1), sizes)
        seeds = partial(lambda n, v: purifier(n).reset_randomness(v), name)
        yield door("numbers", f"{name}.reset_randomness(seed)", bad_integers(0), seeds)
        built = get_purifier(name).for_images
        shapes = _bad_shapes()
        yield door("numbers", f"{name}.for_images(input_shape)", shapes, partial(built, width=0.05))
        widths = bad_numbers(0.0, 1e4)
        yield door(
            "numbers", f"{name}.for_images(width)", widths, lambda v, b=built: b(SHAPE, width=v)
        )
        seeds_ = bad_integers(0)
        yield door(
            "numbers",
            f"{name}.for_images(seed)",
            seeds_,
            lambda v, b=built: b(SHAPE, width=0.05, seed=v),
        )
        yield from _training_doors(name)


def _training_doors(name: str) -> Iterator[st.SearchStrategy[Case]]:
    sound = {"clean": sound_images(), "adversarial": sound_images(), "label": SOUND_LABELS}
    keys = get_purifier(name).purifier_class.batch_keys

    def fit(key: str, how: str, value: Any) -> Any:
        batch = {**{k: sound[k] for k in keys}, key: value}
        data: Any = batch
        if how == "a dataset":
            data = _OneBatch(batch)
        elif how == "a generator":
            data = (part for part in [(batch,)])
        return trainable(name).fit(data, batch_size=4, verbose=0)

    for key in keys:
        values = bad_labels() | good_labels() if key == "label" else bad_images()
        for how in ("arrays", "a dataset", "a generator"):
            where = f"{name}.fit({how}[{key!r}])"
            yield door("training", where, values, partial(fit, key, how))
    wholes = _wrong(
        ("None", None),
        ("an array", sound_images()),
        ("no key", {"images": sound_images()}),
        ("a pair", (sound_images(), SOUND_LABELS)),
        ("a text", "clean"),
        ("a number", 3),
    )
    arrays = {key: sound[key] for key in keys}
    numbers = {
        "epochs": bad_integers(1, 10**9),
        "batch_size": bad_integers(1, 10**9, or_none=True),
        "steps_per_epoch": bad_integers(1, 10**9, or_none=True),
        "initial_epoch": bad_integers(0, 0),
        "validation_split": bad_numbers(0.0, 1.0),
    }
    for option, bad in numbers.items():
        call = partial(lambda o, v: trainable(name).fit(arrays, **{"verbose": 0, o: v}), option)
        yield door("numbers", f"{name}.fit({option})", bad, call)
    yield door("training", f"{name}.fit(x)", wholes, lambda v: trainable(name).fit(v, verbose=0))


class _OneBatch(keras.utils.PyDataset):
    def __init__(self, batch: Any) -> None:
        super().__init__()
        self.batch = batch

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Any:
        return (self.batch,)


def _bad_shapes() -> st.SearchStrategy[Value]:
    lists = st.lists(st.integers(-3, 40), max_size=5).filter(
        lambda s: len(s) != 3 or min(s, default=0) < 1
    )
    first = st.tuples(st.sampled_from([1, 3]), st.integers(8, 64), st.integers(8, 64))
    fixed = _wrong(("None", None), ("floats", (28.0, 28.0, 1.0)), ("texts", ("28", "28", "1")))
    return st.one_of(_shown(lists.map(tuple), True), _shown(first, True), fixed, JUNK)


def decision_doors() -> Iterator[st.SearchStrategy[Case]]:
    images = bad_images() | good_images()
    yield door(
        "images",
        "DefendedClassifier.predict_labels",
        images,
        lambda v: defended().predict_labels(v),
    )
    yield door("calls", "DefendedClassifier(images)", images, lambda v: defended()(v))
    models = _wrong(*bad_model_list()).filter(
        lambda v: (
            v.name
            not in (
                # It is the attack on them that shows it.
                "a steep model",
                "a constant model",
                "a rounded model",
                "a sigmoid",
                "a tanh",
            )
        )
    )
    yield door(
        "models",
        "DefendedClassifier(classifiers)",
        models,
        lambda v: DefendedClassifier(purifier("magnet"), [v]),
    )
    purifiers = _wrong(("a classifier", target()), ("a name", "magnet"), ("a function", len))
    yield door(
        "models",
        "DefendedClassifier(purifier)",
        purifiers,
        lambda v: DefendedClassifier(v, [target()]),
    )
    rules = bad_names(("single", "mean", "mean_logits"))
    yield door(
        "names",
        "DefendedClassifier(rule)",
        rules,
        lambda v: DefendedClassifier(purifier("magnet"), [target()], v),
    )
    yield door(
        "numbers",
        "DefendedClassifier(num_draws)",
        bad_integers(1, 10**5),
        lambda v: DefendedClassifier(purifier("magnet"), [target()], num_draws=v),
    )
    votes = np.array([[3, 1, 3], [1, 1, 2], [4, 4, 4], [1, 0, 1]])
    bad_votes = _wrong(
        ("floats", votes + 0.5),
        ("one axis", votes[0]),
        ("NaN", votes * np.nan),
        ("negative", -votes - 1),
        ("none", votes[:, :0]),
        ("texts", votes.astype(str)),
        ("None", None),
    )
    yield door("labels", "majority_vote(predictions)", bad_votes | JUNK, majority_vote)
    yield door(
        "numbers",
        "majority_vote(num_drawn)",
        bad_integers(1, 3, or_none=True),
        lambda v: majority_vote(votes, v),
    )
    fit = ConditionalTables.fit
    yield door(
        "labels",
        "ConditionalTables.fit(labels)",
        bad_labels(),
        lambda v: fit(v, SOUND_LABELS, SOUND_LABELS),
    )
    yield door(
        "labels",
        "ConditionalTables.fit(votes)",
        bad_labels(),
        lambda v: fit(SOUND_LABELS, SOUND_LABELS, v),
    )
    yield door(
        "numbers",
        "ConditionalTables.fit(smoothing)",
        bad_numbers(0.0, or_none=False),
        lambda v: fit(SOUND_LABELS, SOUND_LABELS, SOUND_LABELS, smoothing=v),
    )
    tables = fit(SOUND_LABELS, SOUND_LABELS, SOUND_LABELS)
    priors = _wrong(
        ("short", np.ones(9)),
        ("negative", -np.ones(10)),
        ("zeros", np.zeros(10)),
        ("NaN", np.full(10, np.nan)),
        ("texts", ["a"] * 10),
        ("three axes", np.ones((4, 10, 1))),
    )
    yield door(
        "numbers",
        "ConditionalTables.decide(prior)",
        priors,
        lambda v: tables.decide(SOUND_LABELS, SOUND_LABELS, v),
    )
    logits = _wrong(
        ("one axis", np.ones(10)),
        ("NaN", np.full((4, 10), np.nan)),
        ("texts", [["a"]]),
        ("none", np.ones((0, 10))),
        ("None", None),
        ("inf", np.full((4, 10), np.inf)),
    )
    yield door("numbers", "softmax_prior(logits)", logits, softmax_prior)
    yield door(
        "numbers",
        "softmax_prior(uniform_fraction)",
        bad_numbers(0.0, 1.0),
        lambda v: softmax_prior(np.ones((4, 10)), v),
    )
    yield door(
        "numbers",
        "ErrorDetector(order)",
        bad_integers(1, 2),
        lambda v: ErrorDetector(purifier("magnet"), order=v),
    )
    detector = ErrorDetector(purifier("magnet"))
    yield door("images", "ErrorDetector.scores(images)", images, detector.scores)
    yield door(
        "numbers",
        "ErrorDetector.fit_threshold(rate)",
        bad_numbers(0.2, 1.0),
        lambda v: detector.fit_threshold(sound_images(), v),
    )


def model_doors() -> Iterator[st.SearchStrategy[Case]]:
    from models.registry import CLASSIFIERS

    names = tuple(CLASSIFIERS)
    yield door(
        "names",
        "build_classifier(architecture)",
        bad_names(names),
        lambda v: build_classifier(v, SHAPE, width=0.05),
    )
    for name in ("A", "resnet_a", "densenet_a", "wide_resnet_a", "puvae_a"):
        build = partial(build_classifier, name)
        small = {"width": 0.1} | ({"depth": 1} if "net" in name else {})
        yield door(
            "numbers", f"{name}(input_shape)", _bad_shapes(), lambda v, b=build, s=small: b(v, **s)
        )
        yield door(
            "numbers", f"{name}(width)", bad_numbers(0.0, 1e4), lambda v, b=build: b(SHAPE, width=v)
        )
        classes = bad_integers(2, 10**7)
        yield door(
            "numbers", f"{name}(num_classes)", classes, lambda v, b=build, s=small: b(SHAPE, v, **s)
        )
        yield door(
            "numbers",
            f"{name}(seed)",
            bad_integers(0),
            lambda v, b=build, s=small: b(SHAPE, seed=v, **s),
        )
        depths = bad_integers(1, 10**4, or_none=True)
        yield door(
            "numbers", f"{name}(depth)", depths, lambda v, b=build: b(SHAPE, width=0.1, depth=v)
        )


def experiment_doors() -> Iterator[st.SearchStrategy[Case]]:
    yield door(
        "names",
        "get_purifier(name)",
        bad_names(("magnet", "sfl_vae")).filter(lambda v: v.name != "'vqunet'"),
        get_purifier,
    )
    yield door(
        "names", "presets.profile(name)", bad_names(("demo", "quick", "paper")), presets.profile
    )
    known = tuple(zoo.names("digits"))
    yield door("names", "zoo.load(name)", bad_names(known), lambda v: zoo.load("digits", v))
    kept = bad_names(("digits", "mnist", "cifar10", "fashion_mnist"))
    yield door("names", "zoo.load(dataset)", kept, lambda v: zoo.load(v, "magnet"))
    kinds = _wrong(("a name", "digits"), ("None", None), ("a dict", {"name": "digits"}))
    yield door("names", "datasets.load(config)", kinds | JUNK, datasets.load)
    made = config.DatasetConfig
    data_names = bad_names(("digits", "mnist", "fashion_mnist", "cifar10", "svhn_cropped"))
    yield door("names", "DatasetConfig(name)", data_names, lambda v: made(name=v))
    for field, least, none in (
        ("validation_size", 1, False),
        ("train_limit", 1, True),
        ("test_limit", 1, True),
    ):
        yield door(
            "numbers",
            f"DatasetConfig({field})",
            bad_integers(least, or_none=none),
            lambda v, f=field: datasets.load(
                made(**{"name": "digits", "validation_size": 9, f: v})
            ),
        )
    train = config.TrainingConfig
    for field in ("epochs", "batch_size"):
        yield door(
            "numbers",
            f"TrainingConfig({field})",
            bad_integers(1),
            lambda v, f=field: train(**{"epochs": 1, f: v}),
        )
    for field, high in (("learning_rate", 1e6), ("shift_fraction", 1.0), ("beta_1", 1.0)):
        yield door(
            "numbers",
            f"TrainingConfig({field})",
            bad_numbers(0.0, high),
            lambda v, f=field: train(**{"epochs": 1, f: v}),
        )
    for field, names in (
        ("optimizer", ("adam", "sgd")),
        ("schedule", ("constant", "cosine", "linear", "steps")),
    ):
        yield door(
            "names",
            f"TrainingConfig({field})",
            bad_names(names),
            lambda v, f=field: train(**{"epochs": 1, f: v}),
        )
    batches = partial(datasets.Batches, training=train(epochs=1), seed=0)
    grey = bad_images().filter(
        # Batches take images of any size.
        lambda v: (
            not (
                isinstance(v.value, np.ndarray)
                and v.value.ndim == 4
                and v.value.dtype == np.float32
                and len(v.value) == 4
                and v.value.min() >= 0
                and v.value.max() <= 1
            )
        )
    )
    yield door("training", "Batches(images)", grey, lambda v: batches(v, SOUND_LABELS))
    unbounded = bad_labels().filter(
        lambda v: (
            not (
                isinstance(v.value, np.ndarray)
                and v.value.dtype.kind == "i"
                and v.value.shape == (4,)
                and v.value.min() >= 0
            )
        )
    )
    yield door(
        "training",
        "Batches(labels)",
        unbounded | good_labels(),
        lambda v: batches(sound_images(), v),
    )
    yield door(
        "training",
        "Batches[index]",
        bad_integers(0, 0).filter(lambda v: v.value is not True and v.value is not False),
        lambda v: batches(sound_images(), SOUND_LABELS)[v],
    )


# -- files --------------------------------------------------------------------------------------


def _mutations(size: int) -> st.SearchStrategy[tuple[str, int, int]]:
    kinds = st.sampled_from(["change", "cut", "insert", "repeat"])
    return st.tuples(kinds, st.integers(0, size - 1), st.integers(1, 255))


def _mutated(content: bytes, kind: str, place: int, byte: int) -> bytes:
    if kind == "cut":
        return content[:place]
    if kind == "insert":
        return content[:place] + bytes([byte]) + content[place:]
    if kind == "repeat":
        return content[:place] + content[max(0, place - byte) :]
    return content[:place] + bytes([content[place] ^ byte]) + content[place + 1 :]


def _is_magnet(model: keras.Model) -> bool:
    ours = purifier("magnet").purify(sound_images())
    return bool(np.array_equal(model.purify(sound_images()), ours))


def file_doors() -> Iterator[st.SearchStrategy[Case]]:
    magnet = (zoo.ZOO / "digits" / "magnet.keras").read_bytes()
    config_json = _members(magnet)["config.json"]

    def load(content: bytes) -> keras.Model:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "m.keras"
            path.write_bytes(content)
            return load_keras_model(path)

    def raw(mutation: tuple[str, int, int]) -> Case:
        content = _mutated(magnet, *mutation)
        return Case(
            "files", ".keras, any byte", str(mutation), None, partial(load, content), _is_magnet
        )

    def inside(mutation: tuple[str, int, int]) -> Case:
        changed = _mutated(config_json, *mutation)
        content = _packed({**_members(magnet), "config.json": changed})
        what = ".keras, configuration"
        return Case("files", what, str(mutation), None, partial(load, content), _is_magnet)

    yield _mutations(len(magnet)).map(raw)
    yield _mutations(len(config_json)).map(inside)

    with tempfile.TemporaryDirectory() as folder:
        store = RowStore(folder, "demo")
        store.add([accuracy(0.4, dataset="digits"), number(1.5, dataset="digits")])
        rows = store.path("digits").read_bytes()
        sums = store.path("digits").with_name("digits.csv.sha256").read_bytes()

    def read_rows(content: bytes) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            store = RowStore(folder, "demo")
            store.folder.mkdir(parents=True)
            store.path("digits").write_bytes(content)
            store.path("digits").with_name("digits.csv.sha256").write_bytes(sums)
            return store.read("digits")

    def damaged_rows(mutation: tuple[str, int, int]) -> Case:
        content = _mutated(rows, *mutation)
        wrong = content != rows
        return Case("files", "rows", str(mutation), wrong, partial(read_rows, content))

    yield _mutations(len(rows)).map(damaged_rows)

    card = (zoo.ZOO / "digits" / "magnet.json").read_bytes()
    sha256 = json.loads(card)["sha256"].encode()

    def load_with(content: bytes) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "digits"
            place.mkdir()
            (place / "magnet.keras").write_bytes(magnet)
            (place / "magnet.json").write_bytes(content)
            return zoo.load("digits", "magnet", folder)

    def damaged_card(mutation: tuple[str, int, int]) -> Case:
        content = _mutated(card, *mutation)
        return Case(
            "files",
            "card",
            str(mutation),
            None if _has_hash(content, sha256) else True,
            partial(load_with, content),
        )

    start = card.index(sha256)
    places = st.tuples(st.just("change"), st.integers(start, start + 63), st.integers(1, 255))
    yield (places | _mutations(len(card))).map(damaged_card)

    def damaged_detector(mutation: tuple[str, int, int]) -> Case:
        content = _mutated(detector_file(), *mutation)

        def read() -> Any:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "d.json"
                path.write_bytes(content)
                return ErrorDetector.load(path, purifier("magnet"))

        same = _json(content) == _json(detector_file())
        return Case("files", "detector", str(mutation), not same, read)

    yield _mutations(len(detector_file())).map(damaged_detector)


@cache
def detector_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        detector = ErrorDetector(purifier("magnet")).fit_threshold(sound_images(), 0.25)
        detector.save(Path(folder) / "d.json")
        return (Path(folder) / "d.json").read_bytes()


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _has_hash(content: bytes, sha256: bytes) -> bool:
    card = _json(content)
    return isinstance(card, dict) and card.get("sha256") == sha256.decode()


def _members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist()}


def _packed(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


# -- the command line ---------------------------------------------------------------------------


class _StatusError(ValueError):
    """What a command printed before it ended with a status that is not 0."""


def _command(arguments: list[str]) -> None:
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        places = ["--results-dir", f"{folder}/results", "--artifacts-dir", f"{folder}/artifacts"]
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            try:
                status = run_all.main([*places, *arguments])
            except SystemExit as error:  # argparse says what is wrong, and how to call it
                status = int(str(error.code))
    if status:
        raise _StatusError(said.getvalue())


def command_doors() -> Iterator[st.SearchStrategy[Case]]:
    plain = st.text(
        st.characters(codec="ascii", exclude_characters="\0", min_codepoint=33),
        min_size=1,
        max_size=8,
    ).filter(lambda text: not text.startswith("-"))

    def command(what: str, values: st.SearchStrategy[list[str]]) -> st.SearchStrategy[Case]:
        return values.map(
            lambda a: Case("command line", what, " ".join(a), True, partial(_command, a))
        )

    yield command(
        "--profile",
        plain.filter(lambda t: t not in ("demo", "quick", "paper")).map(lambda t: ["--profile", t]),
    )
    yield command(
        "--dataset", plain.filter(lambda t: t != "digits").map(lambda t: ["--dataset", t])
    )
    yield command(
        "--only", plain.filter(lambda t: not re.match(r"0", t)).map(lambda t: ["--only", t])
    )
    yield command(
        "--seed",
        st.one_of(st.integers(-(2**70), -1).map(str), plain.filter(lambda t: not t.isdigit())).map(
            lambda t: [f"--seed={t}", "--list", "--only", "003.T4"]
        ),
    )
    yield command(
        "options",
        plain.map(lambda t: [f"--{t}=x"]).filter(
            lambda a: not re.match(r"--(p|o|d|s|r|a|t|f|l|h)", a[0])
        ),
    )
    yield command(
        "contradictions",
        st.sampled_from(
            [
                ["--only", "002.T2"],
                ["--list", "--figures-only"],
                ["--train", "--figures-only"],
                ["--figures-only"],
                ["--profile", "quick", "--dataset", "mnist", "--only", "003.F3.6"],
                ["--profile", "quick", "--data-dir", "/nowhere/at/all"],
            ]
        ),
    )


def _options(method: Callable[..., Any]) -> dict[str, str]:
    """The arguments of a method that are numbers, switches or names, with their kinds."""
    kinds = {
        name: str(parameter.annotation).removesuffix(" | None")
        for name, parameter in inspect.signature(method).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    return {name: kind for name, kind in kinds.items() if kind in ("int", "float", "bool", "str")}


def _wrong_kind(kind: str) -> st.SearchStrategy[Value]:
    """Values that are wrong for any argument of a kind, whatever its range."""
    if kind == "bool":
        return bad_flags()
    if kind == "str":
        return bad_names(("no such name",))
    junk = JUNK.filter(lambda v: v.name != "huge")
    further = [("True", True), ("a list", [1]), ("an array", np.array([1, 2])), ("a dict", {})]
    fractions = [("2.5", 2.5), ("-1.5", -1.5)] if kind == "int" else []
    return junk | _wrong(*further, *fractions)


def option_doors() -> Iterator[st.SearchStrategy[Case]]:
    """Every option of every purifier, configuration and training, by its signature."""
    for name in purifier_names():
        entry = get_purifier(name)
        for option, kind in _options(entry.purifier_class.__init__).items():
            if option in entry.arguments:
                continue

            def build(value: Any, n: str = name, o: str = option) -> Any:
                return get_purifier(n).for_images(SHAPE, **{"width": 0.05, o: value})

            yield door("numbers", f"{name}.for_images({option})", _wrong_kind(kind), build)
    made = {
        config.ClassifierConfig: {"architecture": "A", "training": config.TrainingConfig(epochs=1)},
        config.TrainingConfig: {"epochs": 1},
        config.DecisionConfig: {},
        SubstituteTraining: {},
    }
    for of_class, needed in made.items():
        for option, kind in _options(of_class.__init__).items():
            call = partial(lambda c, n, o, v: c(**{**n, o: v}), of_class, needed, option)
            yield door("numbers", f"{of_class.__name__}({option})", _wrong_kind(kind), call)
    for trainer in (FGSMAdversarialTraining, PGDAdversarialTraining):
        for option, kind in _options(trainer.__init__).items():
            call = partial(lambda t, o, v: t(target(), **{"epsilon": 0.1, o: v}), trainer, option)
            yield door("numbers", f"{trainer.__name__}({option})", _wrong_kind(kind), call)
    rates = bad_numbers(0.0).filter(
        # An optimizer keeps float32: nearer to zero is zero, which leaves a phase as it is.
        lambda v: isinstance(v.value, float) and not abs(v.value) < 1e-45
    )
    compiled = get_purifier("magnet").for_images(SHAPE, width=0.05).compile
    yield door(
        "numbers", "compile(learning rate)", rates, lambda v: compiled(keras.optimizers.SGD(v))
    )
    detector = partial(DivergenceDetector, purifier("magnet"), target())
    yield door(
        "numbers",
        "DivergenceDetector(temperature)",
        bad_numbers(0.0, 1e9),
        lambda v: detector(temperature=v),
    )
    yield door("numbers", "Sampling(seed)", _wrong_kind("int"), lambda v: Sampling(seed=v))
    kernel = losses.laplacian_of_gaussian_kernel
    yield door("numbers", "laplacian_of_gaussian_kernel(sigma)", bad_numbers(0.0, 1e6), kernel)
    for name in ("reconstruction_loss", "mean_squared_error_loss", "binary_cross_entropy_loss"):
        loss = getattr(losses, name)
        shapes = st.lists(st.integers(1, 5), max_size=5).filter(lambda s: tuple(s) != (4, *SHAPE))
        others = shapes.map(lambda s: Value(np.zeros(s, "float32"), True, f"zeros of {s}"))
        call = partial(lambda f, v: f(sound_images(), v), loss)
        yield door("numbers", f"{name}(reconstructions)", others, call)
    yield door(
        "numbers", "wilson_interval(total)", bad_integers(1), lambda v: wilson_interval(0, v)
    )
    correct = bad_numbers(0.0, 10.0)
    yield door("numbers", "wilson_interval(correct)", correct, lambda v: wilson_interval(v, 10))
    share = bad_numbers(0.0, 1.0)
    yield door("numbers", "wilson_interval(confidence)", share, lambda v: wilson_interval(5, 10, v))
    for field in ("epsilon", "value", "correct", "total", "seed", "seconds"):
        call = partial(lambda f, v: row(**{f: v}), field)
        yield door("numbers", f"Row({field})", _wrong_kind("float"), call)
    for field in ("dataset", "decider", "norm", "threat_model", "metric"):
        names = bad_names(("mnist", "vote", "linf", "oblivious", "accuracy"))
        if field in ("norm",):
            names = names.filter(lambda v: v.value != "")
        yield door("names", f"Row({field})", names, partial(lambda f, v: row(**{f: v}), field))
    votes = np.tile(SOUND_LABELS[:, None], (1, 5))
    yield door(
        "numbers",
        "voting_analysis(num_subsets)",
        bad_integers(1),
        lambda v: voting_analysis(votes, SOUND_LABELS, [3], v),
    )
    sizes = _wrong(("too many", [9]), ("none", []), ("0", [0]), ("a text", "3"), ("2.5", [2.5]))
    call = partial(lambda v: voting_analysis(votes, SOUND_LABELS, v))
    yield door("numbers", "voting_analysis(sizes)", sizes, call)


GROUPS: dict[str, Callable[[], Iterator[st.SearchStrategy[Case]]]] = {
    "attacks": attack_doors,
    "purifiers": purifier_doors,
    "decisions": decision_doors,
    "networks": model_doors,
    "experiments": experiment_doors,
    "options": option_doors,
    "files": file_doors,
    "command line": command_doors,
}
"""Doors by the part of the project that they belong to."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A case that was tried."""

    part: str
    case: Case
    grade: Grade
    said: str


def tried(part: str, count: int, start: int = 0) -> list[Outcome]:
    """Tries so many generated cases at the doors of one part of the project.

    Each door comes in turn, so that a few cases reach every kind of it.

    Args:
        part: One of ``GROUPS``.
        count: Number of cases.
        start: Seed of the generator; equal seeds give equal cases.
    """
    doors = list(GROUPS[part]())
    outcomes: list[Outcome] = []
    for index, cases in enumerate(doors):
        share = len(range(index, count, len(doors)))
        if share == 0:
            continue

        @seed(start + index)
        @settings(
            max_examples=share,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(cases)
        def run(case: Case) -> None:
            outcomes.append(Outcome(part, case, *grade(case)))

        run()
    return outcomes


def counts(outcomes: list[Outcome]) -> dict[str, collections.Counter[Grade]]:
    """How many cases of each grade there are, by the group of inputs."""
    table: dict[str, collections.Counter[Grade]] = {}
    for outcome in outcomes:
        table.setdefault(outcome.case.group, collections.Counter())[outcome.grade] += 1
    return dict(sorted(table.items()))


def share_clear(outcomes: list[Outcome]) -> float:
    """Which share of the wrong inputs was refused clearly."""
    wrong = [outcome for outcome in outcomes if outcome.grade not in _RIGHT]
    return sum(outcome.grade == Grade.CLEAR for outcome in wrong) / max(1, len(wrong))
