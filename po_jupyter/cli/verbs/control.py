"""Control of runs: `po cancel`, `resume`, `restart`, `fork`, `approve`, `reject` and `dead`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from po_jupyter.cli import base
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.row_spans import parse_row_options

if TYPE_CHECKING:
    from po_jupyter.client.http.payloads import DeadLetterJson
    from po_jupyter.client.run import Run

_FOLLOW = click.option("--follow/--no-follow", default=True, help="Watch the run afterwards (the default).")
_NOTE = click.option("--note", type=base.TEXT, default="", metavar="TEXT", help="Why; kept with the decision.")

_GATE = click.option(
    "--task", metavar="TASK", help="The task whose gate is meant; else the one that is open now."
)


@click.command()
@base.RUN
@base.JSON
@base.on_shared
def cancel(run_id: str, as_json: bool) -> int:
    """Cancel a run; what is finished is kept."""
    run = base.find_run(run_id, start=True)
    run.cancel()
    if as_json:
        base.print_json(run.view.model_dump(mode="json"))
    else:
        again = f"; to go on: po resume {run.short}"
        base.print_line(f"run {run.short}: asked to stop, what is finished is kept{again}")
    return 0


@click.command()
@base.RUN
@click.option("--from-task", metavar="TASK", help="Do this task and what depends on it again.")
@click.option("--only-failed", is_flag=True, help="Only the failed rows of maps, then what depends on them.")
@click.option(
    "--row",
    "rows",
    type=base.TEXT,
    multiple=True,
    metavar="TASK:N,N-N",
    help="Only these rows of a map, then what depends on them; several times for several maps.",
)
@click.option("--include-done", is_flag=True, help="Rows of --row that are done too: they are paid again.")
@click.option(
    "--budget",
    type=base.MONEY,
    multiple=True,
    metavar="USD|TASK=USD",
    help="The new limit of the whole run, or of one task.",
)
@_FOLLOW
@base.JSON
@base.on_shared
def resume(
    run_id: str,
    from_task: str | None,
    only_failed: bool,
    rows: tuple[str, ...],
    include_done: bool,
    budget: tuple[tuple[str, float], ...],
    follow: bool,
    as_json: bool,
) -> int:
    """Go on with a run that failed, was cancelled or is dead.

    \b
    po resume 7f3a9c --only-failed
    po resume 7f3a9c --row label:3,17-20
    """
    if from_task and only_failed:
        raise click.UsageError("--from-task and --only-failed exclude each other")
    if rows and (from_task or only_failed):
        raise click.UsageError(f"--row and --{'from-task' if from_task else 'only-failed'} exclude each other")
    if include_done and not rows:
        raise click.UsageError("--include-done needs --row: which rows?")
    chosen = parse_row_options(rows) if rows else None
    run = base.find_run(run_id, start=True)
    run.resume(
        from_task=from_task, only_failed=only_failed, budget=base.budget_body(budget), rows=chosen,
        include_done=include_done,
    )  # fmt: skip
    return _conclude(run, follow, as_json, "goes on")


@click.command()
@base.RUN
@click.option("--task", metavar="TASK", help="From this task on; by default all of the run.")
@click.option("--only", is_flag=True, help="That task alone; `po resume` goes on with what is left.")
@click.option("--clear-usage", is_flag=True, help="Count usage, and with it the budget, from zero.")
@_FOLLOW
@base.JSON
@base.on_shared
def restart(run_id: str, task: str | None, only: bool, clear_usage: bool, follow: bool, as_json: bool) -> int:
    """Do a run again, or a part of it; earlier results stay in its history."""
    if only and not task:
        raise click.UsageError("--only needs --task: which one?")
    run = base.find_run(run_id, start=True)
    run.restart(task, only=only, clear_usage=clear_usage)
    return _conclude(run, follow, as_json, "starts again")


@click.command()
@base.RUN
@click.option("--from-task", metavar="TASK", required=True, help="The first task that runs anew.")
@click.option("--seed", type=base.TEXT, metavar="JSON|@FILE|-", help="Another seed's data.")
@click.option("--pipeline", metavar="PIPELINE", help="Another definition: a file, or a registered one.")
@_FOLLOW
@base.JSON
@base.on_shared
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
    client = base.connect(start=True)
    run = client.run(run_id)
    if pipeline is not None:
        definition = inputs.find_pipeline(pipeline, client)
        with inputs.located(pipeline):
            inputs.need_code(definition)
            new = run.fork(from_task, seed=data, pipeline=definition)
    else:
        new = run.fork(from_task, seed=data)
    return _conclude(new, follow, as_json, f"forked from {run.short}")


@click.command()
@base.RUN
@_NOTE
@_GATE
@_FOLLOW
@base.JSON
@base.on_shared
def approve(run_id: str, note: str, task: str | None, follow: bool, as_json: bool) -> int:
    """Approve the gate that a run waits at."""
    run = base.find_run(run_id, start=True)
    run.approve(note=note, task=task)
    return _conclude(run, follow, as_json, "approved; the run goes on")


@click.command()
@base.RUN
@_NOTE
@_GATE
@base.JSON
@base.on_shared
def reject(run_id: str, note: str, task: str | None, as_json: bool) -> int:
    """Reject the gate that a run waits at; the run ends."""
    run = base.find_run(run_id, start=True)
    run.reject(note=note, task=task)
    return _conclude(run, False, as_json, "rejected; the run ends")


@click.command()
@base.RUN
@click.argument("to", type=click.Choice(["shared"]))
@click.option("--group", metavar="NAME", default="", help="For this group of the hub, instead of yourself.")
@base.JSON
def move(run_id: str, to: str, group: str, as_json: bool) -> int:
    """Move a run to the hub's service of shared runs, where it goes on without a server.

    All that it did goes with it, so nothing is paid twice; what is here says where it is. A run that is at work first
    finishes its calls in flight. Interrupted, the same command finishes it.

    \b
    po move 7f3a9c shared
    """
    run = base.find_run(run_id, start=True, own=True).move(to, group)
    return _conclude(run, False, as_json, f"moved; po show {short_id(run.id)} --on shared")


@click.group(invoke_without_command=True)
@base.JSON
@click.pass_context
def dead(context: click.Context, as_json: bool) -> int | None:
    """List, requeue or discard runs that used up their attempts.

    `po dead` lists them. Each of list, requeue and discard takes --json.
    """
    return _list_dead(as_json, 50) if context.invoked_subcommand is None else None


@dead.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many at most.")
@base.JSON
def dead_list(limit: int, as_json: bool) -> int:
    """List the dead runs, the newest first, with where and why."""
    return _list_dead(as_json, limit)


@dead.command("requeue")
@base.RUN
@click.option("--from-task", metavar="TASK", help="From this task on; by default where it died.")
@_FOLLOW
@base.JSON
def dead_requeue(run_id: str, from_task: str | None, follow: bool, as_json: bool) -> int:
    """Try a dead run again; what it finished is kept."""
    run = base.connect(start=True).requeue(run_id, from_task)
    return _conclude(run, follow, as_json, "tried again")


@dead.command("discard")
@base.RUN
@click.option("--yes", is_flag=True, help="Do not ask.")
@base.JSON
def dead_discard(run_id: str, yes: bool, as_json: bool) -> int:
    """Remove a dead run with all that is its own."""
    client = base.connect(start=True)
    run = client.run(run_id)
    if not yes and not as_json:
        click.confirm(f"remove run {run.short} with its results, logs and files?", abort=True)
    client.discard(run.id)
    if as_json:
        base.print_json({"discarded": run.id})
    else:
        base.print_line(f"run {run.short}: removed")
    return 0


def _list_dead(as_json: bool, limit: int) -> int:
    letters = base.connect(start=False).dead_letters(limit=limit)
    if as_json:
        base.print_json(letters)
        return 0
    if not letters:
        base.print_line("no dead runs")
    for letter in letters:
        _print_letter(letter)
    return 0


def _print_letter(letter: DeadLetterJson) -> None:
    short = short_id(letter["id"])
    counts = letter["tasks"]
    base.print_line(
        f"{short}  {base.coloured('dead', 'dead')}  {base.plain(letter['pipeline'])} {letter['version']}  "
        f"{base.one_line(letter['name'], 40)}  {letter['died_at']}  {counts['done']}/{counts['total']} tasks done"
    )
    if letter["task"]:
        location = f"in task {base.plain(letter['task'])}"
        location += f", stage {letter['stage']}" if letter["stage"] else ""
        base.print_line(f"  {location}, attempt {letter['attempt']}; {letter['crashes']} crashes in a row")
    base.print_line(f"  {base.one_line(letter['error'].get('message') or 'no reason is known', 300)}")
    for line in base.plain(letter["log"]).splitlines()[-5:]:
        base.print_line(f"  │ {line[:200]}")
    base.print_line(f"  po dead requeue {short}   po dead discard {short}   po show {short}")


def _conclude(run: Run, follow: bool, as_json: bool, message: str) -> int:
    """Watch the changed run, or print `message` about it; the exit code."""
    from po_jupyter.cli import live

    if follow:
        view, code = live.follow(run, quiet=as_json)
        if as_json:
            base.print_json(view.model_dump(mode="json"))
        return code
    if as_json:
        base.print_json(run.view.model_dump(mode="json"))
    else:
        base.print_line(f"run {run.short}: {message}   po show {short_id(run.id)}")
    return 0
