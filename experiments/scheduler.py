"""Measures the chosen exhibits in order, data set by data set, and draws them."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from experiments import datasets, probes, publishing, time_limit, zoo
from experiments.artifacts import ArtifactStore
from experiments.measure import Study, measure
from experiments.reproducibility import environment_record, plain
from experiments.runs import Run, check_shown, draw, is_drawn, report, say
from experiments.training import TrainedModels
from papers import catalog
from results.exhibit import KEPT, Exhibit, Grid, matches
from results.files import write_json
from results.row import Row


def run_all(run: Run) -> None:
    """Measures every chosen exhibit that has something to measure, drawing each as it is done.

    Raises:
        ValueError: If the profile has nothing to measure for any of them.
        TimeIsUp: If the time limit of this call ended it.
    """
    for name in run.dataset_names:
        exhibits = measured_on(run, name)
        if exhibits:
            _run_dataset(run, study_of(run, name), exhibits)
    if not run.rows_only:
        check_shown(run)
        report(run)


def measured_on(run: Run, dataset: str) -> list[Exhibit]:
    """The chosen exhibits that one data set has."""
    return [e for e in run.exhibits if e.implemented and e.applies_to(dataset)]


def study_of(run: Run, dataset: str) -> Study:
    """Models, images and rows of one data set of a run."""
    plan = run.profile.plans[dataset]
    data = datasets.load(plan.dataset, run.data_dir)
    store = ArtifactStore(run.artifacts_dir)
    published = zoo.ZOO if run.from_zoo else None
    models = TrainedModels(plan, data, store, run.seed, published)
    return Study(run.profile, models, run.rows)


def measure_exhibit(study: Study, exhibit: Exhibit) -> None:
    """Measures what an exhibit asks for."""
    for part in exhibit.measures:
        if part.fair and not study.profile.fair:
            continue
        if isinstance(part, Grid):
            measure(study, part)
        else:
            probes.run(study, exhibit.id, part)


def _run_dataset(run: Run, study: Study, exhibits: list[Exhibit]) -> None:
    seen: dict[str, int] = {}
    for number, exhibit in enumerate(exhibits, start=1):
        start, before = time.perf_counter(), len(study.measured)
        try:
            time_limit.check()
            measure_exhibit(study, exhibit)
        except time_limit.TimeIsUp:
            _record(run, study, new=len(study.measured) > before)
            if not run.rows_only:
                _draw_again(run, study, seen)
            raise
        new = len(study.measured) > before
        _record(run, study, new=new)
        if not run.rows_only and (new or not is_drawn(run, exhibit, study.dataset)):
            draw(run, exhibit, study.dataset)
        seen[exhibit.id] = len(study.measured)
        # The zoo holds the models of seed 0 alone; another seed's would take their place.
        publishes = run.seed == 0 and run.profile.publishes and not run.rows_only
        if publishes and (new or number == len(exhibits)):
            publishing.publish(study, run.results_dir / "zoo")
        say(
            f"[{study.dataset} {number}/{len(exhibits)}] {exhibit.id}  {exhibit.title}: "
            f"{time.perf_counter() - start:.1f} s"
        )
    if not run.rows_only:
        _draw_again(run, study, seen)


def draw_fresh(run: Run, dataset: str, rows: Sequence[Row], measured: Collection[str]) -> None:
    """Draws what other processes measured.

    Args:
        run: What was asked for.
        dataset: Of which data set.
        rows: Those that are new; figures that are there and show one are drawn again.
        measured: The exhibits that are drawn in any case.
    """
    for exhibit in catalog.EXHIBITS:
        there = is_drawn(run, exhibit, dataset)
        if exhibit.id in measured or (there and _shows(exhibit, dataset, rows)):
            draw(run, exhibit, dataset)


def _draw_again(run: Run, study: Study, seen: dict[str, int]) -> None:
    """Draws the figures that show rows which are newer than they are."""
    for exhibit in catalog.EXHIBITS:
        fresh = study.measured[seen.get(exhibit.id, 0) :]
        there = exhibit.id in seen or is_drawn(run, exhibit, study.dataset)
        if there and _shows(exhibit, study.dataset, fresh):
            draw(run, exhibit, study.dataset)


def _shows(exhibit: Exhibit, dataset: str, rows: Sequence[Row]) -> bool:
    """Whether an exhibit draws one of some rows of a data set."""
    drawn = not isinstance(exhibit.draw, KEPT) and exhibit.applies_to(dataset)
    return drawn and any(matches(row, exhibit.where) for row in rows)


def _record(run: Run, study: Study, *, new: bool) -> None:
    """Writes what the rows of one data set were measured with, if any row is new.

    Rows of one file may come from several backends and devices: those of earlier runs are kept.
    """
    data = study.data
    path = run.rows.folder / f"{data.name}_seed{run.seed}.json"
    if path.is_file() and not new:
        return
    environment = environment_record()
    earlier = _environments(path)
    record = {
        "profile": run.profile.name,
        "dataset": data.name,
        "checksum": data.checksum,
        "test_images": study.sets.image_hash,
        "images": {name: len(getattr(data, name)) for name in ("train", "validation", "test")},
        "seed": run.seed,
        "plan": plain(run.profile.plans[data.name]),
        "attacks": plain(run.profile.attacks),
        "budgets": plain(run.profile.budgets),
        "environment": environment,
        "earlier_environments": [one for one in earlier if one != environment],
    }
    write_json(path, record)


def _environments(path: Path) -> list[dict[str, str]]:
    """What a record that is there says of the runs before, each once."""
    try:
        known = json.loads(path.read_text())
        found = [*known.get("earlier_environments", []), known["environment"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return [one for number, one in enumerate(found) if one not in found[:number]]
