"""Rows of a map that has several prompts, each row with one of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from po_jupyter.engine.lifecycle.frame import Frame
from po_jupyter.engine.lifecycle.stages import Stage
from po_jupyter.engine.maps.row_code import MapRow, RowCode
from po_jupyter.engine.ports import ModelCalls
from po_jupyter.engine.votes.learned_cascade import LearnedCascade
from po_jupyter.engine.votes.voted_output import RunStages, VotedOutput

_COMMON = 2  # rows that have to be compared for what all have in common


class MixedRows(ABC):
    """The code of rows that do not all have the same. A `RowCode`; the first of `codes` stands for all in views."""

    def __init__(self, codes: Sequence[RowCode]) -> None:
        """`codes` are those that rows have."""
        self._codes = tuple(codes)
        first = self._codes[0]
        self.definition, self.stage, self.dependencies = first.definition, first.stage, first.dependencies
        self.definitions = first.definitions
        self.scoring = first.scoring
        self.learned: LearnedCascade | None = None

    @abstractmethod
    def _of(self, index: int) -> RowCode:
        """The code of a row."""

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
        return self._codes[0].finish(output)

    def share(self, rows: Sequence[MapRow]) -> None:
        """See `RowCode`: the rows of each code have their own in common."""
        for code in self._codes:
            own = [row for row in rows if self._of(row.index) is code]
            if len(own) >= _COMMON:
                code.share(own)


class CombiningRows(MixedRows):
    """The code of rows of groups: some are asked about with the prompt that combines the answers for parts of one."""

    def __init__(self, plain: RowCode, combining: RowCode, combines: Callable[[int], bool]) -> None:
        """`combines` says of the number of a row whether it is asked about with the other prompt."""
        super().__init__((plain, combining))
        self._combines = combines

    def _of(self, index: int) -> RowCode:
        return self._codes[self._combines(index)]
