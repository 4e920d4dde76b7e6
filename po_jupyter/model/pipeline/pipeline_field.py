"""The field `pipeline` of a task: the name of a registered pipeline, or its definition, and what goes along with it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from po_jupyter.model.pipeline.violations import OF_MAPPING, OF_TEXT
from po_jupyter.model.values.checked_json import CheckedJsonObject

_FIELDS = frozenset({"name", "description", "needs", "pipeline", "seed", "gate", "budget", "config"})


def _form(value: Any) -> str:
    return OF_TEXT if isinstance(value, str) else OF_MAPPING


ContainedPipeline = Annotated[
    Annotated[str, Field(pattern=r"^[a-z0-9-]+$", max_length=100), Tag(OF_TEXT)]
    | Annotated[CheckedJsonObject, Tag(OF_MAPPING)],
    Discriminator(_form),
]


def pipeline_task_problem(fields: Collection[str], *, runs_pipeline: bool) -> str | None:
    """Why a task cannot have these fields together; None when it can."""
    if not runs_pipeline:
        return "has `seed` and no `pipeline`; a prompt sees the seed of the run" if "seed" in fields else None
    if "for_each" in fields:
        return (
            "has `for_each` and `pipeline`, which do not go together: a task runs its pipeline once; let a task of "
            "that pipeline be the map, with the list in its seed"
        )
    if other := sorted(set(fields) - _FIELDS):
        return f"runs a pipeline, and has {', '.join(f'`{one}`' for one in other)}, which is for other tasks"
    return None
