"""Configuration: frozen, keyword-only dataclasses, so that a typo is a ``TypeError``.

Models and layers never see one of these; ``training`` and ``measure`` unpack them into keyword
arguments. Every number that changes a result is a field here, because an artifact
and a row are named by the hash of their configuration (``experiments.reproducibility``).

Each raises a ValueError for a value out of its range and for an unknown name, and keeps the values
as they were given, as a hash tells 1 and 1.0 apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments.field_checks import (
    check_counts,
    check_field_numbers,
    check_kind,
    check_limits,
    check_several,
    check_texts,
    field_name,
)
from results.row import DATASETS
from validation import check_choice, check_flag, check_integer, check_number, check_numbers

OPTIMIZERS = ("adam", "sgd")
SCHEDULES = ("constant", "cosine", "linear", "steps")
PRECISIONS = ("float32", "bfloat16")
AUGMENTATIONS = ("flip", "vertical_flip", "shift", "stretch", "noise")
TABLE_SOURCES = ("train", "heldout")
ADVERSARIAL = "_adversarial"
"""What the name of an adversarially trained classifier ends in."""
LATER = {"omitted_at_default": True}
"""Marks a field younger than the first published rows: hashes leave it out at its default, so
that what was measured before it keeps its name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """Which images take part.

    Args:
        name: A name ``experiments.datasets.load`` knows.
        train_limit: Number of training images used, ``None`` for all.
        validation_size: Images held out of the training split by a fixed permutation.
        test_limit: Number of test images evaluated, ``None`` for all.
    """

    name: str
    train_limit: int | None = None
    validation_size: int = 5_000
    test_limit: int | None = None

    def __post_init__(self) -> None:
        check_choice(field_name(self, "name"), self.name, DATASETS)
        check_counts(self, "validation_size")
        check_limits(self, "train_limit", "test_limit")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a network is fitted.

    Args:
        epochs: Passes over the training images.
        batch_size: Images per step.
        optimizer: ``"adam"`` or ``"sgd"`` (Nesterov momentum 0.9).
        learning_rate: Initial learning rate.
        schedule: ``"constant"``, ``"cosine"`` (to ``final_learning_rate``), ``"steps"``, or
            ``"linear"`` (constant for half of the run, then straight to 0).
        final_learning_rate: Where the cosine ends.
        milestones: Fractions of the run at which a ``"steps"`` schedule drops.
        decays: Learning-rate factors that hold after each milestone.
        augmentation: Any of ``"flip"``, ``"vertical_flip"``, ``"shift"``, ``"stretch"`` and
            ``"noise"``, applied in the order given.
        shift_fraction: Largest translation of ``"shift"``, as a share of the image side.
        global_clipnorm: Gradient clipping at this global norm, or ``None``.
        train_limit: Fit on this many of the data set's training images, ``None`` for all.
        beta_1: Adam's decay of the first moment.
        beta_2: Adam's decay of the second moment.
        stretch_fraction: Largest zoom of ``"stretch"`` along either side.
        noise_scale: Standard deviation of the factors of ``"noise"``, whose mean is 1.
        precision: In which a classifier computes while it is trained, ``"float32"`` or
            ``"bfloat16"``; its weights are float32 in either case, and so is all that it computes
            afterwards. Purifiers take float32 alone.
    """

    epochs: int
    batch_size: int = 128
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    final_learning_rate: float = 1e-5
    milestones: tuple[float, ...] = ()
    decays: tuple[float, ...] = ()
    augmentation: tuple[str, ...] = ()
    shift_fraction: float = 0.1
    global_clipnorm: float | None = None
    train_limit: int | None = None
    beta_1: float = dataclasses.field(default=0.9, metadata=LATER)
    beta_2: float = dataclasses.field(default=0.999, metadata=LATER)
    stretch_fraction: float = dataclasses.field(default=0.1, metadata=LATER)
    noise_scale: float = dataclasses.field(default=0.2, metadata=LATER)
    precision: str = dataclasses.field(default="float32", metadata=LATER)

    def __post_init__(self) -> None:
        check_counts(self, "epochs", "batch_size")
        check_limits(self, "train_limit")
        check_choice(field_name(self, "optimizer"), self.optimizer, OPTIMIZERS)
        check_choice(field_name(self, "schedule"), self.schedule, SCHEDULES)
        check_choice(field_name(self, "precision"), self.precision, PRECISIONS)
        for name in check_several(self, "augmentation", str):
            check_choice(f"each augmentation of {type(self).__name__}", name, AUGMENTATIONS)
        check_field_numbers(self, "learning_rate", above=0, at_most=1000)
        check_field_numbers(self, "final_learning_rate", "noise_scale", at_least=0)
        check_field_numbers(
            self, "beta_1", "beta_2", "shift_fraction", "stretch_fraction", at_least=0, below=1
        )
        if self.global_clipnorm is not None:
            check_field_numbers(self, "global_clipnorm", above=0)
        self._check_milestones()

    def _check_milestones(self) -> None:
        steps = self.schedule == "steps"
        if steps or self.milestones or self.decays:
            given = f"received milestones {self.milestones!r} and decays {self.decays!r}"
            if not steps:
                raise ValueError(
                    f"Expected milestones and decays with the schedule 'steps' alone, {given} with "
                    f"{self.schedule!r}. Leave them out, or choose 'steps'."
                )
            check_numbers(field_name(self, "milestones"), self.milestones, above=0, below=1)
            check_numbers(field_name(self, "decays"), self.decays, above=0)
            if len(self.milestones) != len(self.decays) or [*self.milestones] != sorted(
                set(self.milestones)
            ):
                raise ValueError(
                    f"Expected a decay for each milestone, the milestones rising, {given}. Pass, "
                    "say, milestones=(0.5, 0.75) and decays=(0.1, 0.01)."
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """A classifier of ``models.registry`` and how it is trained.

    Args:
        architecture: Registry key.
        training: Sizes and schedule.
        width: Factor on every hidden channel count.
        depth: Blocks per stage, ``None`` for the published number.
        adversarial_epsilon: Budget of adversarial training, ``None`` for clean images alone.
        adversarial_steps: 1 trains on clean images and on those of FGSM; more steps are of PGD,
            whose images take the place of the clean ones.
        adversarial_step_size: Length of a step of PGD.
        twin: Tells classifiers apart that are the same but for their random numbers, such as a
            target and the surrogate that an attacker trains.
    """

    architecture: str
    training: TrainingConfig
    width: float = 1.0
    depth: int | None = None
    adversarial_epsilon: float | None = dataclasses.field(default=None, metadata=LATER)
    adversarial_steps: int = dataclasses.field(default=1, metadata=LATER)
    adversarial_step_size: float | None = dataclasses.field(default=None, metadata=LATER)
    twin: int = dataclasses.field(default=0, metadata=LATER)

    def __post_init__(self) -> None:
        check_texts(self, "architecture")
        check_integer(field_name(self, "twin"), self.twin, at_most=10**9)
        check_kind(self, "training", TrainingConfig)
        check_field_numbers(self, "width", above=0)
        check_limits(self, "depth")
        if self.adversarial_epsilon is not None:
            check_field_numbers(self, "adversarial_epsilon", above=0, at_most=1)
        check_counts(self, "adversarial_steps")
        by_pgd = self.adversarial_steps > 1
        if by_pgd != (self.adversarial_step_size is not None) or (
            by_pgd and self.adversarial_epsilon is None
        ):
            raise ValueError(
                "Expected adversarial_steps above 1 with an adversarial_step_size and an "
                f"adversarial_epsilon, and no step size without, received {self}. Give all three "
                "for PGD, adversarial_epsilon alone for FGSM."
            )
        if self.adversarial_step_size is not None:
            check_field_numbers(self, "adversarial_step_size", above=0, at_most=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """An attack of ``attacks.registry`` and its hyper-parameters.

    Args:
        name: Registry key.
        hyperparameters: As the attack's constructor takes them.
        targeted: Whether it leads to a drawn wrong label instead of away from the true one.
        bounded: Whether it is given a budget; else it takes the smallest perturbation it finds.
        images: How many test images it is run on, where it costs too much for all of them.
    """

    name: str
    hyperparameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    targeted: bool = dataclasses.field(default=False, metadata=LATER)
    bounded: bool = dataclasses.field(default=True, metadata=LATER)
    images: int | None = dataclasses.field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        check_texts(self, "name")
        check_limits(self, "images")
        check_kind(self, "hyperparameters", Mapping)
        for name in ("targeted", "bounded"):
            check_flag(field_name(self, name), getattr(self, name))


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttackedCopies:
    """Adversarial training images: one copy of the training images for each attack.

    Args:
        target: The undefended target that is attacked.
        attacks: Each with its epsilon, or ``None`` for the attack's own distance.
    """

    target: str
    attacks: tuple[tuple[AttackConfig, float | None], ...]

    def __post_init__(self) -> None:
        check_texts(self, "target")
        if not check_several(self, "attacks", tuple):
            raise ValueError(
                "Expected at least one attack of AttackedCopies, received none. Pass pairs of an "
                "AttackConfig and its epsilon."
            )
        for attack, epsilon in self.attacks:
            if not isinstance(attack, AttackConfig):
                raise ValueError(
                    "Expected pairs of an AttackConfig and its epsilon as attacks of "
                    f"AttackedCopies, received {attack!r}. Build one."
                )
            if epsilon is not None:
                check_number(f"epsilon of {attack.name}", epsilon, above=0, at_most=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PurifierConfig:
    """A purifier of ``defenses.registry`` and how it is trained.

    Args:
        name: Registry key.
        training: Sizes and schedule; a method's several optimizers share them.
        width: Factor on every hidden channel count.
        arguments: Passed to the purifier's ``for_images``.
        copies: The adversarial images of a purifier that trains on them.
        source: The trained classifier that a purifier asks while it is trained.
    """

    name: str
    training: TrainingConfig
    width: float = 1.0
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    copies: AttackedCopies | None = dataclasses.field(default=None, metadata=LATER)
    source: str | None = dataclasses.field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        check_texts(self, "name", *(() if self.source is None else ("source",)))
        check_kind(self, "training", TrainingConfig)
        check_kind(self, "arguments", Mapping)
        check_field_numbers(self, "width", above=0)
        if self.copies is not None:
            check_kind(self, "copies", AttackedCopies)
        if self.training.precision != "float32":
            raise ValueError(
                f"Expected the precision 'float32' for the purifier {self.name!r}, received "
                f"{self.training.precision!r}. Leave it out: lower ones are for classifiers."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecisionConfig:
    """The vote of R of M voters and the Bayesian update (dissertation, 3.3.3 and 3.3.4).

    Args:
        num_drawn: R, the voters drawn for each image; the dissertation does not print it.
        smoothing: Pseudo-count of the conditional probability tables.
        backoff: Fall back from P(e_A | e_B, c) to P(e_A | c) in sparse cells.
        table_source: ``"train"`` (as printed) or ``"heldout"`` (images no voter has seen).
        table_limit: Estimate the tables from this many images, ``None`` for all.
    """

    num_drawn: int = 7
    smoothing: float = 1.0
    backoff: bool = False
    table_source: str = "train"
    table_limit: int | None = None

    def __post_init__(self) -> None:
        check_counts(self, "num_drawn")
        check_field_numbers(self, "smoothing", above=0)
        check_flag(field_name(self, "backoff"), self.backoff)
        check_choice(field_name(self, "table_source"), self.table_source, TABLE_SOURCES)
        check_limits(self, "table_limit")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubstituteConfig:
    """The substitute that an attacker without weights learns from a target's labels.

    Args:
        classifier: Its architecture.
        arguments: Hyper-parameters of ``attacks.substitute.SubstituteTraining``.
    """

    classifier: ClassifierConfig
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_kind(self, "classifier", ClassifierConfig)
        check_kind(self, "arguments", Mapping)
