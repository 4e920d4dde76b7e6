"""C10: a backup that is made while runs are at work is whole: restored elsewhere it lists, folds and goes on."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.replay.history import read_history
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.keyed.copying import heads_of
from po_jupyter.testing.model_server import ModelServer
from tests.support.orchestrator import (
    Server,
    end_workers,
    orchestrator,
    wait_for_exit,
    wait_for_state,
)
from tests.support.paths import ROOT

ROWS = 400
CODE = """
async def integration(ctx):
    first = (await ctx.llm.chat(f"first of {ctx.item}")).text
    ctx.io.write_artifact(f"row-{ctx.item}.txt", first)
    return [first, (await ctx.llm.chat(f"second of {ctx.item}")).text]
"""
SEVERAL = """
async def integration(ctx):
    db = ctx.io.db()
    db.execute("create table if not exists t (n integer)")
    for n in range(60):
        await ctx.llm.chat(f"step {n}")
        with db:
            db.execute("insert into t values (?)", (n,))
    return "all"
"""


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with ModelServer(latency=0.1) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", server.key)
        yield server


def submission(source: str, name: str, **task: Any) -> dict[str, Any]:
    llm = {"model": "openai:gpt-4o-mini", "max_tokens": 50}
    return {
        "pipeline": {"name": name, "llm": llm, "tasks": [{"name": "rows", "source": source, **task}]},
        "seed": {"name": "s", "data": {"rows": list(range(ROWS))}},
    }


def po(data: Path, *arguments: str) -> Any:
    """What `po ARGS --json` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "po_jupyter", *arguments, "--json"],
        env={**os.environ, "PO_DATA_DIR": str(data), "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def answered(store: DiskStore, run: str) -> Counter[str]:
    """The keys of calls with an answer in the log."""
    calls = [call for record in store.records(run) for call in record["calls"]]
    return Counter(call["key"] for call in calls if call["kind"] == "response")


def rows_answered(store: DiskStore, run: str) -> tuple[set[int], set[int]]:
    """Rows whose first question, and whose second one, has an answer in the log."""
    rows = Counter(int(key.split("/")[1]) for key in answered(store, run))
    return set(rows), {row for row, count in rows.items() if count == 2}


async def test_backups_of_a_store_at_work_are_whole_and_go_on_elsewhere(
    tmp_path: Path, model: ModelServer
) -> None:
    live = tmp_path / "live"
    server = Server(live)
    run = server.submit(submission(CODE, "wide", for_each="{{ seed.rows }}", max_concurrency=10))
    steps = server.submit(submission(SEVERAL, "steps"))
    (live / "keys.json").write_text("{}")
    (live / "keys.json").chmod(0o600)
    await asyncio.to_thread(model.wait_for, 40, timeout=40)
    archives = [tmp_path / f"{n}.tar.gz" for n in range(4)]
    for archive in archives:  # a new one begins as soon as one is made
        report = await asyncio.to_thread(po, live, "backup", str(archive))
        assert report["store"]["runs"] == 2
        assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    store = DiskStore(live / "store")
    assert {store.head(r)["state"] for r in (run, steps)} <= {"running", "done"}
    pids = [holder["pid"] for r in (run, steps) if (holder := store.head(r)["holder"]) is not None]
    assert store.get("lease", "orchestrator") is not None
    store.close()
    assert pids, "the backups were made while a run was at work"
    server.kill()
    end_workers(live)
    await wait_for_exit(pids)

    grown = []
    for n, archive in enumerate(archives):
        there = tmp_path / f"restored-{n}"
        po(live, "restore", str(archive), "--to", str(there))
        assert stat.S_IMODE(there.stat().st_mode) == 0o700
        assert stat.S_IMODE((there / "keys.json").stat().st_mode) == 0o600
        assert not (there / "runtime").exists() and not list(there.glob("*.sock"))
        copy = DiskStore(there / "store")
        assert [head["run"] for head in heads_of(copy)] == [steps, run]
        assert copy.verify() == []
        assert copy.get("lease", "orchestrator") is None
        assert all(head["holder"] is None for head in heads_of(copy))
        history = read_history(copy, run)
        for artifact in history.listed:
            assert (there / "runs" / run / "artifacts" / artifact["path"]).is_file()
        with closing(sqlite3.connect(there / "runs" / steps / "run.db")) as db:
            ((inserted,),) = db.execute("select count(*) from t")
        assert len(answered(copy, steps)) - inserted in (0, 1), "log and database are of one moment"
        grown.append(copy.head(run)["n"])
        copy.close()
    assert grown == sorted(grown) and grown[0] > 0

    there = tmp_path / "restored-1"
    copy = DiskStore(there / "store")
    first, second = rows_answered(copy, run)
    copy.close()
    assert first, "something was answered before the backup"
    before = len(model.requests)
    async with orchestrator(there) as service:
        view = await wait_for_state(service, run, patience=90)
        assert (view.state, view.tasks[0].items and view.tasks[0].items.done) == ("done", ROWS)
        assert (await wait_for_state(service, steps, patience=60)).state == "done"
    asked = [request.prompt for request in model.requests[before:]]
    again = [
        prompt for prompt in asked
        if (match := re.fullmatch(r"(first|second) of (\d+)", prompt))
        and int(match[2]) in (first if match[1] == "first" else second)
    ]  # fmt: skip
    assert again == [], "an answer that is in the backup is not paid for again"
    assert max(Counter(asked).values()) == 1
