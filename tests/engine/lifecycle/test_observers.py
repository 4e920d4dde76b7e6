"""Several observers as one."""

from __future__ import annotations

import inspect

from po_jupyter.engine.lifecycle.observers import Observers
from po_jupyter.engine.ports import Observer


def test_each_is_told_everything_in_turn() -> None:
    """A method that an Observer gains later is handed on too, or this fails."""
    notes: list[tuple[str, str]] = []

    class Recorder:
        def __init__(self, name: str) -> None:
            self.name = name

        def __getattr__(self, method: str) -> object:
            return lambda *args: notes.append((self.name, method))

    both = Observers(Recorder("a"), Recorder("b"))  # type: ignore[arg-type]  # any method that is asked for
    methods = [name for name in vars(Observer) if name.startswith("on_")]
    for name in methods:
        method = getattr(both, name)
        method(*[None] * len(inspect.signature(method).parameters))
    assert notes == [(who, name) for name in methods for who in ("a", "b")]
