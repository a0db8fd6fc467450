"""Every way to decide on purified images, one class each.

A decider is asked which images it deals with rightly. What several deciders need of the same images
(the purified images, the voters' labels) is computed once, by ``DefendedImages``.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from typing import Any

import numpy as np

from defenses.magnet_detector import (
    MagNetDetector,
    accepted_by_all,
    handled,
    published_detectors,
)
from defenses.registry import get_purifier
from defenses.voting import majority_vote
from experiments import reproducibility
from experiments.config import ADVERSARIAL
from experiments.evidence import conditional_tables, vote_predictions
from experiments.inference import classifier_labels
from experiments.profile import DatasetPlan, Profile
from experiments.training import TrainedModels
from validation import check_choice

ADVERSARIAL_TRAINING = "adversarial_training"
"""The defense that changes the classifier instead of the image."""
CLASS_MEANS = "class_means"
"""The baseline that asks no classifier: the class whose mean training image is the nearest."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Defended:
    """A classifier with what stands before it.

    Args:
        defense: What rows call the defense.
        target: The classifier that is defended.
        key: The purifier's key in the plan; ``None`` without one.
        classifier: Who classifies: the target, its adversarially trained version, or the
            classifier that the defense comes with.
    """

    defense: str
    target: str
    key: str | None
    classifier: str


def defended(plan: DatasetPlan, defense: str, target: str) -> Defended | None:
    """A target behind a defense, or ``None`` if the plan does not have the two.

    A purifier that was trained with a classifier stands before that one alone if it guards its
    source, before the others alone if not.
    """
    if target not in plan.classifiers:
        return None
    if defense in ("none", CLASS_MEANS):
        return Defended(defense=defense, target=target, key=None, classifier=target)
    if defense == ADVERSARIAL_TRAINING:
        trained = f"{target}{ADVERSARIAL}"
        if trained not in plan.classifiers:
            return None
        return Defended(defense=defense, target=target, key=None, classifier=trained)
    for key, config in plan.purifiers.items():
        guards = get_purifier(config.name).guards_source
        named = defense == (key if guards or config.source is None else config.name)
        fits = config.source is None or (config.source == target) == guards
        if named and fits:
            behind = plan.behind.get(key, target)
            return Defended(defense=defense, target=target, key=key, classifier=behind)
    return None


class DefendedImages:
    """Attacked images behind one defense in one draw of its randomness.

    Args:
        models: What purifies and classifies.
        who: The defense and its target.
        images: The attacked test images, all of them or the first few.
        draw: Number of the draw; the same draw meets every set with the same random numbers.
        attacked: Whether the images are attacked, which a detector is to notice.
    """

    def __init__(
        self,
        models: TrainedModels,
        who: Defended,
        images: np.ndarray,
        draw: int = 0,
        *,
        attacked: bool = True,
    ) -> None:
        self.models, self.who, self.images, self.draw = models, who, images, draw
        self.attacked = attacked
        self.truth = models.data.test.labels[: len(images)]

    @functools.cached_property
    def purified(self) -> np.ndarray:
        """The purified images; without a purifier the images themselves."""
        if self.who.key is None:
            return self.images
        return self.models.purified_test_images(self.who.key, self.images, self.draw)

    @functools.cached_property
    def voter_labels(self) -> np.ndarray:
        """What each voter says, ``(n, voters)``."""
        return vote_predictions(self.models, self.who.key or "", self.purified)

    @functools.cached_property
    def vote(self) -> np.ndarray:
        """The vote of R of M, ``(n,)``."""
        models = self.models
        seed = reproducibility.derive_seed(models.seed, models.data.name, "vote", str(self.draw))
        rng = np.random.default_rng(seed)
        return majority_vote(self.voter_labels, models.plan.num_drawn(self.who.key or ""), rng)

    def labels(self, classifier: str, retrained: bool = False) -> np.ndarray:
        """What a classifier says of the purified images, ``(n,)``."""
        if retrained:
            model = self.models.retrained(self.who.key or "", classifier)
            return classifier_labels(model, self.purified, f"retrained {classifier}")
        return classifier_labels(self.models.target(classifier), self.purified, classifier)


class Decider(abc.ABC):
    """One way to decide.

    Attributes:
        name: What exhibits ask for.
        decides: The ``decider`` of its rows.
    """

    name: str
    decides: str

    def beside(self, profile: Profile) -> tuple[str, ...]:
        """Metrics of the shares that are measured beside its accuracy."""
        return ()

    def share(self, metric: str, images: DefendedImages, target: str) -> np.ndarray:
        """Of which images a share of ``beside`` is, booleans ``(repeats, n)``."""
        raise ValueError(
            f"Expected no share beside the accuracy of {self.name!r}, received {metric!r}. Ask "
            "for one of those that it names."
        )

    @abc.abstractmethod
    def settings(self, plan: DatasetPlan, who: Defended) -> dict[str, Any]:
        """What its rows carry beside the target."""

    @abc.abstractmethod
    def recipe(
        self, models: TrainedModels, profile: Profile, who: Defended, *, attacked: bool
    ) -> dict[str, Any]:
        """What its decisions depend on, beside the target and the images.

        Args:
            models: The recipes of the models.
            profile: The number of draws.
            who: The defense and its target.
            attacked: Whether the images are attacked.
        """

    @abc.abstractmethod
    def correct(self, images: DefendedImages, target: str) -> np.ndarray:
        """Which images it deals with rightly, booleans ``(repeats, n)``.

        Args:
            images: Purified, by a purifier that may serve several targets.
            target: Whose turn it is.
        """


