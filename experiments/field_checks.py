"""Checks of the fields of a configuration, each a ValueError that names the field and its class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from validation import check_integer, check_number


def field_name(config: Any, name: str) -> str:
    """What messages call a field."""
    return f"{name} of {type(config).__name__}"


def check_counts(config: Any, *names: str) -> None:
    """Whole numbers from 1 to more than any study has."""
    for name in names:
        check_integer(field_name(config, name), getattr(config, name), at_least=1, at_most=10**9)


def check_limits(config: Any, *names: str) -> None:
    """Whole numbers from 1, or None for no limit."""
    check_counts(config, *(name for name in names if getattr(config, name) is not None))


def check_field_numbers(config: Any, *names: str, **limits: float) -> None:
    """Numbers within the limits that ``validation.check_number`` takes."""
    for name in names:
        check_number(field_name(config, name), getattr(config, name), **limits)


def check_kind(config: Any, name: str, kind: type) -> None:
    """A value of one type."""
    value = getattr(config, name)
    if not isinstance(value, kind):
        raise ValueError(
            f"Expected {field_name(config, name)} as a {kind.__name__}, received {value!r}. "
            "Pass one."
        )


def check_texts(config: Any, *names: str) -> None:
    """Texts that are not empty."""
    for name in names:
        check_kind(config, name, str)
        if not getattr(config, name):
            raise ValueError(
                f"Expected {field_name(config, name)} as a text, received none. Pass one."
            )


def check_several(config: Any, name: str, kind: type) -> tuple[Any, ...]:
    """A tuple of one type."""
    check_kind(config, name, tuple)
    values = getattr(config, name)
    for value in values:
        if not isinstance(value, kind):
            raise ValueError(
                f"Expected each of {field_name(config, name)} as a {kind.__name__}, received "
                f"{value!r}. Pass a tuple of them."
            )
    return values


def check_values(config: Any, name: str, kind: type) -> None:
    """A mapping of texts to one type."""
    check_kind(config, name, Mapping)
    for key, value in getattr(config, name).items():
        if not isinstance(key, str) or not isinstance(value, kind):
            raise ValueError(
                f"Expected {field_name(config, name)} as {kind.__name__}s by name, received "
                f"{key!r}: {value!r}. Pass a dictionary of them."
            )
