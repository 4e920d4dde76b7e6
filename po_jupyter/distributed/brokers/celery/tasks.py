"""Run messages as Celery's task messages (protocol 2): `po.run` with `run`, `priority` and `labels` as keywords."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple
from uuid import uuid4

from celery import Celery

from po_jupyter.distributed.brokers.messages import from_json, to_json
from po_jupyter.distributed.brokers.protocol import RunMessage

TASK = "po.run"
CONTENT_TYPE = "application/json"
MAX_BYTES = 64 * 1024


class TaskMessage(NamedTuple):
    """A task message, ready to be sent."""

    headers: dict[str, object]
    properties: dict[str, object]
    body: str


@cache
def _app() -> Celery:
    """A Celery application that only writes messages: no broker, no results, and not the process's current one."""
    return Celery("po", set_as_current=False, broker=None, backend=None)


def encode(message: RunMessage) -> TaskMessage:
    """The task message of a run. Raises ValueError for what cannot be one."""
    task = _app().amqp.as_task_v2(str(uuid4()), TASK, (), to_json(message), ignore_result=True)
    return TaskMessage(task.headers, task.properties, json.dumps(task.body))


def decode(headers: Mapping[str, object] | None, content_type: str | None, body: object) -> RunMessage:
    """The run of a task message that anybody may have written. Raises ValueError for any other; runs nothing of it."""
    if content_type != CONTENT_TYPE:
        raise ValueError(f"a task message is {CONTENT_TYPE}")
    if not isinstance(headers, Mapping) or headers.get("task") != TASK:
        raise ValueError(f"the only task is {TASK}")
    if not isinstance(body, str | bytes) or len(body) > MAX_BYTES:
        raise ValueError(f"a task message has at most {MAX_BYTES} bytes")
    try:
        value = json.loads(body)
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None
    if not isinstance(value, list) or len(value) != 3 or value[0] != []:
        raise ValueError("the body is not that of protocol 2 with keywords alone")
    return from_json(value[1])
