"""A pipeline's cell in a real JupyterLab helps while it is written; every other cell is left alone.

Screenshots are kept in test-artifacts/ to be looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.jupyter_process import API, JupyterProcess
from tests.ui.test_lab_notebook import SECOND, Notebook, panels
from tests.ui.test_lab_notebook import lab as lab
from tests.ui.test_lab_notebook import page as page

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(panels() is None, reason="the lab extension is not built: pip install ."),
]

OTHER = "import json\ntasks = {'neds': 1}"
PIPELINE = """%%po_pipeline tickets --model fake:echo
llm: {max_tokens: 200, temperature: 0.2}
tasks:
  - name: label
    for_each: "{{ seed.rows }}"
    prompt: |
      Label this ticket: {{ item.text | trim }}
    output: {type: object, required: [label], properties: {label: {enum: [bug, praise]}}}
  - name: summary  # of all rows
    needs: label
    prompt: "What do these have in common? {{ tasks.label | length }}"
"""


# When the last key went down, and when a mark came to be: what waits from outside asks every half second.
TIMES = """() => {
    document.addEventListener('keydown', () => { window.pressedAt = performance.now() }, true);
    new MutationObserver(() => {
        const marked = document.querySelector('.cm-lintRange-error') !== null;
        if (marked && !window.marked) { window.markedAt = performance.now() }
        window.marked = marked;
    }).observe(document.body, {subtree: true, childList: true, attributes: true});
}"""


class Requests:
    """The requests to our API and our files that a page makes."""

    def __init__(self, page: Page) -> None:
        self.urls: list[str] = []
        page.on("request", lambda request: self.urls.append(request.url))

    def of_api(self) -> list[str]:
        return [url.partition(API)[2].partition("?")[0] for url in self.urls if API in url]

    def of_help(self) -> list[str]:
        return [url for url in self.urls if "editor_help" in url]


@pytest.fixture
def requests(page: Page) -> Requests:
    return Requests(page)


def editor(book: Notebook, cell: int) -> Locator:
    return book.page.locator(".jp-Notebook .jp-CodeCell").nth(cell).locator(".cm-content")


def put_cursor_behind(book: Notebook, cell: int, text: str) -> None:
    """Put the cursor behind the first `text` of the cell."""
    editor(book, cell).click()
    book.page.evaluate(
        """([cell, text]) => {
            const editor = window.jupyterapp.shell.currentWidget.content.widgets[cell].editor;
            const at = editor.model.sharedModel.getSource().indexOf(text) + text.length;
            editor.setCursorPosition(editor.getPositionAt(at));
        }""",
        [cell, text],
    )


def source(book: Notebook, cell: int) -> str:
    return str(
        book.page.evaluate(
            "n => window.jupyterapp.shell.currentWidget.content.widgets[n].model.sharedModel.getSource()", cell
        )
    )


def test_a_pipeline_is_coloured_as_yaml_with_jinja(lab: JupyterProcess, page: Page, requests: Requests) -> None:
    """Nothing is asked of the server for it, and other cells stay Python."""
    book = Notebook(lab, page, "colours", [OTHER, PIPELINE])
    page.wait_for_function(
        """() => [...document.querySelectorAll('.jp-CodeCell')[1].querySelectorAll('.cm-line span')]
            .some(span => span.textContent === 'for_each')"""
    )
    keys = page.evaluate(
        """() => [...document.querySelectorAll('.jp-CodeCell')[1].querySelectorAll('.cm-line span')]
            .map(span => [span.textContent, span.className])"""
    )
    classes = dict(keys)
    assert classes["name"] == classes["prompt"] == classes["max_tokens"]
    assert classes["trim"]
    assert classes["text"] == classes["rows"]
    assert ("{{" in classes) and classes["|"]
    assert classes["# of all rows"]
    python = page.evaluate(
        """() => [...document.querySelectorAll('.jp-CodeCell')[0].querySelectorAll('.cm-line span')]
            .map(span => span.textContent)"""
    )
    assert python[:2] == ["import", "="]
    assert requests.of_api() == []
    book.shot("editor-colours")
    book.theme("JupyterLab Dark")
    book.shot("editor-colours-dark")
    book.theme("JupyterLab Light")


def hover_until(page: Page, mark: Locator, message: str) -> None:
    """Point at a mark until its tooltip says `message`.

    The mark of an earlier mistake follows the text while one types, so the first look may show the message before.
    """
    from playwright.sync_api import TimeoutError as NotThere

    tooltip = page.locator(".cm-tooltip").get_by_text(message)
    for _ in range(20):
        page.mouse.move(5, 5)
        mark.hover()
        try:
            tooltip.wait_for(timeout=SECOND)
        except NotThere:
            continue
        return
    tooltip.wait_for(timeout=SECOND)


def test_a_wrong_field_is_underlined_within_half_a_second(lab: JupyterProcess, page: Page) -> None:
    """With the message that a run gives; it goes away when the field is mended."""
    book = Notebook(lab, page, "mistakes", ["%load_ext po_jupyter", PIPELINE])
    put_cursor_behind(book, 1, "needs")
    mark = page.locator(".jp-CodeCell").nth(1).locator(".cm-lintRange-error")
    page.evaluate(TIMES)
    took = []
    for _ in range(5):  # the first waits for the orchestrator to start; the machine may have other work
        page.keyboard.press("Backspace")
        mark.wait_for(timeout=20 * SECOND)
        took.append(page.evaluate("() => window.markedAt - window.pressedAt"))
        if took[-1] < 500:
            break
        page.keyboard.type("s")
        mark.wait_for(state="detached", timeout=20 * SECOND)
    assert min(took) < 500, took
    page.keyboard.press("Backspace")
    page.keyboard.type("s")
    page.locator(".cm-lintRange-error", has_text="nees").wait_for(timeout=5 * SECOND)
    message = "`nees` is not a field of a task; did you mean `needs`?"
    hover_until(page, mark, message)
    book.shot("editor-mistake")
    book.theme("JupyterLab Dark")
    hover_until(page, mark, message)
    book.shot("editor-mistake-dark")
    book.theme("JupyterLab Light")
    book.run_all()
    book.sees(1, "cell line 10: " + message.replace("?", r"\?"))
    put_cursor_behind(book, 1, "nee")
    page.keyboard.type("d")
    mark.wait_for(state="detached", timeout=5 * SECOND)


def test_tab_offers_fields_values_and_names(lab: JupyterProcess, page: Page) -> None:
    """In Lab's own completer, before the kernel knows of po_jupyter and after."""
    book = Notebook(lab, page, "completion", ["%load_ext po_jupyter", PIPELINE + "    max_c\n"])
    completer = page.locator(".jp-Completer:not(.lm-mod-hidden)")
    put_cursor_behind(book, 1, "    max_")
    page.keyboard.press("End")
    page.keyboard.press("Backspace")
    page.keyboard.press("Tab")
    completer.wait_for(timeout=10 * SECOND)
    labels = completer.locator(".jp-Completer-match").all_inner_texts()
    assert {"max_tool_rounds", "max_concurrency"} <= set(labels), labels
    page.wait_for_timeout(300)
    book.shot("editor-completion")
    page.keyboard.press("Enter")
    completer.wait_for(state="hidden", timeout=5 * SECOND)
    assert "    max_concurrency: \n" in source(book, 1)
    page.keyboard.press("Escape")
    put_cursor_behind(book, 1, "{{ tasks.l")
    page.keyboard.press("Tab")  # a name that is the only one is put there at once
    page.wait_for_function(
        """() => window.jupyterapp.shell.currentWidget.content.widgets[1].model.sharedModel.getSource()
                .includes('{{ tasks.labelabel')
            || [...document.querySelectorAll('.jp-Completer-match')].some(item => item.textContent === 'label')"""
    )


