"""The session of a kernel: one client, one live view for a run, and expressions of the notebook."""

from __future__ import annotations

import types
from types import SimpleNamespace
from typing import Any

import pytest

from po_jupyter.errors import InvalidInput, Unavailable
from po_jupyter.kernel.errors import CellError
from po_jupyter.kernel.session import Session, end_message
from po_jupyter.model.pipeline.parsing import validate_pipeline
from tests.support.cli import make_view

MINE = validate_pipeline({"name": "mine", "tasks": [{"name": "a", "prompt": "x"}]})


class Client:
    """A client with these notes; `aio.pipeline` and `pipelines` know what is registered."""

    def __init__(self, *notes: str) -> None:
        self.notes = notes
        self.registered: dict[str, Any] = {}
        self.there: list[str] = []
        self.closed = False
        self.aio = self

    def call(self, work: Any) -> Any:
        return work()

    def pipeline(self, name: str) -> Any:
        def find() -> Any:
            from po_jupyter.errors import NotFound

            if name not in self.registered:
                raise NotFound("no")
            return self.registered[name]

        return find

    def pipelines(self) -> list[dict[str, Any]]:
        return [{"name": name} for name in self.registered]

    def run(self, name: str) -> str:
        return f"run {name}"

    def runs(self, limit: int) -> list[str]:
        return self.there[:limit]

    def close(self) -> None:
        self.closed = True


class Rig:
    """A session whose client is `client`; `connects` has `start` of each connection."""

    def __init__(self, **variables: Any) -> None:
        self.client = Client("a note")
        self.connects: list[bool] = []
        self.reachable = True
        shell: Any = types.SimpleNamespace(
            user_ns={**variables, "_hidden": 1}, user_global_ns=variables, execution_count=1, kernel=None,
            display_pub=types.SimpleNamespace(publish=self._publish),
        )  # fmt: skip
        self.published: list[tuple[Any, dict[str, Any]]] = []
        self.shell = shell
        self.session = Session(shell, self._connect)

    def _publish(self, bundle: Any, **more: Any) -> None:
        self.published.append((bundle, more))

    def _connect(self, *, start: bool = True) -> Any:
        self.connects.append(start)
        if not self.reachable and not start:
            raise Unavailable("no orchestrator is running")
        return self.client


# -- the orchestrator ------------------------------------------------------------------------------------
def test_it_connects_at_the_first_request_and_once(capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig()
    assert rig.connects == []
    assert rig.session.client() is rig.session.client() is rig.session.running_client()
    assert rig.connects == [True]
    assert capsys.readouterr().out == "a note\n"
    rig.session.forget_client()
    rig.session.client()
    assert rig.connects == [True, True]


def test_what_only_looks_starts_no_orchestrator() -> None:
    rig = Rig()
    rig.reachable = False
    assert rig.session.running_client() is None
    assert rig.connects == [False]
    rig.reachable = True
    assert rig.session.running_client() is rig.client


def test_without_a_name_the_newest_run_is_meant() -> None:
    rig = Rig()
    with pytest.raises(CellError, match="no runs yet"):
        rig.session.find_run(None)
    rig.client.there = ["newest", "older"]
    assert rig.session.find_run(None) == "newest"
    rig.client.run = lambda name: SimpleNamespace(id=name, view=SimpleNamespace(state="done"))
    assert rig.session.find_run("7f3a").id == "7f3a"


def test_closing_leaves_nothing_open() -> None:
    rig = Rig()
    rig.session.client()
    rig.session.close()
    assert rig.client.closed
    rig.session.close()
    assert rig.connects == [True]


def test_without_a_frontend_only_text_is_published_again() -> None:
    """A console and `nbclient` would print every picture of a live view below the last one."""
    rig = Rig()
    rig.session.publish({"text/plain": "a", "text/html": "b"}, "id", False)
    rig.session.publish({"text/plain": "a", "text/html": "b"}, "id", True)
    rig.session.publish({"text/html": "b"}, "id", True)
    assert [bundle for bundle, _ in rig.published] == [
        {"text/plain": "a", "text/html": "b"},
        {"text/plain": "a"},
    ]
    rig.shell.kernel = object()
    rig.session.publish({"text/html": "b"}, "id", True)
    assert rig.published[-1] == ({"text/html": "b"}, {"transient": {"display_id": "id"}, "update": True})


@pytest.mark.parametrize(("kernel", "used"), [(None, False), (True, True), (False, False)])
def test_widgets_are_for_those_who_answer(kernel: bool | None, used: bool) -> None:
    """nbclient and papermill take no input, and nobody sees their widgets."""
    rig = Rig()
    rig.shell.kernel = None if kernel is None else types.SimpleNamespace(_allow_stdin=kernel)
    assert rig.session._widgets_are_used is used


# -- expressions -----------------------------------------------------------------------------------------
def test_an_expression_sees_the_names_of_the_notebook() -> None:
    rows = [1, 2]
    assert Rig(rows=rows).session.evaluate("seed", " {'rows': rows} ") == {"rows": [1, 2]}


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("rows[", "`--seed rows[` is not a Python expression: "),
        ("rows\0", "is not a Python expression"),
        ("row", "name 'row' is not defined; did you mean `rows`?"),
        ("hidden", "name 'hidden' is not defined"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("rows['a\\nb']", "TypeError: list indices"),
        ("[][0]", "IndexError"),
    ],
)
def test_an_expression_that_fails_is_told_in_one_line(expression: str, message: str) -> None:
    """P11: no traceback of a compiled string; private names are no suggestion."""
    with pytest.raises(CellError) as caught:
        Rig(rows=[1]).session.evaluate("seed", expression)
    text = str(caught.value)
    assert message in text
    assert "_hidden" not in text
    assert len(text.splitlines()) == 1


# -- pipelines -------------------------------------------------------------------------------------------
def test_a_pipeline_of_a_cell_wins_over_a_registered_one_and_asks_nobody() -> None:
    rig = Rig()
    rig.session.pipelines["mine"] = MINE
    assert rig.session.definition("mine") is MINE
    assert rig.connects == []
    rig.client.registered["theirs"] = {
        **MINE.to_json(),
        "name": "theirs",
        "revision": "abc",
        "updated_at": "now",
    }
    assert rig.session.definition("theirs").name == "theirs"


def test_a_pipeline_that_is_none_is_told_with_those_of_both_places() -> None:
    rig = Rig()
    with pytest.raises(InvalidInput, match="there is no pipeline `mine`") as caught:
        rig.session.definition("mine")
    assert caught.value.hint == "Define it in a cell: %%po_pipeline mine"
    rig.session.pipelines["mine"] = MINE
    rig.client.registered["theirs"] = {}
    with pytest.raises(InvalidInput, match="did you mean `theirs`") as caught:
        rig.session.definition("thiers")
    assert caught.value.hint.endswith("There are: mine, theirs")


# -- the end of a run ------------------------------------------------------------------------------------
def test_the_message_of_a_failed_run_says_what_why_and_what_next_once() -> None:
    error = {
        "code": "stage_failed",
        "message": "ingestion raised ValueError",
        "hint": "Look.\nThere.",
        "details": {},
    }
    run = make_view("failed", error=error)
    lines = end_message(run).splitlines()
    assert lines[0] == f"run {run.id[-6:]} of {run.pipeline} ended failed"
    assert sum("ingestion raised ValueError" in line for line in lines) == 1
    assert "  There." in lines
    assert run.id[-6:] in lines[-1]
    assert len(lines) == len(set(lines))
