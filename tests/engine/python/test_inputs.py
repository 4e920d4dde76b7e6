"""Inputs of a Python task are copies, made when they are read, and each use is a dependency."""

from __future__ import annotations

from typing import Any

from po_jupyter.engine.python.inputs import TaskInputs


class Outputs(dict[str, Any]):
    """Outputs that count how often each is read."""

    def __init__(self, *args: Any, **fields: Any) -> None:
        super().__init__(*args, **fields)
        self.reads: list[str] = []

    def __getitem__(self, name: str) -> Any:
        self.reads.append(name)
        return super().__getitem__(name)


class Record:
    def __init__(self) -> None:
        self.names: list[str] = []

    def record(self, name: str) -> None:
        self.names.append(name)


def test_a_change_of_an_input_is_seen_by_nobody_else() -> None:
    seed, outputs = {"rows": [1]}, {"a": {"x": [1]}}
    inputs = TaskInputs(seed, outputs)
    inputs.seed["rows"].append(2)
    inputs.tasks["a"]["x"].append(2)
    assert (seed, outputs) == ({"rows": [1]}, {"a": {"x": [1]}})
    assert inputs.seed["rows"] == [1, 2], "the stage itself sees its change"


def test_an_output_is_read_when_it_is_used_and_once() -> None:
    outputs = Outputs(a=1, b=2)
    inputs = TaskInputs({}, outputs)
    assert list(inputs.tasks) == ["a", "b"]
    assert outputs.reads == []
    assert (inputs.tasks["a"], inputs.tasks["a"]) == (1, 1)
    assert outputs.reads == ["a"]


def test_what_is_read_is_recorded() -> None:
    record = Record()
    inputs = TaskInputs({}, {"a": 1, "b": 2}, record)
    assert record.names == []
    assert (inputs.seed, inputs.tasks["b"]) == ({}, 2)
    assert record.names == ["seed", "tasks.b"]


async def test_outputs_that_the_code_names_are_read_ahead() -> None:
    outputs = Outputs(a=1, b=2, c=3)
    inputs = TaskInputs({}, outputs)

    def stage(ctx: Any) -> Any:
        def inner() -> Any:
            return ctx.tasks["b"]

        return ctx.tasks["a"], inner()

    await inputs.tasks.read_ahead(stage)
    assert sorted(outputs.reads) == ["a", "b"]
