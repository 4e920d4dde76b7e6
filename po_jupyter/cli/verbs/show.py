"""`po runs`, `status`, `show`, `open` and `pipelines`: reading only, so none of them starts an orchestrator."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from po_jupyter.cli import base, shared
from po_jupyter.cli.main import OK, UNAVAILABLE
from po_jupyter.errors import Conflict, Forbidden, InvalidInput, NotFound, Unavailable
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.view import ENDED, RunView
from po_jupyter.model.values.json import JsonObject
from po_jupyter.presentation import format as fmt

if TYPE_CHECKING:
    from po_jupyter.client.client import Client
    from po_jupyter.client.http.payloads import ChannelJson
    from po_jupyter.client.run import Run

_STATES = ("pending", "running", "waiting", "done", "failed", "cancelled", "dead", "moved")
_ROWS_SHOWN = 10  # of a result


@click.command()
@click.option(
    "--state", multiple=True, type=click.Choice(_STATES), help="Only runs in this state (repeatable)."
)
@click.option("--pipeline", metavar="NAME", help="Only runs of this pipeline.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many at most.")
@click.option("--export", metavar="FILE", help="Write every ended run as a line of JSON to FILE instead.")
@base.JSON
@base.on_shared
def runs(state: tuple[str, ...], pipeline: str | None, limit: int, export: str | None, as_json: bool) -> int:
    """List runs, the newest first."""
    client = base.connect(start=False)
    if export is not None:
        count = client.export(export, state=",".join(state) or None, pipeline=pipeline)
        if as_json:
            base.print_json({"file": export, "runs": count})
        else:
            base.print_line(f"{count} ended run{'s' if count != 1 else ''} written to {export}")
        return 0
    views = [run.view for run in client.runs(state=list(state), pipeline=pipeline, limit=limit)]
    found = shared.visible_runs(state, limit)
    others = {run.view.id: run for run in found if pipeline is None or run.view.pipeline == pipeline}
    views = [view for view in views if view.id not in others] + [run.view for run in others.values()]
    views = sorted(views, key=lambda view: (view.created_at, view.id), reverse=True)[:limit]
    if as_json:
        may = {run: {"shared": True, "may": other.may} for run, other in others.items()}
        base.print_json([view.model_dump(mode="json") | may.get(view.id, {}) for view in views])
    elif not views:
        base.print_line("no runs" + (" like that" if state or pipeline else " yet: po demo"))
    else:
        now = time.time()
        base.print_table(
            [
                "run",
                "state",
                "pipeline",
                "seed",
                "tasks",
                "started",
                "took",
                "spent",
                *(["where"] if others else []),
            ],
            [
                [
                    *_run_row(view, now),
                    *([shared.place_of(view) if view.id in others else ""] if others else []),
                ]
                for view in views
            ],
            [fmt.shown_run_state(view) for view in views],
        )
        for view in views:
            if (view.error or {}).get("code") == "corrupt_row":
                base.print_line(
                    f"{short_id(view.id)}: {base.one_line((view.error or {})['message'])}", err=True
                )
    return 0


def _run_row(view: RunView, now: float) -> list[str]:
    finished = sum(t.state in ("done", "skipped") for t in view.tasks)
    elapsed = fmt.seconds_between(view.created_at, view.updated_at if view.state in ENDED else None, now)
    started = fmt.seconds_between(view.created_at, None, now)
    return [
        short_id(view.id),
        view.state,
        view.pipeline,
        base.one_line(view.name, 30),
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
@base.on_shared
def status(run_id: str | None, as_json: bool) -> int:
    """Say how the orchestrator is, or how a run is.

    With RUN, the exit code says how it is: 0 done or going on, 1 ended otherwise, 4 waits for a decision.
    """
    if run_id is not None:
        from po_jupyter.cli import live

        view = base.find_run(run_id).view
        if as_json:
            base.print_json(view.model_dump(mode="json"))
        else:
            live.print_run(view)
        return live.exit_code(view)
    return _orchestrator_status(as_json)


def _orchestrator_status(as_json: bool) -> int:
    """Print how the orchestrator is; the exit code says whether runs can be started."""
    client = base.connect(start=False)
    meta, ready = client.meta(), client.ready()
    states = [run.view.state for run in client.runs(state=["pending", "running", "waiting"], limit=1000)]
    code = OK if ready.get("ready") else UNAVAILABLE
    if as_json:
        shown = {
            "url": client.url,
            "because": client.found_because,
            "ready": ready,
            "meta": meta,
            "live": states,
        }
        base.print_json(shown)
        return code
    base.print_line(f"orchestrator  {client.url}  po_jupyter {meta.get('version')}")
    if client.found_because:
        base.print_line(f"used because  {base.plain(client.found_because)}")
    if code != OK:
        base.print_line(f"not ready     {base.one_line(ready.get('store', ready))}")
    process = meta.get("orchestrator") or {}
    elsewhere = "" if process.get("holder", True) else " (another server of this data directory does the work)"
    base.print_line(f"process       {process.get('pid', 'unknown')}{elsewhere}")
    base.print_line(f"data          {base.plain(meta.get('data_dir'))}")
    if meta.get("inbox_dir"):
        base.print_line(f"watch folder  {base.plain(meta['inbox_dir'])}")
    load, limit = meta.get("runs") or {}, (meta.get("limits") or {}).get("running")
    if load.get("running") is not None:
        queued = f", {load['queued']} queued" if load.get("queued") else ""
        base.print_line(f"workers       {load['running']} of {limit} at work{queued}")
    counts = {state: states.count(state) for state in ("running", "pending", "waiting")}
    summary = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    base.print_line(f"runs          {summary or 'none going on'}")
    if found := shared.visible_runs(("pending", "running", "waiting"), 200):
        counts = {state: sum(run.view.state == state for run in found) for state in counts}
        summary = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
        base.print_line(f"shared runs   {summary}   (po runs)")
    hub = meta.get("hub") or {}
    if hub.get("stops_servers"):
        base.print_line(
            "hub           if it stops your server, runs go on by themselves when your server starts again"
        )
    if hub.get("gateway"):
        base.print_line(f"team models   {base.plain(hub['gateway'])}   (po models, po usage)")
    for channel in _troubled_channels(client):
        waiting = f", {channel['waiting']} waiting" if channel["waiting"] else ""
        text = f"{channel['name']} ({channel['receiver']}): {channel['error']}{waiting}"
        base.print_line(base.coloured(f"notifications {base.plain(text)}", "failed"))
    return code


def _troubled_channels(client: Client) -> list[ChannelJson]:
    """The channels of notifications whose last try failed; none for somebody who may not see them."""
    try:
        return [channel for channel in client.notifications() if channel["error"]]
    except (Forbidden, NotFound):  # no `admin`; an older orchestrator
        return []


@click.command()
@base.RUN
@click.option("--failed", is_flag=True, help="The rows and tasks that failed, with their errors.")
@click.option(
    "--row",
    "place",
    metavar="TASK:N",
    help="One row of a map: what was sent, the raw answers, where it is from.",
)
@click.option("--output", metavar="TASK", help="Print this task's whole output as JSON, nothing else.")
@click.option(
    "--follow/--no-follow",
    " /--once",
    default=True,
    help="Watch it while it goes on (the default), or show it once.",
)
@base.JSON
@base.on_shared
def show(run_id: str, failed: bool, place: str | None, output: str | None, follow: bool, as_json: bool) -> int:
    """Show a run, live until it ends.

    To come back to a run after a closed terminal: po show RUN.
    """
    from po_jupyter.cli import live

    run = base.find_run(run_id)
    if place is not None:
        return _print_row(run, place, as_json)
    view = run.view
    if output is not None:
        if output not in {t.name for t in view.tasks}:
            from po_jupyter.model.pipeline.violations import did_you_mean

            raise InvalidInput(
                f"run {run.short} has no task {output!r}{did_you_mean(output, [t.name for t in view.tasks])}"
            )
        state = next(t.state for t in view.tasks if t.name == output)
        if output not in run.outputs:
            raise Conflict(f"task {output!r} of run {run.short} has no output: it is {state}")
        base.print_json(run.outputs[output])
        return 0
    if failed:
        return _print_failures(run, as_json)
    if as_json:
        base.print_json(view.model_dump(mode="json"))
        return live.exit_code(view)
    if follow and view.state not in (*ENDED, "waiting"):
        view, code = live.follow(run)
    else:
        live.print_run(view)
        code = live.exit_code(view)
    if view.state in ENDED:
        print_results(run, view)
    return code


def _print_row(run: Run, place: str, as_json: bool) -> int:
    from po_jupyter.client.reviews.row_details import row_details, row_place

    row = run.client.call(row_details(run.client.aio, run.id, *row_place(place)))
    if as_json:
        base.print_json(row)
    else:
        base.print_line(str(row))
    return 0


def _print_failures(run: Run, as_json: bool) -> int:
    from po_jupyter.cli import live

    view = run.view
    rows: list[JsonObject] = []
    for task in view.tasks:
        if task.items is not None and task.items.failed:
            rows += [{"task": task.name, **item} for item in run.items(task.name, state="failed")]
        elif task.error is not None:
            rows.append({"task": task.name, "index": None, "error": task.error})
    if as_json:
        base.print_json(rows)
    elif not rows:
        base.print_line(f"nothing failed in run {run.short}")
    else:
        for row in rows:
            error = row.get("error") or {}
            location = row["task"] if row["index"] is None else f"{row['task']} row {row['index']}"
            first, *more = base.plain(error.get("message") or "no message").split("\n")
            base.print_line(f"{base.coloured(location, 'failed')}: {first}")
            for line in [*more, *base.plain(error.get("hint") or "").splitlines()]:
                base.print_line(f"  {line}")
            live.print_traceback(fmt.user_traceback(error))
        steps = fmt.next_steps(view, "po ")
        base.print_line("  " + "   ".join(s for s in steps if "--failed" not in s))
    return 0


def print_results(run: Run, view: RunView) -> None:
    """Print the beginning of the last finished task's output."""
    done_tasks = [t.name for t in view.tasks if t.state == "done"]
    if not done_tasks:
        return
    value = run.outputs.get(done_tasks[-1])
    if isinstance(value, list):
        for n, item in enumerate(value[:_ROWS_SHOWN]):
            base.print_line(f" {n}  {base.one_line(_row_words(item), 110)}")
        if len(value) > _ROWS_SHOWN:
            base.print_line(f" … and {len(value) - _ROWS_SHOWN} more")
    elif value is not None:
        base.print_line(f" {done_tasks[-1]} → {base.one_line(value, 400)}")
    base.print_line(f" whole: po show {run.short} --output {done_tasks[-1]}")


