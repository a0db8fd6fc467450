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

from results.row import DATASETS
from validation import check_choice, check_flag, check_integer, check_number, check_numbers

OPTIMIZERS = ("adam", "sgd")
SCHEDULES = ("constant", "cosine", "linear", "steps")
PRECISIONS = ("float32", "bfloat16")
AUGMENTATIONS = ("flip", "vertical_flip", "shift", "stretch", "noise")
TABLE_SOURCES = ("train", "heldout")
BEARS = ("nothing", "any size", "full width")
"""Which claims a profile can judge, from none to all."""
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
        check_choice(_field(self, "name"), self.name, DATASETS)
        _check_counts(self, "validation_size")
        _check_limits(self, "train_limit", "test_limit")


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
        _check_counts(self, "epochs", "batch_size")
        _check_limits(self, "train_limit")
        check_choice(_field(self, "optimizer"), self.optimizer, OPTIMIZERS)
        check_choice(_field(self, "schedule"), self.schedule, SCHEDULES)
        check_choice(_field(self, "precision"), self.precision, PRECISIONS)
        for name in _several(self, "augmentation", str):
            check_choice(f"each augmentation of {type(self).__name__}", name, AUGMENTATIONS)
        _check_numbers(self, "learning_rate", above=0, at_most=1000)
        _check_numbers(self, "final_learning_rate", "noise_scale", at_least=0)
        _check_numbers(
            self, "beta_1", "beta_2", "shift_fraction", "stretch_fraction", at_least=0, below=1
        )
        if self.global_clipnorm is not None:
            _check_numbers(self, "global_clipnorm", above=0)
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
            check_numbers(_field(self, "milestones"), self.milestones, above=0, below=1)
            check_numbers(_field(self, "decays"), self.decays, above=0)
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
        adversarial_epsilon: Budget of FGSM adversarial training, ``None`` for clean images alone.
    """

    architecture: str
    training: TrainingConfig
    width: float = 1.0
    depth: int | None = None
    adversarial_epsilon: float | None = dataclasses.field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        _check_names(self, "architecture")
        _check_kind(self, "training", TrainingConfig)
        _check_numbers(self, "width", above=0)
        _check_limits(self, "depth")
        if self.adversarial_epsilon is not None:
            _check_numbers(self, "adversarial_epsilon", above=0, at_most=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """An attack of ``attacks.registry`` and its hyper-parameters.

    Args:
        name: Registry key.
        hyperparameters: As the attack's constructor takes them.
        targeted: Whether it leads to a drawn wrong label instead of away from the true one.
        bounded: Whether it is given a budget; else it takes the smallest perturbation it finds.
    """

    name: str
    hyperparameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    targeted: bool = dataclasses.field(default=False, metadata=LATER)
    bounded: bool = dataclasses.field(default=True, metadata=LATER)

    def __post_init__(self) -> None:
        _check_names(self, "name")
        _check_kind(self, "hyperparameters", Mapping)
        for name in ("targeted", "bounded"):
            check_flag(_field(self, name), getattr(self, name))


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
        _check_names(self, "target")
        if not _several(self, "attacks", tuple):
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
        _check_names(self, "name", *(() if self.source is None else ("source",)))
        _check_kind(self, "training", TrainingConfig)
        _check_kind(self, "arguments", Mapping)
        _check_numbers(self, "width", above=0)
        if self.copies is not None:
            _check_kind(self, "copies", AttackedCopies)
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
        _check_counts(self, "num_drawn")
        _check_numbers(self, "smoothing", above=0)
        check_flag(_field(self, "backoff"), self.backoff)
        check_choice(_field(self, "table_source"), self.table_source, TABLE_SOURCES)
        _check_limits(self, "table_limit")


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
        _check_kind(self, "classifier", ClassifierConfig)
        _check_kind(self, "arguments", Mapping)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetPlan:
    """Everything that is trained and evaluated on one data set.

    Args:
        dataset: The images.
        classifiers: Those that are trained on images that no purifier has seen, by the name rows
            carry: targets, sources of purifiers, classifiers that attacks are transferred from.
            One with the suffix ``ADVERSARIAL`` is the adversarially trained version of the
            classifier before it.
        purifiers: By name; a purifier trained with a source classifier may come several times.
        variants: Purifiers with other weights of their losses, each trained for one figure.
        retrained: Classifiers that are also trained anew on the images of each purifier.
        voters: The pool behind each purifier.
        pools: Voters of purifiers whose pool is trained otherwise.
        decision: Vote and Bayesian update.
        transferred: Classifiers whose adversarial images the threat model ``mixed`` transfers.
        substitute: What an attacker who sees labels alone learns.
        retraining_limit: From how many purified images a target is retrained, in its own training,
            ``None`` for all that the latter has.
        retraining_epochs: Epochs of targets whose retraining takes another number than their own
            training.
        unpublished: What the zoo leaves out, by its name there: ablations, made for one figure,
            with all that stands behind them, and classifiers of more weight than use.
        attacked_through: By purifier or classifier, how many test images are attacked through it,
            where its gradient costs too much for all of them.
        purified: By purifier, how many test images of a set it purifies, where a search for each of
            them costs too much for all.
        attacked_draws: Draws of a random purifier that an adaptive attacker's gradient averages.
        soft_min_temperature: Of an adaptive attacker's mixture of a purifier's candidates.
        compared: Purifiers that open comparisons show beside the papers'.
        searches: Numbers of steps of a purifier's search whose cost is compared.
        timed_search: Restarts and steps of the search that is timed beside single passes.
        timed_steps: Steps of that search which are run for it, and half as many; ``None`` for all.
        drawn: By purifier, how many voters of its pool are drawn, where that is not the
            ``num_drawn`` of ``decision``.
        framework_draws: Draws of a random purifier that a gradient through a whole defense
            averages, in a fair profile.
        framework_confidence: By which margin a minimum-norm attack through a whole defense has to
            mislead it, in a fair profile, before it leaves an image as it is.
    """

    dataset: DatasetConfig
    classifiers: Mapping[str, ClassifierConfig]
    purifiers: Mapping[str, PurifierConfig]
    variants: Mapping[str, PurifierConfig] = dataclasses.field(default_factory=dict)
    retrained: tuple[str, ...] = ()
    voters: tuple[ClassifierConfig, ...] = ()
    pools: Mapping[str, tuple[ClassifierConfig, ...]] = dataclasses.field(default_factory=dict)
    decision: DecisionConfig = dataclasses.field(default_factory=DecisionConfig)
    transferred: tuple[str, ...] = ()
    substitute: SubstituteConfig | None = None
    retraining_limit: int | None = None
    retraining_epochs: Mapping[str, int] = dataclasses.field(default_factory=dict)
    unpublished: tuple[str, ...] = ()
    attacked_through: Mapping[str, int] = dataclasses.field(default_factory=dict)
    purified: Mapping[str, int] = dataclasses.field(default_factory=dict)
    attacked_draws: int = 1
    soft_min_temperature: float = 0.02
    compared: tuple[str, ...] = ()
    searches: tuple[int, ...] = ()
    timed_search: tuple[int, int] = (20, 200)
    timed_steps: int | None = None
    drawn: Mapping[str, int] = dataclasses.field(default_factory=dict, metadata=LATER)
    framework_draws: int = dataclasses.field(default=4, metadata=LATER)
    framework_confidence: float = dataclasses.field(default=0.0, metadata=LATER)

    def __post_init__(self) -> None:
        _check_kind(self, "dataset", DatasetConfig)
        _check_kind(self, "decision", DecisionConfig)
        if self.substitute is not None:
            _check_kind(self, "substitute", SubstituteConfig)
        _check_values(self, "classifiers", ClassifierConfig)
        _check_values(self, "purifiers", PurifierConfig)
        _check_values(self, "variants", PurifierConfig)
        _check_values(self, "pools", tuple)
        _check_values(self, "attacked_through", int)
        _check_values(self, "purified", int)
        _check_values(self, "retraining_epochs", int)
        _check_values(self, "drawn", int)
        for voter in (*_several(self, "voters", ClassifierConfig), *sum(self.pools.values(), ())):
            if not isinstance(voter, ClassifierConfig):
                raise ValueError(
                    f"Expected voters as ClassifierConfigs, received {voter!r}. Build one."
                )
        _check_counts(self, "attacked_draws", "framework_draws")
        _check_limits(self, "retraining_limit")
        _check_numbers(self, "soft_min_temperature", above=0)
        _check_numbers(self, "framework_confidence", at_least=0)
        for name, images in self.attacked_through.items():
            check_integer(f"images attacked through {name}", images, at_least=1)
        for name, images in self.purified.items():
            check_integer(f"images that {name} purifies", images, at_least=1)
        for name, epochs in self.retraining_epochs.items():
            check_integer(f"epochs of retraining {name}", epochs, at_least=1)
        if self.timed_steps is not None:
            check_integer(_field(self, "timed_steps"), self.timed_steps, at_least=2)
        for steps in (*self.searches, *self.timed_search):
            check_integer("each number of steps and restarts of a search", steps, at_least=1)
        self._check_names()

    def _check_names(self) -> None:
        """Whatever a part names has to be there."""
        for field in ("retrained", "transferred"):
            for name in _several(self, field, str):
                check_choice(f"each of {field}", name, self.classifiers)
        for name in self.retraining_epochs:
            check_choice("each of retraining_epochs", name, self.retrained)
        purifiers = {**self.purifiers, **self.variants}
        for field in ("pools", "purified", "compared", "drawn"):
            for name in getattr(self, field):
                check_choice(f"each of {field}", name, purifiers)
        for name in self.attacked_through:
            check_choice("each of attacked_through", name, {**purifiers, **self.classifiers})
        for name, purifier in purifiers.items():
            if purifier.source is not None:
                check_choice(f"the source of {name}", purifier.source, self.classifiers)
            if purifier.copies is not None:
                check_choice(f"the target of {name}", purifier.copies.target, self.classifiers)
        for name, config in self.classifiers.items():
            trained = config.adversarial_epsilon is not None
            before = name.removesuffix(ADVERSARIAL)
            if name.endswith(ADVERSARIAL) != trained or before not in self.classifiers:
                raise ValueError(
                    f"Expected the name of a classifier and {ADVERSARIAL!r} for its adversarially "
                    f"trained version, and for it alone, received {name!r} with "
                    f"adversarial_epsilon={config.adversarial_epsilon}. Rename it."
                )
        for pool in (self.voters, *self.pools.values()):
            if pool:
                check_integer("num_drawn", self.decision.num_drawn, at_most=len(pool))
        for name, count in self.drawn.items():
            most = len(self.pool(name))
            check_integer(f"voters drawn behind {name}", count, at_least=1, at_most=most)

    def pool(self, purifier: str) -> tuple[ClassifierConfig, ...]:
        """The voters behind ``purifier``."""
        return self.pools.get(purifier, self.voters)

    def num_drawn(self, purifier: str) -> int:
        """How many voters behind ``purifier`` vote on an image."""
        return self.drawn.get(purifier, self.decision.num_drawn)

    def purifier(self, name: str) -> PurifierConfig:
        """The purifier or variant called ``name``.

        Raises:
            ValueError: If there is none; the message lists the known ones.
        """
        return _named({**self.purifiers, **self.variants}, name, "purifier")

    def classifier(self, name: str) -> ClassifierConfig:
        """The classifier called ``name``.

        Raises:
            ValueError: If there is none; the message lists the known ones.
        """
        return _named(self.classifiers, name, "classifier")

    def retrained_classifier(self, name: str) -> ClassifierConfig:
        """Classifier ``name`` as it is trained on purified images.

        Raises:
            ValueError: If it is not; the message lists those that are.
        """
        config = _named({n: self.classifiers[n] for n in self.retrained}, name, "classifier")
        limits = (config.training.train_limit, self.retraining_limit)
        limit = min((limit for limit in limits if limit is not None), default=None)
        epochs = self.retraining_epochs.get(name, config.training.epochs)
        training = dataclasses.replace(config.training, train_limit=limit, epochs=epochs)
        return dataclasses.replace(config, training=training)


def _named(group: Mapping[str, Any], name: str, noun: str) -> Any:
    return group[check_choice(f"a {noun} of the plan", name, group)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile:
    """One size of the whole study: ``demo``, ``quick``, ``full`` or ``paper``.

    Args:
        name: The command-line value.
        plans: By data-set name.
        attacks: By row name.
        budgets: Sets of epsilons by name, in units of the [0, 1] pixel range; exhibits ask for
            them. 0 stands for the clean images.
        cuts: What this profile reduces against the papers, said once in its report.
        bears: Which claims it can judge: ``"nothing"``, those of ``"any size"``, or those of
            ``"full width"`` too.
        publishes: Whether its models go to the zoo; those of the papers' widths are too large.
        voting_subsets: Random subsets per pool size in the voting analysis.
        num_draws: Repetitions over the randomness of a stochastic defense.
        fair: Whether every decider is attacked itself, and the same classifiers are retrained
            behind every purifier that purifies whole sets.
    """

    name: str
    plans: Mapping[str, DatasetPlan]
    attacks: Mapping[str, AttackConfig]
    budgets: Mapping[str, tuple[float, ...]]
    cuts: str
    bears: str = "nothing"
    publishes: bool = True
    voting_subsets: int = 20
    num_draws: int = 1
    fair: bool = False

    def __post_init__(self) -> None:
        _check_names(self, "name", "cuts")
        check_choice(_field(self, "bears"), self.bears, BEARS)
        check_flag(_field(self, "publishes"), self.publishes)
        check_flag(_field(self, "fair"), self.fair)
        _check_counts(self, "voting_subsets", "num_draws")
        _check_values(self, "plans", DatasetPlan)
        _check_values(self, "attacks", AttackConfig)
        _check_values(self, "budgets", tuple)
        for name, plan in self.plans.items():
            check_choice("the name of a plan, that of its data set,", name, [plan.dataset.name])
        for name, epsilons in self.budgets.items():
            check_numbers(f"the budgets {name!r}", epsilons, at_least=0, at_most=1)


def _field(config: Any, name: str) -> str:
    return f"{name} of {type(config).__name__}"


def _check_counts(config: Any, *names: str) -> None:
    """Whole numbers from 1 to more than any study has."""
    for name in names:
        check_integer(_field(config, name), getattr(config, name), at_least=1, at_most=10**9)


def _check_limits(config: Any, *names: str) -> None:
    """Whole numbers from 1, or None for no limit."""
    _check_counts(config, *(name for name in names if getattr(config, name) is not None))


def _check_numbers(config: Any, *names: str, **limits: float) -> None:
    for name in names:
        check_number(_field(config, name), getattr(config, name), **limits)


def _check_kind(config: Any, name: str, kind: type) -> None:
    value = getattr(config, name)
    if not isinstance(value, kind):
        raise ValueError(
            f"Expected {_field(config, name)} as a {kind.__name__}, received {value!r}. Pass one."
        )


def _check_names(config: Any, *names: str) -> None:
    """Texts that are not empty."""
    for name in names:
        _check_kind(config, name, str)
        if not getattr(config, name):
            raise ValueError(f"Expected {_field(config, name)} as a text, received none. Pass one.")


def _several(config: Any, name: str, kind: type) -> tuple[Any, ...]:
    """A tuple of one type."""
    _check_kind(config, name, tuple)
    values = getattr(config, name)
    for value in values:
        if not isinstance(value, kind):
            raise ValueError(
                f"Expected each of {_field(config, name)} as a {kind.__name__}, received "
                f"{value!r}. Pass a tuple of them."
            )
    return values


def _check_values(config: Any, name: str, kind: type) -> None:
    """A mapping of texts to one type."""
    _check_kind(config, name, Mapping)
    for key, value in getattr(config, name).items():
        if not isinstance(key, str) or not isinstance(value, kind):
            raise ValueError(
                f"Expected {_field(config, name)} as {kind.__name__}s by name, received "
                f"{key!r}: {value!r}. Pass a dictionary of them."
            )
