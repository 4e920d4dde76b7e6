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
        # Read here: they come from the file of the log.
        found = {int(sample.id): json.loads(sample.output.completion) for sample in log.samples or ()}
    return [found[number] for number in range(rows)]


def instructor(url: str, rows: int) -> list[Any]:
    """The same loop over `instructor`, whose answers are objects of a class."""
    import instructor as library
    from openai import AsyncOpenAI

    shape = _answer_class()

    async def main() -> list[Any]:
        client = library.from_openai(
            AsyncOpenAI(api_key="k", base_url=url, timeout=120), mode=library.Mode.JSON_SCHEMA
        )

        async def ask(number: int) -> str:
            messages: Any = [{"role": "user", "content": text(number)}]
            found = await client.chat.completions.create(model=MODEL, messages=messages, response_model=shape)
            return str(found.model_dump_json())

        return await _fan_out(ask, rows)

    return asyncio.run(main())


def pydantic_ai(url: str, rows: int) -> list[Any]:
    """The same loop over an agent of Pydantic AI."""
    from pydantic_ai import Agent, NativeOutput
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=url, api_key="k"))
    agent: Any = Agent(model, output_type=NativeOutput(_answer_class()))

    async def ask(number: int) -> str:
        return str((await agent.run(text(number))).output.model_dump_json())

    return asyncio.run(_fan_out(ask, rows))


def curator(url: str, rows: int) -> list[Any]:
    """A dataset through `curator.LLM`, with its cache and its progress where it wants them."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ |= {
            "CURATOR_CACHE_DIR": cache, "TELEMETRY_ENABLED": "0", "HF_HUB_OFFLINE": "1",
            "TIKTOKEN_CACHE_DIR": _tables_of_tokens(),
        }  # fmt: skip
        from bespokelabs import curator as library

        class Labeller(library.LLM):  # type: ignore[misc,no-any-unimported]  # not installed where types are checked
            response_format = _answer_class()

            def prompt(self, row: Any) -> str:
                return str(row["text"])

            def parse(self, row: Any, found: Any) -> dict[str, Any]:
                return {"row": row["row"], **found.model_dump()}

        unlimited = {"max_requests_per_minute": 10**6, "max_tokens_per_minute": 10**9}
        params = {"base_url": url, "max_concurrent_requests": WIDTH, **unlimited}
        labeller = Labeller(model_name=MODEL, backend="openai", backend_params=params)
        answered: Any = labeller([{"row": number, "text": text(number)} for number in range(rows)])
        found = {row.pop("row"): row for row in map(dict, getattr(answered, "dataset", answered))}
    return [found[number] for number in range(rows)]


def docetl(url: str, rows: int) -> list[Any]:
    """A `map` of DocETL; its types have no list of labels."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "OPENAI_API_BASE": url, "DOCETL_HOME_DIR": folder, "TIKTOKEN_CACHE_DIR": _tables_of_tokens(),
        }  # fmt: skip
        from docetl.runner import DSLRunner

        data, out = os.path.join(folder, "rows.json"), os.path.join(folder, "out.json")
        with open(data, "w") as file:
            json.dump([{"row": number, "text": text(number)} for number in range(rows)], file)
        label = {
            "name": "label", "type": "map", "prompt": "{{ input.text }}", "timeout": 120,
            "output": {
                "mode": "structured_output",
                "schema": {"label": "string", "urgency": "integer", "number": "integer"},
            },
        }  # fmt: skip
        config = {
            "default_model": f"openai/{MODEL}", "bypass_cache": True,
            "datasets": {"rows": {"type": "file", "path": data}},
            "operations": [label],
            "pipeline": {
                "steps": [{"name": "label", "input": "rows", "operations": ["label"]}],
                "output": {"type": "file", "path": out, "intermediate_dir": folder},
            },
        }  # fmt: skip
        DSLRunner(config, max_threads=WIDTH).load_run_save()
        with open(out) as file:
            found = {row["row"]: {name: row[name] for name in SCHEMA["required"]} for row in json.load(file)}
    return [found[number] for number in range(rows)]


def _tables_of_tokens() -> str:
    """Where litellm has the tables of tiktoken, which would be downloaded otherwise."""
    from importlib.util import find_spec

    spec = find_spec("litellm")
    assert spec is not None and spec.origin is not None
    return os.path.join(os.path.dirname(spec.origin), "litellm_core_utils", "tokenizers")


def _answer_class() -> Any:
    """The schema as a class, for tools that want one."""
    from typing import Literal

    from pydantic import create_model

    return create_model(
        "Answer", label=(Literal["bug", "praise", "question"], ...), urgency=(int, ...), number=(int, ...)
    )


TOOLS: dict[str, Callable[[str, int], list[Any]]] = {
    "raw": raw, "ours": ours, "openai": openai, "litellm": litellm, "inspect_ai": inspect_ai,
    "instructor": instructor, "pydantic_ai": pydantic_ai, "curator": curator, "docetl": docetl,
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
