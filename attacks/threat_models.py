"""Threat models, and attacks that draw the attacked model at random for each image."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence

import keras
import numpy as np

from attacks.attack import Attack
from attacks.job import (
    AttackFailedError,
    AttackResult,
    Job,
    validated_job,
    warn_of_unattacked,
)
from validation import check_choice, check_integer

# A member that attacks fewer images than this may rightly leave all of them unchanged.
_FEW_IMAGES = 20
_MOST_MEMBERS, _MOST_IMAGES = 1_000_000, 10_000_000
Sets = dict[float | None, np.ndarray]
Masks = dict[float | None, np.ndarray]


class ThreatModel(enum.StrEnum):
    """What the attacker knows of the classifier and of the defense before it.

    An accuracy under attack means nothing without its threat model: the same purifier keeps 90 % of
    its accuracy under one and none under another. ``knowledge`` describes each of them.

    **Reference**: Dissertation, ch. 3.4.3, 3.4.4 and 5.4.

    **Differs from the paper**: the papers' "white-box" is ``oblivious`` in most of their tables and
    ``adaptive`` in a few; the term is not used here.
    """

    OBLIVIOUS = "oblivious"
    """The target classifier with all weights, but not the defense in front of it."""

    TRANSFER = "transfer"
    """Neither classifier nor defense: only a separately trained substitute classifier."""

    MIXED = "mixed"
    """Half of the images as in ``oblivious``, half transferred from other classifiers."""

    FRAMEWORK = "framework"
    """The purifier and the classifiers behind it; of a pool, one is drawn at random per image."""

    ADAPTIVE = "adaptive"
    """Everything, end to end through the purifier, with BPDA and EOT where they are needed."""

    SCORE = "score"
    """No weights and no gradients: only the outputs of the defended classifier."""

    BPDA = "bpda"
    """The classifier with all weights, and of the purifier only what it returns."""

    @classmethod
    def _missing_(cls, value: object) -> None:
        """Refuses an unknown name with the known ones."""
        check_choice("the threat model", value, list(cls))

    @property
    def knowledge(self) -> str:
        """One sentence on what the attacker knows."""
        return _KNOWLEDGE[self]


_KNOWLEDGE = {
    ThreatModel.OBLIVIOUS: "the target classifier with all weights, but not the defense",
    ThreatModel.TRANSFER: "only a substitute classifier trained apart",
    ThreatModel.MIXED: "half of the images oblivious, half transferred from other classifiers",
    ThreatModel.FRAMEWORK: "the purifier and a classifier behind it (from a pool, a random one)",
    ThreatModel.ADAPTIVE: "everything, end to end through the purifier (BPDA, EOT where needed)",
    ThreatModel.SCORE: "only the outputs of the defended classifier",
    ThreatModel.BPDA: "the classifier and what the purifier returns, whose gradient is taken for "
    "that of the identity",
}


def draw_members(num_images: int, num_members: int, seed: int) -> np.ndarray:
    """Returns the index of the member that each image is attacked on.

    Returns:
        int64 array ``(num_images,)``, uniform in [0, num_members).

    Raises:
        ValueError: If there is no member, or a number is no integer.
    """
    num_images = check_integer("num_images", num_images, at_least=1, at_most=_MOST_IMAGES)
    num_members = check_integer("num_members", num_members, at_least=1, at_most=_MOST_MEMBERS)
    seed = check_integer("seed", seed)
    return np.random.default_rng(seed).integers(num_members, size=num_images)


def attack_random_member(
    attack: Attack,
    models: Sequence[keras.Model] | Callable[[int], keras.Model],
    images: np.ndarray,
    labels: np.ndarray,
    epsilons: Iterable[float | None],
    seed: int = 0,
    *,
    num_members: int | None = None,
    batch_size: int | None = None,
    progress: Callable[[int], None] | None = None,
    tolerated: float | None = None,
) -> tuple[Sets, np.ndarray, Masks]:
    """Makes each adversarial image on one member of an ensemble, drawn at random.

    The attacker of the ``framework`` threat model knows the whole pool, but not which members the
    defense will draw. Each member is attacked once, on its own images only, so the cost is that of
    attacking one model.

    **Reference**: Dissertation, ch. 3.4.4: for each member i, images made on f_i(VAE(x)), of
    which a random one is fed to the defense.

    **Differs from the paper**: i is drawn before the attack, not after it: the same distribution at
    the cost of a single member.

    Args:
        attack: Any attack, with its hyper-parameters.
        models: The members, each a classifier with any defense in front of it; or a function from
            an index to a member, so that a large pool need not be in memory at once.
        images: ``(num_images, height, width, channels)`` float32 in [0, 1].
        labels: ``(num_images,)`` integers, the true labels.
        epsilons: Budgets, each as ``epsilon`` of an attack.
        seed: Seed of the draw and of the attacks.
        num_members: Size of the pool; required if ``models`` is a function.
        batch_size: Images per batch, 128 by default.
        progress: Called with the number of images done so far, up to ``num_images``.
        tolerated: As of ``Attack.run``.

    Returns:
        A dict from epsilon to adversarial images, float32 in [0, 1]; the int64 array
        ``(num_images,)`` of the members they were made on; and a dict from epsilon to booleans
        ``(num_images,)``, which images were not attacked, as ``AttackResult.unattacked``.

    Raises:
        ValueError: If there is no member, or an argument is not accepted by the attack.
        AttackFailedError: If the attack fails on a member, changes nothing on any, or has no
            gradient on too many images.

    Warns:
        UnattackedImagesWarning: If some of the images were not attacked.
    """
    job = validated_job(images, labels, None, seed, batch_size, progress)
    if callable(models) and not isinstance(models, keras.Model):
        count = check_integer(
            "num_members", num_members, at_least=1, at_most=_MOST_MEMBERS, such_as=12
        )
    else:
        models = _checked_models(models, "member")
        count = len(models)
    members = draw_members(len(job.images), count, seed)
    crafted, unattacked = _attack_members(attack, models, members, job, epsilons, tolerated)
    return crafted, members, unattacked


def mixed_members(num_images: int, num_substitutes: int, seed: int) -> np.ndarray:
    """Returns, for each image, whether the target (0) or which substitute (1, 2, ...) is attacked.

    **Reference**: Dissertation, ch. 5.4.1: half of the images on the target, half on three
    DenseNets.

    **Differs from the paper**: how the second half is split is not printed; here in equal shares,
    whose images are drawn by a seeded permutation.

    Returns:
        int64 array ``(num_images,)`` with values in [0, num_substitutes].

    Raises:
        ValueError: If there is no substitute, or a number is no integer.
    """
    num_images = check_integer("num_images", num_images, at_least=1, at_most=_MOST_IMAGES)
    num_substitutes = check_integer("num_substitutes", num_substitutes, at_least=1, such_as=3)
    seed = check_integer("seed", seed)
    order = np.random.default_rng(seed).permutation(num_images)
    members = np.zeros(num_images, np.int64)
    transferred = order[(num_images + 1) // 2 :]
    for index, share in enumerate(np.array_split(transferred, num_substitutes), start=1):
        members[share] = index
    return members


def attack_mixed(
    attack: Attack,
    target: keras.Model,
    substitutes: Sequence[keras.Model],
    images: np.ndarray,
    labels: np.ndarray,
    epsilons: Iterable[float | None],
    seed: int = 0,
    *,
    batch_size: int | None = None,
    progress: Callable[[int], None] | None = None,
    tolerated: float | None = None,
) -> tuple[Sets, np.ndarray, Masks]:
    """Attacks half of the images on the target and transfers the rest from substitutes.

    **Reference**: Dissertation, ch. 5.4.1; see ``mixed_members``.

    The other arguments are those of ``attack_random_member``.

    Args:
        target: The undefended target.
        substitutes: Classifiers trained separately from it.


    Returns:
        A dict from epsilon to adversarial images, the members as of ``mixed_members``, and which
        images were not attacked, as of ``attack_random_member``.

    Raises:
        ValueError: If there is no substitute, or an argument is not accepted by the attack.
        AttackFailedError: As of ``attack_random_member``.

    Warns:
        UnattackedImagesWarning: If some of the images were not attacked.
    """
    job = validated_job(images, labels, None, seed, batch_size, progress)
    models = [target, *_checked_models(substitutes, "substitute")]
    members = mixed_members(len(job.images), len(models) - 1, seed)
    crafted, unattacked = _attack_members(attack, models, members, job, epsilons, tolerated)
    return crafted, members, unattacked


def _checked_models(models: Sequence[keras.Model], noun: str) -> Sequence[keras.Model]:
    """Returns the models of a pool; raises unless they are a sequence of one or more."""
    if not isinstance(models, Sequence) or isinstance(models, str) or not models:
        received = len(models) if isinstance(models, Sequence) else type(models).__name__
        raise ValueError(
            f"Expected at least one {noun} in a list of models, received {received}. Pass a "
            "non-empty list; a single model is a list of one."
        )
    return models


def _attack_members(
    attack: Attack,
    models: Sequence[keras.Model] | Callable[[int], keras.Model],
    members: np.ndarray,
    job: Job,
    epsilons: Iterable[float | None],
    tolerated: float | None,
) -> tuple[Sets, Masks]:
    """Returns each image attacked on its member; every member attacks its own images only."""
    if not isinstance(attack, Attack):
        raise ValueError(
            f"Expected an attack, received {attack!r}. Pass one of attacks.get_attack(name)."
        )
    budgets = attack.checked(epsilons)
    merged = {e: AttackResult.of_clean(job.images) for e in budgets}
    batch_size = _common_batch_size(members, job.batch_size)
    num_done = 0
    for index in np.unique(members):
        rows = np.flatnonzero(members == index)
        filled = np.pad(rows, (0, max(0, batch_size - len(rows))), mode="edge")
        results = attack.run(
            models(int(index)) if callable(models) else models[index],
            job.images[filled],
            job.labels[filled],
            budgets,
            seed=job.seed,
            batch_size=batch_size,
            progress=_shifted(job.progress, num_done, len(rows)),
            require_change=len(rows) >= _FEW_IMAGES,
            tolerated=1.0,
        )
        for epsilon, result in results.items():
            merged[epsilon].put(rows, result)
        num_done += len(rows)
    for epsilon, result in merged.items():
        if epsilon == 0:
            continue
        others = ~result.unmoved
        unchanged = np.array_equal(result.adversarial_images[others], job.images[others])
        if unchanged and (result.unmoved.any() or others.all()):
            raise AttackFailedError.nothing_changed(attack.name, epsilon, len(job.images))
        result.check(attack.name, epsilon, tolerated)
    warn_of_unattacked(attack.name, merged, stacklevel=3)
    return (
        {epsilon: result.adversarial_images for epsilon, result in merged.items()},
        {epsilon: result.unattacked for epsilon, result in merged.items()},
    )


def _common_batch_size(members: np.ndarray, batch_size: int) -> int:
    """Returns one batch size for all members and draws: an equal share of the images, rounded up.

    A member with fewer images has its last one repeated; otherwise it would be traced for another
    batch size at each draw. A single member attacks all images.
    """
    num_members = len(np.unique(members))
    if num_members == 1:
        return min(batch_size, len(members))
    share = -(-len(members) // num_members)
    return min(batch_size, 2 ** (share - 1).bit_length())


def _shifted(
    progress: Callable[[int], None] | None, num_done: int, num_images: int
) -> Callable[[int], None] | None:
    """Returns a progress function that starts from ``num_done`` and ignores repeated images."""
    if progress is None:
        return None
    return lambda count: progress(num_done + min(count, num_images))
