"""`po estimate`, and the estimate of `po run --dry-run`."""

from __future__ import annotations

import click

from po_jupyter.cli import base
from po_jupyter.model.values.json import JsonObject
from po_jupyter.presentation.estimates import estimate_lines


@click.command()
@click.argument("pipeline")
@click.option(
    "--seed", type=base.TEXT, metavar="JSON|@FILE|-", help="The seed's data; a list becomes seed.rows."
)
@base.sql_options
@click.option("--model", metavar="REF", help="The model of every task, as provider:model.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N rows of a map.")
@base.JSON
@base.on_shared
def estimate(
    pipeline: str,
    seed: str | None,
    sql: str | None,
    db: str | None,
    model: str | None,
    limit: int | None,
    as_json: bool,
) -> int:
    """Say what a run would cost, before anything is spent.

    Calls, tokens and dollars; all of them estimates, and what cannot be known is named.
    """
    from po_jupyter.cli import inputs

    client, definition, data = inputs.read_run_inputs(pipeline, seed, model, sql=sql, db=db)
    with inputs.located(pipeline):
        print_estimate(client.estimate(definition, data, limit=limit, model=model), as_json)
    return 0


def print_estimate(result: JsonObject, as_json: bool) -> None:
    """Print an estimate."""
    if as_json:
        base.print_json(result)
    else:
        for line in estimate_lines(result):
            base.print_line(base.plain(line))
