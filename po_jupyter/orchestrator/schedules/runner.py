"""The runner of slots: makes the run of each slot that came due, once, whatever dies on the way.

    position moved, slot in `waiting`  →  run created under the key of the slot  →  files marked  →  outcome written

The run is the commit: its idempotency key follows from schedule and slot, so that whoever comes to the slot again,
after a kill or in another process, finds it and only writes down what is left. Of a query with `new_by` the key follows
from the mark instead: of the rows behind it there is one run, whoever asks for it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from threading import Lock
from typing import NamedTuple

import structlog

from po_jupyter.errors import (
    CorruptRow,
    Forbidden,
    InvalidInput,
    NotFound,
    PoError,
    RateLimited,
    StoreError,
    Unavailable,
)
from po_jupyter.model.run.view import ENDED
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.schedules.due import next_slot, with_due_slots
from po_jupyter.orchestrator.schedules.records import (
    QueryMark,
    SchedulePause,
    ScheduleRecord,
    ScheduleStore,
    SlotFile,
    SlotOutcome,
    WaitingSlot,
    iso,
    key_of,
    moment_of,
    paused,
    with_mark,
    with_outcome,
)
from po_jupyter.orchestrator.schedules.seed_files import SeedFiles, SlotSeed, file_digest
from po_jupyter.orchestrator.schedules.sql_rows import DatabaseAway, mark_of, read_sql
from po_jupyter.orchestrator.submission.pipelines import PipelineRegistry
from po_jupyter.orchestrator.submission.planner import RunPlanner
from po_jupyter.orchestrator.submission.request import read_submission
from po_jupyter.platform.crashpoints import crashpoint
from po_jupyter.store.protocol import Head, NewRun, Store

log = structlog.get_logger(__name__)

_LATER = (StoreError, RateLimited, Unavailable)  # not the schedule's fault: the slot waits for the next look


class SlotRun(NamedTuple):
    """The run of a slot; `new` is None when it was there already. `mark`: where a query goes on behind it."""

    head: Head
    new: NewRun | None
    mark: QueryMark | None = None


class SlotReport(NamedTuple):
    """What one look at a schedule did: runs made, when it is due next, the run that a slot waits for; why it paused."""

    runs: list[SlotRun]
    next_at: datetime | None
    former: str | None
    paused: str | None


class _SettledSlot(NamedTuple):
    """What became of a slot, its run, and the reason to pause the schedule."""

    outcome: SlotOutcome
    run: SlotRun | None = None
    pause: str | None = None


class SlotRunner:
    """Settles slots. Every method blocks: call them in a thread."""

    def __init__(
        self,
        store: Store,
        schedules: ScheduleStore,
        registry: PipelineRegistry,
        planner: RunPlanner,
        files: SeedFiles,
    ) -> None:
        """Runs are planned by `planner` and created in `store`."""
        self._store = store
        self._schedules = schedules
        self._registry = registry
        self._planner = planner
        self._files = files
        self._locks: dict[str, Lock] = {}

    def advance(self, key: str, now: datetime) -> SlotReport | None:
        """Settle what of the schedule `OWNER/ID` is due; None when it is gone. Raises StoreError, RateLimited,
        Unavailable: what is not settled waits then."""
        try:
            record = self._schedules.change(key, lambda before: with_due_slots(before, now))
        except InvalidInput as error:  # the time zone is no more, or a newer version wrote it
            reason = _text(error)
            self._schedules.change(key, lambda before: paused(before, _own_pause(reason, now)))
            return SlotReport([], None, None, reason)
        crashpoint("schedule.due")
        runs: list[SlotRun] = []
        while record is not None and record["waiting"] and record["paused"] is None:
            slot = record["waiting"][0]
            try:
                if self._must_wait(record, slot):
                    return SlotReport(runs, next_slot(record, now), record["last_run"], None)
                settled = self._settle(record, slot, now)
            except _LATER as error:
                if isinstance(error, DatabaseAway):
                    self._schedules.change(key, partial(_held_up, reason=_text(error), now=now))
                if runs:  # they are told of first
                    return SlotReport(runs, now, None, None)
                raise
            if settled.run is not None:
                runs.append(settled.run)
            record = self._schedules.change(key, partial(_with_settled, settled=settled))
            crashpoint("schedule.settled")
            if settled.pause is not None:
                return SlotReport(runs, None, None, settled.pause)
        if record is None:
            return SlotReport(runs, None, None, None) if runs else None
        return SlotReport(runs, next_slot(record, now), None, None)

    # -- one slot -------------------------------------------------------------------------------

    def _must_wait(self, record: ScheduleRecord, slot: WaitingSlot) -> bool:
        """The run before the slot goes on, and the slot is one that waits for its end."""
        waits = slot["late"] or record["overlap"] == "queue"
        return waits and self._goes_on(record["last_run"]) and self._earlier(record, slot["slot"]) is None

    def _settle(self, record: ScheduleRecord, slot: WaitingSlot, now: datetime) -> _SettledSlot:
        outcome: SlotOutcome = {"slot": slot["slot"], "at": iso(now), "outcome": "run"}
        pause = None
        try:
            pause = self._refusal(record, now)
            if (
                pause is None
                and self._earlier(record, slot["slot"]) is None
                and self._goes_on(record["last_run"])
            ):
                note = f"run {record['last_run']} was still going, and the schedule says --overlap skip"
                return _SettledSlot({**outcome, "outcome": "overlap", "note": note})
            run = self.create(record, slot["slot"]) if pause is None else None
        except CorruptRow as error:  # it stays so: asking again helps nobody
            return _refused(outcome, _text(error))
        except DatabaseAway as error:
            if record["missed"] != "skip":
                raise
            return _SettledSlot({**outcome, "outcome": "missed", "note": f"{_text(error)}; --missed skip"})
        except _LATER:
            raise
        except PoError as error:
            return _refused(outcome, _text(error), pause=_text(error) if isinstance(error, Forbidden) else None)
        except Exception as error:
            log.exception("a slot failed", schedule=record["id"], slot=slot["slot"])
            return _refused(outcome, f"{type(error).__name__} in the orchestrator; its log says where")
        if pause is not None:
            return _refused(outcome, pause, pause=pause)
        if run is None:
            return _SettledSlot({**outcome, "outcome": "nothing", "note": f"there was no new {_noun(record)}"})
        return _SettledSlot({**outcome, "run": run.head["run"]}, run)

    def create(self, record: ScheduleRecord, slot: str, *, by_hand: bool = False) -> SlotRun | None:
        """The run of a slot, made now or before; None when there is nothing new. Raises as a submission does.

        `by_hand`: the slot is none of the timetable, so nobody comes to it again after a kill.
        """
        with self._locks.setdefault(record["id"], Lock()):  # two would have the same new files
            return self._create(record, slot, by_hand)

    def _create(self, record: ScheduleRecord, slot: str, by_hand: bool) -> SlotRun | None:
        owner, key = record["owner"], slot_key(record, slot)
        if (earlier := self._earlier(record, slot)) is not None:
            return self._made_before(record, slot, earlier)
        code_allowed = record["rights"]["code_allowed"]
        seed = self._seed(record, code_allowed)
        if seed is None:
            return None
        submission = read_submission(submission_body(record, slot, seed.data), code_allowed=code_allowed)
        new = self._planner.plan(submission, owner, code_allowed=code_allowed)
        # Whatever the files say by then, the slot is the same.
        new = new._replace(idempotency_key=key, request_hash=key)
        files = [(file.digest, file.name) for file in seed.files]
        if by_hand:
            self._mark(record, slot, files, pending=True)
        crashpoint("schedule.planned")
        head, fresh = self._store.create_run(new)
        crashpoint("schedule.created")
        if not fresh:
            return self._made_before(record, slot, head)
        self._mark(record, slot, files)
        return SlotRun(head, new._replace(run=head["run"]), mark_of(record["seed"], seed.data))

    def _seed(self, record: ScheduleRecord, code_allowed: bool) -> SlotSeed | None:
        source = record["seed"]
        if "sql" in source:
            return read_sql(source, record.get("mark"), code_allowed=code_allowed, most=self._files.most)
        mine = key_of(record["owner"], record["id"])
        return self._files.read(
            source, code_allowed=code_allowed, has_file=lambda file: self._had(record, mine, file)
        )

    def _had(self, record: ScheduleRecord, key: str, file: str) -> bool:
        kept = self._schedules.file(key, file)
        if kept is None or not kept.get("pending"):
            return kept is not None
        if self._earlier(record, kept["slot"]) is None:
            return False
        self._schedules.keep_file(key, file, {"name": kept["name"], "slot": kept["slot"]})  # runs are deleted
        return True

    def _made_before(self, record: ScheduleRecord, slot: str, head: Head) -> SlotRun:
        """The run that the slot has already, with the files that it had: by now there may be others."""
        if record["seed"].get("only_new"):
            self._mark(record, slot, _files_of(self._store.definition(head["run"])))
        if "new_by" in record["seed"]:
            data = self._store.definition(head["run"])["seed"].get("data", {})
            return SlotRun(head, None, mark_of(record["seed"], data))
        return SlotRun(head, None)

    def _mark(
        self, record: ScheduleRecord, slot: str, files: list[tuple[str, str]], *, pending: bool = False
    ) -> None:
        for digest, name in files:
            kept: SlotFile = {"name": name, "slot": slot}
            if pending:
                kept["pending"] = True
            self._schedules.keep_file(key_of(record["owner"], record["id"]), digest, kept)
            crashpoint("schedule.marked")

    def _earlier(self, record: ScheduleRecord, slot: str) -> Head | None:
        redeemed = self._store.redeemed(record["owner"], slot_key(record, slot))
        return None if redeemed is None else redeemed[0]

    def _goes_on(self, run: str | None) -> bool:
        try:
            return run is not None and self._store.head(run)["state"] not in ENDED
        except (NotFound, CorruptRow):  # deleted, or of no use to anybody
            return False

    def _refusal(self, record: ScheduleRecord, now: datetime) -> str | None:
        """The reason why the schedule does not run any more, of those that no later slot changes."""
        expires_at = record["rights"]["expires_at"]
        if expires_at is not None and now.timestamp() >= expires_at:
            return f"the token {record['rights']['token']} that it was added with has expired"
        try:
            self._registry.pipeline(record["pipeline"], record["owner"])
        except NotFound as error:
            return f"{error.message}: it was removed"
        return None


def slot_key(record: ScheduleRecord, slot: str) -> str:
    """The idempotency key of a slot's run."""
    if "new_by" in record["seed"]:
        mark = record.get("mark")
        place = [record["seed"]["db"], record["seed"]["new_by"], None if mark is None else mark["value"]]
        return f"schedule:{record['id']}:after:{hashlib.sha256(json.dumps(place).encode()).hexdigest()}"
    return f"schedule:{record['id']}:{slot}"


