"""The files that keep rows: one CSV per profile and data set, ``raw/<profile>/<dataset>.csv``.

Why CSV and not a database: the rows are committed, so a difference between two runs must be
readable as a difference between two lines. Rows are sorted by what they measure and floats written
so that they read back to the same bits: two equal runs give the same bytes but for the ``seconds``
column. A lock lets several runs write into one folder.
"""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from filelock import FileLock

from results.files import write_atomically
from results.row import COLUMNS, Place, Row, settings_from_text, settings_text

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
#: What a cell is read by; all others are text.
_READ: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("epsilon", "value", "seconds"), float),
    **dict.fromkeys(("correct", "total"), lambda cell: int(cell) if cell else None),
    "seed": int,
    "settings": settings_from_text,
    "flags": lambda cell: tuple(cell.split(";")) if cell else (),
}
_LINE_REMEDY = "Restore the file from version control, or delete the line and measure it again."
_FILE_REMEDY = (
    "Restore the file from version control or delete it; its rows are then measured again."
)
_LOCK_SECONDS = 60


class RowStore:
    """The rows of one profile.

    Adding is idempotent, atomic and locked: a row that is there is kept as it is, one that an
    earlier configuration left at the same place is replaced, a run killed at any moment leaves
    every file whole, and two runs on one folder lose nothing.

    Args:
        root: The folder that holds ``raw/``.
        profile: Name of the profile, for example ``"quick"``.

    Raises:
        ValueError: If the profile's name cannot be a folder; from every method, if a file is
            damaged, with file and line, or a data set's name cannot be a file's.
    """

    def __init__(self, root: str | Path, profile: str) -> None:
        self.root = Path(root)
        self.profile = _file_name("profile", profile)
        self._cache: dict[Path, tuple[tuple[int, int], dict[Place, Row]]] = {}

    @property
    def folder(self) -> Path:
        """Where this profile's files lie."""
        return self.root / "raw" / self.profile

    def path(self, dataset: str) -> Path:
        """The file of one data set, whether or not it exists."""
        return self.folder / f"{_file_name('data set', dataset)}.csv"

    def get(self, place: Place) -> Row | None:
        """The row that is stored at a place, or None."""
        return self._load(self.path(place.dataset)).get(place)

    def has(self, row: Row) -> bool:
        """Whether this measurement is there, made under the same configuration."""
        stored = self.get(row.place)
        return stored is not None and stored.config_hash == row.config_hash

    def add(self, rows: Iterable[Row]) -> int:
        """Stores rows of any data sets; those that are there already are left as they are.

        Returns:
            How many were new.

        Raises:
            OSError: If the folder cannot be written to, or stays locked by another run.
        """
        by_dataset: dict[str, list[Row]] = {}
        for row in rows:
            by_dataset.setdefault(row.dataset, []).append(row)
        added = 0
        for dataset, new in sorted(by_dataset.items()):
            path = self.path(dataset)
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / f".{dataset}.lock", timeout=_LOCK_SECONDS):
                fresh = [row for row in new if not self.has(row)]
                if fresh:
                    merged = self._load(path) | {row.place: row for row in fresh}
                    write_atomically(path, _encode(merged[place] for place in sorted(merged)))
                    self._cache.pop(path, None)
            added += len(fresh)
        return added

    def read(self, dataset: str | None = None, seed: int | None = None) -> list[Row]:
        """Rows in their stable order; none if nothing has been measured.

        Args:
            dataset: One data set, or None for all of the profile.
            seed: Only rows of this seed; None takes all.
        """
        paths = sorted(self.folder.glob("[!.]*.csv")) if dataset is None else [self.path(dataset)]
        rows = {place: row for path in paths for place, row in self._load(path).items()}
        return [rows[place] for place in sorted(rows) if seed in (None, place.seed)]

    def _load(self, path: Path) -> dict[Place, Row]:
        try:
            status = path.stat()
        except FileNotFoundError:
            return {}
        stamp = (status.st_mtime_ns, status.st_size)
        if path not in self._cache or self._cache[path][0] != stamp:
            if not path.is_file():
                raise ValueError(
                    f"{path}: expected a file of rows, received a folder. Move it away."
                )
            self._cache[path] = (stamp, _decode(path.read_bytes(), path))
        return self._cache[path][1]


def _file_name(what: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"Expected the {what} to be letters, digits and . _ - (it names a file), received "
            f"{name!r}."
        )
    return name


def _cells(row: Row) -> list[str]:
    cells = {name: getattr(row, name) for name in COLUMNS}
    cells |= {"settings": settings_text(row.settings), "flags": ";".join(row.flags)}
    texts = {name: cell if isinstance(cell, str) else repr(cell) for name, cell in cells.items()}
    return ["" if cells[name] is None else texts[name] for name in COLUMNS]


def _encode(rows: Iterable[Row]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *map(_cells, rows)])
    return text.getvalue().encode("utf-8")


def _split(line: str, place: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error as error:
        raise ValueError(
            f"{place}: expected a line of cells, received {error}. {_LINE_REMEDY}"
        ) from None


def _decode(content: bytes, path: Path) -> dict[Place, Row]:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: expected UTF-8 text, received {error}. {_FILE_REMEDY}"
        ) from error
    lines = text.split("\n")
    remainder = lines.pop()
    header = lines[0].split(",") if lines else []
    if tuple(header) != COLUMNS:
        unknown = sorted(set(header) - set(COLUMNS))
        missing = [column for column in COLUMNS if column not in header]
        raise ValueError(
            f"{path}, line 1: expected the columns {','.join(COLUMNS)}; unknown {unknown}, missing "
            f"{missing}{'' if unknown or missing else ', order changed'}. {_FILE_REMEDY}"
        )
    if remainder:
        # Every line is written with its line end, so what follows the last one was cut off.
        warnings.warn(
            f"{path}, line {len(lines) + 1}: the file ends in the middle of a line; the line is "
            "dropped and will be measured again.",
            stacklevel=2,
        )
    rows: dict[Place, Row] = {}
    for number, line in enumerate(lines[1:], start=2):
        at = f"{path}, line {number}"
        row = _decode_line(_split(line, at), at)
        if row.dataset != path.stem:
            raise ValueError(
                f"{at}: expected rows of {path.stem!r} only, received one of {row.dataset!r}. Move "
                "it to that data set's file."
            )
        if row.place in rows:
            raise ValueError(
                f"{at}: expected each measurement once, received a second row for "
                f"{tuple(row.place)}. Delete one of the two lines."
            )
        rows[row.place] = row
    return rows


def _decode_line(cells: list[str], at: str) -> Row:
    if len(cells) != len(COLUMNS):
        raise ValueError(
            f"{at}: expected {len(COLUMNS)} cells, received {len(cells)}. {_LINE_REMEDY}"
        )
    given = dict(zip(COLUMNS, cells, strict=True))
    try:
        row = Row(**{name: _READ.get(name, str)(cell) for name, cell in given.items()})
    except ValueError as error:
        raise ValueError(f"{at}: {error} {_LINE_REMEDY}") from error
    written = dict(zip(COLUMNS, _cells(row), strict=True))
    changed = [
        f"{name} {given[name]!r} (would be {written[name]!r})"
        for name in COLUMNS
        if given[name] != written[name]
    ]
    if changed:
        raise ValueError(
            f"{at}: expected every value as it is written, received {', '.join(changed)}. "
            f"{_LINE_REMEDY}"
        )
    return row
