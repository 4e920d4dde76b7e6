from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.maps.batches.api_client import BatchApi
from po_jupyter.engine.maps.batches.collector import Collector
from po_jupyter.engine.maps.batches.open_batches import OpenBatches
from po_jupyter.engine.maps.batches.row_runner import RowRunner
from po_jupyter.engine.maps.batches.sender import Sender
from po_jupyter.engine.maps.map_state import MapState
from tests.support.maps import FakeBatches, map_state

QUICK = {"batch_poll_min": 0.01, "batch_poll_max": 0.02, "batch_grace": 0.02, "retry_after_cap": 0.02}


@dataclass
class BatchParts:
    """The parts of a batch map over a batch API in memory."""

    state: MapState
    vendor: FakeBatches
    api: BatchApi
    batches: OpenBatches
    runner: RowRunner
    sender: Sender
    collector: Collector


@pytest.fixture
def batch_parts(tmp_path: Path) -> Callable[..., Any]:
    async def make(rows: int = 3, *, stopping: bool = False, **more: Any) -> BatchParts:
        llm = {"retry": {"max_attempts": 2, "initial_delay": 0, "max_delay": 0.01}}
        state = await map_state(
            tmp_path, [f"r{i}" for i in range(rows)], settings=QUICK, llm=llm, mode="batch", **more
        )
        vendor = FakeBatches()
        api = BatchApi(state.parts, state.task, vendor)
        batches, runner = OpenBatches(state, api), RowRunner(state)
        return BatchParts(
            state, vendor, api, batches, runner,
            Sender(state, api, batches, runner, tmp_path / "files"),
            Collector(state, api, batches, runner, tmp_path / "files", stopping=stopping),
        )  # fmt: skip

    return make