def submission_body(record: ScheduleRecord, slot: str, data: Mapping[str, object]) -> JsonObject:
    """The body of `POST runs` for a slot."""
    optional = {"budget": record["budget"], "interpreter": record["interpreter"], "cwd": record["cwd"]}
    return {
        "pipeline": record["pipeline"],
        "seed": {"name": f"{record['pipeline']} {slot}"[:100], "data": data},
        **{name: value for name, value in optional.items() if value is not None},
        **({"options": {"model": record["model"]}} if record["model"] is not None else {}),
    }


def _refused(outcome: SlotOutcome, note: str, *, pause: str | None = None) -> _SettledSlot:
    return _SettledSlot({**outcome, "outcome": "refused", "note": note}, pause=pause)


def _with_settled(record: ScheduleRecord, settled: _SettledSlot) -> ScheduleRecord:
    slot = settled.outcome["slot"]
    waiting = [entry for entry in record["waiting"] if entry["slot"] != slot]
    if len(waiting) == len(record["waiting"]) and any(o["slot"] == slot for o in record["outcomes"]):
        return record  # another process wrote it down
    done = with_outcome({**record, "waiting": waiting}, settled.outcome)
    if done.get("trouble") is not None:
        done = {**done, "trouble": None}
    if settled.run is not None:
        done = with_mark(done, settled.run.mark)
    if settled.pause is None:
        return done
    return paused(done, _own_pause(settled.pause, moment_of(settled.outcome["at"])))


