"""`po artifacts`: files that runs wrote."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from po_jupyter.cli import base
from po_jupyter.errors import InvalidInput


@click.command()
@base.RUN
@click.argument("name", required=False)
@click.option("--out", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file.")
@base.JSON
def artifacts(run_id: str, name: str | None, out: Path | None, as_json: bool) -> int:
    """List the files that a run's tasks wrote, or get one.

    With NAME its content goes to stdout, or to a file with --out.
    """
    run = base.find_run(run_id)
    if name is None:
        if out is not None:
            raise InvalidInput("--out needs the NAME of an artifact", hint=f"po artifacts {run.short}")
        listed = run.artifacts()
        if as_json:
            base.print_json(listed)
        elif not listed:
            base.print_line(f"run {run.short} has no artifacts")
        else:
            rows = [[a["name"], a["task"] or "seed", f"{a['bytes']:,}", a["path"]] for a in listed]
            base.print_table(["name", "task", "bytes", "path"], rows)
        return 0
    content = run.artifact(name)
    if out is not None:
        try:
            out.write_bytes(content)
        except OSError as error:
            raise InvalidInput(f"{out} cannot be written: {error.strerror}") from None
        base.print_line(f"{len(content):,} bytes written to {out}")
    elif sys.stdout.isatty():
        base.print_line(base.plain(content.decode("utf-8", "replace")))
    else:
        click.echo(content, nl=False)
    return 0
