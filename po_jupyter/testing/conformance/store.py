"""What every `Store` must do, as tests that any implementation can be put through.

    from po_jupyter.testing.conformance.store import StoreConformance

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def store(self, tmp_path):
            store = MyStore(tmp_path / "store")
            yield store
            store.close()

        opener = "from my_package import MyStore; store = MyStore({path!r})"   # optional

`opener` is Python that opens the store of the fixture `place` (its path, or address) in another process;
without it the tests across processes are skipped. A test's docstring names the promise that it keeps.
"""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest

from po_jupyter.errors import Conflict, InvalidInput, Moved, NotFound, PoError, StaleFence
from po_jupyter.store.base import Commit, Head, NewRun, Ref, Store


def new_run(run: str, **changes: Any) -> NewRun:
    """A run to create; the id is what the caller says."""
    fields: dict[str, Any] = {
        "run": run,
        "owner": "ada",
        "pipeline": "tickets",
        "version": "1.0.0",
        "name": "first",
        "priority": 0,
        "definition": {"pipeline": {"name": "tickets"}, "seed": {"name": "first", "data": {}}},
        "events": [event("run.created", name="first")],
    }
    return NewRun(**(fields | changes))


def event(type: str, task: str | None = None, **data: Any) -> dict[str, Any]:
    """A draft of an event, with a fixed time."""
    draft: dict[str, Any] = {"at": "2026-11-22T12:00:00.000Z", "type": type, "data": data}
    return draft if task is None else draft | {"task": task}


def elsewhere(code: str, opener: str, place: str) -> subprocess.Popen[str]:
    """`code` in another process, with `store` opened there."""
    text = opener.format(path=place) + "\n" + textwrap.dedent(code)
    root = str(Path(__file__).parents[3])
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r})\n{text}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class _Cases:
    opener: ClassVar[str | None] = None

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError("override the fixture `store`")

    @pytest.fixture
    def place(self) -> str:
        pytest.skip("inapplicable: this store does not say where it is")

    @pytest.fixture
    def run(self, store: Store) -> str:
        store.create_run(new_run("00a1"))
        return "00a1"

    @pytest.fixture
    def other(self, store: Store, place: str) -> Callable[[str], subprocess.Popen[str]]:
        opener = self.opener
        if opener is None:
            pytest.skip("inapplicable: this store lives in one process")
        return lambda code: elsewhere(code, opener, place)


