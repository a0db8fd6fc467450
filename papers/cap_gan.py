"""CAP-GAN: what its figures and tables show, how that is measured, and what it claims.

How the paper is read:

* The target is the narrow ResNet of Madry's challenge, the surrogate another one, trained on the
  same images from other random numbers. Every defense, those with a classifier of their own too,
  meets the images that are made on that one surrogate (Table I, Figure 5, Tables V and VI) or on
  that one target (Table III).
* Steps of PGD and MI-FGSM are 2/255 long; only the budget is printed. BPDA-I is PGD in 40 steps
  that takes the gradient of the purifier for that of the identity: a threat model of its own, since
  the purifiers that it is aimed at do differentiate.
* Table IV leaves JPEG and the thermometer out, as they do not differentiate; here both stand in it,
  with the gradient that BPDA gives. Beside the paper it has APGD and the worst case over all
  attacks of the table, image by image.
* The paper's budgets are of 255; so are the labels here.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from papers import lines
from papers.listed import DIAGRAM, unmeasured
from results.claims import ANY_SIZE, FULL_WIDTH, Claim
from results.exhibit import (
    ABSENT,
    PALETTE,
    WORST_OF_ALL,
    Axis,
    Bars,
    Clouds,
    Curves,
    Exhibit,
    Grid,
    Line,
    Look,
    Pictures,
    Probe,
    alternatives,
)
from results.judges import ABOVE, BELOW, Best, Everywhere, Order, Relation
from results.markdown import percent
from results.printed import printed_rows, printed_values, table_value

TITLE = "CAP-GAN"
SUMMARY = "A purifier trained on attacked images by pixels and by features of the class."

TARGET = "narrow_resnet"
TARGETS = (TARGET,)
BUDGET = 8 / 255
#: The budgets of Figure 5 (sec. IV-B).
BUDGETS = tuple(number / 255 for number in (4, 8, 12, 16, 32))
#: Figure 1.
LARGE_BUDGET = 16 / 255
_DATASET = "cifar10"

# -- Lines and columns ----------------------------------------------------------------------------


def _defense(key: str) -> Line:
    return Line(lines.NAMES[key], {"defense": key}, lines.LOOKS[key])


def _key(line: Line) -> str:
    """The defense of a line."""
    (where,) = alternatives(line.where)
    return where["defense"]


UNDEFENDED = _defense("none")
JPEG = _defense("jpeg")
THERMOMETER = _defense("thermometer")
APE_GAN = _defense("ape_gan")
HGD = _defense("hgd")
TRAINED = _defense("adversarial_training")
CAP_GAN = _defense("cap_gan")
DEFENSES = (UNDEFENDED, JPEG, THERMOMETER, APE_GAN, HGD, TRAINED, CAP_GAN)
_KEYS = tuple(_key(line) for line in DEFENSES)
#: Lines in print.
_PRINTED = {
    JPEG.label: "JPEG",
    THERMOMETER.label: "THM",
    APE_GAN.label: "APE",
    HGD.label: "HGD",
    TRAINED.label: "AT",
    CAP_GAN.label: "CAP-GAN",
}
#: Purifiers that the paper trains, by what their losses see.
_PIXELS, _FEATURES = (JPEG, APE_GAN), (HGD, CAP_GAN)

#: Attack -> column, and what it is called in print.
CLEAN = Line("no attack", {"attack": "none"})
_ATTACKS = {
    "fgsm": ("FGSM", "FGSM"),
    "mi_fgsm": ("MI-FGSM, 20 steps", "MI-FGSM_20"),
    "pgd_7": ("PGD, 7 steps", "PGD_7"),
    "pgd_40": ("PGD, 40 steps", "PGD_40"),
}
_GRADIENT = tuple(_ATTACKS)
_CONFIDENT, _LONGEST = "carlini_wagner_confident", "carlini_wagner_longest"
_ADAPTIVE = (*_GRADIENT, "apgd_ce", "apgd_dlr")


def _attacked(name: str, label: str = "") -> Line:
    """A column of one attack at the paper's budget, or of one that has none."""
    label = label or _ATTACKS[name][0]
    budget = {} if name in (_CONFIDENT, _LONGEST) else {"epsilon": BUDGET}
    return Line(label, {"attack": name, **budget})


