"""`po.chat`: one question without a pipeline, through the orchestrator: its keys, limits, budgets, cache and journal.

It is a run like any other, of a pipeline with one task, called `chat`. What is asked travels in the seed, so no text
of a question is ever a template.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from po_jupyter.errors import InvalidInput, PoError
from po_jupyter.model.pipeline.answer_schema import answer_schema_of
from po_jupyter.model.pipeline.pipeline import Budget
from po_jupyter.model.run.answer import Answer
from po_jupyter.model.run.view import RunView

if TYPE_CHECKING:
    from po_jupyter.client.client import Client
    from po_jupyter.client.run import Run

NAME = "chat"
_MAX_IMAGE = 10 * 1024 * 1024  # bytes; the orchestrator knows the real bound, this only spares the way
_clients: dict[tuple[str | None, ...], Client] = {}


def chat(
    prompt: str | Sequence[Mapping[str, str]],
    *,
    model: str | None = None,
    system: str | None = None,
    schema: Any = None,
    images: Sequence[bytes | str | os.PathLike[str]] = (),
    temperature: float | None = None,
    max_tokens: int | None = None,
    stop: str | Sequence[str] | None = None,
    seed: int | None = None,
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None,
    tools: Sequence[str] = (),
    budget: float | Budget | Mapping[str, Any] | None = None,
    fresh: bool = False,
    skip_validation: bool = False,
    timeout: float | None = None,
    watch: Callable[[RunView], None] | None = None,
    client: Client | None = None,
) -> Answer:
    """The `Answer` of a model to a prompt, or to messages `[{role, content}]`. Blocks until it is there.

    `schema` is a JSON Schema, pydantic model, dataclass or TypedDict: `answer.value` fits it, and is an instance
    where a class was given (`text` is then its JSON). `images` are paths, bytes, `https:` and `data:` URLs. `tools`
    are names of the setting `mcp_servers`; functions are for tasks (`ctx.llm.chat`). `fresh` asks anew although the
    same was asked before; `skip_validation` although a key or the like is missing. `answer.run` is the run.
    `watch` is called with its view after each change, to say what it waits for.

    An interrupt, or `timeout` seconds, ends the waiting, not the run. Raises InvalidInput before anything is asked,
    the run's error when it fails, TimeoutError.
    """
    from po_jupyter.model.pipeline.parsing import validate_pipeline  # it brings YAML, which is slow to import

    shape = None if schema is None else answer_schema_of(schema)
    definition, data = _asked(prompt, system, images)
    llm = {"model": model, "temperature": temperature, "max_tokens": max_tokens, "stop": stop, "seed": seed}
    task = {"name": NAME, **definition, "output": None if shape is None else dict(shape.schema)}
    if tools:
        task["tools"] = _named(tools)
    said = {k: v for k, v in {**llm, "effort": effort}.items() if v is not None}
    pipeline = validate_pipeline({"name": NAME, "llm": said, "tasks": [task]})
    run = (client or _client()).submit(
        pipeline, seed=data, budget=budget, fresh=fresh, skip_validation=skip_validation
    )
    if watch is not None:
        for update in run.follow():
            if isinstance(update, RunView):
                watch(update)
    run.wait(timeout)
    return _answer(run, shape)


def _asked(prompt: Any, system: str | None, images: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The task's templates, and the seed's data that they show as it is."""
    data: dict[str, Any] = {}
    definition: dict[str, Any] = {}
    if isinstance(prompt, str):
        definition["prompt"], data["prompt"] = "{{ seed.prompt }}", prompt
    elif isinstance(prompt, list | tuple) and all(isinstance(turn, Mapping) for turn in prompt):
        # What is wrong with a turn is told by the pipeline's own check.
        definition["prompt"] = [
            {**turn, "content": f"{{{{ seed.messages[{i}] }}}}"}
            if isinstance(turn.get("content"), str)
            else dict(turn)
            for i, turn in enumerate(prompt)
        ]
        data["messages"] = [turn.get("content") for turn in prompt]
    else:
        raise InvalidInput(f"a prompt is text or a list of messages, not {type(prompt).__name__}")
    if system is not None:
        if not isinstance(system, str):
            raise InvalidInput(f"`system` is text, not {type(system).__name__}")
        definition["system"], data["system"] = "{{ seed.system }}", system
    if isinstance(images, str | bytes | os.PathLike):
        raise InvalidInput(f"`images` is a list, not {type(images).__name__}")
    if images:
        data["images"] = [_image(image, i) for i, image in enumerate(images)]
        definition["images"] = [f"{{{{ seed.images[{i}] }}}}" for i in range(len(images))]
    return definition, data


def _image(given: Any, n: int) -> str:
    """An image as a URL. Raises InvalidInput."""
    if isinstance(given, str) and given.startswith(("data:", "https://", "http://")):
        return given
    if isinstance(given, str | os.PathLike):
        path = Path(given).expanduser()
        try:
            if path.stat().st_size > _MAX_IMAGE:
                raise InvalidInput(f"image {n}: {path} has {path.stat().st_size:,} bytes, which is too much")
            given = path.read_bytes()
        except OSError as error:
            raise InvalidInput(f"image {n}: {path} cannot be read: {error.strerror}") from None
    if not isinstance(given, bytes):
        raise InvalidInput(f"image {n} is a {type(given).__name__}, not a path, a URL or bytes")
    return "data:;base64," + base64.b64encode(given).decode()


def _named(tools: Any) -> list[str]:
    named = [tools] if isinstance(tools, str) else list(tools)
    for tool in named:
        if not isinstance(tool, str):
            raise InvalidInput(
                f"po.chat takes tools by name, and {tool!r:.80} is none",
                hint="Functions run in a task: ctx.llm.chat(..., tools=[function]) in a %%po_task cell.",
            )
    return named


def _answer(run: Run, shape: Any) -> Answer:
    if run.state != "done":
        run.raise_for_error()
        raise PoError(f"run {run.short} of {NAME} ended {run.state}", hint=f"po show {run.short} says more.")
    value = run.outputs[NAME]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    models = [call["model"] for call in run.calls(NAME) if call.get("model")]
    return Answer(
        text, None if shape is None else shape.typed(value), run.usage, models[-1] if models else "", run
    )


def _client() -> Client:
    """One client for all questions of this process, as long as it is told the same place."""
    from po_jupyter.client.discovery import connect

    place = tuple(
        os.environ.get(name) for name in ("PO_JUPYTER_URL", "PO_JUPYTER_TOKEN", "PO_DATA_DIR", "PO_CONFIG")
    )
    known = _clients.get(place)
    if known is not None:
        try:
            known.health()
            return known
        except PoError:
            known.close()
            del _clients[place]
    return _clients.setdefault(place, connect())