def test_a_key_says_what_it_means(lab: JupyterProcess, page: Page) -> None:
    book = Notebook(lab, page, "hover", [PIPELINE])
    page.locator(".jp-CodeCell .cm-line span", has_text="for_each").first.hover()
    tip = page.locator(".cm-tooltip .po-KeyHelp")
    tip.wait_for(timeout=5 * SECOND)
    assert "the task runs once for each" in tip.inner_text()
    book.shot("editor-hover")


def test_a_cell_that_is_no_pipeline_is_untouched(lab: JupyterProcess, page: Page, requests: Requests) -> None:
    """No request, nothing loaded, no mark, Python's own indentation; also a cell that was a pipeline before."""
    book = Notebook(
        lab, page, "others", [OTHER, "%%po_task count\ndef ingestion(ctx):\n    return {'neds': 1}"]
    )
    put_cursor_behind(book, 0, "1}")
    page.keyboard.press("Enter")
    page.keyboard.type("if x:\nneds: 3\n")
    page.wait_for_timeout(1000)
    assert source(book, 0).endswith("if x:\n    neds: 3\n    ")
    assert requests.of_api() == []
    assert requests.of_help() == []
    assert page.locator(".cm-lintRange").count() == 0
    put_cursor_behind(book, 1, "%%po_")
    page.keyboard.press("Shift+End")
    page.keyboard.type("pipeline count")
    mark = page.locator(".jp-CodeCell").nth(1).locator(".cm-lintRange-error")
    mark.first.wait_for(timeout=10 * SECOND)
    page.keyboard.press("Backspace")
    page.keyboard.press("Home")
    page.keyboard.type("#")
    mark.first.wait_for(state="detached", timeout=5 * SECOND)


