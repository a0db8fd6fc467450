"""What is measured beside accuracies, each a function of a study by its name."""

from __future__ import annotations

from collections.abc import Callable

from experiments.measure import Study
from experiments.probes import (
    attention,
    distances,
    draws,
    features,
    pictures,
    readings,
    spaces,
    success,
    timing,
    voting,
)
from results.exhibit import Probe
from validation import check_choice

PROBES: dict[str, Callable[..., None]] = {
    "distances": distances.distances,
    "clean_distances": distances.clean_distances,
    "weight_sweep": distances.weight_sweep,
    "perturbation_lengths": distances.perturbation_lengths,
    "readings": readings.readings,
    "features": features.features,
    "index_changes": features.index_changes,
    "voting": voting.voting,
    "attack_success": success.attack_success,
    "chosen_class": success.chosen_class,
    "example_images": pictures.example_images,
    "projections": pictures.projections,
    "loss_weights": pictures.loss_weights,
    "trade_off": pictures.trade_off,
    "fresh_draws": draws.fresh_draws,
    "neighbourhoods": spaces.neighbourhoods,
    "attention_maps": attention.attention_maps,
    "seconds": timing.seconds,
    "accuracy_against_time": timing.accuracy_against_time,
}


def run(study: Study, exhibit: str, probe: Probe) -> None:
    """Measures what an exhibit asks for.

    Args:
        study: Models, test images and rows.
        exhibit: Its id, which names the pictures that are kept.
        probe: Name and settings of the measurement.

    Raises:
        ValueError: If there is no probe of that name; the message lists the known ones.
    """
    PROBES[check_choice("a probe", probe.name, PROBES)](study, exhibit, **probe.settings)
