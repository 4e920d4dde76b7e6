"""The live view follows its run from the background thread and leaves nothing behind."""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from po_jupyter.client import background_loop as loop
from po_jupyter.errors import Conflict, NotFound, Unavailable
from po_jupyter.kernel import widget as module
from po_jupyter.kernel.widget import RunWidget
from po_jupyter.model.run.view import ItemCounts, TaskView
from po_jupyter.presentation.run_output import RUN_MIME
from tests.support.kernel import FakeAio, classifying

pytestmark = pytest.mark.integration  # waits: it takes seconds

VIEW = "application/vnd.jupyter.widget-view+json"


class Page:
    """What a frontend holds: the newest bundle of each display."""

    def __init__(self) -> None:
        self.displays: dict[str, dict[str, Any]] = {}
        self.updates = 0
        self.threads: set[str] = set()

    def __call__(self, bundle: dict[str, Any], display_id: str, update: bool) -> None:
        assert update == (display_id in self.displays)
        self.displays[display_id] = bundle
        self.updates += update

    @property
    def picture(self) -> dict[str, Any]:
        return next(b for name, b in self.displays.items() if not name.endswith("-buttons"))

    @property
    def buttons(self) -> dict[str, Any]:
        return next(b for name, b in self.displays.items() if name.endswith("-buttons"))


def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        threading.Event().wait(0.01)


def shown(aio: FakeAio, page: Page | None = None, **how: Any) -> RunWidget:
    widget = RunWidget(aio, aio.view, page or Page(), **how)
    widget.show()
    if aio.view.state not in ("done", "failed", "cancelled"):
        assert aio.following.wait(5)
    return widget


def html(widget: RunWidget) -> str:
    assert widget._controls is not None
    return str(widget._controls._html.value)


def press(widget: RunWidget, name: str) -> None:
    assert widget._controls is not None
    button = next(b for b in widget._controls._row.children if b.description == name)
    button.click()


def test_the_text_of_the_model_is_seen_while_it_comes() -> None:
    """G11."""
    aio = FakeAio(classifying())
    widget = shown(aio)
    aio.say("the answer ")
    aio.say("is <b>42</b>")
    until(lambda: "the answer is &lt;b&gt;42" in html(widget))
    widget.close()


def test_at_the_end_the_notebook_holds_plain_html() -> None:
    """G8: nothing needs a widget manager or a kernel any more."""
    aio, page = FakeAio(classifying()), Page()
    aio.outputs_of = {"classify": {"label": "bug"}}
    widget = shown(aio, page)
    assert VIEW in page.picture
    assert "running" in page.picture["text/html"]
    aio.push(classifying(state="done", tasks=(TaskView(name="classify", state="done"),)))
    widget.wait()
    assert VIEW not in page.picture
    assert "done" in page.picture["text/plain"]
    assert '{"label": "bug"}' in page.picture["text/plain"]
    assert page.buttons["text/html"] == page.buttons["text/plain"] == ""
    assert VIEW not in page.buttons
    assert page.picture[RUN_MIME]["view"]["state"] == "done"
    assert page.picture[RUN_MIME]["results"] == [["classify", '{"label": "bug"}']]


def test_many_finished_runs_leave_no_follower_and_no_thread() -> None:
    loop.get_loop()
    threads = threading.active_count()
    for _ in range(30):
        aio = FakeAio(classifying())
        widget = shown(aio)
        aio.push(classifying(state="cancelled"))
        widget.wait()
        assert aio.followers == 0
    assert threading.active_count() == threads

    async def tasks() -> int:
        import asyncio

        return len(asyncio.all_tasks()) - 1

    until(lambda: loop.run(tasks()) == 0)


