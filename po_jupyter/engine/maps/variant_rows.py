"""Rows of a map with variants: each row of the list is as many rows of the map, one after the other, one for each
variant.

What makes a map durable (a key, a journal, an outcome for each row) is then that of each row and variant. The key is
that of a map with the variant's prompt and model alone, so what such a map paid for is taken over, and likewise the
other way round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from po_jupyter.engine.maps.definition import definition_hash
from po_jupyter.engine.maps.mixed_rows import MixedRows
from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.engine.maps.row_code import MapRow, PromptRows, RowCode
from po_jupyter.engine.prompts.row_origins import OriginRows, RowOrigin
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.values.lazy_list import RepeatedList


class VariantRows(MixedRows):
    """The code of rows that are asked about in turn by each of several codes."""

    def __init__(self, codes: Sequence[RowCode]) -> None:
        """`codes` are those of the variants, in their order."""
        super().__init__(codes)
        self.definitions = tuple(dict.fromkeys(d for code in codes for d in code.definitions))

    def _of(self, index: int) -> RowCode:
        return self._codes[index % len(self._codes)]

    def prepare(self, index: int, item: Any) -> MapRow:
        """See `RowCode`: templates see the number in the list."""
        return self._of(index).prepare(index // len(self._codes), item)._replace(index=index)

    def key(self, row: MapRow) -> str:
        """See `RowCode`: that of the row of the list."""
        return self._of(row.index).key(row._replace(index=row.index // len(self._codes)))


def repeated_rows(rows: Sequence[Any], times: int, limit: int | None) -> Sequence[Any]:
    """The first `limit` rows of a list, each so many times, with where in the seed they are."""
    origin = rows.origin if isinstance(rows, OriginRows) else None
    if limit is not None and limit < len(rows):
        rows = rows[:limit]
    repeated = RepeatedList(rows, times)
    if origin is None:
        return repeated
    places = range(len(rows)) if origin.places is None else origin.places
    return OriginRows(repeated, RowOrigin(origin.path, RepeatedList(places[: len(rows)], times)))


async def load_variants(parts: MapParts, task: Task, code: RowCode) -> VariantRows:
    """The code of the variants of a task whose own is `code`. Raises TemplateFailed, StageFailed."""
    assert isinstance(code, PromptRows)
    codes: list[RowCode] = []
    for variant in task.variant_tasks:
        prompt = code.prompt.of_task(variant)
        await prompt.load()
        definition = await asyncio.to_thread(definition_hash, parts.inputs, variant)
        codes.append(code.with_prompt(prompt, definition))
    return VariantRows(codes)
