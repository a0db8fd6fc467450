"""The settings of the C library that keep a long training fast."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Touches 200 MB, frees them, and prints how much of it the process still holds.
FREED = """
import numpy as np
from experiments.memory import keep_freed_memory
if {keep}:
    print(keep_freed_memory())
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
before = resident()
array = np.ones(200_000_000, "uint8")
del array
print((resident() - before) / 200e6)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_freed_memory_stays_in_the_process_only_when_asked():
    def held(keep: bool) -> list[str]:
        script = FREED.format(keep=keep)
        run = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
        )
        return run.stdout.split()

    taken, share = held(keep=True)
    if taken == "False":
        pytest.skip("this C library does not know mallopt")
    assert float(share) > 0.9
    assert float(held(keep=False)[0]) < 0.1