def test_a_map_of_many_rows_does_not_flood_the_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    aio = FakeAio(classifying())
    widget = shown(aio)
    seen: set[str] = set()
    assert widget._controls is not None
    widget._controls._html.observe(lambda change: seen.add(change["new"]), "value")
    start = time.monotonic()
    for done in range(400):
        items = ItemCounts(total=400, done=done)
        aio.push(classifying(tasks=(TaskView(name="classify", state="running", items=items),)))
    until(lambda: "399/400" in html(widget))
    assert len(seen) <= 2 + 8 * (time.monotonic() - start)
    widget.close()


def test_a_second_display_shares_the_follower() -> None:
    aio, page = FakeAio(classifying()), Page()
    widget = shown(aio, page)
    widget.show()
    aio.push(classifying(state="cancelled"))
    widget.wait()
    pictures = [b for name, b in page.displays.items() if not name.endswith("-buttons")]
    assert len(pictures) == 2
    assert all("cancelled" in p["text/plain"] and VIEW not in p for p in pictures)


@pytest.mark.integration
def test_a_lost_orchestrator_is_said_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """P1: the view is only a view."""
    aio = FakeAio(classifying())
    widget = shown(aio)
    aio.following.clear()
    aio.push(Unavailable("no orchestrator answers at http://127.0.0.1:1"))
    until(lambda: "no orchestrator answers at http://127.0.0.1:1; trying again" in html(widget))
    assert aio.following.wait(5)
    until(lambda: "trying again" not in html(widget))
    aio.push(classifying(state="done"))
    widget.wait()


def test_a_deleted_run_ends_the_view() -> None:
    aio, page = FakeAio(classifying()), Page()
    widget = shown(aio, page)
    aio.push(NotFound("run 7f3a9c was deleted"))
    widget.wait()
    assert "was deleted" in page.picture["text/plain"]


def test_buttons_fit_the_state_and_go_over_the_api() -> None:
    aio, page = FakeAio(classifying()), Page()
    widget = shown(aio, page)
    press(widget, "Cancel")
    until(lambda: aio.calls == [("cancel",)])
    aio.push(classifying(state="waiting", gate={"task": "classify"}))
    until(lambda: "waiting for a decision" in html(widget))
    press(widget, "Approve")
    until(lambda: aio.calls[-1] == ("gate", "approve", "", "classify"))
    aio.push(classifying(state="failed", error={"message": "it broke"}))
    widget.wait()
    assert VIEW in page.buttons
    aio.following.clear()
    press(widget, "Resume")
    assert aio.following.wait(5)
    assert aio.calls[-1] == ("resume", {})
    until(lambda: VIEW in page.picture and VIEW not in page.buttons)
    aio.push(classifying(state="done"))
    widget.wait()
    assert VIEW not in page.picture


def test_a_refused_click_says_why_and_can_be_clicked_again() -> None:
    aio = FakeAio(classifying(state="failed", error={"message": "it broke"}))
    aio.refuse = Conflict("the run is done already")
    widget = shown(aio)
    press(widget, "Resume")
    until(lambda: "the run is done already" in html(widget))
    assert widget._controls is not None
    assert not widget._controls._row.children[0].disabled


