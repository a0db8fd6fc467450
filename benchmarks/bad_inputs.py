"""Tries generated wrong inputs at every public door, and counts what comes of them.

    python -m benchmarks.bad_inputs                          2,400 cases, minutes on two cores
    python -m benchmarks.bad_inputs --cases 300 --part files
    python -m benchmarks.bad_inputs --write-docs             counts go into docs/reliability.md

Exits with 1 if an input was taken silently, never ended or was refused though right, or if fewer
than 95 of 100 wrong ones were refused clearly. docs/reliability.md says what clear means.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import multiprocessing
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

DOCS = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- table:counts -->", "<!-- /table:counts -->"
SHARES = {
    "attacks": 0.3,
    "purifiers": 0.22,
    "decisions": 0.07,
    "networks": 0.06,
    "experiments": 0.07,
    "options": 0.12,
    "files": 0.1,
    "command line": 0.06,
}
"""How many of the cases each part of the project gets."""
Counts = dict[str, collections.Counter[str]]


def try_part(part: str, count: int, start: int) -> tuple[Counts, list[str], bool, tuple[int, int]]:
    """Tries the cases of one part in a process of its own.

    Returns:
        The counts by group, a line for each case that is neither clear nor accepted, whether none
        of them is a failure, and how many wrong inputs there were, of which how many clear.
    """
    from tests import bad_inputs

    grades = bad_inputs.Grade
    outcomes = bad_inputs.tried(part, count, start)
    lines = [
        f"{o.grade.upper()}  {o.case.door} <- {o.case.value}: {' '.join(o.said.split())[:220]}"
        for o in outcomes
        if o.grade not in (grades.CLEAR, grades.ACCEPTED)
    ]
    failures = {grades.SILENT, grades.HANG, grades.REFUSED}
    clear = sum(o.grade == grades.CLEAR for o in outcomes)
    right = sum(o.grade in (grades.ACCEPTED, grades.REFUSED) for o in outcomes)
    table = {
        group: collections.Counter({grade.value: number for grade, number in found.items()})
        for group, found in bad_inputs.counts(outcomes).items()
    }
    sound = not any(o.grade in failures for o in outcomes)
    return table, lines, sound, (len(outcomes) - right, clear)


def markdown(table: Mapping[str, Mapping[str, int]]) -> str:
    """The counts as a table, one line for each group and one for all."""
    from tests.bad_inputs import Grade

    grades = [grade.value for grade in Grade]
    total: collections.Counter[str] = collections.Counter()
    for found in table.values():
        total.update(found)
    lines = [
        f"| inputs | cases | {' | '.join(grades)} |",
        f"| :-- | --: | {' | '.join('--:' for _ in grades)} |",
    ]
    for group, found in (*sorted(table.items()), ("all", total)):
        cells = [str(found.get(grade, 0)) for grade in grades]
        lines.append(f"| {group} | {sum(found.values()):,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Reads the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cases", type=int, default=2400)
    parser.add_argument("--part", choices=SHARES, help="one part of the project alone")
    parser.add_argument("--seed", type=int, default=0, help="of the generator")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--write-docs", action="store_true", help=f"into {DOCS.name}")
    options = parser.parse_args()
    shares = {options.part: 1.0} if options.part else SHARES
    start = time.monotonic()
    table: Counts = {}
    sound, wrong, clear = True, 0, 0
    with concurrent.futures.ProcessPoolExecutor(
        options.jobs, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1
    ) as pool:
        jobs = [
            pool.submit(try_part, part, round(share * options.cases), options.seed)
            for part, share in shares.items()
        ]
        for job in concurrent.futures.as_completed(jobs):
            found, lines, is_sound, (of_part, clear_of_part) = job.result()
            for group, numbers in found.items():
                table.setdefault(group, collections.Counter()).update(numbers)
            print("\n".join(lines), flush=True)
            sound, wrong, clear = sound and is_sound, wrong + of_part, clear + clear_of_part
    counted = markdown(table)
    share = clear / max(1, wrong)
    summary = f"{clear:,} of {wrong:,} wrong inputs refused clearly ({share:.1%})."
    print(f"{counted}\n\n{summary} {time.monotonic() - start:.0f} s.")
    if options.write_docs:
        before, _, rest = DOCS.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        DOCS.write_text(f"{before}{BEGIN}\n{counted}\n\n{summary}\n{END}{after}")
    return 0 if sound and share >= 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())
