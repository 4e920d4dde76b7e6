"""Cases of a `ListeningStore`, which a store may be besides: it hears which runs changed, in any process."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from queue import Queue

import pytest

from po_jupyter.store.protocol import Commit, ListeningStore, Store
from po_jupyter.testing.conformance.store.cases import Cases, event, holder, new_run

_SOON = 10.0  # s


class ListeningCases(Cases):
    """A `Store` that is no `ListeningStore` passes them all."""

    @pytest.fixture
    def listening(self, store: Store) -> ListeningStore:
        """The store, as it listens."""
        if not isinstance(store, ListeningStore):
            pytest.skip("inapplicable: this store hears of no changes")
        return store

    @pytest.fixture
    def changes(self, listening: ListeningStore) -> Iterator[Queue[str]]:
        """The changes that one listener hears, from when it is connected."""
        changes: Queue[str] = Queue()
        end = listening.listen(changes.put)
        assert changes.get(timeout=_SOON) == ""
        yield changes
        end()

    def test_each_change_of_a_run_is_heard(self, store: Store, changes: Queue[str]) -> None:
        """P8: whatever moved its log or its head."""

        def heard() -> str:
            return changes.get(timeout=_SOON)

        store.create_run(new_run("00a1"))
        assert heard() == "00a1"
        lease = store.claim("00a1", holder(1))
        assert heard() == "00a1"
        store.commit(lease, Commit(events=[event("run.started")], payloads=["x"], state="running"))
        assert heard() == "00a1"
        store.request("00a1", [event("run.done")], state="done")
        assert heard() == "00a1"
        store.delete_run("00a1")
        assert heard() == "00a1"

    def test_what_was_heard_can_be_read(self, store: Store, changes: Queue[str]) -> None:
        """P8: a hint never comes before what it is about."""
        store.create_run(new_run("00a1"))
        for n in range(2, 20):
            store.request("00a1", [event("x")])
            while store.head("00a1")["n"] < n:
                assert changes.get(timeout=_SOON) == "00a1"

    def test_what_changed_nothing_is_not_heard(self, store: Store, changes: Queue[str]) -> None:
        """P8: neither a transaction that was undone, nor documents."""
        store.create_run(new_run("00a1"))
        assert changes.get(timeout=_SOON) == "00a1"
        store.put("kind", "name", 1)
        with pytest.raises(Exception, match="payload"):
            store.commit(
                store.claim("00a1", holder(1)),
                Commit(events=[event("task.done", "t", output=3)], payloads=[]),
            )
        assert changes.get(timeout=_SOON) == "00a1"  # the claim
        store.create_run(new_run("00a2"))
        assert changes.get(timeout=_SOON) == "00a2"

    def test_several_listeners_hear_until_each_ends(
        self, store: Store, listening: ListeningStore, changes: Queue[str]
    ) -> None:
        """P8."""
        others: Queue[str] = Queue()
        end = listening.listen(others.put)
        assert others.get(timeout=_SOON) == ""
        store.create_run(new_run("00a1"))
        assert changes.get(timeout=_SOON) == others.get(timeout=_SOON) == "00a1"
        end()
        store.create_run(new_run("00a2"))
        assert changes.get(timeout=_SOON) == "00a2"
        assert others.empty()

    def test_changes_of_another_process_are_heard(
        self, run: str, changes: Queue[str], other_process: Callable[[str], subprocess.Popen[str]]
    ) -> None:
        """P8."""
        other = other_process(f"store.request({run!r}, [{{'type': 'x', 'data': {{}}}}])")
        assert changes.get(timeout=30) == run
        assert other.communicate()[1] == ""
