"""The outputs of a run as a mapping: each is asked for once, and again when its task was done again."""

from __future__ import annotations

from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any, cast

import pytest

from po_jupyter.client.run_outputs import RunOutputs, not_ended
from po_jupyter.errors import Unavailable
from po_jupyter.model.run.view import RunView
from tests.support.cli import make_view


class Handle:
    """A run whose client counts what is asked."""

    id, short = "0123", "0123"

    def __init__(self, view: RunView) -> None:
        self.view = view
        self.asked: list[str] = []
        self.client: Any = self
        self.aio = SimpleNamespace(outputs=self._outputs)

    async def _outputs(self, run: str, name: str) -> dict[str, Any]:
        self.asked.append(name)
        return {name: f"{name} {len(self.asked)}"}

    def call(self, request: Coroutine[Any, Any, Any]) -> Any:
        try:
            request.send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("it waits for nothing")


def test_an_output_is_asked_for_once_until_its_task_ends_again() -> None:
    run = Handle(make_view("done"))
    outputs = RunOutputs(run)
    assert list(outputs) == ["extract", "label"]
    assert (outputs["extract"], outputs["extract"], run.asked) == ("extract 1", "extract 1", ["extract"])
    later = run.view.tasks[0].model_copy(update={"ended_at": "2026-11-23T12:00:00.000Z"})
    run.view = run.view.model_copy(update={"tasks": (later, *run.view.tasks[1:])})
    assert outputs["extract"] == "extract 2"


def test_what_is_not_there_is_said() -> None:
    outputs = RunOutputs(Handle(make_view("pending")))
    with pytest.raises(KeyError, match="did you mean `label`") as raised:
        outputs["lable"]
    assert hasattr(raised.value, "_render_traceback_")  # a cell shows its own line alone
    with pytest.raises(KeyError, match="it is pending"):
        outputs["label"]
    assert (len(outputs), repr(outputs)) == (1, "<outputs of run 0123: extract>")


def test_a_wait_that_is_over_says_how_the_run_stands_or_why_nobody_knows() -> None:
    run = Handle(make_view("waiting", gate={"task": "label"}))
    assert not_ended(run, 2).endswith("has not ended within 2 s, and goes on: it is waiting for a decision")

    class Away:
        short = "0123"

        @property
        def view(self) -> RunView:
            raise Unavailable("no orchestrator answers")

    assert "no orchestrator answers" in not_ended(cast(Any, Away()), 2)
