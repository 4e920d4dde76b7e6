"""Prompt tasks with more than a text: messages, images, tools of MCP servers (G11, G15)."""

from __future__ import annotations

import base64
import threading
from typing import Any

import pytest

from po_jupyter.config import McpServer, Settings
from po_jupyter.engine.planning.check import check, violations
from po_jupyter.engine.planning.estimate import estimate_run
from po_jupyter.engine.prompts.template_check import check_templates
from po_jupyter.engine.prompts.templates import PromptTemplate
from po_jupyter.errors import InvalidPipeline
from po_jupyter.model.pipeline.parsing import parse_pipeline, validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.seed import Seed
from tests.engine.chat.test_task_llm import ONCE, PNG, Caller, error, output, task, with_model
from tests.support.engine import Bench
from tests.support.pdf import pdf
from tests.support.sound import mp3, sound_url, wav

DATA_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


def prompt(text: Any, **more: Any) -> dict[str, Any]:
    return {"name": "t", "prompt": text, "retry": ONCE, **more}


def pipeline_of(*tasks: dict[str, Any], **more: Any) -> Pipeline:
    return validate_pipeline({"name": "p", "llm": {"model": "fake:echo"}, "tasks": list(tasks), **more})


# -- messages --------------------------------------------------------------------------------------------
FEW_SHOT = [
    {"role": "user", "content": "Label: {{ seed.example }}"},
    {"role": "assistant", "content": "bug"},
    {"role": "user", "content": "Label: {{ seed.text }}"},
]


async def test_a_prompt_may_be_a_conversation(bench: Bench) -> None:
    """B6: few-shot, each turn a template; a re-ask goes on from it."""
    bench.fake._replies = ["no"]
    output_schema = {"type": "object", "required": ["a"], "properties": {"a": {"const": 1}}}
    bench.create([prompt(FEW_SHOT, system="Be brief.", output=output_schema)], {"example": "e", "text": "t"})
    assert await output(bench) == {"a": 1}
    said = [(m.role, m.content) for m in bench.fake.requests[0].messages]
    assert said == [("system", "Be brief."), ("user", "Label: e"), ("assistant", "bug"), ("user", "Label: t")]
    assert len(bench.fake.requests[1].messages) == 6


