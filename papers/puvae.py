"""PuVAE: purifying by the nearest reconstruction of a conditional VAE.

**Reference**: PuVAE, sec. V (Figures 4 to 9, Tables 3 to 8).

**Differs from the paper**:

* Figures 4 and 5: beside the purified image the candidates and their distances are shown; the
  attacked classifier, which the captions do not name, is the first of the pair.
* Figure 7: the image is the first of the test split; the accuracy under attack stands beside it,
  and in profiles of full width that of clean images, which a heavier divergence costs.
* Tables 3 to 6: clean accuracies are behind each defense, where the paper gives the bare
  classifier's. The adversarially trained classifier meets the images made on the undefended one, as
  the purifiers do, and also its own. The paper's MagNet is the reformer alone, so its numbers stand
  there; MagNet is also given whole. The numbers of Table 6 are lost; how its substitute is learnt
  is not printed, see ``attacks.substitute``; the attacker's own images are of the validation split.
* Figure 8: beside one FGSM step through the chosen candidate, the attacker also has PGD, a mixture
  of the candidates through which the choice itself has a gradient, the images that ignore PuVAE,
  the worst of these three image by image, and gradients averaged over the purifier's noise.
* Table 7: all networks are of the papers' widths, whatever the profile, and not trained, as a time
  does not depend on weights. PuVAE stands twice: as printed, in ten full passes, and as it purifies
  here, sharing what does not depend on the class. Printed seconds are of another machine; ratios
  compare.
* Figure 9 and Table 8: the target is the first of the pair, whose numbers Table 8 repeats;
  adversarial training, which purifies nothing, has no time. Times, of a batch of 128, are of the
  profile's networks, accuracies of all images; times beyond the limit are shown too.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from papers import lines
from papers.listed import ARCHITECTURE, DIAGRAM, copies, unmeasured
from results.claims import ANY_SIZE, FULL_WIDTH, Claim
from results.evidence import EACH_ATTACK
from results.exhibit import (
    ABSENT,
    PALETTE,
    PRESENT,
    Axis,
    Bars,
    Derived,
    Exhibit,
    Grid,
    Line,
    Look,
    Pictures,
    Probe,
    Scatter,
    alternatives,
    matches,
)
from results.judges import ABOVE, BELOW, Best, Everywhere, Ratio, Relation
from results.markdown import NOTHING, bare_percent, markdown_table, percent, seconds
from results.printed import printed_rows, printed_values, table_value, text_value, text_words
from results.sheet import Point, Sheet, SheetLine, point

TITLE = "PuVAE"
SUMMARY = (
    "Claims that the nearest of ten reconstructions beats MagNet, equals Defense-GAN at a 130th "
    "of its time, and that knowing it hardly helps an attacker."
)

TARGETED = ("targeted_fgsm", "targeted_bim", "targeted_carlini_wagner")
TARGETS = ("puvae_a", "puvae_b", "puvae_c", "puvae_d")
#: Budgets by data set; Carlini-Wagner has none.
EPSILONS = {"cifar10": (0.06,), "": (0.3,)}
#: The white-box table of each data set.
WHITE_BOX = {"mnist": "004.T3", "fashion_mnist": "004.T4", "cifar10": "004.T5"}
#: The first and the second classifier of each pair; figures of one classifier attack one of these.
_FIRST, _SECOND = ("puvae_a", "puvae_c"), ("puvae_b", "puvae_d")
_FGSM = {"defense": "puvae", "attack": "targeted_fgsm"}
_FIRST_FGSM = {**_FGSM, "targets": _FIRST, "epsilon": EPSILONS}
#: What purifiers of Table 7 and of the search over time share.
BATCH = 128
#: Accuracies on as many images as usual, with the published loss weights and numbers of steps.
_USUAL = {"metric": "accuracy", "reconstruction": ABSENT, "steps": ABSENT, "fresh": ABSENT}

ATTACKS = {
    name: Line(label, {"attack": name})
    for name, label in {
        "none": "no attack",
        "targeted_fgsm": "targeted FGSM, ε = {epsilon:g}",
        "targeted_bim": "targeted iFGSM, ε = {epsilon:g}",
        "targeted_carlini_wagner": "targeted Carlini–Wagner, no budget",
        "pgd": "PGD, ε = {epsilon:g}",
    }.items()
}
#: Beginnings of what the paper's tables call the attacks.
_PRINTED_ATTACKS = dict(zip(("FGSM", "iFGSM", "CW"), TARGETED, strict=True))


def _defense(label: str, key: str, hatch: str = "", **where: Any) -> Line:
    return Line(label, {"defense": key, **where}, lines.LOOKS[key]._replace(hatch=hatch))


UNDEFENDED = Line(
    "no defense", {"defense": "none"}, lines.LOOKS["none"]._replace(color=PALETTE["grey"])
)
#: On images made on the undefended classifier, or on itself.
TRAINED = _defense(
    "adversarial training",
    "adversarial_training",
    threat_model=("none", "oblivious", "transfer"),
)
TRAINED_ITSELF = _defense(
    "adversarial training, attacked itself",
    "adversarial_training",
    "xxxxx",
    threat_model="adaptive",
)
MAGNET = _defense("MagNet, reformer alone", "magnet", detectors=ABSENT)
MAGNET_WHOLE = _defense("MagNet, whole", "magnet", "/////", detectors=True)
DEFENSE_GAN = _defense("Defense-GAN", "defense_gan")
PUVAE = _defense("PuVAE", "puvae")
#: Beside the paper: what a PuVAE that saw noise has, and what no network at all has.
PUVAE_NOISY = _defense(lines.NAMES["puvae_noisy"], "puvae_noisy", "/////")
CLASS_MEANS = _defense(lines.NAMES["class_means"], "class_means", ".....")
DEFENSES = (
    UNDEFENDED,
    TRAINED,
    TRAINED_ITSELF,
    MAGNET,
    MAGNET_WHOLE,
    DEFENSE_GAN,
    PUVAE,
    PUVAE_NOISY,
    CLASS_MEANS,
)
#: Columns in print; the paper takes MagNet's reformer alone (sec. V).
_HEADINGS = {
    UNDEFENDED.label: "No Defense",
    TRAINED.label: "Adv. Tr.",
    MAGNET.label: "MagNet",
    DEFENSE_GAN.label: "Defense-GAN",
    PUVAE.label: "PuVAE",
}


# -- Tables 3 to 6 --------------------------------------------------------------------------------

_REFUSED = "MagNet, whole: an attacked image that it refuses counts as handled."
_MAGNET_NOTE = (
    "MagNet, whole: an image that its detectors refuse counts as handled if attacked, else as "
    "an error. An attacker who knows MagNet has to pass the detectors too, which is not measured "
    "here."
)
#: One step with the true labels teaches a classifier to hide its gradient from that step.
_MASKED = (
    "Adversarial training in one step with true labels masks gradients: of its two columns, and of "
    "one step and several, read the lower number."
)


#: What stands beside the accuracies of Tables 3 to 5, each of its own metric.
_SHARES = {
    "attack reached its goal": {"metric": "attack_success", "defense": "none"},
    "on adversarial training": {"metric": "attack_success", "defense": "adversarial_training"},
    "MagNet, whole, refused": {"metric": "refused", "defense": "magnet"},
    "PuVAE, y* is the true class": {"metric": "chosen_class", "defense": "puvae"},
    "PuVAE with noise, y* is the true class": {
        "metric": "chosen_class",
        "defense": "puvae_noisy",
    },
}
_SHARE_METRICS = tuple(dict.fromkeys(where["metric"] for where in _SHARES.values()))


def _beside(sheet: Sheet) -> str:
    """A table of what is no accuracy, at the lines of which something was measured."""
    found = [row for row in sheet.rows if row.metric in _SHARE_METRICS]
    shown = {
        label: where for label, where in _SHARES.items() if any(matches(r, where) for r in found)
    }
    body = []
    for panel, attack in itertools.product(sheet.exhibit.panels, ATTACKS.values()):
        own = [row for row in found if matches(row, panel.where) and matches(row, attack.where)]
        if own:
            behind = [[row for row in own if matches(row, where)] for where in shown.values()]
            label = f"{panel.label}, {attack.label.format(epsilon=own[0].epsilon)}"
            body.append([label, *(bare_percent(point(rows)) for rows in behind)])
    return markdown_table(["share of images (%)", *shown], body).rstrip("\n") if body else ""


def _defense_table(
    id: str, title: str, dataset: str, attacks: Sequence[str], note: str, **declared: Any
) -> Exhibit:
    """A table of all defenses, a block for each target."""
    return Exhibit(
        id=id,
        title=f"accuracy of the defenses, targeted attacks on {title}",
        datasets=(dataset,),
        corner="accuracy (%)",
        panels=[Line(lines.TARGETS[name], {"target": name}) for name in TARGETS],
        lines=[ATTACKS[name] for name in attacks],
        columns=[column.under(metric="accuracy") for column in DEFENSES],
        draw=Bars(),
        notes=[lambda sheet: f"{_MAGNET_NOTE} {note} {_MASKED} {lines.BOUNDLESS}", _beside],
        **declared,
    )


def _printed_white_box(table_id: str, dataset: str) -> dict[tuple[str, str], float | str]:
    if WHITE_BOX.get(dataset) != table_id:
        return {}
    clean, attacked = {}, {}
    for cells in printed_rows(table_id):
        letter, attack = cells["Classifier"], cells["Attack"]
        name = lines.TARGETS[f"puvae_{letter.lower()}"]
        ours = ATTACKS[_PRINTED_ATTACKS[attack.split(" ")[0]]].label
        clean[f"{name}, {ATTACKS['none'].label}"] = letter
        attacked[f"{name}, {ours}"] = (letter, attack)
    return {
        **printed_values(table_id, clean, {UNDEFENDED.label: "No Attack"}, digits=2),
        **printed_values(table_id, attacked, _HEADINGS, digits=2),
    }


def _grid(threat: str, attacks: tuple[str, ...], defenses: tuple[str, ...], **more: Any) -> Grid:
    given = {"targets": TARGETS, **more}
    return Grid(threat=threat, attacks=attacks, epsilons=EPSILONS, defenses=defenses, **given)


_COMPARED = (
    "none",
    "adversarial_training",
    "magnet",
    "defense_gan",
    "puvae",
    "puvae_noisy",
)
_DECIDERS = ("target", "detectors")


def _white_box(table_id: str, dataset: str) -> Exhibit:
    """Tables 3 to 5."""
    attacked = {**_USUAL, "target": TARGETS}
    return _defense_table(
        table_id,
        f"the target ({lines.DATASETS[dataset]})",
        dataset,
        ("none", *TARGETED),
        "Attacked itself: on images made on the adversarially trained classifier, not on the "
        "undefended one.",
        measures=(
            _grid("oblivious", ("none", *TARGETED), _COMPARED, deciders=_DECIDERS),
            _grid("adaptive", TARGETED, ("adversarial_training",)),
            _grid("oblivious", ("none", *TARGETED), ("class_means",), fair=True),
            Probe("attack_success", {"targets": TARGETS, "attacks": TARGETED}, fair=True),
            Probe(
                "chosen_class",
                {
                    "defenses": ("puvae", "puvae_noisy"),
                    "targets": TARGETS,
                    "attacks": ("none", *TARGETED),
                    "epsilons": EPSILONS,
                },
                fair=True,
            ),
        ),
        where=[
            {**attacked, "threat_model": ("none", "oblivious")},
            {**attacked, "threat_model": "adaptive", "defense": "adversarial_training"},
            {
                "metric": _SHARE_METRICS,
                "target": TARGETS,
                "threat_model": ("none", "oblivious", "adaptive"),
            },
        ],
        printed=functools.partial(_printed_white_box, table_id),
        bracketed=True,
        caveat=f"{_REFUSED} Attacked itself: on images made on that classifier.",
    )


_BLACK_BOX = _defense_table(
    "004.T6",
    "a substitute (transfer)",
    "fashion_mnist",
    TARGETED,
    "The attacked substitute learnt from the labels that the target gave.",
    measures=(_grid("transfer", TARGETED, _COMPARED, deciders=_DECIDERS),),
    where={
        **_USUAL,
        "metric": ("accuracy", *_SHARE_METRICS),
        "target": TARGETS,
        "threat_model": "transfer",
    },
    caveat=_REFUSED,
)


# -- Figure 8 -------------------------------------------------------------------------------------

OBLIVIOUS = Line(
    "PuVAE, oblivious",
    {"defense": "puvae", "metric": "accuracy", "surrogate": ABSENT},
    PUVAE.look,
)


def _adaptive(label: str, surrogate: str, color: str, hatch: str = "", **where: Any) -> Line:
    where = {"defense": "puvae", "metric": "accuracy", "surrogate": surrogate, **where}
    return Line(f"adaptive, {label}", where, Look(PALETTE[color], hatch=hatch))


_COST_ERROR = "accuracy_gain_standard_error"
#: The images that ignore PuVAE, as many as the attacker who knows it has.
IGNORING = _adaptive("images that ignore it", "oblivious", "blue", "xxxxx")
WORSE = _adaptive("the worse of the two", "worst", "vermillion", "/////", worst_of=ABSENT)
WORST = _adaptive("the worst of the three", "worst", "vermillion", worst_of=PRESENT)


def _cost(sheet: Sheet, line: SheetLine) -> str:
    """What the attacker's knowledge costs, in percentage points, by the worst attack.

    The interval of 95 % is that of the difference image by image. Where it was not measured, the
    worst of the gradients is held against all oblivious images, as if the two were independent.
    """
    worst, plain = line.points.get(WORST), line.points.get(IGNORING)
    errors = [row.value for row in line.rows if row.metric == _COST_ERROR]
    if worst is not None and plain is not None and errors:
        error = 1.96 * fmean(errors)
    else:
        worst, plain = line.points.get(WORSE), line.points.get(OBLIVIOUS)
        if worst is None or plain is None:
            return NOTHING
        error = math.hypot(worst.half_width, plain.half_width)
    return f"{100 * (plain.value - worst.value):.1f} ± {100 * error:.1f}"


def _fewer_images(sheet: Sheet) -> str:
    """Says so where the adaptive attacker had other images than the oblivious one."""
    counts: dict[bool, set[int]] = {True: set(), False: set()}
    for row in sheet.rows:
        if row.attack != "none" and row.distinct_images is not None:
            counts[row.threat_model == "adaptive"].add(row.distinct_images)
    if not all(counts.values()) or counts[True] == counts[False]:
        return ""
    few, many = (" or ".join(f"{n:,}" for n in sorted(counts[known])) for known in (True, False))
    return f"The adaptive attacker had {few} images, the oblivious one {many}."


_KNOWLEDGE = Exhibit(
    id="004.F8",
    title="accuracy of PuVAE when the attacker knows it",
    datasets=tuple(WHITE_BOX),
    measures=(
        _grid("oblivious", ("none", "targeted_fgsm", "pgd"), ("none", "puvae"), targets=_SECOND),
        _grid(
            "adaptive",
            ("targeted_fgsm", "pgd"),
            ("puvae",),
            targets=_SECOND,
            surrogates=("argmin", "softmin"),
        ),
    ),
    where={
        **_USUAL,
        "metric": ("accuracy", _COST_ERROR),
        "target": _SECOND,
        "defense": ("none", "puvae"),
        "threat_model": ("none", "oblivious", "adaptive"),
    },
    corner="accuracy (%)",
    lines=tuple(ATTACKS[name] for name in ("none", "targeted_fgsm", "pgd")),
    columns=(
        UNDEFENDED.under("no defense, oblivious"),
        OBLIVIOUS,
        _adaptive("through the choice", "argmin", "orange", "/////"),
        _adaptive("through a mixture", "softmin", "purple", "....."),
        IGNORING,
        WORSE,
        WORST,
        Derived("cost of knowledge", _cost),
    ),
    notes=(_fewer_images,),
    draw=Bars(numbers=True),
    caveat="PuVAE was trained with the other classifier of the pair; adaptive gradients are means "
    "over several draws of its noise. The worst of the three is image by image: an attacker who "
    "knows PuVAE may still send the images that ignore it.",
)


#: Draws of PuVAE's noise that each image of the supplement meets.
_FRESH = 10
_IN_EVERY_DRAW = {"metric": "worst_draw", "fresh": PRESENT}
_DRAWS = Exhibit(
    id="004.S1",
    title="accuracy of PuVAE over ten fresh draws when the attacker knows it",
    datasets=tuple(WHITE_BOX),
    measures=(
        Probe(
            "fresh_draws",
            {
                "defenses": ("puvae",),
                "targets": _SECOND,
                "attacks": ("targeted_fgsm", "pgd"),
                "epsilons": EPSILONS,
                "surrogate": "softmin",
                "num_draws": _FRESH,
            },
        ),
    ),
    where=[
        {"metric": "accuracy", "target": _SECOND, "fresh": _FRESH},
        {**_IN_EVERY_DRAW, "target": _SECOND},
    ],
    corner="share of images (%)",
    lines=tuple(ATTACKS[name] for name in ("none", "targeted_fgsm", "pgd")),
    columns=(
        Line("read rightly, mean of ten draws", {"metric": "accuracy"}, Look(PALETTE["blue"])),
        Line(
            "read rightly in every draw", _IN_EVERY_DRAW, Look(PALETTE["vermillion"], hatch="/////")
        ),
    ),
    draw=Bars(ylabel="images (%)", numbers=True),
    caveat="Not in the paper. An attacker may send an image again, so that what counts is what is "
    "read rightly in every draw; clean images show what the noise alone costs.",
)


# -- Figure 7 -------------------------------------------------------------------------------------


def kl_share(reconstruction: float, kl: float) -> float:
    """λ_KL as a multiple of λ_RC, free of the rounding of the two."""
    return round(kl / reconstruction, 9) if reconstruction else math.inf


def _weight(label: str, name: str) -> Derived:
    return Derived(label, lambda sheet, line: f"{line.rows[0].settings[name]:g}")


def _ratio_of_weights(sheet: Sheet, line: SheetLine) -> str:
    settings = line.rows[0].settings
    return f"1:{kl_share(float(settings['reconstruction']), float(settings['kl'])):g}"


_WEIGHTS = Exhibit(
    id="004.F7",
    title="an attacked image as every class, for some triples of loss weights",
    datasets=("mnist",),
    measures=(
        Probe("loss_weights", _FIRST_FGSM),
        Probe("trade_off", _FIRST_FGSM, fair=True),
    ),
    where={
        **_FGSM,
        "metric": "accuracy",
        "reconstruction": PRESENT,
        "attack": ("none", _FGSM["attack"]),
        "threat_model": ("none", "oblivious"),
    },
    corner="λ_RC",
    lines=(
        Axis(
            ("reconstruction", "kl", "cross_entropy"),
            "{0:g}",
            order=lambda weights: (kl_share(*weights[:2]), weights),
        ),
    ),
    columns=(
        _weight("λ_KL", "kl"),
        _weight("λ_CE", "cross_entropy"),
        Derived("λ_RC : λ_KL", _ratio_of_weights),
        Line("accuracy (%)", {"attack": _FGSM["attack"]}),
        # The two are one trade-off: a heavier divergence buys the one with the other.
        Line("without attack (%)", {"attack": "none"}),
    ),
    draw=Pictures(),
)


# -- Table 7, Figure 9 and Table 8 ----------------------------------------------------------------

_SECONDS = "seconds"
_SEARCH = {"defense": "defense_gan", "steps": PRESENT}
_OBLIVIOUS_FIRST = {
    **_USUAL,
    "target": "puvae_a",
    "threat_model": "oblivious",
    "attack": TARGETED,
}
_IN_TIME = [
    {
        **_OBLIVIOUS_FIRST,
        "defense": ("adversarial_training", "magnet", "puvae"),
        "detectors": ABSENT,
    },
    {**_OBLIVIOUS_FIRST, **_SEARCH},
]


_ANY_MAGNET = _defense("MagNet", "magnet")


def _searches(label: str) -> Axis:
    """A line for each search of Defense-GAN; all are one path of a figure, hence of one look."""
    looks = (lines.LOOKS["defense_gan"],) * 24
    return Axis(("restarts", "steps"), label, where=_SEARCH, looks=looks)


def _printed_seconds(row: str, label: str, *datasets: str) -> Derived:
    """A line of Table 7 as printed, on some data sets alone or on any."""

    def text(sheet: Sheet, column: Line) -> str:
        (where,) = alternatives(column.where)
        defense = where.get("defense")
        elsewhere = datasets and sheet.dataset not in datasets
        # Print has the full passes; nothing is printed of sharing their work.
        if defense is None or elsewhere or where.get("passes") is ABSENT:
            return NOTHING
        return f"{table_value('004.T7', row, lines.NAMES[defense]):g}"

    return Derived(label, text)


def _ratio(label: str, over: str, defense: str = "") -> Derived:
    """Seconds as a multiple of another line's, of the same defense or of one."""

    def text(sheet: Sheet, column: Line) -> str:
        own, other = sheet.point(_SECONDS, column.label), sheet.point(over, defense or column.label)
        if own is None or other is None or other.value == 0:
            return NOTHING
        return f"{own.value / other.value:.3g}"

    return Derived(label, text)


