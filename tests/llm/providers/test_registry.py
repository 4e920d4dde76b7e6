"""Providers as data: names, keys, base URLs, plugins, the fake, prices."""

import json
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from po_jupyter.errors import InvalidInput, ModelKeyError, ModelRefused, ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.money.pricing import LIST_PRICES
from po_jupyter.llm.money.tokens import estimate
from po_jupyter.llm.providers import catalogue
from po_jupyter.llm.providers import registry as providers
from po_jupyter.llm.providers.fake import FakeProvider
from po_jupyter.llm.providers.local import MAX_ITEMS, MAX_LENGTH, bounded
from po_jupyter.llm.providers.registry import Providers, Spec, check_ref, key_of, missing_key, problem_of, specs
from po_jupyter.model.run.usage import Usage
from po_jupyter.platform.source_root import SOURCE_ROOT
from po_jupyter.testing.model_server import ModelServer


def ask(model="fake:echo", text="hi", **more):
    return ChatRequest(model, (Message("user", text),), **more)


def test_an_unknown_provider_is_named_with_the_known_ones():
    """P11."""
    problem = problem_of("openia:gpt")
    assert problem.startswith("no provider is called 'openia'; did you mean `openai`? (known: alibaba, ")
    assert "did you mean `moonshot`" in problem_of("kimi:k2") and "`gemini`" in problem_of("google:x")
    with pytest.raises(InvalidInput, match="did you mean `openai`"):
        check_ref("openia:gpt")
    assert check_ref("openai:ft:gpt-4o:x") == ("openai", "ft:gpt-4o:x")


@pytest.mark.parametrize("ref", ["gpt-4o", "openai:", ":x", ""])
def test_a_ref_without_its_two_parts_is_explained(ref):
    assert "write provider:model" in problem_of(ref)


def test_a_missing_key_names_the_variable_and_the_command():
    """P11, G16."""
    assert missing_key("openai:gpt-4o", {}) == "OPENAI_API_KEY"
    assert missing_key("openai:gpt-4o", {"OPENAI_API_KEY": "x"}) is None
    assert missing_key("fake:echo", {}) is None
    with pytest.raises(ModelKeyError) as caught:
        Providers({"OPENAI_API_KEY": "  "}).get("openai:gpt-4o")
    assert "OPENAI_API_KEY" in str(caught.value) and "po keys set openai" in str(caught.value)


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "späte"])
def test_a_key_that_cannot_be_sent_is_found_early_and_not_shown(key):
    """P10."""
    with pytest.raises(ModelKeyError) as caught:
        key_of(specs()["openai"], {"OPENAI_API_KEY": key})
    assert key not in str(caught.value)


async def test_the_base_url_and_key_come_from_the_environment_given():
    with ModelServer(key="k-1") as server:
        opened = Providers({"OPENAI_BASE_URL": server.base_url + "/", "OPENAI_API_KEY": "k-1"})
        response = await opened.get("openai:m").chat(ask("openai:m"))
        assert response.text == "echo: hi"
        assert opened.get("openai:other") is opened.get("openai:m")
        await opened.aclose()


def test_the_environment_is_in_no_repr():
    """P10."""
    context = providers.Context(specs()["openai"], {"OPENAI_API_KEY": "k-secret"}, None)
    assert "k-secret" not in repr(context)


def third_party(context):
    return FakeProvider(["from a plugin"], name=context.spec.name)


THIRD_PARTY = Spec("mine", third_party, key_env="MINE_KEY")


async def test_a_third_party_adds_a_provider_by_entry_point(monkeypatch):
    entries = [
        EntryPoint("mine", f"{__name__}:third_party", "po_jupyter.providers"),
        EntryPoint("openai", f"{__name__}:third_party", "po_jupyter.providers"),
    ]
    monkeypatch.setitem(sys.modules, __name__, sys.modules[third_party.__module__])
    monkeypatch.setattr(providers, "entry_points", lambda group: entries)
    specs.cache_clear()
    try:
        assert (await Providers({}).get("mine:x").chat(ask())).text == "from a plugin"
        assert specs()["openai"].key_env == "OPENAI_API_KEY"  # not taken over
        assert problem_of("mine:x") is None
    finally:
        specs.cache_clear()


def test_a_third_partys_provider_is_listed_as_it_describes_itself(monkeypatch):
    """B6: `po models` says that its key is missing, and `ctx.llm.mine.model_1` means its example."""
    spec = Spec("mine", third_party, key_env="MINE_KEY", example="mine:model-1")
    monkeypatch.setattr(sys.modules[third_party.__module__], "THIRD_PARTY", spec)
    entries = [
        EntryPoint("mine", f"{__name__}:THIRD_PARTY", "po_jupyter.providers"),
        EntryPoint("broken", "no_such_module:x", "po_jupyter.providers"),
    ]
    monkeypatch.setitem(sys.modules, __name__, sys.modules[third_party.__module__])
    monkeypatch.setattr(providers, "entry_points", lambda group: entries)
    caches = (specs.cache_clear, providers.described.cache_clear, catalogue._aliases.cache_clear)
    for clear in caches:
        clear()
    try:
        (mine,) = catalogue.listed({}, provider="mine")
        assert (mine["ref"], mine["usable"], mine["why"]) == ("mine:model-1", False, "MINE_KEY is not set")
        assert catalogue.listed({"MINE_KEY": "k"}, provider="mine")[0]["usable"]
        assert catalogue.resolve("mine", mine["alias"]) == "mine:model-1"
        (broken,) = catalogue.listed({}, provider="broken")
        assert not broken["usable"] and "cannot be loaded" in broken["why"]
    finally:
        for clear in caches:
            clear()


