"""Running the same map again reuses what was paid for (P12, G17), and only that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.maps.reuse import KIND, RowConditions, announce, find
from po_jupyter.errors import ModelRefused
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.view import ENDED
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit
from tests.support.engine import Bench, new_run

ROWS = {"rows": [{"text": f"row {i}"} for i in range(8)], "words": "be kind"}
NO_CONDITIONS = RowConditions(None, lambda ref: None)
PROMPT = {"name": "m", "prompt": "Label: {{ item.text }}", "for_each": "{{ seed.rows }}"}


class Again(Bench):
    """Several runs, one after the other, in one store."""

    runs = 0

    async def run_it(
        self, task: Mapping[str, Any], data: Mapping[str, Any] = ROWS, **options: Any
    ) -> list[Any]:
        """Run it anew; the outputs of the rows, None where one failed."""
        self.runs += 1
        self.run = f"0193f000000{self.runs:011x}"
        pipeline = {"name": "p", "llm": {"model": "fake:echo"}, "tasks": [dict(task)]}
        new_run(self.store, pipeline, data, self.run, **options)
        assert await self.go() == "done", self.state.error
        return [row["output"] for row in self.output("m")]

    @property
    def calls(self) -> int:
        return len(self.fake.requests)

    @property
    def reused(self) -> int:
        items = self.state.tasks["m"].items
        assert items is not None
        return items.reused


@pytest.fixture
def again(tmp_path: Path) -> Again:
    return Again(tmp_path)


async def test_the_same_map_again_costs_nothing(again: Again) -> None:
    """DESIGN 7: row + definition + code."""
    first = await again.run_it(PROMPT)
    assert await again.run_it(PROMPT) == first
    assert again.calls == 8
    assert again.reused == 8
    assert again.state.usage.calls == 0
    rows = [i for r in again.records() for i in r["items"]]
    assert all(row["reused"] == f"0193f000000{1:011x}/m/{row['index']}" and "usage" not in row for row in rows)


async def test_limit_first_and_the_rest_later_pays_once(again: Again) -> None:
    """G17"""
    part = await again.run_it(PROMPT, limit=3)
    assert len(part) == again.calls == 3
    whole = await again.run_it(PROMPT)
    assert whole[:3] == part
    assert again.calls == 8
    assert again.reused == 3


async def test_only_new_rows_are_paid_for(again: Again) -> None:
    await again.run_it(PROMPT)
    data = {"rows": [*ROWS["rows"][::-1], {"text": "new"}]}
    labels = await again.run_it(PROMPT, data)
    assert again.calls == 9
    assert labels[0] == "echo: Label: row 7"


async def test_another_definition_is_asked_again(again: Again) -> None:
    await again.run_it(PROMPT)
    await again.run_it({**PROMPT, "system": "You sort."})
    assert again.calls == 16
    assert again.reused == 0


async def test_a_prompt_that_shows_more_than_the_row_is_asked_again_when_that_changes(again: Again) -> None:
    task = {**PROMPT, "prompt": "{{ seed.words }}: {{ item.text }}"}
    await again.run_it(task)
    await again.run_it(task, {**ROWS, "unseen": 1})
    assert again.calls == 8
    await again.run_it(task, {**ROWS, "words": "be strict"})
    assert again.calls == 16


@pytest.mark.parametrize("cache", [False, "refresh"])
async def test_cache_off_asks_anew(again: Again, cache: Any) -> None:
    await again.run_it(PROMPT)
    await again.run_it({**PROMPT, "cache": cache})
    assert again.calls == 16
    await again.run_it(PROMPT)
    assert again.calls == 16


async def test_fresh_asks_anew_and_is_what_later_runs_take(again: Again) -> None:
    await again.run_it(PROMPT)
    again.fake._replies = [f"better {i}" for i in range(8)]
    better = await again.run_it({**PROMPT, "max_concurrency": 1}, fresh=True)
    assert better == [f"better {i}" for i in range(8)]
    assert await again.run_it(PROMPT) == better


async def test_failures_are_not_reused(again: Again) -> None:
    again.fake._replies = [ModelRefused("no")] * 2
    assert (await again.run_it({**PROMPT, "max_concurrency": 1}))[:3] == [None, None, "echo: Label: row 2"]
    assert (await again.run_it(PROMPT))[0] == "echo: Label: row 0"
    assert again.calls == 10
    assert again.reused == 6


async def test_equal_rows_each_have_an_outcome_of_their_own(again: Again) -> None:
    """Five samples of one prompt stay five samples."""
    task = {"name": "m", "prompt": "a number", "for_each": "range(5)", "max_concurrency": 1}
    again.fake._replies = [str(i) for i in range(5)]
    first = await again.run_it(task, {})
    assert first == ["0", "1", "2", "3", "4"]
    assert await again.run_it(task, {}) == first
    again.fake._replies = ["new"] * 2
    assert await again.run_it({**task, "for_each": "range(7)"}, {}) == [*first, "new", "new"]


async def test_equal_rows_have_an_outcome_of_their_own_when_a_worker_dies(again: Again) -> None:
    """What was taken over before it died is not taken twice by another row."""
    task = {"name": "m", "prompt": "a number", "for_each": "range(5)", "max_concurrency": 1}
    again.fake._replies = [str(i) for i in range(5)]
    first = await again.run_it(task, {})
    earlier = again.run
    copied = [i for r in again.store.records(earlier) for i in r["items"] if i["index"] < 3]
    again.run = "0193f00000000000000099"
    pipeline = {"name": "p", "llm": {"model": "fake:echo"}, "tasks": [{**task, "for_each": "range(7)"}]}
    new_run(again.store, pipeline, {}, again.run)
    rows = [{**item, "reused": f"{earlier}/m/{item['index']}", "output": at} for at, item in enumerate(copied)]
    outputs = [first[item["index"]] for item in copied]
    again.store.commit(again.store.claim(again.run, {"pid": 1}), Commit(items=rows, payloads=outputs))
    again.fake._replies = ["new"] * 2
    assert await again.go() == "done"
    assert [row["output"] for row in again.output("m")] == [*first, "new", "new"]


async def test_a_deleted_run_was_copied_from(again: Again) -> None:
    """Payloads are copies: each run has its own."""
    first = await again.run_it(PROMPT)
    await again.run_it(PROMPT)
    again.store.delete_run(f"0193f000000{1:011x}")
    assert await again.run_it(PROMPT) == first
    assert again.calls == 8


async def test_somebody_elses_outcomes_are_not_taken(again: Again) -> None:
    await again.run_it(PROMPT)
    run = "0193f00000000000ffffff"
    pipeline = {"name": "p", "llm": {"model": "fake:echo"}, "tasks": [PROMPT]}

    class Theirs(MemoryStore):
        def create_run(self, new: Any) -> Any:
            events = [{**e, "data": {**e["data"], "owner": "you"}} for e in new.events]
            return again.store.create_run(new._replace(owner="you", events=events))

    new_run(Theirs(), pipeline, ROWS, run)
    again.run = run
    assert await again.go() in ENDED
    assert again.calls == 16


async def test_a_cleared_map_asks_anew(again: Again) -> None:
    """Who says `from_task` wants it done again."""
    await again.run_it(PROMPT)
    await again.run_it(PROMPT)
    again.resume("m", clear=["m"])
    assert await again.go() == "done"
    assert again.calls == 16


CODE = """
def inference(ctx):
    return {body}
