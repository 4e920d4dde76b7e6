"""Runs and documents go from one store to another whole, and the same copy can be made again."""

from __future__ import annotations

from itertools import chain

import pytest

from po_jupyter.errors import Conflict, NotFound, StaleFence
from po_jupyter.platform import processes
from po_jupyter.store.keyed import copying
from po_jupyter.store.keyed.copying import copy_documents, copy_run, digest_of, document_names, stored_rows
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit
from po_jupyter.testing.conformance.store import event, new_run


def filled() -> MemoryStore:
    store = MemoryStore()
    store.create_run(new_run("00a1", idempotency_key="k", request_hash="h"))
    lease = store.claim("00a1", processes.myself())
    for number in range(150):
        store.commit(
            lease, Commit(events=[event("x")], payloads=[{"n": number, "f": 1e20, "t": "ü\0"}] * (number % 3))
        )
    store.create_run(new_run("00a2"))
    store.request("00a2", [event("run.done")], state="done")
    store.put("pipeline", "a/b", {"name": "a"})
    store.put("lease", "orchestrator", {"pid": 1})
    store.keep_snapshots({"00a1": {"x": 1}})
    return store


def test_a_run_is_the_same_there_with_its_fence_and_held_by_nobody() -> None:
    source, target = filled(), MemoryStore()
    assert copy_run(source, target, "00a1")
    assert list(target.records("00a1")) == list(source.records("00a1"))
    assert [target.payloads("00a1", n) for n in range(1, 152)] == [
        source.payloads("00a1", n) for n in range(1, 152)
    ]
    assert target.head("00a1") == {**source.head("00a1"), "holder": None}
    assert digest_of(source, "00a1") == digest_of(target, "00a1")
    assert [head["run"] for head in target.active()] == ["00a1"]
    assert target.snapshots(["00a1"]) == {}
    assert target.create_run(new_run("ffff", idempotency_key="k", request_hash="h"))[0]["run"] == "00a1"
    with pytest.raises(StaleFence):
        target.commit(target.claim("00a1", processes.myself())._replace(fence=1), Commit())


def test_a_page_of_large_rows_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 records of many megabytes each were in memory at once. The digest does not depend on it."""
    store = filled()
    digest, pages = digest_of(store, "00a1"), list(stored_rows(store, "00a1", 151))
    monkeypatch.setattr(copying, "_PAGE", 1)
    short = list(stored_rows(store, "00a1", 151))
    assert len(pages) == 3 and max(map(len, short)) == 2
    assert list(chain(*short)) == list(chain(*pages))
    assert digest_of(store, "00a1") == digest


def test_what_an_interrupted_copy_left_is_replaced_and_what_is_whole_is_passed_over() -> None:
    source, target = filled(), MemoryStore()
    target._at(0, lambda shard: shard.write("c/00a1/00000001", {"half": True}), write=True)
    assert copy_run(source, target, "00a1")
    assert not copy_run(source, target, "00a1")
    assert digest_of(source, "00a1") == digest_of(target, "00a1")


def test_a_run_that_went_on_there_is_not_written_over() -> None:
    source, target = filled(), MemoryStore()
    copy_run(source, target, "00a1")
    target.request("00a1", [event("x")])
    with pytest.raises(Conflict, match="has gone on"):
        copy_run(source, target, "00a1")
    with pytest.raises(NotFound):
        copy_run(source, target, "00a9")


def test_documents_are_copied_but_those_of_processes() -> None:
    source, target = filled(), MemoryStore()
    assert document_names(source) == [("pipeline", "a/b")]
    assert copy_documents(source, target) == 1
    assert copy_documents(source, target) == 1
    assert (target.get("pipeline", "a/b"), target.get("lease", "orchestrator")) == ({"name": "a"}, None)
    target.put("pipeline", "a/b", 2)
    with pytest.raises(Conflict, match="pipeline/a/b"):
        copy_documents(source, target)


def test_documents_of_processes_stay_where_they_are() -> None:
    """A drain of a node, a probe of a server: of the processes there."""
    source, target = MemoryStore(), MemoryStore()
    for kind in ("lease", "node", "drain", "probe", "pipeline"):
        source.put(kind, "a", {"x": 1})
    target.put("probe", "a", {"x": 2})
    assert copy_documents(source, target) == 1
    assert target.names("drain") == []
    assert target.get("probe", "a") == {"x": 2}
