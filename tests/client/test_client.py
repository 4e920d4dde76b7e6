"""The client that people hold, against a real server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pandas as pd
import pytest

from po_jupyter.client.async_client import AsyncClient, Endpoint, TextDelta
from po_jupyter.client.client import Client, Run
from po_jupyter.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    InvalidPipeline,
    InvalidSeed,
    NotFound,
    PoError,
    Unauthenticated,
    Unavailable,
)
from po_jupyter.model.pipeline.pipeline import Pipeline, Task
from po_jupyter.model.run.view import RunView
from tests.support.jupyter_process import JupyterProcess, definition


@pytest.fixture
def client(jupyter: JupyterProcess) -> Iterator[Client]:
    client = Client(Endpoint(jupyter.url, jupyter.token))
    yield client
    client.close()


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


@pytest.mark.parametrize(
    "pipeline",
    [
        Pipeline(name="tickets", tasks=(Task(name="label", prompt="x"),)),
        definition(),
        "name: tickets\ntasks:\n  - {name: label, prompt: x}\n",
    ],
)
def test_a_pipeline_may_be_a_value_a_dict_or_yaml(client: Client, pipeline: object) -> None:
    """ARCH: `Pipeline | str | dict`."""
    run = client.submit(pipeline, seed=pd.DataFrame({"a": [1]}))
    assert (run.view.pipeline, run.view.name) == ("tickets", "tickets")
    run.cancel()


def test_a_registered_name_is_a_pipeline(client: Client) -> None:
    """DESIGN HTTP: `pipeline: definition|name`."""
    client.register(definition(name="by-name"))
    assert "by-name" in [one["name"] for one in client.pipelines()]
    assert client.submit("by-name").view.pipeline == "by-name"


def test_mistakes_are_told_before_anything_is_sent_or_by_the_server(client: Client) -> None:
    """P11: the same exceptions, wherever the mistake was seen."""
    with pytest.raises(InvalidSeed, match="DataFrame"):
        client.submit(definition(), seed="text")
    with pytest.raises(InvalidPipeline) as yaml:
        client.submit("name: t\ntasks:\n  - {name: a, promt: x}\n")
    assert yaml.value.violations[0].line == 3
    with pytest.raises(InvalidPipeline) as remote:
        client.submit({"name": "t", "tasks": []})
    assert remote.value.violations
    with pytest.raises(InvalidPipeline, match="not int"):
        client.submit(3)
    with pytest.raises(InvalidSeed, match="refused"):
        client.submit(definition(), seed={"refuse": True})
    with pytest.raises(NotFound):
        client.run("ffffff")
    with pytest.raises(InvalidInput):
        client.run("..")
    with pytest.raises(InvalidInput, match="did you mean `done`"):
        client.runs(state="dnoe")


def test_the_same_key_is_the_same_run(client: Client) -> None:
    """DESIGN Identity."""
    first = client.submit(definition(), seed={"a": 1}, idempotency_key="one")
    assert client.submit(definition(), seed={"a": 1}, idempotency_key="one").id == first.id
    with pytest.raises(Conflict):
        client.submit(definition(), seed={"a": 2}, idempotency_key="one")
    assert client.submit(definition(), seed={"a": 1}).id != client.submit(definition(), seed={"a": 1}).id


def test_runs_are_listed_found_and_decided(client: Client) -> None:
    """Lists go over pages; a suffix finds a run; cancel and resume answer with the run."""
    made = [client.submit(definition(name="listed")) for _ in range(3)]
    assert [run.id for run in client.runs(pipeline="listed", limit=2)] == [made[2].id, made[1].id]
    found = client.run(made[0].short)
    assert isinstance(found, Run)
    assert found.cancel().state == "cancelled"
    assert found.resume(budget=2.0).state == "pending"
    with pytest.raises(Conflict):
        found.resume()
    with pytest.raises(Conflict, match="no gate"):
        found.approve("fine")
    found.cancel()
    found.delete()
    with pytest.raises(NotFound):
        found.refresh()


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
    with pytest.raises(TimeoutError):
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


def test_wrong_tokens_and_other_servers_are_told_apart(jupyter: JupyterProcess) -> None:
    """P11: what is wrong and what to do, for each way of not being the orchestrator."""
    with pytest.raises(Forbidden, match="token"):
        Client(Endpoint(jupyter.url, "wrong")).health()
    with pytest.raises(Unauthenticated):
        Client(Endpoint(jupyter.url)).health()
    with pytest.raises(NotFound, match="no po_jupyter"):
        Client(Endpoint(jupyter.url + "elsewhere", jupyter.token)).health()
    with pytest.raises(Unavailable, match="no orchestrator answers") as lost:
        Client(Endpoint("http://127.0.0.1:9/", "t")).health()
    assert "po start" in str(lost.value)
    assert "secret" not in repr(Endpoint("http://x", "secret"))


async def test_a_stream_survives_a_restart_of_the_server(tmp_path: object, jupyter: JupyterProcess) -> None:
    """P8: it is opened again where it was lost, also at another address."""
    gone = Endpoint("http://127.0.0.1:9/", jupyter.token)
    here = Endpoint(jupyter.url, jupyter.token)
    async with AsyncClient(gone, relocate=lambda: here) as client:
        run = await client.submit({"pipeline": definition(steps=5), "seed": {"name": "a", "data": {}}})
        events = [message async for message in client.events(run.id)]
        assert [m.id for m in events if m.id] == list(range(1, 9))
        assert client.endpoint is here


async def test_a_lost_server_is_given_up_after_a_while() -> None:
    """A follower does not hang for ever."""
    async with AsyncClient(Endpoint("http://127.0.0.1:9/"), timeout=0.3) as client:
        with pytest.raises(Unavailable):
            await anext(client.events("abcd"))


def test_a_server_without_token_is_used_with_its_xsrf_cookie(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Some hosts switch Jupyter's authentication off behind a proxy of theirs."""
    process = JupyterProcess(tmp_path_factory.mktemp("open"), token="")
    try:
        client = Client(Endpoint(process.url))
        assert client.submit(definition()).cancel().state == "cancelled"
        client.close()
    finally:
        process.stop()


def test_the_error_of_a_run_can_be_raised(client: Client) -> None:
    """`raise_for_error` for scripts."""
    run = client.submit(definition())
    assert run.raise_for_error() is run
    run._view = run._view.model_copy(update={"error": {"code": "budget_exceeded", "message": "spent"}})
    with pytest.raises(PoError, match="spent"):
        run.raise_for_error()
    run.cancel()
