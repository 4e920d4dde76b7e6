"""The magics `%%po_pipeline`, `%%po_task` and `%po`. A mistake is one clear message in the cell and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from po_jupyter.errors import Unavailable, Violation
from po_jupyter.kernel import launch, static_view
from po_jupyter.kernel.arguments import Arguments, Option, parse
from po_jupyter.kernel.cells import BODY_OFFSET, globals_of_notebook, parse_task_cell
from po_jupyter.kernel.errors import CellError, as_cell_errors
from po_jupyter.kernel.session import Session
from po_jupyter.kernel.verbs import NATIVE, run_cli_verb
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.presentation.terminal_text import plain

if TYPE_CHECKING:
    import click

_NEEDS_RUN = ("out", "limit", "fresh", "cache", "skip-validation")
_AS_TEXT = {"--help", "--json", "--list"}  # the terminal's own output, also of a verb that draws
_TASK = {"try": Option("expression", "EXPR")}


@magics_class
class PoMagics(Magics):
    """The magics of one shell. `verbs` gives the CLI's group for the verbs that have no view of their own."""

    session: Session

    def __init__(self, session: Session, verbs: Callable[[], click.Group] | None = None) -> None:
        """Magics over the session of a shell."""
        super().__init__(session.shell)
        self.session = session
        self._verbs = verbs

    @no_var_expand
    @cell_magic
    def po_pipeline(self, line: str, cell: str) -> Any:
        """Define a pipeline in YAML, and run it with --run.

        %%po_pipeline NAME [--run] [--seed EXPR] [--out VAR] [--wait] [--model REF] [--budget USD] [--limit N]
        [--fresh] [--cache false|refresh] [--skip-validation] [--dry-run]
        """
        from po_jupyter.model.pipeline.parsing import line_finder, parse_pipeline

        arguments = parse(line, "%%po_pipeline", ["NAME"], launch.PIPELINE)
        dry = bool(arguments.get("dry-run"))
        runs = bool(arguments.get("run") or arguments.get("wait")) and not dry
        idle = [name for name in _NEEDS_RUN if arguments.get(name) is not None]
        if idle and not runs and not dry:
            raise CellError(f"`--{idle[0]}` does something only together with `--run`")
        find_line = line_finder(cell)

        def line_of(violation: Violation) -> int | None:
            # NAME stands in the line of the magic, above the body.
            return 0 if violation.where == "name" and find_line(violation) is None else violation.line

        with as_cell_errors(line_of, BODY_OFFSET):
            parsed = parse_pipeline(cell, name=arguments.positional[0])
        pipeline = launch.prepare(self.session, parsed, arguments, find_line)
        seed = launch.seed_of(self.session, arguments)
        self.session.pipelines[pipeline.name] = pipeline
        with as_cell_errors(find_line, BODY_OFFSET):
            if dry:
                launch.print_estimate(self.session, pipeline, seed, arguments)
                return None
            if runs:
                return launch.start(self.session, pipeline, seed, arguments)
            registered = self._register(pipeline, seed)
            static_view.show(self.session.shell, static_view.pipeline(pipeline, registered))
        return None

    def _register(self, pipeline: Pipeline, seed: Any) -> bool:
        """Check the pipeline with all that an orchestrator knows, and register it there (B10).

        False when none is running: a definition does not start one. Raises InvalidPipeline, InvalidSeed.
        """
        client = self.session.running_client()
        if client is None:
            return False
        try:
            for warning in client.validate(pipeline, seed).get("warnings", ()):
                print(f"before it can run: {plain(warning)}")
            client.register(pipeline)
        except Unavailable:
            self.session.forget_client()
            return False
        return True

    @no_var_expand
    @cell_magic
    def po_task(self, line: str, cell: str) -> None:
        """Define a Python task by its stage functions; --try runs them here on a seed.

        %%po_task NAME [--try EXPR]
        """
        arguments = parse(line, "%%po_task", ["NAME"], _TASK)
        name = arguments.positional[0]
        _check_task_name(name)
        task = parse_task_cell(name, cell)
        self.session.tasks[name] = task
        for variable, at in globals_of_notebook(cell, self.session.shell.user_ns):
            print(
                f"cell line {at + BODY_OFFSET}: `{variable}` is of this notebook and will not be there when the "
                "task runs: import or define it in this cell, or pass it in the seed"
            )
        if arguments.get("try") is None:
            print(f"task {name}: {', '.join(task.stages)}")
            return
        from po_jupyter.kernel.try_task import try_task

        seed = self.session.evaluate("try", arguments.get("try"))
        with as_cell_errors():
            trial = try_task(task, seed)
        static_view.show(self.session.shell, static_view.trial(name, trial))
        if trial.error is not None:
            raise CellError(trial.error)

    @no_var_expand
    @line_magic
    def po(self, line: str) -> Any:
        """The verbs of the `po` command; those that concern one run draw it here."""
        name, _, rest = line.strip().partition(" ")
        if name != "chat":  # a question may have braces of its own
            rest = self.session.insert_values(rest)
            line = f"{name} {rest}"
        verb = NATIVE.get(name)
        if verb is None or not _AS_TEXT.isdisjoint(rest.split()):
            if self._verbs is None:
                raise CellError(f"%po knows: {', '.join(NATIVE)}")
            return run_cli_verb(line, self._verbs())
        arguments: Arguments = parse(rest, f"%po {name}", verb.positional, verb.options)
        with as_cell_errors():
            return verb.run(self.session, arguments)


def _check_task_name(name: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    from po_jupyter.model.pipeline.pipeline import TaskName

    try:
        TypeAdapter(TaskName).validate_python(name)
    except ValidationError:
        raise CellError(
            f"`{name}` cannot be the name of a task: letters, digits, - and _, at most 100, not first - or _"
        ) from None
