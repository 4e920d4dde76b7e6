"""The command line in this process, over the client of po_fakes.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.cli import base
from tests.support.cli import FakeClient
from tests.support.start_mode import forget_environment


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    fake = FakeClient()
    monkeypatch.setattr(base, "connect", fake.connect)
    return fake


class Po:
    """`po("runs", "--json")` → (exit code, stdout, stderr)."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *args: str) -> tuple[int, str, str]:
        from po_jupyter.cli import main

        self._capsys.readouterr()
        code = main.run(args)
        out, err = self._capsys.readouterr()
        return code, out, err


@pytest.fixture
def po(capsys: pytest.CaptureFixture[str]) -> Po:
    return Po(capsys)


@pytest.fixture(autouse=True)
def _own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget_environment(monkeypatch, "PO_", "JPY_", "JUPYTERHUB_")
    monkeypatch.setenv("PO_DATA_DIR", str(tmp_path / "data"))
