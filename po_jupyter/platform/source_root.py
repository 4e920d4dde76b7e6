"""The source root: the directory from which this package is imported."""

from __future__ import annotations

from pathlib import Path

# The directory that holds `po_jupyter`: it goes on the PYTHONPATH of each process that we start.
SOURCE_ROOT = str(Path(__file__).resolve().parents[2])
