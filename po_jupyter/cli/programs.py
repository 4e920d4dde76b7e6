"""Programs of the rooms below, run as processes: their answers where no orchestrator runs to be asked.

A face imports neither the orchestrator nor the models; what it needs of them alone it asks across a process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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


def run_module(module: str, *arguments: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """`python -m MODULE` of this package with this process's environment. Raises subprocess.TimeoutExpired."""
    with _started([module, *arguments]) as process:
        stdout, stderr = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess([module, *arguments], process.returncode, stdout, stderr)


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


class StoreCopyJson(TypedDict):
    """What is in the store that was copied into; see `store_copy`."""

    source: str
    target: str
    runs: int
    copied: int
    records: int
    documents: int
    answers: int
    files: int
    bytes: int
    checked: int


def check_store() -> SchemaJson:
    """Say what the store of the settings is and what it lacks. Raises PoError."""
    return cast("SchemaJson", _run_store({"action": "check"}))


def migrate_store() -> SchemaJson:
    """Make the store of the settings what this program needs. Raises PoError."""
    return cast("SchemaJson", _run_store({"action": "migrate"}))


def copy_store(source: str, target: str, on_progress: Callable[[str, int, int], None]) -> StoreCopyJson:
    """Copy a store into another; `on_progress` gets what is done, how many of it, of how many. Raises PoError."""
    request: JsonObject = {"action": "copy", "source": source, "target": target}
    return cast("StoreCopyJson", _run_store(request, on_progress))


def _run_store(
    request: JsonObject, on_progress: Callable[[str, int, int], None] = lambda part, done, total: None
) -> JsonObject:
    with _started([_STORE]) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request))
        process.stdin.close()
        answer: JsonObject = {}
        with suppress(ValueError):
            for line in process.stdout:
                answer = json.loads(line)
                if "progress" in answer:
                    on_progress(*answer["progress"])
        assert process.stderr is not None
        errors = process.stderr.read()
        process.wait()
    if "error" in answer:
        raise from_json(answer["error"])
    if "report" not in answer:
        failed = subprocess.CompletedProcess([_STORE], process.returncode, "", errors)
        raise PoError(f"the {request['action']} failed: {last_line(failed)[:300]}")
    return cast("JsonObject", answer["report"])


@contextmanager
def _started(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """`python -m ARGUMENTS` of this package; whatever ends the block ends it too, and lets it clean up."""
    path = os.pathsep.join(filter(None, [SOURCE_ROOT, os.environ.get("PYTHONPATH")]))
    pipe = subprocess.PIPE
    # -P: a file of the user that is called like a module must not be imported instead of it.
    with subprocess.Popen(
        [sys.executable, "-P", "-m", *arguments], stdin=pipe, stdout=pipe, stderr=pipe, text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:  # fmt: skip
        try:
            yield process
        except BaseException:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_CLEANUP)
            process.kill()
            raise
