"""A look into one run: what is asked, and what is left out of the query."""

from __future__ import annotations

from typing import Any

from po_jupyter.client.http.inspection import RunInspector


class Recorder:
    """A transport that keeps what it is asked."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.asked = answer, list[tuple[str, str, Any]]()

    async def json(self, method: str, path: str, params: Any = None) -> Any:
        self.asked.append((method, path, params))
        return self.answer


async def test_each_question_has_its_route_and_no_empty_field() -> None:
    transport: Any = Recorder({"call": {"n": 3}, "rows": [], "calls": []})
    inspector = RunInspector(transport)
    await inspector.row_table("a/b", "la bel", start=0, state=None, q="x")
    await inspector.model_calls("r", task=None, row=2)
    assert (await inspector.model_call("r", 3))["n"] == 3
    await inspector.run_pipeline("r")
    assert await inspector.provenance("r", "m") == []
    assert transport.asked == [
        ("GET", "runs/a%2Fb/tasks/la%20bel/rows", {"start": 0, "q": "x"}),
        ("GET", "runs/r/model-calls", {"row": 2}),
        ("GET", "runs/r/model-calls/3", None),
        ("GET", "runs/r/pipeline", None),
        ("GET", "runs/r/provenance", {"task": "m"}),
    ]
