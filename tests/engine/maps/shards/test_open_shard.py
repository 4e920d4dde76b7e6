"""What becomes of a child run that is planned, seen through the worker of its map."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from po_jupyter.engine.budgets.account import Account
from po_jupyter.engine.budgets.guard import BudgetGuard
from po_jupyter.engine.budgets.limits import BudgetLimits
from po_jupyter.engine.maps.shards.child_run import child_run
from po_jupyter.engine.maps.shards.open_child import ChildEnd
from po_jupyter.engine.maps.shards.open_shard import OpenShard
from po_jupyter.engine.maps.shards.sharded_map import ShardedMap
from po_jupyter.errors import NotFound
from po_jupyter.model.run.events import draft
from tests.support.maps import map_state


@pytest.fixture
async def planned(tmp_path: Path) -> Any:
    state = await map_state(tmp_path, ["a", "b"])
    plan: Any = {"run": "0c", "shard": 1, "rows": "0-1"}
    state.parts.log.commit_soon(draft("shards.planned", "m", number=1, shards=[plan]))
    await state.parts.log.flush()
    return OpenShard(state, state.parts.log.state.tasks["m"].shards["0c"]), state


async def test_a_child_is_created_once(planned: Any) -> None:
    shard, state = planned
    with pytest.raises(NotFound):
        await shard.look()
    for _ in range(2):
        await shard.create(state.parts.history)
    store = state.parts.log.store
    head = store.head("0c")
    assert (head["parent"], head["n"]) == (state.parts.log.run, 1)
    assert store.runs().heads[0]["run"] == state.parts.log.run
    assert await shard.look() == (False, None)


async def test_one_that_is_cancelled_before_it_was_created_can_not_start_later(planned: Any) -> None:
    """A worker that stood still may still be about to create it."""
    shard, state = planned
    await shard.cancel()
    await shard.create(state.parts.history)
    events = state.parts.log.store.events("0c")
    assert events[-1]["type"] == "run.cancel_requested"


async def test_a_child_knows_how_large_the_whole_is_and_asks_for_no_files_of_its_own(tmp_path: Path) -> None:
    state = await map_state(tmp_path, ["a", "b", "c"])
    inputs = state.parts.inputs
    files = ({"name": "f", "bytes": 1, "sha256": "0" * 64},)
    state.parts = replace(
        state.parts, inputs=replace(inputs, definition=replace(inputs.definition, seed_files=files))
    )
    shard: Any = {"run": "0c", "shard": 1, "rows": "0-1", "number": 1, "offset": 1, "merged": 1}
    definition = child_run(state, shard, state.parts.history).definition
    assert definition["parent"]["of"] == 3
    assert "seed_files" not in definition


async def test_one_that_was_deleted_is_not_made_again(planned: Any) -> None:
    """Its first records are merged already: those of another one would be taken for the next."""
    shard, state = planned
    await shard.create(state.parts.history)
    log = state.parts.log
    log.commit_soon(draft("shard.merged", "m", run="0c", n=3))
    await log.flush()
    log.store.request("0c", [draft("run.cancelled")], state="cancelled")
    log.store.delete_run("0c")
    again = OpenShard(state, log.state.tasks["m"].shards["0c"])
    assert await again.look() == (False, ChildEnd("cancelled", None))


async def broken_off(seconds: float) -> None:
    raise RuntimeError("unforeseen")


async def test_a_map_that_is_left_gives_the_shares_of_its_child_runs_back(tmp_path: Path) -> None:
    """The next one of the same worker sets them aside again."""
    state = await map_state(tmp_path, ["a", "b"], budget=BudgetGuard(Account("run", BudgetLimits(tokens=100))))
    plan: Any = {"run": "0c", "shard": 1, "rows": "0-1", "share": [None, 60]}
    state.parts.log.commit_soon(draft("shards.planned", "m", number=1, shards=[plan]))
    await state.parts.log.flush()
    guard: Any = state.parts.calls.budget
    account, boundary = guard.run, cast("Any", state.parts.boundary)
    boundary.sleep = broken_off
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await ShardedMap(state).run()
        assert (account.holds, account.reserved.tokens) == (0, 0)