_BPDA = Line("BPDA-I, 40 steps", {"attack": "pgd_40", "threat_model": "bpda", "epsilon": BUDGET})
#: What stands in print above each column.
_HEADINGS = {
    CLEAN.label: "Clean",
    **dict(_ATTACKS.values()),
    _BPDA.label: "BPDA-I_40",
}
_CW = "Carlini–Wagner"


def _grid(threat: str, attacks: Sequence[str], defenses: Sequence[str], **more: Any) -> Grid:
    given = {"epsilons": (BUDGET,), "targets": TARGETS, **more}
    return Grid(threat=threat, attacks=tuple(attacks), defenses=tuple(defenses), **given)


def _rows(threat: str, *, epsilon: Any = (0.0, BUDGET, 1.0)) -> dict[str, Any]:
    """Accuracies of clean images and under one threat model."""
    return {
        "metric": "accuracy",
        "target": TARGET,
        "threat_model": ("none", threat),
        "epsilon": epsilon,
        "split": ABSENT,
        "steps": ABSENT,
    }


def _printed(
    table: str, own: Mapping[str, str], columns: Mapping[str, str], dataset: str
) -> dict[tuple[str, str], float | str]:
    if dataset != _DATASET:
        return {}
    return printed_values(table, own, columns, digits=2)


def _table(
    number: str,
    title: str,
    defenses: Sequence[Line],
    columns: Sequence[Line],
    *,
    headings: Mapping[str, str] = _HEADINGS,
    printed: Mapping[str, str] = _PRINTED,
    **declared: Any,
) -> Exhibit:
    """A table of defenses by attacks; print has some of both."""
    id = f"001.{number}"
    there = {str(cells["Method" if "Method" in cells else "Model"]) for cells in printed_rows(id)}
    own = {line.label: printed[line.label] for line in defenses if printed.get(line.label) in there}
    known = {line.label: headings[line.label] for line in columns if line.label in headings}
    return Exhibit(
        id=id,
        title=title,
        datasets=(_DATASET,),
        corner="accuracy (%)",
        lines=defenses,
        columns=columns,
        printed=functools.partial(_printed, id, own, known),
        bracketed=True,
        draw=Bars(),
        **declared,
    )


# -- Tables I to IV -------------------------------------------------------------------------------

_TRANSFER = _table(
    "T1",
    "accuracy under attacks that are transferred from a surrogate, ε = 8/255",
    DEFENSES,
    [CLEAN, *map(_attacked, _GRADIENT), _attacked(_CONFIDENT, _CW)],
    headings={**_HEADINGS, _CW: "CW"},
    measures=(_grid("transfer", ("none", *_GRADIENT, _CONFIDENT), _KEYS),),
    where=_rows("transfer"),
    caveat="All meet the images made on one surrogate. Carlini–Wagner has no budget (κ = 20).",
)
_SCORES = {"spsa": "SPSA", "square": "Square, 1 start", "square_5": "Square, 5 starts"}
_SCORE_HEADINGS = dict(zip(_SCORES.values(), ("SPSA", "Square_r1", "Square_r5"), strict=True))
_QUERIES = _table(
    "T2",
    "accuracy under attacks that query the defended classifier, ε = 8/255",
    (JPEG, APE_GAN, HGD, CAP_GAN),
    [
        *(_attacked(name, label).under(threat_model="score") for name, label in _SCORES.items()),
        _BPDA,
    ],
    headings={**_HEADINGS, **_SCORE_HEADINGS},
    measures=(
        _grid("score", tuple(_SCORES), ("jpeg", "ape_gan", "hgd", "cap_gan")),
        _grid("bpda", ("pgd_40",), ("jpeg", "ape_gan", "hgd", "cap_gan")),
    ),
    where={**_rows("score", epsilon=BUDGET), "threat_model": ("score", "bpda")},
    caveat="BPDA-I takes the purifier's gradient for the identity's.",
)
_OBLIVIOUS = _table(
    "T3",
    "accuracy under attacks on the target alone, ε = 8/255",
    DEFENSES,
    [CLEAN, *map(_attacked, _GRADIENT), _attacked(_LONGEST, _CW)],
    headings={**_HEADINGS, _CW: "CW"},
    printed={**_PRINTED, UNDEFENDED.label: "ResNet (no defence)"},
    measures=(_grid("oblivious", ("none", *_GRADIENT, _LONGEST), _KEYS),),
    where=_rows("oblivious"),
    caveat="The attacker knows the target alone; Carlini–Wagner has no budget.",
)
_APGD = {"apgd_ce": "APGD, cross-entropy", "apgd_dlr": "APGD, difference of logits"}
_END_TO_END = _table(
    "T4",
    "accuracy under attacks end to end, ε = 8/255",
    DEFENSES[1:],
    [
        CLEAN,
        *map(_attacked, _GRADIENT),
        *(_attacked(name, label) for name, label in _APGD.items()),
        dataclasses.replace(
            _attacked(WORST_OF_ALL, "the worst of all"), look=Look(PALETTE["grey"], hatch="/////")
        ),
    ],
    measures=(_grid("adaptive", ("none", *_ADAPTIVE), _KEYS[1:], worst=True),),
    where=_rows("adaptive"),
    caveat="JPEG and the thermometer by BPDA. The worst of all counts image by image.",
)

