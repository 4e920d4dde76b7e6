"""An answer of the cache of calls, as each kind of store keeps it: for copies from one to the other."""

from __future__ import annotations

from typing import NamedTuple


class PackedAnswer(NamedTuple):
    """`at` is in seconds since 1970; `body` is JSON as `store.json_codec` packs it."""

    key: str
    at: float
    body: bytes
