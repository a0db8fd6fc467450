"""The files that keep rows: one CSV per profile and experiment, `raw/<profile>/<experiment>.csv`.

Why CSV and not a database: the rows are committed, so a difference between two runs must be
readable as a difference between two lines. Rows are therefore sorted by their identity and floats
written so that they read back to the same bits: two equal runs give the same bytes but for the
`seconds` column. `Row` and its helpers live in `results.row` and are handed on from here.
"""

from __future__ import annotations

import csv
import io
import re
import warnings as python_warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from results.files import write_atomically
from results.flags import make_flags
from results.row import (
    COLUMNS,
    Row,
    RowKey,
    distinct_images,
    qualifier,
    qualifiers,
    row_key,
    warnings,
)

__all__ = [
    "COLUMNS", "Row", "RowKey", "RowStore", "distinct_images", "make_flags", "qualifier",
    "qualifiers", "read_rows", "row_key", "warnings",
]  # fmt: skip

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NUMBERS = {"epsilon", "value", "seconds"}
_INTEGERS = {"correct", "total", "seed"}


def _row_text(row: Row) -> list[str]:
    cells = (getattr(row, column) for column in COLUMNS)
    return ["" if cell is None else cell if isinstance(cell, str) else repr(cell) for cell in cells]


def _encode(rows: Iterable[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_row_text(row) for row in rows)
    return text.getvalue().encode("utf-8")


def _decode_line(cells: list[str], place: str) -> Row:
    if len(cells) != len(COLUMNS):
        raise ValueError(
            f"{place}: expected {len(COLUMNS)} cells, received {len(cells)}. Restore the file from "
            "version control, or delete the line and run the experiment again."
        )
    fields: dict[str, object] = {}
    for column, cell in zip(COLUMNS, cells, strict=True):
        try:
            if column in _NUMBERS:
                fields[column] = float(cell)
            elif column in _INTEGERS:
                fields[column] = int(cell) if cell or column == "seed" else None
            else:
                fields[column] = cell
        except ValueError:
            raise ValueError(
                f"{place}: expected a number in column {column!r}, received {cell!r}. Restore the "
                "file from version control, or delete the line and run the experiment again."
            ) from None
    try:
        return Row(**fields)  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _decode(content: bytes, path: Path) -> list[Row]:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: expected UTF-8 text, received {error}. Restore the file from version control "
            "or delete it; the experiment then runs again."
        ) from error
    lines = text.replace("\r\n", "\n").split("\n")
    remainder = lines.pop()
    header = lines[0].split(",") if lines else []
    if tuple(header) != COLUMNS:
        unknown = sorted(set(header) - set(COLUMNS))
        missing = [column for column in COLUMNS if column not in header]
        raise ValueError(
            f"{path}, line 1: expected the columns {','.join(COLUMNS)}; unknown {unknown}, missing "
            f"{missing}{'' if unknown or missing else ', order changed'}. Restore the file from "
            "version control or delete it; the experiment then runs again."
        )
    if remainder:
        # Every line is written with its line end, so what follows the last one was cut off.
        python_warnings.warn(
            f"{path}, line {len(lines) + 1}: the file ends in the middle of a line; the line is "
            "dropped and will be measured again.",
            stacklevel=2,
        )
    rows: dict[RowKey, Row] = {}
    for number, cells in enumerate(csv.reader(lines[1:]), start=2):
        row = _decode_line(cells, f"{path}, line {number}")
        if row.key in rows:
            raise ValueError(
                f"{path}, line {number}: expected each measurement once, received a second row for "
                f"{tuple(row.key)}. Delete one of the two lines."
            )
        rows[row.key] = row
    return list(rows.values())