class RunCases(_Cases):
    """Creating, listing and deleting runs."""

    def test_a_new_run_is_pending_with_its_first_record(self, store: Store) -> None:
        """P1."""
        head, created = store.create_run(new_run("00a1", priority=7))
        assert created
        assert (head["run"], head["state"], head["n"], head["offset"]) == ("00a1", "pending", 1, 1)
        assert (head["owner"], head["pipeline"], head["version"], head["name"]) == (
            "ada",
            "tickets",
            "1.0.0",
            "first",
        )
        assert (head["priority"], head["fence"], head["holder"]) == (7, 0, None)
        assert head["created_at"] == head["updated_at"]
        assert store.head("00a1") == head

    def test_the_definition_is_kept_as_given(self, store: Store) -> None:
        definition = {
            "pipeline": {"name": "x", "tasks": [{"name": "a"}]},
            "seed": {"n": 1.5, "z": None},
            "cwd": "/",
        }
        store.create_run(new_run("00a1", definition=definition))
        assert store.definition("00a1") == definition

    def test_a_run_id_is_used_once(self, store: Store, run: str) -> None:
        """P11: the second changes nothing."""
        with pytest.raises(Conflict):
            store.create_run(new_run(run, name="second"))
        assert store.head(run)["name"] == "first"

    @pytest.mark.parametrize("bad", ["", "../x", "a/b", "A", "a b", "é", "x" * 65, "\ud800"])
    def test_an_id_that_is_none_is_refused(self, store: Store, bad: str) -> None:
        """P6, P11: an id never becomes a path or another key."""
        with pytest.raises(InvalidInput):
            store.create_run(new_run(bad))
        with pytest.raises(NotFound):
            store.head(bad)

    def test_what_does_not_exist_is_not_found(self, store: Store) -> None:
        """P11."""
        for ask in (
            lambda: store.head("00ff"),
            lambda: store.definition("00ff"),
            lambda: store.records("00ff"),
            lambda: store.events("00ff"),
            lambda: store.payload("00ff", Ref(1, 0)),
            lambda: store.payloads("00ff", 1),
            lambda: store.claim("00ff", {}),
            lambda: store.request("00ff", []),
            lambda: store.delete_run("00ff"),
        ):
            with pytest.raises(NotFound):
                ask()

    def test_the_same_key_and_request_is_the_same_run(self, store: Store) -> None:
        """R3.3: submitting is idempotent."""
        first, created = store.create_run(new_run("00a1", idempotency_key="k", request_hash="h"))
        again, created_again = store.create_run(new_run("00a2", idempotency_key="k", request_hash="h"))
        assert (created, created_again) == (True, False)
        assert again == first
        with pytest.raises(NotFound):
            store.head("00a2")

    def test_the_same_key_with_another_request_is_a_conflict(self, store: Store) -> None:
        """R3.3, P11."""
        store.create_run(new_run("00a1", idempotency_key="k", request_hash="h"))
        with pytest.raises(Conflict):
            store.create_run(new_run("00a2", idempotency_key="k", request_hash="other"))
        assert [head["run"] for head in store.runs().heads] == ["00a1"]

    def test_a_key_says_which_run_it_made(self, store: Store) -> None:
        """R3.3: a repeated submit is answered without being checked again."""
        assert store.redeemed("ada", "k") is None
        head, _ = store.create_run(new_run("00a1", owner="ada", idempotency_key="k", request_hash="h"))
        assert store.redeemed("ada", "k") == (head, "h")
        assert store.redeemed("bob", "k") is None
        store.request("00a1", [], "done")
        store.delete_run("00a1")
        assert store.redeemed("ada", "k") is None

    def test_a_key_is_its_owners(self, store: Store) -> None:
        store.create_run(new_run("00a1", owner="ada", idempotency_key="k", request_hash="h"))
        head, created = store.create_run(new_run("00a2", owner="bob", idempotency_key="k", request_hash="x"))
        assert (head["run"], created) == ("00a2", True)

    def test_a_key_submitted_from_many_threads_makes_one_run(self, store: Store) -> None:
        """R3.3."""

        def submit(i: int) -> tuple[Head, bool]:
            return store.create_run(new_run(f"{i:04x}", idempotency_key="k", request_hash="h"))

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(submit, range(8)))
        assert len({head["run"] for head, _ in answers}) == 1
        assert [created for _, created in answers].count(True) == 1

    @pytest.mark.parametrize("key", ["", "a/b", "ключ", "x" * 5000, "\0"])
    def test_any_text_is_a_key(self, store: Store, key: str) -> None:
        store.create_run(new_run("00a1", idempotency_key=key))
        assert store.create_run(new_run("00a2", idempotency_key=key))[1] is False

    def test_a_definition_that_is_not_json_creates_nothing(self, store: Store) -> None:
        """P4, P11."""
        with pytest.raises(InvalidInput):
            store.create_run(new_run("00a1", definition={"x": object()}))
        with pytest.raises(InvalidInput):
            store.create_run(new_run("00a2", events=[event("run.created", x=math.nan)]))
        assert store.runs().heads == []
        assert store.active() == []

    # -- lists ----------------------------------------------------------------------------------
    def test_runs_are_listed_newest_first_page_by_page(self, store: Store) -> None:
        """P8: lists resume by cursor."""
        ids = [f"{i:032x}" for i in range(300)]
        for run in ids:
            store.create_run(new_run(run))
        seen: list[str] = []
        cursor, pages = None, 0
        while True:
            page = store.runs(cursor=cursor, limit=70)
            seen += [head["run"] for head in page.heads]
            cursor, pages = page.next, pages + 1
            if cursor is None:
                break
        assert seen == ids[::-1]
        assert pages == 5

    def test_a_full_last_page_has_no_next(self, store: Store) -> None:
        """P8."""
        for i in range(4):
            store.create_run(new_run(f"{i:04x}"))
        assert store.runs(limit=4).next is None
        page = store.runs(limit=2)
        assert store.runs(cursor=page.next, limit=2).next is None

    def test_runs_that_come_late_are_listed_where_they_belong(self, store: Store) -> None:
        order = [5, 1, 9, 0, 7, 3, 8, 2, 6, 4]
        for i in order:
            store.create_run(new_run(f"{i:04x}"))
        assert [head["run"] for head in store.runs().heads] == [f"{i:04x}" for i in range(9, -1, -1)]

    def test_new_runs_do_not_disturb_a_reader_of_pages(self, store: Store) -> None:
        """P8."""
        for i in range(6):
            store.create_run(new_run(f"{i:04x}"))
        page = store.runs(limit=3)
        store.create_run(new_run("00ff"))
        rest = store.runs(cursor=page.next, limit=10)
        assert [head["run"] for head in rest.heads] == ["0002", "0001", "0000"]

    def test_a_cursor_outlives_its_run(self, store: Store) -> None:
        """P8."""
        for i in range(4):
            store.create_run(new_run(f"{i:04x}"))
        page = store.runs(limit=2)
        store.request("0002", [], "done")
        store.delete_run("0002")
        assert [head["run"] for head in store.runs(cursor=page.next).heads] == ["0001", "0000"]

    @pytest.mark.parametrize("bad", ["", "banana", "0001", "before:", "before:../x", "before:0001\n"])
    def test_a_cursor_that_is_none_is_refused(self, store: Store, bad: str) -> None:
        """P11."""
        with pytest.raises(InvalidInput):
            store.runs(cursor=bad)

    @pytest.mark.parametrize("bad", [0, -1])
    def test_a_limit_below_one_is_refused(self, store: Store, bad: int) -> None:
        """P11."""
        with pytest.raises(InvalidInput):
            store.runs(limit=bad)

    def test_lists_are_filtered(self, store: Store) -> None:
        for i in range(12):
            store.create_run(
                new_run(f"{i:04x}", owner="ada" if i % 2 else "bob", pipeline="p" if i % 3 else "q")
            )
        store.request("0003", [], "done")
        store.request("0004", [], "failed")
        assert [h["run"] for h in store.runs(owner="ada").heads] == [
            "000b",
            "0009",
            "0007",
            "0005",
            "0003",
            "0001",
        ]
        assert [h["run"] for h in store.runs(pipeline="q").heads] == ["0009", "0006", "0003", "0000"]
        assert [h["run"] for h in store.runs(states=["done"]).heads] == ["0003"]
        assert [h["run"] for h in store.runs(states=["failed", "done"]).heads] == ["0004", "0003"]
        assert len(store.runs(states=["pending"]).heads) == 10
        page = store.runs(states=["pending"], owner="ada", limit=2)
        assert [h["run"] for h in page.heads] == ["000b", "0009"]
        assert [h["run"] for h in store.runs(states=["pending"], owner="ada", cursor=page.next).heads] == [
            "0007",
            "0005",
            "0001",
        ]
        assert store.runs(owner="nobody").heads == []

    def test_active_are_the_runs_that_have_not_ended(self, store: Store) -> None:
        """P1: what recovery starts from."""
        for i, state in enumerate(["pending", "running", "waiting", "done", "failed", "cancelled", "dead"]):
            store.create_run(new_run(f"{i:04x}"))
            store.request(f"{i:04x}", [], state)
        assert [head["run"] for head in store.active()] == ["0000", "0001", "0002"]
        store.request("0004", [event("run.resumed")], "pending")
        assert [head["run"] for head in store.active()] == ["0000", "0001", "0002", "0004"]

    # -- deleting -------------------------------------------------------------------------------
    def test_only_an_ended_run_is_deleted(self, store: Store, run: str) -> None:
        """G7, P12."""
        with pytest.raises(Conflict):
            store.delete_run(run)
        assert store.head(run)

    def test_a_deleted_run_leaves_nothing(self, store: Store) -> None:
        """G7."""
        store.create_run(new_run("00a1", idempotency_key="k", request_hash="h"))
        store.create_run(new_run("00a2"))
        lease = store.claim("00a1", {"pid": 1})
        store.commit(lease, Commit(events=[event("run.done")], payloads=["x"], state="done", release=True))
        assert store.payload("00a1", Ref(2, 0)) == "x"
        store.delete_run("00a1")
        for ask in (
            lambda: store.head("00a1"),
            lambda: store.events("00a1"),
            lambda: store.payload("00a1", Ref(2, 0)),
        ):
            with pytest.raises(NotFound):
                ask()
        with pytest.raises(NotFound):
            store.commit(lease, Commit())
        assert [head["run"] for head in store.runs().heads] == ["00a2"]
        head, created = store.create_run(new_run("00a3", idempotency_key="k", request_hash="other"))
        assert (head["run"], created) == ("00a3", True)


