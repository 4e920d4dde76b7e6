"""The crash tests use the harness of the orchestrator's tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "orchestrator"))
