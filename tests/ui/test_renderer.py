"""In a real JupyterLab and a real Chromium: a run in the output of a cell, drawn from the server, without its kernel.

Screenshots are kept in test-artifacts/ to be looked at.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from po_jupyter.presentation.run_output import RUN_MIME
from tests.support.jupyter_process import JupyterProcess
from tests.ui.test_lab_notebook import SECOND, SETUP, SHOTS, WIDGET, Notebook, panels

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

PIPELINE = """%%po_pipeline tickets --run --seed tickets
llm: {model: "fake:echo?latency=LATENCY"}
tasks:
  - name: classify
    prompt: "Label this ticket as bug, question or praise: {{ item.text }}"
    for_each: "{{ seed.rows }}"
    max_concurrency: 1
  - name: summary
    prompt: "There are {{ tasks.classify | length }} tickets: <b>two</b> of them are bugs, and cost $5 or $10."
"""
GATE = """%%po_pipeline letter --run
llm: {model: "fake:echo"}
tasks:
  - name: draft
    prompt: "Dear reader, all is well."
    gate: "Look before it is sent"
  - {name: send, prompt: "send {{ tasks.draft }}"}
"""


def lab_in(folder: Path, *extensions: str, args: tuple[str, ...] = ()) -> JupyterProcess:
    panel = panels()
    if panel is None:
        pytest.skip("the panel is not built: pip install .")
    (folder / "labextensions").mkdir()
    (folder / "labextensions/po-jupyter").symlink_to(panel)
    settings = folder / "config/lab/user-settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps({"fetchNews": "false"}))
    return JupyterProcess(
        folder,
        orchestrator=None,
        extensions=("po_jupyter", "jupyterlab", *extensions),
        args=(
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.expose_app_in_browser=True",
            f"--LabApp.extra_labextensions_path={folder / 'labextensions'}",
            *args,
        ),
    )


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    server = lab_in(tmp_path_factory.mktemp("lab"))
    yield server
    server.stop()


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 960})
    failed = request.session.testsfailed
    yield page
    SHOTS.mkdir(exist_ok=True)
    if request.session.testsfailed > failed and not page.is_closed():
        page.screenshot(path=str(SHOTS / f"failed-{request.node.name}.png"))
    page.close()


def card(place: Page | Locator, state: str, seconds: float = 20) -> Locator:
    """The card of a run in a cell's output, in this state."""
    found = place.locator(f".po-Output .po-Run[data-state={state}]").first
    found.wait_for(timeout=seconds * SECOND)
    return found


def live(place: Page | Locator) -> None:
    place.locator(".po-Output [data-standing=live]").first.wait_for(timeout=20 * SECOND)


def outputs(path: Path) -> list[dict[str, Any]]:
    """The bundles of runs that the file has."""
    cells = json.loads(path.read_text())["cells"]
    data = [output["data"] for cell in cells for output in cell["outputs"] if "data" in output]
    return [bundle for bundle in data if (bundle.get(RUN_MIME) or {}).get("view")]


def text(part: str | list[str]) -> str:
    return part if isinstance(part, str) else "".join(part)


def await_file(book: Notebook, word: str, seconds: float = 20) -> dict[str, Any]:
    """The run's bundle, once the saved file's text has `word`."""
    until = time.monotonic() + seconds
    while True:
        book.command("docmanager:save")
        found = outputs(book.path)
        if found and word in text(found[0]["text/plain"]):
            return found[0]
        assert time.monotonic() < until, found and found[0]["text/plain"]
        book.page.wait_for_timeout(300)


