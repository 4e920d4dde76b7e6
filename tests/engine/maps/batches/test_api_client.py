"""The client of a batch API: no second batch, whatever happens to the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.maps.batches.api_client import batch_api_for, poll_delays
from po_jupyter.engine.maps.batches.open_batch import OpenBatch
from po_jupyter.engine.replay.spent_from_log import Amount
from po_jupyter.errors import ModelKeyError, ModelRateLimited, ModelRefused, ModelUnavailable
from tests.support.maps import events


def batch(token: str = "po1") -> OpenBatch:
    return OpenBatch(token, 1, (0, 1), 0.0, Amount(), id=f"batch-{token}")


async def submitted(parts: Any, tmp: Path) -> str:
    path = tmp / "file"
    path.write_bytes(b'{"id": "x"}')
    id: str = await parts.api.submit(batch(), "g", path, frozenset())
    return id


def test_delays_grow_to_a_limit() -> None:
    next_delay = poll_delays(1.0, 4.0)
    delays = [next_delay() for _ in range(8)]
    assert 0.8 <= delays[0] <= 1.2 and 3.2 <= delays[-1] <= 4.8


async def test_a_lost_answer_to_the_creation_is_looked_up(batch_parts: Any, tmp_path: Path) -> None:
    """P3."""
    parts = await batch_parts()
    parts.vendor.create_errors = [(ModelUnavailable("timeout"), True)]
    assert await submitted(parts, tmp_path) == "batch-po1"
    assert len(parts.vendor.batches) == 1


@pytest.mark.parametrize("error", [ModelUnavailable("500"), ModelRateLimited("429", retry_after=0.0)])
async def test_a_creation_that_made_nothing_is_repeated(
    batch_parts: Any, tmp_path: Path, error: Exception
) -> None:
    parts = await batch_parts()
    parts.vendor.create_errors = [(error, False)]
    assert await submitted(parts, tmp_path) == "batch-po1"
    await parts.state.parts.log.flush()
    assert len(events(parts.state, "call.retry")) == 1


async def test_an_error_that_stays_is_raised(batch_parts: Any, tmp_path: Path) -> None:
    parts = await batch_parts()
    parts.vendor.create_errors = [(ModelUnavailable("500"), False)] * 2
    with pytest.raises(ModelUnavailable):
        await submitted(parts, tmp_path)
    parts.vendor.create_errors = [(ModelKeyError("no key"), False)]
    with pytest.raises(ModelKeyError):
        await submitted(parts, tmp_path)


async def test_a_batch_that_the_provider_forgot_has_ended_and_one_that_is_silent_has_not(
    batch_parts: Any,
) -> None:
    parts = await batch_parts()

    def failing(error: Exception) -> Any:
        async def status(id: str) -> Any:
            raise error

        return status

    parts.vendor.status = failing(ModelRefused("gone", details={"status": 404}))
    gone = await parts.api.status(batch())
    assert (gone.state, gone.code) == ("ended", "gone") and "deleted" in gone.error
    parts.vendor.status = failing(ModelUnavailable("500"))
    assert await parts.api.status(batch()) is None
    parts.vendor.status = failing(ModelRefused("no", details={"status": 400}))
    with pytest.raises(ModelRefused):
        await parts.api.status(batch())


async def test_a_model_without_batches_is_refused(batch_parts: Any) -> None:
    """P11."""
    parts = await batch_parts()
    with pytest.raises(ModelRefused, match="mode: batch"):
        await batch_api_for(parts.state.parts, parts.state.task)


async def test_a_hub_that_is_away_is_waited_for_and_burns_no_attempt(
    batch_parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("po_jupyter.engine.maps.batches.api_client._HUB", (0.001, 0.002))
    parts = await batch_parts()

    def away() -> ModelUnavailable:
        error = ModelUnavailable("the hub's gateway cannot be reached")
        error.waits_for = "hub"
        return error

    parts.vendor.create_errors = [(away(), False) for _ in range(12)]
    assert await submitted(parts, tmp_path) == "batch-po1"
    await parts.state.parts.log.flush()
    assert events(parts.state, "call.retry") == []
    assert len(events(parts.state, "task.waiting")) == 12
    assert len(parts.vendor.batches) == 1
