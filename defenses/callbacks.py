"""Callbacks of a training: what they monitor has to be logged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras

__all__ = ["check_callbacks"]


def check_callbacks(callbacks: Any, losses: Iterable[str], *, has_validation: bool) -> None:
    """Checks, before a training, that callbacks monitor a loss that it will log.

    Keras only warns, epoch after epoch, and never stops, saves or lowers a rate. A callback of
    the caller's own may log values of other names for those that follow it in the list.

    Args:
        callbacks: What ``fit`` takes: ``None``, a callback, several, or a ``CallbackList``.
        losses: Names of the losses logged.
        has_validation: Whether they are also logged as ``val_<name>``.

    Raises:
        ValueError: If a callback monitors anything else, or a loss of which Keras cannot tell
            whether lower is better.
    """
    names = tuple(losses)
    known = [*names, *(f"val_{name}" for name in names if has_validation)]
    others_log = False
    for callback in keras.tree.flatten(getattr(callbacks, "callbacks", callbacks) or []):
        monitor = getattr(callback, "monitor", None)
        if monitor is None:
            others_log = others_log or not type(callback).__module__.startswith("keras.")
            continue
        if getattr(callback, "save_best_only", True) is False:
            continue  # it saves every epoch, whatever it monitors
        of_class = type(callback).__name__
        if monitor not in known:
            if others_log and monitor not in ("loss", "val_loss"):
                continue
            remedy = "Pass one of these as monitor, with mode='min'"
            if not has_validation:
                remedy += ", or give fit validation_data, which logs each loss as val_<name> too"
            raise ValueError(
                f"Expected {of_class} to monitor one of {', '.join(known)}, received "
                f"monitor={monitor!r}. {remedy}."
            )
        if getattr(callback, "mode", "min") == "auto" and monitor not in ("loss", "val_loss"):
            raise ValueError(
                f"Expected {of_class} to have mode 'min' or 'max' for monitor={monitor!r}, "
                "received mode='auto'. Pass mode='min' for a loss."
            )
