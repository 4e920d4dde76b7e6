"""Reports: what a model wrote is shown and never obeyed, and XML stays XML."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.prompt_tests.cases import CaseFields, PromptCase
from po_jupyter.prompt_tests.reports import case_line, junit_xml, summary_lines
from po_jupyter.prompt_tests.runner import CaseResult

EVIL = "\x1b[2J\x00\x9b31m\u202e ]]> <b>&amp;\ud800\ufffe\nnext"


def result(name: str, *failures: tuple[int, str]) -> CaseResult:
    pipeline = validate_pipeline({"name": "p", "tasks": [{"name": "t", "prompt": "x"}]})
    case = PromptCase(
        Path("po_tests.yaml"), 3, CaseFields.model_construct(name=name), pipeline, None, None, 1.0, ()
    )
    return CaseResult(case, failures, 0.5, 0.01, 10)


def test_text_is_as_pytest_writes_it() -> None:
    lines = list(summary_lines([result("one"), result("two", (7, "label: expected 1"))], 1.5))
    assert lines[0].strip("= ") == "FAILURES"
    assert lines[1].strip("_ ") == "two"
    assert lines[2] == "po_tests.yaml:7: label: expected 1"
    assert lines[3].strip("= ") == "1 failed, 1 passed in 1.50s"
    assert next(summary_lines([result("one")], 1)).strip("= ") == "1 passed in 1.00s"
    assert case_line(result("one")) == "po_tests.yaml::one PASSED (0.5 s, $0.0100)"


def test_what_a_model_wrote_does_not_steer_the_terminal() -> None:
    text = "\n".join([*summary_lines([result(EVIL, (1, EVIL))], 1), case_line(result(EVIL))])
    assert not {"\x1b", "\x00", "\x9b", "\u202e", "\ud800"} & set(text)
    text.encode()


def test_the_xml_is_valid_whatever_a_model_wrote() -> None:
    root = ET.fromstring(junit_xml([result(EVIL, (1, EVIL)), result("two")], 1))
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    first, second = suite
    assert first[0].tag == "failure" and "<b>&amp;" in (first[0].text or "")
    assert second.get("name") == "two" and len(second) == 0
