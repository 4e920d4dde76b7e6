"""The messages of a call, rendered again: from the definition, the row, earlier outputs, and answers before it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from po_jupyter.engine.maps.map_state import ROW_ATTEMPTS
from po_jupyter.engine.replay.history import expand_output, map_of_marker
from po_jupyter.errors import PoError
from po_jupyter.llm.calls.journal import SCORE_STAGE, CallKey
from po_jupyter.model.pipeline.evals.variants import variant_definition
from po_jupyter.model.values.chunked_json import is_larger_than
from po_jupyter.model.values.json import JsonObject
from po_jupyter.model.values.task_kind import asks_model
from po_jupyter.orchestrator.examination.operations import Examination
from po_jupyter.orchestrator.examination.rendering import CallToRender
from po_jupyter.orchestrator.views.inspection.calls import CallQuery, CallReader, CallView
from po_jupyter.orchestrator.views.inspection.row_inputs import RowInputs
from po_jupyter.orchestrator.views.inspection.tables import RunTables
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.store.protocol import Head, Ref, Store

_LARGEST = 8 * 2**20  # characters of what is rendered with
_TOO_LARGE = "What they are made of is too large to be rendered again."
_CHANGED = "The task that this row was made from has a newer output since; the one that was used is not known any more."
_CODE = "The code of the task made these messages, and the journal keeps only their hash."


class SentMessages(NamedTuple):
    """The messages of a call. `messages` None: `why` they cannot be shown. `rendered`: they were made again; `exact`:
    their hash is that of what was sent."""

    messages: list[JsonObject] | None
    why: str | None = None
    rendered: bool = False
    exact: bool = False


class MessageRequest(NamedTuple):
    """The examination that renders messages; None: `why` there is none."""

    examination: Examination | None
    why: str | None = None


def message_request(
    store: Store,
    projections: RunProjections,
    inputs: RowInputs,
    head: Head,
    tables: RunTables,
    reader: CallReader,
    call: CallView,
) -> MessageRequest:
    """What has to be rendered for the messages of a call. Blocks on the store."""
    definition = inputs.definition(head["run"])
    task, place = dict(inputs.task(head, call["task"])), CallKey.parse(call["key"]).item
    if place is not None and task.get("variants"):
        place, variant = divmod(place, len(task["variants"]))
        task = variant_definition(task, variant)
    if call["kind"] == SCORE_STAGE:
        return MessageRequest(
            None, "What a judge was asked is not rendered again: its prompt is in the pipeline."
        )
    if not asks_model(task) or call["kind"] != "inference":
        return MessageRequest(None, _CODE if not asks_model(task) else "Only first questions are rendered.")
    if call["round"] and (task.get("refine") or {}).get("critique") is not None:
        return MessageRequest(None, "What a critique said about an answer is not kept with the question.")
    seed = {"data": definition.seed.get("data") or {}}
    outputs = None
    if not is_larger_than([seed, definition.pipeline], _LARGEST):  # before anything is read
        outputs = _outputs(store, projections, head, tables, task)
    if outputs is None:
        return MessageRequest(None, _TOO_LARGE)
    key = CallKey.parse(call["key"])
    item = None
    if key.item is not None:
        rows = inputs.of(head, key.task, tables.maps)
        if rows.has_changed(key.item, tables.calls.place(call["n"]).newest):
            return MessageRequest(None, _CHANGED)
        item = rows.input(key.item, None, has_outcome=False) if rows.exact else None
    to_render: CallToRender = {
        "task": task,
        "outputs": outputs,
        "index": place,
        "item": item,
        "attempt": key.attempt // ROW_ATTEMPTS if key.item is not None else key.attempt,
        "run": head["run"],
        "seed_name": str(definition.seed.get("name") or ""),
        "owner": head["owner"],
        "options": definition.options.to_json(),
        "hash": key.request_hash,
        "answers": _answers_before(reader, key, call["n"]),
    }
    if is_larger_than([to_render, seed, definition.pipeline], _LARGEST):
        return MessageRequest(None, _TOO_LARGE)
    return MessageRequest(
        {"what": "render", "definition": definition.pipeline, "seed": seed, "call": to_render}
    )


def render_messages(request: MessageRequest, examine: Callable[[Examination], object]) -> SentMessages:
    """Render them, in the process that examines. Raises Unavailable."""
    if request.examination is None:
        return SentMessages(None, request.why)
    try:
        result = examine(request.examination)
    except PoError as error:
        return SentMessages(None, f"They cannot be rendered again: {error.message}")
    assert isinstance(result, Mapping)
    return SentMessages(list(result["messages"]), None, True, bool(result["exact"]))


def _outputs(
    store: Store, projections: RunProjections, head: Head, tables: RunTables, task: Mapping[str, Any]
) -> JsonObject | None:
    """Outputs of earlier tasks that the templates of a task may name; None when they are too large, which is seen
    before all of them are read."""
    texts = json.dumps([task.get("system"), task.get("prompt"), task.get("embed"), task.get("for_each")])
    outputs: JsonObject = {}
    size = 0
    for name, now in projections.state(head).tasks.items():
        if now.output is None or name == task.get("name") or name not in texts:
            continue
        value = store.payload(head["run"], Ref(*now.output))
        mapped = map_of_marker(value) if now.items is not None else None
        parts = [value]
        if mapped is not None:
            parts = expand_output(store, head["run"], value, tables.maps.of(mapped).table)
        read: list[Any] = []
        for part in parts:
            if is_larger_than(part, _LARGEST - size):
                return None
            size += len(json.dumps(part))
            read.append(part)
        outputs[name] = value if mapped is None else read
    return outputs


def _answers_before(reader: CallReader, key: CallKey, number: int) -> list[JsonObject]:
    """Answers of the rounds before, of the same attempt."""
    answers: dict[int, JsonObject] = {}
    if key.round:
        for n in reader.find(CallQuery(key.task, key.item, "done")):
            other = CallKey.parse(reader.view(n)["key"]) if n < number else None
            if other is None or (other.item, other.attempt, other.stage) != (key.item, key.attempt, key.stage):
                continue
            answer = reader.answer(n)
            if answer is not None and other.round < key.round:
                answers[other.round] = answer
    return [answers[n] for n in sorted(answers)]
