"""The four profiles: one code at the sizes of a demonstration, a CPU, a GPU and the papers."""

from __future__ import annotations

from experiments.presets.demo import demo
from experiments.presets.full import full
from experiments.presets.paper import paper
from experiments.presets.quick import quick
from experiments.profile import Profile
from validation import check_choice

_PROFILES = {"demo": demo, "quick": quick, "full": full, "paper": paper}


def known_profiles() -> tuple[str, ...]:
    """The names ``profile`` takes."""
    return tuple(_PROFILES)


def profile(name: str) -> Profile:
    """The profile called ``name``.

    Raises:
        ValueError: If there is none; the message lists the known ones.
    """
    return _PROFILES[check_choice("the profile", name, _PROFILES)]()
