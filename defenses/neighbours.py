"""Says so where the packages beside this one are another project's of the same name.

Importing this module makes the check; ``defenses`` does so before anything else of it is imported.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

__all__ = ["check_neighbours"]

HOME = Path(__file__).resolve().parents[1]
"""The folder that holds this package and those it imports."""


def check_neighbours(*names: str) -> None:
    """Raises if a package would be imported from elsewhere than beside this one.

    ``models`` and ``attacks`` are names that other projects use too. Whichever comes first on the
    path wins, and an import from the wrong one fails at a name that it never had.

    Args:
        *names: Top-level packages that belong beside ``defenses``.

    Raises:
        ImportError: If one of them is missing or found somewhere else.
    """
    for name in names:
        expected = HOME / name
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or ())]
        found = [Path(place).resolve() for place in places if place]
        if expected not in found:
            received = f"the one at {found[-1]}" if found else "none"
            raise ImportError(
                f"Expected the package {name!r} at {expected}, received {received}: put {HOME} "
                f"first on the path (PYTHONPATH), or rename or remove the other {name!r}."
            )


check_neighbours("models", "attacks", "validation")
