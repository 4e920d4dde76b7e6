"""A child run as the state of its task has it."""

from __future__ import annotations

from typing import NotRequired

from po_jupyter.model.run.event_data import ShardPlan
from po_jupyter.model.values.json import JsonObject


class ShardRecord(ShardPlan):
    """What the events of a child run said. `merged`: up to which record its log is in this one; `reopened`: its last
    record when the task resumed it, with `only_failed` for rows that failed."""

    number: int
    merged: int
    offset: int
    reopened: NotRequired[int]
    only_failed: NotRequired[bool]
    state: NotRequired[str]
    error: NotRequired[JsonObject | None]
    failed_rows: NotRequired[int]
