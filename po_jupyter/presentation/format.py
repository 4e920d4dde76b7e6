"""Formatting of a run's numbers and states, the same in the cell, the panel's twin in the terminal, and plain text.

Pure: the time comes in as an argument, and nothing here knows HTML or colours. Texts that come from
models or users are passed on as they are; a face that draws them escapes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.run.view import ENDED, ItemCounts, RunView, TaskView
from po_jupyter.model.values.json import JsonObject

_ICONS = {
    "pending": "○",
    "running": "▸",
    "waiting": "‖",
    "done": "✓",
    "failed": "✗",
    "cancelled": "⊘",
    "skipped": "↷",
    "dead": "✗",
    "moved": "↗",
}


def state_icon(state: str) -> str:
    """One character, one column wide, for the state of a run or a task."""
    return _ICONS.get(state, "·")


def all_rows_failed(task: TaskView) -> bool:
    """Whether the task is a map of which not one row succeeded, of all that it has."""
    return task.items is not None and 0 < task.items.total <= task.items.failed


def shown_task_state(task: TaskView) -> str:
    """The state whose sign and colour a task has: a map that is done without one good row looks failed."""
    return "failed" if task.state == "done" and all_rows_failed(task) else task.state


def shown_run_state(run: RunView) -> str:
    """The state whose sign and colour a run has: that of its tasks where it is done (`shown_task_state`)."""
    return "failed" if run.state == "done" and any(map(all_rows_failed, run.tasks)) else run.state


def money(cost: float | None) -> str:
    """US dollars. None is `cost unknown`, exactly nothing is `$0`; what is not nothing never looks like it."""
    if cost is None:
        return "cost unknown"
    if cost == 0:
        return "$0"
    if cost < 0.0001:
        return "<$0.0001"
    if cost < 0.0095:
        return f"${float(f'{cost:.1e}'):.5f}".rstrip("0")
    if cost < 0.9995:
        return f"${cost:.3f}"
    return f"${cost:,.2f}"


def cost_sum(cost: float | None, unpriced: int = 0, unknown: int = 0) -> str:
    """A sum with what is not in it: `$1.20 + 3 calls of unknown price + 1 call of unknown outcome`."""
    parts = [] if cost is None and (unpriced or unknown) else [money(cost)]
    for count, what in ((unpriced, "price"), (unknown, "outcome")):
        if count:
            parts.append(f"{count:,} {'call' if count == 1 else 'calls'} of unknown {what}")
    return " + ".join(parts)


def tokens(n: int) -> str:
    """A number of tokens: `812`, `18.2k`, `412k`, `1.23M`."""
    if n < 1000:
        return str(n)
    if n < 99_950:
        return f"{n / 1000:.1f}k"
    if n < 999_500:
        return f"{n / 1000:.0f}k"
    return f"{n / 1e6:.2f}M"


def duration(seconds: float) -> str:
    """A clock: `00:41`, `1:02:03`, `2 d 01:02:03`. Fractions are cut off, as a clock does."""
    total = max(0, int(seconds))
    days, rest = divmod(total, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, secs = divmod(rest, 60)
    if days:
        return f"{days} d {hours:02}:{minutes:02}:{secs:02}"
    if hours:
        return f"{hours}:{minutes:02}:{secs:02}"
    return f"{minutes:02}:{secs:02}"


def elapsed(seconds: float) -> str:
    """The time that a finished thing took: tenths below a minute (`12.1 s`), then a clock."""
    return f"{seconds:.1f} s" if seconds < 59.95 else duration(round(seconds))


def percent(fraction: float) -> str:
    """`41 %`. Only the whole is 100 %, and only nothing is 0 %."""
    if fraction <= 0:
        return "0 %"
    if fraction >= 1:
        return "100 %"
    return f"{min(99, max(1, round(fraction * 100)))} %"


def bar(fraction: float, width: int = 16) -> str:
    """A bar of `width` characters."""
    full = round(max(0.0, min(1.0, fraction)) * width)
    if 0 < fraction < 1:
        full = min(width - 1, max(1, full))
    return "█" * full + "░" * (width - full)


def timestamp(iso: str) -> float:
    """An ISO 8601 time as seconds since 1970."""
    moment = datetime.fromisoformat(iso)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


# strftime's are in the language of the machine.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def moment(seconds: float) -> str:
    """`22:14 UTC, Nov 26, 2026`: a time, in seconds since 1970, for readers anywhere and in any year."""
    at = datetime.fromtimestamp(seconds, UTC)
    return f"{at:%H:%M} UTC, {_MONTHS[at.month - 1]} {at.day}, {at.year}"


def seconds_between(start: str | None, end: str | None, now: float) -> float | None:
    """Seconds from `start` to `end` (to `now`, in seconds since 1970, without one); None before the start."""
    if not start:
        return None
    return max(0.0, (timestamp(end) if end else now) - timestamp(start))


def usage_parts(usage: Usage, budget_usd: float | None = None) -> list[str]:
    """`["18.2k tokens", "$0.043 of $2.00"]`; nothing where no model was asked."""
    parts: list[str] = []
    used = usage.input_tokens + usage.output_tokens
    if used:
        parts.append(f"{tokens(used)} {'token' if used == 1 else 'tokens'}")
    if usage.calls or used or usage.cost or usage.cached_calls:
        parts.append(money(usage.cost) + (f" of {money(budget_usd)}" if budget_usd else ""))
    if usage.cached_calls:
        all_ = usage.calls + usage.cached_calls
        parts.append(f"{usage.cached_calls:,} of {all_:,} {'call' if all_ == 1 else 'calls'} from the cache")
    if usage.unknown:
        calls = "1 call" if usage.unknown == 1 else f"{usage.unknown} calls"
        parts.append(f"{calls} of unknown outcome")
    return parts


def budget_warnings(run: RunView) -> list[str]:
    """`["82 % of the budget used"]`: budgets that are nearly spent, of a run that may spend more; with calls of unknown
    outcome, which stay reserved, `used or reserved`."""
    if run.state in ENDED:
        return []
    names = {"run": "the budget", "day": "today's budget"}
    used = "used or reserved" if run.usage.unknown else "used"
    return [
        f"{percent(min(float(w['fraction']), 1.0))} of {names.get(w['scope'], 'the budget of ' + w['scope'])} {used}"
        for w in run.warnings
    ]


def row_counts(items: ItemCounts, *, running: bool = True) -> str:
    """`412/1000 rows · 3 failed · 300 reused · 16 in flight`; done and failed both count as finished rows. Of an
    operator that is done also `kept 120 of 291`, `made 12 of 291`; of a cascade that learned its threshold also
    `512 by the first model alone`.

    Nothing is in flight of a task that is not `running`, whatever its last count was.
    """
    parts = [f"{items.done + items.failed}/{items.total} rows"]
    if items.failed:
        parts.append(f"{items.failed} failed")
    if items.reused:
        parts.append(f"{items.reused} reused")
    if items.in_flight and running:
        parts.append(f"{items.in_flight} in flight")
    if items.alone is not None:
        parts.append(f"{items.alone} by the first model alone")
    for verb, number in (("kept", items.kept), ("made", items.made)):
        if number is not None and items.of is not None:
            parts.append(f"{verb} {number} of {items.of}")
    return " · ".join(parts)


def progress(items: ItemCounts | None) -> float | None:
    """The finished fraction of a map's rows, None for a task without rows."""
    if items is None:
        return None
    return (items.done + items.failed) / items.total if items.total else 1.0


