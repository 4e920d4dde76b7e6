"""The cache of calls as a worker opens it: where it is, and whether the settings want one (G2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from po_jupyter.config import Settings
from po_jupyter.llm.calls.answer_queue import AnswerStore
from po_jupyter.store.disk.call_cache import AnswerCache
from po_jupyter.store.packed_answer import PackedAnswer


def cache_directory(data_dir: Path) -> Path:
    """The directory of the cache of a data directory."""
    return data_dir / "cache"


class KeptAnswers(AnswerStore, Protocol):
    """The storage of the cache, with what keeps it in bounds."""

    def prepare(self) -> None:
        """Make it when it is not there; delete what is too old or too much."""

    def clear(self, prefix: str = "") -> int:
        """Delete every answer whose key begins with `prefix`; their number."""
        ...

    def pages(self) -> Iterator[list[PackedAnswer]]:
        """All answers, in pages, the oldest first. Raises StoreUnusable."""
        ...

    def add(self, rows: Sequence[PackedAnswer]) -> None:
        """Put answers of another cache; those that are here stay. Raises StoreUnusable."""

    def measure(self, prefix: str = "") -> tuple[int, int]:
        """The number of answers whose key begins with `prefix`, and their bytes."""
        ...


def open_call_cache(settings: Settings, store: str | None = None) -> KeptAnswers | None:
    """The cache, in the database of the URL `store` for all who share it; None when the settings say that there is
    none."""
    return open_kept_answers(settings, store) if settings.cache_max_bytes else None


def open_kept_answers(settings: Settings, store: str | None) -> KeptAnswers:
    """The cache, whether or not it is used."""
    if store is not None:
        from po_jupyter.store.postgres.answers import PostgresAnswers

        return PostgresAnswers(store, max_bytes=settings.cache_max_bytes, days=settings.cache_days)
    return AnswerCache(
        cache_directory(settings.data_dir), max_bytes=settings.cache_max_bytes, days=settings.cache_days
    )
