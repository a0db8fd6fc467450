"""What the PuVAE paper prints, by data set, attack and defense."""

from __future__ import annotations

from results.paper import printed_table, table_value, text_value, text_words
from results.puvae_cells import TARGETED, Cell, Entrant

SEED = "004"
#: The white-box table of each data set.
WHITE_BOX = {"mnist": "004.T3", "fashion_mnist": "004.T4", "cifar10": "004.T5"}
_COLUMNS = {
    "none": "No Defense",
    "adversarial_training": "Adv. Tr.",
    "magnet": "MagNet",
    "defense_gan": "Defense-GAN",
    "puvae": "PuVAE",
}
_ATTACKS = dict(zip(("FGSM", "iFGSM", "CW"), TARGETED, strict=True))


def printed_cells(experiment: str, dataset: str) -> dict[Cell, float]:
    """The accuracies that Tables 3 to 5 print.

    Why MagNet's stand at the reformer: the paper takes the reformer alone (sec. V).

    **Reference**: PuVAE, Tables 3 to 5; the values of Table 6 are lost.

    Args:
        experiment: Identifier such as `"004.T3"`.
        dataset: Name of the data set.

    Returns:
        Fractions by cell, the bare classifier's on clean images among them; empty for another
        data set than the table's, and for Table 6.
    """
    if WHITE_BOX.get(dataset) != experiment:
        return {}
    table = printed_table(experiment)
    found = {}
    for cells in table["rows"]:
        line = dict(zip(table["columns"], cells, strict=True))
        target = f"puvae_{line['Classifier'].lower()}"
        attack = _ATTACKS[line["Attack"].split(" ")[0]]
        found[Cell(target, "none", Entrant("none"))] = line["No Attack"] / 100
        for defense, column in _COLUMNS.items():
            found[Cell(target, attack, Entrant(defense))] = line[column] / 100
    return found


def printed_seconds(dataset: str) -> dict[str, float]:
    """The seconds that Table 7 prints for 128 MNIST images.

    **Reference**: PuVAE, Table 7.

    Args:
        dataset: Name of the data set.

    Returns:
        Seconds by defense; empty for any other than MNIST.
    """
    return _table_7("Time (seconds)") if dataset == "mnist" else {}


def printed_ratios() -> dict[str, float]:
    """The times of Table 7 as multiples of PuVAE's, which hold for any machine and data set.

    **Reference**: PuVAE, Table 7.

    Returns:
        Ratios by defense.
    """
    return _table_7("Ratio")


def _table_7(row: str) -> dict[str, float]:
    names = ("magnet", "defense_gan", "puvae")
    return {name: table_value("004.T7", row, _COLUMNS[name]) for name in names}


def printed_in_time(dataset: str) -> dict[str, dict[str, float]]:
    """The accuracies within one second that Table 8 prints.

    Why MagNet and Defense-GAN are missing: the table survives with one line of numbers for both.

    **Reference**: PuVAE, Table 8.

    Args:
        dataset: Name of the data set.

    Returns:
        `{defense: {attack: fraction}}`; empty for any other than MNIST.
    """
    if dataset != "mnist":
        return {}
    return {
        name: {
            attack: table_value("004.T8", _COLUMNS[name], column) / 100
            for column, attack in _ATTACKS.items()
        }
        for name in ("adversarial_training", "puvae")
    }


def time_limit() -> float:
    """Seconds that Figure 9 and Table 8 allow for a batch of 128 images.

    **Reference**: PuVAE, sec. V-D.
    """
    return text_value(SEED, "V-D", "time limit")


def printed_search() -> tuple[int, int]:
    """Restarts and steps of the paper's Defense-GAN.

    **Reference**: PuVAE, sec. V-B.
    """
    steps, restarts = (
        int(part)
        for part in text_words(SEED, "V-B", "Defense-GAN iterations, candidates").split(",")
    )
    return restarts, steps


def best_ratio() -> float:
    """λ_KL as a multiple of λ_RC where the paper finds PuVAE best.

    **Reference**: PuVAE, sec. V-A ("1:10").
    """
    one, _, ten = text_words(SEED, "V-A", "best ratio lambda_RC:lambda_KL").partition(":")
    return float(ten) / float(one)
