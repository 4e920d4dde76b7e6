"""The page of a run, in a real JupyterLab and a real Chromium: each tab shows what is there, a reload the same page.

Screenshots are kept in test-artifacts/ to be looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from po_jupyter.testing.model_server import ModelServer, Reply
from tests.support.jupyter_process import JupyterProcess
from tests.support.lab_process import lab_process
from tests.support.paths import ROOT
from tests.ui.test_lab_notebook import SECOND, SHOTS, panels

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.acceptance

ROWS = 40
COUNT = """
def ingestion(ctx):
    for row in ctx.seed["rows"][:3]:
        print("counting", row["text"])
    return {"rows": len(ctx.seed["rows"])}
"""
REPORT = """
def integration(ctx):
    ctx.io.write_artifact("report.html", "<script>document.title = 'hacked'</script><h1>Report</h1>")
    ctx.io.write_artifact("labels.csv", "text,label\\na,bug\\n")
"""
PIPELINE: dict[str, Any] = {
    "name": "tickets",
    "version": "1.0.0",
    "llm": {"model": "openai:gpt-5-mini", "max_tokens": 200},
    "tasks": [
        {"name": "count", "source": COUNT},
        {
            "name": "label",
            "for_each": "{{ seed.rows }}",
            "prompt": "Label this ticket: {{ item.text }}",
            "output": {
                "type": "object",
                "required": ["label"],
                "properties": {"label": {"enum": ["bug", "question", "praise"]}, "reason": {"type": "string"}},
            },
            "failure_threshold": 0.5,
        },
        {"name": "summary", "prompt": "What do these {{ tasks.count.rows }} have in common?"},
        {"name": "report", "source": REPORT, "needs": ["label"]},
    ],
}
EVIL = "<img src=x onerror=\"document.title='hacked'\">"
AXE = ROOT / "po_jupyter/ui/node_modules/axe-core/axe.min.js"


class Tickets:
    """A model server that labels tickets; tickets that are `broken` are refused until somebody mends them."""

    def __init__(self) -> None:
        self.mended = False

    def __call__(self, body: dict[str, Any], n: int) -> Any:
        text = json.dumps(body)
        if "broken" in text and not self.mended:
            return Reply(status=400, error="this ticket cannot be read")
        if "Label this" in text:
            return {"label": ("bug", "question", "praise")[n % 3], "reason": f"it says so {EVIL}"}
        return f"They are all tickets. {EVIL}"


def environment(model: ModelServer) -> dict[str, str]:
    """What a server needs to ask that model, and to know what it costs."""
    prices = {"openai:gpt-5-mini": {"input": 0.25, "output": 2}}
    return {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": model.key, "PO_PRICES": json.dumps(prices)}


@pytest.fixture(scope="module")
def tickets() -> Tickets:
    return Tickets()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tickets: Tickets) -> Iterator[JupyterProcess]:
    panel = panels()
    if panel is None:
        pytest.skip("the panel is not built: pip install .")
    with ModelServer(tickets) as model:
        server = lab_process(tmp_path_factory.mktemp("lab"), panel, environment(model))
        yield server
        server.stop()


def started(lab: JupyterProcess, **body: Any) -> str:
    """A run that has ended."""
    with lab.http() as http:
        answer = http.post("runs", json=body)
        assert answer.status_code == 201, answer.text
        identity = str(answer.json()["run"]["id"])
        http.get(f"runs/{identity}/events", headers={"Accept": "text/event-stream"}, timeout=60)
        assert http.get(f"runs/{identity}").json()["run"]["state"] == "done"
    return identity


@pytest.fixture(scope="module")
def run(lab: JupyterProcess) -> str:
    """A run that is done, with three failed rows."""
    rows = [{"text": f"ticket {n} is {'broken' if n in (3, 17, 29) else 'fine'}"} for n in range(ROWS)]
    body = {
        "pipeline": PIPELINE,
        "seed": {"name": "tickets of today", "data": {"rows": rows}},
        "budget": {"usd": 2},
    }
    return started(lab, **body)


@pytest.fixture
def page(lab: JupyterProcess, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1300, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(f"{lab.url}lab?token={lab.token}&reset")
    page.wait_for_function("() => window.jupyterapp?.shell", timeout=60 * SECOND)
    page.evaluate("() => window.jupyterapp.restored")
    yield page
    context.close()


def execute(page: Page, command: str, **args: Any) -> None:
    # Not its result, a widget: whatever it holds would be sent here.
    page.evaluate(
        "async ([name, args]) => { await window.jupyterapp.commands.execute(name, args) }", [command, args]
    )


def open_page(page: Page, run: str, **args: Any) -> Locator:
    execute(page, "po-jupyter:open-run", run=run, **args)
    shown = page.locator(".po-RunPage")
    shown.locator(".po-Tabs").wait_for(timeout=20 * SECOND)
    return shown


def tab(shown: Locator, name: str) -> Locator:
    shown.get_by_role("tab", name=name, exact=True).click()
    panel = shown.locator(f".po-TabPanel[data-tab={name.lower()}]")
    panel.wait_for(timeout=10 * SECOND)
    return panel


def shot(page: Page, name: str) -> None:
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=str(SHOTS / f"run-{name}.png"))


def theme(page: Page, name: str) -> None:
    execute(page, "apputils:change-theme", theme=f"JupyterLab {name}")
    page.wait_for_selector(f"body[data-jp-theme-name='JupyterLab {name}']", state="attached")
    page.wait_for_timeout(500)  # the stylesheet of the theme has no event of its own


def axe(page: Page, where: str) -> None:
    """No violation of the rules of accessibility in what is shown."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: jlpm install in po_jupyter/ui")
    page.evaluate(AXE.read_text() + ";undefined")
    found = page.evaluate("async () => (await axe.run(document.querySelector('.po-RunPage'))).violations")
    shown = [(rule["id"], [node["html"][:200] for node in rule["nodes"]]) for rule in found]
    assert not shown, (where, shown)


