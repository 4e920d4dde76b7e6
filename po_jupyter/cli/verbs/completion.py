"""`po completion`: completion of verbs, options and runs in bash, zsh and fish, by click's own scripts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import click
from click.shell_completion import get_completion_class

from po_jupyter.cli import base
from po_jupyter.cli.main import po
from po_jupyter.errors import InvalidInput, PoError
from po_jupyter.platform import private_file

_SHELLS = ("bash", "zsh", "fish")
_MARK = "# completion of po; `po completion install` wrote this line"
_SHELL = click.option("--shell", type=click.Choice(_SHELLS), help="Of which shell; the default is $SHELL.")


class ShellFiles(NamedTuple):
    """The file for a shell's script, and the start-up file with the line that reads it (None: the shell finds it)."""

    script: Path
    startup: Path | None
    line: str


@click.group()
def completion() -> None:
    """Have the shell complete verbs, options and runs by Tab.

    \b
    po completion install           into the shell that you use; --json
    po completion show --shell zsh  the script alone
    """


@completion.command("install")
@_SHELL
@base.JSON
def install(shell: str | None, as_json: bool) -> int:
    """Install it for a shell; say which files changed. Doing it again changes nothing."""
    name = _chosen(shell)
    files = shell_files(name)
    changed = [path for path in (_write_script(name, files.script), _add_line(files)) if path is not None]
    if as_json:
        base.print_json({"shell": name, "changed": [str(path) for path in changed]})
        return 0
    for path in changed:
        base.print_line(f"{path} written" if path == files.script else f"{path}: one line added at its end")
    base.print_line(f"new {name} shells complete po by Tab" if changed else f"{name} completes po already")
    return 0


@completion.command("show")
@_SHELL
@base.JSON
def show(shell: str | None, as_json: bool) -> int:
    """Print the script for a shell."""
    name = _chosen(shell)
    if as_json:
        base.print_json({"shell": name, "script": _script(name)})
    else:
        base.print_line(_script(name))
    return 0


def _chosen(shell: str | None) -> str:
    name = shell or Path(os.environ.get("SHELL", "")).name
    if name not in _SHELLS:
        raise InvalidInput(
            f"there is no completion for {name!r:.60}" if name else "which shell? $SHELL is not set",
            hint=f"Say it with --shell: {', '.join(_SHELLS)}.",
        )
    return name


def shell_files(shell: str) -> ShellFiles:
    """Where the script of a shell goes, by the conventions of that shell."""
    home = Path.home()
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    if shell == "fish":
        return ShellFiles(config / "fish" / "completions" / "po.fish", None, "")
    script = config / "po_jupyter" / f"completion.{shell}"
    quoted = "'" + str(script).replace("'", "'\\''") + "'"
    line = f"[ -r {quoted} ] && . {quoted}"
    if shell == "zsh":
        # The script needs zsh's own completion, which a bare start-up file does not load.
        line = f"(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit; }}; {line}"
        return ShellFiles(script, Path(os.environ.get("ZDOTDIR") or home) / ".zshrc", line)
    return ShellFiles(script, home / ".bashrc", line)


def _script(shell: str) -> str:
    found = get_completion_class(shell)
    if found is None:
        raise PoError(f"this click has no completion for {shell}")
    return found(po, {}, "po", "_PO_COMPLETE").source()


def _write_script(shell: str, path: Path) -> Path | None:
    """Write the script; None when it is there already."""
    text = _script(shell)
    try:
        if path.is_file() and path.read_text("utf-8") == text:
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise PoError(f"{path} cannot be written: {error.strerror}") from None
    return path


def _add_line(files: ShellFiles) -> Path | None:
    """Add the line to the start-up file, in the place of an older one; None when there is nothing to do."""
    if files.startup is None:
        return None
    line = f"{files.line}  {_MARK}"
    try:
        before = _content(files.startup)
        known = before.removesuffix("\n").split("\n") if before else []  # other signs end no line in a shell
        if line in known:
            return None
        files.startup.parent.mkdir(parents=True, exist_ok=True)
        kept = [one for one in known if not one.endswith(_MARK)]
        _replace(files.startup, "\n".join([*kept, line]) + "\n")
    except OSError as error:
        raise PoError(f"{files.startup} cannot be changed: {error.strerror}") from None
    return files.startup


def _content(path: Path) -> str:
    """The text of a file as it is, its line ends and stray bytes too; empty when there is none."""
    return path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else ""


def _replace(path: Path, text: str) -> None:
    """Put `text` in the place of the file, whole or not at all: it is somebody's own. A link stays one, and the mode
    stays. Raises OSError."""
    target = Path(os.path.realpath(path))
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
            file.flush()
            os.fsync(file.fileno())
        private_file.copy_mode(target, name)
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
