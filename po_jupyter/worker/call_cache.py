"""The cache of calls as a worker opens it: where it is, and whether the settings want one (G2)."""

from __future__ import annotations

from pathlib import Path

from po_jupyter.config import Settings
from po_jupyter.store.disk.call_cache import AnswerCache


def cache_directory(data_dir: Path) -> Path:
    """The directory of the cache of a data directory."""
    return data_dir / "cache"


def open_call_cache(settings: Settings) -> AnswerCache | None:
    """The cache; None when the settings say that there is none."""
    if not settings.cache_max_bytes:
        return None
    return AnswerCache(
        cache_directory(settings.data_dir), max_bytes=settings.cache_max_bytes, days=settings.cache_days
    )
