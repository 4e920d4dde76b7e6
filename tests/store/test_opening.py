"""Which store the settings name, and what a URL that is none says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from po_jupyter.config import Settings, load
from po_jupyter.errors import InvalidInput, InvalidSettings, StoreUnusable
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.opening import open_store
from po_jupyter.store.postgres.store import PostgresStore
from po_jupyter.telemetry.redaction import secrets_of

URL = "postgresql://me:hun%40ter2@db.example:5433/po?schema=team&sslmode=require"


def test_without_a_url_it_is_in_the_directory(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", None, shards=2)
    assert isinstance(store, DiskStore)
    store.close()


@pytest.mark.parametrize("url", ["mysql://h/d", "", "/a/path", "postgresql://h/d?nonsense=1"])
def test_a_url_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidInput):
        open_store(tmp_path, url)
    if not url.startswith("postgresql"):
        with pytest.raises(InvalidSettings, match="store"):
            load({"PO_STORE": url or "x", "PO_DATA_DIR": str(tmp_path)})


def test_a_missing_library_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "po_jupyter.store.postgres.store", raising=False)
    monkeypatch.delitem(sys.modules, "po_jupyter.store.postgres.schema", raising=False)
    with pytest.raises(StoreUnusable, match="psycopg") as caught:
        open_store(tmp_path, URL)
    assert "po_jupyter[postgres]" in (caught.value.hint or "")


def test_the_password_is_seen_nowhere() -> None:
    """P10: as it is written in the URL, and as it is."""
    settings = Settings(store=URL)
    assert "ter2" not in repr(settings) + settings.model_dump_json()
    assert secrets_of({}, settings) == ["hun%40ter2", "hun@ter2"]


@pytest.mark.parametrize("password", ["gehe#im", "gehe?im", "gehe[im", "gehe%zzim", "gehe/im", "gehe@im"])
def test_a_password_that_is_not_encoded_is_seen_nowhere_either(tmp_path: Path, password: str) -> None:
    url = f"postgresql://po:{password}@127.0.0.1:1/x"
    assert password in secrets_of({}, Settings(store=url))
    with pytest.raises((InvalidInput, StoreUnusable)) as caught:
        store = PostgresStore(url, patience=0.2)
        store.close()
    assert "gehe" not in str(caught.value.to_json())


@pytest.mark.parametrize("url", ["mysql://a:geheim@h/d", "a:geheim", "geheim"])
def test_a_setting_that_is_no_url_of_a_store_is_not_repeated(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        load({"PO_STORE": url, "PO_DATA_DIR": str(tmp_path)})
    assert "geheim" not in str(caught.value.to_json())


def test_a_password_among_the_options_is_known() -> None:
    assert secrets_of({}, Settings(store="postgresql://h/d?password=a%20b&x=1")) == ["a%20b", "a b"]
