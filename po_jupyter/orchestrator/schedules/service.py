"""Schedules as people ask for them: added, listed, changed, paused, removed, run now. Durable when a method returns."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import TypedDict, cast

from po_jupyter.config import Settings
from po_jupyter.errors import Conflict, CorruptRow, InvalidInput, NotFound, Violation
from po_jupyter.model.run.events import now as now_text
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.environment.permission import check_may_run
from po_jupyter.orchestrator.schedules.due import next_slot
from po_jupyter.orchestrator.schedules.records import (
    SchedulePause,
    ScheduleRecord,
    ScheduleRights,
    ScheduleStore,
    SeedSource,
    SlotOutcome,
    iso,
    key_of,
    moment_of,
    new_schedule_id,
    paused,
    with_mark,
    with_outcome,
)
from po_jupyter.orchestrator.schedules.runner import SlotRun, SlotRunner, submission_body
from po_jupyter.orchestrator.schedules.scheduler import utc_now
from po_jupyter.orchestrator.schedules.seed_files import SeedFiles
from po_jupyter.orchestrator.schedules.sql_rows import check_sql
from po_jupyter.orchestrator.schedules.timetable import Timetable
from po_jupyter.orchestrator.submission.pipelines import PipelineRegistry
from po_jupyter.orchestrator.submission.planner import RunPlanner
from po_jupyter.orchestrator.submission.request import check_task_budgets, read_submission
from po_jupyter.orchestrator.threads import OwnerThreads, ToThread
from po_jupyter.store.protocol import Store

_LARGEST = 1_000_000  # bytes of a seed that is kept with its schedule
MOST = 1000  # schedules of one owner
_FIELDS = (
    "pipeline", "cron", "timezone", "seed", "budget", "model", "interpreter", "cwd", "missed", "overlap",
)  # fmt: skip


class ScheduleBrief(TypedDict):
    """A schedule in a list. `state` is `active` or `paused`, then with its `reason`, or that of a slot
    that waits; `next_at` is None while it is
    paused. `last` is what became of its last slot, with `state`, that of its run. `waiting` slots came due and wait for
    the run before them."""

    id: str
    pipeline: str
    cron: str
    timezone: str
    missed: str
    overlap: str
    state: str
    reason: str | None
    next_at: str | None
    waiting: int
    last: JsonObject | None
    created_at: str


class Schedules:
    """The schedules of one store, for callers on the orchestrator's loop. Somebody else's schedule is NotFound."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        schedules: ScheduleStore,
        runner: SlotRunner,
        registry: PipelineRegistry,
        planner: RunPlanner,
        *,
        started: Callable[[SlotRun], Awaitable[None]],
        to_thread: ToThread,
        changing: OwnerThreads,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """What checks pipelines works in threads of `changing`; `started` has the run of a slot worked off."""
        self._settings = settings
        self._store = store
        self._schedules = schedules
        self._runner = runner
        self._registry = registry
        self._planner = planner
        self._files = SeedFiles(settings)
        self._started = started
        self._changing = changing
        self._to_thread = to_thread
        self._clock = clock

    async def summaries(self, *, owner: str) -> list[ScheduleBrief]:
        """The schedules of an owner, the oldest first."""
        return await self._to_thread(self._summaries, owner)

    async def get(self, schedule: str, *, owner: str) -> JsonObject:
        """A schedule as lists have it, with `seed`, `budget`, `model` and its last `outcomes`, the newest first.
        NotFound."""
        return await self._to_thread(self._get, schedule, owner)

    async def add(self, body: Mapping[str, object], *, owner: str, rights: ScheduleRights) -> JsonObject:
        """A new schedule of a `POST schedules` body. InvalidInput with every violation, NotFound (the pipeline),
        Forbidden, Conflict."""
        return await self._changing.of(owner)(self._add, body, owner, rights)

    async def replace(
        self, schedule: str, body: Mapping[str, object], *, owner: str, rights: ScheduleRights
    ) -> JsonObject:
        """Change what a schedule is; what became of its slots stays. Raises as `add`."""
        return await self._changing.of(owner)(self._replace, schedule, {**_DEFAULTS, **body}, owner, rights)

    async def change(
        self, schedule: str, body: Mapping[str, object], *, owner: str, rights: ScheduleRights
    ) -> JsonObject:
        """Change the fields that `body` has; `paused` pauses it, or lets it go on with the next slot. Raises as
        `add`."""
        return await self._changing.of(owner)(self._replace, schedule, body, owner, rights)

    async def remove(self, schedule: str, *, owner: str) -> None:
        """Forget a schedule; its runs stay. NotFound."""
        await self._to_thread(self._schedules.remove, schedule, owner)

    async def run(self, schedule: str, *, owner: str, rights: ScheduleRights) -> str:
        """Start a run of a schedule now, besides its slots; its id. Raises as a submission; Conflict when it has no new
        file."""
        run = await self._changing.of(owner)(self._run, schedule, owner, rights)
        await self._started(run)
        return run.head["run"]

    async def pause_of_token(self, token: str, *, owner: str) -> None:
        """Pause every schedule that was added with a token which is being revoked."""
        await self._to_thread(self._pause_of_token, token, owner)

    # -- in threads -----------------------------------------------------------------------------

    def _summaries(self, owner: str) -> list[ScheduleBrief]:
        return [self._brief(record) for record in self._schedules.of(owner)]

    def _get(self, schedule: str, owner: str) -> JsonObject:
        return self._view(self._schedules.get(schedule, owner))

    def _add(self, body: Mapping[str, object], owner: str, rights: ScheduleRights) -> JsonObject:
        if len(self._schedules.of(owner)) >= MOST:
            raise Conflict(f"there are {MOST} schedules already", hint="Remove some: po schedule remove ID")
        fields = self._checked({**_DEFAULTS, **body}, owner, rights)
        record = cast("ScheduleRecord", {
            **fields, "id": new_schedule_id(), "created_at": fields["updated_at"], "paused": None,
            "position": iso(self._clock()), "waiting": [], "outcomes": [], "last_run": None,
        })  # fmt: skip
        self._schedules.add(record)
        return self._view(record)

    def _replace(
        self, schedule: str, body: Mapping[str, object], owner: str, rights: ScheduleRights
    ) -> JsonObject:
        record = self._schedules.get(schedule, owner)
        pause = body.get("paused")
        fields = {name: body[name] for name in _FIELDS if name in body}
        changes: Mapping[str, object] = {}
        # Who lets it run answers for it from now on; to stop it takes no right to run it.
        if fields or pause is False:
            current = {name: value for name, value in record.items() if name in _FIELDS}
            changes = self._checked({**current, **fields}, owner, rights)
            _check_mark(record, cast("SeedSource", changes["seed"]))
        at = self._clock()
        changed = self._schedules.change(
            key_of(owner, schedule), partial(_changed, changes=changes, pause=pause, at=at)
        )
        if changed is None:
            raise NotFound(f"there is no schedule {schedule!r:.40}")
        return self._view(changed)

    def _run(self, schedule: str, owner: str, rights: ScheduleRights) -> SlotRun:
        record = self._schedules.get(schedule, owner)
        record = {**record, "rights": rights}
        at = self._clock()
        # Of nobody else: two that are asked for in one second are two.
        run = self._runner.create(record, f"{iso(at)}+{secrets.token_hex(4)}", by_hand=True)
        if run is None:
            noun = "row" if "sql" in record["seed"] else "file"
            raise Conflict(f"there is no new {noun}", hint="Runs of the schedule had all that there are.")
        outcome: SlotOutcome = {
            "slot": iso(at), "at": iso(at), "outcome": "run", "run": run.head["run"], "note": "asked for by hand",
        }  # fmt: skip
        self._schedules.change(
            key_of(owner, schedule), lambda before: with_mark(with_outcome(before, outcome), run.mark)
        )
        return run

    def _pause_of_token(self, token: str, owner: str) -> None:
        pause: SchedulePause = {
            "at": iso(self._clock()), "by": "schedule",
            "reason": f"the token {token} that it was added with was revoked",
        }  # fmt: skip
        for record in self._schedules.of(owner):
            if record["rights"]["token"] == token and record["paused"] is None:
                self._schedules.change(key_of(owner, record["id"]), partial(paused, pause=pause))

    # -- checking -------------------------------------------------------------------------------

    def _checked(self, fields: Mapping[str, object], owner: str, rights: ScheduleRights) -> JsonObject:
        """The fields of a record that are the schedule itself. Raises as `add`."""
        Timetable(str(fields["cron"]), str(fields["timezone"]))
        seed = _seed_source(cast(JsonObject, fields["seed"]))
        checked = {
            **{name: fields[name] for name in _FIELDS}, "seed": seed, "owner": owner, "rights": rights,
            "updated_at": now_text(),
        }  # fmt: skip
        record = cast("ScheduleRecord", {**checked, "id": ""})
        code_allowed = rights["code_allowed"]
        body = submission_body(record, "", seed.get("data", {}))
        submission = read_submission(body, code_allowed=code_allowed)
        pipeline = self._registry.pipeline(record["pipeline"], owner)
        if "data" not in seed:
            if "files" in seed:
                self._files.check(seed["files"], code_allowed=code_allowed)
            else:
                check_sql(seed, code_allowed=code_allowed)
            check_may_run(
                pipeline, self._settings, code_allowed=code_allowed, model=submission.options.model,
                interpreter=submission.interpreter, cwd=submission.cwd,
            )  # fmt: skip
            check_task_budgets(submission.budget, pipeline)
        else:
            self._planner.check(submission, owner, code_allowed=code_allowed)
        return checked

    # -- views ----------------------------------------------------------------------------------

    def _brief(self, record: ScheduleRecord) -> ScheduleBrief:
        pause = record["paused"]
        return {
            "id": record["id"], "pipeline": record["pipeline"], "cron": record["cron"],
            "timezone": record["timezone"], "missed": record["missed"], "overlap": record["overlap"],
            "state": "active" if pause is None else "paused",
            "reason": record.get("trouble") if pause is None else pause["reason"],
            "next_at": self._next_at(record), "waiting": len(record["waiting"]),
            "last": self._last(record), "created_at": record["created_at"],
        }  # fmt: skip

    def _next_at(self, record: ScheduleRecord) -> str | None:
        try:
            slot = next_slot(record, self._clock())
        except InvalidInput:  # it pauses itself for that
            return None
        return None if slot is None else iso(slot)

    def _last(self, record: ScheduleRecord) -> JsonObject | None:
        if not record["outcomes"]:
            return None
        outcome = record["outcomes"][-1]
        state = None
        if "run" in outcome:
            try:
                state = self._store.head(outcome["run"])["state"]
            except NotFound:
                state = "deleted"
            except CorruptRow:
                state = "damaged"
        return {**outcome, "state": state}

    def _view(self, record: ScheduleRecord) -> JsonObject:
        return {
            **self._brief(record), "seed": record["seed"], "budget": record["budget"], "model": record["model"],
            "interpreter": record["interpreter"], "cwd": record["cwd"], "outcomes": record["outcomes"][::-1],
            "code_allowed": record["rights"]["code_allowed"], "updated_at": record["updated_at"],
        }  # fmt: skip


