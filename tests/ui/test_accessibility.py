"""axe finds nothing serious: the page of a run in each state, dialogs, cell outputs, the panel when there is nothing.

In light and dark. Screenshots are kept in test-artifacts/ to be looked at.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from po_jupyter.presentation.run_output import RUN_MIME
from tests.support.jupyter_process import JupyterProcess
from tests.support.lab_process import lab_process
from tests.support.page_checks import serious
from tests.ui.test_lab_notebook import SECOND, SHOTS, panels
from tests.ui.test_run_page import execute, open_page, theme

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.acceptance

API = re.compile(r".*/po/api/v1/")
STATES = ("pending", "running", "waiting", "failed", "dead", "cancelled", "done")
BLOCKS = "import asyncio\nasync def ingestion(ctx):\n    await asyncio.sleep(600)\n"
RAISES = "def ingestion(ctx):\n    return 1 / 0\n"
DIES = "import os\ndef ingestion(ctx):\n    os._exit(3)\n"
DRAFT = {"name": "draft", "prompt": "Dear {{ seed.name }}", "gate": {"message": "Send it?"}}
LABEL = {"name": "label", "prompt": "Label {{ item }}", "for_each": "{{ seed.rows }}"}
TASKS: dict[str, list[dict[str, Any]]] = {
    "waiting": [DRAFT],
    "failed": [{"name": "divides", "source": RAISES, "retry": {"max_attempts": 1}}],
    "dead": [{"name": "dies", "source": DIES}],
    "cancelled": [{"name": "blocks", "source": BLOCKS}],
    "done": [LABEL],
    "running": [{"name": "blocks", "source": BLOCKS}],
    "pending": [{"name": "blocks", "source": BLOCKS}],
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    panel = panels()
    if panel is None:
        pytest.skip("the panel is not built: pip install .")
    server = lab_process(tmp_path_factory.mktemp("lab"), panel, {"PO_MAX_CRASHES": "1", "PO_MAX_RUNNING": "1"})
    yield server
    server.stop()


@pytest.fixture(scope="module")
def runs(lab: JupyterProcess) -> dict[str, str]:
    """A run in each state; one runs at a time, so that the last one waits for its place."""
    found = {}
    with lab.http() as http:
        for state, tasks in TASKS.items():
            body = {
                "pipeline": {"name": state, "llm": {"model": "fake:echo"}, "tasks": tasks},
                "seed": {"name": f"the {state} one", "data": {"name": "Ada", "rows": ["a", "b"]}},
            }
            answer = http.post("runs", json=body)
            assert answer.status_code == 201, answer.text
            found[state] = run = str(answer.json()["run"]["id"])
            if state == "cancelled":
                await_state(lab, run, "running")
                http.post(f"runs/{run}/cancel", json={}).raise_for_status()
            await_state(lab, run, state)
    return found


def await_state(lab: JupyterProcess, run: str, state: str) -> None:
    with lab.http() as http:
        for _ in range(600):
            found = http.get(f"runs/{run}").json()["run"]["state"]
            if found == state:
                return
            time.sleep(0.05)  # the test looks at the run from outside
    raise AssertionError(f"{run} is {found} and not {state}")


@pytest.fixture(scope="module")
def page(lab: JupyterProcess, browser: Browser) -> Iterator[Page]:
    """One page for all: what is looked at is opened in it, one after the other."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{lab.url}lab?token={lab.token}&reset")
    page.wait_for_function("() => window.jupyterapp?.restored.then(() => true)", timeout=60 * SECOND)
    SHOTS.mkdir(exist_ok=True)
    yield page
    page.close()


