"""Programs of the rooms below, run as processes: their answers where no orchestrator runs to be asked.

A face imports neither the orchestrator nor the models; what it needs of them alone it asks across a process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from typing import NotRequired, TypedDict, cast

from po_jupyter.client.http.payloads import ModelJson
from po_jupyter.errors import PoError, from_json
from po_jupyter.model.values.json import JsonObject
from po_jupyter.platform.source_root import SOURCE_ROOT

_BACKUP = "po_jupyter.orchestrator.maintenance.backup_program"
_STORE = "po_jupyter.orchestrator.maintenance.store_program"
_OFFLINE = "po_jupyter.orchestrator.environment.offline"
_TIMEOUT = 60.0  # seconds; half a second is usual
_CLEANUP = 10.0  # s for a program that is ended to remove what it began


class BackupJson(TypedDict):
    """The report of a backup or a restore; `store` and `files` are numbers of what is in it."""

    archive: str
    data_dir: str
    bytes: int
    made_at: str
    store: dict[str, int]
    files: dict[str, int]
    passed_over: NotRequired[list[str]]


class SchemaJson(TypedDict):
    """The format of a store, what this program needs, and the SQL that is missing; see `store_program`."""

    store: str
    format: int | None
    needs: int
    ready: bool
    may: bool
    sql: list[str]
    before: int | None


def run_module(
    module: str, *arguments: str, timeout: float | None = None, request: str = ""
) -> subprocess.CompletedProcess[str]:
    """`python -m MODULE` of this package with this process's environment, and `request` on its standard input. Raises
    subprocess.TimeoutExpired.

    Whatever ends the wait for it ends it too, and lets it clean up.
    """
    path = os.pathsep.join(filter(None, [SOURCE_ROOT, os.environ.get("PYTHONPATH")]))
    # -P: a file of the user that is called like a module must not be imported instead of it.
    command = [sys.executable, "-P", "-m", module, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:  # fmt: skip
        try:
            stdout, stderr = process.communicate(request, timeout=timeout)
        except BaseException:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_CLEANUP)
            process.kill()
            raise
        return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def last_line(completed: subprocess.CompletedProcess[str]) -> str:
    """The last line of a program's stderr, or its exit code."""
    return (completed.stderr.strip().splitlines() or [f"exit code {completed.returncode}"])[-1]


def offline_models(word: str | None, provider: str | None) -> list[ModelJson]:
    """The models that an orchestrator started here would know. Raises PoError."""
    options = [*(["--word", word] if word else []), *(["--provider", provider] if provider else [])]
    return cast("list[ModelJson]", _run_offline("models", *options)["models"])


def offline_providers() -> list[str]:
    """The providers that an orchestrator started here would take keys of. Raises PoError."""
    return cast("list[str]", _run_offline("providers")["providers"])


def _run_offline(*arguments: str) -> JsonObject:
    try:
        completed = run_module(_OFFLINE, *arguments, timeout=_TIMEOUT)
        answer: JsonObject = json.loads(completed.stdout)
    except subprocess.TimeoutExpired:
        raise PoError(f"the {arguments[0]} could not be listed within {_TIMEOUT:g} s") from None
    except ValueError:
        raise PoError(
            f"the {arguments[0]} could not be listed: {last_line(completed)[:300]}",
            hint="`po doctor` looks for the reason.",
        ) from None
    if "error" in answer:
        raise from_json(answer["error"])
    return answer


def back_up(archive: str) -> BackupJson:
    """Copy the data directory into a file, whether or not an orchestrator is at work on it. Raises PoError."""
    return _run_backup("backup", archive)


def restore(archive: str, directory: str | None) -> BackupJson:
    """Make an empty directory (None: the data directory) what it was when the archive was made. Raises PoError."""
    return _run_backup("restore", archive, *(["--to", directory] if directory is not None else []))


def _run_backup(*arguments: str) -> BackupJson:
    done = run_module(_BACKUP, *arguments)
    try:
        answer: JsonObject = json.loads(done.stdout)
    except ValueError:
        raise PoError(f"the {arguments[0]} failed: {last_line(done)[:300]}") from None
    if "error" in answer:
        raise from_json(answer["error"])
    return cast("BackupJson", answer["report"])


def check_store() -> SchemaJson:
    """Say what the store of the settings is and what it lacks. Raises PoError."""
    return cast("SchemaJson", _run_store({"action": "check"}))


def migrate_store() -> SchemaJson:
    """Make the store of the settings what this program needs. Raises PoError."""
    return cast("SchemaJson", _run_store({"action": "migrate"}))


def _run_store(request: JsonObject) -> JsonObject:
    done = run_module(_STORE, request=json.dumps(request))
    try:
        answer: JsonObject = json.loads(done.stdout)
    except ValueError:
        raise PoError(f"the {request['action']} failed: {last_line(done)[:300]}") from None
    if "error" in answer:
        raise from_json(answer["error"])
    return cast("JsonObject", answer["report"])
