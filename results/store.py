"""The files that keep rows: one CSV per profile and data set, ``raw/<profile>/<dataset>.csv``.

Why CSV and not a database: the rows are committed, so a difference between two runs must be
readable as a difference between two lines. Rows are sorted by what they measure and floats written
so that they read back to the same bits: two equal runs give the same bytes but for the ``seconds``
column. A lock lets several runs write into one folder. ``<dataset>.csv.sha256`` has the SHA-256 of
the file beside it, as ``sha256sum`` writes it, since nothing else tells an L2 of 0.15 from one that
was cut to 0.1; a file without one is taken as it is.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from results.files import locked, write_atomically
from results.row import COLUMNS, DATASETS, Place, Row, settings_from_text, settings_text
from validation import check_choice, check_file_name, check_integer


def _number(kind: type[int] | type[float]) -> Callable[[str], int | float]:
    def read(cell: str) -> int | float:
        try:
            return kind(cell)
        except ValueError:
            raise ValueError(f"Expected a number, received {cell!r}.") from None

    return read


#: What a cell is read by; all others are text.
_READ: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("epsilon", "value", "seconds"), _number(float)),
    **dict.fromkeys(("correct", "total"), lambda cell: _number(int)(cell) if cell else None),
    "seed": _number(int),
    "settings": settings_from_text,
    "flags": lambda cell: tuple(cell.split(";")) if cell else (),
}
_SUM = re.compile(r"^([0-9a-f]{64})  \S+$", re.MULTILINE)
_LINE_REMEDY = (
    "Restore the file from version control, or delete the line, and the .sha256 beside the file, "
    "and measure it again."
)
_FILE_REMEDY = (
    "Restore the file from version control or delete it; its rows are then measured again."
)


class RowStore:
    """The rows of one profile.

    Adding is idempotent, atomic and locked: a row that is there is kept as it is, one that an
    earlier configuration left at the same place is replaced, a run killed at any moment leaves
    every file whole, and two runs on one folder lose nothing.

    Args:
        root: The folder that holds ``raw/``.
        profile: Name of the profile, for example ``"quick"``.

    Raises:
        ValueError: If the profile's name cannot be a folder; from every method, if a file is not
            as it was written, with file and line, or a data set is unknown.
    """

    def __init__(self, root: str | Path, profile: str) -> None:
        self.root = Path(root)
        self.profile = check_file_name("the profile", profile)
        self._cache: dict[Path, tuple[tuple[int, int], dict[Place, Row]]] = {}

    @property
    def folder(self) -> Path:
        """Where this profile's files lie."""
        return self.root / "raw" / self.profile

    def path(self, dataset: str) -> Path:
        """The file of one data set, whether or not it exists."""
        return self.folder / f"{check_choice('the data set', dataset, DATASETS)}.csv"

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
            with locked(self.folder / f".{dataset}.lock"):
                fresh = [row for row in new if not self.has(row)]
                if fresh:
                    merged = self._load(path) | {row.place: row for row in fresh}
                    _write(path, _encode(merged[place] for place in sorted(merged)))
                    self._cache.pop(path, None)
            added += len(fresh)
        return added

    def read(self, dataset: str | None = None, seed: int | None = None) -> list[Row]:
        """Rows in their stable order.

        Args:
            dataset: One data set, or None for all of the profile.
            seed: Only rows of this seed; None takes all.

        Raises:
            ValueError: If nothing was ever measured of the profile, or of the data set; the message
                lists what there is.
        """
        if seed is not None:
            check_integer("seed", seed)
        known = sorted(path.stem for path in self._paths())
        if not known or dataset not in (None, *known):
            raise ValueError(self._nothing(dataset, known))
        paths = self._paths() if dataset is None else [self.path(dataset)]
        rows = {place: row for path in paths for place, row in self._load(path).items()}
        return [rows[place] for place in sorted(rows) if seed in (None, place.seed)]

    def has_any(self, dataset: str | None = None) -> bool:
        """Whether anything was measured of a data set, or of any.

        Args:
            dataset: One data set, or None for all of the profile.
        """
        return bool(self._paths() if dataset is None else self._load(self.path(dataset)))

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("[!.]*.csv"))

    def _nothing(self, dataset: str | None, known: list[str]) -> str:
        if dataset is not None and known:
            return (
                f"Expected rows of {check_choice('the data set', dataset, DATASETS)!r} under "
                f"{self.folder}, which has {', '.join(known)}. Measure it: python run_all.py "
                f"--profile {self.profile} --dataset {dataset}."
            )
        others = sorted({path.parent.name for path in self.root.glob("raw/*/[!.]*.csv")})
        return (
            f"Expected rows under {self.folder}, received none; under {self.folder.parent} there "
            f"are rows of {', '.join(others) or 'no profile'}. Name another folder or profile, or "
            f"measure this one: python run_all.py --profile {self.profile}."
        )

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
            content, intact = _read(path)
            rows = _decode(content, path)
            if not intact:
                raise ValueError(
                    f"{path}: expected the contents whose SHA-256 stands in {_beside(path).name}, "
                    f"received others. {_FILE_REMEDY} If you changed it on purpose, delete "
                    f"{_beside(path)}."
                )
            self._cache[path] = (stamp, rows)
        return self._cache[path][1]


