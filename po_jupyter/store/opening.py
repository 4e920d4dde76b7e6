"""The store that the settings name: in a directory of this machine or, by its URL, in a database for several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from po_jupyter.errors import StoreUnusable
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.protocol import Store

if TYPE_CHECKING:
    from po_jupyter.store.postgres.store import PostgresStore


def open_store(
    directory: Path, url: str | None, *, shards: int = 8, allow_network: bool = False, checked: bool = False
) -> Store:
    """The store at `url`, or without one in `directory`; the other arguments are for that, `checked` for both. Blocks.

    Raises InvalidInput for a URL that is none, StoreUnusable.
    """
    if url is None:
        return DiskStore(directory, shards=shards, allow_network=allow_network, checked=checked)
    return postgres_store()(url, checked=checked)


def postgres_store() -> type[PostgresStore]:
    """The class of stores in PostgreSQL. Raises StoreUnusable when its extra is not installed."""
    try:
        from po_jupyter.store.postgres.store import PostgresStore
    except ImportError as error:
        raise StoreUnusable(
            f"a store in PostgreSQL needs {error.name}, which is not installed",
            hint="pip install 'po_jupyter[postgres]'",
        ) from None
    return PostgresStore
