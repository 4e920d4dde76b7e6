"""What the magics of one kernel share: the client, the cells' definitions, the live views."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from po_jupyter.client.inputs.kernel_keys import words_of
from po_jupyter.errors import InvalidInput, PoError, Unavailable
from po_jupyter.kernel.cells import TaskCell
from po_jupyter.kernel.errors import CellError
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.view import ENDED, RunView
from po_jupyter.presentation import format as fmt

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from po_jupyter.client.client import Client, Run
    from po_jupyter.kernel.widget import Bundle, RunWidget

Connect = Callable[..., "Client"]  # takes `start`


def _connect(*, start: bool = True) -> Client:
    from po_jupyter.client.discovery import connect

    return connect(start=start)


class Session:
    """One per kernel; it connects when something is first asked of the orchestrator, never before."""

    def __init__(self, shell: InteractiveShell, connect: Connect | None = None) -> None:
        self.shell = shell
        self.tasks: dict[str, TaskCell] = {}
        self.pipelines: dict[str, Pipeline] = {}
        self._connect = connect or _connect
        self._client: Client | None = None
        self._widgets: dict[str, RunWidget] = {}
        self._shown: dict[str, int] = {}  # run id: the execution that drew it last

    @property
    def interactive(self) -> bool:
        """Whether there is a kernel, and so perhaps a frontend that draws widgets."""
        return getattr(self.shell, "kernel", None) is not None

    # -- the orchestrator -----------------------------------------------------------------------
    def client(self) -> Client:
        """The client; an orchestrator is started when there is none. Raises Unavailable."""
        if self._client is None:
            self._take(self._connect(start=True))
        assert self._client is not None
        return self._client

    def reachable(self) -> Client | None:
        """The client if an orchestrator is there; none is started for it."""
        if self._client is None:
            try:
                self._take(self._connect(start=False))
            except Unavailable:
                return None
        return self._client

    def _take(self, client: Client) -> None:
        self._client = client
        for note in client.notes:
            print(note)

    def forget_client(self) -> None:
        """Look for the orchestrator anew at the next use."""
        self._client = None

    def find(self, name: str | None) -> Run:
        """A run by its id or a part of it; the newest one without a name. Raises NotFound."""
        client = self.client()
        if name is not None:
            return client.run(name)
        runs = client.runs(limit=1)
        if not runs:
            raise CellError("there are no runs yet")
        return runs[0]

    # -- drawing --------------------------------------------------------------------------------
    def show(self, run: Run) -> RunWidget:
        """Draw the run here, live while it lives. A run that is drawn already shares its follower."""
        from po_jupyter.kernel.widget import RunWidget

        self._forget_ended()
        view = run.view
        widget = self._widgets.get(run.id)
        if widget is None or widget.finished.is_set():
            widget = RunWidget(run.client.aio, view, self.publish, interactive=self.interactive)
            if view.state not in ENDED:
                self._widgets[run.id] = widget
        widget.show()
        self._shown[run.id] = self.shell.execution_count
        return widget

    def _forget_ended(self) -> None:
        for run_id in [i for i, w in self._widgets.items() if w.finished.is_set()]:
            del self._widgets[run_id]

    def publish(self, bundle: Bundle, display_id: str, update: bool) -> None:
        """Send a MIME bundle to the frontend; from any thread."""
        if update and not self.interactive:
            if bundle.get("text/plain"):
                self.shell.display_pub.publish({"text/plain": bundle["text/plain"]})
            return
        self.shell.display_pub.publish(bundle, transient={"display_id": display_id}, update=update)

    def bundle_of(self, run: Run, include: Any = None, exclude: Any = None) -> dict[str, Any] | None:
        """What a Run is as the value of a cell: its live view, or one line where the cell drew it already."""
        if self._shown.get(run.id) != self.shell.execution_count:
            try:
                self.show(run)
            except PoError:
                return None  # the plain repr: a value must print even when nobody answers
        view: RunView = run._view
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
    def value_of(self, option: str, expression: str) -> Any:
        """The value of a Python expression of the notebook. Raises CellError in one line."""
        what = f"`--{option} {expression}`"
        try:
            code = compile(expression.strip(), f"<--{option}>", "eval")
        except (SyntaxError, ValueError) as error:
            reason = error.msg if isinstance(error, SyntaxError) else str(error)
            raise CellError(f"{what} is not a Python expression: {reason}") from None
        try:
            return eval(code, self.shell.user_global_ns, self.shell.user_ns)  # noqa: S307  # the user's own line
        except NameError as error:
            known = [name for name in self.shell.user_ns if not name.startswith("_")]
            guess = did_you_mean(str(error.name), known) if error.name else ""
            raise CellError(f"{what}: {error}{guess}") from None
        except Exception as error:
            text = " ".join(str(error).split())[:500]
            raise CellError(f"{what}: {type(error).__name__}: {text}") from None

    def definition(self, name: str) -> Pipeline:
        """A pipeline by its name: one of this notebook's cells, else a registered one. Raises PoError."""
        from po_jupyter.client import background_loop as loop
        from po_jupyter.errors import NotFound
        from po_jupyter.model.pipeline.parsing import validate_pipeline

        if name in self.pipelines:
            return self.pipelines[name]
        aio = self.client().aio
        try:
            found = loop.run(aio.pipeline(name))
        except NotFound:
            known = [*self.pipelines, *(p["name"] for p in self.client().pipelines())]
            raise InvalidInput(
                f"there is no pipeline `{name}`{did_you_mean(name, known)}",
                hint=f"Define it in a cell: %%po_pipeline {name}"
                + (f"\nThere are: {', '.join(sorted(set(known)))}" if known else ""),
            ) from None
        return validate_pipeline({key: value for key, value in found.items() if key in Pipeline.model_fields})


def how_it_ended(run: RunView) -> str:
    """One paragraph for a cell that waited for a run that did not end well."""
    lines = [f"run {fmt.short(run.id)} of {run.pipeline} ended {run.state}"]
    for problem in fmt.problems(run):
        lines += [problem.text, *(f"  {line}" for line in problem.hint.splitlines())]
    for task in run.tasks:
        lines += words_of((task.error or {}).get("details") or {})
    lines = list(dict.fromkeys(lines))
    steps = fmt.next_steps(run)
    if steps:
        lines.append("   ".join(steps))
    return "\n".join(lines)
