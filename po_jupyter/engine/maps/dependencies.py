"""Dependencies of a map's rows: the values that their code reads besides the item decide which outcomes are reused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.engine.files.artifacts import RunFiles
from po_jupyter.model.pipeline.evals.learned_cascade import SampledAnswer
from po_jupyter.model.pipeline.votes import VoteCount
from po_jupyter.model.run.scores import RowScores
from po_jupyter.model.values.digests import short_digest
from po_jupyter.model.values.json import JsonObject
from po_jupyter.telemetry.redaction import redactor

if TYPE_CHECKING:
    from po_jupyter.store.protocol import ItemDraft, ItemRecord

MODELS = "models."
"""Before the ref of a model that was asked for a row, in the names of the dependencies that an outcome keeps."""


class AnswerNotes(NamedTuple):
    """What an outcome has beside its output: how the answer came about, and how good it is. As in `ItemRecord`."""

    votes: VoteCount | None = None
    scores: RowScores | None = None
    sampled: SampledAnswer | None = None
    alone: bool = False

    @classmethod
    def of(cls, item: ItemRecord) -> AnswerNotes:
        """What an outcome that is recorded has."""
        return cls(item.get("votes"), item.get("scores"), item.get("sampled"), item.get("alone", False))

    def add_to(self, item: ItemDraft) -> None:
        """Write into an outcome what is known."""
        if self.votes is not None:
            item["votes"] = self.votes
        if self.scores is not None:
            item["scores"] = redactor.scrub(self.scores)
        if self.sampled is not None:
            item["sampled"] = self.sampled
        if self.alone:
            item["alone"] = True


class ReusableOutcome(NamedTuple):
    """An outcome of an earlier run for a row of this one; `origin` is RUN/TASK/INDEX of the row that paid, `addresses`
    as in `ModelCalls`."""

    row: int
    output: object
    origin: str
    addresses: Mapping[str, str]
    notes: AnswerNotes = AnswerNotes()


def digest(value: Any) -> str:
    """The hash that names a JSON value by its content."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=list)
    return short_digest(text)


class RowDependencies:
    """The dependencies of a Python map's rows besides their items, as hashes of values by name. A `Dependencies`.

    One for all rows of a map: a name that one of them read counts for those that end after it.
    """

    def __init__(self, inputs: RunInputs, files: RunFiles, outputs: Mapping[str, Any]) -> None:
        """No dependencies yet; `outputs` are those of the tasks before the map."""
        self._inputs = inputs
        self._files = files
        self._outputs = outputs
        self._read: set[str] = set()
        self._hashes: dict[str, str] = {}

    def record(self, name: str) -> None:
        """`index`, `seed`, `tasks.NAME`, `artifacts`, or `run` (what no other run has) was read."""
        self._read.add(name)

    @property
    def unknown(self) -> bool:
        """Whether a name was read whose value has no hash yet: `fill` has to be called before `recorded`."""
        return not self._read <= self._hashes.keys()  # `match` hashes names that nobody read

    def fill(self) -> None:
        """Hash the dependencies. Blocks on the store: call it in a thread."""
        for name in list(self._read):
            self.hash_of(name)

    def hash_of(self, name: str) -> str | None:
        """The hash of the value now; None for a name that means nothing here."""
        if name not in self._hashes:
            kind, _, task = name.partition(".")
            if kind == "index":
                value = "index"
            elif kind == "run":
                value = self._inputs.run
            elif kind == "artifacts":
                value = digest(self._files.digests())
            elif kind == "seed":
                value = digest(self._inputs.seed.data)
            elif kind == "tasks" and task in self._outputs:
                value = digest(self._outputs[task])
            else:
                return None
            self._hashes[name] = value
        return self._hashes[name]

    def recorded(self, index: int) -> JsonObject:
        """The dependencies that an outcome of row `index` keeps."""
        return {name: index if name == "index" else value for name, value in self._hashes.items()}

    def match(self, recorded: Mapping[str, int | str], index: int) -> bool:
        """Whether the dependencies of an earlier outcome have the same values for row `index`."""
        return all(
            value == (index if name == "index" else self.hash_of(name)) for name, value in recorded.items()
        )
