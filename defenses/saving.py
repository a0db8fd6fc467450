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

__all__ = ["CompositeModel", "check_onnx_file", "check_onnx_packages", "without_optimizer"]

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

    def save(
        self, filepath: str | os.PathLike[str], overwrite: bool = True, **arguments: Any
    ) -> None:
        """Writes the model alone, without optimizers, to one ``.keras`` file.

        ``keras.saving.load_model(path, compile=False)`` reads it back in safe mode, once
        ``defenses`` is imported. The file is written beside its place and moved there whole, so
        an interrupted call leaves no unreadable file.

        Args:
            filepath: Where to write; ends in ``.keras``.
            overwrite: Whether an existing file may be replaced.
            **arguments: Passed on to Keras.

        Raises:
            ValueError: If the path does not end in ``.keras``, or is taken and ``overwrite`` is
                False.
        """
        path = Path(filepath)
        if path.suffix != ".keras":
            raise ValueError(
                f"Expected a path that ends in .keras, received {str(path)!r}. Other formats "
                "load without Keras's safe mode."
            )
        if path.exists() and not overwrite:
            raise ValueError(
                f"Expected a free path, received {str(path)!r}, which exists. Pass "
                "overwrite=True to replace it."
            )
        bare = without_optimizer(self)
        beside = path.with_name(f".{path.stem}.{os.getpid()}.keras")
        try:
            keras.saving.save_model(bare, beside, **arguments)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)


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
