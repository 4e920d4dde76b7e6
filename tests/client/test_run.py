"""The handle of a run, against a real server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from po_jupyter.client.async_client import TextDelta
from po_jupyter.client.client import Client
from po_jupyter.errors import (
    InvalidInput,
    PoError,
)
from po_jupyter.model.run.view import RunView
from tests.support.jupyter_process import JupyterProcess, definition


def test_a_run_in_five_lines(client: Client) -> None:
    """DESIGN Python: submit, wait, outputs, events, usage."""
    run = client.submit(definition(steps=3), seed={"text": "x"})
    assert run.state in ("pending", "running")
    assert run.wait(10) is run
    assert (run.state, run.short, run.error) == ("done", run.id[-6:], None)
    assert run.outputs["label"] == {"said": "label"}
    assert dict(run.outputs) == {"label": {"said": "label"}}
    assert [event["offset"] for event in run.events(since=1)] == [2, 3, 4, 5, 6]
    assert run.usage.calls == 0
    assert repr(run) == f"<run {run.short} of tickets 1.0.0: done>"


def test_outputs_are_asked_for_by_name(client: Client) -> None:
    """A wrong name gets a suggestion, an unfinished task its state."""
    run = client.submit(definition())
    with pytest.raises(KeyError, match="did you mean `label`"):
        run.outputs["lable"]
    with pytest.raises(KeyError, match="it is pending"):
        run.outputs["label"]
    assert list(run.outputs) == []
    run.cancel()


def test_a_map_becomes_a_frame(client: Client) -> None:
    """DESIGN Python: outcome, error, tokens, cost for each row, over all pages."""
    run = client.submit(definition())
    frame = run.frame("label")
    assert list(frame.index) == [0, 1, 2, 3, 4]
    assert list(frame.columns) == [
        "label",
        "ok",
        "error",
        "input_tokens",
        "output_tokens",
        "cost",
        "cached",
        "unknown",
    ]
    assert not frame.loc[2, "ok"]
    assert frame.loc[2, "error"] == "no label"
    run.cancel()


def test_a_map_becomes_a_polars_frame_when_asked(client: Client) -> None:
    """The same columns, with the index as one of them."""
    import polars as pl

    run = client.submit(definition())
    frame = run.frame("label", "polars")
    assert isinstance(frame, pl.DataFrame)
    assert frame.columns == [
        "index",
        "label",
        "ok",
        "error",
        "input_tokens",
        "output_tokens",
        "cost",
        "cached",
        "unknown",
    ]
    assert frame["label"].to_list() == ["bug", "bug", None, "bug", "bug"]
    assert frame.filter(~pl.col("ok"))["error"].to_list() == ["no label"]
    with pytest.raises(InvalidInput, match="pandas or polars"):
        run.frame("label", "excel")
    run.cancel()


def test_following_shows_each_change_and_the_text(client: Client) -> None:
    """ARCH: views and texts until the end; the last view is the end."""
    run = client.submit(definition(steps=30))
    seen = list(run.follow())
    views = [value for value in seen if isinstance(value, RunView)]
    assert views[-1].state == "done"
    assert len(views) >= 3
    assert any(isinstance(value, TextDelta) and value.task == "label" for value in seen)
    messages = list(run.stream(since=30))
    assert [m.id for m in messages if m.id] == [31, 32, 33]
    assert messages[-1].event == "end"


async def test_await_works_on_the_callers_own_loop(client: Client) -> None:
    """DESIGN Python: `await run` in a notebook's cell, beside other tasks."""
    run = await asyncio.to_thread(client.submit, definition(steps=10))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.02)

    task = asyncio.create_task(tick())
    assert (await run) is run
    assert run._view.state == "done"
    assert ticks > 3
    task.cancel()


def test_an_interrupt_detaches(client: Client) -> None:
    """P12: KeyboardInterrupt ends the wait, not the run."""
    run = client.submit(definition())
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run.wait()
    assert time.monotonic() - started < 3
    timer.join()
    assert run.refresh().state == "pending"
    run.cancel()
    assert run.wait(5).state == "cancelled"


def test_a_wait_has_a_timeout(client: Client) -> None:
    """It raises; the run goes on."""
    run = client.submit(definition())
    with pytest.raises(
        TimeoutError, match=f"run {run.short} has not ended within 0.1 s, and goes on: it is pending"
    ):
        run.wait(0.1)
    assert run.refresh().state == "pending"
    run.cancel()


def test_an_interrupted_await_in_a_kernel_detaches(jupyter: JupyterProcess) -> None:
    """FINDINGS: an interrupt is noticed only when the loop wakes."""
    code = f"""
import asyncio, os, signal, threading
from po_jupyter.client.client import Client
from po_jupyter.client.async_client import Endpoint
client = Client(Endpoint({jupyter.url!r}, {jupyter.token!r}))
run = client.submit({definition()!r})
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
async def cell(): await run
loop = asyncio.new_event_loop()  # a kernel's loop has no handler of its own for SIGINT
try:
    loop.run_until_complete(cell())
except KeyboardInterrupt:
    print(run.refresh().state)
run.cancel()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.strip() == "pending", done.stderr


def test_the_error_of_a_run_can_be_raised(client: Client) -> None:
    """`raise_for_error` for scripts."""
    run = client.submit(definition())
    assert run.raise_for_error() is run
    run._view = run._view.model_copy(update={"error": {"code": "budget_exceeded", "message": "spent"}})
    with pytest.raises(PoError, match="spent"):
        run.raise_for_error()
    run.cancel()
