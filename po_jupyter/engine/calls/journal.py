"""The call journal over the run's log (see `llm.journal` for what must be durable when)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import cast

from po_jupyter.engine.budgets.account import reserved, reserved_day
from po_jupyter.engine.ports import CommitPlace, EventLog
from po_jupyter.engine.replay.history import History, JournaledCall
from po_jupyter.errors import StoreError
from po_jupyter.llm.calls.journal import CallDone, CallKey, CallOutcome, IntentMeta, JournalEntry
from po_jupyter.llm.chat import ChatResponseJson
from po_jupyter.model.run.events import EventDraft, draft
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.values.json import JsonValue
from po_jupyter.store.protocol import CallIntent, CallResponseDraft, CallWithdrawn


class StoreJournal:
    """The journal of a run: intents and responses are `calls` of commits; answers are those of the log at the start.

    The text of an answer is a payload of its own, so that an output which is that very text is stored once;
    everything else of the response is in the record.
    """

    queues = True

    def __init__(self, log: EventLog, history: History) -> None:
        """The journal of the run whose log is `log`; `history` is the log as of the load of the run."""
        self._log = log
        self._history = history

    def knows(self, key: str) -> bool:
        """Whether the call has a recorded answer: going through it again costs nothing."""
        call = self._history.call(key)
        return call is not None and call.response is not None

    async def lookup(self, key: str) -> JournalEntry | None:
        """See `llm.journal.Journal`."""
        call = self._history.call(key)
        if call is None:
            return None
        record = call.response
        if record is None:
            return JournalEntry(None, call.intents)
        if not record["ok"]:
            failed: CallOutcome = {"ok": False, "error": record["error"]}
            return JournalEntry(failed, call.intents, call.counted, record.get("address"))
        assert call.answer is not None
        text = cast(str, await asyncio.to_thread(self._log.payload, call.answer))
        response = cast(ChatResponseJson, record["response"])  # without its text
        outcome: CallOutcome = {"ok": True, "response": {**response, "text": text}}
        return JournalEntry(outcome, call.intents, call.counted, record.get("address"))

    async def intent(self, key: str, meta: IntentMeta) -> None:
        """See `llm.journal.Journal`."""
        record: CallIntent = {"key": key, "kind": "intent", "model": meta["model"], "stage": meta["stage"]}
        if (worst := reserved.get()) is not None:
            record["reserved"] = list(worst)
            if (on := reserved_day.get()) is not None and on.day is not None:
                record["day"] = on.day
        events: tuple[EventDraft, ...] = ()
        recorded = self._history.call(key)
        if meta["intents"] > (recorded.reported if recorded is not None else 0):
            parsed = CallKey.parse(key)
            usage = {"calls": 1, "unknown": 1}
            events = (draft("call.unknown", parsed.task, parsed.item, stage=meta["stage"], usage=usage),)
        await self._log.commit(*events, calls=(record,))

    async def response(self, key: str, outcome: CallOutcome, call: CallDone) -> None:
        """See `llm.journal.Journal`. Queued, in order: an outcome that follows cannot be durable without it."""
        record: CallResponseDraft = {"key": key, "kind": "response", "ok": outcome["ok"]}
        if call.cached:
            # No intent names the model. The place: no other call of this run gets that answer.
            record |= {"cached": True, "model": call.model, "place": call.cache_nth}
        if (on := reserved_day.get()) is not None and on.moved and on.day is not None:
            record["day"] = on.day
        if call.key.item is not None and call.address is not None:
            record["address"] = call.address
        payloads: tuple[JsonValue, ...] = ()
        if outcome["ok"]:
            response = dict(outcome["response"])
            payloads = (response.pop("text"),)
            record["response"] = response
            record["answer"] = 0
        else:
            record["error"] = outcome["error"]
        then = None
        if call.batch is not None:
            record |= {"batch": call.batch, "model": call.model}
            then = partial(self._remember, call.key, record)
        events: tuple[EventDraft, ...] = ()
        if call.key.item is None:  # the usage of a row is in its outcome
            done = draft(
                "call.done",
                call.key.task,
                usage=call.usage.to_json(),
                model=call.model,
                seconds=round(call.seconds, 3),
                stage=call.key.stage,
                cached=call.cached,
            )
            if call.error:
                done["data"]["error"] = call.error
            events = (done,)
        self._log.commit_soon(*events, calls=(record,), payloads=payloads, then=then)

    def _remember(self, key: CallKey, record: CallResponseDraft, result: CommitPlace) -> None:
        """A row of a batch is left and taken up again in this very process: its answers are known then as they are
        after a restart. They are forgotten with its outcome."""
        call = JournaledCall(1, list(result.refs[0]) if result.refs else None, record)
        self._history.remember_call(str(key), call)

    def withdrawn(self, key: str, usage: Usage) -> None:
        """See `llm.journal.Journal`."""
        if self._log.closed:
            return  # the run has left this worker: nothing more is written
        parsed = CallKey.parse(key)
        record: CallWithdrawn = {"key": key, "kind": "withdrawn"}
        events: tuple[EventDraft, ...] = ()
        if usage != Usage():
            record["usage"] = used = usage.to_json()
            events = (draft("call.withdrawn", parsed.task, parsed.item, stage=parsed.stage, usage=used),)
        with suppress(StoreError):
            self._log.commit_soon(*events, calls=(record,))
