"""Settings of every test."""

from __future__ import annotations

from experiments.memory import keep_freed_memory

keep_freed_memory()  # as run_all.py does
