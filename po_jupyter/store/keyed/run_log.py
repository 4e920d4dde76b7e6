"""The log of a run in its shard: heads, and records that are written, read and found by offset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from po_jupyter.errors import CorruptRow, InvalidInput, NotFound, StaleFence
from po_jupyter.model.run.events import now
from po_jupyter.model.run.view import ENDED
from po_jupyter.model.values.json import JsonObject
from po_jupyter.platform.crashpoints import crashpoint
from po_jupyter.store.keyed import run_index
from po_jupyter.store.keyed.shard import Shard
from po_jupyter.store.protocol import Commit, Head, Record


def key_of(kind: str, run: str, n: int) -> str:
    """The key of record `n` (kind `c`) or of its payloads (kind `p`)."""
    return f"{kind}/{run}/{n:08d}"


def no_run(run: str) -> NotFound:
    """The error, not raised."""
    return NotFound(f"there is no run {run!r:.80}")


def head_of(shard: Shard, run: str) -> Head:
    """Raises NotFound."""
    head = shard.read(f"head/{run}")
    if head is None:
        raise no_run(run)
    return cast(Head, head)


def check_fence(head: Head, expect: int | None) -> None:
    """Raises StaleFence when the run has another fence than who claims it has seen (None: that does not matter)."""
    if expect is not None and head["fence"] != expect:
        raise StaleFence(
            f"run {head['run']} was taken by somebody else: its fence is {head['fence']}, not {expect}",
            hint="Whoever holds the run now goes on.",
        )


def active_heads(shard: Shard) -> list[Head]:
    """The heads of the runs that have not ended; without those that cannot be read, which nobody can work on."""
    return [head for head in listed_heads(shard, run_index.active(shard)) if "damage" not in head]


def older_heads(
    shard: Shard, than: str | None, limit: int, *, children: bool = False
) -> tuple[list[Head], str | None]:
    """Heads below `than`, newest first, and the id to go on from (None: that was all)."""
    ids = run_index.older(shard, than, limit, children=children)
    return listed_heads(shard, ids), ids[-1] if len(ids) == limit else None


def listed_heads(shard: Shard, runs: Sequence[str]) -> list[Head]:
    """The heads of runs as lists have them: one that cannot be read is a row that says so, and the list stands."""
    found = shard.read_rows([f"head/{run}" for run in runs])
    heads: list[Head] = []
    for run in runs:
        head = found.get(f"head/{run}")
        if isinstance(head, CorruptRow):
            heads.append(damaged_head(shard, run, head.message))
        elif head is not None:
            heads.append(head)
    return heads


def damaged_head(shard: Shard, run: str, damage: str) -> Head:
    """The head, for lists, of a run whose own cannot be read: `damage` says why."""
    head: Head = {
        "run": run, "owner": "", "pipeline": "", "version": "", "name": "", "state": "failed",
        "created_at": "", "updated_at": "", "priority": 0, "fence": 0, "n": 0, "offset": 0, "holder": None,
        "damage": damage,
    }  # fmt: skip
    try:
        first = _record(shard, run, 1)
    except (CorruptRow, NotFound):
        return head
    head["created_at"] = head["updated_at"] = first["at"]
    for event in first["events"]:
        if event["type"] == "run.created":
            data = event["data"]
            head["owner"] = str(data.get("owner") or "")
            head["pipeline"], head["version"] = str(data.get("pipeline") or ""), str(data.get("version") or "")
            head["name"] = str(data.get("name") or "")
    return head


def erase_each_record(shard: Shard, run: str, last: int | None) -> None:
    """`Shard.erase_records` for a backend that can only erase key by key."""
    n = 0
    while last is None or n < last:
        n += 1
        there = shard.erase(key_of("c", run, n))
        shard.erase(key_of("p", run, n))
        if last is None and not there:
            return


def _placed(draft: Mapping[str, Any], field: str, n: int, values: int) -> JsonObject:
    """A copy of `draft` in which an index into this commit's payloads has become `[n, index]`."""
    entry = dict(draft)
    at = entry.get(field)
    if type(at) is int:
        if not 0 <= at < values:
            raise InvalidInput(f"`{field}` points at payload {at}, but the commit carries {values}")
        entry[field] = [n, at]
    return entry