class LogCases(_Cases):
    """Claims, commits, and reading them back."""

    def test_a_commit_is_read_back_as_it_was_said(self, store: Store, run: str) -> None:
        """P2."""
        lease = store.claim(run, {"pid": 1})
        head = store.commit(
            lease,
            Commit(
                events=[event("run.started", pid=1), event("task.done", "a", output=0, seconds=0.5)],
                items=[{"task": "a", "index": 0, "ok": True, "key": "k", "usage": {"calls": 1}, "output": 1}],
                calls=[{"key": "c", "kind": "intent"}, {"key": "c", "kind": "response", "answer": 0}],
                payloads=[{"text": "answer"}, ["row", 1]],
                state="running",
            ),
        )
        assert (head["n"], head["offset"], head["state"], head["fence"]) == (2, 3, "running", 1)
        assert store.head(run) == head
        (record,) = store.records(run, after=1)
        assert (record["n"], record["first"], record["fence"], record["at"]) == (2, 2, 1, head["updated_at"])
        assert [e["type"] for e in record["events"]] == ["run.started", "task.done"]
        assert record["items"][0]["output"] == [2, 1]
        assert record["calls"][0] == {"key": "c", "kind": "intent"}
        assert record["calls"][1]["answer"] == [2, 0]
        assert store.payload(run, Ref(2, 0)) == {"text": "answer"}
        assert store.payload(run, Ref(*record["items"][0]["output"])) == ["row", 1]
        assert store.payloads(run, 2) == [{"text": "answer"}, ["row", 1]]

    def test_an_index_becomes_a_reference_that_stays_true(self, store: Store, run: str) -> None:
        """A reader of events alone can find the output; references to earlier payloads stay as they are."""
        lease = store.claim(run, {})
        store.commit(lease, Commit(events=[event("task.done", "a", output=0)], payloads=["x"]))
        store.commit(
            lease, Commit(events=[event("task.done", "b", output=Ref(2, 0))], items=[{"output": [2, 0]}])
        )
        first, second = store.events(run, since=1)
        assert first["data"]["output"] == second["data"]["output"] == [2, 0]
        assert next(store.records(run, after=2))["items"] == [{"output": [2, 0]}]

    @pytest.mark.parametrize("index", [1, -1, 99])
    def test_an_index_to_nothing_is_refused(self, store: Store, run: str, index: int) -> None:
        """P11."""
        lease = store.claim(run, {})
        with pytest.raises(InvalidInput):
            store.commit(lease, Commit(items=[{"output": index}], payloads=["x"]))
        assert store.head(run)["n"] == 1

    def test_a_request_after_a_record_is_refused_once_there_is_another(self, store: Store, run: str) -> None:
        """P2: who decided by what was there did not decide by what is there."""
        seen = store.head(run)["n"]
        store.request(run, [event("asked")], after=seen)
        before = store.head(run)
        with pytest.raises(Moved):
            store.request(run, [event("asked")], "done", after=seen)
        assert store.head(run) == before

    def test_offsets_start_at_one_and_have_no_gaps(self, store: Store, run: str) -> None:
        """P8."""
        lease = store.claim(run, {})
        for count in (3, 0, 1, 7, 0, 0, 2):
            store.commit(lease, Commit(events=[event("task.stage", "a", i=i) for i in range(count)]))
        store.request(run, [event("run.cancel_requested", by="ada")])
        events = store.events(run)
        assert [e["offset"] for e in events] == list(range(1, 16))
        assert {e["run"] for e in events} == {run}
        assert store.head(run)["offset"] == 15

    def test_events_resume_from_any_offset(self, store: Store, run: str) -> None:
        """P8."""
        lease = store.claim(run, {})
        for i in range(40):
            store.commit(lease, Commit(events=[event("task.stage", i=i)] * (i % 4)))
        every = store.events(run)
        for since in range(len(every) + 2):
            assert store.events(run, since=since) == every[since:]
            assert store.events(run, since=since, limit=3) == every[since : since + 3]
        assert store.events(run, since=10_000) == []

    def test_a_reader_that_follows_sees_each_event_once(self, store: Store, run: str) -> None:
        """P8."""
        lease = store.claim(run, {})
        seen: list[int] = []
        for i in range(30):
            store.commit(lease, Commit(events=[event("task.stage", i=i)] * (1 + i % 3)))
            seen += [e["offset"] for e in store.events(run, since=seen[-1] if seen else 0, limit=2)]
        while more := store.events(run, since=seen[-1], limit=2):
            seen += [e["offset"] for e in more]
        assert seen == list(range(1, store.head(run)["offset"] + 1))

    def test_records_are_read_in_order_from_anywhere(self, store: Store, run: str) -> None:
        """P8."""
        lease = store.claim(run, {})
        for i in range(150):
            store.commit(lease, Commit(calls=[{"i": i}]))
        assert [r["n"] for r in store.records(run)] == list(range(1, 152))
        assert [r["n"] for r in store.records(run, after=140)] == list(range(141, 152))
        assert [r["calls"][0]["i"] for r in store.records(run, after=100, limit=3)] == [99, 100, 101]
        assert list(store.records(run, after=151)) == []

    def test_an_empty_commit_is_a_record(self, store: Store, run: str) -> None:
        head = store.commit(store.claim(run, {}), Commit())
        (record,) = store.records(run, after=1)
        assert (head["n"], head["offset"]) == (2, 1)
        assert (record["events"], record["items"], record["calls"], record["first"]) == ([], [], [], 2)
        assert store.payloads(run, 2) == []

    def test_a_payload_that_is_not_there_is_not_found(self, store: Store, run: str) -> None:
        """P11."""
        store.commit(store.claim(run, {}), Commit(payloads=["x"]))
        for ref in (Ref(2, 1), Ref(2, -1), Ref(1, 0), Ref(99, 0)):
            with pytest.raises(NotFound):
                store.payload(run, ref)

    # -- fences ---------------------------------------------------------------------------------
    def test_each_claim_has_a_higher_fence(self, store: Store, run: str) -> None:
        """P2."""
        leases = [store.claim(run, {"pid": i}) for i in range(3)]
        assert [lease.fence for lease in leases] == [1, 2, 3]
        assert store.head(run)["holder"] == {"pid": 2}

    def test_a_late_writer_is_refused_and_writes_nothing(self, store: Store, run: str) -> None:
        """P2."""
        old = store.claim(run, {"pid": 1})
        new = store.claim(run, {"pid": 2})
        before = store.head(run)
        with pytest.raises(StaleFence):
            store.commit(old, Commit(events=[event("run.done")], payloads=["x"], state="done", release=True))
        assert store.head(run) == before
        assert len(list(store.records(run))) == 1
        assert store.commit(new, Commit(events=[event("run.started")]))["n"] == 2

    def test_a_released_run_is_held_by_nobody(self, store: Store, run: str) -> None:
        """P2."""
        lease = store.claim(run, {"pid": 1})
        head = store.commit(lease, Commit(events=[event("run.waiting")], state="waiting", release=True))
        assert head["holder"] is None
        with pytest.raises(StaleFence):
            store.commit(lease, Commit())
        assert store.claim(run, {"pid": 2}).fence == 2

    def test_a_request_needs_no_lease_and_breaks_none(self, store: Store, run: str) -> None:
        """A person asks while a worker holds the run; its next head goes further than it wrote."""
        lease = store.claim(run, {"pid": 1})
        assert store.commit(lease, Commit(events=[event("run.started")], state="running"))["n"] == 2
        asked = store.request(run, [event("run.cancel_requested", by="ada")])
        assert (asked["n"], asked["state"], asked["holder"]) == (3, "running", {"pid": 1})
        assert store.commit(lease, Commit(events=[event("task.stage")]))["n"] == 4
        (foreign,) = store.records(run, after=2, limit=1)
        assert foreign["events"][0]["type"] == "run.cancel_requested"

    def test_a_commit_without_a_state_keeps_it(self, store: Store, run: str) -> None:
        lease = store.claim(run, {})
        store.commit(lease, Commit(state="running"))
        assert store.commit(lease, Commit())["state"] == "running"

    # -- at once --------------------------------------------------------------------------------
    def test_commits_from_many_threads_are_all_there(self, store: Store, run: str) -> None:
        """P2."""
        lease = store.claim(run, {})

        def work(worker: int) -> list[int]:
            return [
                store.commit(lease, Commit(events=[event("x", w=worker, i=i)], payloads=[[worker, i]]))["n"]
                for i in range(10)
            ]

        with ThreadPoolExecutor(6) as threads:
            numbers = [n for answer in threads.map(work, range(6)) for n in answer]
        assert sorted(numbers) == list(range(2, 62))
        assert sorted(tuple(e["data"].values()) for e in store.events(run, since=1)) == [
            (w, i) for w in range(6) for i in range(10)
        ]
        for record in store.records(run, after=1):
            assert store.payload(run, Ref(record["n"], 0)) == list(record["events"][0]["data"].values())

    def test_requests_beside_commits_lose_nothing(self, store: Store, run: str) -> None:
        """P2."""
        lease = store.claim(run, {})

        def ask() -> None:
            for i in range(20):
                store.request(run, [event("asked", i=i)])

        asking = threading.Thread(target=ask)
        asking.start()
        for i in range(20):
            store.commit(lease, Commit(events=[event("said", i=i)]))
        asking.join()
        events = store.events(run, since=1)
        assert [e["offset"] for e in events] == list(range(2, 42))
        for kind in ("asked", "said"):
            assert [e["data"]["i"] for e in events if e["type"] == kind] == list(range(20))

    def test_one_of_many_claims_wins(self, store: Store, run: str) -> None:
        """P2: of all who believe to hold the run, the last one does."""
        with ThreadPoolExecutor(6) as threads:
            leases = list(threads.map(lambda i: store.claim(run, {"pid": i}), range(6)))

        def can_write(lease: Any) -> bool:
            try:
                store.commit(lease, Commit())
            except StaleFence:
                return False
            return True

        assert sorted(lease.fence for lease in leases) == [1, 2, 3, 4, 5, 6]
        assert [lease.fence for lease in leases if can_write(lease)] == [6]

    def test_commits_of_another_process_are_seen(
        self, store: Store, run: str, other: Callable[[str], subprocess.Popen[str]]
    ) -> None:
        """P1."""
        child = other(
            f"""
            from po_jupyter.store.base import Commit
            lease = store.claim({run!r}, {{"pid": 1}})
            for i in range(20):
                store.commit(lease, Commit(events=[{{"type": "x", "data": {{"i": i}}}}], payloads=[i]))
            store.close()
            """
        )
        for _ in range(20):
            store.request(run, [event("asked")])
        _, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors
        events = store.events(run, since=1)
        assert [e["offset"] for e in events] == list(range(2, 42))
        assert [e["data"]["i"] for e in events if e["type"] == "x"] == list(range(20))

    def test_a_claim_of_another_process_fences_this_one(
        self, store: Store, run: str, other: Callable[[str], subprocess.Popen[str]]
    ) -> None:
        """P2."""
        lease = store.claim(run, {"pid": 1})
        child = other(f"store.claim({run!r}, {{'pid': 2}}); store.close()")
        _, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors
        with pytest.raises(StaleFence):
            store.commit(lease, Commit())


