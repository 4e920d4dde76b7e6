"""The output of a prompt task by votes and cascades: each vote is a conversation of its own, with re-asks of its own.

    a cascade: model 1 ──► does its answer fit, and `when` of the next does not hold? ──► the output
                  └─ else ──► model 2 ──► ...
    a vote:    as many conversations at once as are needed in any case ──► enough? ──► the output

Every answer is a call of its own in the journal, the nth of its request: after a crash those that were answered are
replayed, and the same decisions follow.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from po_jupyter.engine.base.interrupts import Interrupt
from po_jupyter.engine.lifecycle.frame import Frame
from po_jupyter.engine.lifecycle.stages import Stage
from po_jupyter.engine.ports import ModelCalls
from po_jupyter.engine.prompts.prompt_task import PromptTask
from po_jupyter.engine.votes.learned_cascade import LearnedCascade, confidence_of
from po_jupyter.engine.votes.tally import Tally
from po_jupyter.errors import (
    AnswerEmpty,
    AnswerTruncated,
    AnswerUnreadable,
    BudgetExceeded,
    ModelKeyError,
    ModelRefused,
    OutputInvalid,
    PoError,
    StoreError,
)
from po_jupyter.model.pipeline.evals.learned_cascade import SampledAnswer
from po_jupyter.model.pipeline.votes import VoteCount, Votes
from po_jupyter.model.run.scores import RowScores
from po_jupyter.model.values.json import JsonValue
from po_jupyter.platform.concurrency import gather_or_cancel

RunStages: TypeAlias = Callable[[Mapping[str, Stage], Frame], Awaitable[Any]]
StagesOf: TypeAlias = Callable[[ModelCalls], Mapping[str, Stage]]

# What another model may do better: it refuses other things, has more room, keeps to a schema.
_OTHER_MODEL_HELPS = (OutputInvalid, AnswerUnreadable, AnswerTruncated, AnswerEmpty, ModelRefused)


class VotedOutput(NamedTuple):
    """The output of an attempt; `votes` are None where there was no vote, `scores` where nothing scores it,
    `sampled` where its row is in no sample of a cascade. `alone`: by the threshold that it learned no other model was
    asked."""

    output: Any
    votes: VoteCount | None = None
    scores: RowScores | None = None
    sampled: SampledAnswer | None = None
    alone: bool = False


async def voted_output(
    prompt: PromptTask,
    calls: ModelCalls,
    frame: Frame,
    names: Mapping[str, JsonValue],
    stages_of: StagesOf,
    run: RunStages,
    learned: LearnedCascade | None = None,
) -> VotedOutput:
    """The output of an attempt of a prompt task, by the votes and the cascade that it has.

    `names` are what its templates see; `stages_of(calls)` are the stages of a conversation, and `run` goes through
    them. `learned` has the threshold of a cascade with a `target`. Raises what `run` raises.
    """
    if calls.models == 1 and prompt.task.votes is None:
        return VotedOutput(await run(stages_of(calls), frame))
    first: VotedOutput | None = None  # the answer of the model before, where it is one that fits
    for level in range(calls.models):
        asked = calls.of_model(level)
        is_last = level == calls.models - 1
        try:
            answer = await _answer(prompt.task.votes, frame, partial(stages_of, asked), run)
        except _OTHER_MODEL_HELPS:
            if is_last:
                raise
            continue
        if learned is not None:
            confidence = confidence_of(*(first or answer)[:2])
            if first is not None and frame.index in learned.sample:
                return answer._replace(sampled=learned.compare(confidence, first.output, answer.output))
            if is_last:
                return answer
            if not learned.asks_next(frame.index, confidence):
                return answer._replace(alone=True)
            first = answer
            continue
        condition = None if is_last else prompt.conditions[level + 1]
        if condition is None or not condition.holds({**names, "output": answer.output}):
            return answer
    raise AssertionError("a cascade has a model")


async def _answer(
    votes: Votes | None, frame: Frame, stages: Callable[[], Mapping[str, Stage]], run: RunStages
) -> VotedOutput:
    """The answer of one model, by a vote where there is one."""
    if votes is None:
        return VotedOutput(await _conversation(frame, stages, run))
    return await _Vote(votes, frame, stages, run).result()


async def _conversation(frame: Frame, stages: Callable[[], Mapping[str, Stage]], run: RunStages) -> Any:
    """One conversation, in a frame of its own: the rounds of its re-asks are its own."""
    own = Frame(frame.task, frame.attempt, frame.item, frame.index, control=frame.control)
    try:
        return await run(stages(), own)
    finally:
        # What is written of an attempt that failed, or was stopped, is of its last conversation.
        frame.stage, frame.round, frame.output, frame.data = own.stage, own.round, own.output, own.data
        frame.log, frame.violations = own.log, own.violations


class _Vote:
    """The conversations of one vote, and what ends it before its time."""

    def __init__(
        self, votes: Votes, frame: Frame, stages: Callable[[], Mapping[str, Stage]], run: RunStages
    ) -> None:
        self._frame, self._stages, self._run = frame, stages, run
        self._tally = Tally(votes)
        self._ended_by: PoError | None = None  # then no further vote is asked for
        self._stop: Interrupt | None = None

    async def result(self) -> VotedOutput:
        """The result. Raises an Interrupt, or the error that leaves the vote without one."""
        tally = self._tally
        while more := tally.more():
            places = range(tally.asked, tally.asked + more)
            await gather_or_cancel(self._cast(place) for place in places)
            if self._stop is not None:
                raise self._stop
            if self._ended_by is not None:
                raise self._ended_by
        if (failure := tally.failure) is not None:
            raise failure
        return VotedOutput(*tally.result())

    async def _cast(self, place: int) -> None:
        """One vote. Of a drain and of a budget that is used up the others end the call that they are in: it is paid."""
        try:
            answer = await _conversation(self._frame, self._stages, self._run)
        except Interrupt as stop:
            self._stop = stop
        except StoreError:
            raise
        except (BudgetExceeded, ModelKeyError) as error:
            self._ended_by = self._ended_by or error
        except PoError as error:
            self._tally.spoil(place, error)
        else:
            self._tally.cast(place, answer)
