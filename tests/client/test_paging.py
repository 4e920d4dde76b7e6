from __future__ import annotations

import pytest

from po_jupyter.client.paging import CursorPage, collect_pages

RECORDS = list(range(10))


@pytest.mark.parametrize(
    ("page_size", "limit", "records", "sizes"),
    [
        (4, None, RECORDS, [4, 4, 4]),
        (4, 6, RECORDS[:6], [4, 2]),
        (4, 4, RECORDS[:4], [4]),
        (100, 50, RECORDS, [50]),
        (4, 0, [], []),
    ],
)
async def test_pages_are_asked_for_until_the_limit_or_the_end(
    page_size: int, limit: int | None, records: list[int], sizes: list[int]
) -> None:
    asked: list[int] = []

    async def fetch(cursor: str | None, size: int) -> CursorPage[int]:
        asked.append(size)
        start = int(cursor or 0)
        end = start + size
        return RECORDS[start:end], str(end) if end < len(RECORDS) else None

    assert await collect_pages(fetch, page_size, limit) == records
    assert asked == sizes


async def test_a_page_that_is_larger_than_asked_for_is_cut() -> None:
    async def fetch(cursor: str | None, size: int) -> CursorPage[int]:
        return RECORDS, "more"

    assert await collect_pages(fetch, 3, 5) == RECORDS[:5]