def _on_a_line(sheet: Sheet) -> str:
    """Says so where a search was timed over some of its steps."""
    timed = (row.settings.get("timed_steps") for row in sheet.rows)
    steps = {number for number in timed if isinstance(number, int)}
    return "".join(
        f"Defense-GAN was timed over {number // 2} and {number} steps; its seconds are on the line "
        "through the two."
        for number in sorted(steps)
    )


def _all_images(sheet: Sheet) -> str:
    """Says so where searches had fewer images than the others."""
    counts = sorted({row.distinct_images for row in sheet.rows if row.distinct_images})
    if len(counts) < 2:
        return ""
    few, many = counts[0], counts[-1]
    return f"Searches of Defense-GAN had {few:,} images, the others {many:,}."


#: PuVAE in one full pass for each class, and sharing what does not depend on it.
_PASSES = PUVAE.under("PuVAE, ten full passes", passes=PRESENT)
_SHARED = PUVAE.under("PuVAE, shared work", passes=ABSENT)

_TIMES = Exhibit(
    id="004.T7",
    title="seconds to purify 128 images, networks of full width",
    datasets=("mnist",),
    measures=(Probe("seconds", {"images": BATCH}),),
    where={"metric": "seconds", "target": ABSENT, "width": PRESENT},
    corner=f"{BATCH} images",
    lines=(
        Line(_SECONDS, {"metric": "seconds"}),
        _printed_seconds("Time (seconds)", "seconds, printed", "mnist"),
        _ratio("ratio to ten full passes", _SECONDS, _PASSES.label),
        _ratio("ratio to shared work", _SECONDS, _SHARED.label),
        _printed_seconds("Ratio", "ratio to PuVAE, printed"),
    ),
    columns=(
        _ANY_MAGNET,
        _searches("Defense-GAN ({steps} steps from {restarts} starts)"),
        _PASSES,
        _SHARED,
    ),
    cell=seconds,
    notes=(_on_a_line,),
)

