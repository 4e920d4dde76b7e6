"""`po run` and `po submit`: verbs that start a run and watch it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict, TypeVar, Unpack

import click

from po_jupyter.cli import base
from po_jupyter.errors import InvalidInput
from po_jupyter.model.run.names import short_id
from po_jupyter.model.values.json import JsonObject

if TYPE_CHECKING:
    from po_jupyter.client.client import Client
    from po_jupyter.client.run import Run
    from po_jupyter.model.pipeline.pipeline import Pipeline

_MODEL = click.option("--model", metavar="REF", help="The model of every task, as provider:model.")
_BUDGET = click.option(
    "--budget", type=base.MONEY, multiple=True, metavar="USD|TASK=USD", help="Stop before more is spent."
)
_DRY = click.option("--dry-run", is_flag=True, help="Say what it would cost, and start nothing.")
_FOLLOW = click.option(
    "--follow/--no-follow",
    "--wait/--no-wait",
    "follow",
    default=True,
    help="Watch until it ends (the default).",
)
_START_OPTIONS = (
    click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N rows of a map."),
    click.option("--fresh", is_flag=True, help="Ask the models anew; use no cached answer."),
    click.option(
        "--cache", type=click.Choice(["false", "refresh"]),
        help="false: use and keep no cached answer. refresh: use none, keep the new ones (as --fresh).",
    ),
    click.option(
        "--skip-validation", is_flag=True, help="Start although a key or the like that it needs is missing."
    ),
    click.option(
        "--priority",
        type=click.IntRange(-100, 100),
        metavar="N",
        help="Higher ones leave the queue first; the default is 0.",
    ),
    click.option(
        "--label", "labels", multiple=True, metavar="LABEL", help="Only on a node that has it; may be repeated."
    ),
    click.option("--key", "idempotency_key", metavar="TEXT", help="The same key twice starts one run only."),
)  # fmt: skip
Verb = TypeVar("Verb", bound=Callable[..., int])


def _start_options(verb: Verb) -> Verb:
    """The options of every verb that starts a run, as keyword arguments of `_submit`."""
    for option in reversed(_START_OPTIONS):
        verb = option(verb)
    return verb


class _StartOptions(TypedDict):
    """The values of `_START_OPTIONS`."""

    limit: int | None
    fresh: bool
    cache: str | None
    skip_validation: bool
    priority: int | None
    labels: tuple[str, ...]
    idempotency_key: str | None


@click.command()
@click.argument("pipeline")
@click.option(
    "--seed", type=base.TEXT, metavar="JSON|@FILE|-", help="The seed's data; a list becomes seed.rows."
)
@base.sql_options
@_MODEL
@_BUDGET
@_start_options
@_DRY
@_FOLLOW
@base.JSON
@base.on_shared
def run(
    pipeline: str,
    seed: str | None,
    sql: str | None,
    db: str | None,
    model: str | None,
    budget: tuple[tuple[str, float], ...],
    dry_run: bool,
    follow: bool,
    as_json: bool,
    **options: Unpack[_StartOptions],
) -> int:
    """Run a pipeline from a file, or a registered one.

    \b
    po run tickets.yaml --seed '{"text": "the export button is gone"}'
    po run tickets.yaml --seed @tickets.csv --limit 10
    po run tickets.yaml --sql "SELECT id, text FROM tickets" --db env:TICKETS_URL
    """
    from po_jupyter.cli import inputs

    client, definition, data = inputs.read_run_inputs(pipeline, seed, model, sql=sql, db=db)
    with inputs.located(pipeline):
        if dry_run:
            from po_jupyter.cli.verbs.estimate import print_estimate

            print_estimate(client.estimate(definition, data, limit=options["limit"], model=model), as_json)
            return 0
        inputs.need_code(definition)
        started = _submit(client, definition, data, options, budget=base.budget_body(budget), model=model)
    return _watch(started, follow, as_json)


@click.command()
@click.argument("seed")
@_start_options
@_FOLLOW
@base.JSON
@base.on_shared
def submit(seed: str, follow: bool, as_json: bool, **options: Unpack[_StartOptions]) -> int:
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
    definition = inputs.find_pipeline(envelope.pipeline, client)
    with inputs.located(envelope.pipeline):
        inputs.need_code(definition)
        started = _submit(client, definition, envelope, options)
    return _watch(started, follow, as_json)


def _submit(
    client: Client,
    pipeline: Pipeline,
    seed: object,
    options: _StartOptions,
    *,
    budget: JsonObject | None = None,
    model: str | None = None,
) -> Run:
    cache = options["cache"]
    return client.submit(
        pipeline,
        seed=seed,
        idempotency_key=options["idempotency_key"],
        budget=budget,
        limit=options["limit"],
        fresh=options["fresh"],
        cache=False if cache == "false" else "refresh" if cache else None,
        skip_validation=options["skip_validation"],
        priority=options["priority"],
        labels=options["labels"],
        model=model,
    )


def _watch(started: Run, follow: bool, as_json: bool) -> int:
    from po_jupyter.cli import live

    if not follow:
        if as_json:
            base.print_json(started.view.model_dump(mode="json"))
        else:
            base.print_line(f"run {started.short} started: po show {short_id(started.id)}")
        return 0
    view, code = live.follow(started, quiet=as_json)
    if as_json:
        base.print_json({**view.model_dump(mode="json"), "outputs": dict(started.outputs) if code == 0 else {}})
    elif code == 0:
        from po_jupyter.cli.verbs.show import print_results

        print_results(started, view)
    return code