"""


def python(body: str, **more: Any) -> dict[str, Any]:
    return {"name": "m", "source": CODE.format(body=body), "for_each": "{{ seed.rows }}", **more}


@pytest.mark.parametrize(
    ("body", "reused"),
    [
        ("ctx.item['text'].upper()", 8),
        ("[ctx.item['text'], ctx.config.get('x')]", 8),
        ("ctx.seed['words'] + ctx.item['text']", 0),
    ],
)
async def test_python_rows_count_what_they_looked_at(again: Again, body: str, reused: int) -> None:
    first = await again.run_it(python(body))
    assert await again.run_it(python(body)) == first
    assert again.reused == 8
    await again.run_it(python(body), {**ROWS, "words": "other"})
    assert again.reused == reused


async def test_a_python_row_that_looks_at_its_index_stays_at_it(again: Again) -> None:
    await again.run_it(python("[ctx.index, ctx.item['text']]"))
    found = await again.run_it(python("[ctx.index, ctx.item['text']]"), {"rows": ROWS["rows"][4:]})
    assert [index for index, _ in found] == [0, 1, 2, 3]
    assert again.reused == 0


EARLIER = "0193f00000000000000001"


def earlier_outcomes(*outcomes: dict[str, Any]) -> MemoryStore:
    """A store with an earlier run that has these outcomes, each with its key as its output."""
    store = MemoryStore()
    new_run(store, {"name": "p", "tasks": [PROMPT]}, {}, EARLIER)
    rows = [{"task": "m", "ok": True, **row, "output": i} for i, row in enumerate(outcomes)]
    store.commit(
        store.claim(EARLIER, {"pid": 1}), Commit(items=rows, payloads=[row["key"] for row in outcomes])
    )
    return store


def taken(store: MemoryStore, runs: list[str], indexes: dict[str, list[int]]) -> dict[int, Any]:
    """The outputs by row that `find` takes over."""
    return {o.row: o.output for chunk in find(store, runs, indexes, NO_CONDITIONS) for o in chunk}


def test_outcomes_are_found_by_their_keys() -> None:
    store = earlier_outcomes({"index": 0, "key": "a"}, {"index": 1, "key": "b"}, {"index": 2, "key": "a"})
    assert taken(store, [EARLIER], {"a": [5], "c": [6]}) == {5: "a"}
    assert taken(store, [EARLIER], {"a": [5, 7, 9]}) == {5: "a", 7: "a"}, "each outcome once"
    assert taken(store, [], {"a": [5]}) == {}


@pytest.mark.parametrize(
    "unusable",
    [{"ok": False}, {"artifacts": [{"name": "x"}]}, {"looked": {"seed": "x"}}],
    ids=["failed", "with files", "dependent"],
)
def test_outcomes_that_cannot_be_copied_stay_where_they_are(unusable: dict[str, Any]) -> None:
    assert taken(earlier_outcomes({"index": 0, "key": "a", **unusable}), [EARLIER], {"a": [0]}) == {}


def test_a_copy_of_a_copy_is_no_second_outcome() -> None:
    store = earlier_outcomes({"index": 0, "key": "a"}, {"index": 1, "key": "a", "reused": f"{EARLIER}/m/0"})
    assert taken(store, [EARLIER], {"a": [0, 1]}) == {0: "a"}


def test_outcomes_that_a_restart_made_void_and_deleted_runs_are_none() -> None:
    store = earlier_outcomes({"index": 0, "key": "a"})
    store.request(EARLIER, [draft("run.resumed", clear=["m"])], state="pending")
    assert taken(store, [EARLIER, "deleted"], {"a": [0]}) == {}


def index_document(store: MemoryStore, definition: str) -> dict[str, Any]:
    document = store.get(KIND, definition[:2])
    assert document is not None
    return document


def test_the_index_has_the_newest_runs_of_a_definition_first() -> None:
    store = MemoryStore()
    assert announce(store, "ab1", "one") == []
    assert announce(store, "ab1", "two") == ["one"]
    assert announce(store, "ab2", "three") == []
    assert announce(store, "ab1", "one") == ["two"]
    assert index_document(store, "ab1") == {"ab2": ["three"], "ab1": ["one", "two"]}


def test_the_index_is_bounded() -> None:
    store = MemoryStore()
    for i in range(100):
        announce(store, "ab", f"run {i}")
        announce(store, f"ab{i}", "run")
    document = index_document(store, "ab")
    assert len(document) == 64
    assert document["ab"] == [f"run {i}" for i in range(99, 83, -1)]


async def test_an_installed_modules_file_is_its_code(
    again: Again, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name alone would reuse what an older version made."""
    import sys

    monkeypatch.syspath_prepend(str(tmp_path))
    task = {"name": "m", "task": "po_reuse_module", "for_each": "{{ seed.rows }}"}
    for i, (body, reused) in enumerate([("1", 0), ("1", 8), ("2", 0)]):
        (tmp_path / "po_reuse_module.py").write_text(CODE.format(body=body) + "#" * i * (body == "2"))
        sys.modules.pop("po_reuse_module", None)
        await again.run_it(task)
        assert again.reused == reused
    sys.modules.pop("po_reuse_module", None)


async def test_a_crash_in_the_middle_of_reuse_takes_the_rest(tmp_path: Path) -> None:
    """Outcomes that were copied are copied once."""
    store = DiskStore(tmp_path / "store")
    again = Again(tmp_path, store)
    first = await again.run_it(PROMPT)
    await again.run_it(PROMPT, limit=5)
    again.run = "0193f00000000000000099"
    pipeline = {"name": "p", "llm": {"model": "fake:echo"}, "tasks": [PROMPT]}
    new_run(store, pipeline, ROWS, again.run)
    lease = store.claim(again.run, {"pid": 1})

    copied = next(i for r in store.records(f"0193f000000{1:011x}") for i in r["items"])
    row = {**copied, "reused": "x", "output": 0}
    store.commit(lease, Commit(items=[row], payloads=[first[row["index"]]]))
    assert await again.go() == "done"
    assert [r["output"] for r in again.output("m")] == first
    assert again.reused == 8
    assert again.calls == 8
    indexes = [i["index"] for r in again.records() for i in r["items"]]
    assert sorted(indexes) == list(range(8))
    store.close()
