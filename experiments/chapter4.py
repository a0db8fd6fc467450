"""The experiments of the dissertation's chapter 4 and of the Defense-CycleGAN paper."""

from __future__ import annotations

from experiments.deciders import repeats
from experiments.distances import distances
from experiments.evaluation import Measured, Measurement, Study
from experiments.oblivious import available, settle_defended
from results.rows import make_flags

PURIFIER = "defense_cyclegan"
ABLATIONS = tuple(f"{PURIFIER}_{removed}" for removed in range(1, 5))


def oblivious_accuracy(study: Study, experiment: str, attack: str) -> None:
    """Accuracy against epsilon of Defense-CycleGAN when the undefended target is attacked.

    The other curves of these figures are those of chapter 3, whose rows are shown with them.

    **Reference**: dissertation, 4.4.2, Figures 4.2 to 4.5; Defense-CycleGAN, Figure 2.
    **Differs from the paper**: mean over targets A, B and C, where it names none; vote alone and
    vote with Bayesian update are kept apart.
    """
    settle_defended(study, experiment, attack, (PURIFIER,))


def clean_reconstruction(study: Study, experiment: str) -> None:
    """L1 between clean test images and what each purifier makes of them.

    **Reference**: dissertation, 4.4.4, Table 4.1; Defense-CycleGAN, Table I.
    **Differs from the paper**: the table does not name its data set; by their size its numbers
    are of CIFAR-10.
    """
    for name in available(study, ("sfl_vae", PURIFIER, *ABLATIONS)):
        wishes = {
            metric: Measurement(
                defense=name, classifier="none", metric=metric, flags=make_flags(repeats(study))
            )
            for metric in ("l1", "l1_standard_error")
        }

        def measure(name=name, wishes=wishes) -> Measured:
            found = distances(study, study.purified(name, study.data.test.images))
            return {wish: (found[metric], None, None) for metric, wish in wishes.items()}

        study.settle(
            experiment,
            attack="none",
            epsilon=0.0,
            threat_model="none",
            depends_on=study.models.purifier_recipe(name),
            measurements=wishes.values(),
            measure=measure,
        )
