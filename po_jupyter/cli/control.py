"""`po cancel`, `resume`, `approve`, `reject`: what a person decides about a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from po_jupyter.cli import base
from po_jupyter.model.run.names import short_id

if TYPE_CHECKING:
    from po_jupyter.client.client import Run

FOLLOW = click.option("--follow/--no-follow", default=True, help="Watch the run afterwards (the default).")
_NOTE = click.option("--note", default="", metavar="TEXT", help="Why; kept with the decision.")


@click.command()
@base.RUN
@base.JSON
def cancel(run_id: str, as_json: bool) -> int:
    """Cancel a run; what is finished is kept."""
    run = base.find(run_id, start=True)
    run.cancel()
    if as_json:
        base.dump(run.view.model_dump(mode="json"))
    else:
        again = f"; to go on: po resume {run.short}"
        base.say(f"run {run.short}: asked to stop, what is finished is kept{again}")
    return 0


@click.command()
@base.RUN
@click.option("--from-task", metavar="TASK", help="Do this task and what depends on it again.")
@click.option("--only-failed", is_flag=True, help="Only the failed rows of maps, then what depends on them.")
@click.option(
    "--budget",
    type=base.MONEY,
    multiple=True,
    metavar="USD|TASK=USD",
    help="The new limit of the whole run, or of one task.",
)
@FOLLOW
@base.JSON
def resume(
    run_id: str,
    from_task: str | None,
    only_failed: bool,
    budget: tuple[tuple[str, float], ...],
    follow: bool,
    as_json: bool,
) -> int:
    """Go on with a run that failed, was cancelled or is dead."""
    if from_task and only_failed:
        raise click.UsageError("--from-task and --only-failed exclude each other")
    run = base.find(run_id, start=True)
    run.resume(from_task=from_task, only_failed=only_failed, budget=base.budget_of(budget))
    return afterwards(run, follow, as_json, "goes on")


@click.command()
@base.RUN
@_NOTE
@FOLLOW
@base.JSON
def approve(run_id: str, note: str, follow: bool, as_json: bool) -> int:
    """Approve the gate that a run waits at."""
    run = base.find(run_id, start=True)
    run.approve(note=note)
    return afterwards(run, follow, as_json, "approved; the run goes on")


@click.command()
@base.RUN
@_NOTE
@base.JSON
def reject(run_id: str, note: str, as_json: bool) -> int:
    """Reject the gate that a run waits at; the run ends."""
    run = base.find(run_id, start=True)
    run.reject(note=note)
    return afterwards(run, False, as_json, "rejected; the run ends")


def afterwards(run: Run, follow: bool, as_json: bool, word: str) -> int:
    """Watch the run that somebody decided about, or say `word` of it; the exit code."""
    from po_jupyter.cli import live

    if follow:
        view, code = live.follow(run, quiet=as_json)
        if as_json:
            base.dump(view.model_dump(mode="json"))
        return code
    if as_json:
        base.dump(run.view.model_dump(mode="json"))
    else:
        base.say(f"run {run.short}: {word}   po show {short_id(run.id)}")
    return 0