_DEFAULTS: Mapping[str, object] = {
    "timezone": "UTC", "seed": {"data": {}}, "budget": None, "model": None, "interpreter": None, "cwd": None,
    "missed": "last", "overlap": "skip",
}  # fmt: skip


def _changed(
    record: ScheduleRecord, *, changes: Mapping[str, object], pause: object, at: datetime
) -> ScheduleRecord:
    changed = cast("ScheduleRecord", {**record, **changes})
    if pause is True and record["paused"] is None:
        return paused(changed, {"at": iso(at), "reason": "paused by hand", "by": "person"})
    if pause is False and record["paused"] is not None:
        # What came due meanwhile is not made up for.
        return {**changed, "paused": None, "position": iso(at)}
    if record["paused"] is None and changes:
        # A new timetable has no slots in the past.
        return {**changed, "position": iso(max(at, moment_of(record["position"])))}
    return changed


def _check_mark(record: ScheduleRecord, seed: SeedSource) -> None:
    """Raises InvalidInput for another database or column than that of the mark, which means nothing there."""
    mark = record.get("mark")
    if mark is not None and "new_by" in seed and (mark["db"], mark["new_by"]) != (seed["db"], seed["new_by"]):
        problem = (
            "`db` and `new_by` stay what they are once a run had rows: remove the schedule and add another"
        )
        raise InvalidInput("the schedule cannot be used:", violations=[Violation("seed", problem)])


