"""What only some systems have is in `platform`: nothing else names it, and each name there has a form for Windows."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGE = ROOT / "po_jupyter"

# Names of Python's that are missing on Windows, or do something else there.
NAMES = frozenset({
    "fork", "forkpty", "setsid", "getsid", "setpgid", "getpgid", "killpg", "waitpid", "waitid", "WNOHANG", "WNOWAIT",
    "pidfd_open", "prctl", "fcntl", "flock", "lockf", "msvcrt", "resource", "setrlimit", "getrlimit", "alarm", "nice",
    "AF_UNIX", "SO_PEERCRED", "open_unix_connection", "start_unix_server", "send_fds", "recv_fds",
    "SIGKILL", "SIGHUP", "SIGCHLD", "SIGCONT", "SIGSTOP", "SIGALRM", "SIGUSR1", "SIGUSR2",
    "add_signal_handler", "set_wakeup_fd", "set_blocking", "get_blocking",
    "getuid", "geteuid", "getgid", "getegid", "st_uid", "st_gid",
    "chmod", "fchmod", "lchmod", "chown", "fchown", "umask", "S_IMODE", "S_IWOTH", "S_IWGRP", "S_IRWXO",
    "statvfs", "posix_fallocate", "memfd_create",
})  # fmt: skip
MODULES = frozenset({"fcntl", "msvcrt", "resource", "pwd", "grp", "termios", "pty", "winreg"})
TEXTS = re.compile(r"^/proc(/|$)|^/dev/(?!null)|^SIG[A-Z]+$")
OF_SYSTEM = frozenset({"os", "signal", "socket", "asyncio", "stat"})
WORDS = frozenset(
    {"resource", "fork", "alarm"}
)  # have other meanings, unless they are attributes of the system's


def sources() -> list[Path]:
    return [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if not {"ui", "platform"} & set(path.relative_to(PACKAGE).parts[:1])
    ]


def names_of(tree: ast.AST) -> Iterator[tuple[int, str, str | None]]:
    """Each name that is read, with what it is an attribute of: "" for a plain name, None for an expression."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.lineno, node.attr, node.value.id if isinstance(node.value, ast.Name) else None
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.lineno, node.id, ""


def imports_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, (node.module or "").partition(".")[0]


def texts_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def modes_of(text: str) -> Iterator[tuple[int, str]]:
    """Octal numbers: nothing but the mode of a file is ever written like that."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NUMBER and token.string.lower().startswith("0o"):
            yield token.start[0], token.string


def offences(text: str) -> list[str]:
    """`LINE: NAME` of everything in a module that only some systems have."""
    tree = ast.parse(text)
    from_system = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in OF_SYSTEM
        for alias in node.names
    }
    found = [
        (line, name)
        for line, name, base in names_of(tree)
        if name in NAMES and (name not in WORDS or base in OF_SYSTEM or (base == "" and name in from_system))
    ]
    found += [(line, name) for line, name in imports_of(tree) if name in MODULES]
    found += [(line, name) for line, name in texts_of(tree) if TEXTS.search(name)]
    found += list(modes_of(text)) if "0o" in text else []
    return [f"{line}: {name}" for line, name in sorted(set(found))]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import os\nos.fork()", ["2: fork"]),
        ("from os import fork\nfork()", ["2: fork"]),
        ("import fcntl", ["1: fcntl"]),
        ("import signal\nsignal.SIGKILL", ["2: SIGKILL"]),
        ("loop.add_signal_handler(15, stop)", ["1: add_signal_handler"]),
        ("getattr(signal, 'SIGKILL')", ["1: SIGKILL"]),
        ("open('/proc/self/stat')", ["1: /proc/self/stat"]),
        ("path.mkdir(mode=0o700)", ["1: 0o700"]),
        ("path.chmod(448)", ["1: chmod"]),
        ("from po_jupyter.platform import forking\nforking.lead_session()", []),
        ("def fork(run): ...\nfork(1)", []),
    ],
)
def test_the_search_finds_what_it_looks_for(source: str, found: list[str]) -> None:
    assert offences(source) == found


def test_only_platform_names_what_only_some_systems_have() -> None:
    """Issue 11, part 1: a system without it needs another `platform`, and nothing else."""
    found = [f"{path.relative_to(ROOT)}:{place}" for path in sources() for place in offences(path.read_text())]
    assert found == []
