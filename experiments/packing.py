"""``run_all.py --pack`` and ``--unpack``: what a run has made, carried to another machine.

A pack holds the models of an artifacts folder in half precision, the last epochs of trainings that
are not finished (where one fits into a part), and the rows of a profile with their outcomes,
pictures and records. Attacked images stay behind: they are large, and are made again where a
row needs them. Unpacked models are those that were trained, bit for bit, and the same command takes
them as if it had trained them. What is there already stays as it is.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.artifacts import ArtifactStore
from experiments.half_precision import pack_model, read_about, unpack_model
from experiments.model_files import DamagedArtifactError
from experiments.outcomes import Outcome, OutcomeStore
from experiments.parts import LARGEST_PART, check_pack_name, read_parts, write_parts
from experiments.reproducibility import stable_hash
from experiments.runs import Run
from results.files import UNREADABLE_ARRAYS, write_atomically
from results.row import Row
from results.store import RowStore

_HASH = "[0-9a-f]{16}"
_ALLOWED = re.compile(
    rf"models/[a-z_]+/{_HASH}\.npz"
    rf"|checkpoints/[a-z_]+-{_HASH}\.npz"
    rf"|results/raw/\w+/(outcomes/{_HASH}\.npz|[\w.-]+\.(csv|json|npz))",
    re.ASCII,
)
"""The files of a pack."""
_RECORD = re.compile(r"\w+_seed\d+\.json", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Packed:
    """What a pack holds, or what was taken from it.

    Args:
        models: How many models.
        trainings: How many unfinished trainings.
        rows: How many rows.
        files: The parts.
        left_out: Unfinished trainings that are larger than a part.
    """

    models: int
    trainings: int
    rows: int
    files: tuple[Path, ...] = ()
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        what = f"{self.models} models, {self.trainings} unfinished trainings, {self.rows} rows"
        where = f" in {len(self.files)} files from {self.files[0]} on" if self.files else ""
        where = f" in {self.files[0]}" if len(self.files) == 1 else where
        without = f"; left out, as too large: {', '.join(self.left_out)}" if self.left_out else ""
        return f"{what}{where}{without}"


class _Taken(NamedTuple):
    """A model that was unpacked and not yet stored."""

    kind: str
    recipe: Mapping[str, Any]
    environment: Mapping[str, str]
    path: Path


def pack(run: Run, file: Path, largest: int = LARGEST_PART) -> Packed:
    """Writes models, rows and outcomes of a run into parts.

    Args:
        run: Its artifacts folder, and its results folder for its profile.
        file: The first part, ending in ``.tar``.
        largest: Bytes of a part.

    Returns:
        What was packed.

    Raises:
        ValueError: If there is nothing to pack, or a file of rows is damaged.
    """
    check_pack_name(file)
    store = ArtifactStore(run.artifacts_dir)
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".packing-", dir=file.parent) as name:
        folder = Path(name)
        models = 0
        for kind, path, manifest in store.models():
            models += 1
            packed = folder / "models" / kind / f"{path.parent.name}.npz"
            packed.parent.mkdir(parents=True, exist_ok=True)
            about = {"recipe": manifest["recipe"], "environment": manifest["environment"]}
            pack_model(path, packed, about)
        trainings, left_out = _copy_checkpoints(store, folder, largest)
        rows = _copy_rows(run, folder)
        if not models + trainings + rows:
            raise ValueError(
                f"Expected models under {run.artifacts_dir} or rows under {run.rows.folder} to "
                "pack, received none. Name other folders, or another profile."
            )
        files = write_parts(file, folder, _about(run), largest)
    return Packed(models, trainings, rows, tuple(files), left_out)


def unpack(run: Run, file: Path) -> Packed:
    """Takes over what was packed elsewhere; what is there already stays as it is.

    Args:
        run: As of ``pack``.
        file: The first part.

    Returns:
        What was taken.

    Raises:
        DamagedPartError: If a part is missing or damaged; nothing was taken.
        DamagedArtifactError: If a model in it is damaged; nothing was taken.
        ValueError: If it is a pack of another profile, or its rows are damaged; nothing was taken.
    """
    store = ArtifactStore(run.artifacts_dir)
    store.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=store.root) as name:
        folder = Path(name)
        read_parts(file, folder, _about(run), _ALLOWED)
        # All of it is read before the first is stored.
        models = [_unpacked(path) for path in sorted(folder.glob("models/*/*.npz"))]
        checkpoints = _further_checkpoints(store, folder)
        rows, outcomes = _new_rows(run, folder)
        records = _checked_records(folder)
        taken = [store.take(*model) for model in models]
        for path in checkpoints:
            write_atomically(store.root / "checkpoints" / path.name, path.read_bytes())
        OutcomeStore(run.rows.folder).add(outcomes)
        run.rows.add(rows)
        _copy_beside(run, folder, records, {(row.dataset, row.seed) for row in rows})
    return Packed(sum(taken), len(checkpoints), len(rows))


def _about(run: Run) -> str:
    return f"profile {run.profile.name}"


# -- models ---------------------------------------------------------------------------------------


def _unpacked(packed: Path) -> _Taken:
    """Writes the model file beside its packed form."""
    about = read_about(packed)
    recipe, environment = about.get("recipe"), about.get("environment")
    if not isinstance(recipe, dict) or not isinstance(environment, dict):
        raise DamagedArtifactError(
            f"Expected the recipe of the model {packed.name}, received {sorted(about)}. Pack again."
        )
    if stable_hash(recipe) != packed.stem:
        raise DamagedArtifactError(
            f"Expected the model {packed.stem}, received the recipe of another. Pack again."
        )
    path = packed.with_suffix(".keras")
    unpack_model(packed, path)
    packed.unlink()
    return _Taken(packed.parent.name, recipe, environment, path)


def _copy_checkpoints(
    store: ArtifactStore, folder: Path, largest: int
) -> tuple[int, tuple[str, ...]]:
    """Copies the last epochs of unfinished trainings, unless they are too large."""
    copied, left_out = 0, []
    for path in sorted(store.root.glob("checkpoints/[!.]*.npz")):
        if path.stat().st_size > largest:
            left_out.append(path.stem)
            continue
        _copy(path, folder / "checkpoints" / path.name)
        copied += 1
    return copied, tuple(left_out)


def _further_checkpoints(store: ArtifactStore, folder: Path) -> list[Path]:
    """The packed checkpoints of trainings that are further than here, where none is finished."""
    found = []
    for path in sorted(folder.glob("checkpoints/*.npz")):
        kind, _, name = path.stem.rpartition("-")
        here = store.root / "checkpoints" / path.name
        if not (store.root / kind / name).exists() and _epoch(path) > _epoch(here):
            found.append(path)
    return found


def _epoch(checkpoint: Path) -> int:
    """The epochs that a checkpoint has behind it, 0 if it is none."""
    try:
        with np.load(checkpoint, allow_pickle=False) as file:
            return int(file["epoch"])
    except UNREADABLE_ARRAYS:
        return 0


# -- rows -----------------------------------------------------------------------------------------


def _copy_rows(run: Run, folder: Path) -> int:
    """Copies rows, records and pictures of the profile, and the outcomes; returns how many rows."""
    if not run.rows.has_any():
        return 0
    to = folder / "results" / "raw" / run.profile.name
    # Rows come first: their outcomes are written before them.
    for pattern in ("[!.]*.csv", "[!.]*.json", "[!.]*.npz", "outcomes/[!.]*.npz"):
        for path in sorted(run.rows.folder.glob(pattern)):
            _copy(path, to / path.relative_to(run.rows.folder))
    return len(RowStore(folder / "results", run.profile.name).read())


def _new_rows(run: Run, folder: Path) -> tuple[list[Row], list[tuple[Row, Outcome]]]:
    """The packed rows of which there is none here, and the outcomes behind them."""
    packed = RowStore(folder / "results", run.profile.name)
    if not packed.has_any():
        return [], []
    rows = [row for row in packed.read() if run.rows.get(row.place) is None]
    outcomes = OutcomeStore(packed.folder)
    found = [(row, outcomes.get(row)) for row in rows if row.correct is not None]
    return rows, [(row, outcome) for row, outcome in found if outcome is not None]


def _checked_records(folder: Path) -> dict[str, bytes]:
    """The packed records of what rows were measured with."""
    found = {}
    for path in sorted(folder.glob("results/raw/*/*.json")):
        try:
            if not _RECORD.fullmatch(path.name) or not isinstance(
                json.loads(path.read_text()), dict
            ):
                raise ValueError("another file")
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"Expected {path.name} to be a record of rows, received {error}. Pack again."
            ) from error
        found[path.name] = path.read_bytes()
    return found


def _copy_beside(
    run: Run, folder: Path, records: Mapping[str, bytes], fresh: set[tuple[str, int]]
) -> None:
    """Copies records of rows that are new here, and pictures that are not here."""
    new = {f"{dataset}_seed{seed}.json" for dataset, seed in fresh}
    for name, content in records.items():
        path = run.rows.folder / name
        if name in new or not path.is_file():
            write_atomically(path, content)
    for path in sorted((folder / "results" / "raw" / run.profile.name).glob("*.npz")):
        if not (run.rows.folder / path.name).is_file():
            write_atomically(run.rows.folder / path.name, path.read_bytes())


def _copy(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)
