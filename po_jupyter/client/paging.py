"""Paging: all records of a list that the orchestrator hands out page by page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

T = TypeVar("T")
CursorPage: TypeAlias = tuple[list[T], str | None]  # the records, and the cursor of the next page or None


async def collect_pages(
    fetch: Callable[[str | None, int], Awaitable[CursorPage[T]]], page_size: int, limit: int | None = None
) -> list[T]:
    """Every record, or the first `limit`; `fetch(cursor, size)` gets one page of at most `size` records."""
    records: list[T] = []
    cursor: str | None = None
    while limit is None or len(records) < limit:
        size = page_size if limit is None else min(page_size, limit - len(records))
        page, cursor = await fetch(cursor, size)
        records += page
        if cursor is None:
            break
    return records if limit is None else records[:limit]