def seen(panel: Locator, text: str) -> None:
    panel.get_by_text(text).first.wait_for(timeout=10 * SECOND)


def test_each_tab_shows_what_is_there(page: Page, run: str) -> None:
    """Issue 10: tasks, rows, calls, logs, data, files, money; P6: a model writes text; axe finds nothing."""
    shown = open_page(page, run)
    page.locator("#jp-main-dock-panel .lm-TabBar-tabLabel", has_text="tickets of today").wait_for(
        timeout=10 * SECOND
    )
    tasks = tab(shown, "Tasks")
    tasks.locator(".po-Node[data-task=report]").wait_for(timeout=10 * SECOND)
    assert tasks.locator(".po-Node").count() == 4
    assert tasks.locator(".react-flow__edge").count() == 3
    tasks.locator(".po-Node[data-task=label]").click()
    assert "40/40 · 3 failed" in tasks.locator(".po-Detail[data-task=label]").inner_text()
    tasks.locator(".po-Lane-bar").first.wait_for(timeout=10 * SECOND)
    axe(page, "tasks")

    rows = tab(shown, "Rows")
    seen(rows, "40 rows")
    rows.get_by_label("Failed only").check()
    seen(rows, "3 of 40 rows")
    rows.get_by_role("row").nth(1).click()
    detail = rows.locator(".po-Detail[data-row='3']")
    seen(detail, "this ticket cannot be read")
    seen(detail, "ticket 3 is broken")
    axe(page, "rows")
    detail.get_by_role("button", name="Calls").click()

    calls = shown.locator(".po-TabPanel[data-tab=calls]")
    seen(calls, "1 call")
    calls.get_by_role("button", name="Row 3").click()
    seen(calls, "40 calls")
    calls.get_by_role("row").nth(3).click()
    calls.get_by_role("button", name="Compare").click()
    calls.get_by_role("row").nth(5).click()
    assert calls.locator(".po-Detail").count() == 2
    calls.locator(".po-Message").nth(1).wait_for(timeout=10 * SECOND)
    seen(calls, "onerror=")
    axe(page, "calls")

    logs = tab(shown, "Logs")
    logs.locator("select").select_option("count")
    seen(logs, "counting ticket 1 is fine")
    axe(page, "logs")

    data = tab(shown, "Data")
    seen(data, "They are all tickets.")
    data.get_by_text("rows:").first.click()
    seen(data, "ticket 0 is fine")
    axe(page, "data")

    files = tab(shown, "Files")
    seen(files, "report.html")
    with page.expect_download() as saved:
        files.locator("[data-file='report.html']").get_by_role("button", name="Download").click()
    assert saved.value.path().read_text().endswith("<h1>Report</h1>")
    axe(page, "files")

    money = tab(shown, "Money")
    money.locator(".po-Chart canvas").wait_for(timeout=10 * SECOND)
    seen(money, "openai:gpt-5-mini")
    assert "of $2.00" in money.inner_text()
    axe(page, "money")
    theme(page, "Dark")
    for name in ("Tasks", "Rows", "Calls", "Logs", "Data", "Files", "Money"):
        tab(shown, name)
        page.wait_for_timeout(300)
        shot(page, f"{name.lower()}-dark")
        axe(page, f"{name} in the dark")
    theme(page, "Light")
    assert page.title() != "hacked"


