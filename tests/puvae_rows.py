"""Rows of made-up measurements of the PuVAE paper for the tests of `results`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from results.rows import Row, make_flags
from tests.synthetic_rows import accuracy_row, row

TARGETED = ("targeted_fgsm", "targeted_bim", "targeted_carlini_wagner")
PAIRS = {"cifar10": ("puvae_c", "puvae_d")}
#: Accuracies under the three attacks, as Table 3 prints them for its first classifier.
TABLE_3 = {
    "none": (0.12, 0.0, 0.0),
    "adversarial_training": (0.79, 0.92, 0.19),
    "magnet": (0.27, 0.72, 0.19),
    "defense_gan": (0.85, 0.87, 0.90),
    "puvae": (0.81, 0.92, 0.91),
}
WHOLE = (0.6, 0.8, 0.5)
ITSELF = (0.7, 0.5, 0.05)
#: Accuracies by what the attacker knows, as Figure 8 shows them.
OBLIVIOUS = {"none": 0.95, "targeted_fgsm": 0.85, "pgd": 0.75}
ADAPTIVE = {
    "targeted_fgsm": {"argmin": 0.83, "softmin": 0.84, "worst": 0.81},
    "pgd": {"argmin": 0.5, "softmin": 0.4, "worst": 0.35},
}
#: Seconds and accuracies by the number of latent vectors searched, as Figure 9 shows them.
SEARCHES = {
    25: (0.4, (0.3, 0.5, 0.6)), 50: (1.0, (0.5, 0.4, 0.7)), 100: (1.6, (0.8, 0.8, 0.8)),
}  # fmt: skip
#: Accuracies by the three loss weights.
TRIPLES = {(0.01, 0.1, 10.0): 0.8, (1.0, 0.01, 10.0): 0.3, (0.01, 0.01, 10.0): 0.6}


def pair_of(dataset: str) -> tuple[str, str]:
    """The two classifiers of a data set."""
    return PAIRS.get(dataset, ("puvae_a", "puvae_b"))


def budget(attack: str, dataset: str = "mnist") -> float:
    """The epsilon of an attack's rows."""
    if attack == "none":
        return 0.0
    if attack == "targeted_carlini_wagner":
        return 1.0
    return 0.06 if dataset == "cifar10" else 0.3


def puvae_row(
    value: float, defense: str, attack: str, *, target: str = "puvae_a", dataset: str = "mnist",
    flags: Mapping[str, object] | None = None, warnings: Sequence[str] = (), **changes: object,
) -> Row:  # fmt: skip
    """An accuracy row of the paper."""
    fields: dict[str, object] = {
        "experiment": "004.T3", "classifier": target,
        "threat_model": "none" if attack == "none" else "oblivious", **changes,
    }  # fmt: skip
    return accuracy_row(
        value, defense=defense, attack=attack, dataset=dataset, epsilon=budget(attack, dataset),
        flags=make_flags({"target": target, **(flags or {})}, warnings), **fields,
    )  # fmt: skip


def defense_rows(
    accuracy: Mapping[str, Sequence[float]] | None = None, *, dataset: str = "mnist",
    targets: Sequence[str] | None = None, whole: Sequence[float] | None = None,
    itself: Sequence[float] | None = None, clean: float | None = 0.95, **changes: object,
) -> list[Row]:  # fmt: skip
    """Tables 3 to 6, `{defense: accuracies under the three attacks}`, equal for both targets."""
    pair = pair_of(dataset)
    rows = []
    for target in targets or pair:
        source = {"source": next(name for name in pair if name != target)}
        lines = [
            (name, values, source if name == "puvae" else {}, {})
            for name, values in (TABLE_3 if accuracy is None else accuracy).items()
        ]
        if whole:
            lines.append(("magnet", whole, {"detectors": True}, {}))
        if itself:
            adaptive = {"threat_model": "adaptive"}
            lines.append(("adversarial_training", itself, {}, adaptive))
        for name, values, flags, further in lines:
            common = {"target": target, "dataset": dataset, "flags": flags, **changes}
            if clean is not None and not further:
                common_clean = {k: v for k, v in common.items() if k != "threat_model"}
                rows.append(puvae_row(clean, name, "none", **common_clean))
            rows += [
                puvae_row(value, name, attack, **{**common, **further})
                for attack, value in zip(TARGETED, values, strict=True)
            ]
    return rows


