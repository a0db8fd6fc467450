"""The examples in the docstrings of the public networks, attacks and defenses run as written."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import textwrap

import keras
import pytest
import tensorflow as tf

WITH_EXAMPLES = {
    "attacks": ["APGD", "BIM", "BPDA", "CarliniWagner", "CarliniWagnerCleverHans", "EOT", "FGSM"]
    + ["MIFGSM", "PGD", "RandFGSM", "SPSA", "SPSACleverHans", "Square", "SubstituteTraining"],
    "defenses": ["APEGAN", "CAPGAN", "ConditionalTables", "DefendedClassifier", "DefenseCycleGAN"]
    + ["DefenseGAN", "DefenseVAE", "DivergenceDetector", "ErrorDetector"]
    + ["FGSMAdversarialTraining", "HGD", "JPEG", "MagNet", "PGDAdversarialTraining", "PuVAE"]
    + ["SFLVAE", "Thermometer", "VQUNet"],
    "models": ["Sampling", "ThermometerCode", "VectorQuantizer", "ape_gan_discriminator"]
    + ["ape_gan_generator", "build_classifier", "cam_discriminator", "cam_gan_networks"]
    + ["cam_generator", "classifier_a", "classifier_b"]
    + ["classifier_c", "cyclegan_networks", "defense_vae_decoder", "defense_vae_encoder"]
    + ["densenet", "dunet", "magnet_autoencoder", "narrow_resnet", "patch_discriminator"]
    + ["puvae_classifier"]
    + ["puvae_decoder", "puvae_encoder", "resnet", "sfl_vae_decoder", "sfl_vae_encoder"]
    + ["thermometer_classifier", "unet", "vqunet", "wasserstein_critic", "wasserstein_generator"]
    + ["wide_resnet"],
}


def examples(package: str) -> dict[str, str]:
    """Returns the code of the ``Example:`` section of each public object that has one."""
    found = {}
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        module = importlib.import_module(f"{package}.{info.name}")
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
                continue
            _, heading, rest = (inspect.getdoc(value) or "").partition("\nExample:\n")
            if heading:
                lines = rest.split("\n")
                end = next((i for i, x in enumerate(lines) if x and x[0] != " "), len(lines))
                found[name] = textwrap.dedent("\n".join(lines[:end])).strip()
    return found


EXAMPLES = {package: examples(package) for package in WITH_EXAMPLES}


@pytest.mark.parametrize("package", WITH_EXAMPLES)
def test_every_public_network_attack_and_defense_has_an_example(package):
    assert set(WITH_EXAMPLES[package]) <= set(EXAMPLES[package])


@pytest.mark.filterwarnings("ignore:Even though the")  # its data pipeline stays compiled
@pytest.mark.parametrize(
    ("package", "name"), [(package, name) for package in EXAMPLES for name in EXAMPLES[package]]
)
def test_the_last_line_of_an_example_has_the_value_in_its_comment(package, name):
    *statements, last = EXAMPLES[package][name].split("\n")
    expression, mark, expected = last.partition("  # ")
    assert mark, f"the example of {name} does not end in a comment with a value"
    namespace: dict[str, object] = {}
    keras.utils.set_random_seed(0)
    # Compiling a training step for two batches would take most of the time.
    tf.config.run_functions_eagerly(package == "defenses")
    try:
        exec("\n".join(statements), namespace)
        assert eval(expression, namespace) == ast.literal_eval(expected)
    finally:
        tf.config.run_functions_eagerly(False)
