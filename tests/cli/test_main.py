"""The command `po`: every verb explains itself, every malformed command line has one clear answer (R1.4)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest

import po_jupyter
from po_jupyter.cli.main import VERBS
from po_jupyter.cli.main import po as group


def commands() -> list[tuple[str, click.Command]]:
    context = click.Context(group)
    found = []
    for name in VERBS:
        command = group.get_command(context, name)
        assert command is not None
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {sub}", command.commands[sub]) for sub in command.commands]
    return found


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_help_json_and_the_line_of_the_list(name: str, po: Any) -> None:
    """R1.4: --help everywhere; DESIGN section 7: every verb has --help and --json."""
    code, out, err = po(name, "--help")
    assert code == 0
    assert err == ""
    assert out.startswith(f"Usage: po {name}")
    assert "--json" in out
    command = group.get_command(click.Context(group), name)
    assert command is not None
    assert command.help is not None
    assert command.help.split("\n")[0] == VERBS[name][1], "the list and the verb say the same"


def test_every_option_is_explained() -> None:
    """R1.4."""
    silent = [
        f"{name} {option.opts[0]}"
        for name, command in commands()
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert silent == []


@pytest.mark.integration
def test_the_help_of_the_whole_starts_quickly_and_lists_every_verb() -> None:
    """`po --help` imports nothing that it does not need."""
    code = (
        "import sys; from po_jupyter.cli.main import run; run(['--help']);"
        "print([m for m in ('pydantic', 'httpx', 'rich', 'jinja2', 'jupyter_server') if m in sys.modules])"
    )
    best = 9.9
    for _ in range(3):
        begun = time.perf_counter()
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        best = min(best, time.perf_counter() - begun)
    assert out.endswith("[]\n")
    assert all(re.search(rf"^  {name} ", out, re.M) for name in VERBS)
    assert best < 1.0, "0.15 s on a quiet machine"


BAD: dict[str, tuple[list[str], list[str]]] = {
    "a mistyped verb": (["rnus"], ["`rnus` is not a verb of po; did you mean `runs`?"]),
    "an unknown verb": (["zzzz"], ["`zzzz` is not a verb of po"]),
    "a mistyped option": (["run", "x", "--sed", "{}"], ["No such option", "--seed"]),
    "a mistyped option of the whole": (["--verison"], ["No such option", "--version"]),
    "run without a pipeline": (["run"], ["Missing argument 'PIPELINE'"]),
    "submit without a seed": (["submit"], ["Missing argument 'SEED'"]),
    "show without a run": (["show"], ["Missing argument 'RUN'"]),
    "cancel without a run": (["cancel"], ["Missing argument 'RUN'"]),
    "resume without a run": (["resume"], ["Missing argument 'RUN'"]),
    "approve without a run": (["approve"], ["Missing argument 'RUN'"]),
    "reject without a run": (["reject"], ["Missing argument 'RUN'"]),
    "validate without a file": (["validate"], ["Missing argument 'FILE'"]),
    "an option without its value": (["run", "x", "--seed"], ["'--seed' requires an argument"]),
    "too many arguments": (["cancel", "a", "b"], ["unexpected extra argument"]),
    "a limit of zero": (["run", "x", "--limit", "0"], ["--limit", "0 is not in the range x>=1"]),
    "a limit of letters": (["runs", "--limit", "many"], ["--limit", "'many' is not a valid integer"]),
    "a budget of nothing": (["run", "x", "--budget", "0"], ["--budget", "'0' is not an amount of US dollars"]),
    "a state that is none": (["runs", "--state", "runing"], ["--state", "running"]),
    "rows and a way to resume": (
        ["resume", "x", "--row", "a:1", "--only-failed"],
        ["--row", "exclude each other"],
    ),
    "done rows without rows": (["resume", "x", "--include-done"], ["needs --row"]),
    "no rows": (["resume", "x", "--row", "a"], ["TASK:N", "label:3,17-20"]),
    "a span that ends too early": (["resume", "x", "--row", "a:5-2"], ["ends before it begins"]),
    "a span of too many rows": (["resume", "x", "--row", "a:0-999999999"], ["more than 10,000"]),
    "two ways to resume": (["resume", "x", "--only-failed", "--from-task", "a"], ["exclude each other"]),
    "a verb of config that is none": (["config", "shwo"], ["shwo"]),
    "a negative offset": (["logs", "x", "--since", "-1"], ["--since"]),
}


@pytest.mark.parametrize("case", BAD)
def test_each_malformed_command_line_is_answered_with_code_2(case: str, po: Any, client: Any) -> None:
    """R1.4: errors on stderr, nothing on stdout, nothing started."""
    args, says = BAD[case]
    code, out, err = po(*args)
    assert code == 2
    assert out == ""
    for text in says:
        assert text in err
    assert "Traceback" not in err
    assert client.started == []
    assert client.submitted == []


READ_ONLY = [
    ["runs"], ["status"], ["status", "7f3a"], ["show", "7f3a"], ["logs", "7f3a"], ["artifacts", "7f3a"],
    ["pipelines"], ["token"],
]  # fmt: skip


@pytest.mark.parametrize("args", READ_ONLY, ids=" ".join)
def test_verbs_that_read_never_start_an_orchestrator(args: list[str], po: Any, client: Any) -> None:
    """DESIGN section 7, Doors; exit code 3."""
    client.running = False
    code, out, err = po(*args)
    assert code == 3
    assert out == ""
    assert "no orchestrator is running" in err
    assert "po start" in err
    assert client.started == [False]


def test_no_message_sends_people_to_a_verb_that_is_none() -> None:
    """A hint `po VERB` in the code names a verb that exists."""
    root = Path(po_jupyter.__file__).parent
    wrong = []
    for path in sorted(root.rglob("*.py")):
        text = path.read_text("utf-8")
        for match in re.finditer(r"(?:`|: |export \$\()%?po ([a-z][a-z-]+)\b", text):
            if match[1] not in VERBS:
                line = text[: match.start()].count("\n") + 1
                wrong.append(f"{path.relative_to(root)}:{line}: po {match[1]}")
    assert wrong == []


@pytest.mark.integration
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device here that is full")
def test_what_cannot_be_written_is_one_line_and_no_traceback() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "po_jupyter", "schema"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "error: [Errno 28] No space left on device\n")


@pytest.mark.integration
def test_po_is_also_python_m_and_says_its_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "po_jupyter", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"po_jupyter {po_jupyter.__version__}"
