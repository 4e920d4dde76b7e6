"""Whose a store is: one person by any way in, and nobody else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from po_jupyter.config import owner
from po_jupyter.config.owner import default_owner
from po_jupyter.errors import StoreUnusable


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)


def test_the_owner_is_the_hubs_user_or_local(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_owner() == "local"
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    assert default_owner() == "ada"


def test_another_user_of_the_hub_is_refused_with_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C9: two users on one directory by an admin's mistake ran one's code in the other's server."""
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    assert owner.claim(tmp_path).owner == "ada"
    assert stat.S_IMODE((tmp_path / owner.FILE).stat().st_mode) == 0o600
    assert owner.claim(tmp_path).owner == "ada"
    monkeypatch.setenv("JUPYTERHUB_USER", "grace")
    for ask in (owner.check, owner.claim):
        with pytest.raises(StoreUnusable, match="belongs to 'ada' on this hub, not to 'grace'") as caught:
            ask(tmp_path)
        assert "PO_DATA_DIR" in caught.value.hint
        assert str(tmp_path / owner.FILE) in caught.value.hint


def test_another_user_of_the_machine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C9: by number, where a file system says that everything belongs to everybody."""
    owner.claim(tmp_path)
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with pytest.raises(StoreUnusable, match=f"another user \\(uid {uid}, not {uid + 1}\\)"):
        owner.check(tmp_path)


@pytest.mark.parametrize(("first", "then"), [("ada", None), (None, "ada")])
def test_one_person_is_one_owner_on_the_hub_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str | None, then: str | None
) -> None:
    """C9: in Lab, in a terminal, over SSH, under `po start`: whichever came first gave the name."""
    names = []
    for user in (first, then, first):
        if user is None:
            monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
        else:
            monkeypatch.setenv("JUPYTERHUB_USER", user)
        names.append(owner.claim(tmp_path).owner)
        assert owner.owner_of(tmp_path).owner == names[0]
    assert len(set(names)) == 1
    assert owner.owner_of(tmp_path).hub_user == "ada"
    monkeypatch.setenv("JUPYTERHUB_USER", "grace")
    with pytest.raises(StoreUnusable):
        owner.claim(tmp_path)


@pytest.mark.parametrize(
    ("earlier", "hub_user", "expected"),
    [
        ("ada", None, "ada"),
        ("local", "ada", "local"),
        ("ada", "ada", "ada"),
        ("eve", "ada", "ada"),
        (None, None, "local"),
    ],
)
def test_a_store_of_an_earlier_version_keeps_the_name_of_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: str | None, hub_user: str | None, expected: str
) -> None:
    if hub_user:
        monkeypatch.setenv("JUPYTERHUB_USER", hub_user)
    assert owner.claim(tmp_path, earlier).owner == expected


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null"])
def test_a_file_that_says_nothing_is_an_error_and_no_invitation(tmp_path: Path, text: str) -> None:
    (tmp_path / owner.FILE).write_text(text)
    with pytest.raises(StoreUnusable, match="does not say whose it is"):
        owner.claim(tmp_path)
    assert owner.owner_of(tmp_path).owner == "local"


def test_nobody_has_used_a_directory_that_is_not_there(tmp_path: Path) -> None:
    assert owner.check(tmp_path / "missing") is None
    assert owner.owner_of(tmp_path / "missing").owner == "local"
