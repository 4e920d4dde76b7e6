"""Requests for embeddings: what is read of them, what goes out, and what they may take."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.hub.problems import GatewayProblem
from po_jupyter.hub.wires.embedding_requests import bound_embeddings
from po_jupyter.hub.wires.operations import Api

MODEL = "text-embedding-3-small"
TEXT: dict[str, Any] = {"content": {"parts": [{"text": "x"}]}}


@pytest.mark.parametrize(
    "input", ["a text", ["a", "b"], [1, 2, 3], [[1, 2], [3]], ["a", [4]], ["x"] * 256, [7] * 8000]
)
def test_texts_and_tokens_are_input_alone(input: object) -> None:
    bounded = bound_embeddings("embeddings", {"model": "any", "input": input})
    bounded.set_model(f"openai:{MODEL}")
    assert (bounded.output_bound(f"openai:{MODEL}", 500), bounded.thinks, bounded.stream) == (0, False, False)
    assert bounded.body == {"model": MODEL, "input": input}
    size = len(bounded.encoded())
    assert bounded.input_bound(f"openai:{MODEL}", size) >= size


@pytest.mark.parametrize("body", [TEXT, {"requests": [TEXT, {**TEXT, "model": "models/m"}]}])
def test_each_text_of_geminis_is_for_the_model_of_the_list(body: dict[str, Any]) -> None:
    bounded = bound_embeddings("gemini_embeddings", body, path_model="m")
    bounded.set_model("gemini:gemini-embedding-001")
    requests = bounded.body.get("requests", [bounded.body])
    assert {request["model"] for request in requests} == {"models/gemini-embedding-001"}
    assert bounded.output_bound("gemini:gemini-embedding-001", 500) == 0


def test_a_field_that_an_administrator_allows_is_passed_on() -> None:
    body = {"model": MODEL, "input": "x", "truncate": "END"}
    with pytest.raises(GatewayProblem, match="truncate"):
        bound_embeddings("embeddings", dict(body))
    assert bound_embeddings("embeddings", body, fields=("truncate",)).body["truncate"] == "END"


@pytest.mark.parametrize(
    ("api", "body"),
    [
        ("embeddings", {"model": MODEL, "input": [{"text": "x"}]}), ("embeddings", {"model": MODEL, "input": [[]]}),
        ("embeddings", {"model": MODEL, "input": [[True]]}), ("embeddings", {"model": MODEL, "input": ["x"] * 257}),
        ("gemini_embeddings", {"requests": [{"content": "x"}]}),
        ("gemini_embeddings", {"requests": [{"content": {"parts": [{"text": "x", "fileData": {}}]}}]}),
        ("gemini_embeddings", {"requests": [{**TEXT, "model": "models/other"}]}),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_is_refused(api: Api, body: dict[str, Any]) -> None:
    with pytest.raises(GatewayProblem):
        bound_embeddings(api, body, path_model="m")
