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


def cells(table: str) -> list[list[str]]:
    """The cells of a Markdown table, its heading first; what stands below is left out."""
    lines = table.split("\n\n")[0].strip().splitlines()
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in [lines[0], *lines[2:]]]
