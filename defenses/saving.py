"""Saves a model of several networks to one file and loads it."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from defenses.batches import seed_states
from validation import check_flag

__all__ = [
    "CompositeModel",
    "check_new_file",
    "check_new_folder",
    "check_onnx_file",
    "check_onnx_packages",
    "check_weights",
    "without_optimizer",
    "write_saved_model",
]

_SEED_PREFIX = "seed_generator_"


class CompositeModel(keras.Model):
    """A model made of networks, each of which is an attribute and a constructor argument.

    Attributes:
        network_names: The networks that it is saved with. One may be ``None``.
    """

    network_names: tuple[str, ...] = ()

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the model: its networks, to which a subclass adds its options."""
        networks = {name: getattr(self, name) for name in self.network_names}
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            **{name: serialize(network) for name, network in networks.items()},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Rebuilds the model from ``get_config``, with fresh weights."""
        networks = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in cls.network_names
        }
        return cls(**{**config, **networks})

    def save_own_variables(self, store: Any) -> None:
        """Adds the states of the random generators, which Keras leaves out.

        Without them a training that is cut and resumed, by ``BackupAndRestore`` for example, would
        draw the same random numbers once more.
        """
        super().save_own_variables(store)
        for index, state in enumerate(seed_states(self)):
            store[f"{_SEED_PREFIX}{index}"] = ops.convert_to_numpy(state)

    def load_own_variables(self, store: Any) -> None:
        """Restores the random generators too, where the file has their states.

        Raises:
            ValueError: If the file has another number of them.
        """
        stored = {name: store[name] for name in store.keys()}  # noqa: SIM118, a store of Keras
        states = seed_states(self)
        found = [name for name in stored if name.startswith(_SEED_PREFIX)]
        if found and len(found) != len(states):
            raise ValueError(
                f"Expected weights with {len(states)} states of random generators, received "
                f"{len(found)}. Load them into a {type(self).__name__} that is built like the one "
                "they were saved from."
            )
        super().load_own_variables({k: v for k, v in stored.items() if k not in found})
        if found:
            for index, state in enumerate(states):
                value = np.asarray(stored[f"{_SEED_PREFIX}{index}"])
                state.assign(value.astype(str(state.dtype)))

    def get_compile_config(self) -> dict[str, Any]:
        """Nothing: a saved model carries no optimizer."""
        return {}

    def save(self, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Writes the model alone, without optimizers, to one ``.keras`` file.

        ``keras.saving.load_model(path, compile=False)`` reads it back in safe mode, once
        ``defenses`` is imported. The file is written beside its place and moved there whole, so
        an interrupted call leaves no unreadable file.

        Args:
            filepath: Where to write; ends in ``.keras``, in a folder of this computer that exists.
            overwrite: Whether an existing file may be replaced.

        Raises:
            ValueError: If the path does not end in ``.keras``, has no folder that can be written
                to, or is taken and ``overwrite`` is False; or if a weight is not finite.
        """
        check_flag("overwrite", overwrite)
        path = check_new_file(filepath, ".keras")
        if path.exists() and not overwrite:
            raise ValueError(
                f"Expected a free path, received {str(path)!r}, which exists. Pass "
                "overwrite=True to replace it."
            )
        check_weights(self)
        bare = without_optimizer(self)
        beside = path.with_name(f".{path.stem}.{os.getpid()}.keras")
        try:
            keras.saving.save_model(bare, beside)
            os.replace(beside, path)
        except OSError as error:  # a full disk names no file
            raise OSError(error.errno, error.strerror, str(path)) from error
        finally:
            beside.unlink(missing_ok=True)


def check_new_file(filepath: Any, suffix: str) -> Path:
    """Returns the path of a file to be written.

    Args:
        filepath: A text, bytes or path.
        suffix: What it has to end in, such as ``".keras"``.

    Raises:
        ValueError: If it is no path on this computer, ends otherwise, is a folder, or its folder is
            missing or cannot be written to.
    """
    given, path = _local_path(filepath, f"name{suffix}")
    if path.suffix != suffix:
        raise ValueError(
            f"Expected a path that ends in {suffix}, received {given!r}. Pass "
            f"{path.stem + suffix!r}: by its name the file is told from those of other formats."
        )
    if path.is_dir():
        raise ValueError(
            f"Expected a path of a file, received {given!r}, which is a folder. Pass the name of a "
            "file in it."
        )
    _check_writable(given, path.parent)
    return path