@pytest.fixture(autouse=True)
def _a_clean_desk(page: Page) -> Iterator[None]:
    yield
    page.unroute_all(behavior="ignoreErrors")
    if page.locator(".jp-Dialog").count():
        page.keyboard.press("Escape")
    page.evaluate("() => { window.jupyterapp.commands.execute('application:close-all') }")
    discard = page.locator(".jp-Dialog").get_by_role("button", name="Discard")
    page.wait_for_timeout(200)  # the question whether to save comes after a request
    if discard.count():
        discard.click()
    page.locator(".po-RunPage").wait_for(state="detached")


def look(page: Page, where: str, name: str, *, dark: bool = True) -> None:
    """Nothing serious in `where`, in the light and in the dark."""
    for shade in ("Light", "Dark") if dark else ("Light",):
        theme(page, shade)
        page.screenshot(path=str(SHOTS / f"axe-{name}-{shade.lower()}.png"))
        found = serious(page, where)
        assert not found, (name, shade, found)
    theme(page, "Light")


def is_open(page: Page, run: str, state: str) -> Locator:
    shown = open_page(page, run)
    shown.locator(f".po-Header .po-State[data-state={state}]").wait_for(timeout=20 * SECOND)
    return shown


def open_dialog(page: Page, run: str, state: str, verb: str) -> None:
    is_open(page, run, state).get_by_role("button", name=verb).click()
    page.locator(".jp-Dialog").wait_for(timeout=10 * SECOND)


def open_panel(page: Page, tab: str = "Runs") -> Locator:
    execute(page, "po-jupyter:show-runs")
    side = page.locator(".po-Side")
    side.get_by_role("tab", name=tab).click(timeout=20 * SECOND)
    return side


@pytest.mark.parametrize(
    "state", ["waiting", "failed", *(pytest.param(s, marks=pytest.mark.slow) for s in STATES)]
)
def test_the_page_of_a_run_in_each_state(page: Page, runs: dict[str, str], state: str) -> None:
    shown = is_open(page, runs[state], state)
    shown.locator(".po-Node").first.wait_for(timeout=20 * SECOND)
    if state == "waiting":
        shown.get_by_text("echo: Dear Ada").first.wait_for(timeout=10 * SECOND)
    look(page, ".po-RunPage", f"page-{state}")


@pytest.mark.parametrize(
    ("verb", "state"),
    [
        ("Fork…", "done"),
        pytest.param("Delete…", "done", marks=pytest.mark.slow),
        pytest.param("Restart…", "done", marks=pytest.mark.slow),
        pytest.param("Export…", "done", marks=pytest.mark.slow),
    ],
)
def test_dialogs_of_a_run(page: Page, runs: dict[str, str], verb: str, state: str) -> None:
    open_dialog(page, runs[state], state, verb)
    look(page, ".jp-Dialog-content", f"dialog-{verb[:-1].lower()}")


@pytest.fixture(scope="module")
def again(lab: JupyterProcess, runs: dict[str, str]) -> str:
    """Another run of the pipeline that is done, with one other answer: to be compared with. Runs of prompts alone do
    not wait for the place that the one that blocks has."""
    with lab.http() as http:
        body = {
            "pipeline": {"name": "done", "llm": {"model": "fake:echo"}, "tasks": [LABEL]},
            "seed": {"name": "the other one", "data": {"name": "Ada", "rows": ["a", "c"]}},
        }
        other = str(http.post("runs", json=body).json()["run"]["id"])
    await_state(lab, other, "done")
    return other


def test_the_question_which_run_to_compare_with(page: Page, runs: dict[str, str], again: str) -> None:
    open_dialog(page, runs["done"], "done", "Compare with…")
    look(page, ".jp-Dialog-content", "dialog-compare")


