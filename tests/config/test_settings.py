"""The values of settings that have a shape of their own."""

import json
from pathlib import Path

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


HOOK = "https://ops.example/hook"
SIGNED = "whsec_" + "A" * 44


@pytest.mark.parametrize(
    ("channel", "words"),
    [
        ({}, "either a `webhook`"),
        ({"webhook": HOOK}, "belong together"),
        ({"secret": SIGNED}, "either a `webhook`"),
        ({"webhook": HOOK, "secret": SIGNED, "apprise": "json://localhost"}, "either a `webhook`"),
        ({"webhook": HOOK, "secret": "hunter2hunter2"}, "whsec_"),
        ({"webhook": HOOK, "secret": "whsec_c2hvcnQ="}, "24 to 64 bytes"),
        ({"webhook": HOOK, "secret": "whsec_not base64 at all, hunter2"}, "24 to 64 bytes"),
        ({"webhook": "file:///etc/passwd", "secret": SIGNED}, "https://"),
        ({"webhook": "gopher://ops.example", "secret": SIGNED}, "https://"),
        ({"webhook": "https://", "secret": SIGNED}, "https://"),
        ({"webhook": "https://ops.example:port/", "secret": SIGNED}, "https://"),
        ({"webhook": "https://me:hunter2@ops.example/", "secret": SIGNED}, "name or a password"),
        ({"webhook": HOOK, "secret": SIGNED, "events": ["end"]}, "done"),
        ({"webhook": HOOK, "secret": SIGNED, "event": []}, "events"),
    ],
)
def test_a_channel_that_cannot_work_is_refused_without_its_secrets(
    channel: dict[str, object], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P10: what is wrong is said, and the value that is wrong is not."""
    monkeypatch.setenv("PO_NOTIFICATIONS", json.dumps({"ops": channel}))
    with pytest.raises(InvalidSettings) as caught:
        load()
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value) and SIGNED not in str(caught.value)
    assert "hunter2" not in json.dumps(caught.value.to_json())


def test_what_only_the_server_may_know_is_not_handed_to_workers(tmp_path: Path) -> None:
    """P10."""
    channel = {"webhook": HOOK, "secret": SIGNED}
    settings = Settings(data_dir=tmp_path, auth_token="the-token-of-the-door", notifications={"ops": channel})
    assert set(Settings.model_fields) - set(settings.shared_json()) == {
        "auth_token", "log_remote_token", "notifications",
    }  # fmt: skip
    assert Settings.model_validate(settings.shared_json()).notifications == {}
    assert SIGNED not in repr(settings) and "ops.example" not in repr(settings)


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
