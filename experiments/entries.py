"""What an entry of the catalog is, and how lists of them are made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from experiments.evaluation import Study

DIAGRAM = "a diagram or notation, nothing to measure"
ARCHITECTURE = "an architecture, built in models/ and held by tests"
NOT_YET = "not implemented yet"
ATTACKS = {"fgsm": "FGSM", "bim": "BIM", "pgd": "PGD", "carlini_wagner": "Carlini-Wagner"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One figure or table.

    Args:
        id: the paper's number, then F for a figure or T for a table.
        title: what it shows.
        run: measures its rows, called with a study and the id; ``None`` if nothing is measured.
        drawing: how its rows are drawn: a kind of `experiments.figures`, or empty.
        datasets: data sets it is run on; ``None`` takes all of the profile.
        repeats: ids of which this one is a copy; they are run in its place.
        note: why nothing is measured, or how it differs.
    """

    id: str
    title: str
    run: Callable[[Study, str], None] | None = None
    drawing: str = ""
    datasets: tuple[str, ...] | None = None
    repeats: tuple[str, ...] = ()
    note: str = ""

    @property
    def implemented(self) -> bool:
        """Whether `run_all.py` measures it."""
        return self.run is not None

    def applies_to(self, dataset: str) -> bool:
        """Whether it is run on `dataset`; ``digits`` stands in for any."""
        return self.datasets is None or dataset == "digits" or dataset in self.datasets


def bound(run: Callable[..., None], attack: str) -> Callable[[Study, str], None]:
    """A function of study and id that measures under one attack."""
    return lambda study, experiment: run(study, experiment, attack)


def per_attack(
    chapter: str,
    attacks: Mapping[int, str],
    title: str,
    run: Callable[..., None],
    *,
    drawing: str = "accuracy",
    datasets: tuple[str, ...] | None = None,
) -> list[Entry]:
    """One figure for each attack.

    Args:
        chapter: beginning of their ids, ``"003.F3"``.
        attacks: number of the figure -> attack.
        title: with ``{attack}`` in it.
        run: called with a study, the id and the attack.
        drawing: as in `Entry`.
        datasets: as in `Entry`.
    """
    return [
        Entry(
            id=f"{chapter}.{number}",
            title=title.format(attack=ATTACKS[attack]),
            run=bound(run, attack),
            drawing=drawing,
            datasets=datasets,
        )
        for number, attack in attacks.items()
    ]


def unmeasured(paper: str, ids: Mapping[str, str], note: str = NOT_YET) -> list[Entry]:
    """Entries that `run_all.py` only lists, with the reason."""
    return [Entry(id=f"{paper}.{i}", title=title, note=note) for i, title in ids.items()]


def copies(paper: str, ids: Mapping[str, tuple[str, Sequence[str]]]) -> list[Entry]:
    """Entries of one paper that another one prints too.

    Args:
        paper: number of the paper.
        ids: id without the paper -> title and the ids of the originals.
    """
    return [
        Entry(
            id=f"{paper}.{i}",
            title=title,
            repeats=tuple(originals),
            note=f"the same as {', '.join(originals)}, which it selects",
        )
        for i, (title, originals) in ids.items()
    ]
