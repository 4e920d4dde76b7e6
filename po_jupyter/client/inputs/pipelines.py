"""Pipelines as people give them: a value, a dict, YAML or a registered name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from po_jupyter.errors import InvalidPipeline
from po_jupyter.model.pipeline.pipeline import Pipeline

_NAME = re.compile(r"[a-z0-9-]+")


def pipeline_body(pipeline: Pipeline | Mapping[str, Any] | str) -> dict[str, Any] | str:
    """What of it travels: its definition, or the name of a registered one. InvalidPipeline."""
    if isinstance(pipeline, Pipeline):
        return pipeline.to_json()
    if isinstance(pipeline, Mapping):
        return dict(pipeline)
    if isinstance(pipeline, str):
        if _NAME.fullmatch(pipeline.strip()):
            return pipeline.strip()
        from po_jupyter.model.pipeline.parsing import (
            parse_pipeline,  # YAML is slow to import, and few need it here
        )

        return parse_pipeline(pipeline).to_json()
    raise InvalidPipeline(
        f"a pipeline is a Pipeline, a dict, YAML text or a registered name, not {type(pipeline).__name__}"
    )


def name_of(pipeline: Mapping[str, Any] | str) -> str:
    """Its name, or `seed` when it has none; a check will say so."""
    name = pipeline if isinstance(pipeline, str) else pipeline.get("name")
    return name[:100] if isinstance(name, str) and name else "seed"


def has_code(pipeline: Mapping[str, Any] | str) -> bool:
    """Whether a task of it may be Python. Of a registered one that is not known here."""
    if isinstance(pipeline, str):
        return False
    tasks = pipeline.get("tasks")
    return isinstance(tasks, list | tuple) and any(
        not isinstance(task, Mapping) or task.get("prompt") is None for task in tasks
    )
