"""What a run would do, found without training, attacking or writing anything.

What is missing is found by ``experiments.planner``; its operations are divided by the speed of the
device at hand.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter

from experiments import datasets
from experiments.image_files import TFDS_NAMES, is_prepared
from experiments.measure import Study
from experiments.planner import ExhibitPlan, KnownData, Planner, Step, trained_models
from experiments.runs import Run
from experiments.speed import Speed, measured
from experiments.workload import Images


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do.

    Args:
        profile: Its name.
        exhibits: In the order in which they are measured.
        speed: What the times are computed from.
        without_data: Data sets whose images are not at hand, so that nothing of them counts as
            there.
    """

    profile: str
    exhibits: tuple[ExhibitPlan, ...]
    speed: Speed
    without_data: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """About how long all of it takes."""
        return sum(exhibit.seconds for exhibit in self.exhibits)

    @property
    def left(self) -> tuple[ExhibitPlan, ...]:
        """The exhibits of which something is missing."""
        return tuple(one for one in self.exhibits if one.missing or one.pictures)


def estimates(run: Run, speed: Speed | None = None, *, look_for_data: bool = True) -> Plan:
    """What is left of a run, and about how long it takes.

    Args:
        run: What is asked for.
        speed: Of the device; ``None`` measures that of the one at hand, in a second or two.
        look_for_data: Whether to look for what is there, which is told by the images; without,
            everything counts as missing.

    Returns:
        A plan; nothing is trained, attacked or written.
    """
    speed = speed or measured()
    found: list[ExhibitPlan] = []
    unknown = []
    for name in run.dataset_names:
        exhibits = [e for e in run.exhibits if e.implemented and e.applies_to(name)]
        if not exhibits:
            continue
        known = _known_data(run, name) if look_for_data else None
        if known is None:
            unknown.append(name)
        planner = Planner(run, name, known, speed)
        found += [planner.plan_exhibit(exhibit) for exhibit in exhibits]
    return Plan(
        profile=run.profile.name, exhibits=tuple(found), speed=speed, without_data=tuple(unknown)
    )


def _known_data(run: Run, name: str) -> KnownData | None:
    """What tells the images apart: from a record beside rows, else from the images themselves.

    ``None`` if there are neither. Where neither rows nor attacked sets are there to be compared,
    the record of any profile will do, as it has what tells the trained models apart.
    """
    plan = run.profile.plans[name]
    own = run.rows.folder / f"{name}_seed{run.seed}.json"
    records = [own]
    if not run.rows.has_any(name) and not (run.artifacts_dir / "attacked_sets").is_dir():
        records += sorted(own.parent.parent.glob(f"*/{name}_seed*.json"))
    for path in records:
        try:
            record = json.loads(path.read_text())
            checksum, test_images = str(record["checksum"]), str(record["test_images"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        images = Images.of_plan(plan)
        return KnownData(checksum=checksum, test_images=test_images, images=images)
    if name in TFDS_NAMES and not is_prepared(name, run.data_dir):
        return None
    try:
        data = datasets.load(plan.dataset, run.data_dir)
    except datasets.DatasetError:
        return None
    sets = Study(run.profile, trained_models(run, plan, data), run.rows).sets
    images = Images.of_data(data)
    return KnownData(checksum=data.checksum, test_images=sets.image_hash, images=images)


# -- in words -----------------------------------------------------------------------------------


def describe(run: Run, speed: Speed | None = None) -> str:
    """What a run would do, exhibit by exhibit, for people."""
    plan = estimates(run, speed)
    lines = []
    for exhibit in plan.exhibits:
        lines.append(f"[{exhibit.dataset}] {exhibit.id}  {exhibit.title}: {_state(exhibit)}")
        lines += _trainings(exhibit)
    lines += [
        f"The images of {name} are not at hand: all is counted." for name in plan.without_data
    ]
    lines.append(_total(plan))
    return "\n".join(lines)


def summary_line(run: Run, speed: Speed | None = None) -> str:
    """What is left of a run, and about how long it takes, in one line."""
    return _total(estimates(run, speed))


def _state(exhibit: ExhibitPlan) -> str:
    if not exhibit.missing and not exhibit.pictures:
        return "all is there, or measured before it"
    parts = []
    if exhibit.missing:
        parts.append(f"{exhibit.missing} of {exhibit.rows} rows to measure")
    if exhibit.pictures:
        parts.append("pictures to make")
    if exhibit.models:
        parts.append(f"{exhibit.cached_models} of {exhibit.models} models there by then")
    if exhibit.sets:
        parts.append(f"{exhibit.cached_sets} of {exhibit.sets} attacked sets there by then")
    return f"{', '.join(parts)}; about {duration(exhibit.seconds)}"


def _trainings(exhibit: ExhibitPlan) -> list[str]:
    lines = []
    for kind, verb in (("train", "trains"), ("attack", "attacks")):
        steps = [step for step in exhibit.steps if step.kind == kind]
        if steps:
            seconds = sum(step.seconds for step in steps)
            names = ", ".join(_named(step) for step in steps) if kind == "train" else ""
            what = names or f"{len(steps)} sets"
            lines.append(f"    {verb} {what}: about {duration(seconds)}")
    return lines


def _named(step: Step) -> str:
    return f"{step.name} ({step.epochs} epochs)" if step.epochs else step.name


def _total(plan: Plan) -> str:
    left = plan.left
    if not left:
        return f"Nothing is left of the {len(plan.exhibits)} figures and tables chosen."
    steps = [step for exhibit in left for step in exhibit.steps]
    counts = Counter(step.kind for step in steps)
    return (
        f"Left: {len(left)} of {len(plan.exhibits)} figures and tables, {counts['train']} models "
        f"to train, {counts['attack']} sets to attack, "
        f"{sum(exhibit.missing for exhibit in left)} rows to measure; about "
        f"{duration(plan.seconds)} on {plan.speed.device}, within a factor of "
        f"{plan.speed.accuracy:g}."
    )


def duration(seconds: float) -> str:
    """Seconds in a unit that suits them, to two digits: seconds, minutes, hours or days."""
    for unit, size, limit in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if seconds < size * limit:
            return f"{_two_digits(seconds / size)} {unit}"
    return f"{_two_digits(seconds / 86_400)} days"


def _two_digits(number: float) -> str:
    return f"{float(f'{number:.2g}'):g}"