# -- Tables V and VI ------------------------------------------------------------------------------


def _variant(key: str, label: str) -> Line:
    return Line(label, {"defense": key})


_PUBLISHED = _variant("cap_gan", "α = 0.7, T = 10")
TEMPERATURES = (
    _variant("cap_gan_temperature_1", "α = 0.7, T = 1"),
    _variant("cap_gan_temperature_5", "α = 0.7, T = 5"),
    _PUBLISHED,
)
ALPHAS = (
    _variant("cap_gan_alpha_05", "α = 0.5, T = 10"),
    _PUBLISHED,
    _variant("cap_gan_alpha_09", "α = 0.9, T = 10"),
)
PIXEL = _variant("cap_gan_pixel", "pixels alone")
PIXEL_CAM = _variant("cap_gan_pixel_cam", "pixels and attention")
PIXEL_SEMANTIC = _variant("cap_gan_pixel_semantic", "pixels and semantics")
NO_CYCLE = _variant("cap_gan_no_cycle", "without cycles")
WHOLE = _variant("cap_gan", "CAP-GAN")
_ABLATED = ("mi_fgsm", "pgd_7", "pgd_40")
_ABLATION_COLUMNS = [
    CLEAN,
    *(_attacked(name).under(threat_model="transfer") for name in _ABLATED),
    _BPDA,
]


def _ablation(number: str, title: str, variants: Mapping[Line, str]) -> Exhibit:
    keys = [_key(line) for line in variants]
    return _table(
        number,
        title,
        list(variants),
        _ABLATION_COLUMNS,
        printed={line.label: printed for line, printed in variants.items()},
        measures=(
            _grid("transfer", ("none", *_ABLATED), keys),
            _grid("bpda", ("pgd_40",), keys),
        ),
        where={**_rows("transfer"), "threat_model": ("none", "transfer", "bpda")},
        caveat="PGD and MI-FGSM are transferred from a surrogate.",
    )


_PARAMETERS = _ablation(
    "T5",
    "ablation of the balance α and of the temperature T, ε = 8/255",
    {
        TEMPERATURES[0]: "alpha=0.7,T=1.0",
        TEMPERATURES[1]: "alpha=0.7,T=5.0",
        _PUBLISHED: "alpha=0.7,T=10.0",
        ALPHAS[0]: "alpha=0.5,T=10.0",
        ALPHAS[2]: "alpha=0.9,T=10.0",
    },
)
_TERMS = _ablation(
    "T6",
    "ablation of the losses, ε = 8/255",
    {
        PIXEL: "L_pixel",
        PIXEL_CAM: "L_pixel+L_cam",
        PIXEL_SEMANTIC: "L_pixel+L_sem",
        NO_CYCLE: "CAP-GAN w/o Cyc",
        WHOLE: "CAP-GAN",
    },
)

# -- Figures --------------------------------------------------------------------------------------

