"""What is no message, and what another version added: neither may hurt a reader."""

from __future__ import annotations

import json
from typing import Any

import pytest

from po_jupyter.ipc import messages
from po_jupyter.ipc.messages import FROM_ORCHESTRATOR, TO_ORCHESTRATOR
from po_jupyter.ipc.wire import MalformedMessage


def test_what_another_version_added_is_passed_over() -> None:
    """P1."""
    assert FROM_ORCHESTRATOR.decode(b'{"op":"sing","song":1}') is None
    assert FROM_ORCHESTRATOR.decode(b'{"op":"watched","on":true,"since":4}') == messages.WatchedChanged(True)


@pytest.mark.parametrize(
    "wire",
    [
        {"op": "rate.ask"},
        {"op": "rate.ask", "id": 1, "model": "m", "input": "many", "most": None},
        {"op": "rate.used", "id": [], "ago": 1},
        {"op": "rate.used", "id": True, "ago": 1},
        {"op": "rate.refused", "id": 1, "model": "m", "after": "soon"},
        {"op": "rate.recall", "models": []},
        {"op": "hello", "run": "r", "pid": "7", "created": None, "fence": 3},
    ],
)
def test_fields_that_are_not_of_their_type_make_no_message(wire: dict[str, Any]) -> None:
    """User code lives in workers."""
    with pytest.raises(MalformedMessage):
        TO_ORCHESTRATOR.decode(json.dumps(wire).encode())


@pytest.mark.parametrize("line", [b"", b"nonsense", b"[]", b'"beat"', b"{}", b'{"op":1}', b"\xff"])
def test_a_line_that_is_no_message_is_an_error_of_its_own(line: bytes) -> None:
    with pytest.raises(ValueError) as raised:
        TO_ORCHESTRATOR.decode(line)
    assert not isinstance(raised.value, MalformedMessage)
