"""Measures the figures and tables of a run in processes of their own, here or by Slurm.

Each job is the same command for one figure or table on one data set, on the same folders, and keeps
rows alone. What several jobs need is made by the first that asks for it; the others wait at its
lock, so nothing is made twice. When all have ended, the run draws, publishes and reports.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments import scheduler
from experiments.runs import Run, say
from experiments.time_limit import STOPPED, TimeIsUp, TimeLimit
from results.row import Row

LOCAL_WORKERS = 2
_POLL = 0.2
_A_DAY = 24 * 60
_MARGIN = 10
"""Minutes that a job may take beyond its limit: it looks at the clock between two steps."""
SUBMITIT = "submitit==1.5.4"


class JobFailedError(ValueError):
    """A job ended with an error."""


class Job(NamedTuple):
    """A figure or table on one data set."""

    dataset: str
    exhibit: str

    @property
    def name(self) -> str:
        """As a file may be called."""
        return f"{self.dataset}-{self.exhibit}"


Command = Callable[[Job, float | None], Sequence[str]]
"""The command of a job that may take so many minutes, ``None`` for no limit."""
Ended = Generator[tuple[Job, int], None, None]
"""Jobs as they end, with their exit status."""


def jobs_of(run: Run) -> list[Job]:
    """What can be measured apart, in the order of the run."""
    return [
        Job(name, one.id) for name in run.dataset_names for one in scheduler.measured_on(run, name)
    ]


def job_command(arguments: Sequence[str], job: Job, minutes: float | None) -> list[str]:
    """The command of a run, changed to that of one of its jobs; of an option the last one counts.

    Args:
        arguments: The whole command, with the interpreter.
        job: What is measured.
        minutes: Its time limit.
    """
    limit = [] if minutes is None else ["--time-limit", f"{minutes:g}"]
    only = ["--only", job.exhibit, "--dataset", job.dataset, "--rows-only"]
    return [*arguments, "--executor", "here", *only, *limit]


def run_jobs(
    run: Run,
    command: Command,
    *,
    executor: str,
    workers: int | None = None,
    minutes: float | None = None,
) -> None:
    """Measures a run by jobs, and then draws, publishes and reports.

    Args:
        run: What is asked for.
        command: How a job is called.
        executor: ``"local"`` for processes of this machine, ``"slurm"`` for jobs of a cluster.
        workers: How many at once; ``None`` for two here, and as many as Slurm gives there.
        minutes: When to stop; none begins here after that. A job of a cluster has as many
            for itself.

    Raises:
        JobFailedError: If some failed; what the others measured is kept and drawn.
        TimeIsUp: If the time is up and something is left.
        ValueError: If there is no such executor on this machine.
    """
    jobs, before = jobs_of(run), _rows(run)
    folder = run.artifacts_dir / "jobs"
    folder.mkdir(parents=True, exist_ok=True)
    limit = None if minutes is None else TimeLimit(minutes=minutes)
    if executor == "local":
        ended = _locally(jobs, command, workers or LOCAL_WORKERS, folder, limit)
    else:
        ended = submitted(jobs, command, workers, folder, minutes, cluster=executor)
    statuses: dict[Job, int] = {}
    with contextlib.closing(ended):
        for job, status in ended:
            statuses[job] = status
            how = {0: "measured", STOPPED: "stopped by its time limit"}.get(status, "failed")
            say(f"[{job.dataset} {len(statuses)}/{len(jobs)}] {job.exhibit}: {how}")
    fresh = [row for place, row in _rows(run).items() if place not in before]
    done = [job for job in jobs if statuses.get(job) == 0]
    for name in run.dataset_names:
        measured = {job.exhibit for job in done if job.dataset == name}
        rows = [row for row in fresh if row.dataset == name]
        scheduler.draw_fresh(run, name, rows, measured)
    failed = [job for job in jobs if statuses.get(job, STOPPED) not in (0, STOPPED)]
    if failed:
        raise JobFailedError(_failures(failed, statuses, folder))
    if len(done) < len(jobs):
        raise TimeIsUp
    # Every row is there, so that this measures nothing.
    scheduler.run_all(run)


def _rows(run: Run) -> dict[Any, Row]:
    stored = run.rows.read() if run.rows.has_any() else []
    return {(row.place, row.config_hash): row for row in stored}


def _failures(failed: Sequence[Job], statuses: dict[Job, int], folder: Path) -> str:
    job = failed[0]
    log = folder / f"{job.name}.log"
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    more = f" So did {len(failed) - 1} more." if len(failed) > 1 else ""
    return (
        f"Expected the job of {job.exhibit} on {job.dataset} to end with status 0, received "
        f"{statuses[job]}: {said[:300]}.{more} Read {log if log.is_file() else folder}, mend it, "
        "and give the same command again."
    )


# -- processes of this machine --------------------------------------------------------------------


def _locally(
    jobs: Sequence[Job], command: Command, workers: int, folder: Path, limit: TimeLimit | None
) -> Ended:
    """Runs jobs as processes, so many at once."""
    environment = dict(os.environ)
    if workers > 1:
        # Otherwise the first JAX process takes three quarters of a GPU's memory.
        environment.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    waiting = list(jobs)
    running: dict[Job, subprocess.Popen] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers and not _is_over(limit):
                job = waiting.pop(0)
                minutes = None if limit is None else limit.seconds_left() / 60
                with (folder / f"{job.name}.log").open("wb") as log:
                    # Apart from this one's group: a Ctrl-C is passed on below, once.
                    running[job] = subprocess.Popen(
                        command(job, minutes),
                        stdout=log,
                        stderr=log,
                        env=environment,
                        process_group=0,
                    )
            ended = [job for job, process in running.items() if process.poll() is not None]
            for job in ended:
                yield job, running.pop(job).returncode
            if not running and _is_over(limit):
                return
            time.sleep(0 if ended else _POLL)
    finally:
        for process in running.values():
            process.send_signal(signal.SIGINT)
        for process in running.values():
            process.wait()


def _is_over(limit: TimeLimit | None) -> bool:
    return limit is not None and limit.seconds_left() <= 0


# -- jobs of a cluster ----------------------------------------------------------------------------


def submitted(
    jobs: Sequence[Job],
    command: Command,
    workers: int | None,
    folder: Path,
    minutes: float | None,
    *,
    cluster: str,
    poll: float = 5.0,
) -> Ended:
    """Runs jobs through submitit.

    Slurm's own variables, such as ``SBATCH_PARTITION``, ``SBATCH_GPUS`` and ``SBATCH_TIMELIMIT``,
    say what each job gets.

    Args:
        jobs: What is measured.
        command: How a job is called.
        workers: How many at once, ``None`` for all.
        folder: Where submitit keeps its files and the logs; all machines must see it.
        minutes: The time limit of each job.
        cluster: ``"slurm"``, or ``"local"`` for processes of this machine.
        poll: Seconds between two looks at the jobs.

    Raises:
        ValueError: If submitit is not installed, or there is no Slurm on this machine.
    """
    try:
        import submitit
    except ImportError:
        raise ValueError(
            f"Expected the package submitit for --executor {cluster}, received none. Install it "
            f"with pip install {SUBMITIT}, or choose --executor local."
        ) from None
    try:
        executor = submitit.AutoExecutor(folder=folder / "%j", cluster=cluster)
    except RuntimeError as error:
        raise ValueError(
            f"Expected a machine that submits jobs to {cluster}, received none ({error}). Go to "
            "one that has sbatch and srun, or choose --executor local."
        ) from error
    executor.update_parameters(
        name="cleanroom",
        timeout_min=_A_DAY if minutes is None else math.ceil(minutes) + _MARGIN,
        slurm_array_parallelism=workers or len(jobs),
    )
    with executor.batch():
        made = [executor.submit(subprocess.call, list(command(job, minutes))) for job in jobs]
    of = dict(zip((one.job_id for one in made), jobs, strict=True))
    try:
        for one in submitit.helpers.as_completed(made, poll_frequency=poll):
            try:
                status = int(one.result())
            except (submitit.core.utils.FailedJobError, submitit.core.utils.UncompletedJobError):
                status = 1
            (folder / f"{of[one.job_id].name}.log").write_text(
                f"{one.stdout() or ''}\n{one.stderr() or ''}"
            )
            yield of[one.job_id], status
    finally:
        for one in made:
            if not one.done():
                one.cancel()
