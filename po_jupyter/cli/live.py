"""The live view of a run in a terminal: redrawn in place where there is one, plain lines elsewhere.

An interrupt detaches: the run is the orchestrator's, not this process's.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from po_jupyter.cli.base import coloured, plain, print_line
from po_jupyter.cli.main import FAILED, INTERRUPTED, OK, TERMINATED, WAITING
from po_jupyter.errors import PoError
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.view import ENDED, RunView, TaskView
from po_jupyter.presentation import format as fmt

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from po_jupyter.client.async_client import TextDelta
    from po_jupyter.client.run import Run

_LOOK_BACK = 400  # events among which the newest failures are looked for
_NEWEST = 3  # failures that are shown
_TEXT_SHOWN = 300  # characters of streamed text that are shown
_LINE_EVERY = 2.0  # seconds between two lines about one map, or about one wait
PREFIX = "po "


class Screen(Protocol):
    """A view of a run while it goes on."""

    def show(self, view: RunView) -> None:
        """Show the run as it is now."""

    def add_text(self, delta: TextDelta) -> None:
        """Add a piece of an answer that a model is writing."""

    def close(self) -> None:
        """Show nothing any more."""


def follow(run: Run, *, quiet: bool = False) -> tuple[RunView, int]:
    """Show the run until it ends or waits for a decision: (its last view, the exit code).

    `quiet` shows nothing (`--json`). Detaches on an interrupt and says how to come back.
    """
    screen = _screen(run, quiet)
    view: RunView = run.view
    try:
        for update in run.follow():
            if isinstance(update, RunView):
                view = update
                screen.show(view)
                if view.state == "waiting":
                    break
            else:
                screen.add_text(update)
    except KeyboardInterrupt:
        screen.close()
        _print_detached(view)
        return view, INTERRUPTED
    except SystemExit:
        screen.close()
        _print_detached(view)
        return view, TERMINATED
    finally:
        screen.close()
    if not quiet:
        print_conclusion(view)
    return view, exit_code(view)


def exit_code(view: RunView) -> int:
    """0 done, 4 waiting for a decision, 1 any other end, or done with a map of which every row failed.

    0 for a run that has not ended.
    """
    if view.state == "waiting":
        return WAITING
    return FAILED if view.state in ENDED and fmt.shown_run_state(view) != "done" else OK


def print_conclusion(view: RunView) -> None:
    """Print what went wrong and what to do next, below a picture of the run."""
    if view.state == "waiting" and view.gate:
        gate = view.gate
        print_line(
            plain(f"{gate.get('task')} is done and waits for a decision: {gate.get('message') or 'go on?'}")
        )
    for problem in fmt.problems(view):
        print_line(coloured(plain(problem.text), "failed"))
        for line in plain(problem.hint).splitlines():
            print_line(f"  {line}")
        print_traceback(problem.traceback)
    steps = fmt.next_steps(view, PREFIX)
    if steps:
        print_line("  " + "   ".join(steps))


def print_traceback(traceback: str, indent: str = "  ") -> None:
    """Print the lines of the person's own Python that raised an error; nothing without any."""
    for line in plain(traceback).splitlines():
        print_line(f"{indent}│ {line}")


def run_lines(view: RunView, now: float) -> list[str]:
    """The run as lines of text with colours."""
    head, identity, state, *facts = fmt.headline(view, now)
    out = [" · ".join([plain(head), identity, coloured(state, fmt.shown_run_state(view)), *facts])]
    width = max((len(t.name) for t in view.tasks), default=0)
    doing = max((len(fmt.task_line(t, now).doing) for t in view.tasks), default=0)
    for task in view.tasks:
        line = fmt.task_line(task, now)
        state = fmt.shown_task_state(task)
        text = f" {coloured(line.icon, state)} {line.name:<{width}}  "
        text += coloured(f"{line.doing:<{doing}}", state) + f"  {' · '.join(line.details)}"
        if line.progress is not None:
            text = f"{text.rstrip()}   {fmt.bar(line.progress)} {fmt.percent(line.progress)}"
        out.append(text.rstrip())
        out += [" " * (width + 5) + plain(text) for text in (line.note, line.learned) if text]
    return out


def print_run(view: RunView) -> None:
    """Print the run as it is now, and what follows from it."""
    for line in run_lines(view, time.time()):
        print_line(line)
    print_conclusion(view)


def _print_detached(view: RunView) -> None:
    if view.state in ENDED:
        return
    run = short_id(view.id)
    print_line(f"detached; the run goes on: po show {run}   (to stop it: po cancel {run})", err=True)


def _screen(run: Run, quiet: bool) -> Screen:
    if quiet:
        return _SilentScreen()
    return _RedrawnScreen(FailureNews(run)) if sys.stdout.isatty() else _LineScreen()


