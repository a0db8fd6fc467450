"""The dissertation, chapter 4: Defense-CycleGAN. The paper of that name prints a part of it.

**Reference**: Dissertation, sec. 4.4 (Figures 4.2 to 4.5, Table 4.1) and 4.5.

**Differs from the paper**:

* Figures 4.2 to 4.5: mean over targets A, B and C, where it names none; vote alone and vote with
  Bayesian update are drawn apart. The rows of the other defenses are those of chapter 3.
* Table 4.1 does not name its data set; its values are beyond what a blank image would cost on
  Fashion-MNIST, so it is taken to be CIFAR-10. Standard errors and ranks are added.
* All of these: the second reading of 4.3.1 stands beside the first where a profile has it.
"""

from __future__ import annotations

import functools

from papers import lines
from papers.chapter3 import (
    BASELINES,
    DATASETS,
    DECIDERS,
    DEFENSE_GAN,
    DEFENSE_VAE,
    LEVELS,
    TARGETS,
    UNEQUAL,
    bayes_and_target,
    decided_by,
    full_method,
    under_attacks,
)
from papers.listed import DIAGRAM, unmeasured
from results.claims import ANY_SIZE, Claim
from results.exhibit import ABSENT, PALETTE, Bars, Derived, Exhibit, Grid, Line, Look, Mark, Probe
from results.judges import ABOVE, AT_LEAST, Everywhere, Level, MeanGain, Order
from results.markdown import NOTHING, number
from results.printed import printed_values, table_value, text_value, text_words
from results.sheet import Sheet, SheetLine

TITLE = "Dissertation, chapter 4: Defense-CycleGAN"
SUMMARY = (
    "Claims that a CycleGAN of two U-Nets keeps the accuracy on clean images and beats SFL-VAE, "
    "and that each of its concatenations adds fidelity."
)

ATTACKS = ("fgsm", "pgd", "carlini_wagner", "bim")
#: The other reading of 4.3.1: the first domain is noisy, and the first network purifies alone.
SECOND_READING = "defense_cyclegan_noisy"
#: The lines of Table 4.1 with the printed column of each.
RECONSTRUCTED = {
    "sfl_vae": "VAE",
    "defense_cyclegan": "Cyc",
    **{f"defense_cyclegan_{removed}": f"Cyc_{removed}" for removed in range(1, 5)},
}

_COLOUR_FLOOR = text_value("003", "4.5", "CIFAR-10 under CW, PGD, BIM")
_GREY_FLOOR = text_value("003", "4.5", "Fashion-MNIST accuracy range")


def printed_clean(dataset: str) -> float:
    """Clean accuracy that sec. 4.4.3 prints for Defense-CycleGAN and the bare classifier alike.

    Raises:
        ValueError: If it prints none for this data set.
    """
    words = text_words("003", "4.4.3", "proposed clean")
    for part in words.split(";"):
        value, _, name = part.strip().partition(" ")
        if name == lines.DATASETS.get(dataset):
            return float(value)
    raise ValueError(
        f"Chapter 4 prints clean accuracies for {list(DATASETS)}, received {dataset!r}."
    )


def _marks(attack: str, dataset: str) -> list[Mark]:
    if dataset not in DATASETS:
        return []
    clean = printed_clean(dataset)
    marks = [Mark(f"printed: {clean:g} % clean, Defense-CycleGAN", 0.0, clean)]
    if dataset == "fashion_mnist":
        label = f"printed: {_GREY_FLOOR:g} % or more throughout, Defense-CycleGAN"
        marks.append(Mark(label, None, _GREY_FLOOR))
    elif attack != "fgsm":
        label = f"printed: above {_COLOUR_FLOOR:g} %, Defense-CycleGAN"
        marks.append(Mark(label, None, _COLOUR_FLOOR))
    return marks


def _oblivious(number_: int, attack: str) -> Exhibit:
    """Figures 4.2 to 4.5."""
    return lines.accuracy_curves(
        f"003.F4.{number_}",
        " on the target (oblivious), Defense-CycleGAN",
        DATASETS,
        Grid(
            threat="oblivious",
            attacks=(attack,),
            targets=TARGETS,
            defenses=("defense_cyclegan", SECOND_READING),
            deciders=DECIDERS,
        ),
        [
            lines.NONE,
            lines.with_mean_voter("sfl_vae"),
            lines.with_bayes("sfl_vae"),
            lines.with_retrained("sfl_vae", main=False),
            lines.with_target("defense_cyclegan"),
            *lines.with_pool("defense_cyclegan"),
            lines.with_retrained("defense_cyclegan", main=False),
            lines.with_target(SECOND_READING),
            lines.with_vote(SECOND_READING),
            lines.with_bayes(SECOND_READING),
            lines.with_retrained(SECOND_READING, main=False),
            DEFENSE_VAE,
            DEFENSE_GAN,
        ],
        functools.partial(_marks, attack),
        native="carlini_wagner_native" if attack == "carlini_wagner" else "",
    )


