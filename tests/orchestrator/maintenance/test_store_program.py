"""The program behind `po store`: one JSON object in, progress and a report or an error out."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.orchestrator.maintenance import store_program
from po_jupyter.store.disk import migrations
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.testing.conformance.store import new_run


@pytest.fixture(autouse=True)
def _own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PO_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("PO_STORE", raising=False)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("structlog.configure", lambda **_: None)


def answers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **request: str) -> list[Any]:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(request)))
    capsys.readouterr()
    assert store_program.main() == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]


def test_a_store_is_looked_at_without_being_made_and_then_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (answer,) = answers(monkeypatch, capsys, action="check")
    assert (answer["report"]["format"], answer["report"]["ready"]) == (None, False)
    assert not (tmp_path / "data").exists()
    (answer,) = answers(monkeypatch, capsys, action="migrate")
    assert (answer["report"]["before"], answer["report"]["format"]) == (None, migrations.FORMAT)
    assert answers(monkeypatch, capsys, action="check")[0]["report"]["ready"]


def test_a_copy_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = DiskStore(tmp_path / "a" / "store")
    store.create_run(new_run("00a1"))
    store.close()
    request = {"action": "copy", "source": str(tmp_path / "a"), "target": str(tmp_path / "b")}
    *progress, last = answers(monkeypatch, capsys, **request)
    assert [line["progress"] for line in progress][:1] == [["runs", 0, 1]]
    assert progress[-1]["progress"] == ["checked", 1, 1]
    assert last["report"]["checked"] == 1


def test_what_goes_wrong_is_an_error_in_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (answer,) = answers(monkeypatch, capsys, action="burn")
    assert "nothing that can be done" in answer["error"]["message"]
    (answer,) = answers(
        monkeypatch, capsys, action="copy", source=str(tmp_path / "no"), target=str(tmp_path / "b")
    )
    assert "there is no store" in answer["error"]["message"]
