"""Schedules over HTTP: pipelines that run by the clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from po_jupyter.client.http.payloads import ScheduleJson
from po_jupyter.client.http.transport import Transport, path_segment
from po_jupyter.model.run.view import RunView


class AsyncSchedules:
    """The routes of schedules; `AsyncClient.schedules`. Each raises NotFound for a schedule that is none."""

    def __init__(self, transport: Transport) -> None:
        """Asks nothing yet."""
        self._transport = transport

    async def list(self) -> list[ScheduleJson]:
        """Mine, the oldest first, without seeds and outcomes."""
        return [*(await self._transport.json("GET", "schedules"))["schedules"]]

    async def get(self, schedule: str) -> ScheduleJson:
        """One, with its seed and what became of its last slots."""
        data = await self._transport.json("GET", f"schedules/{path_segment(schedule)}")
        return cast("ScheduleJson", data["schedule"])

    async def add(self, body: Mapping[str, object]) -> ScheduleJson:
        """A new one; `body` as in POST schedules. InvalidInput, Forbidden."""
        data = await self._transport.json("POST", "schedules", body=dict(body))
        return cast("ScheduleJson", data["schedule"])

    async def replace(self, schedule: str, body: Mapping[str, object]) -> ScheduleJson:
        """Another definition; what became of its slots stays."""
        path = f"schedules/{path_segment(schedule)}"
        data = await self._transport.json("PUT", path, body=dict(body), safe=True)
        return cast("ScheduleJson", data["schedule"])

    async def change(self, schedule: str, body: Mapping[str, object]) -> ScheduleJson:
        """Other fields of it; `paused` pauses it or lets it go on."""
        path = f"schedules/{path_segment(schedule)}"
        data = await self._transport.json("PATCH", path, body=dict(body), safe=True)
        return cast("ScheduleJson", data["schedule"])

    async def remove(self, schedule: str) -> None:
        """Forget it; its runs stay."""
        await self._transport.json("DELETE", f"schedules/{path_segment(schedule)}")

    async def run(self, schedule: str) -> RunView:
        """A run of it, now. Conflict when it has no new file."""
        data = await self._transport.json("POST", f"schedules/{path_segment(schedule)}/run", body={})
        return RunView.model_validate(data["run"])
