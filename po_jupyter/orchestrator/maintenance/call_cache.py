"""The cache of model answers (G2), as the orchestrator maintains it: made once, kept in bounds, emptied when asked."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from po_jupyter.config import Settings
from po_jupyter.llm.calls.cache import owner_prefix
from po_jupyter.store.disk.call_cache import AnswerCache


class CacheSize(TypedDict):
    """How many answers, and how many bytes they take."""

    answers: int
    bytes: int


def directory(data_dir: Path) -> Path:
    """Where the cache of a data directory is."""
    return data_dir / "cache"


def cache_of(settings: Settings) -> AnswerCache | None:
    """The cache; None when the settings say that there is none."""
    if not settings.cache_max_bytes:
        return None
    return AnswerCache(
        directory(settings.data_dir), max_bytes=settings.cache_max_bytes, days=settings.cache_days
    )


def tend(settings: Settings) -> None:
    """Make the cache, so that no worker has to; delete what is too old or too much. Blocks."""
    cache = cache_of(settings)
    if cache is not None:
        cache.prepare()


def clear(settings: Settings, owner: str | None, *, dry_run: bool) -> CacheSize:
    """Forget the answers of `owner` (None: everybody's); how many. Blocks. `dry_run` only counts."""
    cache = AnswerCache(directory(settings.data_dir), max_bytes=0)
    prefix = "" if owner is None else owner_prefix(owner)
    answers, size = cache.measure(prefix)
    cache.close()
    if not dry_run:
        answers = cache.clear(prefix)
    return {"answers": answers, "bytes": size}
