"""Changes of documents by compare and swap, for writers that may collide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from po_jupyter.errors import Conflict
from po_jupyter.store.protocol import DocumentStore

ORCHESTRATOR_LEASE = "lease", "orchestrator"  # kind and name of the document that says who has the workers
COPY_HOLDER = "copy-"  # begins the holder's name in the lease of a store that is copied
TRIES = 50  # each lost swap means that another writer got through


def room_of(owner: str) -> str:
    """How the names of an owner's documents begin. Groups of a hub may have slashes in their names, as `/team/a` has:
    nobody's room is a part of another one's."""
    return owner.replace("%", "%25").replace("/", "%2F") + "/"


def update(
    store: DocumentStore,
    kind: str,
    name: str,
    change: Callable[[Any | None], Any | None],
    *,
    subject: str = "a document",
    tries: int = TRIES,
) -> Any | None:
    """Write `change(document)` in the place of the document, and return it.

    The document is None when there is none; a change to None removes it. `change` is called again whenever another
    writer was quicker, so it must not change its argument. When it returns that very object nothing is written.
    Raises Conflict, naming `subject`, when `tries` were in vain. Blocks: call it in a thread.
    """
    for _ in range(tries):
        current = store.get(kind, name)
        changed = change(current)
        if changed is current or store.swap(kind, name, current, changed):
            return changed
    raise Conflict(f"{subject} is being written by too many at once", hint="Ask again.")


def is_copied(store: DocumentStore) -> bool:
    """True while the store is copied into another one, or was when that copy died: its lease lapses as any. Blocks."""
    lease = store.get(*ORCHESTRATOR_LEASE)
    return lease is not None and str(lease.get("holder", "")).startswith(COPY_HOLDER)