def _seed_source(seed: Mapping[str, object]) -> SeedSource:
    """The source of seeds that a body names. Raises InvalidInput."""
    problem = None
    sources = [name for name in ("data", "files", "sql") if name in seed]
    texts = [seed.get(name, "") for name in ("sql", "db", "new_by")]
    if set(seed) - {"data", "files", "only_new", "sql", "db", "new_by"} or len(sources) != 1:
        problem = (
            "it is {data: {...}}, {files: PATH, only_new: true}, or {sql: QUERY, db: env:NAME, new_by: COLUMN}"
        )
    elif ("sql" in seed) != ("db" in seed) or ("new_by" in seed and "sql" not in seed):
        problem = "`sql` and `db` go together, and `new_by` goes with them"
    elif not all(isinstance(text, str) for text in texts):
        problem = "`sql`, `db` and `new_by` are text"
    elif "data" in seed and not isinstance(seed["data"], dict):
        problem = "`data` is an object, such as {rows: [...]}"
    elif "files" not in seed and seed.get("only_new"):
        problem = "`only_new` is for files"
    elif "files" in seed and not isinstance(seed["files"], str):
        problem = "`files` is a path, or a pattern such as reports/*.csv"
    elif not isinstance(seed.get("only_new", False), bool):
        problem = "`only_new` is true or false"
    elif len(json.dumps(seed)) > _LARGEST:
        problem = f"it has more than {_LARGEST:,} bytes: put the rows into a file, and name that as `files`"
    if problem is not None:
        raise InvalidInput("the schedule cannot be used:", violations=[Violation("seed", problem)])
    return cast("SeedSource", dict(seed))
