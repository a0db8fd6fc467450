"""Keeps freed memory in the process, since giving it back costs more than the arithmetic."""

from __future__ import annotations

import ctypes
import sys

# Parameter numbers of mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Tells the C library to reuse the memory of freed tensors instead of returning it.

    TensorFlow on a CPU allocates and frees its large buffers at every step. By default glibc maps
    each anew and the kernel fills every page with zeros again, which was seen to take 40 % of the
    processor time of a training on a virtual machine. It changes no number.

    Returns:
        Whether the C library took the settings; False on systems without glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
