"""CAP-GAN: a generator learns, with another that undoes it, to clean images of an attack."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Self

import keras
import numpy as np
from keras import ops

from defenses.adversarial_purifier import AdversarialPurifier
from defenses.batches import predict_in_batches
from defenses.cap_gan_losses import domain_loss, semantic_loss
from defenses.fgsm_pairs import CIFAR10_EPSILON, FGSMPairs
from defenses.gan_losses import (
    cycle_loss,
    least_squares_discriminator_loss,
    least_squares_generator_loss,
)
from defenses.phases import Batch, Losses, step_objective
from defenses.purifier import check_functional
from defenses.registry import register
from models.cam_gan import attention_network, cam_gan_networks
from validation import check_flag, check_images, check_number

__all__ = ["CAPGAN", "Translations"]


class Translations(NamedTuple):
    """What the generators make of a batch.

    Attributes:
        to_clean: x_A2C, x_C2C and, with cycles, x_C2A2C, from T_{A→C}: three versions of x.
        to_adversarial: x_C2A, x_A2A and, with cycles, x_A2C2A, from T_{C→A}: versions of x_adv.
        clean_logits: η of the generators for x: of T_{C→A}, whose source it is, and of T_{A→C}.
        adversarial_logits: η for x_adv: of T_{A→C}, whose source it is, and of T_{C→A}.
    """

    to_clean: tuple[Any, ...]
    to_adversarial: tuple[Any, ...]
    clean_logits: tuple[Any, Any]
    adversarial_logits: tuple[Any, Any]


@register("cap_gan_pixel", cam_term=False, semantic_term=False)
@register("cap_gan_pixel_cam", semantic_term=False)
@register("cap_gan_pixel_semantic", cam_term=False)
@register("cap_gan_no_cycle", cycles=False)
@register("cap_gan")
@keras.saving.register_keras_serializable(package="cleanroom")
class CAPGAN(FGSMPairs, AdversarialPurifier):
    """Purifies by the generator that was trained to translate attacked images to clean ones.

    Close pixels do not make close answers: a perturbation is small for the eye and large for the
    classifier. So the generator is held to both, to the pixels by a CycleGAN, and to the features
    by two more losses. One distils the answers of the protected classifier, the other teaches the
    generator where the perturbation is. A second generator makes clean images adversarial and
    serves training alone.

    **Reference**: CAP-GAN, sec. III-B and III-C, Figures 2 and 4; sec. IV-A for the numbers. The
    ablations of Table VI are registered as ``cap_gan_pixel`` (L_pixel), ``cap_gan_pixel_cam``,
    ``cap_gan_pixel_semantic`` and ``cap_gan_no_cycle``; those of Table V are ``alpha`` and
    ``temperature``.

    **Differs from the paper**: L_GAN and L_cam^D are printed with real images drawn to 0 and
    generated ones to 1, as one expression for both sides; here discriminators draw real images to
    1 and generated ones to 0, and generators the generated ones to 1. For the sign in L_cam^T see
    ``defenses.cap_gan_losses.domain_loss``, for the attention map M, printed as one number,
    ``models.cam_layers.ClassActivation``. In its last term η_{T_C}(T_{C→A}(x_adv)) is read as the
    answer of η_{T_C} to x_adv, on the way to x_A2A; in the third line of sec. III-B, which mixes
    the encoders, T_{A→C}(x_C2A) is a pass of x_C2A through T_{A→C} alone. L_sem is printed with one
    fake of each domain, of which three are named: the three divergences are added. α weighs the
    discriminators' losses as it does the generators', as L_CAP holds both. L1 norms are means over
    pixels and channels, as their counterparts in CycleGAN's code. Without cycles, for which the
    paper names L_cyc and the cycle's versions in L_sem, the six translations are four. The order of
    updates is not printed: discriminators first, then both generators jointly, for which the
    discriminators rest, their power iterations too. FGSM takes the true labels.

    Args:
        generator_to_clean: T_{A→C}, images to images and the logit of η, from
            ``models.cam_gan.cam_generator``. It purifies.
        generator_to_adversarial: T_{C→A}, likewise.
        discriminator_clean: D_C, images to scores and a logit, from
            ``models.cam_gan.cam_discriminator``. ``None`` for both gives a purifier that cannot be
            trained, such as a loaded one.
        discriminator_adversarial: D_A, likewise.
        source_classifier: The trained classifier f that is protected, which returns logits. It is
            attacked and asked in training and never updated; purifying does not need it, and a
            saved purifier does not contain it.
        alpha: The α of L_CAP, weight of the pixels' losses, in [0, 1]; the features' have 1 − α.
        temperature: The T of L_sem, above 0.
        epsilon: Budget of the FGSM attack that makes the adversarial domain, in [0, 1].
        cam_term: Whether L_cam is among the losses. Without it, the attention still is part of
            the networks and learns from the other losses.
        semantic_term: Whether L_sem is among the losses.
        cycles: Whether L_cyc and the cycle's versions in L_sem are among the losses.
        **kwargs: Name and dtype, as of any model.

    Raises:
        ValueError: If the networks do not fit each other or an argument is out of range.

    Example:
        import numpy as np
        from defenses.cap_gan import CAPGAN
        from models.narrow_resnet import narrow_resnet

        images = np.random.default_rng(0).random((8, 16, 16, 1), dtype="float32")
        source = narrow_resnet((16, 16, 1), num_blocks=1, width=0.25)
        purifier = CAPGAN.for_images(
            (16, 16, 1), width=0.125, num_residual_blocks=1, source_classifier=source
        )
        purifier.compile()
        purifier.fit({"clean": images, "label": np.arange(8)}, batch_size=4, verbose=0)
        purifier.purify(images).shape  # (8, 16, 16, 1)
    """

    loss_names = (
        *("discriminator_loss", "discriminator_gan_loss", "discriminator_cam_loss"),
        *("generator_loss", "generator_gan_loss", "identity_loss", "cycle_loss"),
        *("generator_cam_loss", "semantic_loss"),
    )
    generator_names = ("generator_to_clean", "generator_to_adversarial")
    discriminator_names = ("discriminator_clean", "discriminator_adversarial")

    def __init__(
        self,
        generator_to_clean: keras.Model,
        generator_to_adversarial: keras.Model,
        discriminator_clean: keras.Model | None = None,
        discriminator_adversarial: keras.Model | None = None,
        *,
        source_classifier: keras.Model | None = None,
        alpha: float = 0.7,
        temperature: float = 10.0,
        epsilon: float = CIFAR10_EPSILON,
        cam_term: bool = True,
        semantic_term: bool = True,
        cycles: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        discriminators = [
            d for d in (discriminator_clean, discriminator_adversarial) if d is not None
        ]
        _check_networks([generator_to_clean, generator_to_adversarial], discriminators)
        self.take_source(source_classifier, epsilon, generator_to_clean.input_shape)
        check_number("alpha", alpha, at_least=0, at_most=1, such_as=0.7)
        check_number("temperature", temperature, above=0, such_as=10.0)
        for name, flag in (
            ("cam_term", cam_term),
            ("semantic_term", semantic_term),
            ("cycles", cycles),
        ):
            check_flag(name, flag)
        self.generator_to_clean = generator_to_clean
        self.generator_to_adversarial = generator_to_adversarial
        self.discriminator_clean: Any = discriminator_clean
        self.discriminator_adversarial: Any = discriminator_adversarial
        self.alpha = float(alpha)
        self.temperature = float(temperature)
        self.cam_term = bool(cam_term)
        self.semantic_term = bool(semantic_term)
        self.cycles = bool(cycles)
        self.finish_building()

    @classmethod
    def for_images(
        cls,
        input_shape: tuple[int, int, int],
        num_classes: int = 10,
        *,
        width: float = 1.0,
        seed: int = 0,
        num_residual_blocks: int = 4,
        **arguments: Any,
    ) -> Self:
        """Builds two generators, two discriminators, and the purifier on them.

        Args:
            input_shape: ``(height, width, channels)``; height and width are multiples of 4, at
                least 12.
            num_classes: Not used; the source classifier decides.
            width: Factor on every filter count.
            seed: Seeds the weights.
            num_residual_blocks: Of encoder and decoder of each generator, at least 1.
            **arguments: Passed on to the constructor, such as ``source_classifier``.

        Returns:
            A built purifier.
        """
        del num_classes
        networks = cam_gan_networks(
            input_shape, num_residual_blocks=num_residual_blocks, width=width, seed=seed
        )
        return cls(*networks, **arguments)

    @classmethod
    def default_optimizer(cls) -> keras.optimizers.Optimizer:
        """Adam at rate 0.0001 with betas 0.5 and 0.999 (CAP-GAN, sec. IV-A)."""
        return keras.optimizers.Adam(1e-4, beta_1=0.5, beta_2=0.999)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(height, width, channels)`` of the images."""
        return tuple(self.generator_to_clean.input_shape[1:])

    def call(self, images: Any, training: bool = False) -> Any:
        """Purifies images, T_{A→C}(x); see the base class for shapes and ranges."""
        purified, _ = self.generator_to_clean(images, training=training)
        return purified

    def attention_maps(self, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
        """Where the purifying generator sees the adversarial domain (Figure 3).

        Args:
            images: Float array ``(num_images, height, width, channels)`` in [0, 1].
            batch_size: Largest number of images in a batch.

        Returns:
            float32 array ``(num_images, height / 4, width / 4)`` of any range: Σ_k w_k · E_k, whose
            mean is the logit of η.

        Raises:
            ValueError: If the images are of another shape, kind or range.
        """
        checked = check_images(images, self.image_shape)
        network = attention_network(self.generator_to_clean)
        return predict_in_batches(network.predict_on_batch, checked, batch_size)

    # ------------------------------------------------------------------ losses

    def translations(self, batch: Batch, training: bool = True) -> Translations:
        """The six translations of a batch, or the four that are no cycle.

        Args:
            batch: With ``"clean"`` and ``"adversarial"``.
            training: Passed on to the generators.

        Returns:
            Images in [0, 1], and the logits of η for those that were not generated.
        """
        clean, adversarial = batch["clean"], batch["adversarial"]
        a_to_c, logit_of_adversarial = self.generator_to_clean(adversarial, training=training)
        c_to_a, logit_of_clean = self.generator_to_adversarial(clean, training=training)
        c_to_c, other_of_clean = self.generator_to_clean(clean, training=training)
        a_to_a, other_of_adversarial = self.generator_to_adversarial(adversarial, training=training)
        to_clean, to_adversarial = [a_to_c, c_to_c], [c_to_a, a_to_a]
        if self.cycles:
            to_clean.append(self.generator_to_clean(c_to_a, training=training)[0])
            to_adversarial.append(self.generator_to_adversarial(a_to_c, training=training)[0])
        return Translations(
            tuple(to_clean),
            tuple(to_adversarial),
            clean_logits=(logit_of_clean, other_of_clean),
            adversarial_logits=(logit_of_adversarial, other_of_adversarial),
        )

    def discriminator_losses(self, batch: Batch, training: bool = True) -> Losses:
        """What L_GAN and L_cam^D ask of the discriminators; generated images are constants.

        Args:
            batch: As of ``paired``.
            training: Passed on to the networks.

        Returns:
            Batch means: ``"loss"``, weighted, and the unweighted ``"discriminator_gan_loss"`` and
            ``"discriminator_cam_loss"``, each the sum over both discriminators; scalars of at
            least 0. What is switched off is 0.

        Raises:
            ValueError: If there is no source classifier.
        """
        batch = self.paired(batch)
        clean, adversarial = batch["clean"], batch["adversarial"]
        a_to_c, _ = self.generator_to_clean(adversarial, training=training)
        c_to_a, _ = self.generator_to_adversarial(clean, training=training)
        gan, cam = [], []
        for discriminator, real, fake in (
            (self.discriminator_clean, clean, ops.stop_gradient(a_to_c)),
            (self.discriminator_adversarial, adversarial, ops.stop_gradient(c_to_a)),
        ):
            real_scores, real_logits = discriminator(real, training=training)
            fake_scores, fake_logits = discriminator(fake, training=training)
            gan.append(least_squares_discriminator_loss(real_scores, fake_scores))
            cam.append(least_squares_discriminator_loss(real_logits, fake_logits))
        losses = {
            "discriminator_gan_loss": _sum_of_means(gan),
            "discriminator_cam_loss": _sum_of_means(cam if self.cam_term else ()),
        }
        loss = self.weighted(losses["discriminator_gan_loss"], losses["discriminator_cam_loss"])
        return {"loss": loss, **losses}

    def generator_losses(self, batch: Batch, training: bool = True) -> Losses:
        """What L_CAP asks of the generators; discriminators and source classifier rest.

        Args:
            batch: As of ``paired``.
            training: Passed on to the generators, though neither to the discriminators nor to the
                source classifier.

        Returns:
            Batch means: ``"loss"``, weighted, and the unweighted ``"generator_gan_loss"``,
            ``"identity_loss"``, ``"cycle_loss"``, ``"generator_cam_loss"`` and ``"semantic_loss"``,
            each the sum over both generators; scalars of at least 0. What is switched off is 0.

        Raises:
            ValueError: If there is no source classifier.
        """
        batch = self.paired(batch)
        made = self.translations(batch, training=training)
        fakes = made.to_clean[0], made.to_adversarial[0]
        judges = self.discriminator_clean, self.discriminator_adversarial
        judged = [judge(fake, training=False) for judge, fake in zip(judges, fakes, strict=True)]
        scores, logits = zip(*judged, strict=True)
        gan = _sum_of_means(map(least_squares_generator_loss, scores))
        identity = self._distance(batch, made, 1)
        cycle = self._distance(batch, made, 2)
        cam = self._cam(made, logits)
        semantic = self._semantic(batch, made)
        return {
            "loss": self.weighted(gan + identity + cycle, cam + semantic),
            "generator_gan_loss": gan,
            "identity_loss": identity,
            "cycle_loss": cycle,
            "generator_cam_loss": cam,
            "semantic_loss": semantic,
        }

    def weighted(self, pixel_loss: Any, feature_loss: Any) -> Any:
        """L_CAP = α · L_pixel + (1 − α) · L_feature, scalars (sec. III-C.3)."""
        return self.alpha * pixel_loss + (1.0 - self.alpha) * feature_loss

    def _distance(self, batch: Batch, made: Translations, version: int) -> Any:
        """L_identity (version 1) or L_cyc (version 2): from x and x_adv to a version of each."""
        return _sum_of_means(
            cycle_loss(batch[key], versions[version])
            for key, versions in (("clean", made.to_clean), ("adversarial", made.to_adversarial))
            if version < len(versions)
        )

    def _cam(self, made: Translations, logits: tuple[Any, Any]) -> Any:
        """L_cam^T, and L_cam^D as generators see it, from the discriminators' logits for fakes."""
        if not self.cam_term:
            return _sum_of_means(())
        own_of_adversarial, other_of_adversarial = made.adversarial_logits
        own_of_clean, other_of_clean = made.clean_logits
        return _sum_of_means(
            (
                domain_loss(own_of_adversarial, other_of_clean),  # η of T_{A→C}
                domain_loss(own_of_clean, other_of_adversarial),  # η of T_{C→A}
                *map(least_squares_generator_loss, logits),
            )
        )

    def _semantic(self, batch: Batch, made: Translations) -> Any:
        """L_sem: from f(x) and f(x_adv) to the answers for all versions of each."""
        if not self.semantic_term:
            return _sum_of_means(())
        source, fakes = self.teacher(), [*made.to_clean, *made.to_adversarial]
        # In inference mode the images of a batch do not meet, and one large batch is faster.
        real = ops.concatenate([batch["clean"], batch["adversarial"]])
        teachers = ops.split(source(real, training=False), 2)
        students = ops.split(source(ops.concatenate(fakes), training=False), len(fakes))
        of_each = len(made.to_clean)
        pairs = zip([t for t in teachers for _ in range(of_each)], students, strict=True)
        return _sum_of_means(semantic_loss(*pair, self.temperature) for pair in pairs)

    # ------------------------------------------------------------------ training

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update of the discriminators and one of the generators (sec. III-C, Figure 4).

        1. Take a batch of clean images x with their labels y.
        2. Attack the frozen classifier f: x_adv = FGSM(f, x, y, ε).
        3. Translate x_adv to x_A2C by T_{A→C} and x to x_C2A by T_{C→A}; both are constants for
           the discriminators.
        4. Compare x with x_A2C by D_C and x_adv with x_C2A by D_A, by scores (L_GAN) and by logits
           (L_cam^D).
        5. Update D_C and D_A together by a gradient step on α L_GAN + (1 − α) L_cam^D.
        6. Translate again, also x to x_C2C by T_{A→C} and x_adv to x_A2A by T_{C→A}, and close the
           cycles: x_C2A to x_C2A2C, x_A2C to x_A2C2A.
        7. Let the updated discriminators judge x_A2C and x_C2A (L_GAN and L_cam^D again); compare
           x_C2C and x_C2A2C with x, x_A2A and x_A2C2A with x_adv (L_identity, L_cyc).
        8. Ask η of each generator which of x and x_adv is of its source domain (L_cam^T).
        9. Compare f of the three versions of x with f(x), of the three of x_adv with f(x_adv)
           (L_sem).
        10. Update T_{A→C} and T_{C→A} together by a gradient step on
            L_CAP = α (L_GAN + L_identity + L_cyc) + (1 − α) (L_cam + L_sem), after which each ρ of
            their norms is clipped to [0, 1].

        Args:
            data: A batch with the keys ``"clean"`` and ``"label"``.

        Returns:
            The running epoch means of the losses, by name.
        """
        import tensorflow as tf

        batch = self.paired(self.read_batch(data))  # 1 and 2
        with tf.GradientTape() as tape:
            losses = self.discriminator_losses(batch, training=True)  # 3 and 4
            objective = step_objective(losses["loss"], self.discriminator_optimizer)
        variables = self.discriminator_variables
        gradients = tape.gradient(objective, variables)
        self.discriminator_optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.track(losses, batch, "discriminator")

        with tf.GradientTape() as tape:
            losses = self.generator_losses(batch, training=True)  # 6 to 9
            objective = step_objective(losses["loss"], self.generator_optimizer)
        variables = self.generator_variables
        gradients = tape.gradient(objective, variables)
        # The optimizer applies the constraint of each ρ.
        self.generator_optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.track(losses, batch, "generator")
        return self.tracked_losses()

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the purifier, its networks included, its source classifier not."""
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "temperature": self.temperature,
            "cam_term": self.cam_term,
            "semantic_term": self.semantic_term,
            "cycles": self.cycles,
        }


