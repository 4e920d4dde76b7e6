"""The messages that receivers of notifications get: which run, what became of it, why, what it cost and where it is.

Small and without content: no prompt, no answer, no row and no text of somebody's code is in them (P10).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from po_jupyter.config.notifications import NotificationEvent
from po_jupyter.model.run.events import EventRecord
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.view import RunView, TaskView
from po_jupyter.presentation import format as fmt

_TYPES: Mapping[NotificationEvent, str] = {
    "done": "run.done",
    "failed": "run.failed",
    "budget": "run.budget_exceeded",
    "dead": "run.dead",
    "cancelled": "run.cancelled",
    "gate": "gate.opened",
}
_EVENT_TYPES = frozenset({"run.done", "run.failed", "run.dead", "run.cancelled", "gate.opened"})

# By the code of an error: what happened, in words of ours. An error's own message may quote an answer.
_REASONS = {
    "budget_exceeded": "the budget is used up",
    "failure_threshold": "too many rows failed",
    "stage_failed": "the Python code of a task raised an error",
    "stage_timeout": "a task took longer than its timeout",
    "output_invalid": "answers did not fit their schema, also when asked again",
    "answer_truncated": "an answer was cut off at max_tokens",
    "model_key": "the provider refused the key, or there is none",
    "model_unavailable": "the provider could not be reached",
    "model_rate_limited": "the provider's rate limit was hit too often",
    "model_refused": "the provider refused a request",
    "template_failed": "a prompt could not be rendered",
    "worker_crashed": "its worker crashed again and again",
    "spawn_failed": "no worker could be started",
    "gate_rejected": "a gate was rejected",
}


class MessageData(TypedDict):
    """What a message says. `state` is the run's, `failed` also where every row of a map failed; `task` is the one that
    waits or failed; `code` is the error's; `cost_usd` is None while it is unknown; `url` opens the run."""

    run: str
    pipeline: str
    version: str
    owner: str
    state: str
    task: str | None
    code: str | None
    reason: str
    cost_usd: float | None
    calls: int
    url: str | None


class NotificationMessage(TypedDict):
    """The body of a webhook, as Standard Webhooks has it: `timestamp` is when the event was recorded."""

    type: str
    timestamp: str
    data: MessageData


def may_be_told(event: EventRecord) -> bool:
    """Whether receivers may be told of an event: most are nobody's business."""
    if event["type"] == "task.waiting":
        return event["data"].get("gate") is not None
    return event["type"] in _EVENT_TYPES


def category_of(event: EventRecord, view: RunView) -> NotificationEvent | None:
    """What receivers choose events by; None for an event that nobody is told of."""
    match event["type"]:
        case "run.done":
            return "failed" if any(map(fmt.all_rows_failed, view.tasks)) else "done"
        case "run.failed":
            return "budget" if _code(event) == "budget_exceeded" else "failed"
        case "run.dead":
            return "dead"
        case "run.cancelled":
            return "cancelled"
        case "gate.opened":
            return "gate"
    return "gate" if may_be_told(event) else None


def message_of(
    event: EventRecord, category: NotificationEvent, view: RunView, url: str | None
) -> NotificationMessage:
    """The message about an event of the run that `view` shows."""
    task = event.get("task") or _culprit(view, category)
    if event["type"] == "task.waiting":  # of a pipeline that the task runs
        task = f"{task}.{event['data']['gate']['task']}"
    return {
        "type": _TYPES[category],
        "timestamp": event["at"],
        "data": {
            "run": view.id,
            "pipeline": view.pipeline,
            "version": view.version,
            "owner": view.owner,
            "state": {"gate": "waiting", "budget": "failed"}.get(category, category),
            "task": task,
            "code": _code(event),
            "reason": _reason(event, category, task),
            "cost_usd": view.usage.cost,
            "calls": view.usage.calls,
            "url": url,
        },
    }


def _culprit(view: RunView, category: NotificationEvent) -> str | None:
    def guilty(task: TaskView) -> bool:
        return task.state == "failed" or fmt.all_rows_failed(task)

    return None if category == "done" else next((t.name for t in view.tasks if guilty(t)), None)


def _code(event: EventRecord) -> str | None:
    error = event["data"].get("error")
    code = error.get("code") if isinstance(error, Mapping) else None
    return str(code) if code is not None else None


def _reason(event: EventRecord, category: NotificationEvent, task: str | None) -> str:
    if category == "gate":
        return f"{task} is done and waits for a decision"
    if event["type"] == "run.done":
        return "every row failed" if category == "failed" else ""
    code = _code(event)
    if code is None:
        return "it was cancelled" if category == "cancelled" else "a task failed"
    return _REASONS.get(code, f"it ended with the error {code}")


def title(message: NotificationMessage) -> str:
    """One line for people, for the subject of a mail."""
    data = message["data"]
    state = "waits for a decision" if data["state"] == "waiting" else data["state"]
    return f"{data['pipeline']} {short_id(data['run'])}: {state}"


def text(message: NotificationMessage) -> str:
    """The message as lines for people."""
    data = message["data"]
    facts = [data["reason"], f"task {data['task']}" if data["task"] and data["state"] != "waiting" else ""]
    first = " · ".join(filter(None, facts))
    second = f"{fmt.money(data['cost_usd'])}, {data['calls']} {'call' if data['calls'] == 1 else 'calls'}"
    return "\n".join(filter(None, [first, second, data["url"] or f"po show {short_id(data['run'])}"]))
