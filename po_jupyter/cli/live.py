"""Watching a run from a terminal: redrawn in place where there is one, plain lines elsewhere.

An interrupt detaches: the run is the orchestrator's, not this process's.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from po_jupyter.cli.base import clean, coloured, say
from po_jupyter.cli.main import FAILED, INTERRUPTED, OK, TERMINATED, WAITING
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.view import ENDED, RunView, TaskView
from po_jupyter.presentation import format as fmt

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from po_jupyter.client.client import Run

_SPOKEN = 300  # characters of streamed text that are shown
_LINE_EVERY = 2.0  # seconds between two lines about one map, or about one wait
PREFIX = "po "


class Screen(Protocol):
    """Something that shows a run while it goes on."""

    def show(self, view: RunView) -> None: ...

    def speak(self, task: str, item: int | None, text: str, round: int) -> None: ...

    def close(self) -> None: ...


def follow(run: Run, *, quiet: bool = False) -> tuple[RunView, int]:
    """Show the run until it ends or waits for a decision: (its last view, the exit code).

    `quiet` shows nothing (`--json`). Detaches on an interrupt and says how to come back.
    """
    screen = _screen(quiet)
    view: RunView = run.view
    try:
        for update in run.follow():
            if isinstance(update, RunView):
                view = update
                screen.show(view)
                if view.state == "waiting":
                    break
            else:
                screen.speak(update.task, update.item, update.text, update.round)
    except KeyboardInterrupt:
        screen.close()
        _detached(view)
        return view, INTERRUPTED
    except SystemExit:
        screen.close()
        _detached(view)
        return view, TERMINATED
    finally:
        screen.close()
    if not quiet:
        conclude(view)
    return view, code_of(view)


def code_of(view: RunView) -> int:
    """0 done, 4 waiting for a decision, 1 any other end; 0 for a run that has not ended."""
    if view.state == "waiting":
        return WAITING
    return FAILED if view.state in ENDED and view.state != "done" else OK


def conclude(view: RunView) -> None:
    """What went wrong and what to do next, below a picture of the run."""
    if view.state == "waiting" and view.gate:
        gate = view.gate
        say(clean(f"{gate.get('task')} is done and waits for a decision: {gate.get('message') or 'go on?'}"))
    for problem in fmt.problems(view):
        say(coloured(clean(problem.text), "failed"))
        for line in clean(problem.hint).splitlines():
            say(f"  {line}")
    steps = fmt.next_steps(view, PREFIX)
    if steps:
        say("  " + "   ".join(steps))


def picture(view: RunView, now: float) -> list[str]:
    """The run as lines of text with colours."""
    head, identity, state, *facts = fmt.headline(view, now)
    out = [" · ".join([clean(head), identity, coloured(state, view.state), *facts])]
    width = max((len(t.name) for t in view.tasks), default=0)
    doing = max((len(fmt.task_line(t, now).doing) for t in view.tasks), default=0)
    for task in view.tasks:
        line = fmt.task_line(task, now)
        text = f" {coloured(line.icon, task.state)} {line.name:<{width}}  "
        text += coloured(f"{line.doing:<{doing}}", task.state) + f"  {' · '.join(line.details)}"
        if line.progress is not None:
            text = f"{text.rstrip()}   {fmt.bar(line.progress)} {fmt.percent(line.progress)}"
        out.append(text.rstrip())
        if line.note:
            out.append(" " * (width + 5) + clean(line.note))
    return out


def show_once(view: RunView) -> None:
    """The picture of a run, and what follows from it."""
    for line in picture(view, time.time()):
        say(line)
    conclude(view)


def _detached(view: RunView) -> None:
    if view.state in ENDED:
        return
    this = short_id(view.id)
    say(f"detached; the run goes on: po show {this}   (to stop it: po cancel {this})", err=True)


def _screen(quiet: bool) -> Screen:
    if quiet:
        return _Silence()
    return _Redrawn() if sys.stdout.isatty() else _Lines()


class _Silence:
    def show(self, view: RunView) -> None:
        pass

    def speak(self, task: str, item: int | None, text: str, round: int) -> None:
        pass

    def close(self) -> None:
        pass


class _Lines:
    """One line for each thing that happened: for files, pipes and notebooks."""

    def __init__(self) -> None:
        self._said: dict[str, Any] = {}
        self._state = ""
        self._when: dict[str, float] = {}

    def show(self, view: RunView) -> None:
        now = time.time()
        if not self._state:
            say(clean(f"{view.pipeline} {view.version} · run {short_id(view.id)} · {view.state}"))
        self._state = self._state or view.state
        for task in view.tasks:
            for line in self._news(task, now):
                say(clean(line))
        if view.waiting and view.state not in ENDED and "waits" not in self._said:
            say(clean(f"   {view.waiting}"))  # once: the number of tries in it changes all the time
            self._said["waits"] = True
        elif not view.waiting:
            self._said.pop("waits", None)
        if view.state != self._state or (view.state in ENDED and "end" not in self._said):
            self._state = view.state
            if view.state in ENDED:
                self._said["end"] = True
                say(clean(" · ".join(fmt.headline(view, now))))
            elif view.state == "waiting":
                say(f"run {short_id(view.id)} · waiting")

    def _news(self, task: TaskView, now: float) -> Iterator[str]:
        before: TaskView = self._said.get(task.name) or TaskView(name=task.name)
        line = fmt.task_line(task, now)
        if task.state != before.state or (task.attempt > before.attempt > 0):
            details = line.details if task.state != "running" else line.details[:-1]
            attempt = f" (attempt {task.attempt})" if task.state == "running" and task.attempt > 1 else ""
            doing = "started" if task.state == "running" else task.state
            facts = f"  {' · '.join(details)}" if task.state not in ("running", "pending") else attempt
            yield f" {line.icon} {task.name} {doing}{facts}"
            self._when[task.name] = now
        elif line.note and line.note != (before.waiting or ""):
            if now - self._when.get(task.name + " waits", 0.0) < _LINE_EVERY:
                return
            self._when[task.name + " waits"] = now
            yield f"   {task.name}: {line.note}"
        elif task.items is not None and task.items != before.items and task.state == "running":
            if now - self._when.get(task.name, 0.0) < _LINE_EVERY:
                return  # not remembered as said: the next update says the newer numbers
            self._when[task.name] = now
            yield f"   {task.name}: {fmt.row_counts(task.items)} · {fmt.percent(fmt.progress(task.items) or 0.0)}"
        self._said[task.name] = task

    def speak(self, task: str, item: int | None, text: str, round: int) -> None:
        pass

    def close(self) -> None:
        pass


class _Redrawn:
    """The same few lines, drawn again in place."""

    def __init__(self) -> None:
        self._view: RunView | None = None
        self._spoken: tuple[tuple[str, int | None, int], str] | None = None
        self._live: Live | None = None

    def show(self, view: RunView) -> None:
        self._view = view
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

    def speak(self, task: str, item: int | None, text: str, round: int) -> None:
        who = (task, item, round)
        before = self._spoken[1] if self._spoken is not None and self._spoken[0] == who else ""
        self._spoken = (who, (before + text)[-4 * _SPOKEN :])

    def _draw(self) -> RenderableType:
        from rich.text import Text

        if self._view is None:
            return Text("")
        out = picture(self._view, time.time())
        if self._spoken is not None and self._view.state not in ENDED:
            (task, item, _), text = self._spoken
            tail = " ".join(clean(text).split())
            if len(tail) > _SPOKEN:
                tail = "…" + tail[-_SPOKEN:]
            out.append(f" {task if item is None else f'row {item}'} │ {tail}")
        return Text.from_ansi("\n".join(out))

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
