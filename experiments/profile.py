"""What is measured on each data set, and how large: ``DatasetPlan`` and ``Profile``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments.config import (
    ADVERSARIAL,
    LATER,
    AttackConfig,
    ClassifierConfig,
    DatasetConfig,
    DecisionConfig,
    PurifierConfig,
    SubstituteConfig,
)
from experiments.field_checks import (
    check_counts,
    check_field_numbers,
    check_kind,
    check_limits,
    check_several,
    check_texts,
    check_values,
    field_name,
)
from validation import check_choice, check_flag, check_integer, check_numbers

BEARS = ("nothing", "any size", "full width")
"""Which claims a profile can judge, from none to all."""


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
        surrogates: By classifier, the one that an attacker trains apart, on the same images, and
            transfers attacks from; the others are transferred from their ``substitute``.
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
        behind: By purifier, the classifier that stands behind it in place of the target, where a
            defense comes with one of its own.
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
    surrogates: Mapping[str, str] = dataclasses.field(default_factory=dict, metadata=LATER)
    retraining_limit: int | None = None
    retraining_epochs: Mapping[str, int] = dataclasses.field(default_factory=dict)
    unpublished: tuple[str, ...] = ()
    attacked_through: Mapping[str, int] = dataclasses.field(default_factory=dict)
    purified: Mapping[str, int] = dataclasses.field(default_factory=dict)
    behind: Mapping[str, str] = dataclasses.field(default_factory=dict, metadata=LATER)
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
        check_kind(self, "dataset", DatasetConfig)
        check_kind(self, "decision", DecisionConfig)
        if self.substitute is not None:
            check_kind(self, "substitute", SubstituteConfig)
        check_values(self, "classifiers", ClassifierConfig)
        check_values(self, "purifiers", PurifierConfig)
        check_values(self, "variants", PurifierConfig)
        check_values(self, "pools", tuple)
        check_values(self, "attacked_through", int)
        check_values(self, "purified", int)
        check_values(self, "retraining_epochs", int)
        check_values(self, "drawn", int)
        check_values(self, "surrogates", str)
        check_values(self, "behind", str)
        for voter in (
            *check_several(self, "voters", ClassifierConfig),
            *sum(self.pools.values(), ()),
        ):
            if not isinstance(voter, ClassifierConfig):
                raise ValueError(
                    f"Expected voters as ClassifierConfigs, received {voter!r}. Build one."
                )
        check_counts(self, "attacked_draws", "framework_draws")
        check_limits(self, "retraining_limit")
        check_field_numbers(self, "soft_min_temperature", above=0)
        check_field_numbers(self, "framework_confidence", at_least=0)
        for name, images in self.attacked_through.items():
            check_integer(f"images attacked through {name}", images, at_least=1)
        for name, images in self.purified.items():
            check_integer(f"images that {name} purifies", images, at_least=1)
        for name, epochs in self.retraining_epochs.items():
            check_integer(f"epochs of retraining {name}", epochs, at_least=1)
        if self.timed_steps is not None:
            check_integer(field_name(self, "timed_steps"), self.timed_steps, at_least=2)
        for steps in (*self.searches, *self.timed_search):
            check_integer("each number of steps and restarts of a search", steps, at_least=1)
        self._check_names()

    def _check_names(self) -> None:
        """Whatever a part names has to be there."""
        for field in ("retrained", "transferred"):
            for name in check_several(self, field, str):
                check_choice(f"each of {field}", name, self.classifiers)
        for name, surrogate in self.surrogates.items():
            check_choice("each of surrogates", name, self.classifiers)
            check_choice(f"the surrogate of {name}", surrogate, self.classifiers)
            if self.classifiers[surrogate] == self.classifiers[name]:
                raise ValueError(
                    f"Expected a surrogate of {name} that is another classifier, received "
                    f"{surrogate!r} of the same configuration. Give it another 'twin'."
                )
        for name in self.retraining_epochs:
            check_choice("each of retraining_epochs", name, self.retrained)
        purifiers = {**self.purifiers, **self.variants}
        for field in ("pools", "purified", "compared", "drawn", "behind"):
            for name in getattr(self, field):
                check_choice(f"each of {field}", name, purifiers)
        for name, classifier in self.behind.items():
            check_choice(f"the classifier behind {name}", classifier, self.classifiers)
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
        check_texts(self, "name", "cuts")
        check_choice(field_name(self, "bears"), self.bears, BEARS)
        check_flag(field_name(self, "publishes"), self.publishes)
        check_flag(field_name(self, "fair"), self.fair)
        check_counts(self, "voting_subsets", "num_draws")
        check_values(self, "plans", DatasetPlan)
        check_values(self, "attacks", AttackConfig)
        check_values(self, "budgets", tuple)
        for name, plan in self.plans.items():
            check_choice("the name of a plan, that of its data set,", name, [plan.dataset.name])
        for name, epsilons in self.budgets.items():
            check_numbers(f"the budgets {name!r}", epsilons, at_least=0, at_most=1)
