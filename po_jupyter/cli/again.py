"""`po restart`, `fork` and `dead`: doing runs again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from po_jupyter.cli import base
from po_jupyter.cli.control import FOLLOW, afterwards
from po_jupyter.model.run.names import short_id

if TYPE_CHECKING:
    from po_jupyter.client.client import Client


@click.command()
@base.RUN
@click.option("--task", metavar="TASK", help="From this task on; by default all of the run.")
@click.option("--only", is_flag=True, help="That task alone; `po resume` goes on with what is left.")
@click.option("--clear-usage", is_flag=True, help="Count usage, and with it the budget, from zero.")
@FOLLOW
@base.JSON
def restart(run_id: str, task: str | None, only: bool, clear_usage: bool, follow: bool, as_json: bool) -> int:
    """Do a run again, or a part of it; earlier results stay in its history."""
    if only and not task:
        raise click.UsageError("--only needs --task: which one?")
    run = base.find(run_id, start=True)
    run.restart(task, only=only, clear_usage=clear_usage)
    return afterwards(run, follow, as_json, "starts again")


@click.command()
@base.RUN
@click.option("--from-task", metavar="TASK", required=True, help="The first task that runs anew.")
@click.option("--seed", metavar="JSON|@FILE|-", help="Another seed's data.")
@click.option("--pipeline", metavar="PIPELINE", help="Another definition: a file, or a registered one.")
@FOLLOW
@base.JSON
def fork(
    run_id: str, from_task: str, seed: str | None, pipeline: str | None, follow: bool, as_json: bool
) -> int:
    """Start a new run from the middle of another one.

    It takes over the results of the tasks before TASK; the old run stays as it is.

    \b
    po fork 7f3a9c --from-task classify
    """
    from po_jupyter.cli import inputs

    data = None if seed is None else inputs.seed_data(seed)
    run = base.find(run_id, start=True)
    definition = None
    if pipeline is not None:
        definition = inputs.find_pipeline(pipeline, run.client)
        with inputs.located(pipeline):
            inputs.need_code(definition)
            new = run.fork(from_task, seed=data, pipeline=definition)
    else:
        new = run.fork(from_task, seed=data)
    return afterwards(new, follow, as_json, f"forked from {run.short}")


@click.group(invoke_without_command=True)
@base.JSON
@click.pass_context
def dead(context: click.Context, as_json: bool) -> Any:
    """List, requeue or discard runs that used up their attempts.

    `po dead` lists them. Each of list, requeue and discard takes --json.
    """
    return _list(as_json, 50) if context.invoked_subcommand is None else None


@dead.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many at most.")
@base.JSON
def dead_list(limit: int, as_json: bool) -> int:
    """List the dead runs, the newest first, with where and why."""
    return _list(as_json, limit)


@dead.command("requeue")
@base.RUN
@click.option("--from-task", metavar="TASK", help="From this task on; by default where it died.")
@FOLLOW
@base.JSON
def dead_requeue(run_id: str, from_task: str | None, follow: bool, as_json: bool) -> int:
    """Try a dead run again; what it finished is kept."""
    run = base.connect(start=True).requeue(run_id, from_task)
    return afterwards(run, follow, as_json, "tried again")


@dead.command("discard")
@base.RUN
@click.option("--yes", is_flag=True, help="Do not ask.")
@base.JSON
def dead_discard(run_id: str, yes: bool, as_json: bool) -> int:
    """Remove a dead run with all that is its own."""
    client: Client = base.connect(start=True)
    run = client.run(run_id)
    if not yes and not as_json:
        click.confirm(f"remove run {run.short} with its results, logs and files?", abort=True)
    client.discard(run.id)
    if as_json:
        base.dump({"discarded": run.id})
    else:
        base.say(f"run {run.short}: removed")
    return 0


def _list(as_json: bool, limit: int) -> int:
    letters = base.connect(start=False).dead_letters(limit=limit)
    if as_json:
        base.dump(letters)
        return 0
    if not letters:
        base.say("no dead runs")
    for letter in letters:
        _tell(letter)
    return 0


def _tell(letter: dict[str, Any]) -> None:
    short = short_id(letter["id"])
    done = letter["tasks"]
    base.say(
        f"{short}  {base.coloured('dead', 'dead')}  {base.clean(letter['pipeline'])} {letter['version']}  "
        f"{base.brief(letter['name'], 40)}  {letter['died_at']}  {done['done']}/{done['total']} tasks done"
    )
    if letter["task"]:
        where = f"in task {base.clean(letter['task'])}"
        where += f", stage {letter['stage']}" if letter["stage"] else ""
        base.say(f"  {where}, attempt {letter['attempt']}; {letter['crashes']} crashes in a row")
    base.say(f"  {base.brief(letter['error'].get('message') or 'no reason is known', 300)}")
    for line in base.clean(letter["log"]).splitlines()[-5:]:
        base.say(f"  │ {line[:200]}")
    base.say(f"  po dead requeue {short}   po dead discard {short}   po show {short}")
