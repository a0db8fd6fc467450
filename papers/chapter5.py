"""The dissertation, chapter 5 and appendices: VQUNet before a retrained Wide-ResNet.

**Reference**: Dissertation, sec. 5.4 (Figures 5.3 to 5.10, Table 5.1).

**Differs from the paper**:

* Figures 5.3 to 5.6: the Wide-ResNet that is attacked is the one trained on clean images, so that
  one set serves every purifier. VQUNet is followed by this one and by the one retrained on its
  images, where the text speaks of the second only.
* Figure 5.7: L2 beside L1, and both readings of algorithm 1 (the literal VQUNet has it as printed).
* Figures 5.8 to 5.10: beside the absolute change stands the one relative to the size of the clean
  features, since two networks (and the two sides of the quantiser) scale theirs differently, and
  the one relative to their spread over the clean images, since features that tell no two images
  apart cannot change much. The network has a fourth depth, which is not shown.
* Table 5.1: the target that was not retrained stands beside the one that was.
* Fair profiles have both readings of algorithm 1 in Figures 5.3 to 5.6 and Table 5.1 too, and the
  supplement compares them on validation images.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from itertools import pairwise

from papers import lines
from papers.chapter3 import DATASETS
from papers.listed import ARCHITECTURE, DIAGRAM, unmeasured
from results.claims import ANY_SIZE, Claim
from results.exhibit import (
    ABSENT,
    PALETTE,
    Curves,
    Derived,
    Dots,
    Exhibit,
    Grid,
    Line,
    Look,
    Mark,
    Probe,
)
from results.judges import AT_LEAST, BELOW, Best, Everywhere, Level
from results.markdown import NOTHING, number, percent
from results.printed import printed_table, printed_values, text_value
from results.sheet import Point, Sheet, SheetLine

TITLE = "Dissertation, chapter 5: VQUNet"
SUMMARY = (
    "Claims that a U-Net with quantised features before a retrained Wide-ResNet is the best "
    "purifier at every epsilon, and that an attack changes quantised features less."
)

ATTACKS = ("fgsm", "bim", "pgd", "carlini_wagner")
TARGET = "wide_resnet"
COMPARED = ("vqunet", "defense_cyclegan", "sfl_vae", "defense_vae")
#: Those of section 5.4.4; the last has algorithm 1 as printed.
NETWORKS = ("vqunet", "non_vqunet", "vqunet_literal")
LITERAL = "vqunet_literal"
#: How algorithm 1 and 5.3.2 can be read.
READINGS = ("vqunet", LITERAL, "vqunet_reconstruction")
_NETWORK_LINES = ("vqunet", "vqunet_literal", "non_vqunet")
DEPTHS = (1, 2, 3)
STAGES = {"pre": "before", "post": "after"}
CHANGES = {
    "feature_change": "change of features",
    "feature_change_relative": "change of features, relative to their size",
    "feature_change_spread": "change of features, relative to their spread",
}

_PRINTED_TABLES = {"cifar10": "003.T5.1a", "fashion_mnist": "003.T5.1b"}
_PRINTED_LINES = {
    "vqunet": "VQUNet",
    "defense_cyclegan": "Cycle_GAN",
    "sfl_vae": "HFL_VAE",
    "defense_vae": "Defense_VAE",
}
_SET = {"attack": "fgsm", "target": TARGET}
_UNDER_FGSM = {
    "attack": ("none", "fgsm"),
    "threat_model": ("none", "oblivious"),
    "target": (ABSENT, TARGET),
}
_FLOOR = text_value("003", "5.4.3", "VQUNet Fashion-MNIST floor")


def printed_filtered(dataset: str) -> dict[tuple[str, str], float | str]:
    """Clean accuracies of Table 5.1 by the labels of its exhibit; empty where none are printed."""
    if dataset not in _PRINTED_TABLES:
        return {}
    table_id, column = _PRINTED_TABLES[dataset], _RETRAINED.label
    names = {lines.NAMES[key]: line for key, line in _PRINTED_LINES.items()}
    bare = printed_table(table_id)["benign_accuracy"]
    return {
        (lines.NONE.label, column): float(bare),
        **printed_values(table_id, names, {column: "acc (filtered benign)"}),
    }


def _marks(dataset: str) -> list[Mark]:
    if dataset not in _PRINTED_TABLES:
        return []
    clean = float(printed_filtered(dataset)[lines.NAMES["vqunet"], _RETRAINED.label])
    marks = [Mark(f"printed: {clean:g} % clean, VQUNet", 0.0, clean)]
    if dataset == "fashion_mnist":
        marks.append(Mark(f"printed: at least {_FLOOR:g} % throughout, VQUNet", None, _FLOOR))
    return marks


def _literal(threat: str, attack: str) -> Grid:
    """Algorithm 1 as printed, before the same deciders."""
    return Grid(
        threat=threat,
        attacks=(attack,),
        targets=(TARGET,),
        defenses=(LITERAL,),
        deciders=("target", "retrained"),
        fair=True,
    )


def _mixed(number_: int, attack: str) -> Exhibit:
    """Figures 5.3 to 5.6."""
    return lines.accuracy_curves(
        f"003.F5.{number_}",
        ", half transferred (mixed), VQUNet",
        DATASETS,
        Grid(
            threat="mixed",
            attacks=(attack,),
            targets=(TARGET,),
            defenses=("none", *COMPARED),
            deciders=("target", "retrained"),
        ),
        [
            lines.NONE,
            lines.with_retrained("sfl_vae"),
            lines.with_retrained("defense_cyclegan"),
            lines.with_target("vqunet"),
            lines.with_retrained("vqunet"),
            lines.with_retrained(LITERAL),
            lines.with_retrained("defense_vae"),
        ],
        _marks,
        beside=[_literal("mixed", attack)],
    )


_DISTANCE = Exhibit(
    id="003.F5.7",
    title="L1 of reconstructions under FGSM, with and without quantisation",
    datasets=DATASETS,
    measures=(Probe("distances", {**_SET, "purifiers": NETWORKS, "paired": ("l1", "l2")}),),
    where={**_UNDER_FGSM, "metric": ("l2", "l1"), "defense": NETWORKS, "split": ABSENT},
    corner="distance",
    panels=(Line("L2", {"metric": "l2"}), Line("L1", {"metric": "l1"})),
    lines=tuple(lines.purifier(key) for key in _NETWORK_LINES),
    columns=(lines.EPSILONS,),
    cell=number,
    draw=Curves(percent=False, ylabel="distance to the clean image"),
)

_VARIANTS: tuple[tuple[str, str | tuple], ...] = (
    ("o", "-"),
    ("^", (0, (4, 1.5))),
    ("s", (0, (1, 1))),
)


def _by_depth(variants: Sequence[Line]) -> list[Line]:
    """A line for each variant and depth: colour is the depth, marker and dashes the variant."""
    found = []
    for variant, (marker, dashes) in zip(variants, _VARIANTS, strict=False):
        for depth, color in zip(DEPTHS, ("blue", "vermillion", "green"), strict=True):
            label = ", ".join(filter(None, (variant.label, f"depth {depth}")))
            look = Look(PALETTE[color], marker, dashes)
            found.append(dataclasses.replace(variant.under(label, depth=depth), look=look))
    return found


def _features(
    number_: int,
    title: str,
    purifiers: tuple[str, ...],
    stages: tuple[str, ...],
    variants: Sequence[Line],
) -> Exhibit:
    """Figures 5.8 and 5.9."""
    settings = {**_SET, "purifiers": purifiers, "depths": DEPTHS, "stages": stages}
    rows = {"metric": tuple(CHANGES), "defense": purifiers, "stage": stages}
    return Exhibit(
        id=f"003.F5.{number_}",
        title=title,
        datasets=DATASETS,
        measures=(Probe("features", settings),),
        where={**_UNDER_FGSM, **rows},
        corner="features",
        panels=tuple(Line(name, {"metric": metric}) for metric, name in CHANGES.items()),
        joint=": ",
        lines=_by_depth(variants),
        columns=(lines.EPSILONS,),
        cell=number,
        draw=Curves(percent=False, ylabel="", spread=20),
        caveat="An axis that is logarithmic has no place for ε = 0, where nothing changes.",
    )


_INDICES = Exhibit(
    id="003.F5.10",
    title="changed code indices under FGSM",
    datasets=DATASETS,
    measures=(Probe("index_changes", {**_SET, "purifiers": ("vqunet",), "depths": DEPTHS}),),
    where={**_UNDER_FGSM, "defense": "vqunet", "metric": "index_change"},
    corner="features",
    panels=(Line("changed code indices (%)"),),
    joint=": ",
    lines=_by_depth([Line("")]),
    columns=(lines.EPSILONS,),
    cell=percent,
    draw=Curves(ylabel="changed code indices (%)"),
)

_RETRAINED = Line(
    "target retrained",
    # What is not filtered needs no retraining: the bare classifier stands in this column.
    [{"defense": "none"}, {"retrained": True}],
    Look(PALETTE["blue"], "o"),
)
_AS_IT_WAS = Line(
    "target as it was",
    {"defense": (*COMPARED, LITERAL), "retrained": ABSENT},
    Look(PALETTE["orange"], "s"),
)


def _lost(sheet: Sheet, line: SheetLine, column: Line) -> str:
    """What a purifier loses to the bare classifier, in percentage points."""
    bare, found = sheet.point(lines.NONE.label, _RETRAINED.label), line.points.get(column)
    if line.line is lines.NONE or bare is None or found is None:
        return NOTHING
    return f"{100 * (bare.value - found.value):.1f}"


def _printed_loss(sheet: Sheet, line: SheetLine) -> str:
    bare = sheet.printed.get((lines.NONE.label, _RETRAINED.label))
    value = sheet.printed.get((line.label, _RETRAINED.label))
    if line.line is lines.NONE or bare is None or value is None:
        return NOTHING
    return f"{float(bare) - float(value):.2f}"


_FILTERED = Exhibit(
    id="003.T5.1",
    title="clean accuracy of the Wide-ResNet after filtering",
    datasets=DATASETS,
    measures=(
        Grid(
            threat="none",
            attacks=("none",),
            targets=(TARGET,),
            defenses=("none", *COMPARED),
            deciders=("target", "retrained"),
        ),
        _literal("none", "none"),
    ),
    where={"metric": "accuracy", "attack": "none", "target": TARGET, "split": ABSENT},
    corner="clean accuracy (%)",
    lines=(
        lines.NONE,
        *(Line(lines.NAMES[key], {"defense": key}) for key in (*COMPARED, LITERAL)),
    ),
    columns=(
        _RETRAINED,
        Derived("loss", functools.partial(_lost, column=_RETRAINED)),
        _AS_IT_WAS,
        Derived("loss", functools.partial(_lost, column=_AS_IT_WAS)),
        lines.printed_column(_RETRAINED.label, digits=2),
        Derived("printed loss", _printed_loss),
    ),
    printed=printed_filtered,
    draw=Dots(xlabel="accuracy on clean images (%)", level=(lines.NONE.label, _RETRAINED.label)),
)

_READINGS = Exhibit(
    id="003.S5.reading",
    title="supplement: readings of algorithm 1 on validation images",
    datasets=DATASETS,
    measures=(Probe("readings", {"purifiers": READINGS, "target": TARGET}, fair=True),),
    where={"attack": "none", "split": "validation", "defense": READINGS},
    corner="clean validation images",
    lines=tuple(lines.purifier(key) for key in READINGS),
    columns=(
        Line("L1", {"metric": "l1"}, cell=number),
        Line("Wide-ResNet as it was (%)", {"metric": "accuracy", "retrained": ABSENT}),
        Line("Wide-ResNet retrained (%)", {"metric": "accuracy", "retrained": True}),
    ),
)

EXHIBITS: tuple[Exhibit, ...] = (
    *unmeasured("003", {"F5.1": "VQUNet structure", "F5.2": "VQUNet blocks"}, DIAGRAM),
    *(_mixed(number_, attack) for number_, attack in enumerate(ATTACKS, start=3)),
    _DISTANCE,
    _features(
        8,
        "change of features before quantisation under FGSM, with and without it",
        NETWORKS,
        ("pre",),
        [lines.purifier(key) for key in _NETWORK_LINES],
    ),
    _features(
        9,
        "change of features before and after quantisation under FGSM",
        ("vqunet",),
        ("pre", "post"),
        [Line(f"{side} quantisation", {"stage": stage}) for stage, side in STAGES.items()],
    ),
    _INDICES,
    _FILTERED,
    _READINGS,
    *unmeasured(
        "003",
        {
            "TA.1": "VAE structure",
            "TB.1": "target classifiers",
            "TB.2": "ResNet voters",
            "TB.3": "DenseNet voters",
            "TB.4": "Wide-ResNet voters",
        },
        ARCHITECTURE,
    ),
)


# -- Claims ---------------------------------------------------------------------------------------

_claim = functools.partial(lines.chapter_claim, heading="Chapter 5")
_METHOD, *_OTHERS = (lines.with_retrained(key).under(lines.NAMES[key]) for key in COMPARED)
_UNDER_ATTACKS = lines.accuracy_rows("mixed", (TARGET,), ATTACKS, clean=False)
_WITH_CLEAN = lines.accuracy_rows("mixed", (TARGET,), ATTACKS)
_best = functools.partial(
    Best, line=_METHOD, others=_OTHERS, expected=tuple((attack,) for attack in ATTACKS)
)
_FGSM = {**_SET, "threat_model": "oblivious"}
_UNEQUAL = (
    "the purifiers are different networks, to which small profiles give unequal shares of the "
    "printed width and training."
)
_SMALL_LEVEL = "a level, which a narrower and shorter trained network misses whatever the method."
_WITHIN = (
    "two sides of one network are compared, whose levels are narrowed alike in a small profile."
)
_LEVEL = text_value("003", "5.4.3", "undefended accuracy under every attack")
_SPREAD = "feature_change_spread"
_SCALES = {
    "feature_change": "absolute",
    "feature_change_relative": "relative",
    _SPREAD: "relative to their spread over images",
}


def _says_lost(dataset: str) -> str:
    printed = {line: float(value) for (line, _), value in printed_filtered(dataset).items()}
    lost = printed[lines.NONE.label] - printed[lines.NAMES["vqunet"]]
    return f"{lost:.2f} points lost, the only one below 1 (table 5.1)"


def _change(found: Sequence[Point]) -> float:
    return 100 * (found[-1].value - found[0].value)


def _lower(pairs: Sequence[tuple[Line, Line]]) -> Everywhere:
    """Under FGSM the first of each pair is lower at every epsilon; clean images change nothing."""
    return Everywhere(pairs=pairs, holds=BELOW, expected=("fgsm",))


def _side(defense: str, stage: object, **where: object) -> Line:
    """Features of a network before (``"pre"``) or after quantisation (``"post"``)."""
    return Line(lines.NAMES[defense], {"defense": defense, "stage": stage, **where})


def _at_every_depth(id: str, text: str, says: str, reason: str, *sides: Line) -> list[Claim]:
    """Features of the first of two sides change less, by each scale, at every depth."""
    first, second = sides
    return [
        _claim(
            id=f"{id}/{scale}",
            text=f"{text}, {scale}.",
            says=says,
            where={**_FGSM, "metric": metric},
            judge=_lower([(first.under(depth=d), second.under(depth=d)) for d in DEPTHS]),
            needs=ANY_SIZE,
            reason=reason,
        )
        for metric, scale in _SCALES.items()
    ]


def _deeper(id: str, what: str, figure: str, features: Line) -> Claim:
    """The deeper, the less changes; each depth is compared with the one above it."""
    at = [features.under(depth=depth) for depth in DEPTHS]
    return _claim(
        id=f"deeper_changes_less/{id}",
        text=f"Deeper {what}.",
        says=f"less at deeper levels (fig. {figure})",
        where=_FGSM,
        judge=_lower([(deep, above) for above, deep in pairwise(at)]),
        needs=ANY_SIZE,
        reason=_WITHIN,
    )


CLAIMS: tuple[Claim, ...] = (
    _claim(
        id="vqunet_clean_loss",
        text="VQUNet hardly changes the accuracy on clean images.",
        says={name: _says_lost(name) for name in DATASETS},
        where={"metric": "accuracy", "attack": "none", "target": TARGET, "split": ABSENT},
        judge=Level(line=_METHOD, reference=lines.NONE, beside=_OTHERS, least=True),
        reason="a narrow VQUNet reconstructs worse, which costs accuracy on clean images.",
    ),
    _claim(
        id="vqunet_flattest",
        text="VQUNet's accuracy falls least as ε grows.",
        says="the flattest curve under FGSM, BIM, PGD and CW (5.4.3)",
        where=_WITH_CLEAN,
        judge=_best(score=_change, words="points between clean images and the largest ε"),
        reason=_UNEQUAL,
    ),
    _claim(
        id="vqunet_highest",
        text="VQUNet is above the other purifiers.",
        says="above all three at every level of every attack (5.4.3)",
        where=_UNDER_ATTACKS,
        judge=_best(words="mean accuracy (%)"),
        reason=_UNEQUAL,
    ),
    _claim(
        id="undefended_below",
        text="The undefended target is lost under every attack.",
        says=f"below {_LEVEL:g} % (5.4.3)",
        # At the largest epsilon.
        where={**_UNDER_ATTACKS, "epsilon": 0.3},
        judge=Everywhere(pairs=[(lines.NONE, _LEVEL)], holds=BELOW, expected=ATTACKS),
        reason="a level, which depends on the widths of the target and of the three classifiers "
        "from which half of the images are transferred.",
    ),
    _claim(
        id="vqunet_floor",
        text="VQUNet's accuracy on Fashion-MNIST hardly falls under any attack.",
        says=f"at least {_FLOOR:g} % throughout (5.4.3)",
        where=_WITH_CLEAN,
        judge=Everywhere(pairs=[(_METHOD, _FLOOR)], holds=AT_LEAST, expected=ATTACKS),
        datasets=("fashion_mnist",),
        reason=_SMALL_LEVEL,
    ),
    _claim(
        id="vqunet_nearer",
        text="VQUNet's reconstructions of attacked images stay nearer to the clean ones than "
        "non-VQUNet's.",
        says="less divergence as ε grows (fig. 5.7)",
        where={**_FGSM, "metric": "l1"},
        judge=_lower([(lines.purifier("vqunet"), lines.purifier("non_vqunet"))]),
        reason="what the codes cost in fidelity falls with width and training, and decides at "
        "which ε it is outweighed by what they remove.",
    ),
    *_at_every_depth(
        "vqunet_features",
        "VQUNet's encoder features change less than non-VQUNet's",
        "much less at every depth (fig. 5.8)",
        "the two networks have one width, one set of images and one number of epochs, and differ "
        "in the quantisation alone.",
        _side("vqunet", "pre"),
        _side("non_vqunet", "pre"),
    ),
    *_at_every_depth(
        "quantised_features",
        "Features change less after quantisation than before",
        "noticeably less at every depth (fig. 5.9)",
        _WITHIN,
        _side("vqunet", "post"),
        _side("vqunet", "pre"),
    ),
    *(
        _deeper(
            f"{metric}/{stage}",
            f"features {side} quantisation change less{scale}",
            "5.9",
            _side("vqunet", stage, metric=metric),
        )
        for metric, scale in (("feature_change", ""), (_SPREAD, f", {_SCALES[_SPREAD]}"))
        for stage, side in STAGES.items()
    ),
    _deeper(
        "index_change",
        "code indices change less",
        "5.10",
        _side("vqunet", ABSENT, metric="index_change"),
    ),
)
