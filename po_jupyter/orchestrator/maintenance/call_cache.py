"""The cache of model answers (G2), as the orchestrator maintains it: made once, kept in bounds, emptied when asked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TypedDict

from po_jupyter.config import Settings
from po_jupyter.llm.calls.cache import owner_prefix
from po_jupyter.worker.call_cache import KeptAnswers, open_call_cache, open_kept_answers


class CacheSize(TypedDict):
    """The number of answers, and the bytes that they take."""

    answers: int
    bytes: int


def tend(settings: Settings) -> None:
    """Make the cache, so that no worker has to; delete what is too old or too much. Blocks."""
    cache = open_call_cache(settings, _store_of(settings))
    if cache is not None:
        cache.prepare()


def clear(settings: Settings, owner: str | None, *, dry_run: bool) -> CacheSize:
    """Forget the answers of `owner` (None: everybody's); how many. Blocks. `dry_run` only counts."""
    cache = open_kept_answers(settings, _store_of(settings))
    prefix = "" if owner is None else owner_prefix(owner)
    answers, size = cache.measure(prefix)
    cache.close()
    if not dry_run:
        answers = cache.clear(prefix)
    return {"answers": answers, "bytes": size}


def copy_answers(source: KeptAnswers, target: KeptAnswers, on_progress: Callable[[str, int, int], None]) -> int:
    """Put the answers of a cache into another one, each with its age; how many. Blocks. Raises StoreUnusable."""
    done, (total, _) = 0, source.measure()
    with closing(source), closing(target):
        for page in source.pages():
            on_progress("answers", done, total)
            target.add(page)
            done += len(page)
    return done


def _store_of(settings: Settings) -> str | None:
    return settings.store.get_secret_value() if settings.store is not None else None
