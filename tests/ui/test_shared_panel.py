"""The panel of a user's server beside the hub's shared runs, in a real JupyterLab and a real Chromium (issue 12).

Screenshots are kept in test-artifacts/ to be looked at. What the panel asks for is tested in short in
tests/hub_runs/test_proxy.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.support.jupyter_process import JupyterProcess
from tests.support.lab_process import lab_process
from tests.support.shared_runs import TEAM_KEY, SharedRuns, shared_runs
from tests.ui.test_lab_notebook import SECOND, SHOTS, panels

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def vendor() -> Iterator[ModelServer]:
    with ModelServer(key=TEAM_KEY) as server:
        yield server


@pytest.fixture(scope="module")
def service(vendor: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedRuns]:
    with shared_runs(tmp_path_factory.mktemp("shared"), vendor.root_url) as running:
        yield running


@pytest.fixture(scope="module")
def lab(
    service: SharedRuns, vendor: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[JupyterProcess]:
    panel = panels()
    if panel is None:
        pytest.skip("the panel is not built: pip install .")
    hub = {
        "PO_HUB_RUNS_URL": service.url, "PO_HUB_TOKEN": "token-of-bob",
        "OPENAI_API_KEY": TEAM_KEY, "OPENAI_BASE_URL": f"{vendor.root_url}/v1",  # of bob's own
    }  # fmt: skip
    server = lab_process(tmp_path_factory.mktemp("lab"), panel, hub)
    yield server
    server.stop()


def submit(client: Any, name: str, **task: Any) -> str:
    one = {"name": "label", "prompt": f"{name} {{{{ seed.text }}}}", **task}
    body = {
        "pipeline": {"name": name, "llm": {"model": "openai:gpt-5-mini", "max_tokens": 20}, "tasks": [one]},
        "seed": {"name": name, "data": {"text": "x"}},
    }
    response = client.post("runs", json=body)
    assert response.status_code == 201, response.text
    return str(response.json()["run"]["id"])


def card(page: Page, run: str) -> Locator:
    return page.locator(f".po-Run[data-run='{run}']")


def test_shared_runs_stand_beside_ones_own_and_offer_what_one_may_do(
    lab: JupyterProcess, service: SharedRuns, browser: Browser
) -> None:
    """bob may start, cancel and resume the runs of red, and decides no gate; alice may."""
    with service.client("alice", "red") as red, service.client("bob") as bob:
        gated = submit(red, "gated", gate="fine?")
        stopped = submit(red, "stopped", gate="stop me")
        own = submit(bob, "mine")
        service.await_state("alice", gated, "waiting")
        service.await_state("alice", stopped, "waiting")
        service.await_state("bob", own, "done")
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    page.goto(f"{lab.url}lab?token={lab.token}&reset")
    page.get_by_role("tab", name="Prompt runs").click(timeout=60 * SECOND)
    card(page, gated).wait_for(timeout=30 * SECOND)
    assert "shared · red · started by alice" in card(page, gated).inner_text()
    assert card(page, gated).get_by_role("button", name="Approve").count() == 0
    assert "shared · bob" in card(page, own).inner_text()
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=str(SHOTS / "shared-panel.png"))
    card(page, stopped).get_by_role("button", name="Cancel").click()
    page.locator(f".po-Run[data-run='{stopped}'][data-state=cancelled]").wait_for(timeout=20 * SECOND)
    assert service.await_state("alice", stopped, "cancelled")["acts"][-1]["by"] == "bob"
    with service.client("alice") as alice:
        assert alice.post(f"runs/{gated}/gate", json={"decision": "approve"}).status_code == 200
    page.locator(f".po-Run[data-run='{gated}'][data-state=done]").wait_for(timeout=30 * SECOND)
    card(page, gated).get_by_role("button", name="Open").click()
    page.locator(".po-Header").get_by_text("shared · red").first.wait_for(timeout=20 * SECOND)
    page.get_by_role("tab", name="Calls").click()
    page.get_by_text("gpt-5-mini").first.wait_for(timeout=20 * SECOND)
    page.screenshot(path=str(SHOTS / "shared-page.png"))
    page.close()


def test_a_run_of_ones_own_moves_to_the_shared_ones(
    lab: JupyterProcess, service: SharedRuns, vendor: ModelServer, browser: Browser
) -> None:
    """It asks first, goes on in the service with what is paid for, and stays here to be looked at."""
    with lab.http() as own:
        run = submit(own, "my-tickets", gate="fine?")
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    page.goto(f"{lab.url}lab?token={lab.token}&reset")
    page.get_by_role("tab", name="Prompt runs").click(timeout=60 * SECOND)
    page.locator(f".po-Run[data-run='{run}'][data-state=waiting]").wait_for(timeout=30 * SECOND)
    assert "shared" not in card(page, run).inner_text()
    card(page, run).locator(".po-Run-head").click()
    button = card(page, run).get_by_role("button", name="Move to shared…")
    button.wait_for(timeout=20 * SECOND)
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=str(SHOTS / "move-offered.png"))
    dialog = page.locator(".jp-Dialog")
    button.click()
    dialog.get_by_text("Move my-tickets to the shared runs?").wait_for(timeout=20 * SECOND)
    page.screenshot(path=str(SHOTS / "move-asked.png"))
    dialog.get_by_role("button", name="Cancel").click()
    dialog.wait_for(state="detached", timeout=20 * SECOND)
    with service.client("bob") as bob:
        assert run not in bob.get("runs").text
    button.click()
    dialog.get_by_role("button", name="Move", exact=True).click()
    card(page, run).get_by_text("shared · bob").first.wait_for(timeout=60 * SECOND)
    service.await_state("bob", run, "waiting")
    page.screenshot(path=str(SHOTS / "move-done.png"))
    card(page, run).get_by_role("button", name="Approve").click()
    page.locator(f".po-Run[data-run='{run}'][data-state=done]").wait_for(timeout=30 * SECOND)
    page.screenshot(path=str(SHOTS / "move-gone-on.png"))
    page.close()
    with lab.http() as own:
        assert own.get(f"runs/{run}").json()["run"]["state"] in ("moved", "done")
    assert len([call for call in vendor.requests if "my-tickets" in str(call.body)]) == 1  # paid once