_TIMED_COLUMNS = {
    # The columns' headings, unlike labels of lines, are not filled in; MNIST has one budget.
    name: Line(
        ATTACKS[name].label.format(epsilon=0.3),
        {"metric": "accuracy", "attack": name},
        Look(PALETTE[color]),
    )
    for name, color in zip(TARGETED, ("blue", "vermillion", "green"), strict=True)
}


def time_limit() -> float:
    """Seconds that Figure 9 and Table 8 allow for a batch of 128 images (sec. V-D)."""
    return text_value("004", "V-D", "time limit")


def _printed_in_time(dataset: str) -> dict[tuple[str, str], float | str]:
    """Table 8; its line of MagNet and Defense-GAN, which is one for both, is left out."""
    if dataset != "mnist":
        return {}
    headings = {_TIMED_COLUMNS[name].label: attack for attack, name in _PRINTED_ATTACKS.items()}
    rows = {line.label: _HEADINGS[line.label] for line in (TRAINED, PUVAE)}
    return printed_values("004.T8", rows, headings, digits=2)


def _within_limit(sheet: Sheet) -> str:
    """Table 8: the best that each defense reaches within the limit."""
    columns = [column for column in sheet.measured_columns if column.label != _SECONDS]
    best: dict[str, dict[Line, Point]] = {}
    for line in sheet.panels[0].lines:
        name = line.label.split(", ")[0]
        own = best.setdefault(name, {})
        time = sheet.point(line.label, _SECONDS)
        # What purifies nothing takes no time of its own.
        late = name != TRAINED.label and (time is None or time.value > time_limit())
        for column in columns:
            found = line.points.get(column)
            if found and not late and (column not in own or found.value > own[column].value):
                own[column] = found
    printed = _printed_in_time(sheet.dataset)

    def text(name: str, column: Line) -> str:
        brackets = f" ({value})" if (value := printed.get((name, column.label))) else ""
        return percent(best[name].get(column)) + brackets

    header = ["accuracy (%)", *(column.label for column in columns)]
    table = markdown_table(header, [[name, *(text(name, c) for c in columns)] for name in best])
    note = (
        "\nIn brackets: as printed. MagNet and Defense-GAN share one printed line, which is left "
        "out."
    )
    heading = f"**Within {time_limit():g} second (Table 8)**"
    return f"{heading}\n\n{table}{note if printed else ''}".rstrip("\n")


