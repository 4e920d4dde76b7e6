"""Rendering a request of a prompt task again, as it was sent: the journal keeps the hash of a request, not its text.

The hash says whether what is rendered now is what was sent then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidInput, PoError
from po_jupyter.model.values.json import JsonObject


class CallToRender(TypedDict):
    """The call whose messages are wanted.

    task        its definition                outputs  of earlier tasks that its templates name
    index       of its row; None: no map      item     the input of the row; None: what `for_each` gives
    attempt     of the task                   run      the id
    hash        of the request, from its key  seed_name, owner, options   of the run
    answers     responses of the rounds before, whose answers did not fit, in order
    """

    task: JsonObject
    outputs: JsonObject
    index: int | None
    item: Any
    attempt: int
    run: str
    seed_name: str
    owner: str
    options: JsonObject
    hash: str
    answers: list[JsonObject]


def render(
    definition: Mapping[str, Any], data: JsonObject, call: CallToRender, settings: Settings
) -> JsonObject:
    """`{messages, exact}`: messages as `{role, content, ...}`; `exact`: the request has the hash that was sent.

    `data` is the seed's, references to files of rows included. Raises TemplateFailed, and what is wrong with the
    definition.
    """
    from po_jupyter.engine.base.run_inputs import RunInputs
    from po_jupyter.engine.calls.attempt_calls import ModelSettings
    from po_jupyter.engine.prompts.prompt_task import PromptTask
    from po_jupyter.engine.prompts.templates import RowsExpression, template_names
    from po_jupyter.model.pipeline.parsing import validate_pipeline
    from po_jupyter.model.pipeline.pipeline import Task
    from po_jupyter.model.run.definition import RunDefinition
    from po_jupyter.model.run.seed import Seed
    from po_jupyter.store.files.row_files import RowFiles

    pipeline = validate_pipeline(definition, recorded=True)
    task = Task.model_validate(call["task"])
    parsed = RunDefinition.from_json({"pipeline": definition, "seed": {}, "options": call["options"]})
    rows = RowFiles(settings.data_dir).with_rows(call["owner"], data)
    inputs = RunInputs(
        call["run"], call["owner"], 0, parsed, pipeline, Seed.model_construct(name=call["seed_name"], data={}),
        rows, settings, Path(), {},
    )  # fmt: skip
    names = template_names(
        seed=rows, seed_name=call["seed_name"], tasks=call["outputs"], config=task.config,
        run={
            "id": call["run"], "name": call["seed_name"], "pipeline": pipeline.name, "version": pipeline.version,
            "attempt": call["attempt"],
        },
    )  # fmt: skip
    if (index := call["index"]) is not None:
        item = call["item"]
        if item is None and task.for_each is not None:
            if task.operator not in (None, "where", "top_k", "distinct"):
                raise InvalidInput(
                    f"what task {task.name!r} asked about is not kept: it is made of its rows again"
                )
            item = RowsExpression(task.for_each, task=task.name).evaluate(names)[index]
        names = {**names, "item": item, "index": index}
    prompt = PromptTask(task)
    messages = [*prompt.first(names), *_rounds(prompt, call["answers"])]
    requests = [  # to each model of a cascade
        replace(ModelSettings.of(inputs, task, n).base, messages=tuple(messages), schema=task.output)
        for n in range(len(inputs.llms_of(task)))
    ]
    return {
        "messages": [message.to_json() for message in messages],
        "exact": call["hash"] in [request.request_hash for request in requests],
    }


def _rounds(prompt: Any, answers: Sequence[JsonObject]) -> list[Any]:
    """The turns of the rounds before: each answer, and the question that said what is wrong with it."""
    from po_jupyter.errors import OutputInvalid
    from po_jupyter.llm.chat import ChatResponse, Message
    from po_jupyter.llm.structured.parsing import reask

    turns: list[Message] = []
    for answer in answers:
        response = ChatResponse.from_json(answer)
        try:
            violations = prompt.answer.read(response.text)[1] if prompt.answer is not None else []
        except OutputInvalid as error:
            violations = error.violations
        except PoError as error:
            violations = [error.message]
        turns += [response.message, Message("user", reask(violations))]
    return turns
