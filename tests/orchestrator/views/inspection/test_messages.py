"""Messages of calls: rendered again, and known to be the ones that were sent."""

from __future__ import annotations

from pathlib import Path

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
