"""``--executor``: figures and tables measured in processes of their own, on one folder."""

from __future__ import annotations

import builtins
import collections
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import run_all
from benchmarks.kill_and_resume import different_arrays, rows_without_seconds
from experiments import executors, scheduler
from experiments.executors import Job, JobFailedError, job_command, jobs_of, run_jobs
from experiments.time_limit import TimeIsUp
from tests.made_rows import accuracy
from tests.tiny_profile import smallest_profile, tiny_run

ROOT = Path(__file__).resolve().parents[1]
EXHIBITS = ("003.F3.6", "003.F3.8")
# One run of the smallest profile that writes down what it trains and attacks.
COUNTED = f"""
import runpy, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from attacks.attack import Attack
from experiments import fitting

def counted(what, name):
    def call(*arguments, **options):
        with open(log, "a") as file:
            file.write(name(arguments, options) + chr(10))
        return what(*arguments, **options)
    return call

log = sys.argv[1]
fitting.fit = counted(fitting.fit, lambda arguments, options: options["label"])
Attack.run = counted(Attack.run, lambda a, o: f"{{a[0].name}} on {{a[1].name}} at {{a[4]}}")
sys.argv[1:] = [*sys.argv[2:], "--smallest"]
runpy.run_path({str(ROOT / "tests" / "tiny_profile.py")!r}, run_name="__main__")
"""


def smallest_run(folder: Path, exhibits=EXHIBITS):
    return tiny_run(folder, smallest_profile(), exhibits)


def counted_command(folder: Path, log: Path):
    """How a job of ``smallest_run`` is called, so that it writes into ``log`` what it makes."""

    def command(job: Job, minutes: float | None) -> list[str]:
        return [sys.executable, "-c", COUNTED, str(log), str(folder), "--only", job.exhibit,
                "--rows-only"]  # fmt: skip

    return command


def code(text: str):
    """Jobs that run a line of Python in place of measuring."""
    return lambda job, minutes: [sys.executable, "-c", text, job.exhibit, str(minutes)]


# -- what is called -------------------------------------------------------------------------------


def test_every_figure_of_every_data_set_is_a_job():
    jobs = jobs_of(smallest_run(Path("nowhere"), ("003.F3.6", "003.T4", "002")))
    assert jobs == [Job("digits", "003.F3.6"), Job("digits", "003.T4.1")]


def test_a_job_is_the_same_command_for_one_figure():
    given = ["--profile", "demo", "--only", "003.F3", "--executor", "local", "--workers", "3"]
    given += ["--seed", "4", "--train", "--time-limit", "60"]
    command = job_command(["python", "run_all.py", *given], Job("digits", "003.F3.6"), 12.5)
    assert command[:2] == ["python", "run_all.py"]
    options = run_all.parse_arguments(command[2:])
    assert (options.executor, options.only, options.dataset) == ("here", ["003.F3.6"], ["digits"])
    assert (options.seed, options.train, options.time_limit) == (4, True, 12.5)
    assert options.rows_only


# -- two processes --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run in one process, first without figures, and then with them."""
    folder = tmp_path_factory.mktemp("alone")
    run = smallest_run(folder)
    scheduler.run_all(dataclasses.replace(run, rows_only=True))
    assert {path.name for path in (folder / "results").iterdir()} == {"raw"}
    scheduler.run_all(run)
    return folder


@pytest.fixture
def submitit_here(monkeypatch):
    """Jobs for Slurm run on this machine."""
    pytest.importorskip("submitit")
    before = executors.submitted
    monkeypatch.setattr(
        executors, "submitted", lambda *a, **k: before(*a, **{**k, "cluster": "local", "poll": 0.1})
    )