def _printed_reconstruction(dataset: str) -> dict[tuple[str, str], float | str]:
    if dataset != "cifar10":
        return {}
    names = {lines.NAMES[key]: column for key, column in RECONSTRUCTED.items()}
    found = printed_values("003.T4.1", {"measured": "L1 Norm"}, names)
    return {(name, column): value for (column, name), value in found.items()}


#: Labels of what the paper ranks.
_RANKED = tuple(lines.NAMES[key] for key in RECONSTRUCTED)


def _rank(sheet: Sheet, line: SheetLine) -> str:
    labels = [one.label for one in sheet.panels[0].lines if one.label in _RANKED]
    values = {label: sheet.point(label, "measured") for label in labels}
    return _place({label: point.value for label, point in values.items() if point}, line.label)


def _printed_rank(sheet: Sheet, line: SheetLine) -> str:
    measured = {one.label for one in sheet.panels[0].lines}
    values = {label: float(v) for (label, _), v in sheet.printed.items() if label in measured}
    return _place(values, line.label)


def _place(values: dict[str, float], label: str) -> str:
    if label not in values:
        return NOTHING
    return str(1 + sum(value < values[label] for value in values.values()))


_RECONSTRUCTION = Exhibit(
    id="003.T4.1",
    title="L1 of clean reconstructions, Defense-CycleGAN, its ablations and SFL-VAE",
    datasets=DATASETS,
    measures=(Probe("clean_distances", {"purifiers": (*RECONSTRUCTED, SECOND_READING)}),),
    where={
        "metric": "l1",
        "attack": "none",
        "target": ABSENT,
        "kl_weight": ABSENT,
        "sfl_weight": ABSENT,
    },
    corner="L1 on clean images",
    lines=tuple(
        Line(lines.NAMES[key], {"defense": key}) for key in (*RECONSTRUCTED, SECOND_READING)
    ),
    columns=(
        Line("measured", look=Look(PALETTE["sky"])),
        lines.printed_column("measured", digits=1),
        Derived("rank", _rank),
        Derived("printed rank", _printed_rank),
    ),
    cell=number,
    printed=_printed_reconstruction,
    draw=Bars(ylabel="L1 distance to the clean image", percent=False, numbers=True),
)

EXHIBITS: tuple[Exhibit, ...] = (
    *unmeasured("003", {"F4.1": "pipeline", "F4.6": "U-Net and VAE structures"}, DIAGRAM),
    *(_oblivious(number_, attack) for number_, attack in enumerate(ATTACKS, start=2)),
    _RECONSTRUCTION,
)


# -- Claims ---------------------------------------------------------------------------------------

_claim = functools.partial(lines.chapter_claim, heading="Chapter 4")
_METHOD = full_method("defense_cyclegan")
_ALONE = {"": "", "/vote": ", by the vote without the update,"}
_SAME = (bayes_and_target("defense_cyclegan", "oblivious", "oblivious"),)
_MARGIN = text_value("003", "4.4.2", "margin of CycleGAN over Defense-VAE/Defense-GAN")
_COLOUR_ATTACKS = tuple(attack for attack in ATTACKS if attack != "fgsm")
#: Table 4.1 as printed, the least first.
_PRINTED = dict(
    sorted(
        ((key, table_value("003.T4.1", "L1 Norm", name)) for key, name in RECONSTRUCTED.items()),
        key=lambda item: item[1],
    )
)
_RECONSTRUCTIONS = {
    "metric": "l1",
    "attack": "none",
    "kl_weight": ABSENT,
    "sfl_weight": ABSENT,
}


def _order(keys: list[str], partly: int) -> Order:
    return Order(lines=[lines.purifier(key) for key in keys], partly=partly)


def _chain(keys: list[str]) -> str:
    listed = " < ".join(f"{lines.NAMES[key]} {_PRINTED[key]:.1f}" for key in keys)
    return f"{listed} (L1 on clean images, table 4.1)"


_CONCATENATIONS = [key for key in _PRINTED if key != "sfl_vae"]

