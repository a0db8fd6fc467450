"""Compares the committed rows and tables with those from before rows lost their figures.

    python -m benchmarks.former_rows

Until the commit below every figure had rows of its own, one file for each, and clean images were
measured again for every attack. Each of those rows has to be found among today's with the same
number, and each table word for word, but for what the printed list says. Needs the repository's
history.
"""

from __future__ import annotations

import csv
import difflib
import subprocess
from collections import Counter
from pathlib import Path

from results.row import Place, Row, settings_text, typed
from results.store import RowStore

FORMER = "6a11398"
ROOT = Path(__file__).resolve().parents[1]
_VOTING = ("recovery_rate", "overlap_wrong", "overlap_correct")
_NO_EXHIBIT = ("claims", "clean_accuracy")


def former(path: str) -> str:
    """A file of the former commit; of a folder the names in it."""
    found = subprocess.run(
        ["git", "show", f"{FORMER}:{path}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return found.stdout


def place_of(row: dict[str, str]) -> Place:
    """Where a former row belongs today."""
    settings = {
        name: typed(value)
        for name, found, value in (token.partition("=") for token in row["flags"].split(";"))
        if found
    }
    metric, decider, threat = row["metric"], row["classifier"], row["threat_model"]
    if metric == "accuracy":
        decider = "target" if decider == settings.get("target") else decider
    elif metric not in _VOTING:
        decider = "none"
    epsilon, norm, attack = float(row["epsilon"]), row["norm"], row["attack"]
    if attack.endswith("carlini_wagner") and epsilon == 1:
        norm = "l2"  # found without a budget
    if epsilon == 0:
        attack, norm, threat = "none", "", "none"
        if metric.startswith(("l1", "l2")):
            settings.pop("target", None)
    if row["experiment"] == "004.F9" and metric == "accuracy":
        settings["batch"] = 128
    pooled = row["defense"] in ("sfl_vae", "defense_cyclegan")
    replaced = row["defense"] == "defense_vae" and "retrained" not in settings
    if threat == "framework" and decider == "target" and (pooled or replaced):
        threat = "framework_transfer"
    return Place(
        row["dataset"],
        row["defense"],
        decider,
        attack,
        norm,
        epsilon,
        threat,
        metric,
        int(row["seed"]),
        settings_text(settings),
    )


def compare_rows(rows: dict[Place, Row]) -> None:
    """Every former row beside today's."""
    counts: Counter[str] = Counter()
    found = set()
    for name in former("results/raw/quick/").split():
        if not name.endswith(".csv"):
            continue
        for row in csv.DictReader(former(f"results/raw/quick/{name}").splitlines()):
            place = place_of(row)
            counts["rows"] += 1
            counts["merged"] += place in found
            counts["framework_transfer"] += place.threat_model == "framework_transfer"
            found.add(place)
            today = rows.get(place)
            if today is None:
                counts["missing"] += 1
            elif abs(today.value - float(row["value"])) > 1e-7:
                counts["of fewer images"] += 1
                print(f"{name}: {row['value']} of {row['total']}, today {today.value} {place}")
    print(", ".join(f"{name} {count}" for name, count in counts.items()))
    print(f"places {len(found)}, rows today {len(rows)}")


def compare_tables() -> None:
    """Every former table of an exhibit beside today's, with the lines that differ."""
    equal = 0
    names = [n for n in former("results/tables/quick/").split() if n.endswith(".md")]
    names = [name for name in names if name.removesuffix(".md") not in _NO_EXHIBIT]
    for name in names:
        old = former(f"results/tables/quick/{name}")
        new = (ROOT / "results/tables/quick" / name).read_text()
        equal += old == new
        changes = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)
        for line in list(changes)[2:]:
            print(f"{name}: {line}")
    print(f"{equal} of {len(names)} tables equal")


if __name__ == "__main__":
    compare_rows({row.place: row for row in RowStore(ROOT / "results", "quick").read()})
    compare_tables()
