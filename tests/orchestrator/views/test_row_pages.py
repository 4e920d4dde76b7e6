"""Pages of a map's rows: the newest outcome of each, read where the log has it."""

from __future__ import annotations

from typing import Any

from po_jupyter.engine.replay.row_table import DONE, FAILED
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.views.row_pages import RowPages
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit, Head, ItemDraft
from tests.support.stored_runs import RUN, store_run


class CountingStore(MemoryStore):
    """Counts the records that are read."""

    reads = 0

    def records(self, *args: Any, **more: Any) -> Any:
        for record in super().records(*args, **more):
            self.reads += 1
            yield record


class Rig:
    """The log of a run whose map is `m`, and the pages of its rows."""

    def __init__(self) -> None:
        self.store = CountingStore()
        store_run(self.store)
        self.lease = self.store.claim(RUN, {"pid": 1})
        self.pages = RowPages(self.store)

    @property
    def head(self) -> Head:
        return self.store.head(RUN)

    def rows(
        self, *items: ItemDraft, payloads: list[Any] | None = None, events: list[Any] | None = None
    ) -> None:
        self.store.commit(self.lease, Commit(events or [], list(items), payloads=payloads or []))

    def page(self, state: int | None = None, start: int = 0, limit: int | None = None) -> tuple[Any, Any]:
        return self.pages.page(self.head, "m", state, start, limit)


def ok(index: int, output: int = 0, task: str = "m", **more: Any) -> ItemDraft:
    return {"task": task, "index": index, "ok": True, "output": output, **more}


def bad(index: int, code: str = "x") -> ItemDraft:
    return {"task": "m", "index": index, "ok": False, "error": {"code": code, "message": code}}


def test_a_row_has_its_output_or_error_and_where_it_came_from() -> None:
    rig = Rig()
    usage = {"calls": 1}
    rig.rows(ok(0, usage=usage, row=4), bad(1), ok(2, 1, reused="r/m/2"), payloads=["a", {"b": 1}])
    rows, following = rig.page()
    assert following is None
    assert rows == [
        {"index": 0, "ok": True, "output": "a", "error": None, "usage": usage, "reused": False, "row": 4},
        {"index": 1, "ok": False, "output": None, "error": bad(1)["error"], "usage": None, "reused": False},
        {"index": 2, "ok": True, "output": {"b": 1}, "error": None, "usage": None, "reused": True},
    ]  # fmt: skip


def test_a_row_says_how_its_votes_came_out() -> None:
    """`agreement` is of all votes that there may be: one that was not asked for does not agree."""
    rig = Rig()
    rig.rows(ok(0, votes={"agreeing": 2, "asked": 2, "n": 3}), ok(1), payloads=["a"])
    (voted, plain), _ = rig.page()
    assert (voted["agreement"], voted["votes"]) == (0.666667, 2)
    assert "agreement" not in plain


def test_pages_follow_each_other_without_gap_or_double_and_by_state() -> None:
    rig = Rig()
    rig.rows(*(bad(i) if i % 3 == 0 else ok(i) for i in range(10)), payloads=["v"])

    def walk(state: int | None) -> list[int]:
        seen: list[int] = []
        start: int | None = 0
        while start is not None:
            rows, start = rig.page(state, start, 2)
            assert len(rows) == 2 or start is None
            seen += [row["index"] for row in rows]
        return seen

    assert walk(None) == list(range(10))
    assert walk(FAILED) == [0, 3, 6, 9]
    assert walk(DONE) == [1, 2, 4, 5, 7, 8]
    assert [row["index"] for row in rig.page(start=8)[0]] == [8, 9]


def test_the_newest_outcome_of_a_row_counts_and_a_restart_makes_the_old_ones_void() -> None:
    """P12: a row that failed and was done again is done."""
    rig = Rig()
    rig.rows(bad(0), bad(1))
    assert [row["ok"] for row in rig.page()[0]] == [False, False]
    rig.rows(ok(1, 0), ok(1, 1, task="other"), payloads=["mine", "another map's"])
    assert [row["output"] for row in rig.page()[0]] == [None, "mine"]
    rig.rows(events=[draft("run.resumed", reset=["m"], clear=["m"], by="me")])
    assert rig.page()[0] == []
    rig.rows(ok(0), payloads=["anew"])
    assert [row["output"] for row in rig.page()[0]] == ["anew"]


def test_a_live_view_reads_only_what_was_written_since() -> None:
    """A map of 50,000 rows is not read anew for each page."""
    rig = Rig()
    for i in range(20):
        rig.rows(ok(i), payloads=[i])
    assert len(rig.page(limit=1)[0]) == 1
    rig.store.reads = 0
    rig.rows(ok(20), payloads=[20])
    assert [row["output"] for row in rig.page(start=19, limit=5)[0]] == [19, 20]
    assert rig.store.reads <= 3
    assert rig.pages.table(rig.head, "nowhere").done == 0


def test_nothing_is_left_of_a_run_that_is_gone() -> None:
    rig = Rig()
    rig.rows(ok(0), payloads=["old"])
    assert rig.pages.table(rig.head, "m").done == 1
    rig.store.reads = 0
    assert rig.pages.table(rig.head, "m").done == 1
    assert rig.store.reads == 0
    rig.pages.forget(RUN)
    assert rig.pages.table(rig.head, "m").done == 1
    assert rig.store.reads > 0
