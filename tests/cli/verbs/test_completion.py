"""`po completion`: installed once, by one command, and gone through by a real shell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import CompletionItem

from po_jupyter.cli import base
from po_jupyter.cli.main import VERBS
from tests.support.cli import fake_run, make_view
from tests.support.paths import ROOT

pytestmark = pytest.mark.integration  # click asks bash for its version


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "it's home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.mark.parametrize(("shell", "startup"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", None)])
def test_it_is_installed_once_and_says_what_changed(
    po: Any, home: Path, shell: str, startup: str | None
) -> None:
    if startup is not None:
        (home / startup).write_text("export MINE=1\n# no newline at the end")
    code, out, _ = po("completion", "install", "--shell", shell)
    assert code == 0
    files = [path for path in home.rglob("*") if path.is_file()]
    assert all(str(path) in out for path in files), "each file that changed is named"
    assert f"new {shell} shells" in out
    before = {path: path.read_text() for path in files}
    assert any("_PO_COMPLETE" in text for text in before.values())
    if startup is not None:
        lines = (home / startup).read_text().splitlines()
        assert lines[:2] == ["export MINE=1", "# no newline at the end"]
        assert len(lines) == 3
    code, out, _ = po("completion", "install", "--shell", shell)
    assert (code, out) == (0, f"{shell} completes po already\n")
    assert {path: path.read_text() for path in before} == before
    assert json.loads(po("completion", "install", "--shell", shell, "--json")[1]) == {
        "shell": shell,
        "changed": [],
    }


def test_an_older_line_of_ours_is_replaced(po: Any, home: Path) -> None:
    po("completion", "install", "--shell", "bash")
    rc = home / ".bashrc"
    rc.write_text(rc.read_text().replace(".config", ".elsewhere"))
    _, out, _ = po("completion", "install", "--shell", "bash")
    assert "line added" in out
    assert len(rc.read_text().splitlines()) == 1


def test_the_start_up_file_keeps_every_other_byte(po: Any, home: Path) -> None:
    """Form feeds, carriage returns and U+2028 are content in a shell; only a newline ends a line."""
    rc = home / ".bashrc"
    mine = "a=1\x0cb\x1cc\u2028d\x85e\r\nf=\r2\n\n".encode() + b"g=\xff\n\n"
    rc.write_bytes(mine)
    po("completion", "install", "--shell", "bash")
    assert rc.read_bytes().startswith(mine)
    assert rc.read_bytes().count(b"\n") == mine.count(b"\n") + 1


def test_the_start_up_file_stays_a_link_with_its_mode(po: Any, home: Path) -> None:
    dotfiles = home / "dotfiles"
    dotfiles.mkdir()
    (dotfiles / "bashrc").write_text("export MINE=1\n")
    (dotfiles / "bashrc").chmod(0o640)
    (home / ".bashrc").symlink_to("dotfiles/bashrc")
    po("completion", "install", "--shell", "bash")
    assert (home / ".bashrc").is_symlink()
    assert (dotfiles / "bashrc").stat().st_mode & 0o777 == 0o640
    assert "_" in (dotfiles / "bashrc").read_text().removeprefix("export MINE=1\n")
    assert [path.name for path in dotfiles.iterdir()] == ["bashrc"]


def test_a_write_that_fails_leaves_the_start_up_file_as_it_was(
    po: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rc = home / ".bashrc"
    rc.write_text("export MINE=1\n")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = po("completion", "install", "--shell", "bash")
    assert code != 0 and "No space left" in err
    assert rc.read_text() == "export MINE=1\n"
    assert [path.name for path in home.iterdir() if path.is_file()] == [".bashrc"]


def test_the_shell_is_that_of_the_user(po: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/zsh")
    assert "#compdef po" in po("completion", "show")[1]
    assert json.loads(po("completion", "show", "--json")[1])["shell"] == "zsh"
    monkeypatch.setenv("SHELL", "/bin/dash")
    code, _, err = po("completion", "install")
    assert code == 2
    assert "dash" in err and "--shell" in err
    monkeypatch.delenv("SHELL")
    assert po("completion", "install")[0] == 2


def environ_of(home: Path) -> dict[str, str]:
    """An environment with `po` on the path, and without anything of the person who runs the tests."""
    po = home / "bin" / "po"
    po.parent.mkdir(exist_ok=True)
    po.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m po_jupyter \"$@\"\n")
    po.chmod(0o755)
    path = f"{po.parent}:{os.environ['PATH']}"
    return {**os.environ, "HOME": str(home), "PATH": path, "PYTHONPATH": str(ROOT), "TERM": "dumb"}


def shell(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: {name})")
    return found


def in_bash(home: Path, words: str, place: int) -> list[str]:
    """What a real bash offers: a new one, with the start-up file that was installed."""
    script = f"""
    . ~/.bashrc
    COMP_WORDS=({words}); COMP_CWORD={place}
    _po_completion po
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=environ_of(home), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout.split()


