"""Idempotency keys: which run each has made, or will make."""

from __future__ import annotations

from hashlib import sha256

from po_jupyter.errors import Conflict
from po_jupyter.store.keyed.shard import Shard
from po_jupyter.store.protocol import NewRun


def key_of(owner: str, key: str) -> str:
    """The key of the row of an idempotency key."""
    return "i/" + sha256(f"{owner}\0{key}".encode()).hexdigest()


def reserve(shard: Shard, *, new: NewRun, key: str) -> str:
    """The run that the idempotency key means; from now on `new.run` when it meant none."""
    reservation = shard.read(key)
    if reservation is None:
        shard.write(key, {"run": new.run, "request_hash": new.request_hash})
        return new.run
    if reservation["request_hash"] != new.request_hash:
        raise Conflict(
            f"the idempotency key {new.idempotency_key!r:.80} was used for another request: run {reservation['run']}",
            hint="Use a new key for a new request; the same key only repeats the very same one.",
        )
    return str(reservation["run"])
