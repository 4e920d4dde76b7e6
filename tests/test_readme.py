"""What the README says is true: its blocks parse, its pipeline runs, its verbs, settings and extras exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.cli.main import VERBS, po
from po_jupyter.config import Settings, load
from po_jupyter.model.pipeline.parsing import parse_pipeline
from po_jupyter.testing.model_server import ModelServer
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text("utf-8")
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S)


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCKS if found == language]


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A shell's environment with a data directory of its own and a model behind OPENAI_BASE_URL."""

    def answer(body: dict[str, Any], _: int) -> str:
        # gpt-5 speaks the Responses API, where a schema is said under `text`.
        if "text" not in body and "response_format" not in body:
            return "They are short."
        return json.dumps({"label": "bug", **({"urgent": True} if "urgent" in json.dumps(body) else {})})

    with ModelServer(answer) as model:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("PO_", "JPY_", "JUPYTERHUB_"))}
        env |= {
            "PO_DATA_DIR": str(tmp_path / "data"),
            "PO_DEFAULT_MODEL": "openai:any-model",
            "OPENAI_BASE_URL": model.base_url,
            "OPENAI_API_KEY": model.key,
            "PYTHONPATH": str(ROOT),
        }
        yield env
        subprocess.run([sys.executable, "-m", "po_jupyter", "stop"], env=env, check=True, capture_output=True)


