"""`%%po_pipeline`, `%%po_task` and `%po`. A mistake is one clear message in the cell, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from po_jupyter.errors import Unavailable, Violation
from po_jupyter.kernel import static_view as report
from po_jupyter.kernel.arguments import Given, Option, parse
from po_jupyter.kernel.cells import BODY_OFFSET, inline, missing_names, read_task
from po_jupyter.kernel.errors import CellError, Detached, RunFailed, clean
from po_jupyter.kernel.session import Session, how_it_ended
from po_jupyter.model.pipeline.pipeline import LLM, Budget, Pipeline
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.presentation.terminal_text import plain

if TYPE_CHECKING:
    import click

    from po_jupyter.client.client import Run

_SEED = Option("expression", "EXPR")
_STARTING = {
    "out": Option("name", "VAR"),
    "wait": Option("flag"),
    "model": Option("word", "REF"),
    "budget": Option("money", "USD"),
    "limit": Option("number", "N"),
    "fresh": Option("flag"),
    "cache": Option("choice", "false|refresh"),
    "skip-validation": Option("flag"),
}
_DRY = {"dry-run": Option("flag")}
_PIPELINE = {"run": Option("flag"), "seed": _SEED, **_STARTING, **_DRY}
_NEEDS_RUN = ("out", "limit", "fresh", "cache", "skip-validation")
_VERBS: dict[str, tuple[list[str], dict[str, Option]]] = {
    "run": (["NAME"], {"seed": _SEED, **_STARTING, **_DRY}),
    "estimate": (
        ["NAME"],
        {"seed": _SEED, "model": Option("word", "REF"), "limit": Option("number", "N")},
    ),
    "runs": (
        [],
        {
            "state": Option("word", "STATE"),
            "pipeline": Option("word", "NAME"),
            "limit": Option("number", "N"),
            "export": Option("word", "FILE"),
        },
    ),
    "show": (["[RUN]"], {"failed": Option("flag"), "wait": Option("flag"), "out": Option("name", "VAR")}),
    "cancel": (["RUN"], {}),
    "resume": (
        ["RUN"],
        {
            "from-task": Option("word", "TASK"),
            "only-failed": Option("flag"),
            "budget": Option("money", "USD"),
            "wait": Option("flag"),
        },
    ),
    "restart": (
        ["RUN"],
        {
            "task": Option("word", "TASK"),
            "only": Option("flag"),
            "clear-usage": Option("flag"),
            "wait": Option("flag"),
        },
    ),
    "fork": (
        ["RUN"],
        {
            "from-task": Option("word", "TASK"),
            "seed": _SEED,
            "pipeline": Option("word", "NAME"),
            "wait": Option("flag"),
            "out": Option("name", "VAR"),
        },
    ),
    "approve": (["RUN"], {"note": Option("word", "TEXT")}),
    "reject": (["RUN"], {"note": Option("word", "TEXT")}),
}
_FAILED_SHOWN = 20


@magics_class
class PoMagics(Magics):
    """The magics of one shell. `verbs` gives the CLI's group for the verbs that have no view of their own."""

    session: Session

    def __init__(self, session: Session, verbs: Callable[[], click.Group] | None = None) -> None:
        super().__init__(session.shell)
        self.session = session
        self._verbs = verbs

    # -- %%po_pipeline --------------------------------------------------------------------------
    @no_var_expand
    @cell_magic
    def po_pipeline(self, line: str, cell: str) -> Any:
        """Define a pipeline in YAML, and run it with --run.

        %%po_pipeline NAME [--run] [--seed EXPR] [--out VAR] [--wait] [--model REF] [--budget USD] [--limit N]
        [--fresh] [--cache false|refresh] [--skip-validation] [--dry-run]
        """
        from po_jupyter.model.pipeline.parsing import line_finder, parse_pipeline

        given = parse(line, "%%po_pipeline", ["NAME"], _PIPELINE)
        dry = bool(given.get("dry-run"))
        runs = bool(given.get("run") or given.get("wait")) and not dry
        asked = [name for name in _NEEDS_RUN if given.get(name) is not None]
        stray = asked[0] if asked and not runs and not dry else None
        if stray is not None:
            raise CellError(f"`--{stray}` does something only together with `--run`")
        find = line_finder(cell)

        def line_of(violation: Violation) -> int | None:
            # NAME stands in the line of the magic, above the body.
            return 0 if violation.where == "name" and find(violation) is None else violation.line

        with clean(line_of, BODY_OFFSET):
            written = parse_pipeline(cell, name=given.words[0])
        pipeline = self._prepared(written, given, find)
        seed = self._seed(given)
        self.session.pipelines[pipeline.name] = pipeline
        with clean(find, BODY_OFFSET):
            if dry:
                self._tell(pipeline, seed, given)
                return None
            if runs:
                return self._start(pipeline, seed, given)
            registered = self._registered(pipeline, seed)
            report.show(self.session.shell, report.pipeline(pipeline, registered))
        return None

    def _prepared(
        self, pipeline: Pipeline, given: Given, find: Callable[[Violation], int | None] | None = None
    ) -> Pipeline:
        """`pipeline` with the line's --model and --budget, and with the code of this notebook's task cells."""
        changes: dict[str, Any] = {}
        if given.get("model"):
            try:
                changes["llm"] = LLM.model_validate({**pipeline.llm.model_dump(), "model": given.get("model")})
            except ValueError:
                raise CellError(
                    f"`--model {given.get('model')}`: a model is written provider:model, "
                    "for example openai:gpt-5-mini"
                ) from None
        if given.get("budget"):
            changes["budget"] = Budget(usd=given.get("budget"), tokens=pipeline.budget.tokens)
        pipeline = inline(pipeline.model_copy(update=changes), self.session.tasks)
        self._need_code(pipeline, find)
        return pipeline

    def _need_code(self, pipeline: Pipeline, find: Callable[[Violation], int | None] | None) -> None:
        """Python tasks run with this kernel's interpreter: what it cannot find, the worker will not either."""
        from po_jupyter.engine.python.lookup import findable

        missing = []
        for i, task in enumerate(pipeline.tasks):
            problem = findable(task)
            if problem is not None:
                name = task.task or task.name
                guess = did_you_mean(name, list(self.session.tasks))
                hint = guess or f": define it in a cell with %%po_task {name}, or give the task a `prompt`"
                message = f"task `{task.name}` has no prompt, and there is no Python `{name}`{hint}"
                violation = Violation(f"tasks[{i}]", message)
                line = find(violation) if find is not None else None
                missing.append(f"cell line {line + BODY_OFFSET}: {message}" if line else message)
        if missing:
            raise CellError("\n".join(missing))

    def _seed(self, given: Given) -> Any:
        expression = given.get("seed")
        return None if expression is None else self.session.value_of("seed", expression)

    def _registered(self, pipeline: Pipeline, seed: Any) -> bool:
        """Check the pipeline with all that an orchestrator knows, and register it there (B10).

        False when none is running: a definition does not start one. Raises InvalidPipeline, InvalidSeed.
        """
        client = self.session.reachable()
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

    def _tell(self, pipeline: Pipeline, seed: Any, given: Given) -> None:
        """Say what a run would cost; nothing is started."""
        from po_jupyter.presentation.estimates import lines_of

        for line in lines_of(
            self.session.client().estimate(pipeline, seed, limit=given.get("limit"), model=given.get("model"))
        ):
            print(line)

    def _start(self, pipeline: Pipeline, seed: Any, given: Given) -> Run:
        run = self.session.client().submit(
            pipeline, seed, limit=given.get("limit"), fresh=bool(given.get("fresh")), cache=given.get("cache"),
            budget=given.get("budget"), skip_validation=bool(given.get("skip-validation")),
            model=given.get("model"),
        )  # fmt: skip
        return self._follow(run, given)

    def _follow(self, run: Run, given: Given) -> Run:
        """Draw the run, leave it in VAR, and with --wait block until it ended."""
        if given.get("out"):
            self.session.shell.user_ns[given.get("out")] = run
        widget = self.session.show(run)
        if given.get("wait"):
            try:
                widget.wait()
            except KeyboardInterrupt:
                raise Detached(f"detached; the run goes on: %po show {run.short}") from None
            view = run.refresh()
            if view.state != "done":
                raise RunFailed(how_it_ended(view), run)
        return run

    # -- %%po_task ------------------------------------------------------------------------------
    @no_var_expand
    @cell_magic
    def po_task(self, line: str, cell: str) -> None:
        """Define a Python task by its stage functions; --try runs them here on a seed.

        %%po_task NAME [--try EXPR]
        """
        given = parse(line, "%%po_task", ["NAME"], {"try": Option("expression", "EXPR")})
        name = given.words[0]
        _check_task_name(name)
        task = read_task(name, cell)
        self.session.tasks[name] = task
        for missing, at in missing_names(cell, self.session.shell.user_ns):
            print(
                f"cell line {at + BODY_OFFSET}: `{missing}` is of this notebook and will not be there when the "
                "task runs: import or define it in this cell, or pass it in the seed"
            )
        if given.get("try") is None:
            print(f"task {name}: {', '.join(task.stages)}")
            return
        from po_jupyter.kernel.try_task import try_task

        seed = self.session.value_of("try", given.get("try"))
        with clean():
            tried = try_task(task, seed)
        report.show(self.session.shell, report.trial(name, tried))
        if tried.error is not None:
            raise CellError(tried.error)

    # -- %po ------------------------------------------------------------------------------------
    @no_var_expand
    @line_magic
    def po(self, line: str) -> Any:
        """The verbs of the `po` command; those that concern one run draw it here."""
        verb, _, rest = line.strip().partition(" ")
        native = _VERBS.get(verb)
        if native is None or "--help" in rest.split() or "--json" in rest.split():
            return self._click(line)
        given = parse(rest, f"%po {verb}", *native)
        with clean():
            return getattr(self, f"_{verb}")(given)

    def _run(self, given: Given) -> Run | None:
        seed = self._seed(given)
        pipeline = self._prepared(self.session.definition(given.words[0]), given)
        if given.get("dry-run"):
            self._tell(pipeline, seed, given)
            return None
        return self._start(pipeline, seed, given)

    def _estimate(self, given: Given) -> None:
        seed = self._seed(given)
        self._tell(self._prepared(self.session.definition(given.words[0]), given), seed, given)

    def _runs(self, given: Given) -> None:
        states = given.get("state")
        if given.get("export"):
            count = self.session.client().export(
                given.get("export"), state=states, pipeline=given.get("pipeline")
            )
            print(f"{count} ended runs written to {given.get('export')}")
            return
        runs = self.session.client().runs(
            state=states.split(",") if states else None,
            pipeline=given.get("pipeline"),
            limit=given.get("limit") or 20,
        )
        report.show(self.session.shell, report.runs([run._view for run in runs]))

    def _show(self, given: Given) -> Run | None:
        run = self.session.find(given.words[0] if given.words else None)
        if not given.get("failed"):
            return self._follow(run, given)
        rows = [
            (task.name, row)
            for task in run.view.tasks
            if task.items is not None and task.items.failed
            for row in run.items(task.name, state="failed")
        ]
        report.show(self.session.shell, report.failed_rows(run.view, rows, _FAILED_SHOWN))
        return None

    def _cancel(self, given: Given) -> Run:
        return self._follow(self.session.find(given.words[0]).cancel(), given)

    def _resume(self, given: Given) -> Run:
        run = self.session.find(given.words[0])
        run.resume(
            from_task=given.get("from-task"),
            only_failed=bool(given.get("only-failed")),
            budget=given.get("budget"),
        )
        return self._follow(run, given)

    def _restart(self, given: Given) -> Run:
        if given.get("only") and not given.get("task"):
            raise CellError("`--only` needs `--task TASK`: which one?")
        run = self.session.find(given.words[0])
        run.restart(given.get("task"), only=bool(given.get("only")), clear_usage=bool(given.get("clear-usage")))
        return self._follow(run, given)

    def _fork(self, given: Given) -> Run:
        if not given.get("from-task"):
            raise CellError("`%po fork RUN` needs `--from-task TASK`: the first task that runs anew")
        name = given.get("pipeline")
        definition = None
        if name is not None:
            definition = self._prepared(self.session.definition(name), given)
        seed = self._seed(given) if given.get("seed") else None
        run = self.session.find(given.words[0]).fork(given.get("from-task"), seed=seed, pipeline=definition)
        return self._follow(run, given)

    def _approve(self, given: Given) -> Run:
        return self._follow(self.session.find(given.words[0]).approve(given.get("note") or ""), given)

    def _reject(self, given: Given) -> Run:
        return self._follow(self.session.find(given.words[0]).reject(given.get("note") or ""), given)

    def _click(self, line: str) -> Any:
        """A verb that only prints: the CLI's own."""
        import shlex

        import click

        if self._verbs is None:
            raise CellError(f"%po knows: {', '.join(_VERBS)}")
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise CellError(f"%po {line}: {error}") from None
        try:
            with clean():
                self._verbs().main(words or ["--help"], prog_name="%po", standalone_mode=False)
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


def _check_task_name(name: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    from po_jupyter.model.pipeline.pipeline import TaskName

    try:
        TypeAdapter(TaskName).validate_python(name)
    except ValidationError:
        raise CellError(
            f"`{name}` cannot be the name of a task: letters, digits, - and _, at most 100, not first - or _"
        ) from None
