"""The headless server: how it is reached, and that it does not start beside another or with what it cannot use."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from po_jupyter.server import __main__ as headless


class App:
    """The part of a server that writes how to reach it."""

    port, base_url = 8123, "/base/"
    identity_provider = SimpleNamespace(token="secret")

    def __init__(self, ready_file: Path) -> None:
        self.ready_file = ready_file

    write = headless.HeadlessApp.write_server_info_file
    remove = headless.HeadlessApp.remove_server_info_file


def write(app: Any) -> Any:
    app.write()
    return json.loads(app.ready_file.read_text())


@pytest.mark.skipif(sys.platform == "win32", reason="platform: files have no modes there")
def test_how_to_reach_it_is_for_its_user_only_and_whole(tmp_path: Path) -> None:
    """P6: the token is as good as the account."""
    app = App(tmp_path / "headless.json")
    app.ready_file.write_text("of an earlier server, and longer " * 100)
    app.ready_file.chmod(0o644)
    info = write(app)
    assert (info["url"], info["token"], info["pid"]) == ("http://127.0.0.1:8123/base/", "secret", os.getpid())
    assert stat.S_IMODE(app.ready_file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["headless.json"]


def test_a_server_that_ends_takes_away_its_own_file_only(tmp_path: Path) -> None:
    app: Any = App(tmp_path / "headless.json")
    write(app)
    app.remove()
    assert not app.ready_file.exists()
    app.remove()
    for other in (json.dumps({"pid": os.getpid() + 1}), "half a fi", "{}"):
        app.ready_file.write_text(other)
        app.remove()
        assert app.ready_file.read_text() == other


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, int]]:
    """The ready files and ports of the servers that were started."""
    apps: list[tuple[Path, int]] = []
    monkeypatch.setenv("PO_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(headless.os, "umask", lambda _: 0)
    monkeypatch.setattr(headless.headless, "runtime_dir", lambda settings: tmp_path / "run")

    def make_app(settings: Any, ready_file: Path, port: int) -> Any:
        return SimpleNamespace(start=lambda: apps.append((ready_file, port)))

    monkeypatch.setattr(headless, "make_app", make_app)
    return apps


def test_it_says_how_to_reach_it_where_clients_look(started: list[Any], tmp_path: Path) -> None:
    assert headless.main([]) == 0
    assert headless.main(["--ready-file", str(tmp_path / "mine.json"), "--port", "8124"]) == 0
    assert started == [(tmp_path / "run" / "headless.json", 0), (tmp_path / "mine.json", 8124)]


def test_two_of_one_data_directory_do_not_stand_in_one_place(
    started: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(headless.headless, "running", lambda settings: SimpleNamespace(pid=42))
    assert headless.main([]) == 3
    assert "running already (pid 42)" in capsys.readouterr().err
    assert headless.main(["--ready-file", str(tmp_path / "mine.json")]) == 0
    assert len(started) == 1


def test_a_port_that_is_taken_is_one_line(
    started: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """P11."""

    def taken(*_: Any) -> Any:
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(headless, "make_app", taken)
    assert headless.main(["--port", "80"]) == 3
    assert capsys.readouterr().err == "the orchestrator cannot start: [Errno 98] Address already in use\n"


def test_limits_of_a_provider_that_is_none_end_the_server_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """P11: `po start` says what is wrong; a server that is up and never ready would say `started`."""
    monkeypatch.setenv("PO_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("PO_RATE_LIMITS", '{"opnai": {"requests": 3}}')
    monkeypatch.setattr(headless, "make_app", lambda *_: pytest.fail("it would have started"))
    monkeypatch.setattr(headless.os, "umask", lambda _: 0)
    assert headless.main(["--ready-file", str(tmp_path / "ready.json")]) == 3
    assert "there is no provider 'opnai'; did you mean `openai`?" in capsys.readouterr().err
