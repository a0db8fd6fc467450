"""Rows of made-up measurements for the tests of `results` and `papers`."""

from __future__ import annotations

from results.row import Row

CLEAN = {"attack": "none", "norm": "", "epsilon": 0.0, "threat_model": "none"}


def row(**changes: object) -> Row:
    """A plausible accuracy under attack with some fields changed."""
    fields: dict[str, object] = {
        "dataset": "cifar10",
        "defense": "sfl_vae",
        "decider": "vote",
        "attack": "fgsm",
        "norm": "linf",
        "epsilon": 0.1,
        "threat_model": "oblivious",
        "metric": "accuracy",
        "value": 0.8,
        "correct": 800,
        "total": 1000,
        "settings": {"target": "A"},
        "config_hash": "c0ffee",
        "seconds": 1.5,
    }
    return Row(**{**fields, **changes})  # type: ignore[arg-type]


def accuracy(value: float, *, images: int = 1000, voters: int = 1, **changes: object) -> Row:
    """An accuracy of so many images, or voters times images."""
    total = images * voters
    correct = round(value * total)
    return row(value=correct / total, correct=correct, total=total, **changes)


def clean(value: float, **changes: object) -> Row:
    """An accuracy on clean images."""
    return accuracy(value, **{**CLEAN, **changes})


def number(value: float, **changes: object) -> Row:
    """A number that is no accuracy, by default an L2 distance."""
    fields = {"metric": "l2", "decider": "none", "correct": None, "total": None, **changes}
    return row(value=value, **fields)


def of_larger_profiles() -> list[Row]:
    """One row of each kind that only profiles of full width measure."""
    noisy, pooled = "defense_cyclegan_noisy", ("sfl_vae", "defense_cyclegan")
    retrained = {"target": "A", "retrained": True}
    found = [
        accuracy(0.5, defense=defense, decider="target", settings=retrained)
        for defense in (*pooled, noisy, "vqunet_literal")
    ]
    found += [
        accuracy(0.5, defense=noisy, decider=decider, settings={"target": "A"})
        for decider in ("target", "vote", "vote_bayes")
    ]
    for defense in (*pooled, noisy):
        for attack in ("fgsm", "bim", "pgd", "carlini_wagner"):
            found += [
                number(0.1, defense=defense, metric="overruled", threat_model=threat, attack=attack)
                for threat in ("oblivious", "framework")
            ]
        settings = {"target": "A", "tables": "heldout"}
        found.append(number(0.1, defense=defense, metric="overruled", settings=settings))
    found.append(number(4.0, settings={"target": "A", "sfl_weight": 10.0, "mean_latent": False}))
    split = {"split": "validation", "target": "wide_resnet"}
    for defense in ("vqunet", "vqunet_literal", "vqunet_reconstruction"):
        found.append(number(90.0, **CLEAN, defense=defense, metric="l1", settings=split))
        for settings in (split, {**split, "retrained": True}):
            found.append(clean(0.5, defense=defense, decider="target", settings=settings))
    native = {"attack": "carlini_wagner_native", "norm": "l2", "epsilon": 1.0, "defense": "none"}
    found.append(number(1.5, **native))
    found.append(accuracy(0.0, decider="target", **native))
    settings = {"target": "puvae_a"}
    found.append(accuracy(0.5, defense="puvae_noisy", decider="target", settings=settings))
    found.append(accuracy(0.5, defense="class_means", decider="class_means", settings=settings))
    return found


def cells(table: str) -> list[list[str]]:
    """The cells of a Markdown table, its heading first; what stands below is left out."""
    lines = table.split("\n\n")[0].strip().splitlines()
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in [lines[0], *lines[2:]]]
