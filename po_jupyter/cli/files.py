"""`po artifacts`, and the logs of stages for `po logs`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from po_jupyter.cli import base
from po_jupyter.errors import InvalidInput

if TYPE_CHECKING:
    from po_jupyter.client.client import Run


@click.command()
@base.RUN
@click.argument("name", required=False)
@click.option("--out", metavar="FILE", help="Write it there; - is the standard output.")
@base.JSON
def artifacts(run_id: str, name: str | None, out: str | None, as_json: bool) -> int:
    """List the files that a run's tasks wrote, or fetch one."""
    run = base.find(run_id)
    if name is None:
        _list(run, as_json)
        return 0
    content = run.artifact(name)
    if out == "-":
        sys.stdout.buffer.write(content)
        return 0
    target = Path(out or Path(name).name)
    if target.exists() and out is None:
        raise InvalidInput(f"{target} exists", hint="--out FILE says where to write it, - prints it.")
    try:
        target.write_bytes(content)
    except OSError as error:
        raise InvalidInput(f"{target} cannot be written: {error.strerror}") from None
    base.say(f"{target}: {len(content):,} bytes")
    return 0


def _list(run: Run, as_json: bool) -> None:
    found = run.artifacts()
    if as_json:
        base.dump(found)
    elif not found:
        base.say(f"run {run.short} has no artifacts")
    else:
        rows = [[a["name"], a["task"] or "(seed)", f"{a['bytes']:,}", a["sha256"][:12]] for a in found]
        base.table(["artifact", "task", "bytes", "sha256"], rows)


def stage_logs(run: Run, task: str | None, stage: str | None, as_json: bool) -> int:
    """Print what stages wrote."""
    found = run.logs(task, stage)
    if as_json:
        base.dump(found)
    elif not found:
        base.say(f"nothing was printed by {stage or task or 'its tasks'} in run {run.short}")
    else:
        for log in found:
            place = "/".join(part for part in (log["task"], log["name"]) if part)
            cut = f" (its end; {log['bytes']:,} bytes)" if log["cut"] else ""
            base.say(f"── {base.clean(place)}{cut}", bold=True)
            base.say(base.clean(log["text"].rstrip("\n")))
    return 0
