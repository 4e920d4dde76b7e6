"""What `po store` does, as a program: `{"progress": ...}` lines, then `{"report": ...}` or `{"error": ...}`, in JSON.

    python -m po_jupyter.orchestrator.maintenance.store_program
    < {"action": "check" | "migrate"} or {"action": "copy", "source", "target"}

The request is one object on standard input: the URL of a store may hold a password, and arguments are seen by others.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from typing import NoReturn, TypedDict

import structlog

from po_jupyter import config
from po_jupyter.config import Settings
from po_jupyter.errors import InvalidInput, NotFound, PoError
from po_jupyter.orchestrator.maintenance.store_copy import StoreCopyReport, copy
from po_jupyter.platform import private_file, signals
from po_jupyter.store.disk import migrations
from po_jupyter.store.disk.snapshot import read_format
from po_jupyter.store.opening import open_store, postgres_store


class SchemaReport(TypedDict):
    """The format of a store and the one that this program needs; `format` is None where there is no store yet. `sql`
    brings it there and gives this role its rights; it `may` run that itself, or somebody else has to. `before` is the
    format before a migration."""

    store: str
    format: int | None
    needs: int
    ready: bool
    may: bool
    sql: list[str]
    before: int | None


def check(settings: Settings) -> SchemaReport:
    """What the store of the settings is, and what it lacks. Nothing is changed. Raises PoError."""
    if settings.store is None:
        return _check_directory(settings)
    where, state = postgres_store().look(settings.store.get_secret_value())
    return {
        "store": where, "format": state.version, "needs": state.needs, "ready": state.is_ready,
        "may": state.may_migrate, "sql": [*state.statements, *state.grants], "before": state.version,
    }  # fmt: skip


def _check_directory(settings: Settings) -> SchemaReport:
    path = settings.data_dir / "store"
    try:
        row = read_format(path)
    except NotFound:
        version, ready = None, False
    else:
        migrations.check(row, str(path))
        version, ready = row["version"], not migrations.is_older(row, migrations.MIGRATIONS)
    return {
        "store": str(path), "format": version, "needs": migrations.FORMAT, "ready": ready, "may": True, "sql": [],
        "before": version,
    }  # fmt: skip


def migrate(settings: Settings) -> SchemaReport:
    """Make the store of the settings what this program needs. Raises PoError."""
    before = check(settings)
    if not before["ready"]:
        url = settings.store.get_secret_value() if settings.store else None
        open_store(
            settings.data_dir / "store", url,
            shards=settings.store_shards, allow_network=settings.allow_network_store,
        ).close()  # fmt: skip
    return {**check(settings), "before": before["format"]}


def _report(request: Mapping[str, str], settings: Settings) -> object:
    match request["action"]:
        case "check":
            return check(settings)
        case "migrate":
            return migrate(settings)
        case "copy":
            return asyncio.run(_copy(settings, request["source"], request["target"]))
    raise InvalidInput(f"{request['action']!r:.80} is nothing that can be done to a store")


async def _copy(settings: Settings, source: str, target: str) -> StoreCopyReport:
    """The copy, which SIGTERM cancels, and nothing else of the loop: the leases are kept until it has ended."""
    task = asyncio.current_task()
    assert task is not None
    signals.on_signal(signal.SIGTERM, task.cancel)
    return await copy(settings, source, target, _print_progress)


def _print_progress(part: str, done: int, total: int) -> None:
    print(json.dumps({"progress": [part, done, total]}), flush=True)


def _terminated(*_: object) -> NoReturn:
    sys.exit(143)


def main() -> int:
    """Do what standard input asks for, with the settings."""
    private_file.keep_private()
    signal.signal(signal.SIGTERM, _terminated)
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )  # the other one is for the report
    try:
        answer: dict[str, object] = {"report": _report(json.load(sys.stdin), config.load())}
    except PoError as error:
        answer = {"error": error.to_json()}
    except asyncio.CancelledError:
        return 143
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