def test_rows_say_their_variant_their_scores_and_what_was_expected(page: Page, lab: JupyterProcess) -> None:
    labels = ("bug", "question", "praise")
    rows_of = [{"text": f"ticket {n}", "gold": labels[n % 3]} for n in range(12)]
    label = {
        **PIPELINE["tasks"][1],
        "prompt": None,
        "variants": {
            f"{how}": {"prompt": f"Label this {how}: {{{{ item.text }}}}"} for how in ("short", "long")
        },
        "score": {"on": "label", "expect": "{{ item.gold }}", "metrics": ["exact"]},
    }
    compared = started(
        lab, pipeline={**PIPELINE, "tasks": [label]}, seed={"name": "two prompts", "data": {"rows": rows_of}}
    )
    shown = open_page(page, compared, tab="rows", task="label")
    rows = shown.locator(".po-TabPanel[data-tab=rows]")
    seen(rows, "24 rows")
    rows.get_by_role("row").nth(2).get_by_text("long", exact=True).wait_for(timeout=10 * SECOND)
    shot(page, "variants")
    rows.get_by_label("Variant").select_option("long")
    seen(rows, "12 of 24 rows")
    assert rows.get_by_role("gridcell").filter(has_text=re.compile("^short$")).count() == 0
    with page.expect_download() as saved:
        rows.get_by_role("button", name="CSV").click()
    lines = saved.value.path().read_text(encoding="utf-8-sig").splitlines()
    assert lines[0].startswith("index,variant,state,input,") and "score.exact" in lines[0] and len(lines) == 13
    rows.get_by_role("row").nth(2).click()
    detail = rows.locator(".po-Detail[data-row='3']")
    seen(detail, "Expected")
    detail.locator("h4", has_text="Expected").locator("+ *").filter(has_text="question").wait_for()
    assert re.search(r"exact\s+[01]\.00", detail.inner_text())
    axe(page, "rows of variants")
    shot(page, "expected")


def test_a_page_that_was_closed_opens_again(page: Page, run: str) -> None:
    open_page(page, run)
    execute(page, "application:close")
    page.locator(".po-RunPage").wait_for(state="detached", timeout=10 * SECOND)
    seen(tab(open_page(page, run), "Rows"), "40 rows")


def test_a_file_opens_in_a_viewer_of_lab(page: Page, run: str) -> None:
    """HTML of a run is never drawn in the page itself; Lab's viewer of CSV draws a table."""
    shown = open_page(page, run, tab="files")
    shown.get_by_role("button", name="labels.csv").click()
    page.locator(".jp-CSVViewer").wait_for(timeout=20 * SECOND)
    shot(page, "csv")


def test_a_reload_shows_the_same_page_and_a_link_its_tab(page: Page, lab: JupyterProcess, run: str) -> None:
    """R2.8: open page, tab, filter, order, open row."""
    shown = open_page(page, run, tab="rows", task="label")
    rows = shown.locator(".po-TabPanel[data-tab=rows]")
    rows.get_by_label("Search rows").fill("ticket 2")
    seen(rows, "11 of 40 rows")
    rows.get_by_role("button", name="Row", exact=True).click()
    rows.get_by_role("row").nth(1).filter(has_text="ticket 29").click()
    rows.locator(".po-Detail[data-row='29']").wait_for(timeout=10 * SECOND)
    page.wait_for_timeout(2500)  # Lab saves its layout, and its state, after pauses of its own
    page.goto(f"{lab.url}lab")
    again = page.locator(".po-RunPage .po-TabPanel[data-tab=rows]")
    again.locator(".po-Detail[data-row='29']").wait_for(timeout=60 * SECOND)
    assert again.get_by_label("Search rows").input_value() == "ticket 2"
    assert again.get_by_role("columnheader", name="Row").get_attribute("aria-sort") == "descending"
    page.locator(".po-RunPage").get_by_role("button", name="Copy link").click()
    page.get_by_role("button", name="Copied").wait_for(timeout=10 * SECOND)
    link = page.evaluate("() => navigator.clipboard.readText()")
    assert link == f"{lab.url}lab?po-run={run}&po-tab=rows&po-task=label&po-row=29"
    page.goto(link.replace("po-tab=rows&po-task=label&po-row=29", "po-tab=money"))
    page.locator(".po-RunPage .po-TabPanel[data-tab=money]").wait_for(timeout=60 * SECOND)
    assert "po-run" not in page.url


