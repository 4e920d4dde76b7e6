"""The program of a worker that is started by spawn: `INTERPRETER -P -m po_jupyter.worker.spawned`.

For systems where a fork is missing or unsafe. It imports what a worker needs, says so on standard output with the
greeting of a zygote (`ZygoteHello`, one line), and waits on standard input for its one request (`WorkerRequest`, one
line of JSON). So the import is over before there is a run. Without a request it ends when standard input does; with
one it is that run's worker, and outlives who started it.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from contextlib import suppress

from po_jupyter.ipc.messages import WorkerRequest, ZygoteHello
from po_jupyter.platform import open_files
from po_jupyter.worker.zygote import OPEN_FILES, PROTOCOL, become_worker, preload, version


def main() -> None:
    """Import, greet, work the run of the request off, exit with its status."""
    status = 1
    greeting = os.dup(1)
    os.dup2(2, 1)  # what a library prints while it is imported must not get between
    open_files.raise_limit(OPEN_FILES)
    gc.disable()
    preload()
    gc.freeze()  # a collection among hundreds of runs would look at all of it
    gc.enable()
    gc.set_threshold(20_000, 20, 50)
    os.write(greeting, ZygoteHello(version(), PROTOCOL, sys.version.split()[0], os.getpid()).encode())
    os.close(greeting)
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        os._exit(0)
    try:
        status = _work_off(line)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _work_off(line: bytes) -> int:
    from po_jupyter.config import Settings
    from po_jupyter.telemetry import logging

    request = WorkerRequest.from_json(json.loads(line))
    settings = Settings.model_validate(request.settings)
    logging.preconfigure(settings)
    return become_worker(request, settings, parent=os.getppid())


if __name__ == "__main__":
    main()
