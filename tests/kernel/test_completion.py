"""Completion by Tab in a real IPython shell, as the kernel and the terminal ask for it."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter

from po_jupyter.cli.main import po
from po_jupyter.kernel import load, unload
from tests.support.kernel import Notebook

CELL = """%%po_pipeline tickets --run --seed rows
llm: {model: ope}
tasks:
  - name: label
    for_each: "{{ seed.rows }}"
    prompt: "{{ item. }}"
    sys
  - name: sum
    needs: la
"""


@pytest.fixture
def book(notebook: Notebook) -> Notebook:
    unload(notebook.shell)
    load(notebook.shell, verbs=lambda: po, connect=notebook.connect)

    async def models(**_: Any) -> list[dict[str, Any]]:
        return [
            {"ref": "openai:gpt-5-mini", "usable": True}, {"ref": "openai:o9", "usable": False},
            {"ref": "local:smollm2-135m", "usable": True},
        ]  # fmt: skip

    notebook.aio.models = models
    return notebook


def offered(book: Notebook, marked: str) -> list[str]:
    """What a kernel answers to Tab at the mark."""
    at = marked.index("¦")
    text = marked.replace("¦", "")
    with provisionalcompleter():
        found = list(book.shell.Completer.completions(text, at))
    return [completion.text for completion in found]


def test_fields_tasks_and_models_of_a_cell(book: Notebook) -> None:
    assert offered(book, CELL.replace("    sys\n", "    sys¦\n")) == ["system: "]
    assert offered(book, CELL.replace("needs: la", "needs: la¦")) == ["label"]
    assert offered(book, CELL.replace("ope}", "ope¦}")) == ["openai:gpt-5-mini"]


def test_names_of_the_seed_are_those_of_the_variable(book: Notebook) -> None:
    """No code of the notebook runs for it."""
    marked = CELL.replace("item. ", "item.¦ ")
    book.shell.user_ns["rows"] = [{"text": "x", "id": 1}]
    assert offered(book, marked) == ["text", "id"]
    assert offered(book, marked.replace("--seed rows", "--seed '[{\"title\": 1}]'")) == ["title"]
    pandas = pytest.importorskip("pandas")
    book.shell.user_ns["rows"] = pandas.DataFrame({"body": ["x"], "a b": [1]})
    assert offered(book, marked) == ["body"]
    book.shell.user_ns["ran"] = []
    offered(book, marked.replace("--seed rows", "--seed ran.append(1)"))
    assert book.shell.user_ns["ran"] == []


def test_tab_runs_nothing_of_what_the_seed_names(book: Notebook) -> None:
    """A property of the notebook's object ran, also one below a list or a mapping."""
    ran: list[str] = []

    class Trap:
        @property
        def columns(self) -> list[str]:
            ran.append("columns")
            return ["c"]

        @property
        def data(self) -> dict[str, int]:
            ran.append("data")
            return {"d": 1}

        @property
        def __class__(self) -> type:
            ran.append("class")
            return dict

        def __str__(self) -> str:
            ran.append("str")
            return "s"

    class Rows(dict[str, object]):
        def items(self) -> Any:
            ran.append("items")
            return super().items()

    inner = [{"text": Trap(), "id": 1}]
    for seed, names in (
        (Trap(), []), (Rows(a=1), []), (inner, ["text", "id"]), ({"rows": inner}, ["text", "id"]),
        ({Trap(): 1, "rows": [Trap()]}, []), ([Rows(a=1)], []),
    ):  # fmt: skip
        book.shell.user_ns["rows"] = seed
        ran.clear()
        assert offered(book, CELL.replace("item. ", "item.¦ ")) == names
        assert ran == []


def test_options_of_the_cells_line(book: Notebook) -> None:
    assert offered(book, "%%po_pipeline a --dr¦\n") == ["--dry-run"]
    assert "--limit" in offered(book, "%%po_pipeline a --run --¦\n")
    assert "--run" not in offered(book, "%%po_pipeline a --run --¦\n")
    assert offered(book, "%%po_pipeline a --model loc¦\ntasks:\n") == ["local:smollm2-135m"]
    assert offered(book, "%%po_pipeline a --cache re¦\n") == ["refresh"]
    book.shell.user_ns["my_rows"] = []
    assert offered(book, "%%po_pipeline a --seed my_ro¦\n") == ["my_rows"]


def test_verbs_options_and_runs_of_a_line(book: Notebook) -> None:
    assert offered(book, "%po sho¦") == ["show"]
    assert "doctor" in offered(book, "%po do¦")
    short = book.aio.view.id[-6:]
    assert [short.endswith(one) or one.endswith(short) for one in offered(book, "%po show ¦")] == [True]
    assert offered(book, "x = 1\n%po show --fa¦") == ["--failed"]
    assert offered(book, "%po runs --state fa¦") == ["failed"]
    assert "--usable" in offered(book, "%po models --u¦")
    book.cell("%%po_pipeline mine\ntasks:\n  - {name: a, prompt: x}\n")
    assert offered(book, "%po run mi¦") == ["mine"]


def test_other_cells_are_ipythons_own(book: Notebook) -> None:
    book.shell.user_ns["tasks_of_mine"] = 1
    assert offered(book, "tasks_of¦") == ["tasks_of_mine"]
    assert "tasks_of_mine" in offered(book, "%%timeit\ntasks_of¦")


def test_without_an_orchestrator_the_fields_are_still_there(book: Notebook) -> None:
    """And none is started."""
    book.reachable = False
    assert offered(book, CELL.replace("    sys\n", "    sys¦\n")) == ["system: "]
    assert offered(book, "%po show abc¦") == []
    assert book.started == 0


def test_unload_takes_it_away(book: Notebook) -> None:
    unload(book.shell)
    assert book.shell.Completer.custom_matchers == []
    load(book.shell, connect=book.connect)
    load(book.shell, connect=book.connect)
    assert len(book.shell.Completer.custom_matchers) == 1


def test_tab_leaves_the_help_of_a_verb_as_it_is(book: Notebook) -> None:
    """After Tab in a kernel `%po demo -h` was `No such option: -h`: click keeps the help option that came first."""
    demo = po.get_command(po.make_context("po", [], resilient_parsing=True), "demo")
    assert demo is not None
    demo._help_option = None  # as in a new process
    assert "--help" in offered(book, "%po demo --he¦")
    option = demo.get_help_option(
        demo.make_context("demo", [], parent=po.make_context("po", [], resilient_parsing=True))
    )
    assert option is not None and option.opts == ["-h", "--help"]
