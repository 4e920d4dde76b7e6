"""The live view of a run in a cell, and what the notebook's file keeps of it.

JupyterLab draws the run with a renderer of its own, from the server. For other frontends there is a widget while the
run goes on: the client's background thread follows the run and writes into it, so the view lives while a cell blocks
and after it returned. That thread never prints: its output would land in whatever cell runs. The display is published
again when the run waits or has ended, and now and then in between, so that a saved notebook shows without any kernel
how the run stood last, and of when that is (G8).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from po_jupyter.client import background_loop as loop
from po_jupyter.errors import NotFound, PoError
from po_jupyter.model.run.view import ENDED, RunView, TaskView
from po_jupyter.model.values.json import JsonObject
from po_jupyter.presentation.live_texts import LiveTexts
from po_jupyter.presentation.run_output import (
    RESULT_ROWS,
    RUN_MIME,
    no_output,
    output_result,
    result_task,
    row_results,
    run_output,
    score_results,
)
from po_jupyter.presentation.run_view import Picture, to_html

if TYPE_CHECKING:
    from po_jupyter.client.async_client import AsyncClient

EVERY = 0.125  # seconds between two updates at least: 8 a second is what an eye and a browser can use
_VIEW_EVERY = 0.25  # seconds between two questions for the run's state
_CLOCK = 1.0  # seconds; the clock ticks although nothing happens
# Seconds until the display is published again, after its run is in another state, and while it goes on. Not more often:
# a frontend draws the widget anew with it, and it is a change of the notebook.
_KEEP_STATE, _KEEP_PROGRESS = 2.0, 30.0
_BUTTONS = "-buttons"
_WIDGET = "application/vnd.jupyter.widget-view+json"

MimeBundle: TypeAlias = JsonObject  # content by MIME type, as IPython displays it
Publish: TypeAlias = Callable[
    [MimeBundle, str, bool], None
]  # bundle, display id, whether it replaces an earlier one


class RunWidget:
    """One run, drawn wherever `show()` was called, until it ends or `close()`.

    `publish` sends a MIME bundle to the frontend. `interactive` is False where no display can be replaced (plain
    IPython): then only the first and the last picture are published. `widgets` is False where nobody clicks.
    """

    def __init__(
        self,
        aio: AsyncClient,
        run: RunView,
        publish: Publish,
        *,
        interactive: bool = True,
        widgets: bool = True,
    ) -> None:
        """Draws nothing yet; opens the widget's comms, so it belongs into the cell's thread."""
        self.run = run
        self.finished = threading.Event()  # the run ended, or cannot be followed any longer
        self._aio = aio
        self._publish = publish
        self._texts = LiveTexts()
        self._notice = ""
        self._waits_in_cell = False
        self._results: list[tuple[str, str]] = []
        self._displays: list[str] = []
        self._button_displays: list[str] = []
        self._future: Future[None] | None = None
        self._closed = False
        self._interactive = interactive
        self._kept: tuple[RunView, float] = (run, time.monotonic())  # what was published last, and when
        self._controls = _Controls(self._click) if interactive and widgets else None
        self._draw()

    # -- in the cell's thread -------------------------------------------------------------------
    def show(self) -> None:
        """Draw the run here too, and follow it if nobody does yet."""
        display_id = f"po-{self.run.id}-{len(self._displays)}-{id(self):x}"
        if self.run.state in ENDED:
            loop.run(self._fetch_results())
        self._publish(self.bundle(), display_id, False)
        if self._controls is not None and (self.run.state not in ENDED or _buttons(self.run)):
            # A display of its own for the buttons that remain when the picture has become plain HTML.
            self._publish(self._buttons_bundle(), display_id + _BUTTONS, False)
            self._button_displays.append(display_id + _BUTTONS)
        self._displays.append(display_id)
        if self.run.state not in ENDED:
            self._start()
        else:
            self.finished.set()

    def wait(self) -> None:
        """Block until the run ended. An interrupt raises KeyboardInterrupt and changes nothing."""
        self._waits_in_cell = True
        try:
            # A wait without a timeout would hide an interrupt on some platforms.
            while not self.finished.wait(loop.TICK):
                pass
        finally:
            self._waits_in_cell = False

    def close(self) -> None:
        """Stop following. The run goes on."""
        self._closed = True
        if self._future is not None:
            self._future.cancel()
        self.finished.set()

    def bundle(self) -> MimeBundle:
        """The run for Lab's renderer, as HTML and text, and as a widget while it is alive."""
        bundle: MimeBundle = run_output(self.run, time.time(), self._results, self._notice)
        if self._controls is not None and self.run.state not in ENDED:
            bundle[_WIDGET] = self._controls.live
        return bundle

    def _repr_mimebundle_(self, **_: Any) -> MimeBundle:
        return self.bundle()

    # -- on the background loop -----------------------------------------------------------------
    def _start(self) -> None:
        if self._future is None or self._future.done():
            self.finished.clear()
            self._future = loop.spawn(self._follow())

    async def _follow(self) -> None:
        dirty = asyncio.Event()
        painter = asyncio.get_running_loop().create_task(self._paint(dirty))
        pause = 0.5
        try:
            while self.run.state not in ENDED:
                try:
                    async with aclosing(self._aio.follow(self.run.id, every=_VIEW_EVERY)) as updates:
                        async for update in updates:
                            if isinstance(update, RunView):
                                self._use_newest(update)
                                self._notice, pause = "", 0.5
                                self._texts.keep_tasks({t.name for t in update.tasks if t.state == "running"})
                            else:
                                self._texts.add(
                                    update.task, update.item, update.text, update.round, time.monotonic()
                                )
                            dirty.set()
                            if self._closed:
                                return
                except NotFound as error:
                    self._notice = str(error)
                    return
                except PoError as error:
                    # The run goes on without us; a server that restarts comes back.
                    self._notice = f"{error.message}; trying again"
                    dirty.set()
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, 30.0)
        finally:
            painter.cancel()
            with suppress(asyncio.CancelledError):
                await painter
            if not self._closed:
                await self._finish()

    def _use_newest(self, run: RunView) -> None:
        """Show `run`, unless a newer view of it is shown: the answer to a button may come after what it led to (P1)."""
        if run.last_event >= self.run.last_event:
            self.run = run

    async def _paint(self, dirty: asyncio.Event) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOCK):  # wait_for of Python 3.11 can swallow a cancellation
                    await dirty.wait()
            dirty.clear()
            self._draw()
            self._keep()
            await asyncio.sleep(EVERY)

    def _keep(self) -> None:
        """Publish the displays again, when what the notebook's file has of the run is old."""
        run, at = self._kept
        age = time.monotonic() - at
        if self._interactive and (
            (self.run.state != run.state and age >= _KEEP_STATE)
            or (self.run.last_event != run.last_event and age >= _KEEP_PROGRESS)
        ):
            self._publish_again()

    async def _finish(self) -> None:
        """Draw the last picture: in the widget, and as what the notebook keeps."""
        try:
            await self._fetch_results()
            self._draw()
            self._publish_again()
        finally:
            self.finished.set()

    async def _fetch_results(self) -> None:
        task = result_task(self.run)
        if task is not None and not self._results:
            with suppress(PoError):
                self._results = await _results(self._aio, self.run.id, task)

    def _publish_again(self) -> None:
        self._kept = (self.run, time.monotonic())
        bundle, buttons = self.bundle(), self._buttons_bundle()
        for display_id in self._displays:
            self._publish(bundle, display_id, True)
        for display_id in self._button_displays:
            self._publish(buttons, display_id, True)

    def _buttons_bundle(self) -> MimeBundle:
        """The buttons below the plain HTML of an ended run; nothing while it goes on, and nothing in Lab."""
        bundle: MimeBundle = {RUN_MIME: no_output(self.run), "text/html": "", "text/plain": ""}
        if self._controls is not None and self.run.state in ENDED and _buttons(self.run):
            bundle[_WIDGET] = self._controls.after
        return bundle

    def _picture(self) -> Picture:
        notice = self._notice
        if self._waits_in_cell and self.run.state == "waiting" and not notice:
            notice = "This cell blocks its buttons: decide in the side panel, or interrupt (■) first."
        text = self._texts.current(time.monotonic())
        # Kept as well: frontends write the state of widgets into the file, and its readers have no kernel.
        return Picture(self.run, time.time(), text, notice, self._results, kept=True)

    def _draw(self) -> None:
        if self._controls is not None:
            self._controls.update(to_html(self._picture()), _buttons(self.run))

    # -- buttons --------------------------------------------------------------------------------
    def _click(self, action: str) -> None:
        # On the kernel's main thread: only hand over.
        loop.spawn(self._perform(action))

    async def _perform(self, action: str) -> None:
        run_id = self.run.id
        gate = (self.run.gate or {}).get("task")  # the one that is shown: by now another may be open
        calls: dict[str, Callable[[], Coroutine[Any, Any, RunView]]] = {
            "Cancel": lambda: self._aio.cancel(run_id),
            "Resume": lambda: self._aio.resume(run_id),
            "Resume failed rows": lambda: self._aio.resume(run_id, only_failed=True),
            "Approve": lambda: self._aio.gate(run_id, "approve", task=gate),
            "Reject": lambda: self._aio.gate(run_id, "reject", task=gate),
        }
        was_over = self.run.state in ENDED
        try:
            self._use_newest(await calls[action]())
            self._notice = ""
        except PoError as error:
            self._notice = str(error)
            if self._controls is not None:
                self._controls.enable()
        self._draw()
        if was_over:
            self._results = []
            self._publish_again()
            if self.run.state not in ENDED:
                self._start()


