"""`po schema`: the JSON Schema of a pipeline's YAML."""

from __future__ import annotations

import click

from po_jupyter.cli import base


@click.command()
@base.JSON
def schema(as_json: bool) -> int:  # JSON in any case
    """Print the JSON Schema of a pipeline's YAML, for editors.

    `po schema > pipeline.schema.json`, and as the first line of a pipeline:
    `# yaml-language-server: $schema=pipeline.schema.json`.
    """
    from po_jupyter.model.editing.schema import pipeline_schema

    base.print_json(pipeline_schema())
    return 0
