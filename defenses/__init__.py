"""Defenses: the purifiers, their training, and the decision on a purified image.

Importing the package registers every class that a saved defense is made of, so that
``keras.saving.load_model`` finds them in safe mode. No module imports ``tensorflow`` when it is
itself imported; a saved purifier therefore purifies on every backend of Keras. The exception is
Defense-GAN, whose search takes gradients: it needs TensorFlow or JAX. Training needs TensorFlow.
"""

from defenses import neighbours  # noqa: F401 -- raises where "models" is another project's
from defenses.decision import ConditionalTables, majority_vote
from defenses.defended_classifier import DefendedClassifier
from defenses.purifier import Phase, Purifier
from defenses.registry import discover, get_purifier, purifier_names

__all__ = [
    "ConditionalTables",
    "DefendedClassifier",
    "Phase",
    "Purifier",
    "get_purifier",
    "majority_vote",
    "purifier_names",
]

discover()
