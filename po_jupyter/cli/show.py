"""`po runs`, `status`, `show`, `logs`, `pipelines`: reading only, so none of them starts an orchestrator."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from po_jupyter.cli import base
from po_jupyter.errors import InvalidInput, Unavailable
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.view import ENDED, RunView
from po_jupyter.presentation import format as fmt

if TYPE_CHECKING:
    from po_jupyter.client.client import Run

_STATES = ("pending", "running", "waiting", "done", "failed", "cancelled", "dead")
_OUTPUTS = 10  # rows of a result that are shown


@click.command()
@click.option(
    "--state", multiple=True, type=click.Choice(_STATES), help="Only runs in this state (repeatable)."
)
@click.option("--pipeline", metavar="NAME", help="Only runs of this pipeline.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many at most.")
@click.option("--export", metavar="FILE", help="Write every ended run as a line of JSON to FILE instead.")
@base.JSON
def runs(state: tuple[str, ...], pipeline: str | None, limit: int, export: str | None, as_json: bool) -> int:
    """List runs, the newest first."""
    client = base.connect(start=False)
    if export is not None:
        count = client.export(export, state=",".join(state) or None, pipeline=pipeline)
        if as_json:
            base.dump({"file": export, "runs": count})
        else:
            base.say(f"{count} ended run{'s' if count != 1 else ''} written to {export}")
        return 0
    found = client.runs(state=list(state), pipeline=pipeline, limit=limit)
    views = [run.view for run in found]
    if as_json:
        base.dump([view.model_dump(mode="json") for view in views])
    elif not views:
        base.say("no runs" + (" like that" if state or pipeline else " yet: po demo"))
    else:
        now = time.time()
        base.table(
            ["run", "state", "pipeline", "seed", "tasks", "started", "took", "spent"],
            [_row(view, now) for view in views],
            [view.state for view in views],
        )
    return 0


def _row(view: RunView, now: float) -> list[str]:
    finished = sum(t.state in ("done", "skipped") for t in view.tasks)
    elapsed = fmt.seconds_between(view.created_at, view.updated_at if view.state in ENDED else None, now)
    started = fmt.seconds_between(view.created_at, None, now)
    return [
        short_id(view.id),
        view.state,
        view.pipeline,
        base.brief(view.name, 30),
        f"{finished}/{len(view.tasks)}",
        f"{_ago(started)} ago" if started is not None else "",
        fmt.elapsed(elapsed) if elapsed is not None else "",
        " · ".join(fmt.usage_parts(view.usage)),
    ]


def _ago(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False)
@base.JSON
def status(run_id: str | None, as_json: bool) -> int:
    """Say how the orchestrator is, or how a run is.

    With RUN, the exit code says how it is: 0 done or going on, 1 ended otherwise, 4 waits for a decision.
    """
    if run_id is not None:
        from po_jupyter.cli import live

        view = base.find(run_id).view
        if as_json:
            base.dump(view.model_dump(mode="json"))
        else:
            live.show_once(view)
        return live.code_of(view)
    client = base.connect(start=False)
    meta, ready = client.meta(), client.ready()
    going = client.runs(state=["pending", "running", "waiting"], limit=1000)
    if as_json:
        base.dump({"url": client.url, "ready": ready, "meta": meta, "live": [r.view.state for r in going]})
        return 0 if ready.get("ready") else 3
    orchestrator = meta.get("orchestrator") or {}
    base.say(f"orchestrator  {client.url}  po_jupyter {meta.get('version')}")
    if not ready.get("ready"):
        base.say(f"not ready     {base.brief(ready)}")
    elsewhere = (
        "" if orchestrator.get("holder", True) else " (another server of this data directory does the work)"
    )
    base.say(f"process       {orchestrator.get('pid', 'unknown')}{elsewhere}")
    base.say(f"data          {base.clean(meta.get('data_dir'))}")
    if meta.get("inbox_dir"):
        base.say(f"watch folder  {base.clean(meta['inbox_dir'])}")
    load, limit = meta.get("runs") or {}, (meta.get("limits") or {}).get("running")
    if load.get("running") is not None:
        queued = f", {load['queued']} queued" if load.get("queued") else ""
        base.say(f"workers       {load['running']} of {limit} at work{queued}")
    counts = {s: sum(r.view.state == s for r in going) for s in ("running", "pending", "waiting")}
    base.say(f"runs          {', '.join(f'{n} {s}' for s, n in counts.items() if n) or 'none going on'}")
    return 0 if ready.get("ready") else 3


@click.command()
@base.RUN
@click.option("--failed", is_flag=True, help="The rows and tasks that failed, with their errors.")
@click.option("--output", metavar="TASK", help="Print this task's whole output as JSON, nothing else.")
@click.option("--follow/--no-follow", default=True, help="Watch it while it goes on (the default).")
@base.JSON
def show(run_id: str, failed: bool, output: str | None, follow: bool, as_json: bool) -> int:
    """Show a run, live until it ends.

    To come back to a run after a closed terminal: po show RUN.
    """
    from po_jupyter.cli import live

    run = base.find(run_id)
    view = run.view
    if output is not None:
        if output not in {t.name for t in view.tasks}:
            from po_jupyter.model.pipeline.violations import did_you_mean

            raise InvalidInput(
                f"run {run.short} has no task {output!r}{did_you_mean(output, [t.name for t in view.tasks])}"
            )
        base.dump(run.outputs[output])
        return 0
    if failed:
        return _failures(run, as_json)
    if as_json:
        base.dump(view.model_dump(mode="json"))
        return live.code_of(view)
    if follow and view.state not in (*ENDED, "waiting"):
        view, code = live.follow(run)
    else:
        live.show_once(view)
        code = live.code_of(view)
    if view.state in ENDED:
        results(run, view)
    return code


def _failures(run: Run, as_json: bool) -> int:
    view = run.view
    rows: list[dict[str, Any]] = []
    for task in view.tasks:
        if task.items is not None and task.items.failed:
            rows += [{"task": task.name, **item} for item in run.items(task.name, state="failed")]
        elif task.error is not None:
            rows.append({"task": task.name, "index": None, "error": task.error})
    if as_json:
        base.dump(rows)
    elif not rows:
        base.say(f"nothing failed in run {run.short}")
    else:
        for row in rows:
            error = row.get("error") or {}
            place = row["task"] if row["index"] is None else f"{row['task']} row {row['index']}"
            first, *more = base.clean(error.get("message") or "no message").split("\n")
            base.say(f"{base.coloured(place, 'failed')}: {first}")
            for line in [*more, *base.clean(error.get("hint") or "").splitlines()]:
                base.say(f"  {line}")
        steps = fmt.next_steps(view, "po ")
        base.say("  " + "   ".join(s for s in steps if "--failed" not in s))
    return 0


def results(run: Run, view: RunView) -> None:
    """The beginnings of what the last finished task gave."""
    done = [t.name for t in view.tasks if t.state == "done"]
    if not done:
        return
    value = run.outputs[done[-1]]
    if isinstance(value, list):
        for n, item in enumerate(value[:_OUTPUTS]):
            shown = item.get("output") if isinstance(item, Mapping) and item.get("ok") else item
            base.say(f" {n}  {base.brief(shown, 110)}")
        if len(value) > _OUTPUTS:
            base.say(f" … and {len(value) - _OUTPUTS} more")
    elif value is not None:
        base.say(f" {done[-1]} → {base.brief(value, 400)}")
    base.say(f" whole: po show {run.short} --output {done[-1]}")


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
        return _orchestrator_log(lines)
    run = base.find(run_id)
    if task is not None or stage is not None:
        from po_jupyter.cli.stage_logs import stage_logs

        return stage_logs(run, task, None if stage == "all" else stage, as_json)
    try:
        if follow:
            for message in run.stream(since):
                if message.id is not None:
                    _event_line(message.data, as_json)
        else:
            for event in run.events(since):
                _event_line(event, as_json)
    except KeyboardInterrupt:
        return 130
    return 0


def _event_line(event: Mapping[str, Any], as_json: bool) -> None:
    import json

    if as_json:
        click.echo(json.dumps(event))
        return
    place = str(event.get("task") or "")
    if event.get("item") is not None:
        place += f" row {event['item']}"
    data = dict(event.get("data") or {})
    error = data.pop("error", None)
    facts = [f"{k}={base.brief(v, 60)}" for k, v in data.items() if v not in (None, "", [], {})]
    if error:
        facts.append(base.brief(error.get("message", error) if isinstance(error, Mapping) else error, 160))
    clock = str(event.get("at", ""))[11:23]
    line = f"{event.get('offset', ''):>5}  {clock}  {event.get('type', ''):<20} {place:<18} {'  '.join(facts)}"
    base.say(base.clean(line).rstrip())


def _orchestrator_log(lines: int) -> int:
    from po_jupyter import config

    settings = config.load()
    found = [
        path
        for path in (
            settings.data_dir / "logs" / "orchestrator.log",
            settings.data_dir / "runtime" / "headless.log",
        )
        if path.is_file()
    ]
    if not found:
        raise Unavailable(
            f"there is no log in {settings.data_dir} yet", hint="An orchestrator writes one: po start."
        )
    newest = max(found, key=lambda p: p.stat().st_mtime)
    base.say(f"{newest}:", err=True)
    for line in _tail(newest.open("rb"), lines):
        base.say(base.clean(line))
    return 0


def _tail(source: Any, lines: int) -> Iterable[str]:
    with source:
        source.seek(0, 2)
        source.seek(max(0, source.tell() - 2_000_000))  # a log can be large; its end is what is asked for
        text: str = source.read().decode("utf-8", "replace")
    return text.splitlines()[-lines:]


@click.command()
@base.JSON
def pipelines(as_json: bool) -> int:
    """List the registered pipelines."""
    found = base.connect(start=False).pipelines()
    if as_json:
        base.dump(found)
    elif not found:
        base.say("no pipelines are registered: a cell `%%po_pipeline NAME` or client.register(...) does that")
    else:
        base.table(
            ["pipeline", "version", "revision", "tasks"],
            [
                [
                    p["name"],
                    p.get("version", ""),
                    str(p.get("revision", ""))[:12],
                    ", ".join(p.get("tasks", ())),
                ]
                for p in found
            ],
        )
    return 0
