"""`ctx.llm` (B6): chat, complete, stream, chain, shortcuts, tools, images and typed answers, sync and async."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest

from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.llm.chat import ChatRequest, ChatResponse, OnText, ToolCall
from po_jupyter.model.run.usage import Usage
from tests.support.engine import Bench

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
ONCE = {"max_attempts": 1}


def task(source: str, **more: Any) -> dict[str, Any]:
    return {"name": "t", "source": source, "retry": ONCE, **more}


class Caller:
    """A model that wants tools called: `turns` are lists of (name, arguments), then comes a text."""

    def __init__(self, turns: Sequence[Sequence[tuple[str, dict[str, Any]]]], text: str = "the end") -> None:
        self.name = "fake"
        self.turns = list(turns)
        self.text = text
        self.requests: list[ChatRequest] = []
        self.hold_at: str | None = None
        self.held = asyncio.Event()

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        if request.messages[-1].content == self.hold_at:
            self.held.set()
            await asyncio.Event().wait()
        self.requests.append(request)
        turn = self.turns.pop(0) if self.turns else ()
        calls = tuple(ToolCall(f"c{n}", name, arguments) for n, (name, arguments) in enumerate(turn))
        return ChatResponse(
            "" if calls else self.text, Usage(calls=1), "echo", tool_calls=calls,
            carry={"provider": "fake", "signed": len(self.requests)} if calls else None,
        )  # fmt: skip

    async def aclose(self) -> None:
        pass

    @property
    def heard(self) -> list[str]:
        """What tools said, in the last request."""
        return [m.content for m in self.requests[-1].messages if m.role == "tool"]


def with_model(bench: Bench, model: Any) -> Bench:
    bench.fake = model
    return bench


async def output(bench: Bench) -> Any:
    assert await bench.go() == "done", bench.state.error
    return bench.output("t")


async def error(bench: Bench) -> dict[str, Any]:
    assert await bench.go() == "failed"
    found = bench.state.error
    assert found is not None
    return found


# -- what is asked ----------------------------------------------------------------------------------------
async def test_every_setting_of_a_pipeline_reaches_the_request_and_its_reask(bench: Bench) -> None:
    """B6: `request` and `again` lose nothing, whatever fields a request has."""
    llm = {
        "model": "fake:echo", "temperature": 0.5, "max_tokens": 9, "stop": ["END"], "seed": 7, "effort": "low",
        "timeout": 33, "api": "chat",
    }  # fmt: skip
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"const": 1}}}
    prompt = {"name": "p", "prompt": "x", "output": schema, "refine": {"max_attempts": 1}, "retry": ONCE}
    bench.fake._replies = ["no", '{"a": 1}', "no", '{"a": 1}']
    code = f"def ingestion(ctx):\n    return ctx.llm.chat('y', schema={schema!r}).value\n"
    bench.create([prompt, task(code)], llm=llm)
    assert await output(bench) == {"a": 1}
    assert len(bench.fake.requests) == 4
    for request in bench.fake.requests:
        said = request.to_json()
        assert {k: said[k] for k in llm} == llm
        assert said["schema"] == schema
    assert "does not fit" in bench.fake.prompts[1]


async def test_the_model_in_code_wins_over_the_runs_which_wins_over_the_tasks(bench: Bench) -> None:
    """B6: `model=` > `--model` > the task's `llm` > the pipeline's."""
    code = (
        "def ingestion(ctx):\n"
        "    return [ctx.llm.chat('a').model, ctx.llm.chat('b', model='fake:code').model,\n"
        "            ctx.llm.fake.echo('c').text]\n"
    )
    bench.fake._replies = ["1", "2"]
    bench.create([task(code, llm={"model": "fake:task"})], options={"model": "fake:run"})
    assert await output(bench) == ["run", "code", "echo: c"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("chat('x', temprature=1)", "`temprature` is not a field of a request; did you mean `temperature`?"),
        ("chat('x', temperature='hot')", "temperature: needs a number"),
        ("chat('x', effort='huge')", "effort"),
        ("chat('x', model='gpt-5')", "provider:model"),
        ("chat('x', schema={'type': 3})", "not a JSON Schema"),
        ("chat('x', schema='text')", "neither a JSON Schema nor a class"),
        ("chat(7)", "a prompt is text or a list of messages, not int"),
        ("chat([])", "an empty list"),
        ("chat('x', images='a.png')", "`images` is a list, not str"),
        ("chat('x', tools=[3])", "a tool is a function or a name, not 3"),
        ("chat('x', tools=[lambda x: 1])", "a tool's name"),
        ("chat('x', tools=['files.read'])", "files"),
        ("chat('x', images=['nothing.png'])", "image 0: there is no artifact 'nothing.png'"),
        ("chat('x', images=[b'GIF'])", "image 0: an image is one of"),
        ("chat('x', images=['https://127.0.0.1/a.png'])", "no address of the internet"),
        ("chat('x', images=['http://example.org/a.png'])", "only https"),
        ("chat('x', model='local:any', images=[b''])", "local takes no images"),
        ("chat('x', max_tool_rounds=0)", "`max_tool_rounds`"),
        ("chain(system='a').ask('x', system='b')", "`system` belongs to the chain"),
        ("anthropi", "no provider is called 'anthropi'; did you mean `anthropic`?"),
        ("openai.gpt_99", "no model with the alias"),
    ],
)
@pytest.mark.integration
async def test_what_is_wrong_is_said_before_anything_is_sent(bench: Bench, call: str, words: str) -> None:
    """P11."""
    bench.create([task(f"def ingestion(ctx):\n    ctx.llm.{call}\n    return 1\n")])
    found = await error(bench)
    assert words in found["message"] + found["hint"], found
    assert bench.fake.requests == []


# -- complete, stream, chain -----------------------------------------------------------------------------
@pytest.mark.parametrize("way", ["sync", "async"])
async def test_complete_stream_and_chain(bench: Bench, way: str) -> None:
    """B6: the same words in a sync and in an async stage."""
    code = """
