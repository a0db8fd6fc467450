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


class Printed(NamedTuple):
    """A printed value for a figure: where it is (`epsilon` None: everywhere) and how to call it."""

    label: str
    epsilon: float | None
    value: float


@functools.cache
def _tables() -> list[dict]:
    path = Path(__file__).with_name("paper_values.json")
    return json.loads(path.read_text(encoding="utf-8"))["tables"]


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
    known = []
    for table in _tables():
        if table["id"] != "text" or table["seed"] != seed:
            continue
        for row in table["rows"]:
            if row[0] == where and row[1] == quantity:
                match = _NUMBER.search(str(row[2]))
                if match:
                    return float(match.group())
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


def printed_accuracy(dataset: str, threat_model: str = "oblivious") -> list[Printed]:
    """What the dissertation's text prints for the accuracy curves of chapter 3.

    The curves themselves survive as pictures without numbers; these are the anchors in the text.

    **Reference**: Dissertation, sec. 3.4.3.

    Args:
        dataset: Name of the data set.
        threat_model: The text speaks of the oblivious figures only.

    Returns:
        Printed values as fractions; empty where nothing is printed.
    """
    name = DATASET_NAMES.get(dataset)
    if name is None or threat_model != "oblivious":
        return []
    clean = text_value("003", "3.4.3", f"clean accuracy of proposed, {name}")
    about = "about " if dataset == "cifar10" else ""
    printed = [Printed(f"printed: {about}{clean:g} % clean, full method", 0.0, clean / 100)]
    if dataset == "fashion_mnist":
        floor = text_value("003", "3.4.3", "Fashion-MNIST accuracy floor")
        printed.append(
            Printed(f"printed: above {floor:g} % throughout, full method", None, floor / 100)
        )
    return printed
