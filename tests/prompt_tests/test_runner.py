"""`po test` from end to end: recorded once with `--live`, then run without a key, a vendor or a cost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.support.paths import ROOT
from tests.support.start_mode import inherited_environment

pytestmark = pytest.mark.acceptance
LABEL = {"type": "object", "required": ["label"], "properties": {"label": {"enum": ["bug", "question"]}}}
CASES: dict[str, Any] = {
    "pipeline": "tickets",
    "cases": [
        {
            "name": "labels what is a bug",
            "seed": {
                "labels": [{"gold": "x"}, {"gold": "y"}],  # which the rows are not of
                "rows": [{"text": "gone", "gold": "bug"}, {"text": "how", "gold": "question"}],
            },
            "budget": 0.5, "max_cost": 0.01, "max_tokens": 1000,
            "expect": [
                {"path": "label", "regex": "bug|question"},
                {"row": 0, "path": "$.label", "equals": "bug"},
                {"path": "label", "equals_field": "gold", "share": 0.5},
                {"row": 0, "score": "exact", "at_least": 1},
            ],
        },
        {
            "name": "the same again", "seed": [{"text": "gone", "gold": "bug"}],
            "expect": [{"path": "label", "equals": "question"}],
        },
        {"name": "too dear", "seed": [{"text": "gone", "gold": "bug"}], "max_tokens": 1},
        {
            "name": "without rows", "expect": [{"score": "exact", "at_least": 1}],
            "pipeline": {
                "llm": {"model": "fake:echo"}, "tasks": [{"name": "say", "prompt": "hi", "score": "{{ 'echo: hi' }}"}],
            },
        },
    ],
}  # fmt: skip
PIPELINE = {
    "name": "tickets", "llm": {"model": "openai:gpt-4o-mini", "max_tokens": 50},
    "tasks": [{"name": "label", "for_each": "{{ seed.rows }}", "prompt": "Label: {{ item.text }}", "output": LABEL,
               "score": "{{ item.gold }}"}],
}  # fmt: skip


@pytest.fixture(scope="module")
def vendor() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture(scope="module")
def recorded(vendor: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cases whose answers were recorded. The vendor repeats a secret of the caller's."""
    folder = tmp_path_factory.mktemp("prompts")
    (folder / "tickets.yaml").write_text(json.dumps(PIPELINE))
    (folder / "po_tests.yaml").write_text(json.dumps(CASES))
    live = run(folder, "-m", "po_jupyter", "test", "--live", vendor=vendor)
    assert live.returncode == 1, live.stdout + live.stderr
    assert "2 failed, 2 passed" in live.stdout
    assert len(vendor.requests) == 4, "cases share no answers"
    return folder


def run(folder: Path, *arguments: str, vendor: ModelServer | None = None) -> subprocess.CompletedProcess[str]:
    env = inherited_environment("PO_", "OPENAI", "PYTEST", "COV")
    env |= {"PYTHONPATH": str(ROOT), "PO_DATA_DIR": str(folder / "user"), "PYTHONUTF8": "1"}
    if vendor is not None:
        env |= {"OPENAI_BASE_URL": vendor.base_url, "OPENAI_API_KEY": vendor.key}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_recorded_answers_need_no_key_and_no_vendor(recorded: Path, vendor: ModelServer) -> None:
    """The same verdicts as live, JUnit XML, nothing of the user's data directory, and no process left."""
    asked = len(vendor.requests)
    done = run(recorded, "-m", "po_jupyter", "test", "po_tests.yaml", "--junit", "report.xml")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "po_tests.yaml::labels what is a bug PASSED" in done.stdout
    assert 'expected "question", got "bug"' in done.stdout
    assert "tokens, expected at most 1" in done.stdout
    (suite,) = ET.fromstring((recorded / "report.xml").read_bytes())
    assert (suite.get("tests"), suite.get("failures")) == ("4", "2")
    assert len(vendor.requests) == asked
    assert not (recorded / "user").exists()
    text = (recorded / "po_tests.recorded.jsonl").read_text()
    assert vendor.key not in text and "authorization" not in text.lower()


def test_what_is_not_recorded_fails_and_names_the_command(recorded: Path, tmp_path: Path) -> None:
    for name in ("tickets.yaml", "po_tests.recorded.jsonl"):
        (tmp_path / name).write_text((recorded / name).read_text())
    changed = json.loads(json.dumps(CASES))
    changed["cases"][0]["seed"]["rows"][0]["text"] = "something else"
    (tmp_path / "po_tests.yaml").write_text(json.dumps(changed))
    done = run(tmp_path, "-m", "po_jupyter", "test", "-k", "labels", "--json")
    assert done.returncode == 1, done.stderr
    (result,) = json.loads(done.stdout)
    (failure,) = result["failures"]
    assert "no answer is recorded for 1 call to openai:gpt-4o-mini" in failure["message"]
    assert "po test po_tests.yaml --live -k 'labels what is a bug'" in failure["message"]


def test_mistakes_end_with_2_before_anything_is_started(recorded: Path, tmp_path: Path) -> None:
    (tmp_path / "tickets.yaml").write_text((recorded / "tickets.yaml").read_text())
    (tmp_path / "po_tests.yaml").write_text("pipeline: tickets\ncases:\n  - name: a\n    expects: []\n")
    done = run(tmp_path, "-m", "po_jupyter", "test", "po_tests.yaml")
    assert done.returncode == 2 and "line 4: `expects` is not a field of a case" in done.stderr
    (tmp_path / "po_tests.yaml").write_text(json.dumps(CASES))
    lines = (recorded / "po_tests.recorded.jsonl").read_text().replace('\\"bug\\"', '\\"question\\"')
    (tmp_path / "po_tests.recorded.jsonl").write_text(lines)
    done = run(tmp_path, "-m", "po_jupyter", "test")
    assert done.returncode == 2 and "changed by hand" in done.stderr
    assert run(tmp_path, "-m", "po_jupyter", "test", "-k", "nothing").returncode == 2
    (tmp_path / "po_tests.yaml").unlink()
    assert run(tmp_path, "-m", "po_jupyter", "test").returncode == 2


def test_pytest_collects_the_same_cases(recorded: Path) -> None:
    plugin = ("-p", "no:po_jupyter", "-p", "po_jupyter.testing.pytest_plugin", "-p", "no:cacheprovider")
    done = run(recorded, "-m", "pytest", *plugin, "-p", "no:asyncio", "-W", "error", "-v")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 failed, 2 passed" in done.stdout
    assert "po_tests.yaml::labels what is a bug PASSED" in done.stdout
    assert 'expected "question", got "bug"' in done.stdout
    assert "Traceback" not in done.stdout
