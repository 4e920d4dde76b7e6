"""`po usage`, `clean` and `audit`: usage and room of runs, their deletion, and the audit log."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from po_jupyter.cli import base
from po_jupyter.model.run.names import short_id
from po_jupyter.presentation import format as fmt

if TYPE_CHECKING:
    from po_jupyter.client.http.payloads import (
        ChargesJson,
        CleanedCacheJson,
        CleaningJson,
        DiskJson,
        HubUsageJson,
        HubWindowJson,
        UsageJson,
    )

    _Type = click.ParamType[float]
else:
    _Type = click.ParamType  # older versions of click know it without the kind of its value

_DAYS = {"h": 1 / 24, "d": 1.0, "w": 7.0, "y": 365.0}
_ENDED = ("done", "failed", "cancelled", "dead", "moved")


class Age(_Type):
    """`30d`, `12h`, `2w`: days as a number."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Days."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([hdwy]?)", str(value).strip().lower())
        if match is None or float(match[1]) * _DAYS[match[2] or "d"] > 36_500:
            self.fail(f"{value!r} is not an age: write 12h, 30d, 2w or 1y", param, ctx)
        return float(match[1]) * _DAYS[match[2] or "d"]


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


@click.command()
@click.option(
    "--days", type=click.IntRange(1, 3660), default=30, show_default=True, metavar="N",
    help="Of the last N days (UTC), today among them.",
)  # fmt: skip
@click.option("--by-model", is_flag=True, help="A line for each model of a day.")
@base.JSON
def usage(days: int, by_model: bool, as_json: bool) -> int:
    """Say what was used day by day, and how much room runs take.

    Deleted runs stay counted. Calls whose price or outcome nobody knows are said beside the sum.
    """
    report = base.connect(start=False).usage(days)
    if as_json:
        base.print_json(report)
        return 0
    _print_charges(report, days, by_model)
    for line in _hub_lines(report.get("hub")):
        base.print_line(line)
    _print_room(report["disk"])
    return 0


def _hub_lines(hub: HubUsageJson | None) -> list[str]:
    """The limits of the hub's gateway, and what is used of them."""
    if hub is None:
        return []
    lines = [f"on the hub, as {hub['user']}:" if hub["user"] else "on the hub:"]
    windows = [window for window in hub["windows"] if window.get("limit") is not None or window.get("used")]
    for window in windows:
        lines.append(f"  {_scope_of(window)}: {_used(window)}")
    if hub["problem"]:
        lines.append(f"  {base.plain(hub['problem'])}; this is the last that is known")
    elif not windows:
        lines.append("  no limit, and nothing used")
    return lines


def _scope_of(window: HubWindowJson) -> str:
    scope = window.get("scope", "")
    scope = "user" if scope.startswith("user:") else scope
    return base.plain({"user": "you", "all": "everybody"}.get(scope, scope.replace(":", " ", 1)))


def _used(window: HubWindowJson) -> str:
    """`$0.40 of $2 today, until 2026-11-28 00:00 UTC`."""

    def amount(value: float) -> str:
        return fmt.money(value) if window.get("unit") == "usd" else f"{value:,.0f} {window.get('unit', '')}"

    used = window.get("used", 0) + window.get("reserved", 0)
    limit = window.get("limit")
    part = amount(used) if limit is None else f"{amount(used)} of {amount(limit)}"
    when = {"day": "today", "month": "this month", "minute": "this minute"}.get(window.get("window", ""), "")
    resets = str(window.get("resets_at") or "")[:16].replace("T", " ")
    return base.plain(f"{part} {when}" + (f", until {resets} UTC" if resets and when != "this minute" else ""))


def _print_room(disk: DiskJson) -> None:
    states = disk["runs"]["states"]
    if states:
        rows = [[state, str(s["runs"]), size(s["bytes"])] for state, s in sorted(states.items())]
        base.print_table(["state", "runs", "room"], rows)
    else:
        base.print_line("no runs")
    parts = [(name, disk.get(name)) for name in ("store", "files", "blobs", "cache", "logs")]
    sizes = [f"{name} {size(count)}" for name, count in parts if isinstance(count, int) and count]
    free = disk.get("free")
    rest = f"   free on the disk: {size(free)}" if free is not None else ""
    base.print_line(f"on the disk: {', '.join(sizes) or 'nothing'}{rest}")


