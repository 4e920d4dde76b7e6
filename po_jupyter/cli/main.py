"""The command `po`: the group of verbs and the exit codes.

A verb's module is imported when the verb is used, so that `po --help` is quick.

Exit codes: 0 done · 1 failed (the run, or what was asked) · 2 a mistake in the command or in an input · 3 no
orchestrator · 4 the run waits for a decision · 130 interrupted (143 terminated): the run goes on.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from po_jupyter.errors import InvalidInput, PoError, Unavailable

OK, FAILED, USAGE, UNAVAILABLE, WAITING, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 4, 130, 143

# verb: (module, what `po --help` says). A test holds the second against the verb's own help.
VERBS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Run a small pipeline over your installed packages with a local model."),
    "init": ("init", "Make a folder a project: pipelines, a watch folder, data of its own."),
    "start": ("server", "Start the background orchestrator, or say where it is."),
    "stop": ("server", "Stop the background orchestrator; its runs go on at the next start."),
    "worker": ("server", "Work off runs of a shared store, until it is stopped."),
    "workers": ("server", "List the servers that share the store, or have one give its runs to others."),
    "run": ("run", "Run a pipeline from a file, or a registered one."),
    "chat": ("chat", "Ask a model one question, without a pipeline."),
    "estimate": ("estimate", "Say what a run would cost, before anything is spent."),
    "submit": ("run", "Start a run from a seed file."),
    "runs": ("show", "List runs, the newest first."),
    "status": ("show", "Say how the orchestrator is, or how a run is."),
    "show": ("show", "Show a run, live until it ends."),
    "rows": ("inspect", "List the rows of a map, sorted and filtered."),
    "calls": ("inspect", "List the calls to models of a run, or show one."),
    "compare": (
        "inspect",
        "Compare the rows of a map in two runs: what changed, what each paid, and whether one is right more often.",
    ),
    "score": (
        "evals.score",
        "Score the answers of a run: means with their intervals, confusion, the worst rows.",
    ),
    "review": ("evals.review", "Look at rows one at a time, and say what is right."),
    "test": ("evals.test", "Test prompts: run cases, and hold their answers against what is expected."),
    "open": ("show", "Print the address of a run's page in JupyterLab, and open it."),
    "report": ("files", "Write a run as one file for others: HTML, Markdown or a notebook."),
    "artifacts": ("files", "List the files that a run's tasks wrote, or get one."),
    "logs": ("logs", "Print the history of a run, or the orchestrator's log."),
    "cancel": ("control", "Cancel a run; what is finished is kept."),
    "resume": ("control", "Go on with a run that failed, was cancelled or is dead."),
    "restart": ("control", "Do a run again, or a part of it; earlier results stay in its history."),
    "fork": ("control", "Start a new run from the middle of another one."),
    "move": ("control", "Move a run to the hub's service of shared runs, where it goes on without a server."),
    "dead": ("control", "List, requeue or discard runs that used up their attempts."),
    "approve": ("control", "Approve the gate that a run waits at."),
    "reject": ("control", "Reject the gate that a run waits at; the run ends."),
    "usage": ("maintenance", "Say what was used day by day, and how much room runs take."),
    "clean": ("maintenance", "Delete old runs and give their room back."),
    "backup": ("backup", "Copy everything into one file, while runs go on."),
    "restore": ("backup", "Make an empty data directory what it was when the archive was made."),
    "store": ("backup", "Say where the store is, bring it up to date, copy it."),
    "audit": ("maintenance", "Say who changed what, the newest first."),
    "schedule": ("schedules.schedule", "Run pipelines by the clock: each slot once, whatever dies."),
    "pipelines": ("show", "List the registered pipelines."),
    "validate": ("check", "Check a pipeline file without starting anything."),
    "schema": ("check", "Print the JSON Schema of a pipeline's YAML, for editors."),
    "models": ("models", "List the models that can be used now, their prices, and why not the others."),
    "keys": ("keys", "Keep, list or remove keys of model providers."),
    "config": ("check", "Show every setting and where it came from."),
    "doctor": ("check", "Look for what could keep runs from working."),
    "token": ("token", "Print the address and the token of the orchestrator, or make tokens that may do less."),
    "completion": ("completion", "Have the shell complete verbs, options and runs by Tab."),
    "help": ("help", "Show a page of the documentation, or list the pages."),
}


class Verbs(click.Group):
    """A group that knows its verbs before it imports them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of the help."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The verb's command, from its module."""
        if name not in VERBS:
            return None
        module = import_module(f"po_jupyter.cli.verbs.{VERBS[name][0]}")
        command: click.Command = getattr(module, name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The verbs that begin so, without an import of their modules; options as any command has them."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=text) for name, (_, text) in VERBS.items() if name.startswith(incomplete)
        ]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb of a command line. Raises UsageError with a suggestion."""
        name = args[0]
        if name not in VERBS and not name.startswith("-"):
            from po_jupyter.model.pipeline.violations import did_you_mean  # pydantic: not for `po --help`

            raise click.UsageError(f"`{name}` is not a verb of po{did_you_mean(name, list(VERBS))}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs, without an import of their modules."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])


def _version(ctx: click.Context, _: click.Parameter, requested: bool) -> None:
    if requested and not ctx.resilient_parsing:
        from po_jupyter import __version__

        click.echo(f"po_jupyter {__version__}")
        ctx.exit()


@click.group(
    cls=Verbs,
    name="po",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 a mistake in the command or an input, 3 no orchestrator, "
    "4 waits for a decision, 130 interrupted (the run goes on).",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print it.")
def po() -> None:
    """Prompt pipelines that run in the background and survive.

    `po demo` shows it; `po VERB --help` tells what a verb takes, `po help` has the documentation. RUN is the
    id of a run or its last characters.
    """


def code_of(error: PoError) -> int:
    """The exit code of an error."""
    if isinstance(error, InvalidInput):
        return USAGE
    return UNAVAILABLE if isinstance(error, Unavailable) else FAILED


def _terminated(*_: object) -> NoReturn:
    sys.exit(TERMINATED)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The command line, as the process: prints errors to stderr and exits with a code of the table above."""
    jupyter = argv is None and os.path.basename(sys.argv[0]).startswith("jupyter")
    signal.signal(signal.SIGTERM, _terminated)
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        sys.exit(run(args, "jupyter po" if jupyter else "po"))
    except OSError as error:  # what was to be printed: `po runs | head`, `po rows > FILE` on a full disk
        if not isinstance(error, BrokenPipeError):
            click.echo(f"error: {error}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)


def run(args: Sequence[str], name: str = "po") -> int:
    """Run `po ARGS` in this process: prints what the verb has to say; the exit code."""
    try:
        code = po.main(list(args), prog_name=name, standalone_mode=False)
        return code if isinstance(code, int) else OK
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED  # click turns an interrupt outside of our own waits into this
    except PoError as error:
        from po_jupyter.cli.base import print_error

        print_error(error, as_json="--json" in args)
        return code_of(error)
