"""What the orchestrator finds in a decoded pipeline still points at the line of the text (P11)."""

from __future__ import annotations

import pytest

from po_jupyter.errors import Violation
from po_jupyter.model.pipeline.parsing import line_finder

TEXT = """llm: {model: "fake:echo"}
tasks:
  - extract
  - name: label
    prompt: |
      Label this:
      {{ seed.txt }}
    refine:
      critique: "wrong: {{ outptu }}"
  - {name: "0x", prompt: "hi"}
"""


@pytest.mark.parametrize(
    ("where", "line", "expected"),
    [
        ("tasks[1].prompt", 2, 7),
        ("tasks.label.prompt", 2, 7),
        ("tasks[1].prompt", None, 5),
        ("tasks[1].refine.critique", 1, 9),
        ("tasks[1].retry", None, 4),
        ("tasks.extract.source", 3, 3),
        ("tasks[2].prompt", 1, 10),
        ("tasks[0]", None, 3),
        ("llm.model", None, 1),
        ("seed.text", None, None),
        ("", 4, None),
    ],
)
def test_a_path_leads_to_its_line(where: str, line: int | None, expected: int | None) -> None:
    assert line_finder(TEXT)(Violation(where, "wrong", line)) == expected


def test_text_that_is_no_yaml_has_no_lines() -> None:
    assert line_finder("a: [")(Violation("a", "wrong")) is None
