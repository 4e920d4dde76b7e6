"""A replay says of each exchange whether the product reads it as it stands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.testing.replay.runner import counted, replay

pytestmark = pytest.mark.integration

URL = "https://api.openai.com/v1/chat/completions"


def cassette(folder: Path, name: str, response: dict[str, Any], status: int = 200, url: str = URL) -> None:
    request = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
    interaction = {
        "request": {"parsed_body": request, "uri": url, "method": "POST"},
        "response": {"parsed_body": response, "status": {"code": status}, "headers": {}},
    }
    (folder / f"{name}.yaml").write_text(json.dumps({"interactions": [interaction]}))


def answer(text: str, finish: str = "stop", **more: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    message = {"role": "assistant", "content": text, **more}
    return {
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": usage,
    }


async def test_answers_and_errors_are_right(tmp_path: Path) -> None:
    cassette(tmp_path, "answer", answer("Hi"))
    cassette(tmp_path, "cut", answer("Hi", "length"))
    cassette(tmp_path, "refused", answer("", "content_filter"))
    cassette(tmp_path, "empty", answer(""))
    cassette(tmp_path, "denied", {"error": {"message": "no such model"}}, 404)
    cassette(tmp_path, "other", {"data": []}, url="https://api.openai.com/v1/moderations")
    verdicts = {r.exchange.source.partition(".")[0]: r.verdict async for r in replay(tmp_path)}
    assert verdicts.pop("other") == "other"
    assert set(verdicts.values()) == {"right"}


async def test_a_part_that_is_read_otherwise_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from po_jupyter.testing.replay import runner

    cassette(tmp_path, "answer", answer("Hi"))
    monkeypatch.setattr(
        runner,
        "read",
        lambda exchange, api: runner.AnswerReading("Ho", finish="stop", input_tokens=9, output_tokens=5),
    )
    (result,) = [r async for r in replay(tmp_path)]
    assert result.verdict == "wrong"
    assert result.differences == ("text: 'Hi' is read, 'Ho' is there", "output tokens: 4 is read, 5 is there")
    assert list(counted([result])) == ["openai           0 right    1 wrong    0 other"]


def test_the_command_counts_by_provider(tmp_path: Path) -> None:
    cassette(tmp_path, "answer", answer("Hi"))
    command = [sys.executable, "-m", "po_jupyter.testing.replay", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["openai           1 right    0 wrong    0 other", "1 exchanges"]
