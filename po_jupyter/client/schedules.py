"""Schedules for code without an event loop: pipelines that run by the clock."""

from __future__ import annotations

import glob
import os
import sys
from typing import Any, Literal

from po_jupyter.client.blocking import Blocking
from po_jupyter.client.http.payloads import ScheduleJson
from po_jupyter.client.inputs.control_bodies import BudgetInput, budget_body
from po_jupyter.client.inputs.pipelines import has_code
from po_jupyter.client.inputs.seeds import seed_of
from po_jupyter.errors import InvalidInput
from po_jupyter.model.run.view import RunView


class ClientSchedules:
    """The schedules of an orchestrator; `client.schedules`. Each method raises NotFound for a schedule that is none."""

    def __init__(self, client: Blocking) -> None:
        """Asks nothing yet."""
        self._client = client

    def list(self) -> list[ScheduleJson]:
        """Mine, the oldest first: `{id, pipeline, cron, timezone, state, reason, next_at, last, ...}`."""
        return self._client.call(self._client.aio.schedules.list())

    def get(self, schedule: str) -> ScheduleJson:
        """One, with its `seed` and the `outcomes` of its last slots, the newest first."""
        return self._client.call(self._client.aio.schedules.get(schedule))

    def add(
        self,
        pipeline: str,
        cron: str,
        *,
        timezone: str = "UTC",
        seed: Any = None,
        files: str | os.PathLike[str] | None = None,
        only_new: bool = False,
        sql: str | None = None,
        db: str | None = None,
        new_by: str | None = None,
        budget: BudgetInput | None = None,
        model: str | None = None,
        missed: Literal["skip", "last", "all"] = "last",
        overlap: Literal["skip", "queue"] = "skip",
    ) -> ScheduleJson:
        """Have the registered `pipeline` run by the clock: `cron` has five fields, in the time zone `timezone`.

        `seed` is the data of every run, or `files` a path or pattern that is read anew for each, with `only_new`
        only files that no run had; or `sql`, a query of the database whose URL is in a variable of the
        orchestrator's environment, `db="env:NAME"`, with `new_by` only rows whose value there no run reached.
        `missed` says what is made up for when nobody was up: the `last` slot, `all` (at most 100), or none
        (`skip`). `overlap`: a slot that comes while the run before goes on is passed over, or waits (`queue`).
        Python tasks run with this process's interpreter in this directory when the orchestrator is on this machine.
        Raises InvalidInput with every violation, NotFound, Forbidden.
        """
        if sum(source is not None for source in (seed, files, sql)) > 1:
            raise InvalidInput("a schedule has one of `seed`, `files` and `sql`")
        if (sql is None) != (db is None) or (new_by is not None and sql is None):
            raise InvalidInput("`sql` and `db` go together, and `new_by` goes with them")
        aio = self._client.aio
        source: dict[str, object] = {"data": seed_of({} if seed is None else seed, pipeline).data}
        if files is not None:
            path = _absolute(os.fspath(files)) if aio.endpoint.is_local else os.fspath(files)
            source = {"files": path, "only_new": only_new}
        elif sql is not None:
            source = {"sql": sql, "db": db, **({} if new_by is None else {"new_by": new_by})}
        if only_new and files is None:
            raise InvalidInput("`only_new` is for `files`")
        body: dict[str, object] = {
            "pipeline": pipeline, "cron": cron, "timezone": timezone, "seed": source, "budget": budget_body(budget),
            "model": model, "missed": missed, "overlap": overlap,
        }  # fmt: skip
        if aio.endpoint.is_local and has_code(self._client.call(aio.pipeline(pipeline))):
            body |= {"interpreter": sys.executable, "cwd": os.getcwd()}
        present = {name: value for name, value in body.items() if value is not None}
        return self._client.call(aio.schedules.add(present))

    def change(self, schedule: str, **fields: object) -> ScheduleJson:
        """Change `fields`, named as in PATCH schedules/{id}."""
        return self._client.call(self._client.aio.schedules.change(schedule, fields))

    def pause(self, schedule: str) -> ScheduleJson:
        """Have no slot run until it is resumed."""
        return self.change(schedule, paused=True)

    def resume(self, schedule: str) -> ScheduleJson:
        """Go on with the next slot; what came due meanwhile is not made up for."""
        return self.change(schedule, paused=False)

    def remove(self, schedule: str) -> None:
        """Forget it; its runs stay."""
        self._client.call(self._client.aio.schedules.remove(schedule))

    def start_run(self, schedule: str) -> RunView:
        """Start a run of it now, besides its slots. Conflict when it has no new file."""
        return self._client.call(self._client.aio.schedules.run(schedule))


def _absolute(files: str) -> str:
    """A path or pattern that begins at the root; the signs in this directory's own path are none of a pattern."""
    here = os.getcwd()
    return os.path.normpath(os.path.join(glob.escape(here) if glob.has_magic(files) else here, files))