def test_two_runs_beside_each_other(page: Page, runs: dict[str, str], again: str) -> None:
    """With what changed, with a pair opened, narrow; and without a change."""
    open_dialog(page, runs["done"], "done", "Compare with…")
    page.locator(".jp-Dialog").get_by_role("button", name="Compare").click()
    compared = page.locator(".po-TabPanel[data-tab=compare]")
    compared.get_by_text("1 of 2 answers agree").wait_for(timeout=20 * SECOND)
    look(page, ".po-RunPage", "compare")
    compared.get_by_role("grid").get_by_role("row").nth(1).click()
    compared.locator(".po-Compare-side").nth(1).wait_for(timeout=10 * SECOND)
    look(page, ".po-RunPage", "compare-pair")
    page.set_viewport_size({"width": 700, "height": 900})
    try:
        page.wait_for_timeout(300)  # Lab lays itself out
        look(page, ".po-RunPage", "compare-narrow", dark=False)
        assert page.evaluate(COLLISIONS, ".po-RunPage") == []
    finally:
        page.set_viewport_size({"width": 1280, "height": 900})


def test_the_question_of_the_panel_from_where_to_fork(page: Page, runs: dict[str, str]) -> None:
    card = open_panel(page).locator(".po-Run[data-state=done]").first
    card.locator(".po-Run-head[aria-expanded=false]").click()
    card.get_by_role("button", name="Fork").click()
    page.locator(".jp-Dialog").wait_for(timeout=10 * SECOND)
    look(page, ".jp-Dialog-content", "dialog-panel-fork")


@pytest.mark.slow
def test_the_dialog_that_asks_for_the_seed_of_a_file(page: Page, lab: JupyterProcess) -> None:
    (lab.folder / "work/hello.yaml").write_text("name: hello\ntasks: [{name: a, prompt: x}]\n")
    page.evaluate("() => { window.jupyterapp.commands.execute('po-jupyter:run-file', {path: 'hello.yaml'}) }")
    page.locator(".po-SeedForm textarea").wait_for(timeout=20 * SECOND)
    look(page, ".jp-Dialog-content", "dialog-seed")


FAILURE = {"error": {"code": "internal", "message": "The disk is gone", "hint": "Look at it."}}
OUTPUTS = ("running", "waiting", "failed", "done")


def notebook_of(lab: JupyterProcess, name: str, runs: dict[str, str]) -> None:
    """A notebook as it was saved, with an output for each of some runs."""
    cells = []
    with lab.http() as http:
        for state in OUTPUTS:
            view = http.get(f"runs/{runs[state]}", params={"brief": "1"}).json()["run"]
            data = {
                "version": 1, "run": runs[state], "base": "po/api/v1/", "at": "2026-01-01T00:00:00Z", "view": view,
            }  # fmt: skip
            output = nbformat.v4.new_output("display_data", {RUN_MIME: data, "text/plain": state})
            cells.append(nbformat.v4.new_code_cell(f"# {state}", outputs=[output]))
    book = nbformat.v4.new_notebook(cells=cells)
    book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, lab.folder / "work" / f"{name}.ipynb")


def test_outputs_of_cells(page: Page, lab: JupyterProcess, runs: dict[str, str]) -> None:
    """Untrusted first, then live: running, waiting at a gate, failed, done; then without the server."""
    notebook_of(lab, "outputs", runs)
    execute(page, "docmanager:open", path="outputs.ipynb")
    for state in OUTPUTS:
        page.locator(f".po-Output .po-Run[data-state={state}]").wait_for(timeout=30 * SECOND)
    page.get_by_text("this notebook is not trusted").first.wait_for(timeout=10 * SECOND)
    look(page, ".po-Output", "output-untrusted", dark=False)
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:trust') }")
    page.locator(".jp-Dialog").get_by_role("button", name="Trust").click()
    page.locator(".po-Output [data-standing=live] .po-Run[data-state=waiting]").wait_for(timeout=20 * SECOND)
    page.locator(".po-Output").get_by_text("echo: Dear Ada").wait_for(timeout=10 * SECOND)
    look(page, ".po-Output", "output-live")
    page.route(API, lambda route: route.abort())
    page.evaluate("() => { window.jupyterapp.commands.execute('docmanager:reload') }")
    page.evaluate(
        """() => { Object.defineProperty(document, 'hidden', {configurable: true, get: () => window.poHidden});
            for (window.poHidden of [true, false]) { document.dispatchEvent(new Event('visibilitychange')) } }"""
    )
    page.locator(".po-Output [data-standing=lost]").first.wait_for(timeout=20 * SECOND)
    look(page, ".po-Output", "output-away", dark=False)


