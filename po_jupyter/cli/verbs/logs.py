"""`po logs`: the history of a run, the output of its stages, or the orchestrator's log. Reading only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from po_jupyter.cli import base, live
from po_jupyter.cli.main import INTERRUPTED
from po_jupyter.errors import Unavailable
from po_jupyter.model.values.json import JsonObject
from po_jupyter.presentation import format as fmt

if TYPE_CHECKING:
    from po_jupyter.client.run import Run

_TAIL = 2_000_000  # bytes of the orchestrator's log that are read: it can be large, and its end counts


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False)
@click.option("--task", metavar="TASK", help="What this task printed and logged, stage by stage.")
@click.option("--stage", metavar="STAGE", help="Of one stage; `all` is every log of the run.")
@click.option("--since", type=click.IntRange(0), default=0, metavar="N", help="Events after this offset.")
@click.option("--follow", "-f", is_flag=True, help="Go on until the run ends.")
@click.option(
    "--lines", type=click.IntRange(1), default=50, show_default=True, help="Of the orchestrator's log."
)
@base.JSON
@base.on_shared
def logs(
    run_id: str | None,
    task: str | None,
    stage: str | None,
    since: int,
    follow: bool,
    lines: int,
    as_json: bool,
) -> int:
    """Print the history of a run, or the orchestrator's log.

    With --task or --stage: what stages printed, subprocesses and libraries included.
    """
    if run_id is None:
        if task or stage:
            raise click.UsageError("--task and --stage are of a run: po logs RUN --task TASK")
        return _print_orchestrator_log(lines)
    run = base.find_run(run_id)
    if task is not None or stage is not None:
        return _print_stage_logs(run, task, None if stage == "all" else stage, as_json)
    try:
        if follow:
            for message in run.stream(since):
                if message.id is not None:
                    _print_event(message.data, as_json)
        else:
            for event in run.events(since):
                _print_event(event, as_json)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _print_event(event: JsonObject, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(event))
        return
    location = str(event.get("task") or "")
    if event.get("item") is not None:
        location += f" row {event['item']}"
    data = dict(event.get("data") or {})
    error = data.pop("error", None)
    facts = [f"{k}={base.one_line(v, 60)}" for k, v in data.items() if v not in (None, "", [], {})]
    if error:
        facts.append(base.one_line(error.get("message", error) if isinstance(error, dict) else error, 160))
    clock = str(event.get("at", ""))[11:23]
    line = (
        f"{event.get('offset', ''):>5}  {clock}  {event.get('type', ''):<20} {location:<18} {'  '.join(facts)}"
    )
    base.print_line(base.plain(line).rstrip())
    if isinstance(error, dict):
        live.print_traceback(fmt.user_traceback(error), " " * 21)


def _print_orchestrator_log(lines: int) -> int:
    from po_jupyter import config

    settings = config.load()
    files = [
        path
        for path in (
            settings.data_dir / "logs" / "orchestrator.log",
            settings.data_dir / "runtime" / "headless.log",
        )
        if path.is_file()
    ]
    if not files:
        raise Unavailable(
            f"there is no log in {settings.data_dir} yet", hint="An orchestrator writes one: po start."
        )
    newest = max(files, key=lambda p: p.stat().st_mtime)
    base.print_line(f"{newest}:", err=True)
    for line in _tail(newest, lines):
        base.print_line(base.plain(line))
    return 0


def _tail(path: Path, lines: int) -> Sequence[str]:
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _TAIL))
        text = file.read().decode("utf-8", "replace")
    return text.splitlines()[-lines:]


def _print_stage_logs(run: Run, task: str | None, stage: str | None, as_json: bool) -> int:
    logs_of_stages = run.logs(task, stage)
    if as_json:
        base.print_json(logs_of_stages)
    elif not logs_of_stages:
        base.print_line(f"nothing was printed by {stage or task or 'its tasks'} in run {run.short}")
    else:
        for log in logs_of_stages:
            location = "/".join(part for part in (log["task"], log["name"]) if part)
            cut = f" (its end; {log['bytes']:,} bytes)" if log["cut"] else ""
            base.print_line(f"── {base.plain(location)}{cut}", bold=True)
            base.print_line(base.plain(log["text"].rstrip("\n")))
    return 0
