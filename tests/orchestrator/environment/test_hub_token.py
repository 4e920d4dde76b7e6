"""The token of a hub's server is for that hub alone, whatever address the settings have."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.errors import ModelKeyError
from po_jupyter.llm.credentials.team import TeamCatalogue
from po_jupyter.orchestrator.environment.key_store import KeyStore

TOKEN, OWN = "token-of-the-server-0123", "token-of-ada-0123456789"
CATALOGUE = TeamCatalogue(
    ({"model": "openai:gpt-5-mini", "input_per_million": None, "output_per_million": None},), is_known=True
)
_HUB = ("API_URL", "PUBLIC_HUB_URL", "HOST", "PUBLIC_URL")


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server's of a hub, which says nowhere where the hub is."""
    for name in (*(f"JUPYTERHUB_{part}" for part in _HUB), "PO_HUB_TOKEN", "PO_HUB_ORIGIN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", TOKEN)


@pytest.mark.parametrize(
    ("name", "value", "url"),
    [
        ("JUPYTERHUB_API_URL", "http://hub:8081/hub/api", "http://hub:8081/services/po"),
        ("JUPYTERHUB_PUBLIC_HUB_URL", "https://hub.example/hub/", "https://HUB.example:443/services/po"),
        ("JUPYTERHUB_HOST", "https://hub.example", "https://hub.example/services/po"),
        ("PO_HUB_ORIGIN", "http://proxy-public", "http://proxy-public/services/po"),
    ],
)
def test_the_hub_that_the_environment_names_gets_the_token_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, url: str
) -> None:
    monkeypatch.setenv(name, value)
    assert KeyStore(tmp_path, url).hub_token() == TOKEN


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example/services/po",
        "http://hub.example/services/po",
        "https://hub.example:8443/services/po",
        "https://hub.example.elsewhere.example/services/po",
        "https://ada.hub.example/services/po",
        "http://127.0.0.1:8000/services/po",
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_no_other_address_gets_the_token_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, named: bool
) -> None:
    if named:
        monkeypatch.setenv("JUPYTERHUB_API_URL", "http://127.0.0.1:8081/hub/api")
        monkeypatch.setenv("JUPYTERHUB_PUBLIC_HUB_URL", "https://hub.example/hub/")
    keys = KeyStore(tmp_path, url)
    assert keys.hub_token() == ""
    assert TOKEN not in str(keys.environment())
    assert keys.state("hub").source is None
    assert keys.team is not None
    assert "PO_HUB_ORIGIN" in keys.team.catalogue().problem
    with pytest.raises(ModelKeyError) as raised:
        monkeypatch.setattr(keys.team, "catalogue", lambda: CATALOGUE)
        keys.key_of("openai")
    assert "PO_HUB_ORIGIN" in raised.value.hint
    assert TOKEN not in str(raised.value)


def test_a_token_that_was_made_for_it_is_used_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PO_HUB_TOKEN", OWN)
    assert KeyStore(tmp_path, "https://elsewhere.example/services/po").hub_token() == OWN


def test_nothing_is_none_of_the_hubs_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is no URL is no reason to send it anywhere."""
    monkeypatch.setenv("JUPYTERHUB_HOST", "")
    monkeypatch.setenv("JUPYTERHUB_API_URL", "hub")
    assert KeyStore(tmp_path, "http://[bad/services/po").hub_token() == ""
