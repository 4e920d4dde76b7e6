"""Shared parts of the verbs: the connection, common options, printing, errors, and reading of stdin and JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from po_jupyter.errors import InvalidInput, PoError
from po_jupyter.model.values.json import JsonObject, exact_number, unique_names
from po_jupyter.presentation.terminal_text import padded, plain, text_width

if TYPE_CHECKING:
    from po_jupyter.client.client import Client
    from po_jupyter.client.run import Run

Verb = TypeVar("Verb", bound=Callable[..., int])
__all__ = [
    "JSON",
    "MONEY",
    "RUN",
    "TEXT",
    "budget_body",
    "coloured",
    "connect",
    "find_run",
    "is_on_shared",
    "on_shared",
    "one_line",
    "parse_json",
    "plain",
    "print_error",
    "print_json",
    "print_line",
    "print_table",
    "read_stdin",
    "sql_options",
]

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _runs_for_shell(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The newest runs for a shell's Tab. Never fails and never starts anything: a shell shows no error."""
    with suppress(Exception):
        from po_jupyter.client.discovery import connect as discover
        from po_jupyter.model.run.names import short_id

        client = discover(start=False)
        views = [run.view for run in client.runs(limit=_COMPLETED)]
        client.close()
        return [
            CompletionItem(short_id(view.id), help=f"{view.pipeline} {view.state}")
            for view in views
            if short_id(view.id).startswith(incomplete)
        ]
    return []


_ON = "po.on"  # of the context: where the options of `ON` are kept