_ACCURACY_AGAINST_TIME = Exhibit(
    id="004.F9",
    title="accuracy against the seconds that 128 images take",
    datasets=("mnist",),
    measures=(
        _grid(
            "oblivious",
            TARGETED,
            ("adversarial_training", "magnet", "puvae"),
            targets=_FIRST,
        ),
        Probe(
            "accuracy_against_time",
            {"targets": _FIRST, "attacks": TARGETED, "epsilon": EPSILONS, "images": BATCH},
        ),
    ),
    where=[{"metric": "seconds", "target": "puvae_a"}, *_IN_TIME],
    corner="accuracy (%)",
    lines=(
        TRAINED,
        _ANY_MAGNET,
        _searches("Defense-GAN, {steps} steps from {restarts} starts"),
        PUVAE,
    ),
    columns=(Line(_SECONDS, {"metric": "seconds"}, cell=seconds), *_TIMED_COLUMNS.values()),
    notes=(_within_limit, lambda sheet: lines.BOUNDLESS, _all_images),
    draw=Scatter(
        x=_SECONDS,
        xlabel="seconds for the batch (log)",
        limit=(f"the paper's limit, {time_limit():g} s", time_limit()),
        point="{steps} steps",
    ),
    caveat="Not drawn, as it purifies nothing: adversarial training.",
)