def test_chosen_rows_are_asked_for_again_and_no_others(
    page: Page, lab: JupyterProcess, tickets: Tickets
) -> None:
    """Issue 10: retry selected, by mouse and by keyboard; what is done is paid again only after a question."""
    tickets.mended = False
    rows_of = [{"text": f"letter {n} is {'broken' if n in (3, 7, 250) else 'fine'}"} for n in range(300)]
    chosen = started(lab, pipeline=PIPELINE, seed={"name": "chosen tickets", "data": {"rows": rows_of}})
    tickets.mended = True
    shown = open_page(page, chosen, tab="rows", task="label")
    rows = shown.locator(".po-TabPanel[data-tab=rows]")
    rows.get_by_label("Select row 3", exact=True).check()
    rows.get_by_label("Select row 7", exact=True).click(modifiers=["Shift"])
    seen(rows, "5 rows selected")
    for index in (4, 5, 6):
        rows.get_by_label(f"Select row {index}", exact=True).uncheck()
    seen(rows, "2 rows selected")
    shot(page, "selected")
    axe(page, "selected rows")
    rows.get_by_role("button", name="Retry selected").click()
    shown.get_by_role("button", name="Retry 1 failed row").wait_for(timeout=20 * SECOND)
    assert not rows.locator(".po-Selected").count()
    with lab.http() as http:
        page_of = http.get(f"runs/{chosen}/tasks/label/rows", params={"limit": 300}).json()["rows"]
    assert [row["index"] for row in page_of if row["state"] == "failed"] == [250]
    assert [row["index"] for row in page_of if row["attempts"] > 1] == [3, 7]

    # By keyboard; the end of the list is not loaded when the key is pressed, and the detail stays open.
    polars = pytest.importorskip("polars")
    with page.expect_download() as saved:
        rows.get_by_role("button", name="Parquet").click()
    frame = polars.read_parquet(saved.value.path())
    assert frame["index"].to_list() == list(range(300))
    assert set(frame["output.label"].to_list()) == {"bug", "question", "praise", None}
    grid = rows.get_by_role("grid")
    grid.focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    rows.locator(".po-Detail[data-row='0']").wait_for(timeout=10 * SECOND)
    page.keyboard.press("End")
    rows.locator(".po-Detail[data-row='299']").wait_for(timeout=10 * SECOND)
    page.keyboard.press("Escape")
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowUp")
    seen(rows, "2 rows selected")
    rows.get_by_role("button", name="Retry selected").focus()
    page.keyboard.press("Enter")
    dialog = page.locator(".jp-Dialog")
    dialog.get_by_text("2 of them have an answer").wait_for(timeout=10 * SECOND)
    shot(page, "paid-again")
    dialog.get_by_role("button", name="Cancel").click()
    seen(rows, "2 rows selected")
    rows.get_by_role("button", name="Clear").click()
    rows.locator(".po-Selected").wait_for(state="detached", timeout=10 * SECOND)
    tickets.mended = False


