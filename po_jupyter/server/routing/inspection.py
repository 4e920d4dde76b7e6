"""The part of an orchestrator that pages about one run ask: rows, calls, course and cost, each bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from po_jupyter.model.run.comparing import VariantsOfTask

RowStateName = Literal["done", "failed", "running", "pending"]
RowSortName = Literal["index", "state", "attempts", "tokens", "cost_usd", "seconds", "output"]
CallStateName = Literal["done", "failed", "in_flight", "unknown", "withdrawn"]


class InspectionApi(Protocol):
    """A look into one run. NotFound for an unknown run, and for somebody else's."""

    async def rows(
        self,
        run_id: str,
        owner: str | None,
        task: str,
        *,
        start: int = 0,
        limit: int = 100,
        state: RowStateName | None = None,
        sort: RowSortName = "index",
        desc: bool = False,
        q: str = "",
        variant: str | None = None,
    ) -> Mapping[str, object]:
        """`{rows, total, matching, next, complete, notes, variants, scores}` of a map. InvalidInput."""
        ...

    async def row(self, run_id: str, owner: str | None, task: str, index: int) -> Mapping[str, object]:
        """One row of a map, whole."""
        ...

    async def compare(
        self,
        run_id: str,
        owner: str | None,
        other: str,
        task: str,
        *,
        everything: bool = False,
        start: int = 0,
        limit: int = 100,
        gold: str | None = None,
    ) -> Mapping[str, object]:
        """`{task, rows, summary, matching, next, complete, notes}` of a map in two runs. InvalidInput."""
        ...

    async def calls(
        self,
        run_id: str,
        owner: str | None,
        *,
        task: str | None = None,
        row: int | None = None,
        state: CallStateName | None = None,
        start: int = 0,
        limit: int = 100,
    ) -> Mapping[str, object]:
        """`{calls, total, next, notes}`."""
        ...

    async def call(self, run_id: str, owner: str | None, number: int) -> Mapping[str, object]:
        """One call, with messages and answer."""
        ...

    async def variants(self, run_id: str, owner: str | None, task: str) -> VariantsOfTask:
        """The variants of a map beside each other. InvalidInput."""
        ...

    async def provenance(
        self, run_id: str, owner: str | None, task: str, row: int | None = None
    ) -> Sequence[Mapping[str, object]]:
        """Where each row of a map with an outcome is from, or that row."""
        ...

    async def timeline(self, run_id: str, owner: str | None) -> Mapping[str, object]:
        """`{spans, cut, notes}`."""
        ...

    async def spending(self, run_id: str, owner: str | None) -> Mapping[str, object]:
        """`{points, total, by_task, by_model, budget, notes}`."""
        ...
