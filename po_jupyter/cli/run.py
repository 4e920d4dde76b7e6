"""`po run` and `po submit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from po_jupyter.cli import base
from po_jupyter.errors import InvalidInput
from po_jupyter.model.run.names import short_id

if TYPE_CHECKING:
    from po_jupyter.client.client import Client, Run
    from po_jupyter.model.pipeline.pipeline import Pipeline
    from po_jupyter.model.run.seed import Seed

_FOLLOW = click.option(
    "--follow/--no-follow",
    "--wait/--no-wait",
    "follow",
    default=True,
    help="Watch until it ends (the default).",
)
_LIMIT = click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N rows of a map.")
_FRESH = click.option("--fresh", is_flag=True, help="Ask the models anew; use no cached answer.")
_CACHE = click.option(
    "--cache", type=click.Choice(["false", "refresh"]),
    help="false: use and keep no cached answer. refresh: use none, keep the new ones (as --fresh).",
)  # fmt: skip
_SKIP = click.option(
    "--skip-validation", is_flag=True, help="Start although a key or the like that it needs is missing."
)
_MODEL = click.option("--model", metavar="REF", help="The model of every task, as provider:model.")
_BUDGET = click.option(
    "--budget", type=base.MONEY, multiple=True, metavar="USD|TASK=USD", help="Stop before more is spent."
)
_DRY = click.option("--dry-run", is_flag=True, help="Say what it would cost, and start nothing.")
_PRIORITY = click.option(
    "--priority",
    type=click.IntRange(-100, 100),
    metavar="N",
    help="Higher ones leave the queue first; the default is 0.",
)
_KEY = click.option("--key", "idempotency_key", metavar="TEXT", help="The same key twice starts one run only.")


@click.command()
@click.argument("pipeline")
@click.option("--seed", metavar="JSON|@FILE|-", help="The seed's data; a list becomes seed.rows.")
@_MODEL
@_BUDGET
@_LIMIT
@_FRESH
@_CACHE
@_SKIP
@_PRIORITY
@_KEY
@_DRY
@_FOLLOW
@base.JSON
def run(
    pipeline: str,
    seed: str | None,
    model: str | None,
    budget: tuple[tuple[str, float], ...],
    limit: int | None,
    fresh: bool,
    cache: str | None,
    skip_validation: bool,
    priority: int | None,
    idempotency_key: str | None,
    dry_run: bool,
    follow: bool,
    as_json: bool,
) -> int:
    """Run a pipeline from a file, or a registered one.

    \b
    po run tickets.yaml --seed '{"text": "the export button is gone"}'
    po run tickets.yaml --seed @tickets.csv --limit 10
    """
    from po_jupyter.cli import inputs

    inputs.check_model(model)
    data = inputs.seed_data(seed)
    if inputs.is_file(pipeline):
        # Read before the orchestrator is started: a mistake in the file should not cost that.
        inputs.pipeline_file(pipeline)
    client = base.connect(start=True)
    found = inputs.find_pipeline(pipeline, client)
    with inputs.located(pipeline):
        if dry_run:
            from po_jupyter.cli.estimate import tell

            tell(client.estimate(found, data, limit=limit, model=model), as_json)
            return 0
        inputs.need_code(found)
        limits = base.budget_of(budget)
        started = _submit(
            client, found, data, budget=limits, limit=limit, fresh=fresh, cache=cache,
            skip_validation=skip_validation, key=idempotency_key, priority=priority,
            model=model,
        )  # fmt: skip
    return _watch(started, follow, as_json)


@click.command()
@click.argument("seed")
@_LIMIT
@_FRESH
@_CACHE
@_SKIP
@_PRIORITY
@_KEY
@_FOLLOW
@base.JSON
def submit(
    seed: str,
    limit: int | None,
    fresh: bool,
    cache: str | None,
    skip_validation: bool,
    priority: int | None,
    idempotency_key: str | None,
    follow: bool,
    as_json: bool,
) -> int:
    """Start a run from a seed file.

    SEED is a file, or JSON: {"name": ..., "pipeline": ..., "data": {...}}. `pipeline` names a registered
    pipeline or a pipeline file.
    """
    from po_jupyter.cli import inputs

    envelope = inputs.seed_envelope(seed)
    if envelope.pipeline is None:
        raise InvalidInput(
            "the seed names no `pipeline`", hint='Add "pipeline": NAME, or: po run PIPELINE --seed JSON'
        )
    client = base.connect(start=True)
    found = inputs.find_pipeline(envelope.pipeline, client)
    with inputs.located(envelope.pipeline):
        inputs.need_code(found)
        started = _submit(
            client, found, envelope, limit=limit, fresh=fresh, cache=cache,
            skip_validation=skip_validation, key=idempotency_key, priority=priority,
        )  # fmt: skip
    return _watch(started, follow, as_json)


def _submit(
    client: Client,
    pipeline: Pipeline,
    seed: Seed | object,
    *,
    budget: dict[str, Any] | None = None,
    limit: int | None,
    fresh: bool,
    cache: str | None,
    skip_validation: bool,
    key: str | None,
    priority: int | None,
    model: str | None = None,
) -> Run:
    return client.submit(
        pipeline,
        seed=seed,
        idempotency_key=key,
        budget=budget,
        limit=limit,
        fresh=fresh,
        cache=False if cache == "false" else "refresh" if cache else None,
        skip_validation=skip_validation,
        priority=priority,
        model=model,
    )


def _watch(started: Run, follow: bool, as_json: bool) -> int:
    from po_jupyter.cli import live

    if not follow:
        if as_json:
            base.dump(started.view.model_dump(mode="json"))
        else:
            base.say(f"run {started.short} started: po show {short_id(started.id)}")
        return 0
    view, code = live.follow(started, quiet=as_json)
    if as_json:
        base.dump({**view.model_dump(mode="json"), "outputs": dict(started.outputs) if code == 0 else {}})
    elif code == 0:
        from po_jupyter.cli.show import results

        results(started, view)
    return code
