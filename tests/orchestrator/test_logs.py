"""B5: what stages print is in files of their own, subprocesses and C libraries included; asked for over the
API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness import orchestrator, until

from po_jupyter.errors import NotFound

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
        view, _ = await service.submit(body({"name": "a", "source": LOUD}), owner="me")
        view = await until(service, view.id)
        assert view.state == "done", view.error
        first, *none = await service.logs(view.id, "me", "a", "ingestion")
        assert none == []
        for said in ("python says hello", "child of ingestion", "c in ingestion", "descriptor two"):
            assert said in first["text"]
        assert "integration" not in first["text"].replace("child of ingestion", "")
        (last,) = await service.logs(view.id, "me", "a", "integration")
        assert last["text"] == "shell in integration\n"
        everything = await service.logs(view.id, "me")
        assert {log["name"] for log in everything} == {"ingestion.log", "integration.log", "worker.log"}
        worker = next(log for log in everything if log["name"] == "worker.log")
        assert "hello" not in worker["text"]
        assert await service.logs(view.id, "me", "a", "refine") == []
        with pytest.raises(NotFound, match="no task 'b'"):
            await service.logs(view.id, "me", "b")
        with pytest.raises(NotFound):
            await service.logs(view.id, "somebody else")


async def test_stages_at_the_same_time_share_what_cannot_be_told_apart(tmp_path: Path) -> None:
    """Python's own output is told apart all the same; the shared log says what it is."""
    slow = {"config": {"seconds": 0.5}, "source": LOUD, "needs": []}
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submit(body({"name": "a", **slow}, {"name": "b", **slow}), owner="me")
        view = await until(service, view.id)
        logs = await service.logs(view.id, "me")
        for name in ("a", "b"):
            own = next(log for log in logs if log["task"] == name and log["name"] == "ingestion.log")
            assert "python says hello" in own["text"]
        shared = [log for log in logs if log["name"] == "output.log"]
        assert "[several stages ran at the same time" in shared[0]["text"]
        text = "".join(log["text"] for log in logs)
        assert text.count("child of ingestion") == text.count("c in ingestion") == 2


async def test_unknown_outcomes_are_shown_and_counted(tmp_path: Path) -> None:
    """P3: a call that was about to be sent and has no answer is `unknown` in the list of calls."""
    from po_jupyter.store.base import Commit

    prompt = {"name": "a", "prompt": "x", "llm": {"model": "fake:echo"}}
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submit(body(prompt), owner="me")
        await until(service, view.id)
        calls, _ = await service.calls(view.id, "me")
        assert [(c["kind"], c["state"]) for c in calls] == [("intent", "answered"), ("response", "done")]
        lease = service._store.claim(view.id, {"pid": 1})
        key = calls[0]["key"]
        lost = {"key": key[:-1] + "1", "kind": "intent", "model": "fake:echo", "stage": "inference"}
        service._store.commit(lease, Commit(calls=[lost, lost], release=True))
        calls, _ = await service.calls(view.id, "me", state="unknown")
        assert [c["key"] for c in calls] == [lost["key"]] * 2