def test_the_ten_lines_run_as_written(environ: dict[str, str], tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    assert len(text.strip().splitlines()) == 10
    (tmp_path / "tickets.yaml").write_text(text)
    (command,) = [b for b in blocks("bash") if b.startswith("po run")]
    words = shlex.split(command)
    done = subprocess.run(
        [sys.executable, "-m", "po_jupyter", *words[1:], "--json"],
        cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    run = json.loads(done.stdout)
    assert [row["output"] for row in run["outputs"]["label"]] == [{"label": "bug"}, {"label": "bug"}]
    assert run["outputs"]["summary"] == "They are short."


def test_the_python_of_the_readme_runs(environ: dict[str, str], tmp_path: Path) -> None:
    (code,) = [b for b in blocks("python") if "import po_jupyter" in b]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == "They are short."


def test_the_python_task_of_the_readme_runs(environ: dict[str, str], tmp_path: Path) -> None:
    (code,) = [b for b in blocks("python") if "def ingestion" in b]
    definition = {"name": "grouped", "tasks": [{"name": "group", "source": code}]}
    (tmp_path / "grouped.json").write_text(json.dumps(definition))
    command = [sys.executable, "-m", "po_jupyter", "run", "grouped.json", "--seed", '[{"text": "a"}]', "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["outputs"]["group"] == "They are short."


def test_the_models_tools_and_files_of_python_tasks_run(environ: dict[str, str], tmp_path: Path) -> None:
    """B4, B6, G15: three blocks as the code of three tasks; beside them stands what they take for granted."""
    (models,) = [b for b in blocks("python") if "ctx.llm.chain(" in b]
    (tools,) = [b for b in blocks("python") if "def price(" in b]
    (files,) = [b for b in blocks("python") if "ctx.io.batch(" in b]
    assert '"files.read"' in tools, "an MCP server that is not here"
    before = {
        "models": "import pydantic\nclass Label(pydantic.BaseModel):\n    label: str\nprompts = ['a', 'b']\n",
        "tools": f"def ingestion(ctx):\n    ctx.io.write_artifact('photo.png', {PNG!r})\n",
        "files": "def work(row):\n    return row['text'].upper()\n",
    }
    code = {"models": models, "tools": tools.replace(', "files.read"', ""), "files": files}
    tasks = [
        {"name": name, "source": before[name] + text, "retry": {"max_attempts": 1}}
        for name, text in code.items()
    ]
    (tmp_path / "blocks.json").write_text(json.dumps({"name": "blocks", "tasks": tasks}))
    command = [sys.executable, "-m", "po_jupyter", "run", "blocks.json", "--seed", '[{"text": "a"}]', "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    said = "They are short."
    outputs = json.loads(done.stdout)["outputs"]
    assert outputs["models"] == [said, "bug", said, [said, said], 0]
    assert outputs["tools"] == [said, said]
    assert [(row["ok"], row["output"]) for row in outputs["files"]] == [(True, "A")]


def test_structured_output_and_the_table_run(environ: dict[str, str], tmp_path: Path) -> None:
    """B6, G17: a dataclass comes back as an instance; the first rows are paid for once."""
    (shape,) = [b for b in blocks("python") if "class Ticket" in b]
    (tables,) = [b for b in blocks("python") if "limit=3" in b]
    tables = re.sub(r"(client\.submit\(.*\))", r"\1.wait()", tables)
    shape = shape.replace("schema=Ticket)", 'schema=Ticket, model="openai:any-model")')
    code = f"""
from dataclasses import dataclass
from typing import Literal
import pandas
import po_jupyter as po

client = po.connect()
{shape}
assert answer.value == Ticket("bug", True), answer
assert task.output["properties"]["urgent"]
row = po.Task(name="label", for_each="{{{{ seed.rows }}}}", prompt="Label: {{{{ item.text }}}}", output=Ticket)
client.register(po.Pipeline(name="tickets", tasks=[row]))
table = pandas.DataFrame({{"text": list("abcde")}})
{tables}
items = whole.view.tasks[0].items
assert (items.done, items.reused) == (5, 3), items
print(list(table.join(whole.frame("label"))["label"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == str(["bug"] * 5)


def test_the_pieces_of_yaml_are_tasks_and_settings(tmp_path: Path) -> None:
    pieces = [b for b in blocks("") if b.startswith("  - ")]
    assert len(pieces) >= 2
    for piece in pieces:
        assert parse_pipeline(f"name: pieces\ntasks:\n{piece}").tasks
    (limits,) = [b for b in blocks("") if b.startswith("rate_limits:")]
    prices = re.findall(r"`(prices: \{.*?\}\})`", README)
    servers = re.findall(r"`(mcp_servers: \{.*?\}\})`", README, re.S)
    assert (len(prices), len(servers)) == (1, 1)
    (tmp_path / "po.yaml").write_text("\n".join([limits, *prices, *servers]))
    settings = load({}, file=tmp_path / "po.yaml")
    assert settings.rate_limits and settings.prices and settings.mcp_servers


def test_the_contents_lead_to_every_section() -> None:
    titles = re.findall(r"^## (.*)$", re.sub(r"^```.*?^```$", "", README, flags=re.M | re.S), re.M)
    anchors = [re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles]
    assert re.findall(r"\[[^]]+\]\(#([^)]+)\)", README.partition("## ")[0]) == anchors


def test_the_verbs_and_options_named_exist() -> None:
    (overview,) = [b for b in blocks("") if b.startswith("po demo")]
    named: set[str] = set()
    for line in overview.splitlines():
        signature = re.split(r"\s{3,}", line)[0]
        named |= set(re.findall(r"\b[a-z]+\b", signature)) - {"po"}
    assert named == set(VERBS)
    options = {o for b in (*blocks("bash"), overview) for o in re.findall(r"(?<![\w-])--[a-z-]+", b)}
    context = po.make_context("po", [], resilient_parsing=True)
    known = {
        opt
        for name in VERBS
        for p in po.get_command(context, name).params
        for opt in (*p.opts, *p.secondary_opts)
    }
    assert options - known == set()
    for word in re.findall(r"`po ([a-z]+)", README):
        assert word in VERBS


def test_the_settings_named_exist_with_these_defaults() -> None:
    rows = re.findall(r"^\| (`PO_\w+`) \| (.*?) \|", README, re.M)
    assert len(rows) >= 8
    for variable, default in rows:
        field = Settings.model_fields[variable.strip("`").removeprefix("PO_").lower()]
        if re.fullmatch(r"`?[\w:.-]+`?", default) and default != "none":
            value = {True: "yes", False: "no"}.get(field.default, field.default)
            assert str(value).removesuffix(".0") == default.strip("`"), variable


def test_the_extras_and_files_named_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for group in re.findall(r'"\.\[([\w,]+)\]"', README):
        assert set(group.split(",")) <= set(extras)
    table = README.partition("## Extras")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == set(extras)
    for name in [
        *re.findall(r"\]\((notebooks/[^)]+)\)", README),
        *(f"notebooks/{path.name}" for path in ROOT.glob("notebooks/*.ipynb")),
        ".ci/run",
        "CHANGELOG.md",
    ]:
        assert (ROOT / name).is_file(), name


def test_the_yaml_of_the_readme_is_valid() -> None:
    for text in blocks("yaml"):
        assert parse_pipeline(text).tasks