def test_two_workers_make_everything_once_and_end_in_the_rows_of_one(
    alone, tmp_path, submitit_here
):
    log = tmp_path / "made.txt"
    run_jobs(smallest_run(tmp_path), counted_command(tmp_path, log), executor="slurm")
    made = collections.Counter(log.read_text().splitlines())
    assert {"digits: target A", "digits: target B", "digits: magnet"} <= made.keys()
    assert max(made.values()) == 1, made
    sets = list((tmp_path / "artifacts/attacked_sets").glob("[!.]*"))
    assert sum(" on " in name for name in made) == len(sets) >= 4
    assert rows_without_seconds(tmp_path) == rows_without_seconds(alone) != []
    assert different_arrays(tmp_path, alone) == []
    for pattern, least in (("figures/*/*.png", 2), ("reports/tiny.md", 1), ("zoo/*/*.keras", 3)):
        names = [
            sorted(path.name for path in (one / "results").glob(pattern))
            for one in (alone, tmp_path)
        ]
        assert names[0] == names[1] and len(names[0]) >= least
    assert not (tmp_path / "artifacts/damaged").exists()


# -- how jobs end ---------------------------------------------------------------------------------


@pytest.fixture
def nothing_drawn(monkeypatch):
    """What ``run_jobs`` asks of the scheduler afterwards."""
    asked = []
    monkeypatch.setattr(
        scheduler, "draw_fresh", lambda run, name, rows, measured: asked.append((rows, measured))
    )
    monkeypatch.setattr(scheduler, "run_all", lambda run: asked.append("run_all"))
    return asked


@pytest.fixture(params=["local", "slurm"])
def executor(request):
    """Both ways to run jobs."""
    if request.param == "slurm":
        request.getfixturevalue("submitit_here")
    return request.param


def test_a_failed_job_is_named_with_what_it_said_and_the_others_go_on(
    tmp_path, nothing_drawn, executor
):
    text = "import sys; sys.exit('error: no such data' if sys.argv[1] == '003.F3.6' else 0)"
    with pytest.raises(
        JobFailedError, match=r"job of 003\.F3\.6 on digits .*: error: no such data"
    ):
        run_jobs(smallest_run(tmp_path), code(text), executor=executor)
    assert nothing_drawn == [([], {"003.F3.8"})]


def test_a_job_that_its_limit_stopped_is_left(tmp_path, nothing_drawn, executor):
    text = "import sys; sys.exit(3 if sys.argv[1] == '003.F3.8' else 0)"
    with pytest.raises(TimeIsUp):
        run_jobs(smallest_run(tmp_path), code(text), executor=executor, minutes=5)
    assert nothing_drawn == [([], {"003.F3.6"})]


def test_when_all_are_measured_the_run_ends_as_in_one_process(tmp_path, nothing_drawn):
    run_jobs(smallest_run(tmp_path), code(""), executor="local")
    assert nothing_drawn == [([], {"003.F3.6", "003.F3.8"}), "run_all"]


def test_no_job_begins_after_the_end_of_the_time(tmp_path, nothing_drawn):
    text = "import sys, time; time.sleep(1); open(sys.argv[1], 'w').write(sys.argv[2])"

    def command(job: Job, minutes: float | None) -> list[str]:
        return [sys.executable, "-c", text, str(tmp_path / job.exhibit), str(minutes)]

    with pytest.raises(TimeIsUp):
        run_jobs(smallest_run(tmp_path), command, executor="local", workers=1, minutes=1 / 60)
    assert 0 < float((tmp_path / "003.F3.6").read_text()) <= 1 / 60
    assert not (tmp_path / "003.F3.8").exists()


def test_no_more_workers_than_asked_for(tmp_path, nothing_drawn):
    text = (
        "import sys, time, pathlib; p = pathlib.Path(sys.argv[1]); p.touch(); time.sleep(0.5);"
        "print(len(list(p.parent.glob('*.on')))); p.unlink()"
    )
    jobs = [Job("digits", str(number)) for number in range(5)]
    ended = executors._locally(
        jobs,
        lambda job, minutes: [sys.executable, "-c", text, str(tmp_path / f"{job.exhibit}.on")],
        2,
        tmp_path,
        None,
    )
    assert sorted(ended) == [(job, 0) for job in jobs]
    at_once = [int((tmp_path / f"{job.name}.log").read_text()) for job in jobs]
    assert max(at_once) == 2


