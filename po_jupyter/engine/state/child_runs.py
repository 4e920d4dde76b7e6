"""The rules of the fold for child runs of a task. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from po_jupyter.engine.state.run_state import TaskState

if TYPE_CHECKING:
    from po_jupyter.model.run.event_data import (
        ShardEndedData,
        ShardMergedData,
        ShardReopenedData,
        ShardsPlannedData,
    )
    from po_jupyter.model.run.shard_record import ShardRecord


def plan(t: TaskState, data: ShardsPlannedData, at: str, offset: int) -> None:
    """Note the child runs that are planned."""
    number = data["number"]
    for plan in data["shards"]:
        # The first record of a child is its creation, which this log needs no copy of.
        record: ShardRecord = {
            "run": plan["run"], "shard": plan["shard"], "rows": plan["rows"],
            "number": number, "merged": 1, "offset": offset,
        }  # fmt: skip
        if "share" in plan:
            record["share"] = plan["share"]
        t.shards = {**t.shards, plan["run"]: record}


def merge(t: TaskState, data: ShardMergedData, at: str, offset: int) -> None:
    """Note up to where the log of a child run is in this one, and what it used."""
    if (shard := t.shards.get(data["run"])) is not None:
        t.shards = {**t.shards, data["run"]: {**shard, "merged": data["n"]}}
        if usage := data.get("usage"):
            t.usage = t.usage.plus(usage)


def reopen(t: TaskState, data: ShardReopenedData, at: str, offset: int) -> None:
    """Note that a child run which had ended goes on."""
    if (shard := t.shards.get(data["run"])) is not None:
        again: ShardRecord = {
            "run": shard["run"], "shard": shard["shard"], "rows": shard["rows"], "number": data["number"],
            "merged": shard["merged"], "offset": shard["offset"], "reopened": data["n"],
        }  # fmt: skip
        if "share" in data:
            again["share"] = data["share"]
        if data.get("only_failed"):
            again["only_failed"] = True
        t.shards = {**t.shards, data["run"]: again}


def end(t: TaskState, data: ShardEndedData, at: str, offset: int) -> None:
    """Note that a child run has ended."""
    if (shard := t.shards.get(data["run"])) is not None:
        ended: ShardRecord = {**shard, "state": data["state"]}
        if error := data.get("error"):
            ended["error"] = error
        if failed := data.get("failed_rows"):
            ended["failed_rows"] = failed
        t.shards = {**t.shards, data["run"]: ended}
