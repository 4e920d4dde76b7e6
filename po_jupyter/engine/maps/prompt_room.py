"""The room of a prompt: whether the item of a group fits the context of the task's models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from po_jupyter.engine.base.answer_bounds import default_answer_bound
from po_jupyter.engine.base.run_inputs import RunInputs
from po_jupyter.engine.operators.groups import Fits
from po_jupyter.engine.prompts.prompt_task import PromptTask
from po_jupyter.errors import PoError
from po_jupyter.llm.money.context import context_of
from po_jupyter.llm.money.tokens import estimate, estimate_messages
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.values.json import JsonObject

_FILLED = 0.8  # of the context: tokens are estimated
_LEAST = 256  # tokens


def prompt_room(task: Task, models: Iterable[tuple[str, int]]) -> int:
    """Tokens of one prompt of a group at most: what the task says, or what fits the smallest context of its `models`,
    each with the tokens of its answers at most."""
    if task.group_by is not None and task.group_by.tokens is not None:
        return task.group_by.tokens
    return max(_LEAST, min(int(context_of(model) * _FILLED) - answer for model, answer in models))


def models_of(inputs: RunInputs, task: Task) -> Iterator[tuple[str, int]]:
    """The models of a task, each with the tokens of its answers at most."""
    for number, llm in enumerate(inputs.llms_of(task)):
        model = inputs.model_of(task, number)
        yield model, llm.max_tokens or default_answer_bound(model, inputs.settings)


def fits_in(
    room: int, prompt: PromptTask, combining: PromptTask, names: Mapping[str, Any], look: Callable[[], None]
) -> Fits:
    """Whether an item fits `room` tokens, rendered with the prompt that it is asked about with. `look` is called each
    time."""
    schema = estimate(str(prompt.task.output)) if prompt.task.output is not None else 0

    def tokens(item: JsonObject, combine: bool) -> int:
        messages = (combining if combine else prompt).first({**names, "item": item, "index": 0})
        return estimate_messages(message.content for message in messages) + schema

    def fits(item: JsonObject, combine: bool) -> bool:
        look()
        try:
            return tokens(item, combine) <= room
        except PoError:
            # Too long a text, or a template that fails for one row as well: that is the error of the group.
            try:
                tokens({**item, "rows": item["rows"][:1]}, combine)
            except PoError:
                return True
            return False

    return fits
