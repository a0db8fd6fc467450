"""Where CAP-GAN's generators look."""

from __future__ import annotations

import keras
import numpy as np

from attacks.threat_models import ThreatModel
from defenses.batches import predict_in_batches
from defenses.cap_gan import CAPGAN
from experiments.attacked_sets import oblivious
from experiments.deciders import defended
from experiments.measure import Study
from models.cam_gan import attention_network
from results.pictures import PictureRow, amplify, save_pictures

_BATCH = 250


def attention_maps(
    study: Study, exhibit: str, *, purifier: str, target: str, attack: str, epsilon: float
) -> None:
    """Keeps a test image of each class, clean and attacked, with what the generators attend to.

    Attention is shown in grey, white where a generator sees most of its source domain; black and
    white are the extremes of all maps of one generator.

    **Reference**: CAP-GAN, sec. III-C and Figure 3: what the generator that purifies attends to in
    attacked images, and the one that attacks in clean ones.
    **Differs from the paper**: both generators on both domains; the perturbation and the purified
    image are shown too.

    Args:
        study: Models and sets.
        exhibit: Names the file.
        purifier: A CAP-GAN of the plan.
        target: Who is attacked.
        attack: A name of the profile's attacks.
        epsilon: Its budget.
    """
    path = study.picture_path(exhibit)
    who = defended(study.plan, purifier, target)
    if study.dry_run or path.is_file() or who is None:
        return
    cap_gan = CAPGAN.narrow(study.models.purifier(who.key or ""))
    chosen = study.one_of_each_class()
    clean = study.data.test.images[chosen]
    attacked = study.sets.images(oblivious(attack, epsilon, target))[chosen]
    names = [study.data.class_names[label] for label in study.data.test.labels[chosen]]
    perturbation, factor = amplify(attacked - clean)
    rows = [
        PictureRow(label="clean", images=clean, words=names),
        PictureRow(label="attacked", images=attacked),
        PictureRow(label=f"perturbation\n× {factor:.3g}", images=perturbation),
    ]
    for label, generator, images in (
        ("purifying\ngenerator", cap_gan.generator_to_clean, (attacked, clean)),
        ("attacking\ngenerator", cap_gan.generator_to_adversarial, (clean, attacked)),
    ):
        domains = ("attacked", "clean") if images[0] is attacked else ("clean", "attacked")
        maps = _grey(generator, images)
        rows += [
            PictureRow(label=f"{label}\non {domain}", images=shown)
            for domain, shown in zip(domains, maps, strict=True)
        ]
    rows.append(PictureRow(label="purified", images=study.purified(who.key or "", attacked)))
    save_pictures(path, rows, threat_model=ThreatModel.OBLIVIOUS.value)


def _grey(generator: keras.Model, images: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
    """A generator's attention to two sets, as pictures of the size and channels of the images."""
    network = attention_network(generator)
    maps = [predict_in_batches(network.predict_on_batch, part, _BATCH) for part in images]
    low, high = min(map(np.min, maps)), max(map(np.max, maps))
    size, channels = images[0].shape[1:3], images[0].shape[3]
    pictures = []
    for attention in maps:
        grey = (attention - low) / max(high - low, 1e-12)
        sides = [whole // part for whole, part in zip(size, grey.shape[1:], strict=True)]
        large = grey.repeat(sides[0], axis=1).repeat(sides[1], axis=2)
        pictures.append(np.repeat(large[..., np.newaxis], channels, axis=-1))
    return pictures
