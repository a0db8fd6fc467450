"""The `flags` column of a row: qualifiers `name=value` and warnings, as one canonical text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_TOKEN = re.compile(r"[A-Za-z0-9_.+-]+(=[A-Za-z0-9_.+:/-]+)?")


def make_flags(qualifiers: Mapping[str, object] | None = None, warnings: Iterable[str] = ()) -> str:
    """Joins qualifiers and warnings into the canonical text of the `flags` column.

    Args:
        qualifiers: `{name: value}`; values are written with `str`.
        warnings: Bare words such as `"unreliable"`.

    Returns:
        Sorted `name=value` and `word` tokens joined by `;`; empty if there are none.

    Raises:
        ValueError: If a token has characters outside the allowed set.
    """
    tokens = [f"{name}={value}" for name, value in (qualifiers or {}).items()]
    return canonical_flags(";".join([*tokens, *warnings]))


def canonical_flags(flags: str) -> str:
    """The one spelling of a set of flags.

    Args:
        flags: Tokens joined by `;`, in any order.

    Returns:
        The same tokens, once each, sorted.

    Raises:
        ValueError: If a token is malformed or a name comes twice.
    """
    tokens = sorted({token for token in flags.split(";") if token})
    names = [token.split("=")[0] for token in tokens]
    for token in tokens:
        if not _TOKEN.fullmatch(token):
            raise ValueError(
                f"Expected flags of the form name=value or word, joined by ';', received {token!r} "
                f"in {flags!r}. Use letters, digits and _ . + - in the token."
            )
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"Expected each flag once, received {name!r} several times in {flags!r}. "
                "Write one row per value."
            )
    return ";".join(tokens)


def qualifiers_only(flags: str) -> str:
    """Flags without the warnings.

    Args:
        flags: Canonical flags.

    Returns:
        The `name=value` tokens of them.
    """
    return ";".join(token for token in flags.split(";") if "=" in token)
