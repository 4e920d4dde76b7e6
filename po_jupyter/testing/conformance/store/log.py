"""The log of a run: records, offsets, fences, many writers."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from po_jupyter.errors import InvalidInput, Moved, NotFound, PoError, StaleFence
from po_jupyter.store.protocol import Commit, Ref, Store
from po_jupyter.testing.conformance.store.cases import Cases, call, event, holder, item


class LogCases(Cases):
    """Claims, commits, and reading them back: a `LogStore`, with `create_run` to begin with."""

    def test_a_commit_is_read_back_as_it_was_said(self, store: Store, run: str) -> None:
        """P2."""
        lease = store.claim(run, holder(1))
        head = store.commit(
            lease,
            Commit(
                events=[event("run.started", pid=1), event("task.done", "a", output=0, seconds=0.5)],
                items=[{"task": "a", "index": 0, "ok": True, "key": "k", "usage": {"calls": 1}, "output": 1}],
                calls=[call(key="c", kind="intent"), call(key="c", kind="response", answer=0)],
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
        assert record["calls"][1] == {"key": "c", "kind": "response", "answer": [2, 0]}
        assert store.payload(run, Ref(2, 0)) == {"text": "answer"}
        assert store.payload(run, Ref(*record["items"][0]["output"])) == ["row", 1]
        assert store.payloads(run, 2) == [{"text": "answer"}, ["row", 1]]

    def test_an_index_becomes_a_reference_that_stays_true(self, store: Store, run: str) -> None:
        """A reader of events alone can find the output; references to earlier payloads stay as they are."""
        lease = store.claim(run, holder(1))
        store.commit(lease, Commit(events=[event("task.done", "a", output=0)], payloads=["x"]))
        store.commit(
            lease, Commit(events=[event("task.done", "b", output=Ref(2, 0))], items=[item(output=[2, 0])])
        )
        first, second = store.events(run, since=1)
        assert first["data"]["output"] == second["data"]["output"] == [2, 0]
        assert next(store.records(run, after=2))["items"] == [item(output=[2, 0])]

    def test_the_head_says_which_record_is_of_nobody_with_a_lease(self, store: Store, run: str) -> None:
        """P3: whoever works on the run is told of that record alone, not of each commit of its own."""
        lease = store.claim(run, holder(1))
        assert "requested" not in store.commit(lease, Commit(events=[event("run.started", pid=1)]))
        asked = store.request(run, [event("run.cancel_requested", by="ada")])
        assert asked["requested"] == asked["n"]
        after = store.commit(lease, Commit(events=[event("task.done", "a")]))
        assert after["requested"] == asked["n"] < after["n"]
        assert store.head(run) == after

    def test_what_is_noted_on_a_run_that_ended_does_not_move_its_end(self, store: Store, run: str) -> None:
        """When it ended decides how long it is kept."""
        ended = store.request(run, [event("run.cancelled")], state="cancelled")
        noted = store.request(run, [event("item.reviewed", "a", by="ada", decision="agree")])
        assert (noted["n"], noted["updated_at"]) == (ended["n"] + 1, ended["updated_at"])
        time.sleep(0.002)  # times have milliseconds
        resumed = store.request(run, [event("run.resumed", by="ada")], state="pending")
        assert resumed["updated_at"] > ended["updated_at"]

    @pytest.mark.parametrize("index", [1, -1, 99])
    def test_an_index_to_nothing_is_refused(self, store: Store, run: str, index: int) -> None:
        """P11."""
        lease = store.claim(run, holder(1))
        with pytest.raises(InvalidInput):
            store.commit(lease, Commit(items=[item(output=index)], payloads=["x"]))
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
        lease = store.claim(run, holder(1))
        for count in (3, 0, 1, 7, 0, 0, 2):
            store.commit(lease, Commit(events=[event("task.stage", "a", i=i) for i in range(count)]))
        store.request(run, [event("run.cancel_requested", by="ada")])
        events = store.events(run)
        assert [e["offset"] for e in events] == list(range(1, 16))
        assert {e["run"] for e in events} == {run}
        assert store.head(run)["offset"] == 15

    def test_events_resume_from_any_offset(self, store: Store, run: str) -> None:
        """P8."""
        lease = store.claim(run, holder(1))
        for i in range(40):
            store.commit(lease, Commit(events=[event("task.stage", i=i)] * (i % 4)))
        every = store.events(run)
        for since in range(len(every) + 2):
            assert store.events(run, since=since) == every[since:]
            assert store.events(run, since=since, limit=3) == every[since : since + 3]
        assert store.events(run, since=10_000) == []

    def test_a_reader_that_follows_sees_each_event_once(self, store: Store, run: str) -> None:
        """P8."""
        lease = store.claim(run, holder(1))
        seen: list[int] = []
        for i in range(30):
            store.commit(lease, Commit(events=[event("task.stage", i=i)] * (1 + i % 3)))
            seen += [e["offset"] for e in store.events(run, since=seen[-1] if seen else 0, limit=2)]
        while more := store.events(run, since=seen[-1], limit=2):
            seen += [e["offset"] for e in more]
        assert seen == list(range(1, store.head(run)["offset"] + 1))

    def test_records_are_read_in_order_from_anywhere(self, store: Store, run: str) -> None:
        """P8."""
        lease = store.claim(run, holder(1))
        for i in range(150):
            store.commit(lease, Commit(calls=[call(key=str(i))]))
        assert [r["n"] for r in store.records(run)] == list(range(1, 152))
        assert [r["n"] for r in store.records(run, after=140)] == list(range(141, 152))
        assert [r["calls"][0]["key"] for r in store.records(run, after=100, limit=3)] == ["99", "100", "101"]
        assert list(store.records(run, after=151)) == []

    def test_an_empty_commit_is_a_record(self, store: Store, run: str) -> None:
        """P8: a claim can be confirmed without saying anything."""
        head = store.commit(store.claim(run, holder(1)), Commit())
        (record,) = store.records(run, after=1)
        assert (head["n"], head["offset"]) == (2, 1)
        assert (record["events"], record["items"], record["calls"], record["first"]) == ([], [], [], 2)
        assert store.payloads(run, 2) == []

    def test_a_payload_that_is_not_there_is_not_found(self, store: Store, run: str) -> None:
        """P11."""
        store.commit(store.claim(run, holder(1)), Commit(payloads=["x"]))
        for ref in (Ref(2, 1), Ref(2, -1), Ref(1, 0), Ref(99, 0)):
            with pytest.raises(NotFound):
                store.payload(run, ref)

    # -- fences ---------------------------------------------------------------------------------
    def test_each_claim_has_a_higher_fence(self, store: Store, run: str) -> None:
        """P2."""
        leases = [store.claim(run, holder(i)) for i in range(3)]
        assert [lease.fence for lease in leases] == [1, 2, 3]
        assert store.head(run)["holder"] == holder(2)

    def test_a_claim_that_expects_another_fence_is_refused(self, store: Store, run: str) -> None:
        """P2: of several that saw the same head one gets the run."""
        with pytest.raises(StaleFence):
            store.claim(run, holder(1), expect=1)
        assert store.head(run)["holder"] is None
        assert store.claim(run, holder(1), expect=0).fence == 1
        with pytest.raises(StaleFence):
            store.claim(run, holder(2), expect=0)
        assert store.head(run)["holder"] == holder(1)

    def test_a_late_writer_is_refused_and_writes_nothing(self, store: Store, run: str) -> None:
        """P2."""
        old = store.claim(run, holder(1))
        new = store.claim(run, holder(2))
        before = store.head(run)
        with pytest.raises(StaleFence):
            store.commit(old, Commit(events=[event("run.done")], payloads=["x"], state="done", release=True))
        assert store.head(run) == before
        assert len(list(store.records(run))) == 1
        assert store.commit(new, Commit(events=[event("run.started")]))["n"] == 2

    def test_a_released_run_is_held_by_nobody(self, store: Store, run: str) -> None:
        """P2."""
        lease = store.claim(run, holder(1))
        head = store.commit(lease, Commit(events=[event("run.waiting")], state="waiting", release=True))
        assert head["holder"] is None
        with pytest.raises(StaleFence):
            store.commit(lease, Commit())
        assert store.claim(run, holder(2)).fence == 2

    def test_a_request_needs_no_lease_and_breaks_none(self, store: Store, run: str) -> None:
        """A person asks while a worker holds the run; its next head goes further than it wrote."""
        lease = store.claim(run, holder(1))
        assert store.commit(lease, Commit(events=[event("run.started")], state="running"))["n"] == 2
        head = store.request(run, [event("run.cancel_requested", by="ada")])
        assert (head["n"], head["state"], head["holder"]) == (3, "running", holder(1))
        assert store.commit(lease, Commit(events=[event("task.stage")]))["n"] == 4
        (foreign,) = store.records(run, after=2, limit=1)
        assert foreign["events"][0]["type"] == "run.cancel_requested"

    def test_a_commit_without_a_state_keeps_it(self, store: Store, run: str) -> None:
        """P2."""
        lease = store.claim(run, holder(1))
        store.commit(lease, Commit(state="running"))
        assert store.commit(lease, Commit())["state"] == "running"

    # -- at once --------------------------------------------------------------------------------
    def test_commits_from_many_threads_are_all_there(self, store: Store, run: str) -> None:
        """P2."""
        lease = store.claim(run, holder(1))

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
        lease = store.claim(run, holder(1))

        def send_requests() -> None:
            for i in range(20):
                store.request(run, [event("asked", i=i)])

        thread = threading.Thread(target=send_requests)
        thread.start()
        for i in range(20):
            store.commit(lease, Commit(events=[event("said", i=i)]))
        thread.join()
        events = store.events(run, since=1)
        assert [e["offset"] for e in events] == list(range(2, 42))
        for kind in ("asked", "said"):
            assert [e["data"]["i"] for e in events if e["type"] == kind] == list(range(20))

    def test_one_of_many_claims_wins(self, store: Store, run: str) -> None:
        """P2: of all who believe to hold the run, the last one does."""
        with ThreadPoolExecutor(6) as threads:
            leases = list(threads.map(lambda i: store.claim(run, holder(i)), range(6)))

        def can_write(lease: Any) -> bool:
            try:
                store.commit(lease, Commit())
            except StaleFence:
                return False
            return True

        assert sorted(lease.fence for lease in leases) == [1, 2, 3, 4, 5, 6]
        assert [lease.fence for lease in leases if can_write(lease)] == [6]

    def test_commits_of_another_process_are_seen(
        self, store: Store, run: str, other_process: Callable[[str], subprocess.Popen[str]]
    ) -> None:
        """P1."""
        child = other_process(
            f"""
            from po_jupyter.store.protocol import Commit
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
        self, store: Store, run: str, other_process: Callable[[str], subprocess.Popen[str]]
    ) -> None:
        """P2."""
        lease = store.claim(run, holder(1))
        child = other_process(f"store.claim({run!r}, {{'pid': 2}}); store.close()")
        _, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors
        with pytest.raises(StaleFence):
            store.commit(lease, Commit())

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
        store.claim(run, holder(1))
