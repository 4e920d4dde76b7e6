"""Tasks with `embed`, and `ctx.llm.embed`: vectors are calls like any other, journaled, cached and in the budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.planning.check import check
from po_jupyter.errors import InvalidPipeline
from po_jupyter.llm.credentials.availability import models_used
from po_jupyter.llm.providers.fake import word_vector
from po_jupyter.llm.vectors import pack, unpack
from po_jupyter.model.pipeline.parsing import validate_pipeline
from tests.support.engine import Bench

ROWS = [{"text": text} for text in ("a cat", "a dog", "a bird")]
MAP = {"name": "t", "for_each": "{{ seed.rows }}", "embed": "{{ item.text }}", "max_concurrency": 1}
ONCE = {"max_attempts": 1}


def vector(text: str) -> list[float]:
    return unpack(pack(word_vector(text)))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_a_text_becomes_a_list_of_numbers_that_a_later_task_reads(bench: Bench) -> None:
    length = {"name": "n", "prompt": "{{ tasks.t | length }}"}
    bench.create([{"name": "t", "embed": "{{ seed.text }}"}, length], {"text": "hello"})
    assert await bench.go() == "done"
    assert bench.output("t") == vector("hello") and len(vector("hello")) == 64
    assert bench.output("n") == "echo: 64"
    (request, _) = bench.fake.requests
    assert request.embed and request.max_tokens is None
    assert bench.state.usage.output_tokens < 10


async def test_rows_become_vectors_and_the_journal_keeps_them_short(bench: Bench) -> None:
    bench.create([MAP], {"rows": ROWS})
    assert await bench.go() == "done"
    assert [row["output"] for row in bench.output("t")] == [vector(row["text"]) for row in ROWS]
    recorded = [c for r in bench.records() for c in r["calls"] if c["kind"] == "response"]
    assert len(recorded) == 3
    assert [t["kind"] for t in bench.events("run.created")[0]["data"]["tasks"]] == ["embed"]


async def test_another_run_has_the_vectors_from_the_cache(bench: Bench) -> None:
    bench.create([MAP], {"rows": ROWS})
    assert await bench.go() == "done"
    bench.run = "0193f00000000000abcde0"
    bench.create([{**MAP, "name": "again"}], {"rows": ROWS[:2]})
    assert await bench.go() == "done"
    assert len(bench.fake.prompts) == 3
    assert bench.output("again")[1]["output"] == vector("a dog")


async def test_a_budget_has_room_for_texts_alone(bench: Bench) -> None:
    """G1: no answer is reserved: 1,000 tokens would not hold one chat of 4,096."""
    bench.create([{**MAP, "budget": {"tokens": 200}}], {"rows": ROWS})
    assert await bench.go() == "done"
    bench.run = "0193f00000000000abcde1"
    bench.create([{**MAP, "cache": False, "budget": {"tokens": 10}}], {"rows": [{"text": "word " * 300}]})
    assert await bench.go() == "failed"
    assert len(bench.fake.prompts) == 3


async def test_a_row_without_text_fails_before_anything_is_sent(bench: Bench) -> None:
    bench.create([{**MAP, "retry": ONCE}], {"rows": [{"text": "a cat"}, {"text": "  "}]})
    assert await bench.go() == "done"
    assert [row["ok"] for row in bench.output("t")] == [True, False]
    assert "empty text" in bench.output("t")[1]["error"]["message"]
    assert len(bench.fake.prompts) == 1


async def test_a_provider_without_embeddings_is_never_asked(bench: Bench) -> None:
    bench.fake.embeds = False
    bench.create([{"name": "t", "embed": "hello", "retry": ONCE}])
    assert await bench.go() == "failed"
    assert bench.state.error is not None and "no embeddings" in bench.state.error["message"]
    assert bench.fake.requests == [] and not [c for r in bench.records() for c in r["calls"]]


async def test_the_model_of_a_run_is_not_that_of_its_vectors(bench: Bench) -> None:
    """`po run --model openai:gpt-5-mini` sent texts to be embedded to a model that answers."""
    tasks = [
        {"name": "v", "embed": "x", "llm": {"model": "fake:echo"}}, {"name": "t", "prompt": "y", "needs": []},
    ]  # fmt: skip
    bench.create(tasks, options={"model": "fake:mine"})
    await bench.go()
    assert {request.model for request in bench.fake.requests if request.embed} == {"fake:echo"}
    uses = models_used(validate_pipeline({"name": "p", "tasks": tasks}), "fake:echo", "fake:mine")
    assert {(use.ref, use.tasks) for use in uses} == {("fake:echo", ("v",)), ("fake:mine", ("t",))}


def test_a_provider_without_embeddings_is_found_before_a_run() -> None:
    pipeline = {"name": "p", "tasks": [{**MAP, "llm": {"model": "anthropic:claude-sonnet-4-5"}}]}
    with pytest.raises(InvalidPipeline, match="anthropic makes no embeddings here"):
        check(validate_pipeline(pipeline))
    with pytest.raises(InvalidPipeline, match="nosuch"):
        check(validate_pipeline({"name": "p", "tasks": [{**MAP, "embed": "{{ nosuch }}"}]}))


# -- ctx.llm.embed ------------------------------------------------------------------------------------------
async def python(bench: Bench, source: str) -> Any:
    bench.create([{"name": "t", "source": source, "retry": ONCE}])
    bench.final = await bench.go()  # type: ignore[attr-defined]
    return bench.output("t") if bench.final == "done" else bench.state.error  # type: ignore[attr-defined]


async def test_python_has_the_vectors_of_texts_in_their_order(bench: Bench) -> None:
    made = await python(bench, "def inference(ctx):\n    return ctx.llm.embed(['a', 'b', 'a'])\n")
    assert made == [vector("a"), vector("b"), vector("a")]


async def test_python_has_the_vector_of_one_text(bench: Bench) -> None:
    made = await python(
        bench, "async def inference(ctx):\n    return await ctx.llm.embed('a', model='fake:echo')\n"
    )
    assert made == vector("a")


async def test_no_texts_are_no_vectors(bench: Bench) -> None:
    assert await python(bench, "def inference(ctx):\n    return ctx.llm.embed([])\n") == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("['a', '']", "empty text"),
        ("['a', None]", "None is no text"),
        ("None", "None is no text"),
        ("float('nan')", "nan is no text"),
        ("b'a'", "b'a' is no text"),
        ("['a', float('nan')]", "nan is no text"),
        ("['a'], max_concurrency=0", "max_concurrency"),
    ],
)
async def test_what_cannot_be_embedded_is_found_before_anything_is_sent(
    bench: Bench, call: str, message: str
) -> None:
    found = await python(bench, f"def inference(ctx):\n    return ctx.llm.embed({call})\n")
    assert message in found["message"]
    assert bench.fake.requests == []


async def test_what_was_answered_is_kept_when_another_text_fails(bench: Bench) -> None:
    """P3: on the second attempt only the missing text is sent."""
    from po_jupyter.errors import ModelRefused

    chat = bench.fake.chat

    async def refuses(request: Any, **more: Any) -> Any:
        if request.messages[-1].content == "b" and not bench.fake.waiting.is_set():
            bench.fake.waiting.set()
            raise ModelRefused("not that one")
        return await chat(request, **more)

    bench.fake.chat = refuses  # type: ignore[method-assign]
    source = (
        "def inference(ctx):\n    try:\n        return ctx.llm.embed(['a', 'b'], max_concurrency=1)\n"
        "    except Exception as error:\n        return str(error)\n"
    )
    assert "not that one" in await python(bench, source)
    assert bench.fake.prompts == ["a"]