def headline(run: RunView, now: float) -> list[str]:
    """The parts of the first line: pipeline, run, state, tasks, clock, tokens, money."""
    parts = [f"{run.pipeline} {run.version}", f"run {short_id(run.id)}", _state_of(run)]
    finished = sum(t.state in ("done", "skipped") for t in run.tasks)
    running = [i for i, t in enumerate(run.tasks, 1) if t.state == "running"]
    if run.state == "running" and len(running) == 1:
        parts.append(f"task {running[0]} of {len(run.tasks)}")
    elif run.tasks:
        parts.append(f"{finished} of {len(run.tasks)} {'task' if len(run.tasks) == 1 else 'tasks'} done")
    seconds = seconds_between(run.created_at, run.updated_at if run.state in ENDED else None, now)
    if seconds is not None:
        parts.append(duration(seconds))
    return parts + usage_parts(run.usage, run.budget.get("usd")) + budget_warnings(run)


def _state_of(run: RunView) -> str:
    if run.state == "waiting" and run.gate:
        return "waiting for a decision"
    if run.state == "pending" and run.position:
        return f"queued, number {run.position}"
    if run.waiting and run.state not in ENDED:
        return f"{run.state}, waits for the store"
    return str(run.state)


def not_ended(run: RunView, seconds: float | None) -> str:
    """What somebody is told who waited no longer than `seconds` for the end of a run."""
    within = "" if seconds is None else f" within {seconds:g} s"
    return f"run {short_id(run.id)} has not ended{within}, and goes on: it is {_state_of(run)}"


class TaskLine(NamedTuple):
    """The row of a task in a view. `doing` is the stage while it runs, else the state."""

    icon: str
    name: str
    doing: str
    details: list[str]
    progress: float | None
    note: str  # the reason of a wait or a skip, or ""
    learned: str  # as `learned_threshold`


