"""The text of ``run_all.py --list``."""

from __future__ import annotations

from collections.abc import Iterable

from experiments.catalog import PAPERS
from experiments.config import Profile
from experiments.entries import Entry


def listing(entries: Iterable[Entry], profiles: Iterable[Profile]) -> str:
    """Every entry by paper, with what each profile does of it.

    Args:
        entries: the entries to list.
        profiles: the profiles to speak of.

    Returns:
        Lines of text.
    """
    known = list(profiles)
    lines = [f"{profile.name}: {profile.cuts}" for profile in known]
    paper = ""
    for entry in entries:
        if entry.id[:3] != paper:
            paper = entry.id[:3]
            lines += ["", f"{paper}  {PAPERS[paper]}"]
        lines.append(f"  {entry.id:16} {entry.title}")
        if not entry.implemented:
            lines.append(f"{'':19}-- {entry.note}")
            continue
        for profile in known:
            names = [name for name in profile.plans if entry.applies_to(name)]
            lines.append(f"{'':19}{profile.name}: {', '.join(names) if names else 'not run'}")
    return "\n".join(lines)
