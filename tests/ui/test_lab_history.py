"""The side panel over many runs: what needs a person on top, filters, older pages, and what Lab's start costs.

Screenshots are kept in test-artifacts/ to be looked at.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlparse

import pytest

from tests.support.jupyter_process import JupyterProcess
from tests.support.lab_process import lab_process
from tests.support.paths import ROOT
from tests.ui.test_lab_notebook import SECOND, SHOTS, panels

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Route

AXE = ROOT / "po_jupyter/ui/node_modules/axe-core/axe.min.js"
RUNS = 130  # more than a page of the history
GATED = [
    {"name": "draft", "prompt": "A reply to {{ seed.customer }}", "gate": {"message": "Send it?"}},
    {"name": "send", "prompt": "sent"},
]
FAILS = [{"name": "divides", "source": "def ingestion(ctx):\n    return 1 / 0\n"}]
MAP = [
    {
        "name": "label",
        "prompt": "Label {{ item }}",
        "for_each": "{{ seed.rows }}",
        "gate": {"message": "Are these labels right?"},
    }
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    panel = panels()
    if panel is None:
        pytest.skip("the panel is not built: pip install .")
    server = lab_process(tmp_path_factory.mktemp("lab"), panel)
    try:
        fill(server)
        yield server
    finally:
        server.stop()


def fill(lab: JupyterProcess) -> None:
    """A gate with a draft, one with rows and a failure, all older than many runs that are done."""
    submit(lab, "reply", GATED, customer="Ann")
    submit(lab, "labels", MAP, rows=[f"ticket {n}" for n in range(8)])
    submit(lab, "broken", FAILS)
    for number in range(RUNS):
        submit(lab, f"number {number}", [{"name": "ask", "prompt": "one"}], pipeline="numbers")
    with lab.http() as http:
        for _ in range(600):
            states = [run["state"] for run in http.get("runs?state=pending,running&limit=1").json()["runs"]]
            if not states:
                return
            time.sleep(0.2)
    raise RuntimeError("the runs do not end")


def submit(
    lab: JupyterProcess, name: str, tasks: list[dict[str, Any]], pipeline: str = "panel", **data: Any
) -> str:
    body = {
        "pipeline": {"name": pipeline, "llm": {"model": "fake:echo"}, "tasks": tasks},
        "seed": {"name": name, "data": data},
    }
    with lab.http() as http:
        answer = http.post("runs", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["run"]["id"])


@pytest.fixture
def page(lab: JupyterProcess, browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    SHOTS.mkdir(exist_ok=True)
    yield page
    page.close()


def open_panel(lab: JupyterProcess, page: Page, *, reset: bool = True) -> None:
    page.goto(f"{lab.url}lab?token={lab.token}{'&reset' if reset else ''}")
    if reset:  # else it is open as it was
        page.get_by_role("tab", name="Prompt runs").click(timeout=60 * SECOND)
    page.locator(".po-Panel-link[data-link=live]").wait_for(timeout=60 * SECOND)


def serious(page: Page) -> list[str]:
    """What axe finds in our part of the page that keeps somebody out."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed: jlpm install in po_jupyter/ui")
    page.add_script_tag(path=str(AXE))
    found = page.evaluate("async () => (await axe.run('.po-Side', {resultTypes: ['violations']})).violations")
    return [
        f"{each['id']}: {each['help']} {[node['html'][:200] for node in each['nodes'][:3]]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


def test_the_start_of_lab_costs_nothing_before_somebody_looks(lab: JupyterProcess, page: Page) -> None:
    """C5: no request of ours, and less than 60 KB of script, before the panel is first seen."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{lab.url}lab?token={lab.token}&reset")
    page.get_by_role("tab", name="Prompt runs").wait_for(timeout=60 * SECOND)
    page.wait_for_function("() => window.jupyterapp?.restored.then(() => true)", timeout=60 * SECOND)
    page.wait_for_timeout(500)
    assert [url for url in asked if "/po/api/" in url] == []
    ours = sorted({url for url in asked if "/extensions/po-jupyter/" in url and ".js" in url})
    sizes = {url.split("/")[-1]: len(page.request.get(url).body()) for url in ours}
    assert sizes
    assert sum(sizes.values()) < 60_000, sizes
    page.get_by_role("tab", name="Prompt runs").click()
    page.locator(".po-Panel-link[data-link=live]").wait_for(timeout=30 * SECOND)
    assert len([url for url in asked if "/po/api/v1/events" in url]) == 1


def test_what_needs_a_person_is_on_top_with_its_draft(lab: JupyterProcess, page: Page) -> None:
    """C3, B13: it does not scroll out of sight, and can be decided where it stands."""
    open_panel(lab, page)
    needs = page.get_by_role("region", name="Needs you")
    needs.get_by_text("echo: A reply to Ann").wait_for(timeout=20 * SECOND)
    needs.get_by_text("ticket 4").wait_for()
    needs.get_by_text("and more rows").wait_for()
    needs.get_by_text("ZeroDivisionError").first.wait_for()
    assert needs.locator(".po-Run").count() == 3
    page.screenshot(path=str(SHOTS / "history-attention.png"))
    assert serious(page) == []
    page.evaluate(
        "() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    page.wait_for_selector("body[data-jp-theme-light=false]", state="attached")
    page.wait_for_timeout(500)
    page.screenshot(path=str(SHOTS / "history-attention-dark.png"))
    assert serious(page) == []
    page.evaluate(
        "() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})"
    )
    page.wait_for_selector("body[data-jp-theme-light=true]", state="attached")
    gate = page.get_by_role("group", name="Gate of labels")
    gate.get_by_role("textbox").fill("all of them")
    gate.get_by_role("button", name="Approve").click()
    gate.wait_for(state="detached", timeout=20 * SECOND)
    needs.get_by_role("button", name="Put aside").click()
    needs.locator(".po-Run", has_text="broken").wait_for(state="detached")
    assert needs.locator(".po-Run").count() == 1
    with lab.http() as http:
        (run,) = http.get("runs?q=labels").json()["runs"]
        events = http.get(f"runs/{run['id']}/events", headers={"Accept": "application/json"}).json()["events"]
    (decision,) = [event["data"] for event in events if event["type"] == "gate.decided"]
    assert (decision["decision"], decision["note"]) == ("approve", "all of them")


def test_the_history_is_searched_and_read_to_its_end(lab: JupyterProcess, page: Page) -> None:
    """C3, R2.8: a run of long ago is found by its name or by scrolling, and a reload shows the same."""
    open_panel(lab, page)
    history = page.get_by_role("region", name="History")
    history.get_by_text("Today").wait_for(timeout=20 * SECOND)
    items = history.get_by_role("listitem")
    items.first.wait_for()
    assert items.count() < 60, "only what can be seen is in the page"
    scroller = page.locator(".po-Scroll")
    page.get_by_text("number 129", exact=True).wait_for()
    for _ in range(60):
        if page.get_by_text("number 0", exact=True).count():
            break
        scroller.evaluate("e => { e.scrollTop = e.scrollHeight }")
        page.wait_for_timeout(100)
    page.get_by_text("number 0", exact=True).wait_for(timeout=10 * SECOND)
    assert items.count() < 60
    page.screenshot(path=str(SHOTS / "history-end.png"))
    scroller.evaluate("e => { e.scrollTop = 0 }")
    page.get_by_label("Search by name, pipeline or id").fill("number 12")
    found = page.get_by_role("region", name="Found")
    found.locator("[role=listitem][aria-setsize='11']").first.wait_for(timeout=10 * SECOND)
    found.get_by_text("number 129", exact=True).wait_for(timeout=10 * SECOND)
    page.get_by_role("button", name="Filters").click()
    page.get_by_label("State").select_option("failed")
    found.get_by_text("No run is like this.").wait_for(timeout=10 * SECOND)
    page.get_by_label("Search by name, pipeline or id").fill("")
    found.locator(".po-Run", has_text="broken").wait_for(timeout=10 * SECOND)
    page.screenshot(path=str(SHOTS / "history-filters.png"))
    assert serious(page) == []
    page.wait_for_timeout(1500)  # Lab saves its state after a pause
    open_panel(lab, page, reset=False)
    assert page.get_by_label("State").input_value() == "failed"
    found.locator(".po-Run", has_text="broken").wait_for(timeout=10 * SECOND)
    page.get_by_role("button", name="Clear").click()
    history.wait_for()


def test_a_reload_shows_the_same_part_of_the_list(lab: JupyterProcess, page: Page) -> None:
    """R2.8: the run that was at the top of what was seen is there again."""
    open_panel(lab, page)
    page.get_by_text("number 129", exact=True).wait_for(timeout=30 * SECOND)
    scroller = page.locator(".po-Scroll")
    scroller.evaluate("e => { e.scrollTop = 1500 }")
    page.wait_for_timeout(300)
    top = """e => { const edge = e.getBoundingClientRect().top;
        const cards = [...e.querySelectorAll('[role=listitem] [data-run]')];
        const card = cards.find(each => each.getBoundingClientRect().bottom > edge);
        return [card?.dataset.run, Math.round((card?.getBoundingClientRect().top ?? 0) - edge)]; }"""
    before = scroller.evaluate(top)
    assert before[0] is not None
    page.wait_for_timeout(2500)  # the place is kept once they rest; Lab saves its state after a pause
    open_panel(lab, page, reset=False)
    page.wait_for_function(
        f"run => ({top})(document.querySelector('.po-Scroll'))[0] === run", arg=before[0], timeout=20 * SECOND
    )
    page.wait_for_timeout(500)
    after = scroller.evaluate(top)
    assert after[0] == before[0]
    assert abs(after[1] - before[1]) <= 2
    page.get_by_role("tab", name="Usage").click()
    page.get_by_role("tab", name="Runs", exact=True).click()  # each part has its own place
    page.wait_for_function(
        f"run => ({top})(document.querySelector('.po-Scroll'))[0] === run", arg=before[0], timeout=20 * SECOND
    )


def test_a_selection_outlives_the_seconds_of_a_run(lab: JupyterProcess, page: Page) -> None:
    """C3: what is being copied is not lost because a clock moves on: text nodes are patched, not replaced."""
    open_panel(lab, page)
    slow = {"name": "slow", "source": "import time\ndef ingestion(ctx):\n    time.sleep(60)\n"}
    run = submit(lab, "slow one", [slow])
    card = page.locator(f".po-Run[data-run='{run}'][data-state=running]")
    card.wait_for(timeout=20 * SECOND)
    line = card.locator(".po-Run-line").first
    before = line.inner_text()
    line.evaluate(
        """line => { const range = document.createRange(); range.setStart(line.firstChild, 0);
            range.setEnd(line.firstChild, 5); getSelection().removeAllRanges(); getSelection().addRange(range);
            window.textNode = line.firstChild; }"""
    )
    page.wait_for_function("([line, text]) => line.innerText !== text", arg=[line.element_handle(), before])
    assert line.evaluate("line => line.firstChild === window.textNode")
    with lab.http() as http:
        http.post(f"runs/{run}/cancel", json={})


def test_a_run_is_started_from_the_form_of_its_pipeline(lab: JupyterProcess, page: Page) -> None:
    """B16: what it would cost is said before; its rows come from a file, its limit and budget from the form."""
    definition = {
        "name": "form",
        "llm": {"model": "fake:echo"},
        "tasks": [
            {"name": "label", "prompt": "{{ item.text }} of {{ seed.product }}", "for_each": "{{ seed.rows }}"}
        ],
    }
    with lab.http() as http:
        assert http.put("pipelines/form", json=definition).status_code in (200, 201)
    open_panel(lab, page)
    page.get_by_role("tab", name="Pipelines").click()
    page.locator(".po-Pipeline .po-Run-head").click(timeout=20 * SECOND)
    rows = {"name": "rows.csv", "mimeType": "text/csv", "buffer": b"text\nIt crashes\nI love it\n"}
    page.locator("input[type=file]").set_input_files(rows)
    page.get_by_label("product").fill("pen")
    page.get_by_label("Rows at most").fill("1")
    page.get_by_label("Budget (USD)").fill("0.5")
    page.get_by_role("button", name="Estimate").click()
    page.get_by_role("region", name="Estimate").get_by_text("1 call").wait_for(timeout=20 * SECOND)
    page.screenshot(path=str(SHOTS / "pipelines-form.png"))
    assert serious(page) == []
    page.get_by_role("button", name="Start", exact=True).click()
    page.locator(".po-Run", has_text="form").locator("[data-state=done]").first.wait_for(timeout=20 * SECOND)
    with lab.http() as http:
        (found,) = http.get("runs?pipeline=form").json()["runs"]
        items = http.get(f"runs/{found['id']}/items?task=label").json()["items"]
    assert found["budget"] == {"usd": 0.5}
    assert [item["output"] for item in items] == ["echo: It crashes of pen"]
    for tab, caption in (("Usage", "By model"), ("System", "Who changed what")):
        page.get_by_role("tab", name=tab).click()
        page.get_by_text(caption).first.wait_for(timeout=20 * SECOND)
        page.screenshot(path=str(SHOTS / f"panel-{tab.lower()}.png"))
        assert serious(page) == []


def list_ten_thousand(lab: JupyterProcess, page: Page) -> Locator:
    """The history with 10,000 runs, which are made up here, read to its end; what scrolls it."""
    with lab.http() as http:
        sample = http.get("runs?state=done&limit=1").json()["runs"][0]
    count, size = 10_000, 100

    def answer(route: Route) -> None:
        query = parse_qs(urlparse(route.request.url).query)
        start = int(query.get("cursor", ["0"])[0])
        runs = []
        if query.get("state") != ["pending,running,waiting"]:
            for number in range(start, start + size):
                made = datetime(2026, 1, 1, tzinfo=UTC) - timedelta(minutes=number)
                runs.append({**sample, "id": f"{count - number:08}", "created_at": made.isoformat()})
        more = start + size < count
        route.fulfill(json={"runs": runs, "next": str(start + size) if runs and more else None})

    page.route(re.compile(r".*/po/api/v1/runs\?"), answer)
    open_panel(lab, page)
    scroller = page.locator(".po-Scroll")
    for _ in range(600):
        scroller.evaluate("e => { e.scrollTop = e.scrollHeight }")
        listed = int(page.locator(".po-Virtual-item").first.get_attribute("aria-setsize") or 0)
        if listed >= count:
            break
        page.wait_for_timeout(30)
    assert listed >= count
    return scroller


def test_of_ten_thousand_runs_only_what_can_be_seen_is_drawn(lab: JupyterProcess, page: Page) -> None:
    """C3: at the end of the list and at its beginning."""
    scroller = list_ten_thousand(lab, page)
    assert page.locator(".po-Virtual-item").count() < 60
    scroller.evaluate("e => { e.scrollTop = 0 }")
    page.locator(".po-Virtual-item[aria-posinset='1']").wait_for(timeout=20 * SECOND)
    assert page.locator(".po-Virtual-item").count() < 60


@pytest.mark.benchmark
def test_ten_thousand_runs_are_scrolled_at_fifty_frames_a_second(lab: JupyterProcess, page: Page) -> None:
    """C3: for a quiet machine."""
    scroller = list_ten_thousand(lab, page)
    frames = """async (e, step) => {
        const times = []; let last = performance.now();
        for (let n = 0; n < 120; n++) {
            e.scrollTop -= step;
            await new Promise(requestAnimationFrame);
            times.push(performance.now() - last); last = performance.now();
        }
        return times.sort((a, b) => a - b)[60]; }"""
    still, moving = scroller.evaluate(frames, 0), scroller.evaluate(frames, 300)
    print(f"{1000 / moving:.0f} frames a second, {1000 / still:.0f} when it stands")
    assert moving < 20
