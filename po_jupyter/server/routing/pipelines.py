"""The parts of an orchestrator that keep pipelines: registered ones, and those that run by the clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypedDict

JsonMapping = Mapping[str, object]


class CallerRights(TypedDict):
    """What whoever adds a schedule may do: `code:run` or not; by a scoped token, its id and when it expires (seconds
    since 1970)."""

    code_allowed: bool
    token: str | None
    expires_at: float | None


class PipelinesApi(Protocol):
    """Registered pipelines."""

    async def put(
        self, name: str, definition: object, *, owner: str, code_allowed: bool = True
    ) -> tuple[JsonMapping, bool]:
        """Register a definition; (as stored, was the name new). InvalidPipeline, Forbidden."""
        ...

    async def get(self, name: str, *, owner: str) -> JsonMapping:
        """A registered definition. NotFound."""
        ...

    async def summaries(self, *, owner: str) -> Sequence[JsonMapping]:
        """`{name, version, revision, updated_at, tasks}` of each."""
        ...

    async def delete(self, name: str, *, owner: str) -> None:
        """Forget it; runs keep their snapshots. NotFound."""


class SchedulesApi(Protocol):
    """Schedules. Somebody else's is NotFound. What lets one run raises as `SubmissionsApi.submit`."""

    async def summaries(self, *, owner: str) -> Sequence[JsonMapping]:
        """`{id, pipeline, cron, timezone, missed, overlap, state, reason, next_at, waiting, last, created_at}` of
        each."""
        ...

    async def get(self, schedule: str, *, owner: str) -> JsonMapping:
        """A schedule as in the list, with `seed`, `budget`, `model`, `outcomes`. NotFound."""
        ...

    async def add(self, body: JsonMapping, *, owner: str, rights: CallerRights) -> JsonMapping:
        """Keep a new one."""
        ...

    async def replace(
        self, schedule: str, body: JsonMapping, *, owner: str, rights: CallerRights
    ) -> JsonMapping:
        """Change what a schedule is. NotFound."""
        ...

    async def change(
        self, schedule: str, body: JsonMapping, *, owner: str, rights: CallerRights
    ) -> JsonMapping:
        """Change the fields that `body` has; `paused` pauses it or lets it go on. NotFound."""
        ...

    async def remove(self, schedule: str, *, owner: str) -> None:
        """Forget it; its runs stay. NotFound."""

    async def run(self, schedule: str, *, owner: str, rights: CallerRights) -> str:
        """Start a run of it now; its id. NotFound; Conflict when it has no new file."""
        ...

    async def pause_of_token(self, token: str, *, owner: str) -> None:
        """Pause what was added with a token."""
