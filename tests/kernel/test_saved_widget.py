"""What other readers of a saved notebook show of a run: widgets that were saved with their state, HTML, text.

VS Code, Colab and nbviewer cannot run here. What their renderers need is looked at instead: which MIME types there are
and in which order a frontend takes them, that the widget is made of standard ipywidgets alone, whose state in the file
is whole and needs no code of ours, and that HTML has no script.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import ipywidgets
import nbformat
import pytest
from nbconvert import HTMLExporter, MarkdownExporter

from po_jupyter.kernel.widget import RunWidget
from po_jupyter.model.run.view import TaskView
from po_jupyter.presentation.run_output import RUN_MIME
from tests.kernel.test_widget import VIEW, Page, shown
from tests.support.kernel import FakeAio, classifying

pytestmark = pytest.mark.integration  # the client's background thread

STATE = "application/vnd.jupyter.widget-state+json"
# What VS Code's renderers take of a bundle, in their order: a widget before HTML, HTML before text.
VS_CODE = (
    "application/vnd.code.notebook.error",
    VIEW,
    "application/vnd.vega.v5+json",
    "text/html",
    "text/plain",
)
AS_OF = re.compile(r"as of \d\d:\d\d UTC, \w+ \d+, \d{4}")
REFERENCE = re.compile(r"IPY_MODEL_(\w+)")
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture
def running() -> Iterator[tuple[RunWidget, Page, FakeAio]]:
    """A run that goes on, as its cell shows it."""
    aio, page = FakeAio(classifying()), Page()
    widget = shown(aio, page)
    yield widget, page, aio
    widget.close()


def saved_state() -> dict[str, Any]:
    """The state of all widgets of this kernel as a frontend writes it into the file's metadata."""
    state: dict[str, Any] = json.loads(json.dumps(ipywidgets.Widget.get_manager_state()))["state"]
    return state


def reached(state: dict[str, Any], root: str) -> dict[str, Any]:
    """The models that the view of `root` needs, as @jupyter-widgets/html-manager follows them."""
    found: dict[str, Any] = {}
    ahead = [root]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found[name] = state[name]  # whole: what is referred to is there
            ahead += REFERENCE.findall(json.dumps(state[name]["state"]))
    return found


def saved(page: Page, state: dict[str, Any] | None) -> nbformat.NotebookNode:
    """The notebook as it was saved, with or without the state of widgets."""
    outputs = [nbformat.v4.new_output("display_data", bundle) for bundle in page.displays.values()]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("%%po_pipeline p --run", outputs=outputs)])
    if state is not None:
        book.metadata.widgets = {STATE: {"version_major": 2, "version_minor": 0, "state": state}}
    nbformat.validate(book)
    return nbformat.reads(nbformat.writes(book), as_version=4)


def test_the_widget_needs_nothing_but_standard_ipywidgets(running: tuple[RunWidget, Page, FakeAio]) -> None:
    """VS Code and Colab load the modules of models by name: ours would come from a network, or from nowhere."""
    _, page, _ = running
    view = page.picture[VIEW]
    assert (view["version_major"], view["version_minor"]) == (2, 0)
    models = reached(saved_state(), view["model_id"])
    modules = {(model["model_module"], model["state"].get("_view_module")) for model in models.values()}
    assert {name for pair in modules for name in pair} <= {
        "@jupyter-widgets/base", "@jupyter-widgets/controls", None,
    }  # fmt: skip
    assert all(re.fullmatch(r"[~^]?\d+\.\d+\.\d+", model["model_module_version"]) for model in models.values())
    names = {model["model_name"] for model in models.values()}
    assert {"VBoxModel", "HTMLModel", "ButtonModel"} <= names
    assert not names & {"DOMWidgetModel", "AnyModel", "OutputModel"}


def test_a_frontend_takes_the_widget_while_it_lives_and_html_after(
    running: tuple[RunWidget, Page, FakeAio],
) -> None:
    """In the order of VS Code; our own MIME type is one that it does not know and passes over."""
    widget, page, aio = running
    assert [mime for mime in VS_CODE if mime in page.picture] == [VIEW, "text/html", "text/plain"]
    assert RUN_MIME in page.picture and RUN_MIME not in VS_CODE
    aio.push(classifying(state="done", tasks=(TaskView(name="classify", state="done"),)))
    widget.wait()
    assert [mime for mime in VS_CODE if mime in page.picture] == ["text/html", "text/plain"]
    assert "✓ done" in page.picture["text/html"]
    assert set(map(type, (page.picture["text/html"], page.picture["text/plain"]))) == {str}


def test_what_a_model_wrote_is_no_script_in_a_widget_nor_in_html() -> None:
    aio, page = FakeAio(classifying(name=EVIL)), Page()
    widget = shown(aio, page)
    state = saved_state()
    views = [
        model["state"].get("value", "") for model in reached(state, page.picture[VIEW]["model_id"]).values()
    ]
    widget.close()
    for html in (*views, page.picture["text/html"]):
        assert not re.search(r"<script|<img|<iframe|\son\w+=|javascript:", html, re.I)


def test_a_widget_that_was_saved_says_of_when_it_is(running: tuple[RunWidget, Page, FakeAio]) -> None:
    """The tab was closed in the middle of the run: nbviewer, nbconvert and VS Code show the widget as it was saved, and
    no kernel is behind it."""
    _, page, _ = running
    state = saved_state()
    views = [
        model["state"].get("value", "") for model in reached(state, page.picture[VIEW]["model_id"]).values()
    ]
    assert len(AS_OF.findall("".join(map(str, views)))) == 1
    html, _ = HTMLExporter().from_notebook_node(saved(page, state))
    assert page.picture[VIEW]["model_id"] in html, "nbconvert takes the widget where its state is in the file"
    assert AS_OF.search(html)


def test_without_the_state_of_widgets_html_is_what_is_shown(running: tuple[RunWidget, Page, FakeAio]) -> None:
    """As GitHub has it, and every file of a frontend that saves no state; with the state of other widgets too."""
    _, page, _ = running
    for state in (None, {}):
        for exporter in (HTMLExporter(), MarkdownExporter()):
            text, _ = exporter.from_notebook_node(saved(page, state))
            assert "running" in text and AS_OF.search(text)
            assert page.picture[VIEW]["model_id"] not in text


def test_after_the_end_nothing_of_a_widget_is_left_in_the_file(
    running: tuple[RunWidget, Page, FakeAio],
) -> None:
    """Also where the frontend saved the state of the widgets that were."""
    widget, page, aio = running
    model = page.picture[VIEW]["model_id"]
    state = saved_state()
    aio.push(classifying(state="done", tasks=(TaskView(name="classify", state="done"),)))
    widget.wait()
    html, _ = HTMLExporter().from_notebook_node(saved(page, state))
    outputs = html[html.index("<body") : html.index(STATE)]
    assert "✓ done" in outputs and "running" not in outputs
    assert model not in outputs and VIEW not in outputs