class Target(Decider):
    """The classifier that is defended, or the one that the defense puts in its place."""

    name = decides = "target"

    def settings(self, plan, who):
        return {}

    def recipe(self, models, profile, who, *, attacked):
        if who.key is not None:
            own = who.classifier != who.target
            behind = {"behind": models.target_recipe(who.classifier)} if own else {}
            return {**_behind_purifier(models, profile, who.key), **behind}
        if who.defense == ADVERSARIAL_TRAINING:
            return {"adversarially_trained": models.target_recipe(who.classifier)}
        return {}

    def correct(self, images, target):
        name = images.who.classifier if images.who.target == target else target
        return (images.labels(name) == images.truth)[np.newaxis]


class Retrained(Decider):
    """The target trained anew on purified images."""

    name, decides = "retrained", "target"

    def settings(self, plan, who):
        return {"retrained": True}

    def recipe(self, models, profile, who, *, attacked):
        key = who.key or ""
        retrained = models.retrained_recipe(key, who.target)
        return {**_behind_purifier(models, profile, key), "retrained": retrained}

    def correct(self, images, target):
        return (images.labels(target, retrained=True) == images.truth)[np.newaxis]


class MeanVoter(Decider):
    """Each voter of the pool alone, their decisions pooled."""

    name = decides = "mean_voter"

    def settings(self, plan, who):
        return {"voters": len(plan.pool(who.key or ""))}

    def recipe(self, models, profile, who, *, attacked):
        return pool_recipe(models, profile, who.key or "")

    def correct(self, images, target):
        return images.truth == images.voter_labels.T


class Vote(MeanVoter):
    """The vote of R of M voters (dissertation, 3.3.3)."""

    name = decides = "vote"

    def settings(self, plan, who):
        return {**super().settings(plan, who), "drawn": plan.num_drawn(who.key or "")}

    def correct(self, images, target):
        return (images.vote == images.truth)[np.newaxis]


class VoteBayes(Vote):
    """The vote with the Bayesian update (dissertation, 3.3.4).

    Args:
        heldout: Whether the conditional tables are counted on images that no voter has seen.
    """

    decides = "vote_bayes"

    def __init__(self, *, heldout: bool = False) -> None:
        self.name = "vote_bayes_heldout" if heldout else "vote_bayes"
        self.source = "heldout" if heldout else None

    def settings(self, plan, who):
        tables = {"tables": self.source} if self.source else {}
        return {**super().settings(plan, who), **tables}

    def beside(self, profile):
        return ("overruled",) if profile.fair else ()

    def correct(self, images, target):
        return (self._decided(images, target) == images.truth)[np.newaxis]

    def share(self, metric, images, target):
        """Of the metric ``overruled``: where the update decides otherwise than the vote."""
        check_choice("a share beside an update", metric, ["overruled"])
        return (self._decided(images, target) != images.vote)[np.newaxis]

    def _decided(self, images: DefendedImages, target: str) -> np.ndarray:
        tables = conditional_tables(images.models, images.who.key or "", target, self.source)
        return tables.decide(images.labels(target), images.vote)


class WithDetectors(Decider):
    """The target, unless detectors refuse the image: right for an attacked one, else an error."""

    name, decides = "detectors", "target"

    def settings(self, plan, who):
        return {"detectors": True}

    def recipe(self, models, profile, who, *, attacked):
        purifier = models.purifier_recipe(who.key or "")
        return {"purifier": purifier, "detectors": True, "attacked": attacked}

    def beside(self, profile):
        return ("refused",) if profile.fair else ()

    def correct(self, images, target):
        accepted = self._accepted(images, target)
        labels = images.labels(target)
        dealt_with = handled(images.truth, labels, accepted, adversarial=images.attacked)
        return dealt_with[np.newaxis]

    def share(self, metric, images, target):
        """Of the metric ``refused``: what the detectors refuse, attacked or not."""
        check_choice("a share beside detectors", metric, ["refused"])
        return ~self._accepted(images, target)[np.newaxis]

    def _accepted(self, images: DefendedImages, target: str) -> np.ndarray:
        return accepted_by_all(_detectors(images.models, images.who.key, target), images.images)


class NearestMean(Decider):
    """The class whose mean training image is the nearest, by L2; no network decides."""

    name = decides = CLASS_MEANS

    def settings(self, plan, who):
        return {}

    def recipe(self, models, profile, who, *, attacked):
        return {CLASS_MEANS: models.recipe(CLASS_MEANS)}

    def correct(self, images, target):
        means = _class_means(images.models)
        flat = images.images.reshape(len(images.images), -1)
        # The square of the image itself is the same for every class.
        distances = (means**2).sum(axis=1) - 2.0 * flat @ means.T
        return (distances.argmin(axis=1) == images.truth)[np.newaxis]


