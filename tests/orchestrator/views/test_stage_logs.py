"""B5: what stages print is in files of their own, subprocesses and C libraries included; asked for over the
API."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import NotFound
from tests.support.orchestrator import held, orchestrator, until

pytestmark = pytest.mark.integration

LOUD = """
import ctypes, os, subprocess, sys, asyncio

async def ingestion(ctx):
    print("python says hello")
    subprocess.run([sys.executable, "-c", "print('child of', 'ingestion')"], check=True)
    libc = ctypes.CDLL(None)
    libc.printf(b"%s\\n", b"c in ingestion")
    os.write(2, b"descriptor two\\n")
    await asyncio.sleep(ctx.config.get("seconds", 0))
    return 1

def integration(ctx):
    os.system("echo shell in integration")
    ctx.io.write_artifact("out/page.html", "<script>1</script>")
    return 2
"""


def body(*tasks: dict[str, Any]) -> dict[str, Any]:
    return {"pipeline": {"name": "p", "tasks": list(tasks)}, "seed": {"name": "s", "data": {}}}


async def test_each_stage_has_the_log_of_all_it_started(tmp_path: Path) -> None:
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(body({"name": "a", "source": LOUD}), owner="me")
        view = await until(service, view.id)
        assert view.state == "done", view.error
        first, *none = await service.results.logs(view.id, "me", "a", "ingestion")
        assert none == []
        for said in ("python says hello", "child of ingestion", "c in ingestion", "descriptor two"):
            assert said in first["text"]
        assert "integration" not in first["text"].replace("child of ingestion", "")
        (last,) = await service.results.logs(view.id, "me", "a", "integration")
        assert last["text"] == "shell in integration\n"
        everything = await service.results.logs(view.id, "me")
        assert {log["name"] for log in everything} == {"ingestion.log", "integration.log", "worker.log"}
        worker = next(log for log in everything if log["name"] == "worker.log")
        assert "hello" not in worker["text"]
        assert await service.results.logs(view.id, "me", "a", "refine") == []
        with pytest.raises(NotFound, match="no task 'b'"):
            await service.results.logs(view.id, "me", "b")
        with pytest.raises(NotFound):
            await service.results.logs(view.id, "somebody else")


async def test_stages_at_the_same_time_share_what_cannot_be_told_apart(tmp_path: Path) -> None:
    """Python's own output is told apart all the same; the shared log says what it is."""
    slow = {"config": {"seconds": 0.5}, "source": LOUD, "needs": []}
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(
            body({"name": "a", **slow}, {"name": "b", **slow}), owner="me"
        )
        view = await until(service, view.id)
        logs = await service.results.logs(view.id, "me")
        for name in ("a", "b"):
            own = next(log for log in logs if log["task"] == name and log["name"] == "ingestion.log")
            assert "python says hello" in own["text"]
        shared = [log for log in logs if log["name"] == "output.log"]
        assert "[several stages ran at the same time" in shared[0]["text"]
        text = "".join(log["text"] for log in logs)
        assert text.count("child of ingestion") == text.count("c in ingestion") == 2


DEAF = """
import os, subprocess, time
def ingestion(ctx):
    if ctx.meta["attempt"] == 1 and not os.path.exists(ctx.config["again"]):
        subprocess.run(["echo", "child of the first"], check=True)
        time.sleep(60)
    os.write(1, b"written by the second\\n")
"""


async def test_output_of_subprocesses_is_seen_while_the_stage_runs_and_survives_a_kill(tmp_path: Path) -> None:
    """B5: nothing is buffered: a tail shows it, and `kill -9` in the middle of the stage loses none of it."""
    again = tmp_path / "again"
    task = {"name": "a", "source": DEAF, "config": {"again": str(again)}}
    async with orchestrator(tmp_path / "data") as service:
        view, _ = await service.submissions.submit(body(task), owner="me")
        async with asyncio.timeout(20):
            while not (logs := await service.results.logs(view.id, "me", "a", "ingestion")):
                await asyncio.sleep(0.05)
        assert [(log["name"], log["text"]) for log in logs] == [("ingestion.live", "child of the first\n")]
        again.touch()
        os.kill(await held(tmp_path / "data", view.id), signal.SIGKILL)
        view = await until(service, view.id)
        assert view.state == "done", view.error
        logs = await service.results.logs(view.id, "me", "a", "ingestion")
        said = "child of the first\nwritten by the second\n"
        assert [(log["name"], log["text"]) for log in logs] == [("ingestion.log", said)]
        assert not list((tmp_path / "data" / "runs" / view.id).glob("*.live"))


async def test_a_task_that_prints_nothing_leaves_no_file(tmp_path: Path) -> None:
    """B5: the log of a stage is there when something was written, and only then."""
    source = "def ingestion(ctx):\n    return 1\ndef integration(ctx):\n    return 2\n"
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(body({"name": "a", "source": source}), owner="me")
        assert (await until(service, view.id)).state == "done"
        assert [log["name"] for log in await service.results.logs(view.id, "me")] == ["worker.log"]
        assert [path.name for path in (tmp_path / "runs" / view.id).iterdir()] == ["worker.log"]


ORDER = """
import os
def ingestion(ctx):
    os.system("echo 1")
    print(2)
    os.system("echo 3")
    print(4)
"""


async def test_what_is_printed_and_what_is_written_past_python_keep_their_order(tmp_path: Path) -> None:
    """B5: a log reads as the terminal would, in a second attempt too."""
    async with orchestrator(tmp_path) as service:
        fails = ORDER + '    if ctx.meta["attempt"] == 1: raise ValueError\n'
        retry = {"initial_delay": 0.01, "max_attempts": 2}
        view, _ = await service.submissions.submit(
            body({"name": "a", "source": fails, "retry": retry}), owner="me"
        )
        assert (await until(service, view.id)).state == "done"
        logs = {log["name"]: log["text"] for log in await service.results.logs(view.id, "me", "a", "ingestion")}
        assert set(logs) == {"ingestion.log", "ingestion.context.json"}
        assert logs["ingestion.log"].split() == list("12341234")


async def test_unknown_outcomes_are_shown_and_counted(tmp_path: Path) -> None:
    """P3: a call that was about to be sent and has no answer is `unknown` in the list of calls."""
    from po_jupyter.store.protocol import Commit

    prompt = {"name": "a", "prompt": "x", "llm": {"model": "fake:echo"}}
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(body(prompt), owner="me")
        await until(service, view.id)
        calls, _ = await service.results.calls(view.id, "me")
        assert [(c["kind"], c["state"]) for c in calls] == [("intent", "answered"), ("response", "done")]
        lease = service.store.claim(view.id, {"pid": 1})
        key = calls[0]["key"]
        lost = {"key": key[:-1] + "1", "kind": "intent", "model": "fake:echo", "stage": "inference"}
        service.store.commit(lease, Commit(calls=[lost, lost], release=True))
        calls, _ = await service.results.calls(view.id, "me", state="unknown")
        assert [c["key"] for c in calls] == [lost["key"]] * 2