# Boxes beside each other that overlap, what is cut off, and what lies outside of its view.
COLLISIONS = """where => {
  const root = document.querySelector(where), found = [];
  const name = e => e.className + ' ' + e.textContent.slice(0, 30);
  const box = e => e.getBoundingClientRect();
  const outer = box(root);
  const looked = 'h2, h3, button, input, select, .po-State, .po-Header-line, .po-Node, .po-Task-title';
  for (const e of root.querySelectorAll(looked)) {
    const b = box(e);
    if (!b.width || e.closest('.po-Hidden')) { continue; }
    if (b.left < outer.left - 1 || b.right > outer.right + 1) { found.push('outside: ' + name(e)); }
    const cut = getComputedStyle(e).textOverflow !== 'ellipsis' && getComputedStyle(e).overflowX !== 'visible';
    if (cut && e.scrollWidth > e.clientWidth + 1 && e.tagName !== 'INPUT') { found.push('cut: ' + name(e)); }
    for (const other of e.parentElement.children) {
      const o = box(other);
      if (other === e || !o.width || getComputedStyle(other).position === 'absolute') { continue; }
      const across = Math.min(b.right, o.right) - Math.max(b.left, o.left);
      const down = Math.min(b.bottom, o.bottom) - Math.max(b.top, o.top);
      if (across > 1 && down > 1) { found.push('overlap: ' + name(e) + ' / ' + name(other)); }
    }
  }
  const nodes = [...root.querySelectorAll('.po-Node')].map(box);
  nodes.forEach((a, i) => nodes.slice(i + 1).forEach(b => {
    const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    if (across > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1) { found.push('nodes overlap'); }
  }));
  return found;
}"""


@pytest.mark.parametrize("direction", [pytest.param("ltr", marks=pytest.mark.slow), "rtl"])
def test_nothing_overlaps_or_is_cut_whatever_the_direction(
    page: Page, runs: dict[str, str], direction: str
) -> None:
    """RTL: the page of a run with each tab, and the panel."""
    page.evaluate("direction => { document.documentElement.dir = direction }", direction)
    try:
        shown = is_open(page, runs["done"], "done")
        for tab in ("Tasks", "Rows", "Calls", "Data", "Money"):
            shown.get_by_role("tab", name=tab).click()
            shown.locator(f".po-TabPanel[data-tab={tab.lower()}]").wait_for(timeout=10 * SECOND)
            if tab == "Tasks":
                shown.locator(".po-Node").first.wait_for(timeout=20 * SECOND)
            page.wait_for_timeout(500)  # the graph moves into its view
            page.screenshot(path=str(SHOTS / f"direction-{direction}-{tab.lower()}.png"))
            assert page.evaluate(COLLISIONS, ".po-RunPage") == [], tab
        execute(page, "application:close-all")
        page.locator(".po-RunPage").wait_for(state="detached")
        is_open(page, runs["waiting"], "waiting").get_by_text("echo: Dear Ada").wait_for(timeout=10 * SECOND)
        side = open_panel(page)
        side.get_by_text("echo: Dear Ada").wait_for(timeout=20 * SECOND)
        page.screenshot(path=str(SHOTS / f"direction-{direction}-panel.png"))
        assert page.evaluate(COLLISIONS, ".po-Side") == []
        assert page.evaluate(COLLISIONS, ".po-RunPage") == []
    finally:
        page.evaluate("() => { document.documentElement.removeAttribute('dir') }")


