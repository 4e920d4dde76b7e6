"""Documents: small named values, with a list of the names of each kind beside them."""

from __future__ import annotations

import re
from bisect import insort
from typing import Any

from po_jupyter.errors import InvalidInput
from po_jupyter.store.json_codec import decode, encode
from po_jupyter.store.keyed.shard import Shard

_KIND = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LONGEST_NAME = 500


def names_key(kind: str) -> str:
    """The key of the names of a kind. Raises InvalidInput for what cannot be a kind."""
    if not _KIND.fullmatch(kind):
        raise InvalidInput(f"{kind!r:.80} cannot be a kind of document: letters, digits, `.`, `_` and `-` only")
    return f"names/{kind}"


def key(kind: str, name: str) -> str:
    """The key of a document. Raises InvalidInput for what cannot be a name."""
    names_key(kind)
    if not 0 < len(name) <= LONGEST_NAME or "\0" in name or not _encodes(name):
        raise InvalidInput(
            f"{name!r:.80} cannot name a document: 1 to {LONGEST_NAME} characters of text, without NUL"
        )
    return f"d/{kind}/{name}"


def _encodes(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def put(shard: Shard, kind: str, name: str, value: Any | None) -> None:
    """Write the document; None removes it."""
    if value is None:
        drop(shard, kind, name)
        return
    document_key = key(kind, name)
    if shard.text(document_key) is None:
        names: list[str] = shard.read(names_key(kind)) or []
        if name not in names:
            insort(names, name)
            shard.write(names_key(kind), names)
    shard.write(document_key, value)


def drop(shard: Shard, kind: str, name: str) -> bool:
    """Remove the document; False when there was none."""
    if not shard.erase(key(kind, name)):
        return False
    names: list[str] = shard.read(names_key(kind)) or []
    if name in names:
        names.remove(name)
        shard.write(names_key(kind), names)
    return True


def swap(shard: Shard, kind: str, name: str, old: Any | None, new: Any | None) -> bool:
    """Write `new` (None: remove) when the document equals `old` (None: there is none)."""
    current = shard.read(key(kind, name))
    if current != (None if old is None else decode(encode(old))):
        return False
    put(shard, kind, name, new)
    return True
