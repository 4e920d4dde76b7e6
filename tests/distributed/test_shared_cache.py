"""An answer that one node paid for is found by the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.distributed.test_dispatcher import submitted, workers
from tests.support.nodes import api_node
from tests.support.orchestrator import wait_for_state

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.mark.parametrize("shared", ["true", "false"])
async def test_the_same_call_on_another_node_is_not_paid_for_again(
    tmp_path: Path, place: str, model: ModelServer, shared: str
) -> None:
    with (
        workers(tmp_path, place, "a", PO_NODE_LABELS="a", PO_SHARED_WORKER=shared),
        workers(tmp_path, place, "b", PO_NODE_LABELS="b", PO_SHARED_WORKER=shared),
    ):
        async with api_node(tmp_path / "api", place) as api:
            for name in ("a", "b"):
                run = await submitted(api, 3, options={"labels": [name]})
                view = await wait_for_state(api, run, patience=40)
                assert view.state == "done", view.error
                assert len(model.requests) == 3
            assert view.usage is not None
            assert view.usage.cached_calls == 3