def _keep(ctx: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.meta.setdefault(_ON, {})[option.name] = value


def sql_options(verb: Verb) -> Verb:
    """`--sql` and `--db`, where `--seed` is an option; `inputs.read_run_inputs` takes them."""
    sql = click.option(
        "--sql", type=TEXT, metavar="QUERY|@FILE", help="One SELECT instead of --seed: its rows are seed.rows."
    )
    db = click.option(
        "--db", metavar="env:NAME|URL",
        help="The database of --sql as SQLAlchemy's URL, or the environment variable that has it.",
    )  # fmt: skip
    return sql(db(verb))


def on_shared(verb: Verb) -> Verb:
    """The options of verbs that may be about shared runs of a hub; `connect` has them."""
    group = click.option(
        "--group", metavar="NAME", expose_value=False, callback=_keep,
        help="With --on shared: the runs of this group of the hub.",
    )  # fmt: skip
    on = click.option(
        "--on", type=click.Choice(["shared"]), expose_value=False, callback=_keep,
        help="The hub's service of runs without anybody's server.",
    )  # fmt: skip
    return on(group(verb))


RUN = click.argument("run_id", metavar="RUN", shell_complete=_runs_for_shell)

_COMPLETED = 30  # runs that a shell is offered
_COLOURS = {
    "running": "blue",
    "waiting": "yellow",
    "done": "green",
    "failed": "red",
    "dead": "red",
    "cancelled": "yellow",
    "moved": "bright_black",
    "pending": "bright_black",
    "skipped": "bright_black",
}
_EXAMPLES = {"--seed": '{"text": "hello"}', "--schema": '{"type": "object"}'}


class _Money(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """`2.5`, or `TASK=2.5`: (task or "", US dollars)."""

    name = "money"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float]:
        """The pair."""
        if isinstance(value, tuple):
            return value
        task, _, amount = str(value).rpartition("=")
        try:
            usd = float(amount)
        except ValueError:
            usd = 0.0
        if not 0 < usd < float("inf"):
            self.fail(f"{value!r} is not an amount of US dollars: 2.5, or TASK=2.5", param, ctx)
        return task, usd


MONEY = _Money()


class _PlainText(click.ParamType):  # type: ignore[type-arg]  # as above
    """Text for a model or a run. What a shell hands over in another encoding is refused: half of it would be lost."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text itself."""
        text = str(value)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            byte = ord(text[error.start]) - 0xDC00  # how Python keeps a byte that it cannot decode
            sign = f"byte 0x{byte:02x}" if 0x80 <= byte <= 0xFF else "half a surrogate pair"
            self.fail(f"it is not UTF-8 text: {sign} behind {text[: error.start][-20:]!r}", param, ctx)
        return text


TEXT = _PlainText()


def budget_body(limits: Sequence[tuple[str, float]]) -> JsonObject | None:
    """The values of `--budget` options, as the body of a request has them."""
    budget: JsonObject = {}
    for task, usd in limits:
        if task:
            budget.setdefault("tasks", {})[task] = {"usd": usd}
        else:
            budget["usd"] = usd
    return budget or None


def is_on_shared() -> bool:
    """Whether the verb is about shared runs alone."""
    ctx = click.get_current_context(silent=True)
    return ctx is not None and bool(ctx.meta.get(_ON))


def connect(*, start: bool) -> Client:
    """The orchestrator; started when there is none and `start` is set. Raises Unavailable."""
    from po_jupyter.client.discovery import connect as discover

    ctx = click.get_current_context(silent=True)
    chosen: dict[str, Any] = ctx.meta.get(_ON, {}) if ctx is not None else {}
    client = discover(start=start, **chosen)
    for note in client.notes:
        print_line(plain(note), err=True)
    return client


def find_run(run_id: str, *, start: bool = False, own: bool = False) -> Run:
    """The run of that id or end of an id; a shared one of the hub where none is called so here, unless `own`. Raises
    NotFound, Unavailable."""
    from po_jupyter.client.discovery import run_anywhere

    client = connect(start=start)
    return client.run(run_id) if own else run_anywhere(client, run_id)


def one_line(value: object, width: int = 200) -> str:
    """One line of at most `width` characters that stands for a value."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(plain(text).split())
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def print_line(text: str = "", *, err: bool = False, bold: bool = False) -> None:
    """Print a line for people."""
    click.echo(click.style(text, bold=True) if bold else text, err=err)


def print_json(value: object) -> None:
    """Print a value for scripts. ASCII, so that it means the same in every locale."""
    click.echo(json.dumps(value, indent=2 if sys.stdout.isatty() else None))


def coloured(text: str, state: str) -> str:
    """`text` in the colour of a state; click leaves the colour out where nobody would see it."""
    return click.style(text, fg=_COLOURS.get(state))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], states: Sequence[str] = ()) -> None:
    """Print aligned columns; `states` colours the rows' second column."""
    cells = [[plain(c).replace("\n", " ") for c in row] for row in rows]
    widths = [max(text_width(line[i]) for line in [list(columns), *cells]) for i in range(len(columns))]
    print_line("  ".join(map(padded, columns, widths)).rstrip(), bold=True)
    for n, row in enumerate(cells):
        parts = list(map(padded, row, widths))
        if states:
            parts[1] = coloured(parts[1], states[n])
        print_line("  ".join(parts).rstrip())


def print_error(error: PoError, *, as_json: bool = False) -> None:
    """Print one clean message to stderr (P11)."""
    if as_json:
        click.echo(json.dumps({"error": error.to_json()}), err=True)
        return
    message, *more = plain(error.message).split("\n")
    print_line(f"{click.style('error:', fg='red', bold=True)} {message}", err=True)
    for line in more:
        print_line(f"  {line}", err=True)
    if error.hint:
        print_line(plain(error.hint), err=True)


def read_stdin(limit: int = -1) -> str:
    """The text on stdin, at most `limit` bytes of it. Raises InvalidInput, which repeats none of it.

    The bytes are decoded here: which ones Python's own stream refuses, and how, depends on the locale.
    """
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:  # a notebook's, or a test's
        return sys.stdin.read(limit)
    try:
        return str(stream.read(limit), "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"what came from stdin is not UTF-8 text: byte {error.start}") from None


def parse_json(text: str, what: str, option: str = "--seed") -> Any:
    """Decoded JSON. Raises InvalidInput naming `what` and the place; `option` is where it can be given."""
    try:
        return json.loads(text, object_pairs_hook=unique_names, parse_float=exact_number)
    except json.JSONDecodeError as error:
        raise InvalidInput(
            f"{what} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}",
            hint=f"In a shell, quote it: {option} '{_EXAMPLES[option]}'; a file is written @FILE.",
        ) from None
    except RecursionError:
        raise InvalidInput(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise InvalidInput(f"{what} cannot be read: {str(error)[:200]}") from None
