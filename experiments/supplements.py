"""What chapter 3 needs beside its printed figures: the KL weight, and images to look at."""

from __future__ import annotations

import dataclasses

from attacks.threat_models import ThreatModel
from defenses.sfl_vae import SFLVAE
from experiments.chapter3 import PURIFIER, RECONSTRUCTION_TARGET
from experiments.distances import distances
from experiments.evaluation import Measured, Measurement, Study
from experiments.evidence import vote_predictions
from experiments.inference import classifier_labels
from results.image_grids import save_examples
from results.rows import make_flags

EXAMPLE_EPSILON = 0.1


def kl_weight_sweep(study: Study, experiment: str) -> None:
    """Clean reconstruction L1 against the weight of the KL term, which the text leaves open.

    The anchor is the mean L1 of 126.0 printed for this VAE in Table 4.1.
    """
    base = study.plan.purifiers[PURIFIER]
    for weight in study.plan.sweep:
        config = dataclasses.replace(
            base,
            training=study.plan.sweep_training or base.training,
            arguments={**base.arguments, "kl_weight": weight},
        )
        recipe = study.models.recipe(config)
        for mean_latent in (False, True):
            flags = make_flags({"kl_weight": f"{weight:g}", "mean_latent": mean_latent})
            wish = Measurement(defense=PURIFIER, classifier="none", metric="l1", flags=flags)

            def measure(
                config=config, recipe=recipe, wish=wish, mean_latent=mean_latent
            ) -> Measured:
                trained = study.models.train_purifier(config, recipe)
                purifier = SFLVAE(
                    trained.encoder, trained.decoder, mean_latent=mean_latent, seed=study.seed
                )
                purified = purifier.purify(study.data.test.images)
                return {wish: (distances(study, purified)["l1"], None, None)}

            study.settle(
                experiment,
                attack="none",
                epsilon=0.0,
                threat_model="none",
                depends_on=recipe,
                measurements=[wish],
                measure=measure,
            )


def example_images(study: Study, experiment: str) -> None:
    """Stores a few test images, attacked with PGD near 0.1 and purified, with who says what.

    **Reference**: dissertation, Figure 1.1 (one image and its attacked version).
    **Differs from the paper**: several images; perturbation and purified image are shown too.
    """
    path = study.picture_path(experiment)
    if path.is_file():
        return
    target = RECONSTRUCTION_TARGET
    epsilon = min(study.profile.epsilons, key=lambda e: abs(e - EXAMPLE_EPSILON))
    attacked = study.sets.oblivious(target, "pgd", epsilon)
    purified = study.purified(PURIFIER, attacked)
    votes = study.vote(vote_predictions(study.models, PURIFIER, purified))
    says = classifier_labels(study.models.target(target), attacked, f"target {target}")
    labels = study.data.test.labels
    chosen = study.one_of_each_class()
    save_examples(
        path,
        clean=study.data.test.images[chosen],
        attacked=attacked[chosen],
        purified=purified[chosen],
        labels=labels[chosen],
        target_predictions=says[chosen],
        votes=votes[chosen],
        class_names=list(study.data.class_names),
        threat_model=ThreatModel.OBLIVIOUS.value,
    )
