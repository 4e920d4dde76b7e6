"""Messages of calls: rendered again, and known to be the ones that were sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.orchestrator.views.inspection import messages
from po_jupyter.store.keyed.memory import MemoryStore
from tests.support.engine import RUN
from tests.support.run_page import MAP, ROWS, RunPage


async def test_messages_of_a_row_of_a_selection_are_those_of_its_own_item(tmp_path: Path) -> None:
    page = RunPage(tmp_path, ["a", "f", "p"])
    chosen = {
        "name": "label", "prompt": "Is {{ item }}?", "max_concurrency": 1,
        "for_each": "{{ seed.rows | map(attribute='text') | sort }}",
    }  # fmt: skip
    page.bench.create([chosen], {"rows": ROWS})
    assert await page.bench.go() == "done"
    call = await page.inspection.call(RUN, "me", 1)
    assert (call["messages"][0]["content"], call["exact"]) == ("Is fig?", True)


async def test_a_call_is_shown_with_its_messages_as_they_were_sent(tmp_path: Path) -> None:
    page = RunPage(tmp_path, ["green", "red", "blue"])
    page.bench.create([{**MAP, "system": "Be short.", "max_concurrency": 1}], {"rows": ROWS})
    assert await page.bench.go() == "done"
    listed = await page.inspection.calls(RUN, "me", task="label", row=1)
    (call,) = listed["calls"]
    assert (call["task"], call["row"], call["kind"], call["state"]) == ("label", 1, "inference", "done")
    assert call["input_tokens"] is not None
    whole = await page.inspection.call(RUN, "me", call["n"])
    assert whole["messages"] == [
        {"role": "system", "content": "Be short."}, {"role": "user", "content": "Label apple"},
    ]  # fmt: skip
    assert whole["rendered"]
    assert whole["exact"]
    assert whole["answer"] == "red"
    assert whole["schema"] is None
    assert whole["error"] is None


async def test_a_question_that_asked_again_is_shown_with_the_answer_that_did_not_fit(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    page = RunPage(tmp_path, ['{"n": "x"}', '{"n": 1}'])
    page.bench.create([{"name": "ask", "prompt": "How many?", "output": schema}])
    assert await page.bench.go() == "done"
    second = await page.inspection.call(RUN, "me", 1)
    assert (second["round"], second["schema"]) == (1, schema)
    assert [m["role"] for m in second["messages"]] == ["user", "assistant", "user"]
    assert second["exact"]


async def test_messages_that_code_made_are_not_guessed(tmp_path: Path) -> None:
    page = RunPage(tmp_path, ["hello"])
    source = "def inference(ctx):\n    return ctx.llm.chat('secret plan').text\n"
    page.bench.create([{"name": "ask", "source": source}])
    assert await page.bench.go() == "done"
    call = await page.inspection.call(RUN, "me", 0)
    assert call["messages"] is None
    assert "hash" in call["why"]
    assert call["answer"] == "hello"


async def test_what_is_too_large_to_render_is_said_and_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = RunPage(tmp_path, [*(letter * 1000 for letter in "abcdefgh"), "short"])
    both = {"name": "both", "prompt": "{{ tasks.label | length }}"}
    page.bench.create([MAP, both], {"rows": [{"text": str(i)} for i in range(8)]})
    assert await page.bench.go() == "done"
    monkeypatch.setattr(messages, "_LARGEST", 2500)
    read: list[object] = []
    payload = MemoryStore.payload

    def counted(self: MemoryStore, run: str, ref: Any) -> Any:
        read.append(ref)
        return payload(self, run, ref)

    monkeypatch.setattr(MemoryStore, "payload", counted)
    call = await page.inspection.call(RUN, "me", 8)
    assert (call["task"], call["messages"]) == ("both", None)
    assert "too large" in call["why"]
    assert len(read) < 6


async def test_a_large_seed_is_not_written_out_to_learn_that_it_is_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = RunPage(tmp_path, ["green", "red", "blue"])
    page.bench.create([{**MAP, "max_concurrency": 1}], {"rows": ROWS, "more": "x" * 5000})
    assert await page.bench.go() == "done"
    monkeypatch.setattr(messages, "_LARGEST", 4000)
    dumps, sizes = json.dumps, [0]

    def measured(*args: Any, **options: Any) -> str:
        text = dumps(*args, **options)
        sizes.append(len(text))
        return text

    monkeypatch.setattr(json, "dumps", measured)
    call = await page.inspection.call(RUN, "me", 0)
    assert "too large" in call["why"]
    assert max(sizes) < 5000
