"""Kills a run at random moments and compares its results with those of an uninterrupted one.

    python benchmarks/kill_and_resume.py --kills 50 --beside 2     the demo profile
    python benchmarks/kill_and_resume.py --kills 5 --tiny          a minute instead of an hour

Exits with 0 if every row but its times, every outcome and every picture is the same. The kill is
SIGKILL: no handler runs. Beside some of the kills a second run works on the same folders; it goes
on for a while after the kill and is then interrupted as by Ctrl-C.
"""

from __future__ import annotations

import argparse
import csv
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from validation import check_integer

ROOT = Path(__file__).resolve().parents[1]
_TIMES = ("seconds", "seconds_floor")
_PATIENCE = 300
"""Seconds that an interrupted run may take to end."""


class Kill(NamedTuple):
    """A kill: after how many seconds, and what the run had done by then."""

    seconds: float
    rows: int
    written: str
    printed: str
    beside: bool


def command(folder: Path, tiny: bool) -> list[str]:
    """The command of one run that keeps everything under ``folder``."""
    if tiny:
        return [sys.executable, str(ROOT / "tests" / "tiny_profile.py"), str(folder)]
    return [
        sys.executable,
        str(ROOT / "run_all.py"),
        "--results-dir",
        str(folder / "results"),
        "--artifacts-dir",
        str(folder / "artifacts"),
    ]


def rows_without_seconds(folder: Path) -> list[tuple[str, ...]]:
    """Every stored row, sorted, without the time it took, and without the value of a time."""
    rows = []
    for path in sorted((folder / "results" / "raw").rglob("*.csv")):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                row.pop("seconds")
                if row["metric"] in _TIMES:
                    row.pop("value")
                rows.append(tuple(row.values()))
    return sorted(rows)


def different_arrays(one: Path, other: Path) -> list[str]:
    """The outcomes and pictures that two runs do not share, bit for bit, by file and name."""
    found = [_arrays(folder / "results" / "raw") for folder in (one, other)]
    return sorted(
        name
        for name in found[0].keys() | found[1].keys()
        if not (name in found[0] and name in found[1])
        or not np.array_equal(found[0][name], found[1][name])
    )


def _arrays(folder: Path) -> dict[str, np.ndarray]:
    arrays = {}
    for path in sorted(folder.rglob("[!.]*.npz")):
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                arrays[f"{path.relative_to(folder)}: {name}"] = file[name]
    return arrays


def left_behind(folder: Path) -> list[str]:
    """Half-written files, which begin with a dot, that no run took away."""
    hidden = (path for path in folder.rglob(".*") if path.suffix != ".lock")
    return sorted(str(path.relative_to(folder)) for path in hidden)


def run_to_the_end(arguments: Sequence[str]) -> float:
    """Runs a command to its end; returns the seconds it took.

    Raises:
        RuntimeError: If it fails; the message has the end of what it printed.
    """
    start = time.monotonic()
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    _check_status(arguments, done.returncode, done.stderr)
    return time.monotonic() - start


def _check_status(arguments: Sequence[str], status: int, errors: str) -> None:
    if status:
        raise RuntimeError(
            f"Expected {' '.join(arguments)} to end with 0, received {status}. Mend what it says:\n"
            f"{errors[-3000:]}"
        )


def killed_run(
    arguments: Sequence[str], folder: Path, moment: float, beside: float | None = None
) -> Kill | None:
    """Starts a command and kills it after ``moment`` seconds, unless it has ended by then.

    Args:
        arguments: The command.
        folder: Where it keeps everything.
        moment: Seconds until the kill.
        beside: Seconds that a second run, started at the same time, goes on after the kill; None
            for no second run.

    Raises:
        RuntimeError: If it fails by itself; the message has the end of what it printed.
    """
    with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as errors:
        first = subprocess.Popen(arguments, stdout=printed, stderr=errors)
        second = None
        if beside is not None:
            second = subprocess.Popen(
                arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        kill = None
        try:
            status = first.wait(timeout=moment)
            errors.seek(0)
            _check_status(arguments, status, errors.read())
        except subprocess.TimeoutExpired:
            first.send_signal(signal.SIGKILL)
            first.wait()
            printed.seek(0)
            lines = printed.read().splitlines()
            kill = Kill(
                moment,
                len(rows_without_seconds(folder)),
                _last_written(folder),
                lines[-1] if lines else "",
                second is not None,
            )
        finally:
            if second is not None:
                _interrupt(second, beside or 0.0)
    return kill


def _interrupt(process: subprocess.Popen, after: float) -> None:
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=_PATIENCE)


