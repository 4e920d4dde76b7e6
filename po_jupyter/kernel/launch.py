"""Launch of runs from a cell: the options of a line, the pipeline and seed that they make, the start, the live view."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from po_jupyter.errors import Violation
from po_jupyter.kernel.arguments import Arguments, Option
from po_jupyter.kernel.cells import BODY_OFFSET, with_cell_sources
from po_jupyter.kernel.errors import CellError, Detached, RunFailed
from po_jupyter.kernel.session import Session, end_message
from po_jupyter.model.pipeline.pipeline import LLM, Budget, Pipeline
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.values.json import JsonObject
from po_jupyter.platform.task_modules import is_available

if TYPE_CHECKING:
    from po_jupyter.client.run import Run

SEED = Option("expression", "EXPR")
STARTING = {
    "out": Option("name", "VAR"),
    "wait": Option("flag"),
    "model": Option("word", "REF"),
    "budget": Option("money", "USD"),
    "limit": Option("number", "N"),
    "fresh": Option("flag"),
    "cache": Option("choice", "false|refresh"),
    "skip-validation": Option("flag"),
}
DRY = {"dry-run": Option("flag")}
PIPELINE = {"run": Option("flag"), "seed": SEED, **STARTING, **DRY}  # of `%%po_pipeline`

FindLine = Callable[[Violation], int | None]  # of a violation, in the cell's body


def seed_of(session: Session, arguments: Arguments) -> Any:
    """The value of `--seed`, or None."""
    expression = arguments.get("seed")
    return None if expression is None else session.evaluate("seed", expression)


def prepare(
    session: Session, pipeline: Pipeline, arguments: Arguments, find_line: FindLine | None = None
) -> Pipeline:
    """`pipeline` with the line's --model and --budget, and with the code of this notebook's task cells.

    Raises CellError when the code of a task is neither in a cell nor a module.
    """
    changes: JsonObject = {}
    model, budget = arguments.get("model"), arguments.get("budget")
    if model:
        try:
            changes["llm"] = LLM.model_validate({**pipeline.llm.model_dump(), "model": model})
        except ValueError:
            raise CellError(
                f"`--model {model}`: a model is written provider:model, for example openai:gpt-5-mini"
            ) from None
    if budget:
        changes["budget"] = Budget(usd=budget, tokens=pipeline.budget.tokens)
    prepared = with_cell_sources(pipeline.model_copy(update=changes), session.tasks)
    _need_code(session, prepared, find_line)
    return prepared


def _need_code(session: Session, pipeline: Pipeline, find_line: FindLine | None) -> None:
    """Check that this kernel's interpreter finds the code of Python tasks: a worker runs them with the same one."""
    problems = []
    for i, task in enumerate(pipeline.tasks):
        name = task.module
        if name is None or is_available(name):
            continue
        guess = did_you_mean(name, list(session.tasks))
        hint = guess or f": define it in a cell with %%po_task {name}, or give the task a `prompt`"
        message = f"task `{task.name}` has no prompt, and there is no Python `{name}`{hint}"
        line = find_line(Violation(f"tasks[{i}]", message)) if find_line is not None else None
        problems.append(f"cell line {line + BODY_OFFSET}: {message}" if line else message)
    if problems:
        raise CellError("\n".join(problems))


def print_estimate(session: Session, pipeline: Pipeline, seed: Any, arguments: Arguments) -> None:
    """Print the cost of a run; nothing is started."""
    from po_jupyter.presentation.estimates import estimate_lines

    result = session.client().estimate(
        pipeline, seed, limit=arguments.get("limit"), model=arguments.get("model")
    )
    for line in estimate_lines(result):
        print(line)


def start(session: Session, pipeline: Pipeline, seed: Any, arguments: Arguments) -> Run:
    """Start a run and show it."""
    run = session.client().submit(
        pipeline,
        seed,
        limit=arguments.get("limit"),
        fresh=bool(arguments.get("fresh")),
        cache=arguments.get("cache"),
        budget=arguments.get("budget"),
        skip_validation=bool(arguments.get("skip-validation")),
        model=arguments.get("model"),
    )
    return follow(session, run, arguments)


def follow(session: Session, run: Run, arguments: Arguments) -> Run:
    """Draw the run, leave it in the variable of `--out`, and with `--wait` block until it ended.

    Raises Detached on an interrupt, RunFailed when a run that was waited for did not end `done`.
    """
    variable = arguments.get("out")
    if variable:
        session.shell.user_ns[variable] = run
    widget = session.show_run(run)
    if arguments.get("wait"):
        try:
            widget.wait()
        except KeyboardInterrupt:
            raise Detached(f"detached; the run goes on: %po show {run.short}") from None
        view = run.refresh()
        if view.state != "done":
            raise RunFailed(end_message(view), run)
    return run
