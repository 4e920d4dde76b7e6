"""Recordings: read as they were written, without secrets, and never as somebody changed them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import InvalidInput
from po_jupyter.prompt_tests.recordings import (
    read_recordings,
    recording_of,
    request_digest,
    sealed,
    write_recordings,
)
from po_jupyter.telemetry.redaction import Redactor

SECRET = "sk-verysecretkey123"
ANSWER: dict[str, Any] = {
    "case": "one", "request": "d", "provider": "openai", "path": "/responses", "status": 200,
    "type": "application/json", "body": {"text": f"\x1b[2J\u2028 the key is {SECRET}", "\ud800": 1},
}  # fmt: skip


def test_answers_are_read_as_they_were_written(tmp_path: Path) -> None:
    cases = tmp_path / "test_labels.po.yaml"
    assert recording_of(cases).name == "test_labels.po.recorded.jsonl"
    assert read_recordings(cases) == []
    write_recordings(cases, [sealed(ANSWER, Redactor()), sealed({**ANSWER, "body": "text\n"}, Redactor())])
    first, second = read_recordings(cases)
    assert first["body"] == ANSWER["body"] and second["body"] == "text\n"


def test_a_secret_is_never_written(tmp_path: Path) -> None:
    cases = tmp_path / "po_tests.yaml"
    write_recordings(cases, [sealed(ANSWER, Redactor([SECRET]))])
    assert SECRET not in recording_of(cases).read_text()
    assert "********" in read_recordings(cases)[0]["body"]["text"]


def test_a_line_that_was_changed_by_hand_names_itself_and_the_command(tmp_path: Path) -> None:
    cases = tmp_path / "po_tests.yaml"
    good = sealed(ANSWER, Redactor())
    edited = {**good, "body": {"text": "what I want"}}
    for text, message in (
        (json.dumps(edited), "was changed by hand"),
        (json.dumps({**good, "seal": "x"}), "was changed by hand"),
        (json.dumps({**good, "extra": 1}), "is no recorded answer"),
        ("[" * 100_000, "is not JSON"),
        ("{", "is not JSON"),
        ("[]", "is no recorded answer"),
    ):
        recording_of(cases).write_text(f"{json.dumps(good)}\n{text}\n")
        with pytest.raises(InvalidInput, match=f"line 2 of the recorded answers .* {message}") as error:
            read_recordings(cases)
        assert f"po test {cases} --live" in error.value.hint


def test_a_request_is_the_same_however_its_fields_stand_and_its_answer_comes() -> None:
    digest = request_digest("openai", "POST", "/responses", b'{"a": 1, "b": 2}')
    assert request_digest("openai", "POST", "/responses", b'{"b":2,"a":1,"stream":true}') == digest
    assert request_digest("openai", "POST", "/responses", b'{"a": 1, "b": 3}') != digest
    assert request_digest("groq", "POST", "/responses", b'{"a": 1, "b": 2}') != digest
    assert request_digest("openai", "POST", "/files", b"\xff") != request_digest(
        "openai", "POST", "/files", b"\xfe"
    )
