"""In a real JupyterLab and a real Chromium: the cell is live while it blocks and after, and the file has the end.

Screenshots are kept in test-artifacts/ to be looked at.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from tests.support.jupyter_process import JupyterProcess
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

SHOTS = ROOT / "test-artifacts"
WIDGET = "application/vnd.jupyter.widget-view+json"
SECOND = 1000  # Playwright counts in milliseconds

SETUP = """%load_ext po_jupyter
tickets = [{"text": t} for t in ("It crashes", "How do I export?", "I love it", "The button is gone")]"""
TASK = """%%po_task count
def ingestion(ctx):
    return {"rows": len(ctx.seed["rows"])}"""
PIPELINE = """%%po_pipeline tickets --run --seed tickets --out run
llm: {model: "fake:echo?latency=LATENCY"}
tasks:
  - count
  - name: classify
    prompt: "Label this ticket as bug, question or praise: {{ item.text }}"
    for_each: "{{ seed.rows }}"
    max_concurrency: 2
  - name: summary
    prompt: |
      There are {{ tasks.count.rows }} tickets: two of them are bugs, one is a question, and
      one is praise. <b>Fix</b> the crash first, then bring the export button back.
"""


def panels() -> Path | None:
    """Where the built side panel is: installed in this environment, or built in this checkout."""
    for place in (Path(sys.prefix, "share/jupyter/labextensions/po-jupyter"), ROOT / "po_jupyter/labextension"):
        if (place / "package.json").is_file():
            return place
    return None


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    folder = tmp_path_factory.mktemp("lab")
    extensions = folder / "labextensions"
    extensions.mkdir()
    panel = panels()
    if panel is not None:
        (extensions / "po-jupyter").symlink_to(panel)
    settings = folder / "config/lab/user-settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps({"fetchNews": "false"}))
    server = JupyterProcess(
        folder,
        orchestrator=None,
        extensions=("po_jupyter", "jupyterlab"),
        args=(
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.expose_app_in_browser=True",
            f"--LabApp.extra_labextensions_path={extensions}",
        ),
    )
    yield server
    server.stop()


class Notebook:
    """A notebook open in a browser."""

    def __init__(self, lab: JupyterProcess, page: Page, name: str, cells: Sequence[str]) -> None:
        self.path = lab.folder / "work" / f"{name}.ipynb"
        self.name = name
        self.page = page
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(book, self.path)
        page.goto(f"{lab.url}lab/tree/{name}.ipynb?token={lab.token}&reset")
        self.await_idle(60)

    @classmethod
    def of(cls, page: Page, name: str, path: Path) -> Notebook:
        """A notebook that is open already."""
        book = cls.__new__(cls)
        book.path, book.name, book.page = path, name, page
        return book

    def await_idle(self, seconds: float = 30) -> None:
        # The indicator in the toolbar says idle before there is a kernel at all; the session knows.
        self.page.wait_for_function(
            """() => { const context = window.jupyterapp?.shell.currentWidget?.context?.sessionContext;
                return context?.isReady && context.session?.kernel?.status === 'idle' }""",
            timeout=seconds * SECOND,
        )

    def command(self, name: str, **args: Any) -> None:
        self.page.evaluate(
            "async ([name, args]) => { await window.jupyterapp.commands.execute(name, args) }", [name, args]
        )

    def run_all(self) -> None:
        # Not awaited in the page: a cell may block.
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")

    def outputs(self, cell: int) -> Locator:
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(cell).locator(".jp-Cell-outputArea")

    def prompt(self, cell: int) -> str:
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(cell).locator(".jp-InputPrompt").inner_text()

    def sees(self, cell: int, text: str, seconds: float = 20) -> None:
        """Wait until the outputs of the cell hold `text`."""
        self.outputs(cell).get_by_text(re.compile(text)).first.wait_for(timeout=seconds * SECOND)

    def select(self, cell: int) -> None:
        self.page.locator(".jp-Notebook .jp-CodeCell").nth(cell).locator(".jp-InputPrompt").click()

    def restart_kernel(self) -> None:
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:restart-kernel') }")
        self.page.get_by_role("button", name="Confirm Kernel Restart").click()
        self.await_idle()

    def saved(self) -> list[dict[str, Any]]:
        self.command("docmanager:save")
        cells = json.loads(self.path.read_text())["cells"]
        return [output for cell in cells for output in cell["outputs"]]

    def shot(self, name: str) -> None:
        SHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=str(SHOTS / f"{name}.png"))

    def theme(self, name: str) -> None:
        self.command("apputils:change-theme", theme=name)
        light = "true" if "Light" in name else "false"
        self.page.wait_for_selector(f"body[data-jp-theme-light={light}]", state="attached")
        self.page.wait_for_timeout(500)  # the stylesheet of the theme has no event of its own


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 960})
    failed = request.session.testsfailed
    yield page
    if request.session.testsfailed > failed:
        SHOTS.mkdir(exist_ok=True)
        page.screenshot(path=str(SHOTS / f"failed-{request.node.name}.png"))
    page.close()


def test_a_cell_is_live_after_it_returned_and_ends_as_html(lab: JupyterProcess, page: Page) -> None:
    """C3, G8, G11, P6."""
    book = Notebook(
        lab, page, "live", [SETUP, TASK, PIPELINE.replace("LATENCY", "3"), "print('the cell returned')"]
    )
    panel = panels() is not None
    if panel:
        page.get_by_role("tab", name="Prompt runs").click()
    book.run_all()
    book.sees(2, "task 2 of 3")
    book.sees(3, "the cell returned")
    book.sees(2, "2/4 rows")
    book.shot("cell-running-map")
    book.sees(2, "task 3 of 3")
    book.sees(2, "one is a question")  # streamed, while the task runs
    assert book.outputs(2).get_by_text("running").count() > 0
    book.shot("cell-streaming")
    book.theme("JupyterLab Dark")
    book.shot("cell-streaming-dark")
    book.outputs(2).locator(".po-Run[data-state=done]").wait_for(timeout=20 * SECOND)
    book.sees(2, "<b>Fix</b> the crash first")
    assert book.outputs(2).locator("b", has_text="Fix").count() == 0
    book.shot("cell-done-dark")
    book.theme("JupyterLab Light")
    book.shot("cell-done")
    page.wait_for_timeout(1000)  # the kernel publishes the end when it has read it
    shown = [o for o in book.saved() if "tickets 1.0.0" in "".join(o.get("data", {}).get("text/plain", ""))]
    assert all(WIDGET not in o["data"] for o in shown)
    assert "✓ done" in "".join(shown[0]["data"]["text/html"])


def test_a_run_outlives_its_kernel_and_show_brings_it_back_live(lab: JupyterProcess, page: Page) -> None:
    """C4; P1."""
    book = Notebook(
        lab, page, "restart", [SETUP, TASK, PIPELINE.replace("LATENCY", "4"), "%load_ext po_jupyter\n%po show"]
    )
    for _ in range(3):
        book.command("notebook:run-cell-and-select-next")
    book.sees(2, "task 2 of 3")
    book.restart_kernel()
    book.select(3)
    book.command("notebook:run-cell")
    book.sees(3, "task [23] of 3")
    book.shot("cell-after-restart")
    book.outputs(3).locator(".po-Run[data-state=done]").wait_for(timeout=30 * SECOND)


MONEY = """%%po_pipeline prices --run --seed tickets --wait --budget 2
llm: {model: "fake:echo", max_tokens: 50}
tasks:
  - name: price
    for_each: "{{ seed.rows }}"
    prompt: "it costs $5, or $10: {{ item.text }}"