def await_run(lab: JupyterProcess, run: str, state: str, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    with lab.http() as http:
        while http.get(f"runs/{run}").json()["run"]["state"] != state:
            assert time.monotonic() < until
            time.sleep(0.1)  # the test's own look at the run from outside


def start(book: Notebook, cells: int) -> str:
    """Run the first cells; the id of the run that the last one shows."""
    for _ in range(cells):
        book.command("notebook:run-cell-and-select-next")
    found = book.page.locator(".po-Output .po-Run").first
    found.wait_for(timeout=30 * SECOND)
    return str(found.get_attribute("data-run"))


def test_a_card_lives_on_without_its_kernel(lab: JupyterProcess, page: Page) -> None:
    """The cell said `model not found` after a kernel restart. G8, C4, P1."""
    book = Notebook(lab, page, "restarted", [SETUP, PIPELINE.replace("LATENCY", "3")])
    run = start(book, 2)
    live(page)
    card(page, "running")
    assert book.outputs(1).locator(".jupyter-widgets").count() == 0, "our renderer is before the widget's"
    book.shot("output-running")
    book.theme("JupyterLab Dark")
    book.shot("output-running-dark")
    book.theme("JupyterLab Light")
    book.restart_kernel()
    assert book.outputs(1).get_by_text("model not found").count() == 0
    rows = book.outputs(1).locator(".po-Task-detail").first
    before = rows.inner_text()
    page.wait_for_function(
        "before => document.querySelector('.po-Output .po-Task-detail')?.innerText !== before", arg=before
    )
    card(page, "running").get_by_role("button", name=re.compile("Cancel")).click()
    card(page, "cancelled")
    await_run(lab, run, "cancelled")
    book.shot("output-cancelled")
    bundle = await_file(book, "cancelled")
    assert WIDGET not in bundle, "its model ended with the kernel"
    assert bundle[RUN_MIME]["view"]["state"] == "cancelled"
    assert "cancelled" in text(bundle["text/html"])
    card(page, "cancelled").get_by_role("button", name=re.compile("Resume")).click()
    card(page, "running").get_by_role("button", name=re.compile("Cancel")).click()
    card(page, "cancelled")


def test_a_tab_that_was_closed_over_the_end_shows_the_end_when_it_is_opened_again(
    lab: JupyterProcess, page: Page, browser: Browser
) -> None:
    """The file said `running` for ever, to everybody who opened it."""
    book = Notebook(lab, page, "closed", [SETUP, PIPELINE.replace("LATENCY", "1.5")])
    run = start(book, 2)
    card(page, "running")
    saved = await_file(book, "running")
    assert re.search(r"as of \d\d:\d\d UTC, \w+ \d+, \d{4}$", text(saved["text/plain"]))
    assert "as of" in text(saved["text/html"])
    page.close()
    await_run(lab, run, "done")
    assert "running" in text(outputs(book.path)[0]["text/plain"]), "nobody was there to write"
    again = browser.new_page(viewport={"width": 1280, "height": 960})
    try:
        again.goto(f"{lab.url}lab/tree/closed.ipynb?token={lab.token}&reset")
        book.page = again
        book.await_idle(60)
        card(again, "done")
        again.locator(".po-Output-results").get_by_text("cost $5 or $10").wait_for(timeout=10 * SECOND)
        assert again.locator(".po-Output-results b").count() == 0, "a model's text is text"
        bundle = await_file(book, "2 of 2 tasks done")
        assert "✓ done" in text(bundle["text/html"])
        assert bundle[RUN_MIME]["view"]["state"] == "done"
        assert WIDGET not in bundle
        book.shot("output-done")
        book.theme("JupyterLab Dark")
        book.shot("output-done-dark")
        again.reload()
        book.await_idle(60)
        live(again)
        card(again, "done")
        again.wait_for_timeout(500)
        dirty = again.evaluate("() => window.jupyterapp.shell.currentWidget.context.model.dirty")
        assert not dirty, "to look at a notebook that is up to date changes nothing in it"
    finally:
        book.theme("JupyterLab Light")
        again.close()


def test_an_untrusted_notebook_shows_what_it_has_and_asks_nothing(lab: JupyterProcess, page: Page) -> None:
    """P6, P10: a file from somebody else makes no request, whatever it says."""
    book = Notebook(lab, page, "trusted", [SETUP, PIPELINE.replace("LATENCY", "0.2")])
    run = start(book, 2)
    card(page, "done")
    await_file(book, "2 of 2 tasks done")
    content = json.loads(book.path.read_text())
    content["cells"][1]["outputs"][0]["data"][RUN_MIME]["view"]["pipeline"] = "theirs"
    content["cells"][1]["outputs"][0]["data"][RUN_MIME]["view"]["name"] = "from somebody else"
    content["cells"][1]["outputs"][0]["data"][RUN_MIME]["base"] = "https://evil.example/"
    (lab.folder / "work/untrusted.ipynb").write_text(json.dumps(content))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{lab.url}lab/tree/untrusted.ipynb?token={lab.token}&reset")
    book.await_idle(60)
    assert card(page, "done").get_by_text("from somebody else").count() == 1
    page.get_by_text("this notebook is not trusted").wait_for(timeout=10 * SECOND)
    page.wait_for_timeout(1500)
    assert [url for url in asked if "/po/api/" in url or "evil" in url] == []
    assert page.locator(".po-Output .po-Buttons:visible").count() == 0
    book.shot("output-untrusted")
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:trust') }")
    page.locator(".jp-Dialog").get_by_role("button", name="Trust").click()
    live(page)
    assert any(f"runs/{run}/display" in url for url in asked)
    assert not any("evil" in url for url in asked)


def test_what_is_selected_in_a_card_stays_selected_while_it_changes(lab: JupyterProcess, page: Page) -> None:
    """No flicker: texts are patched in their place, and nothing is drawn anew."""
    book = Notebook(lab, page, "selected", [SETUP, PIPELINE.replace("LATENCY", "2")])
    start(book, 2)
    live(page)
    card(page, "running")
    page.evaluate("""() => {
        const node = document.querySelector('.po-Output .po-Task-name').firstChild;
        getSelection().setBaseAndExtent(node, 1, node, 5);
        window.poCard = document.querySelector('.po-Output .po-Run');
        window.poRemoved = 0;
        new MutationObserver(all => { for (const m of all) for (const n of m.removedNodes)
            window.poRemoved += n.nodeType === 1 && n.matches('.po-Run, .po-Task, .po-Output') })
            .observe(document.querySelector('.po-RunOutput').parentElement, {childList: true, subtree: true});
    }""")
    page.wait_for_function(
        "() => /[2-4].4 rows/.test(document.querySelector('.po-Output .po-Task-detail').innerText)",
        timeout=20_000,
    )
    book.command("docmanager:save")
    assert page.evaluate("() => getSelection().toString()") == "lass"
    card(page, "done", 30)
    assert page.evaluate("() => getSelection().toString()") == "lass"
    assert page.evaluate("() => window.poCard.isConnected && window.poRemoved") == 0


def test_a_gate_is_decided_in_the_cell_without_a_kernel(lab: JupyterProcess, page: Page) -> None:
    """B11: and the file says that it waits, for whoever opens it."""
    book = Notebook(lab, page, "gate", ["%load_ext po_jupyter", GATE])
    run = start(book, 2)
    card(page, "waiting")
    assert "waits for a decision" in text(await_file(book, "waiting for a decision")["text/html"])
    page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.shutdown()"
    )
    box = card(page, "waiting").locator(".po-Gate")
    box.get_by_role("textbox").fill("fine")
    book.shot("output-gate")
    box.get_by_role("button", name=re.compile("Approve")).click()
    card(page, "done")
    with lab.http() as http:
        events = http.get(f"runs/{run}/events", headers={"Accept": "application/json"}).json()["events"]
    assert [e["data"]["note"] for e in events if e["type"] == "gate.decided"] == ["fine"]
    await_file(book, "2 of 2 tasks done")


