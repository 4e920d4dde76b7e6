"""The values of settings that have a shape of their own."""

import pytest
from pydantic import ValidationError

from po_jupyter.config import McpServer, Settings


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
