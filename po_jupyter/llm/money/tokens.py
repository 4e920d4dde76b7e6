"""Token counts of texts and requests, before a provider has counted them.

OpenAI publishes its encodings: for its models the count is exact (`bpe-openai` carries them, so nothing is
fetched). Other makers do not: for theirs the count is an estimate, and called one.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

from po_jupyter.llm.audio import Audio
from po_jupyter.llm.documents import PAGE_TEXT

if TYPE_CHECKING:
    from po_jupyter.llm.audio import File
    from po_jupyter.llm.chat import ChatRequest

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


# The most that one image takes. OpenAI bills at most 85 + 8 x 170 for gpt-4o, 2,833 + 8 x 5,667 for gpt-4o-mini and
# 1,536 patches x 2.46 for the smallest ("Images and vision"), Anthropic at most 4,784 ("Vision"), Gemini 258 a
# tile ("Image understanding"); as of 2026-11.
_IMAGE = 5000
_LARGE_IMAGES = ("openai:gpt-4o-mini", 48_200)
# A page of a PDF takes its text (`llm.documents`), and a picture of it: OpenAI and Anthropic send both ("File inputs",
# "PDF support"). Gemini takes a page as a picture of 258 tokens, from version 3 on of 1,120 at most; text in it is not
# billed ("Document understanding", "Media resolution").
_GEMINI_PAGE = 1120
# Tokens of a second of sound. Gemini takes 32 ("Audio understanding", ai.google.dev; Vertex says 25), OpenAI one for
# each 100 ms of a user's sound ("Managing costs", developers.openai.com/api/docs/guides/realtime-costs), and Voxtral
# one for each 80 ms of windows of 30 s (arXiv 2507.13264); as of 2026-11. Of others the most of these is taken.
VOXTRAL_RATE = 12.5
_AUDIO_RATES = (("openai:", 10.0), ("mistral:", VOXTRAL_RATE))
_AUDIO_RATE = 32.0
_AUDIO_WINDOW = 30
_AUDIO_ENDS = 10  # tokens that mark where a sound begins and ends
_QUICK = 100_000  # characters
_ready: set[str] = set()  # encodings whose tables are made
# What Anthropic adds before tools: 313 to 530 tokens ("Tool use", pricing); the others add less.
_WITH_TOOLS = 530
# The instructions that go with a schema or with JSON mode (`structured.dialects`), in a message of their own.
_WITH_FORMAT = 24
# What is estimated before a call gets a tenth more: that keeps the bound hard for ordinary text.
_MARGIN = 1.1
_ASCII = bytes(range(128))
_LETTERS = string.ascii_letters.encode()
_SIGNS = (string.digits + string.punctuation + "\n").encode()
_LETTERS_PER_TOKEN = 5
# SmolLM2's template: `<|im_start|>user`, the text, `<|im_end|>`; and a system message where a request has none.
_PER_LOCAL_MESSAGE = 8
_LOCAL_SYSTEM = 40


class TokenCount(NamedTuple):
    """A number of tokens, exact or estimated."""

    tokens: int
    exact: bool


@lru_cache(maxsize=1024)
def encoding_of(ref: str) -> str | None:
    """The name of a model's published encoding; None: none is known."""
    provider, _, model = ref.partition(":")
    if provider == "openrouter" and model.startswith("openai/"):
        model = model.removeprefix("openai/")
    elif provider != "openai":
        return None
    return next((name for pattern, name in _ENCODINGS if re.match(pattern, model)), None)


def count(text: str, ref: str) -> TokenCount:
    """The tokens of `text` for a model. The first exact count of a process takes about 0.3 s."""
    name = encoding_of(ref)
    if name is None:
        return TokenCount(estimate(text), False)
    encoding = _encoding(name)
    tokens = sum(encoding.count(part.encode("utf-8", "replace").decode()) for part in _parts(text))
    return TokenCount(tokens, True)


