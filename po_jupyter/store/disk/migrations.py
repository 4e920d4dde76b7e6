"""Migrations: named functions that make a store written by an older version today's, and the format they lead to.

Each gets the open store and is applied once, in order; the names of those applied are recorded with the
format. A migration must be safe to run twice, because a crash may fall between its end and the recording.

Nothing is migrated under a server or a worker that is alive: in one transaction the orchestrator's lease is seen to be
free and the format becomes today's. From then on an older version is refused, also one that has the store open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, cast

from po_jupyter.errors import StoreUnusable
from po_jupyter.platform import processes
from po_jupyter.store.documents import ORCHESTRATOR_LEASE
from po_jupyter.store.keyed import documents
from po_jupyter.store.keyed.shard import Shard

if TYPE_CHECKING:
    from po_jupyter.store.keyed.store import KeyedStore
    from po_jupyter.store.protocol import Head

FORMAT = 1  # grows when an older program must not touch the store any more
ROW = "format"  # its key in the documents' shard
_SILENCE = 60.0  # s without a renewal after which a holder on another machine is taken for gone


class StoreFormat(TypedDict):
    """The row that says by which version a store was written; `migrations` are those that were applied."""

    version: int
    shards: int
    migrations: list[str]


Migration: TypeAlias = "Callable[[KeyedStore], None]"
MIGRATIONS: tuple[tuple[str, Migration], ...] = ()


def read_or_create(shard: Shard, shards: int, migrations: Sequence[tuple[str, Migration]]) -> StoreFormat:
    """The format of this store, written now when it is a new one (which needs no migration)."""
    row = shard.read(ROW)
    if row is None:
        row = {"version": FORMAT, "shards": shards, "migrations": [name for name, _ in migrations]}
        shard.write(ROW, row)
    return cast("StoreFormat", row)


def check(row: StoreFormat | None, where: str) -> None:
    """Raises StoreUnusable when a newer version wrote the store, or has begun to."""
    if row is not None and row["version"] > FORMAT:
        raise StoreUnusable(
            f"the store in {where} was written by a newer po_jupyter "
            f"(format {row['version']}, this one knows {FORMAT})",
            hint="Upgrade po_jupyter in this environment, or set PO_DATA_DIR to another directory.",
            details={"path": where, "format": row["version"], "known": FORMAT},
        )


def is_older(row: StoreFormat, migrations: Sequence[tuple[str, Migration]]) -> bool:
    """Whether the store has to be brought up to date before it is used."""
    return row["version"] < FORMAT or bool(pending(row, migrations))


def begin(shard: Shard, *, where: str) -> None:
    """Make the format today's, if no orchestrator has the store: within the transaction of `shard`.

    Raises StoreUnusable while one has it, and for a store of a newer version.
    """
    row = cast("StoreFormat", shard.read(ROW))
    check(row, where)
    lease = shard.read(documents.key(*ORCHESTRATOR_LEASE))
    if lease is not None and not _is_over(lease):
        raise in_use(where, f"process {lease['pid']}" + _elsewhere(lease))
    shard.write(ROW, {**row, "version": FORMAT})


def check_workers(heads: Iterable[Head], where: str) -> None:
    """Raises StoreUnusable while workers of the older version finish what they have in flight."""
    holders = [head["holder"] for head in heads]
    pids = [str(holder["pid"]) for holder in holders if holder is not None and processes.alive(holder)]
    if pids:
        listed = ", ".join(pids[:5]) + (", ..." if len(pids) > 5 else "")
        raise in_use(where, f"{'worker' if len(pids) == 1 else 'workers'} {listed}, finishing calls in flight")


def in_use(where: str, user: str) -> StoreUnusable:
    """The error of a store that an older version still uses."""
    return StoreUnusable(
        f"the store in {where} is of an older po_jupyter, which is at work on it ({user}): it stays as it is",
        hint="End that first (`po stop`, or the Jupyter server of the older version); this one then goes on by itself.",
        details={"path": where, "used_by": user},
    )


def _is_over(lease: Mapping[str, Any]) -> bool:
    """Whether the holder of a lease is gone. One of another machine is taken for gone a while after its last word."""
    if processes.is_local(lease):
        return not processes.alive(lease)
    try:
        renewed = datetime.fromisoformat(lease["renewed"])
    except (KeyError, TypeError, ValueError):
        return True
    return (datetime.now(UTC) - renewed).total_seconds() > _SILENCE


def _elsewhere(lease: Mapping[str, Any]) -> str:
    return "" if processes.is_local(lease) else f" on {lease.get('host')}"


def pending(row: StoreFormat, migrations: Sequence[tuple[str, Migration]]) -> list[tuple[str, Migration]]:
    """The migrations that this store still needs."""
    applied = set(row.get("migrations", ()))
    return [(name, step) for name, step in migrations if name not in applied]


def record(shard: Shard, name: str) -> None:
    """Remember that `name` was applied."""
    row = dict(shard.read(ROW) or {})
    row["version"] = FORMAT
    if name not in row.get("migrations", ()):  # two at once
        row["migrations"] = [*row.get("migrations", ()), name]
    shard.write(ROW, row)
