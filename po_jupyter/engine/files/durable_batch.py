"""`ctx.io.batch`: many small pieces of work inside one stage, each done once and recorded (B4).

Outcomes are rows of the run's own database. The key of a piece is its content (or what `key` makes of it) and a
number that counts pieces of that content: two equal rows are two pieces of work, and a row that moved keeps its
outcome.
"""

from __future__ import annotations

import inspect
import json
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from po_jupyter.engine.base.interrupts import Interrupt
from po_jupyter.engine.base.json_values import as_json
from po_jupyter.engine.base.shortage import shortage_of
from po_jupyter.engine.base.tracebacks import user_traceback
from po_jupyter.engine.files.run_database import keep_piece, piece
from po_jupyter.errors import BudgetExceeded, InvalidInput, ModelKeyError, PoError, StageFailed, StoreError
from po_jupyter.model.values.digests import short_digest
from po_jupyter.model.values.json import JsonObject
from po_jupyter.platform.concurrency import gather_or_cancel
from po_jupyter.telemetry.redaction import redactor

_TABLE = """create table if not exists po_batch (
  task text, epoch integer, name text, piece text, nth integer, output text,
  primary key (task, epoch, name, piece, nth)) without rowid"""


class DurableBatch:
    """The outcomes of one batch. `epoch` changes when the task is done again from scratch: then none is recorded."""

    def __init__(self, db: sqlite3.Connection, task: str, epoch: int, name: str) -> None:
        """The batch `name` of a task in the database `db`."""
        self._db = db
        self._batch_key = (task, epoch, name)
        db.execute(_TABLE)

    def run(
        self,
        rows: Sequence[Any],
        work: Callable[[Any], Any],
        key: Callable[[Any], Any] | None,
        max_concurrency: int,
    ) -> Any:
        """See `TaskIo.batch`."""
        pieces = self._pieces(rows, key)
        outcomes = self._recorded(pieces)
        if inspect.iscoroutinefunction(work):
            return self._run_async(rows, work, pieces, outcomes, max_concurrency)
        for index, row in enumerate(rows):
            if outcomes[index] is None:
                try:
                    with _working_on(pieces[index]):
                        outcomes[index] = self._record(index, pieces[index], work(row))
                except Exception as error:
                    outcomes[index] = _failure(index, error)
        return outcomes

    async def _run_async(
        self,
        rows: Sequence[Any],
        work: Callable[[Any], Awaitable[Any]],
        pieces: list[tuple[str, int]],
        outcomes: list[JsonObject | None],
        max_concurrency: int,
    ) -> list[JsonObject]:
        todo = (index for index, outcome in enumerate(outcomes) if outcome is None)

        async def worker() -> None:
            for index in todo:
                try:
                    with _working_on(pieces[index]):
                        outcomes[index] = self._record(index, pieces[index], await work(rows[index]))
                except Exception as error:
                    outcomes[index] = _failure(index, error)

        await gather_or_cancel(worker() for _ in range(min(max_concurrency, outcomes.count(None))))
        return cast("list[JsonObject]", outcomes)

    def _pieces(self, rows: Sequence[Any], key: Callable[[Any], Any] | None) -> list[tuple[str, int]]:
        seen: Counter[str] = Counter()
        pieces = []
        for row in rows:
            content = as_json(row if key is None else key(row))
            digest = short_digest(json.dumps(content, sort_keys=True))
            pieces.append((digest, seen[digest]))
            seen[digest] += 1
        return pieces

    def _recorded(self, pieces: list[tuple[str, int]]) -> list[JsonObject | None]:
        query = "select piece, nth, output from po_batch where task = ? and epoch = ? and name = ?"
        outputs = {(digest, nth): output for digest, nth, output in self._db.execute(query, self._batch_key)}
        return [
            _success(index, json.loads(outputs[at])) if at in outputs else None
            for index, at in enumerate(pieces)
        ]

    def _record(self, index: int, at: tuple[str, int], output: Any) -> JsonObject:
        value = redactor.scrub(as_json(output))
        with self._db:
            self._db.execute(
                "insert or replace into po_batch values (?, ?, ?, ?, ?, ?)",
                (*self._batch_key, *at, json.dumps(value)),
            )
            keep_piece(self._db, piece.get())
        return _success(index, value)


@contextmanager
def _working_on(at: tuple[str, int]) -> Iterator[None]:
    """What is written to the database meanwhile belongs to that piece."""
    token = piece.set(f"{at[0]}/{at[1]}")
    try:
        yield
    finally:
        piece.reset(token)


def _success(index: int, output: Any) -> JsonObject:
    return {"index": index, "ok": True, "output": output, "error": None}


def _failure(index: int, error: Exception) -> JsonObject:
    """The outcome of a piece that failed. An error that no other piece would escape is raised: it ends the batch."""
    ends = isinstance(error, Interrupt | StoreError | BudgetExceeded | ModelKeyError | sqlite3.Error)
    if ends or shortage_of(error) is not None:
        raise error
    failure = error if isinstance(error, PoError) else _stage_failed(error)
    error_json = redactor.scrub(failure.to_json())
    return {"index": index, "ok": False, "output": None, "error": error_json}


def _stage_failed(error: Exception) -> StageFailed:
    text = str(error).strip()[:1000]
    return StageFailed(
        f"raised {type(error).__name__}" + (f": {text}" if text else ""),
        details={"exception": type(error).__name__, "traceback": user_traceback(error)},
    )


def checked_rows(rows: Any, max_concurrency: int) -> list[Any]:
    """The rows of a batch as a list. Raises InvalidInput."""
    if isinstance(rows, str | bytes | dict) or not hasattr(rows, "__iter__"):
        raise InvalidInput(f"io.batch takes a list of rows, not {type(rows).__name__}")
    if not 1 <= max_concurrency <= 1000:
        raise InvalidInput("max_concurrency of io.batch is between 1 and 1000")
    return list(rows)