def test_two_runs_are_compared_row_by_row(page: Page, lab: JupyterProcess) -> None:
    """Issue 10, compare: seven of a hundred answers differ, and seven rows are listed; light, dark, narrow."""
    different = [3, 17, 18, 40, 55, 80, 99]
    prompts = (
        "Label {{ item.text }}",
        f"Label{{{{ ' again' if item.n in {different} else '' }}}} {{{{ item.text }}}}",
    )
    a, b = (
        started(
            lab,
            pipeline={
                "name": "compared", "llm": {"model": "fake:echo"},
                "tasks": [{"name": "label", "for_each": "{{ seed.rows }}", "prompt": prompt}],
            },
            seed={"name": f"prompt {n}", "data": {"rows": [{"n": i, "text": f"row {i}"} for i in range(100)]}},
        )
        for n, prompt in enumerate(prompts)
    )  # fmt: skip
    shown = open_page(page, a, tab="rows")
    shown.get_by_role("button", name="Compare with…").click()
    page.locator(".jp-Dialog").get_by_role("button", name="Compare").click()
    compared = shown.locator(".po-TabPanel[data-tab=compare]")
    seen(compared, "93 of 100 answers agree (93 %) · 7 changed")
    seen(compared, "7 rows")
    grid = compared.get_by_role("grid")
    assert grid.get_by_role("row").count() == 8
    assert [grid.get_by_role("row").nth(n + 1).inner_text().split()[0] for n in range(7)] == [
        str(n) for n in different
    ]
    shot(page, "compare")
    axe(page, "compare")
    grid.get_by_role("row").nth(2).click()
    detail = compared.locator(".po-Detail")
    seen(detail, "echo: Label again row 17")
    assert detail.locator(".po-Compare-side").count() == 2
    theme(page, "Dark")
    shot(page, "compare-dark")
    axe(page, "compare in the dark")
    theme(page, "Light")
    page.set_viewport_size({"width": 620, "height": 900})
    page.wait_for_timeout(500)
    shot(page, "compare-narrow")
    page.set_viewport_size({"width": 1300, "height": 900})
    compared.get_by_label("Changed only").uncheck()
    seen(compared, "100 rows")
    compared.locator(".po-Link").click()
    page.locator("#jp-main-dock-panel .lm-TabBar-tabLabel", has_text="prompt 1").wait_for(timeout=20 * SECOND)
    with lab.http() as http:
        assert [http.get(f"runs/{run}").json()["run"]["usage"]["calls"] for run in (a, b)] == [100, 7]


def test_the_keyboard_is_enough_to_retry_a_failed_row(page: Page, run: str, tickets: Tickets) -> None:
    """From the tabs to a failed row and to its retry; what was done is seen without a reload."""
    shown = open_page(page, run)
    keys = page.keyboard
    keys.press("ArrowRight")
    rows = shown.locator(".po-TabPanel[data-tab=rows]")
    rows.get_by_role("grid").wait_for(timeout=10 * SECOND)
    assert page.evaluate("() => document.activeElement.textContent") == "Rows"
    rows.get_by_label("Failed only").focus()
    keys.press("Space")
    seen(rows, "3 of 40 rows")
    rows.get_by_role("grid").focus()
    keys.press("ArrowDown")
    keys.press("Enter")
    rows.locator(".po-Detail[data-row='17']").wait_for(timeout=10 * SECOND)
    keys.press("End")
    rows.locator(".po-Detail[data-row='29']").wait_for(timeout=10 * SECOND)
    keys.press("Escape")
    rows.locator(".po-Detail").wait_for(state="detached", timeout=10 * SECOND)
    tickets.mended = True
    shown.get_by_role("button", name="Retry 3 failed rows").focus()
    keys.press("Enter")
    seen(rows, "No row matches.")
    rows.get_by_label("Failed only").uncheck()
    seen(rows, "40 rows")
    assert not rows.locator(".po-is-failed").count()
    shown.get_by_role("button", name="Retry").wait_for(state="detached", timeout=10 * SECOND)


def test_a_fork_asks_another_prompt(page: Page, lab: JupyterProcess, run: str) -> None:
    """G5: from a task on, with another prompt; the new run's page opens."""
    shown = open_page(page, run)
    shown.get_by_role("button", name="Fork").click()
    dialog = page.locator(".jp-Dialog")
    dialog.get_by_role("combobox").select_option("summary")
    dialog.get_by_label("Prompt").fill("Say it in one word.")
    shot(page, "fork")
    dialog.get_by_role("button", name="Fork").click()
    new = page.locator(".po-RunPage:not(.lm-mod-hidden)").filter(has_text="Forked from")
    new.get_by_text(re.compile("4 of 4 tasks done")).wait_for(timeout=30 * SECOND)
    with lab.http() as http:
        made = http.get("runs").json()["runs"][0]
        assert made["forked_from"] == {"run": run, "from_task": "summary"}
        prompts = [
            task.get("prompt") for task in http.get(f"runs/{made['id']}/pipeline").json()["pipeline"]["tasks"]
        ]
    assert prompts[2] == "Say it in one word."


def test_nothing_is_asked_before_a_page_is_opened(lab: JupyterProcess, browser: Browser) -> None:
    """P: Lab's start costs no request of ours and none of the page's chunks."""
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{lab.url}lab?token={lab.token}&reset")
    page.wait_for_function("() => window.jupyterapp?.shell", timeout=60 * SECOND)
    page.evaluate("() => window.jupyterapp.restored")
    ours = [url for url in asked if "/po/api/" in url or re.search(r"po-(run-page|graph|chart)", url)]
    page.close()
    assert ours == []
