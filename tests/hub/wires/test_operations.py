"""Paths that are passed on."""

from __future__ import annotations

import pytest

from po_jupyter.hub.config import Wire
from po_jupyter.hub.wires.operations import find_operation


@pytest.mark.parametrize(
    ("wire", "method", "target", "kind", "path"),
    [
        ("openai", "POST", "/v1/chat/completions", "call", "/chat/completions"),
        ("chat", "POST", "/chat/completions", "call", "/chat/completions"),
        ("openai", "POST", "/v1/responses", "call", "/responses"),
        ("openai", "GET", "/v1/batches?limit=5&after=batch_1", "batches", "/batches"),
        ("openai", "GET", "/v1/files/file-1/content", "content", "/files/file-1/content"),
        ("anthropic", "POST", "/v1/messages", "call", "/v1/messages"),
        ("anthropic", "GET", "/v1/messages/batches/b/results", "results", "/v1/messages/batches/b/results"),
        (
            "gemini",
            "POST",
            "/v1beta/models/gemini-2.5-flash:generateContent",
            "call",
            "/v1beta/models/gemini-2.5-flash:generateContent",
        ),
    ],
)
def test_an_operation_is_found_below_the_base_url(
    wire: Wire, method: str, target: str, kind: str, path: str
) -> None:
    operation = find_operation(wire, method, target)
    assert operation is not None and (operation.kind, operation.path) == (kind, path)


@pytest.mark.parametrize(
    ("wire", "method", "target"),
    [
        ("chat", "POST", "/v1/responses"),
        ("chat", "POST", "/v1/files"),
        ("openai", "GET", "/v1/chat/completions"),
        ("openai", "POST", "v1/chat/completions"),
        ("openai", "POST", ""),
        ("openai", "POST", "/v1/chat/completions?x=1"),
        ("openai", "GET", "/v1/batches?limit=5&limit=6"),
        ("openai", "GET", "/v1/batches?after=../x"),
        ("openai", "GET", "/v1/batches?after=%2e"),
        ("openai", "GET", "/v1/files/../batches"),
        ("openai", "GET", "/v1/files/./x"),
        ("openai", "GET", "/v1/files/a.b"),
        ("openai", "GET", "/v1/batches#x"),
        ("anthropic", "POST", "/v1/messages?beta=true"),
        ("anthropic", "POST", "/messages"),
        ("gemini", "POST", "/v1beta/models/x:streamGenerateContent?alt=json"),
        ("gemini", "POST", "/v1beta/models/x:generateContent?key=AIza"),
        ("gemini", "POST", "/v2/models/x:generateContent"),
        ("gemini", "POST", "/v1beta/models/x:generateContent:generateContent"),
    ],
)
def test_everything_else_is_none(wire: Wire, method: str, target: str) -> None:
    assert find_operation(wire, method, target) is None
