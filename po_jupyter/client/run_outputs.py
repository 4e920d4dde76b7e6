"""The outputs of a run's finished tasks, as a mapping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from po_jupyter.client.blocking import Blocking
from po_jupyter.errors import PoError
from po_jupyter.errors.tracebacks import shorten
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.view import RunView
from po_jupyter.presentation import format as fmt


class RunHandle(Protocol):
    """The run that the outputs are of, as `po_jupyter.client.run.Run` has it."""

    @property
    def id(self) -> str:
        """Its whole id."""
        ...

    @property
    def short(self) -> str:
        """The id that people see."""
        ...

    @property
    def view(self) -> RunView:
        """How it stands."""
        ...

    @property
    def client(self) -> Blocking:
        """What asks for it."""
        ...


class RunOutputs(Mapping[str, Any]):
    """Outputs of finished tasks by name, each fetched when it is first read."""

    def __init__(self, run: RunHandle) -> None:
        """Fetches nothing yet."""
        self._run = run
        self._fetched: dict[str, tuple[str | None, Any]] = {}  # with the end of the task that wrote it

    def __getitem__(self, name: str) -> Any:
        """The output of a finished task, None for one without. Raises KeyError that says why it is not there yet."""
        view = self._run.view
        task = next((t for t in view.tasks if t.name == name), None)
        if task is None:
            names = [t.name for t in view.tasks]
            raise _missing(f"no task {name!r}{did_you_mean(name, names)} (tasks: {', '.join(names)})")
        if task.state != "done":
            raise _missing(f"task {name!r} has no output yet: it is {task.state}, the run is {view.state}")
        fetched = self._fetched.get(name)
        if fetched is None or fetched[0] != task.ended_at:
            client = self._run.client
            outputs = client.call(client.aio.outputs(self._run.id, name))
            self._fetched[name] = fetched = (task.ended_at, outputs.get(name))
        return fetched[1]

    def __iter__(self) -> Iterator[str]:
        """The names of the finished tasks."""
        return iter([task.name for task in self._run.view.tasks if task.state == "done"])

    def __len__(self) -> int:
        """The number of finished tasks."""
        return len(list(iter(self)))

    def __repr__(self) -> str:
        """The names; outputs themselves may be large."""
        return f"<outputs of run {self._run.short}: {', '.join(self) or 'none yet'}>"


def not_ended(run: RunHandle, seconds: float | None) -> str:
    """What somebody is told who waited no longer than `seconds` for the end of a run."""
    try:
        return fmt.not_ended(run.view, seconds)
    except PoError as error:
        return f"run {run.short} has not ended as far as is known here: {error}"


def _missing(message: str) -> KeyError:
    error = KeyError(message)
    shorten(error)  # a cell shows the line of the notebook alone
    return error