def _parts(text: str) -> Iterator[str]:
    """`text` in parts, cut where no token can lie: before a space between two words.

    Counting holds Python's lock, so a long text is counted in steps; where it has no words, a cut may add a token.
    """
    start = 0
    while len(text) - start > _QUICK:
        end = start + _QUICK
        while (end := text.rfind(" ", start + _QUICK // 2, end)) > 0:
            if text[end - 1].isalpha() and text[end + 1].isalpha():
                break
        else:
            end = start + _QUICK
        yield text[start:end]
        start = end
    yield text[start:]


def count_messages(contents: Iterable[str], ref: str) -> TokenCount:
    """The input tokens of a conversation; exact but for what an API adds to messages without saying so."""
    counted = [count(content, ref) for content in contents]
    tokens = sum(c.tokens + _PER_MESSAGE for c in counted) + _PER_REPLY
    return TokenCount(tokens, all(c.exact for c in counted))


class RequestTokens(NamedTuple):
    """The input tokens of a request: `counted` of its text, by the model's published encoding, and `estimated` of the
    rest. Without such an encoding nothing is counted."""

    counted: int
    estimated: int


def count_request(request: ChatRequest) -> RequestTokens:
    """The input tokens of a request, with its tools, images and schema."""
    texts = count_messages((m.content for m in request.messages), request.model)
    estimated = sum(map(estimate, _json_parts(request))) + _unwritten(request)
    if texts.exact:
        return RequestTokens(texts.tokens, estimated)
    return RequestTokens(0, texts.tokens + estimated)


def bound_request(request: ChatRequest) -> int:
    """The most input tokens that a request will be counted as: what a budget sets aside for it.

    What a published encoding counts needs no margin. What is estimated gets a tenth more, and at least what dense text
    takes: digits, signs, other scripts. No token of the local model is shorter than a byte, and its chat template
    begins a conversation with a system message of its own.
    """
    parts = list(_json_parts(request))
    texts = [m.content for m in request.messages]
    if request.provider == "local":
        sizes = sum(len(text.encode("utf-8", "replace")) for text in (*texts, *parts))
        return sizes + len(texts) * _PER_LOCAL_MESSAGE + _LOCAL_SYSTEM + _unwritten(request)
    counted, estimated = count_request(request)
    bound = counted + int(estimated * _MARGIN)
    if counted:
        return bound
    dense = sum(map(_dense, (*texts, *parts))) + len(texts) * _PER_MESSAGE + _PER_REPLY + _unwritten(request)
    return max(bound, dense)


def estimate_request(request: ChatRequest) -> int:
    """About the input tokens of a request, with its tools, images and schema; quick for any model."""
    texts = estimate_messages(m.content for m in request.messages)
    return texts + sum(map(estimate, _json_parts(request))) + _unwritten(request)


def _json_parts(request: ChatRequest) -> Iterator[str]:
    """What goes out beside the texts of the messages, as JSON."""
    parts: list[object] = [c.arguments for m in request.messages for c in m.tool_calls]
    parts += [m.carry for m in request.messages if m.carry is not None]
    parts += [tool.to_json() for tool in request.tools]
    if request.schema is not None:
        parts.append(request.schema)
    for part in parts:
        yield json.dumps(part, ensure_ascii=False, default=str)


def _unwritten(request: ChatRequest) -> int:
    """The tokens of what is in no text of ours: images, pages of PDFs, sound, and what goes with tools and JSON."""
    tokens = _WITH_TOOLS if request.tools else 0
    if request.schema is not None or request.json:
        tokens += _WITH_FORMAT
    if images := sum(len(m.images) for m in request.messages):
        tokens += images * image_bound(request.model)
    return tokens + sum(file_bound(file, request.model) for m in request.messages for file in m.files)


def image_bound(ref: str) -> int:
    """The most tokens that a model counts one image as."""
    prefix, large = _LARGE_IMAGES
    return large if ref.startswith(prefix) else _IMAGE


def file_bound(file: File, ref: str) -> int:
    """The most tokens that a model counts a file as: a PDF by its pages, and by its text where that is denser; a sound
    by its length."""
    if isinstance(file, Audio):
        return audio_bound(file.seconds, ref)
    tokens = file.pages * page_bound(ref)
    if not ref.startswith("gemini:"):
        tokens += max(0, file.text_tokens - file.pages * PAGE_TEXT)
    return tokens


def audio_bound(seconds: float, ref: str) -> int:
    """The most tokens that a model counts so much sound as, by what its vendor says of a second."""
    rate = next((rate for prefix, rate in _AUDIO_RATES if ref.startswith(prefix)), _AUDIO_RATE)
    if rate == VOXTRAL_RATE:
        seconds = ceil(seconds / _AUDIO_WINDOW) * _AUDIO_WINDOW
    return ceil(seconds * rate) + _AUDIO_ENDS


def audio_tokens(request: ChatRequest) -> int:
    """The most tokens of the sound in a request, which `bound_request` counts among the rest."""
    return sum(
        audio_bound(file.seconds, request.model)
        for m in request.messages
        for file in m.files
        if isinstance(file, Audio)
    )


def bound_audio(request: ChatRequest) -> int:
    """The part of `bound_request` that is sound."""
    return int(audio_tokens(request) * _MARGIN)


def text_bound(text: str) -> int:
    """The most tokens that a model counts a text as, whichever it is."""
    return max(int(estimate(text) * _MARGIN), _dense(text))


def page_bound(ref: str) -> int:
    """The most tokens that a model counts one page of a PDF as, by what its vendor says of pages."""
    return _GEMINI_PAGE if ref.startswith("gemini:") else PAGE_TEXT + image_bound(ref)


def _dense(text: str) -> int:
    """The tokens of a text that is dense: one for each digit, sign and line, and for two bytes of other scripts."""
    raw = text.encode("utf-8", "replace")
    letters = len(raw) - len(raw.translate(None, _LETTERS))
    signs = len(raw) - len(raw.translate(None, _SIGNS))
    others = len(raw.translate(None, _ASCII))
    return signs + letters // _LETTERS_PER_TOKEN + others // 2


def is_quick(size: int, ref: str) -> bool:
    """True when counting that many characters does not hold up an event loop; other counts belong into a thread.

    100,000 characters take 3 ms, and the first of an encoding 0.3 s.
    """
    name = encoding_of(ref)
    return name is None or (name in _ready and size <= _QUICK)


def estimate(text: str) -> int:
    """About the tokens of `text`. Other scripts than Latin take more: they are counted by their bytes."""
    size = len(text) if text.isascii() else (len(text) + len(text.encode("utf-8", "replace"))) // 2
    return -(-size // CHARS_PER_TOKEN)


def estimate_messages(contents: Iterable[str]) -> int:
    """About the input tokens of a conversation."""
    return sum(estimate(content) + _PER_MESSAGE for content in contents) + _PER_REPLY


@lru_cache(maxsize=4)
def _encoding(name: str) -> Any:
    encoding = _bindings().tokenizer_for_encoding(name)
    encoding.count("warm")  # the tables are made when they are first used
    _ready.add(name)
    return encoding


@lru_cache(maxsize=1)
def _bindings() -> Any:
    """The compiled part of `bpe-openai`, alone: importing the package itself builds three tables for decoding
    (1.5 s, 100 MB), through a function that Python has deprecated."""
    package = find_spec("bpe_openai")
    locations = package.submodule_search_locations if package is not None else None
    spec = PathFinder.find_spec("bpe_openai._bindings", locations)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError("bpe-openai is not installed, or has no wheel for this machine")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