_CURVES = ("fgsm", "mi_fgsm", "pgd_40", "carlini_wagner")
_BY_BUDGET = Axis("epsilon", lambda epsilon: f"ε = {255 * epsilon:.0f}/255")
_AGAINST_BUDGET = Exhibit(
    id="001.F5",
    title="accuracy against ε under attacks that are transferred from a surrogate",
    datasets=(_DATASET,),
    measures=(_grid("transfer", ("none", *_CURVES), _KEYS, epsilons=BUDGETS),),
    where=_rows("transfer", epsilon=(0.0, *BUDGETS)),
    corner="accuracy (%)",
    panels=[
        Line(lines.ATTACKS.get(name, _ATTACKS.get(name, ("",))[0]), {"attack": ("none", name)})
        for name in _CURVES
    ],
    lines=DEFENSES,
    columns=(_BY_BUDGET,),
    draw=Curves(unit=1 / 255, xlabel="255 ε, largest change of a pixel"),
    notes=(
        lambda sheet: (
            "The attack's success rate on the undefended target is what is missing to 100 % there."
        ),
    ),
    caveat="What is missing to 100 % without a defense is the attack's success rate. "
    f"{lines.RESCALED}",
)
#: Of Figure 1: in which space, and of which images.
_SPACES = ("pixels", "logits")
_CLOUDS = Exhibit(
    id="001.F1",
    title="t-SNE of pixels and of logits, clean and under FGSM with ε = 16/255",
    datasets=(_DATASET,),
    measures=(
        Probe("neighbourhoods", {"target": TARGET, "attack": "fgsm", "epsilon": LARGE_BUDGET}),
    ),
    where={"metric": "neighbours_of_class", "target": TARGET, "epsilon": (0.0, LARGE_BUDGET)},
    corner="of ten nearest neighbours, share of the same class (%)",
    lines=[Line(f"by {space}", {"space": space}) for space in _SPACES],
    columns=[CLEAN, Line("FGSM, ε = 16/255", {"attack": "fgsm"})],
    cell=percent,
    draw=Clouds(),
)
_ATTENTION = Exhibit(
    id="001.F3",
    title="attention maps of the generators",
    datasets=(_DATASET,),
    measures=(
        Probe(
            "attention_maps",
            {"purifier": "cap_gan", "target": TARGET, "attack": "fgsm", "epsilon": BUDGET},
        ),
    ),
    draw=Pictures(),
)

EXHIBITS: tuple[Exhibit, ...] = (
    *unmeasured("001", {"F2": "overview", "F4": "losses"}, DIAGRAM),
    _CLOUDS,
    _ATTENTION,
    _AGAINST_BUDGET,
    _TRANSFER,
    _QUERIES,
    _OBLIVIOUS,
    _END_TO_END,
    _PARAMETERS,
    _TERMS,
)

# -- Claims ---------------------------------------------------------------------------------------

_claim = functools.partial(Claim, heading="CAP-GAN", datasets=(_DATASET,))
_SAME_NETWORK = "all are before one classifier, on the same images and for the same epochs."


def _says(table: str, row: str, *columns: str) -> str:
    return ", ".join(f"{column} {table_value(table, row, column):.2f}" for column in columns)


_ITERATIVE = ("mi_fgsm", "pgd_7", "pgd_40")
_ITERATIVE_PRINTED = tuple(_ATTACKS[name][1] for name in _ITERATIVE)


def _pairs(first: Sequence[Line], second: Sequence[Line]) -> list[tuple[Line, Line]]:
    return [
        (one.under(f"{one.label} against {other.label}"), other)
        for one in first
        for other in second
    ]


_BY_ATTACK = Axis("attack", lambda attack: lines.ATTACKS[attack])
_EXPECTED = tuple(
    (f"{one.label} against {other.label}", attack)
    for one in _FEATURES
    for other in _PIXELS
    for attack in _ITERATIVE
)


def _longest(line: Line) -> Line:
    """A defense under the longest of the paper's attacks."""
    return line.under(f"{line.label} under PGD-40", attack="pgd_40")


def _place(label: str, *place: Any) -> tuple[Any, ...]:
    return (label, *place)


#: Of Tables V and VI under attack.
_ABLATION_ROWS = [
    {**_rows("transfer", epsilon=BUDGET), "attack": _ABLATED},
    {**_rows("bpda", epsilon=BUDGET), "attack": "pgd_40", "threat_model": "bpda"},
]


