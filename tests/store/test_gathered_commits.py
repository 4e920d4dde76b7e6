"""Commits gathered for one transaction: what is in it, what is not, and what each is answered."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from po_jupyter.errors import InvalidInput
from po_jupyter.model.run.events import draft
from po_jupyter.store.gathered_commits import LARGEST, SMALLEST_SHARED, CommitResult, GatheredCommits
from po_jupyter.store.json_codec import encode
from po_jupyter.store.protocol import Commit, Ref

LONG = "x" * SMALLEST_SHARED


def test_equal_payloads_are_in_it_once_and_those_that_the_store_has_not_at_all() -> None:
    known = "k" * SMALLEST_SHARED
    group = GatheredCommits({sha256(encode(known)).digest(): Ref(3, 1)})
    for payloads in ([LONG, "short"], [LONG, known], ["short"]):
        assert group.add(Commit(events=[draft("run.resumed", by="me")], payloads=payloads)) is None
    merged = group.merged()
    assert [len(merged.events), len(merged.payloads)] == [3, 3]
    head: Any = {"n": 7}
    assert group.answered(head) == [
        CommitResult(head, 7, (Ref(7, 0), Ref(7, 1))),
        CommitResult(head, 7, (Ref(7, 0), Ref(3, 1))),
        CommitResult(head, 7, (Ref(7, 2),)),
    ]


def test_one_that_points_past_its_payloads_is_left_out_and_answered_alone() -> None:
    group = GatheredCommits({})
    group.add(Commit(payloads=["a"]))
    error = group.add(Commit(payloads=[LONG], items=[{"task": "t", "index": 0, "ok": True, "output": 5}]))
    assert isinstance(error, InvalidInput)
    group.add(Commit(payloads=[LONG], items=[{"task": "t", "index": 0, "ok": True, "output": 0}]))
    assert len(group.merged().payloads) == 2
    assert group.merged().items[0]["output"] == 1
    failed = ValueError("no room")
    assert group.failed(failed) == [failed, error, failed]


def test_a_release_and_much_to_write_close_it() -> None:
    group = GatheredCommits({})
    group.add(Commit(payloads=["y" * (LARGEST + 1)], state="running"))
    assert group.is_full and group.merged().state == "running"
    group = GatheredCommits({})
    group.add(Commit(release=True))
    assert group.is_full and group.merged().release
