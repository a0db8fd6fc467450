"""Configuration: frozen, keyword-only dataclasses, so that a typo is a ``TypeError``.

Models and layers never see one of these; ``training`` and ``evaluation`` unpack them into
keyword arguments. Every number that changes a result is a field here, because an artifact
and a row are named by the hash of their configuration (`experiments.reproducibility`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

WIDE_RESNET = "wide_resnet"
"""The name that rows carry for the target of chapter 5."""
LATER = {"omitted_at_default": True}
"""Marks a field younger than the first published rows: hashes leave it out at its default, so
that what was measured before it keeps its name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """Which images take part.

    Args:
        name: a name `experiments.datasets.load` knows.
        train_limit: number of training images used, ``None`` for all.
        validation_size: images held out of the training split by a fixed permutation.
        test_limit: number of test images evaluated, ``None`` for all.
    """

    name: str
    train_limit: int | None = None
    validation_size: int = 5_000
    test_limit: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a network is fitted.

    Args:
        epochs: passes over the training images.
        batch_size: images per step.
        optimizer: ``"adam"`` or ``"sgd"`` (Nesterov momentum 0.9).
        learning_rate: initial learning rate.
        schedule: ``"constant"``, ``"cosine"`` (to `final_learning_rate`), ``"steps"``, or
            ``"linear"`` (constant for half of the run, then straight to 0).
        final_learning_rate: where the cosine ends.
        milestones: fractions of the run at which a ``"steps"`` schedule drops.
        decays: learning-rate factors that hold after each milestone.
        augmentation: any of ``"flip"``, ``"vertical_flip"``, ``"shift"``, ``"stretch"`` and
            ``"noise"``, applied in the order given.
        shift_fraction: largest translation of ``"shift"``, as a share of the image side.
        global_clipnorm: gradient clipping at this global norm, or ``None``.
        train_limit: fit on this many of the data set's training images, ``None`` for all.
        beta_1: Adam's decay of the first moment.
        beta_2: Adam's decay of the second moment.
        stretch_fraction: largest zoom of ``"stretch"`` along either side.
        noise_scale: standard deviation of the factors of ``"noise"``, whose mean is 1.
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """A classifier of `models.registry` and how it is trained.

    Args:
        architecture: registry key.
        training: sizes and schedule.
        width: factor on every hidden channel count.
        depth: blocks per stage, ``None`` for the published number.
        adversarial_epsilon: budget of FGSM adversarial training, ``None`` for clean images alone.
    """

    architecture: str
    training: TrainingConfig
    width: float = 1.0
    depth: int | None = None
    adversarial_epsilon: float | None = dataclasses.field(default=None, metadata=LATER)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """An attack of `attacks.registry` and its hyper-parameters.

    Args:
        name: registry key.
        hyperparameters: as the attack's constructor takes them.
        targeted: whether it leads to a drawn wrong label instead of away from the true one.
    """

    name: str
    hyperparameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    targeted: bool = dataclasses.field(default=False, metadata=LATER)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttackedCopies:
    """Adversarial training images: one copy of the training images for each attack.

    Args:
        target: the undefended target that is attacked.
        attacks: each with its epsilon, or ``None`` for the attack's own distance.
    """

    target: str
    attacks: tuple[tuple[AttackConfig, float | None], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PurifierConfig:
    """A purifier of `defenses.registry` and how it is trained.

    Args:
        name: registry key.
        training: sizes and schedule; a method's several optimizers share them.
        width: factor on every hidden channel count.
        arguments: passed to the purifier's ``for_images``.
        copies: the adversarial images of a purifier that trains on them.
        source: the trained classifier that a purifier asks while it is trained.
    """

    name: str
    training: TrainingConfig
    width: float = 1.0
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    copies: AttackedCopies | None = dataclasses.field(default=None, metadata=LATER)
    source: str | None = dataclasses.field(default=None, metadata=LATER)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecisionConfig:
    """The vote of R of M voters and the Bayesian update (dissertation, 3.3.3 and 3.3.4).

    Args:
        num_drawn: R, the voters drawn for each image; the dissertation does not print it.
        smoothing: pseudo-count of the conditional probability tables.
        backoff: fall back from P(e_A | e_B, c) to P(e_A | c) in sparse cells.
        table_source: ``"train"`` (as printed) or ``"heldout"`` (images no voter has seen).
        table_limit: estimate the tables from this many images, ``None`` for all.
    """

    num_drawn: int = 7
    smoothing: float = 1.0
    backoff: bool = False
    table_source: str = "train"
    table_limit: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PuVAEPlan:
    """The experiments of the PuVAE paper on one data set.

    Args:
        classifiers: two of them, by the name rows carry. Each is attacked as a target, and is the
            source of the PuVAE that guards the other.
        epsilon: budget of FGSM and iFGSM, and of adversarial training.
        substitute: the classifier that an attacker without weights learns.
        substitute_training: hyper-parameters of `attacks.substitute.SubstituteTraining`.
        coefficients: weights of reconstruction, divergence and cross-entropy in Figure 7, row by
            row; the last are those of PuVAE itself.
        num_draws: draws that the adaptive attacker's gradient averages over.
        soft_min_temperature: of the adaptive attacker's mixture of candidates.
        searches: numbers of steps of Defense-GAN that Figure 9 measures.
        timed_search: restarts and steps of Defense-GAN that Table 7 times.
    """

    classifiers: Mapping[str, ClassifierConfig]
    epsilon: float
    substitute: ClassifierConfig
    substitute_training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    coefficients: tuple[tuple[float, float, float], ...] = ()
    num_draws: int = 1
    soft_min_temperature: float = 0.02
    searches: tuple[int, ...] = ()
    timed_search: tuple[int, int] = (20, 200)

    def source_of(self, target: str) -> str:
        """The classifier that PuVAE is trained with where `target` stands behind it."""
        (source,) = (name for name in self.classifiers if name != target)
        return source

    def hardened(self, target: str) -> str:
        """The name of `target` after adversarial training."""
        return f"{target}_adversarial"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetPlan:
    """Everything that is trained and evaluated on one data set.

    Args:
        dataset: the images.
        targets: the classifiers that are attacked, by the name rows carry (A, B, C).
        purifiers: by registry key.
        voters: the pool behind each purifier.
        decision: vote and Bayesian update.
        pools: voters of purifiers whose pool is trained otherwise.
        wide_resnet: the target of chapter 5.
        substitutes: the DenseNets whose adversarial images are transferred to it.
        retraining_limit: from how many purified images a target is retrained, in its own training,
            ``None`` for all that the latter has.
        unpublished: what the zoo leaves out, by its name there: ablations, made for one figure,
            with all that stands behind them, and classifiers of more weight than use.
        attacked_through: by purifier, how many test images are attacked through it, where its
            gradient costs too much for all of them.
        puvae: the experiments of the PuVAE paper, if there are any.
        compared: purifiers that the accuracy figures of chapter 3 show beside the dissertation's.
        sweep: KL weights of the sweep that settles ``kl_weight``, empty for none.
        sweep_training: how each run of the sweep is trained.
    """

    dataset: DatasetConfig
    targets: Mapping[str, ClassifierConfig]
    purifiers: Mapping[str, PurifierConfig]
    voters: tuple[ClassifierConfig, ...]
    decision: DecisionConfig
    sweep: tuple[float, ...] = ()
    sweep_training: TrainingConfig | None = None
    pools: Mapping[str, tuple[ClassifierConfig, ...]] = dataclasses.field(default_factory=dict)
    wide_resnet: ClassifierConfig | None = None
    substitutes: tuple[ClassifierConfig, ...] = ()
    retraining_limit: int | None = None
    unpublished: tuple[str, ...] = ()
    attacked_through: Mapping[str, int] = dataclasses.field(default_factory=dict)
    puvae: PuVAEPlan | None = None
    compared: tuple[str, ...] = ()

    @property
    def classifiers(self) -> dict[str, ClassifierConfig]:
        """Every classifier that is not trained on purified images, by the name rows carry."""
        named = self._dissertation_targets
        named |= {f"substitute_{i}": config for i, config in enumerate(self.substitutes)}
        if self.puvae:
            for name, config in self.puvae.classifiers.items():
                hardened = dataclasses.replace(config, adversarial_epsilon=self.puvae.epsilon)
                named |= {name: config, self.puvae.hardened(name): hardened}
        return named

    def pool(self, purifier: str) -> tuple[ClassifierConfig, ...]:
        """The voters behind `purifier`."""
        return self.pools.get(purifier, self.voters)

    @property
    def retrained(self) -> dict[str, ClassifierConfig]:
        """The dissertation's targets as they are retrained on purified images, by name."""
        targets = self._dissertation_targets
        return {name: self._retrained(config) for name, config in targets.items()}

    @property
    def _dissertation_targets(self) -> dict[str, ClassifierConfig]:
        wide = {WIDE_RESNET: self.wide_resnet} if self.wide_resnet else {}
        return {**self.targets, **wide}

    def _retrained(self, config: ClassifierConfig) -> ClassifierConfig:
        limits = (config.training.train_limit, self.retraining_limit)
        limit = min((limit for limit in limits if limit is not None), default=None)
        training = dataclasses.replace(config.training, train_limit=limit)
        return dataclasses.replace(config, training=training)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile:
    """One size of the whole study: ``demo``, ``quick`` or ``paper``.

    Args:
        name: the command-line value.
        plans: by data-set name.
        attacks: by row name.
        epsilons: the accuracy axis, in units of the [0, 1] pixel range; starts at 0.
        cuts: what this profile reduces against the papers, printed beside every figure.
        voting_epsilons: the levels of the voting analysis.
        voting_subsets: random subsets per pool size in the voting analysis.
        num_draws: repetitions over the randomness of a stochastic defense.
    """

    name: str
    plans: Mapping[str, DatasetPlan]
    attacks: Mapping[str, AttackConfig]
    epsilons: tuple[float, ...]
    cuts: str
    voting_epsilons: tuple[float, ...] = ()
    voting_subsets: int = 20
    num_draws: int = 1
