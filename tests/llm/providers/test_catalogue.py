"""Aliases and the list of what can be used (B6)."""

import json
import re
from pathlib import Path

import pytest

import po_jupyter
from po_jupyter.errors import InvalidInput
from po_jupyter.llm.money.pricing import LIST_PRICES, PriceBook
from po_jupyter.llm.providers.catalogue import (
    MODELS,
    alias_of,
    misspelt_model,
    resolve_alias,
    shortcuts,
    similar_model,
    usable_models,
)
from po_jupyter.llm.specs import addresses_in, spec_of, specs

HOME = Path(po_jupyter.__file__).parent


@pytest.mark.parametrize(
    ("provider", "alias", "ref"),
    [
        ("openai", "gpt5_mini", "openai:gpt-5-mini"),
        ("openai", "gpt_5_mini", "openai:gpt-5-mini"),
        ("openai", "gpt4o", "openai:gpt-4o"),
        ("openai", "gpt5_2", "openai:gpt-5.2"),
        ("anthropic", "claude_haiku4_5", "anthropic:claude-haiku-4-5"),
        ("anthropic", "claude_sonnet_4_5", "anthropic:claude-sonnet-4-5"),
        ("gemini", "gemini2_5_flash", "gemini:gemini-2.5-flash"),
        ("moonshot", "kimi_k2_5", "moonshot:kimi-k2.5"),
        ("openrouter", "openai_gpt5_mini", "openrouter:openai/gpt-5-mini"),
        ("claude_cli", "sonnet", "claude-cli:sonnet"),
        ("openai", "gpt4_turbo", "openai:gpt-4-turbo"),  # not in the catalogue, but in the price list
    ],
)
def test_an_alias_means_a_model(provider, alias, ref):
    assert resolve_alias(provider, alias) == ref


def test_every_model_is_found_by_its_alias_and_no_two_share_one():
    for provider, models in MODELS.items():
        assert provider in specs()
        aliases = [alias_of(model) for model in models]
        assert len(set(aliases)) == len(aliases)
        for model, alias in zip(models, aliases, strict=True):
            assert alias.isidentifier(), alias
            assert resolve_alias(provider, alias) == f"{provider}:{model}"


def test_a_wrong_alias_is_explained():
    """P11."""
    with pytest.raises(InvalidInput, match="did you mean `gpt5_mini`") as caught:
        resolve_alias("openai", "gpt5_mni")
    assert 'model="openai:NAME"' in str(caught.value)
    with pytest.raises(InvalidInput, match="no provider is called"):
        resolve_alias("opnai", "gpt5")


def test_shortcuts_call_chat_with_the_model():
    def chat(prompt, **more):
        return prompt, more

    openai = shortcuts("openai", chat)
    assert openai.gpt5_mini("Hello", temperature=0.1) == (
        "Hello",
        {"temperature": 0.1, "model": "openai:gpt-5-mini"},
    )
    assert "gpt5_mini" in dir(openai)
    assert "gpt5_mini" in repr(openai)
    assert not hasattr(openai, "nothing_like_it")
    with pytest.raises(AttributeError, match="did you mean `openai`"):
        shortcuts("openia", chat)
    with pytest.raises(AttributeError):
        shortcuts("__deepcopy__", chat)


def test_the_list_says_what_can_be_used_and_why_the_rest_cannot():
    """B6: `po models`."""
    key = "sk-list-0123456789abcdef"
    environ = {"OPENAI_API_KEY": key, "OLLAMA_BASE_URL": "http://127.0.0.1:11434/v1", "PATH": ""}
    found = {one.ref: one for one in usable_models(environ, cli_agents=True)}
    assert {one.provider for one in found.values()} == set(specs())
    assert found["openai:gpt-5-mini"].usable
    assert found["openai:gpt-5-mini"].price == {"input": 0.25, "output": 2.0}
    assert found["anthropic:claude-haiku-4-5"].why == "ANTHROPIC_API_KEY is not set"
    assert found["ollama:qwen3:4b"].usable
    assert "VLLM_BASE_URL is not set" in found["vllm:Qwen/Qwen3-4B"].why
    assert found["claude-cli:sonnet"].why == "`claude` is not installed"
    assert found["alibaba:qwen-plus"].price is None
    states = [one.usable for one in found.values()]
    assert states == sorted(states, reverse=True)
    assert key not in json.dumps([one.to_json() for one in found.values()])
    assert "switched off" in {one.ref: one for one in usable_models(environ)}["codex-cli:default"].why


