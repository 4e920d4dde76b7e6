"""Digests as names: of owners, definitions, requests."""

from __future__ import annotations

from hashlib import sha256


def short_digest(content: str | bytes, length: int = 32) -> str:
    """The first `length` hex digits of the SHA-256; text as UTF-8, half a surrogate pair included."""
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    return sha256(data).hexdigest()[:length]
