"""Channels of notifications in the settings: what cannot work is refused, and no secret is repeated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from po_jupyter.config import SECRETS, Settings, load
from po_jupyter.errors import InvalidSettings

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
        ({"apprise": "hunter2"}, "apprise writes it"),
        ({"apprise": "hunter2:and/more"}, "apprise writes it"),
        ({"apprise": "hunter2 hunter2://x"}, "apprise writes it"),
        ({"apprise": "://hunter2"}, "apprise writes it"),
        ({"apprise": ""}, "apprise writes it"),
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
    shared = settings.model_dump(mode="json", exclude=set(SECRETS))
    assert Settings.model_validate(shared).notifications == {}
    assert SIGNED not in repr(settings) and "ops.example" not in repr(settings)
