"""P6: a terminal shows what a model wrote and does not obey it."""

import pytest

from po_jupyter.presentation.terminal_text import padded, plain, text_width


def test_text_stays_as_it_is() -> None:
    assert plain("a\tb\r\nc é 😀") == "a\tb\nc é 😀"
    assert plain(3) == "3"


@pytest.mark.parametrize(
    "control", ["\x1b", "\x07", "\x00", "\x7f", "\x9b", "\r", "\u202e", "\u2066", "\ud83d"]
)
def test_control_characters_are_shown(control: str) -> None:
    assert plain(f"a{control}b") == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize(
    ("text", "width"), [("", 0), ("done", 4), ("Köln – ok", 9), ("日本", 4), ("e\u0301", 1), ("👍", 2)]
)
def test_a_line_is_as_wide_as_a_terminal_draws_it(text: str, width: int) -> None:
    assert text_width(text) == width
    assert padded(text, 10) == text + " " * (10 - width)
