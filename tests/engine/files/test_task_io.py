"""B4, B5: files, the run's database, batches; snapshots and logs of failures; no keys in any of them (P10)."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.files.artifacts import artifacts_by_name
from po_jupyter.telemetry.redaction import STARS, Redactor, redactor
from tests.support.engine import Bench

KEY = "sk-planted-0123456789abcdef"


def task(source: str, name: str = "a", **more: Any) -> dict[str, Any]:
    return {"name": name, "source": source, "retry": {"max_attempts": 1}, **more}


async def test_files_are_replaced_or_appended_to(bench: Bench) -> None:
    source = """
def ingestion(ctx):
    for kind in ("artifact", "log", "tmp"):
        write, read = getattr(ctx.io, f"write_{kind}"), getattr(ctx.io, f"read_{kind}")
        write("x.txt", "one\\n", append=True)
        write("x.txt", b"two\\n", append=True)
        assert read("x.txt") == "one\\ntwo\\n", kind
        write("x.txt", "three")
        assert read("x.txt", "bytes") == b"three"
    return ctx.io.artifacts()
"""
    more = """
def ingestion(ctx):
    ctx.io.write_artifact("x.txt", " and more", append=True)
    ctx.io.write_artifact("y/z.json", [1])
    return [ctx.io.read_artifact("x.txt"), ctx.io.artifacts()]
"""
    bench.create([task(source), task(more, "b")])
    assert await bench.go() == "done", bench.state.error
    assert bench.output("a") == ["x.txt"]
    assert bench.output("b") == ["three and more", ["x.txt", "y/z.json"]]
    assert artifacts_by_name(bench.state)["x.txt"]["bytes"] == len("three and more")


async def test_a_run_has_a_database_of_its_own(bench: Bench) -> None:
    """B4: shared by its tasks, WAL, committed with a stage that ends well, rolled back with one that fails."""
    write = """
async def ingestion(ctx):
    db = ctx.io.db()
    db.execute("create table t (n integer)")
    db.executemany("insert into t values (?)", [(1,), (2,)])
    return db.execute("pragma journal_mode").fetchone()[0]

def final_validation(ctx):
    return True
"""
    broken = """
def ingestion(ctx):
    ctx.io.db().execute("insert into t values (3)")
    raise ValueError("no")
"""
    read = "def ingestion(ctx):\n    return [n for (n,) in ctx.io.db().execute('select n from t')]\n"
    bench.create([task(write), task(read, "read"), task(broken, "broken", needs=["read"])])
    assert await bench.go() == "failed"
    assert bench.output("a") == "wal"
    assert bench.output("read") == [1, 2]
    path = bench.session.inputs.run_dir / "run.db"
    db = sqlite3.connect(path)
    assert db.execute("select n from t").fetchall() == [(1,), (2,)]
    db.close()
    assert not path.with_name("run.db-wal").exists(), "closed at the end"


BATCH = """
import json, pathlib

def count(ctx):
    return ctx.io.task_dir / "count"

{async_}def piece(row, where):
    with where.open("a") as file:
        file.write(json.dumps(row) + "\\n")
    if row.get("bad") and not (where.parent / "mended").exists():
        raise ValueError("bad row")
    return {{"n": row["n"] * 2}}

{async_}def ingestion(ctx):
    where = count(ctx)
    {async_}def work(row):
        return {await_}piece(row, where)
    rows = [{{"id": 1, "n": 1}}, {{"id": 1, "n": 2}}, {{"id": 1, "n": 2}}, {{"id": 3, "n": 4, "bad": True}}]
    found = {await_}ctx.io.batch(rows, work, key=lambda row: row["id"] if ctx.config.get("by_id") else row)
    if not all(row["ok"] for row in found):
        (where.parent / "mended").touch()
        raise RuntimeError(json.dumps(found))
    return found
"""


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize("by_id", [True, False])
async def test_a_batch_does_each_row_once_and_drops_none(bench: Bench, kind: str, by_id: bool) -> None:
    """B4, R2.6: equal ids and equal rows are rows; a failed row is an outcome, and only it is done again."""
    words = {"async_": "async ", "await_": "await "} if kind == "async" else {"async_": "", "await_": ""}
    retry = {"max_attempts": 2, "initial_delay": 0}
    bench.create([task(BATCH.format(**words), config={"by_id": by_id}) | {"retry": retry}])
    assert await bench.go() == "done", bench.state.error
    (again,) = bench.events("task.retrying")
    first = json.loads(again["data"]["error"]["message"].partition(": ")[2])
    assert [row["ok"] for row in first] == [True, True, True, False]
    assert "bad row" in first[3]["error"]["message"]
    assert [row["output"]["n"] for row in bench.output("a")] == [2, 4, 4, 8]
    asked = (bench.session.inputs.run_dir / "tmp" / "a" / "count").read_text().splitlines()
    assert len(asked) == 5, "four rows, and the failed one again"


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A key that this process knows as one."""
    before = Redactor()
    before.__dict__.update(redactor.__dict__)
    redactor._secrets = set(redactor._secrets)
    redactor.learn([KEY])
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    yield KEY
    redactor.__dict__.update(before.__dict__)


async def test_no_file_of_a_run_holds_a_key(bench: Bench, planted: str) -> None:
    """P10: printed, logged, raised, put into flags, returned; stored and shown nowhere."""
    source = f"""
import os, sys, logging

def ingestion(ctx):
    key = os.environ["OPENAI_API_KEY"]
    print("my key is", key)
    print(key, file=sys.stderr)
    return {{"deep": [{{"key": "kept", "text": f"Bearer {{key}}"}}]}}

def final_validation(ctx):
    ctx.flags["seen"] = os.environ["OPENAI_API_KEY"]
    if ctx.config.get("fail"):
        raise ValueError("{KEY} was refused")
"""
    rows = task(source, "rows", for_each="[1]", needs=["a"], config={"fail": True}, failure_threshold=1)
    failing = task(source, "b", needs=["rows"], config={"fail": True})
    bench.create([task(source), rows, failing])
    assert await bench.go() == "failed"
    assert bench.output("a") == {"deep": [{"key": "kept", "text": f"Bearer {STARS}"}]}
    files = [p for p in bench.tmp.rglob("*") if p.is_file()]
    assert len(files) >= 5
    assert [p for p in files if KEY.encode() in p.read_bytes()] == []
    said = json.dumps([bench.events(), bench.records()])
    assert KEY not in said
    assert STARS in said


async def test_a_failure_carries_its_stage_its_log_and_what_it_had(bench: Bench) -> None:
    """B5."""
    source = """
def ingestion(ctx):
    return {"rows": 3}

def inference(ctx):
    print("just before")
    ctx.flags["mood"] = "grim"
    raise KeyError("gone")
"""
    bench.create([task(source)])
    assert await bench.go() == "failed"
    details = bench.state.tasks["a"].error["details"]
    assert (details["stage"], details["previous_stage"]) == ("inference", "ingestion")
    assert Path(details["log"]).read_text() == "just before\n"
    had = json.loads(Path(details["context"]).read_text())
    assert had["data"] == {"ingestion": {"rows": 3}}
    assert had["flags"] == {"mood": "grim"}
    assert had["attempt"] == 1
