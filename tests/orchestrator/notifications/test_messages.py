"""G12: what receivers are told, and what they are not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from po_jupyter.model.run.events import EventRecord
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.run.view import ItemCounts, RunView, TaskView
from po_jupyter.orchestrator.notifications.messages import category_of, message_of, text, title

RUN = "0123456789abcdef012345"


def view(*tasks: TaskView, **more: Any) -> RunView:
    fields = {"state": "failed", "seed": {"data": {"text": "SEED"}}, "usage": Usage(calls=3, cost=0.25), **more}
    return RunView(
        id=RUN,
        name="s",
        pipeline="tickets",
        version="1.0.0",
        created_at="",
        updated_at="",
        tasks=tasks,
        **fields,
    )


def event(type: str, **more: Any) -> EventRecord:
    record: EventRecord = {"offset": 7, "at": "2026-11-26T12:00:00.000Z", "type": type, "run": RUN, "data": {}}
    return {**record, **more}


def error(code: str) -> dict[str, Any]:
    return {
        "error": {"code": code, "message": "the model answered ANSWER to PROMPT", "hint": "", "details": {}}
    }


@pytest.mark.parametrize(
    ("record", "category", "reason"),
    [
        (event("run.done"), "done", ""),
        (event("run.failed", data=error("output_invalid")), "failed", "answers did not fit their schema"),
        (event("run.failed", data=error("of_a_plugin")), "failed", "it ended with the error of_a_plugin"),
        (event("run.failed"), "failed", "a task failed"),
        (event("run.failed", data=error("budget_exceeded")), "budget", "the budget is used up"),
        (event("run.dead", data=error("worker_crashed")), "dead", "its worker crashed"),
        (event("run.cancelled"), "cancelled", "it was cancelled"),
        (event("run.cancelled", data=error("gate_rejected")), "cancelled", "a gate was rejected"),
        (event("gate.opened", task="draft"), "gate", "draft is done and waits for a decision"),
        (
            event("task.waiting", task="t", data={"reason": "a decision", "gate": {"task": "a"}}),
            "gate",
            "t.a is done",
        ),
    ],
)
def test_each_event_has_its_category_and_a_reason(record: EventRecord, category: Any, reason: str) -> None:
    shown = view(TaskView(name="draft", state="done"))
    assert category_of(record, shown) == category
    assert message_of(record, category, shown, None)["data"]["reason"].startswith(reason)


def test_nobody_is_told_of_the_rest() -> None:
    assert category_of(event("task.done", task="draft"), view()) is None
    assert category_of(event("task.waiting", task="t", data={"reason": "the rate limit"}), view()) is None


def test_a_run_of_which_every_row_failed_is_no_success() -> None:
    rows = TaskView(name="label", state="done", items=ItemCounts(total=4, failed=4))
    assert category_of(event("run.done"), view(rows, state="done")) == "failed"
    message = message_of(event("run.done"), "failed", view(rows, state="done"), None)
    assert (message["type"], message["data"]["state"]) == ("run.failed", "failed")
    assert (message["data"]["task"], message["data"]["reason"]) == ("label", "every row failed")


def test_no_prompt_no_answer_and_no_seed_is_in_a_message() -> None:
    """P10: an error's message quotes what a model said; the code says enough."""
    task = TaskView(name="label", state="failed", error=error("output_invalid")["error"])
    message = message_of(
        event("run.failed", data=error("output_invalid")), "failed", view(task), "https://hub/lab"
    )
    for whole in (json.dumps(message), title(message), text(message)):
        assert not {"ANSWER", "PROMPT", "SEED"} & set(whole.replace('"', " ").split())
    assert message["data"]["task"] == "label"
    assert message["data"]["cost_usd"] == 0.25


def test_the_text_for_people_has_the_next_step() -> None:
    message = message_of(event("gate.opened", task="draft"), "gate", view(state="waiting"), None)
    assert title(message) == "tickets 012345: waits for a decision"
    assert text(message).splitlines() == [
        "draft is done and waits for a decision",
        "$0.250, 3 calls",
        "po show 012345",
    ]
    linked = message_of(event("run.done"), "done", view(state="done"), "https://hub/lab?po-run=1")
    assert text(linked).splitlines() == ["$0.250, 3 calls", "https://hub/lab?po-run=1"]