DECIDERS: dict[str, Decider] = {
    decider.name: decider
    for decider in (
        Target(),
        Retrained(),
        MeanVoter(),
        Vote(),
        VoteBayes(),
        VoteBayes(heldout=True),
        WithDetectors(),
        NearestMean(),
    )
}
_POOL = ("target", "mean_voter", "vote", "vote_bayes", "vote_bayes_heldout")
AIMS = {
    "target": "target",
    "detectors": "target",
    "retrained": "retrained",
    "mean_voter": "vote",
    "vote": "vote",
    "vote_bayes": "vote_bayes",
    "vote_bayes_heldout": "vote_bayes",
}
"""Decider -> what an attack through its whole defense is aimed at in a fair profile."""
_BYSTANDERS = ("mean_voter", "detectors")
"""Deciders that meet images which were made for another one."""


def families(
    plan: DatasetPlan, who: Defended, wanted: tuple[str, ...], *, fair: bool = False
) -> list[tuple[str, ...]]:
    """The deciders behind one defense, in groups that are measured together.

    Behind a purifier with a pool decide the target, the voters and their votes. Behind one without
    a pool decides the target and, where it is published so or no vote is asked for, the target
    retrained on purified images. Detectors stand for themselves.

    In a fair comparison the retrained target decides behind every purifier, but for one that does
    not purify whole sets, so that none has a better classifier behind it than another.

    Args:
        plan: Which purifiers there are.
        who: The defense and its target.
        wanted: Names of ``DECIDERS``.
        fair: Whether the comparison is to be fair.

    Raises:
        ValueError: If a name is unknown; the message lists the known ones.
    """
    for name in wanted:
        check_choice("each decider", name, DECIDERS)
    if who.key is None:
        return [(CLASS_MEANS if who.defense == CLASS_MEANS else "target",)]
    entry = get_purifier(plan.purifiers[who.key].name)
    voting = any(name in wanted for name in _POOL if name != "target")
    retrained = fair and who.target in plan.retrained and who.key not in plan.purified
    retrained = retrained and "retrained" in wanted
    if voting and entry.pooled:
        pool = tuple(name for name in _POOL if name in wanted)
        return [(*pool, "retrained") if retrained else pool]
    found = ["target"] if "target" in wanted else []
    if retrained or ("retrained" in wanted and (entry.retrains_classifier or not voting)):
        found.append("retrained")
    detecting = ["detectors"] if "detectors" in wanted and entry.has_detectors else []
    return [tuple(group) for group in (found, detecting) if group]


def aims(family: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """What is attacked for the deciders of a group, each with the deciders that meet its images.

    The target also meets the images that are made for the update, which may leave the decision to
    it: where the two are equal, the vote decides nothing.

    Args:
        family: Names of ``DECIDERS``.
    """
    found: dict[str, list[str]] = {}
    for name in family:
        found.setdefault(AIMS[name], []).append(name)
    if "vote_bayes" in found and "target" in family:
        found["vote_bayes"].append("target")
    return {aimed: tuple(names) for aimed, names in found.items()}


def attacked_themselves(aimed: str) -> tuple[str, ...]:
    """The deciders that an attack aimed at one of them attacks."""
    return tuple(name for name, at in AIMS.items() if at == aimed and name not in _BYSTANDERS)


def deployed(plan: DatasetPlan, who: Defended) -> tuple[str, ...]:
    """The deciders that an attack through the purifier is aimed at.

    Behind a purifier with a pool these are the voters and what they decide; the target, which is
    not attacked then, is not among them.
    """
    entry = get_purifier(plan.purifiers[who.key or ""].name)
    if entry.pooled:
        return tuple(name for name in _POOL if name != "target")
    return ("retrained",) if entry.retrains_classifier else ("target",)


def _behind_purifier(models: TrainedModels, profile: Profile, key: str) -> dict[str, Any]:
    return {"purifier": models.purifier_recipe(key), "num_draws": profile.num_draws}


def pool_recipe(models: TrainedModels, profile: Profile, key: str) -> dict[str, Any]:
    """What the decision of a pool depends on, beside the images."""
    drawn = models.plan.drawn
    return {
        "voters": models.pool_recipes(key),
        "decision": models.plan.decision,
        "num_draws": profile.num_draws,
        **({"drawn": drawn[key]} if key in drawn else {}),
    }


@functools.lru_cache(maxsize=2)  # one target after the other meets all attacks
def _detectors(models: TrainedModels, key: str, target: str) -> list[MagNetDetector]:
    """The published detectors, their thresholds from the validation images."""
    images = models.data.validation.images
    return published_detectors(models.purifier(key), models.target(target), images)


@functools.lru_cache(maxsize=2)
def _class_means(models: TrainedModels) -> np.ndarray:
    """The mean training image of each class, float64 ``(classes, pixels)``."""
    train = models.data.train
    flat = train.images.reshape(len(train.images), -1)
    return np.stack(
        [
            flat[train.labels == label].mean(axis=0, dtype=np.float64)
            for label in range(models.data.num_classes)
        ]
    )
