"""What becomes of a child run that is planned, seen through the worker of its map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.maps.shards.open_shard import OpenShard
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
