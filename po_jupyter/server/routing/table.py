"""What a line of the table of routes is, and how a path finds its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel

from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.server.routing.request import Receive, Run
from po_jupyter.server.routing.shapes import Query

PREFIX = "po/api/v1"


@dataclass(frozen=True)
class Route:
    """One line of the table. `scopes` are all needed; `asks_code`: `code:run` is asked for, not needed.

    `receive` says where the bytes of a body go that is no JSON and never held as a whole.
    """

    method: str
    path: str
    scopes: tuple[str, ...]
    run: Run
    query: type[BaseModel] = Query
    body: type[BaseModel] | None = None
    success: int = 200
    streams: bool = False
    media: str = "application/json"  # of the answer
    changes: bool | None = None  # something durable, so that the audit log tells of it; None: all but GET do
    needs_orchestrator: bool = True
    asks_code: bool = False
    receive: Receive | None = None

    @property
    def audited(self) -> bool:
        """Whether a call of it is a line of the audit log, as an action with the function's name."""
        return self.changes if self.changes is not None else self.method != "GET"

    @property
    def summary(self) -> str:
        """The first line of what the function says about itself."""
        return (self.run.__doc__ or "").strip().splitlines()[0]


@dataclass(frozen=True)
class Table:
    """Routes, and how a path finds its own."""

    routes: Sequence[Route]
    _patterns: list[tuple[re.Pattern[str], Route]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        patterns = [(_pattern(route.path), route) for route in self.routes]
        object.__setattr__(self, "_patterns", patterns)

    def match(self, method: str, path: str) -> tuple[Route, dict[str, str]] | list[str]:
        """The route and its path's parts; else the methods that this path has ([] for an unknown path)."""
        others: list[str] = []
        for pattern, route in self._patterns:
            found = pattern.fullmatch(path)
            if found is None:
                continue
            if route.method == method:
                return route, found.groupdict()
            others.append(route.method)
        return others

    def suggest(self, path: str) -> str:
        """`; did you mean ...?`, or nothing."""
        return did_you_mean(path, [route.path for route in self.routes])


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", path)  # text, name, text, name, ...
    steps = {"path": "."}  # the name of a file may have directories
    return re.compile(
        "".join(
            f"(?P<{part}>{steps.get(part, '[^/]')}{{1,200}})" if i % 2 else re.escape(part)
            for i, part in enumerate(parts)
        )
    )
