"""Runs the chosen entries of the catalog in order, data set by data set, and draws them."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from experiments import datasets, figures, zoo
from experiments.artifacts import ArtifactStore, write_json
from experiments.catalog import ENTRIES
from experiments.config import Profile
from experiments.entries import Entry
from experiments.evaluation import Study
from experiments.reproducibility import environment_record, plain
from experiments.training import TrainedModels
from results.report import write_report
from results.rows import RowStore
from results.selection import companions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One call of ``run_all.py``.

    Args:
        profile: sizes.
        entries: which figures and tables.
        dataset_names: which of the profile's data sets.
        seed: seed of everything.
        results_dir: where rows, figures and the report go.
        artifacts_dir: where trained models and adversarial sets go.
        data_dir: TensorFlow Datasets directory, or ``None``.
        from_zoo: take published models of the same recipe instead of training them.
    """

    profile: Profile
    entries: tuple[Entry, ...]
    dataset_names: tuple[str, ...]
    seed: int
    results_dir: Path
    artifacts_dir: Path
    data_dir: Path | None = None
    from_zoo: bool = False

    @property
    def rows(self) -> RowStore:
        """The rows of this profile."""
        return RowStore(self.results_dir, self.profile.name)


def choose_datasets(profile: Profile, wanted: Iterable[str]) -> tuple[str, ...]:
    """The profile's data sets that were asked for, all of them for none.

    Raises:
        ValueError: if one is not in the profile; the message lists those that are.
    """
    names = tuple(wanted) or tuple(profile.plans)
    for name in names:
        if name not in profile.plans:
            raise ValueError(
                f"Profile {profile.name!r} has no data set {name!r}. It has: "
                f"{', '.join(profile.plans)}; known to the project: "
                f"{', '.join(datasets.DATASET_NAMES)}."
            )
    return names


def measure(run: Run) -> None:
    """Measures every chosen entry that has something to measure, drawing each as it is done."""
    for name in run.dataset_names:
        entries = [e for e in run.entries if e.implemented and e.applies_to(name)]
        if not entries:
            continue
        plan = run.profile.plans[name]
        data = datasets.load(plan.dataset, run.data_dir)
        store = ArtifactStore(run.artifacts_dir)
        published = zoo.ZOO if run.from_zoo else None
        models = TrainedModels(plan, data, store, run.seed, published)
        study = Study(run.profile, models, run.rows)
        for number, entry in enumerate(entries, start=1):
            start = time.perf_counter()
            new = _measure(run, entry, study)
            _record(run, data, new=new)
            if new or number == len(entries):
                zoo.publish(study, run.results_dir / "zoo")
            _say(
                f"[{name} {number}/{len(entries)}] {entry.id}  {entry.title}: "
                f"{time.perf_counter() - start:.1f} s"
            )
    _report(run)


def _measure(run: Run, entry: Entry, study: Study) -> bool:
    """Measures one entry and draws it if need be; returns whether anything was new."""
    before = figures.state(entry, study.dataset, run.rows)
    if entry.run is not None:
        entry.run(study, entry.id)
    new = before != figures.state(entry, study.dataset, run.rows)
    # New rows appear in every figure that shows them, also in one drawn long ago.
    shown_in = companions(entry.id) if new else ()
    for other in ENTRIES:
        if other.id in shown_in and other is not entry:
            _draw(run, other, study.dataset)
    if new or not figures.drawn(entry, study.dataset, run.profile, run.rows, run.seed):
        _draw(run, entry, study.dataset)
    return new


def _record(run: Run, data: datasets.Dataset, *, new: bool) -> None:
    """Writes what the rows of one data set were measured with, if any row is new."""
    path = run.rows.folder / f"{data.name}_seed{run.seed}.json"
    if path.is_file() and not new:
        return
    record = {
        "profile": run.profile.name,
        "dataset": data.name,
        "checksum": data.checksum,
        "images": {name: len(getattr(data, name)) for name in ("train", "validation", "test")},
        "seed": run.seed,
        "plan": plain(run.profile.plans[data.name]),
        "attacks": plain(run.profile.attacks),
        "epsilons": list(run.profile.epsilons),
        "environment": environment_record(),
    }
    write_json(path, record)


def redraw(run: Run) -> None:
    """Draws the chosen entries and writes the report from the rows that are there."""
    for name in run.dataset_names:
        for entry in run.entries:
            if entry.implemented and entry.applies_to(name):
                drawn = _draw(run, entry, name)
                _say(f"[{name}] {entry.id}: {'drawn' if drawn else 'no rows yet'}")
    _report(run)


def _draw(run: Run, entry: Entry, dataset: str) -> tuple[Path, ...]:
    return figures.draw(entry, dataset, run.profile, run.rows, run.seed)


def _report(run: Run) -> None:
    if run.seed != 0:
        _say("The report shows seed 0; the rows and figures of this seed are beside its own.")
        return
    if not any(row.seed == run.seed for row in run.rows.read()):
        _say("Nothing measured yet, so there is no report.")
        return
    path = write_report(run.results_dir, run.profile.name, cuts=run.profile.cuts, seed=run.seed)
    _say(f"Report: {path}")


def _say(text: str) -> None:
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()
