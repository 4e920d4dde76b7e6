"""A row that cannot be read is a row that says so: lists, sums and cleanings go on without it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import CorruptRow, NotFound
from po_jupyter.orchestrator.maintenance.retention import RetentionPolicy, RunCleaner
from po_jupyter.orchestrator.submission.pipelines import PipelineRegistry
from po_jupyter.orchestrator.submission.request import check_submission, new_run, parse_submission
from po_jupyter.orchestrator.views.daily_usage import DailyUsage
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.views.queries import RunQueries
from po_jupyter.orchestrator.views.results import RunResults
from po_jupyter.store.disk.store import DiskStore
from tests.orchestrator.views.test_queries import Waiting
from tests.support.orchestrator import body, task
from tests.support.run_page import inspection

pytestmark = pytest.mark.integration  # a store on disk has threads of its own

IDS = [f"{i:022x}" for i in range(3)]
BAD = IDS[1]


class Desk:
    """Queries over three runs on disk, of which rows can be damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = DiskStore(path, shards=1)
        self.projections = RunProjections(self.store)
        self.runs = RunQueries(self.store, self.projections, Waiting(), asyncio.to_thread)
        for run in IDS:
            submission = parse_submission(body(task("one")))
            pipeline, seed = check_submission(submission, lambda name: pytest.fail(name), code_allowed=True)
            self.store.create_run(new_run(submission, pipeline, seed, "a")._replace(run=run))

    def damage(self, key: str, shard: str = "runs-0") -> None:
        connection = sqlite3.connect(self.path / shard / "cache.db")
        with connection:
            changed = connection.execute(
                "UPDATE Cache SET value = ?, raw = 1 WHERE key = ?", (b"\x80\x04.", key)
            )
            assert changed.rowcount == 1
        connection.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "store")
    yield desk
    desk.store.close()


@pytest.mark.parametrize("key", [f"head/{BAD}", f"def/{BAD}", f"c/{BAD}/00000001"])
async def test_a_list_with_a_corrupt_row_stands_and_the_row_says_so(desk: Desk, key: str) -> None:
    """C8: one corrupt row was a 500 for the whole list."""
    desk.damage(key)
    views, _ = await desk.runs.page("a")
    assert [view.id for view in views] == IDS[::-1]
    assert [(view.error or {}).get("code") for view in views] == [None, "corrupt_row", None]
    bad = views[1]
    assert BAD in str((bad.error or {})["message"])
    assert bad.pipeline == views[0].pipeline
    with pytest.raises(CorruptRow) as caught:
        await desk.runs.get(BAD, "a")
    assert caught.value.status == 507
    assert (await desk.runs.get(IDS[0], "a")).id == IDS[0]
    with pytest.raises(NotFound):
        await desk.runs.get(IDS[0], "b")


async def test_of_a_run_of_which_nothing_can_be_read_the_list_has_its_id(desk: Desk) -> None:
    for key in (f"head/{BAD}", f"def/{BAD}", f"c/{BAD}/00000001"):
        desk.damage(key)
    views, _ = await desk.runs.page("a")
    assert [view.id for view in views] == IDS[::-1]
    assert (views[1].error or {})["code"] == "corrupt_row"


@pytest.mark.parametrize("key", [f"head/{BAD}", f"def/{BAD}", f"c/{BAD}/00000001"])
async def test_what_sums_and_cleans_passes_over_it(desk: Desk, key: str, tmp_path: Path) -> None:
    desk.damage(key)
    assert BAD in [head["run"] for head in desk.store.active()] or key == f"head/{BAD}"
    usage = DailyUsage(desk.store)
    assert usage.report("a", 30)["days"] == []
    cleaner = RunCleaner(Settings(data_dir=tmp_path), desk.store, desk.projections)
    assert cleaner.used("a")["runs"]["states"]
    plan = cleaner.plan(RetentionPolicy({"failed": 0.0}))
    assert all(not cleaner.delete(one) for one in plan)


@pytest.mark.parametrize("keys", [("head",), ("head", "def"), ("head", "def", "c")])
async def test_it_can_be_deleted_as_the_message_says(desk: Desk, keys: tuple[str, ...]) -> None:
    for kind in keys:
        desk.damage(f"{kind}/{BAD}" + ("/00000001" if kind == "c" else ""))
    head = await desk.runs.find(BAD, "a")
    desk.store.delete_run(head["run"])
    assert [view.id for view in (await desk.runs.page("a"))[0]] == [IDS[2], IDS[0]]
    assert desk.store.verify() == []
    with pytest.raises(NotFound):
        await desk.runs.find(BAD, "a")


@pytest.mark.parametrize("keys", [("head",), ("head", "c")])
async def test_nobody_else_sees_what_is_in_it(desk: Desk, keys: tuple[str, ...], tmp_path: Path) -> None:
    """P5: without its first record it names no owner, and whoever had its id was shown its rows."""
    for kind in keys:
        desk.damage(f"{kind}/{BAD}" + ("/00000001" if kind == "c" else ""))
    settings = Settings(data_dir=tmp_path)
    look = inspection(desk.store, settings)
    results = RunResults(settings, desk.projections, desk.runs, asyncio.to_thread)
    for owner, expected in (("b", NotFound), (None, CorruptRow)):
        for asked in (
            look.rows(BAD, owner, "one"), look.spending(BAD, owner), look.timeline(BAD, owner),
            look.provenance(BAD, owner, "one"), look.calls(BAD, owner), results.outputs(BAD, owner),
            results.artifacts(BAD, owner), results.artifact(BAD, owner, "a"), results.items(BAD, owner, "one"),
            results.logs(BAD, owner), results.calls(BAD, owner), results.pipeline(BAD, owner),
            desk.runs.events(BAD, owner),
        ):  # fmt: skip
            with pytest.raises(expected):
                await asked


def test_a_registered_pipeline_that_cannot_be_read_is_listed_and_can_be_forgotten(desk: Desk) -> None:
    """C8: the list of pipelines is a list as well."""
    registry = PipelineRegistry(desk.store)
    submission = parse_submission(body(task("one")))
    pipeline, _ = check_submission(submission, lambda name: pytest.fail(name), code_allowed=True)
    for name in ("good", "bad"):
        registry.put(pipeline.model_copy(update={"name": name}), "a")
    desk.damage("d/pipeline/a/bad", "documents")
    listed = {one["name"]: one.get("problem", "") for one in registry.summaries("a")}
    assert listed["good"] == ""
    assert "d/pipeline/a/bad" in listed["bad"]
    registry.delete("bad", "a")
    assert [one["name"] for one in registry.summaries("a")] == ["good"]