class ValueCases(_Cases):
    """What goes in comes back, or is refused."""

    @pytest.mark.parametrize(
        "value",
        [
            None,
            True,
            False,
            0,
            -1,
            2**63,
            -(10**40),
            0.1 + 0.2,
            -0.0,
            5e-324,
            1.7976931348623157e308,
            "",
            "\0",
            "naïve 中文 😀 \u2028 \x7f",
            "half an emoji \ud83d",
            [],
            {},
            {"": {"a b": [[], {}, None]}},
            [1, 1.0, "1", True],
            {"deep": [[[[[[[[[["x"]]]]]]]]]]},
        ],
        ids=repr,
    )
    def test_json_comes_back_as_it_went_in(self, store: Store, run: str, value: Any) -> None:
        """P4, P12: whatever a model answers can be kept."""
        store.commit(store.claim(run, {}), Commit(events=[event("x", v=value)], payloads=[value, [value]]))
        store.put("kind", "name", [value])
        for back in (
            store.payload(run, Ref(2, 0)),
            store.payload(run, Ref(2, 1))[0],
            store.payloads(run, 2)[0],
            store.events(run, since=1)[0]["data"]["v"],
            (store.get("kind", "name") or [None])[0],
        ):
            assert (back, type(back), repr(back)) == (value, type(value), repr(value))

    @pytest.mark.parametrize(
        "value",
        [
            math.nan,
            math.inf,
            -math.inf,
            {1, 2},
            b"bytes",
            object(),
            datetime(2026, 11, 22, tzinfo=UTC),
            Path("x"),
            1j,
            {1: "a"},
            {None: 1},
            {("a",): 1},
            [1, {"a": [math.nan]}],
        ],
        ids=repr,
    )
    def test_what_is_not_json_is_refused_and_nothing_is_written(
        self, store: Store, run: str, value: Any
    ) -> None:
        """P4, P11."""
        lease = store.claim(run, {})
        for commit in (
            Commit(payloads=["fine", value]),
            Commit(payloads=["fine"], events=[event("x", v=value)]),
            Commit(items=[{"task": "a", "error": value}]),
            Commit(calls=[{"key": value}]),
        ):
            with pytest.raises(InvalidInput):
                store.commit(lease, commit)
        with pytest.raises(InvalidInput):
            store.request(run, [event("x", v=value)], "done")
        with pytest.raises(InvalidInput):
            store.put("kind", "name", value)
        assert store.head(run)["n"] == 1
        assert store.head(run)["state"] == "pending"
        assert store.get("kind", "name") is None
        assert store.names("kind") == []

    def test_the_refusal_names_the_place(self, store: Store) -> None:
        """P11."""
        with pytest.raises(InvalidInput, match=r"rows\[1\]\.when.*datetime"):
            store.put("kind", "name", {"rows": [{}, {"when": datetime(2026, 1, 1, tzinfo=UTC)}]})

    def test_a_value_that_contains_itself_is_refused(self, store: Store) -> None:
        """P11."""
        loop: list[Any] = []
        loop.append(loop)
        with pytest.raises(InvalidInput):
            store.put("kind", "name", loop)

    def test_a_tuple_is_a_list(self, store: Store) -> None:
        store.put("kind", "name", (1, ("a",)))
        assert store.get("kind", "name") == [1, ["a"]]

    def test_a_payload_of_five_megabytes(self, store: Store, run: str) -> None:
        """P12: a long answer is an answer."""
        big = {"text": "déjà vu " * 700_000, "rows": list(range(1000))}
        head = store.commit(store.claim(run, {}), Commit(payloads=["small", big, "after"]))
        assert store.payload(run, Ref(head["n"], 1)) == big
        assert store.payload(run, Ref(head["n"], 2)) == "after"

    def test_a_group_of_payloads_is_read_one_by_one(self, store: Store, run: str) -> None:
        values = [{"i": i, "text": "x" * (i % 50), "brackets": "]]],[["} for i in range(500)]
        store.commit(store.claim(run, {}), Commit(payloads=values))
        assert [store.payload(run, Ref(2, i)) for i in range(500)] == values
        assert store.payloads(run, 2) == values

    def test_what_was_read_can_be_changed_without_harm(self, store: Store, run: str) -> None:
        """P1: nobody shares an object with the store."""
        given = {"a": [1]}
        store.commit(store.claim(run, {}), Commit(payloads=[given], events=[event("x", v=given)]))
        given["a"].append(2)
        for _ in range(2):
            value = store.payload(run, Ref(2, 0))
            said = store.events(run, since=1)[0]
            assert (value, said["data"]) == ({"a": [1]}, {"v": {"a": [1]}})
            value["a"].append(3)
            said["data"]["v"]["a"].append(3)
            head = store.head(run)
            head["state"] = "done"
        assert store.head(run)["state"] == "pending"


