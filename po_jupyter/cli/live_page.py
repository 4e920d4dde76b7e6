"""The page of a run in a terminal: header, money, tasks and their progress, waits, failures, what a model writes.

The content is that of the run page's first tab. It fits its window: finished and pending tasks are counted where there
are more than lines, those at work and those that failed are always shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from po_jupyter.cli.base import plain
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.view import ENDED, RunView, TaskView
from po_jupyter.presentation import format as fmt

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

_FRAME = 9  # lines of the page that are not tasks
_TEXT_SHOWN = 300  # characters of streamed text that are shown
_BAR = 16
_LONGEST_NAME = 28  # characters of a task that are shown
_STYLES = {
    "running": "blue", "waiting": "yellow", "done": "green", "failed": "red", "dead": "red", "cancelled": "yellow",
    "moved": "bright_black", "pending": "bright_black", "skipped": "bright_black",
}  # fmt: skip


class WindowSize(NamedTuple):
    """The columns and lines of a terminal."""

    width: int
    height: int


def page(
    view: RunView,
    now: float,
    size: WindowSize | tuple[int, int],
    failures: Sequence[tuple[str, str]] = (),
    writing: tuple[str, str] | None = None,
) -> RenderableType:
    """The page. `failures` are (where, why), the newest first; `writing` is who writes, and the end of the text."""
    from rich.console import Group

    width, height = size
    parts: list[RenderableType] = [_header(view, now)]
    money = _money(view)
    if money is not None:
        parts.append(money)
    parts.append(_tasks(view, now, width, max(3, height - _FRAME - len(failures))))
    if view.waiting and view.state not in ENDED:
        parts.append(_line(f" {view.waiting}", "yellow"))
    for place, why in failures:
        parts.append(_line(f" ✗ {place}: {why}", "red"))
    if writing is not None:
        parts.append(_line(f" {writing[0]} │ {_tail(writing[1], width)}"))
    if view.state not in ENDED:
        parts.append(
            _line(f" Ctrl-C leaves, the run goes on · po cancel {short_id(view.id)} stops it", "bright_black")
        )
    return Group(*parts)


def _line(text: str, style: str = "") -> Text:
    """One line, cut where the window ends."""
    from rich.text import Text

    return Text(" ".join(plain(text).split("\n")), style=style, no_wrap=True, overflow="ellipsis")


def _header(view: RunView, now: float) -> Text:
    head, identity, state, *facts = fmt.headline(view, now)
    used = {*fmt.usage_parts(view.usage, view.budget.get("usd")), *fmt.budget_warnings(view)}
    text = _line(f"{head} · {identity} · ")
    text.append(plain(state), style=_STYLES.get(fmt.shown_run_state(view), ""))
    for fact in facts:
        if fact not in used:  # they have a line of their own
            text.append(f" · {fact}")
    return text


def _money(view: RunView) -> Text | None:
    """Tokens and dollars, and how much of the budget that is."""
    parts = fmt.usage_parts(view.usage, view.budget.get("usd"))
    limit = view.budget.get("usd")
    if not parts:
        return None
    text = _line(" " + " · ".join(parts))
    if isinstance(limit, int | float) and limit > 0 and view.usage.cost is not None:
        fraction = view.usage.cost / limit
        style = "red" if fraction >= 1 else "yellow" if fraction >= 0.8 else "green"
        text.append(f"  {fmt.bar(fraction, _BAR)} {fmt.percent(fraction)}", style=style)
    return text


def _tasks(view: RunView, now: float, width: int, room: int) -> Table:
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    lines = {task.name: fmt.task_line(task, now) for task in view.tasks}
    names = max((cell_len(plain(name)) for name in lines), default=0)
    doing = max((cell_len(line.doing) for line in lines.values()), default=0)
    # Only the last column gives way in a narrow window: rich would take the signs away first.
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    for column in (2, min(names, _LONGEST_NAME, width // 3), doing):
        table.add_column(no_wrap=True, overflow="ellipsis", width=column)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for task, count in _shown(view.tasks, room):
        if task is None:
            table.add_row("", "", "", Text(count, style="bright_black"))
            continue
        line, style = lines[task.name], _STYLES.get(fmt.shown_task_state(task), "")
        details = Text(" · ".join(line.details))
        if line.progress is not None:
            details = (
                Text(f"{fmt.bar(line.progress, _BAR)} {fmt.percent(line.progress)}  ", style=style) + details
            )
        table.add_row(
            Text(f" {line.icon}", style=style), Text(plain(line.name)), Text(line.doing, style=style), details
        )
        if line.note:
            table.add_row("", "", "", Text(plain(line.note), style="yellow"))
        if line.learned:
            table.add_row("", "", "", Text(plain(line.learned), style="bright_black"))
    return table


def _shown(tasks: Sequence[TaskView], room: int) -> Iterator[tuple[TaskView | None, str]]:
    """The tasks that fit, in order, with (None, how many) where some are left out."""
    if len(tasks) <= room:
        yield from ((task, "") for task in tasks)
        return
    left_out: list[TaskView] = []
    spare = room - sum(map(_matters, tasks)) - 2
    for task in tasks:
        if _matters(task) or spare > 0:
            yield from _counted(left_out)
            left_out = []
            spare -= not _matters(task)
            yield task, ""
        else:
            left_out.append(task)
    yield from _counted(left_out)


def _matters(task: TaskView) -> bool:
    return task.state in ("running", "failed") or fmt.shown_task_state(task) == "failed"


def _counted(tasks: Sequence[TaskView]) -> Iterator[tuple[None, str]]:
    if tasks:
        states = sorted({task.state for task in tasks})
        counts = ", ".join(f"{sum(task.state == state for task in tasks)} {state}" for state in states)
        yield None, f"… {counts}"


def _tail(text: str, width: int) -> str:
    room = max(20, min(_TEXT_SHOWN, width - 30))
    shown = " ".join(plain(text).split())
    return shown if len(shown) <= room else "…" + shown[-room:]