async def test_templates_that_loop_in_loops_are_rendered_in_a_thread(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the prompt and of the critique: on the loop they hold up all other runs of the process."""
    threads: dict[str, bool] = {}
    render = PromptTemplate.render

    def noted(template: PromptTemplate, names: Any) -> str:
        threads[template.field] = threading.current_thread() is not threading.main_thread()
        return render(template, names)

    monkeypatch.setattr(PromptTemplate, "render", noted)
    bench.fake._replies = ["no", "it is no JSON", "{}"]
    costly = "{% for a in range(2) %}{% for b in range(2) %}{{ a + b }}{% endfor %}{% endfor %}"
    bench.create(
        [
            prompt(
                costly,
                system="{% for a in range(2) %}x{% endfor %}",
                output={"type": "object"},
                refine={"critique": f"{costly} {{{{ output }}}}"},
            )
        ],
        {},
    )
    assert await output(bench) == {}
    assert threads == {"system": True, "prompt": True, "refine.critique": True}
    assert bench.fake.requests[1].messages[-1].content.startswith("0112")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "tasks[0].prompt: needs at least 1"),
        (5, "tasks[0].prompt: needs text"),
        ([{"role": "robot", "content": "x"}], "tasks[0].prompt[0].role"),
        (
            [{"role": "user", "contents": "x"}],
            "`contents` is not a field of a message; did you mean `content`?",
        ),
        ([{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}], "the last message"),
    ],
)
def test_a_wrong_conversation_is_said_where_it_stands(given: Any, words: str) -> None:
    """P11."""
    with pytest.raises(InvalidPipeline) as caught:
        pipeline_of(prompt(given))
    assert any(words in v.message for v in caught.value.violations), caught.value.violations
    assert not any("·" in str(v) for v in caught.value.violations)


def test_the_line_of_a_message_is_found() -> None:
    """P11: the line in the cell, not somewhere in the task."""
    text = "name: p\ntasks:\n  - name: t\n    prompt:\n"
    text += "      - {role: user, content: a}\n      - {rol: user, content: b}\n"
    with pytest.raises(InvalidPipeline) as caught:
        parse_pipeline(text)
    assert {v.line for v in caught.value.violations} == {6}


def test_templates_of_messages_and_images_are_checked_and_estimated() -> None:
    """P11, G1."""
    pipeline = pipeline_of(prompt(FEW_SHOT, images=["{{ seed.foto }}"]))
    seed = Seed(name="s", data={"example": "e", "photo": DATA_URL})
    found = check_templates(pipeline, seed.data)
    assert [v.where for v in found] == ["tasks[0].prompt[2].content", "tasks[0].images[0]"]
    assert "did you mean `photo`?" in found[1].message
    data = {"example": "e", "text": "t", "foto": DATA_URL}
    told = estimate_run(pipeline, Seed(name="s", data=data), data, settings=Settings())
    assert told["calls"] == 1 and told["input_tokens"] > 0
    assert any("images" in u for u in told["unknown"])


# -- images ----------------------------------------------------------------------------------------------
async def test_a_prompt_shows_images_by_data_url_and_by_the_name_of_an_artifact(bench: Bench) -> None:
    first = {"name": "draw", "source": f"def ingestion(ctx):\n    ctx.io.write_artifact('a.png', {PNG!r})\n"}
    images = ["{{ seed.photo }}", "a.png", "{{ seed.none }}"]
    bench.create([first, prompt("What is it?", images=images)], {"photo": DATA_URL, "none": ""})
    await output(bench)
    (request,) = bench.fake.requests
    assert [i.mime for i in request.messages[-1].images] == ["image/png", "image/png"]


@pytest.mark.parametrize(
    "name", ["/etc/hostname", "../../secret.png", "file:///etc/hostname", "https://10.0.0.1/a"]
)
@pytest.mark.integration
async def test_a_template_opens_no_file_of_the_machine_and_no_door_of_the_network(
    bench: Bench, name: str
) -> None:
    """P6: what fills a template is data, perhaps a model's."""
    bench.create([prompt("x", images=["{{ seed.photo }}"])], {"photo": name})
    found = await error(bench)
    assert "image 0: " in found["message"]
    assert "no artifact" in found["message"] or "no address of the internet" in found["message"]
    assert bench.fake.requests == []


async def test_rows_are_reused_by_what_their_images_hold(bench: Bench) -> None:
    """G17: another picture under the same name is another row."""
    source = "def ingestion(ctx):\n    ctx.io.write_artifact('a.png', ctx.seed['png'].encode('latin-1'))\n"
    rows = prompt("What?", for_each="{{ seed.rows }}", images=["{{ item }}"])
    asked = []
    for n, png in enumerate([PNG, PNG, PNG + b"x"]):
        bench.run = f"0193f0000000000000000{n}"
        data = {"rows": ["a.png"], "png": png.decode("latin-1")}
        bench.create([{"name": "draw", "source": source}, rows], data)
        before = len(bench.fake.requests)
        assert await bench.go() == "done"
        asked.append(len(bench.fake.requests) - before)
    assert asked == [1, 0, 1]


def test_a_model_without_eyes_is_refused_before_the_run() -> None:
    """P11, G11."""
    found = violations(pipeline_of(prompt("x", images=["a.png"], llm={"model": "deepseek:deepseek-chat"})))
    assert [v.message for v in found] == [
        "task 't': deepseek takes no images, and the model is deepseek:deepseek-chat"
    ]
    with pytest.raises(InvalidPipeline, match=r"ctx.llm.chat\(images=...\)"):
        pipeline_of({"name": "t", "source": "def ingestion(ctx): ...", "images": ["a"]})


# -- MCP -------------------------------------------------------------------------------------------------
@pytest.mark.integration
async def test_a_prompt_uses_the_tools_of_an_mcp_server(bench: Bench, stdio: dict[str, McpServer]) -> None:
    """G15: a real server of the official SDK over stdio, ended with the worker; its environment is allow-listed."""
    turns = [[("files_add", {"a": 2, "b": 3}), ("files_environ", {"name": "FILES_TOKEN"})],
             [("files_environ", {"name": "OTHER_TOKEN"}), ("files_broken", {}), ("files_add", {"a": "x"})]]  # fmt: skip
    model = Caller(turns)
    with_model(bench, model)
    bench.settings = {"mcp_servers": stdio}
    tools = ["files.add", "files.environ", "files.broken"]
    bench.create([prompt("What is 2 + 3?", tools=tools)])
    assert await output(bench) == "the end"
    heard = model.heard
    assert heard[:3] == ["5", "named", "unset"]
    assert heard[3].startswith("error: ") and "no such file" in heard[3]
    assert heard[4].startswith("error: ") and 'no "b"' in heard[4]
    assert [t.name for t in model.requests[0].tools] == ["files_add", "files_environ", "files_broken"]
    assert model.requests[0].tools[0].description == "Add two numbers."
    assert bench.session.resources.mcp._open == {}


@pytest.mark.integration
async def test_ctx_llm_uses_functions_and_mcp_tools_together(bench: Bench, stdio: dict[str, McpServer]) -> None:
    code = """
def double(n: int) -> int:
    return 2 * n
def ingestion(ctx):
    return ctx.llm.chat("x", tools=[double, "files.add"]).text
"""
    model = Caller([[("double", {"n": 4}), ("files_add", {"a": 1, "b": 1})]])
    with_model(bench, model)
    bench.settings = {"mcp_servers": stdio}
    bench.create([task(code)])
    await output(bench)
    assert model.heard == ["8", "2"]


def test_tools_of_a_server_that_the_settings_do_not_name_are_refused_before_the_run() -> None:
    """G15."""
    only = {"files": McpServer(command=("files",), tools=("add",))}
    pipeline = pipeline_of(prompt("x", tools=["file.add"]))
    with pytest.raises(InvalidPipeline, match="mcp_servers"):
        check(pipeline, servers=only)
    with pytest.raises(InvalidPipeline, match=r"is written server\.tool"):
        pipeline_of(prompt("x", tools=["add"]))


# -- PDF files -------------------------------------------------------------------------------------------
@pytest.mark.integration
async def test_a_prompt_reads_a_pdf_by_data_url_and_by_the_name_of_an_artifact(bench: Bench) -> None:
    first = {"name": "draw", "source": f"def ingestion(ctx):\n    ctx.io.write_artifact('a.pdf', {pdf(2)!r})\n"}
    files = ["{{ seed.url }}", "a.pdf", "{{ seed.none }}"]
    url = "data:application/pdf;base64," + base64.b64encode(pdf(3)).decode()
    bench.create([first, prompt("What does it say?", files=files)], {"url": url, "none": ""})
    await output(bench)
    (request,) = bench.fake.requests
    assert [file.pages for file in request.messages[-1].files] == [3, 2]


@pytest.mark.integration
async def test_rows_are_reused_by_what_their_files_hold(bench: Bench) -> None:
    source = "def ingestion(ctx):\n    ctx.io.write_artifact('a.pdf', ctx.seed['pdf'].encode('latin-1'))\n"
    rows = prompt("What?", for_each="{{ seed.rows }}", files=["{{ item }}"])
    asked = []
    for n, file in enumerate([pdf(1), pdf(1), pdf(2)]):
        bench.run = f"0193f0000000000000000{n}"
        bench.create(
            [{"name": "draw", "source": source}, rows], {"rows": ["a.pdf"], "pdf": file.decode("latin-1")}
        )
        before = len(bench.fake.requests)
        assert await bench.go() == "done"
        asked.append(len(bench.fake.requests) - before)
    assert asked == [1, 0, 1]


@pytest.mark.integration
async def test_a_prompt_hears_sounds_by_data_url_and_by_the_name_of_an_artifact(bench: Bench) -> None:
    """The request, its row and its message have the sound as they have a PDF."""
    first = {
        "name": "draw",
        "source": f"def ingestion(ctx):\n    ctx.io.write_artifact('a.txt', {mp3(100)!r})\n",
    }
    bench.create(
        [first, prompt("What is said?", files=["{{ seed.url }}", "a.txt"])], {"url": sound_url(wav(2.0))}
    )
    await output(bench)
    (request,) = bench.fake.requests
    assert [(file.format, round(file.seconds, 1)) for file in request.messages[-1].files] == [
        ("wav", 2.0),
        ("mp3", 2.6),
    ]


@pytest.mark.integration
async def test_a_sound_for_a_model_that_only_reads_asks_nothing(bench: Bench) -> None:
    """Where the seed does not have it, so that it is known only when it is read."""
    model = "bedrock:us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    first = {
        "name": "draw",
        "source": f"def ingestion(ctx):\n    ctx.io.write_artifact('a.pdf', {wav(1.0)!r})\n",
    }
    bench.create([first, prompt("What?", files=["a.pdf"], llm={"model": model})])
    assert "is not known to take sound" in (await error(bench))["message"]
    assert not bench.fake.requests


def test_a_model_that_reads_no_pdf_is_refused_before_the_run() -> None:
    """P11."""
    found = violations(pipeline_of(prompt("Read.", files=["a.pdf"], llm={"model": "vllm:Qwen/Qwen3-4B"})))
    (message,) = [v.message for v in found]
    assert (
        "vllm:Qwen/Qwen3-4B is not known to take PDF files and sound; models that do are, for example, anthropic:"
        in message
    )
    with pytest.raises(InvalidPipeline, match="`mode: batch` and `files`"):
        pipeline_of(prompt("Read.", files=["a.pdf"], for_each="{{ seed.x }}", mode="batch"))
    with pytest.raises(InvalidPipeline, match=r"ctx.llm.chat\(files=...\)"):
        pipeline_of({"name": "t", "source": "def ingestion(ctx): ...", "files": "a.pdf"})