def test_a_real_bash_completes_verbs_and_options(po: Any, home: Path) -> None:
    po("completion", "install", "--shell", "bash")
    assert in_bash(home, "po re", 1) == [verb for verb in VERBS if verb.startswith("re")]
    assert "--failed" in in_bash(home, "po rows x --f", 3)
    assert in_bash(home, "po show x", 2) == [], "no orchestrator: nothing is offered, and none is started"


def in_fish(home: Path, line: str) -> list[str]:
    """What a real fish offers; it finds the installed script by itself."""
    done = subprocess.run(
        [shell("fish"), "-c", f"complete -C '{line}'"],
        env=environ_of(home), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return [offer.split("\t")[0] for offer in done.stdout.splitlines()]


def test_a_real_fish_completes_verbs_and_options(po: Any, home: Path) -> None:
    po("completion", "install", "--shell", "fish")
    assert sorted(in_fish(home, "po re")) == sorted(verb for verb in VERBS if verb.startswith("re"))
    assert "--failed" in in_fish(home, "po rows x --f")
    assert in_fish(home, "po show x") == []


# An interactive zsh in a pseudo-terminal of zsh's own: a line is typed into it, then Tab, and what it shows is printed.
ZPTY = r"""
zmodload zsh/zpty
zpty zsh "$1 -i"
zpty -w zsh "PS1='> '; LISTMAX=1000; setopt no_beep no_prompt_cr; stty cols 200; echo BEG''UN"
zpty -r zsh shown '*BEGUN*'
zpty -w -n zsh "$2"$'\t\t'
zpty -w -n zsh $'\C-a: \C-e; echo OV\'\'ER\n'
zpty -r zsh shown '*OVER*'
print -r -- "$shown"
zpty -d zsh
"""


def in_zsh(home: Path, line: str) -> str:
    """What a real interactive zsh shows after `line` and Tab; its start-up file loads the installed script."""
    done = subprocess.run(
        [shell("zsh"), "-f", "-c", ZPTY, "zsh", shell("zsh"), line],
        env=environ_of(home), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


def test_a_real_zsh_completes_verbs_and_options(po: Any, home: Path) -> None:
    po("completion", "install", "--shell", "zsh")
    offered = in_zsh(home, "po re")
    assert all(verb in offered for verb in VERBS if verb.startswith("re")), offered
    assert "--failed" in in_zsh(home, "po rows x --f")


def test_runs_are_offered_by_the_end_of_their_id(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client.close = lambda: None
    client.runs_there = [fake_run(make_view("running"))]
    monkeypatch.setattr("po_jupyter.client.discovery.connect", lambda **_: client)
    found: list[CompletionItem] = base._runs_for_shell(None, None, "be")
    assert [(item.value, item.help) for item in found] == [("be7f3a", "tickets running")]
    assert base._runs_for_shell(None, None, "zz") == []
