"""The runs that wait for a worker, in stores without an index of them."""

from __future__ import annotations

from po_jupyter.platform import processes
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit
from po_jupyter.testing.conformance.store import new_run


def test_a_run_waits_by_its_kind_until_somebody_has_it() -> None:
    store = MemoryStore()
    for run, shareable in (("00a0", True), ("00a1", False), ("00a2", None)):
        store.create_run(new_run(run)._replace(shareable=shareable))

    def names(*kinds: bool | None) -> list[str]:
        return [head["run"] for head in store.waiting(1, kinds)]

    assert names(True, False, None) == ["00a0", "00a1", "00a2"]
    assert (names(True), names(False), names(None), names()) == (["00a0"], ["00a1"], ["00a2"], [])
    lease = store.claim("00a0", processes.myself())
    assert [head["run"] for head in store.held()] == ["00a0"]
    assert (store.count_waiting(), names(True)) == (2, [])
    store.commit(lease, Commit(state="done"))
    assert store.held() == [] and set(store.heads(["00a0", "00a1"])) == {"00a1"}
