"""A child run as the state of its task has it."""

from __future__ import annotations

from typing import NotRequired

from po_jupyter.model.run.event_data import ShardPlan
from po_jupyter.model.values.json import JsonObject


class ShardRecord(ShardPlan):
    """What the events of a child run said. `merged`: up to which record its log is in this one; `reopened`: its last
    record when the task resumed it."""

    number: int
    merged: int
    offset: int
    reopened: NotRequired[int]
    state: NotRequired[str]
    error: NotRequired[JsonObject | None]
