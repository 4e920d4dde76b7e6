"""Migrations: named functions that make a store written by an older version today's, and the format they lead to.

Each gets the open store and is applied once, in order; the names of those applied are recorded with the
format. A migration must be safe to run twice, because a crash may fall between its end and the recording.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypedDict, cast

from po_jupyter.errors import StoreUnusable
from po_jupyter.store.keyed.shard import Shard

if TYPE_CHECKING:
    from po_jupyter.store.keyed.store import KeyedStore

FORMAT = 1  # grows when an older program must not touch the store any more
ROW = "format"  # its key in the documents' shard


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


def check(row: StoreFormat, where: str) -> None:
    """Raises StoreUnusable when a newer version wrote the store."""
    if row["version"] > FORMAT:
        raise StoreUnusable(
            f"the store in {where} was written by a newer po_jupyter "
            f"(format {row['version']}, this one knows {FORMAT})",
            hint="Upgrade po_jupyter in this environment, or set PO_DATA_DIR to another directory.",
            details={"path": where, "format": row["version"], "known": FORMAT},
        )


def pending(row: StoreFormat, migrations: Sequence[tuple[str, Migration]]) -> list[tuple[str, Migration]]:
    """The migrations that this store still needs."""
    applied = set(row.get("migrations", ()))
    return [(name, step) for name, step in migrations if name not in applied]


def record(shard: Shard, name: str) -> None:
    """Remember that `name` was applied."""
    row = dict(shard.read(ROW) or {})
    row["version"] = FORMAT
    row["migrations"] = [*row.get("migrations", ()), name]
    shard.write(ROW, row)
