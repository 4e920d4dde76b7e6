"""Answers that a class judges, and answers that no schema can hold (A3, A4, A8)."""

from __future__ import annotations

import builtins
import datetime as dt
import json
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from po_jupyter.engine.prompts.prompt_task import PromptTask
from po_jupyter.errors import StageFailed
from po_jupyter.model.pipeline import patterns
from po_jupyter.model.pipeline.pipeline import Task
from tests.support.engine import Bench

pytestmark = pytest.mark.integration  # classes are built in it: it takes seconds


class Ticket(BaseModel):
    due: dt.date
    text: str = ""

    @field_validator("text")
    @classmethod
    def _is_short(cls, text: str) -> str:
        if len(text) > 3:
            raise ValueError("the text is too long")
        return text


LATE, LONG, RIGHT = '{"due": "next Friday"}', '{"due": "2026-05-31", "text": "abcd"}', '{"due": "2026-05-31"}'
ASKS = "\ndef inference(ctx):\n    return ctx.llm.chat('x', schema=SCHEMA).value\n"


def task(**fields: Any) -> dict[str, Any]:
    given = Task(**{"name": "t", "prompt": "x", "retry": {"max_attempts": 1}, **fields})
    return given.model_dump(mode="json", exclude_defaults=True)


def reasks(bench: Bench) -> list[str]:
    """What was said to the model about its answers."""
    return [request.messages[-1].content for request in bench.fake.requests[1:]]


async def test_the_validators_of_a_class_judge_where_the_run_works(bench: Bench) -> None:
    bench.fake._replies = [LATE, LONG, RIGHT]
    bench.create([task(output=Ticket)])
    assert await bench.go() == "done"
    assert bench.output("t") == {"due": "2026-05-31"}
    first, second = reasks(bench)
    assert 'answer.due is "next Friday", not a date' in first
    assert "the text is too long" in second


async def test_in_a_list_and_in_rows_as_well(bench: Bench) -> None:
    bench.fake._replies = [f"[{LONG}]", f"[{RIGHT}]"]
    bench.create([task(output=list[Ticket], for_each="[1]")])
    assert await bench.go() == "done"
    assert bench.output("t")[0]["output"] == [{"due": "2026-05-31"}]
    assert "the text is too long" in reasks(bench)[0]


async def test_what_is_never_right_is_never_done(bench: Bench) -> None:
    bench.fake._replies = [LONG] * 3
    bench.create([task(output=Ticket)])
    assert await bench.go() == "failed"
    error = bench.state.tasks["t"].error
    assert error is not None
    assert error["code"] == "output_invalid"
    assert "the text is too long" in error["message"]


async def test_of_two_values_the_one_that_the_class_takes_is_taken(bench: Bench) -> None:
    bench.fake._replies = [f"At first {LONG}, at last {RIGHT}"]
    bench.create([task(output=Ticket)])
    assert await bench.go() == "done"
    assert bench.output("t") == {"due": "2026-05-31"}


@pytest.mark.parametrize(
    "source", ["import nowhere_at_all\nAnswer = int", "x = 1", "raise SystemExit", "Answer = object()"]
)
async def test_a_class_that_cannot_be_loaded_costs_nothing(bench: Bench, source: str) -> None:
    """Before anything is sent, and not once for each row."""
    bench.create([task(output={"type": "integer"}, output_type=source, for_each="[1, 2]")])
    assert await bench.go() == "failed"
    error = bench.state.tasks["t"].error
    assert error is not None
    assert "the class of its output cannot be loaded" in error["message"]
    assert bench.fake.requests == []


async def test_a_validator_that_fails_by_itself_is_a_failure_of_the_stage(bench: Bench) -> None:
    source = "import typing, pydantic\nAnswer = typing.Annotated[int, pydantic.AfterValidator(lambda n: 1 / n)]"
    bench.fake._replies = ["0"]
    bench.create([task(output={"type": "integer"}, output_type=source)])
    assert await bench.go() == "failed"
    error = bench.state.tasks["t"].error
    assert error is not None
    assert "parsing raised ZeroDivisionError" in error["message"]


async def test_a_prompt_task_without_load_is_judged_by_its_schema() -> None:
    """An estimate makes one, and runs no code."""
    prompt = PromptTask(Task(name="t", prompt="x", output=Ticket))
    assert prompt.answer is not None
    assert prompt.answer.read(LONG) == (json.loads(LONG), [])
    await prompt.load()
    assert prompt.answer.read(LONG)[1]


@pytest.mark.parametrize(
    "output",
    [
        {"type": ["object", "null"]},
        {"anyOf": [{"type": "object"}, {"type": "null"}]},
        {"type": "null"},
        {"enum": ["a", None]},
        Ticket | None,
    ],
)
async def test_null_is_an_answer_where_the_schema_takes_it(bench: Bench, output: Any) -> None:
    bench.fake._replies = ["null"]
    bench.create([task(output=output), {"name": "after", "prompt": "It was {{ tasks.t }}", "needs": ["t"]}])
    assert await bench.go() == "done"
    assert bench.output("t") is None
    assert len(bench.fake.requests) == 2
    assert bench.fake.requests[1].messages[-1].content == "It was null"


async def test_null_in_rows_and_of_a_python_stage(bench: Bench) -> None:
    bench.fake._replies = ["null"]
    source = "import po_jupyter as po\ndef inference(ctx):\n    return 1\n"
    source += "def integration(ctx):\n    return po.StageResult(output=None)"
    rows = task(output={"type": ["object", "null"]}, for_each="[1]")
    bench.create([rows, {"name": "python", "source": source}])
    assert await bench.go() == "done"
    row = bench.output("t")[0]
    assert (row["ok"], row["output"]) == (True, None)
    assert bench.output("python") is None