class DocumentCases(_Cases):
    """Documents."""

    def test_a_document_is_put_got_and_dropped(self, store: Store) -> None:
        assert store.get("pipelines", "a") is None
        store.put("pipelines", "a", {"x": 1})
        store.put("pipelines", "a", {"x": 2})
        assert store.get("pipelines", "a") == {"x": 2}
        assert store.get("leases", "a") is None
        assert store.drop("pipelines", "a") is True
        assert store.drop("pipelines", "a") is False
        assert store.get("pipelines", "a") is None

    def test_names_are_sorted_and_of_one_kind(self, store: Store) -> None:
        for name in ("b", "a", "ü", "a/b", "../c", " ", "x" * 500):
            store.put("k", name, {"n": name})
        store.put("other", "z", 1)
        store.drop("k", "b")
        assert store.names("k") == sorted(["a", "ü", "a/b", "../c", " ", "x" * 500])
        assert store.names("none") == []
        assert store.get("k", "../c") == {"n": "../c"}

    def test_kinds_and_names_do_not_run_into_each_other(self, store: Store) -> None:
        """P6: a name is data, never part of another key."""
        store.put("a", "b/c", 1)
        with pytest.raises(InvalidInput):
            store.put("a/b", "c", 2)
        assert store.get("a", "b/c") == 1

    @pytest.mark.parametrize("name", ["", "x" * 501, "a\0b", "\ud800"])
    def test_a_name_that_is_none_is_refused(self, store: Store, name: str) -> None:
        """P11."""
        with pytest.raises(InvalidInput):
            store.put("k", name, 1)

    def test_swap_writes_only_over_what_was_expected(self, store: Store) -> None:
        """P2: how leases are taken."""
        assert store.swap("leases", "orchestrator", {"pid": 1}, {"pid": 2}) is False
        assert store.swap("leases", "orchestrator", None, {"pid": 1}) is True
        assert store.swap("leases", "orchestrator", None, {"pid": 2}) is False
        assert store.get("leases", "orchestrator") == {"pid": 1}
        assert store.names("leases") == ["orchestrator"]
        assert store.swap("leases", "orchestrator", {"pid": 1}, {"pid": 2}) is True
        assert store.get("leases", "orchestrator") == {"pid": 2}

    def test_swap_to_none_removes(self, store: Store) -> None:
        store.put("leases", "a", 1)
        assert store.swap("leases", "a", 2, None) is False
        assert store.swap("leases", "a", 1, None) is True
        assert store.get("leases", "a") is None
        assert store.names("leases") == []

    def test_of_many_swaps_one_wins(self, store: Store) -> None:
        """P2."""
        for round in range(5):
            old = store.get("leases", "a")
            with ThreadPoolExecutor(8) as threads:
                won = list(
                    threads.map(lambda i, old=old, r=round: store.swap("leases", "a", old, [r, i]), range(8))
                )
            assert won.count(True) == 1
            assert store.get("leases", "a") == [round, won.index(True)]

    def test_counting_by_swap_loses_nothing_across_processes(
        self, store: Store, other: Callable[[str], subprocess.Popen[str]]
    ) -> None:
        """P2."""
        code = """
            for _ in range(50):
                while True:
                    old = store.get("counters", "c")
                    if store.swap("counters", "c", old, (old or 0) + 1):
                        break
            store.close()
        """
        children = [other(code) for _ in range(3)]
        for child in children:
            _, errors = child.communicate(timeout=120)
            assert child.returncode == 0, errors
        assert store.get("counters", "c") == 150

    def test_errors_are_ours_and_say_something(self, store: Store) -> None:
        """P11."""
        with pytest.raises(PoError) as caught:
            store.head("00ff")
        shown = caught.value.to_json()
        assert shown["code"] == "not_found"
        assert "00ff" in shown["message"]
        json.dumps(shown)

    def test_close_is_not_the_end(self, store: Store, run: str) -> None:
        """A parent closes before it forks and goes on afterwards."""
        store.close()
        store.close()
        assert store.head(run)["run"] == run
        store.claim(run, {"pid": 1})