# -------------------------------------------------------------------------------------------------


def _projections(number: int, dataset: str) -> Exhibit:
    """Figures 4 and 5."""
    return Exhibit(
        id=f"004.F{number}",
        title="clean, attacked and purified images",
        datasets=(dataset,),
        measures=(Probe("projections", _FIRST_FGSM),),
        draw=Pictures(),
    )


EXHIBITS: tuple[Exhibit, ...] = (
    *unmeasured(
        "004", {"F1": "overview", "F2": "training", "F3": "inference", "F6": "structure"}, DIAGRAM
    ),
    *unmeasured("004", {"T1": "classifiers", "T2": "PuVAE"}, ARCHITECTURE),
    _projections(4, "mnist"),
    _projections(5, "fashion_mnist"),
    _WEIGHTS,
    *(_white_box(table_id, dataset) for dataset, table_id in WHITE_BOX.items()),
    _BLACK_BOX,
    _KNOWLEDGE,
    _DRAWS,
    _TIMES,
    _ACCURACY_AGAINST_TIME,
    *copies("004", {"T8": ("accuracy within one second", ["004.F9"])}),
)


# -- Claims ---------------------------------------------------------------------------------------
#
# Every target of a table stands for itself, as in print. MagNet is its reformer alone and
# adversarial training meets the images made on the undefended classifier, since these are what the
# paper compares with.

