"""The session of one kernel: the client, the cells' definitions and the live views that its magics share."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any

from po_jupyter.client.inputs.kernel_keys import key_hints
from po_jupyter.errors import InvalidInput, PoError, Unavailable
from po_jupyter.kernel.cells import TaskCell
from po_jupyter.kernel.errors import CellError
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.view import ENDED, RunView
from po_jupyter.presentation import format as fmt

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from po_jupyter.client.client import Client
    from po_jupyter.client.reviews.session import ReviewSession
    from po_jupyter.client.run import Run
    from po_jupyter.kernel.review_widget import ReviewWidget
    from po_jupyter.kernel.widget import MimeBundle, RunWidget

Connect = Callable[..., "Client"]  # takes `start`

_VALUE = re.compile(r"(?<!\S)\{([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\}(?!\S)")  # `{run.id}`, as in other magics


def _connect(*, start: bool = True) -> Client:
    from po_jupyter.client.discovery import connect

    return connect(start=start)


class Session:
    """State of the magics of one kernel. It connects at the first request to the orchestrator, never before."""

    def __init__(self, shell: InteractiveShell, connect: Connect | None = None) -> None:
        """A session of `shell`; `connect(start=...)` gives the client."""
        self.shell = shell
        self.tasks: dict[str, TaskCell] = {}
        self.pipelines: dict[str, Pipeline] = {}
        self._connect = connect or _connect
        self._client: Client | None = None
        self._widgets: dict[str, RunWidget] = {}
        self.review: ReviewWidget | None = None  # the one that was drawn last
        self._shown: dict[str, int] = {}  # run id: the execution that drew it last

    @property
    def interactive(self) -> bool:
        """True in a kernel, which may have a frontend that draws widgets."""
        return getattr(self.shell, "kernel", None) is not None

    @property
    def _widgets_are_used(self) -> bool:
        """False when the one who runs the cells takes no input (nbclient, papermill): the file is what is read then,
        and nbconvert would draw a widget from it that its server and kernel are not there for."""
        kernel = getattr(self.shell, "kernel", None)
        return kernel is not None and bool(getattr(kernel, "_allow_stdin", True))

    # -- the orchestrator -----------------------------------------------------------------------
    def client(self) -> Client:
        """The client; an orchestrator is started when there is none. Raises Unavailable."""
        if self._client is None:
            self._use(self._connect(start=True))
        assert self._client is not None
        return self._client

    def running_client(self) -> Client | None:
        """The client if an orchestrator runs; none is started for it."""
        if self._client is None:
            try:
                self._use(self._connect(start=False))
            except Unavailable:
                return None
        return self._client

    @property
    def current_client(self) -> Client | None:
        """The client, once there is one."""
        return self._client

    def connect_aside(self) -> Client:
        """The client, or a new one that the session does not take for its own: a look-up in another thread prints no
        notes. Raises Unavailable when no orchestrator runs."""
        return self._client or self._connect(start=False)

    def _use(self, client: Client) -> None:
        self._client = client
        for note in client.notes:
            print(note)

    def forget_client(self) -> None:
        """Look for the orchestrator anew at the next use."""
        self._client = None

    def find_run(self, name: str | None) -> Run:
        """A run by its id or a part of it; the newest one without a name. Raises NotFound."""
        client = self.client()
        if name is not None:
            from po_jupyter.client.discovery import run_anywhere

            return run_anywhere(client, name)
        runs = client.runs(limit=1)
        if not runs:
            raise CellError("there are no runs yet")
        return runs[0]

    # -- drawing --------------------------------------------------------------------------------
    def show_run(self, run: Run) -> RunWidget:
        """Draw the run here, live while it lives. A run that is drawn already shares its follower."""
        from po_jupyter.kernel.widget import RunWidget

        self._forget_ended()
        view = run.view
        widget = self._widgets.get(run.id)
        if widget is None or widget.finished.is_set():
            widget = RunWidget(
                run.client.aio, view, self.publish, interactive=self.interactive, widgets=self._widgets_are_used
            )
            if view.state not in ENDED:
                self._widgets[run.id] = widget
        widget.show()
        self._shown[run.id] = self.shell.execution_count
        return widget

    def show_review(self, run: Run, opened: ReviewSession) -> None:
        """Draw a review of rows of the run here; without a frontend that draws widgets say where it can be done."""
        if not self.interactive or not self._widgets_are_used:
            print(
                f"review of {opened.task}, run {run.short}: {opened.progress}; nobody answers here. "
                f"In a terminal: po review {run.short} --task {opened.task}"
            )
            return
        from po_jupyter.client.reviews.agreement import summary_of
        from po_jupyter.client.reviews.corrections import all_reviews
        from po_jupyter.kernel.review_widget import ReviewWidget

        async def summary() -> str:
            return str(
                summary_of(opened.task, await all_reviews(run.client.aio, run.id, opened.task), opened.choices)
            )

        self.review = ReviewWidget(opened, summary)
        self.publish(self.review.bundle(), f"po-review-{run.id}-{id(self.review):x}", False)

    def watch_run(self, run: Run, timeout: float | None) -> None:
        """Draw the run and block until it ended. An interrupt and TimeoutError change nothing."""
        widget = self.show_run(run)
        if timeout is None:
            widget.wait()
        run.wait(timeout)

    def _forget_ended(self) -> None:
        for run_id in [i for i, w in self._widgets.items() if w.finished.is_set()]:
            del self._widgets[run_id]

    def publish(self, bundle: MimeBundle, display_id: str, update: bool) -> None:
        """Send a MIME bundle to the frontend; from any thread."""
        if update and not self.interactive:
            if bundle.get("text/plain"):
                self.shell.display_pub.publish({"text/plain": bundle["text/plain"]})
            return
        publish = partial(
            self.shell.display_pub.publish, bundle, transient={"display_id": display_id}, update=update
        )
        if update:
            # Outside of the context of the cell that drew it, whose child the message would be: nbclient listens only
            # to the children of the cell that runs now.
            Context().run(publish)
        else:
            publish()

    def run_bundle(self, run: Run, include: object = None, exclude: object = None) -> MimeBundle | None:
        """A Run as the value of a cell: its live view, or one line where the cell drew it already."""
        if self._shown.get(run.id) != self.shell.execution_count:
            try:
                self.show_run(run)
            except PoError:
                return None  # the plain repr: a value must print even when nobody answers
        view = run._view
        line = f"run {run.short} of {view.pipeline} {view.version} · %po show {run.short} brings this view back"
        return {"text/plain": line}

    def close(self) -> None:
        """Stop every view and forget the client; runs go on."""
        for widget in self._widgets.values():
            widget.close()
        self._widgets.clear()
        if self._client is not None:
            self._client.close()
            self._client = None

    # -- expressions ----------------------------------------------------------------------------
    def evaluate(self, option: str, expression: str, *, shown: str = "") -> Any:
        """The value of a Python expression of the notebook; `shown` is where it stands, when that is no option. Raises
        CellError in one line."""
        option_text = f"`{shown}`" if shown else f"`--{option} {expression}`"
        try:
            code = compile(expression.strip(), f"<--{option}>", "eval")
        except (SyntaxError, ValueError) as error:
            reason = error.msg if isinstance(error, SyntaxError) else str(error)
            raise CellError(f"{option_text} is not a Python expression: {reason}") from None
        try:
            return eval(code, self.shell.user_global_ns, self.shell.user_ns)  # noqa: S307  # the user's own line
        except NameError as error:
            names = [name for name in self.shell.user_ns if not name.startswith("_")]
            guess = did_you_mean(str(error.name), names) if error.name else ""
            raise CellError(f"{option_text}: {error}{guess}") from None
        except Exception as error:
            text = " ".join(str(error).split())[:500]
            raise CellError(f"{option_text}: {type(error).__name__}: {text}") from None

    def insert_values(self, line: str) -> str:
        """A line of `%po` with the values of `{run.id}` and `{run}`, each a word of its own: a run stands for its id.
        Other braces, of templates and of JSON, stay as they are. Raises CellError for a name that is not there."""

        def value_of(match: re.Match[str]) -> str:
            value = self.evaluate("", match[1], shown=match[0])
            value = getattr(value, "id", value) if hasattr(value, "short") else value
            return str(value) if isinstance(value, str | int | float) else match[0]

        return _VALUE.sub(value_of, line)

    def definition(self, name: str) -> Pipeline:
        """A pipeline by its name: one of this notebook's cells, else a registered one. Raises PoError."""
        from po_jupyter.errors import NotFound
        from po_jupyter.model.pipeline.parsing import validate_pipeline

        if name in self.pipelines:
            return self.pipelines[name]
        client = self.client()
        try:
            definition = client.call(client.aio.pipeline(name))
        except NotFound:
            names = [*self.pipelines, *(p["name"] for p in client.pipelines())]
            raise InvalidInput(
                f"there is no pipeline `{name}`{did_you_mean(name, names)}",
                hint=f"Define it in a cell: %%po_pipeline {name}"
                + (f"\nThere are: {', '.join(sorted(set(names)))}" if names else ""),
            ) from None
        return validate_pipeline(
            {key: value for key, value in definition.items() if key in Pipeline.model_fields}
        )


def end_message(run: RunView) -> str:
    """The error message of a cell that waited for a run that did not end well."""
    lines = [f"run {short_id(run.id)} of {run.pipeline} ended {run.state}"]
    for problem in fmt.problems(run):
        lines += [problem.text, *(f"  {line}" for line in problem.hint.splitlines())]
        lines.append("\n".join(f"  │ {line}" for line in problem.traceback.splitlines()))
    for task in run.tasks:
        lines += key_hints((task.error or {}).get("details") or {})
    lines = list(filter(None, dict.fromkeys(lines)))
    steps = fmt.next_steps(run)
    if steps:
        lines.append("   ".join(steps))
    return "\n".join(lines)
