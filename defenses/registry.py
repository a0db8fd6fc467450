"""Every purifier by its name.

A purifier is registered by the decorator ``register`` on its class; all modules of this package are
imported automatically, so a new defense needs a new file and no edit here.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from defenses.purifier import Purifier
from validation import check_choice

__all__ = ["PurifierEntry", "get_purifier", "purifier_names", "register"]

PurifierClass = TypeVar("PurifierClass", bound=type[Purifier])


@dataclass(frozen=True)
class PurifierEntry:
    """An entry of the registry: a purifier class and the arguments that a variant of it fixes.

    Attributes:
        name: Registry key, also the ``defense`` column of a result row.
        purifier_class: The class that it builds.
        arguments: Constructor arguments that this entry fixes; empty for the method itself; for an
            ablation, those that switch a term off.
    """

    name: str
    purifier_class: type[Purifier]
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def batch_keys(self) -> tuple[str, ...]:
        """What a training batch of this purifier holds."""
        return self.purifier_class.batch_keys

    @property
    def pooled(self) -> bool:
        """Whether the method is published with a pool of voters and the Bayesian update."""
        return self.purifier_class.pooled

    @property
    def retrains_classifier(self) -> bool:
        """Whether the method is published with a classifier retrained on purified images."""
        return self.purifier_class.retrains_classifier

    @property
    def has_detectors(self) -> bool:
        """Whether the method is published with detectors that refuse images."""
        return self.purifier_class.has_detectors

    @property
    def guards_source(self) -> bool:
        """Whether it protects the classifier that it is trained with."""
        return self.purifier_class.guards_source

    def for_images(
        self,
        input_shape: tuple[int, int, int],
        num_classes: int = 10,
        *,
        width: float = 1.0,
        seed: int = 0,
        **arguments: Any,
    ) -> Purifier:
        """Builds the purifier; the arguments are those of ``Purifier.for_images``.

        Raises:
            ValueError: If an argument is one that this entry fixes.
        """
        clashing = sorted(set(arguments) & set(self.arguments))
        if clashing:
            raise ValueError(
                f"Expected no value for {clashing}, which {self.name!r} fixes, received "
                f"{ {name: arguments[name] for name in clashing} }. Leave it out, or build "
                f"{self.purifier_class.__name__} itself."
            )
        return self.purifier_class.for_images(
            input_shape, num_classes, width=width, seed=seed, **self.arguments, **arguments
        )


_ENTRIES: dict[str, PurifierEntry] = {}


def register(name: str, **arguments: Any) -> Callable[[PurifierClass], PurifierClass]:
    """Registers the decorated class under a name.

    Args:
        name: Registry key; the module's name for a method, another for an ablation.
        **arguments: Constructor arguments that this entry fixes.

    Returns:
        A decorator that returns the class unchanged.

    Raises:
        ValueError: From the decorator, if another class has the name.
    """

    def add(purifier_class: PurifierClass) -> PurifierClass:
        known = _ENTRIES.get(name)
        if known is not None and known.purifier_class.__qualname__ != purifier_class.__qualname__:
            raise ValueError(
                f"Expected a free name, received {name!r}, which "
                f"{known.purifier_class.__qualname__} has. Choose another."
            )
        _ENTRIES[name] = PurifierEntry(name, purifier_class, MappingProxyType(arguments))
        return purifier_class

    return add


def discover() -> None:
    """Imports every module of this package, so that each purifier is registered."""
    package = importlib.import_module(__package__ or "defenses")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def purifier_names() -> tuple[str, ...]:
    """Returns every name that ``get_purifier`` knows, sorted."""
    discover()
    return tuple(sorted(_ENTRIES))


def get_purifier(name: str) -> PurifierEntry:
    """Returns a purifier's entry; ``get_purifier(name).for_images(shape)`` builds one.

    Args:
        name: One of ``purifier_names()``.

    Raises:
        ValueError: If no purifier has the name.
    """
    return _ENTRIES[check_choice("purifier", name, purifier_names())]
