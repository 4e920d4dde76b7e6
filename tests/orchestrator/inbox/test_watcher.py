"""B9: the watch folder with a real orchestrator and real workers."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.run.view import RunView
from po_jupyter.orchestrator.inbox.folder import InboxFolder
from po_jupyter.orchestrator.service import Orchestrator, RunningOrchestrator
from po_jupyter.orchestrator.submission.pipelines import PipelineRegistry
from po_jupyter.store.disk.store import DiskStore
from tests.support.orchestrator import orchestrator, settings, until
from tests.support.paths import DATA

pytestmark = pytest.mark.integration

FIRST = DATA / "first_system"
GREET = {"name": "greet", "tasks": [{"name": "say", "prompt": "Hello {{ seed.who }}", "llm": "fake:echo"}]}
READER = """
def ingestion(ctx):
    return {"text": ctx.io.read_artifact("notes/a.txt"), "rows": ctx.io.read_artifact("rows.json")}
"""
READ = {"name": "read", "tasks": [{"name": "reader", "source": READER}]}
QUICK = {"inbox_debounce": 0.02, "inbox_stable": 0.05}


def seed(pipeline: str = "greet", name: str = "first", **data: Any) -> bytes:
    return json.dumps({"name": name, "pipeline": pipeline, "data": data or {"who": "you"}}).encode()


async def appears(service: RunningOrchestrator, count: int = 1, patience: float = 15.0) -> list[RunView]:
    """The runs, once there are so many."""
    async with service.changes.subscribe(None) as notes, asyncio.timeout(patience):
        while len(views := (await service.runs.page(None))[0]) < count:
            await notes.get(0.2)
    return views


async def there(path: Path, patience: float = 15.0) -> Path:
    async with asyncio.timeout(patience):
        while not path.exists():
            await asyncio.sleep(0.02)
    return path


async def test_the_first_systems_files_work_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """B9, B10, R1.1: its seed, its pipeline with `llm: {provider, model}`, and five Python tasks."""
    monkeypatch.setenv("MOONSHOT_API_KEY", "sk-of-the-first-system")  # its pipeline names moonshot
    project, inbox = tmp_path / "project", tmp_path / "project" / "pipeline-data"
    (project / "pipelines" / "content-generation").mkdir(parents=True)
    shutil.copy(FIRST / "pipeline.json", project / "pipelines" / "content-generation" / "pipeline.json")
    write = {
        "research": "def ingestion(ctx):\n    return {'areas': ctx.seed['focusAreas']}\n",
        # The stages' names as the first system writes them.
        "analysis": "def preProcessing(ctx):\n    return [a.lower() for a in ctx.tasks['research']['areas']]\n",
        "reanalyze": "async def ingestion(ctx):\n    return len(ctx.tasks['analysis'])\n",
        "synthesis": "def ingestion(ctx):\n    return {**ctx.seed, 'n': ctx.tasks['reanalyze']}\n",
        "formatting": "def integration(ctx):\n    return '{topic}: {n}'.format(**ctx.tasks['synthesis'])\n",
    }
    for name, code in write.items():
        (project / f"{name}.py").write_text(code)
    async with orchestrator(
        tmp_path / "data", inbox_dir=inbox, pipelines_dir=project / "pipelines", **QUICK
    ) as service:
        await there(inbox / "pending")
        shutil.copy(FIRST / "market-analysis-seed.json", inbox / "pending")
        (run,) = await appears(service)
        view = await until(service, run.id)
        assert (view.state, view.error) == ("done", None)
        assert view.name == "Market Analysis about Renewable Energy Storage"
        assert (await service.results.outputs(run.id, None))["formatting"] == "Renewable Energy Storage: 4"
        done = await there(inbox / "complete" / run.id / "result.json")
    kept = {p.name: p for p in done.parent.iterdir()}
    assert kept["market-analysis-seed.json"].read_bytes() == (FIRST / "market-analysis-seed.json").read_bytes()
    assert json.loads(kept["definition.json"].read_text())["pipeline"]["llm"]["model"] == "moonshot:kimi-k2.5"
    assert json.loads(kept["result.json"].read_text())["state"] == "done"
    assert not list((inbox / "pending").iterdir())
    assert not list((inbox / "current").iterdir())


async def test_an_archive_brings_its_artifacts(tmp_path: Path) -> None:
    """B9: `seed.json` and `artifacts/` in a zip; the tasks read them through `ctx.io`."""
    inbox = tmp_path / "inbox"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("seed.json", seed("read"))
        file.writestr("artifacts/", b"")
        file.writestr("artifacts/notes/a.txt", "many words ünï")
        file.writestr("artifacts/rows.json", "[1, 2, 3]")
        file.writestr("__MACOSX/._seed.json", b"\0\5\26\7")
        file.writestr("artifacts/.DS_Store", b"\0")
    async with orchestrator(tmp_path / "data", inbox_dir=inbox, **QUICK) as service:
        await service.pipelines.put("read", READ, owner="local")
        (await there(inbox / "pending") / "x-seed.zip").write_bytes(packed.getvalue())
        (run,) = await appears(service)
        view = await until(service, run.id)
        assert (view.state, view.error) == ("done", None)
        outputs = await service.results.outputs(run.id, None)
        assert outputs["reader"] == {"text": "many words ünï", "rows": [1, 2, 3]}


async def test_what_lies_there_at_the_start_is_taken_in_once(tmp_path: Path) -> None:
    """B9, P1: no event is needed; a restart starts nothing again, and strangers stay where they are."""
    inbox, folder = tmp_path / "inbox", tmp_path / "pipelines"
    folder.mkdir()
    (folder / "greet.json").write_text(json.dumps(GREET))
    (inbox / "pending").mkdir(parents=True)
    for i in range(3):
        (inbox / "pending" / f"{i}-seed.json").write_bytes(seed(name=f"n{i}"))
    (inbox / "pending" / "notes.txt").write_text("not a seed")
    for _ in range(2):
        async with orchestrator(tmp_path / "data", inbox_dir=inbox, pipelines_dir=folder, **QUICK) as service:
            views = await appears(service, 3)
            for view in views:
                assert (await until(service, view.id)).state == "done"
                await there(inbox / "complete" / view.id)
            assert len(views) == 3
    assert [p.name for p in (inbox / "pending").iterdir()] == ["notes.txt"]


async def test_a_file_that_is_still_written_waits(tmp_path: Path) -> None:
    """B9: stable-write detection; the half that is there first is no reason to reject it."""
    inbox = tmp_path / "inbox"
    async with orchestrator(
        tmp_path / "data", inbox_dir=inbox, inbox_debounce=0.02, inbox_stable=0.4
    ) as service:
        await service.pipelines.put("greet", GREET, owner="local")
        path = await there(inbox / "pending") / "slow-seed.json"
        data = seed()
        with path.open("wb", buffering=0) as file:
            for byte in range(0, len(data), 8):
                file.write(data[byte : byte + 8])
                await asyncio.sleep(0.1)  # a slow writer is what is tested
        (run,) = await appears(service)
        assert (await until(service, run.id)).state == "done"
    assert not list((inbox / "rejected").iterdir())


async def test_a_rejected_seed_has_its_reasons_beside_it_and_can_be_dropped_again(tmp_path: Path) -> None:
    """B9, R1.1, B15."""
    inbox = tmp_path / "inbox"
    async with orchestrator(tmp_path / "data", inbox_dir=inbox, **QUICK) as service:
        await service.pipelines.put("greet", GREET, owner="local")
        (await there(inbox / "pending") / "bad-seed.json").write_bytes(b'{"name": "", "pipeline": "gret"}')
        reason = json.loads((await there(inbox / "rejected" / "bad-seed.json.reason.json")).read_text())
        assert reason["file"] == "bad-seed.json"
        assert len(reason["error"]["details"]["violations"]) == 3
        await there(inbox / "rejected" / "bad-seed.json")
        (inbox / "pending" / "bad-seed.json").write_bytes(seed())
        (run,) = await appears(service)
        assert (await until(service, run.id)).state == "done"
        entries, _ = service.audit.read()
        assert [(e["by"], e["action"]) for e in entries] == [("inbox", "submit"), ("inbox", "reject_seed")]


async def test_a_resumed_run_brings_its_result_up_to_date(tmp_path: Path) -> None:
    """B9: what ends twice says how it ended last."""
    inbox, flag = tmp_path / "inbox", tmp_path / "flag"
    source = f"import os\ndef ingestion(ctx):\n    assert os.path.exists({str(flag)!r})\n    return 1\n"
    task = {"name": "t", "source": source, "retry": {"max_attempts": 1}}
    async with orchestrator(tmp_path / "data", inbox_dir=inbox, **QUICK) as service:
        await service.pipelines.put("flagged", {"name": "flagged", "tasks": [task]}, owner="local")
        (await there(inbox / "pending") / "x-seed.json").write_bytes(seed("flagged"))
        (run,) = await appears(service)
        assert (await until(service, run.id)).state == "failed"
        result = await there(inbox / "complete" / run.id / "result.json")
        assert json.loads(result.read_text())["state"] == "failed"
        flag.touch()
        await service.control.resume(run.id, None)
        assert (await until(service, run.id, ("done",))).state == "done"
        async with asyncio.timeout(10):
            while json.loads(result.read_text())["state"] != "done":
                await asyncio.sleep(0.02)


async def test_pipelines_from_files_follow_their_files(tmp_path: Path) -> None:
    """B10: read at the start and when they change; a broken one is named where it is asked for."""
    inbox, folder = tmp_path / "inbox", tmp_path / "pipelines"
    folder.mkdir()
    (folder / "hello.yaml").write_text("tasks:\n  - {name: say, prompt: one, llm: 'fake:echo'}\n")
    (folder / "broken.yaml").write_text("tasks:\n  - {name: say, prmpt: one}\n")
    async with orchestrator(tmp_path / "data", inbox_dir=inbox, pipelines_dir=folder, **QUICK) as service:
        assert [p["name"] for p in await service.pipelines.summaries(owner="local")] == ["hello"]
        pending = await there(inbox / "pending")
        (pending / "b-seed.json").write_bytes(seed("broken"))
        reason = json.loads((await there(inbox / "rejected" / "b-seed.json.reason.json")).read_text())
        assert "broken.yaml" in reason["error"]["message"]
        assert "did you mean `prompt`?" in reason["error"]["message"]
        (folder / "hello.yaml").write_text("tasks:\n  - {name: say, prompt: two words, llm: 'fake:echo'}\n")
        (pending / "h-seed.json").write_bytes(seed("hello"))
        (run,) = await appears(service)
        await until(service, run.id)
        assert (await service.results.outputs(run.id, None))["say"] == "echo: two words"


async def test_one_folder_is_one_orchestrators(tmp_path: Path) -> None:
    """DESIGN section 5: two data directories with one watch folder do not both take its files."""
    inbox = tmp_path / "inbox"
    async with (
        orchestrator(tmp_path / "a", inbox_dir=inbox, **QUICK) as one,
        orchestrator(tmp_path / "b", inbox_dir=inbox, **QUICK) as two,
    ):
        for service in (one, two):
            await service.pipelines.put("greet", GREET, owner="local")
        (await there(inbox / "pending") / "x-seed.json").write_bytes(seed())
        (run,) = await appears(one)
        await until(one, run.id)
        assert (await two.runs.page(None))[0] == []


async def test_only_the_holder_of_the_store_takes_files(tmp_path: Path) -> None:
    """DESIGN section 5: two servers on one data directory; when one goes, the other goes on."""
    inbox = tmp_path / "inbox"
    data = tmp_path / "data"
    holder = Orchestrator(settings(data, inbox_dir=inbox, **QUICK))
    first = await holder.start()
    try:
        async with orchestrator(data, inbox_dir=inbox, **QUICK) as follower:
            await first.pipelines.put("greet", GREET, owner="local")
            (await there(inbox / "pending") / "a-seed.json").write_bytes(seed(name="a"))
            (run,) = await appears(follower)
            await until(follower, run.id)
            assert follower.meta()["orchestrator"]["holder"] is False
            await holder.stop()
            (inbox / "pending" / "b-seed.json").write_bytes(seed(name="b"))
            views = await appears(follower, 2)
            assert [v.name for v in views] == ["b", "a"]
            for view in views:
                assert (await until(follower, view.id)).state == "done"
                await there(inbox / "complete" / view.id / "result.json")
    finally:
        await holder.stop()


def test_the_same_file_is_the_same_run(tmp_path: Path) -> None:
    """B9, R2.3: whatever happened after the run was created, its file makes no second one."""
    store = DiskStore(tmp_path / "store", shards=2)
    registry = PipelineRegistry(store)
    registry.put(validate_pipeline(GREET), "local")
    config = settings(tmp_path, inbox_dir=tmp_path / "inbox", inbox_stable=0)
    folder = InboxFolder(config, store, registry, owner="local")
    folder.open()
    path = folder.pending / "x-seed.json"
    path.write_bytes(seed())
    first = folder.take_in("x-seed.json")
    assert first.new is not None
    # As a crash between the creation and the move would leave it, if there were no intents.
    os.replace(folder.root / "current" / first.new.run / "x-seed.json", path)
    shutil.rmtree(folder.root / "current" / first.new.run)
    registry.put(validate_pipeline({**GREET, "version": "2.0.0"}), "local")
    again = folder.take_in("x-seed.json")
    assert again.head is not None
    assert (again.head["run"], again.fresh) == (first.new.run, False)
    path.write_bytes(seed())  # the same content, dropped once more: somebody wants it once more
    os.utime(path, ns=(time.time_ns(), time.time_ns()))
    other = folder.take_in("x-seed.json")
    assert other.head is not None
    assert other.head["run"] != first.new.run
    assert len(store.runs().heads) == 2
    folder.close()
    store.close()


@pytest.mark.parametrize("empty", [True, False])
def test_the_folder_is_looked_through_quickly(tmp_path: Path, empty: bool) -> None:
    """P9: a thousand files that are no seeds cost a look less than a tenth of a second."""
    store = DiskStore(tmp_path / "store", shards=1)
    folder = InboxFolder(
        settings(tmp_path, inbox_dir=tmp_path / "inbox"), store, PipelineRegistry(store), owner="local"
    )
    folder.open()
    if not empty:
        for i in range(1000):
            (folder.pending / f"{i}.txt").touch()
    begun = time.perf_counter()
    assert folder.ready() == ([], None)
    assert time.perf_counter() - begun < 0.1
    folder.close()
    store.close()
