"""The three profiles: the same code as demo, quick and paper-sized runs."""

from __future__ import annotations

from experiments.config import Profile
from experiments.presets.demo import demo
from experiments.presets.paper import paper
from experiments.presets.quick import quick
from validation import check_choice

_PROFILES = {"demo": demo, "quick": quick, "paper": paper}


def known_profiles() -> tuple[str, ...]:
    """The names ``profile`` takes."""
    return tuple(_PROFILES)


def profile(name: str) -> Profile:
    """The profile called ``name``.

    Raises:
        ValueError: If there is none; the message lists the known ones.
    """
    return _PROFILES[check_choice("the profile", name, _PROFILES)]()
