"""One call of ``run_all.py``, and what it shows of its rows: drawn without any model."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from experiments.config import Profile
from papers import catalog
from results.exhibit import Exhibit
from results.figures import draw_exhibit, figure_path
from results.report import write_report
from results.store import RowStore


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
        data_dir: TensorFlow Datasets directory, or ``None``.
        from_zoo: Take published models of the same recipe instead of training them.
        pdf: Write figures as PDF too.
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

    @functools.cached_property
    def rows(self) -> RowStore:
        """The rows of this profile."""
        return RowStore(self.results_dir, self.profile.name)


def choose_datasets(profile: Profile, wanted: Iterable[str]) -> tuple[str, ...]:
    """The profile's data sets that were asked for, all of them for none.

    Raises:
        ValueError: If one is not in the profile; the message lists those that are.
    """
    names = tuple(wanted) or tuple(profile.plans)
    for name in names:
        if name not in profile.plans:
            raise ValueError(
                f"Profile {profile.name!r} has no data set {name!r}. It has: "
                f"{', '.join(profile.plans)}."
            )
    return names


def draw(run: Run, exhibit: Exhibit, dataset: str) -> list[Path]:
    """Draws an exhibit of one data set; returns the files written, none without rows."""
    return draw_exhibit(
        exhibit, dataset, run.rows, profile=run.profile.name, seed=run.seed, pdf=run.pdf
    )


def is_drawn(run: Run, exhibit: Exhibit, dataset: str) -> bool:
    """Whether the figure of an exhibit is there."""
    return figure_path(run.results_dir, run.profile.name, exhibit.id, dataset, run.seed).is_file()


def redraw(run: Run) -> None:
    """Draws the chosen exhibits and writes the report from the rows that are there."""
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
    if not run.rows.read(seed=run.seed):
        say("Nothing measured yet, so there is no report.")
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
