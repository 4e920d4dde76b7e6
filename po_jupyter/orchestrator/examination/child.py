"""The process that examines: `INTERPRETER -P -m po_jupyter.orchestrator.examination.child FD`.

It imports what examinations need once, then forks for each. A fork has ten seconds of the processor and a
gigabyte, and is killed by the system when it takes more: whatever it was given ends with it.

With `once` in the place of FD it examines once, for systems without forks: the same on standard input, the request
right after the settings, and the answer on standard output. Who started it ends it when it takes too much.

On the socket `FD` come the settings (a length of four bytes, JSON), then one descriptor for each examination: a socket
with the request as JSON up to its end, on which the answer goes back: `{"value": ...}` or `{"error": ...}`.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from po_jupyter.platform import forking, limits, signals, sockets

if TYPE_CHECKING:
    from collections.abc import Callable

    from po_jupyter.config import Settings
    from po_jupyter.model.values.json import JsonObject

CPU_SECONDS = 10
WALL_SECONDS = 20
MEMORY_BYTES = 2**30  # beside what is loaded
LENGTH = 4  # bytes of the settings' length
ONCE = "once"
TOO_MUCH = f"it takes more than {CPU_SECONDS} s or {MEMORY_BYTES // 2**20:,} MB to read"


def main() -> None:
    """Import, then fork for each descriptor that comes; ends with the parent's end of the socket."""
    if sys.argv[1] == ONCE:
        examine_once()
    control = socket.socket(fileno=int(sys.argv[1]))
    signals.ignore_interrupts()
    forking.forget_children()
    settings = _read_settings(control)
    gc.disable()
    _preload()
    gc.freeze()
    gc.enable()
    while True:
        with suppress(InterruptedError):
            descriptors = sockets.receive_descriptors(control)
            if descriptors is None:
                return
            for descriptor in descriptors:
                _fork(control, socket.socket(fileno=descriptor), settings)


def _read_settings(control: socket.socket) -> Settings:
    from po_jupyter.config import Settings

    length = int.from_bytes(_receive(control, LENGTH), "big")
    return Settings.model_validate(json.loads(_receive(control, length)))


def _receive(control: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = control.recv(size - len(data))
        if not part:
            os._exit(0)
        data += part
    return data


def _preload() -> None:
    import ctypes
    import importlib

    from po_jupyter.model.pipeline import json_schema

    json_schema.load()
    for name in (
        "po_jupyter.orchestrator.examination.operations",
        "po_jupyter.engine.planning.check",
        "po_jupyter.engine.planning.analysis",
        "po_jupyter.engine.planning.estimate",
        "po_jupyter.engine.scores.judge",
        "po_jupyter.engine.scores.row_metrics",
        "po_jupyter.store.files.row_files",
    ):
        importlib.import_module(name)
    ctypes.CDLL(None)


def _fork(control: socket.socket, connection: socket.socket, settings: Settings) -> None:
    with connection:
        try:
            child = forking.fork_process()
        except OSError:
            return  # the parent sees an end without an answer
        if child == 0:
            control.close()
            _examine(connection, settings)


def _examine(connection: socket.socket, settings: Settings) -> NoReturn:
    from po_jupyter.orchestrator.examination.operations import as_json, examine_here

    try:
        limits.limit_process(cpu=CPU_SECONDS, wall=WALL_SECONDS, memory=MEMORY_BYTES)
        with connection.makefile("rb") as file:
            request = json.loads(file.read())
        connection.sendall(_answer(lambda: as_json(examine_here(request, settings))))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def examine_once() -> NoReturn:
    """Import, then examine what comes on standard input."""
    from po_jupyter.config import Settings
    from po_jupyter.orchestrator.examination.operations import as_json, examine_here

    status = 1
    try:
        signals.ignore_interrupts()
        with os.fdopen(os.dup(1), "wb") as output:
            os.dup2(2, 1)  # what is printed must not get into the answer
            _preload()
            limits.be_nice(10)
            data = sys.stdin.buffer.read()
            if data:
                end = LENGTH + int.from_bytes(data[:LENGTH], "big")
                settings = Settings.model_validate(json.loads(data[LENGTH:end]))
                request = json.loads(data[end:].decode("utf-8", "surrogatepass"))
                output.write(_answer(lambda: as_json(examine_here(request, settings))))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _answer(work: Callable[[], JsonObject]) -> bytes:
    from po_jupyter.errors import InvalidInput, PoError

    try:
        answer = {"value": work()}
    except PoError as error:
        answer = {"error": error.to_json()}
    except (MemoryError, RecursionError):
        answer = {"error": InvalidInput(f"this cannot be read: {TOO_MUCH}").to_json()}
    except Exception:
        traceback.print_exc()
        message = "something went wrong inside of the orchestrator"
        answer = {"error": PoError(message, hint="logs/examiner.log says more.").to_json()}
    return json.dumps(answer, ensure_ascii=False).encode("utf-8", "surrogatepass")


if __name__ == "__main__":
    main()
