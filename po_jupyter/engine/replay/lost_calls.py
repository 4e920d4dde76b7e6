"""Calls that a dead worker left: reported as soon as its death is known, not only when they are sent again (P3).

A worker that dies has calls in flight whose outcome nobody knows, and answers of rows whose outcome it did not live to
commit. One `call.unknown` for each task says what they used, so that every sum over the run says the same at once.
"""

from __future__ import annotations

from po_jupyter.engine.base.usage_sum import UsageSum
from po_jupyter.engine.replay.history import History, JournaledCall
from po_jupyter.engine.replay.row_table import DONE, FAILED
from po_jupyter.engine.replay.spent_from_log import usage_of_end
from po_jupyter.model.run.events import EventDraft, draft
from po_jupyter.model.run.usage import Usage


def report_lost_calls(history: History) -> list[EventDraft]:
    """The events that report what no event has reported yet; `history` has it as reported from now on.

    They have to be durable before anything else is sent: a later intent of the same call would count as reported too.
    """
    events: list[EventDraft] = []
    for task, rows in history.calls.items():
        state = history.state.tasks.get(task)
        if state is not None and (state.open_shards or (state.kind == "pipeline" and state.shards)):
            continue  # child runs have made them, and say themselves what they lost
        usage = UsageSum()
        for index, calls in rows.items():
            for call in calls.values():
                _add_unreported(usage, index, call)
        if usage:
            event = draft("call.unknown", task, stage=None, usage=usage.to_json(), covers="all")
            history.apply_report(event)
            events.append(event)
    return events


def report_lost_progress(history: History) -> list[EventDraft]:
    """The counters of maps whose last outcomes no `map.progress` had: for a run that may get no worker any more."""
    events: list[EventDraft] = []
    for task, uncounted in history.uncounted.items():
        if uncounted and task in history.state.tasks:
            table = history.table(task)
            done, failed = sum(1 for _ in table.indexes(DONE)), sum(1 for _ in table.indexes(FAILED))
            usage, reused = uncounted.pop(), history.reused[task]
            events.append(
                draft("map.progress", task, done=done, failed=failed, in_flight=0, reused=reused, usage=usage)
            )
    return events


def _add_unreported(usage: UsageSum, index: int | None, call: JournaledCall) -> None:
    if call.response is None:
        lost = call.intents - call.reported
        usage.add(Usage(calls=lost, unknown=lost))
    elif index is not None and not call.counted:  # a task's own calls have a `call.done` each
        usage.add_json(usage_of_end(call.response) or {"calls": 1})
