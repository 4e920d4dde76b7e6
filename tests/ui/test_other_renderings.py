"""A run's output where our lab extension is not: the kernel's widgets while it lives, the saved HTML after.

So draw VS Code and Colab it, with the widget manager that this Lab has (`@jupyter-widgets/jupyterlab-manager`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.jupyter_process import JupyterProcess
from tests.ui.test_lab_notebook import SECOND, SETUP, SHOTS, WIDGET, Notebook
from tests.ui.test_renderer import PIPELINE, outputs, text

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    folder = tmp_path_factory.mktemp("lab")
    config = folder / "config/labconfig"
    config.mkdir(parents=True)
    (config / "page_config.json").write_text(json.dumps({"disabledExtensions": {"po-jupyter": True}}))
    server = JupyterProcess(
        folder,
        orchestrator=None,
        extensions=("po_jupyter", "jupyterlab"),
        args=(
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.expose_app_in_browser=True",
        ),
    )
    yield server
    server.stop()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    SHOTS.mkdir(exist_ok=True)
    yield page
    page.close()


def test_widgets_while_the_kernel_lives_and_the_truth_after(lab: JupyterProcess, page: Page) -> None:
    """Issue 10, 2: the bundle has what each frontend can draw."""
    book = Notebook(lab, page, "plain", [SETUP, PIPELINE.replace("LATENCY", "2")])
    for _ in range(2):
        book.command("notebook:run-cell-and-select-next")
    cell = book.outputs(1)
    cell.locator(".jupyter-widgets").first.wait_for(timeout=30 * SECOND)
    assert page.locator(".po-Output").count() == 0, "our extension is not there"
    book.sees(1, "running")
    page.screenshot(path=str(SHOTS / "plain-running.png"))
    book.command("docmanager:save")
    (bundle,) = outputs(book.path)
    assert WIDGET in bundle
    assert "as of" in text(bundle["text/html"])
    book.sees(1, "✓ done", 30)
    page.wait_for_timeout(1500)  # the kernel publishes the end when it has read it
    book.command("docmanager:save")
    (bundle,) = outputs(book.path)
    assert WIDGET not in bundle
    assert "✓ done" in text(bundle["text/html"])
    page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.shutdown()"
    )
    page.goto(f"{lab.url}lab/tree/plain.ipynb?token={lab.token}&reset")
    book.sees(1, "✓ done", 60)
    assert page.get_by_text("Error displaying widget").count() == 0
    page.screenshot(path=str(SHOTS / "plain-done.png"))