def task_line(task: TaskView, now: float) -> TaskLine:
    """The row of a task."""
    running = task.state == "running"
    details: list[str] = []
    seconds = seconds_between(task.started_at, task.ended_at if not running else None, now)
    if task.items is not None:
        details.append(row_counts(task.items, running=running))
    if seconds is not None and (running or task.ended_at):
        details.append(duration(seconds) if running else elapsed(seconds))
    if task.attempt > 1:
        details.append(f"attempt {task.attempt}")
    details += usage_parts(task.usage)
    if task.kind != "prompt":
        details.append(task.kind)
    done = progress(task.items) if running else None
    note = (task.waiting or "") if task.state in ("running", "pending") else ""
    if task.state == "skipped":
        note = task.reason or ""
    doing = (task.stage or "running") if running else task.state
    icon = state_icon(shown_task_state(task))
    return TaskLine(icon, task.name, doing, details, done, note, learned_threshold(task))


def learned_threshold(task: TaskView) -> str:
    """`threshold 0.83 learned from 200 rows: 96 % agree with MODEL (95 % interval: 93 % to 98 %)`; "" where no cascade
    learned one."""
    learned = task.cascade
    if learned is None:
        return ""
    sampled = f"{learned['sampled']} {'row' if learned['sampled'] == 1 else 'rows'}"
    interval, threshold, model = learned["interval"], learned["threshold"], learned["model"]
    if interval is None:
        return f"no threshold learned from {sampled}: {model} answers every row"
    agree = percent(learned["agreeing"] / learned["sure"])
    seen = f"{agree} agree with {model} (95 % interval: {percent(interval[0])} to {percent(interval[1])})"
    if threshold is None:
        return f"no threshold learned from {sampled}: {seen}, which answers every row"
    return f"threshold {threshold:.3g} learned from {sampled}: {seen}"


class RunProblem(NamedTuple):
    """A problem of a run, with its place; `hint` is the error's own advice, or "".

    `traceback` has the lines of the person's own Python that raised it, innermost last.
    """

    text: str
    hint: str = ""
    traceback: str = ""


def problems(run: RunView) -> Iterator[RunProblem]:
    """One for each failed task, one for each map with failed rows, one for a run that failed as a whole."""
    messages: set[str] = set()
    if run.waiting and run.state not in ENDED:
        yield RunProblem(run.waiting)
    for task in run.tasks:
        error = task.error or {}
        by_rows = task.state == "failed" and error.get("code") == "failure_threshold"
        if task.items is not None and task.items.failed and not by_rows:  # else the error has the numbers
            went_on = "; the run went on" if task.state == "done" else ""
            yield RunProblem(f"{task.name} failed on {task.items.failed} of {task.items.total} rows{went_on}")
        if error and task.state in ("failed", "pending", "running"):
            message = str(error.get("message", ""))
            messages.add(message)
            stage = f" in {task.stage}" if task.stage and task.state == "failed" else ""
            verb = "failed" if task.state == "failed" else f"attempt {max(1, task.attempt - 1)} failed"
            text = f"{task.name} {verb}{stage}: {message}"
            yield RunProblem(text, str(error.get("hint") or ""), user_traceback(error))
    if run.error:
        message = str(run.error.get("message", ""))
        if message and not any(message in t or t in message for t in messages):
            yield RunProblem(message, str(run.error.get("hint") or ""), user_traceback(run.error))


def user_traceback(error: JsonObject) -> str:
    """The lines of the person's own Python in an error, as it was raised; "" without any."""
    traceback = (error.get("details") or {}).get("traceback")
    return traceback.rstrip() if isinstance(traceback, str) else ""


def _needs_more_budget(error: JsonObject) -> bool:
    """Whether a limit of the run's own stopped it. That of a hub is its admin's, and no option raises it."""
    return error.get("code") == "budget_exceeded" and (error.get("details") or {}).get("scope") != "hub"


def next_steps(run: RunView, prefix: str = "%po ") -> list[str]:
    """The commands that go on from where the run stands; [] while it runs or when nothing is left to do."""
    this = short_id(run.id)
    failed_rows = any(t.items is not None and t.items.failed for t in run.tasks)
    failed_rows = failed_rows or any(shard.get("failed_rows") for t in run.tasks for shard in t.shards[-1:])
    steps: list[str] = []
    if failed_rows and run.state in ENDED:
        steps.append(f"show {this} --failed")
    if run.state == "moved":
        return [f"{prefix}show {this} --on shared"]
    if run.state == "waiting":
        steps += [f"approve {this}", f"reject {this}"]
    elif run.state == "failed" and _needs_more_budget(run.error or {}):
        steps.append(f"resume {this} --budget USD")
    elif run.state == "done" and failed_rows:
        steps.append(f"resume {this} --only-failed")
    elif run.state in ("failed", "cancelled", "dead"):
        steps.append(f"resume {this}")
        if failed_rows:
            steps.append(f"resume {this} --only-failed")
    return [prefix + step for step in steps]
