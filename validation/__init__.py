"""Checks of what callers pass: numbers, names, shapes, images and labels.

Every function raises a ValueError that says what was expected, what was received and how to mend
it, and returns the value in one form (Python numbers, float32 images, int64 labels). It knows no
backend and no other package of the project, so that all of them can use it.
"""

from validation.arrays import (
    check_call,
    check_image_shape,
    check_images,
    check_labels,
    check_one_each,
)
from validation.numbers import (
    check_choice,
    check_file_name,
    check_flag,
    check_integer,
    check_number,
    check_numbers,
)
from validation.outputs import check_logits

__all__ = [
    "check_call",
    "check_choice",
    "check_file_name",
    "check_flag",
    "check_image_shape",
    "check_images",
    "check_integer",
    "check_labels",
    "check_logits",
    "check_number",
    "check_numbers",
    "check_one_each",
]
