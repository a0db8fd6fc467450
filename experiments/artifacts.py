"""A content-addressed store: trained models and adversarial sets, made once, verified when read.

An artifact lives in ``<root>/<kind>/<hash of its recipe>/`` beside a manifest that holds the
recipe and the SHA-256 of every file. It is written into a temporary folder and moved into
place in one step, so a kill at any moment leaves either the whole artifact or none. A
damaged artifact is set aside under ``<root>/damaged``, reported, and made again. Each has a
lock: of two runs on one store the first makes it, and the second waits and reads it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np
from filelock import FileLock, Timeout

from defenses.saving import without_optimizer
from experiments import time_limit
from experiments.model_files import DamagedArtifactError, file_hash, load_keras_model
from experiments.reproducibility import environment_record, plain, stable_hash
from results.files import UNREADABLE_ARRAYS, naming
from validation import check_file_name

logger = logging.getLogger(__name__)
Made = TypeVar("Made")

MANIFEST = "manifest.json"
ARRAYS = "arrays.npz"
MODEL = "model.keras"


def save_deflated(model: keras.Model, path: Path) -> None:
    """Saves a model, without its optimizer, as a ``.keras`` file whose members are compressed."""
    plain_path = path.with_name(f".stored-{path.name}")
    try:
        without_optimizer(model).save(plain_path)
        with (
            zipfile.ZipFile(plain_path) as stored,
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as deflated,
        ):
            for name in stored.namelist():
                deflated.writestr(name, stored.read(name))
    finally:
        plain_path.unlink(missing_ok=True)


class ArtifactStore:
    """Stores arrays and models under the hash of everything that made them.

    Args:
        root: The store's folder; created when first written to.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def folder(self, kind: str, recipe: Mapping[str, Any]) -> Path:
        """Where the artifact of ``recipe`` lives."""
        return self.root / kind / stable_hash(recipe)

    def checkpoint_path(self, kind: str, recipe: Mapping[str, Any]) -> Path:
        """Where an unfinished training of ``recipe`` keeps its last epoch."""
        return self.root / "checkpoints" / f"{kind}-{stable_hash(recipe)}.npz"

    def has(self, kind: str, recipe: Mapping[str, Any]) -> bool:
        """Whether the artifact is there; its contents are verified when it is read."""
        return (self.folder(kind, recipe) / MANIFEST).is_file()

    def arrays(
        self,
        kind: str,
        recipe: Mapping[str, Any],
        make: Callable[[], Mapping[str, np.ndarray]],
    ) -> dict[str, np.ndarray]:
        """The stored arrays of ``recipe``, from ``make()`` if they are not there yet."""

        def prepare() -> Callable[[Path], None]:
            made = make()
            return lambda folder: np.savez(folder / ARRAYS, allow_pickle=False, **made)

        def load(folder: Path) -> dict[str, np.ndarray]:
            with np.load(folder / ARRAYS, allow_pickle=False) as file:
                return dict(file)

        return self._get_or_make(kind, recipe, prepare, load)

    def model(
        self,
        kind: str,
        recipe: Mapping[str, Any],
        make: Callable[[], keras.Model],
        find: Callable[[], Path | None] = lambda: None,
    ) -> keras.Model:
        """The stored model of ``recipe``.

        If it is not there yet, it comes from the ``.keras`` file that ``find()`` knows, else from
        ``make()``.
        """

        def prepare() -> Callable[[Path], object]:
            if known := find():
                return lambda folder: shutil.copyfile(known, folder / MODEL)
            made = make()
            return lambda folder: save_deflated(made, folder / MODEL)

        return self._get_or_make(
            kind, recipe, prepare, lambda folder: load_keras_model(folder / MODEL)
        )

    def copy_model(self, kind: str, recipe: Mapping[str, Any], path: Path) -> None:
        """Copies the file of a stored model to ``path``.

        Raises:
            DamagedArtifactError: If it differs from what was stored.
        """
        folder = self.folder(kind, recipe)
        self._verify(folder)
        shutil.copyfile(folder / MODEL, path)

    def models(self) -> Iterator[tuple[str, Path, Mapping[str, Any]]]:
        """Every stored model that is whole: its kind, its file, and its manifest.

        A damaged one is left out with a warning; the run that needs it makes it again.
        """
        for path in sorted(self.root.glob(f"*/[!.]*/{MODEL}")):
            try:
                yield path.parent.parent.name, path, self._verify(path.parent)
            except DamagedArtifactError as error:
                logger.warning("Left out: %s", error)

    def take(
        self,
        kind: str,
        recipe: Mapping[str, Any],
        environment: Mapping[str, str],
        path: Path,
    ) -> bool:
        """Stores a model that was made elsewhere, unless it is there.

        Args:
            kind: As of ``model``, and so is ``recipe``.
            recipe: What it was made from.
            environment: What it was made with.
            path: Its ``.keras`` file, which is copied.

        Returns:
            Whether it was not there yet.
        """
        folder = self.folder(check_file_name("a kind of models", kind), recipe)
        with _locked(folder):
            if folder.exists():
                try:
                    self._verify(folder)
                    return False
                except DamagedArtifactError as error:
                    self._set_aside(folder, error)
            self._write(
                folder, recipe, lambda made: shutil.copyfile(path, made / MODEL), environment
            )
        return True

    def _get_or_make(
        self,
        kind: str,
        recipe: Mapping[str, Any],
        prepare: Callable[[], Callable[[Path], object]],
        load: Callable[[Path], Any],
    ) -> Any:
        """What is stored; else what ``prepare()`` makes, and then writes into a folder."""
        folder = self.folder(kind, recipe)
        with _locked(folder):
            if folder.exists():
                try:
                    self._verify(folder)
                    return load(folder)
                except UNREADABLE_ARRAYS as error:
                    self._set_aside(folder, error)
            time_limit.check()
            self._write(folder, recipe, prepare())
            time_limit.step_done()
            # What is used is what a later run will read, so both take the same path.
            return load(folder)

    def _write(
        self,
        folder: Path,
        recipe: Mapping[str, Any],
        save: Callable[[Path], object],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        with naming(folder):
            temporary = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
            try:
                save(temporary)
                manifest = {
                    "recipe": plain(recipe),
                    "files": {path.name: file_hash(path) for path in sorted(temporary.iterdir())},
                    "environment": environment or environment_record(),
                }
                (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
                os.replace(temporary, folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def _verify(self, folder: Path) -> dict[str, Any]:
        """The manifest of an artifact whose files are what they were."""
        manifest = folder / MANIFEST
        try:
            content = json.loads(manifest.read_text())
            files = content["files"]
            expected = {check_file_name("a file", name): files[name] for name in files}
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamagedArtifactError(f"{manifest} is unreadable: {error}") from error
        if not expected:
            raise DamagedArtifactError(f"{manifest} lists no file.")
        for name, sha256 in expected.items():
            path = folder / name
            if not path.is_file() or file_hash(path) != sha256:
                raise DamagedArtifactError(f"{path} is missing or differs from its checksum.")
        return content

    def _set_aside(self, folder: Path, error: Exception) -> None:
        damaged = self.root / "damaged"
        damaged.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f"{folder.parent.name}-{folder.name}-", dir=damaged))
        shutil.move(str(folder), place / folder.name)
        logger.warning("Damaged artifact: %s It is set aside in %s and made again.", error, place)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps other runs from making the same artifact; the system unlocks what a kill left."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("Waiting for another run, which is making %s.", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