@pytest.mark.integration
def test_waiting_can_be_interrupted_and_the_run_goes_on() -> None:
    """P12: an interrupt detaches."""
    aio = FakeAio(classifying())
    widget = shown(aio)
    timer = threading.Timer(0.3, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        widget.wait()
    assert aio.calls == []
    aio.say("still here")
    until(lambda: "still here" in html(widget))
    widget.close()


def test_a_gate_under_a_blocked_cell_says_where_the_buttons_work() -> None:
    aio = FakeAio(classifying())
    widget = shown(aio)
    waiter = threading.Thread(target=widget.wait)
    waiter.start()
    aio.push(classifying(state="waiting", gate={"task": "classify"}))
    until(lambda: "decide in the side panel" in html(widget))
    aio.push(classifying(state="done"))
    waiter.join(5)


def test_without_a_widget_manager_there_is_a_first_and_a_last_picture() -> None:
    """G8."""
    aio, page = FakeAio(classifying()), Page()
    widget = shown(aio, page, interactive=False)
    aio.push(classifying(state="done"))
    widget.wait()
    assert set(page.picture) == {RUN_MIME, "text/plain", "text/html"}
    assert page.updates == 1


@pytest.mark.integration
def test_the_file_is_never_much_older_than_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook that is saved in the middle said `running, 0 of 400 rows` for ever: the display was published first
    and last."""
    monkeypatch.setattr(module, "_KEEP_STATE", 0.1)
    monkeypatch.setattr(module, "_KEEP_PROGRESS", 0.2)
    aio, page = FakeAio(classifying()), Page()
    widget = shown(aio, page)
    items = ItemCounts(total=400, done=123)
    aio.push(classifying(last_event=7, tasks=(TaskView(name="classify", state="running", items=items),)))
    until(lambda: "123/400" in page.picture["text/html"])
    assert VIEW in page.picture
    aio.push(classifying(state="waiting", gate={"task": "classify"}, last_event=8))
    until(lambda: page.picture[RUN_MIME]["view"]["state"] == "waiting")
    assert "waits for a decision" in page.picture["text/plain"]
    updates = page.updates
    threading.Event().wait(0.5)
    assert page.updates == updates, "nothing is published when nothing happened"
    widget.close()


def test_a_fast_run_does_not_make_the_frontend_draw_anew_all_the_time() -> None:
    """In VS Code each publication puts another widget in the place of the one that a person reads."""
    aio, page = FakeAio(classifying()), Page()
    widget = shown(aio, page)
    for n in range(50):
        aio.push(classifying(state="waiting" if n % 2 else "running", last_event=n))
    until(lambda: widget.run.last_event == 49)
    assert page.updates == 0
    widget.close()


def test_where_nobody_clicks_there_is_no_widget() -> None:
    """nbclient, papermill: nbconvert would prefer the widget to the HTML, and it shows nothing without a network."""
    aio, page = FakeAio(classifying()), Page()
    widget = shown(aio, page, widgets=False)
    assert set(page.picture) == {RUN_MIME, "text/plain", "text/html"}
    aio.push(classifying(state="failed", error={"message": "it broke"}))
    widget.wait()
    assert "it broke" in page.picture["text/html"]
    assert all(VIEW not in bundle for bundle in page.displays.values())


def test_the_buttons_are_nothing_where_lab_draws_the_run_with_its_own() -> None:
    aio, page = FakeAio(classifying(state="failed", error={"message": "it broke"})), Page()
    shown(aio, page)
    assert VIEW in page.buttons
    assert page.buttons[RUN_MIME]["view"] is None


def test_updates_are_bounded() -> None:
    """Eight a second is what an eye and a browser can use."""
    assert module.EVERY >= 1 / 8


@pytest.mark.parametrize("late", [0.0, 0.3])
def test_a_late_answer_to_a_button_does_not_undo_what_it_led_to(late: float) -> None:
    """P1: the run had ended when the answer to Cancel came, which said `running`: the cell stood there for ever."""
    aio, page = FakeAio(classifying(last_event=5)), Page()
    widget = shown(aio, page)
    before = aio.view

    async def cancel(run_id: str) -> Any:
        import asyncio

        ended = classifying(state="cancelled", last_event=7)
        aio.view = ended
        for queue in aio._queues:
            queue.put_nowait(ended)
        await asyncio.sleep(late)
        aio.calls.append("answered")
        return before.model_copy(update={"last_event": 6})

    aio.cancel = cancel
    press(widget, "Cancel")
    until(lambda: "answered" in aio.calls)
    widget.wait()
    loop.run(_a_moment())
    assert widget.run.state == "cancelled"
    assert "cancelled" in html(widget) and "running" not in html(widget)
    assert "cancelled" in page.picture["text/plain"]
    assert widget._controls is not None
    assert [b.description for b in widget._controls._row.children] == ["Resume"]


async def _a_moment() -> None:
    """One turn of the background loop: what was ready by then is done."""
    import asyncio

    await asyncio.sleep(0)