_claim = functools.partial(Claim, heading="PuVAE", datasets=("mnist",), needs=FULL_WIDTH)
_RIVALS = (TRAINED, MAGNET, DEFENSE_GAN)
_SHORT = {name: attack for attack, name in _PRINTED_ATTACKS.items()}
_GREY, _COLOUR = ("puvae_a", "puvae_b"), ("puvae_c", "puvae_d")
_ITERATIVE = TARGETED[1:]
#: The divergence and the reconstruction are weighted by powers of ten, and by more than in print.
_WEIGHT_GRID = (0.001, 0.01, 0.1, 1, 10)
_WEIGHT_PAIRS = (*itertools.product(_WEIGHT_GRID, repeat=2), (0.01, 0.2), (0.01, 0.8))
_OTHER_WIDTHS = (
    "small profiles narrow PuVAE more than its rivals, and its accuracy moves by tens of points "
    "with the width of the classifier behind it."
)
_OTHER_DEVICE = (
    "all networks are of the papers' widths, but small profiles are for a processor, where a large "
    "network costs more against a small one than on the paper's GPU."
)
_OTHER_NETWORKS = (
    "a time grows with the width of a network, and small profiles narrow each of them differently."
)


def _target_words(target: str, attack: str = "") -> str:
    return " ".join([lines.TARGETS[target].split(" ")[0], *([_SHORT[attack]] if attack else [])])


_PLACES = Axis(
    ("target", "attack"), _target_words, order=lambda place: (place[0], TARGETED.index(place[1]))
)
_BY_TARGET = Axis("target", _target_words)


def _table_rows(targets: tuple[str, ...], threat: str = "oblivious") -> list[dict[str, object]]:
    """Rows of one of Tables 3 to 6, all attacks."""
    rows = {**_USUAL, "target": targets, "attack": TARGETED}
    itself = {**rows, "threat_model": "adaptive", "defense": "adversarial_training"}
    return [{**rows, "threat_model": threat}, itself]


#: Claims on Tables 3 and 4, and on Table 5.
_of_grey = functools.partial(_claim, where=_table_rows(_GREY), reason=_OTHER_WIDTHS)
_of_colour = functools.partial(
    _claim, where=_table_rows(_COLOUR), datasets=("cifar10",), reason=_OTHER_WIDTHS
)


