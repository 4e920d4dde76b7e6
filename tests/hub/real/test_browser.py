"""A person at a hub: login through the hub's OAuth in Chromium, the panel, a cell, a terminal.

Screenshots are kept in test-artifacts/ to be looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.support.jupyterhub import PASSWORD, RealHub
from tests.ui.conftest import browser  # noqa: F401 - the fixture
from tests.ui.test_lab_notebook import SECOND, SHOTS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(600)]

LIMITS = {"limits": {"each_user": {"usd_per_day": 2}}}
PIPELINE = """%%po_pipeline tickets --run --out run
llm: {model: "openai:gpt-5-mini", max_tokens: 50}
tasks:
  - {name: label, for_each: "{{ seed.rows }}", prompt: "Label {{ item }}"}
"""
CELLS = [
    "%load_ext po_jupyter",
    'seed = {"rows": ["a", "b", "c"]}',
    PIPELINE.replace("--run", "--run --seed seed"),
]


@pytest.fixture(scope="module")
def page(hub: RealHub, browser: Browser) -> Iterator[Page]:  # noqa: F811
    folder = hub.home(hub.alice)
    blank = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [{**blank, "id": f"c{n}", "source": text} for n, text in enumerate(CELLS)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (folder / "team.ipynb").write_text(json.dumps(notebook))
    settings = folder / ".jupyter/lab/user-settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps({"fetchNews": "false"}))
    SHOTS.mkdir(exist_ok=True)
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.set_default_timeout(120 * SECOND)
    page.goto(f"{hub.url}/hub/login?next=%2Fhub%2Fspawn")
    page.get_by_label("Username:").fill(hub.alice)
    page.get_by_label("Password:").fill(PASSWORD)
    page.screenshot(path=str(SHOTS / "hub-login.png"))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**/user/{hub.alice}/lab**", timeout=180 * SECOND)  # spawned, and through OAuth
    page.get_by_role("tab", name="Prompt runs").wait_for()
    yield page
    page.close()


def test_a_cell_runs_over_the_teams_model_and_the_panel_shows_it(hub: RealHub, page: Page, vendor: ModelServer):
    page.goto(f"{hub.url}/user/{hub.alice}/lab/tree/team.ipynb?reset")
    page.locator(".jp-Notebook .jp-Cell").nth(2).wait_for()
    page.get_by_role("tab", name="Prompt runs").click()
    page.locator(".po-Panel-link[data-link=live]").wait_for()
    page.locator(".jp-Notebook .jp-Cell").first.locator(".jp-InputArea-editor").click()
    for _ in CELLS:
        page.keyboard.press("Shift+Enter")
    page.locator(".po-Run[data-state=done]").first.wait_for()
    page.screenshot(path=str(SHOTS / "hub-cell.png"))
    assert len([request for request in vendor.requests if "Label " in request.prompt]) == 3
    assert "key" not in page.locator(".jp-OutputArea").last.inner_text().lower()


def test_the_panel_shows_what_the_hub_holds_one_to(hub: RealHub, page: Page):
    page.get_by_role("tab", name="Usage").click()
    page.get_by_text("of $2.00 today").wait_for()
    page.screenshot(path=str(SHOTS / "hub-usage.png"))
    page.get_by_role("tab", name="System").click()
    page.get_by_text("runs go on when your server starts again").wait_for()
    page.screenshot(path=str(SHOTS / "hub-system.png"))


def test_a_terminal_has_the_same_words(hub: RealHub, page: Page):
    page.goto(f"{hub.url}/user/{hub.alice}/lab?reset")
    page.locator(".jp-LauncherCard", has_text="Terminal").click()
    page.locator(".jp-Terminal .xterm-screen").wait_for()
    page.locator(".jp-Terminal .xterm-screen").click()
    # A login shell has a PATH of its own, and no `po` of this environment.
    page.keyboard.type(f"alias po='{hub.options['python']} -m po_jupyter'; clear\n")
    page.keyboard.type("po usage | tee usage.txt; po status; touch ready\n")
    done = hub.home(hub.alice) / "ready"
    for _ in range(600):
        if done.exists():
            break
        page.wait_for_timeout(200)
    page.wait_for_timeout(500)
    page.screenshot(path=str(SHOTS / "hub-terminal.png"))
    assert "of $2.00 today" in (hub.home(hub.alice) / "usage.txt").read_text()
