"""URLs as people read them."""

from __future__ import annotations

from urllib.parse import urlsplit


def shown_url(url: str) -> str:
    """Scheme, host and path of a URL, without what may be secret in it (P10)."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    except ValueError:
        return "no URL"
