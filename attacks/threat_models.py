"""Threat models, and attacks that draw the attacked model at random for each image."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

import keras
import numpy as np

from attacks.attack import Attack
from attacks.validation import DEFAULT_BATCH_SIZE, AttackFailedError

# A member that attacks fewer images than this may rightly leave all of them unchanged.
_FEW_IMAGES = 20


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
}


def draw_members(num_images: int, num_members: int, seed: int) -> np.ndarray:
    """Returns the index of the member that each image is attacked on.

    Returns:
        int64 array ``(num_images,)``, uniform in [0, num_members).
    """
    return np.random.default_rng(seed).integers(num_members, size=num_images)


def attack_random_member(
    attack: Attack,
    models: Sequence[keras.Model] | Callable[[int], keras.Model],
    images: np.ndarray,
    labels: np.ndarray,
    epsilons: Sequence[float | None],
    seed: int = 0,
    *,
    num_members: int | None = None,
    batch_size: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[dict[float | None, np.ndarray], np.ndarray]:
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

    Returns:
        A dict from epsilon to adversarial images, float32 in [0, 1], and the int64 array
        ``(num_images,)`` of the members they were made on.

    Raises:
        ValueError: If there is no member, or an argument is not accepted by the attack.
        AttackFailedError: If the attack fails on a member, or changes nothing on any.
    """
    count = num_members if callable(models) else len(models)
    if not count or count < 1:
        raise ValueError(
            f"Expected at least one member, received {count}. Pass a non-empty sequence of "
            "models, or a function together with num_members."
        )
    members = draw_members(len(images), count, seed)
    crafted = _attack_members(
        attack, models, members, images, labels, epsilons, seed, batch_size, progress
    )
    return crafted, members


def mixed_members(num_images: int, num_substitutes: int, seed: int) -> np.ndarray:
    """Returns, for each image, whether the target (0) or which substitute (1, 2, ...) is attacked.

    **Reference**: Dissertation, ch. 5.4.1: half of the images on the target, half on three
    DenseNets.

    **Differs from the paper**: how the second half is split is not printed; here in equal shares,
    whose images are drawn by a seeded permutation.

    Returns:
        int64 array ``(num_images,)`` with values in [0, num_substitutes].

    Raises:
        ValueError: If there is no substitute.
    """
    if num_substitutes < 1:
        raise ValueError(
            f"Expected at least one substitute, received {num_substitutes}. Pass the classifiers "
            "whose adversarial images are transferred."
        )
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
    epsilons: Sequence[float | None],
    seed: int = 0,
    *,
    batch_size: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[dict[float | None, np.ndarray], np.ndarray]:
    """Attacks half of the images on the target and transfers the rest from substitutes.

    **Reference**: Dissertation, ch. 5.4.1; see ``mixed_members``.

    The other arguments are those of ``attack_random_member``.

    Args:
        target: The undefended target.
        substitutes: Classifiers trained separately from it.


    Returns:
        A dict from epsilon to adversarial images, and the members as of ``mixed_members``.

    Raises:
        ValueError: If there is no substitute, or an argument is not accepted by the attack.
        AttackFailedError: If the attack fails on a member, or changes nothing on any.
    """
    members = mixed_members(len(images), len(substitutes), seed)
    crafted = _attack_members(
        attack,
        [target, *substitutes],
        members,
        images,
        labels,
        epsilons,
        seed,
        batch_size,
        progress,
    )
    return crafted, members


def _attack_members(
    attack: Attack,
    models: Sequence[keras.Model] | Callable[[int], keras.Model],
    members: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray,
    epsilons: Sequence[float | None],
    seed: int,
    batch_size: int | None,
    progress: Callable[[int], None] | None,
) -> dict[float | None, np.ndarray]:
    """Returns each image attacked on its member; every member attacks its own images only."""
    images, labels = np.asarray(images), np.asarray(labels)
    crafted: dict[float | None, np.ndarray] = {e: np.array(images) for e in epsilons}
    batch_size = _common_batch_size(members, batch_size)
    num_done = 0
    for index in np.unique(members):
        rows = np.flatnonzero(members == index)
        filled = np.pad(rows, (0, max(0, batch_size - len(rows))), mode="edge")
        model = models(int(index)) if callable(models) else models[index]
        curve = attack.curve(
            model,
            images[filled],
            labels[filled],
            epsilons,
            seed=seed,
            batch_size=batch_size,
            progress=_shifted(progress, num_done, len(rows)),
            require_change=len(rows) >= _FEW_IMAGES,
        )
        for epsilon, adversarial in curve.items():
            crafted[epsilon][rows] = adversarial[: len(rows)]
        num_done += len(rows)
    for epsilon, adversarial in crafted.items():
        if epsilon != 0 and np.array_equal(adversarial, images):
            raise AttackFailedError.nothing_changed(attack.name, epsilon, len(images))
    return crafted


def _common_batch_size(members: np.ndarray, batch_size: int | None) -> int:
    """Returns one batch size for all members and draws: an equal share of the images, rounded up.

    A member with fewer images has its last one repeated; otherwise it would be traced for another
    batch size at each draw. A single member attacks all images.
    """
    num_members = len(np.unique(members))
    if num_members == 1:
        return min(batch_size or DEFAULT_BATCH_SIZE, len(members))
    share = -(-len(members) // num_members)
    return min(batch_size or DEFAULT_BATCH_SIZE, 2 ** (share - 1).bit_length())


def _shifted(
    progress: Callable[[int], None] | None, num_done: int, num_images: int
) -> Callable[[int], None] | None:
    """Returns a progress function that starts from ``num_done`` and ignores repeated images."""
    if progress is None:
        return None
    return lambda count: progress(num_done + min(count, num_images))
