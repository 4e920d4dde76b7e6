"""`ctx.control` and `control.json`: a task adds, skips or gates tasks of its own run (B11).

An invalid directive fails the task, once: another attempt would say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock

from po_jupyter.engine.control.apply import SourcedDirectives
from po_jupyter.engine.control.directives import invalid_directives, parse_directives, read_directives
from po_jupyter.engine.ports import DirectiveSink
from po_jupyter.errors import ControlInvalid, InvalidInput, Violation
from po_jupyter.model.values.json import JsonValue

FILE = "control.json"


class DirectiveCollector:
    """The directives of one attempt, by stage: a stage that runs again starts from none. A `DirectiveSink`.

    `check(directives)` raises ControlInvalid when the run as it is now does not allow all of them.
    """

    def __init__(self, check: Callable[[Sequence[SourcedDirectives]], object]) -> None:
        """No directives yet."""
        self._check = check
        self._by_stage: dict[str, list[SourcedDirectives]] = {}
        self._broken: ControlInvalid | None = None
        self._lock = Lock()  # sync stages run in threads

    def begin(self, stage: str) -> None:
        """Forget the directives of a stage: it starts (again)."""
        with self._lock:
            self._by_stage.pop(stage, None)

    def collect(self, stage: str, source: str, data: Mapping[str, JsonValue]) -> None:
        """Add one directive, if the run as it is now allows it.

        Raises ControlInvalid, and the task fails with it even if its code goes on.
        """
        try:
            directives = read_directives(data, source=source)
            with self._lock:
                self._check([*self._all(), (source, directives)])
                self._by_stage.setdefault(stage, []).append((source, directives))
        except ControlInvalid as error:
            self._broken = error
            raise

    def _all(self) -> list[SourcedDirectives]:
        return [directive for directives in self._by_stage.values() for directive in directives]

    def finish(self) -> list[SourcedDirectives]:
        """All directives. Raises ControlInvalid when one of them was invalid."""
        if self._broken is not None:
            raise self._broken
        return self._all()


class Rehearsal:
    """A `DirectiveSink` for a task that is tried without a run: directives are checked for their shape alone."""

    def begin(self, stage: str) -> None:
        """Nothing: no directive is remembered."""

    def collect(self, stage: str, source: str, data: Mapping[str, JsonValue]) -> None:
        """Check the shape of a directive. Raises ControlInvalid."""
        read_directives(data, source=source)


class Control:
    """`ctx.control`: a task adds tasks, skips later ones, or asks for a decision. Applied when the task is done."""

    __slots__ = ("_sink", "_stage")

    def __init__(self, sink: DirectiveSink | None, stage: str) -> None:
        """The directives of one stage; `sink` is None for a row of a map, which has none."""
        self._sink = sink
        self._stage = stage

    def add(self, tasks: object, after: str | None = None) -> None:
        """Add one task or several, defined as in a pipeline (a name, a mapping, a `Task`), behind this task or
        behind a later pending one. A Python task may name another task of the run as its code: `{"name":
        "again", "task": "analysis"}`. Raises ControlInvalid."""
        several = list(tasks) if isinstance(tasks, list | tuple) else [tasks]
        self._send(
            "ctx.control.add", {"patch": {"add": several, **({} if after is None else {"insertAfter": after})}}
        )

    def skip(self, task: str, reason: str) -> None:
        """Skip a later task that has not started; it counts as finished, without an output. Raises
        ControlInvalid."""
        self._send("ctx.control.skip", {"skip": [{"task": task, "reason": reason}]})

    def pause(self, message: str, artifacts: Sequence[str] = ()) -> None:
        """Open a gate after this task; `artifacts` are named to whoever decides. Raises ControlInvalid."""
        self._send("ctx.control.pause", {"pause": {"message": message, "artifacts": list(artifacts)}})

    def _send(self, source: str, data: Mapping[str, JsonValue]) -> None:
        if self._sink is None:
            raise InvalidInput(
                "a row of a map cannot direct the run: its neighbours may be done already",
                hint="Do it in a task after the map, or write control.json once.",
            )
        self._sink.collect(self._stage, source, data)


def control_file_path(run_dir: Path, task: str) -> Path:
    """The path of a task's `control.json`: in its own directory, `ctx.io.task_dir`."""
    return run_dir / f"tmp/{task}/{FILE}"


def remove_control_file(path: Path) -> None:
    """Remove the file of an earlier attempt."""
    path.unlink(missing_ok=True)


def read_control_file(path: Path) -> list[SourcedDirectives]:
    """The directives of the file; [] when there is none. Raises ControlInvalid. Blocks on the disk."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise invalid_directives(
            FILE, [Violation("", f"it cannot be read: {error.strerror or error}")]
        ) from None
    return [(FILE, parse_directives(data))]
