"""Keys as they are read and shown; `tests/orchestrator/environment/test_key_store.py` stores them."""

import json
import os

import pytest

from po_jupyter.errors import StoreUnusable
from po_jupyter.llm.credentials import keys
from po_jupyter.llm.credentials.keys import StoredKey
from po_jupyter.llm.specs import spec_of

KEY = "sk-proj-abcdefghijklmnop"
HOME = "https://api.openai.com:443"


def stored(key=KEY, *, provider="openai", origin=HOME, problem=""):
    return StoredKey(provider, origin, "2026-11-26", "file", key, problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (KEY, None),
        (f"OPENAI_API_KEY={KEY}", "without `OPENAI_API_KEY=`"),
        (f'"{KEY}"', "without quotes"),
        (f"{KEY}\n", "spaces, line breaks"),
        ("two words", "spaces, line breaks"),
        ("", "too short"),
        ("short", "too short"),
        ("x" * 5000, "too long"),
    ],
)
def test_texts_that_are_no_key_are_explained_and_not_repeated(text, problem):
    """P10, P11."""
    reason = keys.problem_of_key(text, "OPENAI_API_KEY")
    assert (reason is None) if problem is None else (problem in reason)
    assert reason is None or len(text) < 6 or text not in reason


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://API.openai.com/v1", HOME),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000"),
        ("http://host", "http://host:80"),
        ("host/v1", ""),
        ("https://host:99999/", ""),
        ("", ""),
    ],
)
def test_a_key_belongs_to_scheme_host_and_port(url, origin):
    assert keys.origin_of(url) == origin


def test_a_url_is_shown_without_what_may_be_secret():
    """P10."""
    assert keys.shown_url("https://me:secret@host:1/v1?key=s#s") == "https://host:1/v1"
    assert keys.shown_url("https://[half") == "no URL"


def test_stored_keys_fill_what_the_environment_lacks_for_the_server_they_are_of():
    """P10, DESIGN Wire."""
    both = {"openai": stored(), "anthropic": stored(origin="https://elsewhere:443", provider="anthropic")}
    environ = {"PATH": "p"}
    assert keys.with_stored_keys(environ, both) == {"PATH": "p", "OPENAI_API_KEY": KEY}
    (provider,) = keys.refused_keys(environ, both)
    assert provider == "anthropic"
    assert "stored for https://elsewhere:443" in keys.refused_keys(environ, both)["anthropic"]
    mine = {"OPENAI_API_KEY": "sk-mine-0123456789", "ANTHROPIC_API_KEY": "x"}
    assert keys.with_stored_keys(mine, both) == mine and keys.refused_keys(mine, both) == {}


def test_a_key_that_cannot_be_read_is_not_used_and_says_why():
    damaged = stored(None, problem="the stored key is damaged")
    assert keys.reason_unused(spec_of("openai"), damaged, {}) == "the stored key is damaged"
    assert keys.with_stored_keys({}, {"openai": damaged}) == {}


def test_states_begin_with_the_providers_that_have_a_key():
    environ = {"ANTHROPIC_API_KEY": "sk-ant-0123456789abcdef"}
    first, second, *others = keys.key_states(environ, {"openai": stored()})
    assert {first.source, second.source} == {"file", "environment"}
    assert {first.provider, second.provider} == {"openai", "anthropic"}
    assert all(state.source is None and state.masked == "" for state in others)
    assert KEY not in repr([first, second]) + json.dumps([first.to_json(), second.to_json()])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"version": 99, "keys": {}}', "newer version"),
        ('{"version": 1, "keys": {"openai": 7}}', "damaged"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_with_what_to_do(tmp_path, text, problem):
    """P11."""
    (tmp_path / keys.FILE).write_text(text)
    (tmp_path / keys.FILE).chmod(0o600)
    with pytest.raises(StoreUnusable, match=problem) as caught:
        keys.read_entries(tmp_path)
    assert "po keys set PROVIDER" in caught.value.hint


def test_a_file_that_was_open_to_others_is_closed(tmp_path):
    assert keys.read_entries(tmp_path) == {}
    path = tmp_path / keys.FILE
    path.write_text(json.dumps({"version": 1, "keys": {"openai": {"for": HOME, "at": "now", "key": KEY}}}))
    path.chmod(0o644)
    assert keys.read_stored_keys(tmp_path) == {"openai": StoredKey("openai", HOME, "now", "file", KEY)}
    assert os.stat(path).st_mode & 0o077 == 0


def test_work_that_takes_too_long_is_given_up():
    """A keyring may have opened a window that nobody sees."""
    import threading

    hold = threading.Event()
    with pytest.raises(TimeoutError):
        keys.with_timeout(0.05, hold.wait)
    hold.set()
    assert keys.with_timeout(5, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        keys.with_timeout(5, lambda: 1 / 0)
