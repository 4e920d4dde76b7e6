"""Backup and restore as a program, whose report is JSON on standard output: `{"report": ...}`, or `{"error": ...}`.

    python -m po_jupyter.orchestrator.maintenance.backup_program backup ARCHIVE
    python -m po_jupyter.orchestrator.maintenance.backup_program restore ARCHIVE [--to DIRECTORY]

The terminal runs it (`po backup`, `po restore`): no server is needed, and a server that runs goes on.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import NoReturn

from po_jupyter import config
from po_jupyter.errors import InvalidInput, PoError
from po_jupyter.orchestrator.maintenance.backup import back_up
from po_jupyter.orchestrator.maintenance.restore import restore
from po_jupyter.platform import private_file


def _terminated(*_: object) -> NoReturn:
    sys.exit(143)  # by way of what is to be removed


def main(argv: list[str] | None = None) -> int:
    """Do it for the data directory of the settings."""
    parser = argparse.ArgumentParser(prog="python -m po_jupyter.orchestrator.maintenance.backup_program")
    parser.add_argument("action", choices=["backup", "restore"])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--to", type=Path)
    options = parser.parse_args(argv)
    private_file.keep_private()
    signal.signal(signal.SIGTERM, _terminated)
    try:
        settings = config.load()
        if settings.store is not None:
            raise InvalidInput(
                "the store is in PostgreSQL, and `po backup` copies only one in the data directory",
                hint="Copy the database with pg_dump, and the data directory with it while no server is at work.",
            )
        if options.action == "backup":
            report = back_up(settings.data_dir, options.archive)
        else:
            target = options.to or settings.data_dir
            report = restore(options.archive, target, allow_network=settings.allow_network_store)
        answer: dict[str, object] = {"report": report}
    except PoError as error:
        answer = {"error": error.to_json()}
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
