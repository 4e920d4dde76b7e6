"""Records of schedules: one document each, with what it is, how far it came and what became of its last slots."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal, NotRequired, TypedDict, cast

from po_jupyter.errors import CorruptRow, NotFound
from po_jupyter.model.values.json import JsonObject
from po_jupyter.store import documents
from po_jupyter.store.protocol import DocumentStore

KIND, FILES_KIND = "schedule", "schedule-file"
KEPT = 50  # outcomes of a schedule that are kept

MissedPolicy = Literal["skip", "last", "all"]
OverlapPolicy = Literal["skip", "queue"]


class SeedSource(TypedDict, total=False):
    """Where the seed of a slot comes from: `data` that stays the same, or `files`, a path or a pattern that is read at
    each slot; with `only_new` only files that no earlier slot had; or `sql`, a query of the database whose URL the
    variable `db` has (`env:NAME`), with `new_by` only rows whose value there is greater than any that a run had."""

    data: JsonObject
    files: str
    only_new: bool
    sql: str
    db: str
    new_by: str


class QueryMark(TypedDict):
    """How far the runs of a query came: the greatest `value` of the column `new_by`, and the one before it."""

    db: str
    new_by: str
    after: str | int | float | None
    value: str | int | float


class ScheduleRights(TypedDict):
    """The rights of whoever added the schedule or changed it last: `code:run` or not; by a scoped token, its id and
    when it expires (seconds since 1970)."""

    code_allowed: bool
    token: str | None
    expires_at: float | None


class SchedulePause(TypedDict):
    """Since when a schedule is paused and why. `by` is `person`, or `schedule` when it paused itself."""

    at: str
    reason: str
    by: Literal["person", "schedule"]


class WaitingSlot(TypedDict):
    """A slot that came due and is not settled. A `late` one was missed, and all that were are made up
    for: it waits for the run before it to end."""

    slot: str
    late: bool


class SlotOutcome(TypedDict):
    """What became of a slot: a `run`; nobody was up (`missed`, `count` slots up to this one); the run before it was
    still going (`overlap`); it was `refused`; there was `nothing` new to run on."""

    slot: str
    at: str
    outcome: Literal["run", "missed", "overlap", "refused", "nothing"]
    run: NotRequired[str]
    note: NotRequired[str]
    count: NotRequired[int]


class ScheduleRecord(TypedDict):
    """The document of a schedule. Times are ISO 8601 in UTC. Slots up to `position` are settled, or in `waiting`."""

    id: str
    owner: str
    pipeline: str
    cron: str
    timezone: str
    seed: SeedSource
    budget: JsonObject | None
    model: str | None
    interpreter: str | None
    cwd: str | None
    missed: MissedPolicy
    overlap: OverlapPolicy
    rights: ScheduleRights
    created_at: str
    updated_at: str
    paused: SchedulePause | None
    position: str
    waiting: list[WaitingSlot]
    outcomes: list[SlotOutcome]
    last_run: str | None
    mark: NotRequired[QueryMark]
    trouble: NotRequired[str | None]  # why a slot that is due waits: its database is away


class SlotFile(TypedDict):
    """A file by its `name`, and the slot that had it; while it is `pending` only if there is a run of that slot."""

    name: str
    slot: str
    pending: NotRequired[bool]


class ScheduleStore:
    """The documents of schedules, by owner and id. Every method blocks: call them in a thread."""

    def __init__(self, store: DocumentStore) -> None:
        """Reads and writes documents of `store`."""
        self._store = store

    def keys(self) -> list[str]:
        """`OWNER/ID` of every schedule."""
        return self._store.names(KIND)

    def read(self, key: str) -> ScheduleRecord | None:
        """The schedule `OWNER/ID`; None when it is gone. CorruptRow."""
        return cast("ScheduleRecord | None", self._store.get(KIND, key))

    def get(self, schedule: str, owner: str) -> ScheduleRecord:
        """A schedule of an owner. NotFound."""
        record = self.read(key_of(owner, schedule))
        if record is None:
            raise NotFound(f"there is no schedule {schedule!r:.40}", hint="`po schedule list` lists yours.")
        return record

    def of(self, owner: str) -> list[ScheduleRecord]:
        """The schedules of an owner that can be read, the oldest first."""
        records = []
        for key in self.keys():
            if key.startswith(documents.room_of(owner)):
                with suppress(CorruptRow):
                    if (record := self.read(key)) is not None:
                        records.append(record)
        return sorted(records, key=lambda record: (record["created_at"], record["id"]))

    def add(self, record: ScheduleRecord) -> None:
        """Keep a new one."""
        self._store.put(KIND, key_of(record["owner"], record["id"]), record)

    def change(self, key: str, change: Callable[[ScheduleRecord], ScheduleRecord]) -> ScheduleRecord | None:
        """Replace the schedule by `change(record)`, by compare and swap; None when it is gone. Conflict."""

        def changed(document: object) -> object:
            return None if document is None else change(cast("ScheduleRecord", document))

        return cast(
            "ScheduleRecord | None", documents.update(self._store, KIND, key, changed, subject="the schedule")
        )

    def remove(self, schedule: str, owner: str) -> None:
        """Forget a schedule, and the files that it had; its runs stay. NotFound."""
        key = key_of(owner, schedule)
        if not self._store.drop(KIND, key):
            raise NotFound(f"there is no schedule {schedule!r:.40}", hint="`po schedule list` lists yours.")
        for name in self._store.names(FILES_KIND):
            if name.startswith(f"{key}/"):
                self._store.drop(FILES_KIND, name)

    def file(self, key: str, file: str) -> SlotFile | None:
        """What is kept of a file, by the digest of its name and content; None: no slot of the schedule had it."""
        return cast("SlotFile | None", self._store.get(FILES_KIND, f"{key}/{file}"))

    def keep_file(self, key: str, file: str, kept: SlotFile) -> None:
        """Remember that a slot had this file."""
        self._store.put(FILES_KIND, f"{key}/{file}", kept)


def new_schedule_id() -> str:
    """The id of a new schedule."""
    return secrets.token_hex(4)


def key_of(owner: str, schedule: str) -> str:
    """The name of a schedule's document."""
    return f"{documents.room_of(owner)}{schedule}"


def iso(moment: datetime) -> str:
    """A moment as records have it, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(text: str) -> datetime:
    """The moment of a record's time."""
    return datetime.fromisoformat(text)


def with_outcome(record: ScheduleRecord, outcome: SlotOutcome) -> ScheduleRecord:
    """The record with one outcome more."""
    return {
        **record,
        "outcomes": [*record["outcomes"], outcome][-KEPT:],
        "last_run": outcome.get("run") or record["last_run"],
    }


def with_mark(record: ScheduleRecord, mark: QueryMark | None) -> ScheduleRecord:
    """The record with the mark of a run, unless another run moved it further."""
    current = record.get("mark")
    if mark is None or (None if current is None else current["value"]) != mark["after"]:
        return record
    return {**record, "mark": mark}


def paused(record: ScheduleRecord, pause: SchedulePause) -> ScheduleRecord:
    """The record of a paused schedule: what waited does not run any more."""
    return {**record, "paused": pause, "waiting": [], "updated_at": pause["at"]}
