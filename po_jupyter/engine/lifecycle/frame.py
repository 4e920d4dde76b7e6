"""The frame of an attempt: its data, flags and place, from the first stage to the last."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from po_jupyter.engine.base.deadline import Deadline
from po_jupyter.engine.ports import DirectiveSink
from po_jupyter.errors import StageFailed
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.values.json import JsonObject, JsonValue


@dataclass(frozen=True, slots=True)
class StageResult:
    """A result of a stage that sets flags beside the output. A flag never changes its type."""

    output: Any = None
    flags: Mapping[str, JsonValue] = field(default_factory=dict)


class Flags(dict[str, Any]):
    """Flags of an attempt. A flag that is set never changes its type; None means unset."""

    __slots__ = ()

    def __setitem__(self, name: str, value: Any) -> None:
        """Set a flag. Raises StageFailed when its type would change."""
        old = self.get(name)
        if old is not None and value is not None and type(old) is not type(value):
            raise StageFailed(
                f"the flag {name!r} is {type(old).__name__} ({old!r:.40}) and was set to "
                f"{type(value).__name__} ({value!r:.40})",
                hint="A flag keeps its type for the whole task.",
            )
        super().__setitem__(name, value)

    def update(self, *args: Any, **named: Any) -> None:
        """Set several flags, each checked."""
        for name, value in dict(*args, **named).items():
            self[name] = value

    def setdefault(self, name: str, default: Any = None) -> Any:
        """The flag, set to `default` when it is not there."""
        if name not in self:
            self[name] = default
        return self[name]


@dataclass(slots=True, eq=False)
class Frame:
    """The state of one attempt of a task or a row on its way through the stages.

    `violations`: why the last validation failed; `log`: the stage's log file; `control`: the receiver of directives.
    """

    task: Task
    attempt: int = 1
    item: Any = None
    index: int | None = None
    output: Any = None
    data: JsonObject = field(default_factory=dict)
    flags: Flags = field(default_factory=Flags)
    round: int = 0
    stage: str = ""
    previous: str = ""
    violations: list[str] = field(default_factory=list)
    log: str | None = None
    deadline: Deadline | None = None
    control: DirectiveSink | None = None

    def log_fields(self) -> JsonObject:
        """The fields that place a log line: task, stage, attempt and row."""
        return {"task": self.task.name, "stage": self.stage, "attempt": self.attempt, "index": self.index}

    def extend(self, seconds: float) -> None:
        """Give the running stage more time: a wait for a rate limit is not the stage's."""
        if self.deadline is not None:
            self.deadline.extend(seconds)

    def waiting(self) -> AbstractContextManager[None]:
        """Stop the stage's clock meanwhile: a wait for room in a budget is not the stage's, however long it is."""
        return self.deadline.waiting() if self.deadline is not None else nullcontext()
