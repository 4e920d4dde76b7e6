"""The values of settings that have a shape of their own."""

import pytest
from pydantic import ValidationError

from po_jupyter.config import McpServer, Settings, load
from po_jupyter.errors import InvalidSettings


def test_an_mcp_server_has_one_way_to_be_reached() -> None:
    assert McpServer(command=("npx", "files")).url is None
    assert McpServer(url="https://tools.example/mcp").command is None
    for values in ({}, {"command": ["x"], "url": "https://a"}, {"url": "https://a", "env": ["TOKEN"]}):
        with pytest.raises(ValidationError):
            McpServer.model_validate(values)


def test_settings_are_frozen_and_hide_their_secrets() -> None:
    settings = Settings(auth_token="the-token-of-the-door")
    assert "the-token" not in repr(settings)
    with pytest.raises(ValidationError):
        settings.max_running = 3


@pytest.mark.parametrize(
    "token", ["hunter2", "fifteen-letters", "0123456789abcde ", "sixteen letters!", "ümlaute-überall-hier"]
)
def test_a_token_that_is_guessed_or_cannot_travel_in_a_header_is_refused(token: str) -> None:
    """C7: PO_AUTH_TOKEN shorter than 16 characters opened the door to whoever tried some words."""
    with pytest.raises(InvalidSettings) as caught:
        load({"PO_AUTH_TOKEN": token})
    assert "auth_token" in str(caught.value)
    assert "PO_AUTH_TOKEN" in str([violation.where for violation in caught.value.violations])
    assert token not in str(caught.value)
    assert load({"PO_AUTH_TOKEN": "sixteen-letters!"}).auth_token is not None
