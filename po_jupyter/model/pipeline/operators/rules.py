"""What goes together with the operator of a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from po_jupyter.model.pipeline.operators.fields import (
    BETTER,
    BY_THE_ANSWER,
    OPERATORS,
    SCORE,
    YES_OR_NO,
    Similar,
    TopK,
)
from po_jupyter.model.values.json import JsonObject


def with_answer_schema(data: Any) -> Any:
    """The fields of a task whose operator asks a model, with the schema of the answer that it needs where none is
    given."""
    if not isinstance(data, Mapping) or data.get("prompt") is None or data.get("output") is not None:
        return data
    schema = _answer_schema(data)
    return data if schema is None else {**data, "output": schema}


def _answer_schema(data: Mapping[str, Any]) -> JsonObject | None:
    if data.get("where") is not None or data.get("join") is not None:
        return YES_OR_NO
    top = data.get("top_k")
    if top is None:
        return None
    pairs = top.get("pairs") if isinstance(top, Mapping) else getattr(top, "pairs", False)
    by = top.get("by") if isinstance(top, Mapping) else getattr(top, "by", None)
    return BETTER if pairs else SCORE if by is None else None


def operator_problem(task: Any) -> str | None:
    """Why a task (`TaskFields`) cannot have its operator; None when it can, or has none."""
    there = [name for name in OPERATORS if getattr(task, name) is not None]
    if not there:
        return None
    name = there[0]
    if len(there) > 1:
        return (
            f" has `{name}` and `{there[1]}`; a task has one of them, and the next task goes on with its rows"
        )
    if task.for_each is None:
        return f" has `{name}` and no `for_each`, which gives the rows"
    if task.source is not None or task.task is not None:
        return f": `{name}` goes by an expression or a prompt, not by Python"
    if task.shards is not None:
        return f": `{name}` and `shards` do not go together"
    return _prompt_problem(task, name)


def _prompt_problem(task: Any, name: str) -> str | None:
    top: TopK | None = task.top_k
    if task.prompt is not None:
        if name in ("distinct", "unnest"):
            return f": `{name}` asks no model, so it has no `prompt`; a map over its rows is the next task"
        rounds = name == "group_by" or (top is not None and top.pairs)
        if task.mode == "batch" and rounds:
            return f": `{name}` asks in rounds, which `mode: batch` would take a day each for"
        return _answer_problem(task, name)
    if isinstance(task.distinct, Similar) and task.embed is None:
        return ": `distinct.similarity` compares vectors; say with `embed` of which text, for example {{ item.text }}"
    if name == "where" and task.where == BY_THE_ANSWER:
        return ": `where: yes` is what a model's answer says, and there is no `prompt`"
    if top is not None and (top.pairs or top.by is None):
        return ": `top_k` needs `by`, an expression such as {{ item.score }}, or a `prompt`"
    if task.group_by is not None and task.group_by.combine is not None:
        return ": `group_by.combine` is a prompt for the answers of a `prompt`, which there is none of"
    return None


def _answer_problem(task: Any, name: str) -> str | None:
    """Why the answers cannot be what the operator goes by."""
    fields = (task.output or {}).get("properties")
    if not isinstance(fields, Mapping):
        return None
    wanted: dict[str, str] = {}
    if isinstance(task.distinct, Similar) and task.embed is None:
        return ": `distinct.similarity` compares vectors; say with `embed` of which text, for example {{ item.text }}"
    if name == "where" and task.where == BY_THE_ANSWER:
        wanted = {"answer": "`where: yes`"}
    elif name == "join" and task.join.keep == BY_THE_ANSWER:
        wanted = {"answer": "`join`"}
    elif name == "top_k" and task.top_k.pairs:
        wanted = {"better": "`top_k.pairs`"}
    elif name == "top_k" and task.top_k.by is None:
        wanted = {"score": "`top_k`"}
    for field, who in wanted.items():
        if field not in fields:
            return (
                f": {who} reads `{field}` of the answer, which `output` has not; leave `output` out, or say what "
                "to read"
            )
    return None
