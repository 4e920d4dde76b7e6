"""A cascade of a map that learns its threshold (`target`): rows of a sample are asked of both models first, then the
threshold is decided, once, and the other rows go by it.

    sample ──► both models ──► outcomes with how the answers compare, durable ──► cascade.learned ──► the other rows

The sample and the decision are functions of what is durable, so a worker that takes over comes to the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from po_jupyter.engine.votes.tally import canonical
from po_jupyter.evals.learned_threshold import learn_threshold
from po_jupyter.model.pipeline.evals.confidence import CONFIDENCE, without_confidence
from po_jupyter.model.pipeline.evals.learned_cascade import SampledAnswer
from po_jupyter.model.pipeline.llm_settings import CascadeStep
from po_jupyter.model.pipeline.votes import VoteCount, agreement
from po_jupyter.model.run.events import EventDraft, draft
from po_jupyter.model.values.digests import short_digest
from po_jupyter.model.values.json import JsonValue

if TYPE_CHECKING:
    from po_jupyter.model.run.cascade_events import CascadeLearnedData


def sampled_rows(task: str, total: int, wanted: int) -> frozenset[int]:
    """The rows of a sample: one, by a hash, of each of `wanted` equal parts of the list; all where there are no more.

    The same in each run of a task over a list of that length: what one run compared, the next one takes over.
    """
    if total <= wanted:
        return frozenset(range(total))
    bounds = [part * total // wanted for part in range(wanted + 1)]
    return frozenset(
        low + int(short_digest(f"{task}/{part}"), 16) % (high - low)
        for part, (low, high) in enumerate(pairwise(bounds))
    )


class LearnedCascade:
    """The sample and the threshold of one map. `decided` is what was decided, None until then: every row is asked of
    both models."""

    def __init__(self, task: str, step: CascadeStep, total: int, decided: CascadeLearnedData | None) -> None:
        """The cascade of `task` to the model `step`, over `total` rows."""
        self.decided = decided
        self._task, self._step, self._total = task, step, total

    @cached_property
    def sample(self) -> frozenset[int]:
        """The rows that both models are asked about."""
        return sampled_rows(self._task, self._total, self._step.sampled)

    def asks_next(self, index: int | None, confidence: float | None) -> bool:
        """Whether the second model is asked about a row, whose first answer has that confidence."""
        if self.decided is None or index in self.sample:
            return True
        threshold = self.decided["threshold"]
        return threshold is None or confidence is None or confidence < threshold

    def compare(self, confidence: float | None, first: JsonValue, second: JsonValue) -> SampledAnswer:
        """How the answers of the two models compare."""
        return {"confidence": confidence, "agrees": self._compared(first) == self._compared(second)}

    def decide(self, rows: Iterable[SampledAnswer]) -> EventDraft:
        """Decide by what the rows of the sample say; the event that records it."""
        target, model = self._step.target, self._step.model
        assert target is not None and model is not None
        learned = learn_threshold([(row["confidence"], row["agrees"]) for row in rows], target)
        self.decided = {
            "threshold": learned.threshold,
            "target": target,
            "model": model,
            "sampled": learned.sampled,
            "sure": learned.sure,
            "agreeing": learned.agreeing,
            "interval": None if learned.interval is None else [round(end, 6) for end in learned.interval],
        }
        return draft("cascade.learned", self._task, **self.decided)

    def _compared(self, answer: JsonValue) -> str:
        if self._step.on is not None:
            return canonical(answer.get(self._step.on) if isinstance(answer, Mapping) else None)
        said = without_confidence(answer)
        return canonical(said.strip() if isinstance(said, str) else said)


def confidence_of(answer: JsonValue, votes: VoteCount | None) -> float | None:
    """How sure an answer is: its field `confidence`, else the agreement of the votes for it; None: not known."""
    if isinstance(answer, Mapping) and CONFIDENCE in answer:
        value = answer[CONFIDENCE]
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    return None if votes is None else agreement(votes)
