"""The failure log: one line for each failure, none for a stop (R1.2)."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from po_jupyter.engine.base.interrupts import Drained, Stopped
from po_jupyter.engine.lifecycle.failure_log import FailureLog
from po_jupyter.engine.lifecycle.frame import Frame
from po_jupyter.errors import ModelUnavailable, StageFailed, StoreUnusable
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.usage import Usage

TASK = Task(name="a", prompt="x")


def test_each_failure_says_run_task_stage_and_attempt() -> None:
    failures = FailureLog("run-1")
    error = StageFailed("no", details={"stage": "inference"})
    with capture_logs() as lines:
        failures.on_task_end(TASK, 2, 0.1, Usage(), error)
        failures.on_row_end(TASK, 7, 1, Usage(), error)
        failures.on_call_retry(Frame(TASK, 3, index=7), "critique", 1, ModelUnavailable("down"))
    assert [(x["event"], x["stage"], x["attempt"], x.get("index"), x.get("tries")) for x in lines] == [
        ("task failed", "inference", 2, None, None),
        ("row failed", "inference", 1, 7, None),
        ("call failed", "critique", 3, 7, 1),
    ]
    assert all((x["run"], x["task"], x["log_level"]) == ("run-1", "a", "warning") for x in lines)
    assert lines[0]["error"]["message"] == "no"


@pytest.mark.parametrize("error", [None, Stopped(), Drained(), StoreUnusable("full")])
def test_a_success_a_stop_and_a_broken_store_are_no_failures_of_a_task(error: BaseException | None) -> None:
    failures = FailureLog("run-1")
    with capture_logs() as lines:
        failures.on_task_end(TASK, 1, 0.1, Usage(), error)
        failures.on_row_end(TASK, 0, 1, Usage(), error)
    assert lines == []
