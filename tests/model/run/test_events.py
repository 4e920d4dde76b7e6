"""Events: the time, drafts, and the types that their data have."""

import inspect
import re
from typing import get_overloads

from po_jupyter.engine.state import fold
from po_jupyter.model.run import cascade_events, event_data, events, move_events
from po_jupyter.model.run.events import Event, draft, event_draft, now


def data_types() -> dict[str, str]:
    """The name of the TypedDict of each event type that has data, as the overloads of `draft` say it."""
    types = {}
    for variant in get_overloads(draft):
        notes = inspect.get_annotations(variant)
        data = notes.get("data", "Unpack[]").removeprefix("Unpack[").removesuffix("]")
        types |= dict.fromkeys(re.findall(r"[a-z]+\.[a-z_]+", notes["type"]), data)
    return types


def test_times_are_utc_with_milliseconds() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", now())


def test_a_draft_becomes_an_event() -> None:
    event = draft("item.failed", "label", 0, error={"code": "x"})
    whole = Event.model_validate({**event, "offset": 1, "run": "r"})
    assert (whole.task, whole.item, whole.data) == ("label", 0, {"error": {"code": "x"}})
    assert "task" not in draft("run.done")


def test_a_type_that_is_chosen_at_run_time_makes_the_same_draft() -> None:
    chosen = event_draft("batch.closed", "label", None, {"token": "t"})
    assert chosen == {"at": chosen["at"], "type": "batch.closed", "data": {"token": "t"}, "task": "label"}


def test_every_type_of_event_has_its_data_described() -> None:
    types = data_types()
    assert set(types) == set(re.findall(r"\b[a-z]+\.[a-z_]+", (events.__doc__ or "").partition("Ephemeral")[0]))
    assert {
        data
        for data in types.values()
        if data and not any(hasattr(m, data) for m in (event_data, cascade_events, move_events))
    } == set()


def test_the_rules_of_the_fold_read_the_data_that_drafts_write() -> None:
    """Neither side can rename a field alone: both name one TypedDict, and the type checker holds them to it."""
    types = data_types()
    for kind, rule in {**fold._TASK, **fold._RUN}.items():
        note = inspect.get_annotations(rule)["data"]
        written = types[kind].replace("TaskDoneDraft", "TaskDoneData")  # the store places the output
        if kind in ("run.done", "run.waiting"):
            written = "RunEndedData"  # one rule for all ends
        assert not written or written in note.split(" | "), (
            f"{kind} is drafted with {written} and folded as {note}"
        )