def table_3(**changes) -> list:
    """All that Table 3 may hold."""
    return defense_rows(whole=WHOLE, itself=ITSELF, **changes)


def knowledge_rows(
    oblivious: Mapping[str, float], adaptive: Mapping[str, Mapping[str, float]], *,
    dataset: str = "mnist", **changes: object,
) -> list[Row]:  # fmt: skip
    """Figure 8: `{attack: accuracy}` and `{attack: {surrogate: accuracy}}`."""
    source, target = pair_of(dataset)
    common = {"experiment": "004.F8", "target": target, "dataset": dataset, **changes}
    flags = {"source": source}
    rows = [puvae_row(0.99, "none", "none", **common)]
    for attack, value in oblivious.items():
        rows.append(puvae_row(value, "puvae", attack, flags=flags, **common))
        if attack != "none":
            rows.append(puvae_row(0.1, "none", attack, **common))
    return rows + [
        puvae_row(value, "puvae", attack, flags={**flags, "surrogate": name, "eot": 4},
                  threat_model="adaptive", **common)
        for attack, found in adaptive.items()
        for name, value in found.items()
    ]  # fmt: skip


def seconds_row(value: float, defense: str, *, metric: str = "seconds", **changes: object) -> Row:
    """A time."""
    fields: dict[str, object] = {
        "experiment": "004.T7", "dataset": "mnist", "flags": "images=128;repeats=5", **changes,
    }  # fmt: skip
    return row(
        value=value, metric=metric, defense=defense, classifier="none", attack="none", epsilon=0.0,
        threat_model="none", correct=None, total=None, **fields,
    )  # fmt: skip


def seconds_rows(
    magnet: float | None = 0.01, defense_gan: float | None = 14.8, puvae: float | None = 0.11,
    floor: float | None = 0.1, search: tuple[int, int] = (20, 200), **changes: object,
) -> list[Row]:  # fmt: skip
    """Table 7."""
    common = {"images": 128, "repeats": 5}
    searched = {**common, "restarts": search[0], "steps": search[1]}
    wanted = [
        (magnet, "magnet", common, "seconds"), (defense_gan, "defense_gan", searched, "seconds"),
        (puvae, "puvae", common, "seconds"), (floor, "puvae", common, "seconds_floor"),
    ]  # fmt: skip
    return [
        seconds_row(value, name, metric=metric, flags=make_flags(flags), **changes)
        for value, name, flags, metric in wanted
        if value is not None
    ]


def time_rows(
    searches: Mapping[int, tuple[float, Sequence[float]]], *,
    puvae: tuple[float, Sequence[float]] = (0.11, (0.81, 0.92, 0.91)),
    magnet: tuple[float, Sequence[float]] = (0.01, (0.27, 0.72, 0.19)),
    hardened: Sequence[float] | None = (0.79, 0.92, 0.19), target: str = "puvae_a",
    **changes: object,
) -> list[Row]:  # fmt: skip
    """Figure 9: `{steps: (seconds, accuracies under the three attacks)}` of Defense-GAN."""
    common: dict[str, object] = {"experiment": "004.F9", **changes}
    settings: list[tuple[str, float | None, Sequence[float], dict[str, object]]] = [
        ("magnet", *magnet, {}), ("puvae", *puvae, {}),
        *(("defense_gan", *found, {"restarts": 20, "steps": steps})
          for steps, found in searches.items()),
    ]  # fmt: skip
    if hardened:
        settings.append(("adversarial_training", None, hardened, {}))
    rows = []
    for name, seconds, values, flags in settings:
        if seconds is not None:
            own = make_flags({"target": target, **flags})
            rows.append(seconds_row(seconds, name, **{**common, "flags": own}))
        rows += [
            puvae_row(value, name, attack, target=target, flags=flags, images=128, **common)
            for attack, value in zip(TARGETED, values, strict=True)
        ]
    return rows


def coefficient_rows(
    accuracy: Mapping[tuple[float, float, float], float], **changes: object
) -> list[Row]:
    """Figure 7: `{(reconstruction, kl, cross-entropy): accuracy}`."""
    return [
        puvae_row(value, "puvae", "targeted_fgsm", **{
            "experiment": "004.F7",
            "flags": {"source": "puvae_b", "reconstruction": f"{weights[0]:g}",
                      "kl": f"{weights[1]:g}", "cross_entropy": f"{weights[2]:g}"},
            **changes,
        })
        for weights, value in accuracy.items()
    ]  # fmt: skip
