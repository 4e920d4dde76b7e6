"""How many tokens a text is, before a provider has counted it: an estimate, and called one."""

from __future__ import annotations

from collections.abc import Iterable

# OpenAI's rule of thumb for English ("What are tokens and how to count them?"); the exact encodings come with
# their own counter, behind the same two functions.
CHARS_PER_TOKEN = 4
_PER_MESSAGE = 4  # role and separators, as OpenAI's cookbook counts them for chat models


def estimate(text: str) -> int:
    """About how many tokens `text` is. Other scripts than Latin take more: they are counted by their bytes."""
    size = len(text) if text.isascii() else (len(text) + len(text.encode("utf-8", "replace"))) // 2
    return -(-size // CHARS_PER_TOKEN)


def estimate_messages(contents: Iterable[str]) -> int:
    """About how many input tokens a conversation is."""
    return sum(estimate(content) + _PER_MESSAGE for content in contents) + 3
