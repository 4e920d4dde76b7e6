"""A6, P2: kill -9 in the middle of an attempt that wrote into the run's database: its rows are there once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.orchestrator import body, orchestrator, wait_for_state

pytestmark = pytest.mark.integration

SOURCE = """
import os, signal
def inference(ctx):
    db = ctx.io.db()
    db.execute("create table if not exists t (n, stage)")
    db.execute("insert into t values (?, 'inference')", (ctx.item,))
    db.execute("update t set stage = stage || '!' where n is ?", (ctx.item,))
    return 1
def integration(ctx):
    ctx.io.db().execute("insert into t values (?, 'integration')", (ctx.item,))
    fuse = ctx.io.task_dir / f"fuse{ctx.item}"
    if ctx.item in (None, 1) and not fuse.exists():
        fuse.touch()
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("more", "rows"),
    [({}, [None]), ({"for_each": "[0, 1, 2]", "max_concurrency": 1}, [0, 1, 2])],
    ids=["task", "map"],
)
async def test_a_row_is_there_once_after_a_kill_between_two_stages(
    tmp_path: Path, more: dict[str, Any], rows: list[int | None]
) -> None:
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(body({"name": "a", "source": SOURCE, **more}), owner="me")
        view = await wait_for_state(service, view.id, patience=40)
        assert view.state == "done", view.error
        events = await service.runs.events(view.id, None)
        assert [e for e in events if e["type"] == "worker.crashed"]
    with closing(sqlite3.connect(tmp_path / "runs" / view.id / "run.db")) as db:
        found = db.execute("select n, stage from t order by n, stage").fetchall()
        assert found == [(n, stage) for n in rows for stage in ("inference!", "integration")]
        assert db.execute("select count(*) from po_undo").fetchone() == (0,)
