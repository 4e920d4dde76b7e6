"""Inputs of one attempt of a Python task: seed and outputs of earlier tasks, copied when they are used."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

from po_jupyter.engine.base.json_values import copy_json
from po_jupyter.engine.ports import Dependencies
from po_jupyter.engine.replay.row_table import MapOutput
from po_jupyter.model.values.json import JsonObject, JsonValue


class TaskInputs:
    """The seed and the outputs of earlier tasks as one attempt reads them, each copied when it is first used.

    A stage may change its inputs. Nobody else must see that: after a crash the change would not be there.
    `dependencies` records what is read.
    """

    def __init__(
        self, seed: Any, tasks: Mapping[str, JsonValue], dependencies: Dependencies | None = None
    ) -> None:
        """The inputs `seed` (its data) and `tasks` (outputs by name)."""
        self._original = seed
        self.dependencies = dependencies
        self.tasks = _CopiedOutputs(tasks, dependencies)

    @property
    def seed(self) -> Any:
        """The data of the seed."""
        if self.dependencies is not None:
            self.dependencies.record("seed")
        return self._seed

    @cached_property
    def _seed(self) -> Any:
        return copy_json(self._original)


class _CopiedOutputs(Mapping[str, JsonValue]):
    """`ctx.tasks`: outputs by name, each copied when it is first read."""

    def __init__(self, outputs: Mapping[str, JsonValue], dependencies: Dependencies | None) -> None:
        self._outputs = outputs
        self._dependencies = dependencies
        self._copies: JsonObject = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._copies:
            value = self._outputs[name]
            # A list, not something like it: code may add to it, or ask for its type.
            self._copies[name] = list(value) if isinstance(value, MapOutput) else copy_json(value)
        if self._dependencies is not None:
            self._dependencies.record(f"tasks.{name}")
        return self._copies[name]

    async def read_ahead(self, fn: Callable[..., Any]) -> None:
        """Read the outputs that `fn` names, in a thread: an async stage reads them on the loop."""
        names = [name for name in _texts(fn) if name not in self._copies and name in self._outputs]
        if names:
            await asyncio.to_thread(lambda: [self._copies.setdefault(n, self[n]) for n in names])

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def __repr__(self) -> str:
        return f"tasks({', '.join(self._outputs)})"


def _texts(fn: Callable[..., Any]) -> set[str]:
    """The texts that stand in a function's code, inner functions included."""
    texts: set[str] = set()
    todo = [getattr(fn, "__code__", None)]
    while todo:
        code = todo.pop()
        if code is not None:
            texts.update(c for c in code.co_consts if isinstance(c, str))
            todo += [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return texts
