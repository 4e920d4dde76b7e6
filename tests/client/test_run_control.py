"""Restart, fork, gates and dead letters of `Run` and `Client`, with real workers (B12, B13, G5, R1.2)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from po_jupyter.client.async_client import Endpoint
from po_jupyter.client.client import Client
from po_jupyter.errors import Conflict, NotFound
from po_jupyter.model.pipeline.pipeline import Pipeline, Task
from tests.support.jupyter_process import JupyterProcess

pytestmark = pytest.mark.acceptance

CODE = """
import os, signal
def integration(ctx):
    if ctx.config.get("flag") and not os.path.exists(ctx.config["flag"]):
        os.kill(os.getpid(), signal.SIGKILL)
    if ctx.config.get("ask"):
        ctx.control.pause("Look", ["draft.md"])
    return {"attempt": ctx.meta["attempt"], "text": ctx.seed.get("text")}
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    process = JupyterProcess(tmp_path_factory.mktemp("control"), orchestrator=None)
    found = Client(Endpoint(process.url, process.token))
    yield found
    found.close()
    process.stop()


def pipeline(**config: object) -> Pipeline:
    return Pipeline(
        name="control",
        tasks=(
            Task(name="a", source=CODE),
            Task(name="b", source=CODE, config=config),
            Task(name="c", source=CODE),
        ),
    )


def test_restart_and_fork(client: Client) -> None:
    """B13, G5: the same words as `po restart` and `po fork`."""
    run = client.submit(pipeline(), {"text": "x"}).wait(30)
    assert run.restart("b").wait(30).state == "done"
    assert [run.outputs[n]["attempt"] for n in "abc"] == [1, 2, 2]
    fork = run.fork("c", seed={"text": "y"}).wait(30)
    assert fork.view.forked_from == {"run": run.id, "from_task": "c"}
    assert [fork.outputs[n]["text"] for n in "abc"] == ["x", "x", "y"]
    with pytest.raises(NotFound, match="did you mean"):
        run.fork("cc")


def test_a_gate_of_a_task_is_decided_once(client: Client) -> None:
    """B12: the artifacts are named; approve goes on; a later decision is a conflict."""
    run = client.submit(pipeline(ask=True), {})
    while run.refresh().state != "waiting":
        next(iter(run.stream(run.view.last_event)))
    assert run.view.gate == {"task": "b", "message": "Look", "artifacts": ["draft.md"]}
    with pytest.raises(Conflict, match="waits at the gate of b, not of a"):
        run.approve(task="a")
    assert run.approve("fine").wait(30).state == "done"
    with pytest.raises(Conflict):
        run.reject("too late")


def test_dead_letters(client: Client, tmp_path: Path) -> None:
    """R1.2: listed with their context, requeued when the reason is gone, or discarded."""
    flag = tmp_path / "flag"
    run = client.submit(pipeline(flag=str(flag)), {}).wait(60)
    assert run.state == "dead"
    [letter] = client.dead_letters()
    assert (letter["id"], letter["task"], letter["crashes"]) == (run.id, "b", 3)
    with pytest.raises(NotFound):
        client.requeue(run.short, "nope")
    flag.touch()
    assert client.requeue(run.short).wait(30).state == "done"
    assert client.dead_letters() == []
    with pytest.raises(Conflict):
        client.discard(run.short)


def test_meta_says_how_busy_it_is(client: Client) -> None:
    """B14."""
    meta = client.meta()
    assert meta["limits"]["running"] >= 1
    assert set(meta["runs"]) == {"running", "queued"}
