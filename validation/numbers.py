"""Checks of single numbers and names."""

from __future__ import annotations

import itertools
import math
import numbers
import re
from collections.abc import Iterable
from typing import Any

__all__ = [
    "check_choice",
    "check_file_name",
    "check_flag",
    "check_integer",
    "check_number",
    "check_numbers",
]

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MOST_NUMBERS = 10_000
"""More are no list that somebody wrote, but a generator without an end."""


def check_number(
    name: str,
    value: Any,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    such_as: object = None,
) -> float:
    """Returns a finite number in a range, as a Python float.

    Args:
        name: What the message calls it, such as ``"step_size of pgd"``.
        value: What the caller passed.
        at_least: Smallest value allowed.
        above: Bound that it must exceed.
        at_most: Largest value allowed.
        below: Bound that it must stay under.
        such_as: A value that works, for the message.

    Raises:
        ValueError: If it is no number (a bool or a text is none), not finite or out of range.
    """
    limits = _limits(at_least, above, at_most, below)
    fits = isinstance(value, numbers.Real) and not isinstance(value, bool)
    try:
        number = float(value) if fits else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or not _within(number, at_least, above, at_most, below):
        raise ValueError(
            f"Expected {name} to be a finite number{limits}, received {_shown(value)}. "
            f"{_remedy('a number', such_as, at_least, at_most)}"
        )
    return number


def check_numbers(
    name: str, values: Any, *, or_none: bool = False, **limits: Any
) -> tuple[Any, ...]:
    """Returns several finite numbers in a range, at least one, as Python floats.

    A generator is read once, so that the caller can pass over the result again.

    Args:
        name: What the message calls them.
        values: What the caller passed.
        or_none: Whether ``None`` may stand among them; it is returned as it is.
        **limits: Those of ``check_number``.

    Raises:
        ValueError: If it is not iterable, empty, longer than 10,000, or one of them is not as
            ``check_number`` wants it.
    """
    without_axis = getattr(values, "shape", None) == ()
    if isinstance(values, str | bytes) or not isinstance(values, Iterable) or without_axis:
        raise ValueError(
            f"Expected {name} as a sequence of numbers, received {_shown(values)}. Pass a list, "
            "such as [0.1, 0.2]."
        )
    found = tuple(
        None if or_none and value is None else check_number(f"each of {name}", value, **limits)
        for value in itertools.islice(values, _MOST_NUMBERS + 1)
    )
    if len(found) > _MOST_NUMBERS:
        raise ValueError(
            f"Expected {name} as at most {_MOST_NUMBERS:,} numbers, received more. Pass a list, "
            "no generator that never ends."
        )
    if not found:
        raise ValueError(
            f"Expected {name} as at least one number, received none. Pass a list such as "
            "[0.1, 0.2]; a generator that was read before is empty."
        )
    return found


def check_integer(
    name: str,
    value: Any,
    *,
    at_least: int = 0,
    at_most: int | None = None,
    such_as: object = None,
) -> int:
    """Returns a whole number in a range, as a Python int.

    Args:
        name: What the message calls it.
        value: What the caller passed; 2.0 and True are no integers.
        at_least: Smallest value allowed.
        at_most: Largest value allowed, where more would never end or fit in memory.
        such_as: A value that works, for the message.

    Raises:
        ValueError: If it is no integer or out of range.
    """
    fits = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not fits or not _within(int(value), at_least, None, at_most, None):
        raise ValueError(
            f"Expected {name} to be an integer{_limits(at_least, None, at_most, None)}, received "
            f"{_shown(value)}. {_remedy('a whole number', such_as, at_least, at_most)}"
        )
    return int(value)


def check_flag(name: str, value: Any) -> bool:
    """Returns True or False.

    Args:
        name: What the message calls it.
        value: What the caller passed; 0, 1 and texts are refused.

    Raises:
        ValueError: If it is another value.
    """
    if value is True or value is False:
        return value
    if type(value).__name__ in ("bool", "bool_") and type(value).__module__ == "numpy":
        return bool(value)
    raise ValueError(
        f"Expected {name} to be True or False, received {_shown(value)}. Pass one of the two."
    )


def check_choice(name: str, value: Any, known: Iterable[str]) -> str:
    """Returns one of several names.

    Args:
        name: What the message calls it.
        value: What the caller passed.
        known: The names allowed.

    Raises:
        ValueError: If it is none of them; the message lists them.
    """
    names = tuple(known)
    if not isinstance(value, str) or value not in names:
        raise ValueError(
            f"Expected {name} to be one of {', '.join(names)}, received {_shown(value)}. Pass one "
            "of these names."
        )
    return value


def check_file_name(name: str, value: Any) -> str:
    """Returns a text that can name one file and leads nowhere else.

    Args:
        name: What the message calls it.
        value: What the caller passed, without a suffix.

    Raises:
        ValueError: If it is empty, no text, or has other characters than letters, digits and
            ``_ . -``.
    """
    if not isinstance(value, str) or not _FILE_NAME.fullmatch(value):
        raise ValueError(
            f"Expected {name} to be a word of letters, digits and _ . -, as it names a file, "
            f"received {_shown(value)}. Pass the name alone, without folders."
        )
    return value


def _within(
    number: float,
    at_least: float | None,
    above: float | None,
    at_most: float | None,
    below: float | None,
) -> bool:
    return (
        (at_least is None or number >= at_least)
        and (above is None or number > above)
        and (at_most is None or number <= at_most)
        and (below is None or number < below)
    )


def _limits(
    at_least: float | None, above: float | None, at_most: float | None, below: float | None
) -> str:
    """The range in words, such as `` of at least 1 and below 2``; empty without bounds."""
    bounds = {"of at least": at_least, "above": above, "of at most": at_most, "below": below}
    words = [f"{word} {_short(bound)}" for word, bound in bounds.items() if bound is not None]
    return f" {' and '.join(words)}" if words else ""


def _short(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def _remedy(kind: str, such_as: object, at_least: float | None, at_most: float | None) -> str:
    if such_as is None:
        such_as = at_least if at_least else at_most
    return f"Pass {kind}{'' if such_as is None else f' such as {such_as}'}."


def _shown(value: Any) -> str:
    """What was received, cut to one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}... ({type(value).__name__})"