class StoreConformance(RunCases, LogCases, ValueCases, DocumentCases):
    """All of it. Override the fixture `store`; `place` and `opener` where there is more than one process."""

    # -- room -----------------------------------------------------------------------------------
    def test_the_room_of_a_run_is_measured(self, store: Store, run: str) -> None:
        """G7: it grows by what is committed, is the run's alone, and ends with the run."""
        other = f"{run}0" if len(run) < 64 else run[:-1]
        store.create_run(new_run(other))
        before, others = store.run_bytes(run), store.run_bytes(other)
        lease = store.claim(run, {"pid": 1})
        texts = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(200)]  # nothing that packs well
        store.commit(lease, Commit(payloads=[texts], state="done", release=True))
        assert 5_000 < store.run_bytes(run) - before < 20_000
        assert store.run_bytes(other) == others
        store.delete_run(run)
        with pytest.raises(NotFound):
            store.run_bytes(run)
        assert store.run_bytes(other) == others

    def test_giving_room_back_changes_nothing(self, store: Store, run: str) -> None:
        """G7: at any time, in the middle of a run too."""
        lease = store.claim(run, {"pid": 1})
        store.commit(lease, Commit(events=[event("a")], payloads=["x"]))
        store.reclaim()
        store.commit(lease, Commit(events=[event("b")], payloads=["y"]))
        store.reclaim()
        assert [e["type"] for e in store.events(run)] == ["run.created", "a", "b"]
        assert store.payload(run, Ref(3, 0)) == "y"
