"""Copies of runs and documents from one store to another, row by row, each run whole or not at all.

A run is in the other store once its head is, which comes last: what a copy that was interrupted left of it is removed,
and what was copied whole is passed over. So the same copy is simply made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from hashlib import blake2b
from typing import Any, cast

from po_jupyter.errors import Conflict
from po_jupyter.model.run.view import ENDED
from po_jupyter.store.json_codec import JsonText, encode
from po_jupyter.store.keyed import run_index, run_log
from po_jupyter.store.keyed.listing import CHUNK
from po_jupyter.store.keyed.shard import Shard
from po_jupyter.store.keyed.store import DOCUMENTS, KeyedStore
from po_jupyter.store.protocol import Head

# Of the processes that run now, and the place of files that nodes share, where each store has a room of its own.
_NOT_COPIED = frozenset({"lease", "node", "drain", "probe", "objects", "queue", "rates"})

# Bytes of rows, as they are stored, that are read at once: as JSON they are some times as many.
_PAGE = 4 * 2**20


def copy_run(source: KeyedStore, target: KeyedStore, run: str) -> bool:
    """Copy a run with its fence, held by nobody; False when it was there already. Its idempotency key comes first, so
    that nobody makes it twice.

    Raises Conflict when the target has another run of that id, or one that has gone on; NotFound, CorruptRow.
    """
    head: Head = {**source.head(run), "holder": None}
    there = target._run(run, lambda shard: cast("Head | None", shard.read(f"head/{run}")))
    if there is not None:
        if {**there, "holder": None} != head:
            raise Conflict(
                f"the target has a run {run} too, and it is another one or has gone on",
                hint="Copy into a store that is empty, or was filled by this copy and not used since.",
            )
        return False
    definition = source._run(run, lambda shard: shard.read(f"def/{run}")) or {}
    if (key := definition.get("idempotency")) is not None:
        row = source._at(DOCUMENTS, lambda shard: shard.read(key))
        if row is not None and row["run"] == run:
            target._at(DOCUMENTS, partial(_write, key=key, value=row), write=True)
    target._run(run, lambda shard: shard.erase_records(run, None), write=True)
    for texts in stored_rows(source, run, head["n"]):
        target._run(run, partial(_write_all, texts=texts), write=True)

    def finish(shard: Shard) -> None:
        shard.write(f"def/{run}", definition)
        run_index.add(shard, run, is_child="parent" in head)
        run_index.set_active(shard, run, head["state"] not in ENDED)
        shard.write(f"head/{run}", head)

    target._run(run, finish, write=True)
    return True


def copy_documents(source: KeyedStore, target: KeyedStore) -> int:
    """Copy the documents that are not of processes; how many there are. Raises Conflict for one that is not the same
    there."""
    count = 0
    for kind, name in document_names(source):
        value = source.get(kind, name)
        if value is not None:
            if not target.swap(kind, name, None, value) and target.get(kind, name) != value:
                raise Conflict(
                    f"the target has a document {kind}/{name} of its own",
                    hint="Copy into a store that is empty, or was filled by this copy and not used since.",
                )
            count += 1
    return count


def document_names(store: KeyedStore) -> list[tuple[str, str]]:
    """Kind and name of the documents that are not of processes."""
    keys = store._at(DOCUMENTS, lambda shard: shard.keys("names/"))
    kinds = sorted(key.removeprefix("names/") for key in keys)
    return [(kind, name) for kind in kinds if kind not in _NOT_COPIED for name in store.names(kind)]


def heads_of(store: KeyedStore) -> Iterator[Head]:
    """The summaries of all runs of a store, the newest first."""
    cursor: str | None = None
    while True:
        page = store.runs(cursor=cursor, limit=200, children=True)
        yield from page.heads
        cursor = page.next
        if cursor is None:
            return


def digest_of(store: KeyedStore, run: str) -> str:
    """The digest of a run: its head but for who holds it, its definition, every record and payload."""
    head: Head = {**store.head(run), "holder": None}
    digest = blake2b(encode(head), digest_size=16)
    definition = store._run(run, lambda shard: shard.read(f"def/{run}"))
    digest.update(encode(definition))
    for page in stored_rows(store, run, head["n"]):
        for key, text in page:
            digest.update(b"\0" + key.encode() + b"\0" + text)
    return digest.hexdigest()


def stored_rows(store: KeyedStore, run: str, last: int) -> Iterator[list[tuple[str, bytes]]]:
    """The rows of a run up to record `last`, in pages: key and JSON of each record, then those of its payloads if it
    has some."""
    size = store._run(run, lambda shard: shard.measure(run))
    count = max(1, min(CHUNK, _PAGE * last // max(1, size)))
    for start in range(1, last + 1, count):
        numbers = range(start, min(start + count, last + 1))
        yield store._run(run, partial(_page, run=run, numbers=numbers))


def _page(shard: Shard, *, run: str, numbers: Iterable[int]) -> list[tuple[str, bytes]]:
    keys = [[run_log.key_of(kind, run, n) for n in numbers] for kind in ("c", "p")]
    rows = zip(*(zip(some, shard.texts(some), strict=True) for some in keys), strict=True)
    return [(key, text) for record in rows for key, text in record if text is not None]


def _write_all(shard: Shard, *, texts: list[tuple[str, bytes]]) -> None:
    for key, text in texts:
        shard.write(key, JsonText(text))


def _write(shard: Shard, *, key: str, value: Any) -> None:
    shard.write(key, value)
