"""`po artifacts` and `po report`: files that runs wrote, and a run as a file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from po_jupyter.cli import base
from po_jupyter.errors import InvalidInput
from po_jupyter.presentation.reports.content import MOST_ROWS


@click.command()
@base.RUN
@click.argument("name", required=False)
@click.option("--out", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file.")
@base.JSON
@base.on_shared
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


@click.command()
@base.RUN
@click.option(
    "-o", "--output", type=base.TEXT, metavar="FILE",
    help="Write it here; the name ends with .html, .md or .ipynb. Without it: Markdown, to the terminal.",
)  # fmt: skip
@click.option(
    "--rows", type=click.IntRange(0, 1_000_000), default=MOST_ROWS, show_default=True, metavar="N",
    help="How many rows of each map are shown.",
)  # fmt: skip
@base.JSON
@base.on_shared
def report(run_id: str, output: str | None, rows: int, as_json: bool) -> int:
    """Write a run as one file for others: HTML, Markdown or a notebook.

    It has the pipeline, prompts, models, cost, failures and the first rows. The notebook does the run again, with
    parameters for papermill.
    """
    run = base.find_run(run_id)
    made = run.report(output, rows=rows)
    if as_json:
        base.print_json(
            {"run": run.id, "file": output} if output else {"run": run.id, "markdown": made.markdown}
        )
        return 0
    base.print_line(f"{output} written" if output is not None else base.plain(made.markdown))
    return 0
