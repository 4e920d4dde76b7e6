"""G1: what a budget sets aside is counted where a published encoding says it, and estimated, with a tenth more,
everywhere else."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from po_jupyter.engine.budgets.account import Account
from po_jupyter.engine.budgets.guard import BudgetGuard, worst_of
from po_jupyter.engine.budgets.limits import BudgetLimits
from po_jupyter.llm.bounds import ROOM
from po_jupyter.llm.chat import ChatRequest, Image, Message, Tool, ToolCall
from po_jupyter.llm.money.tokens import _encoding, count_messages, estimate_messages, is_quick
from po_jupyter.model.run.usage import Usage

DENSE = "}{][)(*&^%$#@!~`<>?;:|\\" * 200  # a token for nearly each character: an estimate by length is far off


def request(model: str, text: str = "hello", **more: object) -> ChatRequest:
    return replace(ChatRequest(model, (Message("user", text),), max_tokens=100, max_thinking_tokens=0), **more)


def test_the_room_to_think_is_in_the_worst_case() -> None:
    """G1: thoughts are paid for like the answer."""
    asked = request("openai:gpt-5-mini", max_thinking_tokens=None)
    more = worst_of(asked, None).tokens - worst_of(request("openai:gpt-5-mini"), None).tokens
    assert (
        more
        == ROOM[None]
        == worst_of(replace(asked, effort="medium"), None).tokens
        - (worst_of(request("openai:gpt-5-mini"), None).tokens)
    )


async def test_a_small_budget_narrows_the_default_room_to_think_and_no_other_bound() -> None:
    budget = BudgetGuard(Account("run", BudgetLimits(tokens=3000)))
    asked = request("openai:gpt-5-mini", max_thinking_tokens=None)
    fitted, worst = await budget.fit(asked)
    assert fitted.max_tokens == 100 and 1000 < fitted.max_thinking_tokens < 3000 and worst.tokens <= 3000
    assert (await budget.fit(replace(asked, max_thinking_tokens=9000)))[0].max_thinking_tokens == 9000
    plain = request("openai:gpt-4o", max_tokens=9000)
    assert (await budget.fit(plain))[0] is plain
    roomy = BudgetGuard(Account("run", BudgetLimits(tokens=50_000)))
    assert (await roomy.fit(asked))[0] is asked


@pytest.mark.parametrize("model", ["openai:gpt-5-mini", "openai:gpt-3.5-turbo", "openrouter:openai/gpt-4o"])
def test_a_published_encoding_counts_and_needs_no_margin(model: str) -> None:
    given = count_messages([DENSE], model)
    assert given.exact
    assert worst_of(request(model, DENSE), None).tokens == given.tokens + 100
    assert given.tokens > 1.1 * estimate_messages([DENSE]), "an estimate would not have been a bound"


@pytest.mark.parametrize(
    "text", ["The export button does nothing. " * 20_000, "Straße — 東京 naïve 42 \n\n" * 30_000]
)
def test_a_long_text_counted_in_steps_is_counted_exactly(text: str) -> None:
    whole = _encoding("o200k_base").count(text)
    assert count_messages([text], "openai:gpt-5").tokens == whole + 7
    assert 25_000 <= count_messages(["a" * 200_000], "openai:gpt-5").tokens < 25_020, "no place to cut"


@pytest.mark.parametrize("model", ["anthropic:claude-haiku-4-5", "gemini:gemini-2.5-flash", "ollama:llama3.2"])
def test_an_estimate_gets_a_tenth_more(model: str) -> None:
    text = "The export button does nothing. " * 100
    assert worst_of(request(model, text), None).tokens == int(estimate_messages([text]) * 1.1) + 100


@pytest.mark.parametrize("model", ["openai:gpt-5-mini", "anthropic:claude-haiku-4-5"])
def test_what_is_no_text_is_in_the_bound(model: str) -> None:
    """Schemas, tools and their calls, signed thinking and images are billed as input too."""
    bare = worst_of(request(model), None).tokens
    user, call = Message("user", "hello"), ToolCall("1", "look", {"where": "x" * 4000})
    longer = [
        (request(model, schema={"type": "object", "description": "x" * 4000}), 1000),
        (request(model, tools=(Tool("look", "x" * 4000),)), 1500),
        (request(model, messages=(user, Message("assistant", "", tool_calls=(call,)))), 1000),
        (request(model, messages=(replace(user, carry={"thinking": "x" * 4000}),)), 1000),
        (request(model, messages=(replace(user, images=(Image("aGk=", "image/png"),)),)), 5000),
    ]
    for asked, most in longer:
        assert most <= worst_of(asked, None).tokens - bare < 1.3 * most + 20
    small = request("openai:gpt-4o-mini", messages=(replace(user, images=(Image("aGk=", "image/png"),)),))
    assert worst_of(small, None).tokens > 48_000, "for this model alone an image takes that much"


async def test_counting_a_long_prompt_holds_nobody_up() -> None:
    """P9: 20 MB of text are counted in a thread, in steps. (Loading the tables, once in a process, is one step.)"""
    _encoding("o200k_base")
    budget = BudgetGuard(Account("run", BudgetLimits(tokens=10**9)))
    text = "The export button does nothing. " * 600_000
    counting = asyncio.ensure_future(budget.reserve(request("openai:gpt-5-mini", text)))
    loop = asyncio.get_running_loop()
    worst, ticks, began = 0.0, 0, loop.time()
    while not counting.done():
        before = loop.time()
        await asyncio.sleep(0)
        worst, ticks = max(worst, loop.time() - before), ticks + 1
    budget.settle(await counting, Usage())
    assert ticks > 10
    assert worst < (loop.time() - began) / 4, "in one step it would be nearly all of it, on any machine"
    assert is_quick(1000, "openai:gpt-5-mini")


LOCAL_COUNTS = [  # (messages, tokens as the server of smollm2-135m counts them)
    ([("user", "Say hi.")], 33),
    ([("user", "a")], 31),
    ([("system", "Be brief."), ("user", "Say hi.")], 20),
    ([("user", "8231 " * 40)], 230),
    ([("user", "Привет, как твои дела сегодня? " * 5)], 146),
    ([("user", "今天天气怎么样？" * 8)], 166),
    ([("user", "😀🎉🙈" * 8)], 102),
    ([("user", "The quick brown fox jumps over the lazy dog. " * 40)], 431),
]


@pytest.mark.parametrize(("messages", "counted"), LOCAL_COUNTS)
def test_the_local_model_never_takes_more_than_was_set_aside(messages: list, counted: int) -> None:
    """G1: its template and its tokenizer, of which an estimate by length knows nothing, are in the bound."""
    asked = request("local:smollm2-135m", messages=tuple(Message(role, text) for role, text in messages))
    assert worst_of(asked, None).tokens - 100 >= counted


def test_the_instructions_that_go_with_a_schema_are_in_the_bound() -> None:
    label = {
        "type": "object",
        "required": ["label"],
        "properties": {"label": {"enum": ["bug", "question", "praise"]}},
    }
    asked = request("local:smollm2-135m", "Label: I love it", schema=label)
    assert worst_of(asked, None).tokens - 100 >= 91, "as its server counts it"
    for model in ("openai:gpt-4o", "anthropic:claude-haiku-4-5", "deepseek:deepseek-chat"):
        plain = worst_of(request(model), None).tokens
        assert worst_of(request(model, json=True), None).tokens >= plain + 20


@pytest.mark.parametrize(
    ("text", "least"),
    [("8231 " * 40, 160), (DENSE, len(DENSE)), ("今天天气怎么样？" * 8, 64), ("a\n" * 50, 50)],
)
@pytest.mark.parametrize("model", ["anthropic:claude-haiku-4-5", "gemini:gemini-2.5-flash", "ollama:llama3.2"])
def test_dense_text_is_bounded_by_its_signs(model: str, text: str, least: int) -> None:
    assert worst_of(request(model, text), None).tokens - 100 >= least


async def test_a_budget_in_tokens_holds_with_a_template_that_is_longer_than_the_prompt() -> None:
    """Six calls of 7 bytes that take 43 tokens each ended at 258 of 200."""
    account = Account("run", BudgetLimits(tokens=200))
    budget = BudgetGuard(account)
    asked = request("local:smollm2-135m", "Say hi.", max_tokens=10)
    worst = worst_of(asked, None)
    while account.fits(worst):
        budget.settle(await budget.reserve(asked), Usage(input_tokens=33, output_tokens=10, calls=1))
    assert 100 < account.used.tokens <= 200
