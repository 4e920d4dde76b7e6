"""What moves in the page of a run while it is open, in a real JupyterLab: states, rows, logs, gates, failures, link.

Screenshots are kept in test-artifacts/ to be looked at.
"""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.jupyter_process import JupyterProcess
from tests.support.lab_process import lab_process
from tests.ui.test_lab_notebook import SECOND, SHOTS, panels
from tests.ui.test_run_page import execute, open_page, seen, tab

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.acceptance

# Each row waits for a file of its name, so that the test moves the run on.
STEPS = """
import asyncio, os
async def ingestion(ctx):
    for step in range(3):
        while not os.path.exists(f"{ctx.config['flag']}-{step}"):
            await asyncio.sleep(0.02)
        print("step", step, "is made")
"""
MINE = """
def helper(rows):
    return len(rows) / 0

def ingestion(ctx):
    return helper([1])
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Lab:
    """A JupyterLab that can be stopped and started again at its address."""

    def __init__(self, folder: Path, panel: Path) -> None:
        self.folder = folder
        self._panel = panel
        self._port = free_port()
        self.server = self._start(folder)

    def _start(self, folder: Path) -> JupyterProcess:
        return lab_process(
            folder,
            self._panel,
            {"PO_DATA_DIR": str(self.folder / "data")},
            port=self._port,
        )

    def again(self) -> None:
        """Start it once more, with the same data and for the same cookies."""
        runtime = self.folder / "again" / "runtime"
        runtime.mkdir(parents=True)
        shutil.copy(self.server.runtime / "jupyter_cookie_secret", runtime)
        self.server = self._start(self.folder / "again")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    panel = panels()
    if panel is None:
        pytest.skip("the panel is not built: pip install .")
    lab = Lab(tmp_path_factory.mktemp("lab"), panel)
    yield lab
    lab.server.stop()


@pytest.fixture
def page(lab: Lab, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.goto(f"{lab.server.url}lab?token={lab.server.token}&reset")
    page.wait_for_function("() => window.jupyterapp?.restored.then(() => true)", timeout=60 * SECOND)
    SHOTS.mkdir(exist_ok=True)
    failed = request.session.testsfailed
    yield page
    if request.session.testsfailed > failed:
        page.screenshot(path=str(SHOTS / f"failed-{request.node.name}.png"))
    page.close()


def submit(lab: Lab, tasks: list[dict[str, Any]], **data: Any) -> str:
    body = {
        "pipeline": {"name": "moves", "llm": {"model": "fake:echo"}, "tasks": tasks},
        "seed": {"name": "moves", "data": data},
    }
    with lab.server.http() as http:
        answer = http.post("runs", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["run"]["id"])


def is_in(shown: Locator, state: str, seconds: float = 20) -> None:
    shown.locator(f".po-Header .po-State[data-state={state}]").wait_for(timeout=seconds * SECOND)


def steps(lab: Lab, name: str) -> tuple[dict[str, Any], Path]:
    """A task that makes three steps, each when there is a file FLAG-NUMBER."""
    flag = lab.folder / name
    return {"name": "steps", "source": STEPS, "config": {"flag": str(flag)}}, flag


def step(flag: Path, number: int) -> None:
    Path(f"{flag}-{number}").touch()


def test_a_run_moves_in_its_open_page(lab: Lab, page: Page) -> None:
    """States, logs as they are written, a gate that comes and is decided, and the end, without a reload."""
    task, flag = steps(lab, "moves")
    draft = {
        "name": "draft", "needs": "steps", "prompt": "Dear {{ seed.name }}", "gate": {"message": "Send it?"},
    }  # fmt: skip
    run = submit(lab, [task, draft], name="Ada")
    shown = open_page(page, run)
    is_in(shown, "running")
    shown.locator(".po-Node[data-task=steps].po-is-running").wait_for(timeout=10 * SECOND)
    logs = tab(shown, "Logs")
    for number in range(2):
        step(flag, number)
        seen(logs, f"step {number} is made")
    page.screenshot(path=str(SHOTS / "live-logs.png"))
    assert logs.get_by_text("step 2 is made").count() == 0
    step(flag, 2)
    is_in(shown, "waiting")
    gate = shown.locator(".po-Header .po-Gate")
    gate.get_by_text("Send it?").wait_for(timeout=10 * SECOND)
    gate.get_by_text("echo: Dear Ada").wait_for(timeout=10 * SECOND)
    page.screenshot(path=str(SHOTS / "live-gate.png"))
    with lab.server.http() as http:  # decided by somebody else
        http.post(f"runs/{run}/gate", json={"decision": "approve"}).raise_for_status()
    is_in(shown, "done")
    gate.wait_for(state="detached", timeout=5 * SECOND)
    tasks = tab(shown, "Tasks")
    tasks.locator(".po-Node[data-task=draft].po-is-done").wait_for(timeout=10 * SECOND)


@pytest.mark.slow
def test_the_rows_the_progress_and_the_time_that_is_left_move(lab: Lab, page: Page) -> None:
    """And Cancel is seen at once."""
    rows = {
        "name": "label", "prompt": "Label {{ item }}", "for_each": "{{ seed.rows }}", "max_concurrency": 1,
        "llm": "fake:echo?latency=0.3",
    }  # fmt: skip
    run = submit(lab, [rows], rows=[f"row {n}" for n in range(400)])
    shown = open_page(page, run, tab="rows", task="label")
    bar = shown.get_by_role("progressbar").first
    bar.wait_for(timeout=20 * SECOND)
    table = shown.locator(".po-TabPanel[data-tab=rows]")
    table.get_by_text("echo: Label row 0", exact=False).first.wait_for(timeout=10 * SECOND)
    table.get_by_text("echo: Label row 4", exact=False).first.wait_for(timeout=20 * SECOND)
    line = shown.locator(".po-Header-line")
    line.get_by_text(re.compile(r"(\d+ to \d+|about \d+) min left")).wait_for(timeout=20 * SECOND)
    page.wait_for_function(
        "() => Number(document.querySelector('.po-Header [role=progressbar]').getAttribute('aria-valuenow')) >= 2",
        timeout=20 * SECOND,
    )
    page.screenshot(path=str(SHOTS / "live-rows.png"))
    shown.get_by_role("button", name="Cancel").click()
    is_in(shown, "cancelled")
    assert "left" not in line.inner_text()
    shown.get_by_role("button", name="Resume").wait_for(timeout=5 * SECOND)


@pytest.mark.slow
def test_a_failure_is_told_in_the_lines_of_the_person(lab: Lab, page: Page) -> None:
    task, flag = steps(lab, "fails")
    run = submit(
        lab, [task, {"name": "divide", "source": MINE, "needs": ["steps"], "retry": {"max_attempts": 1}}]
    )
    shown = open_page(page, run)
    is_in(shown, "running")
    for number in range(3):
        step(flag, number)
    is_in(shown, "failed")
    shown.locator(".po-Header").get_by_text("ZeroDivisionError").first.wait_for(timeout=10 * SECOND)
    seen(shown, "return len(rows) / 0")
    assert shown.get_by_text("site-packages").count() == 0
    assert shown.get_by_text("po_jupyter/").count() == 0
    page.screenshot(path=str(SHOTS / "live-failed.png"))


class Streams:
    """The streams of events that a page holds open."""

    def __init__(self, page: Page) -> None:
        self.open: set[object] = set()
        page.on("request", lambda request: self.open.add(request) if _is_stream(request.url) else None)
        for end in ("requestfinished", "requestfailed"):
            page.on(end, lambda request: self.open.discard(request))

    def are(self, count: int, page: Page, seconds: float = 10) -> None:
        for _ in range(int(seconds * 10)):
            if len(self.open) == count:
                return
            page.wait_for_timeout(100)
        raise AssertionError(f"{len(self.open)} streams are open instead of {count}")


def _is_stream(url: str) -> bool:
    return re.search(r"/po/api/v1/events(\?|$)", url) is not None


HIDE = """hidden => {
    Object.defineProperty(document, 'hidden', {configurable: true, get: () => hidden});
    Object.defineProperty(document, 'visibilityState', {configurable: true, get: () => hidden ? 'hidden' : 'visible'});
    document.dispatchEvent(new Event('visibilitychange'));
}"""


def test_one_stream_serves_all_views_and_none_is_open_when_nobody_sees_them(lab: Lab, browser: Browser) -> None:
    """Issue 10, 5: two pages of runs, the panel and the status bar share it; a hidden tab has none."""
    runs = [submit(lab, [{"name": "a", "prompt": "x"}]) for _ in range(2)]
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    streams = Streams(page)
    try:
        page.goto(f"{lab.server.url}lab?token={lab.server.token}&reset")
        page.wait_for_function("() => window.jupyterapp?.restored.then(() => true)", timeout=60 * SECOND)
        streams.are(0, page)
        for run in runs:
            execute(page, "po-jupyter:open-run", run=run)
            is_in(page.locator(".po-RunPage:not(.lm-mod-hidden)"), "done")
        execute(page, "po-jupyter:show-runs")
        page.locator(".po-Panel-link[data-link=live]").wait_for(timeout=30 * SECOND)
        streams.are(1, page)
        page.evaluate(HIDE, True)
        streams.are(0, page)
        page.evaluate(HIDE, False)
        streams.are(1, page)
        page.locator(".po-Panel-link[data-link=live]").wait_for(timeout=30 * SECOND)
    finally:
        page.close()


@pytest.mark.slow
def test_a_server_that_stops_and_comes_back_is_told_and_caught_up_with(lab: Lab, page: Page) -> None:
    """Last: the server is another one after it. What ended meanwhile is shown without a reload."""
    task, flag = steps(lab, "stopped")
    run = submit(lab, [task])
    shown = open_page(page, run)
    is_in(shown, "running")
    lab.server.stop()
    lost = shown.locator(".po-Lost")
    lost.wait_for(timeout=20 * SECOND)
    assert lost.get_attribute("role") == "alert"
    assert lost.inner_text().strip()
    page.screenshot(path=str(SHOTS / "live-lost.png"))
    for number in range(3):
        step(flag, number)
    lab.again()
    with lab.server.http() as http:
        for _ in range(200):
            if http.get(f"runs/{run}").json()["run"]["state"] == "done":
                break
            page.wait_for_timeout(100)
    is_in(shown, "done", 40)  # it comes back by itself
    lost.wait_for(state="detached", timeout=10 * SECOND)
