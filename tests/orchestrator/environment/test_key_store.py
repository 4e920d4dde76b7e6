"""Keys that people store: kept unreadable for others, given to runs at once, seen nowhere (G16, P10)."""

from __future__ import annotations

import json
import logging
import os
import stat
import threading
from pathlib import Path
from typing import Any

import keyring
import pytest
from keyring.backend import KeyringBackend

from po_jupyter.errors import InvalidEnvironment, InvalidInput, NotFound, PoError, StoreUnusable
from po_jupyter.llm.credentials import keys as llm_keys
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.telemetry.redaction import redactor
from po_jupyter.testing.model_server import ModelServer
from tests.support.orchestrator import body, orchestrator, wait_for_state

KEY = "sk-Zq7TtTb3vRkW9xYp2LmN8cJh5sDf"
OTHER = "sk-Aa1Bb2Cc3Dd4Ee5Ff6Gg7Hh8Ii9J"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own keys and keyring are not meant here."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(llm_keys, "keyring_backend", lambda: None)


def test_a_key_is_kept_for_its_owner_alone_and_shown_masked(tmp_path: Path) -> None:
    """G16: one 0600 file, whole or not at all; the list says enough to tell two keys apart."""
    keys = KeyStore(tmp_path / "data")
    keys.put("openai", f"  {KEY}\n")
    file = tmp_path / "data" / "keys.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    state = keys.state("openai")
    assert (state.source, state.masked, state.stored, state.note) == ("file", "sk-…5sDf", True, "")
    assert state.base_url == "https://api.openai.com/v1"
    assert KEY not in repr((keys, state, keys.stored(), state.to_json()))
    assert redactor.text(f"key {KEY}") == "key ********", "what was stored is known to every log"
    assert KeyStore(tmp_path / "data").environment()[0]["OPENAI_API_KEY"] == KEY
    keys.put("openai", OTHER)
    assert keys.environment()[0]["OPENAI_API_KEY"] == OTHER
    keys.remove("openai")
    assert "OPENAI_API_KEY" not in keys.environment()[0]
    assert OTHER not in file.read_text()
    with pytest.raises(NotFound, match="no key of openai is stored"):
        keys.remove("openai")


def test_a_short_key_shows_nothing(tmp_path: Path) -> None:
    """P10: four letters of eight would be half of it."""
    assert llm_keys.mask("abcdefgh") == "…"
    assert llm_keys.mask(KEY) == "sk-…5sDf"


def test_another_server_of_the_directory_sees_the_change(tmp_path: Path) -> None:
    """DESIGN 5: two servers on one data directory are normal."""
    one, two = KeyStore(tmp_path), KeyStore(tmp_path)
    assert two.environment()[0].get("OPENAI_API_KEY") is None
    one.put("openai", KEY)
    assert two.environment()[0]["OPENAI_API_KEY"] == KEY
    two.remove("openai")
    assert one.environment()[0].get("OPENAI_API_KEY") is None


