"""Help for editors over HTTP: mistakes with their line in the text, suggestions, descriptions, the schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from tests.support.jupyter_process import JupyterProcess

pytestmark = pytest.mark.integration

TEXT = """llm: {model: "fake:echo"}
tasks:
  - name: label
    for_each: "{{ seed.rows }}"
    prompt: |
      Label this:
      {{ item.text }}
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    process = JupyterProcess(tmp_path_factory.mktemp("editing"), orchestrator=None)
    yield process
    process.stop()


@pytest.fixture
def http(real: JupyterProcess) -> Iterator[httpx.Client]:
    with real.http() as client:
        yield client


def violations(http: httpx.Client, text: str, **more: Any) -> list[tuple[str, int | None, str]]:
    answer = http.post("pipelines/validate", json={"pipeline": text, "name": "tickets", **more})
    if answer.status_code == 200:
        return []
    assert answer.status_code == 400
    return [(v["where"], v.get("line"), v["message"]) for v in answer.json()["error"]["details"]["violations"]]


def test_a_text_without_a_name_is_checked_with_the_name_that_is_given(http: httpx.Client) -> None:
    assert violations(http, TEXT) == []
    assert violations(http, "name: other\n" + TEXT)[0][1:] == (
        1,
        "the pipeline is called 'tickets' outside and 'other' in its text",
    )
    assert violations(http, TEXT, name="Wrong Name")[0][0] == "name"


def test_mistakes_that_are_found_late_have_their_line_in_the_text_too(http: httpx.Client) -> None:
    """The names of a template are looked at after the text was read."""
    assert violations(http, TEXT.replace("for_each", "for_eech"))[0][1] == 4
    ((where, line, message),) = violations(http, TEXT.replace("item.text", "itm.text"))
    assert (where, line) == ("tasks[0].prompt", 7)
    assert "itm" in message
    assert violations(http, TEXT.replace("fake:", "fak:"))[0][:2] == ("llm.model", 1)


def test_the_line_of_the_cell_counts(http: httpx.Client) -> None:
    assert violations(http, TEXT, model="nobody:x")
    assert violations(http, TEXT, budget={"usd": -1})
    assert violations(http, TEXT, model="fake:echo", budget={"tokens": 100}) == []


def complete(http: httpx.Client, marked: str) -> tuple[str, list[str]]:
    before, after = marked.split("¦")
    answer = http.post("pipelines/complete", json={"before": before, "after": after, "name": "tickets"})
    assert answer.status_code == 200, answer.text
    return answer.json()["typed"], [s["label"] for s in answer.json()["suggestions"]]


def test_suggestions(http: httpx.Client) -> None:
    assert complete(http, "tasks:\n  - name: a\n    pro¦\n")[0] == "pro"
    assert "prompt" in complete(http, "tasks:\n  - name: a\n    pro¦\n")[1]
    assert "fake:echo" in complete(http, "llm: fake¦\n")[1]
    assert complete(http, TEXT.replace("item.text", "item.¦")) == ("", [])


def test_names_of_the_newest_seed_are_suggested(http: httpx.Client) -> None:
    seed = {"name": "s", "data": {"rows": [{"text": "ü" * 50_000, "title": "t"}]}}
    pipeline = {"name": "tickets", "tasks": [{"name": "a", "prompt": "x", "llm": "fake:echo"}]}
    assert http.post("runs", json={"pipeline": pipeline, "seed": seed}).status_code == 201
    assert complete(http, TEXT.replace("item.text", "item.¦")) == ("", ["text", "title"])
    assert complete(http, TEXT.replace("seed.rows", "seed.r¦")) == ("r", ["rows"])


def test_the_meaning_of_a_key(http: httpx.Client) -> None:
    found = http.post("pipelines/describe", json={"before": "tasks:\n  - for_", "after": "each: x\n"}).json()
    assert (found["help"]["before"], found["help"]["after"]) == (4, 4)
    assert "once for each" in found["help"]["documentation"]
    assert http.post("pipelines/describe", json={"before": "x: ", "after": "y"}).json() == {"help": None}


def test_the_schema_is_one(http: httpx.Client) -> None:
    schema = http.get("pipeline.schema.json").json()
    Draft202012Validator.check_schema(schema)
    assert "tasks" in schema["properties"]


@pytest.mark.parametrize("route", ["complete", "describe"])
def test_a_long_text_is_refused(http: httpx.Client, route: str) -> None:
    """P11."""
    assert http.post(f"pipelines/{route}", json={"before": "a" * 100_001}).status_code == 400
    assert http.post(f"pipelines/{route}", json={}).status_code == 400
