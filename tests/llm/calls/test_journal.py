"""The keys of calls, and the journal that dies with the process."""

import pytest

from po_jupyter.llm.calls.journal import CallDone, CallKey, JournalEntry, MemoryJournal
from po_jupyter.model.run.usage import Usage

KEY = CallKey("label", None, 1, 0, "inference", "0" * 32)
META = {"model": "fake:echo", "stage": "inference", "intents": 0}


def test_keys_are_readable_and_come_back():
    for key in (
        CallKey("a-b", None, 1, 0, "inference", "f" * 32),
        CallKey("t", 7, 2, 1, "critique", "0" * 32, 4),
    ):
        assert CallKey.parse(str(key)) == key
    with pytest.raises(ValueError, match="unpack"):
        CallKey.parse("label/-/1")


async def test_an_entry_counts_intents_and_keeps_the_outcome():
    journal, name = MemoryJournal(), str(KEY)
    assert await journal.lookup(name) is None and not journal.knows(name)
    await journal.intent(name, META)
    await journal.intent(name, {**META, "intents": 1})
    assert await journal.lookup(name) == JournalEntry(None, 2) and not journal.knows(name)
    journal.withdrawn(name, Usage())
    assert await journal.lookup(name) == JournalEntry(None, 1)
    outcome = {"ok": True, "response": {"text": "hi"}}
    await journal.response(name, outcome, CallDone(KEY, Usage(), "fake:echo", 0.0, False))
    assert await journal.lookup(name) == JournalEntry(outcome, 1) and journal.knows(name)
