"""Runs that are given back, with a real worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.model.run.view import ENDED
from tests.support.orchestrator import body, orchestrator, wait_for_state, wait_for_task_state

pytestmark = pytest.mark.integration
SLOW = {
    "name": "p",
    "prompt": "hello",
    "llm": {"model": "fake:echo?latency=0.3"},
    "for_each": "{{ range(30) | list }}",
}


async def test_a_released_run_is_nobodys_until_it_is_taken_back(tmp_path: Path) -> None:
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(body(SLOW), owner="me")
        await wait_for_task_state(service, view.id, "p")
        await service.dispatcher.release(view.id)
        head = service.store.head(view.id)
        assert head["holder"] is None
        assert head["state"] not in ENDED
        await service.dispatcher.changed(view.id)
        assert service.store.head(view.id)["holder"] is None
        await service.dispatcher.take_back(view.id)
        await wait_for_state(service, view.id)
        await service.dispatcher.release("0" * 22)  # of a run that is not there nothing is to be given back
