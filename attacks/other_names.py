"""Functions of a library with other functions behind the names that their code uses."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any


def with_names(function: Any, **names: Any) -> Callable[..., Any]:
    """A copy of a function whose code finds other values under some global names.

    The module of the function stays as it is, so nobody else meets them.

    Args:
        function: Written in Python.
        names: Values by the global name that the code of the function uses.
    """
    return types.FunctionType(
        function.__code__,
        {**function.__globals__, **names},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
