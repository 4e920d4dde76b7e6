"""Samples of rows: the same ones for the same seed, also after the run has more rows."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from po_jupyter.client.async_client import AsyncClient
from po_jupyter.client.frames import row_cells
from po_jupyter.client.reviews.condition import RowCondition

_PAGE = 5000


async def matching_rows(aio: AsyncClient, run: str, task: str, condition: RowCondition | None) -> list[int]:
    """The numbers of the rows with an outcome for which the condition holds, in order. Raises InvalidInput."""
    indexes: list[int] = []
    columns: set[str] = set()
    cursor: str | None = None
    while True:
        rows, cursor = await aio.items(run, task, cursor=cursor, limit=_PAGE)
        for row in rows:
            if condition is None:
                indexes.append(row["index"])
                continue
            cells = {"index": row["index"], "output": row["output"], **row_cells(row)}
            columns.update(cells)
            if condition.holds(cells):
                indexes.append(row["index"])
        if cursor is None:
            break
    if condition is not None and columns:
        condition.check_names(columns)
    return indexes


def sample_of(indexes: Iterable[int], size: int | None, seed: int) -> list[int]:
    """At most `size` of the rows, in order. A row is in the sample by its own number and the seed, so that those of a
    smaller sample are in each larger one."""

    def place(index: int) -> bytes:
        return blake2b(f"{seed}/{index}".encode(), digest_size=16).digest()

    chosen = sorted(indexes, key=place)
    return sorted(chosen if size is None else chosen[:size])
