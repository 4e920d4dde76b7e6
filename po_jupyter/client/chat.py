"""A chat: one question to a model as a run of a pipeline with one task, called `chat`.

It goes through the orchestrator: its keys, limits, budgets, cache and journal. The question travels in the seed, so
no text of a question is ever a template. `po.chat` (`client.default`) and `Client.chat` are its faces.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from po_jupyter.client.inputs.control_bodies import BudgetInput
from po_jupyter.client.run import Run
from po_jupyter.errors import Forbidden, InvalidInput, PoError
from po_jupyter.model.pipeline.answer_schema import AnswerSchema, answer_schema_of
from po_jupyter.model.pipeline.definition_text import Untransferable
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.pipeline.type_source import type_source
from po_jupyter.model.run.answer import Answer
from po_jupyter.model.run.view import RunView
from po_jupyter.model.values.json import JsonObject

ChatPrompt: TypeAlias = str | Sequence[Mapping[str, str]]
ChatFile: TypeAlias = bytes | str | os.PathLike[str]
ChatEffort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]

NAME = "chat"
_MAX_FILE = 20 * 1024 * 1024  # bytes; the orchestrator knows the real bound, this only spares the way


class Submits(Protocol):
    """A client that starts runs, as `Client` does."""

    def submit(
        self,
        pipeline: Pipeline,
        seed: Any = None,
        *,
        budget: BudgetInput | None = None,
        fresh: bool = False,
        skip_validation: bool = False,
    ) -> Run:
        """Start a run and return at once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatArguments:
    """Arguments of a chat, but for the prompt; `po.chat` explains them."""

    model: str | None = None
    system: str | None = None
    schema: Any = None
    images: Sequence[ChatFile] = ()
    files: Sequence[ChatFile] = ()
    temperature: float | None = None
    max_tokens: int | None = None
    stop: str | Sequence[str] | None = None
    seed: int | None = None
    effort: ChatEffort | None = None
    tools: Sequence[str] = ()
    budget: BudgetInput | None = None
    fresh: bool = False
    skip_validation: bool = False
    timeout: float | None = None
    watch: Callable[[RunView], None] | None = None


def chat(prompt: ChatPrompt, arguments: ChatArguments, submits: Submits) -> Answer:
    """The `Answer` of a model. Blocks until the run ended; see `po.chat` for the errors."""
    shape = None if arguments.schema is None else answer_schema_of(arguments.schema)
    pipeline, data = _question(prompt, arguments, shape)
    try:
        run = _submit(pipeline, data, arguments, submits)
    except Forbidden:
        if not any(task.output_type for task in pipeline.tasks):
            raise
        run = _submit(_judged_here(pipeline), data, arguments, submits)  # code does not travel to there
    if arguments.watch is not None:
        for update in run.follow():
            if isinstance(update, RunView):
                arguments.watch(update)
    run.wait(arguments.timeout)
    return _answer(run, shape)


def _submit(pipeline: Pipeline, data: JsonObject, arguments: ChatArguments, submits: Submits) -> Run:
    return submits.submit(
        pipeline,
        seed=data,
        budget=arguments.budget,
        fresh=arguments.fresh,
        skip_validation=arguments.skip_validation,
    )


def _judged_here(pipeline: Pipeline) -> Pipeline:
    """The pipeline without the validators of a class: this process asks them, so no answer is kept for later runs."""
    tasks = tuple(task.model_copy(update={"output_type": None, "cache": False}) for task in pipeline.tasks)
    return pipeline.model_copy(update={"tasks": tasks})


