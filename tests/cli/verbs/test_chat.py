"""`po chat`: one question, its answer on stdout, and everything else beside it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from po_jupyter.cli.verbs import chat as verb
from po_jupyter.client import default
from po_jupyter.model.run.answer import Answer
from po_jupyter.model.run.usage import Usage
from tests.support.cli import FakeClient
from tests.support.runs import run_view

RUN = SimpleNamespace(id="0192f0c3a1b2deadbe7f3a", short="be7f3a")


class Model:
    """Answers every question; `asked` are the questions with their options."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answer = Answer(
            "four\x1b[2J", {"n": 4}, Usage(calls=1, input_tokens=9, cost=0.01), "openai:x", RUN
        )

    def __call__(self, text: str, **options: Any) -> Answer:
        self.asked.append((text, options))
        return self.answer


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, client: FakeClient) -> Model:
    made = Model()
    monkeypatch.setattr(default, "chat", made)
    return made


def test_the_answer_is_on_stdout_and_what_it_cost_beside_it(po: Any, model: Model, client: FakeClient) -> None:
    """A pipe gets the answer alone; P6: it commands no terminal."""
    code, out, err = po("chat", "2 + 2?")
    assert code == 0
    assert out.startswith("four")
    assert "\x1b" not in out
    assert len(out.splitlines()) == 1
    assert "openai:x" in err
    assert "run be7f3a" in err
    assert client.started == [True]


def test_json_has_text_value_usage_and_run(po: Any, model: Model) -> None:
    code, out, err = po("chat", "2 + 2?", "--json")
    data = json.loads(out)
    assert (code, err) == (0, "")
    assert (data["text"], data["value"], data["model"], data["run"]) == (
        "four\x1b[2J",
        {"n": 4},
        "openai:x",
        RUN.id,
    )
    assert data["usage"]["input_tokens"] == 9
    assert model.asked[0][1]["watch"] is None


def test_options_go_along_and_those_left_out_are_none(po: Any, model: Model) -> None:
    po("chat", "hi", "--model", "openai:x", "--system", "Be brief.", "--image", "a.png", "--image", "b.png",
       "--tool", "files.add", "--temperature", "0", "--max-tokens", "5", "--budget", "0.5", "--fresh",
       "--skip-validation", "--schema", '{"type": "integer"}')  # fmt: skip
    text, options = model.asked[0]
    expected = {
        "model": "openai:x", "system": "Be brief.", "images": ("a.png", "b.png"), "tools": ("files.add",),
        "temperature": 0, "max_tokens": 5, "budget": 0.5, "fresh": True, "skip_validation": True,
        "schema": {"type": "integer"},
    }  # fmt: skip
    assert text == "hi"
    assert {name: options[name] for name in expected} == expected
    po("chat", "hi")
    left_out = ("model", "system", "temperature", "max_tokens", "budget", "schema")
    assert [model.asked[1][1][name] for name in left_out] == [None] * len(left_out)


def test_prompt_and_schema_come_from_stdin_and_file(
    po: Any, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s.json").write_text('{"type": "array"}')
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("é?".encode())))
    assert po("chat", "-", "--schema", f"@{tmp_path / 's.json'}")[0] == 0
    assert model.asked[0][0] == "é?"
    assert model.asked[0][1]["schema"] == {"type": "array"}


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["  "], "the prompt is empty"),
        (["x", "--budget", "label=2"], "a chat has one task"),
        (["x", "--schema", "{"], "--schema"),
        (["x", "--schema", "@nowhere.json"], "nowhere.json"),
        (["x", "--temperature", "3"], "temperature"),
    ],
)
def test_a_wrong_question_is_not_asked(po: Any, model: Model, args: list[str], says: str) -> None:
    """P11."""
    code, _, err = po("chat", *args)
    assert code in (1, 2)
    assert says in err
    assert model.asked == []


def test_a_wait_is_told_once_and_not_for_ever(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer may be a minute away, and silence looks like a fault; a script's stderr is no place for a clock."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(verb, "time", SimpleNamespace(monotonic=lambda: clock.now))
    lines = verb._WaitLines()

    def heard(waiting: str | None, state: str = "running", run_waits: str | None = None) -> str:
        lines(
            run_view(
                state=state, waiting=run_waits, tasks=[{"name": "a", "state": "running", "waiting": waiting}]
            )
        )
        return capsys.readouterr().err

    assert "waiting for openai\x1b" not in heard(None)
    assert "waiting for openai" in heard("waiting for openai\x1b[2J")
    clock.now += 60
    assert heard("waiting for openai\x1b[2J") == "", "the same again"
    assert "a full disk" in heard("waiting", run_waits="a full disk")
    clock.now += 5
    assert heard("waiting for anthropic") == "", "too soon"
    clock.now += 6
    assert "anthropic" in heard("waiting for anthropic")
    clock.now += 60
    assert heard("waiting", state="done") == ""
