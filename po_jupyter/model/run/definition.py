"""The definition of a run: what was submitted, kept by the store as JSON and read once where it is used.

The JSON is `{pipeline, seed, interpreter, cwd, env, options, code_allowed, forked_from?, seed_files?, parent?}`;
versions before 0.1.0 wrote the same. A field that is missing has the default below, so every older definition is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, Self, TypedDict

MAX_LABELS = 8  # of one run


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of a run, by which it differs from its pipeline.

    limit            only the first rows of each map
    fresh            no earlier answer is used; the same as `cache="refresh"`
    cache            False: no answer is used or kept; "refresh": none is used, new ones are kept
    skip_validation  the run starts although its environment is not complete
    model            a model ref used in the place of those that the pipeline and its tasks name
    labels           what a node must have that works it off, where several machines share the store
    """

    limit: int | None = None
    fresh: bool = False
    cache: Literal[False, "refresh"] | None = None
    skip_validation: bool = False
    model: str | None = None
    labels: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> Self:
        """The options as the store has them; fields of a later version are passed over."""
        fields = cls.__dataclass_fields__
        known = {name: v for name, v in (value or {}).items() if name in fields}
        return cls(**known | {"labels": tuple(known.get("labels") or ())})

    def to_json(self) -> dict[str, Any]:
        """The options that differ from the defaults."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, field in self.__dataclass_fields__.items()
            if (value := getattr(self, name)) != field.default
        }


FORMAT = 2  # of definitions; a version whose definitions mean more than this one knows writes a higher one
_OF_CHILDREN = 2  # the format of what a server that knows of no child runs must leave alone


class ParentTask(TypedDict):
    """The task of another run that a child run is a part of: rows of a map.

    `shard` is its number among the child runs of the task, `rows` are those that it works on, as spans; `attempt` is
    the task's as in keys of calls, `number` as people count it. `of`: the most rows that the
    parent has in a list. `redone`: as in `replay.history.History`, of these
    rows, by row. `calls`: recorded answers of rows that are taken up again, each a key, the record of its response
    (with a reference to a payload of the child's first record) and whether its usage was reported.
    """

    run: str
    task: str
    shard: int
    rows: str
    attempt: int
    number: int
    of: NotRequired[int]
    redone: NotRequired[dict[str, int]]
    calls: NotRequired[list[list[Any]]]


@dataclass(frozen=True, slots=True)
class RunDefinition:
    """The definition of a run, as submitted.

    `pipeline` and `seed` are JSON as submitted (a seed may be large): they are parsed by `parse_pipeline` and
    `read_seed` where they are used. `interpreter` and `cwd` are absolute paths on the orchestrator's machine, None for
    its own. `code_allowed`: the submitter had the scope `code:run`. `forked_from`: `{run, from_task}` of the origin.
    `seed_files`: `{name, bytes, sha256}` of files that came with the seed, where nodes share them.
    `parent`: of a child run, which has the data of its parent's seed.
    `format`: what a server has to know that works it off, above `FORMAT` for one of a newer version.
    """

    pipeline: Mapping[str, Any]
    seed: Mapping[str, Any]
    interpreter: str | None = None
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    options: RunOptions = RunOptions()
    code_allowed: bool = False
    forked_from: Mapping[str, Any] | None = None
    seed_files: tuple[Mapping[str, Any], ...] = ()
    format: int = 1
    parent: ParentTask | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The definition as the store has it."""
        return cls(
            pipeline=value["pipeline"],
            seed=value["seed"],
            interpreter=value.get("interpreter"),
            cwd=value.get("cwd"),
            env=value.get("env") or {},
            options=RunOptions.from_json(value.get("options")),
            code_allowed=bool(value.get("code_allowed")),
            forked_from=value.get("forked_from"),
            seed_files=tuple(value.get("seed_files") or ()),
            format=int(value.get("format", 1)),
            parent=value.get("parent"),
        )

    def to_json(self) -> dict[str, Any]:
        """The definition as the store keeps it."""
        body: dict[str, Any] = {
            "pipeline": self.pipeline,
            "seed": self.seed,
            "interpreter": self.interpreter,
            "cwd": self.cwd,
            "env": dict(self.env),
            "options": self.options.to_json(),
            "code_allowed": self.code_allowed,
        }
        if self.seed_files:
            body["seed_files"] = [dict(file) for file in self.seed_files]
        if self.forked_from is not None:
            body["forked_from"] = self.forked_from
        if self.parent is not None:
            body["parent"] = self.parent
        if self.parent is not None or any("pipeline" in task for task in self.pipeline.get("tasks", ())):
            body["format"] = _OF_CHILDREN
        return body
