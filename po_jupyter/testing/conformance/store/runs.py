"""Runs: created once, listed, deleted, measured."""

from __future__ import annotations

import hashlib
import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from po_jupyter.errors import Conflict, InvalidInput, NotFound
from po_jupyter.store.protocol import Commit, Head, Ref, Store
from po_jupyter.testing.conformance.store.cases import Cases, event, holder, new_run


class RunCases(Cases):
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
        """P12."""
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
        for read in (
            lambda: store.head("00ff"),
            lambda: store.definition("00ff"),
            lambda: store.records("00ff"),
            lambda: store.events("00ff"),
            lambda: store.payload("00ff", Ref(1, 0)),
            lambda: store.payloads("00ff", 1),
            lambda: store.claim("00ff", holder(1)),
            lambda: store.request("00ff", []),
            lambda: store.delete_run("00ff"),
        ):
            with pytest.raises(NotFound):
                read()

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
        """P6."""
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
        """P6: a key is data, never part of another key."""
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

    def test_child_runs_are_listed_only_when_asked_for(self, store: Store) -> None:
        """A page is full of whole runs, however many parts they have."""
        for i in range(6):
            parent = f"{i:02x}"
            store.create_run(new_run(parent, owner="ada"))
            for part in "abcd":
                store.create_run(new_run(parent + part, owner="ada", parent=parent))
        page = store.runs(owner="ada", limit=4)
        assert [head["run"] for head in page.heads] == ["05", "04", "03", "02"]
        assert [head["run"] for head in store.runs(limit=4, cursor=page.next).heads] == ["01", "00"]
        everything = store.runs(limit=100, children=True).heads
        assert len(everything) == 30
        assert {head.get("parent") for head in everything if head["run"].startswith("03")} == {None, "03"}
        assert len(store.active()) == 30
        assert store.head("03a")["parent"] == "03"

    def test_runs_that_come_late_are_listed_where_they_belong(self, store: Store) -> None:
        """P8: an id that was reserved before a crash."""
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
        """P8."""
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
        lease = store.claim("00a1", holder(1))
        store.commit(lease, Commit(events=[event("run.done")], payloads=["x"], state="done", release=True))
        assert store.payload("00a1", Ref(2, 0)) == "x"
        store.delete_run("00a1")
        for read in (
            lambda: store.head("00a1"),
            lambda: store.events("00a1"),
            lambda: store.payload("00a1", Ref(2, 0)),
        ):
            with pytest.raises(NotFound):
                read()
        with pytest.raises(NotFound):
            store.commit(lease, Commit())
        assert [head["run"] for head in store.runs().heads] == ["00a2"]
        head, created = store.create_run(new_run("00a3", idempotency_key="k", request_hash="other"))
        assert (head["run"], created) == ("00a3", True)

    # -- room -----------------------------------------------------------------------------------
    def test_the_room_of_a_run_is_measured(self, store: Store, run: str) -> None:
        """G7: it grows by what is committed, is the run's alone, and ends with the run."""
        other = f"{run}0" if len(run) < 64 else run[:-1]
        store.create_run(new_run(other))
        before, others = store.run_bytes(run), store.run_bytes(other)
        lease = store.claim(run, holder(1))
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
        lease = store.claim(run, holder(1))
        store.commit(lease, Commit(events=[event("a")], payloads=["x"]))
        store.reclaim()
        store.commit(lease, Commit(events=[event("b")], payloads=["y"]))
        store.reclaim()
        assert [e["type"] for e in store.events(run)] == ["run.created", "a", "b"]
        assert store.payload(run, Ref(3, 0)) == "y"
