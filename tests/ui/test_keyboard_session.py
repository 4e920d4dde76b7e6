"""A whole session by keyboard alone, in a real JupyterLab: start, watch, approve, retry, export.

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
from tests.support.page_checks import Keyboard
from tests.ui.test_lab_notebook import SECOND, SHOTS, panels
from tests.ui.test_run_page import environment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.acceptance

PIPELINE: dict[str, Any] = {
    "name": "letters",
    "llm": {"model": "openai:gpt-5-mini", "max_tokens": 200},
    "tasks": [
        {"name": "draft", "prompt": "A letter to {{ seed.team }}", "gate": {"message": "Shall it be sent?"}},
        {
            "name": "label",
            "needs": "draft",
            "for_each": "{{ seed.rows }}",
            "prompt": "Label {{ item.text }}",
            "failure_threshold": 0.5,
        },
    ],
}
ROWS = [{"text": text} for text in ("a pear", "a broken apple", "a fig", "a plum")]


class Model:
    """Refuses what is broken until somebody mends it."""

    def __init__(self) -> None:
        self.mended = False

    def __call__(self, body: dict[str, Any], n: int) -> Any:
        if "broken" in json.dumps(body) and not self.mended:
            return Reply(status=400, error="this cannot be read")
        return "fruit"


@pytest.fixture(scope="module")
def model() -> Model:
    return Model()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Iterator[JupyterProcess]:
    panel = panels()
    if panel is None:
        pytest.skip("the panel is not built: pip install .")
    with ModelServer(model, latency=0.2) as server:
        lab = lab_process(tmp_path_factory.mktemp("lab"), panel, environment(server))
        yield lab
        lab.stop()


@pytest.fixture
def page(lab: JupyterProcess, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.goto(f"{lab.url}lab?token={lab.token}&reset")
    page.wait_for_function("() => window.jupyterapp?.restored.then(() => true)", timeout=60 * SECOND)
    SHOTS.mkdir(exist_ok=True)
    failed = request.session.testsfailed
    yield page
    if request.session.testsfailed > failed:
        page.screenshot(path=str(SHOTS / f"failed-{request.node.name}.png"))
    page.close()


def test_a_session_by_keyboard_alone(lab: JupyterProcess, page: Page, model: Model) -> None:
    """Issue 10, 4: the focus is never lost, is always seen, and what happens is said to a screen reader."""
    with lab.http() as http:
        assert http.put("pipelines/letters", json=PIPELINE).status_code in (200, 201)
    person = Keyboard(page)

    # The panel, from the palette: the keyboard is in it.
    page.locator(".jp-Launcher:focus").wait_for(timeout=30 * SECOND)  # Lab's start is over
    page.keyboard.press("Control+Shift+C")
    page.locator(".lm-CommandPalette-input:focus").wait_for(timeout=10 * SECOND)
    page.keyboard.type("Show Prompt Runs")
    page.locator(".lm-CommandPalette-item.lm-mod-active", has_text="Show Prompt Runs").wait_for()
    page.keyboard.press("Enter")
    page.locator(".po-Panel-link[data-link=live]").wait_for(timeout=30 * SECOND)
    assert person.keeps("po-Side")["name"] == "Runs"

    # A run from the form of its pipeline.
    person.press("ArrowRight")
    assert person.stop("po-Side")["name"] == "Pipelines"
    page.locator(".po-Pipeline").wait_for(timeout=20 * SECOND)
    person.to("letters", "po-Side")
    person.press("Enter")
    page.locator(".po-Form").wait_for(timeout=20 * SECOND)
    person.to("team", "po-Side")
    page.keyboard.type("the shop")
    person.to("rows", "po-Side")
    page.keyboard.insert_text(json.dumps(ROWS))
    person.to("Start", "po-Side")
    page.screenshot(path=str(SHOTS / "keyboard-form.png"))
    person.press("Enter")

    # Watched where it stands: the keyboard is on its card, and stays there while the list moves under it.
    page.locator(".po-Run", has_text="letters").first.wait_for(timeout=20 * SECOND)
    assert person.keeps("po-Side")["name"].startswith("letters")
    person.says("letters is waiting")
    assert person.keeps("po-Side")["name"].startswith("letters")
    page.screenshot(path=str(SHOTS / "keyboard-watch.png"))

    # Its page, with the gate decided there.
    person.to("Open run letters", "po-Side")
    person.press("Enter")
    page.locator(".po-RunPage [role=tab]").first.wait_for(timeout=20 * SECOND)
    page.wait_for_function("() => document.activeElement?.closest('.po-RunPage')", timeout=10 * SECOND)
    assert person.stop("po-RunPage")["name"] == "Tasks"
    person.to("Note for the decision", "po-RunPage", key="Shift+Tab")
    page.keyboard.type("they are fine")
    person.to("Approve", "po-RunPage")
    page.screenshot(path=str(SHOTS / "keyboard-gate.png"))
    person.press("Enter")
    page.locator(".po-RunPage .po-Gate").wait_for(state="detached", timeout=20 * SECOND)
    person.keeps("po-RunPage")
    person.says("letters is done")
    person.keeps("po-RunPage")

    # To the rows; the failed one again.
    person.to("Tasks", "po-RunPage")
    person.press("ArrowRight")
    assert person.stop("po-RunPage")["name"] == "Rows"
    person.to("Failed only", "po-RunPage")
    person.press("Space")
    page.get_by_text("1 of 4 rows").wait_for(timeout=10 * SECOND)
    person.to("Rows of label", "po-RunPage")
    person.press("Enter")
    page.locator(".po-Detail[data-row='1']").wait_for(timeout=10 * SECOND)
    page.screenshot(path=str(SHOTS / "keyboard-row.png"))
    person.press("Escape")
    page.locator(".po-Detail").wait_for(state="detached", timeout=10 * SECOND)
    person.stop("po-RunPage")
    model.mended = True
    person.to("Retry 1 failed row", "po-RunPage", key="Shift+Tab")
    person.press("Enter")
    page.get_by_text("No row matches.").wait_for(timeout=20 * SECOND)
    person.keeps("po-RunPage")
    page.locator(".po-Header [data-state=done]").wait_for(timeout=20 * SECOND)

    # The rows as a file; a dialog gives the keyboard back to where it was.
    person.to("Export…", "po-RunPage")
    person.press("Enter")
    page.locator(".jp-Dialog").wait_for(timeout=10 * SECOND)
    assert person.keeps("jp-Dialog")["tag"] == "select"
    page.screenshot(path=str(SHOTS / "keyboard-export.png"))
    person.press("Escape")
    page.locator(".jp-Dialog").wait_for(state="detached", timeout=10 * SECOND)
    assert person.keeps("po-RunPage")["name"] == "Export…"
    person.press("Enter")
    page.locator(".jp-Dialog select").wait_for(timeout=10 * SECOND)
    person.press("ArrowDown")
    with page.expect_download() as saved:
        person.press("Enter")
    assert saved.value.suggested_filename.startswith("letters-")
    assert saved.value.path().read_text("utf-8-sig").count("fruit") == 4
    assert person.keeps("po-RunPage")["name"] == "Export…"
    with lab.http() as http:
        (run,) = http.get("runs").json()["runs"]
        events = http.get(f"runs/{run['id']}/events", headers={"Accept": "application/json"}).json()["events"]
    assert [event["data"]["note"] for event in events if event["type"] == "gate.decided"] == ["they are fine"]