def _sum_of_means(losses: Iterable[Any]) -> Any:
    """The sum of the batch means of losses ``(batch,)``; 0 of none."""
    return sum((ops.mean(loss) for loss in losses), start=ops.zeros((), dtype="float32"))


def _check_networks(generators: list[keras.Model], discriminators: list[keras.Model]) -> None:
    """Raises a ValueError unless all networks take the images that both generators make."""
    for name, networks in (("a generator", generators), ("a discriminator", discriminators)):
        for network in networks:
            check_functional(**{name: network})
    outputs = [network.output_shape for network in generators + discriminators]
    if not all(isinstance(shapes, list) and len(shapes) == 2 for shapes in outputs):
        raise ValueError(
            f"Expected networks with two outputs, images or scores and a logit, received outputs "
            f"of the shapes {outputs}. Build them with models.cam_gan."
        )
    shapes = [network.input_shape for network in generators + discriminators]
    shapes += [network.output_shape[0] for network in generators]
    logits = [network.output_shape[1] for network in generators + discriminators]
    if len({*shapes}) != 1 or {*logits} != {(None, 1)} or len(discriminators) == 1:
        raise ValueError(
            "Expected two generators from images to images and a logit, and two discriminators of "
            f"them (or none), received {len(discriminators)} discriminators, images of the shapes "
            f"{shapes} and logits of the shapes {logits}. Build all networks for the same image "
            "shape."
        )