class FailureNews:
    """The rows that failed last, asked for when there are more of them than before."""

    def __init__(self, run: Run) -> None:
        """Nothing is asked yet."""
        self._run = run
        self._count = 0
        self._looked_at = float("-inf")  # monotonic seconds
        self.newest: list[tuple[str, str]] = []

    def look(self, view: RunView) -> None:
        """Ask for the newest, at most once in a while; `newest` are (where, why), the newest first."""
        count = sum(task.items.failed for task in view.tasks if task.items is not None)
        if count == self._count or time.monotonic() - self._looked_at < _LINE_EVERY:
            return
        self._looked_at = time.monotonic()
        try:
            events = list(self._run.events(since=max(0, view.last_event - _LOOK_BACK)))
        except PoError:
            return  # the run itself is being followed: that says what is wrong
        self._count = count
        failed = [event for event in events if event["type"] == "item.failed"]
        self.newest = [
            (f"{event['task']} row {event['item']}", str((event["data"].get("error") or {}).get("message", "")))
            for event in reversed(failed[-_NEWEST:])
        ]


class _SilentScreen:
    """Shows nothing, for `--json`."""

    def show(self, view: RunView) -> None:
        pass

    def add_text(self, delta: TextDelta) -> None:
        pass

    def close(self) -> None:
        pass


class _LineScreen:
    """One line for each thing that happened: for files, pipes and notebooks."""

    def __init__(self) -> None:
        self._printed: dict[str, TaskView] = {}  # by name: the task as its last line had it
        self._printed_at: dict[str, float] = {}  # seconds since 1970, by task; of waits by `TASK waits`
        self._state = ""
        self._wait_printed = False
        self._end_printed = False

    def show(self, view: RunView) -> None:
        now = time.time()
        if not self._state:
            print_line(plain(f"{view.pipeline} {view.version} · run {short_id(view.id)} · {view.state}"))
        self._state = self._state or view.state
        for task in view.tasks:
            for line in self._changes(task, now):
                print_line(plain(line))
        if view.waiting and view.state not in ENDED and not self._wait_printed:
            print_line(plain(f"   {view.waiting}"))  # once: the number of tries in it changes all the time
            self._wait_printed = True
        elif not view.waiting:
            self._wait_printed = False
        if view.state != self._state or (view.state in ENDED and not self._end_printed):
            self._state = view.state
            if view.state in ENDED:
                self._end_printed = True
                print_line(plain(" · ".join(fmt.headline(view, now))))
            elif view.state == "waiting":
                print_line(f"run {short_id(view.id)} · waiting")

    def _changes(self, task: TaskView, now: float) -> Iterator[str]:
        """A line about what changed in a task, when it is worth one now."""
        before = self._printed.get(task.name) or TaskView(name=task.name)
        line = fmt.task_line(task, now)
        if task.state != before.state or (task.attempt > before.attempt > 0):
            details = line.details if task.state != "running" else line.details[:-1]
            attempt = f" (attempt {task.attempt})" if task.state == "running" and task.attempt > 1 else ""
            doing = "started" if task.state == "running" else task.state
            facts = f"  {' · '.join(details)}" if task.state not in ("running", "pending") else attempt
            yield f" {line.icon} {task.name} {doing}{facts}"
            self._printed_at[task.name] = now
        elif line.note and line.note != (before.waiting or ""):
            if now - self._printed_at.get(task.name + " waits", 0.0) < _LINE_EVERY:
                return
            self._printed_at[task.name + " waits"] = now
            yield f"   {task.name}: {line.note}"
        elif line.learned and task.cascade != before.cascade:
            yield f"   {task.name}: {line.learned}"
        elif task.items is not None and task.items != before.items and task.state == "running":
            if now - self._printed_at.get(task.name, 0.0) < _LINE_EVERY:
                return  # not remembered as printed: the next update has the newer numbers
            self._printed_at[task.name] = now
            yield f"   {task.name}: {fmt.row_counts(task.items)} · {fmt.percent(fmt.progress(task.items) or 0.0)}"
        self._printed[task.name] = task

    def add_text(self, delta: TextDelta) -> None:
        pass

    def close(self) -> None:
        pass


class _RedrawnScreen:
    """A page of the terminal, drawn again in place."""

    def __init__(self, failures: FailureNews) -> None:
        self._failures = failures
        self._view: RunView | None = None
        self._text: tuple[tuple[str, int | None, int], str] | None = None  # of (task, row, round): its end
        self._live: Live | None = None

    def show(self, view: RunView) -> None:
        self._view = view
        self._failures.look(view)
        if self._live is None:
            from rich.console import Console
            from rich.live import Live

            # The clock runs between two updates, so rich asks for the picture by itself.
            self._live = Live(
                get_renderable=self._draw,
                console=Console(highlight=False),
                refresh_per_second=8,
                vertical_overflow="crop",
            )
            self._live.start()

    def add_text(self, delta: TextDelta) -> None:
        source = (delta.task, delta.item, delta.round)
        before = self._text[1] if self._text is not None and self._text[0] == source else ""
        self._text = (source, (before + delta.text)[-4 * _TEXT_SHOWN :])

    def _draw(self) -> RenderableType:
        from po_jupyter.cli.live_page import page

        if self._view is None or self._live is None:
            return ""
        text = self._text
        if text is None or self._view.state in ENDED:
            return page(self._view, time.time(), self._live.console.size, self._failures.newest)
        (task, item, _), piece = text
        writing = (task if item is None else f"{task} row {item}", piece)
        return page(self._view, time.time(), self._live.console.size, self._failures.newest, writing)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
