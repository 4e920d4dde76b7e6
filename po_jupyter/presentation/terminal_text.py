"""Text made safe for a terminal: control characters of models and users are shown, not obeyed (P6)."""

from __future__ import annotations

import re

# Everything that moves a cursor, colours or renames a window: C0 without tab and newline, DEL, C1, and the
# marks that reorder text. Halves of a surrogate pair, which JSON may hold, cannot be written at all.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: object) -> str:
    """`text` with a replacement character for each control character; tabs and newlines stay."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(text).replace("\r\n", "\n"))


def text_width(text: str) -> int:
    """The columns of a terminal that a line takes: two for a wide character, none for a combining one."""
    if max(text, default="") < "\u0300":  # all of them take one
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def padded(text: str, width: int) -> str:
    """`text` with spaces up to `width` columns."""
    return text + " " * (width - text_width(text))