def test_ctrl_c_reaches_the_jobs(tmp_path, nothing_drawn):
    text = "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(100)"
    started = tmp_path / "started"

    def command(job: Job, minutes: float | None) -> list[str]:
        return [sys.executable, "-c", text, str(started)]

    def interrupt() -> None:
        while not started.exists():
            time.sleep(0.05)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    # Processes that share out tests ignore the signal.
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=interrupt).start()
    begin = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_jobs(smallest_run(tmp_path), command, executor="local", workers=1)
    finally:
        signal.signal(signal.SIGINT, ignored)
    assert time.monotonic() - begin < 30
    log = (tmp_path / "artifacts/jobs/digits-003.F3.6.log").read_text()
    assert "KeyboardInterrupt" in log


def test_figures_that_show_rows_of_a_job_are_drawn_again(tmp_path, monkeypatch):
    run = smallest_run(tmp_path, ("003.F3.6",))
    drawn = []
    monkeypatch.setattr(scheduler, "draw", lambda run, exhibit, name: drawn.append(exhibit.id))
    monkeypatch.setattr(scheduler, "is_drawn", lambda run, exhibit, name: "F3.1" in exhibit.id)
    fresh = [accuracy(0.5, dataset="digits", attack="pgd", epsilon=0.1)]
    scheduler.draw_fresh(run, "digits", fresh, {"003.F3.6"})
    assert "003.F3.6" in drawn and len(drawn) < 8
    assert all("F3.1" in name for name in drawn if name != "003.F3.6")


# -- the command ----------------------------------------------------------------------------------


def test_without_submitit_a_sentence_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    imported = builtins.__import__

    def without(name, *arguments, **options):
        if name == "submitit":
            raise ImportError("No module named 'submitit'")
        return imported(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    folders = ["--results-dir", str(tmp_path / "r"), "--artifacts-dir", str(tmp_path / "a")]
    assert run_all.main([*folders, "--only", "003.F3.6", "--executor", "slurm"]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and "pip install submitit==" in text and "--executor local" in text


def test_without_slurm_a_sentence_says_so(tmp_path, capsys):
    pytest.importorskip("submitit")
    folders = ["--results-dir", str(tmp_path / "r"), "--artifacts-dir", str(tmp_path / "a")]
    assert run_all.main([*folders, "--only", "003.F3.6", "--executor", "slurm"]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and "sbatch" in text


def test_the_command_calls_itself_for_each_figure(tmp_path, monkeypatch):
    called = []

    def call(run, command, **options):
        called.append((command(Job("digits", "003.F3.6"), 1.0), options))

    monkeypatch.setattr(executors, "run_jobs", call)
    folders = ["--results-dir", str(tmp_path / "r"), "--artifacts-dir", str(tmp_path / "a")]
    given = [*folders, "--only", "003.F3.6", "--executor", "local", "--workers", "3", "--pdf"]
    assert run_all.main(given) == 0
    ((command, options),) = called
    assert options == {"executor": "local", "workers": 3, "minutes": None}
    assert command[:2] == [sys.executable, str(ROOT / "run_all.py")]
    assert command[2 : 2 + len(given)] == given
    listed = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert "--executor" in listed.stdout
    assert run_all.parse_arguments(command[2:]).rows_only


@pytest.mark.parametrize("workers", ["0", "-1", "two", "1.5"])
def test_workers_are_counted(workers, capsys):
    with pytest.raises(SystemExit):
        run_all.main(["--executor", "local", "--workers", workers])
    assert "expected an integer from 1 to 1000" in capsys.readouterr().err