def test_the_environment_wins_and_the_list_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = KeyStore(tmp_path)
    keys.put("openai", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", OTHER)
    assert keys.environment()[0]["OPENAI_API_KEY"] == OTHER
    state = keys.state("openai")
    assert (state.source, state.masked, state.stored) == ("environment", llm_keys.mask(OTHER), True)
    assert "wins over the stored key" in state.note


def test_a_stored_key_goes_to_the_server_it_was_stored_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P10, DESIGN Wire: who changes a base URL is not sent the key; the list and the check say why."""
    keys = KeyStore(tmp_path)
    keys.put("openai", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "https://elsewhere.example/v1")
    environ, refused = keys.environment()
    assert "OPENAI_API_KEY" not in environ
    assert "stored for https://api.openai.com:443" in refused["openai"]
    assert "elsewhere.example" in keys.state("openai").note
    assert keys.state("openai").source is None
    keys.put("openai", KEY)  # now it is meant for that one
    assert keys.environment()[0]["OPENAI_API_KEY"] == KEY
    monkeypatch.setenv("OPENAI_BASE_URL", "https://elsewhere.example/other/v1")
    assert keys.environment()[0]["OPENAI_API_KEY"] == KEY, "the same server"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere.example/v1")
    assert "OPENAI_API_KEY" not in keys.environment()[0], "unencrypted is another thing"


BAD = {
    "spaces": "sk-Zq7TtTb3 vRkW9xYp2",
    "a line break": "sk-Zq7TtTb3\nvRkW9xYp2",
    "letters beyond ASCII": "sk-Zq7TtTb3é…vRkW9",
    "too short": "sk-1",
    "empty": "",
    "too long": "x" * 5000,
    "quotes": f'"{KEY}"',
    "the variable": f"OPENAI_API_KEY={KEY}",
    "a control character": "sk-Zq7TtTb3\x1bvRkW9xYp2",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_what_cannot_be_a_key_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    """P10, P11: one clear error, nothing changed, nothing echoed."""
    keys = KeyStore(tmp_path)
    keys.put("openai", OTHER)
    with pytest.raises(InvalidInput, match="not a key of openai") as raised:
        keys.put("openai", text)
    said = json.dumps(raised.value.to_json(), ensure_ascii=False)
    assert not text or text not in said
    assert "Zq7T" not in said
    assert keys.environment()[0]["OPENAI_API_KEY"] == OTHER


def test_a_provider_that_is_none_or_takes_no_key(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path)
    with pytest.raises(InvalidInput, match="did you mean `openai`"):
        keys.put("opnai", KEY)
    with pytest.raises(InvalidInput, match="takes no key") as refused:
        keys.put("local", KEY)
    assert "openai" in refused.value.hint and "local" not in refused.value.hint, "not among those that do"
    with pytest.raises(InvalidInput) as raised:
        keys.put(KEY, KEY)
    assert KEY not in str(raised.value)
    assert not (tmp_path / "keys.json").exists()


def test_a_file_that_others_could_read_is_closed_and_a_damaged_one_refused(tmp_path: Path) -> None:
    """P11: what to do is said; runs that need none of it go on."""
    keys, file = KeyStore(tmp_path), tmp_path / "keys.json"
    keys.put("openai", KEY)
    file.chmod(0o644)
    assert KeyStore(tmp_path).environment()[0]["OPENAI_API_KEY"] == KEY
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for damage in (
        '{"version": 1',
        "[]",
        '{"version": 99, "keys": {}}',
        '{"keys": {"openai": 3}, "version": 1}',
        "\x80",
    ):
        file.write_text(damage)
        with pytest.raises(StoreUnusable, match="stored keys") as raised:
            KeyStore(tmp_path).stored()
        assert "po keys set" in raised.value.hint
        environ, refused = KeyStore(tmp_path).environment()
        assert "OPENAI_API_KEY" not in environ
        assert "cannot be used" in refused["openai"]
    file.unlink()
    file.symlink_to("/etc/passwd")
    with pytest.raises(StoreUnusable):
        KeyStore(tmp_path).stored()


class InMemory(KeyringBackend):
    """What the Secret Service would be."""

    priority = 5

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise RuntimeError(f"locked, and this text may have {KEY} in it")
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.locked:
            raise RuntimeError("locked")
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


InMemory.__module__ = "keyring.backends.SecretService"


@pytest.mark.integration
def test_the_systems_keyring_has_it_when_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """G16: then the file has no key; a locked keyring is said and does not stop the list."""
    monkeypatch.undo()
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    before, backend = keyring.get_keyring(), InMemory()
    keyring.set_keyring(backend)
    try:
        keys = KeyStore(tmp_path)
        keys.put("openai", KEY)
        assert KEY not in (tmp_path / "keys.json").read_text()
        assert list(backend.kept.values()) == [KEY]
        assert (keys.state("openai").source, keys.state("openai").masked) == ("keyring", "sk-…5sDf")
        assert keys.environment()[0]["OPENAI_API_KEY"] == KEY

        backend.locked = True
        fresh = KeyStore(tmp_path)
        environ, refused = fresh.environment()
        assert "OPENAI_API_KEY" not in environ
        assert "cannot be read (RuntimeError)" in refused["openai"]
        assert KEY not in refused["openai"]
        keys.put("openai", OTHER)  # it refuses: the file takes it
        assert keys.state("openai").source == "file"
        backend.locked = False
        assert fresh.environment()[0]["OPENAI_API_KEY"] == OTHER

        keys.put("openai", KEY)
        assert OTHER not in (tmp_path / "keys.json").read_text()
        keys.remove("openai")
        assert not backend.kept
    finally:
        keyring.set_keyring(before)


@pytest.mark.integration
def test_a_keyring_that_never_answers_holds_nobody_up_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P9: it opened a window that nobody sees. Submissions and starts of workers all look at the keys."""
    monkeypatch.undo()
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr(llm_keys, "KEYRING_TIMEOUT", 0.2)
    before, backend, asked = keyring.get_keyring(), InMemory(), []
    closed = threading.Event()
    keyring.set_keyring(backend)
    try:
        KeyStore(tmp_path).put("openai", KEY)
        monkeypatch.setattr(
            InMemory, "get_password", lambda self, service, name: asked.append(name) or closed.wait(10)
        )
        keys = KeyStore(tmp_path)
        for _ in range(5):
            assert "cannot be read (TimeoutError)" in keys.environment()[1]["openai"]
        assert len(asked) == 1
        keys._retry_at = 0.0
        keys.environment()
        assert len(asked) == 2, "it may be open now"
    finally:
        closed.set()
        keyring.set_keyring(before)


@pytest.mark.integration
def test_a_keyring_that_is_none_is_not_used() -> None:
    """A backend that keeps nothing, or keeps it in the open, is no keyring."""
    from keyring.backends import fail, null

    before = keyring.get_keyring()
    try:
        for backend in (fail.Keyring(), null.Keyring()):
            keyring.set_keyring(backend)
            assert llm_keys.keyring_backend() is None
    finally:
        keyring.set_keyring(before)


def prompt(model: str = "openai:test", **more: Any) -> dict[str, Any]:
    return body({"name": "say", "prompt": "x", "llm": model, "retry": {"max_attempts": 1}, **more})


def everything_written(data_dir: Path) -> bytes:
    """Every byte below the data directory but the file of keys itself."""
    files = (p for p in data_dir.rglob("*") if p.is_file() and p.name != "keys.json")
    return b"".join(p.read_bytes() for p in files)


@pytest.mark.integration
async def test_the_next_run_has_the_key_without_a_restart_and_nobody_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """G16, P10: refused, stored, runs; then the key is searched for in every place that people look at."""
    code = (
        "import os\nasync def ingestion(ctx):\n    await ctx.llm.chat('x', model='openai:any')\n"
        "    import gc\n    found = [o for o in gc.get_objects() if isinstance(o, dict) and 'OPENAI_API_KEY' in o]\n"
        "    print(found)\n    return [len(found), str(found), dict(os.environ)]\n"
    )
    caplog.set_level(logging.DEBUG)
    with ModelServer(lambda b, n: "hello", key=KEY) as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        async with orchestrator(tmp_path) as service:
            with pytest.raises(InvalidEnvironment):
                await service.submissions.submit(prompt(), owner="local")
            state = await service.environment.set_key("openai", KEY)
            cases = [prompt(), body({"name": "leak", "source": code})]
            runs = []
            for case in cases:
                view, _ = await service.submissions.submit(case, owner="local")
                runs.append(await wait_for_state(service, view.id))
            told = [await service.environment.list_keys(), await service.doctor.examine(online=True), state]
            for run in runs:
                assert run.state == "done", run.error
                told += [
                    run.model_dump(),
                    await service.runs.events(run.id, None),
                    await service.results.outputs(run.id, None),
                ]
                told += [await service.results.logs(run.id, None), await service.results.calls(run.id, None)]
            commands = b"".join(p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists())
            await service.environment.remove_key("openai")
            with pytest.raises(InvalidEnvironment):
                await service.submissions.submit(prompt(), owner="local")
        assert model.requests
    assert KEY not in json.dumps(told, default=str)
    assert KEY.encode() not in commands
    assert KEY.encode() not in everything_written(tmp_path)
    assert KEY not in caplog.text


@pytest.mark.integration
async def test_a_wrong_key_fails_the_run_and_stays_unseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P10: also when the server echoes it."""
    with ModelServer(lambda b, n: "hello", key=KEY) as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        async with orchestrator(tmp_path) as service:
            await service.environment.set_key("openai", OTHER)
            view, _ = await service.submissions.submit(prompt(), owner="local")
            ended = await wait_for_state(service, view.id)
            assert ended.tasks[0].error is not None
            assert ended.tasks[0].error["code"] == "model_key"
            found = {one["what"]: one for one in await service.doctor.examine(online=True)}
            assert OTHER not in json.dumps([ended.model_dump(), found])
    assert OTHER.encode() not in everything_written(tmp_path)


@pytest.mark.integration
async def test_errors_of_keys_are_errors_of_ours(tmp_path: Path) -> None:
    async with orchestrator(tmp_path) as service:
        for provider, key in (("nobody", KEY), ("fake", KEY), ("openai", "short")):
            with pytest.raises(PoError) as raised:
                await service.environment.set_key(provider, key)
            assert KEY not in str(raised.value)
        with pytest.raises(NotFound):
            await service.environment.remove_key("gemini")