def _raises(line: Line, other: Line) -> Everywhere:
    """A variant is above another one under every attack of Table VI."""
    return Everywhere(
        pairs=[(line, other)],
        holds=ABOVE,
        by=Axis(("threat_model", "attack"), lambda threat, attack: f"{attack} ({threat})"),
        key=lambda label, *place: place,
        expected=(*(("transfer", name) for name in _ABLATED), ("bpda", "pgd_40")),
    )


CLAIMS: tuple[Claim, ...] = (
    _claim(
        id="features_hold_where_pixels_fall",
        text="Attacked on the target alone, purifiers that learn from features hold where those "
        "of pixels fall.",
        says=f"MI-FGSM_20: HGD {table_value('001.T3', 'HGD', 'MI-FGSM_20'):.2f} and CAP-GAN "
        f"{table_value('001.T3', 'CAP-GAN', 'MI-FGSM_20'):.2f}, APE-GAN "
        f"{table_value('001.T3', 'APE', 'MI-FGSM_20'):.2f} and JPEG "
        f"{table_value('001.T3', 'JPEG', 'MI-FGSM_20'):.2f} (IV-D, Table III)",
        where={**_rows("oblivious", epsilon=BUDGET), "attack": _ITERATIVE},
        judge=Everywhere(
            pairs=_pairs(_FEATURES, _PIXELS),
            holds=ABOVE,
            by=_BY_ATTACK,
            key=_place,
            expected=_EXPECTED,
        ),
        needs=ANY_SIZE,
        reason=_SAME_NETWORK,
    ),
    _claim(
        id="bpda_breaks_pixels",
        text="BPDA with the identity breaks JPEG and APE-GAN, not HGD and CAP-GAN.",
        says=f"JPEG {_says('001.T2', 'JPEG', 'BPDA-I_40')}, APE-GAN "
        f"{_says('001.T2', 'APE', 'BPDA-I_40')}; HGD {_says('001.T2', 'HGD', 'BPDA-I_40')}, "
        f"CAP-GAN {_says('001.T2', 'CAP-GAN', 'BPDA-I_40')} (IV-C, Table II)",
        where={**_rows("bpda", epsilon=BUDGET), "attack": "pgd_40"},
        judge=Everywhere(
            pairs=_pairs(_FEATURES, _PIXELS),
            holds=ABOVE,
            by=_BY_ATTACK,
            key=_place,
            expected=tuple((line.label, "pgd_40") for line, _ in _pairs(_FEATURES, _PIXELS)),
        ),
        needs=ANY_SIZE,
        reason=_SAME_NETWORK,
    ),
    _claim(
        id="only_adversarial_training_keeps",
        text="Attacked end to end, only adversarial training keeps accuracy.",
        says="PGD_40: AT "
        f"{table_value('001.T4', 'AT', 'PGD_40'):.2f}, CAP-GAN "
        f"{table_value('001.T4', 'CAP-GAN', 'PGD_40'):.2f}, APE-GAN and HGD below 0.1 % "
        "(IV-D, Table IV)",
        where={**_rows("adaptive", epsilon=BUDGET), "attack": (*_GRADIENT, WORST_OF_ALL)},
        judge=Everywhere(
            pairs=[(_longest(line), 10) for line in (*_FEATURES, *_PIXELS)],
            holds=BELOW,
            by=_BY_ATTACK,
            key=_place,
            expected=tuple((_longest(line).label, "pgd_40") for line in (*_FEATURES, *_PIXELS)),
            beside=[
                (_longest(TRAINED), 10),
                (TRAINED.under("adversarial training, the worst of all", attack=WORST_OF_ALL), 10),
                (CAP_GAN.under("CAP-GAN, the worst of all", attack=WORST_OF_ALL), 10),
            ],
        ),
        needs=FULL_WIDTH,
        reason="a level, though little is left of a purifier that hides nothing at any width.",
    ),
    _claim(
        id="adversarial_training_best_end_to_end",
        text="Attacked end to end, adversarial training is the best.",
        says=f"AT {_says('001.T4', 'AT', 'FGSM', *_ITERATIVE_PRINTED)}; CAP-GAN "
        f"{_says('001.T4', 'CAP-GAN', 'FGSM', *_ITERATIVE_PRINTED)} (IV-D, Table IV)",
        where={**_rows("adaptive", epsilon=BUDGET), "attack": _GRADIENT},
        judge=Best(
            line=TRAINED,
            others=[APE_GAN, HGD, CAP_GAN],
            groups=_BY_ATTACK,
            along=(),
            expected=tuple((name,) for name in _GRADIENT),
        ),
        needs=ANY_SIZE,
        reason=_SAME_NETWORK,
    ),
    _claim(
        id="cap_gan_above_purifiers_end_to_end",
        text="Attacked end to end, CAP-GAN is above the other purifiers.",
        says=f"CAP-GAN {_says('001.T4', 'CAP-GAN', 'FGSM', 'MI-FGSM_20')}; APE-GAN "
        f"{_says('001.T4', 'APE', 'FGSM', 'MI-FGSM_20')} (IV-D, Table IV)",
        where={**_rows("adaptive", epsilon=BUDGET), "attack": _GRADIENT},
        judge=Everywhere(
            pairs=_pairs((CAP_GAN,), (APE_GAN, HGD)),
            holds=ABOVE,
            by=_BY_ATTACK,
            key=_place,
            expected=tuple(
                (f"{CAP_GAN.label} against {other.label}", name)
                for other in (APE_GAN, HGD)
                for name in _GRADIENT
            ),
        ),
        needs=FULL_WIDTH,
        reason="small profiles narrow CAP-GAN more than its rivals.",
    ),
    _claim(
        id="cap_gan_best_under_queries",
        text="CAP-GAN is the best under SPSA, Square and BPDA.",
        says=f"CAP-GAN {_says('001.T2', 'CAP-GAN', 'SPSA', 'Square_r1', 'Square_r5', 'BPDA-I_40')} "
        "(IV-C, Table II)",
        where={**_rows("score", epsilon=BUDGET), "threat_model": ("score", "bpda")},
        judge=Best(
            line=CAP_GAN,
            others=[JPEG, APE_GAN, HGD],
            groups=_BY_ATTACK,
            along=(),
            expected=tuple((name,) for name in (*_SCORES, "pgd_40")),
        ),
        needs=FULL_WIDTH,
        reason="small profiles narrow CAP-GAN more than its rivals.",
    ),
    _claim(
        id="cap_gan_best_transfer",
        text="CAP-GAN is the best under transferred attacks.",
        says=f"CAP-GAN {_says('001.T1', 'CAP-GAN', 'FGSM', *_ITERATIVE_PRINTED)}; HGD "
        f"{_says('001.T1', 'HGD', 'FGSM', *_ITERATIVE_PRINTED)} (IV-B, Table I)",
        where={**_rows("transfer", epsilon=BUDGET), "attack": _GRADIENT},
        judge=Best(
            line=CAP_GAN,
            others=[JPEG, THERMOMETER, APE_GAN, HGD, TRAINED],
            groups=_BY_ATTACK,
            along=(),
            expected=tuple((name,) for name in _GRADIENT),
            near=True,
        ),
        needs=FULL_WIDTH,
        reason="small profiles narrow CAP-GAN more than its rivals.",
    ),
    _claim(
        id="thermometer_weak_to_iterations",
        text="The thermometer withstands one step, but not several.",
        says=f"{_says('001.T1', 'THM', 'FGSM', 'MI-FGSM_20', 'PGD_40')} (IV-B, Table I)",
        where={**_rows("transfer", epsilon=BUDGET), "attack": ("fgsm", "mi_fgsm", "pgd_40")},
        judge=Everywhere(
            pairs=[
                (
                    THERMOMETER.under(f"{_ATTACKS[name][1]} against FGSM", attack=name),
                    THERMOMETER.under(attack="fgsm"),
                )
                for name in ("mi_fgsm", "pgd_40")
            ],
            holds=Relation("lower by 20 points", lambda gain: gain <= -20),
            by=Axis("target", ""),
            key=lambda label, *place: label,
            expected=tuple(f"{_ATTACKS[name][1]} against FGSM" for name in ("mi_fgsm", "pgd_40")),
        ),
        needs=FULL_WIDTH,
        reason="a narrow classifier is misled by a single step as well.",
    ),
    _claim(
        id="published_parameters_best",
        text="CAP-GAN is best with α = 0.7 and T = 10.",
        says=f"{_says('001.T5', 'alpha=0.7,T=10.0', *_ITERATIVE_PRINTED)} (IV-E, Table V)",
        where={**_rows("transfer", epsilon=BUDGET), "attack": _ABLATED},
        judge=Best(
            line=_PUBLISHED,
            others=[*TEMPERATURES[:2], ALPHAS[0], ALPHAS[2]],
            groups=_BY_ATTACK,
            along=(),
            expected=tuple((name,) for name in _ABLATED),
            near=True,
        ),
        needs=FULL_WIDTH,
        reason="a few points part the settings, and fewer epochs leave all of them below.",
    ),
    _claim(
        id="bpda_falls_with_alpha",
        text="The more pixels weigh, the less is left under BPDA.",
        says=f"α 0.5, 0.7, 0.9: {table_value('001.T5', 'alpha=0.5,T=10.0', 'BPDA-I_40'):.2f}, "
        f"{table_value('001.T5', 'alpha=0.7,T=10.0', 'BPDA-I_40'):.2f}, "
        f"{table_value('001.T5', 'alpha=0.9,T=10.0', 'BPDA-I_40'):.2f} (IV-E, Table V)",
        where={**_rows("bpda", epsilon=BUDGET), "attack": "pgd_40"},
        judge=Order(lines=[ALPHAS[2], ALPHAS[1], ALPHAS[0]], partly=2),
        needs=ANY_SIZE,
        reason="an order among networks of one width and one training.",
    ),
    _claim(
        id="semantics_needed",
        text="The semantic loss raises accuracy under attack.",
        says=f"L_pixel {_says('001.T6', 'L_pixel', 'MI-FGSM_20', 'BPDA-I_40')}; with L_sem "
        f"{_says('001.T6', 'L_pixel+L_sem', 'MI-FGSM_20', 'BPDA-I_40')} (IV-E, Table VI)",
        where=_ABLATION_ROWS,
        judge=_raises(PIXEL_SEMANTIC, PIXEL),
        needs=ANY_SIZE,
        reason="an order among networks of one width and one training.",
    ),
    _claim(
        id="attention_alone_lowers",
        text="The attention loss alone lowers accuracy under attack.",
        says=f"L_pixel {_says('001.T6', 'L_pixel', *_ITERATIVE_PRINTED)}; with L_cam "
        f"{_says('001.T6', 'L_pixel+L_cam', *_ITERATIVE_PRINTED)} (IV-E, Table VI)",
        where={**_rows("transfer", epsilon=BUDGET), "attack": _ABLATED},
        judge=Everywhere(
            pairs=[(PIXEL_CAM, PIXEL)],
            holds=BELOW,
            by=_BY_ATTACK,
            expected=_ABLATED,
        ),
        needs=FULL_WIDTH,
        reason="by a few points in print, which narrow networks need not follow.",
    ),
    _claim(
        id="cycles_help",
        text="Cycles raise accuracy under attack.",
        says=f"without {_says('001.T6', 'CAP-GAN w/o Cyc', 'PGD_40', 'BPDA-I_40')}; with "
        f"{_says('001.T6', 'CAP-GAN', 'PGD_40', 'BPDA-I_40')} (IV-E, Table VI)",
        where=_ABLATION_ROWS,
        judge=_raises(WHOLE, NO_CYCLE),
        needs=FULL_WIDTH,
        reason="by a few points in print, which narrow networks need not follow.",
    ),
    _claim(
        id="attacks_break_features_not_pixels",
        text="An attack takes from images the neighbours of their class by logits.",
        says="hard to observe discernible changes of pixels, significantly hurt logits "
        "(I, Figure 1)",
        where={"metric": "neighbours_of_class", "target": TARGET, "epsilon": (0.0, LARGE_BUDGET)},
        judge=Everywhere(
            pairs=[
                (
                    Line("by logits", {"space": "logits", "attack": "fgsm"}),
                    Line("clean", {"space": "logits", "attack": "none"}),
                ),
            ],
            holds=BELOW,
            by=Axis("target", ""),
            key=lambda label, *place: label,
            expected=("by logits",),
            beside=[
                (
                    Line("by pixels", {"space": "pixels", "attack": "fgsm"}),
                    Line("clean", {"space": "pixels", "attack": "none"}),
                )
            ],
        ),
        needs=ANY_SIZE,
        reason="both spaces are of the same images and one classifier.",
    ),
)