class _Controls:
    """The ipywidgets of one run: a picture with its buttons while it lives, and buttons alone afterwards."""

    def __init__(self, click: Callable[[str], None]) -> None:
        import ipywidgets as widgets  # 60 ms: not at start-up

        self._click = click
        self._html = widgets.HTML()
        self._row = widgets.HBox(layout=widgets.Layout(margin="0 0 0 12px"))
        self._box = widgets.VBox([self._html, self._row])
        self._buttons: dict[str, Any] = {}
        self._shown: tuple[str, ...] = ()
        self._make = widgets.Button
        self._layout = widgets.Layout
        for action in ("Cancel", "Resume", "Resume failed rows", "Approve", "Reject"):
            self._button(action)  # comms are opened here, in the cell's thread

    @property
    def live(self) -> MimeBundle:
        return dict(self._box._repr_mimebundle_()[_WIDGET])

    @property
    def after(self) -> MimeBundle:
        return dict(self._row._repr_mimebundle_()[_WIDGET])

    def update(self, html: str, actions: tuple[str, ...]) -> None:
        if self._html.value != html:
            self._html.value = html
        if actions != self._shown:
            self._row.children = [self._button(action) for action in actions]
            self._shown = actions
            self.enable()

    def enable(self) -> None:
        for button in self._buttons.values():
            button.disabled = False

    def _button(self, action: str) -> Any:
        if action not in self._buttons:
            button = self._make(
                description=action,
                tooltip=_TOOLTIPS[action],
                layout=self._layout(width="auto", height="26px"),
            )
            button.on_click(self._clicked)
            self._buttons[action] = button
        return self._buttons[action]

    def _clicked(self, button: Any) -> None:
        button.disabled = True  # until the answer is there: one click, one request
        self._click(button.description)


