"""Files and batches at vendors, and whose they are: what is not in this table is nobody's."""

from __future__ import annotations

import json
import re
from typing import NamedTuple, TypedDict

from po_jupyter.hub.accounts.ledger import Ledger
from po_jupyter.hub.accounts.ledger_database import LedgerDatabase
from po_jupyter.hub.problems import not_found

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,200}")


class ObjectState(TypedDict, total=False):
    """What is known of a file or a batch.

    endpoint, demands   of an uploaded file: for which API it is, and by model its lines and the most that they take
    size                of an uploaded file: its bytes
    batch               of a file of results: the batch that made it
    counts              of a batch: lines by model
    settled             of a batch: what it used is in the ledger
    """

    endpoint: str
    demands: list[tuple[str, int, int, int, int | None]]
    size: int
    batch: str
    counts: dict[str, int]
    settled: bool


class OwnedObject(NamedTuple):
    """One file or batch (`kind`) and its owner."""

    id: str
    user: str
    kind: str
    state: ObjectState


class OwnedObjects:
    """The table of what belongs to whom at one vendor."""

    def __init__(self, ledger: Ledger, provider: str) -> None:
        """The table is in the ledger."""
        self._ledger = ledger
        self._provider = provider

    async def of(self, user: str, id: str, kind: str) -> OwnedObject:
        """A user's file or batch. Raises GatewayProblem: there is none, or it is another's, which looks alike."""
        found = await self.find(id) if _ID.fullmatch(id) else None  # what is none no database may be asked for
        if found is None or found.user != user or found.kind != kind:
            raise not_found(f"the {kind} {id!r:.80}")
        return found

    async def find(self, id: str) -> OwnedObject | None:
        """A file or a batch, whosever it is."""

        def read(database: LedgerDatabase) -> OwnedObject | None:
            rows = database.execute(
                "SELECT username, kind, state FROM objects WHERE provider = ? AND id = ?", (self._provider, id)
            )
            return _object(id, *rows[0]) if rows else None

        return await self._ledger.change(read)

    async def ids_of(self, user: str, kind: str) -> set[str]:
        """The names of a user's files or batches."""

        def read(database: LedgerDatabase) -> set[str]:
            rows = database.execute(
                "SELECT id FROM objects WHERE provider = ? AND username = ? AND kind = ?",
                (self._provider, user, kind),
            )
            return {str(row[0]) for row in rows}

        return await self._ledger.change(read)

    async def size_of(self, user: str, *, since: float = 0.0) -> int:
        """The bytes of a user's files that were uploaded since a time."""

        def read(database: LedgerDatabase) -> int:
            rows = database.execute(
                "SELECT state FROM objects WHERE provider = ? AND username = ? AND kind = 'file' AND at >= ?",
                (self._provider, user, since),
            )
            return sum(json.loads(str(row[0])).get("size", 0) for row in rows)

        return await self._ledger.change(read)

    async def keep(
        self, id: str, user: str, kind: str, state: ObjectState, now: float, *, token: str = ""
    ) -> None:
        """Keep whose a file or a batch is. `token` is under what name its reservations were made: they get its own."""

        def write(database: LedgerDatabase) -> None:
            database.execute(
                "INSERT INTO objects (provider, id, username, kind, at, state) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (provider, id) DO UPDATE SET state = excluded.state",
                (self._provider, id, user, kind, now, json.dumps(state)),
            )
            if token:
                database.execute(
                    "UPDATE reservations SET batch = ? WHERE batch = ?", (f"{self._provider}/{id}", token)
                )

        await self._ledger.change(write)

    async def forget(self, id: str) -> None:
        """Forget a file or a batch that was deleted."""
        await self._ledger.change(
            lambda database: database.execute(
                "DELETE FROM objects WHERE provider = ? AND id = ?", (self._provider, id)
            )
        )


def _object(id: str, user: object, kind: object, state: object) -> OwnedObject:
    return OwnedObject(id, str(user), str(kind), json.loads(str(state)))