DOCS = [*sorted((HOME / "docs").rglob("*.md")), HOME.parent / "README.md"]
REF = re.compile(rf"(?<![\w:/.-])({'|'.join(map(re.escape, specs()))}):([A-Za-z0-9][\w./:-]*[\w])")

_NAMELESS = ("NAME", "MODEL", "my-model")  # the last stands where the setting `prices` gives it a price


def refs_of_the_docs():
    text = "\n".join(path.read_text("utf-8") for path in DOCS)
    return sorted({f"{name}:{model}" for name, model in REF.findall(text) if model not in _NAMELESS})


@pytest.mark.parametrize(
    "ref", [*{m.ref: m for m in usable_models({})}, *(s.example for s in specs().values())]
)
def test_every_model_of_the_catalogue_has_a_price_or_says_why_not(ref):
    """E5."""
    listing = next((m for m in usable_models({}) if m.ref == ref), None)
    priced = LIST_PRICES.per_million(ref) is not None
    assert priced or spec_of(ref.partition(":")[0]).price_note
    if listing is not None:
        assert (listing.price is not None) is priced is (listing.price_note == "")


def test_every_example_of_the_documentation_has_a_price_or_says_why_not():
    """E5."""
    refs = refs_of_the_docs()
    assert "openai:gpt-5-mini" in refs and len(refs) > 5
    unexplained = [
        ref for ref in refs if not LIST_PRICES.is_priced(ref) and not spec_of(ref.partition(":")[0]).price_note
    ]
    assert unexplained == []


@pytest.mark.parametrize(
    ("ref", "meant"),
    [
        ("openai:gpt5-mini", "openai:gpt-5-mini"),
        ("openai:gpt-5-mni", "openai:gpt-5-mini"),
        ("openai:gpt-5-mini", ""),
        ("anthropic:claude-haiku-45", "anthropic:claude-haiku-4-5"),
        ("groq:llama-3.3-70b-versatil", "groq:llama-3.3-70b-versatile"),
        ("openai:something-else", ""),
        ("nobody:x", ""),
    ],
)
def test_a_name_that_is_nearly_a_models_is_recognised(ref, meant):
    assert similar_model(ref) == meant


@pytest.mark.parametrize(
    ("ref", "meant"),
    [
        ("openai:gpt5-mini", "openai:gpt-5-mini"),
        ("openai:GPT-5-mini", "openai:gpt-5-mini"),
        ("gemini:gemini-2-5-flash", "gemini:gemini-2.5-flash"),
        ("openai:gpt-5-mini-2025-08-07", ""),
        ("openai:ft:gpt-4o:me::1", ""),
        ("openai:my-own", ""),
        ("vllm:gpt5-mini", ""),
    ],
)
def test_only_a_name_that_differs_in_its_signs_is_a_misspelling(ref, meant):
    assert misspelt_model(ref) == meant


def test_a_model_at_an_address_that_is_not_its_vendors_is_listed_without_a_price():
    environ = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "https://models.example/v1"}
    prices = PriceBook(base_url=addresses_in(environ))
    listed = {model.ref: model for model in usable_models(environ, prices=prices)}
    assert listed["openai:gpt-4o"].price is None
    assert listed["openai:gpt-4o"].price_note.startswith("OPENAI_BASE_URL is not an address of openai's own")
    assert listed["anthropic:claude-haiku-4-5"].price is not None
