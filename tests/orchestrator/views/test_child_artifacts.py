"""Artifacts of a run with those of the pipelines that its tasks run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.files.artifacts import shared_file
from po_jupyter.errors import NotFound
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.views.child_artifacts import WholeArtifacts
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.store.keyed.memory import MemoryStore
from tests.orchestrator.control.test_gates import INNER, OUTER, create


def wrote(data: Path, run: str, name: str) -> Any:
    place = f"a/1/{name}"  # task, fence, name
    path = data / "runs" / run / "artifacts" / place
    path.parent.mkdir(parents=True)
    path.write_text(run[0])
    return {"name": name, "path": place, "bytes": 1, "sha256": "0" * 64}


def test_files_below_are_listed_and_read_through_the_run(tmp_path: Path) -> None:
    store = MemoryStore()
    create(store, OUTER, "t", "pipeline")
    create(store, INNER, "a", "prompt", OUTER)
    planned = draft("shards.planned", "t", number=1, shards=[{"run": INNER, "shard": 1, "rows": ""}])
    store.request(OUTER, [draft("task.started", "t", attempt=1), planned])
    done: Any = draft("task.done", "a", output=None, seconds=0.0, artifacts=[wrote(tmp_path, INNER, "r.md")])  # type: ignore[arg-type]
    store.request(INNER, [draft("task.started", "a", attempt=1), done])
    whole = WholeArtifacts(tmp_path, RunProjections(store), store.head)
    (info,) = whole.listed(store.head(OUTER))
    assert (info["name"], info["task"]) == ("t/r.md", "t.a")
    with whole.opened(store.head(OUTER), "t/r.md") as file:
        assert file.read() == b"b"
    for missing in ("r.md", "t/other.md", "u/r.md"):
        with pytest.raises(NotFound):
            whole.opened(store.head(OUTER), missing)
    # A fork has them, whatever becomes of this run.
    (copied,) = whole.copied_below(RunProjections(store).state(store.head(OUTER)).tasks["t"], tmp_path / "fork")
    assert copied["name"] == "t/r.md"
    assert (tmp_path / "fork" / "artifacts" / copied["path"]).read_bytes() == b"b"
    assert shared_file(copied)[1] == 0
