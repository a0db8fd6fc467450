"""Counts the operations of every network of a profile, and about what its exhibits take.

    python -m benchmarks.count_operations                    a table for the profile full
    python -m benchmarks.count_operations --profile paper    for another one
    python -m benchmarks.count_operations --write            counts anew what experiments/ keeps,
                                                             and the tables of docs/scaling.md

Nothing is trained, and no data set is needed.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from experiments import costs, planning, presets
from experiments.config import ClassifierConfig, PurifierConfig
from experiments.profile import DatasetPlan
from experiments.runs import Run
from experiments.speed import SHARED_H200
from experiments.workload import Images, Model, Workload
from papers import catalog
from results.files import write_atomically

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scaling.md"
KEPT = ("full", "paper")
"""The profiles whose networks take long to build."""
WORDS = {"targets": "classifier", "voters": "voter", "purifiers": "purifier"}


def configurations(plan: DatasetPlan) -> Iterator[tuple[Model, ClassifierConfig | PurifierConfig]]:
    """Every network of a plan that is trained in a way of its own."""
    for name, classifier in plan.classifiers.items():
        yield Model("targets", name), classifier
    for key, purifier in {**plan.purifiers, **plan.variants}.items():
        yield Model("purifiers", key), purifier
    for key in plan.purifiers:
        for index, voter in enumerate(plan.pool(key)):
            yield Model("voters", str(index), key), voter
    if plan.substitute is not None:
        yield Model("substitutes", next(iter(plan.classifiers))), plan.substitute.classifier


def counted() -> dict[str, costs.Networks]:
    """The counts of all networks of the large profiles, by their names."""
    found: dict[str, costs.Networks] = {}
    for profile in KEPT:
        for plan in presets.profile(profile).plans.values():
            shape = Images.of_plan(plan).shape
            for _, config in configurations(plan):
                label = costs.label(config, shape)
                if label not in found:
                    found[label] = costs.count(config, shape)
                    print(label, file=sys.stderr)
    return dict(sorted(found.items()))


def network_table(profile: str) -> str:
    """Operations of each network, of an image and of an epoch, as a Markdown table."""
    one = presets.profile(profile)
    lines = [
        "| data set | network | MFLOP a pass | GFLOP a step | epochs | "
        "TFLOP an epoch | seconds an epoch |",
        "| --- | --- | --: | --: | --: | --: | --: |",
    ]
    for name, plan in one.plans.items():
        work = Workload(one, plan, Images.of_plan(plan))
        rows: dict[str, str] = {}
        for model, config in configurations(plan):
            if model.kind == "substitutes":
                continue
            label = model.name
            if isinstance(config, ClassifierConfig) and model.kind == "voters":
                label = config.architecture
            key = f"{WORDS[model.kind]} {label}"
            if key in rows:
                continue
            epochs = config.training.epochs
            number = min(work.images.train, config.training.train_limit or work.images.train)
            works = work.train(model, epochs)
            if not works:
                continue
            operations = sum(part.operations for part in works)
            seconds = sum(SHARED_H200.seconds(part) for part in works)
            seconds -= SHARED_H200.program_seconds
            rows[key] = (
                f"| {name} | {key} | {work.forward(model) / 1e6:.3g} "
                f"| {operations / epochs / number / 1e9:.3g} | {epochs} "
                f"| {operations / epochs / 1e12:.3g} | {seconds / epochs:.2g} |"
            )
        lines += rows.values()
    return "\n".join(lines)


@functools.cache
def plan_of(profile: str) -> planning.Plan:
    """A whole profile, nothing of it there, on the GPU that was timed."""
    one = presets.profile(profile)
    with tempfile.TemporaryDirectory() as empty:
        run = Run(
            profile=one,
            exhibits=tuple(catalog.select([])),
            dataset_names=tuple(one.plans),
            seed=0,
            results_dir=Path(empty),
            artifacts_dir=Path(empty),
        )
        return planning.estimates(run, SHARED_H200, look_for_data=False)


def exhibit_table(profile: str) -> str:
    """What each exhibit takes beside what those before it make, as a Markdown table."""
    plan = plan_of(profile)
    lines = [
        "| data set | exhibit | models | sets | rows | training | attacks | all | memory |",
        "| --- | --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for exhibit in plan.exhibits:
        seconds = {
            kind: sum(step.seconds for step in exhibit.steps if step.kind == kind)
            for kind in ("train", "attack")
        }
        lines.append(
            f"| {exhibit.dataset} | {exhibit.id} | {exhibit.models - exhibit.cached_models} "
            f"| {exhibit.sets - exhibit.cached_sets} | {exhibit.missing} "
            f"| {planning.duration(seconds['train'])} | {planning.duration(seconds['attack'])} "
            f"| {planning.duration(exhibit.seconds)} | {exhibit.gigabytes:.2g} GB |"
        )
    lines.append(f"| all | | | | | | | {planning.duration(plan.seconds)} | |")
    return "\n".join(lines)


def gpu_table() -> str:
    """What several GPUs do to independent jobs, as a Markdown table."""
    numbers = (1, 2, 4, 8)
    lines = [
        f"| profile | {' | '.join(f'{n} GPUs' if n > 1 else '1 GPU' for n in numbers)} "
        "| longest line |",
        f"| --- | {'--: | ' * len(numbers)}--- |",
    ]
    for profile in KEPT:
        plan = plan_of(profile)
        longest = max(plan.exhibits, key=lambda one: one.seconds)
        times = (planning.duration(max(plan.seconds / n, longest.seconds)) for n in numbers)
        lines.append(
            f"| {profile} | {' | '.join(times)} | {longest.id}, {longest.dataset}: "
            f"{planning.duration(longest.seconds)} |"
        )
    return "\n".join(lines)


def tables() -> dict[str, str]:
    """All tables of the page, by what its markers call them."""
    found = {"gpus all": gpu_table()}
    for profile in KEPT:
        found[f"networks {profile}"] = network_table(profile)
        found[f"exhibits {profile}"] = exhibit_table(profile)
    return found


def with_tables(text: str) -> str:
    """A page with the tables between its markers, written anew."""
    for name, table in tables().items():
        begin, end = (f"<!-- {word} {name} -->" for word in ("begin", "end"))
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"Expected {begin} and {end} in {PAGE}, received neither. Add them.")
        text = f"{before}{begin}\n{table}\n{end}{after}"
    return text


def main() -> None:
    """Prints or writes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--profile", choices=presets.known_profiles(), default="full")
    parser.add_argument("--write", action="store_true", help="keep the counts, write the page")
    parser.add_argument("--write-page", action="store_true", help="the page alone")
    options = parser.parse_args()
    if not options.write and not options.write_page:
        print(network_table(options.profile))
        print()
        print(exhibit_table(options.profile))
        return
    if options.write:
        write_atomically(costs.COUNTS, _text(counted()).encode())
    costs.kept_counts.cache_clear()
    write_atomically(PAGE, with_tables(PAGE.read_text()).encode())


def _text(counts: dict[str, costs.Networks]) -> str:
    """Counts as JSON, a configuration in each line."""
    lines = [f"{json.dumps(label)}: {json.dumps(networks)}" for label, networks in counts.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    main()
