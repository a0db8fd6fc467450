"""The dissertation, chapters 1 to 3: SFL-VAE, collective voting, Bayesian update.

**Reference**: Dissertation, Figure 1.1 and sec. 3.4 (Figures 3.2 to 3.16).

**Differs from the paper**:

* Figure 1.1: several images; perturbation and purified image are shown too.
* Figures 3.2 to 3.5: test images, where the captions say training images; the attacked classifier,
  which the text does not name, is target A (as in Figures 3.14 to 3.16); L1 beside L2.
* Figures 3.6 to 3.13: the printed curves survive without numbers, so the values of the text alone
  are marked. Vote alone and vote with Bayesian update are drawn apart, and the update is also given
  with tables from held-out images; Defense-CycleGAN is added, and in fair profiles the same
  classifiers retrained behind every purifier.
* Figures 3.10 to 3.13: the attacked voter is drawn anew for each image. Defense-GAN, of which the
  paper perturbs the latent vector without a budget on the image, is attacked on the image, with the
  gradient at its reconstruction (BPDA). Only deciders behind the attacked purifier that the
  attack is aimed at are shown; of vote and update the voters are attacked, not the target's label.
  A fair profile attacks each decider itself instead: the vote through the mean of its voters, the
  update through that of voters and target.
* Figures 3.14 to 3.16: means over random subsets of the voters.
* The supplement on the weight of the KL term, which the dissertation does not print: the L1 that
  Table 4.1 prints for this VAE fixes it. That on the weight of the edge loss, which at 1 is small
  beside the reconstruction loss, and that on the share of votes which the update overrules.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

from papers import lines
from papers.listed import DIAGRAM, unmeasured
from results.claims import ANY_SIZE, Claim
from results.exhibit import (
    ABSENT,
    PRESENT,
    Axis,
    Curves,
    Exhibit,
    Grid,
    Line,
    Mark,
    Pictures,
    Probe,
)
from results.judges import ABOVE, BELOW, Everywhere, Level, MeanGain
from results.markdown import bare_percent, number
from results.printed import table_value, text_value
from results.row import Row

TITLE = "Dissertation, chapter 3: SFL-VAE, voting, Bayesian update"
SUMMARY = (
    "Claims that a VAE with an edge loss before voters and a Bayesian update beats Defense-VAE "
    "and Defense-GAN, keeps the accuracy on clean images, and is hurt by an attack on the whole."
)

DATASETS = ("fashion_mnist", "cifar10")
ATTACKS = ("fgsm", "bim", "pgd", "carlini_wagner")
TARGETS = ("A", "B", "C")
DECIDERS = ("target", "mean_voter", "vote", "vote_bayes", "vote_bayes_heldout", "retrained")

SFL_VAE = lines.with_bayes("sfl_vae")
DEFENSE_CYCLEGAN = lines.with_bayes("defense_cyclegan")
DEFENSE_VAE = lines.with_retrained("defense_vae")
DEFENSE_GAN = lines.with_target("defense_gan", main=True)

#: Defenses that a profile compares beside those of the paper.
FURTHER = Axis(
    "defense",
    label=lambda key: f"{lines.NAMES.get(key, key)} + target",
    where={"decider": "target", "retrained": ABSENT, "detectors": ABSENT},
    without=(
        *("none", "sfl_vae", "defense_vae", "defense_gan"),
        *("defense_cyclegan", "defense_cyclegan_noisy"),
    ),
    looks=lines.FURTHER_LOOKS,
)
#: The same before a target retrained on their images.
FURTHER_RETRAINED = Axis(
    "defense",
    label=lambda key: f"{lines.NAMES.get(key, key)} + retrained target",
    where={"decider": "target", "retrained": True},
    without=("sfl_vae", "defense_vae", "defense_cyclegan", "defense_cyclegan_noisy"),
    looks=[look._replace(marker="*", light=True) for look in lines.FURTHER_LOOKS],
)


#: Lines that both kinds of attacks have.
_ATTACKABLE: tuple[Line | Axis, ...] = (
    *lines.with_pool("sfl_vae"),
    lines.with_retrained("sfl_vae", main=False),
    DEFENSE_CYCLEGAN,
    lines.with_retrained("defense_cyclegan", main=False),
    DEFENSE_VAE,
    DEFENSE_GAN,
    FURTHER,
    FURTHER_RETRAINED,
)


def _marks(dataset: str) -> list[Mark]:
    """What the text prints for the curves of SFL-VAE (sec. 3.4.3)."""
    if dataset not in DATASETS:
        return []
    name = lines.DATASETS[dataset]
    clean = text_value("003", "3.4.3", f"clean accuracy of proposed, {name}")
    about = "about " if dataset == "cifar10" else ""
    marks = [Mark(f"printed: {about}{clean:g} % clean, SFL-VAE", 0.0, clean)]
    if dataset == "fashion_mnist":
        floor = text_value("003", "3.4.3", "Fashion-MNIST accuracy floor")
        marks.append(Mark(f"printed: above {floor:g} % throughout, SFL-VAE", None, floor))
    return marks


def _crossing(dataset: str) -> list[Mark]:
    """Where the text says that the spatial frequency loss stops helping against FGSM."""
    epsilon = text_value("003", "3.4.2", "SFL advantage fails at FGSM eps")
    return [Mark(f"printed: SFL ahead below {epsilon:g}", epsilon, None)]


def _sweep_mark(dataset: str) -> list[Mark]:
    if dataset != "cifar10":
        return []
    value = table_value("003.T4.1", "L1 Norm", "VAE")
    return [Mark(f"printed for the VAE: {value:.1f}", None, value)]


def _distances(number_: int, attack: str) -> Exhibit:
    """Figures 3.2 to 3.5."""
    marks = _crossing if attack == "fgsm" else lambda dataset: []
    purifiers = ("sfl_vae", "non_sfl_vae")
    settings = {"attack": attack, "target": "A", "purifiers": purifiers, "paired": ("l2",)}
    return Exhibit(
        id=f"003.F3.{number_}",
        title=f"L2 of reconstructions under {lines.ATTACKS[attack]}, SFL-VAE and non-SFL-VAE",
        datasets=("cifar10",),
        measures=(Probe("distances", settings),),
        where={
            "metric": ("l2", "l1"),
            "defense": purifiers,
            "attack": ("none", attack),
            "threat_model": ("none", "oblivious"),
            "target": (ABSENT, "A"),
            "kl_weight": ABSENT,
            "sfl_weight": ABSENT,
        },
        corner="distance",
        panels=(Line("L2", {"metric": "l2"}), Line("L1", {"metric": "l1"})),
        lines=(
            lines.purifier("sfl_vae", lines.LOOKS["sfl_vae"]._replace(marker="s")),
            lines.purifier("non_sfl_vae"),
        ),
        columns=(lines.EPSILONS,),
        cell=number,
        draw=Curves(percent=False, ylabel="distance to the clean image", marks=marks),
        caveat=lines.RESCALED if attack == "carlini_wagner" else "",
    )


def _oblivious(number_: int, attack: str) -> Exhibit:
    """Figures 3.6 to 3.9."""
    return lines.accuracy_curves(
        f"003.F3.{number_}",
        " on the target (oblivious)",
        DATASETS,
        Grid(
            threat="oblivious",
            attacks=(attack,),
            targets=TARGETS,
            defenses=("none", "sfl_vae", "defense_vae", "defense_gan"),
            deciders=DECIDERS,
            compared=True,
        ),
        [lines.NONE, lines.with_target("sfl_vae"), *_ATTACKABLE],
        _marks,
        native="carlini_wagner_native" if attack == "carlini_wagner" else "",
    )


def _framework_caveat(attack: str, rows: Sequence[Row]) -> str:
    """What is attacked: in a fair profile every decider for itself."""
    if any(row.get("aimed") for row in rows):
        rescaled = "Carlini–Wagner is rescaled to ε. " if attack == "carlini_wagner" else ""
        return (
            f"{rescaled}Each decider is attacked itself: the vote through the mean of its voters, "
            "vote + Bayes through that of voters and target."
        )
    if attack == "carlini_wagner":
        return "Carlini–Wagner is rescaled to ε; vote + Bayes also weighs the unattacked target."
    return "Vote + Bayes also weighs the target's label, which is not attacked."


def _framework(number_: int, attack: str) -> Exhibit:
    """Figures 3.10 to 3.13."""
    return lines.accuracy_curves(
        f"003.F3.{number_}",
        " through the whole defense (framework)",
        DATASETS,
        Grid(
            threat="framework",
            attacks=(attack,),
            targets=TARGETS,
            defenses=("sfl_vae", "defense_vae", "defense_gan", "defense_cyclegan"),
            deciders=DECIDERS,
            compared=True,
        ),
        [
            *(lines.with_target(key) for key in ("sfl_vae", "defense_cyclegan", "defense_vae")),
            *_ATTACKABLE,
        ],
        caveat=functools.partial(_framework_caveat, attack),
    )


def _voting(number_: int, metric: str, name: str, title: str = "") -> Exhibit:
    """Figures 3.14 to 3.16."""
    attacked = {"attack": "fgsm", "target": "A"}
    return Exhibit(
        id=f"003.F3.{number_}",
        title=f"{title or name} against the number of voters",
        datasets=("cifar10",),
        measures=(Probe("voting", {**attacked, "purifier": "sfl_vae", "metrics": (metric,)}),),
        where={**attacked, "metric": metric, "defense": "sfl_vae", "threat_model": "oblivious"},
        corner="voting (%)",
        panels=(Line(name),),
        lines=(lines.EPSILONS,),
        columns=(Axis("voters", "V = {:g}"),),
        cell=bare_percent,
        draw=Curves(axis="voters", xlabel="number of voters V", ylabel=f"{name} (%)"),
    )


_KL_WEIGHTS = Exhibit(
    id="003.S3.kl_weight",
    title="supplement: L1 of clean reconstructions against the weight of the KL term",
    datasets=("cifar10",),
    measures=(Probe("weight_sweep", {"purifier": "sfl_vae", "weight": "kl_weight"}),),
    where={"metric": "l1", "defense": "sfl_vae", "attack": "none"},
    corner="kl_weight",
    lines=(Axis("kl_weight", "{:g}"),),
    columns=(
        Line("L1, SFL-VAE, sampled latent", {"mean_latent": False}),
        Line("L1, SFL-VAE, mean latent", {"mean_latent": True}),
    ),
    cell=number,
    draw=Curves(
        axis="kl_weight",
        xlabel="weight of the KL term (kl_weight)",
        ylabel="L1 distance to the clean image",
        percent=False,
        logarithmic=True,
        transposed=True,
        marks=_sweep_mark,
    ),
)


_SFL_WEIGHTS = Exhibit(
    id="003.S3.sfl_weight",
    title="supplement: distance of reconstructions under FGSM, by the weight of the edge loss",
    datasets=("cifar10",),
    measures=(
        Probe(
            "weight_sweep",
            {
                "purifier": "sfl_vae",
                "weight": "sfl_weight",
                "norms": ("l2", "l1"),
                "latents": (False,),
                "attack": "fgsm",
                "target": "A",
            },
        ),
    ),
    where={
        "metric": ("l2", "l1"),
        "defense": "sfl_vae",
        "attack": ("none", "fgsm"),
        "threat_model": ("none", "oblivious"),
        "sfl_weight": PRESENT,
    },
    corner="distance",
    panels=(Line("L2", {"metric": "l2"}), Line("L1", {"metric": "l1"})),
    lines=(Axis("sfl_weight", "weight {:g}"),),
    columns=(lines.EPSILONS,),
    cell=number,
    draw=Curves(percent=False, ylabel="distance to the clean image"),
    caveat="All are trained alike, in fewer epochs than SFL-VAE; weight 0 is the ablation.",
)


def _each_target(line: Line) -> list[Line]:
    """A line for each of the targets, and their mean."""
    each = [line.under(f"{line.label} {target}", target=target) for target in TARGETS]
    mean = line.under(f"{line.label}, mean", target=TARGETS)
    return [*(dataclasses.replace(one, cell=bare_percent) for one in each), mean]


def _clean_lines() -> list[Line]:
    """Every decider on clean images: each of the targets alone, their mean, the Wide-ResNet."""
    found = _each_target(lines.NONE.under(decider="target"))
    for key in ("sfl_vae", "defense_cyclegan"):
        found += _each_target(lines.with_target(key))
        found += [line.under(target=TARGETS) for line in lines.with_pool(key)]
    for line in (lines.with_target("defense_vae"), DEFENSE_VAE, lines.with_target("defense_gan")):
        found += _each_target(line)
    wide = [lines.NONE]
    for key in ("sfl_vae", "defense_cyclegan", "vqunet", "defense_vae"):
        wide += [lines.with_target(key), lines.with_retrained(key)]
    return found + [
        line.under(f"{line.label} (Wide-ResNet)", target="wide_resnet") for line in wide
    ]


_CLEAN_ACCURACY = Exhibit(
    id="003.S3.clean",
    title="supplement: clean accuracy of every decider",
    datasets=DATASETS,
    where={
        "metric": "accuracy",
        "attack": "none",
        "target": (*TARGETS, "wide_resnet"),
        "split": ABSENT,
    },
    corner="clean accuracy (%)",
    lines=_clean_lines(),
    columns=(Line("accuracy"),),
    repeats=("003.F3.6", "003.F4.2", "003.T5.1"),
    note="measured with 003.F3.6, 003.F4.2 and 003.T5.1, which it selects",
)

_UPDATED_BY = ("sfl_vae", "defense_cyclegan", "defense_cyclegan_noisy")
_OVERRULED = Exhibit(
    id="003.S3.overruled",
    title="supplement: share of images on which the Bayesian update overrules the vote",
    datasets=DATASETS,
    where={
        "metric": "overruled",
        "attack": ("none", *ATTACKS),
        "threat_model": ("none", "oblivious", "framework"),
        "target": TARGETS,
    },
    corner="overruled (%)",
    panels=[
        Line(f"{lines.ATTACKS[attack]}, {threat}", {"attack": attack, "threat_model": threat})
        for threat in ("oblivious", "framework")
        for attack in ATTACKS
    ],
    lines=[
        Line(f"{lines.NAMES[key]}{suffix}", {"defense": key, "tables": tables})
        for key in _UPDATED_BY
        for tables, suffix in ((ABSENT, ""), ("heldout", ", held-out tables"))
    ],
    columns=(lines.EPSILONS,),
    cell=bare_percent,
    repeats=(
        *(f"003.F3.{figure}" for figure in range(6, 14)),
        *(f"003.F4.{figure}" for figure in range(2, 6)),
    ),
    note="measured with the figures of chapters 3 and 4 in fair profiles",
)

_EXAMPLES = {"purifier": "sfl_vae", "target": "A", "attack": "pgd", "epsilon": 0.1}

EXHIBITS: tuple[Exhibit, ...] = (
    Exhibit(
        id="003.F1.1",
        title="clean, attacked and purified images with labels",
        datasets=DATASETS,
        measures=(Probe("example_images", _EXAMPLES),),
        draw=Pictures(),
    ),
    *unmeasured(
        "003", {"F2.1": "graphical model", "T2.1": "notation", "F3.1": "pipeline"}, DIAGRAM
    ),
    *(_distances(number_, attack) for number_, attack in enumerate(ATTACKS, start=2)),
    *(_oblivious(number_, attack) for number_, attack in enumerate(ATTACKS, start=6)),
    *(_framework(number_, attack) for number_, attack in enumerate(ATTACKS, start=10)),
    _voting(14, "recovery_rate", "recovery rate of mispredictions", "recovery rate of the vote"),
    _voting(15, "overlap_wrong", "overlap of wrong predictions"),
    _voting(16, "overlap_correct", "overlap of correct predictions"),
    _KL_WEIGHTS,
    _SFL_WEIGHTS,
    _CLEAN_ACCURACY,
    _OVERRULED,
)


# -- Claims ---------------------------------------------------------------------------------------

_claim = functools.partial(lines.chapter_claim, heading="Chapter 3")


def under_attacks(threat: str, *, clean: bool = True) -> dict[str, Any]:
    """Rows of chapters 3 and 4 that claims compare, under all four attacks."""
    return lines.accuracy_rows(threat, TARGETS, ATTACKS, clean=clean)


def decided_by(defense: str) -> tuple[tuple[str, str, Line], ...]:
    """The full method, and the vote without its update: what an id ends in, name and line.

    They are judged apart, as the update may leave every decision to the target.
    """
    alone = lines.with_vote(defense).under(f"{lines.NAMES[defense]}, vote")
    return ("", "full method", full_method(defense)), ("/vote", "vote without the update", alone)


def full_method(defense: str) -> Line:
    """A purifier with vote and Bayesian update, as a sentence names it."""
    return lines.with_bayes(defense).under(f"{lines.NAMES[defense]}, vote + Bayes")


def bayes_and_target(defense: str, threat: str, bare: str) -> tuple[Line, Line]:
    """The full method under a threat model beside its target alone under another.

    The two are equal where the vote never decides.
    """
    target = lines.with_target(defense).under(**under_attacks(bare))
    return full_method(defense).under(**under_attacks(threat)), target


def _printed(quantity: str, section: str = "3.4.3") -> dict[str, float]:
    """A number of the text for each data set."""
    return {
        dataset: text_value("003", section, f"{quantity}, {lines.DATASETS[dataset]}")
        for dataset in DATASETS
    }


#: What the other purifiers of a claim are called.
BASELINES = (DEFENSE_VAE.under("Defense-VAE"), DEFENSE_GAN.under("Defense-GAN"))
UNEQUAL = (
    "small profiles give the purifiers unequal shares of the printed width and training, and each "
    "moves an accuracy by many points."
)
LEVELS = "an accuracy rises by tens of points with width and training."
_SFL = full_method("sfl_vae")
_SAME = (bayes_and_target("sfl_vae", "oblivious", "oblivious"),)
_SAME_FRAMEWORK = tuple(
    bayes_and_target(defense, "framework", "framework_transfer")
    for defense in ("sfl_vae", "defense_cyclegan")
)
_LIMIT = text_value("003", "3.4.2", "SFL advantage fails at FGSM eps")
_GAINS = _printed("average improvement")
_CLEAN = _printed("clean accuracy of proposed")
_GAIN_ATTACKS = ("fgsm", "carlini_wagner")
_FRAMEWORK_GAINS = _printed("whole-framework attack gain (FGSM and CW)", "3.4.4")
_FLOOR = text_value("003", "3.4.3", "Fashion-MNIST accuracy floor")


def _attackers(deciders: dict[str, Line], suffix: str = "") -> list[tuple[Line, Line]]:
    """Lines attacked as a whole, each beside itself attacked on the target alone."""
    return [
        (
            line.under(f"{name}{suffix}", threat_model="framework"),
            line.under(name, threat_model="oblivious"),
        )
        for name, line in deciders.items()
    ]


#: Deciders that the attacker differentiates through: the vote, not the update, which may leave the
#: decision to the target.
_ATTACKED = _attackers(
    {
        "SFL-VAE": lines.with_vote("sfl_vae"),
        "Defense-CycleGAN": lines.with_vote("defense_cyclegan"),
        "Defense-VAE": DEFENSE_VAE,
        "Defense-GAN": DEFENSE_GAN,
    }
)
_UPDATED = {"SFL-VAE": SFL_VAE, "Defense-CycleGAN": DEFENSE_CYCLEGAN}

CLAIMS: tuple[Claim, ...] = (
    _claim(
        id="sfl_lowers_l2",
        text="SFL lowers the L2 distance to the clean image.",
        says="lower under FGSM, BIM, PGD and CW at every level, but for FGSM at ε ≥ "
        f"{_LIMIT:g} (3.4.2)",
        where={
            **under_attacks("oblivious"),
            "metric": "l2",
            "target": (ABSENT, "A"),
            "sfl_weight": ABSENT,
        },
        judge=Everywhere(
            pairs=[(lines.purifier("sfl_vae"), lines.purifier("non_sfl_vae"))],
            holds=BELOW,
            at=lambda attack, epsilon: attack != "fgsm" or epsilon < _LIMIT,
            expected=ATTACKS,
        ),
        reason="on small profiles the term tests nothing: it is a tenth of the loss, and a narrow "
        "network blurs the high frequencies that it weighs.",
    ),
    *(
        _claim(
            id=f"gain_over_baselines{suffix}",
            text=f"The {name} beats Defense-VAE and Defense-GAN.",
            says={name: f"+{gain:g} points on average (3.4.3)" for name, gain in _GAINS.items()},
            where=under_attacks("oblivious", clean=False),
            judge={
                name: MeanGain(line=line, others=BASELINES, least=0.8 * gain, beside=[lines.NONE])
                for name, gain in _GAINS.items()
            },
            reason=f"a gain in points between methods: {UNEQUAL}",
            same=() if suffix else _SAME,
        )
        for suffix, name, line in decided_by("sfl_vae")
    ),
    *(
        _claim(
            id=f"voting_gain/{decider}",
            text=f"{name} beats the mean single voter.",
            says="+3 to +5 points (3.2, 3.4.5)",
            where=under_attacks("oblivious"),
            judge=MeanGain(
                line=line,
                others=[Line("the mean single voter", lines.with_mean_voter("sfl_vae").where)],
                least=2.5,
            ),
            reason="what a vote adds depends on how well the voters fit their images, and on small "
            "profiles they hardly do.",
            same=_SAME if decider == "vote_bayes" else (),
        )
        for decider, name, line in (
            ("vote", "Vote", lines.with_vote("sfl_vae")),
            ("vote_bayes", "Vote + Bayes", _SFL),
        )
    ),
    _claim(
        id="floor",
        text="The full method's accuracy on Fashion-MNIST hardly falls under any attack.",
        says=f"above {_FLOOR:g} % at all levels (3.4.3)",
        where=under_attacks("oblivious"),
        judge=Everywhere(pairs=[(_SFL, _FLOOR)], holds=ABOVE, expected=ATTACKS),
        datasets=("fashion_mnist",),
        reason=f"a level: {LEVELS}",
        same=_SAME,
    ),
    _claim(
        id="clean_accuracy",
        text="The full method keeps the accuracy on clean images.",
        says={name: f"{level:g} % (3.4.3)" for name, level in _CLEAN.items()},
        where={**under_attacks("oblivious"), "attack": "none"},
        judge={
            name: Level(line=_SFL, reference=level, beside=[lines.NONE])
            for name, level in _CLEAN.items()
        },
        reason=f"a level: {LEVELS}",
        same=_SAME,
    ),
    _claim(
        id="framework_attack_hurts",
        text="Attacked as a whole, every defense loses accuracy.",
        says="all defenses lose accuracy (3.4.4)",
        where={**under_attacks("", clean=False), "threat_model": ("oblivious", "framework")},
        judge=Everywhere(
            pairs=_ATTACKED,
            holds=BELOW,
            key=lambda label, attack, epsilon: (label, attack),
            expected=tuple(itertools.product([line.label for line, _ in _ATTACKED], ATTACKS)),
            beside=_attackers(_UPDATED, ", vote + Bayes"),
            other_images=True,
        ),
        needs=ANY_SIZE,
        reason="two attackers of one and the same defense are compared, whatever its size.",
        same=_SAME_FRAMEWORK,
    ),
    *(
        _claim(
            id=f"framework_gain{suffix}",
            text=f"Attacked as a whole, the {name} beats Defense-VAE and Defense-GAN.",
            says={
                name: f"+{gain:g} points under FGSM and CW (3.4.4)"
                for name, gain in _FRAMEWORK_GAINS.items()
            },
            where={**under_attacks("framework", clean=False), "attack": _GAIN_ATTACKS},
            judge={
                name: MeanGain(
                    line=line, others=BASELINES, least=0.8 * gain, expected=_GAIN_ATTACKS
                )
                for name, gain in _FRAMEWORK_GAINS.items()
            },
            reason=f"a gain in points between methods: {UNEQUAL}",
            same=() if suffix else _SAME_FRAMEWORK[:1],
        )
        for suffix, name, line in decided_by("sfl_vae")
    ),
)