def test_the_graph_stays_in_sight_when_the_page_becomes_narrow(page: Page, lab: JupyterProcess) -> None:
    tasks = [{"name": name, "prompt": "x"} for name in ("label", "reply", "send")]
    body = {
        "pipeline": {"name": "three", "llm": {"model": "fake:echo"}, "tasks": tasks},
        "seed": {"name": "three", "data": {}},
    }
    with lab.http() as http:
        run = str(http.post("runs", json=body).json()["run"]["id"])
    shown = open_page(page, run)
    shown.locator(".po-Node").nth(2).wait_for(timeout=20 * SECOND)
    for width in (760, 1280, 800):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(700)  # the graph moves into its view
        page.screenshot(path=str(SHOTS / f"graph-{width}.png"))
        assert page.evaluate(COLLISIONS, ".po-Graph-box") == [], width
    page.set_viewport_size({"width": 1280, "height": 900})


@pytest.mark.slow
def test_the_panel_with_runs_that_need_a_person(page: Page, runs: dict[str, str]) -> None:
    side = open_panel(page)
    side.get_by_text("echo: Dear Ada").wait_for(timeout=20 * SECOND)
    closed = side.locator(".po-Run-head[aria-expanded=false]")
    while closed.count():
        closed.first.click()
    look(page, ".po-Side", "panel-runs")


@pytest.mark.slow
@pytest.mark.parametrize("tab", ["Runs", "Pipelines", "Usage", "System"])
@pytest.mark.parametrize("case", ["loading", "error", "empty"])
def test_the_panel_when_there_is_nothing_to_show(page: Page, lab: JupyterProcess, tab: str, case: str) -> None:
    def answer(route: Any) -> None:
        if case == "error":
            route.fulfill(
                status=500, json={"error": {"code": "internal", "message": "The disk is gone", "hint": "Look."}}
            )
        elif case == "empty":
            route.fulfill(json=_empty(route.request.url))
        # else nobody answers

    page.route(API, answer)
    page.goto(f"{lab.url}lab?token={lab.token}&reset")
    page.wait_for_function("() => window.jupyterapp?.restored.then(() => true)", timeout=60 * SECOND)
    side = open_panel(page, tab)
    if case == "error" and tab != "Runs":
        side.get_by_text("The disk is gone").first.wait_for(timeout=10 * SECOND)
    look(page, ".po-Side", f"panel-{tab.lower()}-{case}")


def _empty(url: str) -> dict[str, Any]:
    if "/pipelines" in url:
        return {"pipelines": []}
    if "/usage" in url:
        return {"days": [], "total": {}, "disk": {"runs": {"states": {}}, "cache": 0, "logs": 0, "free": 0}}
    return {"runs": [], "next": None, "total": 0, "entries": [], "models": []}


@pytest.mark.slow
@pytest.mark.parametrize("tab", ["tasks", "rows", "calls", "logs", "data", "files", "money"])
@pytest.mark.parametrize("case", ["loading", "error"])
def test_a_tab_of_a_run_that_cannot_be_shown(page: Page, runs: dict[str, str], tab: str, case: str) -> None:
    def answer(route: Any) -> None:
        if case == "error":
            route.fulfill(status=500, json=FAILURE)

    page.route(re.compile(r".*/po/api/v1/runs/[^/]+/."), answer)
    shown = open_page(page, runs["done"], tab=tab)
    shown.locator(f".po-TabPanel[data-tab={tab}]").wait_for(timeout=20 * SECOND)
    page.wait_for_timeout(500)  # what is shown while an answer is awaited has no event
    look(page, ".po-RunPage", f"tab-{tab}-{case}")


@pytest.mark.slow
def test_a_run_that_is_not_there(page: Page, lab: JupyterProcess) -> None:
    execute(page, "po-jupyter:open-run", run="00000000000000000000000000000000")
    page.locator(".po-RunPage .po-Unloaded").wait_for(timeout=20 * SECOND)
    look(page, ".po-RunPage", "page-missing")
