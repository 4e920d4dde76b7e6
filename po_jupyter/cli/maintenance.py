"""`po usage`, `clean`, `audit`: what was used and the room it takes, what goes, and who changed what."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from po_jupyter.cli import base
from po_jupyter.model.run.names import short_id
from po_jupyter.presentation import format as fmt

if TYPE_CHECKING:
    _Type = click.ParamType[float]
else:
    _Type = click.ParamType  # older versions of click know it without the kind of its value

_DAYS = {"h": 1 / 24, "d": 1.0, "w": 7.0, "y": 365.0}
_ENDED = ("done", "failed", "cancelled", "dead")


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
    found = base.connect(start=False).usage(days)
    if as_json:
        base.dump(found)
        return 0
    _used(found, days, by_model)
    disk = found["disk"]
    states = disk["runs"]["states"]
    if states:
        rows = [[state, str(s["runs"]), size(s["bytes"])] for state, s in sorted(states.items())]
        base.table(["state", "runs", "room"], rows)
    else:
        base.say("no runs")
    parts = [
        f"{name} {size(disk[name])}" for name in ("store", "files", "blobs", "cache", "logs") if disk.get(name)
    ]
    free = f"   free on the disk: {size(disk['free'])}" if disk.get("free") is not None else ""
    base.say(f"on the disk: {', '.join(parts) or 'nothing'}{free}")
    return 0


def _used(found: dict[str, Any], days: int, by_model: bool) -> None:
    last = "today" if days == 1 else f"in the last {days} days"
    if not found["days"]:
        base.say(f"no model was asked {last}")
        return
    rows = []
    for day in found["days"]:
        rows.append([day["day"], *_line(day)])
        if by_model:
            rows += [[f"  {model}", *_line(used)] for model, used in day["by_model"].items()]
    if len(found["days"]) > 1:
        rows.append(["total", *_line(found["total"])])
    owners = found.get("owners") or {}
    if len(owners) > 1:
        rows += [[f"  {owner}", *_line(theirs["total"])] for owner, theirs in owners.items()]
    base.table(["day (UTC)", "calls", "tokens in", "out", "cost"], rows)


def _line(used: dict[str, Any]) -> list[str]:
    counts = [f"{used[name]:,}" for name in ("calls", "input_tokens", "output_tokens")]
    if used.get("cached_calls"):
        counts[0] += f" + {used['cached_calls']:,} cached"
    return [*counts, fmt.cost_sum(used["cost"], used["unpriced"], used["unknown"])]


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
    found = client.clean(dry_run=dry_run, older_than=older_than, states=state, cache=cache)
    if as_json:
        base.dump(found)
        return 0
    if cache:
        gone = found["cache"]
        word = "would be forgotten" if dry_run else "forgotten"
        base.say(
            f"{gone['answers']:,} cached answer{'s' if gone['answers'] != 1 else ''} {word}, {size(gone['bytes'])}"
        )
        return 0
    runs = found["runs"]
    if runs:
        rows = [
            [short_id(r["run"]), r["state"], base.brief(r["name"], 40), r["ended_at"][:10], size(r["bytes"])]
            for r in runs
        ]
        base.table(["run", "state", "seed", "ended", "room"], rows, [r["state"] for r in runs])
    word = "would be deleted" if dry_run else "deleted"
    base.say(f"{len(runs)} run{'s' if len(runs) != 1 else ''} {word}, {size(found['bytes'])}")
    if not dry_run and found["returned"]:
        base.say(f"the store is {size(found['returned'])} smaller")
    return 0


@click.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many.")
@base.JSON
def audit(limit: int, as_json: bool) -> int:
    """Say who changed what, the newest first."""
    entries = base.connect(start=False).audit(limit)
    if as_json:
        base.dump(entries)
        return 0
    if not entries:
        base.say("nothing was changed yet")
        return 0
    known = ("at", "by", "action", "run", "idempotency_key")  # a name for a request; the log shows stars for it
    rows = []
    for entry in entries:
        run = str(entry.get("run", ""))
        more = "  ".join(f"{k}={base.brief(v, 40)}" for k, v in entry.items() if k not in known)
        at = str(entry.get("at", ""))[:19].replace("T", " ")
        who, did = str(entry.get("by", "")), str(entry.get("action", ""))
        rows.append([at, who, did, short_id(run) if run else "", more])
    base.table(["at (UTC)", "who", "did", "run", "what"], rows)
    return 0
