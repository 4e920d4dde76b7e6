"""The whole story in pictures: define with help in the cell, run, watch, close the tab, restart the kernel, reopen,
decide at a gate, retry a row that failed, compare what two models cost, export.

    python -m pytest -m benchmark tests/ui/test_film.py

Pictures are in test-artifacts/film/, each in light and dark, wide (1600 px) and narrow (800 px), to be looked at; the
README's are made of them. Nothing is measured.
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
from tests.ui.test_lab_notebook import SECOND, SHOTS, Notebook, panels
from tests.ui.test_run_page import theme

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = [pytest.mark.acceptance, pytest.mark.benchmark, pytest.mark.timeout(900)]

FILM = SHOTS / "film"
WIDE, NARROW = {"width": 1600, "height": 900}, {"width": 800, "height": 900}
SETUP = """%load_ext po_jupyter
import pandas as pd

tickets = pd.DataFrame({"text": [
    "The export button is gone since Tuesday", "How do I change my plan?", "Best release yet, thank you!",
    "It crashes when I open two files", "Can I invite somebody from outside?", "Search finds nothing on my phone",
    "\\x00\\x01 (an attachment)", "Love the dark theme", "Where are my invoices?", "Login fails with an umlaut",
    "The new charts are great", "Do you have an offline mode?"]})"""
CELL = """%%po_pipeline support --run --seed tickets
llm: {model: "openai:gpt-5-mini", max_tokens: 200}
tasks:
  - name: label
    for_each: "{{ seed.rows }}"
    prompt: "Label this support ticket: {{ item.text }}"
    output: {type: object, required: [label], properties: {label: {enum: [bug, question, praise]}, why: {type: string}}}
    failure_threshold: 0.2
    max_concurrency: 3
  - name: reply
    prompt: "Tell the team what came in: {{ tasks.label | selectattr('ok') | map(attribute='output.label') | list }}"
    gate: {message: "Shall this go to the team?"}
  - name: send
    prompt: "One line for the channel: {{ tasks.reply }}"
    """
DRAFT = (
    "Twelve tickets came in. Five are bugs: the missing export button and the failing login come first. "
    "Four ask how something works, and three say thank you."
)


class Support:
    """A model that labels tickets; it cannot read the attachment until somebody mends that."""

    def __init__(self) -> None:
        self.mended = False

    def __call__(self, body: dict[str, Any], n: int) -> Any:
        text = json.dumps(body)
        if "an attachment" in text and "Label this" in text and not self.mended:
            return Reply(status=400, error="the message has characters that cannot be read")
        if "Label this" in text:
            bug = re.search("gone|crash|nothing|fails|attachment", text)
            praise = re.search("Best|Love|great", text)
            careful = "gpt-5-mini" in text or "Search" not in text
            label = "bug" if bug and careful else "praise" if praise else "question"
            why = {"bug": "something does not work", "praise": "it thanks", "question": "it asks how"}[label]
            return {"label": label, "why": why}
        return DRAFT if "Tell the team" in text else "12 tickets: 5 bugs, 4 questions, 3 thanks."


@pytest.fixture(scope="module")
def model() -> Support:
    return Support()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, model: Support) -> Iterator[JupyterProcess]:
    panel = panels()
    if panel is None:
        pytest.skip("the panel is not built: pip install .")
    prices = {
        "openai:gpt-5-mini": {"input": 0.25, "output": 2},
        "openai:gpt-5-nano": {"input": 0.05, "output": 0.4},
    }
    with ModelServer(model, latency=2.5) as server:
        environment = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": server.key}
        process = lab_process(
            tmp_path_factory.mktemp("lab"), panel, environment | {"PO_PRICES": json.dumps(prices)}
        )
        yield process
        process.stop()


class Camera:
    """Takes each scene in light and dark, wide and narrow; scenes that are over soon in one way alone."""

    def __init__(self) -> None:
        FILM.mkdir(parents=True, exist_ok=True)
        self.count = 0

    def take(self, page: Page, scene: str, *, quick: bool = False) -> None:
        self.count += 1
        for size, name in ((WIDE, "wide"), (NARROW, "narrow")) if not quick else ((WIDE, "wide"),):
            page.set_viewport_size(size)
            for shade in ("Dark", "Light") if not quick else ("Light",):
                if not quick:
                    theme(page, shade)
                    page.wait_for_timeout(400)  # Lab lays itself out after an event of its own
                page.screenshot(path=str(FILM / f"{self.count:02}-{scene}-{name}-{shade.lower()}.png"))
        page.set_viewport_size(WIDE)


def opened(lab: JupyterProcess, browser: Browser, path: str = "lab/tree/support.ipynb") -> Page:
    page = browser.new_page(viewport=WIDE)
    page.goto(f"{lab.url}{path}?token={lab.token}")
    page.wait_for_function("() => window.jupyterapp?.restored.then(() => true)", timeout=60 * SECOND)
    return page


def pressed(place: Page | Locator, name: str) -> None:
    button = place.get_by_role("button", name=name).first
    button.wait_for(timeout=60 * SECOND)
    button.click()


def test_the_whole_story(lab: JupyterProcess, browser: Browser, model: Support) -> None:
    """Issue 10, done when 1: each step is seen, and says the truth."""
    camera = Camera()
    page = browser.new_page(viewport=WIDE)
    book = Notebook(lab, page, "support", [SETUP, CELL.replace("seed tickets", "seed tickets --out run")])

    # A mistake is underlined while it is typed; the field is completed.
    editor = page.locator(".jp-CodeCell").nth(1).locator(".cm-content")
    editor.click()
    page.keyboard.press("Control+End")
    page.keyboard.type("neds: reply")
    page.locator(".cm-lintRange-error").first.wait_for(timeout=20 * SECOND)
    page.locator(".cm-lintRange-error").first.hover()
    page.get_by_text("did you mean").first.wait_for(timeout=10 * SECOND)
    camera.take(page, "mistake", quick=True)
    cell = page.locator(".jp-CodeCell").nth(1)
    cell.screenshot(path=str(FILM / "readme-cell.png"))
    for _ in "neds: reply":
        page.keyboard.press("Backspace")
    page.keyboard.type("need")
    page.keyboard.press("Tab")
    page.locator(".jp-Completer, .cm-tooltip-autocomplete").first.wait_for(timeout=10 * SECOND)
    camera.take(page, "completion", quick=True)
    page.keyboard.press("Enter")
    page.keyboard.type(" reply" if page.locator(".cm-line", has_text="needs:").count() else "s: reply")
    page.keyboard.press("Escape")

    # It runs, seen in the cell and in the panel.
    page.evaluate("() => { window.jupyterapp.commands.execute('po-jupyter:show-runs') }")
    page.locator(".po-Side").wait_for(timeout=20 * SECOND)
    book.run_all()
    page.locator(".po-Output .po-Run[data-state=running]").wait_for(timeout=60 * SECOND)
    for n in range(8):
        page.wait_for_timeout(400)
        page.screenshot(path=str(FILM / f"readme-run-{n}.png"))
    camera.take(page, "running", quick=True)

    # The tab is closed in the middle, and the kernel restarted by another one.
    book.command("docmanager:save")
    page.close()
    page = opened(lab, browser)
    book = Notebook.of(page, "support", book.path)
    book.await_idle(60)
    page.locator(".po-Output .po-Run[data-state=waiting]").wait_for(timeout=90 * SECOND)
    page.get_by_text("Twelve tickets came in").first.wait_for(timeout=20 * SECOND)
    page.locator(".po-Output").first.scroll_into_view_if_needed()
    page.screenshot(path=str(FILM / "readme-run-8.png"))
    camera.take(page, "gate")
    page.evaluate("() => window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.restart()")
    book.await_idle(60)
    page.locator(".po-Output [data-standing=live] .po-Run[data-state=waiting]").wait_for(timeout=20 * SECOND)
    camera.take(page, "kernel-restarted", quick=True)

    # The page of the run: what failed is mended and asked again, and the gate is decided with a note.
    run = page.locator(".po-Output .po-Run").first.get_attribute("data-run")
    page.evaluate("run => { window.jupyterapp.commands.execute('po-jupyter:open-run', {run}) }", run)
    shown = page.locator(".po-RunPage")
    shown.locator(".po-Node").nth(2).wait_for(timeout=30 * SECOND)
    page.evaluate("() => { window.jupyterapp.shell.collapseLeft(); window.jupyterapp.shell.collapseRight() }")
    page.wait_for_timeout(500)
    shown.screenshot(path=str(FILM / "readme-run-page.png"))
    camera.take(page, "page-at-the-gate")
    shown.locator(".po-Gate textarea, .po-Gate input").first.fill("Name the two worst ones first next time.")
    pressed(shown.locator(".po-Gate"), "Approve")
    shown.locator(".po-Header .po-State[data-state=done]").wait_for(timeout=60 * SECOND)
    shown.get_by_role("tab", name="Rows").click()
    shown.get_by_label("Failed only").check()
    shown.locator(".po-Table-body .po-Table-row").first.click()
    shown.locator(".po-Detail").get_by_text("cannot be read").first.wait_for(timeout=20 * SECOND)
    camera.take(page, "failed-row")
    model.mended = True
    shown.get_by_label("Failed only").uncheck()
    pressed(shown, "Retry 1 failed row")
    pressed(shown.locator(".po-Gate"), "Approve")
    shown.locator(".po-Header .po-State[data-state=done]").wait_for(timeout=60 * SECOND)
    shown.get_by_text("12 rows").first.wait_for(timeout=20 * SECOND)
    camera.take(page, "retried")
    shown.get_by_role("tab", name="Calls").click()
    shown.locator(".po-Table-body .po-Table-row").nth(3).click()
    shown.locator(".po-Detail").get_by_text("Label this support ticket").first.wait_for(timeout=20 * SECOND)
    camera.take(page, "call")
    shown.get_by_role("tab", name="Money").click()
    shown.locator(".po-Money-sum").first.wait_for(timeout=20 * SECOND)
    camera.take(page, "money")

    # Another model: what does it cost, and what does it answer?
    shown.get_by_role("tab", name="Tasks").click()
    pressed(shown, "Fork…")
    dialog = page.locator(".jp-Dialog")
    dialog.get_by_role("combobox").select_option("label")
    dialog.get_by_label("Model").fill("openai:gpt-5-nano")
    camera.take(page, "fork")
    pressed(dialog, "Fork")
    other = page.locator(".po-RunPage:not(.lm-mod-hidden)").filter(has_text="Forked from")
    pressed(other.locator(".po-Gate"), "Approve")
    other.locator(".po-Header .po-State[data-state=done]").wait_for(timeout=60 * SECOND)
    pressed(other, "Compare with…")
    pressed(dialog, "Compare")
    other.get_by_text("answers agree").first.wait_for(timeout=20 * SECOND)
    camera.take(page, "compared")

    # And out.
    pressed(other, "Export…")
    dialog.get_by_role("combobox").wait_for(timeout=10 * SECOND)
    camera.take(page, "export")
    dialog.get_by_role("combobox").select_option(label="Rows of label (CSV)")
    with page.expect_download() as download:
        pressed(dialog, "Save")
    lines = download.value.path().read_text("utf-8-sig").splitlines()
    assert len(lines) == 13 and "output.label" in lines[0]

    # The notebook again, by somebody with another tab: the truth.
    page.close()
    page = opened(lab, browser)
    page.locator(".po-Output [data-standing=live] .po-Run[data-state=done]").wait_for(timeout=90 * SECOND)
    page.evaluate("() => { window.jupyterapp.commands.execute('po-jupyter:show-runs') }")
    page.locator(".po-Side .po-Run[data-state=done]").first.wait_for(timeout=20 * SECOND)
    camera.take(page, "the-end")
    page.close()