def test_a_server_without_the_run_says_so_and_shows_what_the_file_has(lab: JupyterProcess, page: Page) -> None:
    book = Notebook(lab, page, "removed", [SETUP, PIPELINE.replace("LATENCY", "0.1")])
    run = start(book, 2)
    card(page, "done")
    await_file(book, "2 of 2 tasks done")
    with lab.http() as http:
        assert http.delete(f"runs/{run}").status_code == 204
    page.reload()
    book.await_idle(60)
    card(page, "done")
    page.get_by_text(re.compile(r"as of \d\d:\d\d, \w+ \d+ · .*does not have the run")).wait_for(
        timeout=10 * SECOND
    )
    assert page.locator(".po-Output .po-Buttons:visible").count() == 0
    book.shot("output-missing")


def test_notebook_7_draws_it_with_the_same_extension(
    tmp_path: Path, browser: Browser, lab: JupyterProcess, page: Page
) -> None:
    """A notebook of a Lab, opened in Notebook 7 of another server: what the file has, and live when it runs there."""
    book = Notebook(lab, page, "seven", [SETUP, PIPELINE.replace("LATENCY", "0.1")])
    start(book, 2)
    card(page, "done")
    await_file(book, "2 of 2 tasks done")
    page.close()
    seven = lab_in(
        tmp_path,
        "notebook",
        args=(
            "--JupyterNotebookApp.expose_app_in_browser=True",
            f"--JupyterNotebookApp.extra_labextensions_path={tmp_path / 'labextensions'}",
        ),
    )
    other = browser.new_page(viewport={"width": 1100, "height": 900})
    try:
        (tmp_path / "work/seven.ipynb").write_bytes(book.path.read_bytes())
        other.goto(f"{seven.url}notebooks/seven.ipynb?token={seven.token}")
        card(other, "done", 60)
        other.get_by_text("does not have the run").wait_for(timeout=20 * SECOND)
        other.screenshot(path=str(SHOTS / "output-notebook-7.png"))
        seven_book = Notebook.of(other, "seven", tmp_path / "work/seven.ipynb")
        seven_book.await_idle(60)
        seven_book.run_all()
        live(other)
        other.locator(".po-Output-results").get_by_text("cost $5 or $10").wait_for(timeout=20 * SECOND)
        other.screenshot(path=str(SHOTS / "output-notebook-7-live.png"))
    finally:
        other.close()
        seven.stop()