def _weakness(line: Line, words: str = "") -> list[tuple[Line, Line]]:
    """A defense under Carlini-Wagner beside itself under the two other attacks."""
    return [
        (
            line.under(f"CW against {_SHORT[attack]}{words}", attack=TARGETED[2]),
            line.under(attack=attack),
        )
        for attack in TARGETED[:2]
    ]


#: At every line of a table of the two grey targets.
_everywhere = functools.partial(
    Everywhere,
    by=_PLACES,
    key=lambda label, *place: place,
    expected=tuple(itertools.product(_GREY, TARGETED)),
)
#: The best of all defenses at every line of a table.
_best = functools.partial(Best, line=PUVAE, others=_RIVALS, groups=_PLACES, along=())


def _printed(table_id: str, line: Line) -> list[float]:
    """A defense's printed accuracies under attack."""
    return [float(cells[_HEADINGS[line.label]]) for cells in printed_rows(table_id)]


def _printed_range(table_id: str, other: Line) -> str:
    """PuVAE's gains over another defense in print."""
    values = zip(_printed(table_id, PUVAE), _printed(table_id, other), strict=True)
    gains = [mine - theirs for mine, theirs in values]
    return f"{min(gains):+.1f} to {max(gains):+.1f}"


def _printed_words(table_id: str, line: Line) -> str:
    values = zip(printed_rows(table_id), _printed(table_id, line), strict=True)
    return ", ".join(
        f"{cells['Classifier']} {cells['Attack'].split(' ')[0]} {value:.1f}"
        for cells, value in values
    )


def _printed_spread(table_id: str) -> str:
    values = [value for line in (*_RIVALS, PUVAE) for value in _printed(table_id, line)]
    return f"{min(values):.1f} to {max(values):.1f} %"


def _printed_best(table_id: str) -> str:
    """At how many lines PuVAE is the best in print."""
    rivals = zip(*(_printed(table_id, line) for line in _RIVALS), strict=True)
    mine = _printed(table_id, PUVAE)
    best = sum(own > max(others) for own, others in zip(mine, rivals, strict=True))
    return f"the best at {best} of {len(mine)} lines"


def _times_as_long(id: str, text: str, says: str, over: Line, under: Line, printed: float) -> Claim:
    """One defense takes so many times the seconds of another."""
    names = (over.label.split(",")[0], under.label.split(",")[0])
    times = [table_value("004.T7", "Time (seconds)", name) for name in names]
    # As printed: ten full passes. What sharing their work does is not the paper's claim.
    return _claim(
        id=id,
        text=text,
        says=f"{says} times: {times[0]:g} against {times[1]:g} s (V-D, Table 7)",
        where={"metric": "seconds", "target": ABSENT, "width": PRESENT},
        judge=Ratio(over=over, under=under, printed=printed, unit="s"),
        reason=_OTHER_DEVICE,
    )


_STEPS, _RESTARTS = (
    int(part) for part in text_words("004", "V-B", "Defense-GAN iterations, candidates").split(",")
)
_GAN_SEARCH = Line(
    f"Defense-GAN, {_STEPS} steps from {_RESTARTS} starts",
    {"defense": "defense_gan", "restarts": _RESTARTS, "steps": _STEPS},
)
_GAN_RATIO = table_value("004.T7", "Ratio", "Defense-GAN")
_MAGNET_RATIO = 1 / table_value("004.T7", "Ratio", "MagNet")
_LOW = [(line, 60) for line in (*_RIVALS, PUVAE)]

