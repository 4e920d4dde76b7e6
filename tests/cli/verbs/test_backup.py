"""`po backup` and `po restore` in a terminal, without an orchestrator and beside one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.postgres.schema import VERSION
from po_jupyter.testing.conformance.store import new_run
from tests.cli.test_real_commands import Terminal
from tests.support.postgres import postgres_server

pytestmark = pytest.mark.integration


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    store = DiskStore(tmp_path / "data" / "store")
    store.create_run(new_run("01a218f49251499a5f9702"))
    store.close()
    (tmp_path / "data" / "keys.json").write_text("{}")
    return Terminal(tmp_path, {})


def test_backup_and_restore_say_what_they_did(tmp_path: Path, terminal: Terminal) -> None:
    output = terminal("backup")
    (archive,) = tmp_path.glob("po-backup-*.tar.gz")
    assert f"{archive}: 1 run with 1 record, 1 file, " in output
    assert "Keys that were stored in a file are in it" in output
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    output = terminal("restore", archive.name, "--to", "there")
    assert f"{tmp_path / 'there'} is as it was at 20" in output
    assert "1 run with 1 record, 1 file" in output
    assert sorted(os.listdir(tmp_path / "there")) == ["keys.json", "store"]


def test_without_a_place_it_goes_into_the_data_directory(tmp_path: Path, terminal: Terminal) -> None:
    terminal("backup", "a.tar.gz")
    refused = terminal("restore", "a.tar.gz", code=1)
    assert "is not empty (keys.json, store); nothing is restored over what is there" in refused
    assert "--to DIRECTORY" in refused
    (tmp_path / "data").rename(tmp_path / "old")
    report = terminal.json("restore", "a.tar.gz")
    assert report["data_dir"] == str(tmp_path / "data")
    assert report["store"] == {"runs": 1, "records": 1, "documents": 0}


def test_mistakes_are_errors_with_what_to_do(tmp_path: Path, terminal: Terminal) -> None:
    assert "is inside of what is copied" in terminal("backup", "data/a.tar.gz", code=2)
    assert "there is no archive" in terminal("restore", "a.tar.gz", code=1)
    (tmp_path / "a.tar.gz").write_text("mine")
    assert "not overwritten" in terminal("backup", "a.tar.gz", code=1)
    assert "not a whole archive" in terminal("restore", "a.tar.gz", "--to", "there", code=2)
    assert "there is no store" in Terminal(tmp_path / "data", {})("backup", "../b.tar.gz", code=1)


def test_the_format_of_a_store_is_said_and_made(tmp_path: Path, terminal: Terminal) -> None:
    assert "has format 1, as this program needs it" in terminal("store", "migrate", "--check")
    (tmp_path / "data").rename(tmp_path / "old")
    assert terminal.json("store", "migrate", "--check", code=1)["format"] is None
    assert not (tmp_path / "data").exists()
    assert "before it had none" in terminal("store", "migrate")
    assert terminal.json("store", "migrate", "--check")["ready"]


def test_a_database_is_looked_at_before_it_is_changed(tmp_path: Path) -> None:
    """A DBA reads the SQL; the password of the URL is in nothing that is printed."""
    with postgres_server() as server:
        server.execute("CREATE ROLE low LOGIN PASSWORD 'hunter2'")
        url = server.url("s")
        terminal = Terminal(tmp_path, {"PO_STORE": url})
        low = Terminal(tmp_path, {"PO_STORE": url.replace("nobody@", "low:hunter2@")})
        printed = low("store", "migrate", "--check", code=1)
        assert 'CREATE SCHEMA IF NOT EXISTS "s";' in printed
        assert "a role that may has to run this" in printed
        assert "this role may not change that" in low("store", "migrate", code=1)
        assert "`po store migrate` does this" in terminal("store", "migrate", "--check", code=1)
        assert "before it had none" in terminal("store", "migrate")
        grants = low.json("store", "migrate", "--check", code=1)
        assert all(line.startswith("GRANT ") for line in grants["sql"])
        for line in grants["sql"]:
            server.execute(line)
        assert low.json("store", "migrate")["ready"]
        server.execute("UPDATE s.format SET version = 70")
        printed += low("store", "migrate", "--check", code=1)
        assert f"its format is 70, this one knows {VERSION}" in printed
        assert "hunter2" not in printed


def test_a_store_is_copied_and_says_how_much(tmp_path: Path, terminal: Terminal) -> None:
    (tmp_path / "data" / "blobs").mkdir()
    (tmp_path / "data" / "blobs" / "x").write_text("1")
    output = terminal("store", "copy", "data", "there")
    assert "1 runs (1 copied now) with 1 records, 0 documents, 0 cached answers, 1 files" in output
    assert terminal.json("store", "copy", "data", "there")["copied"] == 0
    assert "there is no store" in terminal("store", "copy", "nowhere", "x", code=1)
    secret = "postgresql://me:hunter2@h:x/po"
    refused = terminal("store", "copy", secret, "x", code=2)
    assert "cannot be read" in refused
    assert "hunter2" not in refused
