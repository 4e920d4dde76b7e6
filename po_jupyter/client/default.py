"""`po.chat`, and the client that it uses: one of the process, found or started at the first question."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from po_jupyter.client import chat as chats
from po_jupyter.client.chat import ChatArguments
from po_jupyter.client.client import Client
from po_jupyter.client.discovery import connect
from po_jupyter.errors import PoError
from po_jupyter.model.pipeline.pipeline import Budget
from po_jupyter.model.run.answer import Answer
from po_jupyter.model.run.view import RunView

_VARIABLES = ("PO_JUPYTER_URL", "PO_JUPYTER_TOKEN", "PO_DATA_DIR", "PO_CONFIG")
_clients: dict[tuple[str | None, ...], Client] = {}  # by the values of _VARIABLES


def chat(
    prompt: str | Sequence[Mapping[str, str]],
    *,
    model: str | None = None,
    system: str | None = None,
    schema: Any = None,
    images: Sequence[bytes | str | os.PathLike[str]] = (),
    files: Sequence[bytes | str | os.PathLike[str]] = (),
    temperature: float | None = None,
    max_tokens: int | None = None,
    stop: str | Sequence[str] | None = None,
    seed: int | None = None,
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None,
    tools: Sequence[str] = (),
    budget: float | Budget | Mapping[str, object] | None = None,
    fresh: bool = False,
    skip_validation: bool = False,
    timeout: float | None = None,
    watch: Callable[[RunView], None] | None = None,
    client: Client | None = None,
) -> Answer:
    """The `Answer` of a model to a prompt, or to messages `[{role, content}]`. Blocks until it is there.

    `schema` is a JSON Schema, pydantic model, dataclass or TypedDict: `answer.value` fits it, and is an instance
    where a class was given (`text` is then its JSON). `images`, and `files` (PDF, WAV, MP3), are paths, bytes,
    `https:` and `data:` URLs. `tools` are names of the setting `mcp_servers`; functions are for tasks
    (`ctx.llm.chat`). `fresh` asks anew although the same was asked before; `skip_validation` although a key or the
    like is missing. `answer.run` is the run. `watch` is called with its view after each change, to say what it waits
    for.

    An interrupt, or `timeout` seconds, ends the waiting, not the run. Raises InvalidInput before anything is asked,
    the run's error when it fails, TimeoutError.
    """
    arguments = ChatArguments(
        model=model, system=system, schema=schema, images=images, files=files, temperature=temperature,
        max_tokens=max_tokens, stop=stop, seed=seed, effort=effort, tools=tools, budget=budget, fresh=fresh,
        skip_validation=skip_validation, timeout=timeout, watch=watch,
    )  # fmt: skip
    return chats.chat(prompt, arguments, default_client() if client is None else client)


def default_client() -> Client:
    """One client for the whole process, as long as its environment names the same orchestrator."""
    key = tuple(os.environ.get(name) for name in _VARIABLES)
    client = _clients.get(key)
    if client is not None:
        try:
            client.health()
            return client
        except PoError:
            client.close()
            del _clients[key]
    return _clients.setdefault(key, connect())
