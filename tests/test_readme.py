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
from po_jupyter.config import Settings
from po_jupyter.model.reading import read_pipeline
from po_jupyter.testing.model_server import ModelServer

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S)


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCKS if found == language]


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A shell's environment with a data directory of its own and a model behind OPENAI_BASE_URL."""

    def answer(body: dict[str, Any], _: int) -> str:
        # gpt-5 speaks the Responses API, where a schema is said under `text`.
        return json.dumps({"label": "bug"}) if "text" in body else "They are short."

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
            assert str(field.default).removesuffix(".0") == default.strip("`")


def test_the_extras_and_files_named_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for group in re.findall(r'"\.\[([\w,]+)\]"', README):
        assert set(group.split(",")) <= set(extras)
    for name in [
        *re.findall(r"\]\((notebooks/[^)]+)\)", README),
        "notebooks/01-quickstart.ipynb",
        ".ci/run",
        "CHANGELOG.md",
    ]:
        assert (ROOT / name).is_file(), name


def test_the_yaml_of_the_readme_is_valid() -> None:
    for text in blocks("yaml"):
        assert read_pipeline(text).tasks
