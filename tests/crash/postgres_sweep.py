"""A process that kills writes to a store in PostgreSQL at each of their crash points, and says what is there then.

    python postgres_sweep.py URL-WITHOUT-SCHEMA      one JSON line for each killed process

It has one thread and never opens a store itself, so that it can fork; everything else happens in its children.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from po_jupyter.errors import Conflict, NotFound, StaleFence
from po_jupyter.platform import processes
from po_jupyter.store.postgres.store import PostgresStore
from po_jupyter.store.protocol import Commit, Lease, Ref
from po_jupyter.testing.conformance.store import event, new_run
from po_jupyter.testing.conformance.store.cases import item
from tests.crash.crash_sweep import count, die_at, in_child

RUN, OTHER = "00a1", "00a2"


def act(url: str) -> None:
    """Every kind of write."""
    store = PostgresStore(url)
    store.create_run(new_run(RUN, idempotency_key="k", request_hash="h"))
    lease = store.claim(RUN, processes.myself())
    store.commit(lease, Commit(events=[event("run.started")], state="running"))
    store.commit(
        lease,
        Commit(
            events=[event("x"), event("y")],
            items=[item(task="t", index=0, ok=True, output=0)],
            payloads=[["out"]],
        ),
    )
    store.request(RUN, [event("run.cancel_requested")])
    store.swap("kind", "name", None, {"count": 1})
    store.commit(lease, Commit(events=[event("run.done")], state="done", release=True))
    store.keep_snapshots({RUN: {"x": 1}})
    store.create_run(new_run(OTHER))
    store.request(OTHER, [event("run.done")], state="done")
    store.delete_run(OTHER)
    store.close()


def check(url: str) -> dict[str, Any]:
    """What is there is whole; and what was begun can be brought to its end. What was found, before that."""
    store = PostgresStore(url)
    heads = {head["run"]: head for head in store.runs().heads}
    found = {run: [head["n"], head["state"], head["fence"]] for run, head in heads.items()}
    for run, head in heads.items():
        records = list(store.records(run))
        assert [record["n"] for record in records] == list(range(1, head["n"] + 1))
        events = store.events(run)
        assert [e["offset"] for e in events] == list(range(1, head["offset"] + 1))
        for record in records:
            for row in record["items"]:
                assert store.payload(run, Ref(*row["output"])) == ["out"]
        assert (head["state"] not in ("done",)) == (run in {h["run"] for h in store.active()})
        assert [h["run"] for h in store.runs(owner="ada", states=[head["state"]]).heads].count(run) == 1
        assert store.definition(run)["pipeline"] == {"name": "tickets"}
    assert store.get("kind", "name") in (None, {"count": 1})
    head, _ = store.create_run(new_run("ffff", idempotency_key="k", request_hash="h"))
    made = head["run"]  # the key means that run from when it is reserved, which is before the run is there
    assert made == RUN or not found
    stale = Lease(made, head["fence"])
    lease = store.claim(made, processes.myself())
    for old in (stale, Lease(made, 0)):
        try:
            store.commit(old, Commit(events=[event("late")]))
        except StaleFence:
            continue
        raise AssertionError("a late writer got through")
    store.commit(lease, Commit(events=[event("run.done")], state="done", release=True))
    for run in (made, OTHER):
        try:
            store.delete_run(run)
        except NotFound:
            assert run == OTHER
        except Conflict:
            assert found[run][1] == "pending"
            store.request(run, [], state="done")
            store.delete_run(run)
    assert store.runs().heads == []
    store.close()
    return found


def main(base: str) -> None:
    """Every point, each in a schema of its own."""
    points = count(lambda: act(f"{base}&schema=counted"))
    for number, point in enumerate(points):
        url = f"{base}&schema=at{number}"
        reached = die_at(point, lambda url=url: act(url))
        state = in_child(lambda url=url: check(url))[1]
        print(json.dumps({"point": f"{point[0]}:{point[1]}", "killed": reached, "state": state}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