async def test_a_local_model_without_anybody_to_run_it_says_so():
    with pytest.raises(ModelUnavailable, match="nobody runs a local model"):
        Providers({}).get("local:smollm2-135m")


async def test_the_fake_is_deterministic_streams_and_fails_on_demand():
    fake = FakeProvider()
    pieces = []
    first = await fake.chat(ask(text="a b"), on_text=pieces.append)
    assert (first.text, pieces) == ("echo: a b", ["echo:", " a", " b"])
    assert first.usage == (await fake.chat(ask(text="a b"))).usage and first.usage.cost == 0.0
    assert json.loads((await fake.chat(ask(schema={"enum": ["x"]}))).text) == "x"
    for _ in range(2):
        with pytest.raises(ModelUnavailable):
            await fake.chat(ask("fake:echo?fail=2"))
    assert (await fake.chat(ask("fake:echo?fail=2"))).text == "echo: hi"
    assert (await fake.chat(ask("fake:echo?latency=0.01"))).seconds == 0.01
    for wrong in ("fake:nope", "fake:echo?speed=1", "fake:echo?latency=x"):
        with pytest.raises(ModelRefused):
            await fake.chat(ask(wrong))


def test_a_schema_for_a_small_model_gets_bounds_in_a_copy():
    schema = {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "short": {"type": "string", "maxLength": 3},
            "long": {"type": "string", "minLength": 500},
            "tags": {"type": "array", "items": {"type": "string"}},
            "pair": {"type": "array", "maxItems": 2},
            "label": {"enum": ["a"], "type": "string"},
            "maxLength": {"type": "string"},
        },
    }
    before = json.dumps(schema)
    found = bounded(schema)["properties"]
    assert json.dumps(schema) == before
    assert found["text"]["maxLength"] == MAX_LENGTH and found["short"]["maxLength"] == 3
    assert found["long"]["maxLength"] == 500 and found["tags"]["maxItems"] == MAX_ITEMS
    assert found["tags"]["items"]["maxLength"] == MAX_LENGTH and found["pair"]["maxItems"] == 2
    assert found["label"] == schema["properties"]["label"] and found["maxLength"]["maxLength"] == MAX_LENGTH
    assert bounded(schema)["additionalProperties"] is False


HAND = [  # USD for 1000 input (200 of them cached) and 100 output tokens
    ("openai:gpt-5-mini", 800 * 0.25e-6 + 200 * 0.025e-6 + 100 * 2e-6),
    ("openai:gpt-4o", 800 * 2.5e-6 + 200 * 1.25e-6 + 100 * 10e-6),
    ("openai:gpt-4o-mini", 800 * 0.15e-6 + 200 * 0.075e-6 + 100 * 0.6e-6),
]


@pytest.mark.parametrize(("ref", "dollars"), HAND)
def test_costs_are_those_of_the_price_list(ref, dollars):
    usage = Usage(input_tokens=1000, output_tokens=100, cached_tokens=200, cost=None, calls=1)
    assert LIST_PRICES.cost_of(usage, ref) == pytest.approx(dollars, rel=1e-9)
    assert LIST_PRICES.priced(usage, ref).cost == pytest.approx(dollars, rel=1e-9)


def test_the_quick_price_is_the_price_of_the_list_for_every_openai_model():
    from genai_prices import Usage as Counts
    from genai_prices import calc_price
    from genai_prices.data_snapshot import get_snapshot

    (openai,) = (p for p in get_snapshot().providers if p.id == "openai")
    compared = 0
    for model in openai.models:
        try:
            counts = Counts(input_tokens=300_000, output_tokens=1000, cache_read_tokens=1000)
            want = float(calc_price(counts, model.id, provider_id="openai").total_price)
        except LookupError:
            continue
        usage = Usage(input_tokens=300_000, output_tokens=1000, cached_tokens=1000, cost=None)
        assert LIST_PRICES.cost_of(usage, f"openai:{model.id}") == pytest.approx(want), model.id
        compared += 1
    assert compared > 30


def test_an_unknown_price_is_unknown_and_own_models_are_free():
    usage = Usage(input_tokens=10, output_tokens=1, cost=None)
    assert LIST_PRICES.cost_of(usage, "openai:no-such-model") is None and not LIST_PRICES.is_priced(
        "openai:no-such-model"
    )
    assert LIST_PRICES.priced(usage, "openai:no-such-model").cost is None
    assert LIST_PRICES.priced(usage, "openai:alias", "gpt-4o-2024-08-06").cost > 0
    assert LIST_PRICES.cost_of(usage, "local:smollm2-135m") == 0.0 and LIST_PRICES.is_priced("fake:echo")
    assert LIST_PRICES.priced(Usage(cost=0.3), "openai:gpt-4o").cost == 0.3


def test_estimates_are_near_a_token_for_four_characters():
    assert estimate("") == 0 and estimate("word" * 10) == 10 and estimate("日本語") >= 2


def test_naming_providers_needs_neither_http_nor_prices():
    code = "import sys; from po_jupyter.llm.providers.registry import problem_of; problem_of('openai:x')\n"
    code += "print([m for m in ('httpx', 'aiohttp', 'genai_prices', 'jsonschema') if m in sys.modules])"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=SOURCE_ROOT, check=True
    )
    assert ran.stdout.strip() == "[]"