def _recorded_event(draft: Mapping[str, Any], at: str, n: int, values: int) -> JsonObject:
    event = {key: value for key, value in draft.items() if key not in ("offset", "run")}
    event.setdefault("at", at)
    data = event.get("data")
    if data is None:
        event["data"] = {}
    elif event.get("type") == "task.done" and type(data.get("output")) is int:
        event["data"] = _placed(data, "output", n, values)
    return event


def append(shard: Shard, head: Head, commit: Commit, joined: bytes | None = None) -> Head:
    """Write the next record of the run, and the head that follows from it."""
    run, n, values = head["run"], head["n"] + 1, len(commit.payloads)
    at = now() if head["n"] else head["created_at"]
    record: JsonObject = {"at": at, "fence": head["fence"], "first": head["offset"] + 1}
    if commit.events:
        record["events"] = [_recorded_event(event, at, n, values) for event in commit.events]
    if commit.items:
        record["items"] = [_placed(item, "output", n, values) for item in commit.items]
    if commit.calls:
        record["calls"] = [_placed(call, "answer", n, values) for call in commit.calls]
    shard.write(key_of("c", run, n), record)
    if joined is not None:
        shard.write(key_of("p", run, n), joined)
    crashpoint("store.record.written")
    before = head["state"]
    after = head.copy()
    after["n"], after["offset"] = n, head["offset"] + len(commit.events)
    if commit.state is not None:
        after["state"] = commit.state
    if before not in ENDED or after["state"] != before or commit.items or commit.calls:
        after["updated_at"] = at  # of an ended run it is its end, whatever people note on it later
    if commit.release:
        after["holder"] = None
    shard.write(f"head/{run}", after)
    if (before in ENDED) != (after["state"] in ENDED):
        run_index.set_active(shard, run, after["state"] not in ENDED)
    return after


def stored_at(run: str) -> list[tuple[str, str]]:
    """The ranges of keys that are a run's: from the first of each, and below the second."""
    # "0" follows "/": from here to there are all the keys that begin with KIND/RUN/.
    parts = [(f"{kind}/{run}/", f"{kind}/{run}0") for kind in ("c", "p")]
    return parts + [(f"{kind}/{run}", f"{kind}/{run}\0") for kind in ("def", "head", "snap")]


def _record(shard: Shard, run: str, n: int) -> Record:
    return _as_record(shard, run, n, shard.read(key_of("c", run, n)))


def _as_record(shard: Shard, run: str, n: int, row: JsonObject | None) -> Record:
    if row is None:
        head_of(shard, run)  # deleted while we were reading: NotFound
        raise CorruptRow(
            f"record {n} of run {run} is missing, although later ones are there",
            hint="The store was changed by something else; restore it from a copy, or delete the run.",
        )
    return {
        "n": n,
        "at": row["at"],
        "fence": row["fence"],
        "first": row["first"],
        "events": row.get("events", []),
        "items": row.get("items", []),
        "calls": row.get("calls", []),
    }


def read(shard: Shard, run: str, first: int, last: int) -> list[Record]:
    """Records `first` to `last`. Raises CorruptRow when one is missing."""
    numbers = range(first, last + 1)
    rows = shard.read_many([key_of("c", run, n) for n in numbers])
    return [_as_record(shard, run, n, row) for n, row in zip(numbers, rows, strict=True)]


def find(shard: Shard, run: str, offset: int, last: int, hint: tuple[int, int] | None) -> int:
    """The number of the record that holds the event `offset`: the last one whose `first` is not above it."""
    low, high = 1, last
    if hint is not None and hint[1] <= offset and hint[0] <= last:
        low = hint[0]
        if low == last or _record(shard, run, low + 1)["first"] > offset:
            return low  # following a run as it grows: no search
    while low < high:
        middle = (low + high + 1) // 2
        if _record(shard, run, middle)["first"] <= offset:
            low = middle
        else:
            high = middle - 1
    return low
