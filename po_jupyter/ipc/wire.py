"""Messages on the wire: a dataclass is one line of JSON, and a vocabulary reads the lines of one direction."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, NamedTuple, Self

from po_jupyter.model.values.json import JsonObject


class MalformedMessage(ValueError):
    """A field of a message is missing, or is not of its type."""


class _Field(NamedTuple):
    name: str
    required: bool
    fits: Callable[[object], bool]


# What a value of JSON must be for an annotation. JSON knows one kind of number; Python's bool is an int.
_TYPES: dict[str, tuple[type, ...]] = {
    "None": (type(None),),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "dict": (dict,),
    "list": (list,),
    "JsonObject": (dict,),
    "RateState": (dict,),
    "OrchestratorLoad": (dict,),
}


def _check_of(annotation: str) -> Callable[[object], bool]:
    types: set[type] = set()
    for name in annotation.split(" | "):
        types.update(_TYPES[name.partition("[")[0]])
    return lambda value: type(value) in types


_fields_cache: dict[type[WireValue], tuple[_Field, ...]] = {}


def _fields_of(cls: type[WireValue]) -> tuple[_Field, ...]:
    cached = _fields_cache.get(cls)
    if cached is None:
        cached = tuple(_Field(f.name, f.default is MISSING, _check_of(str(f.type))) for f in fields(cls))
        _fields_cache[cls] = cached
    return cached


@dataclass(frozen=True, slots=True)
class WireValue:
    """A value that is an object of JSON on the wire."""

    def to_json(self) -> JsonObject:
        """The object; a field with a default is left out when it is None."""
        values = ((f, getattr(self, f.name)) for f in _fields_of(type(self)))
        return {f.name: value for f, value in values if f.required or value is not None}

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """The value of an object; fields that it does not know are passed over. Raises MalformedMessage."""
        values: dict[str, Any] = {}
        for name, required, fits in _fields_of(cls):
            if name in data:
                if not fits(data[name]):
                    raise MalformedMessage(f"{cls.__name__}.{name} cannot be {data[name]!r:.60}")
                values[name] = data[name]
            elif required:
                raise MalformedMessage(f"{cls.__name__} without {name}")
        return cls(**values)


@dataclass(frozen=True, slots=True)
class IpcMessage(WireValue):
    """One message. `op` is its name on the wire."""

    op: ClassVar[str]

    def encode(self, run: str | None = None) -> bytes:
        """The line of JSON, with its end; `run` is whom the message is about, where it does not say so itself."""
        about = {} if run is None else {"run": run}
        return json.dumps({"op": self.op, **about, **self.to_json()}, separators=(",", ":")).encode() + b"\n"


class Vocabulary:
    """The messages that may arrive at one end of a connection."""

    def __init__(self, classes: Iterable[type[IpcMessage]]) -> None:
        """A table of these message classes, each with an `op` of its own."""
        self._by_op = {cls.op: cls for cls in classes}

    def decode(self, line: bytes) -> IpcMessage | None:
        """The message in a line; None for an op that this version does not know. Raises MalformedMessage for a known
        op with other fields than its own, and another ValueError for a line that is no message at all."""
        return self.decode_addressed(line)[0]

    def decode_addressed(self, line: bytes) -> tuple[IpcMessage | None, str | None]:
        """As `decode`, and the run that the message is about, if it names one."""
        data = json.loads(line)
        if not isinstance(data, dict) or not isinstance(data.get("op"), str):
            raise ValueError(f"no message: {line[:60]!r}")
        cls = self._by_op.get(data["op"])
        run = data.get("run")
        return None if cls is None else cls.from_json(data), run if isinstance(run, str) else None
