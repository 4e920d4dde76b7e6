"""The cache of calls as one run sees it, over a store that is a dict (G2)."""

import pytest

from po_jupyter.llm.calls.cache import HIT, CacheSlot, CallCache, keepable, owner_prefix
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message
from po_jupyter.llm.messages import ToolCall
from po_jupyter.model.run.usage import Usage

REQUEST = ChatRequest("openai:gpt-4o", (Message("user", "hi"),))
ANSWER = ChatResponse("hello", Usage(input_tokens=3, calls=1), "gpt-4o", request_id="r1", seconds=1.5)


class DictStore(dict):
    """Counts how often it is used."""

    def __init__(self):
        super().__init__()
        self.finds, self.writes, self.closed = [], [], False

    def find(self, keys):
        self.finds.append(list(keys))
        return {key: self[key] for key in keys if key in self}

    def keep(self, rows):
        self.writes.append(len(rows))
        self.update(rows)

    def close(self):
        self.closed = True


def cache(store, run="run1", owner="me", url="https://api.openai.com/v1", **more):
    return CallCache(store, owner=owner, run=run, base_url=lambda ref: url, **more)


async def put(store, *answers, **who):
    one = cache(store, **who)
    one.keep((one.next_slot(REQUEST), answer.to_json()) for answer in answers)
    await one.aclose()


async def test_a_later_run_finds_the_answers_each_at_its_occurrence_without_the_calls_own_fields():
    store = DictStore()
    await put(store, ANSWER, ChatResponse("again"))
    later = cache(store, run="run2")
    slots = [later.next_slot(REQUEST) for _ in range(3)]
    found = [await later.find(slot) for slot in slots]
    assert [slot for slot, _ in found] == slots
    assert [response and response.text for _, response in found] == ["hello", "again", None]
    first = found[0][1]
    assert (first.usage, first.request_id, first.seconds, first.model) == (HIT, "", 0.0, "gpt-4o")
    await later.aclose()
    assert store.closed


@pytest.mark.parametrize("other", [{"owner": "you"}, {"url": "https://proxy/v1"}])
async def test_another_owner_and_another_server_find_nothing(other):
    store = DictStore()
    await put(store, ANSWER)
    later = cache(store, run="run2", **other)
    assert (await later.find(later.next_slot(REQUEST)))[1] is None
    await later.aclose()


async def test_a_model_without_a_base_url_is_not_cached():
    assert cache(DictStore(), url=None).next_slot(REQUEST) is None


async def test_what_this_very_run_put_is_another_calls_answer():
    """A crash came between: the next slot is taken instead."""
    store = DictStore()
    await put(store, ANSWER)
    again = cache(store)
    slot = again.next_slot(REQUEST)
    assert await again.find(slot) == (CacheSlot(slot.digest, 1), None)
    await again.aclose()


async def test_slots_begin_after_those_that_were_used_before_and_are_given_back():
    one = cache(DictStore(), used={REQUEST.request_hash: 4})
    slots = [one.next_slot(REQUEST) for _ in range(2)]
    assert [slot.nth for slot in slots] == [4, 5]
    one.release(slots)
    assert one.next_slot(REQUEST).nth == 4


async def test_lookups_of_one_turn_go_to_the_store_together_and_a_broken_one_is_a_miss():
    store = DictStore()
    one = cache(store)
    slots = [one.next_slot(REQUEST) for _ in range(3)]
    lookups = [one._queue.find(one._key(slot)) for slot in slots]
    assert [await lookup for lookup in lookups] == [None] * 3 and [len(keys) for keys in store.finds] == [3]
    store.find = lambda keys: 1 / 0
    assert (await one.find(slots[0]))[1] is None, "a defect, but none that a run should die of"
    await one.aclose()


async def test_rows_that_are_no_answer_are_not_one():
    store = DictStore()
    one = cache(store)
    slot = one.next_slot(REQUEST)
    for row in ({}, {"text": 7}, {"text": ""}, {"text": "cut", "finish": "length"}):
        store[one._key(slot)] = {**row, "run": "other"}
        assert (await one.find(slot))[1] is None
    await one.aclose()


@pytest.mark.parametrize(
    ("response", "whole"),
    [
        (ChatResponse("x"), True),
        (ChatResponse("", finish="tool_calls", tool_calls=(ToolCall("1", "f", {}),)), True),
        (ChatResponse(" "), False),
        (ChatResponse("x", finish="length"), False),
        (ChatResponse("x", finish="content_filter"), False),
    ],
)
def test_only_whole_answers_are_kept(response, whole):
    assert keepable(response) is whole


def test_an_owner_is_not_readable_in_a_key():
    assert len(owner_prefix("me@example.org")) == 17 and "example" not in owner_prefix("me@example.org")
