"""Pipelines that callers pass in: a `Pipeline`, a dict, YAML text or a registered name, made into a request's body."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from po_jupyter.errors import InvalidPipeline
from po_jupyter.model.values.json import JsonObject
from po_jupyter.model.values.task_kind import asks_model

if TYPE_CHECKING:  # whoever has a `Pipeline` has imported it; to do so is an eighth of a client's start
    from po_jupyter.model.pipeline.pipeline import Pipeline

PipelineInput: TypeAlias = "Pipeline | Mapping[str, object] | str"

_NAME = re.compile(r"[a-z0-9-]+")


def pipeline_body(pipeline: PipelineInput) -> JsonObject | str:
    """The definition as JSON, or the name of a registered one. Raises InvalidPipeline."""
    if isinstance(pipeline, Mapping):
        return dict(pipeline)
    if isinstance(pipeline, str):
        if _NAME.fullmatch(pipeline.strip()):
            return pipeline.strip()
        from po_jupyter.model.pipeline.parsing import (
            parse_pipeline,  # YAML is slow to import, and few need it here
        )

        return parse_pipeline(pipeline).to_json()
    from po_jupyter.model.pipeline.pipeline import Pipeline

    if isinstance(pipeline, Pipeline):
        return pipeline.to_json()
    raise InvalidPipeline(
        f"a pipeline is a Pipeline, a dict, YAML text or a registered name, not {type(pipeline).__name__}"
    )


def name_of(pipeline: JsonObject | str) -> str:
    """The pipeline's name, or `seed` when it has none (the orchestrator's check refuses that)."""
    name = pipeline if isinstance(pipeline, str) else pipeline.get("name")
    return name[:100] if isinstance(name, str) and name else "seed"


def has_code(pipeline: JsonObject | str) -> bool:
    """Whether a task of the definition may be Python, or carries some; False for a registered one: unknown here."""
    if isinstance(pipeline, str):
        return False
    tasks = pipeline.get("tasks")
    return isinstance(tasks, list | tuple) and any(
        not isinstance(task, Mapping) or not asks_model(task) or task.get("output_type") is not None
        for task in tasks
    )