CLAIMS: tuple[Claim, ...] = (
    _claim(
        id="puvae_best_weights",
        text="PuVAE is best where the weights of reconstruction and KL term are as 1 to 10.",
        says="the best performance at 1:10 (V-A, Figure 7)",
        where={**_USUAL, "reconstruction": PRESENT, "attack": "targeted_fgsm"},
        judge=Best(
            line=Line("1:10", {"reconstruction": 0.01, "kl": 0.1}),
            others=[
                Line(f"1:{share:g}", {"reconstruction": reconstruction, "kl": kl})
                for reconstruction, kl in _WEIGHT_PAIRS
                if (share := kl_share(reconstruction, kl)) != 10
            ],
            needed=Line(
                "a ratio above 1:10",
                [
                    {"reconstruction": reconstruction, "kl": kl}
                    for reconstruction, kl in _WEIGHT_PAIRS
                    if kl_share(reconstruction, kl) > 10
                ],
            ),
            groups=EACH_ATTACK,
            along=(),
            near=True,
        ),
        needs=ANY_SIZE,
        reason="all triples share the classifier, the width, the images and the epochs.",
    ),
    _of_grey(
        id="puvae_above_magnet",
        text="PuVAE is above MagNet under every attack.",
        says=f"above on all the attacks, by {_printed_range('004.T3', MAGNET)} points "
        "(V-B, Table 3)",
        judge=_everywhere(
            pairs=[(PUVAE, MAGNET)],
            holds=ABOVE,
            beside=[(PUVAE.under("against MagNet, whole"), MAGNET_WHOLE)],
        ),
    ),
    _of_grey(
        id="puvae_near_defense_gan",
        text="PuVAE is comparable to Defense-GAN.",
        says=f"comparable, by {_printed_range('004.T3', DEFENSE_GAN)} points (V-B, Table 3)",
        judge=_everywhere(
            pairs=[(PUVAE, DEFENSE_GAN)],
            holds=Relation("within 5 points", lambda gain: abs(gain) <= 5),
        ),
    ),
    _of_grey(
        id="adversarial_training_weak_to_cw",
        text="Adversarial training withstands FGSM and iFGSM, but not Carlini–Wagner.",
        says=f"very low under CW: {_printed_words('004.T3', TRAINED)} (V-B, Table 3)",
        judge=Everywhere(
            pairs=_weakness(TRAINED),
            holds=Relation("lower by 20 points under CW", lambda gain: gain <= -20),
            by=_BY_TARGET,
            expected=_GREY,
            beside=_weakness(TRAINED_ITSELF, ", attacked itself"),
        ),
        reason="what adversarial training withstands depends on the capacity of the classifier.",
    ),
    _of_grey(
        id="puvae_best_iterative",
        text="PuVAE is the best under iFGSM and Carlini–Wagner.",
        says="the best before both targets: PuVAE "
        f"{_printed_words('004.T4', PUVAE)}; Defense-GAN {_printed_words('004.T4', DEFENSE_GAN)} "
        "(V-B, Table 4)",
        where=[{**rows, "attack": _ITERATIVE} for rows in _table_rows(_GREY)],
        judge=_best(expected=tuple(itertools.product(_GREY, _ITERATIVE))),
        datasets=("fashion_mnist",),
    ),
    _of_colour(
        id="puvae_all_low",
        text="On CIFAR-10 the accuracy is low behind every defense.",
        says=f"overall low, from {_printed_spread('004.T5')} (V-B, Table 5)",
        judge=Everywhere(
            # The highest printed accuracy, 56.48 %, is low.
            pairs=_LOW,
            holds=BELOW,
            by=_PLACES,
            key=lambda label, *place: (label, *place),
            expected=tuple(itertools.product([line.label for line, _ in _LOW], _COLOUR, TARGETED)),
        ),
        reason="a small profile is low whatever the defense.",
    ),
    _of_colour(
        id="puvae_mostly_best",
        text="PuVAE is the best under various attacks.",
        says=f"{_printed_best('004.T5')} (V-B, Table 5)",
        judge=_best(expected=tuple(itertools.product(_COLOUR, TARGETED)), most=True),
    ),
    _of_grey(
        id="puvae_black_box",
        text="Attacked through a substitute, Defense-GAN is better under FGSM, PuVAE under iFGSM "
        "and Carlini–Wagner.",
        says="Defense-GAN better under FGSM, PuVAE under iFGSM and CW (V-B; Table 6 is lost)",
        where=_table_rows(_GREY, "transfer"),
        judge=_everywhere(
            pairs=[
                (DEFENSE_GAN.under(attack=TARGETED[0]), PUVAE.under(attack=TARGETED[0])),
                (PUVAE.under(attack=_ITERATIVE), DEFENSE_GAN.under(attack=_ITERATIVE)),
            ],
            holds=ABOVE,
        ),
        datasets=("fashion_mnist",),
    ),
    _claim(
        id="knowing_puvae_hardly_helps",
        text="Knowing PuVAE hardly helps the attacker.",
        says="accuracy slightly decreased, or even increased, under FGSM (V-C, Figure 8)",
        where={
            **_USUAL,
            "target": _SECOND,
            "attack": ("targeted_fgsm", "pgd"),
            "threat_model": "adaptive",
        },
        judge=Everywhere(
            pairs=[(WORST.under("the worst attack, image by image"), IGNORING)],
            holds=Relation("at most 5 points lower", lambda gain: gain >= -5),
            by=EACH_ATTACK,
            # The paper attacks PuVAE by one FGSM step; an attack of many steps says more.
            expected=("targeted_fgsm", "pgd"),
        ),
        datasets=("mnist", "fashion_mnist", "cifar10"),
        reason="points lost: where a small PuVAE reads little already, little is left to lose.",
    ),
    _times_as_long(
        "puvae_faster_than_defense_gan",
        "PuVAE is about 130 times faster than Defense-GAN.",
        f"{_GAN_RATIO:g}",
        _GAN_SEARCH,
        _PASSES,
        _GAN_RATIO,
    ),
    _times_as_long(
        "puvae_slower_than_magnet",
        "PuVAE is about 11 times slower than MagNet.",
        f"{_MAGNET_RATIO:.0f}",
        _PASSES,
        _ANY_MAGNET,
        _MAGNET_RATIO,
    ),
    _claim(
        id="puvae_ahead_within_limit",
        text="Within a second Defense-GAN stays below PuVAE.",
        says="unable to reach PuVAE's accuracy in the time limit (V-D, Figure 9 and Table 8)",
        where=_IN_TIME,
        judge=Best(
            line=PUVAE,
            others=[_searches("Defense-GAN, {steps} steps")],
            groups=_PLACES,
            along=(),
            words=f"accuracy (%) within {time_limit():g} s for the batch",
            expected=tuple(("puvae_a", attack) for attack in TARGETED),
            within=({"metric": "seconds", "target": "puvae_a"}, time_limit()),
            ties=True,
        ),
        reason=_OTHER_NETWORKS,
    ),
)
