"""The provider table: built-in providers, plugins, factories."""

from importlib.metadata import EntryPoint

import pytest

from po_jupyter.llm import specs as table
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers import catalogue
from po_jupyter.llm.providers.fake import FakeProvider
from po_jupyter.llm.providers.refs import ref_problem
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.llm.specs import ALSO_CALLED, BUILT_IN, Spec, load_factory, load_plugin, spec_of, specs


def third_party(context):
    return FakeProvider(["from a plugin"], name=context.spec.name)


DESCRIBED = Spec("mine", third_party, key_env="MINE_KEY", example="mine:model-1")


class Entry:
    """An entry point whose module is this one."""

    def __init__(self, name, loaded):
        self.name, self._loaded = name, loaded

    def load(self):
        return self._loaded


@pytest.fixture
def installed(monkeypatch):
    """`installed(*entries)`: those plugins and no others are installed."""
    caches = (specs.cache_clear, spec_of.cache_clear, catalogue._aliases.cache_clear)

    def install(*entries):
        monkeypatch.setattr(table, "entry_points", lambda group: list(entries))
        for clear in caches:
            clear()

    yield install
    for clear in caches:
        clear()


def ask():
    return ChatRequest("mine:x", (Message("user", "hi"),))


@pytest.mark.parametrize("spec", BUILT_IN, ids=lambda spec: spec.name)
def test_every_factory_of_the_table_is_there(spec):
    assert callable(load_factory(spec)) and spec_of(spec.name) is spec and load_plugin(spec) is spec
    assert spec.example.startswith(f"{spec.name}:")


def test_other_names_lead_to_a_provider():
    assert set(ALSO_CALLED.values()) <= specs().keys() and not ALSO_CALLED.keys() & specs().keys()


async def test_a_third_party_adds_a_provider_by_entry_point(installed):
    installed(Entry("mine", third_party), Entry("openai", third_party))
    assert (await Providers({}).get("mine:x").chat(ask())).text == "from a plugin"
    assert specs()["openai"].key_env == "OPENAI_API_KEY"  # not taken over
    assert ref_problem("mine:x") is None
    assert Providers({}).base_url("mine:x") is None, "a factory says nothing of where it asks"


async def test_the_context_of_a_plugin_has_its_own_spec(installed):
    installed(Entry("mine", DESCRIBED))
    contexts = []
    spec = Spec("mine", lambda context: contexts.append(context) or FakeProvider(), base_url="https://x/v1/")
    installed(Entry("mine", spec))
    Providers({}).get("mine:x")
    assert contexts[0].spec is spec and Providers({}).base_url("mine:x") == "https://x/v1"


def test_a_third_partys_provider_is_listed_as_it_describes_itself(installed):
    """B6: `po models` says that its key is missing, and `ctx.llm.mine.model_1` means its example."""
    installed(Entry("mine", DESCRIBED), EntryPoint("broken", "no_such_module:x", "po_jupyter.providers"))
    (mine,) = catalogue.list_models({}, provider="mine")
    assert (mine["ref"], mine["usable"], mine["why"]) == ("mine:model-1", False, "MINE_KEY is not set")
    assert catalogue.list_models({"MINE_KEY": "k"}, provider="mine")[0]["usable"]
    assert catalogue.resolve_alias("mine", mine["alias"]) == "mine:model-1"
    (broken,) = catalogue.list_models({}, provider="broken")
    assert not broken["usable"] and "cannot be loaded" in broken["why"]
    with pytest.raises(ModuleNotFoundError):
        Providers({}).get("broken:x")


@pytest.mark.parametrize(
    ("provider", "url", "elsewhere"),
    [
        ("openai", "https://api.openai.com/v1", False),
        ("openai", "https://eu.api.openai.com/v1/", False),
        ("openai", "https://API.OpenAI.com./v1", False),
        ("openai", "", False),
        ("openai", "https://api.deepseek.com/v1", True),
        ("openai", "https://openrouter.ai/api/v1", True),
        ("openai", "http://127.0.0.1:4000/v1", True),
        ("openai", "http://localhost:4000", True),
        ("openai", "https://api.openai.com.evil.example/v1", True),
        ("openai", "https://notopenai.com/v1", True),
        ("openai", "https://api.openai.com@evil.example/v1", True),
        ("openai", "http://[::1", True),
        ("openai", "api.openai.com/v1", True),
        ("anthropic", "https://api.anthropic.com", False),
        ("anthropic", "https://api.moonshot.ai/anthropic", True),
        ("gemini", "https://us-central1-aiplatform.googleapis.com", False),
        ("deepseek", "https://api.siliconflow.example/v1", True),
        ("together", "https://api.together.ai/v1", False),
        ("azure", "https://mine.openai.azure.com", False),
        ("azure", "https://mine.services.ai.azure.com/openai/v1", False),
        ("azure", "https://api.openai.com/v1", True),
        ("vllm", "http://10.0.0.7:8000/v1", False),
        ("ollama", "https://models.my-own.example/v1", False),
        ("vllm", "https://api.together.xyz/v1", True),
        ("local", "", False),
        ("nobody", "https://x.example", False),
    ],
)
def test_a_vendors_prices_hold_at_its_own_addresses(provider, url, elsewhere):
    assert table.is_elsewhere(provider, url) is elsewhere


@pytest.mark.parametrize("spec", [spec for spec in BUILT_IN if spec.base_url], ids=lambda spec: spec.name)
def test_every_provider_is_at_home_at_its_own_base_url(spec):
    assert not table.is_elsewhere(spec.name, spec.base_url)
    assert not table.is_elsewhere(spec.name, table.addresses_in({})(f"{spec.name}:x"))