class RowStore:
    """The rows of one profile.

    Adding is idempotent and atomic: a row that is there is kept as it is, and a run killed at any
    moment leaves every file whole.

    Args:
        root: The folder that holds `raw/`.
        profile: Name of the profile, for example `"quick"`.

    Raises:
        ValueError: If the profile's name cannot be a folder.
    """

    def __init__(self, root: str | Path, profile: str) -> None:
        self.root = Path(root)
        self.profile = _file_name("profile", profile)
        self._cache: dict[Path, tuple[tuple[int, int], dict[RowKey, Row]]] = {}

    @property
    def folder(self) -> Path:
        """Where this profile's files lie."""
        return self.root / "raw" / self.profile

    def path(self, experiment: str) -> Path:
        """The file of one experiment.

        Args:
            experiment: Identifier such as `"003.F3.6"`.

        Returns:
            Its path, whether or not it exists.

        Raises:
            ValueError: If the identifier cannot be a file name.
        """
        return self.folder / f"{_file_name('experiment', experiment)}.csv"

    def experiments(self) -> list[str]:
        """Identifiers of all experiments that have a file, sorted."""
        return sorted(path.name.removesuffix(".csv") for path in self.folder.glob("[!.]*.csv"))

    def has(self, key: RowKey | Row) -> bool:
        """Whether a measurement is there already.

        Args:
            key: `row_key(...)`, or a row.

        Returns:
            True if a row with this identity is stored.
        """
        key = key.key if isinstance(key, Row) else key
        return key in self._load(self.path(key.experiment))

    def get(self, key: RowKey) -> Row | None:
        """The stored row of an identity.

        Args:
            key: `row_key(...)`.

        Returns:
            The row, or None if it has not been measured.
        """
        return self._load(self.path(key.experiment)).get(key)

    def add(self, rows: Iterable[Row]) -> int:
        """Stores rows; those whose identity is there already are left as they are.

        Args:
            rows: Rows of any experiments.

        Returns:
            How many were new.

        Raises:
            ValueError: If a file on disk is damaged.
        """
        by_experiment: dict[str, list[Row]] = {}
        for row in rows:
            by_experiment.setdefault(row.experiment, []).append(row)
        added = 0
        for experiment, new in sorted(by_experiment.items()):
            path = self.path(experiment)
            merged = dict(self._load(path))
            before = len(merged)
            for row in new:
                merged.setdefault(row.key, row)
            if len(merged) > before:
                self._write(path, merged.values())
                added += len(merged) - before
        return added

    def discard(self, experiment: str, unwanted: Callable[[Row], bool]) -> int:
        """Removes rows, such as those of an outdated configuration.

        Args:
            experiment: Whose rows.
            unwanted: Says of a row whether it goes.

        Returns:
            How many were removed.
        """
        path = self.path(experiment)
        stored = self._load(path)
        kept = [row for row in stored.values() if not unwanted(row)]
        if len(kept) < len(stored):
            self._write(path, kept)
        return len(stored) - len(kept)

    def read(self, experiment: str | None = None) -> list[Row]:
        """Rows in their stable order.

        Args:
            experiment: One experiment, or None for all of the profile.

        Returns:
            Sorted rows; empty if nothing has been measured.

        Raises:
            ValueError: If a file is damaged; the message names file and line.
        """
        names = self.experiments() if experiment is None else [experiment]
        rows = [row for name in names for row in self._load(self.path(name)).values()]
        return sorted(rows, key=lambda row: row.key)

    def _load(self, path: Path) -> dict[RowKey, Row]:
        try:
            status = path.stat()
        except FileNotFoundError:
            return {}
        stamp = (status.st_mtime_ns, status.st_size)
        if path not in self._cache or self._cache[path][0] != stamp:
            rows = _decode(path.read_bytes(), path)
            for row in rows:
                if row.experiment != path.name.removesuffix(".csv"):
                    raise ValueError(
                        f"{path}: expected rows of experiment {path.stem!r} only, received one of "
                        f"{row.experiment!r}. Move it to that experiment's file."
                    )
            self._cache[path] = (stamp, {row.key: row for row in rows})
        return self._cache[path][1]

    def _write(self, path: Path, rows: Iterable[Row]) -> None:
        write_atomically(path, _encode(sorted(rows, key=lambda row: row.key)))
        self._cache.pop(path, None)


def read_rows(root: str | Path, profile: str, experiment: str | None = None) -> list[Row]:
    """The rows of a profile, for one who only reads.

    Args:
        root: The folder that holds `raw/`.
        profile: Name of the profile.
        experiment: One experiment, or None for all.

    Returns:
        Sorted rows.
    """
    return RowStore(root, profile).read(experiment)


def _file_name(what: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"Expected the {what} to be letters, digits and . _ - (it names a file), received "
            f"{name!r}."
        )
    return name
