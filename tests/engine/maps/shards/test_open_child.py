"""What child runs of maps and of pipelines have in common: budget, cancel, and a run that is not there any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.maps.shards.open_child import ChildEnd, OpenChild
from po_jupyter.engine.replay.spent_from_log import Amount
from po_jupyter.errors import NotFound
from po_jupyter.model.run.shard_record import ShardRecord
from tests.support.shards import Family


class NoRecords:
    """The log of a child run that has nothing new."""

    def __init__(self, merged: int) -> None:
        self.merged = merged
        self.spent = Amount(0.0, 3)

    def read_again(self) -> None:
        pass

    def next_piece(self, last: int) -> Any:
        return None


class Child(OpenChild[Any]):
    """One that nobody creates."""

    def _new_run(self) -> Any:
        raise AssertionError("it is made again")

    async def _merge(self, piece: Any) -> None:
        raise AssertionError("there is nothing to merge")


def record(merged: int, **more: Any) -> ShardRecord:
    planned: dict[str, Any] = {
        "run": "c" * 22, "shard": 1, "rows": "", "number": 1, "merged": merged, "offset": 9, **more
    }  # fmt: skip
    return planned  # type: ignore[return-value]


async def test_one_that_was_deleted_is_over_and_not_made_again(tmp_path: Path) -> None:
    family = Family(tmp_path)
    family.alone, family.drains_at = True, 9
    family.create([{"name": "t", "prompt": "x"}])
    async with family.worker_of(family.run) as session:
        gone = Child(session.map_parts, "t", record(7), NoRecords(7))
        await gone.cancel()
        assert await gone.look() == (False, ChildEnd("cancelled", None))
        with pytest.raises(NotFound):
            await Child(session.map_parts, "t", record(1), NoRecords(1)).look()


async def test_the_hold_on_the_budget_is_given_back(tmp_path: Path) -> None:
    family = Family(tmp_path)
    family.create([{"name": "t", "prompt": "x"}], budget={"tokens": 100})
    async with family.worker_of(family.run) as session:
        guard = session.map_parts.calls.budget
        assert guard is not None
        (account,) = guard.accounts_of("t")
        child = Child(session.map_parts, "t", record(7, share=[None, 40]), NoRecords(7))
        await child.set_aside()
        assert account.reserved.tokens == 37, "what it used before is used already"
        assert child.keeps_budget
        child.release()
        child.release()
        assert account.reserved.tokens == 0
        without = Child(session.map_parts, "t", record(7), NoRecords(7))
        await without.set_aside()
        assert not without.keeps_budget, "it was planned before there was a limit"
        without.release()