def check_new_folder(filepath: Any) -> Path:
    """Returns the path of a folder to be written, with those around it; it may exist.

    Args:
        filepath: A text, bytes or path.

    Raises:
        ValueError: If it is no path on this computer, is a file, or the nearest folder around it
            that exists cannot be written to.
    """
    given, path = _local_path(filepath, "folder")
    if path.exists() and not path.is_dir():
        raise ValueError(
            f"Expected a path of a folder, received {given!r}, which is a file. Pass another path."
        )
    _check_writable(given, next(p for p in (path, *path.absolute().parents) if p.exists()))
    return path


def _local_path(filepath: Any, such_as: str) -> tuple[str, Path]:
    """The path as given and as a path, if it is one on this computer."""
    try:
        given = os.fsdecode(filepath)
    except TypeError:
        raise ValueError(
            f"Expected a path such as {such_as!r}, received {filepath!r}. Pass a text or a "
            "pathlib.Path."
        ) from None
    if "://" in given or not given or "\0" in given:
        raise ValueError(
            f"Expected a path on this computer, received {given!r}. Save to {such_as!r} and upload "
            "that, to Hugging Face by the huggingface_hub package."
        )
    return given, Path(given)


def _check_writable(given: str, folder: Path) -> None:
    if not folder.is_dir():
        raise ValueError(
            f"Expected a folder that exists, received {given!r}. Make it first by "
            f"os.makedirs({str(folder)!r})."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(
            f"Expected a folder that can be written to, received {given!r}. Change its "
            "permissions, or choose another folder."
        )


def check_weights(model: keras.Model) -> None:
    """Checks that every weight of a model is finite.

    Raises:
        ValueError: If one is NaN or infinite; the message names it.
    """
    for variable in model.weights:
        values = ops.convert_to_numpy(variable)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            count = int((~np.isfinite(values)).sum())
            raise ValueError(
                f"Expected finite weights, received {count} values that are NaN or infinite in "
                f"{variable.path}. Train {type(model).__name__} again at a lower learning rate, "
                "and look at its training images."
            )


def without_optimizer(model: keras.Model) -> keras.Model:
    """A copy with the same weights, not compiled.

    Keras saves the optimizer that trained a model with it, which triples the file of one that is
    only used from then on.

    Args:
        model: Any built model that its ``get_config`` rebuilds.
    """
    bare = type(model).from_config(model.get_config())
    bare.set_weights(model.get_weights())
    return bare


def write_saved_model(model: keras.Model, folder: str, image_shape: tuple[int, int, int]) -> None:
    """Writes a TensorFlow SavedModel whose ``serve`` is the model outside training.

    Keras's own holds the variables in what ``tf.saved_model.load`` returns alone, so that
    ``load(folder).serve(images)`` finds them deleted. Here ``serve`` holds them itself.

    Args:
        model: Images to images; a built model.
        folder: Where to write.
        image_shape: ``(height, width, channels)``; the batch is free.
    """
    import tensorflow as tf

    signature = [tf.TensorSpec((None, *image_shape), "float32", name="images")]
    function = tf.function(
        lambda images: model(images, training=False), input_signature=signature, autograph=False
    )
    variables = [variable.value for variable in model.variables]
    served, root = (tf.__internal__.tracking.AutoTrackable() for _ in range(2))
    # The names under which keras.layers.TFSMLayer looks for variables.
    served.variables = variables
    served.trainable_variables = [variable for variable in variables if variable.trainable]
    served.__call__ = function
    root.serve = served
    concrete = function.get_concrete_function()
    tf.saved_model.save(root, folder, signatures={"serve": concrete, "serving_default": concrete})


def check_onnx_packages() -> None:
    """Raises an ImportError, which names them, if packages that write ONNX are missing."""
    converter = "jax2onnx" if keras.backend.backend() == "jax" else "tf2onnx"
    missing = [name for name in (converter, "onnx") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"Expected the packages {converter} and onnx for format='onnx', received an "
            f"installation without {' and '.join(missing)}. Run 'pip install {converter} onnx', or "
            "export with format='tf_saved_model', which needs neither."
        )


def check_onnx_file(path: str, name: str) -> None:
    """Removes a file and raises if it is no ONNX model.

    The converter hands operations on that ONNX does not have, and no runtime loads the result.

    Args:
        path: The file that was written.
        name: The class of what was exported, for the message.

    Raises:
        ValueError: If the file holds an operation that ONNX does not have, or is damaged.
    """
    import onnx

    try:
        onnx.checker.check_model(path)
    except onnx.checker.ValidationError as error:
        os.remove(path)
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"Expected a model of operations that ONNX has, received a {name} with "
            f"others ({reason}). Export it with format='tf_saved_model'."
        ) from error