def _beside(path: Path) -> Path:
    """The file with the sum of a file."""
    return path.with_name(f"{path.name}.sha256")


def _write(path: Path, content: bytes) -> None:
    """Writes a file and its sum; in between both sums are there, whichever file a kill leaves."""
    sums = [hashlib.sha256(content).hexdigest()]
    if path.is_file():
        former = hashlib.sha256(path.read_bytes()).hexdigest()
        write_atomically(_beside(path), _sum_lines(path, [former, *sums]))
    write_atomically(path, content)
    write_atomically(_beside(path), _sum_lines(path, sums))


def _sum_lines(path: Path, sums: Iterable[str]) -> bytes:
    return "".join(f"{one}  {path.name}\n" for one in sums).encode()


def _read(path: Path) -> tuple[bytes, bool]:
    """The contents of a file, and whether they have its sum, if it has one."""
    while True:
        content, sums = path.read_bytes(), _sums(path)
        if sums is None or hashlib.sha256(content).hexdigest() in sums:
            return content, True
        # Another run may have written one of the two in the meantime.
        if (content, sums) == (path.read_bytes(), _sums(path)):
            return content, False


def _sums(path: Path) -> list[str] | None:
    try:
        return _SUM.findall(_beside(path).read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return None


def _cells(row: Row) -> list[str]:
    cells = {name: getattr(row, name) for name in COLUMNS}
    cells |= {"settings": settings_text(row.settings), "flags": ";".join(row.flags)}
    texts = {name: cell if isinstance(cell, str) else repr(cell) for name, cell in cells.items()}
    return ["" if cells[name] is None else texts[name] for name in COLUMNS]


def _line(cells: Iterable[str]) -> str:
    """A line as it is written, without its end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def _encode(rows: Iterable[Row]) -> bytes:
    lines = [_line(COLUMNS), *(_line(_cells(row)) for row in rows)]
    return "".join(f"{line}\n" for line in lines).encode("utf-8")


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
    header = lines[0].split(",")
    if tuple(header) != COLUMNS:
        unknown = sorted(set(header) - set(COLUMNS))
        missing = [column for column in COLUMNS if column not in header]
        raise ValueError(
            f"{path}, line 1: expected the columns {','.join(COLUMNS)}; received unknown {unknown},"
            f" missing {missing}{'' if unknown or missing else ', order changed'}. {_FILE_REMEDY}"
        )
    if lines.pop():
        # Every line is written with its line end, so what follows the last one was cut off.
        raise ValueError(
            f"{path}, line {len(lines) + 1}: expected a line end behind every line, received a "
            f"file that ends in the middle of a line. {_LINE_REMEDY}"
        )
    rows: dict[Place, Row] = {}
    for number, line in enumerate(lines[1:], start=2):
        at = f"{path}, line {number}"
        row = _decode_line(line, at)
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
        if rows and row.place < next(reversed(rows)):
            raise ValueError(
                f"{at}: expected lines sorted by what they measure, received one that belongs "
                f"further up; a cell was changed or lines were moved. {_LINE_REMEDY}"
            )
        rows[row.place] = row
    return rows


def _decode_line(line: str, at: str) -> Row:
    cells = _split(line, at)
    if len(cells) != len(COLUMNS):
        raise ValueError(
            f"{at}: expected {len(COLUMNS)} cells, received {len(cells)}. {_LINE_REMEDY}"
        )
    given = dict(zip(COLUMNS, cells, strict=True))
    read: dict[str, Any] = {}
    try:
        for name, cell in given.items():
            read[name] = _READ.get(name, str)(cell)
    except ValueError as error:
        raise ValueError(f"{at}, {name}: {error} {_LINE_REMEDY}") from error
    try:
        row = Row(**read)
    except ValueError as error:
        raise ValueError(f"{at}: {error} {_LINE_REMEDY}") from error
    written = dict(zip(COLUMNS, _cells(row), strict=True))
    changed = [
        f"{name} {given[name]!r} (would be {written[name]!r})"
        for name in COLUMNS
        if given[name] != written[name]
    ]
    if not changed and line != _line(cells):
        changed = [f"{line!r}, with other quotes, spaces or line ends"]
    if changed:
        raise ValueError(
            f"{at}: expected every value as it is written, received {', '.join(changed)}. "
            f"{_LINE_REMEDY}"
        )
    return row
