"""Runs in JupyterLab itself: commands, menus, status bar, badge, notifications. Nothing is asked before a first look.

Screenshots are kept in test-artifacts/ to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.jupyter_process import API, JupyterProcess
from tests.ui.test_lab_notebook import SECOND, SHOTS, Notebook, panels
from tests.ui.test_lab_notebook import lab as lab
from tests.ui.test_lab_notebook import page as page

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(panels() is None, reason="the lab extension is not built: pip install ."),
]

GATED = {
    "name": "letters",
    "llm": {"model": "fake:echo"},
    "tasks": [{"name": "draft", "prompt": "Dear you", "gate": {"message": "Look before we send"}}],
}
RAISES = "def ingestion(ctx):\n    raise ValueError('no such row')\n"
FAILING = {"name": "broken", "tasks": [{"name": "a", "source": RAISES, "retry": {"max_attempts": 1}}]}
FILE = """name: hello
llm: {model: "fake:echo"}
tasks:
  - {name: greet, prompt: "Greet {{ seed.name }}."}
"""

LABEL = {
    "name": "label", "prompt": "{{ item.text }}", "for_each": "{{ seed.rows }}", "gate": "Are these right?",
    "output": {"type": "object", "properties": {"label": {"enum": ["bug", "praise"]}}, "required": ["label"]},
}  # fmt: skip
REPORT = {
    "name": "report",
    "source": 'def integration(ctx):\n    ctx.io.write_artifact("report.html", "x")\n    return 1\n',
}
CELL = """import pandas
tickets = pandas.DataFrame({"text": ["It crashes", "I love it"], "id": [1, 2]})
_hidden = tickets
print("ready")"""


@pytest.fixture
def http(lab: JupyterProcess) -> Iterator[httpx.Client]:
    with lab.http() as client:
        yield client


@pytest.fixture
def asked(page: Page) -> list[str]:
    """The requests to our API, in their order."""
    urls: list[str] = []
    page.on(
        "request", lambda request: urls.append(request.url.partition(API)[2]) if API in request.url else None
    )
    return urls


def open_lab(lab: JupyterProcess, page: Page) -> None:
    page.goto(f"{lab.url}lab?token={lab.token}&reset")
    page.wait_for_function("() => window.jupyterapp?.restored.then(() => true)", timeout=60 * SECOND)
    page.locator(".jp-Launcher").wait_for(timeout=30 * SECOND)


def command(page: Page, name: str, **args: Any) -> None:
    page.evaluate("([name, args]) => { window.jupyterapp.commands.execute(name, args) }", [name, args])


def submit(http: httpx.Client, pipeline: dict[str, Any]) -> str:
    body = {"pipeline": pipeline, "seed": {"name": "s", "data": {}}}
    answer = http.post("runs", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["run"]["id"])


def shot(page: Page, name: str) -> None:
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=str(SHOTS / f"{name}.png"))


def test_status_bar_badge_and_notifications_begin_with_the_first_look(
    lab: JupyterProcess, page: Page, http: httpx.Client, asked: list[str]
) -> None:
    open_lab(lab, page)
    page.wait_for_timeout(2000)
    assert asked == [], "nothing is asked before somebody looks"
    assert page.locator(".po-StatusItem").count() == 0
    page.get_by_role("tab", name="Prompt runs").click()
    status = page.locator(".po-StatusItem")
    status.wait_for(timeout=20 * SECOND)
    page.locator("#po-jupyter-runs").get_by_text("Runs", exact=False).first.wait_for(timeout=20 * SECOND)
    submit(http, GATED)
    toast = page.locator(".jp-Notification, .Toastify__toast", has_text="letters").first
    toast.wait_for(timeout=20 * SECOND)
    assert "waits for you: Look before we send" in toast.inner_text()
    page.locator(".po-StatusItem", has_text="1 waits").wait_for(timeout=5 * SECOND)
    badge = page.locator(".lm-TabBar-tab[data-po-waiting='1']")
    badge.wait_for(timeout=5 * SECOND)
    submit(http, FAILING)
    page.locator(".Toastify__toast", has_text="no such row").first.wait_for(timeout=20 * SECOND)
    shot(page, "lab-notifications")
    page.evaluate(
        "() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    page.wait_for_timeout(1000)
    shot(page, "lab-notifications-dark")
    page.evaluate(
        "() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})"
    )
    # What stood there at the first look is no news: a reload is silent.
    open_lab(lab, page)
    page.get_by_role("tab", name="Prompt runs").click()
    page.locator(".po-StatusItem", has_text="1 waits").wait_for(timeout=20 * SECOND)
    assert page.locator(".Toastify__toast").count() == 0
    sum_of_streams = [path for path in asked if path.startswith("events")]
    assert len(sum_of_streams) <= 2, "one stream for the panel and the status bar, for each of two pages"


def test_a_new_pipeline_from_the_launcher_and_a_run_from_the_menu(
    lab: JupyterProcess, page: Page, http: httpx.Client
) -> None:
    (lab.folder / "work" / "hello.yaml").write_text(FILE)
    (lab.folder / "work" / "notes.txt").write_text("x")
    open_lab(lab, page)
    shot(page, "lab-launcher")
    page.locator(".jp-LauncherCard", has_text="Prompt Pipeline").click()
    page.locator(".jp-FileEditor .cm-content").get_by_text("greet").first.wait_for(timeout=20 * SECOND)
    shot(page, "lab-new-pipeline")
    page.locator(".jp-DirListing-item", has_text="notes.txt").click(button="right")
    menu = page.locator(".lm-Menu")
    menu.wait_for(timeout=5 * SECOND)
    assert not menu.get_by_text("Run Prompt Pipeline…").is_visible()
    page.keyboard.press("Escape")
    page.locator(".jp-DirListing-item", has_text="hello.yaml").click()
    page.locator(".jp-DirListing-item", has_text="hello.yaml").click(button="right")
    page.locator(".lm-Menu").get_by_text("Run Prompt Pipeline…").click()
    page.locator(".po-SeedForm textarea").fill('{"name": "Ada"}')
    shot(page, "lab-run-file")
    page.get_by_role("button", name="Run", exact=True).click()
    for _ in range(100):
        runs = http.get("runs", params={"pipeline": "hello"}).json()["runs"]
        if runs:
            break
        page.wait_for_timeout(100)
    assert [run["seed"]["data"] for run in runs] == [{"name": "Ada"}]


def test_the_palette_finds_a_run_and_cancels_all(lab: JupyterProcess, page: Page, http: httpx.Client) -> None:
    slow = {"name": "slow", "tasks": [{"name": "a", "prompt": "x", "llm": "fake:echo?latency=60"}]}
    run = submit(http, slow)
    open_lab(lab, page)
    command(page, "po-jupyter:find-run")
    page.locator(".jp-Dialog input, .jp-Dialog select").first.wait_for(timeout=20 * SECOND)
    shot(page, "lab-find-run")
    page.keyboard.press("Escape")
    command(page, "po-jupyter:cancel-all")
    page.get_by_role("button", name="Cancel Runs").click()
    for _ in range(100):
        if http.get(f"runs/{run}").json()["run"]["state"] == "cancelled":
            return
        page.wait_for_timeout(100)
    raise AssertionError("the run goes on")


# A browser in which nobody was asked yet; what it shows is kept. The page says that somebody looks elsewhere.
SYSTEM = """() => {
    window.told = []; window.asked = 0;
    window.Notification = class {
        static permission = 'default';
        static async requestPermission() { window.asked += 1; return (this.permission = 'granted'); }
        constructor(title, {body}) { window.told.push(body); }
        close() {}
    };
    document.hasFocus = () => false;
}"""


def test_system_notifications_begin_when_they_are_turned_on(
    lab: JupyterProcess, page: Page, http: httpx.Client
) -> None:
    """B16, G12: the browser is asked by the setting, and by nothing before."""
    page.add_init_script(f"({SYSTEM})()")
    open_lab(lab, page)
    page.get_by_role("tab", name="Prompt runs").click()
    page.locator(".po-Panel-link[data-link=live]").wait_for(timeout=60 * SECOND)
    submit(http, FAILING)
    page.locator(".Toastify__toast", has_text="no such row").first.wait_for(timeout=20 * SECOND)
    assert page.evaluate("() => [window.asked, window.told]") == [0, []]
    command(page, "settingeditor:open", query="Prompt runs")
    box = page.get_by_label("Notify through the system too")
    box.wait_for(timeout=30 * SECOND)
    shot(page, "lab-settings")
    box.check()
    page.wait_for_function("() => window.asked === 1", timeout=20 * SECOND)
    submit(http, GATED)
    page.wait_for_function("() => window.told.length === 1", timeout=20 * SECOND)
    (told,) = page.evaluate("() => window.told")
    assert "waits for you: Look before we send" in told
    box.uncheck()
    page.wait_for_timeout(1500)
    submit(http, FAILING)
    page.locator(".Toastify__toast", has_text="no such row").nth(1).wait_for(timeout=20 * SECOND)
    assert page.evaluate("() => [window.asked, window.told.length]") == [1, 1]


def test_a_frame_of_a_notebook_becomes_the_rows_of_a_run(
    lab: JupyterProcess, page: Page, http: httpx.Client
) -> None:
    """B16: what it does and leaves first; the kernel says nothing before it is chosen, and keeps no trace."""
    definition = {"name": "tickets", "llm": {"model": "fake:echo"}, "tasks": [LABEL, REPORT]}
    assert http.put("pipelines/tickets", json=definition).status_code in (200, 201)
    book = Notebook(lab, page, "frames", [CELL])
    book.run_all()
    book.sees(0, "ready", 60)
    book.await_idle()
    page.get_by_role("tab", name="Prompt runs").click()
    page.locator(".po-Panel-link[data-link=live]").wait_for(timeout=60 * SECOND)
    page.get_by_role("tab", name="Pipelines").click()
    page.locator(".po-Pipeline .po-Run-head", has_text="tickets").click(timeout=20 * SECOND)
    analysis = page.get_by_role("region", name="What it does")
    analysis.get_by_text("→ report.html").wait_for(timeout=20 * SECOND)
    assert '→ {label: "bug" | "praise"}' in analysis.inner_text()
    page.get_by_role("button", name="Rows from a notebook…").click()
    page.get_by_label("Notebook (its kernel lists its DataFrames)").select_option("frames.ipynb")
    frame = page.locator(".po-Frames-one")
    frame.first.wait_for(timeout=20 * SECOND)
    assert frame.all_inner_texts() == ["tickets\n2 rows · text, id"]
    shot(page, "parts-frames")
    frame.click()
    page.get_by_text("rows: tickets · 2 rows · frames.ipynb").wait_for(timeout=20 * SECOND)
    page.get_by_role("button", name="Estimate").click()
    page.get_by_role("region", name="Estimate").get_by_text("2 calls").wait_for(timeout=20 * SECOND)
    assert "{rows: [{text: text, id: integer}]}" in analysis.inner_text()
    shot(page, "parts-analysis")
    page.get_by_role("button", name="Start", exact=True).click()
    page.locator(".po-Run", has_text="tickets").first.wait_for(timeout=20 * SECOND)
    (found,) = http.get("runs?pipeline=tickets").json()["runs"]
    seed = http.get(f"runs/{found['id']}").json()["run"]["seed"]
    assert seed["data"] == {"rows": [{"text": "It crashes", "id": 1}, {"text": "I love it", "id": 2}]}
    assert book.prompt(0) == "[1]:"
