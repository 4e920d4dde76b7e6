"""The parts of the side panel beside the runs: the form with a notebook's frame, usage, system, and the way back.

Screenshots are kept in test-artifacts/ to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.jupyter_process import JupyterProcess
from tests.support.lab_process import lab_process
from tests.ui.test_lab_history import open_panel, serious, submit
from tests.ui.test_lab_notebook import SECOND, SHOTS, Notebook, panels

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DIES = {"name": "dies", "source": "import os\ndef ingestion(ctx):\n    os._exit(3)\n"}
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


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    pytest.importorskip("pandas")
    panel = panels()
    if panel is None:
        pytest.skip("the panel is not built: pip install .")
    limits = {"PO_MAX_CRASHES": "1", "PO_DAILY_USD": "2", "PO_RATE_LIMITS": '{"fake": {"requests": 500}}'}
    server = lab_process(tmp_path_factory.mktemp("lab"), panel, limits)
    try:
        fill(server)
        yield server
    finally:
        server.stop()


def fill(lab: JupyterProcess) -> None:
    """A pipeline, a dead run, and enough ended ones to scroll."""
    definition = {"name": "tickets", "llm": {"model": "fake:echo"}, "tasks": [LABEL, REPORT]}
    with lab.http() as http:
        assert http.put("pipelines/tickets", json=definition).status_code in (200, 201)
    submit(lab, "dies", [DIES])
    for number in range(40):
        submit(lab, f"number {number}", [{"name": "ask", "prompt": "one"}], pipeline="numbers")


@pytest.fixture
def page(lab: JupyterProcess, browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    SHOTS.mkdir(exist_ok=True)
    yield page
    page.close()


def shots(page: Page, name: str) -> None:
    """Light, dark and narrow."""
    page.screenshot(path=str(SHOTS / f"{name}.png"))
    for theme in ("Dark", "Light"):
        page.evaluate(
            "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme: `JupyterLab ${theme}`})",
            theme,
        )
        page.wait_for_selector(
            f"body[data-jp-theme-light={'false' if theme == 'Dark' else 'true'}]", state="attached"
        )
        if theme == "Dark":
            page.wait_for_timeout(300)
            page.screenshot(path=str(SHOTS / f"{name}-dark.png"))


def test_a_frame_of_a_notebook_becomes_the_rows_of_a_run(lab: JupyterProcess, page: Page) -> None:
    """B16: what it does and leaves first; the kernel says nothing before it is chosen, and keeps no trace."""
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
    shots(page, "parts-frames")
    assert serious(page) == []
    frame.click()
    page.get_by_text("rows: tickets · 2 rows · frames.ipynb").wait_for(timeout=20 * SECOND)
    page.get_by_role("button", name="Estimate").click()
    page.get_by_role("region", name="Estimate").get_by_text("2 calls").wait_for(timeout=20 * SECOND)
    assert "{rows: [{text: text, id: integer}]}" in analysis.inner_text()
    shots(page, "parts-analysis")
    assert serious(page) == []
    page.get_by_role("button", name="Start", exact=True).click()
    page.locator(".po-Run", has_text="tickets").first.wait_for(timeout=20 * SECOND)
    with lab.http() as http:
        (found,) = http.get("runs?pipeline=tickets").json()["runs"]
        seed = http.get(f"runs/{found['id']}").json()["run"]["seed"]
    assert seed["data"] == {"rows": [{"text": "It crashes", "id": 1}, {"text": "I love it", "id": 2}]}
    assert book.prompt(0) == "[1]:"


def test_usage_stands_beside_the_limit_and_the_house_says_what_happened(
    lab: JupyterProcess, page: Page
) -> None:
    """B14, G7, R3.3."""
    open_panel(lab, page)
    page.get_by_role("tab", name="Usage").click()
    page.get_by_text("of $2.00 today").wait_for(timeout=20 * SECOND)
    page.get_by_role("table", name="By pipeline").get_by_text("numbers").wait_for(timeout=20 * SECOND)
    shots(page, "parts-usage")
    assert serious(page) == []
    page.get_by_role("tab", name="System").click()
    letters = page.get_by_role("region", name="Dead letters")
    letter = letters.get_by_role("article")
    letter.wait_for(timeout=30 * SECOND)
    assert "dies · attempt 1 · 0 of 1 tasks done · 1 crash" in letter.inner_text()
    page.get_by_role("table", name="Rate limits").get_by_text("fake · requests").wait_for(timeout=20 * SECOND)
    shots(page, "parts-system")
    assert serious(page) == []
    letter.get_by_role("button", name="Discard").click()
    page.locator(".jp-Dialog").get_by_role("button", name="Discard").click()
    letters.get_by_text("No run is dead.").wait_for(timeout=20 * SECOND)


def test_a_reload_shows_the_same_part_of_the_list(lab: JupyterProcess, page: Page) -> None:
    """R2.8: the run that was at the top of what was seen is there again."""
    open_panel(lab, page)
    page.get_by_text("number 39", exact=True).wait_for(timeout=30 * SECOND)
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
    page.get_by_role("tab", name="Runs", exact=True).click()
    page.wait_for_timeout(500)
    assert scroller.evaluate(top)[0] == before[0], "each part has its own place"
