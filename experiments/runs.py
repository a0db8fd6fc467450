"""One call of ``run_all.py``, and what it shows of its rows: drawn without any model."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from experiments import presets
from experiments.profile import Profile
from papers import catalog
from results.exhibit import KEPT, Exhibit
from results.figures import draw_exhibit, figure_path
from results.files import check_writable
from results.pictures import pictures_path
from results.report import write_report
from results.row import LARGEST_SEED
from results.sheet import fill
from results.store import RowStore
from validation import check_choice, check_flag, check_integer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One call of ``run_all.py``.

    Args:
        profile: What is trained and measured, and at which size.
        exhibits: The figures and tables that are asked for.
        dataset_names: Those of the profile's data sets that are asked for.
        seed: Seeds trainings, attacks and draws; only seed 0 is published and reported.
        results_dir: Where rows, figures and the report go.
        artifacts_dir: Where trained models and attacked sets go.
        data_dir: Folder of ``<name>.npz`` or of TensorFlow Datasets, or ``None``.
        from_zoo: Take published models of the same recipe instead of training them.
        pdf: Write figures as PDF too.
        rows_only: Keep rows, and leave figures, published models and the report to another call.

    Raises:
        ValueError: If the seed is out of range, or a data set is not in the profile.
    """

    profile: Profile
    exhibits: tuple[Exhibit, ...]
    dataset_names: tuple[str, ...]
    seed: int
    results_dir: Path
    artifacts_dir: Path
    data_dir: Path | None = None
    from_zoo: bool = False
    pdf: bool = False
    rows_only: bool = False

    def __post_init__(self) -> None:
        check_integer("the seed", self.seed, at_most=LARGEST_SEED, such_as=0)
        for name in self.dataset_names:
            check_choice(f"a data set of profile {self.profile.name}", name, self.profile.plans)
        for name in ("from_zoo", "pdf", "rows_only"):
            check_flag(name, getattr(self, name))

    @functools.cached_property
    def rows(self) -> RowStore:
        """The rows of this profile."""
        return RowStore(self.results_dir, self.profile.name)


def choose_datasets(profile: Profile, wanted: Iterable[str]) -> tuple[str, ...]:
    """The profile's data sets that were asked for, all of them for none.

    Raises:
        ValueError: If one is not in the profile; the message lists those that are.
    """
    names = tuple(dict.fromkeys(wanted)) or tuple(profile.plans)
    for name in names:
        check_choice(f"a data set of profile {profile.name}", name, profile.plans)
    return names


def choose_exhibits(
    profile: Profile, wanted: Iterable[str], dataset_names: Iterable[str]
) -> tuple[Exhibit, ...]:
    """The figures and tables that were asked for, all of them for none.

    Args:
        profile: Which one is to measure or show them.
        wanted: Ids or their beginnings, see ``papers.catalog.select``.
        dataset_names: The data sets that were asked for.

    Raises:
        ValueError: If one is unknown, is not implemented, or is not measured on any of these data
            sets; the message says what there is.
    """
    patterns, names = tuple(wanted), tuple(dataset_names)
    for pattern in patterns:
        found = catalog.select([pattern])
        measured = [one for one in found if one.implemented]
        if not measured:
            reasons = "; ".join(f"{one.id}, {one.title}: {one.note}" for one in found)
            raise ValueError(
                f"Expected figures and tables that are measured, received {pattern!r} ({reasons}). "
                "Choose others; run_all.py --list shows what is measured."
            )
        if not any(one.applies_to(name) for one in measured for name in names):
            raise ValueError(
                f"Expected {pattern!r} on a data set that has it, received {', '.join(names)} of "
                f"profile {profile.name}. Choose one of: {_measured_on(profile, measured)}."
            )
    return tuple(catalog.select(patterns))


def _measured_on(profile: Profile, exhibits: Iterable[Exhibit]) -> str:
    """Which data sets of which profile have one of some exhibits, as options."""
    known = {name: presets.profile(name) for name in presets.known_profiles()}
    ways = []
    for name, one in {profile.name: profile, **known}.items():
        datasets = [d for d in one.plans if any(exhibit.applies_to(d) for exhibit in exhibits)]
        ways += [f"--profile {name} --dataset {' '.join(datasets)}"] if datasets else []
    return "; ".join(ways)


def check_shown(run: Run) -> None:
    """Checks that there is something of the chosen exhibits to show.

    Raises:
        ValueError: If there are no rows and no pictures of any.
    """
    if not any(_is_there(run, one, name) for name in run.dataset_names for one in run.exhibits):
        ids = ", ".join(one.id for one in run.exhibits)
        raise ValueError(
            f"Expected rows of {ids} on {', '.join(run.dataset_names)} with seed {run.seed} under "
            f"{run.rows.folder}, received none: they were not measured yet, or the profile has "
            "none of what they compare. Measure them, or choose others; run_all.py --list shows "
            "what there is."
        )


def _is_there(run: Run, exhibit: Exhibit, dataset: str) -> bool:
    if not exhibit.implemented or not exhibit.applies_to(dataset):
        return False
    if isinstance(exhibit.draw, KEPT):
        return pictures_path(run.rows.folder, exhibit.id, dataset, run.seed).is_file()
    rows = run.rows.read(dataset, run.seed) if run.rows.has_any(dataset) else []
    return bool(fill(exhibit, dataset, rows).rows)


def check_folders(run: Run) -> None:
    """Checks, before hours of work, that a run can write its results and find its data.

    Raises:
        OSError: If a folder cannot be written to; the message names it.
        ValueError: If the data's folder is none.
    """
    if run.data_dir is not None and not run.data_dir.is_dir():
        raise ValueError(
            f"Expected the folder of the data sets, received {run.data_dir}, which is no "
            "folder. Make it, or leave --data-dir out for the usual one."
        )
    for folder in (run.results_dir, run.artifacts_dir):
        check_writable(folder)


def draw(run: Run, exhibit: Exhibit, dataset: str) -> list[Path]:
    """Draws an exhibit of one data set; returns the files written, none without rows."""
    return draw_exhibit(
        exhibit, dataset, run.rows, profile=run.profile.name, seed=run.seed, pdf=run.pdf
    )


def is_drawn(run: Run, exhibit: Exhibit, dataset: str) -> bool:
    """Whether the figure of an exhibit is there."""
    return figure_path(run.results_dir, run.profile.name, exhibit.id, dataset, run.seed).is_file()


def redraw(run: Run) -> None:
    """Draws the chosen exhibits and writes the report from the rows that are there.

    Raises:
        ValueError: If there are none of this profile, or none of these exhibits.
    """
    run.rows.read()
    check_shown(run)
    for name in run.dataset_names:
        for exhibit in run.exhibits:
            if exhibit.implemented and exhibit.applies_to(name):
                drawn = draw(run, exhibit, name)
                say(f"[{name}] {exhibit.id}: {'drawn' if drawn else 'no figure to draw'}")
    report(run)


def report(run: Run) -> None:
    """Writes the report of the profile from all its rows."""
    if run.seed != 0:
        say("The report shows seed 0; the rows and figures of this seed are beside its own.")
        return
    path = write_report(
        run.results_dir,
        run.profile.name,
        exhibits=catalog.EXHIBITS,
        claims=catalog.CLAIMS,
        cuts=run.profile.cuts,
        bears=run.profile.bears,
        seed=run.seed,
    )
    say(f"Report: {path}")


def say(text: str) -> None:
    """Prints a line past any progress bar."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()
