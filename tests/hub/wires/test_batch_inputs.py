"""Inputs of batches are in `tests.hub.test_batches`, through the gateway; here is how their lines add up."""

from __future__ import annotations

import json

import pytest

from po_jupyter.hub.accounts.balances import Demand
from po_jupyter.hub.problems import GatewayProblem
from po_jupyter.hub.wires.batch_inputs import bound_file, bound_requests
from po_jupyter.hub.wires.request_bounds import BoundedRequest


def prepare(request: BoundedRequest) -> tuple[Demand, bytes]:
    ref = f"p:{request.model}"
    nano = None if request.model == "unpriced" else 7
    return Demand("alice", (), ref, 10, request.output_bound(ref, 5), nano), request.encoded()


def row(model: str, n: int) -> dict[str, object]:
    body = {"model": model, "max_tokens": 3, "messages": []}
    return {"custom_id": f"row-{n}", "method": "POST", "url": "/v1/chat/completions", "body": body}


def test_lines_add_up_by_model() -> None:
    data = b"\n\n".join(
        json.dumps(row(model, n)).encode() for n, model in enumerate(["a", "b", "a", "unpriced", "unpriced"])
    )
    found = bound_file(data, (), prepare)
    assert found.lines == 5 and found.counts == (2, 1, 2) and found.endpoint == "/v1/chat/completions"
    assert [(d.model, d.input_tokens, d.output_tokens, d.nano) for d in found.demands] == [
        ("p:a", 20, 6, 14),
        ("p:b", 10, 3, 7),
        ("p:unpriced", 20, 6, None),
    ]
    assert [json.loads(line)["custom_id"] for line in found.data.splitlines()] == [f"row-{n}" for n in range(5)]


def test_a_batch_of_messages_is_written_anew() -> None:
    params = {"model": "a", "max_tokens": 3, "messages": []}
    found = bound_requests(
        json.dumps({"requests": [{"custom_id": '1"]},{', "params": params}] * 2}, indent=1).encode(),
        (),
        prepare,
    )
    assert len(json.loads(found.data)["requests"]) == found.lines == 2


@pytest.mark.parametrize("data", [b"", b"\n\n", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_file_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(GatewayProblem):
        bound_file(data, (), prepare)
