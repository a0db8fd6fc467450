"""Lines that several papers share, and the looks by which a defense is known in every figure."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

from results.claims import FULL_WIDTH, Claim
from results.exhibit import (
    ABSENT,
    ATTACK_LABELS,
    DATASET_LABELS,
    PALETTE,
    Axis,
    Curves,
    Derived,
    Exhibit,
    Grid,
    Line,
    Look,
    Mark,
    Probe,
)
from results.markdown import NOTHING, bare_percent, markdown_table, number, percent
from results.row import Row
from results.sheet import Point, Sheet, SheetLine, point, standard_errors

DATASETS = DATASET_LABELS
ATTACKS = ATTACK_LABELS
#: What a reader sees in place of a registry key.
NAMES = {
    "none": "no defense",
    "sfl_vae": "SFL-VAE",
    "non_sfl_vae": "non-SFL-VAE",
    "defense_cyclegan": "Defense-CycleGAN",
    "defense_cyclegan_noisy": "Defense-CycleGAN, second reading",
    "defense_cyclegan_1": "Cyc_1",
    "defense_cyclegan_2": "Cyc_2",
    "defense_cyclegan_3": "Cyc_3",
    "defense_cyclegan_4": "Cyc_4",
    "vqunet": "VQUNet",
    "vqunet_literal": "literal VQUNet",
    "vqunet_reconstruction": "VQUNet, codes learn from the reconstruction",
    "non_vqunet": "non-VQUNet",
    "puvae": "PuVAE",
    "puvae_noisy": "PuVAE, noise on its input, not in the paper",
    "class_means": "nearest of ten class means, not in the paper",
    "cap_gan": "CAP-GAN",
    "cap_gan_temperature_1": "CAP-GAN, T = 1",
    "cap_gan_temperature_5": "CAP-GAN, T = 5",
    "cap_gan_alpha_05": "CAP-GAN, α = 0.5",
    "cap_gan_alpha_09": "CAP-GAN, α = 0.9",
    "cap_gan_pixel": "CAP-GAN, pixels alone",
    "cap_gan_pixel_cam": "CAP-GAN, pixels and attention",
    "cap_gan_pixel_semantic": "CAP-GAN, pixels and semantics",
    "cap_gan_no_cycle": "CAP-GAN without cycles",
    "atgan": "ATGAN",
    "defense_vae": "Defense-VAE",
    "defense_gan": "Defense-GAN",
    "magnet": "MagNet",
    "ape_gan": "APE-GAN",
    "hgd": "HGD",
    "jpeg": "JPEG",
    "thermometer": "thermometer",
    "adversarial_training": "adversarial training",
}
#: Classifiers under attack; the letters of two papers mean different networks.
TARGETS = {
    "A": "A",
    "B": "B",
    "C": "C",
    "wide_resnet": "Wide-ResNet",
    **{f"puvae_{letter}": f"{letter.upper()} (PuVAE)" for letter in "abcd"},
    "narrow_resnet": "narrow ResNet",
}

#: Colour tells defenses apart; this is the main line of each.
LOOKS = {
    "none": Look(PALETTE["black"], "o", (0, (4, 2))),
    "sfl_vae": Look(PALETTE["blue"], "P", "-"),
    "non_sfl_vae": Look(PALETTE["vermillion"], "^", (0, (5, 1.5))),
    "defense_cyclegan": Look(PALETTE["vermillion"], "X", "-"),
    "defense_cyclegan_noisy": Look(PALETTE["sky"], "X", (0, (5, 1, 1, 1))),
    "vqunet": Look(PALETTE["green"], "h", "-"),
    "vqunet_literal": Look(PALETTE["purple"], "D", (0, (1, 1))),
    "non_vqunet": Look(PALETTE["sky"], "^", (0, (5, 1.5))),
    "defense_vae": Look(PALETTE["orange"], "p", (0, (6, 1, 1, 1))),
    "defense_gan": Look(PALETTE["purple"], "d", (0, (2, 1))),
    "magnet": Look(PALETTE["orange"], "s", (0, (1, 1.2))),
    "adversarial_training": Look(PALETTE["green"], "v", (0, (3, 1, 1, 1))),
    "puvae": Look(PALETTE["blue"], "P", "-"),
    "puvae_noisy": Look(PALETTE["sky"], "P", (0, (5, 1, 1, 1))),
    "class_means": Look(PALETTE["grey"], "x", (0, (1, 1))),
    "cap_gan": Look(PALETTE["blue"], "P", "-"),
    "hgd": Look(PALETTE["vermillion"], "X", (0, (5, 1.5))),
    "ape_gan": Look(PALETTE["orange"], "s", (0, (6, 1, 1, 1))),
    "jpeg": Look(PALETTE["purple"], "d", (0, (2, 1))),
    "thermometer": Look(PALETTE["sky"], "h", (0, (1, 1))),
}
#: Of defenses that a figure does not name; their colours are free in the figures of accuracies.
FURTHER_LOOKS = (
    Look(PALETTE["green"], "s", (0, (3, 1, 1, 1, 1, 1))),
    Look(PALETTE["sky"], "<", (0, (4, 1, 1, 1))),
)
#: Marker and dashes of the other lines of a defense, which are drawn light.
_DECIDER_LOOKS = {
    "target": ("s", (0, (5, 1.5))),
    "mean_voter": ("^", (0, (3, 1, 1, 1))),
    "vote": ("D", (0, (1, 1))),
    "vote_bayes_heldout": ("v", (0, (2, 1))),
    "retrained": ("*", (0, (6, 1.5, 1, 1.5))),
}

_VOTE = "vote ({drawn} of {voters})"

EPSILONS = Axis("epsilon", "ε = {:.3g}")
#: The same beside an attack without a budget, whose rows carry a norm of their own.
_BUDGETS = dataclasses.replace(EPSILONS, where={"norm": ("", "linf")})
NONE = Line(NAMES["none"], {"defense": "none"}, LOOKS["none"])

RESCALED = (
    "Carlini–Wagner has no ε: each image's perturbation is found once and rescaled to every ε, "
    "beyond its own size amplified."
)
BOUNDLESS = "No budget: a pixel may change at will within [0, 1]."


#: Budgets of accuracy figures: hundredths up to 0.3, of which each profile has some. Rows that are
#: measured at other budgets for other papers stay out.
_AXIS = tuple(round(step / 100, 2) for step in range(31))


def accuracy_rows(
    threat: str, targets: tuple[str, ...], attacks: tuple[str, ...], *, clean: bool = True
) -> dict[str, Any]:
    """Accuracies of the usual numbers of steps, under attacks and, if asked for, without."""
    return {
        "metric": "accuracy",
        "attack": ("none", *attacks) if clean else attacks,
        "threat_model": ("none", threat),
        "target": targets,
        "epsilon": _AXIS,
        "steps": ABSENT,
        "split": ABSENT,
    }


def accuracy_curves(
    id: str,
    title: str,
    datasets: tuple[str, ...],
    grid: Grid,
    lines: Sequence[Line | Axis | Derived],
    marks: Callable[[str], Sequence[Mark]] = lambda dataset: (),
    caveat: str | Callable[[Sequence[Row]], str] = "",
    beside: Sequence[Grid] = (),
    native: str = "",
) -> Exhibit:
    """A figure of accuracies against epsilon under the one attack of a grid.

    Args:
        id: Its id.
        title: What follows the attack in the title.
        datasets: Data sets that it is measured on.
        grid: What is measured; its epsilons are those of the profile's axis.
        lines: The curves.
        marks: Printed values by data set.
        caveat: What a reader must know; of Carlini-Wagner that it is rescaled.
        beside: What else is measured for its lines, at the same epsilons.
        native: The attack without a budget whose accuracies and lengths stand in a note; only a
            fair profile measures it.
    """
    (attack,) = grid.attacks
    shown = accuracy_rows(grid.threat, grid.targets, grid.attacks)
    return Exhibit(
        id=id,
        title=f"accuracy against epsilon, {ATTACKS[attack]}{title}",
        datasets=datasets,
        measures=(
            *(dataclasses.replace(one, epsilons="axis") for one in (grid, *beside)),
            *(_native_measures(grid, native) if native else ()),
        ),
        where=[shown, _native_rows(grid, native)] if native else shown,
        corner="accuracy (%)",
        lines=lines,
        columns=(_BUDGETS,) if native else (EPSILONS,),
        notes=(functools.partial(_native_note, native),) if native else (),
        draw=Curves(marks=marks),
        caveat=caveat or (RESCALED if attack == "carlini_wagner" else ""),
    )


def _native_rows(grid: Grid, attack: str) -> dict[str, Any]:
    """Accuracies under an attack without a budget, and how long its perturbations are."""
    return {
        "metric": ("accuracy", "l2", "l2_standard_error"),
        "attack": attack,
        "threat_model": grid.threat,
        "target": grid.targets,
    }


def _native_measures(grid: Grid, attack: str) -> tuple[Grid | Probe, ...]:
    lengths = Probe("perturbation_lengths", {"attack": attack, "targets": grid.targets}, fair=True)
    return (dataclasses.replace(grid, attacks=(attack,), fair=True), lengths)


def _native_note(attack: str, sheet: Sheet) -> str:
    """What the smallest perturbations do that the attack of a figure finds without a budget."""
    found = [row for row in sheet.rows if row.attack == attack]
    bare = [row for row in found if row.defense == "none"]
    length = point([row for row in bare if row.metric == "l2"], standard_errors(bare))
    kept = point([row for row in bare if row.metric == "accuracy"])
    if length is None or kept is None:
        return ""
    body = [
        [line.label, percent(point(own))]
        for panel in sheet.panels
        for line in panel.lines
        if (own := [r for r in line.rows if r.attack == attack and r.metric == "accuracy"])
    ]
    table = markdown_table(["smallest perturbation, no budget", "accuracy (%)"], body)
    return (
        f"Without a budget the bare classifier errs on {bare_percent(_complement(kept))} % of the "
        f"images, at a mean L2 of {number(length)}. Those images, as they were found:\n\n"
        f"{table.rstrip()}"
    )


def _complement(accuracy: Point) -> Point:
    return Point(1 - accuracy.value, 1 - accuracy.high, 1 - accuracy.low)


def printed_column(column: str, digits: int) -> Derived:
    """The values that are printed for a column, as a column of their own."""

    def text(sheet: Sheet, line: SheetLine) -> str:
        value = sheet.printed.get((line.label, column))
        return NOTHING if value is None else f"{value:.{digits}f}"

    return Derived("printed", text)


#: The claims of a chapter of the dissertation, unless they say otherwise.
chapter_claim = functools.partial(
    Claim, author="the dissertation", datasets=("cifar10", "fashion_mnist"), needs=FULL_WIDTH
)


def light(defense: str, decider: str) -> Look:
    """The look of a line that is not its defense's main one."""
    marker, dashes = _DECIDER_LOOKS[decider]
    return LOOKS[defense]._replace(marker=marker, dashes=dashes, light=True)