def _held_up(record: ScheduleRecord, *, reason: str, now: datetime) -> ScheduleRecord:
    """The record of a schedule whose database is away: its slots wait, by `--missed last` only the last of them."""
    waiting = record["waiting"]
    if record["missed"] == "last" and len(waiting) > 1:
        outcome: SlotOutcome = {
            "slot": waiting[-2]["slot"], "at": iso(now), "outcome": "missed", "count": len(waiting) - 1,
            "note": f"{reason}; --missed last",
        }  # fmt: skip
        record = {**with_outcome(record, outcome), "waiting": waiting[-1:]}
    elif record["missed"] == "all" and not all(slot["late"] for slot in waiting):
        record = {**record, "waiting": [{"slot": slot["slot"], "late": True} for slot in waiting]}
    return record if record.get("trouble") == reason else {**record, "trouble": reason}


def _noun(record: ScheduleRecord) -> str:
    return "row" if "sql" in record["seed"] else "file"


def _own_pause(reason: str, now: datetime) -> SchedulePause:
    return {"at": iso(now), "reason": reason, "by": "schedule"}


def _files_of(definition: JsonObject) -> list[tuple[str, str]]:
    """The files that a run's seed was read from: (digest, name)."""
    listed = definition["seed"].get("data", {}).get("files", ())
    return [(file_digest(file["name"], file["sha256"]), file["name"]) for file in listed]


def _text(error: PoError) -> str:
    return error.message[:2000]
