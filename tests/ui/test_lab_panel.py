"""The side panel's buttons on ended runs, in a real JupyterLab and a real Chromium: restart, fork, dead letters.

Screenshots are kept in test-artifacts/ to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.jupyter_process import JupyterProcess
from tests.support.lab_process import lab_process
from tests.ui.test_lab_notebook import SECOND, SHOTS, panels

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

DIES = "import os\ndef ingestion(ctx):\n    if not os.path.exists(ctx.seed['flag']):\n        os._exit(3)\n"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    panel = panels()
    if panel is None:
        pytest.skip("the panel is not built: pip install .")
    server = lab_process(tmp_path_factory.mktemp("lab"), panel, {"PO_MAX_CRASHES": "1"})
    yield server
    server.stop()


@pytest.fixture
def page(lab: JupyterProcess, browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    page.goto(f"{lab.url}lab?token={lab.token}&reset")
    page.get_by_role("tab", name="Prompt runs").click(timeout=60 * SECOND)
    page.locator(".po-Panel-link[data-link=live]").wait_for(timeout=30 * SECOND)
    yield page
    SHOTS.mkdir(exist_ok=True)
    page.close()


def submit(lab: JupyterProcess, name: str, tasks: list[dict[str, Any]], **data: Any) -> str:
    body = {
        "pipeline": {"name": "panel", "llm": {"model": "fake:echo"}, "tasks": tasks},
        "seed": {"name": name, "data": data},
    }
    with lab.http() as http:
        answer = http.post("runs", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["run"]["id"])


def events(lab: JupyterProcess, run: str) -> list[dict[str, Any]]:
    with lab.http() as http:
        return list(http.get(f"runs/{run}/events", headers={"Accept": "application/json"}).json()["events"])


def card(page: Page, run: str, state: str) -> Locator:
    found = page.locator(f".po-Run[data-run='{run}'][data-state={state}]")
    found.wait_for(timeout=20 * SECOND)
    head = found.locator(".po-Run-head")
    if head.get_attribute("aria-expanded") != "true":
        head.click()
    return found


TASKS = [{"name": "ask", "prompt": "one"}, {"name": "answer", "prompt": "two {{ tasks.ask }}"}]


def test_a_restart_asks_first_and_does_all_of_it_again(lab: JupyterProcess, page: Page) -> None:
    """B13, P12: what is paid again is said before."""
    run = submit(lab, "again", TASKS)
    card(page, run, "done").locator(".po-Button", has_text="Restart").click()
    page.screenshot(path=str(SHOTS / "panel-restart.png"))
    page.get_by_role("button", name="Cancel").last.click()
    card(page, run, "done")
    assert not [e for e in events(lab, run) if e["type"] == "run.resumed"]
    card(page, run, "done").locator(".po-Button", has_text="Restart").click()
    page.locator(".jp-Dialog").get_by_role("button", name="Restart").click()
    page.wait_for_function(
        "id => document.querySelector(`[data-run='${id}']`)?.dataset.state === 'done'", arg=run
    )
    page.wait_for_timeout(300)
    card(page, run, "done")
    (asked,) = [e for e in events(lab, run) if e["type"] == "run.resumed"]
    assert sorted(asked["data"]["reset"]) == ["answer", "ask"]


def test_a_fork_is_a_new_run_from_the_task_that_was_chosen(lab: JupyterProcess, page: Page) -> None:
    """G5."""
    run = submit(lab, "forked", TASKS)
    card(page, run, "done").locator(".po-Button", has_text="Fork").click()
    dialog = page.locator(".jp-Dialog")
    dialog.locator("select").select_option(label="answer")
    page.screenshot(path=str(SHOTS / "panel-fork.png"))
    dialog.get_by_role("button", name="Fork").click()
    dialog.wait_for(state="detached", timeout=10 * SECOND)
    with lab.http() as http:
        for _ in range(100):
            found = [r for r in http.get("runs").json()["runs"] if r["forked_from"]]
            if found:
                break
            page.wait_for_timeout(100)
    (new,) = found
    assert new["forked_from"] == {"run": run, "from_task": "answer"}
    card(page, new["id"], "done")
    started = [e["task"] for e in events(lab, new["id"]) if e["type"] == "task.started"]
    assert started == ["answer"], "what was before it is taken over"


def test_a_dead_letter_is_requeued_or_discarded(lab: JupyterProcess, page: Page) -> None:
    """R3.3: from the panel as from `po dead`."""
    flag = lab.folder / "flag"
    runs = [submit(lab, name, [{"name": "dies", "source": DIES}], flag=str(flag)) for name in ("kept", "gone")]
    for run in runs:
        card(page, run, "dead")
    page.screenshot(path=str(SHOTS / "panel-dead.png"))
    assert card(page, runs[0], "dead").locator(".po-Button", has_text="Resume").count() == 0
    flag.touch()
    card(page, runs[0], "dead").locator(".po-Button", has_text="Requeue").click()
    card(page, runs[0], "done")
    card(page, runs[1], "dead").locator(".po-Button", has_text="Discard").click()
    page.locator(".jp-Dialog").get_by_role("button", name="Discard").click()
    page.locator(f".po-Run[data-run='{runs[1]}']").wait_for(state="detached", timeout=10 * SECOND)
    with lab.http() as http:
        assert http.get(f"runs/{runs[1]}").status_code == 404
    page.screenshot(path=str(SHOTS / "panel-after.png"))