def test_the_draft_of_a_gate_is_asked_for_only_when_the_notebook_is_trusted(
    lab: JupyterProcess, page: Page
) -> None:
    """P6: a gate that somebody wrote into a file has no draft, no link and no button."""
    book = Notebook(lab, page, "gated", ["%load_ext po_jupyter", GATE])
    run = start(book, 2)
    card(page, "waiting").get_by_text("all is well").wait_for(timeout=10 * SECOND)
    await_file(book, "waiting for a decision")
    content = json.loads(book.path.read_text())
    view = content["cells"][1]["outputs"][0]["data"][RUN_MIME]["view"]
    view["gate"] = {"task": "draft", "message": "made up", "artifacts": ["../../../../api/shutdown"]}
    (lab.folder / "work/untrusted-gate.ipynb").write_text(json.dumps(content))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{lab.url}lab/tree/untrusted-gate.ipynb?token={lab.token}&reset")
    book.await_idle(60)
    card(page, "waiting").get_by_text("made up").wait_for(timeout=10 * SECOND)
    page.wait_for_timeout(1000)
    assert [url for url in asked if "/po/api/" in url] == []
    for hidden in ("button:not(.po-Run-head)", "a", "textarea"):
        assert page.locator(f".po-Output {hidden}:visible").count() == 0
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:trust') }")
    page.locator(".jp-Dialog").get_by_role("button", name="Trust").click()
    card(page, "waiting").get_by_text("all is well").wait_for(timeout=10 * SECOND)
    with lab.http() as http:
        http.post(f"runs/{run}/cancel", json={})
