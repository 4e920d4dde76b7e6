"""The verbs of `%po` that draw a run in the cell, one function each, and the CLI's own verbs for all others."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from po_jupyter.kernel import launch, static_view
from po_jupyter.kernel.arguments import Arguments, Option
from po_jupyter.kernel.chat_line import chat_arguments
from po_jupyter.kernel.errors import CellError, Detached, as_cell_errors
from po_jupyter.kernel.session import Session
from po_jupyter.model.run.row_spans import parse_row_options
from po_jupyter.model.values.whole_numbers import whole_number
from po_jupyter.presentation.row_details import row_html

if TYPE_CHECKING:
    import click

    from po_jupyter.client.run import Run

_RUNS = 20  # runs that `%po runs` lists
_FAILED_SHOWN = 20  # rows that `%po show --failed` lists


@dataclass(frozen=True, slots=True)
class NativeVerb:
    """A verb with its positional arguments (one in brackets may be missing) and its options.

    `run` gives the value of the cell: a Run where one is shown, else None.
    """

    run: Callable[[Session, Arguments], Run | None]
    positional: tuple[str, ...] = ()
    options: Mapping[str, Option] = field(default_factory=dict)


def run(session: Session, arguments: Arguments) -> Run | None:
    """`%po run NAME`: start a run of a pipeline of this notebook, or of a registered one."""
    seed = launch.seed_of(session, arguments)
    pipeline = launch.prepare(session, session.definition(arguments.positional[0]), arguments)
    if arguments.get("dry-run"):
        launch.print_estimate(session, pipeline, seed, arguments)
        return None
    return launch.start(session, pipeline, seed, arguments)


def estimate(session: Session, arguments: Arguments) -> None:
    """`%po estimate NAME`: print the cost of a run; nothing is started."""
    seed = launch.seed_of(session, arguments)
    pipeline = launch.prepare(session, session.definition(arguments.positional[0]), arguments)
    launch.print_estimate(session, pipeline, seed, arguments)


def runs(session: Session, arguments: Arguments) -> None:
    """`%po runs`: show the newest runs, or export the ended ones."""
    states, pipeline, file = arguments.get("state"), arguments.get("pipeline"), arguments.get("export")
    client = session.client()
    if file:
        count = client.export(file, state=states, pipeline=pipeline)
        print(f"{count} ended runs written to {file}")
        return
    listed = client.runs(
        state=states.split(",") if states else None, pipeline=pipeline, limit=arguments.get("limit") or _RUNS
    )
    static_view.show(session.shell, static_view.runs([run.view for run in listed]))


def show(session: Session, arguments: Arguments) -> Run | None:
    """`%po show [RUN]`: draw a run again, one row of it, or what failed in it."""
    run = session.find_run(arguments.positional[0] if arguments.positional else None)
    if (place := arguments.get("row")) is not None:
        from po_jupyter.client.reviews.row_details import row_place  # with the HTTP client

        with as_cell_errors():
            row = run.row(*row_place(place))
        static_view.show(session.shell, {"text/plain": str(row), "text/html": row_html(row)})
        return None
    if not arguments.get("failed"):
        return launch.follow(session, run, arguments)
    rows = [
        (task.name, row)
        for task in run.view.tasks
        if task.items is not None and task.items.failed
        for row in run.items(task.name, state="failed")
    ]
    static_view.show(session.shell, static_view.failures(run.view, rows, _FAILED_SHOWN))
    return None


def cancel(session: Session, arguments: Arguments) -> Run:
    """`%po cancel RUN`."""
    return launch.follow(session, session.find_run(arguments.positional[0]).cancel(), arguments)


def resume(session: Session, arguments: Arguments) -> Run:
    """`%po resume RUN`."""
    rows = arguments.get("row")
    run = session.find_run(arguments.positional[0])
    run.resume(
        from_task=arguments.get("from-task"),
        only_failed=bool(arguments.get("only-failed")),
        budget=arguments.get("budget"),
        rows=None if rows is None else parse_row_options([rows]),
        include_done=bool(arguments.get("include-done")),
    )
    return launch.follow(session, run, arguments)


def restart(session: Session, arguments: Arguments) -> Run:
    """`%po restart RUN`."""
    task, only = arguments.get("task"), bool(arguments.get("only"))
    if only and not task:
        raise CellError("`--only` needs `--task TASK`: which one?")
    run = session.find_run(arguments.positional[0])
    run.restart(task, only=only, clear_usage=bool(arguments.get("clear-usage")))
    return launch.follow(session, run, arguments)


def fork(session: Session, arguments: Arguments) -> Run:
    """`%po fork RUN --from-task TASK`."""
    from_task, name = arguments.get("from-task"), arguments.get("pipeline")
    if not from_task:
        raise CellError("`%po fork RUN` needs `--from-task TASK`: the first task that runs anew")
    pipeline = None if name is None else launch.prepare(session, session.definition(name), arguments)
    seed = launch.seed_of(session, arguments) if arguments.get("seed") else None
    run = session.find_run(arguments.positional[0]).fork(from_task, seed=seed, pipeline=pipeline)
    return launch.follow(session, run, arguments)


def approve(session: Session, arguments: Arguments) -> Run:
    """`%po approve RUN`."""
    run = session.find_run(arguments.positional[0]).approve(
        arguments.get("note") or "", task=arguments.get("task")
    )
    return launch.follow(session, run, arguments)


def reject(session: Session, arguments: Arguments) -> Run:
    """`%po reject RUN`."""
    run = session.find_run(arguments.positional[0]).reject(
        arguments.get("note") or "", task=arguments.get("task")
    )
    return launch.follow(session, run, arguments)


def score(session: Session, arguments: Arguments) -> None:
    """`%po score RUN`: the scores of its answers, drawn in the cell."""
    run = session.find_run(arguments.positional[0])
    asked = {name: arguments.get(name) for name in ("expect", "metrics", "judge", "model", "scale")}
    asked["on"] = arguments.get("field")
    if asked["expect"] is None and asked["metrics"] is None and asked["judge"] is None:
        scores = run.scores(arguments.get("task"))
    else:
        metrics, scale = asked["metrics"], asked["scale"]
        asked["metrics"] = None if metrics is None else [name.strip() for name in metrics.split(",")]
        asked["scale"] = None if scale is None else _scale(scale)
        scores = run.score(arguments.get("task"), budget=arguments.get("budget"), **asked)
    static_view.show(session.shell, {"text/plain": str(scores), "text/html": scores._repr_html_()})


def _scale(text: str) -> list[int]:
    """The two ends of a scale."""
    low, _, high = text.partition("-")
    ends = whole_number(low), whole_number(high)
    if ends[0] is None or ends[1] is None:
        raise CellError(f"`--scale` is two whole numbers such as 1-5, not `{text:.60}`")
    return [ends[0], ends[1]]


def review(session: Session, arguments: Arguments) -> None:
    """`%po review RUN`: look at a sample of rows, one at a time, and say what is right."""
    from po_jupyter.client.reviews.session import DEFAULT_SAMPLE, open_session

    run = session.find_run(arguments.positional[0])
    opened = open_session(
        run.client.aio, run.view, arguments.get("task"), where=arguments.get("where"),
        sample=arguments.get("sample") or DEFAULT_SAMPLE, seed=arguments.get("seed") or 0,
    )  # fmt: skip
    session.show_review(run, run.client.call(opened))


_FLAG, _NAME = Option("flag"), Option("word", "NAME")
_TASK, _VAR = Option("word", "TASK"), Option("name", "VAR")
_NOTE, _LIMIT = Option("word", "TEXT"), Option("number", "N")

NATIVE: dict[str, NativeVerb] = {
    "run": NativeVerb(run, ("NAME",), {"seed": launch.SEED, **launch.STARTING, **launch.DRY}),
    "estimate": NativeVerb(
        estimate, ("NAME",), {"seed": launch.SEED, "model": Option("word", "REF"), "limit": _LIMIT}
    ),
    "runs": NativeVerb(
        runs,
        (),
        {
            "state": Option("word", "STATE"),
            "pipeline": _NAME,
            "limit": _LIMIT,
            "export": Option("word", "FILE"),
        },
    ),
    "show": NativeVerb(
        show, ("[RUN]",), {"failed": _FLAG, "row": Option("word", "TASK:N"), "wait": _FLAG, "out": _VAR}
    ),
    "score": NativeVerb(
        score,
        ("RUN",),
        {
            "task": _TASK,
            "expect": Option("word", "EXPR"),
            "metrics": Option("word", "LIST"),
            "field": Option("word", "NAME"),
            "judge": Option("word", "TEXT"),
            "model": Option("word", "REF"),
            "scale": Option("word", "N-N"),
            "budget": Option("money", "USD"),
        },
    ),
    "cancel": NativeVerb(cancel, ("RUN",)),
    "resume": NativeVerb(
        resume,
        ("RUN",),
        {
            "from-task": _TASK,
            "only-failed": _FLAG,
            "row": Option("word", "TASK:N,N-N"),
            "include-done": _FLAG,
            "budget": Option("money", "USD"),
            "wait": _FLAG,
        },
    ),
    "restart": NativeVerb(
        restart, ("RUN",), {"task": _TASK, "only": _FLAG, "clear-usage": _FLAG, "wait": _FLAG}
    ),
    "fork": NativeVerb(
        fork,
        ("RUN",),
        {"from-task": _TASK, "seed": launch.SEED, "pipeline": _NAME, "wait": _FLAG, "out": _VAR},
    ),
    "review": NativeVerb(
        review,
        ("RUN",),
        {
            "task": _TASK,
            "sample": _LIMIT,
            "where": Option("expression", "EXPR"),
            "seed": Option("number", "N"),
        },
    ),
    "approve": NativeVerb(approve, ("RUN",), {"note": _NOTE, "task": _TASK}),
    "reject": NativeVerb(reject, ("RUN",), {"note": _NOTE, "task": _TASK}),
}


def parameters_of(verb: str, group: click.Group) -> list[click.Parameter]:
    """The arguments and options of a verb of the CLI; none of one that is not there."""
    import click

    # With the group's own settings: click keeps the first help option that a command makes, and one without `-h`
    # would stay in every later help of this process.
    context = click.Context(group, **group.context_settings)
    command = group.get_command(context, verb)
    return [] if command is None else command.get_params(click.Context(command, parent=context))


def _chat_arguments(line: str, group: click.Group) -> list[str]:
    """A question is no shell's line: `What's up?` has no quote that is open."""
    import click

    parameters = parameters_of("chat", group)
    options = {
        name: not parameter.is_flag
        for parameter in parameters
        if isinstance(parameter, click.Option)
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--")
    }
    return chat_arguments(line, options)


def run_cli_verb(line: str, group: click.Group) -> None:
    """Run a verb that only prints: the CLI's own. Raises CellError, Detached."""
    import click

    verb, _, rest = line.strip().partition(" ")
    try:
        arguments = ["chat", *_chat_arguments(rest, group)] if verb == "chat" else shlex.split(line)
    except ValueError as error:
        raise CellError(f"%po {line}: {error}") from None
    try:
        with as_cell_errors():
            group.main(arguments or ["--help"], prog_name="%po", standalone_mode=False)
    except click.exceptions.Exit as end:
        if end.exit_code:
            raise CellError(f"%po {line} ended with code {end.exit_code}") from None
    except click.ClickException as error:
        raise CellError(error.format_message()) from None
    except (click.Abort, KeyboardInterrupt):
        raise Detached(f"%po {line} was interrupted") from None
    except SystemExit as end:
        if end.code:
            raise CellError(f"%po {line} ended with code {end.code}") from None
