"""The parts of the side panel beside the runs, of a server with limits: usage and system.

Screenshots are kept in test-artifacts/ to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.jupyter_process import JupyterProcess
from tests.support.lab_process import lab_process
from tests.ui.test_lab_history import open_panel, serious, submit
from tests.ui.test_lab_notebook import SECOND, SHOTS, panels

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DIES = {"name": "dies", "source": "import os\ndef ingestion(ctx):\n    os._exit(3)\n"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
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
    """A dead run, and one that is done."""
    submit(lab, "dies", [DIES])
    submit(lab, "number", [{"name": "ask", "prompt": "one"}], pipeline="numbers")


@pytest.fixture
def page(lab: JupyterProcess, browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    SHOTS.mkdir(exist_ok=True)
    yield page
    page.close()


def shots(page: Page, name: str) -> None:
    """Light and dark."""
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


@pytest.mark.slow
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