_TOOLTIPS = {
    "Cancel": "Stop the run; what is finished is kept",
    "Resume": "Go on with what has not finished",
    "Resume failed rows": "Run only the failed rows again",
    "Approve": "Let the run go on",
    "Reject": "End the run here",
}


def _buttons(run: RunView) -> tuple[str, ...]:
    failed_rows = any(t.items is not None and t.items.failed for t in run.tasks)
    if run.state == "waiting":
        return ("Approve", "Reject", "Cancel")
    if run.state in ("pending", "running"):
        return ("Cancel",)
    if run.state == "done":
        return ("Resume failed rows",) if failed_rows else ()
    return ("Resume", "Resume failed rows") if failed_rows and run.state == "failed" else ("Resume",)


async def _results(aio: AsyncClient, run_id: str, task: TaskView) -> list[tuple[str, str]]:
    """The beginning of the task's output, or of its first rows."""
    if task.items is not None:
        rows, _ = await aio.items(run_id, task.name, state="done", limit=RESULT_ROWS)
        scored = any("scores" in row for row in rows)
        scores = score_results(await aio.inspection.scores(run_id, task.name, 0)) if scored else []
        return [*scores, *row_results(rows)]
    outputs = await aio.outputs(run_id, task.name)
    return output_result(task.name, outputs.get(task.name))