def _row_words(item: object) -> object:
    """What stands for a row of a map, or an element of another list."""
    if not isinstance(item, Mapping) or "ok" not in item:
        return item
    if item["ok"]:
        return item.get("output")
    error = item.get("error")
    return f"✗ {error.get('message')}" if isinstance(error, Mapping) else item


@click.command()
@base.JSON
@base.on_shared
def pipelines(as_json: bool) -> int:
    """List the registered pipelines."""
    registered = base.connect(start=False).pipelines()
    if as_json:
        base.print_json(registered)
    elif not registered:
        base.print_line(
            "no pipelines are registered: a cell `%%po_pipeline NAME` without --run or client.register(...) does that"
        )
    else:
        base.print_table(
            ["pipeline", "version", "revision", "tasks"],
            [
                [
                    p["name"],
                    p.get("version", ""),
                    str(p.get("revision", ""))[:12],
                    ", ".join(p.get("tasks", ())),
                ]
                for p in registered
            ],
        )
        for p in registered:
            if p.get("problem"):
                base.print_line(f"{p['name']}: {base.one_line(p['problem'])}", err=True)
    return 0


@click.command("open")
@base.RUN
@click.option(
    "--browser/--no-browser",
    default=None,
    help="Open it, or print the address alone. The default: where there is a desktop.",
)
@base.JSON
def open_(run_id: str, browser: bool | None, as_json: bool) -> int:
    """Print the address of a run's page in JupyterLab, and open it.

    The address works for everybody who may use that server; it has no token in it.
    """
    run = base.find_run(run_id)
    url = f"{_lab_base(run.client.url).rstrip('/')}/lab?po-run={run.id}"
    if as_json:
        base.print_json({"run": run.id, "url": url})
    else:
        base.print_line(url)
    if browser or (browser is None and not as_json and _has_desktop()):
        click.launch(url)
    return 0


open = open_


def _lab_base(url: str) -> str:
    """Where people reach the Lab of the server at `url`. Raises Unavailable for an orchestrator without one."""
    from po_jupyter.client import headless
    from po_jupyter.config import load

    settings = load()
    if settings.public_url is not None:
        return settings.public_url
    holder = headless.holder(settings)
    if holder is not None and holder.kind != "jupyter" and holder.endpoint.url.rstrip("/") == url.rstrip("/"):
        raise Unavailable(
            "the background orchestrator has no pages: it is no Jupyter server",
            hint="Start `jupyter lab` with the same data directory; until then: po show RUN",
        )
    return url


def _has_desktop() -> bool:
    if not sys.stdout.isatty() or os.environ.get("SSH_CONNECTION"):
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
