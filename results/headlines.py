"""Which curve stands for a defense where several are compared."""

from __future__ import annotations

from collections.abc import Iterable

from results.curves import Curve, primary


def headline(curves: Iterable[Curve], defense: str) -> Curve | None:
    """The one curve that stands for a defense beside others.

    Args:
        curves: Curves.
        defense: Registry key.

    Returns:
        Vote with Bayesian update where it was measured, else the target (retrained on purified
        images if there is one that was); None if the defense has neither.
    """
    curves = list(curves)
    return primary(curves, defense, "vote_bayes") or primary(curves, defense, "target")


#: Further deciders that a chapter draws of another chapter's method.
_ALSO_SHOWN = {("defense_cyclegan", "sfl_vae"): ("mean_voter",)}


def shown_curves(curves: Iterable[Curve], main: str | None) -> list[Curve]:
    """The curves of a comparison: every decider of one defense, the headline of each other.

    Args:
        curves: All curves.
        main: The defense that the figure is about; None keeps everything.

    Returns:
        A part of the curves, in their order.
    """
    curves = list(curves)
    if main is None:
        return curves

    def wanted(curve: Curve) -> bool:
        if curve.defense in ("none", main) or curve is headline(curves, curve.defense):
            return True
        also = curve.role in _ALSO_SHOWN.get((main, curve.defense), ())
        return also and curve is primary(curves, curve.defense, curve.role)

    return [curve for curve in curves if wanted(curve)]