"""
NO_ROW = """%%po_pipeline nothing --run --seed tickets --out failed
llm: {model: "fake:echo"}
tasks:
  - {name: label, for_each: "{{ seed.rows }}", prompt: "{{ item.text }} {{ 1 / (index - index) }}"}
  - {name: summary, prompt: "sum up {{ tasks.label }}"}
"""
MINE = """%%po_task divide
def helper(rows):
    return len(rows) / 0

def ingestion(ctx):
    return helper(ctx.seed["rows"])"""
RAISES = """%%po_pipeline mine --run --seed tickets
tasks:
  - {name: divide, retry: {max_attempts: 1}}
"""
FORMULA = """from IPython.display import HTML
HTML("<div>from $5 to $10</div>")"""


def test_money_a_failed_map_and_a_traceback(lab: JupyterProcess, page: Page) -> None:
    """Dollars are no formulas, a map without one good row is not green, and the lines of one's own Python are shown."""
    book = Notebook(lab, page, "says", [SETUP, FORMULA, MONEY, NO_ROW, MINE, RAISES])
    if panels() is not None:
        page.get_by_role("tab", name="Prompt runs").click()
    for _ in range(6):
        book.command("notebook:run-cell-and-select-next")
    book.outputs(1).locator("mjx-container").first.wait_for(
        timeout=20 * SECOND
    )  # MathJax is there, and reads the page
    book.sees(2, r"it costs \$5, or \$10")
    book.sees(3, "all 4 rows failed: ")
    book.sees(5, r"return len\(rows\) / 0")
    assert book.outputs(2).locator("mjx-container").count() == 0
    assert book.outputs(3).get_by_text("✓").count() == 0
    assert book.outputs(3).get_by_text("pending").count() == 1, "the next task was not asked about nothing"
    book.outputs(2).scroll_into_view_if_needed()
    book.shot("cell-money")
    book.outputs(5).scroll_into_view_if_needed()
    book.shot("cell-failures")
    book.theme("JupyterLab Dark")
    book.shot("cell-failures-dark")
    book.theme("JupyterLab Light")


def test_buttons_and_a_blocked_cell(lab: JupyterProcess, page: Page) -> None:
    """C3: live while the cell blocks; cancel and resume go over REST from the kernel's background thread."""
    book = Notebook(lab, page, "buttons", [SETUP, TASK, PIPELINE.replace("LATENCY", "30"), "%po show --wait"])
    for _ in range(3):
        book.command("notebook:run-cell-and-select-next")
    book.sees(2, "task 2 of 3")
    book.outputs(2).get_by_role("button", name="Cancel").click()
    book.sees(2, "cancelled")
    book.outputs(2).get_by_role("button", name="Resume").wait_for(timeout=5 * SECOND)
    book.shot("cell-cancelled")
    book.outputs(2).get_by_role("button", name="Resume").click()
    book.sees(2, "task 2 of 3")
    book.select(3)
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-cell') }")
    book.sees(3, "task 2 of 3")
    clock = book.outputs(3).get_by_text(re.compile(r"^0/4 rows")).first.inner_text()
    page.wait_for_function(
        "([n, old]) => { const text = document.querySelectorAll('.jp-Notebook .jp-CodeCell')[n].innerText;"
        " return text.includes('0/4 rows') && !text.includes(old) }",
        arg=[3, clock],
    )
    assert book.prompt(3) == "[*]:"
    book.shot("cell-blocked")
    book.command("notebook:interrupt-kernel")
    book.sees(3, "detached; the run goes on")
    book.shot("cell-detached")
    book.outputs(2).get_by_role("button", name="Cancel").click()
    book.sees(2, "cancelled")
