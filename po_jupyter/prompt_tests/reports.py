"""Reports of tests of prompts: text as pytest writes it, and JUnit XML. Pure.

What models answer stands in both, so control characters are shown and never obeyed, and XML holds only what XML may.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from po_jupyter.presentation.terminal_text import plain
from po_jupyter.prompt_tests.runner import CaseResult

_WIDTH = 78
# What XML 1.0 has no way to write.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def failure_lines(result: CaseResult) -> Iterator[str]:
    """The failures of a case, each with the place in the file."""
    for line, text in result.failures:
        yield plain(f"{result.case.file}:{line}: {text}")


def case_line(result: CaseResult) -> str:
    """The case, whether it passed, and what it took."""
    verdict = "PASSED" if result.passed else "FAILED"
    cost = "" if not result.cost else f", ${result.cost:.4f}"
    return plain(f"{result.case.file.name}::{result.case.name} {verdict} ({result.seconds:.1f} s{cost})")


def summary_lines(results: Sequence[CaseResult], seconds: float) -> Iterator[str]:
    """The failures of all cases, and how many passed."""
    failed = [result for result in results if not result.passed]
    if failed:
        yield _rule("FAILURES", "=")
    for result in failed:
        yield _rule(plain(result.case.name).replace("\n", " ")[:60], "_")
        yield from failure_lines(result)
    counts = [f"{len(failed)} failed"] if failed else []
    passed = len(results) - len(failed)
    if passed or not failed:
        counts.append(f"{passed} passed")
    yield _rule(f"{', '.join(counts)} in {seconds:.2f}s", "=")


def _rule(text: str, sign: str) -> str:
    return f" {text} ".center(_WIDTH, sign)


def junit_xml(results: Sequence[CaseResult], seconds: float) -> bytes:
    """The results as JUnit XML, as pytest's `--junit-xml` has them."""
    failed = sum(not result.passed for result in results)
    numbers = {"tests": str(len(results)), "failures": str(failed), "errors": "0", "skipped": "0"}
    root = ET.Element("testsuites", {"name": "po test", "time": f"{seconds:.3f}", **numbers})
    suite = ET.SubElement(root, "testsuite", {"name": "po test", "time": f"{seconds:.3f}", **numbers})
    for result in results:
        case = ET.SubElement(
            suite, "testcase",
            {
                "classname": _xml(_stem(result.case.file)), "name": _xml(result.case.name),
                "file": _xml(str(result.case.file)), "line": str(result.case.line), "time": f"{result.seconds:.3f}",
            },
        )  # fmt: skip
        if not result.passed:
            lines = [_xml(line) for line in failure_lines(result)]
            failure = ET.SubElement(case, "failure", {"message": lines[0][:1000]})
            failure.text = "\n".join(lines)
    text: bytes = ET.tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + text


def _stem(file: Path) -> str:
    return file.name.partition(".")[0]


def _xml(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