async def ingestion(ctx):
    text = await ctx.llm.complete("one")
    stream = ctx.llm.stream("two and three")
    pieces = [piece async for piece in stream]
    whole = await ctx.llm.stream("four")
    chain = ctx.llm.chain(system="be brief", max_tokens=5)
    first = await chain.ask("five")
    second = (await chain.ask("six", max_tokens=6)).text
    return [text, pieces, stream.answer.text, stream.restarts, whole.text, first.text, second, chain.messages]
"""
    if way == "sync":
        code = code.replace("async def", "def").replace("async for", "for")
        code = code.replace("await ctx.llm.stream('four')", "").replace(
            'await ctx.llm.stream("four")', 'ctx.llm.stream("four").answer'
        )
        code = code.replace("await ", "")
    bench.create([task(code)])
    found = await output(bench)
    assert found[0] == "echo: one"
    assert found[1] == ["echo:", " two", " and", " three"]
    assert found[2:7] == ["echo: two and three", 0, "echo: four", "echo: five", "echo: six"]
    assert [(m["role"], m["content"]) for m in found[7]] == [
        ("system", "be brief"), ("user", "five"), ("assistant", "echo: five"), ("user", "six"),
        ("assistant", "echo: six"),
    ]  # fmt: skip
    last = bench.fake.requests[-1]
    assert [m.content for m in last.messages][:4] == ["be brief", "five", "echo: five", "six"]
    assert [r.max_tokens for r in bench.fake.requests[-2:]] == [5, 6]


# -- typed answers ---------------------------------------------------------------------------------------
TYPED = """
from __future__ import annotations
import dataclasses, datetime, enum, typing
import pydantic

class Kind(enum.Enum):
    BUG = "bug"
    PRAISE = "praise"

class Label(pydantic.BaseModel):
    kind: Kind
    when: datetime.date
    @pydantic.field_validator("when")
    @classmethod
    def later(cls, value):
        if value.year < 2000:
            raise ValueError("too long ago")
        return value

@dataclasses.dataclass
class Point:
    x: int
    y: int = 0

class Row(typing.TypedDict):
    name: str
    tags: typing.NotRequired[list[str]]

def ingestion(ctx):
    label = ctx.llm.chat("a", schema=Label).value
    point = ctx.llm.chat("b", schema=Point).value
    row = ctx.llm.chat("c", schema=Row).value
    points = ctx.llm.chat("d", schema=list[Point]).value
    results = ctx.llm.parallel([{"prompt": "e", "schema": Label}])
    return [label.kind is Kind.BUG, label.when.year, point == Point(1), row, points[1].y, results.to_json()]
"""


async def test_an_answer_is_an_instance_of_the_class_that_was_asked_for(bench: Bench) -> None:
    """Issue 4, structured output: pydantic model, dataclass, TypedDict; the schema first, then the class."""
    good = '{"kind": "bug", "when": "2026-11-22"}'
    bench.fake._replies = [
        '{"kind": "bug", "when": "1999-01-01"}', good, '{"x": 1}', '{"name": "n"}', '[{"x": 1}, {"x": 2, "y": 3}]',
        good,
    ]  # fmt: skip
    bench.create([task(TYPED)])
    found = await output(bench)
    assert found[:5] == [True, 2026, True, {"name": "n"}, 3]
    assert found[5][0]["output"] == {"kind": "bug", "when": "2026-11-22"}
    assert "too long ago" in bench.fake.prompts[1]  # what only the class knows is asked for again, too


# -- tools -----------------------------------------------------------------------------------------------
TOOLS = """
import typing
def price(sku: str, pieces: int = 1) -> float:
    '''What something costs.

    Args:
        sku: the number on the box
        pieces: how many
    '''
    return {"A1": 2.5}[sku] * pieces

async def stock(sku: typing.Annotated[str, "which"]) -> dict:
    return {"sku": sku, "left": 3}

def copy(json: str, /, *, schema: list[int] = []) -> str:
    return json

async def inference(ctx):
    chain = ctx.llm.chain()
    answer = await chain.ask("What do two A1 cost?", tools=[price, stock, copy])
    return [answer.text, answer.usage.calls, [m["role"] for m in chain.messages]]
