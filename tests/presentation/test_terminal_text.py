"""P6: a terminal shows what a model wrote and does not obey it."""

import pytest

from po_jupyter.presentation.terminal_text import plain


def test_text_stays_as_it_is() -> None:
    assert plain("a\tb\r\nc é 😀") == "a\tb\nc é 😀"
    assert plain(3) == "3"


@pytest.mark.parametrize(
    "control", ["\x1b", "\x07", "\x00", "\x7f", "\x9b", "\r", "\u202e", "\u2066", "\ud83d"]
)
def test_control_characters_are_shown(control: str) -> None:
    assert plain(f"a{control}b") == "a\N{REPLACEMENT CHARACTER}b"
