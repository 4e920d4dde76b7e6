"""The outcomes of `ctx.io.batch` over a database alone: each piece once, failures again, nothing twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from po_jupyter.engine.files.durable_batch import DurableBatch, checked_rows
from po_jupyter.errors import BudgetExceeded, InvalidInput, ModelKeyError


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    yield connection
    connection.close()


class Work:
    """Doubles a number; `fails` are the numbers that raise."""

    def __init__(self, *fails: int) -> None:
        self.fails = set(fails)
        self.done: list[int] = []

    def __call__(self, row: int) -> int:
        if row in self.fails:
            raise ValueError(f"no {row}")
        self.done.append(row)
        return row * 2


def batch(db: sqlite3.Connection, epoch: int = 0, name: str = "batch") -> DurableBatch:
    return DurableBatch(db, "t", epoch, name)


def test_a_piece_with_an_output_is_not_done_again_and_a_failed_one_is(db: sqlite3.Connection) -> None:
    work = Work(2)
    outcomes = batch(db).run([1, 2, 3], work, None, 5)
    assert [o["ok"] for o in outcomes] == [True, False, True]
    assert outcomes[1]["error"]["message"] == "raised ValueError: no 2"
    work.fails.clear()
    assert [o["output"] for o in batch(db).run([3, 2, 1], work, None, 5)] == [6, 4, 2]
    assert work.done == [1, 3, 2]


def test_equal_rows_are_pieces_of_their_own_unless_a_key_makes_them_one(db: sqlite3.Connection) -> None:
    work = Work()
    batch(db).run([1, 1], work, None, 5)
    assert work.done == [1, 1]
    batch(db, name="by key").run([1], work, lambda row: "same", 5)
    assert batch(db, name="by key").run([7], work, lambda row: "same", 5)[0]["output"] == 2


def test_another_epoch_or_name_knows_nothing(db: sqlite3.Connection) -> None:
    work = Work()
    for again in (batch(db), batch(db, epoch=1), batch(db, name="other")):
        again.run([1], work, None, 5)
    assert work.done == [1, 1, 1]


async def test_async_work_is_bounded_and_in_order(db: sqlite3.Connection) -> None:
    async def work(row: int) -> int:
        return row + 1

    outcomes = await batch(db).run([1, 2, 3], work, None, 2)
    assert outcomes == [{"index": i, "ok": True, "output": i + 2, "error": None} for i in range(3)]


@pytest.mark.parametrize("error", [BudgetExceeded("spent"), ModelKeyError("no key")])
def test_an_error_that_every_piece_would_meet_ends_the_batch(db: sqlite3.Connection, error: Exception) -> None:
    def work(row: int) -> int:
        raise error

    with pytest.raises(type(error)):
        batch(db).run([1, 2], work, None, 5)


@pytest.mark.parametrize(("rows", "width"), [("text", 5), ({"a": 1}, 5), (3, 5), ([1], 0), ([1], 1001)])
def test_arguments_that_are_none(rows: Any, width: int) -> None:
    with pytest.raises(InvalidInput):
        checked_rows(rows, width)