def _print_charges(report: UsageJson, days: int, by_model: bool) -> None:
    last = "today" if days == 1 else f"in the last {days} days"
    if not report["days"]:
        base.print_line(f"no model was asked {last}")
        return
    rows = []
    for day in report["days"]:
        rows.append([day["day"], *_charges_row(day)])
        if by_model:
            rows += [[f"  {model}", *_charges_row(charges)] for model, charges in day["by_model"].items()]
    if len(report["days"]) > 1:
        rows.append(["total", *_charges_row(report["total"])])
    owners = report.get("owners") or {}
    if len(owners) > 1:
        rows += [[f"  {owner}", *_charges_row(usage["total"])] for owner, usage in owners.items()]
    base.print_table(["day (UTC)", "calls", "tokens in", "out", "cost"], rows)


def _charges_row(charges: ChargesJson) -> list[str]:
    calls = f"{charges['calls']:,}"
    if charges.get("cached_calls"):
        calls += f" + {charges['cached_calls']:,} cached"
    tokens = [f"{charges['input_tokens']:,}", f"{charges['output_tokens']:,}"]
    return [calls, *tokens, fmt.cost_sum(charges["cost"], charges["unpriced"], charges["unknown"])]


@click.command()
@click.option(
    "--older-than", type=Age(), metavar="AGE",
    help="Only what ended so long ago: 12h, 30d, 2w. 0: all that ended.",
)  # fmt: skip
@click.option(
    "--state", multiple=True, type=click.Choice(_ENDED),
    help="Runs of this state (repeatable); by default only done: the others can be resumed.",
)  # fmt: skip
@click.option("--cache", is_flag=True, help="Forget the cached answers of models, and delete no run.")
@click.option("--dry-run", is_flag=True, help="Say what would go, delete nothing.")
@base.JSON
def clean(older_than: float | None, state: tuple[str, ...], cache: bool, dry_run: bool, as_json: bool) -> int:
    """Delete old runs and give their room back.

    Without --older-than, what the settings retention_* say; that happens once a day by itself. Runs that have
    not ended are never deleted.
    """
    if state and older_than is None:
        raise click.UsageError("--state needs --older-than, for example --older-than 30d")
    if cache and (state or older_than is not None):
        raise click.UsageError("--cache is about answers, --older-than and --state are about runs")
    client = base.connect(start=not dry_run)
    cleaning = client.clean(dry_run=dry_run, older_than=older_than, states=state, cache=cache)
    if as_json:
        base.print_json(cleaning)
    elif cache:
        _print_cleaned_cache(cleaning["cache"], dry_run)
    else:
        _print_cleaned_runs(cleaning, dry_run)
    return 0


def _print_cleaned_cache(cleaned: CleanedCacheJson, dry_run: bool) -> None:
    outcome = "would be forgotten" if dry_run else "forgotten"
    answers = f"{cleaned['answers']:,} cached answer{'s' if cleaned['answers'] != 1 else ''}"
    base.print_line(f"{answers} {outcome}, {size(cleaned['bytes'])}")


def _print_cleaned_runs(cleaning: CleaningJson, dry_run: bool) -> None:
    runs = cleaning["runs"]
    if runs:
        rows = [
            [
                short_id(r["run"]),
                r["state"],
                base.one_line(r["name"], 40),
                r["ended_at"][:10],
                size(r["bytes"]),
            ]
            for r in runs
        ]
        base.print_table(["run", "state", "seed", "ended", "room"], rows, [r["state"] for r in runs])
    outcome = "would be deleted" if dry_run else "deleted"
    base.print_line(f"{len(runs)} run{'s' if len(runs) != 1 else ''} {outcome}, {size(cleaning['bytes'])}")
    if not dry_run and cleaning["returned"]:
        base.print_line(f"the store is {size(cleaning['returned'])} smaller")


@click.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many.")
@base.JSON
def audit(limit: int, as_json: bool) -> int:
    """Say who changed what, the newest first."""
    entries = base.connect(start=False).audit(limit)
    if as_json:
        base.print_json(entries)
        return 0
    if not entries:
        base.print_line("nothing was changed yet")
        return 0
    # In columns of their own, but for the idempotency key: a client's name for a request, which the log masks.
    shown_apart = ("at", "by", "action", "run", "idempotency_key")
    rows = []
    for entry in entries:
        run = str(entry.get("run", ""))
        more = "  ".join(f"{k}={base.one_line(v, 40)}" for k, v in entry.items() if k not in shown_apart)
        at = str(entry.get("at", ""))[:19].replace("T", " ")
        actor, action = str(entry.get("by", "")), str(entry.get("action", ""))
        rows.append([at, actor, action, short_id(run) if run else "", more])
    base.print_table(["at (UTC)", "who", "did", "run", "what"], rows)
    return 0
