"""The lines of the table of routes, and how a path finds its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.server.routing.request import Action, BodyT, QueryT, UploadOpener
from po_jupyter.server.routing.shapes import Query

PREFIX = "po/api/v1"


@dataclass(frozen=True)
class Route(Generic[QueryT, BodyT]):
    """One line of the table.

    name        public: the action of its lines in the audit log, and its operationId in openapi.json
    scopes      all of them are needed
    success     the status of a success
    media       of the response
    changes     it changes something durable, so that the audit log has a line of it; None: all but GET do
    asks_code   `code:run` is asked for, not needed: the action is told whether it was given
    receive     opens what the bytes of a body go to that is no JSON and never in memory as a whole
    """

    name: str
    method: str
    path: str
    scopes: tuple[str, ...]
    action: Action[QueryT, BodyT]
    query: type[QueryT] = Query  # type: ignore[assignment]  # what an action without a query of its own takes
    body: type[BodyT] | None = None
    success: int = 200
    streams: bool = False
    media: str = "application/json"
    changes: bool | None = None
    needs_orchestrator: bool = True
    asks_code: bool = False
    receive: UploadOpener | None = None

    @property
    def audited(self) -> bool:
        """A success is a line of the audit log."""
        return self.changes if self.changes is not None else self.method != "GET"

    @property
    def summary(self) -> str:
        """The first line of the action's docstring."""
        return (self.action.__doc__ or "").strip().splitlines()[0]


AnyRoute = Route[Any, Any]


@dataclass(frozen=True)
class Table:
    """Routes, and how a path finds its own."""

    routes: Sequence[AnyRoute]
    _patterns: list[tuple[re.Pattern[str], AnyRoute]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Compile the paths."""
        patterns = [(_pattern(route.path), route) for route in self.routes]
        object.__setattr__(self, "_patterns", patterns)

    def match(self, method: str, path: str) -> tuple[AnyRoute, dict[str, str]] | list[str]:
        """The route and its path's parts; else the methods that this path has ([] for an unknown path)."""
        others: list[str] = []
        for pattern, route in self._patterns:
            matched = pattern.fullmatch(path)
            if matched is None:
                continue
            if route.method == method:
                return route, matched.groupdict()
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
