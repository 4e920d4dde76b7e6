"""Completion by Tab: what may stand in `%%po_pipeline` cells, and verbs, options and names in `%po` lines."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, get_args

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from po_jupyter.kernel.arguments import Option, parse
from po_jupyter.kernel.errors import CellError
from po_jupyter.kernel.launch import PIPELINE
from po_jupyter.kernel.lookup import Lookup
from po_jupyter.kernel.session import Session
from po_jupyter.kernel.verbs import NATIVE, parameters_of
from po_jupyter.model.editing.completion import CursorContext
from po_jupyter.model.run.seed import Seed
from po_jupyter.model.run.view import RunStatus

if TYPE_CHECKING:
    import click

    from po_jupyter.client.client import Client

_MAGIC = re.compile(r"\A\s*%%po_pipeline(?![\w-])([^\n]*)(?:\n|\Z)")
_LINE = re.compile(r"\s*%po\s+(.*)\Z", re.DOTALL)
_MOST_RUNS = 20
_MOST_FIELDS = 1000  # of a seed
_LONGEST_EXPRESSION = 10_000  # characters of a seed that is written in the line


class CellCompletion:
    """The matcher of one shell. It runs no code of the notebook, and waits for no network."""

    def __init__(self, session: Session, verbs: Callable[[], click.Group] | None = None) -> None:
        """Completes for `session`; `verbs` gives the CLI's group."""
        self._session = session
        self._verbs = verbs
        self._aside: Client | None = None
        self._models = Lookup(lambda: [m["ref"] for m in self._client().models() if m["usable"]])
        self._runs = Lookup(lambda: [run.short for run in self._client().runs(limit=_MOST_RUNS)])
        self._registered = Lookup(lambda: [p["name"] for p in self._client().pipelines()])

    def close(self) -> None:
        """Forget the client that was connected for look-ups."""
        aside, self._aside = self._aside, None
        if aside is not None and aside is not self._session.current_client:
            aside.close()

    def _client(self) -> Client:
        if self._aside is None:
            self._aside = self._session.connect_aside()
        return self._aside

    @context_matcher(identifier="po_jupyter")  # type: ignore[untyped-decorator]  # IPython's has no types
    def matches(self, context: CompletionContext) -> SimpleMatcherResult:
        """What may stand at the cursor; nothing outside of our cells and lines."""
        text = context.full_text
        magic = _MAGIC.match(text)
        if magic is None:
            line = _LINE.match(context.text_until_cursor)
            return _nothing() if line is None else self._in_line(line[1])
        lines = text.split("\n")
        offset = sum(len(line) + 1 for line in lines[: context.cursor_line]) + context.cursor_position
        if offset >= magic.end() and "\n" in magic[0]:
            return self._in_body(text[magic.end() :], offset - magic.end(), magic[1])
        return self._options(text[magic.start(1) : offset], PIPELINE)

    # -- the body of a pipeline -----------------------------------------------------------------
    def _in_body(self, body: str, offset: int, arguments: str) -> SimpleMatcherResult:
        context = CursorContext.of(body, offset)
        models = self._models.names() if context.needs_models else ()
        seed = self._seed(arguments) if context.needs_seed else None
        start = offset if context.start is None else context.start
        found = [SimpleCompletion(text=s.text, type=s.kind) for s in context.suggestions(models, seed)]
        return _result(found, body[start:offset])

    def _seed(self, line: str) -> Mapping[str, object] | None:
        """A sample of the seed that the cell's line names: a variable of the notebook, or a literal."""
        try:
            expression = parse(line, "%%po_pipeline", ["NAME"], PIPELINE).get("seed")
        except CellError:
            return None
        if not isinstance(expression, str) or len(expression) > _LONGEST_EXPRESSION:
            return None
        if expression.isidentifier():
            return _sample(self._session.shell.user_ns.get(expression))
        try:
            return _sample(ast.literal_eval(expression))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None

    # -- lines ----------------------------------------------------------------------------------
    def _in_line(self, line: str) -> SimpleMatcherResult:
        verb, space, rest = line.partition(" ")
        if not space:
            return _words([*NATIVE, *self._cli_verbs()], verb, "verb")
        native = NATIVE.get(verb)
        if native is None:
            return self._of_command(verb, rest)
        options = self._options(rest, native.options)
        if options["completions"] or not native.positional or _typed(rest) != rest.strip():
            return options
        return self._positional(native.positional[0].strip("[]"), rest.strip())

    def _options(self, line: str, options: Mapping[str, Option]) -> SimpleMatcherResult:
        """The names of options, or the values of the one before the cursor."""
        typed = _typed(line)
        before = line[: len(line) - len(typed)].split()
        if typed.startswith("--"):
            return _words([f"--{name}" for name in options if f"--{name}" not in before], typed, "option")
        name = before[-1].removeprefix("--") if before and before[-1].startswith("--") else ""
        option = options.get(name)
        if option is None:
            return _nothing()
        if option.kind == "expression":
            return _words(self._variables(), typed, "instance")
        if name == "model":
            return _words(self._models.names(), typed, "model")
        if name == "pipeline":
            return self._positional("NAME", typed)
        if name == "state":
            return _words(get_args(RunStatus), typed, "state")
        return _words(option.metavar.split("|"), typed, "value") if option.kind == "choice" else _nothing()

    def _variables(self) -> list[str]:
        shell = self._session.shell
        return [name for name in shell.user_ns if name not in shell.user_ns_hidden and not name.startswith("_")]

    def _positional(self, what: str, typed: str) -> SimpleMatcherResult:
        if what == "RUN":
            return _words(self._runs.names(), typed, "run")
        if what == "NAME":
            return _words([*self._session.pipelines, *self._registered.names()], typed, "pipeline")
        return _nothing()

    def _cli_verbs(self) -> list[str]:
        if self._verbs is None:
            return []
        import click

        group = self._verbs()
        return group.list_commands(click.Context(group))

    def _of_command(self, verb: str, rest: str) -> SimpleMatcherResult:
        """The options and runs of a verb of the CLI."""
        if self._verbs is None:
            return _nothing()
        import click

        parameters = parameters_of(verb, self._verbs())
        typed = _typed(rest)
        if typed.startswith("--"):
            names = [name for parameter in parameters for name in parameter.opts if name.startswith("--")]
            return _words(names, typed, "option")
        first = next((p for p in parameters if isinstance(p, click.Argument)), None)
        if first is None or typed != rest.strip():
            return _nothing()
        return self._positional((first.metavar or first.name or "").strip("[]").upper(), typed)


