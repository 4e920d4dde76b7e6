"""One labelling of a table by one tool, as a process of its own: `python peers.py NAME URL ROWS`.

Run by `bench_peers`, with the interpreter in which that tool is installed, so only Python's own library is imported
before the tool. Says `done` once every answer is there and right, and waits for the end of its input, so that whoever
started it can look at what it used.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

WIDTH = 100
MODEL = "gpt-4o-mini"
LABELS = ["bug", "praise", "question"]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "label": {"type": "string", "enum": LABELS},
        "urgency": {"type": "integer"},
        "number": {"type": "integer"},
    },
    "required": ["label", "urgency", "number"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}}


def text(number: int) -> str:
    """The prompt of a row."""
    return f"Label ticket {number}: the export button does nothing when the table has more than a page"


def answer(number: int) -> dict[str, Any]:
    """The right answer to it, which the model's server gives."""
    return {"label": LABELS[number % 3], "urgency": number % 5, "number": number}


async def _fan_out(ask: Callable[[int], Awaitable[str]], rows: int) -> list[Any]:
    answers: list[Any] = [None] * rows
    left = iter(range(rows))

    async def worker() -> None:
        for number in left:
            answers[number] = json.loads(await ask(number))

    await asyncio.gather(*(worker() for _ in range(WIDTH)))
    return answers


def raw(url: str, rows: int) -> list[Any]:
    """A loop over aiohttp: the least that can be done."""
    import aiohttp

    async def main() -> list[Any]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, headers={"authorization": "Bearer k"}) as session:

            async def ask(number: int) -> str:
                messages = [{"role": "user", "content": text(number)}]
                body = {"model": MODEL, "messages": messages, "response_format": FORMAT}
                async with session.post(f"{url}/chat/completions", json=body) as response:
                    return str((await response.json())["choices"][0]["message"]["content"])

            return await _fan_out(ask, rows)

    return asyncio.run(main())


def ours(url: str, rows: int) -> list[Any]:
    """A map of the orchestrator that PO_DATA_DIR names."""
    import po_jupyter as po

    task = {"name": "label", "for_each": "{{ seed.rows }}", "prompt": "{{ item }}", "output": SCHEMA}
    pipeline = {
        "name": "peers",
        "llm": {"model": f"openai:{MODEL}"},
        "tasks": [{**task, "max_concurrency": WIDTH}],
    }
    # Asked anew: a run of before must not answer it.
    run = po.connect().submit(pipeline, {"rows": [text(number) for number in range(rows)]}, fresh=True)
    return [row["output"] for row in run.wait().raise_for_error().items("label")]


def openai(url: str, rows: int) -> list[Any]:
    """The same loop over the vendor's own client."""
    from openai import AsyncOpenAI

    async def main() -> list[Any]:
        async with AsyncOpenAI(api_key="k", base_url=url, timeout=120) as client:

            async def ask(number: int) -> str:
                messages: Any = [{"role": "user", "content": text(number)}]
                shape: Any = FORMAT
                found = await client.chat.completions.create(
                    model=MODEL, messages=messages, response_format=shape
                )
                return found.choices[0].message.content or ""

            return await _fan_out(ask, rows)

    return asyncio.run(main())


def litellm(url: str, rows: int) -> list[Any]:
    """The same loop over `litellm.acompletion`."""
    import litellm as library

    async def ask(number: int) -> str:
        found = await library.acompletion(
            model=f"openai/{MODEL}", messages=[{"role": "user", "content": text(number)}], api_base=url,
            api_key="k", timeout=120, response_format=FORMAT,
        )  # fmt: skip
        return str(found.choices[0].message.content)

    return asyncio.run(_fan_out(ask, rows))


def inspect_ai(url: str, rows: int) -> list[Any]:
    """An evaluation of Inspect with one question a sample."""
    from inspect_ai import Task, eval
    from inspect_ai.dataset import Sample
    from inspect_ai.model import GenerateConfig, ResponseSchema, get_model
    from inspect_ai.solver import generate
    from inspect_ai.util import JSONSchema

    shape = ResponseSchema(name="answer", json_schema=JSONSchema.model_validate(SCHEMA), strict=True)
    config = GenerateConfig(max_connections=WIDTH, response_schema=shape)
    model = get_model(f"openai/{MODEL}", base_url=url, api_key="k", config=config)
    samples = [Sample(id=number, input=text(number)) for number in range(rows)]
    with tempfile.TemporaryDirectory() as logs:
        (log,) = eval(
            Task(dataset=samples, solver=generate()),
            model=model,
            display="none",
            log_dir=logs,
            max_samples=WIDTH,
        )
    found = {int(sample.id): json.loads(sample.output.completion) for sample in log.samples or ()}
    return [found[number] for number in range(rows)]


TOOLS: dict[str, Callable[[str, int], list[Any]]] = {
    "raw": raw, "ours": ours, "openai": openai, "litellm": litellm, "inspect_ai": inspect_ai,
}  # fmt: skip

if __name__ == "__main__":
    name, url, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
    answers = TOOLS[name](url, rows)
    wrong = sum(found != answer(number) for number, found in enumerate(answers))
    print(
        "done" if not wrong and len(answers) == rows else f"{wrong} of {len(answers)} answers are wrong",
        flush=True,
    )
    sys.stdin.read()
    os._exit(0)
