"""What `limits.yaml` may say."""

from __future__ import annotations

from typing import Any

import pytest
from ruamel.yaml import YAML

from po_jupyter.errors import InvalidSettings
from po_jupyter.hub.config import GatewayConfig, Limits, UpstreamConfig, base_url_of, wire_of
from po_jupyter.hub.limits_file import checked
from tests.support.paths import ROOT

GOOD: dict[str, Any] = {"providers": {"openai": {}}, "models": ["openai:gpt-5-mini"]}


def test_the_smallest_configuration() -> None:
    config = checked(GOOD, "x")
    assert config.limits.all.usd_per_day is None and config.time_zone == "UTC" and not config.own_keys
    assert base_url_of("openai", config.providers["openai"]) == "https://api.openai.com/v1"
    assert wire_of("openai", config.providers["openai"]) == "openai"


def test_the_example_of_the_reference_is_one() -> None:
    page = (ROOT / "po_jupyter" / "docs" / "reference" / "gateway.md").read_text()
    text = page.partition("## limits.yaml")[2].partition("```text\n")[2].partition("```")[0]
    config = checked(YAML(typ="safe").load(text), "the page")
    assert config.limits.users["alice"].usd_per_day == 10 and set(config.providers) == {
        "openai",
        "anthropic",
        "inside",
    }
    for fields in (GatewayConfig, UpstreamConfig, Limits):
        assert [name for name in fields.model_fields if f"`{name}`" not in page] == []


def test_a_provider_of_ones_own_has_a_wire_and_an_address() -> None:
    own = {
        "providers": {"inside": {"wire": "chat", "base_url": "https://llm.inside/v1/"}},
        "models": ["inside:m"],
    }
    config = checked(own, "x")
    assert base_url_of("inside", config.providers["inside"]) == "https://llm.inside/v1"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"models": []}, "models"),
        ({"models": ["gpt-5"]}, "provider"),
        ({"models": ["mistral:x"]}, "provider"),
        ({"providers": {"nobody": {}}, "models": ["nobody:x"]}, "nobody"),
        ({"providers": {"openai": {"base_url": "ftp://x"}}}, "base_url"),
        ({"providers": {"openai": {"base_url": "https://user:secret@x"}}}, "base_url"),
        ({"providers": {"openai": {"base_url": "https://x?key=1"}}}, "base_url"),
        ({"providers": {"claude-cli": {}}, "models": ["claude-cli:x"]}, "claude-cli"),
        ({"providers": {"local": {}}, "models": ["local:x"]}, "local"),
        ({"providers": {"../x": {"wire": "chat"}}, "models": ["../x:m"]}, "address"),
        ({"providers": {"api": {"wire": "chat", "base_url": "https://x"}}, "models": ["api:m"]}, "address"),
        ({"providers": {"openai": {"key": "sk-secret-in-the-file"}}}, "providers"),
        ({"aliases": {"a": "openai:other"}}, "alias"),
        ({"prices": {"mistral:x": {"input": 1, "output": 1}}}, "mistral"),
        ({"prices": {"openai:gpt-5-mini": {"input": -1, "output": 1}}}, "prices"),
        ({"limits": {"each_user": {"usd_per_day": -1}}}, "usd_per_day"),
        ({"limits": {"each_user": {"usd_per_day": float("nan")}}}, "usd_per_day"),
        ({"limits": {"each_user": {"models": ["openai:other"]}}}, "openai:other"),
        ({"limits": {"users": {"a": {"cash": 1}}}}, "cash"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "time_zone"),
        ({"max_body": 1}, "max_body"),
        ({"queue": {"seconds": -1}}, "queue"),
    ],
)
def test_what_is_wrong_is_named_without_its_value(change: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        checked({**GOOD, **change}, "limits.yaml")
    assert place in str(refused.value) and "secret" not in str(refused.value)


@pytest.mark.parametrize("data", [None, [], "x", 5])
def test_a_file_that_is_none_is_refused(data: object) -> None:
    with pytest.raises(InvalidSettings):
        checked(data, "limits.yaml")