CLAIMS: tuple[Claim, ...] = (
    *(
        _claim(
            id=f"cyclegan_over_baselines{suffix}",
            text=f"Defense-CycleGAN{_ALONE[suffix]} beats Defense-VAE and Defense-GAN.",
            says=f"nearly +{_MARGIN:g} points on average (4.4.2)",
            where=under_attacks("oblivious", clean=False),
            judge=MeanGain(line=line, others=BASELINES, least=0.8 * _MARGIN),
            datasets=("cifar10",),
            reason=f"a gain in points between methods: {UNEQUAL}",
            same=() if suffix else _SAME,
        )
        for suffix, _, line in decided_by("defense_cyclegan")
    ),
    *(
        _claim(
            id=f"cyclegan_over_sfl_vae{suffix}",
            text=f"Defense-CycleGAN{_ALONE[suffix]} beats SFL-VAE.",
            says="+5 to +13 points across levels (4.4.2)",
            where=under_attacks("oblivious", clean=False),
            judge=MeanGain(line=line, others=[other], least=4.5),
            datasets=("cifar10",),
            reason=f"a gain in points between methods: {UNEQUAL}",
            same=() if suffix else _SAME,
        )
        for (suffix, _, line), (_, _, other) in zip(
            decided_by("defense_cyclegan"), decided_by("sfl_vae"), strict=True
        )
    ),
    *(
        _claim(
            id=f"cyclegan_voting_gain{suffix}",
            text=f"Behind the CycleGAN, {decider} beats the mean single voter.",
            says="+3 to +5 points (4.4.2)",
            where=under_attacks("oblivious"),
            judge=MeanGain(
                line=line,
                others=[
                    Line("the mean single voter", lines.with_mean_voter("defense_cyclegan").where)
                ],
                least=2.5,
            ),
            reason="what vote and update add depends on how well the voters fit their images, and "
            "on small profiles they hardly do.",
            same=() if suffix else _SAME,
        )
        for (suffix, _, line), decider in zip(
            decided_by("defense_cyclegan"), ("vote + Bayes", "the vote"), strict=True
        )
    ),
    _claim(
        id="cyclegan_clean_accuracy",
        text="Defense-CycleGAN keeps the accuracy on clean images.",
        says={
            name: f"{printed_clean(name):g} %, as the original classifier; the others lose 6 to 10 "
            "points (4.4.3, 4.5)"
            for name in DATASETS
        },
        where={**under_attacks("oblivious"), "attack": "none"},
        judge=Level(
            line=_METHOD, reference=lines.NONE, beside=[full_method("sfl_vae"), *BASELINES]
        ),
        reason="a narrow CycleGAN reconstructs worse, which costs accuracy on clean images.",
        same=_SAME,
    ),
    _claim(
        id="reconstruction_order",
        text="Each removed concatenation costs fidelity, and SFL-VAE stands behind the first.",
        says=_chain(list(_PRINTED)),
        where=_RECONSTRUCTIONS,
        judge=_order(list(_PRINTED), partly=12),
        datasets=("cifar10",),
        reason="SFL-VAE is another network than the rest: where it stands among them depends on "
        "their widths and on how long each is trained.",
    ),
    _claim(
        id="concatenation_order",
        text="Each removed concatenation costs fidelity.",
        says=_chain(_CONCATENATIONS),
        where=_RECONSTRUCTIONS,
        judge=_order(_CONCATENATIONS, partly=8),
        datasets=("cifar10",),
        needs=ANY_SIZE,
        reason="the five have one width, one set of images and one number of epochs, and differ in "
        "their concatenations alone.",
    ),
    _claim(
        id="cyclegan_floor",
        text="Defense-CycleGAN's accuracy hardly falls.",
        says={
            "cifar10": f"above {_COLOUR_FLOOR:g} % under CW, PGD and BIM (4.5)",
            "fashion_mnist": f"{_GREY_FLOOR:g} to 98 % under all attacks (4.5)",
        },
        where=under_attacks("oblivious"),
        judge={
            "cifar10": Everywhere(
                pairs=[(_METHOD, _COLOUR_FLOOR)],
                holds=ABOVE,
                at=lambda attack, epsilon: attack != "fgsm",
                expected=_COLOUR_ATTACKS,
            ),
            "fashion_mnist": Everywhere(
                pairs=[(_METHOD, _GREY_FLOOR)], holds=AT_LEAST, expected=ATTACKS
            ),
        },
        reason=f"a level: {LEVELS}",
        same=_SAME,
    ),
)