async def test_ctx_llm_takes_null_too(bench: Bench) -> None:
    bench.fake._replies = ["null", LATE, RIGHT]
    source = f"SCHEMA = {{'type': ['object', 'null'], 'properties': {{'due': {{'format': 'date'}}}}}}{ASKS}"
    source += "def parsing(ctx):\n    return [ctx.output, ctx.llm.chat('y', schema=SCHEMA).value]\n"
    bench.create([{"name": "t", "source": source, "retry": {"max_attempts": 1}}])
    assert await bench.go() == "done"
    assert bench.output("t") == [None, {"due": "2026-05-31"}]  # None left the output as it was: there was none


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('{"a": 1e400}', "a number that is too large"),
        ('{"a": "\\ud83d"}', "half a surrogate pair"),
        ('{"a": ' + "[" * 150 + "]" * 150 + "}", "nested deeper than 100 levels"),
        ("\ud83d" + '{"a": "\ud83d"}', "half a surrogate pair"),
    ],
)
@pytest.mark.parametrize("python", [False, True])
async def test_what_could_never_be_read_is_asked_again(
    bench: Bench, answer: str, said: str, python: bool
) -> None:
    """A8: it was a permanent failure of the stage."""
    bench.fake._replies = [answer, '{"a": 1}']
    schema = {"type": "object", "required": ["a"]}
    source = {"name": "t", "source": f"SCHEMA = {schema!r}{ASKS}", "retry": {"max_attempts": 1}}
    bench.create([source if python else task(output=schema)])
    assert await bench.go() == "done"
    assert bench.output("t") == {"a": 1}
    assert said in reasks(bench)[0]


@pytest.mark.parametrize("python", [False, True])
async def test_a_text_that_is_none_is_asked_again(bench: Bench, python: bool) -> None:
    bench.fake._replies = ["half \ud83d", "whole \ud83d\ude00"]
    source = "def inference(ctx):\n    return ctx.llm.chat('x').text"
    bench.create([{"name": "t", "source": source} if python else task()])
    assert await bench.go() == "done"
    assert bench.output("t") == "whole 😀"
    assert "half a surrogate pair" in reasks(bench)[0]


async def test_a_draft_in_a_thought_is_not_the_answer(bench: Bench) -> None:
    """A2."""
    label = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["bug", "praise"]}}}
    bench.fake._replies = ['Maybe {"label":"praise"}? No.\n</think>\n{"label":"bug"}']
    bench.create([task(output=label)])
    assert await bench.go() == "done"
    assert bench.output("t") == {"label": "bug"}


async def test_the_failure_names_the_task_and_is_permanent() -> None:
    prompt = PromptTask(Task(name="t", prompt="x", output={"type": "integer"}, output_type="Answer = nothing"))
    with pytest.raises(StageFailed, match=r"task 't'.*NameError") as caught:
        await prompt.load()
    assert caught.value.details["permanent"]
    assert "<po_task t>" in caught.value.details["traceback"]


ENDLESS = {"type": "object", "properties": {"v": {"type": "string", "pattern": "^(a|aa)+$"}}}
NEVER = json.dumps({"v": "a" * 80 + "!"})


@pytest.mark.parametrize("kind", ["prompt", "chat", "validators"])
async def test_a_pattern_without_end_is_asked_again_and_holds_nobody(
    bench: Bench, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C4: `^(a|aa)+$` held the worker until it was killed, and its calls were paid for again."""
    monkeypatch.setattr(patterns, "SECONDS", 0.1)
    bench.fake._replies = [NEVER, '{"v": "aaa"}']
    judged = "ctx.validators.schema(__import__('json').loads(ctx.data['inference']), SCHEMA)"
    source = {
        "chat": ASKS,
        "validators": "\ndef inference(ctx):\n    return ctx.llm.chat('x').text\n"
        f"def validate_structure(ctx):\n    {judged}\ndef refine(ctx):\n    pass\n",
    }
    code = (
        {"prompt": None, "source": f"SCHEMA = {ENDLESS!r}{source[kind]}"}
        if kind != "prompt"
        else {"output": ENDLESS}
    )
    bench.create([task(**code)])
    assert await bench.go() == "done"
    assert len(bench.fake.requests) == 2
    assert kind == "validators" or "does not match the pattern" in reasks(bench)[0]


async def test_an_answer_is_durable_before_code_of_the_users_sees_it(bench: Bench) -> None:
    """C4, P3: what hangs or ends the worker then costs no second call."""

    def recorded() -> int:
        return sum(call["kind"] == "response" for record in bench.records() for call in record["calls"])

    seen: list[int] = []
    builtins.recorded = lambda: seen.append(recorded())
    source = (
        "import builtins\nasync def inference(ctx):\n    await ctx.llm.chat('x')\n    builtins.recorded()\n"
    )
    judge = (
        "import builtins\nfrom typing import Annotated\nfrom pydantic import AfterValidator\n"
        "def look(value):\n    builtins.recorded()\n    return value\nAnswer = Annotated[int, AfterValidator(look)]\n"
    )
    bench.fake._replies = ["1", "2"]
    bench.create([
        task(name="code", prompt=None, source=source),
        task(name="class", output={"type": "integer"}, output_type=judge),
    ])  # fmt: skip
    assert await bench.go() == "done", bench.state.error
    assert seen == [1, 2]
