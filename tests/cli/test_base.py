"""Shared parts of the verbs: stdin and JSON."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    "line",
    [("chat", "caf\udce9"), ("chat", "--system", "caf\udce9", "x"), ("run", "x.yaml", "--seed", '"caf\udce9"')],
)
def test_arguments_in_another_encoding_are_said_in_ones_own_words(line: tuple[str, ...], po: Any) -> None:
    """It said: seed.prompt: half a surrogate pair."""
    code, _, err = po(*line)
    assert code == 2
    assert "it is not UTF-8 text: byte 0xe9 behind" in err and "caf" in err


@pytest.mark.parametrize(
    "args",
    [["chat", "-"], ["keys", "set", "openai", "--stdin"], ["run", "tickets", "--seed", "-"], ["submit", "-"]],
)
@pytest.mark.parametrize("errors", ["surrogateescape", "strict"])  # the locale decides
def test_bytes_on_stdin_that_are_no_text_are_one_clear_message(
    args: list[str], errors: str, po: Any, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R1.4, P11: nothing is started, and none of the bytes is repeated."""
    stdin = io.TextIOWrapper(io.BytesIO(b'{"a": "caf\xe9 \xff"}'), encoding="utf-8", errors=errors)
    monkeypatch.setattr(sys, "stdin", stdin)
    code, out, err = po(*args)
    assert (code, out) == (2, "")
    assert "what came from stdin is not UTF-8 text: byte 10" in err
    assert "caf" not in err and "Traceback" not in err
    assert client.submitted == []


def test_what_is_no_json_names_the_option_that_it_was_given_for(po: Any) -> None:
    """P11: the hint of a schema does not speak of --seed."""
    code, _, err = po("chat", "hello", "--schema", "{bad")
    assert code == 2
    assert "the schema is not JSON" in err
    assert "--schema '" in err and "--seed" not in err
