"""What tests of a store on disk share: its rows in plain SQL, another program that writes to it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import diskcache

OPENER = "from po_jupyter.store.disk.store import DiskStore; store = DiskStore({path!r})"
RUN = "00a1"


def sql(path: Path, statement: str, *values: Any) -> list[Any]:
    connection = sqlite3.connect(path / "runs-0" / "cache.db")
    try:
        with connection:
            return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


class Bomb:
    """Its pickle, when loaded, leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self.trace,)


def plain(path: Path, **settings: Any) -> diskcache.Cache:
    return diskcache.Cache(str(path / "runs-0"), **settings)
