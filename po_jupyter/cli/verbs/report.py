"""`po report`: a run as one file for people who were not there."""

from __future__ import annotations

import click

from po_jupyter.cli import base
from po_jupyter.presentation.reports.content import MOST_ROWS


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
