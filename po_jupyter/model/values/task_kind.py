"""The kinds of tasks, apart from what a definition is validated with: clients need only the kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

TaskKind = Literal["prompt", "embed", "python", "operator", "pipeline"]
ASKS_MODEL: tuple[TaskKind, ...] = ("prompt", "embed")
"""The kinds of tasks that ask a model by themselves, each with the field of its name."""


def asks_model(task: Mapping[str, object]) -> bool:
    """Whether a task, as a definition has it, asks a model by itself."""
    return any(task.get(field) is not None for field in ASKS_MODEL)
