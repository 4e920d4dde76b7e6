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

from po_jupyter.engine.lifecycle.frame import Frame
from po_jupyter.engine.lifecycle.stages import Stage
from po_jupyter.engine.maps.definition import definition_hash
from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.engine.maps.row_code import MapRow, PromptRows, RowCode
from po_jupyter.engine.ports import ModelCalls
from po_jupyter.engine.prompts.row_origins import OriginRows, RowOrigin
from po_jupyter.engine.votes.voted_output import RunStages, VotedOutput
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.values.lazy_list import RepeatedList

_COMMON = 2  # rows that have to be compared for what all have in common


class VariantRows:
    """The code of rows that are asked about in turn by each of several codes. A `RowCode`."""

    def __init__(self, codes: Sequence[RowCode]) -> None:
        """`codes` are those of the variants, in their order."""
        self._codes = tuple(codes)
        first = self._codes[0]
        self.definition, self.stage, self.dependencies = first.definition, first.stage, first.dependencies
        self.definitions = tuple(dict.fromkeys(d for code in codes for d in code.definitions))
        self.scoring = first.scoring

    def _of(self, index: int) -> RowCode:
        return self._codes[index % len(self._codes)]

    def _in_list(self, row: MapRow) -> MapRow:
        """The row under its number in the list."""
        return row._replace(index=row.index // len(self._codes))

    def prepare(self, index: int, item: Any) -> MapRow:
        """See `RowCode`: templates see the number in the list."""
        return self._of(index).prepare(index // len(self._codes), item)._replace(index=index)

    def key(self, row: MapRow) -> str:
        """See `RowCode`."""
        return self._of(row.index).key(self._in_list(row))

    def stages(self, calls: ModelCalls, row: MapRow) -> dict[str, Stage]:
        """See `RowCode`."""
        return self._of(row.index).stages(calls, row)

    async def output(self, calls: ModelCalls, row: MapRow, frame: Frame, run: RunStages) -> VotedOutput:
        """See `RowCode`."""
        return await self._of(row.index).output(calls, row, frame, run)

    def stage_item(self, row: MapRow) -> Any:
        """See `RowCode`."""
        return self._of(row.index).stage_item(row)

    def finish(self, output: Any) -> Any:
        """See `RowCode`."""
        return self._codes[0].finish(output)

    def share(self, rows: Sequence[MapRow]) -> None:
        """See `RowCode`: the rows of each variant have their own in common."""
        for code in self._codes:
            own = [row for row in rows if self._of(row.index) is code]
            if len(own) >= _COMMON:
                code.share(own)


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
