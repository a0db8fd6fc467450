"""Base class of purifiers whose generators are trained against discriminators."""

from __future__ import annotations

import abc
import os
from typing import Any

import keras

from defenses.phases import Batch, Losses, Phase
from defenses.purifier import Purifier

__all__ = ["AdversarialPurifier"]


class AdversarialPurifier(Purifier):
    """A purifier with generators, discriminators, and an optimizer for each side.

    A training step updates the discriminators first; a method with another order overrides
    ``phases``.

    A subclass names its networks, each of which is an attribute and a constructor argument. A
    discriminator may be ``None``: such a purifier purifies but cannot be trained. ``save`` writes
    it in this form, since only training needs discriminators.

    Attributes:
        generator_names: Networks that the generators' optimizer updates, in order.
        discriminator_names: Networks that the discriminators' optimizer updates, in order.
    """

    optimizer_names = ("generator_optimizer", "discriminator_optimizer")
    generator_names: tuple[str, ...] = ("generator",)
    discriminator_names: tuple[str, ...] = ("discriminator",)

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        cls.network_names = cls.generator_names + cls.discriminator_names

    @abc.abstractmethod
    def discriminator_losses(self, batch: Batch, training: bool = True) -> Losses:
        """What the discriminators minimise; a dict of scalars with the total under ``"loss"``."""

    @abc.abstractmethod
    def generator_losses(self, batch: Batch, training: bool = True) -> Losses:
        """What the generators minimise; a dict of scalars with the total under ``"loss"``."""

    @classmethod
    def default_optimizer(cls) -> keras.optimizers.Optimizer:
        """Adam at rate 0.0002 with beta_1 0.5; 0.9 makes training oscillate (Radford 2016)."""
        return keras.optimizers.Adam(2e-4, beta_1=0.5)

    def compile(  # type: ignore[override]
        self,
        generator_optimizer: keras.optimizers.Optimizer | str | None = None,
        discriminator_optimizer: keras.optimizers.Optimizer | str | None = None,
        *,
        run_eagerly: bool = False,
        jit_compile: bool | str = "auto",
        steps_per_execution: int = 1,
    ) -> None:
        """Takes one optimizer for all generators and one for all discriminators.

        Args:
            generator_optimizer: ``None`` is ``default_optimizer()``.
            discriminator_optimizer: Another one; ``None`` is ``default_optimizer()``.
            run_eagerly: Whether to run steps without compiling them.
            jit_compile: Whether to compile with XLA; ``"auto"`` leaves it off on a CPU.
            steps_per_execution: Batches per compiled call, at least 1.

        Raises:
            ValueError: If one optimizer is given twice, one is unknown or belongs to another model,
                or there are no discriminators.
        """
        self.compile_with(
            {
                "generator_optimizer": generator_optimizer,
                "discriminator_optimizer": discriminator_optimizer,
            },
            run_eagerly=run_eagerly,
            jit_compile=jit_compile,
            steps_per_execution=steps_per_execution,
        )

    @property
    def generator_variables(self) -> list[keras.Variable]:
        """Variables that the generators' optimizer updates, always in the same order."""
        return self._variables_of(self.generator_names)

    @property
    def discriminator_variables(self) -> list[keras.Variable]:
        """Variables that the discriminators' optimizer updates, always in the same order.

        Raises:
            ValueError: If there are no discriminators.
        """
        missing = [name for name in self.discriminator_names if getattr(self, name) is None]
        if missing:
            raise ValueError(
                f"Expected {' and '.join(missing)}, which training needs, received None. A saved "
                f"{type(self).__name__} leaves them out: build one with for_images, or pass its "
                "generators on to a new one with discriminators."
            )
        return self._variables_of(self.discriminator_names)

    def phases(self) -> list[Phase]:
        """Two phases: one update of all discriminators, then one of all generators."""
        return [
            Phase(
                "discriminator",
                self.discriminator_losses,
                self.discriminator_variables,
                self.discriminator_optimizer,
            ),
            Phase(
                "generator",
                self.generator_losses,
                self.generator_variables,
                self.generator_optimizer,
            ),
        ]

    def _variables_of(self, names: tuple[str, ...]) -> list[keras.Variable]:
        return [v for name in names for v in getattr(self, name).trainable_variables]

    def save(self, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Writes the purifier without its discriminators; see the base class.

        A model loaded from the file purifies as before but cannot be trained.
        """
        generators = {name: getattr(self, name) for name in self.generator_names}
        discriminators = dict.fromkeys(self.discriminator_names)
        bare = type(self)(**{**self.get_config(), **generators, **discriminators})
        Purifier.save(bare, filepath, overwrite)
