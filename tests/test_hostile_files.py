"""Model files that are hostile or damaged: refused with a reason, and none of their code is run."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras.src.backend.common import global_state

from experiments import zoo
from experiments.model_files import load_keras_model

MAGNET = zoo.ZOO / "digits" / "magnet.keras"
NOT_LISTED = "which is not among them: it may run code"
RAN: list[str] = []


@keras.saving.register_keras_serializable(package="somebody_else")
class Witness(keras.layers.Layer):
    """Notes that it was made."""

    def __init__(self, **kwargs):
        RAN.append("made")
        super().__init__(**kwargs)


@pytest.fixture
def members():
    with zipfile.ZipFile(MAGNET) as file:
        return {name: file.read(name) for name in file.namelist()}


def pack(path: Path, members) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items() if isinstance(members, dict) else members:
            file.writestr(name, content)
    return path


def with_layer(members, layer) -> dict:
    """The members of a model whose autoencoder has one layer more, as data alone."""
    config = json.loads(members["config.json"])
    config["config"]["autoencoder"]["config"]["layers"].append(layer)
    return {**members, "config.json": json.dumps(config)}


def entry(module, name, registered=None, /, **config) -> dict:
    return {
        "module": module,
        "class_name": name,
        "registered_name": registered,
        "config": {"name": "added", **config},
        "name": "added",
        "inbound_nodes": [],
    }


def refused(path: Path, message: str) -> None:
    RAN.clear()
    with pytest.raises(ValueError, match=message) as error:
        load_keras_model(path)
    assert str(path) in str(error.value)
    assert "Do not use the file" in str(error.value) or "Restore it" in str(error.value)
    assert RAN == []


def test_an_unknown_class_is_refused(members, tmp_path):
    for layer in (
        entry("os", "system"),
        entry("builtins", "eval"),
        entry("subprocess", "Popen", args="true"),
        entry("keras.layers", "NoSuchLayer"),
        entry("keras.src.layers.core.dense", "Dense"),
        entry("tests.test_hostile_files", "Witness", "somebody_else>Witness"),
        entry(None, "Witness", "somebody_else>Witness"),
        entry("keras.utils", "get_file"),
        entry("keras.initializers", "__class__"),
        entry(["keras.layers"], "Dense"),
    ):
        refused(pack(tmp_path / "m.keras", with_layer(members, layer)), NOT_LISTED)


@pytest.mark.parametrize("unsafe", [False, True])
def test_a_lambda_is_refused_even_where_the_caller_allows_unsafe_files(members, tmp_path, unsafe):
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None}}
    layers = [
        entry("keras.layers", "Lambda", function=code),
        entry("keras.layers", "Dense", units=2, activation=code),
        entry("keras.layers", "TFSMLayer", filepath="/tmp/elsewhere"),
        entry("keras.layers", "TorchModuleWrapper", module="gAR9lC4="),
        entry("keras.layers", "Wrapper", layer=entry("keras.layers", "Lambda", function=code)),
    ]
    try:
        if unsafe:
            keras.config.enable_unsafe_deserialization()
        for layer in layers:
            refused(pack(tmp_path / "m.keras", with_layer(members, layer)), NOT_LISTED)
    finally:
        global_state.set_global_attribute("safe_mode_saving", None)


def test_a_function_is_refused(members, tmp_path):
    function = {
        "class_name": "function",
        "module": "keras.utils",
        "registered_name": "function",
        "config": "get_file",
    }
    dense = entry("keras.layers", "Dense", units=2, activation=function)
    refused(pack(tmp_path / "m.keras", with_layer(members, dense)), NOT_LISTED)
    for kind in ("__tensor__", "__numpy__", "__typespec__", "__bytes__"):
        payload = {"class_name": kind, "config": {"value": [1.0], "dtype": "float32"}}
        dense = entry("keras.layers", "Dense", units=payload)
        refused(pack(tmp_path / "m.keras", with_layer(members, dense)), NOT_LISTED)


def test_a_swapped_registered_name_is_refused(members, tmp_path):
    for layer in (
        entry("keras.layers", "Lambda", "cleanroom>ClipToUnitRange"),
        entry("tests.test_hostile_files", "Witness", "cleanroom>ClipToUnitRange"),
        entry("keras.layers", "Dense", "somebody_else>Witness", units=2),
        entry("keras.layers", "Dense", "cleanroom>NoSuchClass", units=2),
    ):
        refused(pack(tmp_path / "m.keras", with_layer(members, layer)), NOT_LISTED)
    config = json.loads(members["config.json"])
    config["registered_name"] = "somebody_else>Witness"
    swapped = {**members, "config.json": json.dumps(config)}
    refused(pack(tmp_path / "m.keras", swapped), NOT_LISTED)


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "assets/x.txt", "config.json/../x"])
def test_members_that_leave_the_file_are_refused(members, tmp_path, name):
    path = pack(tmp_path / "m.keras", members)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, b"x")
    refused(path, "in place of config.json, metadata.json, model.weights.h5")
    assert [found.name for found in tmp_path.iterdir()] == ["m.keras"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_or_missing_is_refused(members, tmp_path):
    twice = [*members.items(), ("config.json", b"{}")]
    refused(pack(tmp_path / "m.keras", twice), "the members config.json, config.json")
    for name in members:
        rest = {other: content for other, content in members.items() if other != name}
        refused(pack(tmp_path / "m.keras", rest), "the members")


def test_a_member_that_would_fill_the_memory_is_refused(members, tmp_path):
    for name, size in (("config.json", 20 << 20), ("model.weights.h5", 64 << 20)):
        bomb = {**members, name: b" " * size}
        refused(pack(tmp_path / "m.keras", bomb), rf"{name}, which unpacks from [0-9,]+ to")


def test_damaged_members_are_refused(members, tmp_path):
    content = MAGNET.read_bytes()
    path = tmp_path / "m.keras"
    for damaged in (
        b"",
        b"not a zip",
        content[: len(content) // 2],
        content[:150] + bytes([content[150] ^ 255]) + content[151:],
        content[: len(content) // 2] + b"\0" * 64 + content[len(content) // 2 + 64 :],
    ):
        path.write_bytes(damaged)
        refused(path, "damaged or not a readable Keras model")
    for config in (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, b"\xff\xfe", b"[]", b"{}", b"null"):
        refused(pack(path, {**members, "config.json": config}), "damaged or not a readable")
    config = json.loads(members["config.json"])
    config["config"]["autoencoder"] = None
    refused(pack(path, {**members, "config.json": json.dumps(config)}), "Keras cannot rebuild")


def test_weights_of_another_network_or_not_finite_are_refused(members, tmp_path):
    import h5py

    path = tmp_path / "m.keras"
    with zipfile.ZipFile(zoo.ZOO / "digits" / "sfl_vae.keras") as file:
        other = file.read("model.weights.h5")
    refused(pack(path, {**members, "model.weights.h5": other}), "Keras cannot rebuild")
    for value in (np.nan, np.inf):
        buffer = io.BytesIO(members["model.weights.h5"])
        with h5py.File(buffer, "r+") as weights:
            names: list[str] = []
            weights.visit(names.append)
            array = next(weights[name] for name in names if getattr(weights[name], "ndim", 0))
            array[(0,) * array.ndim] = value
        changed = {**members, "model.weights.h5": buffer.getvalue()}
        refused(pack(path, changed), "weights that are NaN or infinite in")


@pytest.mark.parametrize("name", [";mag_net", "_mag_net", "mag net", ""])
def test_a_name_under_which_no_model_can_be_called_is_refused(members, tmp_path, name):
    config = json.loads(members["config.json"])
    config["config"]["name"] = name
    path = pack(tmp_path / "m.keras", {**members, "config.json": json.dumps(config)})
    refused(path, "received the name|cannot rebuild")
    config["config"]["name"] = "mag_net"
    config["config"]["autoencoder"]["config"]["name"] = f"auto,{name}"
    pack(path, {**members, "config.json": json.dumps(config)})
    refused(path, f"received the name 'auto,{name}'")


def test_what_is_no_path_of_a_model_file_is_refused(tmp_path):
    (tmp_path / "folder.keras").mkdir()
    for path in (None, 3, b"m.keras"):
        with pytest.raises(ValueError, match="Expected the path of a"):
            load_keras_model(path)
    for path in (tmp_path / "folder.keras", "nul\0.keras", tmp_path / "missing.keras"):
        with pytest.raises(ValueError, match="Expected a model file at"):
            load_keras_model(path)


def test_a_file_under_another_name_is_refused(tmp_path):
    place = tmp_path / "digits"
    place.mkdir()
    for suffix in ("keras", "json"):
        content = (zoo.ZOO / "digits" / f"sfl_vae.{suffix}").read_bytes()
        (place / f"magnet.{suffix}").write_bytes(content)
    with pytest.raises(ValueError, match="of 'magnet' for 'digits', received that of 'sfl_vae'"):
        zoo.load("digits", "magnet", tmp_path)


def test_a_sound_file_is_loaded():
    images = np.random.default_rng(0).random((3, 28, 28, 1), dtype="float32")
    loaded = load_keras_model(str(MAGNET))
    ours = keras.saving.load_model(MAGNET, compile=False)
    np.testing.assert_array_equal(loaded.purify(images), ours.purify(images))
