"""The extension of a Jupyter server: settings from its configuration, and an end that leaves nothing running."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import InvalidSettings, RateLimited
from po_jupyter.server.extension import PoExtension
from po_jupyter.server.routing.table import PREFIX
from tests.support.fake_orchestrator import FakeOrchestrator


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PO_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("PO_MAX_RUNNING", raising=False)


def extension(**traits: Any) -> PoExtension:
    made = PoExtension(orchestrator_class=FakeOrchestrator, **traits)
    made.initialize_settings()
    return made


def test_what_jupyters_configuration_says_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It weighs more than the environment; what it leaves out does not."""
    monkeypatch.setenv("PO_MAX_RUNNING", "3")
    monkeypatch.setenv("PO_MAX_CRASHES", "7")
    options = {"log_format": "console", "max_running": 4}
    made = extension(max_running=5, po_data_dir=str(tmp_path / "other"), options=options).po_settings
    assert (made.max_running, made.max_crashes, made.log_format) == (5, 7, "console")
    assert made.data_dir == tmp_path / "other"
    assert extension(options=options).po_settings.max_running == 4, "the trait's own default is no setting"
    assert extension().po_settings.max_running == 3


def test_a_limit_of_requests_is_that_of_the_settings() -> None:
    limiter = extension(requests_per_minute=60).limiter
    for _ in range(60):
        limiter.count("a")
    with pytest.raises(RateLimited, match="more than 60"):
        limiter.count("a")


async def test_settings_that_cannot_be_used_are_told_by_every_route_and_stop_no_server() -> None:
    """P11: a person's notebooks open all the same."""
    made = extension(options={"max_runing": 3})
    with pytest.raises(InvalidSettings, match="did you mean `max_running`"):
        await made.host.ready()
    assert not (await made.host.readiness())["ready"]
    await made.host.stop()


def test_one_handler_has_the_whole_prefix() -> None:
    """P5: unknown paths are refused by it too, in JSON."""
    made = extension()
    made.initialize_handlers()
    shared, handler = made.handlers
    assert re.fullmatch(shared[0], f"/{PREFIX}/shared/runs/x")
    pattern, _, arguments = handler
    assert arguments["extension"] is made
    for path in ("", "/", "/runs/x", "/no/such/thing"):
        assert re.fullmatch(pattern, f"/{PREFIX}{path}")
    assert not re.fullmatch(pattern, f"/{PREFIX}x")


async def test_its_end_ends_the_streams_before_the_orchestrator() -> None:
    """A stream that outlived its store would raise into a server that closes."""
    made = extension()
    ended: list[str] = []

    async def stream() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("stream")

    async def stop() -> None:
        ended.append("host")

    task = asyncio.create_task(stream())
    made.streams.add(task)
    await asyncio.sleep(0)
    made.host.stop = stop
    await made.stop_extension()
    assert ended == ["stream", "host"]
    assert task.cancelled()
