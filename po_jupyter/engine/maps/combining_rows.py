"""Rows of a map that has two prompts: one for groups, and one that combines the answers for parts of a group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from po_jupyter.engine.lifecycle.frame import Frame
from po_jupyter.engine.lifecycle.stages import Stage
from po_jupyter.engine.maps.row_code import MapRow, RowCode
from po_jupyter.engine.ports import ModelCalls
from po_jupyter.engine.votes.voted_output import RunStages, VotedOutput


class CombiningRows:
    """The code of rows, for some of which another prompt is used. A `RowCode`."""

    def __init__(self, plain: RowCode, combining: RowCode, combines: Callable[[int], bool]) -> None:
        """`combines` says of the number of a row whether it is asked about with the other prompt."""
        self._plain, self._combining, self._combines = plain, combining, combines
        self.definition, self.stage, self.dependencies = plain.definition, plain.stage, plain.dependencies
        self.definitions = plain.definitions
        self.scoring = plain.scoring

    def _of(self, index: int) -> RowCode:
        return self._combining if self._combines(index) else self._plain

    def prepare(self, index: int, item: Any) -> MapRow:
        """See `RowCode`."""
        return self._of(index).prepare(index, item)

    def key(self, row: MapRow) -> str:
        """See `RowCode`."""
        return self._of(row.index).key(row)

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
        return self._plain.finish(output)

    def share(self, rows: Sequence[MapRow]) -> None:
        """See `RowCode`: the rows of each prompt have their own in common."""
        for code in (self._plain, self._combining):
            code.share([row for row in rows if self._of(row.index) is code])
