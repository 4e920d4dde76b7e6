"""Results are read wherever a run was worked off, where nodes share files."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidInput, NotFound, Unavailable
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.submission.request import check_submission, new_run, parse_submission
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.views.queries import RunQueries
from po_jupyter.orchestrator.views.results import RunResults
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.objects.directory import DirectoryObjects
from po_jupyter.store.objects.shared_files import RunFile, SharedFiles
from po_jupyter.store.protocol import Commit
from tests.orchestrator.views.test_queries import Waiting
from tests.support.orchestrator import body, task


async def test_an_artifact_of_another_node_is_read_and_one_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    store = MemoryStore()
    submission = parse_submission(body(task("one")))
    pipeline, seed = check_submission(submission, lambda name: pytest.fail(name), code_allowed=True)
    head, _ = store.create_run(new_run(submission, pipeline, seed, "ada"))
    run = head["run"]
    lease = store.claim(run, {"pid": 1})
    entries = []
    for name in ("here", "lost"):
        path = tmp_path / "other" / "artifacts" / "one" / "1-1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        digest = sha256(name.encode()).hexdigest()
        entries.append({"name": name, "path": f"one/1-1/{name}", "bytes": 4, "sha256": digest})
    files = SharedFiles(store, DirectoryObjects(tmp_path / "shared"))
    files.keep(run, tmp_path / "other", [RunFile("artifacts/one/1-1/here", 1, entries[0]["sha256"])])
    done = draft("task.done", "one", output=0, seconds=0.0, artifacts=entries)
    store.commit(lease, Commit(events=[draft("task.started", "one", attempt=1), done], payloads=[1]))
    projections = RunProjections(store)
    runs = RunQueries(store, projections, Waiting(), asyncio.to_thread)
    settings = Settings(data_dir=tmp_path / "node")
    results = RunResults(settings, projections, runs, asyncio.to_thread, files=files)
    assert [info["name"] for info in await results.artifacts(run, "ada")] == ["here", "lost"]
    (tmp_path / "shared").rename(tmp_path / "away")
    with pytest.raises(Unavailable):
        await results.artifact(run, "ada", "here")
    (tmp_path / "away").rename(tmp_path / "shared")
    with await results.artifact(run, "ada", "here") as file:
        assert file.read() == b"here"
    with pytest.raises(NotFound, match="only the machine that wrote it has it"):
        await results.artifact(run, "ada", "lost")
    with pytest.raises(NotFound):
        await results.artifact(run, "eve", "here")
    for cursor in ("x", "9" * 5000):
        with pytest.raises(InvalidInput, match="cursor"):
            await results.items(run, "ada", "one", cursor=cursor)
    files.close()
