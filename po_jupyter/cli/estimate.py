"""`po estimate`, and what `po run --dry-run` says."""

from __future__ import annotations

from typing import Any

import click

from po_jupyter.cli import base
from po_jupyter.presentation.estimates import estimate_lines


@click.command()
@click.argument("pipeline")
@click.option("--seed", metavar="JSON|@FILE|-", help="The seed's data; a list becomes seed.rows.")
@click.option("--model", metavar="REF", help="The model of every task, as provider:model.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N rows of a map.")
@base.JSON
def estimate(pipeline: str, seed: str | None, model: str | None, limit: int | None, as_json: bool) -> int:
    """Say what a run would cost, before anything is spent.

    Calls, tokens and dollars; all of them estimates, and what cannot be known is named.
    """
    from po_jupyter.cli import inputs

    inputs.check_model(model)
    data = inputs.seed_data(seed)
    if inputs.is_file(pipeline):
        inputs.pipeline_file(pipeline)
    client = base.connect(start=True)
    found = inputs.find_pipeline(pipeline, client)
    with inputs.located(pipeline):
        tell(client.estimate(found, data, limit=limit, model=model), as_json)
    return 0


def tell(said: dict[str, Any], as_json: bool) -> None:
    """Print an estimate."""
    if as_json:
        base.dump(said)
    else:
        for line in estimate_lines(said):
            base.say(base.clean(line))