def purifier(defense: str, look: Look | None = None) -> Line:
    """Everything measured of a purifier, whoever decides."""
    return Line(NAMES[defense], {"defense": defense}, look or LOOKS.get(defense))


def with_target(defense: str, *, main: bool = False) -> Line:
    """A purifier before the target as it was trained."""
    where = {"defense": defense, "decider": "target", "retrained": ABSENT}
    look = LOOKS[defense] if main else light(defense, "target")
    return Line(f"{NAMES[defense]} + target", where, look)


def with_retrained(defense: str, *, main: bool = True) -> Line:
    """A purifier before the target retrained on purified images."""
    where = {"defense": defense, "decider": "target", "retrained": True}
    look = LOOKS[defense] if main else light(defense, "retrained")
    return Line(f"{NAMES[defense]} + retrained target", where, look)


def with_mean_voter(defense: str) -> Line:
    """A purifier before one voter, the mean over the pool."""
    where = {"defense": defense, "decider": "mean_voter"}
    return Line(f"{NAMES[defense]}, mean single voter", where, light(defense, "mean_voter"))


def with_vote(defense: str) -> Line:
    """A purifier before the vote of some voters drawn from the pool."""
    where = {"defense": defense, "decider": "vote"}
    return Line(f"{NAMES[defense]}, {_VOTE}", where, light(defense, "vote"))


def with_bayes(defense: str) -> Line:
    """The vote with Bayesian update, tables counted as published."""
    where = {"defense": defense, "decider": "vote_bayes", "tables": ABSENT}
    return Line(f"{NAMES[defense]}, {_VOTE} + Bayes", where, LOOKS[defense])


def with_bayes_heldout(defense: str) -> Line:
    """The vote with Bayesian update, tables counted on held-out images."""
    where = {"defense": defense, "decider": "vote_bayes", "tables": "heldout"}
    look = light(defense, "vote_bayes_heldout")
    return Line(f"{NAMES[defense]}, {_VOTE} + Bayes, held-out tables", where, look)


def with_pool(defense: str) -> list[Line]:
    """The lines of a pool of voters, worst informed first."""
    makers = (with_mean_voter, with_vote, with_bayes, with_bayes_heldout)
    return [make(defense) for make in makers]
