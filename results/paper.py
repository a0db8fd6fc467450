"""What the publications print, from `paper_values.json`, as numbers that can be drawn."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import NamedTuple

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
#: Names of the data sets in print.
DATASET_NAMES = {"cifar10": "CIFAR-10", "fashion_mnist": "Fashion-MNIST"}
#: Columns of table 4.1 by registry key, in the table's order.
RECONSTRUCTION_COLUMNS = {
    "sfl_vae": "VAE",
    "defense_cyclegan": "Cyc",
    **{f"defense_cyclegan_{removed}": f"Cyc_{removed}" for removed in range(1, 5)},
}
_FILTERED_TABLES = {"cifar10": "003.T5.1a", "fashion_mnist": "003.T5.1b"}
_FILTERED_LINES = {
    "vqunet": "VQUNet",
    "defense_cyclegan": "Cycle_GAN",
    "sfl_vae": "HFL_VAE",
    "defense_vae": "Defense_VAE",
}


class Printed(NamedTuple):
    """A printed value for a figure: where it is (`epsilon` None: everywhere) and how to call it."""

    label: str
    epsilon: float | None
    value: float


@functools.cache
def _tables() -> list[dict]:
    path = Path(__file__).with_name("paper_values.json")
    return json.loads(path.read_text(encoding="utf-8"))["tables"]


def printed_table(table_id: str) -> dict:
    """An entry of `paper_values.json`.

    Args:
        table_id: For example `"004.T3"`.

    Returns:
        The entry, with its `columns` and `rows`.

    Raises:
        ValueError: If there is no such table.
    """
    for table in _tables():
        if table["id"] == table_id:
            return table
    known = sorted({table["id"] for table in _tables() if table["id"] != "text"})
    raise ValueError(f"No printed table {table_id!r}. Known tables: {known}.")


def text_value(seed: str, where: str, quantity: str) -> float:
    """A number that a publication quotes in its running text.

    Args:
        seed: Number of the publication, for example `"003"`.
        where: Section, for example `"3.4.3"`.
        quantity: As listed in `paper_values.json`.

    Returns:
        The first number of the printed value ("above 93" gives 93.0).

    Raises:
        ValueError: If nothing is listed under these names.
    """
    match = _NUMBER.search(text_words(seed, where, quantity))
    if match is None:
        raise ValueError(f"Expected a number for {where}: {quantity!r}, received words only.")
    return float(match.group())


def text_words(seed: str, where: str, quantity: str) -> str:
    """What a publication says of a quantity in its running text.

    Args:
        seed: Number of the publication, for example `"003"`.
        where: Section, for example `"4.4.3"`.
        quantity: As listed in `paper_values.json`.

    Returns:
        The printed words, such as `"97 Fashion-MNIST; 91 CIFAR-10"`.

    Raises:
        ValueError: If nothing is listed under these names.
    """
    known = []
    for table in _tables():
        if table["id"] != "text" or table["seed"] != seed:
            continue
        for row in table["rows"]:
            if row[0] == where and row[1] == quantity:
                return str(row[2])
            known.append(f"{row[0]}: {row[1]}")
    raise ValueError(
        f"No printed number for {where}: {quantity!r} in publication {seed!r}. Known: {known}."
    )


def table_value(table_id: str, row: str, column: str) -> float:
    """A number from a printed table.

    Args:
        table_id: For example `"003.T4.1"`.
        row: First cell of the row.
        column: Heading of the column.

    Returns:
        The number as printed.

    Raises:
        ValueError: If there is no such table, row or column, or the cell is empty.
    """
    for table in _tables():
        if table["id"] == table_id and column in table["columns"]:
            for cells in table["rows"]:
                value = cells[table["columns"].index(column)]
                if cells[0] == row and isinstance(value, (int, float)):
                    return float(value)
    known = sorted({table["id"] for table in _tables() if table["id"] != "text"})
    raise ValueError(
        f"No printed number in table {table_id!r}, row {row!r}, column {column!r}. "
        f"Known tables: {known}."
    )


def printed_accuracy(
    dataset: str, threat_model: str = "oblivious", chapter: int = 3, attack: str = ""
) -> list[Printed]:
    """What the dissertation's text prints for the accuracy curves of chapters 3 to 5.

    The curves themselves survive as pictures without numbers; these are the anchors in the text.

    **Reference**: Dissertation, secs. 3.4.3, 4.4.3, 4.5, 5.4.2 and 5.4.3.

    Args:
        dataset: Name of the data set.
        threat_model: The text speaks of the oblivious figures only, in chapter 5 of the mixed.
        chapter: 3, 4 or 5.
        attack: Registry key; one level of chapter 4 is not said of FGSM.

    Returns:
        Printed values as fractions; empty where nothing is printed.
    """
    name = DATASET_NAMES.get(dataset)
    if name is None or threat_model != ("mixed" if chapter == 5 else "oblivious"):
        return []
    about = "about " if dataset == "cifar10" else ""
    if chapter == 5:
        clean = printed_filtered(dataset)["vqunet"]
        printed = [Printed(f"printed: {clean:g} % clean, VQUNet", 0.0, clean / 100)]
        if dataset == "fashion_mnist":
            floor = text_value("003", "5.4.3", "VQUNet Fashion-MNIST floor")
            printed.append(_level(f"printed: at least {floor:g} % throughout, VQUNet", floor))
        return printed
    if chapter == 4:
        clean = printed_clean_of_cyclegan(dataset)
        printed = [Printed(f"printed: {clean:g} % clean, Defense-CycleGAN", 0.0, clean / 100)]
        if dataset == "fashion_mnist":
            floor = text_value("003", "4.5", "Fashion-MNIST accuracy range")
            words = f"printed: {floor:g} % or more throughout, Defense-CycleGAN"
            printed.append(_level(words, floor))
        elif attack != "fgsm":
            floor = text_value("003", "4.5", "CIFAR-10 under CW, PGD, BIM")
            printed.append(_level(f"printed: above {floor:g} %, Defense-CycleGAN", floor))
        return printed
    clean = text_value("003", "3.4.3", f"clean accuracy of proposed, {name}")
    printed = [Printed(f"printed: {about}{clean:g} % clean, SFL-VAE", 0.0, clean / 100)]
    if dataset == "fashion_mnist":
        floor = text_value("003", "3.4.3", "Fashion-MNIST accuracy floor")
        printed.append(_level(f"printed: above {floor:g} % throughout, SFL-VAE", floor))
    return printed


def _level(label: str, percent: float) -> Printed:
    return Printed(label, None, percent / 100)


def printed_clean_of_cyclegan(dataset: str) -> float:
    """Clean accuracy that chapter 4 prints for Defense-CycleGAN and for the bare classifier alike.

    **Reference**: Dissertation, sec. 4.4.3.

    Args:
        dataset: `"cifar10"` or `"fashion_mnist"`.

    Returns:
        Percent.

    Raises:
        ValueError: For another data set.
    """
    for name, printed in DATASET_NAMES.items():
        if name == dataset:
            both = text_words("003", "4.4.3", "proposed clean")
            for part in both.split(";"):
                number, _, where = part.strip().partition(" ")
                if where == printed:
                    return float(number)
    raise ValueError(
        f"Chapter 4 prints clean accuracies for {sorted(DATASET_NAMES)}, received {dataset!r}."
    )


def printed_reconstruction(dataset: str) -> dict[str, float]:
    """Mean L1 of clean reconstructions in table 4.1, by registry key.

    **Reference**: Dissertation, table 4.1. The data set is not named; its values are beyond what a
    blank image would cost on Fashion-MNIST, so it is taken to be CIFAR-10.

    Args:
        dataset: Name of the data set.

    Returns:
        In the table's order; empty for any other than CIFAR-10.
    """
    if dataset != "cifar10":
        return {}
    return {
        key: table_value("003.T4.1", "L1 Norm", column)
        for key, column in RECONSTRUCTION_COLUMNS.items()
    }


def printed_filtered(dataset: str) -> dict[str, float]:
    """Clean accuracy behind each purifier in table 5.1, by registry key, in percent.

    **Reference**: Dissertation, table 5.1.

    Args:
        dataset: Name of the data set.

    Returns:
        In the table's order, the bare classifier first as `"none"`; empty where nothing is
        printed.
    """
    if dataset not in _FILTERED_TABLES:
        return {}
    name = _FILTERED_TABLES[dataset]
    found = {"none": float(printed_table(name)["benign_accuracy"])}
    for key, line in _FILTERED_LINES.items():
        found[key] = table_value(name, line, "acc (filtered benign)")
    return found
