"""The page of a run, in a real JupyterLab and a real Chromium: each tab shows what is there, a reload the same page.

Screenshots are kept in test-artifacts/ to be looked at.
"""

from __future__ import annotations

import json
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


@pytest.fixture(scope="module")
def run(lab: JupyterProcess) -> str:
    """A run that is done, with three failed rows."""
    rows = [{"text": f"ticket {n} is {'broken' if n in (3, 17, 29) else 'fine'}"} for n in range(ROWS)]
    body = {
        "pipeline": PIPELINE,
        "seed": {"name": "tickets of today", "data": {"rows": rows}},
        "budget": {"usd": 2},
    }
    with lab.http() as http:
        answer = http.post("runs", json=body)
        assert answer.status_code == 201, answer.text
        identity = str(answer.json()["run"]["id"])
        http.get(f"runs/{identity}/events", headers={"Accept": "text/event-stream"}, timeout=60)
        view = http.get(f"runs/{identity}").json()["run"]
        assert view["state"] == "done", view["error"]
    return identity


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
    page.evaluate("([name, args]) => window.jupyterapp.commands.execute(name, args)", [command, args])


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