FILE = """# A pipeline of ours, in Lab's own editor.
name: hello
tasks:
  - name: greet
    neds: []
    prompt: |
      {% for row in seed.rows %}{{ row.text | upper }}{% endfor %}
"""
TASKFILE = "version: '3'\ntasks:\n  build:\n    prompt: Sure?\n    neds: [x]\n"


def open_file(lab: JupyterProcess, page: Page, name: str, text: str) -> Locator:
    (lab.folder / "work" / name).write_text(text)
    page.evaluate("path => { window.jupyterapp.commands.execute('docmanager:open', {path}) }", name)
    content = page.locator(".jp-FileEditor:visible .cm-content")
    content.get_by_text(text.split("\n")[0]).first.wait_for(timeout=30 * SECOND)
    return content


def test_a_pipeline_file_is_helped_as_a_cell_is_and_other_yaml_is_not(
    lab: JupyterProcess, page: Page, requests: Requests
) -> None:
    """C5: the same underline, completion and colours in Lab's file editor."""
    page.goto(f"{lab.url}lab?token={lab.token}&reset")
    page.wait_for_function("() => window.jupyterapp?.restored.then(() => true)", timeout=60 * SECOND)
    other = open_file(lab, page, "Taskfile.yml", TASKFILE)
    other.click()
    page.wait_for_timeout(1000)
    assert requests.of_api() == []
    assert requests.of_help() == []
    content = open_file(lab, page, "hello.yaml", FILE)
    content.get_by_text("hello").first.click()
    mark = content.locator(".cm-lintRange-error")
    mark.first.wait_for(timeout=10 * SECOND)
    assert mark.first.inner_text() == "neds"
    assert requests.of_api()[0] == "pipelines/validate"
    content.get_by_text("neds").first.dblclick()
    page.keyboard.type("nee")
    page.keyboard.press("Tab")
    items = page.locator(".jp-Completer:not(.lm-mod-hidden) .jp-Completer-match")
    items.first.wait_for(timeout=10 * SECOND)
    assert items.first.inner_text() == "needs"
    page.screenshot(path="test-artifacts/editor-file.png")
    page.keyboard.press("Enter")
    mark.first.wait_for(state="detached", timeout=10 * SECOND)
    content.get_by_text("upper", exact=False).first.click()
    page.keyboard.press("End")
    page.keyboard.type("{{ 'a' | low")
    page.keyboard.press("Tab")
    items.first.wait_for(timeout=10 * SECOND)
    assert items.all_inner_texts() == ["lower"]
    page.keyboard.press("Enter")
    page.locator(".cm-line", has_text="'a' | lower").wait_for(timeout=10 * SECOND)
