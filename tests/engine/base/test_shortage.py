"""B3: what is a shortage of the machine, and what is the task's own failure."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable

import pytest

from po_jupyter.engine.base.shortage import shortage_of
from po_jupyter.errors import StageFailed


def raised(act: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:
        act()
    return caught.value


def full_database() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    try:
        db.execute("create table t (a)")
        db.execute("pragma max_page_count = 3")
        db.execute("insert into t values (zeroblob(100000))")
    finally:
        db.close()


def wrapped(cause: Exception, *, silent: bool = False) -> Exception:
    def act() -> None:
        try:
            raise cause
        except Exception as error:
            if silent:
                raise RuntimeError("mine") from None
            raise RuntimeError("cannot save") from error

    return raised(act)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE])
def test_a_full_disk_a_quota_and_no_descriptors_are_shortages(number: int) -> None:
    error = OSError(number, os.strerror(number), "a.txt")
    found = shortage_of(error)
    assert found is not None and "a.txt" in found.message and found.hint
    assert shortage_of(wrapped(error)) is not None
    failed = StageFailed("big.bin cannot be written")
    failed.__cause__ = error
    found = shortage_of(failed)
    assert found is not None and found.message == "big.bin cannot be written"


def test_so_is_a_database_that_cannot_grow() -> None:
    found = shortage_of(raised(full_database))
    assert found is not None and "full" in found.message


@pytest.mark.parametrize(
    "error",
    [
        ValueError("No space left on device"),
        FileNotFoundError(errno.ENOENT, "no such file"),
        PermissionError(errno.EACCES, "denied"),
        sqlite3.OperationalError("no such table: t"),
        StageFailed("wrong"),
    ],
)
def test_a_failure_of_the_task_is_none(error: Exception) -> None:
    assert shortage_of(error) is None
    assert shortage_of(wrapped(error)) is None


def test_an_error_that_hides_its_cause_is_the_tasks_own() -> None:
    assert shortage_of(wrapped(OSError(errno.ENOSPC, "full"), silent=True)) is None
