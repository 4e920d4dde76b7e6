"""`po schedule`: pipelines that run by the clock."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

import click

from po_jupyter.cli import base
from po_jupyter.model.run.names import short_id

if TYPE_CHECKING:
    from po_jupyter.client.client import Client
    from po_jupyter.client.http.payloads import ScheduleJson
    from po_jupyter.model.values.json import JsonObject

_SCHEDULE = click.argument("schedule_id", metavar="SCHEDULE")


@click.group(invoke_without_command=True)
@base.JSON
@click.pass_context
def schedule(context: click.Context, as_json: bool) -> int | None:
    """Run pipelines by the clock: each slot once, whatever dies.

    \b
    po schedule add tickets --cron "30 7 * * MON-FRI" --timezone Europe/Berlin --seed '@in/*.csv' --only-new
    po schedule list
    """
    return _print_list(as_json) if context.invoked_subcommand is None else None


@schedule.command("add")
@click.argument("pipeline")
@click.option(
    "--cron", required=True, metavar="FIELDS", help='Minute, hour, day, month, weekday: "0 7 * * MON-FRI".'
)
@click.option("--timezone", default="UTC", show_default=True, metavar="ZONE", help="Such as Europe/Berlin.")
@click.option(
    "--seed",
    type=base.TEXT,
    metavar="JSON|@FILE|@PATTERN",
    help="The seed's data; a list becomes seed.rows. Files are read at each slot, by the orchestrator.",
)
@click.option("--only-new", is_flag=True, help="Of the files only those that no earlier run had.")
@base.sql_options
@click.option("--new-by", metavar="COLUMN", help="Of --sql only rows whose value there no earlier run reached.")
@click.option("--budget", type=base.MONEY, multiple=True, metavar="USD|TASK=USD", help="Of each run.")
@click.option("--model", metavar="REF", help="The model of every task, as provider:model.")
@click.option(
    "--missed",
    type=click.Choice(["skip", "last", "all"]),
    default="last",
    show_default=True,
    help="What is made up for when nobody was up: nothing, the last slot, all (at most 100).",
)
@click.option(
    "--overlap",
    type=click.Choice(["skip", "queue"]),
    default="skip",
    show_default=True,
    help="When the run before still goes on: pass the slot over, or have it wait.",
)
@base.JSON
def add(
    pipeline: str,
    cron: str,
    timezone: str,
    seed: str | None,
    only_new: bool,
    sql: str | None,
    db: str | None,
    new_by: str | None,
    budget: tuple[tuple[str, float], ...],
    model: str | None,
    missed: Literal["skip", "last", "all"],
    overlap: Literal["skip", "queue"],
    as_json: bool,
) -> int:  # fmt: skip
    """Have a pipeline run by the clock.

    PIPELINE is a registered one, or a file, which is registered. Each run has the pipeline as it is registered then.
    """
    from po_jupyter.cli import inputs

    inputs.check_model(model)
    query = inputs.sql_query(sql, db, seed)
    source = {} if query is None else {"sql": query.query, "db": query.database}
    if new_by is not None:
        source["new_by"] = new_by
    files = seed[1:] if seed is not None and seed.startswith("@") else None
    data = inputs.seed_data(seed) if seed is not None and files is None else None
    client = base.connect(start=True)
    added = client.schedules.add(
        _registered(client, pipeline), cron,
        timezone=timezone, seed=data, files=files, only_new=only_new, budget=base.budget_body(budget), model=model,
        missed=missed, overlap=overlap, **source,
    )  # fmt: skip
    return _print_one(added, f"schedule {added['id']} of {base.plain(added['pipeline'])}", as_json)


def _registered(client: Client, pipeline: str) -> str:
    """The name of a pipeline that is registered now."""
    from po_jupyter.cli import inputs

    if not inputs.is_file(pipeline):
        return pipeline
    definition = inputs.pipeline_file(pipeline)
    with inputs.located(pipeline):
        client.register(definition)
    return definition.name


@schedule.command("list")
@base.JSON
def list_(as_json: bool) -> int:
    """List the schedules: when each is due next, and what became of its last slot."""
    return _print_list(as_json)


def _print_list(as_json: bool) -> int:
    schedules = base.connect(start=False).schedules.list()
    if as_json:
        base.print_json(schedules)
    elif not schedules:
        base.print_line('no schedules: po schedule add PIPELINE --cron "0 7 * * *"')
    else:
        rows = [
            [one["id"], one["pipeline"], one["cron"], _next(one), base.one_line(_latest(one), 60)]
            for one in schedules
        ]
        base.print_table(["schedule", "pipeline", "cron", "next", "last"], rows)
    return 0


@schedule.command("show")
@_SCHEDULE
@base.JSON
def show(schedule_id: str, as_json: bool) -> int:
    """Show a schedule, and what became of its last slots."""
    found = base.connect(start=False).schedules.get(schedule_id)
    if as_json:
        base.print_json(found)
        return 0
    seed: JsonObject = found.get("seed") or {}
    facts: list[tuple[str, object]] = [
        ("pipeline", found["pipeline"]), ("cron", f"{found['cron']} ({found['timezone']})"), ("next", _next(found)),
        ("missed", found["missed"]), ("overlap", found["overlap"]), ("files", seed.get("files")),
        ("only new", "yes" if seed.get("only_new") else None), ("sql", seed.get("sql")),
        ("db", seed.get("db")),
        ("new by", seed.get("new_by")), ("waits", found["reason"] if found["state"] == "active" else None),
        ("model", found.get("model")),
        ("waiting", found["waiting"] or None),
    ]  # fmt: skip
    for name, value in facts:
        if value is not None:
            base.print_line(f"{name + ':':<10} {base.one_line(str(value), 200)}")
    outcomes = found.get("outcomes") or []
    if outcomes:
        zone = found["timezone"]
        rows = [[_wall(o["slot"], zone), base.one_line(_outcome(o), 120)] for o in outcomes]
        base.print_table(["slot", "outcome"], rows)
    return 0


@schedule.command("pause")
@_SCHEDULE
@base.JSON
def pause(schedule_id: str, as_json: bool) -> int:
    """Have no slot run until it is resumed."""
    return _print_one(base.connect(start=True).schedules.pause(schedule_id), f"schedule {schedule_id}", as_json)


@schedule.command("resume")
@_SCHEDULE
@base.JSON
def resume(schedule_id: str, as_json: bool) -> int:
    """Go on with the next slot; what came due meanwhile is not made up for."""
    return _print_one(
        base.connect(start=True).schedules.resume(schedule_id), f"schedule {schedule_id}", as_json
    )


@schedule.command("remove")
@_SCHEDULE
@base.JSON
def remove(schedule_id: str, as_json: bool) -> int:
    """Forget a schedule; its runs stay."""
    base.connect(start=True).schedules.remove(schedule_id)
    if as_json:
        base.print_json({"removed": schedule_id})
    else:
        base.print_line(f"schedule {base.plain(schedule_id)} is removed; its runs stay")
    return 0


@schedule.command("run")
@_SCHEDULE
@base.JSON
def run(schedule_id: str, as_json: bool) -> int:
    """Start a run of a schedule now, besides its slots."""
    view = base.connect(start=True).schedules.start_run(schedule_id)
    if as_json:
        base.print_json(view.model_dump(mode="json"))
    else:
        base.print_line(f"run {short_id(view.id)} started: po show {short_id(view.id)}")
    return 0


def _print_one(found: ScheduleJson, subject: str, as_json: bool) -> int:
    if as_json:
        base.print_json(found)
    else:
        base.print_line(f"{base.plain(subject)}: {'next at ' if found['next_at'] else ''}{_next(found)}")
    return 0


def _latest(found: ScheduleJson) -> str:
    """Why a slot waits, else what became of the last one."""
    if found["state"] == "active" and found["reason"]:
        return f"waits: {found['reason']}"
    return _outcome(found["last"])


def _next(found: ScheduleJson) -> str:
    if found["next_at"] is None:
        reason = base.one_line(found["reason"] or "", 60)
        return f"paused: {reason}" if reason else "paused"
    return _wall(found["next_at"], found["timezone"])


def _wall(moment: str, timezone: str) -> str:
    """A moment as the clock on the wall there shows it."""
    try:
        at = datetime.fromisoformat(moment).astimezone(ZoneInfo(timezone))
    except (ValueError, KeyError, OSError):  # this machine does not know the zone
        return moment
    return f"{at:%Y-%m-%d %H:%M} {timezone}"


def _outcome(outcome: Any) -> str:
    if not outcome:
        return "none yet"
    if outcome["outcome"] == "run":
        state = outcome.get("state")
        return " ".join(filter(None, ["run", short_id(outcome["run"]), state, outcome.get("note")]))
    count = outcome.get("count", 1)
    times = f" ({count} slots)" if count > 1 else ""
    return f"{outcome['outcome']}{times}: {outcome.get('note', '')}"
