"""Networks only: no loss, no training, no attack, and no backend but Keras.

Importing the package registers its layers, so that ``keras.saving.load_model`` finds them.
"""

from models.layers import ClipLogVariance, ClipToUnitRange, Sampling
from models.registry import build_classifier, classifier_names

__all__ = [
    "ClipLogVariance",
    "ClipToUnitRange",
    "Sampling",
    "build_classifier",
    "classifier_names",
]
