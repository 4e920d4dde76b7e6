"""Files of cases: what they may say, and errors that name the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.errors import InvalidInput
from po_jupyter.prompt_tests.cases import pipelines_of, read_cases, seed_row
from po_jupyter.prompt_tests.file_names import find_files, is_case_file
from po_jupyter.prompt_tests.runner import models_of

HELLO = "name: hello\ntasks: [{name: hello, prompt: Hello}]\n"


def refused(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "po_tests.yaml"
    file.write_text(text)
    with pytest.raises(InvalidInput) as error:
        read_cases(file)
    assert str(file) in error.value.message
    return [str(violation) for violation in error.value.violations]


def test_a_file_of_cases_is_read(tmp_path: Path) -> None:
    """A pipeline by its file, by its name, and inline; what stands above is meant for all."""
    (tmp_path / "hello.yaml").write_text(HELLO)
    file = tmp_path / "po_tests.yaml"
    file.write_text(
        "pipeline: hello.yaml\nmodel: openai:gpt-5-mini\ntimeout: 9\nbudget: 0.5\n"
        "cases:\n"
        "  - name: one\n"
        "    expect:\n      - contains: Hello\n      - equals: null\n"
        "  - {name: two, pipeline: hello, model: 'fake:echo', timeout: 3, budget: {usd: 1}}\n"
        "  - {name: three, pipeline: {tasks: [{name: t, prompt: x}]}, seed: [1, {a: 2}]}\n"
    )
    one, two, three = read_cases(file)
    assert (one.model, one.timeout, one.budget, one.line, one.lines) == ("openai:gpt-5-mini", 9, 0.5, 6, (8, 9))
    assert (two.model, two.timeout, two.pipeline.name) == ("fake:echo", 3, "hello")
    assert three.pipeline.name == "tested"
    assert [seed_row(three, "rows", place) for place in range(3)] == [{}, {"a": 2}, {}]
    assert seed_row(three, None, 1) == seed_row(three, "left/rows", 1) == {}


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "cases: []\n", "- a\n", "cases: 3\n", "x"])
def test_a_file_without_cases_is_refused(tmp_path: Path, text: str) -> None:
    refused(tmp_path, text)


def test_every_mistake_has_its_line(tmp_path: Path) -> None:
    (tmp_path / "hello.yaml").write_text(HELLO)
    head = "pipeline: hello\ncases:\n"
    for text, line, message in (
        ("pipline: x\ncases: [{name: a}]\n", 1, "did you mean `pipeline`"),
        (f"{head}  - nam: a\n", 3, "`nam` is not a field of a case"),
        (f"{head}  - name: a\n    expect:\n      - contians: x\n", 5, "not a field of an expectation; did you mean"),
        (f"{head}  - name: a\n    expect:\n      - {{row: 0}}\n", 5, "expects nothing"),
        (f"{head}  - name: a\n    expect:\n      - {{regex: '('}}\n", 5, "not a regular expression"),
        (f"{head}  - name: a\n    expect:\n      - {{path: '$[', equals: 1}}\n", 5, "not a JSON path"),
        (f"{head}  - name: a\n    expect:\n      - {{schema: {{type: strin}}}}\n", 5, "not a JSON Schema"),
        (f"{head}  - name: a\n    expect:\n      - {{score: exact}}\n", 5, "expects nothing"),
        (f"{head}  - name: a\n    expect:\n      - {{score: exact, equals: 1}}\n", 5, "`score` has `at_least`"),
        (f"{head}  - name: a\n    expect:\n      - {{task: helo, equals: 1}}\n", 5, "did you mean `hello`"),
        (f"{head}  - name: a\n  - name: b\n  - name: a\n", 5, "stands in line 3 already"),
        (f"{head}  - name: a\n    pipeline: helo\n", 4, "did you mean `hello`"),
        (f"{head}  - name: a\n    model: gpt\n", 4, "provider:model"),
        (f"{head}  - name: a\n    max_cost: -1\n", 4, "max_cost"),
        (f"{head}  - name: a\n    state: finished\n", 4, "state"),
        (f"{head}  - name: a\n   bad: [\n", 4, "not valid YAML"),
        (f"{head}  - name: a\n    name: b\n", 4, "stands here twice"),
        ("cases:\n  - name: a\n", 2, "needs a `pipeline`"),
        ("pipeline: {tasks: [{nme: x}]}\ncases: [{name: a}]\n", 1, "nme"),
        ("pipeline: {tasks: [{name: t, prompt: x, for_each: '{{ seed.rows }}', mode: batch}]}\ncases: [{name: a}]\n",
         1, "batch"),
    ):  # fmt: skip
        found = refused(tmp_path, text)
        assert any(f"line {line}" in v and message in v for v in found), (text, found)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no file"):  # exit code 2: no test has failed
        read_cases(tmp_path / "po_tests.yaml")
    (tmp_path / "po_tests.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="not UTF-8"):
        read_cases(tmp_path / "po_tests.yaml")


def test_files_are_found_by_their_names(tmp_path: Path) -> None:
    for name in (
        "po_tests.yaml",
        "po_tests_more.yml",
        "test_x.po.yaml",
        "tests.yaml",
        "po_tests.recorded.jsonl",
        "a.po",
    ):
        (tmp_path / name).touch()
    assert [path.name for path in find_files(tmp_path)] == [
        "po_tests.yaml",
        "po_tests_more.yml",
        "test_x.po.yaml",
    ]
    assert not is_case_file("x_test.po.yaml")


def test_pipelines_of_tasks_are_found_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "hello.yaml").write_text(HELLO.replace("prompt: Hello", "prompt: Hello, llm: 'fake:echo'"))
    file = tmp_path / "po_tests.yaml"
    file.write_text("pipeline: {tasks: [{name: t, pipeline: hello}]}\ncases: [{name: a}]\n")
    (case,) = read_cases(file)
    assert [pipeline.name for pipeline in pipelines_of(case.pipeline)] == ["tested", "hello"]
    assert models_of(case) == {"fake:echo"}
    assert "hallo" in refused(tmp_path, file.read_text().replace("pipeline: hello}", "pipeline: hallo}"))[0]
