"""How many tokens a text is, before a provider has counted it.

OpenAI publishes its encodings: for its models the count is exact (`bpe-openai` carries them, so nothing is
fetched). Other makers do not: for theirs it is an estimate, and called one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any, NamedTuple

# OpenAI's rule of thumb for English ("What are tokens and how to count them?").
CHARS_PER_TOKEN = 4
# Role and separators, as OpenAI's cookbook counts them ("How to count tokens with tiktoken").
_PER_MESSAGE = 4
_PER_REPLY = 3
# Own map: the packages' maps lag behind the models. Prefixes, the first that fits; OpenAI, tiktoken `model.py`.
_ENCODINGS: tuple[tuple[str, str], ...] = (
    (r"(?:ft:)?(?:gpt-4o|gpt-4\.[15]|gpt-[5-9]|gpt-\d\d|chatgpt-4o|o[1-9]\b|gpt-oss|codex)", "o200k_base"),
    (r"(?:ft:)?(?:gpt-4|gpt-3\.5|gpt-35|davinci-002|babbage-002|text-embedding)", "cl100k_base"),
)


class Count(NamedTuple):
    """A number of tokens, and whether it is exact."""

    tokens: int
    exact: bool


def encoding_of(ref: str) -> str | None:
    """The name of a model's published encoding; None: it has none that we know."""
    provider, _, model = ref.partition(":")
    if provider == "openrouter" and model.startswith("openai/"):
        model = model.removeprefix("openai/")
    elif provider != "openai":
        return None
    return next((name for pattern, name in _ENCODINGS if re.match(pattern, model)), None)


def count(text: str, ref: str) -> Count:
    """How many tokens `text` is for a model. The first exact count of a process takes about 0.3 s."""
    name = encoding_of(ref)
    if name is None:
        return Count(estimate(text), False)
    return Count(_encoding(name).count(text.encode("utf-8", "replace").decode()), True)


def count_messages(contents: Iterable[str], ref: str) -> Count:
    """How many input tokens a conversation is; exact but for what an API adds to messages without saying so."""
    counted = [count(content, ref) for content in contents]
    tokens = sum(c.tokens + _PER_MESSAGE for c in counted) + _PER_REPLY
    return Count(tokens, all(c.exact for c in counted))


def estimate(text: str) -> int:
    """About how many tokens `text` is. Other scripts than Latin take more: they are counted by their bytes."""
    size = len(text) if text.isascii() else (len(text) + len(text.encode("utf-8", "replace"))) // 2
    return -(-size // CHARS_PER_TOKEN)


def estimate_messages(contents: Iterable[str]) -> int:
    """About how many input tokens a conversation is."""
    return sum(estimate(content) + _PER_MESSAGE for content in contents) + _PER_REPLY


@lru_cache(maxsize=4)
def _encoding(name: str) -> Any:
    return _bindings().tokenizer_for_encoding(name)


@lru_cache(maxsize=1)
def _bindings() -> Any:
    """The compiled part of `bpe-openai`, alone: importing the package itself builds three tables for decoding
    (1.5 s, 100 MB), through a function that Python has deprecated."""
    package = find_spec("bpe_openai")
    places = package.submodule_search_locations if package is not None else None
    found = PathFinder.find_spec("bpe_openai._bindings", places)
    if found is None or found.loader is None:
        raise ModuleNotFoundError("bpe-openai is not installed, or has no wheel for this machine")
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module