def _typed(line: str) -> str:
    """The word that ends at the cursor."""
    return "" if not line or line[-1].isspace() else line.rsplit(None, 1)[-1]


def _nothing() -> SimpleMatcherResult:
    """No completions. A new value each time: IPython writes into it."""
    return SimpleMatcherResult(completions=[], suppress=False)


def _words(names: Iterable[str], typed: str, kind: str) -> SimpleMatcherResult:
    found = [SimpleCompletion(text=name, type=kind) for name in dict.fromkeys(names) if name.startswith(typed)]
    return _result(found, typed)


def _result(found: list[SimpleCompletion], typed: str) -> SimpleMatcherResult:
    return SimpleMatcherResult(completions=found, suppress=bool(found), matched_fragment=typed, ordered=True)


def _sample(value: Any) -> Mapping[str, object] | None:
    """The data that a value of the notebook is as a seed, as far as names are concerned. Looks only into what runs no
    code of the notebook for it: exact types, names that are text."""
    if type(value) is list or type(value) is tuple:
        return {"rows": list(value[:1])}
    if type(value) is Seed:
        value = value.data
    if type(value) is dict:
        return {name: below for name, below in islice(value.items(), _MOST_FIELDS) if type(name) is str}
    for library in ("pandas", "polars"):
        if type(value) is getattr(sys.modules.get(library), "DataFrame", None):
            return {"rows": [{name: "" for name in islice(value.columns, _MOST_FIELDS) if type(name) is str}]}
    return None
