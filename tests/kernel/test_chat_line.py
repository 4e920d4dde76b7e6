"""`%po chat`: a question as people type it."""

from __future__ import annotations

import pytest

from po_jupyter.kernel.chat_line import chat_arguments
from po_jupyter.kernel.errors import CellError

OPTIONS = {"--model": True, "--system": True, "--fresh": False, "--help": False}


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("What's up?", ["--", "What's up?"]),
        ("'What is up?'", ["--", "What is up?"]),
        ("Say \"hi\" and 'bye'", ["--", "Say \"hi\" and 'bye'"]),
        ("--model a:b What's up?", ["--model", "a:b", "--", "What's up?"]),
        ("What's up? --model=a:b --fresh", ["--model", "a:b", "--fresh", "--", "What's up?"]),
        ("Don't --system 'Be brief.' say it's so", ["--system", "Be brief.", "--", "Don't  say it's so"]),
        ("What does git --amend do?", ["--", "What does git --amend do?"]),
        ("--fresh -1 + 2 - 3", ["--fresh", "--", "-1 + 2 - 3"]),
        ("--help", ["--help"]),
        ("", []),
    ],
)
def test_a_question_is_no_line_of_a_shell(line: str, arguments: list[str]) -> None:
    """`No closing quotation`, it said."""
    assert chat_arguments(line, OPTIONS) == arguments


def test_an_option_that_is_nearly_one_is_no_text() -> None:
    with pytest.raises(CellError, match="no option `--modle`; did you mean `--model`"):
        chat_arguments("hi --modle a:b", OPTIONS)