def _question(
    prompt: ChatPrompt, arguments: ChatArguments, shape: AnswerSchema | None
) -> tuple[Pipeline, JsonObject]:
    """The pipeline, whose templates show the seed's data as it is, and that data. Raises InvalidInput."""
    from po_jupyter.model.pipeline.parsing import validate_pipeline  # it brings YAML, which is slow to import

    templates, data = _prompt(prompt)
    if arguments.system is not None:
        if not isinstance(arguments.system, str):
            raise InvalidInput(f"`system` is text, not {type(arguments.system).__name__}")
        templates["system"], data["system"] = "{{ seed.system }}", arguments.system
    for field, kind, files in (("images", "image", arguments.images), ("files", "file", arguments.files)):
        if isinstance(files, str | bytes | os.PathLike):
            raise InvalidInput(f"`{field}` is a list, not {type(files).__name__}")
        if files:
            data[field] = [_file_url(file, f"{kind} {i}") for i, file in enumerate(files)]
            templates[field] = [f"{{{{ seed.{field}[{i}] }}}}" for i in range(len(files))]
    task = {"name": NAME, **templates, "output": None if shape is None else dict(shape.schema)}
    if arguments.tools:
        task["tools"] = _tool_names(arguments.tools)
    judged_here = False
    if shape is not None and shape.adapter is not None:
        try:
            task["output_type"] = type_source(arguments.schema)
        except Untransferable:
            judged_here = True
    names = ("model", "temperature", "max_tokens", "stop", "seed", "effort")
    llm = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    pipeline = validate_pipeline({"name": NAME, "llm": llm, "tasks": [task]})
    return _judged_here(pipeline) if judged_here else pipeline, data


def _prompt(prompt: object) -> tuple[JsonObject, JsonObject]:
    """The task's templates of the prompt, and the seed's data that they show."""
    if isinstance(prompt, str):
        return {"prompt": "{{ seed.prompt }}"}, {"prompt": prompt}
    if not isinstance(prompt, list | tuple) or not all(isinstance(turn, Mapping) for turn in prompt):
        raise InvalidInput(f"a prompt is text or a list of messages, not {type(prompt).__name__}")
    # A wrong turn is refused by the pipeline's own check.
    turns = [
        {**turn, "content": f"{{{{ seed.messages[{i}] }}}}"}
        if isinstance(turn.get("content"), str)
        else dict(turn)
        for i, turn in enumerate(prompt)
    ]
    return {"prompt": turns}, {"messages": [turn.get("content") for turn in prompt]}


def _file_url(file: object, name: str) -> str:
    """An image or another file as a URL; `name` is what messages call it. Raises InvalidInput."""
    if isinstance(file, str) and file.startswith(("data:", "https://", "http://")):
        return file
    if isinstance(file, str | os.PathLike):
        path = Path(file).expanduser()
        try:
            if path.stat().st_size > _MAX_FILE:
                raise InvalidInput(f"{name}: {path} has {path.stat().st_size:,} bytes, which is too much")
            file = path.read_bytes()
        except OSError as error:
            raise InvalidInput(f"{name}: {path} cannot be read: {error.strerror}") from None
    if not isinstance(file, bytes):
        raise InvalidInput(f"{name} is a {type(file).__name__}, not a path, a URL or bytes")
    return "data:;base64," + base64.b64encode(file).decode()


def _tool_names(tools: Sequence[object]) -> list[str]:
    names: list[str] = []
    for tool in [tools] if isinstance(tools, str) else tools:
        if not isinstance(tool, str):
            raise InvalidInput(
                f"po.chat takes tools by name, and {tool!r:.80} is none",
                hint="Functions run in a task: ctx.llm.chat(..., tools=[function]) in a %%po_task cell.",
            )
        names.append(tool)
    return names


def _answer(run: Run, shape: AnswerSchema | None) -> Answer:
    if run.state != "done":
        run.raise_for_error()
        raise PoError(f"run {run.short} of {NAME} ended {run.state}", hint=f"po show {run.short} says more.")
    value = run.outputs[NAME]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    models = [call["model"] for call in run.calls(NAME) if call.get("model")]
    return Answer(
        text, None if shape is None else shape.typed(value), run.usage, models[-1] if models else "", run
    )