"""


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_tools_are_called_and_their_results_sent_back(bench: Bench, way: str) -> None:
    """B6, G11: the schema is the signature's, sync and async functions, several calls in a turn, two rounds."""
    model = Caller(
        [[("price", {"sku": "A1", "pieces": 2}), ("stock", {"sku": "A1"})], [("copy", {"json": "x"})]]
    )
    code = TOOLS if way == "async" else TOOLS.replace("async def inf", "def inf").replace("await ", "")
    with_model(bench.create([task(code)]), model)
    text, calls, roles = await output(bench)
    assert (text, calls) == ("the end", 3)
    assert roles == ["user", "assistant", "tool", "tool", "assistant", "tool", "assistant"]
    assert model.heard == ["5.0", '{"sku":"A1","left":3}', "x"]
    offered = {tool.name: tool for tool in model.requests[0].tools}
    assert offered["price"].description == "What something costs."
    assert offered["price"].parameters == {
        "type": "object",
        "additionalProperties": False,
        "required": ["sku"],
        "properties": {
            "sku": {"type": "string", "description": "the number on the box"},
            "pieces": {"type": "integer", "default": 1, "description": "how many"},
        },
    }
    assert set(offered["copy"].parameters["properties"]) == {"json", "schema"}
    turn = model.requests[1].messages[1]
    assert turn.carry == {"provider": "fake", "signed": 1}, "signed thinking goes back with its turn"


async def test_the_models_mistakes_go_back_to_the_model(bench: Bench) -> None:
    """P6: a name that was not offered and arguments that do not fit reach no function."""
    turns = [
        [("prize", {}), ("price", {"sku": "A1", "pieces": "two"}), ("price", {"sku": "A1", "color": "red"})]
    ]
    model = Caller(turns)
    with_model(bench.create([task(TOOLS)]), model)
    await output(bench)
    first, second, third = model.heard
    assert first == "error: there is no tool prize; did you mean `price`? (there are: price, stock, copy)"
    assert second.startswith("error: pieces: needs a whole number")
    assert "`color` is not a field of the tool price" in third


@pytest.mark.parametrize(
    ("turn", "code", "words"),
    [
        (("price", {"sku": "ZZ"}), "tool_failed", "the tool 'price' raised KeyError: 'ZZ'"),
        (("price", {"sku": "A1"}), "tool_loop", "after 3 rounds of them, and gave no answer"),
    ],
)
async def test_a_tool_that_raises_and_a_loop_without_end_are_errors_of_their_own(
    bench: Bench, turn: tuple[str, dict[str, Any]], code: str, words: str
) -> None:
    model = Caller([[turn]] * 50)
    source = TOOLS.replace("tools=[", "max_tool_rounds=3, tools=[")
    with_model(bench.create([task(source)]), model)
    found = await error(bench)
    assert found["code"] == code
    assert words in found["message"]
    assert len(model.requests) == (1 if code == "tool_failed" else 4)


async def test_answers_are_replayed_after_a_crash_and_tools_run_again(bench: Bench) -> None:
    """P3: no recorded call is sent twice; what was between them is done a second time, and comes out the same."""
    model = Caller([[("price", {"sku": "A1"})]])
    with_model(
        bench.create([task(TOOLS + "\nasync def parsing(ctx):\n    await ctx.llm.chat('last')\n")]), model
    )
    bench.fake.hold_at = "last"
    async with bench.worker() as session:
        driving = asyncio.create_task(RunExecutor(session).run())
        await model.held.wait()
        session.log.broken = RuntimeError("the machine went down")  # nothing more is written, as after kill -9
        session.log.wake.set()
        with pytest.raises(RuntimeError):
            await driving
    assert [r.messages[-1].content for r in model.requests] == ["What do two A1 cost?", "2.5"]
    model.hold_at = None
    assert (await output(bench))[0] == "the end"
    assert [r.messages[-1].content for r in model.requests[2:]] == ["last"]


# -- images ----------------------------------------------------------------------------------------------
async def test_images_come_from_bytes_data_urls_artifacts_and_paths(bench: Bench) -> None:
    """G11: each with the last turn, as base64 with its type."""
    path = bench.tmp / "photo.png"
    path.write_bytes(PNG)
    code = f"""
import base64, pathlib
PNG = {PNG!r}
def ingestion(ctx):
    ctx.io.write_artifact("mine.png", PNG)
    data = "data:image/png;base64," + base64.b64encode(PNG).decode()
    images = [PNG, data, "mine.png", {str(path)!r}, pathlib.Path({str(path)!r})]
    return ctx.llm.chat("What is this?", system="s", images=images).text
"""
    bench.create([task(code)])
    await output(bench)
    (request,) = bench.fake.requests
    assert [len(m.images) for m in request.messages] == [0, 5]
    assert {(i.mime, i.data) for i in request.messages[1].images} == {
        ("image/png", base64.b64encode(PNG).decode())
    }
    assert json.dumps(request.to_json())
