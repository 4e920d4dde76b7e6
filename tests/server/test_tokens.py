"""Scoped tokens: hashed at rest, valid for their time, listed, revoked, shared by the servers of a data directory."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from po_jupyter.errors import NotFound, StoreUnusable
from po_jupyter.server.tokens import FILE, ScopedTokens


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def made(
    tokens: ScopedTokens, owner: str = "ada", seconds: float = 100.0, name: str = "board"
) -> tuple[str, str]:
    text, view = tokens.create(
        name=name, scopes=["runs:read", "runs:read"], seconds=seconds, owner=owner, user="a"
    )
    return text, view["id"]


def test_a_token_is_valid_for_its_time_and_only_whole(tmp_path: Path) -> None:
    """C7."""
    clock = Clock()
    tokens = ScopedTokens(tmp_path, clock)
    text, token_id = made(tokens)
    found = tokens.find(text)
    assert found is not None
    assert found[0] == token_id
    assert (found[1]["owner"], found[1]["user"], found[1]["scopes"]) == ("ada", "a", ["runs:read"])
    for wrong in (
        text[:-1],
        text + "x",
        f"po_{token_id}_",
        "po_",
        "",
        text.upper(),
        text.removeprefix("po_"),
        "po_\ud800",
    ):
        assert tokens.find(wrong) is None
    clock.now += 99
    assert tokens.is_valid(token_id)
    clock.now += 1
    assert tokens.find(text) is None
    assert not tokens.is_valid(token_id)
    assert tokens.list("ada")[0]["expired"]


def test_of_a_token_only_its_digest_is_kept(tmp_path: Path) -> None:
    """C7, P10: and the file is its user's alone."""
    text, _ = made(ScopedTokens(tmp_path))
    content = (tmp_path / FILE).read_text()
    assert text not in content
    assert text.rpartition("_")[2] not in content
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_another_server_of_the_data_directory_knows_it_at_once(tmp_path: Path) -> None:
    one, other = ScopedTokens(tmp_path), ScopedTokens(tmp_path)
    assert other.find("po_x_y") is None
    text, token_id = made(one)
    assert other.find(text) is not None
    other.revoke(token_id, "ada")
    assert one.find(text) is None


def test_each_owner_has_their_own(tmp_path: Path) -> None:
    """P5."""
    tokens = ScopedTokens(tmp_path)
    _, mine = made(tokens, "ada")
    _, theirs = made(tokens, "grace")
    assert [one["id"] for one in tokens.list("ada")] == [mine]
    for wrong in (theirs, "nope", ""):
        with pytest.raises(NotFound, match="there is no token"):
            tokens.revoke(wrong, "ada")
    tokens.revoke(mine, "ada")
    assert tokens.list("ada") == []


def test_two_that_make_tokens_at_once_lose_none(tmp_path: Path) -> None:
    several = [ScopedTokens(tmp_path) for _ in range(4)]
    threads = [threading.Thread(target=lambda t=t: [made(t) for _ in range(5)]) for t in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(several[0].list("ada")) == 20


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"tokens": []}', '{"tokens": {"a": {}}}', '{"tokens": {"a": 3}}']
)
def test_a_file_that_cannot_be_read_makes_no_token_valid_and_is_not_overwritten(
    tmp_path: Path, content: str
) -> None:
    tokens = ScopedTokens(tmp_path)
    text, _ = made(tokens)
    whole = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text(content)
    assert tokens.find(text) is None
    if content != '{"tokens": []}':
        with pytest.raises(StoreUnusable, match="cannot be used"):
            made(tokens)
        assert (tmp_path / FILE).read_text() == content
    (tmp_path / FILE).write_text(whole)
    os.utime(tmp_path / FILE, (1, 1))
    assert tokens.find(text) is not None
    assert set(json.loads(whole)) == {"version", "tokens"}