def _last_written(folder: Path) -> str:
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    newest = max(files, key=lambda path: path.stat().st_mtime, default=folder)
    return str(newest.relative_to(folder))


def compare(kills: int, beside: int, tiny: bool, seed: int, folder: Path) -> bool:
    """Whether runs killed ``kills`` times in all end in the results of an uninterrupted one.

    A run that ends before its kill is compared, and the next one begins in an empty folder.

    Args:
        kills: How many.
        beside: So many of them happen while a second run works on the same folders.
        tiny: The profile of the tests instead of the demo.
        seed: Of the moments.
        folder: Where all runs keep everything.

    Raises:
        ValueError: If there is no kill, or there are more beside a second run than kills.
        RuntimeError: If a run fails.
    """
    check_integer("kills", kills, at_least=1)
    check_integer("beside", beside, at_most=kills)
    whole, start = folder / "whole", time.monotonic()
    seconds = run_to_the_end(command(whole, tiny))
    _say(f"uninterrupted: {seconds:.0f} s, {len(rows_without_seconds(whole))} rows")
    # A run that finds everything done takes ``idle`` seconds. Beyond that a kill comes after a
    # ``kills``-th of the work on average, so that one folder meets many of them.
    idle = run_to_the_end(command(whole, tiny))
    rng = random.Random(seed)
    reach = idle + 2 * max(seconds - idle, 1.0) / kills
    together = {round((number + 1) * kills / (beside + 1)) for number in range(beside)}
    done: list[Kill] = []
    same, folders = True, 1
    while len(done) < kills:
        broken = folder / f"broken_{folders}"
        longer = rng.uniform(0.0, reach) if len(done) + 1 in together else None
        kill = killed_run(command(broken, tiny), broken, rng.uniform(0.5 * idle, reach), longer)
        if kill is None:
            same &= _same(whole, broken)
            folders += 1
        else:
            done.append(kill)
            _say(f"{len(done):3}: {_words(kill)}")
    broken = folder / f"broken_{folders}"
    last = run_to_the_end(command(broken, tiny))
    same &= _same(whole, broken)
    _say(
        f"killed {len(done)} times in {folders} folders, {sum(kill.beside for kill in done)} of "
        f"them beside a second run; the last run, to its end, {last:.0f} s; all in all "
        f"{time.monotonic() - start:.0f} s: results {'are the same' if same else 'DIFFER'}"
    )
    return same


def _same(whole: Path, broken: Path) -> bool:
    rows = rows_without_seconds(broken)
    equal = rows == rows_without_seconds(whole)
    different = different_arrays(whole, broken)
    _say(
        f"     {broken.name}: {len(rows)} rows {'are the same' if equal else 'DIFFER'}; of "
        f"{len(_arrays(broken / 'results' / 'raw'))} outcomes and pictures {len(different)} "
        f"differ; {len(left_behind(broken))} half-written files left behind"
    )
    for name in different[:10]:
        _say(f"       {name}")
    return equal and not different


def _words(kill: Kill) -> str:
    return (
        f"killed after {kill.seconds:.1f} s{' beside a second run' * kill.beside}, "
        f"{kill.rows} rows; last written {kill.written}; last printed {kill.printed!r}"
    )


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    """Reads the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument(
        "--beside", type=int, default=0, help="kills while a second run works on the same folders"
    )
    parser.add_argument("--tiny", action="store_true", help="the profile of the tests")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            same = compare(options.kills, options.beside, options.tiny, options.seed, Path(folder))
        except (ValueError, RuntimeError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
