"""Kills a run at random moments and compares its rows with those of an uninterrupted one.

    python benchmarks/kill_and_resume.py --kills 20                the demo profile
    python benchmarks/kill_and_resume.py --kills 5 --tiny          seconds instead of minutes

Exits with 0 if every row but its seconds is the same. The kill is SIGKILL: no handler runs.
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

ROOT = Path(__file__).resolve().parents[1]


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
    """Every stored row, sorted, without the time it took."""
    rows = []
    for path in sorted((folder / "results" / "raw").rglob("*.csv")):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                row.pop("seconds")
                rows.append(tuple(row.values()))
    return sorted(rows)


def run_to_the_end(arguments: Sequence[str]) -> float:
    """Runs a command to its end; returns the seconds it took.

    Raises:
        RuntimeError: If it fails; the message has the end of what it printed.
    """
    start = time.monotonic()
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{arguments} failed:\n{done.stderr[-3000:]}")
    return time.monotonic() - start


def killed_runs(arguments: Sequence[str], moments: Sequence[float]) -> int:
    """Starts a command once per moment and kills it then; returns how often it was still alive."""
    kills = 0
    for moment in moments:
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    return kills


def compare(kills: int, tiny: bool, seed: int, folder: Path) -> bool:
    """Whether a run killed ``kills`` times ends in the rows of an uninterrupted one."""
    whole, broken = folder / "whole", folder / "broken"
    seconds = run_to_the_end(command(whole, tiny))
    print(f"uninterrupted: {seconds:.0f} s, {len(rows_without_seconds(whole))} rows", flush=True)
    # A run that finds everything done takes ``idle`` seconds. Beyond that a kill comes after a
    # ``kills``-th of the work on average, so that there is still something to kill the last time.
    idle = run_to_the_end(command(whole, tiny))
    rng = random.Random(seed)
    reach = idle + 2 * max(seconds - idle, 1.0) / kills
    moments = [rng.uniform(0.5 * idle, reach) for _ in range(kills)]
    done = killed_runs(command(broken, tiny), moments)
    run_to_the_end(command(broken, tiny))
    same = rows_without_seconds(whole) == rows_without_seconds(broken)
    print(f"killed {done} times: rows {'are the same' if same else 'DIFFER'}", flush=True)
    return same


def main() -> int:
    """Reads the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--tiny", action="store_true", help="the profile of the tests")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return 0 if compare(options.kills, options.tiny, options.seed, Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main())
